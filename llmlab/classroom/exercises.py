"""Exercises and their checks: a wrong answer gets a sentence that helps, never a traceback.

A check is a function of the learner's answer, a value or a function, that raises `Wrong` with a
sentence when the answer is wrong.  It calls the learner's function through `call`, which hands
over fresh copies of the arguments, so that a function that changes its inputs fools nobody.

A function that never ends is stopped after the exercise's limit in seconds.  The limit is an
alarm signal: it works on the main thread of Linux and macOS, where a notebook's cells run.
Elsewhere (Windows, other threads) there is none, and the notebook's stop button ends the cell.

With `LLMLAB_STRICT=1`, as in our own tests, all but a right answer raises AssertionError, and
nothing is noted as solved.
"""

import copy
import difflib
import importlib
import linecache
import os
import pkgutil
import re
import signal
import sysconfig
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from llmlab.artifacts import PACKAGE, LabError
from llmlab.classroom import progress

RIGHT, WRONG, OPEN = "✓", "✗", "○"
NAME = re.compile(r"(\d\d[a-z]?)\.(\w+)")  # the notebook's number, a dot, a word
INSTALLED = tuple(
    {sysconfig.get_path(p) for p in ("stdlib", "purelib", "platlib")} | {str(PACKAGE)}
)
LONGEST = 200  # characters of an error's message that are shown


class Wrong(Exception):
    """The answer is wrong; the message is a sentence for the learner."""


@dataclass(frozen=True)
class Exercise:
    """A registered check; seconds: how long the whole check may take."""

    name: str
    function: Callable[[object], None]
    seconds: float


_exercises: dict[str, Exercise] = {}


# --- Registered by name ---------------------------------------------------------------------


def exercise(name: str, seconds: float = 10.0) -> Callable[[Callable], Callable]:
    """Registers the decorated check under `name`, such as "02.merge"; ValueError when it is taken.

    seconds: the limit for the whole check, all its calls together.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"An exercise is named like '02.merge', and not {name!r}.")

    def register(function: Callable[[object], None]) -> Callable[[object], None]:
        taken = _exercises.get(name)
        if taken and _origin(taken.function) != _origin(function):
            raise ValueError(f"Two exercises are called {name!r}.")
        _exercises[name] = Exercise(name, function, seconds)
        return function

    return register


def _origin(function: Callable) -> tuple[str, str]:
    """Where a function is defined: the same again when a module or a cell is run again."""
    return function.__module__, function.__qualname__


def names(number: str = "") -> list[str]:
    """The names of a notebook's exercises ("02"), or of all, in alphabetical order."""
    modules = [f"n{number}"] if number else _check_modules()
    for module in modules:
        _load(module)
    return sorted(n for n in _exercises if not number or n.split(".")[0] == number)


def _check_modules() -> list[str]:
    folder = importlib.import_module("llmlab.classroom").__path__
    found = [module.name for module in pkgutil.iter_modules(folder)]
    return [name for name in found if re.fullmatch(r"n\d\d[a-z]?", name)]


def _load(module: str) -> None:
    """Import a notebook's check module, where there is one."""
    full = f"llmlab.classroom.{module}"
    try:
        importlib.import_module(full)
    except ModuleNotFoundError as error:
        if error.name != full:
            raise


def _find(name: str) -> Exercise:
    """The exercise of that name; LabError that names the near ones when there is none."""
    found = NAME.fullmatch(name) if isinstance(name, str) else None
    if found:
        names(found[1])
        if name in _exercises:
            return _exercises[name]
    known = names()
    near = difflib.get_close_matches(str(name), known, n=3)
    near = near or (names(found[1]) if found else []) or known
    hint = f"There are {', '.join(near)}." if near else "There are none yet."
    raise LabError(f"There is no exercise {_plain(repr(name))}. {hint}")


# --- Checked --------------------------------------------------------------------------------


