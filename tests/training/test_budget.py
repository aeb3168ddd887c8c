"""A budget becomes steps: on a busy or a slow machine fewer, and that is said."""

import time
from dataclasses import replace

import pytest
import torch

from llmlab import lab
from llmlab.core.optim import Optimizer
from llmlab.core.tokenizer import BPE
from llmlab.training import loop


@pytest.fixture
def made(tmp_path):
    """A toy's lab that has a budget of three seconds, and no other limit."""
    made = lab.setup("class-toy", minutes=3 / 60, runs_dir=tmp_path)
    return replace(made, profile=replace(made.profile, max_steps=None), device="cpu")


def calibrate(made, seconds: float) -> tuple[int, list[int]]:
    """The steps for a budget, if each takes so long; and which were tried."""
    model, tried = made.build(), []
    job = loop.TrainState(model, BPE(()), Optimizer(model.named_parameters()))
    before = {k: v.clone() for k, v in job.tensors().items()}

    def one_step(step: int) -> dict:
        tried.append(step)
        with torch.no_grad():
            model.embed.weight.add_(1)
        time.sleep(seconds)  # as a thread does that others keep waiting
        return {"loss": 1.0}

    steps = loop.steps_for_budget(made, "sft", one_step, job)
    assert all(torch.equal(before[k], v) for k, v in job.tensors().items())
    return steps, tried


def test_a_busy_machine_does_fewer_steps_and_says_why(made, capsys):
    steps, tried = calibrate(made, 0.02)
    assert 20 < steps < 150 and tried == list(range(7))
    said = capsys.readouterr().out
    assert f"sft: {steps} steps fit into 3 s" in said and "other programs take" in said
    share = int(said.partition("take ")[2].partition("%")[0])
    assert share > 60


def test_a_slow_machine_spends_its_budget_on_training(made, capsys):
    steps, tried = calibrate(made, 0.25)
    assert steps == 10 and tried == [0, 1, 2]
    assert "sft: 10 steps fit into 3 s" in capsys.readouterr().out


def test_enough_steps_of_its_own_time_need_no_word(made, capsys, monkeypatch):
    monkeypatch.setattr(time, "thread_time", time.perf_counter)  # as if nothing else ran
    steps, _ = calibrate(made, 0.002)
    assert steps > 40 and capsys.readouterr().out == ""
