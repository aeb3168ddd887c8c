"""What `RolloutView` sends and draws, without a page."""

import json
import re
from html import unescape

import pytest
import traitlets

from llmlab import kitchen
from llmlab.chat import Sample
from llmlab.widgets.rollout_view import ANSWERS, RolloutView, chip


def rollout(tokenizer, text="leek, leek.", request="I have leek.", reward=0.5, advantage=None):
    ids = tokenizer.encode(text)
    advantage = advantage or [(-1) ** i * 2.0 for i in range(len(ids))]
    parts = {"asked": 1.0, "once": 0.5}
    kl, score = [0.25 * i for i in range(len(ids))], kitchen.judge(request, text)
    return Sample(request, [], ids, text, score, reward, parts, advantage, kl)


@pytest.fixture
def tokenizer(small):
    return small[1]


@pytest.fixture
def view(tokenizer):
    steps = {
        40: [rollout(tokenizer, reward=1.5)] * 3,
        1: [rollout(tokenizer), rollout(tokenizer, "Stir.", "What <b>now</b>?", 0.0)],
        8: [rollout(tokenizer)],
    }
    return RolloutView(steps, tokenizer, "A run")


def text(html: str) -> str:
    return unescape(re.sub(r"<[^>]+>", "", html))


def test_steps_stand_in_order_and_it_opens_on_the_last(view):
    assert [frame["step"] for frame in view._frames] == [1, 8, 40] and view.step == 40
    assert repr(view) == (
        "RolloutView: A run; 3 steps, mean reward of the answers shown 0.25 to 1.50"
    )


def test_an_answer_travels_token_by_token(view, tokenizer):
    answer = view._frames[0]["answers"][0]
    ids = tokenizer.encode("leek, leek.")
    assert len(answer["tokens"]) == len(ids)
    assert "".join(word for word, _, _ in answer["tokens"]) == "leek,·leek."
    assert [token[1:] for token in answer["tokens"][:3]] == [[2, 0], [-2, 0.25], [2, 0.5]]
    assert answer["parts"] == [["asked", 1.0], ["once", 0.5]] and answer["reward"] == 0.5


@pytest.mark.parametrize(("asked", "shown"), [(1, 1), (3, 1), (7, 8), (30, 40), (999, 40)])
def test_another_step_is_the_nearest_that_is_kept(view, asked, shown):
    view.step = asked
    assert view.step == shown


def test_the_page_can_choose(view):
    view.set_state({"step": 8, "colour": "kl"})
    assert (view.step, view.colour) == (8, "kl")
    with pytest.raises(traitlets.TraitError):
        view.colour = "taste"


@pytest.mark.parametrize("steps", [{}, {1: []}])
def test_without_answers_there_is_no_view(steps, tokenizer):
    with pytest.raises(ValueError, match="answers in each"):
        RolloutView(steps, tokenizer)


def test_values_that_do_not_fit_the_tokens_are_refused(tokenizer):
    with pytest.raises(ValueError):
        RolloutView({1: [rollout(tokenizer, advantage=[1.0])]}, tokenizer)


def test_of_many_answers_the_first_are_kept(tokenizer):
    view = RolloutView({i: [rollout(tokenizer)] * 200 for i in range(10)}, tokenizer)
    assert {len(frame["answers"]) for frame in view._frames} == {ANSWERS}
    assert len(json.dumps(view.get_state(["_frames"]))) < 200_000
    assert len(view._static_html()) < 40_000


def test_colour_is_never_the_only_sign():
    assert "rgba(0,114,178,0.50)" in chip("a", 1.0) and "solid" in chip("a", 1.0)
    assert "rgba(213,94,0,0.25)" in chip("a", -0.5) and "dotted" in chip("a", -0.5)
    assert chip("a", 7.0) == chip("a", 1.0)  # no deeper than the deepest
    assert "border-bottom:0px" in chip("a", 0.0)


def test_the_static_picture_shows_the_first_step_and_the_one_on_show(view):
    data, _ = view._repr_mimebundle_()
    html = data["text/html"]
    assert data["text/plain"] == repr(view)
    assert "class=" not in html and "http" not in html
    assert text(html).index("step 1") < text(html).index("step 40") and "step 8" not in text(html)
    assert text(html).count("I have leek.") == 2  # once above its answers
    assert "reward 0.5: asked 1, once 0.5" in text(html)
    view.step = 1
    assert "step 40" not in text(view._static_html())
    before = view._static_html()
    view.colour = "kl"
    assert "coloured by KL" in text(view._static_html()) and view._static_html() != before
