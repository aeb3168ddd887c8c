"""Every loss of the series, as pure functions of tensors.

Pretraining, SFT, reward modelling and RL differ in what they score and in who says what is good;
here they stand side by side.  All are in nats and return a scalar unless they say otherwise.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def next_token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross entropy of the next id.

    logits: (..., V); targets: (...) ids, -100 where nothing is scored.
    The pretraining objective of Radford et al. 2018, eq. 1; after Bengio et al. 2003.
    """
    return F.cross_entropy(logits.flatten(0, -2).float(), targets.flatten(), ignore_index=-100)


def sft_loss(logits: Tensor, targets: Tensor, answer_mask: Tensor) -> Tensor:
    """Cross entropy of the answer's tokens alone: the prompt is read, not learned.

    logits: (B, T, V); targets: (B, T); answer_mask: (B, T), true on the answer's tokens.
    Supervised fine-tuning as in Ouyang et al. 2022, section 3.5, which names no mask; the mask is
    Stanford Alpaca's (Taori et al. 2023).  When it helps and when not: Shi et al. 2024,
    "Instruction Tuning With Loss Over Instructions".
    """
    return next_token_loss(logits, targets.masked_fill(~answer_mask.bool(), -100))


def token_logprobs(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-probability that each target was given: logits (B, T, V), targets (B, T) -> (B, T)."""
    return -F.cross_entropy(logits.movedim(-1, 1).float(), targets, reduction="none")


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of x where mask is true; both of one shape."""
    return (x * mask).sum() / mask.sum().clamp(min=1)


def bradley_terry_loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """Negative log-likelihood that each chosen answer beats the rejected one.

    chosen, rejected: (B,) rewards in the same order of pairs.
    Christiano et al. 2017, eq. 1; the form used for InstructGPT, Ouyang et al. 2022, eq. 1.
    """
    return -F.logsigmoid(chosen - rejected).mean()


def dpo_loss(
    chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, beta: float = 0.1
) -> Tensor:
    """Bradley-Terry on the policy's own implied reward, beta * log(policy / reference).

    All (B,): summed log-probabilities of whole answers under the policy and the reference.
    Rafailov et al. 2023, eq. 7.
    """
    return bradley_terry_loss(beta * (chosen - ref_chosen), beta * (rejected - ref_rejected))


def kl_estimate(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """The KL penalty: an unbiased, never negative estimate of KL(policy || reference) per token.

    logp, ref_logp: one shape, kept.  Schulman 2020, "k3": exp(-d) - 1 + d, d = logp - ref_logp.
    So much for its value.  As a loss on the policy's own samples its gradient, (1 - exp(-d)) times
    that of logp, is on average the one of the other direction, KL(reference || policy).
    """
    d = logp - ref_logp
    return torch.expm1(-d) + d  # exp(-d) - 1 would lose a small d to rounding


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float = 1.0, lam: float = 0.95
) -> Tensor:
    """Generalised advantage estimates, (B, T).

    rewards, values: (B, T) at each answer token; mask: (B, T), true on a prefix of each row.
    The value after the last token is zero.  Schulman et al. 2016, eq. 16.
    """
    values = F.pad(values * mask, (0, 1))  # (B, T + 1)
    advantage, last = torch.zeros_like(rewards), 0.0
    for t in reversed(range(rewards.shape[1])):
        td_error = rewards[:, t] + gamma * values[:, t + 1] - values[:, t]
        last = (td_error + gamma * lam * last) * mask[:, t]
        advantage[:, t] = last
    return advantage


def ppo_loss(
    logp: Tensor, old_logp: Tensor, advantage: Tensor, mask: Tensor, clip: float = 0.2
) -> Tensor:
    """Clipped surrogate objective: no reward for moving a token's ratio beyond 1 +- clip.

    All (B, T) at the answer's tokens; old_logp is of the policy that sampled them.
    Schulman et al. 2017, eq. 7, with the opposite sign: lower is better.
    """
    ratio = torch.exp(logp - old_logp)
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return -masked_mean(torch.minimum(ratio * advantage, clipped * advantage), mask)


def group_advantage(rewards: Tensor, scale: bool = True) -> Tensor:
    """Each answer against those to the same prompt: (prompts, answers) -> same shape, row mean 0.

    scale divides by the row's standard deviation; a row of equal rewards gives zeros exactly.
    Shao et al. 2024, section 4.1.2; without the division Liu et al. 2025, "Dr. GRPO".
    """
    equal = rewards.amax(1, keepdim=True) == rewards.amin(1, keepdim=True)  # their mean is rounded
    spread = rewards.std(dim=1, keepdim=True) + 1e-4 if scale else 1.0
    return ((rewards - rewards.mean(dim=1, keepdim=True)) / spread).masked_fill(equal, 0)


def grpo_loss(
    logp: Tensor, old_logp: Tensor, ref_logp: Tensor, advantage: Tensor, mask: Tensor,
    kl_coef: float = 0.01, clip: float = 0.2,
) -> Tensor:  # fmt: skip
    """PPO's clipped objective with the group as the baseline, plus a KL penalty.

    logp, old_logp, ref_logp, mask: (B, T); advantage: (B,), one for each whole answer.  An answer
    of advantage 0 adds nothing to the policy gradient and its KL penalty all the same.
    Shao et al. 2024, eq. 3, in which each answer's tokens are averaged first: here all tokens of
    the batch count alike, as in DAPO (Yu et al. 2025, eq. 8), so longer answers weigh more.
    """
    policy = ppo_loss(logp, old_logp, advantage[:, None], mask, clip)
    return policy + kl_coef * masked_mean(kl_estimate(logp, ref_logp), mask)
