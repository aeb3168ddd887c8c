"""Ctrl-C, which is also the notebook's stop button, in each thing that takes long; then going on.

Pretraining's own loop: tests/training/test_loop.py.  `ChatPanel`: its own tests.
"""

import ast
import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from llmlab import artifacts, checkpoint, cli, lab
from llmlab.artifacts import write_json
from llmlab.stages import data, pretraining
from llmlab.stages.tokenization import first_merges
from llmlab.studies import run_study, study
from llmlab.training import loop
from tests.corpus.test_sources import TABLE, make_source, own_cache  # noqa: F401  (a fixture)
from tests.faults import lives
from tests.faults.said import clear
from tests.training import test_loop as reliability
from tests.training.test_loop import kept, step_on_disk, toy

ROOT = Path(__file__).resolve().parents[2]
TEXT = artifacts.data_dir() / "house" / "recipes.json"
LOOPS = ("pretraining", *lives.LOOPS)


pytestmark = pytest.mark.usefixtures("ctrl_c")


def press(*at: int):
    """An `on_step` that presses Ctrl-C after these steps."""
    return lambda record: record["step"] in at and signal.raise_signal(signal.SIGINT)


def train(name: str, made: lab.Lab, on_step=None) -> None:
    """The loop of that name; pretraining's is kept as "base"."""
    if name == "pretraining":
        reliability.pretrain(made, on_step, snapshots=False)
    else:
        lives.train(name, made, on_step)


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_that_is_stopped_says_so_and_goes_on(name, tmp_path, capsys):
    whole, made = toy(tmp_path / "whole", lives.STEPS), toy(tmp_path / "broken", lives.STEPS)
    path = "base" if name == "pretraining" else name
    train(name, whole)
    train(name, made, press(3))
    said = capsys.readouterr().out.strip()
    assert said == clear("Stopped after step 3 of 8; run it again to go on from there.")
    assert step_on_disk(made, path) == 3
    train(name, made)
    assert kept(made, path) == kept(whole, path)


@pytest.mark.parametrize("name", ["grpo", "ppo"])
def test_who_presses_twice_loses_only_what_was_not_saved(name, tmp_path, monkeypatch):
    """The second press cuts a step in half: between a backward pass and the weights' move."""
    whole, made = toy(tmp_path / "whole", lives.STEPS), toy(tmp_path / "broken", lives.STEPS)
    lives.train(name, whole)
    real, calls = loop.Optimizer.step, []

    def step(self, *rates):
        calls.append(0)
        if len(calls) == 4:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return real(self, *rates)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop.Optimizer, "step", step)
        lives.train(name, made, save_every=0)
    assert 0 < step_on_disk(made, name) < lives.STEPS
    lives.train(name, made)
    assert kept(made, name) == kept(whole, name)


def test_what_a_step_cut_in_half_left_behind_is_forgotten(tmp_path):
    """Gradients of a backward pass after which no weight moved, in the notebook's own model."""
    whole, made = toy(tmp_path / "whole", lives.STEPS), toy(tmp_path / "broken", lives.STEPS)
    reliability.pretrain(whole, snapshots=False)

    def leave_some(job):
        for p in job.model.parameters():
            p.grad = torch.ones_like(p)

    reliability.pretrain(made, begin=leave_some, snapshots=False)
    assert kept(made) == kept(whole)


def test_a_stop_while_the_budget_is_measured_leaves_the_model_as_it_was(tmp_path):
    """Its steps are for the clock alone; nothing is on disk yet."""
    made = toy(tmp_path, steps=None)
    model = made.build()
    before = {name: tensor.clone() for name, tensor in checkpoint.model_tensors(model).items()}
    optimizer = loop.Optimizer(model.named_parameters(), muon_lr=0)
    job = loop.TrainState(model, lives.TOKENIZER, optimizer, made.path("base"))

    def one_step(step: int) -> dict:
        loss = model(torch.tensor([[1, 2, 3]])).square().mean()
        loss.backward()
        if step == 2:
            signal.raise_signal(signal.SIGINT)
        optimizer.step()
        return {"loss": loss.item()}

    with pytest.raises(KeyboardInterrupt):
        loop.steps_for_budget(made, "pretraining", one_step, job)
    assert all(torch.equal(t, before[name]) for name, t in loop.model_tensors(model).items())
    assert optimizer.state == {} and loop.updates(optimizer) == 0
    assert not made.path("base").exists()


def test_each_cell_that_trains_makes_its_model_itself():
    """Else a cell that was stopped would begin, when it is run again, from other weights."""
    found = 0
    for source in sorted((ROOT / "notebooks" / "src").glob("*.py")):
        for cell in source.read_text("utf-8").split("\n# %%"):
            if cell.lstrip().startswith("[markdown]"):
                continue
            nodes = list(ast.walk(ast.parse(cell.partition("\n")[2])))
            made = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            for call in nodes:
                name = call.func.attr if isinstance(getattr(call, "func", 0), ast.Attribute) else ""
                if name in ("tune", "dpo", "grpo", "ppo", "train") and len(call.args) > 1:
                    found += 1
                    assert call.args[1].id in made, f"{source.stem}: {ast.unparse(call)}"
    assert found >= 8


