"""Gradient accumulation: a step in many small parts is the step in one, within rounding."""

from dataclasses import replace

import pytest
import torch

from llmlab import kitchen, lab
from llmlab.chat import ChatTemplate
from llmlab.stages import dpo, reward, rl, sft
from llmlab.training import loop, model_copies


@pytest.fixture
def made(monkeypatch, tmp_path):
    monkeypatch.setenv("LLMLAB_DTYPE", "fp32")
    monkeypatch.setattr(loop, "DROPOUT", 0.0)  # its draws depend on the parts
    return replace(lab.setup("class-toy", runs_dir=tmp_path), steps=3)


def tune(made, model, tokenizer, name):
    return sft.tune(made, model, tokenizer, name)


def pairs_of(made, model, tokenizer):
    requests = kitchen.held_out_requests(6)
    return reward.make_pairs(model, ChatTemplate(tokenizer), requests, seed=1, answers=4)


def fit_reward(made, model, tokenizer, name):
    pairs = pairs_of(made, model, tokenizer)
    return reward.train_reward(made, model, tokenizer, pairs, name)[1]


def fit_dpo(made, model, tokenizer, name):
    return dpo.dpo(made, model, tokenizer, pairs_of(made, model, tokenizer), name)


def climb(made, model, tokenizer, name):
    return rl.grpo(made, model, tokenizer, name=name)


@pytest.mark.parametrize("train", [tune, fit_reward, fit_dpo, climb])
def test_parts_are_the_whole(made, train):
    model, tokenizer, _ = made.latest("sft", mine=False)
    ends = {}
    for most in (1 << 20, 150):
        sized = replace(made, profile=replace(made.profile, micro_tokens=most))
        job = train(sized, model_copies.trainable_copy(model), tokenizer, f"at-{most}")
        ends[most] = [*job.model.parameters()], [record["loss"] for record in job.log]
    (whole, losses), (parts, part_losses) = ends.values()
    assert part_losses == pytest.approx(losses, abs=1e-5)
    moved = [(a - b).abs().max().item() for a, b in zip(whole, model.parameters(), strict=False)]
    apart = [(a - b).abs().max().item() for a, b in zip(whole, parts, strict=True)]
    assert max(apart) < 0.05 * max(moved) and not torch.equal(whole[0], model.embed.weight)
