"""The BPE against the textbook, the libraries `tokenizers` and `rustbpe`, and tiktoken."""

import json
import runpy
from pathlib import Path

import pytest
import regex
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llmlab import artifacts
from llmlab.core.tokenizer import BPE, PATTERN, SPECIALS, merge_pair, train_bpe

RECIPES = json.loads((artifacts.data_dir() / "house" / "recipes.json").read_text("utf-8"))
HOUSE = "\n".join(" ".join(r["ingredients"] + r["steps"]) for r in RECIPES.values())
TEXTS = {
    "recipes": HOUSE[:6000],
    "code": "def add(a, b):\n    return a + b\n\n\nfor i in range(10):\n    print(add(i, i))\n" * 3,
    "emoji and Chinese": "好吃的面条 🍜 好吃 🍜🍜 面条 naïve café 123456 12 ½ cup " * 4,
}


BENCH = runpy.run_path(str(Path(__file__).parents[2] / "bench" / "bpe.py"))
textbook_merges = BENCH["distinct_pretokens"]  # counts all pairs anew for every merge


@pytest.mark.parametrize("name", TEXTS)
def test_same_merges_as_the_textbook(name):
    bpe = train_bpe(TEXTS[name], 256 + 35 + len(SPECIALS))
    assert list(bpe.merges) == textbook_merges(TEXTS[name], 35)


@pytest.mark.parametrize("name", TEXTS)
def test_same_merges_as_rustbpe(name):
    """It takes, as we do, the pair with the smaller ids where counts are equal: nothing differs.

    Its tokens come as bytes, in the order of training.
    """
    ours = train_bpe(TEXTS[name], 256 + 35, specials=())
    assert BENCH["with_rustbpe"](TEXTS[name], 35) == ours.token_bytes


@pytest.mark.parametrize("name", TEXTS)
def test_same_merges_as_tokenizers(name):
    """Bytes are spelled as characters in the order of bytes, so that ties fall alike.

    In the library's own alphabet of bytes (GPT-2's, with the printable ones first) the smaller of
    two ids is another one: there merges with equal counts change places.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    def spell(data: bytes) -> str:
        return "".join(chr(0x4E00 + b) for b in data)

    alphabet = [chr(0x4E00 + b) for b in range(256)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + 35, initial_alphabet=alphabet, show_progress=False
    )
    words = [spell(w.encode()) for w in regex.findall(PATTERN, TEXTS[name])]
    tokenizer.train_from_iterator([" ".join(words)], trainer)
    vocabulary = tokenizer.get_vocab()
    theirs = json.loads(tokenizer.to_str())["model"]["merges"]
    ids = [tuple(vocabulary[part] for part in merge) for merge in theirs]
    assert ids == list(train_bpe(TEXTS[name], 256 + 35 + len(SPECIALS)).merges)


def test_same_merges_as_the_textbook_of_a_longer_text():
    """How much sooner they are found: bench/RESULTS.md."""
    assert list(BPE_600.merges[:200]) == textbook_merges(HOUSE, 200)


BPE_600 = train_bpe(HOUSE, 600)
FAST = BPE_600.to_tiktoken()


# Characters that every library here knows the class of, whatever its version of Unicode.
CHARACTERS = st.characters(exclude_categories=["Cn", "Cs"])


@given(st.text(CHARACTERS))
@settings(max_examples=300, deadline=None)
def test_round_trip_and_tiktoken_agree(text):
    ids = BPE_600.encode(text)
    assert ids == FAST.encode_ordinary(text)
    assert BPE_600.decode(ids) == text


@given(st.text(CHARACTERS | st.characters(categories=["Cs"])))
@settings(max_examples=200, deadline=None)
def test_half_a_surrogate_pair_becomes_the_replacement_character(text):
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    ids = BPE_600.encode(text)
    assert ids == FAST.encode_ordinary(text)
    assert BPE_600.decode(ids) == whole


def test_a_lone_surrogate_by_hand():
    assert BPE_600.decode(BPE_600.encode("a\ud800b")) == "a\ufffdb"
    assert BPE_600.decode([*b"a\xff"]) == "a\ufffd"


WORDS = st.lists(st.text("abc", min_size=1, max_size=12), min_size=1, max_size=20)


@given(WORDS, WORDS, st.integers(1, 30))
@settings(max_examples=300, deadline=None)
def test_repetitive_text_has_the_textbook_merges_and_one_id_a_token(words, others, n_merges):
    """Few letters make many ties and overlaps ("aaa"); tiktoken merges by bytes, we by pairs."""
    text, other = " ".join(words), " ".join(others)
    try:
        bpe = train_bpe(text, 256 + n_merges + len(SPECIALS))
    except ValueError:
        assume(False)
    assert list(bpe.merges) == textbook_merges(text, n_merges)
    assert len(set(bpe.token_bytes)) == len(bpe.token_bytes)
    assert bpe.encode(other) == bpe.to_tiktoken().encode_ordinary(other)


def test_encoding_applies_the_merges_in_order():
    """Against the textbook: every merge, from the first, over the whole text."""
    for text in TEXTS.values():
        slow = []
        for word in regex.findall(PATTERN, text):
            ids = list(word.encode())
            for i, pair in enumerate(BPE_600.merges):
                ids = merge_pair(ids, pair, 256 + i)
            slow += ids
        assert BPE_600.encode(text) == slow


def test_the_pattern_cuts():
    pieces = ["I", "'ll", " take", " ", " ", "123", "45", " cups", "!!\n\n", "ok", "?"]
    assert regex.findall(PATTERN, "I'll take  12345 cups!!\n\nok?") == pieces


def test_a_merge_never_crosses_pre_tokens():
    words = {w.encode() for w in regex.findall(PATTERN, HOUSE)}
    learned = BPE_600.token_bytes[256:]
    assert all(any(token in word for word in words) for token in learned)
    assert not any(b" " in token[1:].strip() for token in learned)


def test_special_tokens_in_text_stay_text():
    for name in SPECIALS:
        ids = BPE_600.encode(f"x{name}y")
        assert BPE_600.special(name) not in ids
        assert BPE_600.decode([BPE_600.special(name)]) == name


def test_sizes():
    assert BPE_600.vocab_size == 600 == len(BPE_600.token_bytes) + len(SPECIALS)
    assert BPE(()).encode("é") == [0xC3, 0xA9]


def test_unknown_ids_and_names_are_errors():
    with pytest.raises(IndexError):
        BPE_600.decode([600])
    with pytest.raises(ValueError):
        BPE_600.special("<|system|>")


def test_sizes_that_cannot_be():
    with pytest.raises(ValueError, match="at least 259"):
        train_bpe("text", 100)
    with pytest.raises(ValueError, match="supports a vocabulary of"):
        train_bpe("a b c", 2048)
