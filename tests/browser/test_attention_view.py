"""`AttentionView` as a learner meets it."""

import re

import pytest

TEXT = "Shopping list: tofu, mango, rice\nMango Tofu needs tofu, mango, rice."
WORDS = "<|end|>,Shopping,·list,:,·tofu,COMMA,·mango,COMMA,·rice,↵,M,ango,·To,fu,·needs,·tofu"
WORDS = [w.replace("COMMA", ",") for w in WORDS.split(",")] + [",", "·mango", ",", "·rice", "."]
NEEDS = WORDS.index("·needs")
MAKE = f"""
import torch
torch.set_num_threads(1)  # more only wait for one another on a busy machine
import llmlab
from llmlab.widgets.attention_view import AttentionView

model, tokenizer, _ = llmlab.setup().latest("base", mine=False)
view = AttentionView(model, tokenizer, {TEXT!r})
view
"""


@pytest.fixture
def page(jupyter):
    """A notebook with one view of the shipped base model, run."""
    return jupyter.show("attention.ipynb", ".ll-attention .ll-token", MAKE)


def type_in(jupyter, page, text: str) -> None:
    jupyter.type(page, ".ll-attention", ".ll-tokens", text)


def words(page) -> list[str]:
    return page.locator(".ll-word").all_text_contents()


def shares(page) -> list[str]:
    """What stands over the tokens."""
    return page.locator(".ll-share").all_text_contents()


def details(page) -> str:
    return page.locator(".ll-details").inner_text()


def title(page) -> str:
    return page.locator(".ll-large h5").inner_text().split(":")[0]


def chosen(page) -> list[str]:
    """The names of the heads that look chosen."""
    pressed = page.locator(".ll-head[aria-pressed=true]")
    return [head.get_attribute("aria-label") for head in pressed.all()]


def answered(page) -> None:
    page.wait_for_selector(".ll-attention[aria-busy=false]")


def test_it_opens_on_the_head_that_copies(page):
    assert words(page) == WORDS
    assert page.locator(".ll-head").count() == 20
    assert page.locator(".ll-copies").all_inner_texts() == ["◆ copies"]
    assert chosen(page) == ["layer 3, head 4, copies most"] and title(page) == "layer 3, head 4"
    said = page.locator(".ll-small p").inner_text()
    assert said.startswith("◆ copies most: layer 3, head 4.") and "everywhere alike: 1" in said


def test_a_token_pointed_at_shows_from_where_it_takes(page):
    page.locator(".ll-token").nth(NEEDS).hover()
    said = rf"“·needs” \(place {NEEDS}\) takes (\d+) % from “·tofu” \(place 4\)"
    taken = re.match(said, details(page))
    assert int(taken[1]) > 75 and f"◆ Next comes “·tofu”; {taken[1]} %" in details(page)
    over = shares(page)
    assert over[4].startswith(taken[1]) and over[NEEDS + 1 :] == [""] * (len(WORDS) - NEEDS - 1)
    bars = page.locator(".ll-bar").evaluate_all("bars => bars.map(bar => bar.offsetHeight)")
    assert bars[4] > 20 and sum(bars) - bars[4] < 5
    assert page.locator(".ll-twin .ll-word").all_text_contents() == ["·tofu"]
    assert page.locator(".ll-later").count() == len(WORDS) - NEEDS - 1
    page.locator(".ll-attention textarea").hover()
    assert details(page).startswith(f"“.” (place {len(WORDS) - 1}) takes")  # the last, by default
    page.locator(".ll-token").first.click()
    page.locator(".ll-attention textarea").hover()
    assert shares(page)[0] == "100 %" and "it can take only from itself" in details(page)


def test_nothing_moves_under_the_pointer(page):
    places = "chips => chips.map(chip => [chip.offsetLeft, chip.offsetTop, chip.offsetWidth])"
    before = page.locator(".ll-token").evaluate_all(places)
    for i in (NEEDS, 2, 12):
        page.locator(".ll-token").nth(i).hover()
        assert page.locator(".ll-active .ll-word").inner_text() == WORDS[i]
        assert page.locator(".ll-token").evaluate_all(places) == before


def test_a_row_of_the_matrix_is_a_token(page):
    box = page.locator(".ll-matrix").bounding_box()
    cell = (box["height"] - 2) / len(WORDS)
    page.mouse.move(box["x"] + 5, box["y"] + 1 + (NEEDS + 0.5) * cell)
    assert page.locator(".ll-active .ll-word").inner_text() == "·needs"
    assert page.locator(".ll-matrix .ll-loud").text_content() == "·needs"
    page.mouse.click(box["x"] + 5, box["y"] + 1 + 2.5 * cell)
    page.locator(".ll-attention textarea").hover()
    assert page.locator(".ll-active .ll-word").inner_text() == "·list"


