"""All checks against answers of every kind, and the table of each exercise's wrong answers.

What is told of single mistakes stands in checks/, in WRONG_ANSWERS; this module
reads those tables and makes more answers, good and bad, out of each notebook's own solution.
"""

import copy
import functools
import importlib.util
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from llmlab.classroom import check, exercises, verdict
from llmlab.classroom.exercises import LONGEST_VERDICT, PRINTED, RIGHT, WRONG
from llmlab.classroom.progress import progress_file


def _tables() -> list:
    """The test modules of the notebooks' checks."""
    loaded = []
    for path in sorted(Path(__file__).parent.glob("checks/test_nb[0-9][0-9]_*.py")):
        spec = importlib.util.spec_from_file_location(f"table_{path.stem}", path)
        loaded.append(importlib.util.module_from_spec(spec))
        spec.loader.exec_module(loaded[-1])
    return loaded


TABLES = _tables()
REGISTERED = {
    task.name: task
    for task in exercises.registered()
    if task.function.__module__.startswith("llmlab.classroom.checks.")
}
# These take nothing that could be edited.
PLAIN = {
    "00.params", "00.hours", "00.chats", "01.stop_words", "02.prompt", "03.rotate", "04.rate",
    "06.swap_food", "07.nothing_twice", "08.grpo_flops", "08.hf_name",
}  # fmt: skip
# Whoever calls these in the notebook still needs what was handed over: an edit is a mistake.
LEFT_ALONE = {
    "02.pairs", "02.encode", "03.gradient", "03.nearest", "03.analogy", "05.conversation",
    "05.answer_mask", "05.asked_first", "05.lora", "08.number_kept", "08.difference",
}  # fmt: skip
# Arguments that the notebook's own solution has no use for.
UNUSED = {("07.nothing_twice", 0), ("07.loophole", 1)}

every = pytest.mark.parametrize("exercise", REGISTERED)


@pytest.fixture
def right(exercise, solution) -> Callable:
    """The solution of the exercise that the test is about."""
    (table,) = [t for t in TABLES if exercise in t.EXERCISES]
    return solution(exercise, table.EXERCISES[exercise], **getattr(table, "SPACE", {}))


@pytest.fixture
def results(exercise, right) -> list:
    """What the solution gives back to the check: the first few different ones."""
    found = []

    def noting(*args):
        result = right(*args)
        if len(found) < 5 and repr(result) not in map(repr, found):
            found.append(copy.deepcopy(result))
        return result

    assert verdict(exercise, noting)[0] == RIGHT
    return found


def told(exercise: str, answer: object, reveals: tuple[str, ...] = ()) -> str:
    """The sentence for a wrong answer: short, in one line, a sentence that the check has meant."""
    mark, sentence = verdict(exercise, answer)
    assert mark == WRONG, f"{sentence} (answer: {answer!r})"
    assert 20 < len(sentence) <= LONGEST_VERDICT and sentence.isprintable(), sentence
    assert "not of a kind that can be checked" not in sentence, sentence
    assert not [secret for secret in reveals if secret in sentence], sentence
    return sentence


def secrets(results: list) -> tuple[str, ...]:
    """Right results in words that no sentence says by chance."""
    written = [f"{r:.4g}" if isinstance(r, float) else str(r) for r in results]
    return tuple(text for text in written if len(text) > 5)


# --- The table ------------------------------------------------------------------------------


def test_each_exercise_has_five_wrong_answers_at_least():
    wrong = {name: len(answers) for t in TABLES for name, answers in t.WRONG_ANSWERS.items()}
    asked = {name for table in TABLES for name in table.EXERCISES}
    for name, task in REGISTERED.items():
        print(f"{name:<20}{wrong.get(name, 0):>3} wrong answers{', must' if task.must else ''}")
    assert wrong.keys() == asked == REGISTERED.keys()
    assert len(REGISTERED) == 36 and min(wrong.values()) >= 5


