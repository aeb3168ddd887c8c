"""Notebook 05's checks: the notebook's solutions pass, each mistake gets a sentence of its own."""

import pytest
import torch

from llmlab.classroom import verdict
from llmlab.classroom.exercises import RIGHT

EXERCISES = {
    "05.conversation": "conversation",
    "05.answer_mask": "answer_mask",
    "05.asked_first": "asked_first",
    "05.lora": "lora",
}


@pytest.mark.parametrize(("exercise", "name"), EXERCISES.items())
def test_the_notebooks_solution_is_right(exercise, name, solution):
    assert verdict(exercise, solution(exercise, name))[0] == RIGHT


def talk(turns, encode, u, a, e, turn=lambda u, r, a, t, e: [u, *r, a, *t, e]):
    """A talk whose turns are put together by a function that may be wrong."""
    return [i for r, t in turns for i in turn(u, encode(r), a, encode(t), e)]


def put_together(turn):
    return lambda *given: talk(*given, turn=turn)


def mask_by(ids, a, e, on=(True, False), shift=0):
    """A mask with parts to be got wrong: on = (at the assistant's mark, at the end)."""
    out, answering = [], False
    for i in ids:
        answering = on[0] if i == a else on[1] if i == e else answering
        out.append(answering)
    return ([False] * shift + out)[: len(ids) - 1]


def first_only(ids, a, e):
    mask = mask_by(ids, a, e)
    return [m and i < ids.index(e) for i, m in enumerate(mask)]


def last_only(ids, a, e):
    mask = mask_by(ids, a, e)
    return [m and i >= len(ids) - 1 - ids[::-1].index(a) for i, m in enumerate(mask)]


def edits(foods, asked, number):
    for food in asked:
        foods.remove(food)
    return [*asked, *foods][:number]


def corrected(x, weight, down, up, factor):
    return x @ weight.T + factor * (x @ down.T) @ up.T


