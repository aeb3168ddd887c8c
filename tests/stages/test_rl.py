"""Reinforcement learning: the pieces that can be checked without a run."""

import copy

import torch

from llmlab import lab as lab_module
from llmlab.core.losses import grpo_loss
from llmlab.stages.rl import by_length, title_nats, variety
from llmlab.stages.sft import Batch

ROWS = [([1] * p, [2] * a) for p, a in ((3, 9), (7, 2), (1, 1), (5, 30), (2, 4), (4, 4), (1, 12))]


def test_parts_hold_every_row_once_and_are_sorted_by_length():
    parts = [part for part, _ in by_length(ROWS, 3)]
    assert sorted(i for part in parts for i in part) == list(range(len(ROWS)))
    lengths = [len(ROWS[i][0]) + len(ROWS[i][1]) for part in parts for i in part]
    assert lengths == sorted(lengths)
    assert max(map(len, parts)) == 3
    assert by_length([], 3) == []


def test_weighted_parts_are_the_loss_of_the_whole():
    torch.manual_seed(0)
    advantage = torch.randn(len(ROWS))

    def loss(rows):  # log-probabilities that depend on the row alone
        batch, better = Batch.of([ROWS[i] for i in rows]), advantage[rows]
        logp = 0.1 * better[:, None] * batch.mask - 1.0
        return grpo_loss(logp, logp - 0.05, logp - 0.1, better, batch.mask)

    whole = loss(list(range(len(ROWS))))
    parts = sum(loss(part) * share for part, share in by_length(ROWS, 2))
    assert torch.allclose(parts, whole, atol=1e-6)


def test_variety_and_titles_tell_a_broken_model():
    lab = lab_module.setup("class")
    base, tokenizer, _ = lab.load(lab.shipped("base"))
    model, _, _ = lab.load(lab.shipped("sft"))
    monotone = copy.deepcopy(model)  # so sure that it hardly varies
    monotone.norm.weight.data.mul_(50)
    assert variety(model, tokenizer, 4, n=6) > 0.9 > 0.7 > variety(monotone, tokenizer, 4, n=6)
    confused = copy.deepcopy(model)
    confused.norm.weight.data.mul_(0.3)
    kitchen = title_nats(base, model, tokenizer, n=24)
    assert 1 < kitchen < title_nats(base, confused, tokenizer, n=24) - 1
