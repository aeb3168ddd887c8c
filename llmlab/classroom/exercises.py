"""Exercises and their checks: a wrong answer gets a sentence that helps, never a traceback.

A check is a function of the learner's answer, a value or a function, that raises `Wrong` with a
sentence when the answer is wrong.  It calls the learner's function through `call`, which hands
over copies of the arguments, and tells a function that changes them: its caller still needs them.

A function that never ends is stopped after the exercise's limit in seconds (`time_limit`).  What
it prints is held back, so that the verdict is the last line, and shown above that: its beginning.

With `LLMLAB_STRICT=1`, as in our own tests, all but a right answer raises AssertionError, and
nothing is noted (`progress.py`).
"""

import contextlib
import copy
import difflib
import importlib
import inspect
import io
import linecache
import pkgutil
import re
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from llmlab.artifacts import PACKAGE, LabError
from llmlab.classroom import progress
from llmlab.classroom.time_limit import TooLong, limited

RIGHT, WRONG, OPEN = "✓", "✗", "○"
NAME = re.compile(r"(\d\d[a-z]?)\.(\w+)")  # the notebook's number, a dot, a word
INSTALLED = tuple(
    {sysconfig.get_path(p) for p in ("stdlib", "purelib", "platlib")} | {str(PACKAGE)}
)
LONGEST = 200  # characters of an error's message that are shown
LONGEST_VERDICT = 700
PRINTED = 2000  # characters of what an answer prints that are shown


class Wrong(Exception):
    """The answer is wrong; the message is a sentence for the learner."""


@dataclass(frozen=True)
class Exercise:
    """A registered check; seconds: how long it may take in all; must: nobody leaves it out."""

    name: str
    function: Callable[[object], None]
    seconds: float
    must: bool


_exercises: dict[str, Exercise] = {}


# --- Registered by name ---------------------------------------------------------------------


def exercise(
    name: str, seconds: float = 10.0, must: bool = False
) -> Callable[[Callable], Callable]:
    """Registers the decorated check under `name`, such as "02.merge"; ValueError when it is taken.

    seconds: the limit for the whole check, all its calls together; must: the notebook's one
    exercise that nobody leaves out.  A module's checks stand in the notebook's order.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"An exercise is named like '02.merge', and not {name!r}.")

    def register(function: Callable[[object], None]) -> Callable[[object], None]:
        taken = _exercises.get(name)
        if taken and _origin(taken.function) != _origin(function):
            raise ValueError(f"Two exercises are called {name!r}.")
        _exercises[name] = Exercise(name, function, seconds, must)
        return function

    return register


def _origin(function: Callable) -> tuple[str, str]:
    """Where a function is defined: the same again when a module or a cell is run again."""
    return function.__module__, function.__qualname__


def names(number: str = "") -> list[str]:
    """The names of a notebook's exercises ("02"), or of all, in the order of the series."""
    return [task.name for task in registered(number)]


def registered(number: str = "") -> list[Exercise]:
    """A notebook's exercises ("02"), or all, in the order of the series."""
    for module in _check_modules(number):
        importlib.import_module(module)
    known = [task for task in _exercises.values() if number in ("", task.name.split(".")[0])]
    return sorted(known, key=lambda task: task.name.split(".")[0])


def _check_modules(number: str) -> list[str]:
    """The check modules of a notebook ("02": `nb02_tokenization`), or of all."""
    checks = importlib.import_module("llmlab.classroom.checks")
    found = [module.name for module in pkgutil.iter_modules(checks.__path__)]
    wanted = re.compile(rf"nb{number}_\w+" if number else r"nb\d\d[a-z]?_\w+")
    return [f"{checks.__name__}.{name}" for name in found if wanted.fullmatch(name)]


def _find(name: str) -> Exercise:
    """The exercise of that name; LabError that names the near ones when there is none."""
    found = NAME.fullmatch(name) if isinstance(name, str) else None
    if found:
        names(found[1])
        if name in _exercises:
            return _exercises[name]
    known = names()
    near = names(found[1]) if found else []
    near = near or difflib.get_close_matches(str(name), known, n=3) or known
    hint = f"There are {', '.join(near)}." if near else "There are none yet."
    raise LabError(f"There is no exercise {plain(repr(name), LONGEST)}. {hint}")


# --- Checked --------------------------------------------------------------------------------


def check(name: str, answer: object) -> None:
    """Check an answer to the exercise `name` and print one line: ✓, ✗ and a sentence, or ○.

    What the answer prints comes before that line, cut where it is long.  Never raises for a wrong
    answer, except under LLMLAB_STRICT=1; LabError for an unknown name.
    """
    printed = _Printed()
    with contextlib.redirect_stdout(printed):
        mark, sentence = verdict(name, answer)
    if progress.strict() and mark != RIGHT:
        raise AssertionError(f"{mark} {sentence}")
    try:
        progress.note(name, {RIGHT: True, WRONG: False}.get(mark))
    except LabError as error:
        if mark == RIGHT:
            sentence += f" (It could not be noted: {error})"
    print(f"{printed}{plain(f'{mark} {sentence}', LONGEST_VERDICT)}")


