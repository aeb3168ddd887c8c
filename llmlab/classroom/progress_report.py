"""What progress files say: to a learner, what is next; to a teacher, how the class gets on."""

import csv
import io
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from llmlab.artifacts import PACKAGE, LabError
from llmlab.classroom import progress
from llmlab.classroom.exercises import Exercise, plain, registered
from llmlab.classroom.progress import Progress

LARGEST = 1_000_000  # bytes; a real progress file has some hundred
LONGEST_NAME = 32


# --- To a learner ---------------------------------------------------------------------------


def show_progress(number: str = "") -> None:
    """Print what is solved, the minutes spent and what is next: of a notebook ("04"), or of all.

    Under LLMLAB_STRICT=1 as if nothing were solved, so that a notebook is built the same each time.
    """
    try:
        kept = Progress() if progress.strict() else progress.read_progress(progress.progress_file())
        print(learners_view(kept, registered(), number))
    except LabError as error:  # a damaged file fails no cell
        print(error)


def learners_view(kept: Progress, tasks: Sequence[Exercise], number: str = "") -> str:
    """Exercises by notebook, the solved ones marked; minutes; the next one.

    number: show this notebook alone, and what is next in it first.
    """
    done = [task for task in tasks if task.name in kept.solved]
    lines = [
        f"Exercises solved: {len(done)} of {len(tasks)}; minutes spent: {kept.seconds / 60:.0f}"
    ]
    for room, own in by_notebook(tasks).items():
        if number in ("", room):
            marks = [_mark(task, kept) for task in own]
            count = sum(task in done for task in own)
            lines.append(f"  {room:<4}{count} of {len(own)}   {'   '.join(marks)}")
    still = [task for task in tasks if task not in done]
    if still:
        task = min(still, key=lambda t: (_room(t) != number, not t.must))
        must = ", a must," if task.must else ""
        lines.append(f"Next: {task.name}{must} in {_notebook(_room(task))}")
    return "\n".join(lines)


def by_notebook(tasks: Sequence[Exercise]) -> dict[str, list[Exercise]]:
    """Number of a notebook -> its exercises."""
    rooms: dict[str, list[Exercise]] = {}
    for task in tasks:
        rooms.setdefault(_room(task), []).append(task)
    return rooms


def _room(task: Exercise) -> str:
    return task.name.split(".")[0]


def _mark(task: Exercise, kept: Progress) -> str:
    mark = "✓" if task.name in kept.solved else "·"
    return f"{mark} {task.name.split('.')[1]}{' (must)' if task.must else ''}"


def _notebook(number: str) -> str:
    """A notebook's file, where the series lies beside the package."""
    found = sorted((PACKAGE.parent / "notebooks").glob(f"{number}_*.ipynb"))
    return found[0].name if found else f"notebook {number}"


# --- To a teacher ---------------------------------------------------------------------------


def collect(paths: Sequence[Path]) -> tuple[list[Progress], list[str]]:
    """What files and folders of files hold, by name, and a sentence on each that was left out.

    In a folder: every `.json`; in folders below it, those with "progress" in their name.  Who gives
    no name is called after the file, or after its folder.
    """
    students, left_out = [], []
    for path in paths:
        files = _files(path) if os.path.isdir(path) else [path]
        if not files:
            left_out.append(f"{plain(str(path))} was left out: no progress.json is in it.")
        for file in files:
            try:
                students.append(_read(file))
            except LabError as error:
                left_out.append(f"{plain(str(file))} was left out: {error}.")
    return sorted(students, key=lambda kept: kept.name.casefold()), left_out


def _files(folder: Path) -> list[Path]:
    """The progress files of a folder, but for hidden ones, such as copies that Jupyter keeps."""
    return sorted(
        file
        for file in folder.rglob("*.json")
        if (file.parent == folder or "progress" in file.name.lower())
        and not any(part[0] == "." for part in file.relative_to(folder).parts)
    )


def _read(file: Path) -> Progress:
    """A student's progress with a name; LabError with the reason alone."""
    if not os.path.isfile(file):
        raise LabError("there is no such file")
    if os.path.getsize(file) > LARGEST:
        raise LabError("it is too large for a progress file")
    try:
        kept = progress.read_progress(file)
    except LabError:
        raise LabError("it is damaged, or no progress file") from None
    kept.name = plain(kept.name, LONGEST_NAME) or plain(_called(file), LONGEST_NAME)
    return kept


def _called(file: Path) -> str:
    """A student's name from `ada.json`, `ada_progress.json` or `ada/runs/progress.json`."""
    parts = [file.stem, *(part.name for part in file.resolve().parents)]
    no_name = re.compile(r"[\W_]*progress[ _.-]*(\(\d+\))?", re.I)
    names = [no_name.sub(" ", part).strip() for part in parts]
    return next((name for name in names if name and name not in ("runs", "llmlab")), "nobody")


def class_rows(students: Sequence[Progress], tasks: Sequence[Exercise]) -> list[dict]:
    """A row for each student: solved by notebook and in all, minutes, stuck at, wrong answers."""
    rooms, rows = by_notebook(tasks), []
    for kept in students:
        counts = {n: sum(t.name in kept.solved for t in own) for n, own in rooms.items()}
        still = {t.name: kept.tries.get(t.name, 0) for t in tasks if t.name not in kept.solved}
        stuck = max(still, key=still.get, default="")
        tries = still.get(stuck, 0)
        totals = {"solved": sum(counts.values()), "minutes": round(kept.seconds / 60)}
        stuck = {"stuck": stuck if tries else "", "tries": tries}
        rows.append({"name": kept.name, **counts, **totals, **stuck})
    return rows


def class_table(rows: Sequence[dict], tasks: Sequence[Exercise]) -> str:
    """The rows as text, under the numbers of the notebooks and of their exercises."""
    rooms = {number: len(own) for number, own in by_notebook(tasks).items()}
    top = {"name": "", **rooms, "solved": len(tasks), "minutes": "", "stuck": "", "tries": 0}
    wide = max(len("student"), *(_width(row["name"]) for row in rows))
    heads = "".join(f"{number:>4}" for number in rooms)
    lines = [f"{'student':<{wide}}{heads}  solved  minutes  stuck at"]
    for row in (top, *rows):
        name = row["name"] + " " * (wide - _width(row["name"]))
        counts = "".join(f"{row[number] or '·':>4}" for number in rooms)
        stuck = f"{row['stuck']} ({row['tries']} wrong)" if row["tries"] else ""
        lines.append(f"{name}{counts}{row['solved']:>8}{row['minutes']:>9}  {stuck}".rstrip())
    for stuck, many in Counter(row["stuck"] for row in rows if row["stuck"]).most_common(1):
        lines.append(f"Most often stuck at {stuck}: {many} of {len(rows)}")
    return "\n".join(lines)


def _width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def class_csv(rows: Sequence[dict]) -> str:
    """The rows for a spreadsheet, where no name may begin a formula."""
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        name = f"'{row['name']}" if row["name"][0] in "=+-@" else row["name"]
        writer.writerow(row | {"name": name})
    return out.getvalue().rstrip("\n")
