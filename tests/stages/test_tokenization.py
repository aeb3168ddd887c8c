"""Published encodings, from the cache alone; the line's tokenizer, made again to the byte."""

import hashlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import llmlab
from llmlab import artifacts, checkpoint
from llmlab.artifacts import LabError
from llmlab.checkpoint import pack_tokenizer
from llmlab.core.tokenizer import BPE, train_bpe
from llmlab.corpus import sources
from llmlab.stages import tokenization
from llmlab.stages.tokenization import get_encoding


@pytest.fixture
def offline(monkeypatch):
    """No network at all, and the encodings in the cache."""

    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked for")

    monkeypatch.setenv("LLMLAB_OFFLINE", "1")
    monkeypatch.setattr(socket, "socket", refuse)
    missing = [r["name"] for r in sources.fetch_all(["gpt2", "cl100k_o200k"]) if r["message"]]
    if missing:
        pytest.skip(f"not in the cache: {missing}; python -m llmlab data fetch")


@pytest.mark.parametrize("before", [None, "elsewhere"])
def test_published_ids(offline, monkeypatch, before):
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    if before:
        monkeypatch.setenv("TIKTOKEN_CACHE_DIR", before)
    assert get_encoding("gpt2").encode("The GPT family of models")[:4] == [464, 402, 11571, 1641]
    assert get_encoding("cl100k_base").encode("hello world") == [15339, 1917]
    assert get_encoding("o200k_base").n_vocab == 200_019
    assert os.environ.get("TIKTOKEN_CACHE_DIR") == before
    text = "Crème brûlée, 四字成语 🍲"
    for name in tokenization.ENCODINGS:
        assert get_encoding(name).decode(get_encoding(name).encode(text)) == text


def test_a_damaged_file_of_tiktokens_is_made_again(offline, tmp_path):
    """In a process of its own, for tiktoken remembers what it has read."""
    (tmp_path / "sources").symlink_to(artifacts.cache_dir() / "sources")
    address = tokenization.ADDRESS + "encodings/cl100k_base.tiktoken"
    file = tmp_path / "tiktoken" / hashlib.sha1(address.encode()).hexdigest()
    artifacts.write_atomic(file, "damaged")
    code = """if True:
        import socket
        from llmlab.stages.tokenization import get_encoding
        socket.socket = None  # no network from here on
        print(get_encoding("cl100k_base").encode("hello world"))"""
    root = Path(artifacts.__file__).parents[1]
    environment = os.environ | {"LLMLAB_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "[15339, 1917]", done.stderr
    assert file.stat().st_size > 1_000_000


def test_an_unknown_encoding():
    with pytest.raises(LabError, match="'gpt5'; there are gpt2, cl100k_base, o200k_base"):
        get_encoding("gpt5")


def test_an_encoding_that_cannot_be_had(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMLAB_CACHE", str(tmp_path))
    monkeypatch.delenv("LLMLAB_WHEELS", raising=False)
    monkeypatch.setenv("LLMLAB_OFFLINE", "1")
    get_encoding.cache_clear()
    with pytest.raises(LabError, match="gpt2 is not in the cache.*data fetch"):
        get_encoding("gpt2")


# --- The line's tokenizer -------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return llmlab.setup("class", runs_dir=tmp_path_factory.mktemp("runs"))


def test_the_shipped_tokenizer_is_made_again_byte_for_byte(lab, monkeypatch):
    monkeypatch.setenv("LLMLAB_OFFLINE", "1")
    corpus = tokenization.corpus(lab)
    if any(figures["own_text_instead"] for figures in corpus.figures.values()):
        pytest.skip("the sources are not in the cache; python -m llmlab data fetch")
    shipped = checkpoint.read_meta(lab.shipped("base"))["tokenizer"]
    figures = tokenization.run(lab)
    kept = artifacts.read_json(lab.runs / "tokenizer.json")
    assert json.dumps(kept) == json.dumps(shipped)
    assert figures["vocab_size"] == 2048 and 3 < figures["bytes_per_token"] < 3.5


def test_it_learns_from_two_sources_and_never_from_what_is_held_out(lab):
    corpus = tokenization.corpus(lab)
    assert set(corpus.figures) == {"recipes", "encyclopedia"}
    text = tokenization.training_text(corpus)
    assert all(recipe.text() not in text for recipe in corpus.held_out)
    assert text == tokenization.training_text(corpus)


SMALL = train_bpe("stir the soup, stir the stew, then stir the rice", 275)


def test_a_small_vocabulary_is_the_start_of_a_large_one():
    assert tokenization.first_merges(SMALL, 265) == train_bpe(
        "stir the soup, stir the stew, then stir the rice", 265
    )
    assert tokenization.first_merges(SMALL, 275) == SMALL
    assert tokenization.first_merges(SMALL, 259) == BPE(())
    assert pack_tokenizer(tokenization.first_merges(SMALL, 260))["merges"] == SMALL.merges[:1]


def test_bytes_per_token_counts_bytes_and_weighs_texts_by_their_length():
    encoding = BPE(((97, 97),)).to_tiktoken()  # "aa" is one token
    assert tokenization.bytes_per_token(encoding, ["aaaa", "é"]) == 6 / 4
    assert tokenization.bytes_per_token(encoding, ["aaaa"]) == 2
    assert tokenization.bytes_per_token(encoding, ["<|end|>"]) == 1


def test_pieces_show_bytes_that_are_no_characters_in_hex():
    encoding = SMALL.to_tiktoken()
    assert tokenization.pieces(encoding, SMALL.encode("é!")) == ["C3", "A9", "!"]
    text = "stir the soup"
    assert "".join(tokenization.pieces(encoding, SMALL.encode(text))) == text


def test_idioms_have_four_characters(monkeypatch):
    assert all(len(idiom) == 4 and not idiom.isascii() for idiom in tokenization.idioms())
    monkeypatch.setattr(sources, "source_path", lambda name: None)
    assert tokenization.idioms() == ["一心一意", "半途而废", "画蛇添足"]


def test_a_published_encoding_as_our_own(offline):
    """The same merges: equal ids from 256 on, single bytes in their natural order."""
    theirs = get_encoding("gpt2")
    ours = tokenization.from_tiktoken(theirs, ())
    text = "Melt the butter, then stir in the crème fraîche 🍜 12345."
    ids = theirs.encode(text)
    assert [i for i in ours.encode(text) if i > 255] == [i for i in ids if i > 255]
    assert ours.decode(ours.encode(text)) == text and len(ours.encode(text)) == len(ids)
