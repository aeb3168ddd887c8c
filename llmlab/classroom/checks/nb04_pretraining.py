"""Checks of notebook 04: a norm, attention, the learning rate, top-p."""

import torch
from torch import Tensor

from llmlab.classroom import Wrong, call, close, exercise
from llmlab.classroom.compare import number, recognise
from llmlab.core.model import attend
from llmlab.core.optim import learning_rate


@exercise("04.rms_norm")
def rms_norm(answer) -> None:
    """rms_norm(x, weight, eps): x over its root mean square, times weight."""
    x = torch.tensor([[[3.0, 4.0], [0.6, -0.8]], [[1.0, 7.0], [0.0, 0.5]]])  # (2, 2, dim = 2)
    weight, eps = torch.tensor([1.0, 2.0], requires_grad=True), 0.1
    x.requires_grad_()
    mean = x.square().mean(-1, keepdim=True)
    right = x / (mean + eps).sqrt() * weight
    centred = x - x.mean(-1, keepdim=True)
    mistakes = {
        "The weight is missing.": x / (mean + eps).sqrt(),
        "eps is missing. It stands under the root.": x / mean.sqrt() * weight,
        "eps belongs under the root, not beside it.": x / (mean.sqrt() + eps) * weight,
        "That divides by the length. The *mean* of the squares is asked for, not their sum.": x
        / (x.square().sum(-1, keepdim=True) + eps).sqrt() * weight,
        "The root is missing: that divides by the mean square itself.": x / (mean + eps) * weight,
        "The mean goes over all numbers. Each vector has a root mean square of its own.": x
        / (x.square().mean() + eps).sqrt() * weight,
        "That is a LayerNorm: RMSNorm does not take the mean away.": centred
        / (centred.square().mean(-1, keepdim=True) + eps).sqrt() * weight,
        "The mean goes over the wrong axis. It is the last one.": x
        / (x.square().mean(-2, keepdim=True) + eps).sqrt() * weight,
        "That multiplies by the root mean square, where it should divide.": x
        * (mean + eps).sqrt() * weight,
    }  # fmt: skip
    recognise(call(answer, x, weight, eps), right, mistakes)
    other = call(answer, torch.tensor([[1.0, 2.0, 2.0]]), torch.tensor([3.0, -6.0, 1.5]), 1.0)
    close(other, torch.tensor([[1.5, -6.0, 1.5]]), "the answer for other numbers", atol=1e-5)
    zero = call(answer, torch.zeros(3, 2), weight, eps)
    close(zero, torch.zeros(3, 2), "the norm of zeros")


@exercise("04.attention", must=True)
def attention(answer) -> None:
    """attention(q, k, v): causal attention of one head, (T, hd) -> (T, hd)."""
    generator = torch.Generator().manual_seed(3)
    q, k, v = torch.randn(3, 5, 9, generator=generator).requires_grad_()  # (T = 5, hd = 9) each
    ahead = torch.ones(5, 5).triu(1).bool()
    scores = q @ k.T / 3
    masked = scores.masked_fill(ahead, -torch.inf)
    right = attend(*(t[None, None] for t in (q, k, v)), masked_bias(ahead))[0, 0]
    mistakes = {
        "Every place sees all the others. What lies ahead must get no weight.": scores.softmax(-1)
        @ v,
        "The scores are not scaled. By which root are they divided?":
        (q @ k.T).masked_fill(ahead, -torch.inf).softmax(-1) @ v,
        "The scores are divided by hd itself. It is a root.":
        (q @ k.T / 9).masked_fill(ahead, -torch.inf).softmax(-1) @ v,
        "The scores are divided by a root of T. It is the width of a key that counts.":
        (q @ k.T / 5**0.5).masked_fill(ahead, -torch.inf).softmax(-1) @ v,
        "A place does not see itself. Only what lies *ahead* is hidden.": torch.nan_to_num(
            scores.masked_fill(torch.ones(5, 5).triu(0).bool(), -torch.inf).softmax(-1)) @ v,
        "The mask is turned round: each place sees itself and what comes.": scores.masked_fill(
            torch.ones(5, 5).tril(-1).bool(), -torch.inf).softmax(-1) @ v,
        "The softmax goes over the wrong axis: each *row* of weights sums to 1.": torch.nan_to_num(
            masked.softmax(0)) @ v,
        "The mask comes after the softmax, so the weights no longer sum to 1.": scores.softmax(
            -1).masked_fill(ahead, 0.0) @ v,
        "What lies ahead has a score of 0, and so a weight. Which score gives none?": scores
        .masked_fill(ahead, 0.0).softmax(-1) @ v,
        "Queries and keys are exchanged.": (k @ q.T / 3).masked_fill(ahead, -torch.inf).softmax(-1)
        @ v,
        "The scores themselves mix the values. A softmax makes weights of them.": scores
        .masked_fill(ahead, 0.0) @ v,
        "Those are the weights. The values have yet to be mixed by them.": masked.softmax(-1),
        "The keys are mixed, and not the values.": masked.softmax(-1) @ k,
    }  # fmt: skip
    recognise(call(answer, q, k, v), right, mistakes)
    q, k, v = (t[:3, :4].flip(0) for t in (q, k, v))
    right = attend(*(t[None, None] for t in (q, k, v)), masked_bias(ahead[:3, :3]))[0, 0]
    close(call(answer, q, k, v), right, "the answer for other numbers", atol=1e-5)
    first = call(answer, q[:1], k[:1], v[:1])
    close(first, v[:1], "the answer for a single place")


