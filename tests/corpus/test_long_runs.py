"""Runs without an end: all their characters are kept, and a vocabulary is learned in no time."""

import random

import pytest

from llmlab.artifacts import data_dir
from llmlab.core.tokenizer import BPE, train_bpe
from llmlab.corpus import long_runs
from llmlab.corpus.long_runs import SPACES, TAUGHT, WORD

HOUSE = (data_dir() / "house" / "recipes.json").read_text("utf-8")
RUNS = {
    "spaces": " " * 1_000_000 + "x",
    "tabs between words": "a" + "\t" * 3_000_000 + "x y",
    "wide spaces": "\u3000" * 1_000_000 + "x",
    "line ends": "\r\n " * 400_000 + "x",
    "as many as are encoded at a time": " " * SPACES + "x",
    "again and again": ("x" + " " * (SPACES + 1)) * 20,
    "letters": "ab" * 1_000_000,
    "nothing": "",
}


@pytest.mark.parametrize("name", RUNS)
def test_any_text_is_encoded_and_no_character_is_lost(name):
    encoding = BPE(()).to_tiktoken()
    assert "".join(long_runs.parts(RUNS[name])) == RUNS[name]
    assert encoding.decode(long_runs.encode(encoding, RUNS[name])) == RUNS[name]


def test_usual_text_has_its_usual_ids():
    bpe = train_bpe(HOUSE, 600)
    assert long_runs.encode(bpe.to_tiktoken(), HOUSE) == bpe.encode(HOUSE)


def test_a_vocabulary_learns_usual_text_as_it_is():
    assert long_runs.to_learn_from(HOUSE) == HOUSE
    words = " ".join(["x" * (WORD - 1)] * 2 * TAUGHT)
    assert long_runs.to_learn_from(words) == words


def test_a_vocabulary_is_learned_from_the_beginning_of_a_word_without_end():
    """Five million letters at random, between words: the merges are those of a short text."""
    rng = random.Random(0)
    word = "".join(rng.choices("abcdefghij", k=5_000_000))
    text = f"{HOUSE} {word} {HOUSE}"
    learned = long_runs.to_learn_from(text)
    assert learned == f"{HOUSE} {word[:TAUGHT]} {HOUSE}"
    lines = long_runs.to_learn_from("\n".join(word[i : i + 60] for i in range(0, 600_000, 60)))
    assert len(lines.replace("\n", "")) == TAUGHT
    assert train_bpe(learned, 400).vocab_size == 400
