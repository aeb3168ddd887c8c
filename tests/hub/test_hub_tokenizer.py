"""Tokenizers from elsewhere: the same ids as the `tokenizers` library, on real text."""

import gzip
import json
import random
import string

import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from transformers.convert_slow_tokenizer import TikTokenConverter

from llmlab import checkpoint
from llmlab.artifacts import data_dir
from llmlab.checkpoint import load_checkpoint, save_checkpoint
from llmlab.core.tokenizer import BPE
from llmlab.corpus import sources
from llmlab.hub import HubTokenizer
from llmlab.hub.gguf import LLAMA3_PATTERN, opened
from llmlab.hub.hub_tokenizer import byte_characters
from llmlab.widgets.token_view import tokenise

HOUSE = [p.read_text("utf-8") for p in sorted((data_dir() / "house").glob("*.json"))]
ODD = [
    "", " ", "  two  spaces ", "tabs\t\tand\r\n\r\nlines\n ", "it's IT'S we'LL 'ſ", "x" * 300,
    "1 12 123 1234 12345 3.14159 ½ ٣٤ Ⅷ", "café cafe\u0301 ﬁ Å Å", "好吃的面条 🍜🍜👩‍🍳",
    "a\u00a0b\u2028c\u3000d\x85e\x1cf", "<|end|> <|user|>typed</s><think>", "\x00\x7f\ufeff",
]  # fmt: skip


def made_up(number: int, seed: int = 0) -> list[str]:
    """Strings of all that a pattern could stumble over."""
    rng = random.Random(seed)
    parts = [
        "'s",
        "'LL",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "the",
        "Lemon",
        "x1",
        "2026",
        "é",
        "面",
        "🍜",
    ]
    parts += [*string.punctuation, *"0123456789½", *map(chr, range(0x80, 0x250)), "<|end|>"]

    def one() -> str:
        if rng.random() < 0.2:  # any characters at all, but for halves of surrogate pairs
            return "".join(chr(rng.choice([rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)]))
                           for _ in range(rng.randrange(20)))  # fmt: skip
        return "".join(rng.choices(parts, k=rng.randrange(30)))

    return [one() for _ in range(number)]


TEXTS = [*HOUSE, *ODD, *made_up(1500)]


def library(vocab: dict, merges: list, steps: list, specials=("<|end|>", "<|user|>"), **how):
    """A byte-level BPE of the `tokenizers` library."""
    normalizer = how.pop("normalizer", None)
    made = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=merges, **how))
    made.pre_tokenizer = pre_tokenizers.Sequence(steps)
    made.decoder = decoders.ByteLevel()
    if normalizer:
        made.normalizer = normalizer
    made.add_special_tokens(list(specials))
    made.encode_special_tokens = True  # what a user types stays text
    return made


def isolated(pattern: str):
    return pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")


def to_bytes(use_regex=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def check(theirs, texts=TEXTS) -> HubTokenizer:
    """Ours from its file, with equal ids and texts."""
    ours = HubTokenizer(json.loads(theirs.to_str()))
    for text in texts:
        ids = theirs.encode(text, add_special_tokens=False).ids
        assert ours.encode(text) == ids, text
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=False)
    assert ours.vocab_size == theirs.get_vocab_size()
    return ours


@pytest.fixture(scope="module")
def trained():
    """A small vocabulary by the library's own trainer: (vocab, merges)."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = to_bytes(use_regex=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        HOUSE, trainers.BpeTrainer(vocab_size=1500, initial_alphabet=alphabet, show_progress=False)
    )
    model = json.loads(made.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


STEPS = {
    "GPT-2": [to_bytes(use_regex=True)],
    "SmolLM2": [pre_tokenizers.Digits(individual_digits=True), to_bytes(use_regex=True)],
    "digits in groups": [pre_tokenizers.Digits(individual_digits=False), to_bytes(True)],
    "Llama 3": [isolated(LLAMA3_PATTERN), to_bytes()],
    "DeepSeek": [isolated(r"\p{N}{1,3}"), isolated("[一-龥]+"), isolated(r"\s?\p{L}+"), to_bytes()],
    "a pattern with gaps": [isolated(r"[aeiou]+"), to_bytes()],
    "a string": [pre_tokenizers.Split(".", "isolated"), to_bytes()],
}


@pytest.mark.parametrize("name", STEPS)
def test_every_way_to_cut_a_text(name, trained):
    check(library(*trained, STEPS[name]))


def test_ids_in_any_order(trained):
    vocab, merges = trained
    ids = list(vocab.values())
    random.Random(0).shuffle(ids)
    check(library(dict(zip(vocab, ids, strict=True)), merges, STEPS["SmolLM2"]))


def test_unicode_is_composed_first_where_the_file_says_so(trained):
    ours = check(library(*trained, STEPS["Llama 3"], normalizer=normalizers.NFC()))
    assert ours.encode("cafe\u0301") == ours.encode("café")


def test_a_piece_that_is_a_token_needs_no_merges(trained):
    vocab, merges = trained
    vocab = {**vocab, "Zwiebel": len(vocab)}  # a token that no merge makes
    at_once = check(library(vocab, merges, STEPS["Llama 3"], ignore_merges=True))
    assert at_once.encode("Zwiebel") == [vocab["Zwiebel"]]
    slowly = check(library(vocab, merges, STEPS["Llama 3"]))
    assert len(slowly.encode("Zwiebel")) > 1 and slowly.decode([vocab["Zwiebel"]]) == "Zwiebel"


# --- Real ones ------------------------------------------------------------------------------


def folder(name: str):
    """A source's folder; the test is left out where it cannot be had."""
    found = sources.source_path(name)
    if found is None:
        pytest.skip(f"the source {name} is not in the cache and cannot be fetched")
    return found / sources.sources()[name].package.replace("-", "_")


