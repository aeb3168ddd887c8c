"""Exercises and their checks, on learners' answers of all kinds, here and in a kernel."""

import json
import math
import re
import signal
import sys
import threading

import nbformat
import pytest
import torch
from nbclient import NotebookClient

from llmlab.artifacts import LabError
from llmlab.classroom import Wrong, call, check, close, exercise, same, verdict
from llmlab.classroom.exercises import RIGHT, WRONG, names
from llmlab.classroom.progress import progress_file, read_progress

pytestmark = pytest.mark.usefixtures("in_class")


@exercise("97.double")
def double(answer):
    numbers = [1, 2, 3]
    same(call(answer, numbers), [2, 4, 6], "the list")
    same(call(answer, numbers), [2, 4, 6], "the list, made again")


@exercise("97.mean")
def mean(answer):
    close(answer, 2.5, "the mean")


@exercise("97.direct", seconds=0.5)
def direct(answer):
    """Calls the learner's function without `call`."""
    if answer(1) + 1 != 3:
        raise Wrong("That is\nnot two.")


def line(capsys, name, answer) -> str:
    """What check prints: one line."""
    check(name, answer)
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1 and printed.endswith("\n")
    return printed[:-1]


# --- check ----------------------------------------------------------------------------------


def test_right_is_told_and_kept(capsys):
    assert line(capsys, "97.mean", 2.5) == "✓ 97.mean is right."
    assert line(capsys, "97.double", lambda numbers: [2 * n for n in numbers]).startswith("✓")
    assert read_progress(progress_file()).solved == {"97.double", "97.mean"}


def test_wrong_is_one_sentence_and_not_kept(capsys):
    assert line(capsys, "97.mean", 2.6) == "✗ The mean is too large."
    assert line(capsys, "97.direct", lambda n: 1) == "✗ That is not two."
    assert read_progress(progress_file()).solved == set()


def stub(numbers):
    raise NotImplementedError()


@pytest.mark.parametrize("answer", [stub, None, ..., (1, ...), [..., 2]])
def test_a_gap_is_not_a_mistake(capsys, answer):
    assert line(capsys, "97.double", answer).startswith("○ 97.double is not done yet")


def test_an_error_of_torch_is_no_gap():
    def unsupported(numbers):
        raise NotImplementedError("not implemented for 'Half'")

    mark, sentence = verdict("97.double", unsupported)
    assert mark == WRONG and "not implemented for 'Half'" in sentence


def in_place(numbers):
    for i, n in enumerate(numbers):
        numbers[i] = 2 * n
    return numbers


EDITED = [  # a function, what it is given, what the learner calls what it changes
    (in_place, ([1, 2],), "`numbers`, which"),
    (lambda t: t.zero_(), (torch.ones(2),), "`t`, which"),
    (lambda t: t.resize_(3), (torch.ones(2),), "`t`, which"),
    (lambda t: t.mul_(3), (torch.ones(2, requires_grad=True),), "`t`, which"),
    (lambda a, b: b["x"][0].pop() or 1, (1, {"x": ([0],)}), "`b`, which"),
    (lambda *both: both[1].clear() or 1, ([0], [0]), "what it was given"),
]


@pytest.mark.parametrize(("function", "given", "named"), EDITED)
def test_a_function_that_changes_what_it_is_given_is_told_what(function, given, named):
    before = repr(given)
    with pytest.raises(Wrong, match="Your function changes") as wrong:
        call(function, *given)
    assert named in str(wrong.value) and repr(given) == before


def test_what_cannot_be_compared_counts_as_unchanged():
    assert call(lambda *given: len(given), object(), len, {"a": print}, (math.nan,)[:0]) == 4


def stops(numbers):
    empty = []
    return empty[len(numbers)]


@pytest.mark.parametrize("name", ["97.double", "97.direct"])
def test_an_exception_becomes_a_sentence_with_the_learners_line(name):
    mark, sentence = verdict(name, lambda x: stops([x]))
    number = stops.__code__.co_firstlineno + 2
    assert mark == WRONG
    assert sentence == (
        f"Your code stops with IndexError in line {number} (return empty[len(numbers)]): "
        "list index out of range"
    )


def test_the_learners_line_is_named_also_when_a_library_raises():
    def misused(numbers):
        return json.loads("{")

    number = misused.__code__.co_firstlineno + 1
    assert f"JSONDecodeError in line {number} (" in verdict("97.double", misused)[1]


class Mute(Exception):
    def __str__(self):
        raise RuntimeError


