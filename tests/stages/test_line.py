"""The line's loops: resuming is bit-equal, and each stage runs on a toy."""

import json
from dataclasses import replace

import pytest
import torch

from llmlab import artifacts, cli, lab, profiles
from llmlab.corpus.corpus import load_corpus
from llmlab.corpus.mixture import Mixture
from llmlab.stages import pretraining
from llmlab.training import loop

TEXT = (artifacts.data_dir() / "house" / "recipes.json").read_text("utf-8")


def toy(tmp_path, steps):
    made = lab.setup("class-toy", runs_dir=tmp_path)
    made.steps = steps
    return made


def test_the_whole_line_runs_on_a_toy(tmp_path, capsys):
    figures = tmp_path / "figures.json"
    code = cli.main(["run", "--toy", "--runs-dir", str(tmp_path), "--json", str(figures)])
    assert code == 0
    report = json.loads(figures.read_text())
    assert list(report) == [*profiles.STAGES, "total"]
    assert report["pretraining"]["val_bpb"] > 0 and report["total"]["peak_mb"] > 0
    assert 0 <= report["rl"]["grpo_kept"] <= 1


def test_dropout_lasts_as_long_as_its_block(tmp_path):
    model, ids = toy(tmp_path, 1).build(), torch.arange(12)[None]
    for block in model.blocks:
        torch.nn.init.normal_(block.attn.o_proj.weight)
    calm = model(ids)
    with loop.dropout(model, 0.5):
        assert not torch.equal(model(ids), model(ids))
    with loop.dropout(model, 0.0):
        assert torch.equal(model(ids), calm)
    assert torch.equal(model(ids), calm)


def test_a_text_read_over_and_over_is_learned_with_dropout(tmp_path, monkeypatch):
    rates, run = [], loop.run
    monkeypatch.setattr(
        loop, "run", lambda *a, **more: rates.append(more["dropout_rate"]) or run(*a, **more)
    )
    for steps in (4, 400):
        made, short = toy(tmp_path, steps), TEXT[:4000]
        made.profile = replace(made.profile, pretraining_batch=1)
        pretraining.pretrain_text(made, short, "char", tmp_path / str(steps))
    assert rates == [0.0, loop.DROPOUT]


def test_epochs_of_a_mixture_count_its_recipes(tmp_path):
    made = toy(tmp_path, 1)
    corpus, encoding = load_corpus(("recipes",)), made.tokenizer().to_tiktoken()
    mixture = Mixture(corpus, encoding, {"recipes": 1, "cards": 3}, seed=1)
    tokens = sum(len(encoding.encode_ordinary(r.text())) for r in corpus.recipes)
    assert mixture.epochs(8 * tokens) == pytest.approx(2)


def test_a_batch_is_the_same_whatever_was_asked_for_before(tmp_path, monkeypatch):
    monkeypatch.setattr(Mixture, "SHARD", 1 << 13)
    made = toy(tmp_path, 1)
    corpus, encoding = load_corpus(("recipes",)), made.tokenizer().to_tiktoken()
    used, fresh = (Mixture(corpus, encoding, {"recipes": 1, "cards": 3}, seed=1) for _ in range(2))
    assert used.batch(0, 8, 32).shape == (8, 33)
    assert torch.equal(used.batch(3, 4, 64), fresh.batch(3, 4, 64))
