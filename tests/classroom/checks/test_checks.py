"""All checks against answers of every kind, made out of each notebook's own solution."""

import copy
import functools
import importlib
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from llmlab.classroom import Wrong, check, compare, exercises, verdict
from llmlab.classroom.exercises import LONGEST_VERDICT, PRINTED, RIGHT, WRONG
from llmlab.classroom.progress import progress_file

ROOT = Path(__file__).parents[3]
REGISTERED = {
    task.name: task
    for task in exercises.registered()
    if task.function.__module__.startswith("llmlab.classroom.checks.")
}
# Arguments that the notebook's own solution has no use for.
UNUSED = {("07.nothing_twice", 0), ("07.loophole", 1)}
# Whose right answers are worth a gradient.
LEARNING = {"04.rms_norm", "04.attention", "05.lora", "06.preference_loss", "07.clipped"}

every = pytest.mark.parametrize("exercise", REGISTERED)


def detached(result):
    return result.detach() if isinstance(result, torch.Tensor) else result


def kept(value):
    """A copy that what is done to the value later does not reach; its gradient goes on."""
    return value.clone() if isinstance(value, torch.Tensor) else copy.deepcopy(value)


@pytest.fixture
def right(exercise, solution) -> Callable:
    """The solution of the exercise that the test is about."""
    return solution(exercise)


@pytest.fixture
def results(exercise, right) -> list:
    """What the solution gives back to the check: the first few different ones."""
    found = []

    def noting(*args):
        result = right(*args)
        if len(found) < 5 and repr(result) not in map(repr, found):
            found.append(copy.deepcopy(detached(result)))
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


# --- The mistakes that a check knows --------------------------------------------------------

# What would give an answer away, by notebook.
REVEALS = {
    "00": r"6 ?[*·] ?n|3600|sum\(", "01": r"\*\*|lower\(|findall|len\(|0\.4\b|0\.25|1 / 7",
    "02": r"sorted\(|min\(|most_common|\+= ?times|1e6|\*bpe|256",
    "03": r"index_add|cos ?[*·]|norm\(", "04": r"\*\* ?0\.5|sqrt\(|-inf|softmax\(-1|cumsum|\.mT\b",
    "05": r"\[:number\]|not in asked|ids\[:-1\]|len\(down\)|alpha / |\.T\b|@",
    "06": r"logsigmoid|softplus|log1p|min\(int|split\(|removesuffix|\[1:\]|== old|!= r",
    "07": r"- probs|eye\(|exp\(|set\(|len\(|minimum|number of ingredients",
    "08": r"is not None\)|randint|0\.975|\b[46] ?\+ ?6|4 \* n|startswith",
}  # fmt: skip


@pytest.fixture
def asked(exercise, right, monkeypatch) -> list:
    """What the check asks about the solution, in turn: by which function, of what."""
    made = []

    def noting(function, *given, **settings):
        made.append((function, given, settings))
        return function(*given, **settings)

    module = sys.modules[REGISTERED[exercise].function.__module__]
    for name in ("recognise", "known"):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, functools.partial(noting, getattr(compare, name)))
    assert verdict(exercise, right)[0] == RIGHT
    monkeypatch.undo()
    return made


@every
def test_each_mistake_has_a_sentence_of_its_own_that_gives_nothing_away(exercise, asked):
    told = {}
    for function, given, settings in asked:
        mistakes = given[2 if function is compare.recognise else 1]
        for sentence, wrong in mistakes.items():
            told.setdefault(sentence, False)
            answer = [wrong, *given[1:]] if function is compare.recognise else [wrong, mistakes]
            try:
                function(*answer, **settings)
            except Wrong as said:
                told[sentence] |= str(said) == sentence
    assert [sentence for sentence, reached in told.items() if not reached] == []
    for sentence in told:
        assert len(sentence) > 20 and not re.search(REVEALS[exercise[:2]], sentence), sentence


def test_they_stand_in_the_notebooks_order_with_the_same_musts(build):
    for source in sorted((ROOT / "notebooks" / "src").glob("[0-9][0-9]_*.py")):
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
                first[:] = first or [kept(args[place])]
                return right(*args[:place], kept(first[0]), *args[place + 1 :])

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
def test_another_type_or_shape_is_told(exercise, right):
    for change in (OTHER_TYPES | OTHER_SHAPES).values():

        def changed(*args, change=change):
            try:
                return change(right(*args))
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
@pytest.mark.parametrize("first", [False, True], ids=["afterwards", "first"])
def test_whoever_edits_the_inputs_is_told_so(exercise, right, first):
    """Emptied at first, they fool no check; afterwards, the caller still needs them."""
    edited = []

    def careless(*args):
        result = None if first else kept(right(*args))
        edited.append(any([empty(arg) for arg in args]))
        return right(*args) if first else result

    mark, sentence = verdict(exercise, careless)
    assert (mark == RIGHT) != any(edited)
    assert first or not any(edited) or "Your function changes" in sentence


@every
def test_a_gradient_is_asked_for_where_a_training_needs_it(exercise, right):
    """A result without one has the right numbers and could teach nothing."""
    mark, sentence = verdict(exercise, lambda *args: detached(right(*args)))
    assert (mark == WRONG and "no gradient" in sentence) == (exercise in LEARNING)

    def in_part(*args):
        learn = [i for i, arg in enumerate(args) if getattr(arg, "requires_grad", False)]
        cut = [arg.detach() if i == learn[-1] else arg for i, arg in enumerate(args)]
        return right(*cut)

    if exercise in LEARNING:
        assert "gradient" in told(exercise, in_part)


def in_format(result, dtype):
    """A tensor's numbers in another number format, where it holds decimals."""
    decimal = isinstance(result, torch.Tensor) and result.is_floating_point()
    return result.to(dtype) if decimal else result


@every
def test_the_number_format_of_an_answer_does_not_count(exercise, right):
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        told = verdict(exercise, lambda *args, dtype=dtype: in_format(right(*args), dtype))
        assert told[0] == RIGHT, (dtype, told)


@pytest.mark.parametrize("number", sorted({exercise[:2] for exercise in REGISTERED}))
def test_what_a_notebook_hands_out_cannot_be_changed(number):
    """What cells import by its name, and the foods: no answer can spoil it for the next."""
    (source,) = (ROOT / "notebooks" / "src").glob(f"{number}_*.py")
    found = re.findall(r"^from (llmlab\S*) import (.*)$", source.read_text("utf-8"), re.M)
    for module, names in [*found, ("llmlab.kitchen", "FOODS, FAMILIES")]:
        for name in names.split(" as ")[0].split(", "):
            value = getattr(importlib.import_module(module), name, None)
            assert not isinstance(value, list | dict | set), f"{module}.{name}"


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
