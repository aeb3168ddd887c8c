"""Notebook 03's checks: the notebook's solutions pass, each mistake gets a sentence of its own."""

import cmath
import math

import pytest
import torch
import torch.nn.functional as F

from llmlab.classroom import verdict
from llmlab.classroom.checks import nb03_embedding
from llmlab.classroom.exercises import RIGHT
from llmlab.core.model import apply_rope, rope_table
from llmlab.stages import embedding

SPACE = {"torch": torch, "math": math}  # what the cells above bring
EXERCISES = {
    "03.gradient": "table_gradient",
    "03.rotate": "rotate",
    "03.nearest": "nearest",
    "03.analogy": "analogy",
}


@pytest.mark.parametrize(("exercise", "name"), EXERCISES.items())
def test_the_notebooks_solution_is_right(exercise, name, solution):
    assert verdict(exercise, solution(exercise, name, **SPACE))[0] == RIGHT


# --- Wrong answers --------------------------------------------------------------------------


def gradient(ids, arriving, v):
    return torch.zeros(v, arriving.shape[1]).index_add(0, ids, arriving)


def overwrite(ids, arriving, v):
    table = torch.zeros(v, arriving.shape[1])
    for i, row in zip(ids, arriving, strict=True):
        table[i] = row
    return table


def first_only(ids, arriving, v):
    return overwrite(ids.flip(0), arriving.flip(0), v)


def averaged(ids, arriving, v):
    times = torch.bincount(ids, minlength=v).clamp(min=1)
    return gradient(ids, arriving, v) / times[:, None]


def counted(ids, arriving, v):
    return gradient(ids, torch.ones_like(arriving), v)


def everything(ids, arriving, v):
    table = torch.zeros(v, arriving.shape[1])
    table[ids] = arriving.sum(0)
    return table


def in_place(ids, arriving, v):
    arriving *= 1.5
    return gradient(ids, arriving / 1.5, v)


def turn(pair, angle):
    z = complex(*pair) * cmath.rect(1, angle)
    return z.real, z.imag


def one_after_the_other(pair, position, frequency):
    x, y = pair
    cos, sin = math.cos(position * frequency), math.sin(position * frequency)
    x = cos * x - sin * y
    return x, sin * x + cos * y


def nearest(scores):
    """A function like `nearest` with cosines of one's own."""
    return lambda table, i, n: [
        j for j in scores(table, i).argsort(descending=True).tolist() if j != i
    ][:n]


def cosine(table, i):
    unit = F.normalize(table, dim=1)
    return unit @ unit[i]


def ranked(table, i):
    return cosine(table, i).argsort(descending=True).tolist()


def normalised_in_place(table, i, n):
    table /= table.norm(dim=1, keepdim=True)
    return nearest(cosine)(table, i, n)


def analogy(table, a, b, c, signs=(1, -1, 1), raw=False, out=None, against=None):
    """`analogy` with parts to be got wrong."""
    unit = F.normalize(table, dim=1)
    rows = table if raw else unit
    target = sum(s * rows[j] for s, j in zip(signs, (a, b, c), strict=True))
    scores = (unit if against is None else against(table)) @ target
    scores[list((a, b, c) if out is None else (a, b, c)[slice(*out)])] = -torch.inf
    return int(scores.argmax())


def by_distance(table, a, b, c):
    away = (table - table[a] + table[b] - table[c]).norm(dim=1)
    away[[a, b, c]] = torch.inf
    return int(away.argmin())


def lowest(table, a, b, c):
    unit = F.normalize(table, dim=1)
    scores = unit @ (unit[a] - unit[b] + unit[c])
    scores[[a, b, c]] = torch.inf
    return int(scores.argmin())


