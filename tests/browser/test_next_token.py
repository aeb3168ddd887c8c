"""`NextToken` as a learner meets it."""

import re

import pytest

TEXT = "Lemon rice\n\nMelt the butter in a"
TOKENS = ["<|end|>", "L", "emon", "·rice", "↵↵", "M", "elt", "·the", "·butter", "·in", "·a"]
MAKE = f"""
import torch
torch.set_num_threads(1)  # more only wait for one another on a busy machine
import llmlab
from llmlab.widgets.next_token import NextToken

model, tokenizer, _ = llmlab.setup().latest("base", mine=False)
view = NextToken(model, tokenizer, {TEXT!r})
view
"""


@pytest.fixture
def page(jupyter):
    """A notebook with one view of the shipped base model, run."""
    return jupyter.show("next.ipynb", ".ll-next button.ll-row", MAKE)


def answered(page) -> None:
    page.wait_for_selector(".ll-next[aria-busy=false]")


def slide(page, name: str, value: float) -> None:
    page.get_by_label(name, exact=True).fill(str(value))
    answered(page)


def press(page, name: str) -> None:
    page.get_by_role("button", name=name).click()
    answered(page)


def type_in(jupyter, page, text: str) -> None:
    jupyter.type(page, ".ll-next", ".ll-tokens", text)


def rows(page):
    return page.locator("button.ll-row")


def names(page) -> list[str]:
    return rows(page).locator(".ll-token").all_text_contents()


def numbers(page, column: int = 0) -> list[float]:
    """Per cents in a column of the list, 0: the chance, 1: the model's own; others last."""
    cells = page.locator(".ll-row:not(.ll-heads)").all()
    found = [cell.locator(".ll-number").nth(column).inner_text() for cell in cells]
    return [float(re.fullmatch(r"<?(\d+\.\d) %", number)[1]) for number in found]


def notes(page) -> list[str]:
    return rows(page).locator(".ll-why").all_text_contents()


def tokens(page, only: str = "") -> list[str]:
    return page.locator(f".ll-tokens .ll-token{only}").all_text_contents()


def summary(page) -> str:
    return page.locator(".ll-summary").inner_text()


def text(page) -> str:
    return page.locator(".ll-next textarea").input_value()


def test_bars_are_the_model_s_own_at_first(page):
    assert tokens(page) == TOKENS and text(page) == TEXT
    assert len(names(page)) == 12 and numbers(page) == numbers(page, 1)
    assert numbers(page)[:12] == sorted(numbers(page)[:12], reverse=True)
    assert sum(numbers(page)) == pytest.approx(100, abs=0.8)
    assert summary(page).startswith("2,048 of 2,048 tokens kept. Entropy ")
    wide = page.locator(".ll-now").evaluate_all(
        "bars => bars.slice(1).map(bar => bar.offsetWidth / bar.parentNode.clientWidth * 100)"
    )  # the first of all is in the key
    assert wide == pytest.approx(numbers(page), abs=0.6)
    assert page.locator(".ll-out").count() == 0


def test_sliders_bend_the_chances_and_say_what_is_left_out(page):
    own = numbers(page, 1)
    slide(page, "top-k", 4)
    assert notes(page) == [""] * 4 + ["✕ left out: top-k"] * 8 and numbers(page, 1) == own
    assert numbers(page)[4:] == [0] * 9 and page.locator(".ll-out").count() == 8
    slide(page, "top-p", 0.3)
    slide(page, "temperature", 0)
    assert numbers(page)[0] == 100 and set(notes(page)[1:]) == {"✕ left out: temperature 0"}
    assert summary(page).startswith("1 of 2,048 tokens kept. Entropy 0.00 bits")
    assert page.locator(".ll-sliders output").all_inner_texts() == [
        "0: the likeliest", "the 4 likeliest", "30 % of the mass"
    ]  # fmt: skip
    press(page, "reset the sliders")
    assert numbers(page) == own


def test_a_click_goes_on_and_undo_goes_back(page):
    before = names(page)
    rows(page).nth(2).click()
    page.wait_for_selector(".ll-added")
    answered(page)
    assert tokens(page) == [*TOKENS, before[2]] and tokens(page, ".ll-added") == [before[2]]
    assert text(page) == TEXT + before[2].replace("·", " ")
    assert "1 of them added here" in page.locator(".ll-note").inner_text()
    press(page, "undo")
    page.wait_for_function("() => !document.querySelector('.ll-added')")
    assert names(page) == before and text(page) == TEXT
    undo = page.get_by_role("button", name="undo")
    assert undo.get_attribute("aria-disabled") == "true"
    undo.click(force=True)
    page.wait_for_timeout(100)
    assert page.locator(".ll-next").get_attribute("aria-busy") == "false" and text(page) == TEXT


def test_a_token_that_is_left_out_may_still_be_clicked(page):
    slide(page, "top-k", 1)
    seventh = names(page)[6]
    page.locator(".ll-out").nth(5).click()
    page.wait_for_selector(".ll-added")
    assert tokens(page, ".ll-added") == [seventh]


