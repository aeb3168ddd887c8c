"""The losses against numbers worked by hand and against their limits."""

import math

import pytest
import torch

from llmlab.core import losses

torch.manual_seed(0)


def test_next_token_loss_by_hand():
    logits = torch.tensor([[[0.0, 0.0], [math.log(3.0), 0.0]]])  # (1, 2, V = 2)
    targets = torch.tensor([[0, 1]])
    assert losses.next_token_loss(logits, targets).item() == pytest.approx(
        (math.log(2) + math.log(4)) / 2
    )
    targets[0, 1] = -100
    assert losses.next_token_loss(logits, targets).item() == pytest.approx(math.log(2))


def test_sft_loss_sees_the_answer_alone():
    logits, targets = torch.randn(2, 4, 7), torch.randint(7, (2, 4))
    mask = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 0]])
    loss = losses.sft_loss(logits, targets, mask)
    other = logits.clone()
    other[mask == 0] = torch.randn(4, 7)
    assert loss == losses.sft_loss(other, targets, mask)
    picked = losses.next_token_loss(logits[mask == 1], targets[mask == 1])
    assert torch.isclose(loss, picked)


def test_token_logprobs_are_log_softmax():
    logits, targets = torch.randn(2, 3, 5), torch.randint(5, (2, 3))
    expected = logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]
    assert torch.allclose(losses.token_logprobs(logits, targets), expected, atol=1e-6)


def test_bradley_terry_by_hand():
    loss = losses.bradley_terry_loss(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 0.0]))
    assert loss.item() == pytest.approx((math.log(1 + math.exp(-1)) + math.log(2)) / 2)


def test_dpo_at_zero_difference_is_ln_2_and_prefers_the_chosen():
    x = torch.tensor([-5.0, -7.0])
    assert losses.dpo_loss(x, x, x, x).item() == pytest.approx(math.log(2))
    up = losses.dpo_loss(x + 10, x, x, x, beta=0.1)
    assert up.item() == pytest.approx(math.log(1 + math.exp(-1)))


def test_kl_estimate_is_never_negative_and_unbiased():
    p, q = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.3, 0.3, 0.4])
    estimate = losses.kl_estimate(p.log(), q.log())
    assert (estimate >= 0).all()
    exact = (p * (p / q).log()).sum()
    assert torch.isclose((p * estimate).sum(), exact, atol=1e-6)
    near = torch.cat([sign * 10 ** torch.linspace(-9, 0, 20_000) for sign in (-1, 1)])
    assert losses.kl_estimate(near, torch.zeros(1)).min() >= 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_group_of_equal_rewards_has_no_advantage_at_all(dtype):
    """A mean of equal numbers need not be that number, once it is rounded."""
    rewards = torch.tensor([[0.3] * 7, [1000.1] * 7, [0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0]])
    for scale in (True, False):
        advantage = losses.group_advantage(rewards.to(dtype), scale=scale)
        assert advantage[:2].abs().max() == 0 and advantage[2].abs().min() > 0.2


def slow_gae(rewards, values, length, gamma, lam):
    out = [0.0] * len(rewards)
    for t in range(length):
        for k in range(t, length):
            after = values[k + 1] if k + 1 < length else 0.0
            out[t] += (gamma * lam) ** (k - t) * (rewards[k] + gamma * after - values[k])
    return out


def test_gae_between_its_limits():
    rewards, values = torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[0.5, 1.0, -1.0]])
    mask = torch.ones(1, 3)
    surprises = losses.gae(rewards, values, mask, 0.5, 0.0)  # r + gamma V' - V
    assert surprises[0].tolist() == pytest.approx([1.0, -1.5, 3.0])
    returns = losses.gae(rewards, values, mask, 0.5, 1.0) + values
    assert returns[0].tolist() == pytest.approx([1.5, 1.0, 2.0])


def test_a_mask_of_nothing_gives_zero():
    nothing = torch.zeros(2, 3)
    assert losses.masked_mean(torch.randn(2, 3), nothing) == 0
    assert losses.gae(torch.randn(2, 3), torch.randn(2, 3), nothing).abs().sum() == 0
    mask = torch.tensor([[1.0, 0.0, 1.0]])
    assert losses.masked_mean(torch.tensor([[1.0, 50.0, 3.0]]), mask) == 2


