"""The student edition: no solution in it, and it runs whatever is filled in."""

import ast
import os
import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from helpers.gaps import gap_offences
from nbclient import NotebookClient

from llmlab.artifacts import LabError
from llmlab.classroom.student_edition import clear_solutions, make_student, write_student_edition

SOURCES = Path(__file__).resolve().parents[2] / "notebooks" / "src"

FUNCTION = '''def double(n):
    """Twice n."""
    if n:
        ### BEGIN SOLUTION
        two = 2

        return two * n
        ### END SOLUTION

check("93.double", double)'''

VALUES = """import math
### BEGIN SOLUTION
# by hand
root = math.sqrt(16)
low, high = 1, 2
### END SOLUTION
check("93.root", (root, low, high))"""


def cleared(*codes: str) -> list[str]:
    return clear_solutions(list(codes))


# --- Gaps -----------------------------------------------------------------------------------


def test_a_function_keeps_its_head():
    (code,) = cleared(FUNCTION)
    assert (
        code
        == '''def double(n):
    """Twice n."""
    if n:
        # YOUR CODE HERE
        raise NotImplementedError()

check("93.double", double)'''
    )


def test_values_become_ellipses():
    (code,) = cleared(VALUES)
    assert (
        code
        == """import math
root = ...  # YOUR ANSWER HERE
low = ...  # YOUR ANSWER HERE
high = ...  # YOUR ANSWER HERE
check("93.root", (root, low, high))"""
    )


def test_two_solutions_in_a_cell_and_a_method():
    code = """class Net:
    def one(self):
        ### BEGIN SOLUTION
        return 1
        ### END SOLUTION

    def two(self):
        ### BEGIN SOLUTION
        return 2
        ### END SOLUTION
check("93.net", Net)"""
    (out,) = cleared(code)
    ast.parse(out)
    assert out.count("        raise NotImplementedError()") == 2 and "return" not in out


def test_a_function_under_an_if():
    lines = FUNCTION.rpartition("\n")[0].splitlines()
    code = "\n".join(["if True:", *(f"    {line}" for line in lines), 'check("93.double", double)'])
    assert "            raise NotImplementedError()" in cleared(code)[0]
    assert gap_offences([code, "double(1)"]) == ["cell 1: double may still be a gap here"]


def test_code_without_solutions_stays_as_it_is():
    codes = ["", "%pip list\n!ls\nx = 1", 'print("a\u2028b")\n', "await thing()"]
    assert cleared(*codes) == codes


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (FUNCTION.replace("### END SOLUTION", ""), "has no ### END SOLUTION"),
        (FUNCTION.replace("### BEGIN SOLUTION", ""), "where the other one was due"),
        (FUNCTION.replace("END", "BEGIN"), "where the other one was due"),
        (FUNCTION.replace("### END", "## END"), "nearly a marker"),
        (FUNCTION.replace("### BEGIN SOLUTION", "### begin solution"), "nearly a marker"),
        (FUNCTION.replace("### BEGIN SOLUTION", "### BEGIN SOLUTION: easy"), "nearly a marker"),
        (FUNCTION.replace("        ### BEGIN", "    ### BEGIN"), "do not fit together"),
        (FUNCTION.replace("        ### BEGIN", "### BEGIN"), "do not fit together"),
        ("### BEGIN SOLUTION\n### END SOLUTION\ncheck('93.x', 1)", "do not fit together"),
        ("### BEGIN SOLUTION\nif x:\n    ### END SOLUTION\n    y = 1", "do not fit together"),
        ("### BEGIN SOLUTION\nprint(1)\n### END SOLUTION\ncheck('93.x', 1)", "inside a function"),
        (
            "### BEGIN SOLUTION\ndef f(): ...\n### END SOLUTION\ncheck('93.x', f)",
            "inside a function",
        ),
        ("### BEGIN SOLUTION\nx[0] = 1\n### END SOLUTION\ncheck('93.x', x)", "inside a function"),
        (
            "for i in x:\n    ### BEGIN SOLUTION\n    y = i\n    ### END SOLUTION",
            "inside a function",
        ),
        ("x = (\n### BEGIN SOLUTION\n1\n### END SOLUTION\n)\ncheck('93.x', x)", "do not fit"),
        (FUNCTION + "\ndef f(:", "is not Python"),
    ],
)
def test_what_breaks_a_rule_is_refused(code, reason):
    with pytest.raises(LabError, match="cell 1: ") as error:
        cleared("x = [0]", code)
    assert reason in str(error.value)


