"""The student edition: the notebooks without their solutions, as nbgrader's ClearSolutions does it.

A solution stands in a source between two lines of their own, `### BEGIN SOLUTION` and
`### END SOLUTION`.  There are two kinds, and a gap in the student edition for each:

- inside a function, whose head and docstring are given: `# YOUR CODE HERE` and
  `raise NotImplementedError()`;
- at the top of a cell, plain assignments `name = value` and nothing else: `name = ...` for each.

So a cell with a gap runs: nothing raises until somebody calls the function, and `check`, which
does, says "not done yet".  A later cell that needs the function takes the package's, so that the
student edition runs from top to bottom, whatever is filled in.  Markers that stand elsewhere are
refused, with the cell and the reason.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmlab import artifacts
from llmlab.artifacts import LabError

if TYPE_CHECKING:
    from nbformat import NotebookNode

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
TO_ANSWERS = re.compile(r"\n\n\[Open in Colab\]\(\S+\)$")  # a link to the notebook with solutions
LIKE_A_MARKER = re.compile(r"#.*\b(begin|end)\W*solution", re.IGNORECASE)
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def write_student_edition(sources: Path, out: Path) -> list[Path]:
    """Write each `*.py` in and below the folder `sources` into `out`, as a notebook with gaps.

    Nothing is written unless every source can be, and no file that differs is overwritten: it may
    hold somebody's answers.  Returns the paths; LabError with the reason otherwise.
    """
    import nbformat

    texts = {
        out / source.relative_to(sources).with_suffix(".ipynb"): (
            nbformat.writes(make_student(source)) + "\n"
        )
        for source in sorted(sources.rglob("*.py"))
    }
    if not texts:
        raise LabError(f"There are no notebook sources in {sources}; a clone has notebooks/src.")
    for path, text in texts.items():
        if path.exists() and path.read_bytes() != text.encode():
            raise LabError(
                f"{path} is there already and may hold answers, so nothing was written. "
                "Name an empty folder."
            )
    for path, text in texts.items():
        artifacts.write_atomic(path, text)
    return list(texts)


def make_student(source: Path) -> "NotebookNode":
    """A source (py:percent) as a notebook with gaps and without outputs."""
    import jupytext
    import nbformat

    notebook = jupytext.read(source, fmt="py:percent")
    metadata = {"llmlab": notebook.metadata.get("llmlab", {})}
    notebook.metadata = nbformat.from_dict(METADATA | metadata)
    codes = [cell.source if cell.cell_type == "code" else "" for cell in notebook.cells]
    try:
        cleared = clear_solutions(codes)
    except LabError as error:
        raise LabError(f"{source.name}, {error}") from None
    for number, (cell, code) in enumerate(zip(notebook.cells, cleared, strict=True)):
        cell.id = f"cell-{number:02}"
        cell.source = code or TO_ANSWERS.sub("", cell.source)
    return notebook


def clear_solutions(codes: list[str]) -> list[str]:
    """The code of a notebook's cells, in order, with gaps in place of solutions.

    LabError names the cell, counted from 0, and the rule that it breaks.
    """
    cleared = []
    for number, code in enumerate(codes):
        try:
            cleared.append(fill(code, find_gaps(code)))
        except LabError as error:
            raise LabError(f"cell {number}: {error}") from None
    return cleared


# --- One cell -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gap:
    """Lines `first` to `last` of a cell (counted from 0, with the markers), and what stands in
    for them."""

    first: int
    last: int
    stub: list[str]


def find_gaps(code: str) -> list[Gap]:
    """The solutions of one cell, in order; LabError where the markers do not fit together."""
    gaps, first = [], None
    for number, line in enumerate(code.split("\n")):
        marker = line.strip()
        if marker not in (BEGIN, END):
            if LIKE_A_MARKER.search(line):
                raise LabError(f"line {number + 1} is nearly a marker; write {BEGIN} or {END}.")
        elif (marker == BEGIN) != (first is None):
            raise LabError(f"line {number + 1} has {marker} where the other one was due.")
        elif marker == BEGIN:
            first = number
        else:
            gaps.append(_gap(code, first, number))
            first = None
    if first is not None:
        raise LabError(f"{BEGIN} in line {first + 1} has no {END}.")
    return gaps


def _gap(code: str, first: int, last: int) -> Gap:
    """The gap between two markers: in a function, or assignments at the top of the cell."""
    begin, tree = code.split("\n")[first], _parse(code)
    indent = len(begin) - len(begin.lstrip())
    statements = [n for n in ast.walk(tree) if isinstance(n, ast.stmt)]
    inside = [n for n in statements if first < n.lineno - 1 < last]
    ends = max((n.end_lineno for n in inside), default=0)
    if not inside or ends > last or min(n.col_offset for n in inside) != indent:
        raise LabError(f"the solution in line {first + 1} and its markers do not fit together.")
    around = [n for n in statements if n.lineno - 1 < first and n.end_lineno >= ends]
    if any(isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) for n in around):
        stub = ["# YOUR CODE HERE", "raise NotImplementedError()"]
        return Gap(first, last, [" " * indent + line for line in stub])
    if not around and all(_is_plain(n) for n in inside):
        names = [t.id for n in inside for t in ast.walk(n.targets[0]) if isinstance(t, ast.Name)]
        return Gap(first, last, [f"{n} = ...  # YOUR ANSWER HERE" for n in names])
    raise LabError(
        f"the solution in line {first + 1} must stand inside a function, or be assignments "
        "`name = value` at the top of the cell: else the student's cell could not run."
    )


def _is_plain(node: ast.stmt) -> bool:
    """Whether a statement is `name = value`, or `a, b = value`."""
    if not isinstance(node, ast.Assign) or len(node.targets) > 1:
        return False
    parts = getattr(node.targets[0], "elts", node.targets)
    return all(isinstance(part, ast.Name) for part in parts)


def fill(code: str, gaps: list[Gap]) -> str:
    """The cell's code with each gap's stub in place of the solution."""
    lines = code.split("\n")
    for gap in reversed(gaps):
        lines[gap.first : gap.last + 1] = gap.stub
    return "\n".join(lines)


def _parse(code: str) -> ast.Module:
    """A cell's syntax tree; lines for IPython (%pip, !ls) count as `pass`."""
    python = re.sub(r"^([ \t]*)[%!].*$", r"\1pass", code, flags=re.M)
    try:
        return ast.parse(python)
    except SyntaxError as error:
        raise LabError(f"line {error.lineno} is not Python ({error.msg}).") from None
