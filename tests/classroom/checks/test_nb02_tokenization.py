"""Notebook 02's checks: the notebook's solutions pass, each mistake gets a sentence of its own."""

from collections import Counter

import pytest

from llmlab.classroom import verdict
from llmlab.classroom.checks.nb02_tokenization import (
    MERGES,
    first_found,
    in_order,
    longest,
    one_merge,
)
from llmlab.classroom.exercises import RIGHT
from llmlab.core.tokenizer import BPE, train_bpe

SPACE = {"Counter": Counter}  # what the cells above bring
EXERCISES = {
    "02.pairs": "pairs",
    "02.encode": "encode",
    "02.dollars": "dollars",
    "02.prompt": "prompt",
}


@pytest.mark.parametrize(("exercise", "name"), EXERCISES.items())
def test_the_notebooks_solution_is_right(exercise, name, solution):
    assert verdict(exercise, solution(exercise, name, **SPACE))[0] == RIGHT


def one_by_one(ids, merges):
    """Also right: again and again the earliest pair that is there, one place at a time."""
    ids = list(ids)
    while True:
        places = [i for i in range(len(ids) - 1) if (ids[i], ids[i + 1]) in merges]
        if not places:
            return ids
        i = min(places, key=lambda i: (merges[ids[i], ids[i + 1]], i))
        ids[i : i + 2] = [merges[ids[i], ids[i + 1]]]


def by_the_package(ids, merges):
    return BPE(tuple(merges), specials=()).encode(bytes(ids).decode())


def plain_dict(words):
    counts = {}
    for ids, times in words.items():
        for i in range(len(ids) - 1):
            counts[ids[i], ids[i + 1]] = counts.get((ids[i], ids[i + 1]), 0) + times
    return counts


def joined(text, bpe):
    return (bpe.special("<|user|>"),) + tuple(bpe.encode(text)) + (bpe.special("<|assistant|>"),)


OTHER_WAYS = [
    ("02.pairs", plain_dict),
    ("02.encode", one_by_one),
    ("02.encode", by_the_package),
    ("02.dollars", lambda texts, e, p: p * sum(map(len, e.encode_ordinary_batch(texts))) / 10**6),
    ("02.prompt", joined),
]


@pytest.mark.parametrize(("exercise", "answer"), OTHER_WAYS)
def test_other_right_answers_are_right_too(exercise, answer):
    assert verdict(exercise, answer)[0] == RIGHT


def weighed(words, key=lambda a, b: (a, b), start=0, weigh=lambda times: times):
    counts = Counter()
    for ids, times in words.items():
        for a, b in zip(ids[start:], ids[start + 1 :], strict=False):
            counts[key(a, b)] += weigh(times)
    return counts


def set_not_added(words):
    return {p: n for ids, n in words.items() for p in zip(ids, ids[1:], strict=False)}


def once_a_word(words):
    counts = Counter()
    for ids, times in words.items():
        for pair in set(zip(ids, ids[1:], strict=False)):
            counts[pair] += times
    return counts


def across(words):
    return weighed({tuple(i for ids, n in words.items() for i in ids * n): 1})


def side_by_side(words):
    counts = Counter()
    for ids, times in words.items():
        for pair in zip(ids[::2], ids[1::2], strict=False):
            counts[pair] += times
    return counts


def emptied(words):
    counts = weighed(words)
    words.clear()
    return counts


def popped(ids, merges):
    right = in_order(ids, merges)
    ids.clear()
    return right


def strings(ids, merges):
    return [chr(i) if i < 256 else str(i) for i in in_order(ids, merges)]


def tokens(texts, encoding):
    return sum(len(encoding.encode_ordinary(text)) for text in texts)


def put_together(text, bpe, before=("<|user|>",), after=("<|assistant|>",)):
    return [*map(bpe.special, before), *bpe.encode(text), *map(bpe.special, after)]


def let_in(text, bpe):
    whole = f"<|user|>{text}<|assistant|>"
    return bpe.to_tiktoken().encode(whole, allowed_special="all")


def washed(text, bpe):
    for name in bpe.specials:
        text = text.replace(name, "")
    return put_together(text, bpe)


