"""The archive for machines without a network: real pip, real archives, of a small checkout.

tests/slow/test_bundle.py makes the one of the series.
"""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from llmlab import artifacts, bundle, cli
from llmlab.artifacts import LabError
from llmlab.bundle import Target
from llmlab.corpus import sources
from llmlab.corpus.sources import Source

ROOT = bundle.ROOT
IN_IT = {  # of a checkout: goes into the bundle, or stays at home
    "requirements.txt": True,
    "constraints.txt": True,
    "llmlab/install.py": True,
    "notebooks/00_map.ipynb": True,
    "notebooks/build.py": True,
    "data/checkpoints/base.safetensors": True,
    ".git/config": False,
    ".venv/bin/python": False,
    ".env": False,
    "runs/class/report.json": False,
    "llmlab/__pycache__/install.pyc": False,
    "dist/llmlab-of-yesterday.zip": False,
    "wheels/old-1.0-py3-none-any.whl": False,
}


@pytest.fixture(scope="module")
def index(tmp_path_factory, make_wheel):
    """All that pip finds here: a folder with soup and what it needs, and a text."""
    folder = tmp_path_factory.mktemp("index")
    make_wheel(folder, "soup", ('bowl; sys_platform == "win32"', 'spoon; sys_platform != "win32"'))
    make_wheel(folder, "bowl", tag="cp312-cp312-win_amd64")
    make_wheel(folder, "spoon")
    text = make_wheel(folder, "texts")
    source = Source("texts", "", "wheel", "CC0", "us", ("class",), "texts", "1.0", text.name)
    source = replace(source, sha256=artifacts.sha256_file(text))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "usual", lambda: [source])
        patch.setenv("LLMLAB_CACHE", str(folder / "cache"))
        patch.delenv("LLMLAB_WHEELS", raising=False)
        patch.setenv("PIP_CONFIG_FILE", os.devnull)
        patch.setenv("PIP_INDEX_URL", (folder / "simple").as_uri())
        patch.setenv("PIP_FIND_LINKS", str(folder))
        yield folder


def make_checkout(root: Path) -> Path:
    """A small checkout that asks for soup."""
    for name in IN_IT:
        artifacts.write_atomic(root / name, f"what {name} holds")
    artifacts.write_atomic(root / "requirements.txt", "soup>=0.5\n")
    artifacts.write_atomic(root / "constraints.txt", "soup==1.0\n")
    return root


@pytest.fixture
def root(index, tmp_path):
    return make_checkout(tmp_path / "checkout")


@pytest.fixture(scope="module")
def archive(index, tmp_path_factory):
    """A bundle for this machine."""
    return bundle.make(bundle.target(), root=make_checkout(tmp_path_factory.mktemp("checkout")))


@pytest.fixture
def unpacked(archive, tmp_path):
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "laptop")
    return tmp_path / "laptop" / "llmlab"


def names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


# --- Making one -----------------------------------------------------------------------------


def test_a_bundle_holds_the_checkout_the_wheels_and_their_hashes(archive, unpacked):
    wheels = {f"wheels/{name}-1.0-py3-none-any.whl" for name in ("soup", "spoon", "texts")}
    expected = {name for name, inside in IN_IT.items() if inside} | wheels
    assert names(unpacked) == expected | {"bundle.json"}
    about = json.loads((unpacked / "bundle.json").read_bytes())
    assert about["files"] == {name: artifacts.sha256_file(unpacked / name) for name in expected}
    assert about["for"]["python"] == platform.python_version().rpartition(".")[0]
    assert zipfile.ZipFile(archive).testzip() is None


def test_no_member_leaves_the_folder_of_the_bundle(archive):
    for member in zipfile.ZipFile(archive).namelist():
        assert member.startswith("llmlab/") and not {"..", ""} & set(member.split("/"))
        assert "\\" not in member and ":" not in member


def test_a_bundle_for_another_system_has_what_that_system_needs(root, tmp_path, capfd):
    stick = tmp_path / "stick"
    archive = bundle.make(bundle.target("3.12", "windows"), stick, root=root)
    assert archive == stick / "llmlab-python3.12-windows-amd64.zip"
    wheels = {Path(n).name for n in zipfile.ZipFile(archive).namelist() if n.endswith(".whl")}
    assert {w.partition("-")[0] for w in wheels} == {"soup", "bowl", "texts"}
    shown = capfd.readouterr()
    assert "100%" in shown.err and f"{archive}\n0 MB, of which" in shown.out


