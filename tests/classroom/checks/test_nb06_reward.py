"""Notebook 06's checks: the notebook's solutions pass, each mistake gets a sentence of its own."""

import pytest
import torch

from llmlab.classroom import verdict
from llmlab.classroom.exercises import RIGHT

SPACE = {"torch": torch, "F": torch.nn.functional}  # what the cells above bring
EXERCISES = {
    "06.preference_loss": "preference_loss",
    "06.calibration": "calibration",
    "06.more_wins": "more_wins",
    "06.swap_food": "swap_food",
}


@pytest.mark.parametrize(("exercise", "name"), EXERCISES.items())
def test_the_notebooks_solution_is_right(exercise, name, solution):
    assert verdict(exercise, solution(exercise, name, **SPACE))[0] == RIGHT


def surprise(gap):
    return torch.log1p(torch.exp(-gap))


def table(p, won, bins, top=True, mean=True, share=True, keep=True, scale=0):
    """Calibration with parts to be got wrong."""
    out = []
    for k in range(bins):
        last = bins - 1 if top else bins
        inside = [(q, w) for q, w in zip(p, won, strict=True) if min(int(q * bins), last) == k]
        if not inside and keep:
            continue
        first = sum(q for q, _ in inside) / max(1, len(inside)) if mean else (k + 0.5) / bins
        wins = sum(w for _, w in inside)
        out.append((first, wins / (scale or max(1, len(inside))) if share else wins))
    return out


def pairs_of(c, r):
    return list(zip(c, r, strict=True))


def edit(text, old, new, only=0):
    title, _, rest = text.partition(": ")
    items = rest.removesuffix(".").split(", ")
    places = [i for i, item in enumerate(items) if item == old]
    places = places[:only] if only >= 0 else places[only:]
    return title, [new if i in places else item for i, item in enumerate(items)]


WRONG_ANSWERS = {
    "06.preference_loss": [
        lambda c, r: surprise(r - c).mean(),
        lambda c, r: surprise(c - r).sum(),
        lambda c, r: surprise(c - r),
        lambda c, r: torch.sigmoid(c - r).log().mean(),
        lambda c, r: torch.sigmoid(c - r).mean(),
        lambda c, r: -torch.sigmoid(c - r).mean().log(),
        lambda c, r: (r - c).mean(),
        lambda c, r: (torch.sigmoid(r) - torch.sigmoid(c)).mean(),
        lambda c, r: surprise(c).mean(),
        lambda c, r: (1 - c + r).square().mean(),
        lambda c, r: (1 - c + r).clamp(min=0).mean(),
        lambda c, r: surprise(c - r).mean() / torch.tensor(2.0).log(),
        lambda c, r: -(1 / (1 + torch.exp(r - c))).log().mean(),  # 400 apart: infinite
        lambda c, r: torch.tensor(0.5),
        lambda c, r: c.sub_(r).sigmoid_(),
        lambda c: c,
        lambda c, r: "0.97 nats",
    ],
    "06.calibration": [
        lambda p, w, b: [row[::-1] for row in table(p, w, b)],
        lambda p, w, b: table(p, w, b, mean=False),
        lambda p, w, b: table(p, w, b, share=False),
        lambda p, w, b: table(p, w, b, scale=len(p)),
        lambda p, w, b: table(p, [not x for x in w], b),
        lambda p, w, b: table(p, w, b)[::-1],
        lambda p, w, b: table(p, w, b)[:-1],
        lambda p, w, b: table(p, w, 2 * b),
        lambda p, w, b: table(p, w, b, keep=False),  # empty ranges as rows
        lambda p, w, b: dict(table(p, w, b)),
        lambda p, w, b: [q for q, _ in table(p, w, b)],
        lambda p, w, b: [(x, sum(w) / len(w)) for x, _ in table(p, w, b)],
        lambda p, w, b: [(0.1, 0.0), (0.375, 0.5), (0.6167, 0.6667), (1.0, 1.0)],
        lambda p, w, b: p / b,
    ],
    "06.more_wins": [
        lambda c, r: sum(a > b for a, b in pairs_of(c, r)) / len(c),
        lambda c, r: sum(a >= b for a, b in pairs_of(c, r)) / len(c),
        lambda c, r: sum((a > b) + (a == b) / 2 for a, b in pairs_of(c, r)) / len(c),
        lambda c, r: sum(a < b for a, b in pairs_of(c, r)) / sum(a != b for a, b in pairs_of(c, r)),
        lambda c, r: sum(a > b for a, b in pairs_of(c, r)),
        lambda c, r: sum(a - b for a, b in pairs_of(c, r)) / len(c),
        lambda c, r: sum(a != b for a, b in pairs_of(c, r)) / len(c),
        lambda c, r: sum(c) / (sum(c) + sum(r)),
        lambda c, r: 0.8,
        lambda c, r: [a > b for a, b in pairs_of(c, r)],
        lambda c, r: c.pop() / 0,
    ],
    "06.swap_food": [
        lambda t, o, n: t.replace(o, n).replace(o.title(), n.title()),
        lambda t, o, n: t.replace(o.title(), n.title(), 1),
        lambda t, o, n: t.replace(o, n, 1),
        lambda t, o, n: "{}: {}.".format(edit(t, o, n, -1)[0], ", ".join(edit(t, o, n, -1)[1])),
        lambda t, o, n: t.replace(o, n).removesuffix("."),
        lambda t, o, n: t.replace(o, n).partition(": ")[2],
        lambda t, o, n: t.removesuffix(".") + f", {n}.",
        lambda t, o, n: t,
        lambda t, o, n: t.replace(f" {o},", f" {n},").replace(f" {o}.", f" {n}."),
        lambda t, o, n: t.replace(o, n).replace(", ", ","),
        lambda t, o, n: t.replace("pea", n),
        lambda t, o, n: edit(t, o, n, 9)[1],
        lambda t, o, n: t.replace(o, n) if o == "peas" else t + n,
        lambda t, o, n: t[99],
    ],
}
REVEALS = r"logsigmoid|softplus|log1p|min\(int|split\(|removesuffix|\[1:\]|== old|!= r"


@pytest.mark.parametrize("exercise", EXERCISES)
def test_each_mistake_gets_a_sentence_that_gives_nothing_away(exercise, each_is_told):
    each_is_told(exercise, WRONG_ANSWERS[exercise], REVEALS)