def test_heads_by_mouse(jupyter, page):
    before = shares(page)
    page.get_by_label("layer 1, head 4").click()
    page.wait_for_function(
        "() => document.querySelector('.ll-large h5').innerText.startsWith('layer 1, head 4')"
    )
    assert chosen(page) == ["layer 1, head 4"] and shares(page) != before
    jupyter.execute(page, "view.chosen = (0, 1)")
    page.wait_for_function(
        "() => document.querySelector('.ll-large h5').innerText.startsWith('layer 0, head 1')"
    )
    assert chosen(page) == ["layer 0, head 1"]


def test_heads_and_tokens_by_keys(page):
    page.locator(".ll-attention textarea").focus()
    page.keyboard.press("Tab")
    for key in ("ArrowUp", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    assert chosen(page) == ["layer 1, head 4"]
    focused = page.locator(":focus")
    assert focused.get_attribute("aria-label") == "layer 1, head 4"
    assert focused.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
    page.keyboard.press("b")  # in Jupyter: a new cell below
    page.keyboard.press("Home")
    answered(page)
    assert title(page) == "layer 1, head 0"
    page.keyboard.press("Tab")  # one stop for all heads
    assert page.locator(":focus").get_attribute("aria-label") == "tokens"
    page.keyboard.press("ArrowLeft")
    assert page.locator("#ll-now .ll-word").inner_text() == "·rice"
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert details(page).startswith("“Shopping” (place 1) takes")
    assert page.locator(":focus").get_attribute("aria-activedescendant") == "ll-now"
    assert page.locator(".jp-Notebook .jp-Cell").count() == 1  # no shortcut of Jupyter's ran


def test_typed_text_is_answered(page):
    area = page.locator(".ll-attention textarea")
    area.press("Control+a")
    page.keyboard.type("Whisk two eggs.", delay=20)
    answered(page)
    assert area.input_value() == "Whisk two eggs."
    assert words(page)[0] == "<|end|>" and "".join(words(page)[1:]) == "Whisk·two·eggs."
    said = page.locator(".ll-small p").inner_text()
    assert said == "No token comes here a second time, so no head can be seen copying."
    assert page.locator(".ll-copies").count() == 0


def test_a_long_and_an_empty_text_get_a_sentence(jupyter, page):
    said = page.locator(".ll-note span").first
    type_in(jupyter, page, TEXT * 10)
    assert said.inner_text() == "The first 64 of 201 tokens; the rest is left out."
    assert len(words(page)) == 64
    page.locator(".ll-token").nth(40).hover()
    named = page.locator(".ll-matrix text[visibility=visible]").all_text_contents()
    assert named == [words(page)[40]]  # no room for more
    for text in ("x" * 100_000, "今天" * 30_000):
        type_in(jupyter, page, text)
        assert said.inner_text().startswith("The first 64 of more than ")
    assert page.locator(".ll-attention").bounding_box()["height"] < 1100  # the row scrolls
    type_in(jupyter, page, "")
    assert said.inner_text() == "The text is empty: there is only “<|end|>”. Type something."
    assert words(page) == ["<|end|>"] and shares(page) == ["100 %"]


def test_a_busy_kernel_is_waited_for_in_words(jupyter, page):
    wait = page.locator(".ll-wait")
    assert wait.is_hidden()
    jupyter.occupy(page, "import time; time.sleep(2)")
    page.get_by_label("layer 1, head 4").click()
    page.wait_for_selector(".ll-attention[aria-busy=true]")
    wait.wait_for(state="visible")
    answered(page)
    assert title(page) == "layer 1, head 4" and wait.is_hidden()


def test_half_a_pair_and_letters_from_right_to_left(jupyter, page):
    type_in(jupyter, page, "a\ud800b")
    assert words(page) == ["<|end|>", "a", "[EF]", "[BF]", "[BD]", "b"]
    type_in(jupyter, page, "مرحبا بالعالم")
    boxes = [chip.bounding_box()["x"] for chip in page.locator(".ll-token").all()[:12]]
    assert len(boxes) > 4 and boxes == sorted(boxes)  # in the order of their places


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_dark_and_light(jupyter, page, pictures, theme):
    jupyter.set_theme(page, theme)
    page.locator(".ll-token").nth(NEEDS).click()
    page.wait_for_timeout(300)  # the new theme's colours fade in
    for part in (".ll-details", ".ll-word", ".ll-share", "h5", "p", ".ll-copies", ".ll-top"):
        assert jupyter.contrast(page, f".ll-attention {part}") >= 4.5, part
    assert jupyter.faults(page, ".ll-attention") == []
    name = theme.split()[-1].lower()
    page.locator(".ll-attention").screenshot(path=pictures / f"attention-view-{name}.png")
    type_in(jupyter, page, TEXT * 10)
    page.locator(".ll-attention").screenshot(path=pictures / f"attention-view-long-{name}.png")
