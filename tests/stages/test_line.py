"""The line's loops: resuming is bit-equal, and each stage runs on a toy."""

import json
from dataclasses import replace

import pytest
import torch

from llmlab import artifacts, checkpoint, cli, lab, profiles
from llmlab.artifacts import LabError
from llmlab.corpus.corpus import load_corpus
from llmlab.corpus.mixture import Mixture
from llmlab.stages import pretraining
from llmlab.training import loop

TEXT = (artifacts.data_dir() / "house" / "recipes.json").read_text("utf-8")


def toy(tmp_path, steps):
    made = lab.setup("class-toy", runs_dir=tmp_path)
    made.steps = steps
    return made


@pytest.mark.parametrize("stop_at, epochs", [(1, 4), (5, 4), (11, 4), (5, 0)])
def test_an_interrupted_run_ends_as_an_unbroken_one(tmp_path, stop_at, epochs, monkeypatch):
    monkeypatch.setattr(pretraining, "EPOCHS", epochs)  # 0: with dropout
    whole = pretraining.pretrain_text(toy(tmp_path, 12), TEXT, "char", tmp_path / "whole")

    def interrupt(record):
        if record["step"] == stop_at:
            import signal

            signal.raise_signal(signal.SIGINT)

    out = tmp_path / "broken"
    pretraining.pretrain_text(toy(tmp_path, 12), TEXT, "char", out, on_step=interrupt)
    assert checkpoint.read_meta(out / "model.safetensors")["step"] == stop_at
    again = pretraining.pretrain_text(toy(tmp_path, 12), TEXT, "char", out)
    assert again == whole
    a, _ = checkpoint.load_checkpoint(tmp_path / "whole" / "model.safetensors")
    b, _ = checkpoint.load_checkpoint(out / "model.safetensors")
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    made = toy(tmp_path, 4)
    model = made.build()
    job = loop.Job(model, made.tokenizer(), loop.Optimizer(model.named_parameters()), steps=4)
    with pytest.raises(LabError, match="loss was nan at step 1 of 4"):
        loop.run(job, lambda step: {"loss": float("nan")})


def test_the_whole_line_runs_on_a_toy(tmp_path, capsys):
    figures = tmp_path / "figures.json"
    code = cli.main(["run", "--toy", "--runs-dir", str(tmp_path), "--json", str(figures)])
    assert code == 0
    report = json.loads(figures.read_text())
    assert list(report) == [*profiles.STAGES, "total"]
    assert report["pretraining"]["val_bpb"] > 0 and report["total"]["peak_mb"] > 0
    assert 0 <= report["rl"]["grpo_kept"] <= 1


BAD = {
    "no such stage": (["run", "cooking"], "no stage 'cooking'"),
    "no such profile": (["run", "--profile", "huge"], "no profile 'huge'"),
    "full without a GPU": (["run", "--profile", "full"], "needs a GPU"),
    "no seconds": (["pretrain", "--text", "x", "--out", "y", "--seconds", "0"], "more than 0"),
    "no steps": (["run", "--steps", "0"], "more than 0"),
    "no text": (["pretrain", "--text", "nowhere.txt", "--out", "y"], "cannot be read"),
    "no checkpoint": (["sample", "--model", "nowhere.safetensors"], "nowhere.safetensors"),
    "below zero": (["sample", "--temperature", "-1"], "0 or more"),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_get_a_sentence_and_exit_code_2(case, capsys):
    if case == "full without a GPU" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    arguments, sentence = BAD[case]
    assert cli.main(arguments) == 2
    assert sentence in capsys.readouterr().err


TEXTS = {
    "empty": (b"", "is empty"),
    "binary": (b"\xff\xfe\x00", "not UTF-8"),
    "NUL": (b"a\x00b", "NUL"),
    "short": (b"a short text", "Give a longer text"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_texts_that_cannot_be_learned(case, tmp_path, capsys):
    data, sentence = TEXTS[case]
    path = tmp_path / "text.txt"
    path.write_bytes(data)
    code = cli.main(
        ["pretrain", "--toy", "--text", str(path), "--tokenizer", "char", "--out", str(tmp_path)]
    )
    assert code == 2 and sentence in capsys.readouterr().err
    assert not (tmp_path / "model.safetensors").exists()


def test_a_vocabulary_that_the_text_cannot_fill(tmp_path, capsys):
    path = tmp_path / "text.txt"
    path.write_text("soup " * 50)
    code = cli.main(["pretrain", "--toy", "--text", str(path), "--out", str(tmp_path)])
    assert code == 2 and "supports a vocabulary of" in capsys.readouterr().err


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
