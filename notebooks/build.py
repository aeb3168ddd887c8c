"""From source to notebook: execute `notebooks/src/**/*.py` and save what came out, tidied.

    python notebooks/build.py [NAME…] [--out DIR] [--html]
    python notebooks/build.py --links [OWNER/NAME]
    python notebooks/build.py --stale

The last two execute nothing.  --links writes a GitHub repository (that of `origin`, if none is
named) into README and notebooks: links that open them on Colab, and where llmlab is installed from
there.  --stale says which studies and notebooks are to be made anew, and how.

A source is text (py:percent).  Its header says what the notebook costs:

    # ---
    # jupyter:
    #   llmlab:
    #     minutes: 30      of class time
    #     budget_s: 180    of computing; a run over 1.5 times as long fails the tests
    # ---

The saved notebook's metadata holds, beside that, the hashes of the checkpoints, their logs and the
studies that it has read: when one of them is made anew, the notebook is stale.

Two builds of one source differ only where its numbers do: cell ids and metadata are fixed.  A cell
that quotes texts of others begins with

    # %% tags=["source-text"]

and is saved without output, under a markdown cell that says so.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

NOTEBOOKS = Path(__file__).resolve().parent
SOURCES = NOTEBOOKS / "src"
DATA = NOTEBOOKS.parent / "data"
RUNS = NOTEBOOKS.parent / "runs" / "built"  # of the notebook that is executed, and of no other
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


class BuildError(Exception):
    """A notebook that cannot be saved, with the reason in one sentence."""


def read(path: Path) -> nbformat.NotebookNode:
    """A source or a saved notebook, as a notebook."""
    if path.suffix == ".ipynb":
        return nbformat.read(path, as_version=4)
    return jupytext.read(path, fmt="py:percent")


def source_cells(path: Path) -> list[tuple[str, str, list[str]]]:
    """(type, source, tags) of each cell of a source or a saved notebook: what must be in step."""
    return [(c.cell_type, c.source, c.metadata.get("tags", [])) for c in read(path).cells]


def execute(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Run all cells, without runs of before, and put the hashes of what they read in `data/` into
    the metadata."""
    shutil.rmtree(RUNS, ignore_errors=True)
    with tempfile.TemporaryDirectory() as place:
        log = Path(place, "read")
        log.touch()
        with mock.patch.dict(os.environ, LLMLAB_READ_LOG=str(log), LLMLAB_RUNS=str(RUNS)):
            run_cells(notebook, folder)
        paths = {Path(line) for line in log.read_text("utf-8").splitlines()}
    notebook.metadata.llmlab.update(hashes(paths))


