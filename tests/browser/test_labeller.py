"""`Labeller` as a learner meets it."""

import json

import pytest

MAKE = """
from pathlib import Path
from llmlab.widgets.labeller import Labeller

TEXTS = ["Boil the rice in a wide pan.", "<script>window.hacked = 1</script> <b>bold</b>",
         "a" * 100_000, "\\u202ebackwards\\u200b", "The last page."]
labeller = Labeller(TEXTS, Path("labels.json"))
labeller
"""


@pytest.fixture
def page(jupyter):
    """A notebook with the labeller, its cell run."""
    (jupyter.folder / "labels.json").unlink(missing_ok=True)
    return jupyter.show("labeller.ipynb", ".widget-vbox button", MAKE)


def box(page):
    return page.locator(".jp-OutputArea-output .widget-vbox").first


def wait_for_words(page, words: str) -> None:
    page.wait_for_function(
        "words => document.querySelector('.jp-OutputArea-output .widget-vbox')"
        ".textContent.includes(words)",
        arg=words,
    )


def test_a_click_labels_keeps_and_goes_on(jupyter, page):
    wait_for_words(page, "page 1 of 5 (no label)")
    box(page).get_by_role("button", name="worth reading").click()
    wait_for_words(page, "page 2 of 5")
    wait_for_words(page, "1 of 5 labelled")
    assert list(json.loads((jupyter.folder / "labels.json").read_text()).values()) == [True]


def test_by_keyboard_alone(page):
    box(page).get_by_role("button", name="worth reading").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait_for_words(page, "page 2 of 5")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    wait_for_words(page, "page 1 of 5 (✗ not worth it)")
    assert page.locator(".jp-Notebook .jp-Cell").count() == 1  # no shortcut of Jupyter's ran


def test_hostile_pages_stay_words(page):
    skip = box(page).get_by_role("button", name="skip")
    skip.click()
    wait_for_words(page, "<script>window.hacked = 1</script> <b>bold</b>")
    assert page.evaluate("window.hacked") is None
    skip.click()
    wait_for_words(page, "characters more")
    text, outside = box(page).locator("[tabindex='0']").last, box(page).bounding_box()
    inside = text.bounding_box()
    assert inside["x"] + inside["width"] <= outside["x"] + outside["width"]


def test_dark_and_light(jupyter, page, pictures):
    box(page).get_by_role("button", name="worth reading").click()
    wait_for_words(page, "page 2 of 5")
    jupyter.check_looks(page, ".ll-labels", [".widget-html-content"], pictures / "labeller")


def test_the_saved_notebook_counts(jupyter, page, pictures, build):
    reader = jupyter.reopen_saved(page, "labeller.ipynb", build)
    words = reader.locator(".jp-OutputArea-output table").inner_text()
    assert "no label yet" in words and "rice" not in words
    reader.screenshot(path=pictures / "labeller-saved.png")
