"""Notebook 00's checks: the notebook's solutions pass, each mistake gets a sentence of its own."""

import math
from dataclasses import replace

import pytest

from llmlab.classroom import verdict
from llmlab.classroom.checks.nb00_map import SHAPE
from llmlab.classroom.exercises import RIGHT
from llmlab.stages import costs

EXERCISES = {
    "00.share": "share",
    "00.params": "count",
    "00.hours": "hours",
    "00.chats": "chats",
}


@pytest.mark.parametrize(("exercise", "name"), EXERCISES.items())
def test_the_notebooks_solution_is_right(exercise, name, solution):
    assert verdict(exercise, solution(exercise, name))[0] == RIGHT


def attention(c, heads=None, output=True):
    keys = 2 * c.dim * (heads or c.n_kv_heads) * c.head_dim
    return keys + (2 if output else 1) * c.dim * c.n_heads * c.head_dim


def norms(c):
    return 2 * c.dim + 2 * c.head_dim * c.qk_norm


def count(c, attention=attention, mlp=3, norms=norms, last=True, head=True, layers=None):
    """A count with parts to be got wrong."""
    tables = c.vocab_size * c.dim * (2 if head is True and not c.tie_embeddings else 1)
    block = attention(c) + mlp * c.dim * c.hidden_dim + norms(c)
    return tables + (layers or c.n_layers) * block + c.dim * last


def hours(n, d, peak, used):
    return 6 * n * d / peak / used / 3600


def cache(c, length, sides=2, size=2, heads=None):
    return sides * c.n_layers * (heads or c.n_kv_heads) * c.head_dim * size * length


WRONG_ANSWERS = {
    "00.share": [
        lambda bill, stage: 100 * bill[stage] / sum(bill.values()),
        lambda bill, stage: bill[stage] / (sum(bill.values()) - bill[stage]),
        lambda bill, stage: 1 - bill[stage] / sum(bill.values()),
        lambda bill, stage: bill[stage],
        lambda bill, stage: bill[stage] / max(bill.values()),
        lambda bill, stage: 1 / len(bill),
        lambda bill, stage: bill["pretraining"] / sum(bill.values()),
        lambda bill, stage: bill,
        lambda bill, stage: sum(bill.values()) / bill[stage],
        0.982,
    ],
    "00.params": [
        lambda c: count(c, head=False),
        lambda c: count(c, attention=lambda c: attention(c, heads=c.n_heads)),
        lambda c: count(c, mlp=2),
        lambda c: count(c, layers=1),
        lambda c: count(c, norms=lambda c: 0, last=False),
        lambda c: count(c, last=False),
        lambda c: count(c, norms=lambda c: 2 * c.dim),
        lambda c: count(c, attention=lambda c: attention(c, output=False)),
        lambda c: count(replace(c, head_dim=c.dim // c.n_heads)),
        lambda c: count(c, attention=lambda c: 4 * c.dim * c.dim),
        lambda c: count(c) - 2 * c.vocab_size * c.dim - c.dim,
        lambda c: count(c) + c.vocab_size * c.dim * c.tie_embeddings,
        lambda c: count(c, norms=lambda c: 2 * c.dim + 2 * c.head_dim),
        lambda c: costs.total(SHAPE),
        lambda c: 7,
        lambda c: 10**9,
        costs.parameters,
    ],
    "00.hours": [
        lambda n, d, peak, used: hours(n, d, peak, used) * 3600,
        lambda n, d, peak, used: hours(n, d, peak, used) * 60,
        lambda n, d, peak, used: hours(n, d, peak, used) / 24,
        lambda n, d, peak, used: hours(n, d, peak, used) / 3,
        lambda n, d, peak, used: hours(n, d, peak, used) * 2 / 3,
        lambda n, d, peak, used: hours(n, d, peak, 1),
        lambda n, d, peak, used: hours(n, d, peak, 1 / used),
        lambda n, d, peak, used: hours(n, d, peak, used / 100),
        lambda n, d, peak, used: 6 * n * d,
        lambda n, d, peak, used: print("no return"),
        lambda n, d, peak: 1.0,
    ],
    "00.chats": [
        lambda c, n, memory, length: (memory - 2 * n) // cache(c, length, sides=1),
        lambda c, n, memory, length: memory // cache(c, length),
        lambda c, n, memory, length: (memory - n) // cache(c, length),
        lambda c, n, memory, length: (memory - 4 * n) // cache(c, length),
        lambda c, n, memory, length: (memory - 2 * n) // cache(c, 1),
        lambda c, n, memory, length: (memory - 2 * n) // (cache(c, length) / c.n_layers),
        lambda c, n, memory, length: (memory - 2 * n) // cache(c, length, heads=c.n_heads),
        lambda c, n, memory, length: (memory - 2 * n) // (4 * c.n_layers * c.dim * length),
        lambda c, n, memory, length: (memory - 2 * n) // cache(c, length, size=4),
        lambda c, n, memory, length: (memory - 2 * n) / cache(c, length),
        lambda c, n, memory, length: math.ceil((memory - 2 * n) / cache(c, length)),
        lambda c, n, memory, length: (memory - 2 * n) // cache(c, length),
        lambda c, n, memory, length: "31",
    ],
}


REVEALS = r"6 ?[*·] ?n|3600|sum\(|218|\b0\.8\b"  # the answer


@pytest.mark.parametrize("exercise", EXERCISES)
def test_each_mistake_gets_a_sentence_that_gives_nothing_away(exercise, each_is_told):
    each_is_told(exercise, WRONG_ANSWERS[exercise], REVEALS)


def test_the_solution_of_params_holds_for_published_shapes_too(solution):
    model = costs.published("Llama 3.1 8B")
    assert solution("00.params", "count")(model.shape) == 8_030_261_248