# --- Commands -------------------------------------------------------------------------------


@pytest.fixture
def stop_at(monkeypatch):
    """A function: from now on Ctrl-C is pressed after each loop's step of that number."""

    def stop_at(step: int | None) -> None:
        real = loop.tqdm.update

        def update(bar, n=1):
            if bar.n + 1 == step:
                signal.raise_signal(signal.SIGINT)
            return real(bar, n)

        monkeypatch.setattr(loop.ProgressBar, "update", update)

    return stop_at


def test_the_command_that_pretrains_ends_with_130_and_goes_on(tmp_path, stop_at, capsys):
    def pretrain(out: str) -> int:
        arguments = ["--text", str(TEXT), "--tokenizer", "char", "--out", str(tmp_path / out)]
        return cli.main(["pretrain", "--toy", "--steps", "6", *arguments])

    assert pretrain("whole") == 0
    stop_at(4)
    assert pretrain("broken") == 130
    assert "Stopped after step 4 of 6; run it again" in capsys.readouterr().out
    stop_at(None)
    assert pretrain("broken") == 0
    tensors, whole = (
        checkpoint.load_checkpoint(tmp_path / out / "model.safetensors")[0]
        for out in ("broken", "whole")
    )
    assert all(torch.equal(tensors[name], whole[name]) for name in whole)


def test_the_command_that_runs_stages_does_not_go_on_to_the_next(
    tmp_path, stop_at, capsys, monkeypatch
):
    """Half a base is neither measured nor reported as a whole one."""
    monkeypatch.setattr(pretraining, "load_corpus", reliability.house)
    made = lab.setup("class-toy", runs_dir=tmp_path)
    tokenizer = first_merges(made.tokenizer(), made.profile.model.vocab_size)
    write_json(made.runs / "tokenizer.json", checkpoint.pack_tokenizer(tokenizer))
    stop_at(2)
    before = (made.runs / "tokenizer.json").read_bytes()
    run = ["run", "pretraining", "sft", "--toy", "--runs-dir", str(tmp_path)]
    assert cli.main(run) == 130
    shown = capsys.readouterr()
    assert clear(shown.err.splitlines()[-1]) == "Stopped."
    assert "Stopped after step 2 of 4; run it again to go on from there." in shown.out
    assert "sft" not in shown.out.partition("Stopped")[2]
    assert step_on_disk(made) == 2 and not (made.runs / "report.json").exists()
    assert (made.runs / "tokenizer.json").read_bytes() == before


@study("stopped", arms=("a", "b"), seeds=(1,))
def stopped(made: lab.Lab, arm: str, seed: int) -> dict:
    """A study of the toy's own pretraining."""
    made = replace(toy(made.runs, lives.STEPS), runs=made.runs, seed=seed)
    reliability.pretrain(made, snapshots=False)
    meta = checkpoint.read_meta(made.path("base"))
    if meta["step"] < meta["steps"]:
        raise KeyboardInterrupt
    return {"loss": meta["log"][-1]["loss"]}


def test_a_study_keeps_its_points_and_goes_on(tmp_path, stop_at, capsys, monkeypatch):
    monkeypatch.setattr(data, "load_corpus", reliability.house)
    study = ["study", "stopped", "--toy", "--runs-dir", str(tmp_path)]
    stop_at(5)
    assert cli.main([*study, "--points", "a:1"]) == 130
    shown = capsys.readouterr()
    assert clear(shown.err.splitlines()[-1]) == "Stopped."
    kept = tmp_path / "class-toy" / "studies" / "stopped.json"
    assert not kept.exists()
    stop_at(None)
    assert cli.main([*study, "--points", "a:1"]) == 0
    first = json.loads(kept.read_text())["points"]
    stop_at(2)
    before = kept.read_bytes()
    assert cli.main(study) == 130 and kept.read_bytes() == before
    stop_at(None)
    whole = run_study(lab.setup("class-toy", runs_dir=tmp_path), "stopped")
    assert whole["points"][0] == first[0] and len(whole["points"]) == 2
    log = checkpoint.read_meta(kept.parent / "stopped" / "b-1" / "base.safetensors")["log"]
    assert [record["step"] for record in log] == list(range(1, lives.STEPS + 1))


def test_a_chat_that_is_stopped_ends_with_130(monkeypatch, capsys):
    monkeypatch.setattr("builtins.input", lambda prompt: signal.raise_signal(signal.SIGINT))
    assert cli.main(["chat"]) == 130
    assert clear(capsys.readouterr().err) == "Stopped."