def masked_bias(ahead: Tensor) -> Tensor:
    """0 where a place may look, -inf where not: (T, T)."""
    return torch.zeros(ahead.shape).masked_fill(ahead, -torch.inf)


@exercise("04.rate")
def rate(answer) -> None:
    """rate(step, steps, warmup, cooldown): the factor on the learning rate."""
    steps, warmup, cooldown = 100, 0.2, 0.4
    cases = {
        "the first step": 0, "the middle of the rise": 9, "the end of the rise": 19,
        "the level part": 40, "the first falling step": 61, "the fall": 80, "the last step": 99,
    }  # fmt: skip
    for where, step in cases.items():
        right = learning_rate(step, steps, warmup, cooldown)
        mistakes = {
            "The factor at the first step is 0: that step would do nothing. Count from 1.":
            0.0 if step == 0 else -1.0,
            "The factor is whole from the first step on. See the share `warmup`.":
            1.0 if step == 0 else -1.0,
            "The rise is one step late: look at its first and last step again.":
            step / (warmup * steps) if step < 20 else -1.0,
            "The fall is one step early: at the last step something is left.":
            (steps - 1 - step) / (cooldown * steps) if step > 60 else -1.0,
            "The factor does not fall. See the share `cooldown`.": 1.0 if step > 60 else -1.0,
            "The factor grows beyond 1 between rise and fall.":
            (step + 1) / (warmup * steps) if step >= 20 else -1.0,
            "There is no level part: the fall begins too soon.":
            (steps - step) / steps if step > 19 else -1.0,
        }  # fmt: skip
        mistakes = {sentence: wrong for sentence, wrong in mistakes.items() if wrong >= 0}
        value = number(call(answer, step, steps, warmup, cooldown), "the factor")
        recognise(value, right, mistakes, f"the factor at {where}")
    for step in (1, 46):
        factor = number(call(answer, step, 50, 0.1, 0.3), "the factor")
        if abs(factor - learning_rate(step, 50, 0.1, 0.3)) > 1e-6:
            raise Wrong("Right for one run, wrong for another. Does it use all that it is given?")
    if abs(number(call(answer, 0, 1, 0.02, 0.5), "the factor") - 1.0) > 1e-6:
        raise Wrong("A run of a single step has no time to rise or to fall; its factor is 1.")


@exercise("04.nucleus")
def nucleus(answer) -> None:
    """nucleus(probs, p): top-p on probabilities (V,)."""
    probs = torch.tensor([0.1, 0.4, 0.05, 0.3, 0.15])  # in order: 0.4, 0.3, 0.15, 0.1, 0.05
    right = torch.tensor([0.0, 0.4, 0.0, 0.3, 0.0]) / 0.7
    mistakes = {
        "The rest does not sum to 1.": right * 0.7,
        "Nothing is left out: every token stays.": probs,
        "The token that carries the sum over p is lost: it stays.": torch.tensor(
            [0.0, 1.0, 0.0, 0.0, 0.0]),
        "One token too many stays: stop as soon as the sum is at least p.": torch.tensor(
            [0.0, 0.4, 0.0, 0.3, 0.15]) / 0.85,
        "The right numbers, but sorted: each must stand at its own id.": torch.tensor(
            [0.4, 0.3, 0.0, 0.0, 0.0]) / 0.7,
        "The *least* likely were kept. Sort downwards.": torch.tensor(
            [0.1, 0.0, 0.05, 0.3, 0.15]) / 0.6,
        "The ids were kept in their own order, not in the order of their probability.":
        torch.tensor([0.1, 0.4, 0.05, 0.3, 0.0]) / 0.85,
        "That keeps what is itself at least p. The *sum* counts.": torch.zeros(5),
        "Those are truth values: which stay. Probabilities are asked for.": (right > 0).float(),
    }  # fmt: skip
    recognise(call(answer, probs, 0.6), right, mistakes)
    lone = call(answer, probs, 0.1)
    close(lone, torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0]), "the answer for a small p")
    close(call(answer, probs, 1.0), probs, "the answer for p = 1", atol=1e-5)
    other = call(answer, torch.tensor([0.125, 0.25, 0.625]), 0.8)
    close(other, torch.tensor([0.0, 2 / 7, 5 / 7]), "the answer for other probabilities", atol=1e-5)
