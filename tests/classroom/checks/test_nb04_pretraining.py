"""Notebook 04's checks: the notebook's solutions pass, each mistake gets a sentence of its own."""

import pytest
import torch

from llmlab.classroom import verdict
from llmlab.classroom.exercises import RIGHT

SPACE = {"torch": torch}  # what the cells above bring
EXERCISES = {
    "04.rms_norm": "rms_norm",
    "04.attention": "attention",
    "04.rate": "rate",
    "04.nucleus": "nucleus",
}


@pytest.mark.parametrize(("exercise", "name"), EXERCISES.items())
def test_the_notebooks_solution_is_right(exercise, name, solution):
    assert verdict(exercise, solution(exercise, name, **SPACE))[0] == RIGHT


def norm(x, weight, eps, axis=-1, root=True, inside=True):
    mean = x.square().mean(axis, keepdim=True) + eps * inside
    return x / (mean.sqrt() if root else mean) * weight


def mix(q, k, v, scale=None, ahead=1, fill=-torch.inf, axis=-1):
    """Attention with parts to be got wrong."""
    T, hd = q.shape
    mask = torch.ones(T, T).triu(ahead).bool()
    scores = (q @ k.T / (scale or hd**0.5)).masked_fill(mask, fill)
    return torch.nan_to_num(scores.softmax(axis)) @ v


def ramp(step, steps, warmup, cooldown, late=0, early=0):
    rise = (step + 1 - late) / max(1, warmup * steps)
    return min(1.0, rise, (steps - early - step) / max(1, cooldown * steps))


def top(probs, p, strict=False, more=0, least=False, norm=True):
    ranked, order = probs.sort(descending=not least)
    before = ranked.cumsum(0) - ranked
    keep = (ranked.cumsum(0) <= p if strict else before < p).clone()
    if more:
        keep[keep.sum()] = True
    kept = torch.zeros_like(probs)
    kept[order] = ranked * keep
    return kept / kept.sum() if norm else kept


WRONG_ANSWERS = {
    "04.rms_norm": [
        lambda x, w, e: norm(x, 1, e),
        lambda x, w, e: norm(x, w, e, inside=False),
        lambda x, w, e: x / (x.square().mean(-1, keepdim=True).sqrt() + e) * w,
        lambda x, w, e: x / (x.square().sum(-1, keepdim=True) + e).sqrt() * w,
        lambda x, w, e: norm(x, w, e, root=False),
        lambda x, w, e: x / (x.square().mean() + e).sqrt() * w,
        lambda x, w, e: norm(x - x.mean(-1, keepdim=True), w, e),
        lambda x, w, e: norm(x, w, e, axis=-2),
        lambda x, w, e: x * (x.square().mean(-1, keepdim=True) + e).sqrt() * w,
        lambda x, w, e: x / (x.square().mean(-1) + e).sqrt() * w,
        lambda x, w, e: norm(x, w, e)[0],
        lambda x, w, e: norm(x, w, e).tolist(),
        lambda x, w, e: x.square_(),
        lambda x, w: x,
    ],
    "04.attention": [
        lambda q, k, v: mix(q, k, v, ahead=9),
        lambda q, k, v: mix(q, k, v, scale=1.0),
        lambda q, k, v: mix(q, k, v, scale=q.shape[1]),
        lambda q, k, v: mix(q, k, v, scale=q.shape[0] ** 0.5),
        lambda q, k, v: mix(q, k, v, ahead=0),
        lambda q, k, v: mix(q.flip(0), k.flip(0), v.flip(0)).flip(0),
        lambda q, k, v: mix(q, k, v, axis=0),
        lambda q, k, v: (q @ k.T / q.shape[1] ** 0.5).softmax(-1).tril() @ v,
        lambda q, k, v: mix(q, k, v, fill=0.0),
        lambda q, k, v: mix(k, q, v),
        lambda q, k, v: (q @ k.T / q.shape[1] ** 0.5).tril() @ v,
        lambda q, k, v: mix(q, k, torch.eye(len(q))),
        lambda q, k, v: mix(q, k, k),
        lambda q, k, v: v,
        lambda q, k, v: mix(q[None], k, v),
        lambda q, k, v: None,
    ],
    "04.rate": [
        lambda s, n, w, c: 0.0 if s == 0 else ramp(s, n, w, c),
        lambda s, n, w, c: ramp(s, n, w, c, early=1),
        lambda s, n, w, c: min(1.0, ramp(s, n, w, 0)) if s < n - 1 else 1.0,
        lambda s, n, w, c: (s + 1) / (w * n),
        lambda s, n, w, c: min(1.0, (s + 1) / (w * n), (n - s) / n),
        lambda s, n, w, c: max((s + 1) / (w * n), (n - s) / (c * n)),
        lambda s, n, w, c: 1.0,
        lambda s, n, w, c: "1.0 of the rate",
    ],
    "04.nucleus": [
        lambda probs, p: top(probs, p, norm=False),
        lambda probs, p: probs,
        lambda probs, p: top(probs, p, strict=True),
        lambda probs, p: top(probs, p, more=1),
        lambda probs, p: top(probs, p).sort(descending=True).values,
        lambda probs, p: top(probs, p, least=True),
        lambda probs, p: probs * (probs.cumsum(0) - probs < p) / 0.85,
        lambda probs, p: probs * (probs >= p),
        lambda probs, p: (top(probs, p) > 0).float(),
        lambda probs, p: top(probs, p)[top(probs, p) > 0],
        lambda probs, p: torch.tensor([0.0, 0.4, 0.0, 0.3, 0.0]) / 0.7,
        lambda probs, p: top(probs, min(p, 0.9)),
    ],
}


REVEALS = r"\*\* ?0\.5|sqrt\(|-inf|softmax\(-1|cumsum|\.mT\b"  # the answer


@pytest.mark.parametrize("exercise", EXERCISES)
def test_each_mistake_gets_a_sentence_that_gives_nothing_away(exercise, each_is_told):
    each_is_told(exercise, WRONG_ANSWERS[exercise], REVEALS)
