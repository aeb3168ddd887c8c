"""The manners of the notebooks: lengths, what stands where, and exercises that are well formed.

`offences` is the lint; it runs over every source of the series, and its own tests break a good
notebook in one way after the other.  That source and saved notebook agree: test_project.py.
"""

import json
import re
from pathlib import Path
from typing import NamedTuple

import jupytext
import pytest
from helpers.gaps import gap_offences

from llmlab.artifacts import LabError
from llmlab.classroom import exercises
from llmlab.classroom.student_edition import BEGIN, END, clear_solutions

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
SOURCES = sorted((NOTEBOOKS / "src").glob("[0-9][0-9]_*.py"))
EXTRAS = sorted((NOTEBOOKS / "src" / "extra").glob("[0-9][0-9][a-z]_*.py"))
SERIES = [source.stem for source in SOURCES]
SAVED = sorted([*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("extra/*.ipynb")])

CODE_LINES, PROSE_WORDS = 20, 110
OPENING = re.compile(
    r"# (?P<number>\d\d[a-z]?) .+\*\*You will be able to\*\*.+\*(?P<minutes>\d+) minutes\b", re.S
)
SET_UP = re.compile(r"^import llmlab$.*^lab = llmlab\.setup\(", re.S | re.M)
LINK = re.compile(r"\]\(([\w/.-]+\.ipynb)\)")
HEADER = re.compile(r"### Exercise (?P<n>\d+) · (?P<must>must · )?(?=[●○]{3} )●+○* · \d+ min\n")
HINT = re.compile(r"<details>\s*<summary>Hint</summary>\s*\S.*</details>", re.S)
CHECK = re.compile(r"""check\("(?P<name>[^"]+)", """)


class Cell(NamedTuple):
    kind: str  # "code" or "markdown"
    source: str


def offences(cells: list[Cell], minutes: float, following: str | None) -> list[str]:
    """What a notebook does against the manners, one sentence each.

    minutes: those in its header; following: the notebook that its last link goes to, None where
    any will do.
    """
    found = [f"cell {i}: {s}" for i, cell in enumerate(cells) for s in length(cell)]
    codes = [cell.source for cell in cells if cell.kind == "code"]
    prose = [cell.source for cell in cells if cell.kind == "markdown"]
    opening = OPENING.match(prose[0])
    if not opening:
        found.append("the first cell lacks title, 'You will be able to' or the minutes")
    elif float(opening["minutes"]) != minutes:
        found.append(f"it says {opening['minutes']} minutes, and its header says {minutes}")
    if not SET_UP.search(codes[0]):
        found.append("the first code cell is not `import llmlab` and `lab = llmlab.setup()`")
    ending = "\n".join(prose)
    recap = ending.find("\n## Recap\n")
    if recap < 0:
        found.append("there is no '## Recap'")
    for part in ("**At full size**", "**Further reading**"):
        if part not in ending[recap:]:
            found.append(f"there is no {part} after the recap")
    links = LINK.findall(prose[-1])
    if not links or following and links[-1] != f"{following}.ipynb":
        found.append(f"it does not end with a link to {following or 'a notebook'}")
    missing = [link for link in LINK.findall(ending) if not linked(link)]
    return found + [f"a link goes nowhere: {link}" for link in missing] + exercise_offences(cells)


def length(cell: Cell) -> list[str]:
    """Whether a cell is too long; markers and folded hints do not count."""
    if cell.kind == "code":
        lines = [x for x in cell.source.splitlines() if x.strip() not in (BEGIN, END)]
        return [f"{len(lines)} lines of code"] if len(lines) > CODE_LINES else []
    words = len(re.sub(r"<details>.*?</details>", "", cell.source, flags=re.S).split())
    return [f"{words} words"] if words > PROSE_WORDS else []


def linked(link: str) -> bool:
    """Whether a relative link leads to a notebook, saved or as a source."""
    return (NOTEBOOKS / link).exists() or Path(link).stem in {s.stem for s in SOURCES + EXTRAS}


# --- Exercises ------------------------------------------------------------------------------