def check(name: str, answer: object) -> None:
    """Check an answer to the exercise `name` and print one line: ✓, ✗ and a sentence, or ○.

    Never raises for a wrong answer, except under LLMLAB_STRICT=1; LabError for an unknown name.
    """
    mark, sentence = verdict(name, answer)
    strict = os.environ.get("LLMLAB_STRICT") == "1"
    if strict and mark != RIGHT:
        raise AssertionError(f"{mark} {sentence}")
    if mark == RIGHT and not strict:
        try:
            progress.note_solved(name)
        except LabError as error:
            sentence += f" (It could not be noted: {error})"
    print(_plain(f"{mark} {sentence}"))


def verdict(name: str, answer: object) -> tuple[str, str]:
    """What `check` prints, as (mark, sentence): RIGHT, WRONG or OPEN, for not done yet."""
    task = _find(name)
    not_done = OPEN, f"{name} is not done yet: fill the gap above, then run this cell again."
    parts = answer if isinstance(answer, tuple | list) else [answer]
    if answer is None or any(part is ... for part in parts):
        return not_done
    try:
        with _Limit(task.seconds):
            task.function(answer)
    except Wrong as wrong:
        return WRONG, str(wrong)
    except _TooLong:
        return WRONG, (
            f"This ran for {task.seconds:g} seconds and was stopped. Look for a loop that never "
            "ends, or for work that is done again and again."
        )
    except (Exception, SystemExit) as error:
        if _is_stub(error):
            return not_done
        below = error.__traceback__.tb_next.tb_next  # under this function and the check itself
        if _own_line(below):
            return WRONG, _sentence(error, below)
        return WRONG, (
            "This answer is not of a kind that can be checked "
            f"({type(error).__name__}: {_message(error)}). Compare its type with what is asked for."
        )
    return RIGHT, f"{name} is right."


def call(function: Callable, *args, **kwargs):
    """The learner's function on fresh copies of the arguments; Wrong when it fails.

    Also Wrong when it gives back nothing, which is nearly always a missing `return`.  A stub's
    NotImplementedError goes through: that is "not done yet" and not a mistake.
    """
    if not callable(function):
        raise Wrong(
            f"The check asks for a function, and this is {kind(function)}. Give the function's "
            "name alone, without brackets behind it."
        )
    own_args, own_kwargs = copy.deepcopy((args, kwargs))
    try:
        result = function(*own_args, **own_kwargs)
    except (Exception, SystemExit) as error:
        if _is_stub(error) or isinstance(error, Wrong):
            raise
        raise Wrong(_sentence(error, error.__traceback__)) from error
    if result is None or result is ...:
        raise Wrong("The function gives back nothing. Is a `return` missing?")
    return result


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
        text = " ".join(str(error).split())
    except Exception:  # a learner's own class, whose __str__ fails
        text = ""
    text = text or "it gives no reason"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def _plain(text: str) -> str:
    """Text that any console can print on one line: no line breaks, no half characters."""
    return " ".join(text.split()).encode("utf-8", "backslashreplace").decode()


# --- A function that never ends -------------------------------------------------------------


class _TooLong(BaseException):
    """The time is up.  Not an Exception, so that the learner's own `except` does not catch it."""


class _Limit:
    """`with _Limit(10):` raises _TooLong after 10 seconds, on the main thread of POSIX systems."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        main = threading.current_thread() is threading.main_thread()
        self.works = main and hasattr(signal, "setitimer")

    def __enter__(self) -> None:
        if self.works:
            self.handler = signal.signal(signal.SIGALRM, self._ring)
            self.timer = signal.setitimer(signal.ITIMER_REAL, self.seconds)

    def __exit__(self, *_) -> None:
        if self.works:
            signal.setitimer(signal.ITIMER_REAL, *self.timer)
            signal.signal(signal.SIGALRM, self.handler)

    @staticmethod
    def _ring(*_) -> None:
        raise _TooLong