def test_the_torch_of_an_index_of_its_own_is_taken(root, index, make_wheel):
    """The plain index has a newer one, which needs more."""
    for name, version, needs in (("simple", "2.0", ("gigabytes",)), ("own", "1.0", ())):
        folder = index / name / "torch"
        folder.mkdir(parents=True)
        wheel = make_wheel(folder, "torch", needs, version=version).name
        (folder / "index.html").write_text(f'<!DOCTYPE html><a href="{wheel}">{wheel}</a>')
    (root / "requirements.txt").write_text("torch\nsoup\n")
    archive = bundle.make(bundle.target(), None, (index / "own").as_uri(), root)
    wheels = {Path(n).name for n in zipfile.ZipFile(archive).namelist() if n.endswith(".whl")}
    assert {w.partition("-py3")[0] for w in wheels} == {
        "torch-1.0", "soup-1.0", "spoon-1.0", "texts-1.0",
    }  # fmt: skip


def test_a_package_that_cannot_be_had_leaves_the_older_bundle(root, left_overs, capfd):
    older = root / "dist" / "llmlab-of-yesterday.zip"
    (root / "requirements.txt").write_text("soup\nno-such-dish\n")
    with pytest.raises(LabError, match="pip could not download all wheels.*no bundle"):
        bundle.make(bundle.target(), older, root=root)
    assert "no-such-dish" in capfd.readouterr().err
    assert older.read_text().startswith("what") and left_overs(root) == []


def test_a_full_disk_is_one_sentence_and_leaves_nothing(root, small_disk, left_overs):
    (root / "data" / "large.safetensors").write_bytes(b"soup" * 200_000)
    with pytest.raises(LabError, match="No space.*nothing was left behind"):
        bundle.make(bundle.target(), small_disk, root=root)
    assert names(small_disk) == set() and left_overs(root) == []


def test_an_interrupt_leaves_no_half_bundle(root, start, left_overs):
    with open(root / "data" / "large.safetensors", "wb") as file:
        file.truncate(1 << 31)
    code = f"""
import sys; from pathlib import Path; from llmlab import bundle, cli
from llmlab.corpus import sources
sources.usual = lambda: []
bundle.make.__defaults__ = (None, None, Path({str(root)!r}))
sys.exit(cli.main(["bundle"]))
"""
    process = start(code)
    shown = ""
    while "Packing   5%" not in shown:
        shown = shown[-20:] + process.stderr.read(1)
        assert process.poll() is None, shown
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1].endswith("Stopped.\n") and process.returncode == 130
    assert names(root / "dist") == {"llmlab-of-yesterday.zip"} and left_overs(root) == []


def test_everything_that_git_knows_goes_in_but_what_is_hidden():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a clone: git cannot list the files")
    tracked = {
        n for n in listed.stdout.splitlines() if not n.startswith(".") and (ROOT / n).exists()
    }
    found = bundle.checkout(ROOT).keys()
    assert tracked <= found and "notebooks/00_map.ipynb" in found
    assert not [n for n in found if n.startswith((".", "runs/")) or "__pycache__" in n]


TARGETS = {
    (None, None): ("3.13", "Linux", "aarch64", ""),
    ("3.13", None): ("3.13", "Linux", "aarch64", ""),
    ("3.12", None): ("3.12", "Linux", "aarch64", "manylinux_2_28_aarch64"),
    (None, "windows"): ("3.13", "Windows", "amd64", "win_amd64"),
    (None, "linux"): ("3.13", "Linux", "x86_64", "manylinux_2_28_x86_64"),
    ("3.11", "macosx_12_0_x86_64"): ("3.11", "Darwin", "x86_64", "macosx_12_0_x86_64"),
    (None, "win_arm64"): ("3.13", "Windows", "arm64", "win_arm64"),
}


@pytest.mark.parametrize("options", TARGETS)
def test_the_target_that_options_name(options, monkeypatch):
    monkeypatch.setattr(bundle, "here", lambda: Target("3.13", "Linux", "aarch64"))
    assert bundle.target(*options) == Target(*TARGETS[options])


