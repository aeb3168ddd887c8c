"""What a learner has done: counted fairly, and kept whole whatever happens."""

import json
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from llmlab import cli
from llmlab.artifacts import LabError
from llmlab.classroom import check, exercise, progress, show_progress
from llmlab.classroom.exercises import registered
from llmlab.classroom.progress import PAUSE, Progress, note, progress_file, read_progress

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("in_class")


@exercise("89.two", must=True)
def two(answer):
    assert answer == 2


@exercise("89.three")
def three(answer):
    assert answer == 3


# --- Minutes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stamps", "seconds"),
    [
        ([], 0),
        ([1000], 0),  # there is no time before the first stamp
        ([1000, 1060, 1090], 90),
        ([1000, 1000 + PAUSE], PAUSE),
        ([1000, 1001 + PAUSE, 1061 + PAUSE], 60),  # a pause counts nothing
        ([5000, 1000, 1060], 60),  # the clock was set back
        ([1000, 1060, 10**11, 10**11 + 30], 90),  # and far ahead
        ([1000, 1000, 1000], 0),
    ],
)
def test_minutes_are_the_time_between_stamps_without_pauses(stamps, seconds):
    kept = Progress()
    for now in stamps:
        kept.stamp(now)
    assert kept.seconds == seconds


def test_checks_count_answers_and_time(monkeypatch, capsys):
    clock = iter([1000.0, 1060.0, 1090.0, 1100.0])
    monkeypatch.setattr(time, "time", lambda: next(clock))
    for answer in (1, ..., 2, 1):
        check("89.two", answer)
    kept = read_progress(progress_file())
    assert (kept.solved, kept.tries, kept.seconds) == ({"89.two"}, {"89.two": 1}, 100)
    assert json.loads(progress_file().read_text())["last"] == 1100


def test_nothing_is_noted_under_strict(monkeypatch, capsys):
    note("89.two", True)
    kept = progress_file().read_bytes()
    monkeypatch.setenv("LLMLAB_STRICT", "1")
    note("89.three", True)
    check("89.two", 2)
    capsys.readouterr()
    show_progress("89")
    printed = capsys.readouterr().out
    assert printed.splitlines()[:2] == [
        f"Exercises solved: 0 of {len(registered())}; minutes spent: 0",
        "  89  0 of 2   · two (must)   · three",
    ]
    assert progress_file().read_bytes() == kept


# --- The file -------------------------------------------------------------------------------


OLD = [  # as the first versions wrote them: the solved ones alone; then with names and times
    '{"solved": ["02.encode", "97.gone"]}',
    '{"name": "Ada", "solved": ["02.encode", "97.gone"], "tries": {"00.params": 2}, '
    '"seconds": 61.5, "last": 1790000000.0}',
]


@pytest.mark.parametrize("old", OLD)
def test_an_old_file_is_read_and_gone_on_with(old):
    progress_file().parent.mkdir()
    progress_file().write_text(old)
    before = read_progress(progress_file())
    note("89.two", True)
    kept = read_progress(progress_file())
    assert kept.solved == {"02.encode", "97.gone", "89.two"}
    assert (kept.name, kept.tries) == (before.name, before.tries)
    assert kept.seconds == before.seconds == (61.5 if before.name else 0)


def test_a_damaged_file_is_said_and_stops_no_check(capsys, damaged):
    progress_file().parent.mkdir()
    progress_file().write_text(damaged, "utf-8")
    with pytest.raises(LabError, match=r"progress\.json"):
        read_progress(progress_file())
    check("89.two", 2)
    check("89.two", 3)
    show_progress()
    told = capsys.readouterr().out
    assert "✓ 89.two is right. (It could not be noted:" in told and "✗ " in told
    assert progress_file().read_text("utf-8") == damaged
    assert cli.main(["progress"]) == 2


def test_what_cannot_be_written_stops_no_check(capsys, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("LLMLAB_RUNS", str(tmp_path / "file"))
    check("89.two", 2)
    assert "✓ 89.two is right. (It could not be noted:" in capsys.readouterr().out
    with pytest.raises(LabError, match="could not be written"):
        note()


def test_a_full_disk_loses_nothing(small_disk, monkeypatch, capsys):
    monkeypatch.setenv("LLMLAB_RUNS", str(small_disk))
    note("89.two", True)
    (small_disk / "large").write_bytes(b"x" * 250_000)
    with pytest.raises(LabError, match="whole"):
        for number in range(1000):
            note(f"89.{'x' * 100}{number}", True)
    assert "89.two" in read_progress(progress_file()).solved


WRITER = """
import sys
from llmlab.classroom import progress
for number in range(40):
    progress.note(f"{sys.argv[1]}.task{number}", True)
    progress.note("89.two", False)
"""


def test_notebooks_that_write_at_once_lose_nothing(start):
    writers = [start(WRITER, number) for number in range(4)]
    assert [writer.communicate()[1] for writer in writers] == [""] * 4
    kept = read_progress(progress_file())
    assert len(kept.solved) == 160 and kept.tries == {"89.two": 160}
    assert kept.seconds < 60


KILLED = """
import time
from llmlab.classroom import progress
with progress.changing(progress.progress_file()):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_notebook_that_dies_while_it_writes_holds_nobody_up(monkeypatch):
    note("89.two", True)
    held = subprocess.Popen(
        [sys.executable, "-c", KILLED], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert held.stdout.readline() == "held\n"
    monkeypatch.setattr(progress, "PATIENCE", 0.1)
    with pytest.raises(LabError, match="held by another program"):
        note("89.three", True)
    held.kill()
    held.communicate()
    note("89.three", True)
    assert read_progress(progress_file()).solved == {"89.two", "89.three"}


def test_a_file_system_without_locks_is_written_all_the_same(monkeypatch):
    def no_locks(*_, **__):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("filelock.FileLock.acquire", no_locks)
    note("89.two", True)
    assert read_progress(progress_file()).solved == {"89.two"}


# --- In a kernel ---------------------------------------------------------------------------


def test_a_notebook_stamps_cells_and_checks(tmp_path):
    """In a real kernel: `llmlab.setup`, cells, a check; the other notebook begins with them."""
    cells = [
        "import llmlab\nfrom llmlab.classroom import check, exercise, progress, show_progress\n"
        "progress.STAMP_EVERY = 0\nlab = llmlab.setup('class-toy')",
        "import time\ntime.sleep(1.1)",
        "time.sleep(1.1)",
        '@exercise("89.two", must=True)\ndef two(answer):\n    assert answer == 2\n'
        'check("89.two", 2)',
        'show_progress("89")',
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    NotebookClient(notebook, kernel_name="python3", timeout=60).execute()
    kept = read_progress(progress_file())
    assert kept.solved == {"89.two"} and 2 <= kept.seconds < 60
    shown = notebook.cells[-1].outputs[0].text
    assert shown.startswith("Exercises solved: 1 of ") and "  89  1 of 1   ✓ two (must)" in shown


def test_setup_in_a_script_notes_nothing():
    import llmlab

    llmlab.setup("class-toy")
    assert not progress_file().exists()