WRONG_ANSWERS = {
    "03.gradient": [
        overwrite,
        first_only,
        averaged,
        counted,
        lambda ids, arriving, v: arriving,
        lambda ids, arriving, v: gradient(ids, arriving, v).T,
        lambda ids, arriving, v: gradient(ids, arriving, v) / len(ids),
        everything,
        lambda ids, arriving, v: -gradient(ids, arriving, v),
        lambda ids, arriving, v: gradient(ids, arriving, v)[ids.unique()],
        lambda ids, arriving, v: gradient(ids + 1, arriving, v),
        lambda ids, arriving, v: torch.zeros(v, arriving.shape[1]),
        lambda ids, arriving, v: gradient(nb03_embedding.IDS, nb03_embedding.ARRIVING, 7),
        lambda ids, arriving, v: gradient(ids, arriving, v).tolist(),
        lambda ids, arriving, v: gradient(ids, arriving, v + 1),
        lambda ids, arriving, v: gradient(ids, arriving, v) * 2,
        in_place,
        lambda ids, arriving, v: arriving[ids],
        lambda ids, arriving: arriving,
        7,
    ],
    "03.rotate": [
        lambda p, t, f: turn(p, -t * f),
        lambda p, t, f: turn(p, math.radians(t * f)),
        lambda p, t, f: turn(p, f),
        lambda p, t, f: turn(p, t),
        lambda p, t, f: turn(p, t + f),
        lambda p, t, f: turn(p, t / f),
        one_after_the_other,
        lambda p, t, f: (p[0] * math.cos(t * f), p[1] * math.cos(t * f)),
        lambda p, t, f: (p[0] * math.cos(t * f), p[1] * math.sin(t * f)),
        lambda p, t, f: turn(p, t * f)[::-1],
        lambda p, t, f: (p[0] + math.cos(t * f), p[1] + math.sin(t * f)),
        lambda p, t, f: p,
        lambda p, t, f: turn(p, math.pi / 2 - t * f),
        lambda p, t, f: turn((1, 0), t * f),
        lambda p, t, f: turn(p, 2 * math.pi * t * f),
        lambda p, t, f: (2 * p[0], p[1]),
        lambda p, t, f: complex(*turn(p, t * f)),
        lambda p, t, f: turn((3, 1), 0.7),
        lambda p, t, f: p[2],
    ],
    "03.nearest": [
        lambda table, i, n: ranked(table, i)[:n],
        nearest(lambda table, i: table @ table[i]),
        nearest(lambda table, i: -(table - table[i]).norm(dim=1)),
        nearest(lambda table, i: -cosine(table, i)),
        lambda table, i, n: nearest(cosine)(table, i, n)[::-1],
        nearest(lambda table, i: cosine(table, i).abs()),
        nearest(lambda table, i: cosine(table - table.mean(0), i)),
        lambda table, i, n: nearest(cosine)(table, 0, n),
        lambda table, i, n: ranked(table, i)[1 : n + 2],
        lambda table, i, n: ranked(table, i)[1:n],
        lambda table, i, n: nearest(cosine)(table, i, 99),
        lambda table, i, n: ranked(table, i),
        lambda table, i, n: cosine(table, i).sort(descending=True)[0][1 : n + 1].tolist(),
        lambda table, i, n: nearest(cosine)(nb03_embedding.NEAR, 4, 3),
        lambda table, i, n: [j + 1 for j in nearest(cosine)(table, i, n)],
        lambda table, i, n: [99, 99, 99],
        lambda table, i, n: ranked(table, i)[1],
        normalised_in_place,
        lambda table, i, n: table[i].nearest(),
    ],
    "03.analogy": [
        lambda *q: analogy(*q, out=(0, 0)),
        lambda *q: analogy(*q, signs=(-1, 1, 1)),
        lambda *q: analogy(*q, signs=(1, 1, -1)),
        lambda *q: analogy(*q, signs=(1, 1, 1)),
        lambda *q: analogy(*q, raw=True),
        lambda *q: analogy(*q, against=lambda table: table),
        lambda *q: analogy(*q, signs=(0, 0, 1)),
        lambda *q: analogy(*q, signs=(1, -1, 0)),
        lowest,
        by_distance,
        lambda *q: analogy(*q, out=(2, 3)),
        lambda *q: 0,
        lambda *q: 20,
        lambda *q: [analogy(*q)],
        lambda *q: 0.73,
        lambda table, a, b, c: table.mul_(2) is table and analogy(table, a, b, c),
        lambda table, a, b: 3,
    ],
}


REVEALS = r"index_add|cos ?[*·]|norm\(|\b20\b"  # the answer


@pytest.mark.parametrize("exercise", EXERCISES)
def test_each_mistake_gets_a_sentence_that_gives_nothing_away(exercise, each_is_told):
    each_is_told(exercise, WRONG_ANSWERS[exercise], REVEALS)


def test_the_checks_own_answers_are_the_packages(solution):
    nearest, analogy, rotate = (
        solution(f"03.{name}", name, **SPACE) for name in ("nearest", "analogy", "rotate")
    )
    unit = F.normalize(nb03_embedding.WORDS, dim=1)
    assert analogy(nb03_embedding.WORDS, 2, 9, 5) == embedding.analogy(unit, 2, 9, 5, 1)[0]
    unit = F.normalize(nb03_embedding.NEAR, dim=1)
    assert nearest(nb03_embedding.NEAR, 4, 3) == embedding.neighbours(unit, 4, 3)
    turned = apply_rope(torch.tensor([[3.0, 1.0]]).expand(5, 2), rope_table(5, 2, 10000.0))
    assert torch.allclose(turned[4], torch.tensor(rotate((3.0, 1.0), 4, 1.0)))


def test_tables_are_the_same_on_every_machine():
    assert nb03_embedding.table_of(15, 12, 3)[0].tolist() == [9, -9, 4]
