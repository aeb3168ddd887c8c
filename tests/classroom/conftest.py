"""What the tests of the notebooks' checks share."""

import re
from pathlib import Path

import pytest

from llmlab.classroom import verdict
from llmlab.classroom.exercises import WRONG

SOURCES = Path(__file__).parents[2] / "notebooks" / "src"


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
