"""Google Colab: links and set-up cells of one repository, and real pip beside what is there.

tests/slow/test_colab.py runs the set-up cell and the widgets at Colab's own versions.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import packaging
import pytest

from llmlab import colab, install

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted([*FOLDER.glob("*.ipynb"), *FOLDER.glob("extra/*.ipynb")])
SET_UP = """import sys
from importlib.util import find_spec

if "google.colab" in sys.modules:  # there, llmlab is installed; all else is left as it is
    if not find_spec("llmlab"):
        print("Installing llmlab")
        %pip install -q --no-deps git+https://github.com/{repository}
    from llmlab.colab import prepare

    prepare(keep_in_drive=False)

import llmlab

lab = llmlab.setup()"""


# --- The notebooks ----------------------------------------------------------------------------


def badge(path: Path, repository: str) -> str:
    """The address that opens a notebook in Colab."""
    place = f"{repository}/blob/main/{path.relative_to(ROOT).as_posix()}"
    return f"https://colab.research.google.com/github/{place}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_opens_in_colab_and_sets_itself_up(path, build):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    opening, set_up = ("".join(cell["source"]) for cell in cells[:2])
    assert opening.endswith(f"\n\n[Open in Colab]({badge(path, build.repository())})")
    assert set_up == SET_UP.format(repository=build.repository())
    (output,) = cells[1]["outputs"]  # elsewhere than on Colab it has nothing to say
    assert "".join(output["text"]).startswith("llmlab, profile class")


def test_the_readme_links_every_notebook_of_its_table(build):
    text = (ROOT / "README.md").read_text("utf-8")
    missing = [p.stem for p in NOTEBOOKS if f"({badge(p, build.repository())})" not in text]
    assert missing == []


def test_no_file_names_another_repository(build):
    named = {
        match["repository"]
        for path in build.linking()
        for match in build.TO_COLAB.finditer(path.read_text("utf-8"))
    }
    assert named == {build.repository()}


def test_a_fork_changes_one_entry(build, tmp_path):
    """The text of every link, and not a byte besides."""
    paths = [Path(shutil.copy(path, tmp_path)) for path in build.linking()]
    before = {path: path.read_bytes() for path in paths}
    assert build.link_to("me/my.fork", paths) == paths
    assert all(b"/me/my.fork/blob/" in path.read_bytes() for path in paths)
    assert build.link_to("me/my.fork", paths) == []
    build.link_to(build.repository(), paths)
    assert before == {path: path.read_bytes() for path in paths}


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
