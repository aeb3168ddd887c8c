"""At full size a vocabulary is chosen for the text, once, and everything after it keeps to it."""

from dataclasses import replace
from pathlib import Path

import pytest

from llmlab import artifacts, lab, profiles
from llmlab.core.tokenizer import train_bpe
from llmlab.corpus.sources import is_validation
from llmlab.datasets import hub_datasets, pretokenize
from llmlab.scale import scaling_law
from llmlab.stages import pretraining, tokenization
from llmlab.stages.tokenization import bytes_per_token, corpus, first_merges, training_text

WEB = hub_datasets.big()["fineweb_edu"]


@pytest.fixture
def many(tmp_path, made, lay) -> tuple[Path, list[str]]:
    """So many pages that some of them are held out: a folder for --data-dir, and their texts."""
    rows = made("fineweb_edu", 6000)
    lay(tmp_path / "data" / "fineweb_edu" / "000.parquet", rows)
    return tmp_path / "data", [row["text"] for row in rows]


@pytest.fixture
def full(tmp_path, monkeypatch, many) -> lab.Lab:
    """The full profile at toy size, with web text of one's own and nothing in the cache."""
    monkeypatch.setenv("LLMLAB_OFFLINE", "1")
    monkeypatch.setenv("LLMLAB_DATA", str(many[0]))
    made = lab.setup("full-toy", 0.1, runs_dir=tmp_path)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "sources").symlink_to(artifacts.cache_dir() / "sources")
    monkeypatch.setenv("LLMLAB_CACHE", str(tmp_path / "cache"))
    kept = {"data_sets": {"fineweb_edu": 0.7}, "from_scratch": True}
    return replace(made, profile=replace(made.profile, sources=profiles.CLASS.sources, **kept))


def work(bpe, texts, model) -> float:
    """FLOPs for a byte, reckoned here by the shape's own count."""
    length = bytes_per_token(bpe.to_tiktoken(), texts)
    return 6 * scaling_law.size_of(replace(model, vocab_size=bpe.vocab_size)) / length


def test_the_size_with_the_least_work_is_chosen_and_larger_models_take_larger_ones(tmp_path):
    read = corpus(lab.setup("class", runs_dir=tmp_path))
    largest = train_bpe(training_text(read), tokenization.SIZES[-1])
    held_out = [recipe.text() for recipe in read.held_out]
    chosen = []
    for depth in (2, 12):
        model = scaling_law.shape_of_depth(profiles.FULL.model, depth)
        bpe, why = tokenization.choose_vocabulary(largest, held_out, model)
        least = work(bpe, held_out, model)
        for size in tokenization.SIZES:
            assert least <= work(first_merges(largest, size), held_out, model)
            assert f"{size:,} ids: " in why
        assert why.startswith(f"vocabulary: {bpe.vocab_size:,} ids")
        chosen.append(bpe.vocab_size)
    assert chosen[0] < chosen[1]


def test_of_short_texts_the_class_s_serves(full, many, monkeypatch, capsys):
    """As where the class's sources cannot be had, whose house texts are short."""
    monkeypatch.setattr(tokenization, "training_text", lambda _: "Melt the butter.")
    assert tokenization.choose_tokenizer(full, many[0]) == full._class_tokenizer()
    said = capsys.readouterr().out
    assert "No vocabulary was chosen: the text supports" in said
    assert "not 32768. The class's serves." in said


def test_without_big_text_it_stays_the_class_s(full, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("LLMLAB_DATA")
    before = full.tokenizer()
    assert tokenization.choose_tokenizer(full) == before and full.chosen_tokenizer() is None
    in_class = lab.setup("class-toy", runs_dir=tmp_path)
    assert tokenization.choose_tokenizer(in_class) == before and capsys.readouterr().out == ""


def test_what_was_chosen_is_kept_by_all_that_follows(full, many, capsys):
    folder, written = many
    bpe = tokenization.choose_tokenizer(full, folder)
    assert "vocabulary: " in capsys.readouterr().out
    assert full.tokenizer() == full.chosen_tokenizer() == bpe != full._class_tokenizer()
    held_out = {text for text in written if is_validation(text, pretokenize.HELD_OUT)}
    assert held_out and held_out.isdisjoint(tokenization.sample(full, folder))

    # again: nothing is learned, and the stage of notebook 02 leaves it as it is
    assert tokenization.choose_tokenizer(full, folder) == bpe and capsys.readouterr().out == ""
    assert tokenization.run(full)["vocab_size"] == bpe.vocab_size and full.tokenizer() == bpe

    # the text is tokenised with it, a plan reckons with it, and a run of that size is one's own
    pretokenize.tokenize_dataset(WEB, bpe, folder)
    planned = pretraining.plan_for_machine(
        replace(full, profile=replace(full.profile, depths=(1,)))
    )
    assert planned.profile.model.vocab_size == bpe.vocab_size
    assert planned.profile.seq_len == 256 and full.profile.seq_len == 64  # pages are short
    said = capsys.readouterr().out
    assert f"{bpe.vocab_size:,} ids" in said and "web_val_bpb (bits per byte)" in said
    figures = pretraining.run(replace(planned, steps=planned.profile.pretraining_steps))
    assert figures["web_val_bpb"] > 0 and figures["val_bpb"] > 0
    assert figures["forecast_loss_off"] == pytest.approx(
        figures["web_val_bpb"] / figures["forecast_loss"] - 1
    )
    assert "forecast: " in capsys.readouterr().out
    assert planned.latest("base")[2]["own"]
