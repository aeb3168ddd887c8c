"""What progress files say: to a learner, what is next; to a teacher, how the class gets on."""

import csv
import json
import os
from pathlib import Path

import pytest

from llmlab import cli
from llmlab.classroom import exercise
from llmlab.classroom.exercises import registered
from llmlab.classroom.progress import Progress, note, progress_file, read_progress
from llmlab.classroom.progress_report import (
    LONGEST_NAME,
    class_csv,
    class_rows,
    class_table,
    collect,
    learners_view,
)

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("in_class")


@exercise("88.two", must=True)
def two(answer):
    assert answer == 2


@exercise("88.three")
def three(answer):
    assert answer == 3


TASKS = registered("88")


# --- To a learner ---------------------------------------------------------------------------


def test_the_learners_view_marks_what_is_solved_and_says_what_is_next():
    tasks = [*registered("02"), *TASKS]
    kept = Progress(solved={"02.pairs", "97.gone"}, seconds=125)
    assert learners_view(kept, tasks).splitlines() == [
        "Exercises solved: 1 of 6; minutes spent: 2",
        "  02  1 of 4   ✓ pairs   · encode (must)   · dollars   · prompt",
        "  88  0 of 2   · two (must)   · three",
        "Next: 02.encode, a must, in 02_tokenization.ipynb",
    ]


@pytest.mark.parametrize(
    ("solved", "number", "following"),
    [
        (set(), "", "02.encode, a must, in 02_tokenization.ipynb"),
        ({"02.encode"}, "", "88.two, a must, in notebook 88"),
        ({"02.encode", "88.two"}, "", "02.pairs in 02_tokenization.ipynb"),
        (set(), "88", "88.two, a must, in notebook 88"),
        ({"88.two"}, "88", "88.three in notebook 88"),
        ({"88.two", "88.three"}, "88", "02.encode, a must, in 02_tokenization.ipynb"),
        ({"88.two", "88.three", *(t.name for t in registered("02"))}, "88", None),
    ],
)
def test_next_is_a_must_before_the_others_and_this_notebook_before_others(
    solved, number, following
):
    view = learners_view(Progress(solved=solved), [*registered("02"), *TASKS], number)
    assert view.partition("\nNext: ")[2] == (following or "")


def test_nothing_registered_is_no_error():
    assert learners_view(Progress(), []) == "Exercises solved: 0 of 0; minutes spent: 0"


# --- To a teacher ---------------------------------------------------------------------------


def hand_in(path: Path, **kept) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"solved": [], **kept}), "utf-8")


@pytest.fixture
def handed_in(tmp_path):
    """A folder of files as a class hands them in."""
    folder = tmp_path / "in"
    hand_in(folder / "ada.json", solved=["88.two", "88.three", "02.encode"], seconds=3600)
    hand_in(folder / "x1.json", name="Bo", tries={"88.two": 3, "02.encode": 5, "no.such": 99})
    hand_in(folder / "Cy Li" / "progress.json", solved=["02.encode"], tries={"88.two": 2})
    hand_in(folder / "dee" / "runs" / "progress (1).json", tries={"02.encode": 1})
    hand_in(folder / "eve_progress.json")
    hand_in(folder / "eve" / "runs" / "report.json")  # no progress file
    hand_in(folder / ".ipynb_checkpoints" / "progress-checkpoint.json", name="nobody")
    hand_in(folder / "__MACOSX" / "._progress.json", name="nobody")
    return folder


def test_a_folder_becomes_a_row_for_each_student(handed_in):
    students, left_out = collect([handed_in])
    assert left_out == []
    assert [kept.name for kept in students] == ["ada", "Bo", "Cy Li", "dee", "eve"]
    table = class_table(class_rows(students, TASKS + registered("02")), TASKS + registered("02"))
    assert table.splitlines() == [
        "student  88  02  solved  minutes  stuck at",
        "          2   4       6",
        "ada       2   1       3       60",
        "Bo        ·   ·       0        0  02.encode (5 wrong)",
        "Cy Li     ·   1       1        0  88.two (2 wrong)",
        "dee       ·   ·       0        0  02.encode (1 wrong)",
        "eve       ·   ·       0        0",
        "Most often stuck at 02.encode: 2 of 5",
    ]


