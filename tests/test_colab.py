"""Google Colab: the set-up cell, the zip it asks for, links, and real pip beside what is there.

tests/slow/test_colab.py runs the set-up cell and the widgets at Colab's own versions.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import packaging
import pytest

from llmlab import cli, colab, install
from llmlab.artifacts import LabError
from llmlab.classroom.student_edition import make_student

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted([*FOLDER.glob("*.ipynb"), *FOLDER.glob("extra/*.ipynb")])
ON_GITHUB = re.compile(r"github(?:\.com|usercontent\.com)?[/:](?!workflows/)([\w.-]+/[\w.-]+)")
CITED = {"huggingface/datatrove", "ggml-org/ggml"}  # what comments refer to; nothing is run of it


def opening(path: Path) -> tuple[str, str]:
    """The first two cells of a saved notebook: its title, and its set-up."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return tuple("".join(cell["source"]) for cell in cells[:2])


# --- The notebooks ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_sets_itself_up(path, build):
    title, set_up = opening(path)
    rest = "\n\nimport llmlab\n\nlab = llmlab.setup()"
    if "[Open in Colab]" in title:
        address = build.on_colab(build.repository(), path.relative_to(ROOT).as_posix())
        assert title.endswith(f"\n\n[Open in Colab]({address})")
        assert f"git+https://github.com/{build.repository()}\n" in set_up
    else:
        assert "`python -m llmlab colab`" in title and set_up == colab.CELL + rest
    (output,) = json.loads(path.read_text("utf-8"))["cells"][1]["outputs"]
    assert "".join(output["text"]).startswith("llmlab, profile class")  # nothing else off Colab


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone: git cannot list the files")
def test_no_foreign_address_on_github_stands_anywhere(build):
    """Whoever owns an address that we install from runs code at our users'."""
    try:
        ours = {build.repository()}
    except build.BuildError:
        ours = set()
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in names.splitlines() if not name.startswith("tests/")]
    texts = {path: path.read_text("utf-8", "ignore") for path in paths if path.is_file()}
    named = {(p.name, found) for p, text in texts.items() for found in ON_GITHUB.findall(text)}
    assert {
        (p, found) for p, found in named if found.removesuffix(".git") not in ours | CITED
    } == set()


@pytest.fixture
def copy(tmp_path):
    """A checkout's README and notebooks."""
    shutil.copytree(FOLDER, tmp_path / "notebooks", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "README.md", tmp_path)
    return tmp_path


def test_links_name_the_repository_in_all_notebooks_and_the_readme(build, copy):
    changed = build.link_to("me/my.fork", copy)
    assert len(changed) == 2 * len(NOTEBOOKS) + 1 and build.link_to("me/my.fork", copy) == []
    readme = (copy / "README.md").read_text("utf-8")
    for path in NOTEBOOKS:
        name = path.relative_to(ROOT)
        link = f"https://colab.research.google.com/github/me/my.fork/blob/main/{name.as_posix()}"
        title, set_up = opening(copy / name)
        assert title.endswith(f"\n\n[Open in Colab]({link})") and f"([Colab]({link})) |" in readme
        assert "%pip install -q --no-deps git+https://github.com/me/my.fork\n" in set_up
        assert "upload" not in set_up
        source = copy / "notebooks" / "src" / path.relative_to(FOLDER).with_suffix(".py")
        assert build.source_cells(copy / name) == build.source_cells(source)
        saved, linked = (json.loads((root / name).read_bytes()) for root in (ROOT, copy))
        assert saved["cells"][2:] == linked["cells"][2:]
        assert "me/my.fork/blob" not in json.dumps(make_student(source))  # it has the answers
    assert len(build.link_to("you/other", copy)) == len(changed)
    texts = [path.read_text("utf-8") for path in changed]
    assert all("you/other" in text and "me/my.fork" not in text for text in texts)


@pytest.mark.parametrize(
    "address",
    [
        "me/my.fork",
        "https://github.com/me/my.fork",
        "https://github.com/me/my.fork.git",
        "git@github.com:me/my.fork.git",
        "ssh://git@github.com/me/my.fork",
    ],
)
def test_a_repository_is_read_from_its_address(address, build):
    assert build.repository(address) == "me/my.fork"


@pytest.mark.parametrize("address", ["https://example.org/me/fork", "/home/me/fork", "fork"])
def test_other_addresses_are_refused_in_a_sentence(address, build, capsys):
    assert build.main(["--links", address]) == 1
    said = capsys.readouterr().err
    assert f"{address} is no repository on GitHub; nothing was changed" in said


def test_the_repository_is_that_of_origin(build, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "NOTEBOOKS", tmp_path / "notebooks")
    git = ["git", "-C", tmp_path]
    subprocess.run([*git, "init", "--quiet"], check=True)
    with pytest.raises(build.BuildError, match="has no origin"):
        build.repository()
    subprocess.run([*git, "remote", "add", "origin", "me/folder"], check=True)
    with pytest.raises(build.BuildError, match="me/folder is no repository on GitHub"):
        build.repository()
    where = "https://github.com/me/my.fork.git"
    subprocess.run([*git, "remote", "set-url", "origin", where], check=True)
    assert build.repository() == "me/my.fork"