def test_they_stand_in_the_notebooks_order_with_the_same_musts(build):
    notebooks = Path(__file__).parents[2] / "notebooks" / "src"
    for source in sorted(notebooks.glob("[0-9][0-9]_*.py")):
        cells = [cell.source for cell in build.read(source).cells]
        heads = [
            (c, after) for c, after in zip(cells, cells[1:], strict=False) if "# Exercise" in c
        ]
        written = [(after.rpartition('check("')[2].split('"')[0], "· must ·" in c)
                   for c, after in heads]  # fmt: skip
        registered = [(t.name, t.must) for t in exercises.registered(source.stem[:2])]
        assert registered == written, source.name


# --- Wrong results --------------------------------------------------------------------------

NAN = float("nan")
CONSTANTS = [
    0, 1, -1, 7.5, NAN, float("inf"), 10**400, 1j, True, False, "", "soup", "0.8", b"soup",
    [], [0], [0.0], ["soup"], [None], [[1], [2, 3]], (), (0, 1), (NAN, NAN), {}, {"a": 1}, {1},
    set(), torch.zeros(3), torch.ones(2, 2), torch.tensor(0.5), torch.tensor(NAN),
    torch.full((4, 9), NAN), torch.tensor([True]), object(), len, ..., None,
]  # fmt: skip


@every
def test_no_constant_passes(exercise, results):
    for constant in CONSTANTS:
        told(exercise, lambda *args, c=constant: c, secrets(results))


@every
def test_not_even_the_right_result_for_one_input(exercise, results):
    for own in results:
        told(exercise, lambda *args, own=own: copy.deepcopy(own))


@every
def test_what_came_in_is_no_answer(exercise, right, results):
    for place in range(right.__code__.co_argcount):
        told(exercise, lambda *args, place=place: args[place], secrets(results))


@every
def test_no_argument_can_be_ignored(exercise, right):
    """The right answer, but with one argument as it was at the first call."""
    for place in range(right.__code__.co_argcount):
        if (exercise, place) not in UNUSED:
            first = []

            def stubborn(*args, place=place, first=first):
                first[:] = first or [copy.deepcopy(args[place])]
                return right(*args[:place], copy.deepcopy(first[0]), *args[place + 1 :])

            told(exercise, stubborn)


def as_text(result):
    return result.encode() if isinstance(result, str) else str(result)


def in_texts(result):
    """Texts where there were numbers; else the whole as a text."""
    if isinstance(result, dict):
        return {key: str(value) for key, value in result.items()}
    return [repr(part) for part in result] if isinstance(result, list | tuple) else as_text(result)


OTHER_TYPES = {
    "a text": as_text,
    "texts": in_texts,
    "a dictionary": lambda r: {"answer": r},
    "a generator": lambda r: (part for part in [r]),
    "a function": lambda r: lambda: r,
    "a type": type,
    "an error": lambda r: ValueError(r),
}
OTHER_SHAPES = {
    "in a list": lambda r: [r],
    "in a tuple": lambda r: (r,),
    "an axis more": lambda r: torch.as_tensor(r)[None] if _numeric(r) else [[r]],
    "twice": lambda r: torch.cat([r, r]) if _axes(r) else [r, r],
    "the other way round": lambda r: r.mT if _axes(r) > 1 else None if _axes(r) else {r},
    "a part": lambda r: r[:-1] if _axes(r) else r[:0] if isinstance(r, list | str) else None,
    "sparse": lambda r: r.to_sparse() if _axes(r) else [],
}


def _axes(result) -> int:
    return result.ndim if isinstance(result, torch.Tensor) else 0


def _numeric(result) -> bool:
    return isinstance(result, int | float | torch.Tensor)


@every
@pytest.mark.parametrize("change", OTHER_TYPES | OTHER_SHAPES)
def test_another_type_or_shape_is_told(exercise, right, change):
    def changed(*args):
        try:
            return (OTHER_TYPES | OTHER_SHAPES)[change](right(*args))
        except TypeError:  # lists do not go into a set, say
            return None

    told(exercise, changed)