def run_cells(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Run all cells in a new kernel that stands in `folder`, keeping the outputs."""
    metadata = {"llmlab": notebook.metadata.get("llmlab", {})}
    notebook.metadata = nbformat.from_dict(METADATA | metadata)
    os.environ["LLMLAB_STRICT"] = "1"  # a wrong solution is an error, and is not saved
    NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=None,
        record_timing=False,
        coalesce_streams=True,  # else what a cell prints comes in pieces
        resources={"metadata": {"path": str(folder)}},
    ).execute()


def normalise(notebook: nbformat.NotebookNode) -> None:
    """Leave in the notebook what a reader sees, and nothing that differs for no reason."""
    metadata = {"llmlab": notebook.metadata.get("llmlab", {})}
    notebook.metadata = nbformat.from_dict(METADATA | metadata)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            quotes = "source-text" in tags
            cell.outputs = [] if quotes else [o for o in cell.outputs if shown(o)]
            for output in cell.outputs:
                drop_live_view(output)


def shown(output: nbformat.NotebookNode) -> bool:
    """Progress bars and warnings go to stderr: not a reader's business."""
    return not (output.output_type == "stream" and output.name == "stderr")


def drop_live_view(output: nbformat.NotebookNode) -> None:
    """Keep the static picture of a widget: its live view needs a kernel that is gone."""
    data = output.get("data", {})
    if "text/html" in data or "image/png" in data:
        data.pop(WIDGET_VIEW, None)


def check_private(notebook: nbformat.NotebookNode) -> None:
    """Raise BuildError where an output names a folder of this machine."""
    private = {str(Path.home()), str(NOTEBOOKS.parent)} - {"/"}
    for number, cell in enumerate(notebook.cells):
        outputs = json.dumps(cell.get("outputs", [])).replace("\\\\", "\\")
        for folder in private:
            if re.search(re.escape(folder) + r"(?![\w-])", outputs):
                raise BuildError(f"the output of cell {number} names a folder of this machine")


def write(path: Path, text: str) -> None:
    """The whole file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def to_html(notebook: nbformat.NotebookNode, title: str) -> str:
    """The executed notebook as one page, which needs no script and loads nothing."""
    from nbconvert import HTMLExporter

    page, _ = HTMLExporter().from_notebook_node(
        notebook, resources={"metadata": {"name": title, "path": str(NOTEBOOKS)}}
    )
    return re.sub(r"<script\b.*?</script>", "", page, flags=re.S)  # else some come from elsewhere


def build(source: Path, out: Path, html: bool = False) -> Path:
    """Execute one source; write NAME.ipynb, or NAME.html, into `out`; return where.

    Raises BuildError, with nothing written, when a cell fails or an output is private.
    """
    notebook = read(source)
    part = "extra" if source.parent.name == "extra" else "."
    (NOTEBOOKS / part).mkdir(exist_ok=True)
    try:
        execute(notebook, NOTEBOOKS / part)
    except CellExecutionError as error:
        raise BuildError(f"a cell failed\n{error}") from None
    normalise(notebook)
    check_private(notebook)
    nbformat.validate(notebook)
    path = out / part / f"{source.stem}{'.html' if html else '.ipynb'}"
    write(path, to_html(notebook, source.stem) if html else nbformat.writes(notebook) + "\n")
    return path


# --- What is stale -----------------------------------------------------------------------------


def hashes(paths: set[Path]) -> dict[str, dict[str, str]]:
    """Of the files in data/checkpoints and data/studies: folder -> file's name -> its hash."""
    return {
        kind: {p.name: file_hash(p) for p in sorted(paths) if p.parent == DATA / kind}
        for kind in ("checkpoints", "studies")
    }


def file_hash(path: Path) -> str:
    """16 hex digits of what a file holds: a checkpoint's tensors, or what is written in a JSON
    file, however it is laid out.  "missing" where there is none."""
    from llmlab import artifacts, checkpoint

    if not path.exists():
        return "missing"
    if path.suffix == ".safetensors":
        return checkpoint.file_fingerprint(path)
    return artifacts.text_hash(json.dumps(artifacts.read_json(path), sort_keys=True))[:16]


def changed(notebook: Path) -> list[str]:
    """What a saved notebook has read, and is different today."""
    kept = read(notebook).metadata.llmlab
    if "checkpoints" not in kept:
        return ["what it has read is not recorded"]
    then = {kind: kept[kind] for kind in ("checkpoints", "studies")}
    now = hashes({DATA / kind / name for kind in then for name in then[kind]})
    return [n for kind, files in then.items() for n in files if files[n] != now[kind][n]]


def stale() -> dict[str, str]:
    """Studies and notebooks that show what is no more: name -> what changed, and the command that
    makes it anew.  Studies come first, because notebooks show them."""
    from llmlab import studies

    names = [path.stem for path in sorted((DATA / "studies").glob("*.json"))]
    saved = [*sorted(NOTEBOOKS.glob("*.ipynb")), *sorted(NOTEBOOKS.glob("extra/*.ipynb"))]
    again = {name: (studies.stale(name), f"-m llmlab study {name} --ship") for name in names}
    again |= {path.stem: (changed(path), f"notebooks/build.py {path.stem}") for path in saved}
    return {
        name: f"{', '.join(what)}; again with `python {command}`"
        for name, (what, command) in again.items()
        if what
    }


# --- Links to Colab ---------------------------------------------------------------------------

ON_GITHUB = re.compile(
    r"(?:(?:ssh://)?git@github\.com[:/]|https://github\.com/)([\w.-]+/[\w.-]+?)(?:\.git)?/?"
)
OPENING = re.compile(r"^# (?:\*On Colab|\[Open in Colab\]).*$", re.M)
INSTALL = re.compile(
    r'(?<=^    if not find_spec\("llmlab"\):\n).*?(?=^    from llmlab\.colab import)', re.M | re.S
)
IN_README = re.compile(
    r"(\[[^]]+\]\((notebooks/[\w/]+\.ipynb)\))(?: \(\[Colab\]\([^)]*\)\))?(?= \|)"
)


def repository(named: str | None = None) -> str:
    """OWNER/NAME as named, of an address on GitHub, or of `origin`; BuildError for others."""
    if named and re.fullmatch(r"[\w.-]+/[\w.-]+", named):
        return named
    asked = ["git", "remote", "get-url", "origin"]
    origin = subprocess.run(asked, cwd=NOTEBOOKS.parent, capture_output=True, text=True)
    address = named or origin.stdout.strip()
    if not (found := ON_GITHUB.fullmatch(address)):
        raise BuildError(
            f"{address or 'this clone, which has no origin,'} is no repository on GitHub; "
            "nothing was changed. Name one: --links OWNER/NAME"
        )
    return found[1]


def on_colab(repository: str, place: str) -> str:
    """The address that opens a notebook of that repository on Colab; place: its path there."""
    return f"https://colab.research.google.com/github/{repository}/blob/main/{place}"


def link_to(repository: str, root: Path = NOTEBOOKS.parent) -> list[Path]:
    """Let README, sources and notebooks name that repository; the files that changed."""
    readme, folder = root / "README.md", root / "notebooks"

    def link(row: re.Match) -> str:
        return f"{row[1]} ([Colab]({on_colab(repository, row[2])}))"

    texts = {readme: IN_README.sub(link, readme.read_text("utf-8"))}
    for source in sorted((folder / "src").rglob("*.py")):
        path = folder / source.relative_to(folder / "src").with_suffix(".ipynb")
        texts[source] = linked(source, repository, path.relative_to(root).as_posix())
        texts[path] = with_opening(path, texts[source])
    changed = [path for path, text in texts.items() if text != path.read_text("utf-8")]
    for path in changed:
        write(path, texts[path])
    return changed


def linked(source: Path, repository: str, place: str) -> str:
    """A source that opens on Colab from that repository, and installs llmlab from it."""
    link = f"# [Open in Colab]({on_colab(repository, place)})"
    install = f"""\
        print("Installing llmlab")
        # %pip install -q --no-deps git+https://github.com/{repository}
"""
    text = OPENING.sub(link, source.read_text("utf-8"), count=1)
    return INSTALL.sub(install, text, count=1)


def with_opening(path: Path, source: str) -> str:
    """A saved notebook whose first two cells, title and set-up, are those of this source."""
    notebook = read(path)
    new = jupytext.reads(source, fmt="py:percent").cells[:2]
    for cell, its in zip(notebook.cells, new, strict=False):
        cell.source = its.source
    return nbformat.writes(notebook) + "\n"


# --- By name ----------------------------------------------------------------------------------


def find_sources(names: list[str]) -> list[Path]:
    """The sources of these names, such as "04" or "01b", in order; the series for none: an extra
    may need packages that the series does not."""
    series = sorted(SOURCES.glob("*.py"))
    sources = series + sorted(SOURCES.glob("extra/*.py"))
    for name in names:
        if not any(is_called(source, name) for source in sources):
            raise BuildError(f"there is no notebook {name}; there are: {stems(sources)}")
    return [s for s in sources if any(is_called(s, name) for name in names)] if names else series


def is_called(source: Path, name: str) -> bool:
    return source.stem == name or source.stem.startswith(f"{name}_")


def stems(paths: list[Path]) -> str:
    return ", ".join(path.stem for path in paths) or "none yet"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Execute notebook sources and save them.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="04 or 01b; the series by default")
    parser.add_argument("--out", type=Path, default=NOTEBOOKS, help="folder to write into")
    parser.add_argument("--html", action="store_true", help="write pages, leave notebooks alone")
    parser.add_argument(
        "--links", nargs="?", const="", metavar="OWNER/NAME", help="write links to Colab only"
    )
    parser.add_argument("--stale", action="store_true", help="say only what is to be made anew")
    args = parser.parse_args(argv)
    if args.stale:
        print("\n".join(f"{name}: {why}" for name, why in stale().items()) or "nothing is stale")
        return 0
    source = None
    try:
        if args.links is not None:
            name = repository(args.links)
            print(f"{name}: {len(link_to(name))} files changed")
            return 0
        for source in find_sources(args.names):
            start = time.perf_counter()
            path = build(source, args.out, args.html)
            print(f"{path.name}  {time.perf_counter() - start:.0f} s", flush=True)
    except BuildError as error:
        print(f"{source.stem if source else 'build'}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
