"""The project as a whole: what it asks for, how its rooms hang together, what notebooks hold."""

import ast
import graphlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from llmlab.stages.costs import code_lines

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "llmlab"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXTRAS = sorted((ROOT / "notebooks" / "extra").glob("*.ipynb"))

# --- What it asks for -----------------------------------------------------------------------

COLAB = {
    "torch": "2.11.0",
    "numpy": "2.1.3",
    "matplotlib": "3.10.0",
    "ipywidgets": "7.7.1",
    "anywidget": "0.9.21",
}


def requirements() -> dict[str, str]:
    """Name → lower bound."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    found = [re.fullmatch(r"([a-z-]+)>=([\d.]+)", line) for line in lines]
    assert all(found), "requirements.txt holds names with lower bounds and nothing else"
    return {match[1]: match[2] for match in found}


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def test_requirements_name_the_six_packages_and_admit_colab():
    bounds = requirements()
    assert {"jupyterlab", "torch", "tiktoken", "matplotlib", "ipywidgets", "nbval"} <= bounds.keys()
    for name, version in COLAB.items():
        assert numbers(bounds[name]) <= numbers(version), name


def test_class_installs_do_not_grow():
    """What full size needs besides is an extra in pyproject.toml."""
    assert len(requirements()) <= 17


def test_every_room_is_in_the_wheel():
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
        "packages"
    ]
    rooms = {path.parent.relative_to(ROOT) for path in PACKAGE.rglob("__init__.py")}
    assert set(packages) == {".".join(room.parts) for room in rooms} | {"llmlab._data"}


def test_constraints_pin_every_package_that_is_asked_for():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    dev = {re.match(r"[a-z-]+", line)[0] for line in project["optional-dependencies"]["dev"]}
    assert requirements().keys() | dev <= pins.keys()
    assert all(numbers(pins[n]) >= numbers(low) for n, low in requirements().items())


# --- How its rooms hang together ------------------------------------------------------------


def test_core_is_at_most_385_lines_of_at_most_100_columns():
    sources = {path.name: path.read_text() for path in (PACKAGE / "core").glob("*.py")}
    counts = {name: code_lines(source) for name, source in sources.items()}
    print(counts, sum(counts.values()))
    assert sum(counts.values()) <= 385, counts
    for name, source in sources.items():
        assert max(map(len, source.splitlines()), default=0) <= 100, name


LAYERS = [
    {"core"},
    {"artifacts", "device", "figures", "kitchen"},
    {"corpus", "hub", "profiles"},
    {"checkpoint"},
    {"lab"},
    {"scale"},
    {"training"},
    {"chat"},
    {"datasets"},
    {"stages"},
    {"classroom", "evaluation", "studies"},
    {"widgets"},
    {"cli", "colab", "install", "bundle", "__main__"},
]


def layer(module: str) -> int:
    """How far to the left a module of llmlab stands; core is 0."""
    room = module.split(".")[1]
    return next(number for number, rooms in enumerate(LAYERS) if room in rooms)


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports anywhere in it."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            inside = base == "llmlab" or base.startswith("llmlab.")
            names |= {f"{base}.{a.name}" for a in node.names} if inside else {base}
    return names


def modules() -> list[Path]:
    return [p for p in sorted(PACKAGE.rglob("*.py")) if p != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    here = layer(".".join(path.relative_to(ROOT).with_suffix("").parts))
    ours = {name for name in imported(path) if name.startswith("llmlab.")} - {"llmlab.__version__"}
    if here == 0:
        others = {name.split(".")[0] for name in imported(path) - ours}
        assert others - sys.stdlib_module_names <= {"torch", "regex", "tiktoken"}
        assert all(name.startswith("llmlab.core") for name in ours)
    assert {name for name in ours if layer(name) > here} == set()


def test_no_module_imports_itself_by_way_of_others():
    """Inside rooms too, and what only annotations or functions import counts as well."""
    names = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in modules()}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    graph = {
        name: names.keys() & {f if f in names else f.rpartition(".")[0] for f in imported(path)}
        for name, path in names.items()
    }
    assert list(graphlib.TopologicalSorter(graph).static_order())  # CycleError names a circle


def test_set_up_needs_nothing_but_the_standard_library():
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import llmlab.cli, llmlab.install"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


def test_import_is_light():
    """Nor do checks and studies bring what takes its time, before a notebook asks for it."""
    code = (
        "import sys, llmlab, llmlab.cli, llmlab.classroom, llmlab.classroom.student_edition\n"
        "import llmlab.studies\n"
        "print(*{'torch', 'numpy', 'ipywidgets', 'anywidget', 'jupytext', 'nbformat'}\n"
        "      & sys.modules.keys())"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


ROOMS = (
    "classroom", "classroom.checks", "core", "corpus", "datasets", "evaluation", "hub", "scale",
    "stages", "studies", "training", "widgets",
)  # fmt: skip
OWN_EXTRA = {
    "llmlab.__main__",
    "llmlab.datasets.datatrove_steps",
}  # one runs, the other is datatrove's own
# What only a part of the series, full size or a test asks for.
EXTRA = {
    "accelerate", "bitsandbytes", "datasets", "datatrove", "gguf", "huggingface_hub", "lm_eval",
    "pandas", "peft", "pyarrow", "ray", "rustbpe", "sklearn", "tensorboard", "tokenizers",
    "transformers", "triton", "trl",
}  # fmt: skip
IN_CLASS = f"""
import importlib, pkgutil, sys
import llmlab
llmlab.setup()
for room in ("", *{ROOMS!r}):
    package = importlib.import_module(f"llmlab.{{room}}".rstrip("."))
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if module.name not in {OWN_EXTRA!r}:
            importlib.import_module(module.name)
