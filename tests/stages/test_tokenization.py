"""Published encodings, from the cache alone."""

import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from llmlab import artifacts, sources
from llmlab.artifacts import LabError
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