def test_a_damaged_file_is_named_and_left_out(handed_in, capsys):
    (handed_in / "fay.json").write_text('{"solved": 3}', "utf-8")
    assert cli.main(["progress", str(handed_in)]) == 0
    printed = capsys.readouterr()
    assert printed.out.count("\n") >= 7 and "fay" not in printed.out
    assert printed.err.count("\n") == 1
    assert "fay.json was left out: it is damaged, or no progress file." in printed.err


def test_what_is_not_there_too_large_or_empty_is_said(tmp_path, handed_in, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "large.json").write_text('{"solved": []}' + " " * 2_000_000)
    names = ["nowhere.json", "empty", "large.json"]
    paths = [str(tmp_path / name) for name in names]
    assert cli.main(["progress", *paths, str(handed_in / "ada.json")]) == 0
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 3 and "\nada" in printed.out
    assert all(f"{name} was left out" in printed.err for name in names)
    os.mkdir(tmp_path / "in" / "folder.json")
    assert collect([handed_in])[1][0].endswith("folder.json was left out: there is no such file.")
    assert cli.main(["progress", *paths]) == 2
    assert "no progress file could be read" in capsys.readouterr().err


HOSTILE = [
    "\x1b[2J\x1b[8mgone", "two\nrows\tand\rmore", "\u202eevil", "x" * 100_000, "<script>alert(1)",
    "\ud800", "=HYPERLINK(1)", "", "\n\t ", "Ünï çødé", "王小明", "e\u0301" * 10,
]  # fmt: skip


def test_hostile_names_are_printed_plainly(tmp_path, capsys):
    for number, name in enumerate(HOSTILE):
        hand_in(tmp_path / "in" / f"s{number:02}.json", name=name)
    assert cli.main(["progress", str(tmp_path / "in")]) == 0
    table = capsys.readouterr().out
    table.encode("utf-8")
    lines = table.splitlines()
    assert len(lines) == 2 + len(HOSTILE) and table.replace("\n", "").isprintable()
    assert max(map(len, lines)) < 60 + LONGEST_NAME + 4 * len({t.name[:2] for t in registered()})
    assert {"s07", "s08"} <= {line.split()[0] for line in lines[2:]}  # who gave none
    assert any(line.startswith("王小明 ") for line in lines)


def test_csv_is_for_a_spreadsheet_and_no_name_is_a_formula(tmp_path, capsys):
    for number, name in enumerate(HOSTILE):
        hand_in(tmp_path / f"s{number:02}.json", name=name, tries={"88.two": 1})
    assert cli.main(["progress", "--csv", str(tmp_path)]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert len(rows) == len(HOSTILE) and {row["stuck"] for row in rows} == {"88.two"}
    assert "'=HYPERLINK(1)" in {row["name"] for row in rows}
    assert class_csv(class_rows([Progress("a,b")], TASKS)).splitlines()[1] == '"a,b",0,0,0,,0'


# --- The command ----------------------------------------------------------------------------


def test_the_command_shows_what_is_kept_in_the_folder_of_runs(tmp_path, capsys):
    hand_in(tmp_path / "mine" / "progress.json", solved=["02.encode"], seconds=600)
    assert cli.main(["progress", "--runs-dir", str(tmp_path / "mine")]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Exercises solved: 1 of ") and "minutes spent: 10\n" in printed
    assert "✓ encode (must)" in printed and "\nNext: 00.params, a must, in 00_map.ipynb" in printed


def test_a_learner_may_give_a_name(tmp_path, capsys):
    note("88.two", True)
    assert cli.main(["progress", "--name", "  Ada\x1b[8m Lovelace  "]) == 0
    kept = read_progress(progress_file())
    assert kept.solved == {"88.two"} and kept.name == "Ada\N{REPLACEMENT CHARACTER}[8m Lovelace"
    assert cli.main(["progress", "--json", str(tmp_path / "out.json")]) == 0
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["name"].startswith("Ada") and figures["solved"] == 1
    assert cli.main(["progress", str(progress_file())]) == 0
    assert "Ada" in capsys.readouterr().out