def exercise_offences(cells: list[Cell]) -> list[str]:
    """What is wrong with a notebook's exercises; nothing where it has none."""
    found, heads = [], []
    for i, (cell, after) in enumerate(zip(cells, [*cells[1:], Cell("", "")], strict=True)):
        if cell.kind == "code":
            own = BEGIN in cell.source or CHECK.search(cell.source)
            if own and not cells[i - 1].source.startswith("### Exercise"):
                found.append(f"cell {i}: a solution or a check without '### Exercise' above it")
        elif "### Exercise" in cell.source:
            head = HEADER.match(cell.source + "\n")
            heads.append(head)
            if not head:
                found.append(f"cell {i}: not like '### Exercise 1 · must · ●●○ · 8 min'")
            if not HINT.search(cell.source):
                found.append(f"cell {i}: no folded hint")
            last = after.source.strip().rpartition("\n")[2]
            if after.kind != "code" or not CHECK.match(last) or BEGIN not in after.source:
                found.append(f"cell {i + 1}: no code with a solution that ends with its check")
    codes = [cell.source if cell.kind == "code" else "" for cell in cells]
    try:
        clear_solutions(codes)
        found += gap_offences(codes)
    except LabError as error:
        found.append(str(error))
    return found + (count_offences(heads) + name_offences(cells) if heads else [])


def count_offences(heads: list[re.Match | None]) -> list[str]:
    """Three to five exercises, counted from 1, exactly one of them a must."""
    if not all(heads):
        return []
    found = [] if 3 <= len(heads) <= 5 else [f"{len(heads)} exercises, and not 3 to 5"]
    if [int(head["n"]) for head in heads] != list(range(1, len(heads) + 1)):
        found.append("the exercises are not counted 1, 2, 3, …")
    musts = sum(bool(head["must"]) for head in heads)
    return found if musts == 1 else [*found, f"{musts} exercises are a must, and not one"]


def name_offences(cells: list[Cell]) -> list[str]:
    """Each check is registered under the notebook's number, and each registered one is used."""
    number = re.match(r"# (\w+)", cells[0].source)[1]
    used = [name for cell in cells if cell.kind == "code" for name in CHECK.findall(cell.source)]
    known = set(exercises.names(number))
    found = [f"no check is called {name}" for name in set(used) - known]
    found += [f"{name} is never asked" for name in known - set(used)]
    return found + [f"{name} is asked twice" for name in set(used) if used.count(name) > 1]


# --- The series -----------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES + EXTRAS, ids=lambda path: path.stem)
def test_manners(source, build):
    notebook = build.read(source)
    cells = [Cell(cell.cell_type, cell.source) for cell in notebook.cells]
    following = dict(zip(SERIES, SERIES[1:], strict=False)).get(source.stem)
    assert offences(cells, notebook.metadata.llmlab["minutes"], following) == []


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_each_live_view_leaves_a_picture(path):
    """What only a kernel can show is nothing to a reader of the saved notebook."""
    for number, cell in enumerate(json.loads(path.read_text("utf-8"))["cells"]):
        for output in cell.get("outputs", []):
            kinds = output.get("data", {}).keys()
            live = "application/vnd.jupyter.widget-view+json" in kinds
            assert not live or kinds & {"text/html", "image/png"}, f"cell {number}"


# --- The lint itself ------------------------------------------------------------------------

for _name in ("91.one", "91.two", "91.three"):
    exercises.exercise(_name)(lambda answer: None)

TASK = """
# %% [markdown]
# ### Exercise {n} · {must}●●○ · 8 min
#
# Give back one.
#
# <details><summary>Hint</summary>
#
# Count.
#
# </details>

# %%
def one():
    ### BEGIN SOLUTION
    return 1
    ### END SOLUTION

check("91.{name}", one)
"""
TASKS = [
    TASK.format(n=n, must="must · " * (n == 1), name=name)
    for n, name in enumerate(("one", "two", "three"), 1)
]
START = """# %% [markdown]
# # 91 Small: a notebook
#
# **You will be able to** read it.
#
# *5 minutes. Needs: a laptop.*

# %%
import llmlab

lab = llmlab.setup()

# %% [markdown]
# ## More
#
# Some prose.

# %%
x = 1
"""
ENDING = """
# %% [markdown]
# ## Recap
#
# That was all.
#
# **At full size** it is larger.
#
# **Further reading**: Anon 2020, *A paper*.
#
# [Next: 02 Tokenization](02_tokenization.ipynb)
"""
GOOD = START + "".join(TASKS) + ENDING


