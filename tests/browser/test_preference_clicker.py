"""`PreferenceClicker` as a learner meets it."""

import json

import pytest

MAKE = """
from pathlib import Path
from llmlab.widgets.preference_clicker import PreferenceClicker

DUELS = [
    ("What can I cook with rice?", "Rice Bowl: rice, kale, mint, walnuts, lemon.",
     "Rice Pudding: rice, milk, sugar, cinnamon, butter, eggs."),
    ("Give me a soup with leeks.", "Leek Soup: leeks, cream.", "Hot Soup: chile, beef, corn."),
    ("<script>window.hacked = 1</script> <b>bold</b>",
     "<img src=x onerror='hacked = 2'>: " + "a" * 300 + ", \\u202eback.", "no colon at all"),
]
clicker = PreferenceClicker(DUELS, Path("clicks.json"), [(1.0, -1.0), (0.2, 0.5), (0.0, 0.0)])
clicker
"""
ROOT = ".jp-OutputArea-output .ll-prefer"


@pytest.fixture
def page(jupyter):
    """A notebook with the clicker, its cell run; nothing was clicked before."""
    (jupyter.folder / "clicks.json").unlink(missing_ok=True)
    return opened(jupyter)


def opened(jupyter):
    return jupyter.show("clicker.ipynb", ".ll-prefer .ll-card", MAKE)


def kept(jupyter) -> list[str]:
    """The choices in the file."""
    path = jupyter.folder / "clicks.json"
    return [c["choice"] for c in json.loads(path.read_text())] if path.exists() else []


def at_pair(page, words: str) -> None:
    """Wait until the request on show begins so."""
    page.wait_for_function(
        "words => document.querySelector('.jp-OutputArea-output .ll-request')"
        ".textContent.startsWith(words)",
        arg=words,
    )


def card(page, side: int):
    return page.locator(f"{ROOT} .ll-card").nth(side)


def said(page) -> str:
    return page.locator(f"{ROOT} .ll-said").inner_text()


def test_a_click_is_kept_and_the_next_pair_comes(jupyter, page):
    at_pair(page, "1 of 3: What can I cook with rice?")
    assert card(page, 0).locator(".ll-title").inner_text() == "Rice Bowl"
    foods = card(page, 1).locator(".ll-food").all_inner_texts()
    assert foods == ["rice", "milk", "sugar", "cinnamon", "butter", "eggs"]
    card(page, 0).click()
    at_pair(page, "2 of 3: Give me a soup")
    assert kept(jupyter) == ["left"]
    assert said(page) == "1 of 3 decided; the reward model agrees with 1 of 1"


def test_by_keyboard_alone(jupyter, page):
    card(page, 0).focus()
    page.keyboard.press("ArrowRight")
    at_pair(page, "2 of 3")
    page.keyboard.press("ArrowDown")
    at_pair(page, "3 of 3")
    page.keyboard.press("Backspace")
    at_pair(page, "2 of 3")
    page.keyboard.press("Tab")  # from the left card to the right one
    page.keyboard.press("Enter")
    at_pair(page, "3 of 3")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector(f"{ROOT} .ll-over", state="visible")
    assert kept(jupyter) == ["right", "right", "left"]
    assert page.evaluate("document.activeElement.closest('.ll-prefer') !== null")
    page.keyboard.press("Backspace")
    at_pair(page, "3 of 3")


def test_two_fast_presses_decide_one_pair(jupyter, page):
    card(page, 0).focus()
    page.evaluate(
        """() => { const card = document.activeElement;
        for (let i = 0; i < 3; i++)
          card.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft', bubbles: true})); }"""
    )
    at_pair(page, "2 of 3")
    page.wait_for_timeout(300)
    assert kept(jupyter) == ["left"]


def test_it_goes_on_after_the_kernel_has_gone(jupyter, page):
    card(page, 1).click()
    at_pair(page, "2 of 3")
    again = opened(jupyter)
    at_pair(again, "2 of 3")
    again.locator(f"{ROOT} .ll-bar button").last.click()  # back
    at_pair(again, "1 of 3")
    assert card(again, 1).get_attribute("aria-pressed") == "true"
    assert card(again, 0).get_attribute("aria-pressed") == "false"


def test_cards_are_equally_wide_whatever_they_say(page):
    for side, pair in ((0, "2"), (1, "3")):
        card(page, side).click()
        at_pair(page, f"{pair} of 3")
    assert card(page, 1).locator(".ll-title").inner_text() == "(no title)"
    widths = [card(page, side).bounding_box()["width"] for side in (0, 1)]
    assert widths[0] == pytest.approx(widths[1], abs=2)


def test_dark_and_light(jupyter, page, pictures):
    card(page, 1).click()
    at_pair(page, "2 of 3")
    page.locator(f"{ROOT} .ll-bar button").last.click()
    at_pair(page, "1 of 3")
    card(page, 0).focus()
    page.keyboard.press("Tab")
    parts = (
        ".ll-request",
        ".ll-title",
        ".ll-food",
        ".ll-side",
        "kbd",
        ".ll-bar button",
        ".ll-said",
    )
    jupyter.check_looks(page, ".ll-prefer", parts, pictures / "clicker")