# --- The zip ----------------------------------------------------------------------------------


def test_the_command_writes_a_zip_and_prints_the_cell_that_opens_it(tmp_path, capsys):
    assert cli.main(["colab", "--out", str(tmp_path)]) == 0
    path = tmp_path / colab.ZIP
    said = capsys.readouterr().out
    assert said.startswith(f"{path}\n") and said.endswith(f"\n\n{colab.CELL}\n")
    names = {Path(name) for name in zipfile.ZipFile(path).namelist()}
    inside = {"pyproject.toml", "requirements.txt", "llmlab/widgets/base.js",
              "data/checkpoints/base.safetensors", "notebooks/00_map.ipynb"}  # fmt: skip
    assert {Path("llmlab", name) for name in inside} <= names
    assert not [name for name in names if {"tests", "wheels", ".git", ".venv"} & set(name.parts)]
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def test_outside_a_clone_no_zip_is_made(tmp_path):
    with pytest.raises(LabError, match="in a clone of the repository only"):
        colab.write_zip(tmp_path / "out", root=tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- What is installed ------------------------------------------------------------------------


def test_what_colab_has_of_its_own_is_not_asked_for():
    names = {colab.name_of(line) for line in colab.required()}
    assert {"torch", "numpy", "ipywidgets", "datasketch", "scikit-learn"} <= names
    assert not names & {"jupyterlab", "nbval", "datasets", "transformers", "ruff"}


def test_a_version_that_pip_cannot_read_is_no_constraint():
    here = {"torch": "2.11.0+cu128", "ufw": "0.36.1ubuntu1", "old": "2023.09.01", "odd": "unknown"}
    assert colab.pinned(here) == ["torch==2.11.0+cu128", "old==2023.09.01"]


@pytest.fixture(scope="module")
def machine(tmp_path_factory, make_wheel):
    """A function that runs code in an environment with bowl 1.0, and an index with bowl 2.0."""
    folder = tmp_path_factory.mktemp("machine")
    venv, index = folder / "venv", folder / "index"
    index.mkdir()
    make_wheel(index, "soup", ["bowl>=1", "spoon"])
    make_wheel(index, "spoon")
    make_wheel(index, "banquet", ["bowl>=2"])
    make_wheel(index, "bowl")
    make_wheel(index, "bowl", version="2.0")
    variables = os.environ | {
        "LLMLAB_CACHE": str(folder / "cache"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(index),
    }

    def run(*command: str) -> str:
        command = [install.python(venv), *command]
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    run("-m", "pip", "install", "bowl==1.0")
    site = run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    shutil.copytree(Path(packaging.__file__).parent, Path(site) / "packaging")
    return lambda code: run("-c", code)


ASK = "from llmlab import colab; print(colab.bring({wanted}), colab.installed().get('bowl'))"


def test_only_what_is_missing_is_installed_and_nothing_is_exchanged(machine):
    assert machine(ASK.format(wanted=["soup>=1", "bowl>=2"])) == "['soup'] 1.0\n"
    assert machine(ASK.format(wanted=["soup>=1", "Spoon"])) == "[] 1.0\n"  # soup has brought it


def test_what_would_exchange_something_is_refused_in_a_sentence(machine):
    ask = ASK.format(wanted=["banquet"])
    said = machine(
        f"try:\n    {ask}\nexcept Exception as error: print(error)".replace("; ", "\n    ")
    )
    assert said.startswith("pip could not install banquet beside what is here (")
    assert "nothing was changed" in said and said.count("\n") == 1
    assert machine("from llmlab import colab; print(colab.installed()['bowl'])") == "1.0\n"


DRIVE = """
import sys, types
from pathlib import Path

def mount(place):
    if {refused}: raise ValueError("mount failed")

google, here, drive = map(types.ModuleType, ("google", "google.colab", "google.colab.drive"))
drive.mount, here.drive = mount, drive
sys.modules |= {{m.__name__: m for m in (google, here, drive)}}
from llmlab import artifacts, colab
try:
    colab.prepare(keep_in_drive=True)
except artifacts.LabError as error:
    print(error)
print("runs:", artifacts.runs_dir())
colab.prepare()
print("runs:", artifacts.runs_dir())
"""


@pytest.mark.parametrize("refused", [False, True])
def test_runs_are_kept_in_drive_if_asked(refused):
    variables = {k: v for k, v in os.environ.items() if k != "LLMLAB_RUNS"}
    command = [sys.executable, "-c", DRIVE.format(refused=refused)]
    done = subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    here = "nothing was missing; what was here before is as it was."
    in_drive = "Runs are kept in your Drive, in MyDrive/llmlab/runs."
    kept = f"runs: {ROOT / 'runs'}" if refused else f"runs: {colab.RUNS}"
    assert lines[0] == f"llmlab: {here}" and lines[2] == kept
    assert lines[1] == in_drive or refused and lines[1].startswith("Your Drive was not opened (mou")
    assert "keep_in_drive=True" in lines[4] and lines[5] == f"runs: {ROOT / 'runs'}"
