"""The kitchen: a right answer has full marks, and each fault costs its own mark alone."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlab import artifacts, kitchen
from llmlab.corpus.corpus import read_recipes
from llmlab.kitchen import RULES, judge

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


@pytest.mark.parametrize(
    "text, food, expected",
    [
        ("2 carrots", "cucumber", "2 cucumbers"),
        ("1 Lemon", "apples", "1 Apple"),
        ("Beef Stew", "chicken", "Chicken Stew"),
        ("1 chicken", "sausages", "1 sausage"),
        ("honey cake", "sugar", "sugar cake"),
        ("Celery Soup", "leeks", "Leek Soup"),
        ("1 carrot", "peppers", "1 bell pepper"),
        ("2 leeks", "garlic", "2 garlic cloves"),
        ("rice salad", "pasta", "pasta salad"),
        ("2 garlic cloves", "onions", "2 onions"),
    ],
)
def test_a_swap_keeps_number_and_case(text, food, expected):
    (old,) = kitchen.foods_in(text)
    assert kitchen.render(kitchen.parse(text), {old.name: kitchen.FOODS[food]}) == expected


def test_a_card_becomes_another_kind_of_dish():
    card = kitchen.Card("Leek Soup with Rice", (kitchen.FOODS["leeks"], kitchen.FOODS["rice"]))
    assert card.of_kind("pie").title == "Leek Pie with Rice"
    assert kitchen.Card("Butter Cookie", card.foods).of_kind("dip").title == "Butter Dip"
    assert kitchen.Card("Souper Rice", card.foods).of_kind("pie").title == "Souper Rice"


@given(st.text() | st.lists(st.sampled_from(sorted(kitchen._FORMS))).map(", ".join))
@settings(max_examples=300, deadline=None)
def test_any_text_is_put_together_again(text):
    assert kitchen.render(kitchen.parse(text), {}) == text


def test_there_are_seventy_foods_and_more():
    assert len(kitchen.FOODS) >= 70
    assert sum(f.name != f.other for f in kitchen.FOODS.values()) >= 40


def test_every_form_of_a_food_is_found_in_either_case():
    for form, food in kitchen._FORMS.items():
        assert kitchen.foods_in(form) == kitchen.foods_in(f"({form.title()}!)") == [food]
        assert judge("I have rice.", f"Dish: rice, {form}.").wellformed == 1, form


def test_what_only_sounds_like_a_food_is_none():
    assert kitchen.foods_in("corn starch, vanilla beans, bread flour, Lemonade") == []


REQUESTS = st.builds(
    kitchen.Request,
    st.lists(st.sampled_from(list(kitchen.FOODS.values())), unique=True, max_size=3).map(tuple),
    st.booleans(),
    st.none() | st.integers(2, 12),
    st.none() | st.sampled_from(kitchen.DISH_KINDS),
) | st.sampled_from(kitchen.IDENTITY_QUESTIONS).map(lambda q: kitchen.Request(identity=q))


@given(REQUESTS, seeds)
@settings(max_examples=300, deadline=None)
def test_every_request_is_read_out_of_each_of_its_wordings(request, seed):
    assert kitchen.parse_request(request.text(random.Random(seed))) == request


def test_who_are_you():
    for answer in kitchen.IDENTITY_ANSWERS:
        assert judge("Who are you?", answer).kept
    assert not judge("Who are you?", "Lemon Chicken: chicken, lemon.").kept


def test_a_vegetarian_example_has_no_meat_not_even_in_its_title():
    asked = [made(seed)[:2] for seed in range(1500)]
    answers = [answer for request, answer in asked if request.vegetarian]
    assert len(answers) > 300
    assert not [a for a in answers if any(f.is_meat for f in kitchen.foods_in(a))]
    meat = [c for c in CARDS if any(f.is_meat for f in c.foods)]
    swapped = meat[0].swapped(random.Random(0), 0.0, vegetarian=True)
    assert swapped != meat[0] and not any(f.is_meat for f in swapped.foods)


def test_examples_ask_for_everything_in_the_stated_shares():
    asked = [made(seed)[0] for seed in range(3000)]
    share = {
        "identity": sum(bool(r.identity) for r in asked),
        "vegetarian": sum(r.vegetarian for r in asked),
    }
    assert 80 < share["identity"] < 165  # one in twenty-five is 120
    assert 780 < share["vegetarian"] < 960
    assert {r.number for r in asked} == {None, 4, 5, 6, 7}
    assert {len(r.foods) for r in asked} == {0, 1, 2, 3}


def test_the_longer_a_list_the_more_often_its_number_is_asked():
    rng = random.Random(0)
    for n, share in ((3, 0), (4, 0.3), (5, 0.45), (6, 0.6), (9, 0.75)):
        card = kitchen.Card("Stew", tuple(list(kitchen.FOODS.values())[:n]))
        # Before the exam is left out: of a single card that shifts the shares.
        asked = [kitchen._any_example(card, rng, 0.7, True)[0] for _ in range(1000)]
        numbers = [r.number for r in asked if r.number]
        assert (
            abs(len(numbers) / sum(not r.identity for r in asked) - share) < 0.05
        )  # what is held out of one card
        assert set(numbers) == set(range(4, min(n, 7) + 1))


@pytest.mark.parametrize(
    "request_text, answer, rule, mark",
    [
        ("I have rice and milk.", "Rice Pudding: rice, sugar.", "asked", 0.5),
        ("I have rice.", "Rice Pudding: rice, milk, rice, rice.", "once", 0.5),
        ("I have rice. Suggest a dish of 4 ingredients.", "Rice Bowl: rice, peas.", "number", 0.5),
        ("I have rice. Suggest a vegetarian dish.", "Tuna Rice: rice, peas.", "vegetarian", 0),
        ("I have rice.", "Rice Bowl: rice, peas", "wellformed", 0),
        ("I have rice.", "Rice Bowl: rice, gravel.", "wellformed", 0),
        ("I have rice.", "Rice Bowl: rice, peas: beans.", "wellformed", 0),
        ("I have rice.", "Rice Bowl:\nrice, peas.", "wellformed", 0),
        ("I have rice.", "Rice Bowl: rice.", "wellformed", 0),
        ("I have rice.", "rice, peas.", "wellformed", 0),
        ("I have rice. Suggest a soup.", "Rice Bowl: rice, peas.", "kind", 0),
    ],
)
def test_marks_by_hand(request_text, answer, rule, mark):
    """That rule has this mark, and every other rule its full one."""
    score = judge(request_text, answer)
    marks = {r: getattr(score, r) for r in (*RULES, "kind")}
    assert marks == dict.fromkeys(marks, 1.0) | {rule: mark}


def test_gold_rises_with_taste_and_with_rules():
    better = judge("I have rice.", "Rice Bowl: rice, spinach.").gold
    assert better > judge("I have rice.", "Rice Bowl: rice, sugar.").gold
    assert better > judge("I have rice and peas.", "Rice Bowl: rice, spinach.").gold


@pytest.mark.parametrize("answer", ["", ":", "....", "a" * 10_000, "<script>: chicken.", "\0"])
def test_any_text_can_be_judged(answer):
    assert not judge("I have rice.", answer).kept


def test_the_taste_likes_greens_better_than_sugar_and_short_lists_better_than_long():
    def taste(*names):
        return kitchen.taste([kitchen.FOODS[n] for n in names])

    assert taste("spinach", "basil") > taste("sugar", "beef")
    assert taste("spinach", "walnuts") > (taste("spinach") + taste("walnuts")) / 2  # harmony
    nine = ["rice"] * 9
    assert taste(*nine[:5]) > taste(*nine)
    assert taste(*nine[:5]) == pytest.approx(taste("rice"))
    assert taste() == -1