WRONG_ANSWERS = {
    "05.conversation": [
        put_together(lambda u, r, a, t, e: [u, *r, a, *t]),
        lambda *given: [*put_together(lambda u, r, a, t, e: [u, *r, a, *t])(*given), given[-1]],
        lambda *given: talk(*given)[:-1],
        put_together(lambda u, r, a, t, e: [u, *r, e, a, *t, e]),
        put_together(lambda u, r, a, t, e: [a, *r, u, *t, e]),
        put_together(lambda u, r, a, t, e: [u, *t, a, *r, e]),
        lambda turns, *more: talk(turns[:1], *more),
        lambda turns, *more: talk(turns[-1:], *more),
        lambda turns, *more: talk(turns[::-1], *more),
        put_together(lambda u, r, a, t, e: [u, *r, *t, e]),
        put_together(lambda u, r, a, t, e: [*r, a, *t, e]),
        put_together(lambda u, r, a, t, e: [*r, *t]),
        lambda *given: [given[2], *put_together(lambda u, r, a, t, e: [*r, a, *t, e])(*given)],
        put_together(lambda u, r, a, t, e: [u, r, a, t, e]),
        lambda turns, encode, u, a, e: [x for r, t in turns for x in (u, r, a, t, e)],
        lambda turns, encode, u, a, e: talk(turns, encode, 1, 2, 3),
        lambda turns, encode, u, a, e: talk(turns, encode, u, a, e) or [e],
        lambda turns, *more: talk([turns.pop(0), turns[0]], *more),
        lambda turns, encode, u, a, e: encode(turns),
        lambda *given: "".join(map(str, talk(*given))),
    ],
    "05.answer_mask": [
        lambda ids, a, e: [*mask_by(ids, a, e), False],
        lambda ids, a, e: mask_by(ids, a, e, shift=1),
        lambda ids, a, e: [m and i != e for m, i in zip(mask_by(ids, a, e), ids[1:], strict=True)],
        lambda ids, a, e: [m or i == a for m, i in zip(mask_by(ids, a, e), ids[1:], strict=True)],
        lambda ids, a, e: [m or i == e for m, i in zip(mask_by(ids, a, e), ids, strict=False)],
        first_only,
        last_only,
        lambda ids, a, e: mask_by(ids, a, e, on=(True, True)),
        lambda ids, a, e: [not m for m in mask_by(ids, a, e)],
        lambda ids, a, e: [i == a for i in ids[:-1]],
        lambda ids, a, e: [m and i != a for m, i in zip(mask_by(ids, a, e), ids, strict=False)],
        lambda ids, a, e: [True] * (len(ids) - 1),
        lambda ids, a, e: [False] * (len(ids) - 1),
        lambda ids, a, e: [i if m else -100 for m, i in zip(mask_by(ids, a, e), ids[1:],
                                                            strict=True)],
        lambda ids, a, e: [x == "x" for x in "...xxx...xx"],
        lambda ids, a, e: mask_by(ids, a, e)[: ids.index(e)],
        lambda ids, a, e: ids.clear() or [],
        lambda ids, a: mask_by(ids, a, 3),
    ],
    "05.asked_first": [
        lambda foods, asked, number: [*asked, *(f for f in foods if f not in asked)],
        lambda foods, asked, number: [*asked, *foods][:number],
        lambda foods, asked, number: [
            *(f for f in foods if f in asked), *(f for f in foods if f not in asked)][:number],
        lambda foods, asked, number: foods[:number],
        lambda foods, asked, number: [*asked, *(f for f in foods[:number] if f not in asked)],
        lambda foods, asked, number: [*asked, *[f for f in foods if f not in asked][:number]],
        lambda foods, asked, number: asked[:number],
        lambda foods, asked, number: [*(f for f in foods if f not in asked), *asked][:number],
        lambda foods, asked, number: [
            *[f for f in foods if f not in asked][: number - len(asked)], *asked],
        lambda foods, asked, number: [*asked, *[f for f in foods if f not in asked][::-1]][:number],
        lambda foods, asked, number: [*asked, *(f for f in foods if f not in asked)][: number - 1],
        lambda foods, asked, number: sorted({*foods, *asked})[:number],
        lambda foods, asked, number: [*asked, *(f for f in foods if f not in asked)][: number or 0],
        lambda foods, asked, number: ["garlic", "beef", "rice", "onions"],
        edits,
        lambda foods, asked, number: ", ".join(edits(foods[:], asked, number)),
        lambda foods, asked: foods,
    ],
    "05.lora": [
        lambda x, w, down, up, alpha: x @ w.T,
        lambda x, w, down, up, alpha: alpha / len(down) * (x @ down.T) @ up.T,
        lambda x, w, down, up, alpha: corrected(x, w, down, up, 1),
        lambda x, w, down, up, alpha: corrected(x, w, down, up, alpha),
        lambda x, w, down, up, alpha: corrected(x, w, down, up, len(down) / alpha),
        lambda x, w, down, up, alpha: corrected(x, w, down, up, alpha / down.shape[1]),
        lambda x, w, down, up, alpha: corrected(x, w, down, up, alpha / len(up)),
        lambda x, w, down, up, alpha: corrected(x, w, down, up, alpha / len(down) ** 0.5),
        lambda x, w, down, up, alpha: corrected(x, w, down, up, 1) * alpha / len(down),
        lambda x, w, down, up, alpha: corrected(x, w, down, up, -alpha / len(down)),
        lambda x, w, down, up, alpha: x @ w.T * (alpha / len(down) * (x @ down.T) @ up.T),
        lambda x, w, down, up, alpha: x @ (w + alpha / len(down) * up @ down).T,
        lambda x, w, down, up, alpha: corrected(x, w, down, up, alpha / 3),
        lambda x, w, down, up, alpha: corrected(x, w.add_(1), down, up, alpha / len(down)),
        lambda x, w, down, up, alpha: x @ w,
        lambda x, w, down, up, alpha: corrected(x, w, down, up, alpha / len(down)).T,
        lambda x, w, down, up, alpha: corrected(x, w, down, up, alpha / len(down)).tolist(),
        lambda x, w, down, up: corrected(x, w, down, up, 1 / len(down)),
    ],
}  # fmt: skip

REVEALS = r"\[:number\]|not in asked|ids\[:-1\]|len\(down\)|alpha / |\.T\b|@"  # the answer


@pytest.mark.parametrize("exercise", EXERCISES)
def test_each_mistake_gets_a_sentence_that_gives_nothing_away(exercise, each_is_told):
    each_is_told(exercise, WRONG_ANSWERS[exercise], REVEALS)


@pytest.mark.parametrize("kind", [torch.tensor, tuple, lambda mask: [int(m) for m in mask]])
def test_a_mask_may_be_a_tensor_or_hold_noughts_and_ones(kind):
    assert verdict("05.answer_mask", lambda *given: kind(mask_by(*given)))[0] == RIGHT
