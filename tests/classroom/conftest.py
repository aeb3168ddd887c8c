"""What the tests of the notebooks' checks share."""

import re
from pathlib import Path

import pytest

from llmlab.classroom import verdict
from llmlab.classroom.exercises import WRONG

SOURCES = Path(__file__).parents[2] / "notebooks" / "src"

# Contents of files that are no learner's progress.
DAMAGED = [
    "", "{", "[]", "3", "{}", '{"solved": 3}', '{"solved": [3]}', '{"solved": {"02.encode": 1}}',
    '{"solved": [], "name": 3}', '{"solved": [], "tries": []}',
    '{"solved": [], "tries": {"a": "b"}}', '{"solved": [], "tries": {"a": -1}}',
    '{"solved": [], "tries": {"a": 1.5}}',
    '{"solved": [], "tries": {"a": 1e9}}', '{"solved": [], "seconds": -1}',
    '{"solved": [], "seconds": NaN}', '{"solved": [], "seconds": 1e999}',
    '{"solved": [], "seconds": true}', '{"solved": [], "seconds": "12"}',
    '{"solved": [], "seconds": 1' + "0" * 400 + "}", '{"solved": [], "last": null}',
    "[" * 100_000, "\0" * 50, "\ud83c".encode("utf-8", "surrogatepass").decode("latin-1"),
]  # fmt: skip


@pytest.fixture
def in_class(monkeypatch, tmp_path):
    """A learner's class: not strict, nothing solved."""
    monkeypatch.delenv("LLMLAB_STRICT", raising=False)
    monkeypatch.setenv("LLMLAB_RUNS", str(tmp_path / "runs"))


@pytest.fixture(params=DAMAGED)
def damaged(request):
    """The content of a file that is no learner's progress."""
    return request.param


@pytest.fixture
def solution():
    """A function: the solution of an exercise ("02.encode") as the notebook's source defines it.

    name: the function's name; space: what its code takes from the cells above it.
    """

    def find(exercise: str, name: str, **space):
        (source,) = SOURCES.glob(f"{exercise.split('.')[0]}_*.py")
        found = re.search(rf"^def {name}\(.*?(?=^\S)", source.read_text("utf-8"), re.M | re.S)
        exec(found[0], space)
        return space[name]

    return find


@pytest.fixture
def each_is_told():
    """A function that asserts: every answer is wrong and gets a sentence of its own.

    reveals: what no sentence may hold, since it would give the answer away; a sentence that quotes
    the learner's own code is not searched.
    """

    def check(exercise: str, answers: list, reveals: str) -> None:
        verdicts = [verdict(exercise, answer) for answer in answers]
        sentences = [sentence for _, sentence in verdicts]
        print(*sentences, sep="\n")
        assert [mark for mark, _ in verdicts] == [WRONG] * len(verdicts)
        assert len(set(sentences)) == len(sentences) >= 5
        for sentence in sentences:
            assert len(sentence) > 20
            assert not re.search(reveals, sentence.partition("Your code stops")[0]), sentence

    return check