def test_tokens_are_drawn_at_random_and_the_page_stands_still(page):
    slide(page, "top-k", 3)
    stands = [page.locator(name).first for name in (".ll-draw", "button.ll-row")]
    places = [it.evaluate("it => it.offsetTop") for it in stands]
    for number in range(1, 6):
        allowed = names(page)[:3]
        press(page, "draw a token")
        page.wait_for_function(
            "n => document.querySelectorAll('.ll-added').length === n", arg=number
        )
        answered(page)
        assert tokens(page, ".ll-added")[-1] in allowed
    for _ in range(20):  # faster than the kernel answers: each is a draw of its own
        page.locator(".ll-draw").click(no_wait_after=True)
    page.wait_for_function(
        "() => document.querySelector('.ll-note').innerText.includes('25 of them added')"
    )
    answered(page)
    # What jumps away under the pointer gets no click; a line is 20 pixels, rounding may take one.
    assert [it.evaluate("it => it.offsetTop") for it in stands] == pytest.approx(places, abs=2)
    assert text(page).startswith(TEXT) and len(tokens(page)) == 24
    assert "… 12 before" in page.locator(".ll-tokens").inner_text()


def test_what_is_typed_while_the_kernel_draws_is_kept(jupyter, page):
    jupyter.occupy(page, "import time; time.sleep(1.5)")
    wait = page.locator(".ll-wait")
    assert wait.is_hidden()
    page.get_by_role("button", name="draw a token").click()
    page.locator(".ll-next textarea").press_sequentially(" bowl")
    wait.wait_for(state="visible")
    answered(page)
    assert text(page) == TEXT + " bowl" and wait.is_hidden()
    assert tokens(page) == [*TOKENS, "·bowl"] and tokens(page, ".ll-added") == []


def test_keyboard(page):
    page.locator(".ll-next textarea").focus()
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("End")  # top-p stands at its end already
    page.keyboard.press("Shift+Tab")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    answered(page)
    assert page.locator(".ll-sliders output").nth(1).inner_text() == "the 5 likeliest"
    for _ in range(5):
        page.keyboard.press("Tab")
    focused = page.locator(":focus")
    assert focused.locator(".ll-token").inner_text() == names(page)[0]
    assert focused.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
    second = names(page)[1]
    page.keyboard.press("b")  # in Jupyter: a new cell below
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector(".ll-added")
    answered(page)
    assert tokens(page, ".ll-added") == [second]
    assert page.locator(":focus .ll-token").inner_text() == names(page)[1]  # the place stays
    page.keyboard.press("End")
    page.keyboard.press("ArrowDown")
    assert page.locator(":focus .ll-token").inner_text() == names(page)[11]
    page.keyboard.press("Tab")
    assert page.locator(".ll-next :focus").count() == 0  # one stop for all rows
    assert page.locator(".jp-Notebook .jp-Cell").count() == 1  # no shortcut of Jupyter's ran


def test_typed_text_is_read(page):
    page.locator(".ll-next textarea").press("Control+a")
    page.keyboard.type("Whisk two eggs", delay=20)
    answered(page)
    assert text(page) == "Whisk two eggs"
    assert "".join(tokens(page)) == "<|end|>Whisk·two·eggs"


def test_a_long_and_an_empty_text_get_a_sentence(jupyter, page):
    said = page.locator(".ll-note span").first
    for words in ("butter " * 3000, "x" * 100_000):
        type_in(jupyter, page, words)
        answered(page)
        told = said.inner_text()
        assert re.fullmatch(
            r"The model's context holds 512 tokens: the first \d+ are left out\.", told
        )
        assert len(tokens(page)) == 24 and len(text(page)) == 8192
    press(page, "draw a token")
    page.wait_for_selector(".ll-added")
    type_in(jupyter, page, "")
    assert said.inner_text() == "The model reads 1 token, the one that stands before all text."
    assert tokens(page) == ["<|end|>"] and len(names(page)) == 12


def test_half_a_pair_and_letters_from_right_to_left(jupyter, page):
    type_in(jupyter, page, "a\ud800b")
    assert tokens(page) == ["<|end|>", "a", "[EF]", "[BF]", "[BD]", "b"]
    type_in(jupyter, page, "مرحبا")
    boxes = [chip.bounding_box()["x"] for chip in page.locator(".ll-tokens .ll-token").all()[:12]]
    assert len(boxes) > 4 and boxes == sorted(boxes)  # in the order of their places


def test_dark_and_light(jupyter, page, pictures):
    for number in (1, 2):
        press(page, "draw a token")
        page.wait_for_function(
            "n => document.querySelectorAll('.ll-added').length === n", arg=number
        )
    slide(page, "top-k", 8)
    slide(page, "top-p", 0.6)
    parts = [".ll-summary", ".ll-tokens .ll-token", ".ll-added", ".ll-note", "output", ".ll-draw"]
    parts += [".ll-heads", ".ll-out", ".ll-out .ll-token", ".ll-out .ll-why"]
    jupyter.check_looks(page, ".ll-next", parts, pictures / "next-token")