def test_gpt2_itself():
    files = folder("gpt2") / "data"
    vocab = json.loads((files / "encoder.json").read_text("utf-8"))
    lines = (files / "vocab.bpe").read_text("utf-8").splitlines()[1:]
    merges = [tuple(line.split(" ")) for line in lines if line]
    specials = ["<|endoftext|>"]
    ours = check(library(vocab, merges, STEPS["GPT-2"], specials))
    assert ours.special("<|endoftext|>") == 50256 and ours.encode("Hello world") == [15496, 995]


@pytest.fixture(scope="module")
def gpt4(tmp_path_factory):
    """GPT-4's vocabulary, most of which Llama 3 and Qwen3 have taken over, brought into their form
    by `transformers`: each token with all pairs that make it."""
    packed = (folder("cl100k_o200k") / "data" / "cl100k_base.tiktoken.gz").read_bytes()
    plain = tmp_path_factory.mktemp("gpt4") / "cl100k_base.tiktoken"
    plain.write_bytes(gzip.decompress(packed))
    return TikTokenConverter(str(plain)).extract_vocab_merges_from_model(str(plain))


@pytest.mark.parametrize("kind", ["Llama 3", "Qwen3"])
def test_a_hundred_thousand_tokens_as_llama_3_and_qwen3_have_them(kind, gpt4):
    pattern = LLAMA3_PATTERN if kind == "Llama 3" else LLAMA3_PATTERN.replace("{1,3}", "")
    how = {"ignore_merges": True} if kind == "Llama 3" else {"normalizer": normalizers.NFC()}
    check(library(*gpt4, [isolated(pattern), to_bytes()], **how), TEXTS[:600])


def test_smollm2_itself():
    pytest.importorskip("gguf", reason="gguf is not installed")
    source = sources.sources()["smollm2"]
    if not source.folder.exists():
        pytest.skip("SmolLM2 is not in the cache: 93 MB, which no test fetches")
    (path,) = source.folder.rglob("*.gguf")
    fields = opened(path).fields
    tokens, merges, kinds = (
        fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "merges", "token_type")
    )
    specials = [token for token, kind in zip(tokens, kinds, strict=True) if kind == 3]
    theirs = library(
        {token: i for i, token in enumerate(tokens)},
        [tuple(merge.split(" ")) for merge in merges], STEPS["SmolLM2"], specials,
    )  # fmt: skip
    ours = check(theirs)
    assert ours.decode(ours.encode("a\x04b")) == "ab"  # a byte that it has no id for
    assert ours.special("<|im_start|>") == 1 and ours.specials == tuple(specials)


# --- The interface --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ours(trained):
    return HubTokenizer(json.loads(library(*trained, STEPS["SmolLM2"]).to_str()), vocab_size=1600)


def test_special_tokens_typed_stay_text_unless_allowed(ours):
    end = ours.special("<|end|>")
    assert (
        end not in ours.encode("a<|end|>b") and ours.decode(ours.encode("a<|end|>b")) == "a<|end|>b"
    )
    ids = ours.encode("a<|end|>b", allowed_special="all")
    assert ids == [*ours.encode("a"), end, *ours.encode("b")]
    assert ours.encode("a<|end|>b", allowed_special={"<|user|>"}) == ours.encode("a<|end|>b")
    with pytest.raises(ValueError, match="no special token"):
        ours.special("<|assistant|>")


def test_it_does_what_a_bpe_and_its_encoding_do(ours):
    encoding, text = ours.to_tiktoken(), "Don't stir 12 eggs: 好吃 🍜 <|end|>"
    ids = ours.encode(text)
    assert encoding.encode_ordinary(text) == ids
    assert encoding.encode_ordinary_batch([text, ""]) == [ids, []]
    assert encoding.decode_batch([ids]) == [text] == [ours.decode(ids)]
    raw = encoding.decode_tokens_bytes(ids)
    assert b"".join(raw) == text.encode() and encoding.decode_single_token_bytes(ids[0]) == raw[0]
    assert encoding.n_vocab == ours.vocab_size == 1600 and ours.decode([1599]) == ""
    assert encoding.special_tokens_set == {"<|end|>", "<|user|>"} == set(ours.specials)
    assert encoding.is_special_token(ours.special("<|end|>")) and not encoding.is_special_token(9)
    assert ours.decode([byte for byte in ours.encode("é")][:1]).startswith(("é", "\ufffd"))
    assert ours.encode("half \ud83c") == ours.encode("half \ufffd")
    with pytest.raises(IndexError):
        ours.decode([1600])


def test_it_can_be_looked_at_token_by_token(ours):
    shown = tokenise(ours, "12 eggs<|end|>", specials=True)
    assert [t["text"] for t in shown["tokens"]][:2] == ["1", "2"]
    assert shown["tokens"][-1]["special"]


def test_it_survives_a_checkpoint(ours, tmp_path):
    packed = checkpoint.pack_tokenizer(ours)
    save_checkpoint(tmp_path / "x.safetensors", {}, {"tokenizer": packed})
    _, meta = load_checkpoint(tmp_path / "x.safetensors")
    again = checkpoint.unpack_tokenizer(meta["tokenizer"])
    assert again.vocab_size == 1600 and again.pack() == ours.pack()
    assert all(again.encode(text) == ours.encode(text) for text in ODD)
    assert isinstance(checkpoint.unpack_tokenizer(checkpoint.pack_tokenizer(BPE(()))), BPE)


def test_the_byte_spelling_is_the_librarys():
    assert set(byte_characters()) == set(pre_tokenizers.ByteLevel.alphabet())
