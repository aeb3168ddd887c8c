"""What all tests share: runs of their own, other processes, a small disk, the builder."""

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest_plugins = ["helpers.data_sets"]
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def own_runs(tmp_path_factory, monkeypatch):
    """Nothing is written among the learner's runs."""
    monkeypatch.setenv("LLMLAB_RUNS", str(tmp_path_factory.getbasetemp() / "runs"))


@pytest.fixture(scope="session")
def build():
    """The module notebooks/build.py."""
    spec = importlib.util.spec_from_file_location("build", ROOT / "notebooks" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root on Linux can mount the small disk that this test fills")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def start():
    """A function that starts Python code in another process, with llmlab in reach."""

    def start(code: str, *args: object) -> subprocess.Popen:
        command = [sys.executable, "-c", code, *map(str, args)]
        return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)

    return start


@pytest.fixture
def left_overs():
    """A function that lists the temporary files left somewhere under a folder."""
    return lambda folder: [p for p in folder.rglob("*") if p.name.startswith(".tmp-")]


@pytest.fixture(scope="session")
def make_wheel():
    """A function that makes a real wheel, of a package that holds nothing; its path."""

    def make(folder: Path, name: str, needs=(), tag="py3-none-any", version="1.0") -> Path:
        about = [
            f"Name: {name}",
            f"Version: {version}",
            *(f"Requires-Dist: {need}" for need in needs),
        ]
        info = f"{name}-{version}.dist-info"
        members = {
            f"{name}.py": "",
            f"{info}/METADATA": "\n".join(["Metadata-Version: 2.1", *about, ""]),
            f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
            f"{info}/RECORD": "",
        }
        path = folder / f"{name}-{version}-{tag}.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for member, text in members.items():
                archive.writestr(member, text)
        return path

    return make
