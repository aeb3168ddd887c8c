"""Reinforcement learning: the pieces that can be checked without a run."""

import copy
import math
from collections import Counter
from dataclasses import replace
from itertools import combinations

import pytest
import torch

import llmlab
from llmlab import kitchen
from llmlab import lab as lab_module
from llmlab.chat import Batch, ChatTemplate, micro_batches, n_ids
from llmlab.core.losses import grpo_loss
from llmlab.stages import rl
from llmlab.stages.reward import load_reward, score_answers
from llmlab.stages.rl import title_nats, variety
from llmlab.training import model_copies

ROWS = [([1] * p, [2] * a) for p, a in ((3, 9), (7, 2), (1, 1), (5, 30), (2, 4), (4, 4), (1, 12))]


def test_micro_batches_hold_every_row_once_and_keep_to_their_size():
    parts = micro_batches(ROWS, 30)
    assert sorted(row for part in parts for row in part) == sorted(ROWS)
    assert all(len(part) * max(map(n_ids, part)) <= 30 for part in parts[:-1])
    assert [n_ids(row) for row in parts[-1]] == [35]  # too long for any: it stands alone
    assert len(parts) < len(ROWS)
    assert micro_batches([], 30) == []


def test_weighted_parts_are_the_loss_of_the_whole():
    torch.manual_seed(0)
    advantages = dict(zip(map(str, ROWS), torch.randn(len(ROWS)), strict=True))

    def loss(rows):  # log-probabilities that depend on the row alone
        batch, advantage = Batch.of(rows), torch.stack([advantages[str(row)] for row in rows])
        logp = 0.1 * advantage[:, None] * batch.mask - 1.0
        return grpo_loss(logp, logp - 0.05, logp - 0.1, advantage, batch.mask)

    n = sum(len(answer) for _, answer in ROWS)
    parts = sum(loss(part) * sum(len(a) for _, a in part) / n for part in micro_batches(ROWS, 30))
    assert torch.allclose(parts, loss(ROWS), atol=1e-6)


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


@pytest.mark.parametrize(
    ("n", "right", "k"), [(5, 2, 1), (5, 2, 3), (6, 0, 2), (6, 6, 2), (6, 4, 3)]
)
def test_pass_at_k_is_the_share_of_draws_with_a_right_one(n, right, k):
    draws = list(combinations([True] * right + [False] * (n - right), k))
    assert rl.pass_at_k(right, n, k) == pytest.approx(sum(map(any, draws)) / len(draws))


@pytest.fixture(scope="module")
def toy():
    lab = replace(llmlab.setup("class-toy"), steps=2)
    model, tokenizer, _ = lab.latest("sft", mine=False)
    return lab, model, tokenizer


def test_grpos_rollouts_are_what_its_groups_taught(toy):
    lab, model, tokenizer = toy
    steps = {}
    rl.grpo(lab, model_copies.trainable_copy(model), tokenizer, on_rollouts=steps.__setitem__)
    assert list(steps) == [1, 2]
    for rollout in (r for rollouts in steps.values() for r in rollouts):
        score = kitchen.judge(rollout.request, ChatTemplate(tokenizer).read(rollout.answer))
        assert rollout.parts["asked"] == score.asked
        assert len(rollout.answer) == len(rollout.log_ratio) == len(rollout.advantage)
        assert len(set(rollout.advantage)) == 1 and rollout.advantage[0] != 0
    assert all(d == 0 for r in steps[1] for d in r.log_ratio)  # nothing has moved yet
    assert any(d != 0 for r in steps[2] for d in r.log_ratio)
    groups = Counter(r.request for r in steps[1])
    assert set(groups.values()) == {lab.profile.grpo_group}


def test_a_term_of_the_learners_own_is_added_to_the_reward(toy):
    lab, model, tokenizer = toy
    steps, chat = {}, ChatTemplate(tokenizer)
    rl.grpo(
        lab, model_copies.trainable_copy(model), tokenizer, reward=lambda score: score.asked,
        on_rollouts=steps.__setitem__, extra_reward=lambda request,
        answer: len(request) + len(answer),
    )  # fmt: skip
    for rollout in steps[1]:
        lengths = len(rollout.request) + len(chat.read(rollout.answer))
        assert rollout.reward == rollout.parts["asked"] + lengths


def test_ppos_rollouts_have_an_advantage_for_each_token(toy):
    lab, model, tokenizer = toy
    steps, judge = {}, load_reward(lab, mine=False)
    rl.ppo(lab, model_copies.trainable_copy(model), tokenizer, judge, on_rollouts=steps.__setitem__)
    assert [len(rollouts) for rollouts in steps.values()] == [lab.profile.ppo_batch] * 2
    chat, first = ChatTemplate(tokenizer), steps[1][:4]
    proxy = score_answers(judge, chat, [r.request for r in first], [r.answer for r in first])
    for rollout, reward in zip(first, proxy.tolist(), strict=True):
        assert rollout.reward == rollout.parts["reward model"] == pytest.approx(reward, abs=0.05)
        assert len(rollout.answer) == len(rollout.advantage) == len(rollout.log_ratio)
        assert len(set(rollout.advantage)) > 1


def test_times_kept_counts_answers(toy):
    _, model, tokenizer = toy
    counts = rl.times_kept(model, tokenizer, 5, 4)
    assert len(counts) == 5 and all(0 <= c <= 4 for c in counts) and sum(counts) > 4


def test_ppo_learns_finite_numbers_from_one_answer_that_ends_at_once(toy):
    lab, model, tokenizer = toy
    model = model_copies.trainable_copy(model)
    chat = ChatTemplate(tokenizer)
    hook = model.head.register_forward_hook(lambda m, args, out: end_at_once(out, chat.end))
    lab = replace(lab, profile=replace(lab.profile, ppo_batch=1))
    steps = {}
    job = rl.ppo(lab, model, tokenizer, load_reward(lab, mine=False), name="one",
                 on_rollouts=steps.__setitem__)  # fmt: skip
    hook.remove()
    assert [sample.answer for sample in steps[1]] == [[chat.end]]
    assert all(math.isfinite(record["loss"]) for record in job.log)
    assert all(p.isfinite().all() for p in model.parameters())


def end_at_once(logits, end):
    """Logits with which the next id is the end."""
    logits = logits.clone()
    logits[..., end] = logits.amax().item() + 50
    return logits
