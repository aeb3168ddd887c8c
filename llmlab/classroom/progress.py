"""What a learner has done: `progress.json` in the folder of runs, and nowhere else.

It holds what was solved, how many wrong answers each exercise got, and the time spent.  Time is
counted from stamps: `llmlab.setup` in a notebook sets one, then every cell that is run, and every
check.  More than ten minutes between two stamps are a pause and count nothing; where the clock was
set back, the next stamp begins anew.  Several notebooks may write at once: each waits its turn.

With `LLMLAB_STRICT=1`, as in our own tests, nothing is noted: these are nobody's solutions.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from llmlab import artifacts
from llmlab.artifacts import LabError

PAUSE = 600.0  # seconds
STAMP_EVERY = 20.0  # seconds, for cells that are run one after the other
PATIENCE = 5.0  # seconds to wait for another notebook that writes


@dataclass
class Progress:
    """What a progress file holds.  tries: wrong answers before an exercise was solved; last: when
    something was last done, in seconds since 1970."""

    name: str = ""
    solved: set[str] = field(default_factory=set)
    tries: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    last: float = 0.0

    def stamp(self, now: float) -> None:
        """Something is done `now`: the time since the last stamp counts, but for a pause."""
        if 0 < now - self.last <= PAUSE:
            self.seconds += now - self.last
        self.last = now

    def answer(self, exercise: str, right: bool) -> None:
        if right:
            self.solved.add(exercise)
        elif exercise not in self.solved:
            self.tries[exercise] = self.tries.get(exercise, 0) + 1


def strict() -> bool:
    """Whether the solutions are the project's own, in a test or a build."""
    return os.environ.get("LLMLAB_STRICT") == "1"


# --- The file -------------------------------------------------------------------------------

_runs: str | None = None  # what `llmlab.setup` was given as the folder of runs


def progress_file(runs_dir: str | None = None) -> Path:
    return artifacts.runs_dir(runs_dir or _runs) / "progress.json"


def read_progress(path: Path) -> Progress:
    """A file's content; nothing done where there is no file, LabError where it is damaged."""
    if not os.path.exists(path):
        return Progress()
    kept = artifacts.read_json(path)
    if not _is_whole(kept):
        raise LabError(
            f"{path} does not hold a learner's progress. Remove it, and start a new one."
        )
    return Progress(
        kept.get("name", ""),
        set(kept["solved"]),
        kept.get("tries", {}),
        kept.get("seconds", 0.0),
        kept.get("last", 0.0),
    )


def _is_whole(kept: object) -> bool:
    """Whether an object from a JSON file is a learner's progress; an old one has `solved` alone."""
    return (
        isinstance(kept, dict)
        and isinstance(kept.get("solved"), list)
        and all(isinstance(name, str) for name in kept["solved"])
        and isinstance(kept.get("name", ""), str)
        and isinstance(kept.get("tries", {}), dict)
        and all(type(n) is int and 0 <= n < 1e6 for n in kept.get("tries", {}).values())
        and _is_time(kept.get("seconds", 0), most=1e8)
        and _is_time(kept.get("last", 0), most=1e12)
    )


def _is_time(value: object, most: float) -> bool:
    return type(value) in (int, float) and 0 <= value < most


@contextlib.contextmanager
def changing(path: Path) -> Iterator[Progress]:
    """The file's content, to be changed: written at the end, while nobody else reads or writes.

    LabError, and the file as it was, where it is damaged or cannot be written.
    """
    held = f"{path} is held by another program. Restart the other notebooks' kernels."
    with artifacts.locked(path, held, PATIENCE):
        kept = read_progress(path)
        yield kept
        content = {
            "name": kept.name,
            "solved": sorted(kept.solved),
            "tries": kept.tries,
            "seconds": round(kept.seconds, 1),
            "last": round(kept.last, 1),
        }
        artifacts.write_json(path, content)


# --- What is noted --------------------------------------------------------------------------


def note(exercise: str | None = None, right: bool | None = None) -> None:
    """Note that the learner does something, and an answer, right or wrong, if it is one.

    LabError where it cannot be written; nothing under LLMLAB_STRICT=1.
    """
    if strict():
        return
    with changing(progress_file()) as kept:
        kept.stamp(time.time())
        if exercise and right is not None:
            kept.answer(exercise, right)


def begin(runs_dir: str | None = None) -> None:
    """In a notebook, note the time now and after every cell; elsewhere, do nothing."""
    global _runs
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell and not strict():
        _runs = runs_dir
        shell.events.register("post_run_cell", _after_cell)
        _after_cell()


_stamped = -STAMP_EVERY


def _after_cell(*_) -> None:
    """A stamp, unless there has just been one; where it cannot be kept, the lesson goes on."""
    global _stamped
    if time.monotonic() - _stamped >= STAMP_EVERY:
        _stamped = time.monotonic()
        with contextlib.suppress(LabError):
            note()