@pytest.mark.parametrize(
    "options", [["--python", "soup"], ["--python", "2.7"], ["--platform", "amiga"]]
)
def test_options_that_name_nothing_are_one_sentence(options, capsys):
    assert cli.main(["bundle", *options]) == 2
    shown = capsys.readouterr().err
    assert options[1] in shown and "othing was done" in shown.replace("nothing", "othing")


def test_older_linuxes_wheels_are_taken_too():
    tags = bundle.tags("manylinux_2_18_x86_64")
    assert tags[:4] == [
        "manylinux_2_18_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64",
        "manylinux_2_16_x86_64",
    ]  # fmt: skip
    assert tags[-2:] == ["manylinux_2_5_x86_64", "manylinux1_x86_64"]
    assert bundle.tags("win_amd64") == ["win_amd64"]


# --- Setting up from one --------------------------------------------------------------------


def test_a_whole_bundle_passes_and_a_clone_has_nothing_to_check(unpacked, tmp_path, capsys):
    bundle.check_bundle(unpacked)
    assert "Checking the 9 files" in capsys.readouterr().out
    bundle.check_bundle(tmp_path)
    assert capsys.readouterr().out == ""


def test_pip_is_given_the_wheels_and_no_index(unpacked, tmp_path):
    assert bundle.pip_places(False, unpacked)[-1] == "--no-index"
    assert bundle.pip_places(True, unpacked) == ["--find-links", unpacked / "wheels"]
    assert bundle.pip_places(False, tmp_path) == []
    command = [sys.executable, "-m", "pip", "install", *bundle.pip_places(False, unpacked)]
    target = tmp_path / "site"
    subprocess.run([*command, "--quiet", "--target", target, "soup"], check=True)
    assert {"soup.py", "spoon.py"} <= names(target)


def test_a_text_is_taken_from_the_wheels_beside_the_package(unpacked, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "PACKAGE", unpacked / "llmlab")
    (source,) = sources.usual()
    assert sources.wheel(source, tmp_path, pytest.fail) == unpacked / "wheels" / source.wheel


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize("damage", [flip, Path.unlink, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("name", ["wheels/soup-1.0-py3-none-any.whl", "llmlab/install.py"])
def test_what_the_stick_damaged_is_named(unpacked, name, damage):
    damage(unpacked / name)
    with pytest.raises(LabError, match=f"{name}.*nothing was installed. Copy") as refusal:
        bundle.check_bundle(unpacked)
    assert str(refusal.value).startswith("1 of the bundle's files")


def test_a_notebook_may_have_been_worked_on(unpacked, capsys):
    (unpacked / "notebooks" / "00_map.ipynb").write_text("answers")
    bundle.check_bundle(unpacked)
    assert "notebooks/00_map.ipynb" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "{", "[]", '{"for": {}, "files": {}}', '{"files": {}}'])
def test_a_damaged_list_is_one_sentence(unpacked, text):
    (unpacked / "bundle.json").write_text(text)
    with pytest.raises(LabError, match="bundle.json of this bundle is damaged"):
        bundle.check_bundle(unpacked)


@pytest.mark.parametrize(
    "other", [{"python": "3.99"}, {"system": "Windows"}, {"machine": "m68k"}], ids=str
)
def test_a_bundle_for_others_is_refused_before_anything_is_made(unpacked, other):
    about = json.loads((unpacked / "bundle.json").read_bytes())
    about["for"] |= other
    (unpacked / "bundle.json").write_text(json.dumps(about))
    with pytest.raises(LabError, match="This bundle is for Python.*and this is Python"):
        bundle.check_bundle(unpacked)


def test_set_up_checks_the_bundle_first(unpacked):
    """As a learner runs it; the package is the real one."""
    for folder in ("llmlab", "data"):
        shutil.copytree(ROOT / folder, unpacked / folder, dirs_exist_ok=True)
    (unpacked / "wheels" / "soup-1.0-py3-none-any.whl").unlink()
    command = [sys.executable, "-m", "llmlab", "setup"]
    done = subprocess.run(command, cwd=unpacked, capture_output=True, text=True)
    assert done.returncode == 2 and "missing or damaged" in done.stderr
    assert not (unpacked / ".venv").exists()
