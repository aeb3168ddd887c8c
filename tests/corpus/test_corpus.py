"""The corpus on disk: read once on a machine, and anew where anything of it has changed."""

from functools import cache

import pytest

from llmlab import artifacts
from llmlab.corpus import corpus

SOURCES = ("recipes",)
read_once = cache(corpus.read_corpus)  # for real, and not again for every test


@pytest.fixture
def load(tmp_path, monkeypatch):
    """`load_corpus` as a new process has it, with a cache of its own; `load.reads` counts."""
    monkeypatch.setattr(artifacts, "cache_dir", lambda: tmp_path / "cache")
    reads = []
    monkeypatch.setattr(
        corpus, "read_corpus", lambda names: reads.append(names) or read_once(names)
    )

    def new_process():
        return corpus.load_corpus.__wrapped__(SOURCES)

    new_process.reads, new_process.file = reads, tmp_path / "cache" / "corpus-recipes.json"
    return new_process


def test_a_second_process_reads_what_the_first_kept(load):
    first = load()
    assert load() == first and len(load.reads) == 1 and len(first.recipes) > 1000


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"made_of": 1}', "null"])
def test_a_damaged_file_is_made_again(load, damage):
    load()
    load.file.write_text(damage)
    load()
    load()
    assert len(load.reads) == 2


def test_another_python_reads_again(load, monkeypatch):
    load()
    monkeypatch.setattr(corpus.sys, "version", "another")
    load()
    assert len(load.reads) == 2


def test_without_a_place_for_it_nothing_is_lost(load, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert load().recipes and load().recipes
    assert len(load.reads) == 2