# --- Answers that behave badly --------------------------------------------------------------


def raising(error: BaseException) -> Callable:
    def answer(*args):
        raise error

    return answer


def deep(*args):
    return deep(*args)


class Mute(Exception):
    def __str__(self):
        raise RuntimeError


ERRORS = {
    "ValueError": raising(ValueError("a\nb \x1b[8m \ud800 " + "x" * 10_000)),
    "SystemExit": raising(SystemExit("bye")),
    "StopIteration": raising(StopIteration()),
    "NotImplementedError": raising(NotImplementedError("not for this type")),
    "Mute": raising(Mute()),
    "RecursionError": deep,
    "TypeError": lambda: 1,
    "gives back nothing": lambda *args: None,
    "asks for a function": 0.5,
}


@every
def test_whoever_raises_is_told_where(exercise, results):
    for named, answer in ERRORS.items():
        assert named in told(exercise, answer, secrets(results))


def forever(*args):
    while True:
        try:
            args += (1,)
            args = args[:1]
        except Exception:
            pass


@every
def test_whoever_never_ends_is_stopped(exercise, monkeypatch):
    task = replace(REGISTERED[exercise], seconds=0.05)
    monkeypatch.setitem(exercises._exercises, exercise, task)
    start = time.monotonic()
    assert told(exercise, forever).startswith("This ran for 0.05 seconds and was stopped")
    assert time.monotonic() - start < 5


def empty(value: object) -> bool:
    """Edit a value to nothing; whether that can be done."""
    if isinstance(value, torch.Tensor):
        value.zero_()
    elif isinstance(value, list | dict | set):
        value.clear()
    else:
        return False
    return True


@every
def test_who_edits_the_inputs_afterwards_is_right_where_nobody_needs_them(exercise, right):
    def careless(*args):
        result = copy.deepcopy(right(*args))
        for arg in args:
            empty(arg)
        return result

    if exercise in LEFT_ALONE:
        assert "changes" in told(exercise, careless)
    else:
        assert verdict(exercise, careless)[0] == RIGHT


@every
def test_who_edits_the_inputs_first_fools_no_check(exercise, right):
    """The right answer for emptied inputs: a check that looked at them would be content."""
    edited = []

    def cunning(*args):
        edited.append(any([empty(arg) for arg in args]))
        return right(*args)

    if exercise in PLAIN:
        assert verdict(exercise, cunning)[0] == RIGHT and not any(edited)
    else:
        told(exercise, cunning)
        assert any(edited)


# --- What is printed ------------------------------------------------------------------------


def chatty(function, text):
    def answer(*args):
        print(text, end="")
        return function(*args)

    return answer


def hides(function):
    """Puts something else in place of the place to print to."""

    def answer(*args):
        if sys.stdout:
            sys.stdout.close()
        sys.stdout = None
        return function(*args)

    return answer


NOISES = [
    "no line end",
    "a line\n",
    "\r",
    "\x1b[8m\x1b[2J",
    "long " * 100_000,
    "\n" * 100_000,
    "\ud800",
]


@every
def test_nothing_that_an_answer_prints_hides_the_verdict(exercise, right, capsys, monkeypatch):
    monkeypatch.delenv("LLMLAB_STRICT", raising=False)
    for mark, function in ((RIGHT, right), (WRONG, lambda *args: {"no": "answer"})):
        for answer in (hides(function), *(chatty(function, noise) for noise in NOISES)):
            check(exercise, answer)
            printed = capsys.readouterr().out
            assert printed.endswith("\n") and len(printed) < PRINTED + LONGEST_VERDICT + 100
            assert printed[:-1].rpartition("\n")[2].startswith(f"{mark} ")
            assert printed.replace("\n", "").isprintable()
    assert progress_file().exists()


@every
def test_an_object_that_can_be_called_is_a_function_too(exercise, right):
    assert verdict(exercise, functools.partial(right))[0] == RIGHT