parts = ("torch.distributed.fsdp", "torch.distributed.checkpoint", "torch._inductor")
print(*({EXTRA!r} | set(parts)) & sys.modules.keys())
"""


def test_a_class_loads_nothing_of_the_extras():
    command = [sys.executable, "-c", IN_CLASS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


# --- What its notebooks hold ----------------------------------------------------------------


def saved(path: Path) -> list[dict]:
    return json.loads(path.read_text("utf-8"))["cells"]


def test_each_source_has_its_notebook():
    source = ROOT / "notebooks" / "src"
    assert {path.stem for path in source.glob("*.py")} == {path.stem for path in NOTEBOOKS}
    assert {path.stem for path in source.glob("extra/*.py")} == {path.stem for path in EXTRAS}
    assert [path.stem[:2] for path in NOTEBOOKS] == [f"{number:02}" for number in range(9)]


notebooks = pytest.mark.parametrize("path", NOTEBOOKS + EXTRAS, ids=lambda path: path.stem)


@notebooks
def test_notebook_is_in_step_with_its_source(path, build):
    folder = ROOT / "notebooks"
    source = folder / "src" / path.relative_to(folder).with_suffix(".py")
    assert build.source_cells(path) == build.source_cells(source), "run `make notebooks`"
    for key in ("minutes", "budget_s"):
        assert build.read(path).metadata.llmlab[key] == build.read(source).metadata.llmlab[key] > 0


@notebooks
def test_notebook_was_run_and_saved_tidily(path):
    assert path.stat().st_size < 2_000_000
    for number, cell in enumerate(saved(path)):
        if cell["cell_type"] != "code":
            continue
        assert cell["execution_count"], f"cell {number} was not run"
        kinds = {output["output_type"] for output in cell["outputs"]}
        assert "error" not in kinds, f"cell {number} failed"
        if "source-text" in cell["metadata"].get("tags", []):
            assert not kinds, f"cell {number} keeps a text of others"


# --- What nobody should find in it ----------------------------------------------------------

# Written in pieces, so that this file does not hold them itself.
PLACES = [f"/{name}/" for name in ("root", "work/main", "work/shared", "tmp/w", "opt/pypi")]
INDEXES = ["pypi" + ".org", "python" + "hosted.org"]


def texts() -> list[Path]:
    """The files that belong to the project, as git sees them."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    kinds = {".py", ".js", ".md", ".ipynb", ".txt", ".toml", ".json", ""}
    paths = [ROOT / name for name in names.splitlines()]
    return [path for path in paths if path.suffix in kinds and path.is_file()]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone: git cannot list the files")
def test_no_path_of_a_machine_and_no_package_index_is_named():
    found = [
        (path.relative_to(ROOT), word)
        for path in texts()
        for word in PLACES + INDEXES
        if word in path.read_text("utf-8", errors="ignore")
    ]
    assert found == []
