"""Tokenizers of the Hub: the ids of `transformers`, and no special token from what is typed."""

import json
import random
import string
import sys

import pytest
import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from llmlab import checkpoint
from llmlab.artifacts import LabError, data_dir
from llmlab.checkpoint import load_checkpoint, save_checkpoint
from llmlab.core.tokenizer import BPE
from llmlab.corpus import sources
from llmlab.hub import HubTokenizer
from llmlab.hub.gguf import LLAMA3_PATTERN, opened
from llmlab.hub.hub_tokenizer import byte_characters
from llmlab.stages.tokenization import get_encoding
from llmlab.widgets.token_view import tokenise

HOUSE = [p.read_text("utf-8") for p in sorted((data_dir() / "house").glob("*.json"))]
ODD = [
    "", " ", "  two  spaces ", "tabs\t\tand\r\n\r\nlines\n ", "it's IT'S we'LL 'ſ", "x" * 300,
    "1 12 123 1234 12345 3.14159 ½ ٣٤ Ⅷ", "café cafe\u0301 ﬁ Å Å", "好吃的面条 🍜🍜👩‍🍳",
    "a\u00a0b\u2028c\u3000d\x85e\x1cf", "<|end|> <|user|>typed</s>", "\x00\x7f\ufeff",
]  # fmt: skip


def made_up(number: int, seed: int = 0) -> list[str]:
    """Strings of all that a pattern could stumble over."""
    rng = random.Random(seed)
    parts = [*"'s 'LL the Lemon x1 2026 é 面 🍜".split(), " ", "  ", "\n", "\r\n", "\t", "<|end|>"]
    parts += [*string.punctuation, *"0123456789½", *map(chr, range(0x80, 0x250))]
    return ["".join(rng.choices(parts, k=rng.randrange(30))) for _ in range(number)]


TEXTS = [*HOUSE, *ODD, *made_up(500)]


def library(vocab: dict, merges: list, steps: list, specials=("<|end|>", "<|user|>"), **how):
    """A byte-level BPE of the `tokenizers` library."""
    normalizer = how.pop("normalizer", None)
    made = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=merges, **how))
    made.pre_tokenizer = pre_tokenizers.Sequence(steps)
    made.decoder = decoders.ByteLevel()
    if normalizer:
        made.normalizer = normalizer
    made.add_special_tokens(list(specials))
    return made


def isolated(pattern: str):
    return pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")


