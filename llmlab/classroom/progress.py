"""What a learner has solved: kept as `progress.json` in the folder of runs, drawn as a table."""

from pathlib import Path

from llmlab import artifacts
from llmlab.artifacts import LabError


def progress_file() -> Path:
    return artifacts.runs_dir() / "progress.json"


def solved() -> set[str]:
    """The names of all exercises solved so far; LabError when the file is damaged."""
    path = progress_file()
    kept = artifacts.read_json(path) if path.exists() else {"solved": []}
    names = kept.get("solved") if isinstance(kept, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise LabError(f"{path} does not hold what was solved. Remove it, and start a new one.")
    return set(names)


def note_solved(name: str) -> None:
    """Keep that an exercise was solved; LabError when it cannot be written."""
    names = solved()
    if name not in names:
        artifacts.write_json(progress_file(), {"solved": sorted(names | {name})})


def progress_table(every: list[str]) -> str:
    """Exercises by notebook, the solved ones marked, for `python -m llmlab progress`.

    every: the names of all exercises, such as `exercises.names()` gives.
    """
    done = solved()
    if not every:
        return "There are no exercises yet."
    by_notebook: dict[str, list[str]] = {}
    for name in every:
        by_notebook.setdefault(name.split(".")[0], []).append(name)
    lines = [f"Exercises solved: {len(done & set(every))} of {len(every)}"]
    for number, names in by_notebook.items():
        marks = [f"{'✓' if n in done else '·'} {n.split('.')[1]}" for n in names]
        count = len(done & set(names))
        lines.append(f"  {number:<4}{count} of {len(names)}   {'   '.join(marks)}")
    return "\n".join(lines)