class _Printed(io.TextIOBase):
    """A place to print to, which keeps the beginning and counts the rest."""

    def __init__(self):
        self.kept, self.more = "", 0

    def write(self, text: str) -> int:
        room = PRINTED - len(self.kept)
        self.kept += text[:room]
        self.more += len(text[room:])
        return len(text)

    def __str__(self) -> str:
        """What was printed, as whole lines."""
        lines = [_shown(line.expandtabs()) for line in self.kept.splitlines()]
        if self.more:
            lines.append(f"… and {self.more:,} characters more.")
        return "".join(f"{line}\n" for line in lines)


def verdict(name: str, answer: object) -> tuple[str, str]:
    """What `check` prints, as (mark, sentence): RIGHT, WRONG or OPEN, for not done yet."""
    task = _find(name)
    not_done = OPEN, f"{name} is not done yet: fill the gap above, then run this cell again."
    parts = answer if isinstance(answer, tuple | list) else [answer]
    if answer is None or any(part is ... for part in parts):
        return not_done
    try:
        limited(task.seconds, task.function, answer)
    except Wrong as wrong:
        return WRONG, str(wrong)
    except TooLong:
        return WRONG, (
            f"This ran for {task.seconds:g} seconds and was stopped. Look for a loop that never "
            "ends, or for work that is done again and again."
        )
    except (Exception, SystemExit) as error:
        if _is_stub(error):
            return not_done
        # under this function, the limit and the check itself
        below = error.__traceback__.tb_next.tb_next.tb_next
        if _own_line(below):
            return WRONG, _sentence(error, below)
        return WRONG, (
            "This answer is not of a kind that can be checked "
            f"({type(error).__name__}: {_message(error)}). Compare its type with what is asked for."
        )
    return RIGHT, f"{name} is right."


def call(function: Callable, *args):
    """The learner's function on copies of the arguments; Wrong when it fails or changes them.

    Also Wrong when it gives back nothing, which is nearly always a missing `return`.  A stub's
    NotImplementedError goes through: that is "not done yet" and not a mistake.  The copy of a
    tensor that requires a gradient passes it on to that tensor, where `close` looks for it.
    """
    if not callable(function):
        raise Wrong(
            f"The check asks for a function, and this is {kind(function)}. Give the function's "
            "name alone, without brackets behind it."
        )
    given = copy.deepcopy(args, {id(a): a.clone() for a in args if _learns(a)})
    try:
        result = function(*given)
    except (Exception, SystemExit) as error:
        if _is_stub(error) or isinstance(error, Wrong):
            raise
        raise Wrong(_sentence(error, error.__traceback__)) from error
    if result is None or result is ...:
        raise Wrong("The function gives back nothing. Is a `return` missing?")
    for place, (left, own) in enumerate(zip(given, args, strict=True)):
        if not _alike(left, own):
            raise Wrong(
                f"Your function changes {_parameter(function, place)}, and whoever calls it still "
                "needs that. Work on a copy, or build anew."
            )
    return result


def _learns(value: object) -> bool:
    return getattr(value, "requires_grad", False) is True


def _alike(left: object, own: object) -> bool:
    """Whether an argument is as it was; what cannot be compared, such as a function, counts so."""
    if type(left) is not type(own):
        return False
    if hasattr(own, "untyped_storage"):  # a tensor
        return left.equal(own)
    if isinstance(own, dict):
        return left.keys() == own.keys() and all(_alike(left[k], own[k]) for k in own)
    if isinstance(own, list | tuple):
        return len(left) == len(own) and all(map(_alike, left, own))
    return type(own).__eq__ is object.__eq__ or left == own


def _parameter(function: Callable, place: int) -> str:
    """What the learner calls an argument, in words."""
    with contextlib.suppress(TypeError, ValueError, IndexError):  # such as a function written in C
        return f"`{list(inspect.signature(function).parameters)[place]}`, which it was given"
    return "what it was given"


def _is_stub(error: BaseException) -> bool:
    """The student edition's `raise NotImplementedError()`; torch's own bring a message."""
    return type(error) is NotImplementedError and not error.args


def kind(value: object) -> str:
    """A type in words: "a list", "an int"."""
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


# --- An exception in a sentence -------------------------------------------------------------


def _sentence(error: BaseException, traceback: TracebackType | None) -> str:
    """An exception in the learner's code: its type, where, and its message."""
    return f"Your code stops with {type(error).__name__}{_own_line(traceback)}: {_message(error)}"


def _own_line(traceback: TracebackType | None) -> str:
    """Such as " in line 3 (a / b)": the innermost line that is neither ours nor a library's."""
    place = ""
    while traceback is not None:
        file, line = traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
        if not file.startswith((*INSTALLED, "<frozen")):
            text = linecache.getline(file, line).strip()
            place = f" in line {line}" + (f" ({text[:LONGEST]})" if text else "")
        traceback = traceback.tb_next
    return place


def _message(error: BaseException) -> str:
    """An exception's message in one line; its type where it has none."""
    try:
        text = plain(str(error), LONGEST)
    except Exception:  # a learner's own class, whose __str__ fails
        text = ""
    return text or "it gives no reason"


def plain(text: str, longest: int = PRINTED) -> str:
    """Text that any console can print on one line: no line breaks, no signs that steer it."""
    shown = _shown(" ".join(text[: 2 * longest].split()))
    return shown if len(shown) <= longest else f"{shown[:longest]} …"


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
