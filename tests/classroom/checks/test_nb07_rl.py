"""Notebook 07's checks: the notebook's solutions pass, each mistake gets a sentence of its own."""

import pytest
import torch

from llmlab.classroom import verdict
from llmlab.classroom.checks import nb07_rl
from llmlab.classroom.exercises import RIGHT
from llmlab.kitchen import read_answer

SPACE = {"torch": torch, "read_answer": read_answer}  # what the cells above bring
EXERCISES = {
    "07.reinforce": "reinforce",
    "07.clipped": "clipped",
    "07.nothing_twice": "nothing_twice",
    "07.loophole": "loophole",
}


@pytest.mark.parametrize(("exercise", "name"), EXERCISES.items())
def test_the_notebooks_solution_is_right(exercise, name, solution):
    assert verdict(exercise, solution(exercise, name, **SPACE))[0] == RIGHT


def push(probs, drawn, rewards, sign=1, whole=True):
    """REINFORCE with parts to be got wrong: (n, V)."""
    hot = torch.eye(len(probs))[drawn]
    return sign * rewards[:, None] * (hot - probs if whole else hot)


def ppo(logp, old, advantage, mask, clip, low=None, high=None, smaller=torch.minimum, ratio=None):
    """The clipped gain of each token, with parts to be got wrong."""
    ratio = torch.exp(logp - old) if ratio is None else ratio
    held = ratio.clamp(1 - clip if low is None else low, 1 + clip if high is None else high)
    return smaller(ratio * advantage, held * advantage)


def loss(gain, mask):
    return -(gain * mask).sum() / mask.sum()


def items(answer):
    return read_answer(answer)[1]


def new(found):
    return len(set(found)) / len(found) if found else 1.0


def dish(foods, *more):
    return f"A Dish: {', '.join([*foods, *more])}."


