"""What the tests of the notebooks' checks share."""

import math
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from llmlab.corpus.dedup import ngrams
from llmlab.corpus.filters import STOP_WORDS
from llmlab.kitchen import read_answer
from llmlab.stages.tokenization import get_encoding

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


@pytest.fixture(scope="session")
def solution():
    """A function: the solution of an exercise ("02.encode") as the notebook's source defines it.

    edit: a text in the solution, and what to write in its place.
    """
    # What the cells above the exercises bring.
    above = {
        "Counter": Counter, "F": torch.nn.functional, "STOP_WORDS": STOP_WORDS, "math": math,
        "re": re, "read_answer": read_answer, "runs": ngrams, "torch": torch,
        "gpt2": get_encoding("gpt2"),
    }  # fmt: skip

    def find(exercise: str, edit: tuple[str, str] | None = None) -> Callable:
        (source,) = SOURCES.glob(f"{exercise.split('.')[0]}_*.py")
        text = source.read_text("utf-8")
        name = re.search(rf'^check\("{exercise}", (\w+)\)', text, re.M)[1]
        code = re.search(rf"^def {name}\(.*?(?=^\S)", text, re.M | re.S)[0]
        if edit:
            head, quotes, body = code.rpartition('"""')
            assert edit[0] in body, f"{edit[0]!r} is no part of the solution of {exercise}"
            code = f"{head}{quotes}{body.replace(*edit, 1)}"
        space = dict(above)
        exec(code, space)
        return space[name]

    return find
