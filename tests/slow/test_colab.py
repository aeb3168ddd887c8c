"""A machine with Colab's own versions: the set-up cell leaves them alone, and all works with them.

Colab's torch is made for its GPUs, so this Python's own stands in, with scikit-learn; the version
of Python is this one's.  llmlab is installed from the zip that a user would upload.
"""

import ast
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from packaging.requirements import Requirement

from llmlab import artifacts, colab, install

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "notebooks" / "src").rglob("*.py"))
WITH_ALL = {  # as Colab's image of August 2026; what they need comes along
    "anywidget": "0.9.21",
    "ipykernel": "6.17.1",
    "ipython": "7.34.0",
    "matplotlib": "3.10.0",
    "numpy": "2.1.3",
}
ALONE = {"ipywidgets": "7.7.1", "ipython-genutils": "0.2.0"}  # it asks for a whole Jupyter
LENT = {"torch", "scikit-learn"}
GOOGLE = {  # what is called of the package that Colab's kernels begin with
    "__init__.py": "",
    "output.py": "def enable_custom_widget_manager(): pass\n",
    "files.py": "import os, shutil\ndef upload(): shutil.copy(os.environ['ZIP'], '.')\n",
}
BEFORE = "import google.colab, os, time; os.environ['LLMLAB_PROFILE'] = 'class-toy'"

WHERE = """
from llmlab import artifacts
model, tokenizer, _ = lab.latest("base")
print(artifacts.data_dir().relative_to(artifacts.PACKAGE), artifacts.runs_dir())
"""


def lend(names: set[str], folder: Path, left_out: set[str]) -> None:
    """Links in `folder` to packages of this Python and what they need, so that another has them."""
    folder.mkdir()
    todo, done = set(names), set(left_out)
    while todo - done:
        name = (todo - done).pop()
        done.add(name)
        package = metadata.distribution(name)
        for top in {file.parts[0] for file in package.files} - {"..", "__pycache__"}:
            (folder / top).symlink_to(package.locate_file(top))
        needs = [Requirement(line) for line in package.requires or []]
        todo |= {colab.name_of(r.name) for r in needs if not r.marker or r.marker.evaluate()}


def clean(**more: str) -> dict[str, str]:
    """The environment of a machine that never heard of this clone, but has its texts."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LLMLAB", "PYTHON"))}
    return kept | {"LLMLAB_CACHE": str(artifacts.cache_dir())} | more


def said(python: Path, *command: str | Path, **options) -> str:
    """What a Python prints, with only its own packages in reach."""
    options.setdefault("env", clean())
    done = subprocess.run([python, *command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def versions(python: Path) -> dict[str, str]:
    """Name and version of all that is installed, as pip sees it."""
    lines = said(python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check")
    return dict(line.split("==") for line in lines.splitlines())


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The Python of an environment with Colab's versions."""
    if os.name == "nt":
        pytest.skip("torch is lent by symbolic links, which Windows grants to few")
    folder = tmp_path_factory.mktemp("colab")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = install.python(folder / "venv")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for options, wanted in ([], WITH_ALL), (["--no-deps"], ALONE):
        pins = [f"{name}=={version}" for name, version in wanted.items()]
        done = subprocess.run([*pip, *options, *pins], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"Colab's versions are not to be had: {done.stderr.splitlines()[-1]}")
    site = Path(
        said(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    )
    (site / "google" / "colab").mkdir(parents=True)
    for name, text in GOOGLE.items():
        (site / "google" / "colab" / name).write_text(text)
    lend(LENT, folder / "lent", {colab.name_of(name) for name in versions(python)})
    (site / "lent.pth").write_text(str(folder / "lent"))
    return python


@pytest.fixture(scope="module")
def run(python, tmp_path_factory):
    """(versions before, versions after, the code cells) of notebook 00 in toy, its first cell
    run twice."""
    home = tmp_path_factory.mktemp("content")
    kernel = {"argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]}
    spec = home / "jupyter" / "kernels" / "colab" / "kernel.json"
    artifacts.write_json(spec, kernel | {"display_name": "Colab", "language": "python"})

    notebook = nbformat.read(ROOT / "notebooks" / "00_map.ipynb", 4)
    set_up = notebook.cells[1]
    set_up.source = f"{colab.CELL}\nimport llmlab\nlab = llmlab.setup()"  # linked or not
    timed = f"start = time.time()\n{set_up.source}\nprint(time.time() - start)"
    again = nbformat.v4.new_code_cell(timed)
    uploaded = colab.write_zip(home / "downloads")
    where = nbformat.v4.new_code_cell(WHERE)
    notebook.cells = [nbformat.v4.new_code_cell(BEFORE), *notebook.cells, where, again]

    before = versions(python)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(home / "jupyter"))
        client = NotebookClient(notebook, kernel_name="colab", timeout=300)
        env = clean(HOME=str(home), ZIP=str(uploaded))
        client.execute(cwd=str(home), env=env)  # raises where a cell fails
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return before, versions(python), codes


def printed(cell) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


def test_the_set_up_cell_changes_no_version(run):
    before, after, _ = run
    assert {name: after.get(name) for name in before} == before
    assert before.items() >= {**WITH_ALL, "ipywidgets": "7.7.1", "torch": before["torch"]}.items()
    new = after.keys() - before.keys()
    assert {"llmlab", "datasketch", "tiktoken"} <= new and not new & {"jupyterlab", "scipy"}


def test_the_set_up_cell_says_what_it_did_and_is_quick_when_run_again(run):
    _, after, (_, first, *_, again) = run
    told = re.search(r"^llmlab: installed (.+); what was here before is as it was\.$",
                     printed(first), re.M)  # fmt: skip
    assert set(told[1].split(", ")) <= {colab.name_of(name) for name in after}
    assert "Runs go with this machine" in printed(first) and "class" in printed(first)
    assert printed(again).startswith("llmlab: nothing was missing")
    assert float(printed(again).split()[-1]) < 10


def test_the_shipped_models_come_with_the_package_and_runs_go_home(run):
    *_, where, _ = run[2]
    assert re.search(r"^base: the slow-cooked .*\n_data /.*/content0/llmlab/runs$", printed(where))


def test_a_notebook_draws_its_widget(run):
    """By the door of ipywidgets 7, which Colab opens."""
    kinds = [output.get("data", {}).keys() for cell in run[2] for output in cell.outputs]
    assert any("application/vnd.jupyter.widget-view+json" in kind for kind in kinds)


def test_all_that_the_notebooks_import_is_there(run, python, tmp_path):
    """But for what a notebook uses only where it is installed."""
    trees = [ast.parse(source.read_text("utf-8")) for source in SOURCES]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    lines = {ast.unparse(n) for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)}
    lines = {line for line in lines if not re.search(r"\b(datatrove|transformers)\b", line)}
    assert len(lines) > 50
    said(python, "-c", "\n".join(sorted(lines)), cwd=tmp_path)


def test_every_widget_works_at_these_versions(run, python, tmp_path):
    """Their own tests, on what was installed from the clone."""
    lend({"pytest"}, tmp_path / "tests", {colab.name_of(name) for name in versions(python)})
    command = ["-m", "pytest", ROOT / "tests" / "widgets", "-c", ROOT / "pyproject.toml"]
    where = clean(PYTHONPATH=str(tmp_path / "tests"))
    told = said(python, *command, "-p", "no:cacheprovider", cwd=tmp_path, env=where)
    assert int(re.search(r"(\d+) passed", told)[1]) > 200