@pytest.mark.parametrize("use", ["print(double(3))", "def f():\n    return double(1)", "double.x"])
def test_a_gap_is_used_by_nothing_else(use):
    assert gap_offences([FUNCTION, "x = 1", use]) == ["cell 2: double may still be a gap here"]
    cell = VALUES.replace("import math", f"import math\n{use}")
    assert gap_offences([FUNCTION, cell]) == ["cell 1: double may still be a gap here"]
    for fine in (
        [use, FUNCTION],  # before the exercise it is another thing of that name
        [FUNCTION, "from package import double", use],  # the package's version
        [FUNCTION, FUNCTION],
        ["%pip list\n!ls\nx = 1", FUNCTION],
    ):
        assert gap_offences(fine) == []


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (VALUES.rpartition("\n")[0], "ends with its check"),
        (VALUES + "\nprint(1)", "ends with its check"),
        (VALUES.replace("check(", "print(root)\ncheck("), "root may still be a gap"),
        (FUNCTION.replace("\ncheck(", "print(double(2))\ncheck("), "double may still be a gap"),
    ],
)
def test_a_gap_is_used_by_the_check_that_ends_its_cell(code, reason):
    assert [o for o in gap_offences(["x = [0]", code]) if "cell 1: " in o and reason in o]


# --- Files ----------------------------------------------------------------------------------

SOURCE = f"""# ---
# jupyter:
#   llmlab:
#     minutes: 5
#     budget_s: 60
# ---

# %% [markdown]
# # 93 Small

# %%
from llmlab.classroom import Wrong, call, check, exercise

@exercise("93.double")
def _(answer):
    if call(answer, 2) != 4:
        raise Wrong("Twice two is not that.")

@exercise("93.root")
def _root(answer):
    if answer != (4, 1, 2):
        raise Wrong("Not this.")

# %%
{FUNCTION}

# %%
{VALUES}

# %% tags=["source-text"]
print("a text of others")
"""


@pytest.fixture
def sources(tmp_path):
    """A folder with two sources."""
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "92_plain.py").write_text("# %%\nprint(1)\n")
    (folder / "93_small.py").write_text(SOURCE)
    return folder


def run(notebook, **environment) -> str:
    """What a notebook prints in a class; nbclient raises where a cell fails."""
    kernel = {**os.environ, "LLMLAB_STRICT": "", **environment}
    NotebookClient(notebook, kernel_name="python3", timeout=300).execute(env=kernel)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)


def test_edition_is_written_tidily_and_runs(sources, tmp_path):
    paths = write_student_edition(sources, tmp_path / "out")
    assert [path.name for path in paths] == ["92_plain.ipynb", "93_small.ipynb"]
    notebook = nbformat.read(paths[1], as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.llmlab == {"minutes": 5, "budget_s": 60}
    assert notebook.metadata.keys() == {"kernelspec", "language_info", "llmlab"}
    assert [cell.id for cell in notebook.cells] == [f"cell-{i:02}" for i in range(5)]
    assert all(not c.outputs and c.execution_count is None for c in notebook.cells[1:])
    assert notebook.cells[4].metadata.tags == ["source-text"]
    printed = run(notebook)
    assert printed.count("○ 93.") == 2 and "✗" not in printed

    whole = jupytext.read(sources / "93_small.py")
    assert run(whole).count("✓ 93.") == 2  # as the checks see it, the solutions were right


def test_answers_are_never_overwritten(sources, tmp_path):
    first, second = write_student_edition(sources, tmp_path)
    assert write_student_edition(sources, tmp_path) == [first, second]  # nothing differs
    second.write_text(second.read_text().replace("YOUR CODE HERE", "mine"))
    first.unlink()
    with pytest.raises(LabError, match="may hold answers"):
        write_student_edition(sources, tmp_path)
    assert not first.exists() and "mine" in second.read_text()


def test_all_or_nothing(sources, tmp_path):
    (sources / "94_bad.py").write_text("# %%\n" + FUNCTION.replace("### END SOLUTION", ""))
    with pytest.raises(LabError, match=r"94_bad\.py, cell 0: .* has no ### END SOLUTION"):
        write_student_edition(sources, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(LabError, match="no notebook sources"):
        write_student_edition(tmp_path / "nowhere", tmp_path / "out")


# --- The series -----------------------------------------------------------------------------


def test_no_link_of_the_edition_is_dead(tmp_path):
    """A notebook of the series leads to the next one, and some to an extra."""
    links = []
    for path in write_student_edition(SOURCES, tmp_path):
        cells = nbformat.read(path, as_version=4).cells
        found = re.findall(r"\]\(([\w/.-]+\.ipynb)\)", "\n".join(cell.source for cell in cells))
        links += [path.parent / link for link in found]
    assert len(links) > 10 and [link for link in links if not link.is_file()] == []


@pytest.mark.parametrize("source", sorted(SOURCES.rglob("*.py")), ids=lambda path: path.stem)
def test_the_series_becomes_a_student_edition(source):
    student = make_student(source)
    assert "SOLUTION" not in nbformat.writes(student)
    whole = jupytext.read(source, fmt="py:percent")
    for given, kept in zip(whole.cells, student.cells, strict=True):
        assert given.source == kept.source or "### BEGIN SOLUTION" in given.source
