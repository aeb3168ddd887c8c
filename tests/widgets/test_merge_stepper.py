"""What `MergeStepper` learns and shows, without a page."""

import random
import re
from collections import Counter
from html import unescape
from pathlib import Path

import pytest
import regex

from llmlab.core.tokenizer import PATTERN, train_bpe
from llmlab.widgets.merge_stepper import LETTERS, LIMIT, PAIRS, WORDS, MergeStepper

WORDS_OF_02 = "bake baking boil boiling fry frying stir stirring stew stewing"
TIES = "ab cd ab cd ef ef gh gh"
STORY = Path(__file__).parents[2].joinpath("LICENSE").read_text()[:LIMIT]


def scrambled(seed: int) -> str:
    """A text of few letters, so that many pairs are equally frequent, with overlaps such as aaa."""
    rng = random.Random(seed)
    return "".join(rng.choice("aaab é🍜\n") for _ in range(300))


@pytest.mark.parametrize("text", [WORDS_OF_02, TIES, STORY, *map(scrambled, range(8))])
def test_merge_by_merge_as_train_bpe(text):
    stepper = MergeStepper(text, merges=60)
    steps = stepper._answer["steps"]
    learned = train_bpe(text, 256 + len(steps) - 1, specials=())
    for stepper.step in range(len(steps)):
        assert stepper.bpe.merges == learned.merges[: stepper.step]
    assert stepper.bpe == learned
    if len(steps) <= 60:  # the text ran out of pairs, as train_bpe says too
        with pytest.raises(ValueError, match=f"at most, not {257 + len(steps) - 1}"):
            train_bpe(text, 257 + len(steps) - 1, specials=())


def test_counts_are_those_of_the_text_as_it_stands():
    stepper = MergeStepper(STORY, merges=30)
    for stepper.step in (0, 1, 15, 30):
        state = stepper._answer["steps"][stepper.step]
        pieces = [stepper.bpe.encode(word) for word in regex.findall(PATTERN, STORY)]
        pairs = Counter(p for ids in pieces for p in zip(ids, ids[1:], strict=False))
        ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
        assert [(tuple(p[:2]), p[2]) for p in state["pairs"]] == ranked[:PAIRS]
        assert state["tokens"] == sum(map(len, pieces))
        assert state["equals"] == sum(count == ranked[0][1] for count in pairs.values())


def test_ties_are_counted_and_the_smaller_ids_win():
    first = MergeStepper(TIES)._answer["steps"][0]
    assert first["equals"] == 7  # " c", " e", " g", "ab", "cd", "ef", "gh": twice each
    assert first["pairs"][:3] == [[32, 99, 2], [32, 101, 2], [32, 103, 2]]


def test_words_on_show_are_the_most_frequent():
    stepper = MergeStepper(STORY, merges=12)
    answer = stepper._answer
    found = Counter(regex.findall(PATTERN, STORY))
    assert answer["counts"] == sorted(found.values(), reverse=True)[:WORDS]
    assert answer["more_words"] == len(found) - WORDS
    stepper.step = 12
    for count, ids in zip(answer["counts"], answer["steps"][12]["words"], strict=True):
        word = stepper.bpe.decode(ids)
        assert found[word] == count and stepper.bpe.encode(word) == ids


def test_names_are_honest():
    stepper = MergeStepper("a 🍜🍜🍜", merges=2)
    names = stepper._answer["names"]
    assert len(names) == 258
    assert names[32]["text"] == "·" and names[0xF0] == {"text": "", "hex": "F0"}
    assert names[256]["text"] == "" and len(names[256]["hex"].split()) == 2
    long = MergeStepper("x" * LIMIT)._answer["names"][-1]  # the whole text in one token
    assert long["text"] == "x" * LETTERS + "…" and len(long["hex"]) < 3 * LETTERS
    assert MergeStepper("\n\n", merges=1)._answer["names"][256]["text"] == "↵↵"


def test_step_stays_within_the_merges():
    stepper = MergeStepper(WORDS_OF_02, merges=20, step=99)
    assert stepper.step == 20
    stepper.step = -5
    assert stepper.step == 0
    stepper.step = 20
    stepper.text = "aba"  # three bytes are two merges at the most
    assert stepper.step == 2 and stepper.bpe == train_bpe("aba", 258, specials=())


def test_the_static_picture_is_the_final_state():
    stepper = MergeStepper(WORDS_OF_02, merges=20)
    data, _ = stepper._repr_mimebundle_()
    assert data["text/plain"] == repr(stepper)
    stepper.step = 20
    tokens = len(stepper.bpe.encode(WORDS_OF_02))
    assert repr(stepper) == f"MergeStepper: 62 bytes, {tokens} tokens after 20 merges"
    codes = [unescape(code) for code in re.findall(r"<code[^>]*>([^<]*)</code>", data["text/html"])]
    assert codes[:3] == ["in", "ing", "·s"] and "in</code><wbr> 5×" in data["text/html"]
    assert "".join(codes[20:]).replace("·", " ") == WORDS_OF_02
    assert len(codes) == 20 + tokens
    assert "http" not in data["text/html"] and "…" not in data["text/html"]
    assert " …</span>" in MergeStepper("ab" * 99, merges=1)._repr_mimebundle_()[0]["text/html"]
