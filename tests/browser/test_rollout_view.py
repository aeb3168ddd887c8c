"""`RolloutView` as a learner meets it."""

import pytest

MAKE = """
import llmlab
from llmlab import kitchen
from llmlab.chat import Sample
from llmlab.widgets.rollout_view import RolloutView

tokenizer = llmlab.setup().tokenizer()
encode = tokenizer.to_tiktoken().encode_ordinary


def rollout(request, text, reward, advantage, gap):
    ids = encode(text)
    parts = {"asked": 1.0, "once": reward - 1}
    signs = [advantage * (1 if i % 2 else -1) for i in range(len(ids))]
    kl, score = [gap * i for i in range(len(ids))], kitchen.judge(request, text)
    return Sample(request, [], ids, text, score, reward, parts, signs, kl)


def group(reward, gap):
    answers = ("Leek Soup: leek, cream.", "Rice Pan: rice, rice, rice.", "Tofu: tofu, kale.")
    found = [rollout("I have leek.", a, reward + i / 4, 1.5 - i, gap)
             for i, a in enumerate(answers)]
    return found + [rollout(HOSTILE, HOSTILE, 1.0, -0.5, -gap)]


HOSTILE = "<script>window.hacked = 1</script><img src=x onerror='hacked = 2'>\\u202e\\u200b\\x07"
view = RolloutView({1: group(1.0, 0.0), 20: group(1.25, 0.1), 40: group(1.5, 0.4)}, tokenizer)
view
"""
ROOT = ".ll-rollouts"


@pytest.fixture
def page(jupyter):
    """A notebook with one view of three steps, run."""
    return jupyter.show("rollouts.ipynb", f"{ROOT} .ll-token", MAKE)


def said(page) -> str:
    return page.locator(f"{ROOT} .ll-step").inner_text()


def details(page) -> str:
    return page.locator(f"{ROOT} .ll-details").inner_text()


def words(page, number: int) -> list[str]:
    """An answer's tokens."""
    box = page.locator(f"{ROOT} .ll-answer").nth(number)
    return box.locator(".ll-token").all_text_contents()


def looks(page, number: int) -> list[tuple[str, str]]:
    """Wash and line of each token of an answer."""
    tokens = page.locator(f"{ROOT} .ll-answer").nth(number).locator(".ll-token")
    return tokens.evaluate_all(
        "all => all.map(t => [t.style.background, t.style.borderBottomStyle])"
    )


def test_it_opens_on_the_last_step(page):
    assert said(page) == "step 40, mean reward of these 4: 1.56"
    assert "".join(words(page, 0)) == "Leek·Soup:·leek,·cream."
    assert page.locator(f"{ROOT} .ll-request").count() == 2  # a group has one request above it
    earned = page.locator(f"{ROOT} .ll-earned").all_inner_texts()
    assert earned[0] == "reward 1.5: asked 1, once 0.5" and len(earned) == 4


def test_the_slider_by_keys_goes_back_in_time(jupyter, page):
    slider = page.get_by_label("step", exact=True)
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert said(page).startswith("step 20,") and slider.get_attribute("aria-valuetext") == "step 20"
    page.keyboard.press("Home")
    assert said(page) == "step 1, mean reward of these 4: 1.19"
    # The page sends its last step once the kernel has taken in those before.
    assert "1\n" in [jupyter.execute(page, "print(view.step)") for _ in range(20)]
    jupyter.execute(page, "view.step = 40")
    page.wait_for_function(f"() => document.querySelector('{ROOT} .ll-step')"
                           ".innerText.startsWith('step 40')")  # fmt: skip
    assert slider.input_value() == "2"


def test_colours_by_advantage_and_by_kl(page):
    first = looks(page, 0)
    assert first[0][0].startswith("rgba(213, 94, 0") and first[0][1] == "dotted"
    assert first[1][0].startswith("rgba(0, 114, 178") and first[1][1] == "solid"
    page.get_by_label("KL to the reference").check()
    by_kl = looks(page, 0)
    assert {line for _, line in by_kl[1:]} == {"solid"} and by_kl[0] != first[0]
    assert "log(policy / reference)" in page.locator(f"{ROOT} .ll-legend").inner_text()
    assert {line for _, line in looks(page, 3)[1:]} == {"dotted"}  # rarer than in the reference
    page.keyboard.press("ArrowLeft")  # radios go by arrows
    assert looks(page, 0) == first


def test_tokens_by_mouse_and_keys(page):
    page.locator(f"{ROOT} .ll-token").nth(1).hover()
    second = words(page, 0)[1]
    assert details(page).startswith(f"“{second}”: advantage +1.50, so it is made likelier;")
    assert "reward 1.5, KL +" in details(page)
    page.locator(f"{ROOT} h5").hover()
    assert details(page).startswith("Point at a token")
    page.locator(f"{ROOT} .ll-list").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    assert page.locator(f"{ROOT} .ll-active").text_content() == words(page, 1)[1]
    assert "ll-chosen" in page.locator(f"{ROOT} .ll-answer").nth(1).get_attribute("class")
    listbox = page.locator(f"{ROOT} .ll-list")
    active = listbox.get_attribute("aria-activedescendant")
    assert page.locator(f"[id='{active}']").text_content() == words(page, 1)[1]
    page.keyboard.press("b")  # in Jupyter: a new cell below
    page.keyboard.press("End")
    assert page.locator(f"{ROOT} .ll-active").text_content() == "."
    assert page.locator(".jp-Notebook .jp-Cell").count() == 1
    assert listbox.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"


def test_dark_and_light(jupyter, page, pictures):
    page.locator(f"{ROOT} .ll-token").nth(1).click()
    parts = (".ll-token", ".ll-earned", ".ll-request", ".ll-legend", ".ll-details", "h5")
    jupyter.check_looks(page, ".ll-rollouts", parts, pictures / "rollout-view")