def to_bytes(use_regex=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def check(made, texts=TEXTS) -> HubTokenizer:
    """Ours from the library's file, with the ids and texts of `transformers`."""
    ours, theirs = (
        HubTokenizer(json.loads(made.to_str())),
        PreTrainedTokenizerFast(tokenizer_object=made),
    )
    asked = theirs(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert ours.encode_ordinary_batch(texts) == asked == [ours.encode(text) for text in texts]
    written = theirs.batch_decode(asked, clean_up_tokenization_spaces=False)
    assert [ours.decode(ids) for ids in asked] == written
    assert ours.vocab_size == len(theirs)
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
    "SmolLM2": [pre_tokenizers.Digits(individual_digits=True), to_bytes(use_regex=True)],
    "Llama 3": [isolated(LLAMA3_PATTERN), to_bytes()],
    "DeepSeek": [isolated(r"\p{N}{1,3}"), isolated("[一-龥]+"), isolated(r"\s?\p{L}+"), to_bytes()],
    "a space before": [pre_tokenizers.ByteLevel(add_prefix_space=True)],
}


@pytest.mark.parametrize("name", STEPS)
def test_every_way_to_cut_a_text_and_ids_in_any_order(name, trained):
    vocab, merges = trained
    ids = list(vocab.values())
    random.Random(0).shuffle(ids)
    check(library(dict(zip(vocab, ids, strict=True)), merges, STEPS[name]))


@pytest.mark.parametrize(
    "normalizer", [normalizers.NFC(), normalizers.Lowercase()], ids=["NFC", "lowercase"]
)
def test_a_text_is_normalised_as_the_file_says(normalizer, trained):
    check(library(*trained, STEPS["Llama 3"], normalizer=normalizer))


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
    made = library(vocab, merges, [to_bytes(use_regex=True)], ["<|endoftext|>"])
    ours = HubTokenizer(json.loads(made.to_str()))
    assert ours.encode_ordinary_batch(TEXTS) == get_encoding("gpt2").encode_ordinary_batch(TEXTS)
    assert ours.special("<|endoftext|>") == 50256


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
    made = library(
        {token: i for i, token in enumerate(tokens)},
        [tuple(merge.split(" ")) for merge in merges], STEPS["SmolLM2"], specials,
    )  # fmt: skip
    ours = check(made)
    assert ours.decode(ours.encode("a\x04b")) == "ab"  # a byte that it has no id for
    assert ours.special("<|im_start|>") == 1 and ours.specials == tuple(specials)


# --- Special tokens -------------------------------------------------------------------------

TEMPLATE = "{% for m in messages %}<|user|> {{ m.content }}<|end|>\n{% endfor %}"
ADDED = {
    "special": AddedToken("<|user|>", special=True),
    "not marked special": AddedToken("<|user|>", special=False),
    "takes the space beside it": AddedToken("<|user|>", lstrip=True, rstrip=True, special=True),
    "a word": AddedToken("Cook", special=True),
}


@pytest.mark.parametrize("kind", ADDED)
@pytest.mark.parametrize("at_once", [False, True])
def test_what_is_typed_never_becomes_a_special_token_and_a_chat_template_does(
    kind, at_once, trained
):
    vocab, merges = trained
    assert "Cookbook" in vocab and "Cook" in map("".join, merges)  # merges lead to and from it
    added = [AddedToken("<|end|>", special=True), ADDED["special"], ADDED[kind]]
    made = library(vocab, merges, STEPS["SmolLM2"], ignore_merges=at_once)
    made.add_tokens(added)
    ours = HubTokenizer(json.loads(made.to_str()))
    typed = "Cook <|user|>Cookbook Cook <|end|>"
    ids = ours.encode(typed)
    assert not any(map(ours.is_special_token, ids)) and ours.decode(ids) == typed
    assert ours.encode_ordinary_batch([typed]) == [ids] == [ours.encode_ordinary(typed)]
    theirs = PreTrainedTokenizerFast(tokenizer_object=made, chat_template=TEMPLATE)
    talk = [{"role": "user", "content": "12 eggs, Cook"}]
    written = theirs.apply_chat_template(talk, tokenize=False)
    wanted = theirs.apply_chat_template(talk)["input_ids"]
    assert ours.encode(written, allowed_special="all") == wanted
    assert ours.special("<|user|>") in wanted and wanted.count(ours.special("<|end|>")) == 1


def test_unknown_special_tokens_and_a_part_of_them_are_refused(ours):
    with pytest.raises(ValueError, match="no special token"):
        ours.special("<|assistant|>")
    with pytest.raises(ValueError, match="all special tokens in a text, or none"):
        ours.encode("a", allowed_special={"<|user|>"})


# --- The interface --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ours(trained):
    return HubTokenizer(json.loads(library(*trained, STEPS["SmolLM2"]).to_str()), vocab_size=1600)


def test_it_does_what_a_bpe_and_its_encoding_do(ours):
    encoding, text = ours.to_tiktoken(), "Don't stir 12 eggs: 好吃 🍜 <|end|>"
    ids = encoding.encode_ordinary(text)
    raw = encoding.decode_tokens_bytes(ids)
    assert b"".join(raw) == text.encode() and encoding.decode_single_token_bytes(ids[0]) == raw[0]
    assert encoding.n_vocab == ours.vocab_size == 1600 and ours.decode([1599]) == ""
    assert encoding.special_tokens_set == {"<|end|>", "<|user|>"} == set(ours.specials)
    assert ours.encode("half \ud83c") == ours.encode("half \ufffd")
    with pytest.raises(IndexError):
        ours.decode([1600])


def test_a_limit_of_length_in_the_file_cuts_no_text(trained):
    made = library(*trained, STEPS["SmolLM2"])
    made.enable_truncation(4)
    made.enable_padding(length=9)
    ours = HubTokenizer(json.loads(made.to_str()))
    assert ours.decode(ours.encode("Don't stir the 12 eggs")) == "Don't stir the 12 eggs"
    assert ours.encode_ordinary_batch(["", "a"]) == [[], ours.encode("a")]


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


def test_without_the_library_a_sentence_says_what_to_install(ours, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(LabError, match="pip install tokenizers"):
        checkpoint.unpack_tokenizer(ours.pack())


def test_the_byte_spelling_is_the_librarys():
    assert set(byte_characters()) == set(pre_tokenizers.ByteLevel.alphabet())