def hostile(numbers):
    raise ValueError("two\nlines \ud800 " + "x" * 100_000)


def mute(numbers):
    raise Mute


def test_call_alone_tells_failures_as_wrong_answers():
    for failing in (hostile, mute, lambda n: sys.exit(), lambda n: n[0], 3):
        with pytest.raises(Wrong):
            call(failing, 1)
    with pytest.raises(NotImplementedError):
        call(stub, 1)


def test_an_answer_that_breaks_the_check_itself_is_told(capsys):
    printed = line(capsys, "97.direct", 3)
    assert "not of a kind that can be checked (TypeError" in printed


def test_interrupt_goes_through():
    def interrupted(numbers):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check("97.double", interrupted)


def forever(n):
    while True:
        try:
            n += 1
        except Exception:
            pass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the limit is an alarm signal")
def test_the_limit_leaves_the_alarm_as_it_was():
    def ours(*_): ...

    theirs = signal.signal(signal.SIGALRM, ours)
    signal.setitimer(signal.ITIMER_REAL, 100)
    try:
        assert verdict("97.direct", lambda n: 2)[0] == RIGHT
        assert signal.getsignal(signal.SIGALRM) is ours
        assert 90 < signal.getitimer(signal.ITIMER_REAL)[0] <= 100
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, theirs)


def test_off_the_main_thread_a_check_works_too():
    def both():
        results.extend(verdict("97.direct", answer)[0] for answer in (lambda n: 2, forever))

    results = []
    thread = threading.Thread(target=both)
    thread.start()
    thread.join(timeout=20)
    assert results == [RIGHT, WRONG]


def printing(numbers):
    print("  a\tb", end="")
    return [2 * n for n in numbers]


def test_what_an_answer_prints_stands_above_the_verdict(capsys):
    check("97.double", printing)
    assert capsys.readouterr().out == "  a     b  a    b\n✓ 97.double is right.\n"

    def flood(numbers):
        for _ in range(1000):
            print("line", end="\r\n")

    check("97.double", flood)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "line" and len(lines) < 800
    assert lines[-2] == "… and 4,000 characters more." and lines[-1].startswith("✗")


@pytest.mark.parametrize("answer", [2.6, ..., stub])
def test_strict_raises_for_all_but_right_answers(monkeypatch, answer):
    monkeypatch.setenv("LLMLAB_STRICT", "1")
    with pytest.raises(AssertionError):
        check("97.mean", answer)
    check("97.mean", 2.5)
    assert not progress_file().exists()  # the project's own solutions are nobody's progress


# --- Names ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["97.doubel", "97.", "double", 97, None, "../../x", "97.\ud800"])
def test_unknown_exercise_names_the_near_ones(name):
    with pytest.raises(LabError, match="There is no exercise") as error:
        check(name, 1)
    named = set(re.findall(r"\d\d\.\w+", str(error.value).partition(". There are ")[2]))
    assert named and named <= set(names())
    assert name != "97.doubel" or named == set(names("97"))  # all of that notebook
    str(error.value).encode("utf-8")


def test_a_check_module_is_imported_when_it_is_asked_for(tmp_path, monkeypatch):
    from llmlab.classroom import checks

    (tmp_path / "nb96_one.py").write_text(
        "from llmlab.classroom import Wrong, exercise\n"
        '@exercise("96.one")\n'
        "def one(answer):\n"
        "    if answer != 1:\n"
        '        raise Wrong("Count again.")\n'
    )
    (tmp_path / "nb95_none.py").write_text("import no_such_module\n")
    monkeypatch.setattr(checks, "__path__", [*checks.__path__, str(tmp_path)])
    assert verdict("96.one", 1)[0] == RIGHT
    assert verdict("96.one", 2) == (WRONG, "Count again.")
    assert names("96") == ["96.one"]
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        check("95.any", 1)


def test_two_exercises_of_one_name_are_refused():
    with pytest.raises(ValueError, match="Two exercises"):

        @exercise("97.mean")
        def other(answer): ...

    exercise("97.mean")(mean)  # the same once more, as when a module is read again
    with pytest.raises(ValueError, match="named like"):
        exercise("mean")