def lint(text: str) -> list[str]:
    notebook = jupytext.reads(text, fmt="py:percent")
    cells = [Cell(cell.cell_type, cell.source) for cell in notebook.cells]
    return offences(cells, 5, "02_tokenization")


@pytest.mark.parametrize("text", [GOOD, START + ENDING], ids=["exercises", "none yet"])
def test_a_good_notebook_is_let_alone(text):
    assert lint(text) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("x = 1\n", "x = 1\n" * 21, "cell 3: 21 lines of code"),
        ("Some prose.", "Some prose. " * 60, "cell 2: 122 words"),
        ("# # 91 Small", "# # Small", "the first cell lacks title"),
        ("**You will be able to** read", "Read", "the first cell lacks title"),
        ("*5 minutes.", "*Minutes.", "the first cell lacks title"),
        ("*5 minutes.", "*6 minutes.", "it says 6 minutes"),
        ("lab = llmlab.setup()", "lab = 1", "`lab = llmlab.setup()`"),
        ("## Recap", "## The end", "there is no '## Recap'"),
        ("**At full size**", "At size", "there is no **At full size** after the recap"),
        ("**Further reading**", "Reading", "there is no **Further reading** after the recap"),
        ("(02_tokenization.ipynb)", "(03_embedding.ipynb)", "link to 02_tokenization"),
        ("[Next: 02 Tokenization](02_tokenization.ipynb)", "", "link to 02_tokenization"),
        ("Some prose.", "[See](09_none.ipynb).", "a link goes nowhere: 09_none.ipynb"),
        ("Exercise 1 · must · ●●○", "Exercise 1 · must · ●●", "not like '### Exercise 1"),
        ("Exercise 1 · must · ●●○", "Exercise 1 · must · ○○○", "not like '### Exercise 1"),
        ("Exercise 1 · must · ●●○", "Exercise 1 · ●●○ · must", "not like '### Exercise 1"),
        ("Exercise 1 · must · ●●○ · 8 min", "Exercise 1 · must · ●●○", "not like '### Exercise 1"),
        ("Exercise 2", "Exercise 3", "not counted 1, 2, 3"),
        ("must · ", "", "0 exercises are a must"),
        ("Exercise 2 · ", "Exercise 2 · must · ", "2 exercises are a must"),
        ("".join(TASKS[1:]), "", "1 exercises, and not 3 to 5"),
        ("<summary>Hint</summary>", "Hint:", "no folded hint"),
        ('check("91.two", one)', 'check("91.two", one)\nprint(1)', "ends with its check"),
        ('check("91.two", one)', "print(1)", "ends with its check"),
        (
            'check("91.two", one)',
            'check("91.four", one)',
            "no check is called 91.four",
        ),
        ('check("91.two", one)', 'check("91.four", one)', "91.two is never asked"),
        ('check("91.two", one)', 'check("91.one", one)', "91.one is asked twice"),
        ("    ### END SOLUTION\n", "", "has no ### END SOLUTION"),
        ("x = 1", 'check("91.one", 1)', "without '### Exercise' above it"),
        (
            "    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION",
            "    return 1",
            "no code with",
        ),
        (
            "# ## Recap",
            "# ## Before\n\n# %%\none()\n\n# %% [markdown]\n# ## Recap",
            "may still be a",
        ),
    ],
)
def test_each_offence_is_named(old, new, said):
    assert old in GOOD
    found = lint(GOOD.replace(old, new))
    assert any(said in offence for offence in found), found


def test_markers_and_hints_do_not_count_as_length():
    lines = "    x = 1\n" * 16
    text = GOOD.replace("    return 1\n", lines + "    return 1\n").replace(
        "Count.", "Count. " * 99
    )
    assert lint(text) == []