HERBS = ("parsley", "thyme", "basil", "mint", "kale", "spinach")
WRONG_ANSWERS = {
    "07.reinforce": [
        lambda p, d, r: push(p, d, r).sum(0),
        lambda p, d, r: -push(p, d, r).mean(0),
        lambda p, d, r: push(p, d, torch.ones(len(d))).mean(0),
        lambda p, d, r: push(p, d, r, whole=False).mean(0),
        lambda p, d, r: r.mean() * push(p, d, torch.ones(len(d))).mean(0),
        lambda p, d, r: (push(p, d, r, whole=False) - p).mean(0),
        lambda p, d, r: (push(p, d, r, whole=False) / p).mean(0),
        lambda p, d, r: push(p, d, r - r.mean()).mean(0),
        lambda p, d, r: push(p, d, r * p[d]).mean(0),
        lambda p, d, r: push(p, d, r),
        lambda p, d, r: push(p, d, r).mean(),
        lambda p, d, r: p,
        lambda p, d, r: p.sub_(1) and None,
        lambda p, d: p,
    ],
    "07.clipped": [
        lambda n, o, a, m, c: -loss(ppo(n, o, a, m, c), m),
        lambda n, o, a, m, c: loss(torch.exp(n - o) * a, m),
        lambda n, o, a, m, c: loss(torch.exp(n - o).clamp(1 - c, 1 + c) * a, m),
        lambda n, o, a, m, c: loss(ppo(n, o, a, m, c, smaller=torch.maximum), m),
        lambda n, o, a, m, c: loss(ppo(n, o, a, m, c, ratio=n - o), m),
        lambda n, o, a, m, c: loss(ppo(n, o, a, m, c, ratio=n / o), m),
        lambda n, o, a, m, c: loss(ppo(n, o, a, m, c, ratio=torch.exp(o - n)), m),
        lambda n, o, a, m, c: -ppo(n, o, a, m, c).mean(),
        lambda n, o, a, m, c: -(ppo(n, o, a, m, c) * m).mean(),
        lambda n, o, a, m, c: -(ppo(n, o, a, m, c) * m).sum(),
        lambda n, o, a, m, c: -((ppo(n, o, a, m, c) * m).sum(1) / m.sum(1)).mean(),
        lambda n, o, a, m, c: loss(ppo(n, o, a, m, c, low=-9.0), m),
        lambda n, o, a, m, c: loss(ppo(n, o, a, m, c, low=-c, high=c), m),
        lambda n, o, a, m, c: loss(
            torch.minimum(torch.exp(n - o) * a, (torch.exp(n - o) * a).clamp(1 - c, 1 + c)), m),
        lambda n, o, a, m, c: ppo(n, o, a, m, c) * m,
        lambda n, o, a, m, c: loss(ppo(n, o, a, m, 0.2), m),
        lambda n, o, a, m, c: 0.5,
        lambda n, o, a, m: 0.5,
    ],
    "07.nothing_twice": [
        lambda q, t: new(t.split(": ")[1].split(", ")),
        lambda q, t: len(set(items(t))),
        lambda q, t: len(items(t)) - len(set(items(t))),
        lambda q, t: 1 - new(items(t)),
        lambda q, t: float(new(items(t)) == 1),
        lambda q, t: len(set(items(t))) - len(items(t)),
        lambda q, t: new(items(t)) - 1,
        lambda q, t: new(" ".join(items(t)).split()),
        lambda q, t: len({*items(t), t.split(":")[0]}) / (len(items(t)) + 1),
        lambda q, t: len(set(items(t)) & {"leek", "rice"}) / len(items(t)),
        lambda q, t: len(set(t)) / len(t),
        lambda q, t: 1.0,
        lambda q, t: len(set(items(t))) / len(items(t)),
        lambda q, t: new(items(t)) ** 2,
        lambda q, t: {"Rice Soup: rice, leek, parsley.": 1.0}[t],
        lambda q: 1.0,
    ],
    "07.loophole": [
        lambda f, n: dish(f, *f),
        lambda f, n: dish(f[:1] if len(f) > 1 else ["rice"]),
        lambda f, n: dish(f, *HERBS[: n - len(f)]),
        lambda f, n: [*f],
        lambda f, n: "Leek Rice: zucchini, rice, potatoes, garlic, carrots, salmon.",
        lambda f, n: f"Plate {n}: olive oil.",
        lambda f, n: dish(f[:-1]) if len(f) == 3 else dish(f),
        lambda f, n: dish(f, HERBS[n]) if n == 5 else dish(f, f[0]),
        lambda f, n: f[3],
        lambda f: "A Dish: leek.",
        lambda f, n: f.clear(),
    ],
}  # fmt: skip


REVEALS = r"- probs|eye\(|exp\(|set\(|len\(|minimum|number of ingredients"  # the answer


@pytest.mark.parametrize("exercise", EXERCISES)
def test_each_mistake_gets_a_sentence_that_gives_nothing_away(exercise, each_is_told):
    each_is_told(exercise, WRONG_ANSWERS[exercise], REVEALS)


def test_a_run_takes_the_learners_term_once_it_is_right(capsys, solution):
    def open_gap(request, answer):
        raise NotImplementedError()

    right = solution("07.nothing_twice", "nothing_twice", **SPACE)
    assert nb07_rl.yours("07.nothing_twice", right, nb07_rl.once_share) is right
    for other in (open_gap, lambda q, t: 1.0, None):
        assert nb07_rl.yours("07.nothing_twice", other, nb07_rl.once_share) is nb07_rl.once_share
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "07.nothing_twice: yours." and said[1].endswith("until yours is right.")


def test_any_rule_that_is_not_paid_for_is_a_loophole():
    for cheat in (
        lambda foods, number: dish(foods, *HERBS),
        lambda foods, number: ", ".join(foods),
        lambda foods, number: dish(foods)[:-1],
    ):
        assert verdict("07.loophole", cheat)[0] == RIGHT