# --- Comparers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (2.50001, 2.5), (torch.tensor(2.5), 2.5), (torch.tensor(True), True), (4.0, 4),
        (torch.ones(2, requires_grad=True), torch.ones(2)), ((1, 2), [1, 2]), ([], []),
        (torch.full((2,), 0.3).bfloat16(), torch.full((2,), 0.3)), (6 * 10**22, 6.0e22),
        (torch.tensor([2.0, 3.0]), torch.tensor([2, 3])),
        (6.0e22, 6 * 10**22), (float("nan"), float("nan")), (float("inf"), float("inf")),
    ],
)  # fmt: skip
def test_close_lets_pass(answer, right):
    close(answer, right)


NAN = float("nan")


@pytest.mark.parametrize(
    ("answer", "right", "said"),
    [
        ("2.5", 2.5, "should be a number, and yours is a text"),
        (True, 1, "should be a number, and yours is a truth value"),
        ([1.0], torch.ones(1), "should be a tensor, and yours is a list"),
        (torch.ones(3), torch.ones(2), "axis 0 is too long"),
        (torch.ones(2, 3), torch.ones(3, 2), "the right axes, but not in this order"),
        (torch.ones(2, 3), torch.ones(2), "too many axes"),
        (torch.ones(2), torch.ones(2, 1), "too few axes"),
        (torch.tensor([1.0, NAN]), torch.ones(2), "holds nan at [1]"),
        (NAN, 1.0, "holds nan. Look for"),
        (torch.tensor([2.0, 3.5]), torch.tensor([2, 3]), "the first at [1], 3.5, is too large"),
        (torch.tensor([0, 1]), torch.tensor([False, True]), "should hold truth values"),
        (torch.tensor([True, True]), torch.tensor([False, True]), "wrong in 1 of 2 truth values"),
        (-2.5, 2.5, "has the wrong sign"),
        (2.4, 2.5, "is too small"),
        (50256, 50257, "is too small"),
        ([50256, 2], [50257, 2], "1 of 2 numbers are wrong; the first at [0], 50256, is too small"),
        ([[1, 2], [3]], [[1, 2], [3, 4]], "rows of equal length"),
        (["a"], [1], "should hold numbers alone"),
        ([None], [1], "should hold numbers alone"),
    ],
)
def test_close_says_what_differs(answer, right, said):
    with pytest.raises(Wrong) as wrong:
        close(answer, right, "the mean")
    assert str(wrong.value).startswith("The mean ") and said in str(wrong.value)


def test_close_does_not_give_the_answer_away():
    for answer in (1.0, -7.25, "x", [7.25], NAN, torch.ones(2)):
        with pytest.raises(Wrong) as wrong:
            close(answer, 7.25)
        assert "7.2" not in str(wrong.value).replace(str(answer), "")


@pytest.mark.parametrize(
    ("answer", "right", "said"),
    [
        ("soup", "soap", "right up to place 2 (counted from 0); there yours has 'u'."),
        ([1, 2], [1, 2, 3], "too short"),
        ([1, 2, 3, 4], (1, 2, 3), "too long"),
        ({"a": 1}, {"a": 2}, "the right keys, but not the right values"),
        ({"a", "c"}, {"a", "b"}, "1 entries are missing, 1 too many"),
        (5, "5", "should be a text, and yours is a number"),
        (b"x", b"y", "wrong from its beginning: yours begins with 120."),
        (object, print, "should be"),
    ],
)
def test_same_says_what_differs(answer, right, said):
    with pytest.raises(Wrong) as wrong:
        same(answer, right)
    assert said in str(wrong.value)
    same(right, right)


# --- As a learner meets it ------------------------------------------------------------------


def test_in_a_kernel(monkeypatch):
    cells = [
        "from llmlab.classroom import Wrong, call, check, exercise\n"
        '@exercise("94.half", seconds=1)\n'
        "def half(answer):\n"
        "    if call(answer, 4) != 2:\n"
        '        raise Wrong("Half of four is not that.")',
        "def helper(n):\n\n    return n / 0",
        'def half(n):\n    return helper(n)\n\ncheck("94.half", half)',
        'def half(n):\n    while True: pass\n\ncheck("94.half", half)',
        'check("94.half", lambda n: 3)',
        'check("94.half", lambda n: n / 2)',
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    NotebookClient(notebook, kernel_name="python3", timeout=60).execute()
    printed = [c.outputs[0].text for c in notebook.cells if c.outputs]
    assert printed[0] == (
        "✗ Your code stops with ZeroDivisionError in line 3 (return n / 0): division by zero\n"
    )
    assert printed[1].startswith("✗ This ran for 1 seconds and was stopped.")
    assert printed[2:] == ["✗ Half of four is not that.\n", "✓ 94.half is right.\n"]
