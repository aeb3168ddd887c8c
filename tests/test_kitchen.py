"""The kitchen: a right answer has full marks, and each fault costs its own mark alone."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlab import artifacts, kitchen
from llmlab.kitchen import RULES, judge
from llmlab.stages.data import read_recipes

HOUSE = read_recipes(artifacts.data_dir() / "house" / "recipes.json")
CARDS = [r.card() for r in HOUSE if r.card()]
seeds = st.integers(0, 10**6)


def made(seed: int):
    rng = random.Random(seed)
    request, answer = kitchen.example(rng.choice(CARDS), rng)
    return request, answer, rng


@given(seeds)
@settings(max_examples=300, deadline=None)
def test_a_cards_own_answer_has_full_marks(seed):
    request, answer, rng = made(seed)
    score = judge(request, answer)
    assert score.kept and score.kind == 1
    assert kitchen.parse_request(request.text(rng)) == request


def lowered(request, answer, worse) -> set[str]:
    before, after = judge(request, answer), judge(request, worse)
    return {rule for rule in RULES if getattr(after, rule) < getattr(before, rule)}


@given(seeds)
@settings(max_examples=200, deadline=None)
def test_each_fault_lowers_its_own_mark_alone(seed):
    request, answer, rng = made(seed)
    if request.identity:
        return
    title, items = kitchen.read_answer(answer)

    def rebuilt(items):
        return f"{title}: {', '.join(items)}."

    others = [f.name for f in kitchen.FOODS.values() if f.name not in items and not f.is_meat]
    swapped = [rng.choice(others) if i == request.foods[0].name else i for i in items]
    assert lowered(request, answer, rebuilt(swapped)) == {"asked"}
    assert lowered(request, answer, rebuilt([*items, items[0]])) == {"once"}
    assert lowered(request, answer, answer.removesuffix(".")) == {"wellformed"}
    if request.number:
        assert lowered(request, answer, rebuilt([*items, others[0]])) == {"number"}
    if request.vegetarian:
        meat = replace(request, number=None)
        assert lowered(meat, answer, rebuilt([*items, "bacon"])) == {"vegetarian"}


@given(seeds)
@settings(max_examples=100, deadline=None)
def test_swaps_stay_in_the_family_and_never_meet(seed):
    rng = random.Random(seed)
    foods = rng.sample(list(kitchen.FOODS.values()), 6)
    swaps = kitchen.draw_swaps(foods, rng, 0.8, vegetarian=True)
    assert len({f.name for f in swaps.values()} | {f.name for f in foods}) == 6 + len(swaps)
    for food in foods:
        if food.name in swaps:
            assert swaps[food.name].family == food.family and not swaps[food.name].is_meat


def test_text_is_parsed_and_put_together_again():
    text = "Chop 2 Carrots, an onion and 3 cloves garlic; no corn starch. Carrot soup!"
    pieces = kitchen.parse(text)
    assert kitchen.render(pieces, {}) == text
    assert [f.name for f in kitchen.foods_in(text)] == ["carrots", "onions", "garlic"]
    swapped = kitchen.render(pieces, {"carrots": kitchen.FOODS["leeks"]})
    assert "Leeks" in swapped and "Leek soup" in swapped


def test_there_are_seventy_foods_and_more():
    assert len(kitchen.FOODS) >= 70
    assert sum(f.name != f.other for f in kitchen.FOODS.values()) >= 40


def test_the_held_out_requests_are_fixed_and_have_their_shares():
    requests = kitchen.held_out_requests()
    assert requests == kitchen.held_out_requests() and len(requests) == 300
    assert [sum(len(r.foods) == n for r in requests) for n in (1, 2, 3)] == [100, 100, 100]
    assert 60 <= sum(r.vegetarian for r in requests) <= 120
    assert 60 <= sum(r.number is not None for r in requests) <= 120
    assert not any(f.is_meat for r in requests if r.vegetarian for f in r.foods)


@pytest.mark.parametrize("answer", ["", ":", "....", "a" * 10_000, "<script>: chicken.", "\0"])
def test_any_text_can_be_judged(answer):
    assert not judge("I have rice.", answer).kept


def test_the_taste_likes_greens_better_than_sugar_and_short_lists_better_than_long():
    def taste(*names):
        return kitchen.taste([kitchen.FOODS[n] for n in names])

    assert taste("spinach", "basil") > taste("sugar", "beef")
    nine = ["rice"] * 9
    assert taste(*nine[:5]) > taste(*nine)