WRONG_ANSWERS = {
    "02.pairs": [
        lambda words: weighed(words, weigh=lambda times: 1),
        lambda words: weighed(words, key=lambda a, b: tuple(sorted((a, b)))),
        lambda words: weighed(words, key=lambda a, b: a),
        lambda words: weighed(words, start=1),
        lambda words: dict(weighed(words).most_common(1)),
        lambda words: list(weighed(words).items()),
        lambda words: {(1, 1): 6, (1, 2): 12, (2, 1): 5},
        lambda words: {},
        lambda words: max(weighed(words)),
        set_not_added,
        once_a_word,
        across,
        side_by_side,
        emptied,
        lambda words: weighed(word),  # noqa: F821
        lambda words: print("no return"),
        weighed({(1, 2): 1}),
    ],
    "02.encode": [
        lambda ids, merges: ids,
        first_found,
        lambda ids, merges: first_found(ids, merges, side=-1),
        longest,
        lambda ids, merges: [abs(i) for i in in_order(ids, {p: -n for p, n in merges.items()})],
        lambda ids, merges: in_order(ids, merges, times=1),
        lambda ids, merges: one_merge(ids),
        lambda ids, merges: in_order(ids, {p: n for p, n in merges.items() if max(p) < 256}),
        lambda ids, merges: in_order(ids, MERGES),
        lambda ids, merges: in_order(ids, dict(list(merges.items())[:-1])),
        lambda ids, merges: in_order(ids, merges)[:-1],
        lambda ids, merges: [999],
        lambda ids, merges: bytes(ids).decode(),
        popped,
        strings,
        lambda ids, merges: [merges[pair] for pair in zip(ids, ids[1:], strict=False)],
        lambda ids, merges: ids.sort(),
    ],
    "02.dollars": [
        lambda texts, e, price: sum(map(len, texts)) * price / 1e6,
        lambda texts, e, price: sum(len(t.encode()) for t in texts) * price / 1e6,
        lambda texts, e, price: sum(len(t.split()) for t in texts) * price / 1e6,
        lambda texts, e, price: tokens(texts, e) * price,
        lambda texts, e, price: tokens(texts, e) * price / 1e3,
        lambda texts, e, price: tokens(texts[:1], e) * price / 1e6,
        lambda texts, e, price: tokens(texts[-1:], e) * price / 1e6,
        lambda texts, e, price: tokens(texts, e) * price / 1e6 / max(1, len(texts)),
        lambda texts, e, price: tokens(texts, e) * price / 1e4,
        lambda texts, e, price: tokens(texts, e) / 1e6,
        lambda texts, e, price: tokens(texts, e),
        lambda texts, e, price: tokens(texts, e) / price / 1e6,
        lambda texts, e, price: tokens(texts, e) * 4.0 / 1e6,
        lambda texts, e, price: sum(sum(e.encode_ordinary(t)) for t in texts) * price / 1e6,
        lambda texts, e, price: [tokens([t], e) * price / 1e6 for t in texts],
        lambda texts, e, price: price * len(e.encode_ordinary(texts)),
        lambda texts, e, price: tokens(texts, e) * price / 1e6 + (not texts),
        lambda texts, e, price: 2 * tokens(texts, e) * price / 1e6,
    ],
    "02.prompt": [
        lambda text, bpe: bpe.encode(f"<|user|>{text}<|assistant|>"),
        lambda text, bpe: f"<|user|>{text}<|assistant|>",
        lambda text, bpe: bpe.encode(text),
        lambda text, bpe: put_together(text, bpe, after=()),
        lambda text, bpe: put_together(text, bpe, before=()),
        lambda text, bpe: put_together(text, bpe, ("<|assistant|>",), ("<|user|>",)),
        lambda text, bpe: put_together(text, bpe, ("<|user|>", "<|assistant|>"), ()),
        lambda text, bpe: put_together(text, bpe, after=("<|assistant|>", "<|end|>")),
        lambda text, bpe: put_together(text, bpe, after=("<|end|>", "<|assistant|>")),
        lambda text, bpe: put_together("", bpe),
        lambda text, bpe: put_together("rice", bpe),
        lambda text, bpe: [bpe.special("<|user|>"), bpe.encode(text), bpe.special("<|assistant|>")],
        lambda text, bpe: ["<|user|>", *bpe.encode(text), "<|assistant|>"],
        lambda text, bpe: [278, *bpe.encode(text), 279],
        lambda text, bpe: bpe.encode(text) + bpe.special("<|assistant|>"),
        let_in,
        washed,
    ],
}


REVEALS = r"sorted\(|min\(|most_common|\+= ?times|1e6|\*bpe|256"  # the answer


@pytest.mark.parametrize("exercise", EXERCISES)
def test_each_mistake_gets_a_sentence_that_gives_nothing_away(exercise, each_is_told):
    each_is_told(exercise, WRONG_ANSWERS[exercise], REVEALS)


def test_who_edits_or_fails_is_told_so():
    assert "changes what it was given" in verdict("02.pairs", emptied)[1]
    assert "changes what it was given" in verdict("02.encode", popped)[1]
    assert "AttributeError" not in verdict("02.prompt", let_in)[1]
    assert "`return`" in verdict("02.encode", lambda ids, merges: ids.sort())[1]
    assert "NameError" in verdict("02.pairs", lambda words: nothing)[1]  # noqa: F821


def test_the_solution_encodes_like_the_package_on_real_words(solution):
    bpe = train_bpe("stir the soup, stir the stew, then stir the rice", 272, specials=())
    encode = solution("02.encode", "encode")
    for word in (" stirring", "the", "soups", "rhetoric"):
        assert encode(list(word.encode()), bpe.ranks) == bpe._encode_chunk(word.encode())