@pytest.mark.parametrize("gamma, lam", [(1.0, 0.95), (0.9, 0.0), (0.99, 1.0)])
def test_gae_is_the_sum_of_discounted_surprises(gamma, lam):
    rewards, values = torch.randn(3, 5), torch.randn(3, 5)
    lengths = [5, 3, 1]
    mask = torch.arange(5) < torch.tensor(lengths)[:, None]
    fast = losses.gae(rewards, values, mask, gamma, lam)
    for row, length in enumerate(lengths):
        slow = slow_gae(rewards[row].tolist(), values[row].tolist(), length, gamma, lam)
        assert fast[row].tolist() == pytest.approx(slow, abs=1e-5)


def test_ppo_at_ratio_1_is_the_policy_gradient():
    logp = torch.randn(2, 3, requires_grad=True)
    advantage = torch.tensor([[1.0, -2.0, 0.5], [3.0, 1.0, -1.0]])
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    losses.ppo_loss(logp, logp.detach(), advantage, mask).backward()
    assert torch.allclose(logp.grad, -advantage * mask / 5)


def test_ppo_gives_nothing_beyond_the_clip():
    old = torch.zeros(1, 2)
    logp = torch.tensor([[math.log(1.5), math.log(0.5)]], requires_grad=True)
    loss = losses.ppo_loss(logp, old, torch.tensor([[1.0, -1.0]]), torch.ones(1, 2), clip=0.2)
    loss.backward()
    assert loss.item() == pytest.approx(-(1.2 - 0.8) / 2)
    assert logp.grad.abs().sum() == 0


def test_ppo_pulls_a_ratio_back_from_the_wrong_side():
    logp = torch.tensor([[math.log(1.5), math.log(0.5)]], requires_grad=True)
    advantage = torch.tensor([[-1.0, 1.0]])  # both ratios moved against their advantage
    losses.ppo_loss(logp, torch.zeros(1, 2), advantage, torch.ones(1, 2)).backward()
    assert torch.allclose(logp.grad, torch.tensor([[0.75, -0.25]]))


def test_grpo_is_ppo_with_one_advantage_an_answer_plus_kl():
    logp, old, ref = torch.randn(3, 2, 4).unbind()
    advantage, mask = torch.tensor([1.0, -1.0]), torch.tensor([[1.0] * 4, [1.0, 1.0, 0.0, 0.0]])
    ppo = losses.ppo_loss(logp, old, advantage[:, None].expand(2, 4), mask, 0.1)
    kl = (losses.kl_estimate(logp, ref) * mask).sum() / 6
    loss = losses.grpo_loss(logp, old, ref, advantage, mask, kl_coef=0.3, clip=0.1)
    assert torch.isclose(loss, ppo + 0.3 * kl)


def test_group_advantage():
    rewards = torch.tensor([[1.0, 0.0, 1.0, 0.0], [2.0, 2.0, 2.0, 2.0]])
    advantage = losses.group_advantage(rewards)
    assert advantage[0].tolist() == pytest.approx([0.866, -0.866, 0.866, -0.866], abs=1e-3)
    assert (advantage[1] == 0).all()
    assert losses.group_advantage(rewards, scale=False)[0].tolist() == [0.5, -0.5, 0.5, -0.5]


def test_grpo_with_equal_rewards_has_no_policy_gradient():
    logp = torch.randn(4, 3, requires_grad=True)
    advantage = losses.group_advantage(torch.ones(1, 4)).flatten()
    mask = torch.ones(4, 3)
    losses.grpo_loss(logp, logp.detach(), torch.randn(4, 3), advantage, mask, 0.0).backward()
    assert logp.grad.abs().max() == 0


def test_grpo_kl_pulls_towards_the_reference():
    logp = torch.full((1, 2), -1.0, requires_grad=True)
    ref, zero = torch.full((1, 2), -2.0), torch.zeros(1)
    losses.grpo_loss(logp, logp.detach(), ref, zero, torch.ones(1, 2), kl_coef=1.0).backward()
    assert (logp.grad > 0).all()  # descent lowers logp towards the reference's -2
