"""`TokenView` as a learner meets it."""

import pytest

from llmlab.core.tokenizer import train_bpe
from llmlab.stages.tokenization import get_encoding

TEXT = "Melt the butter,\n\tthen stir in the zucchini 🍜.<|end|>"
LESSON = "Melt the butter, then stir in the zucchini. " * 9
MAKE = f"""
from llmlab.core.tokenizer import train_bpe
from llmlab.stages.tokenization import get_encoding
from llmlab.widgets.token_view import TokenView

bpe = train_bpe({LESSON!r}, 286)
view = TokenView({TEXT!r}, {{"gpt2": get_encoding("gpt2"), "<b>ours</b>": bpe}})
view
"""


@pytest.fixture
def page(jupyter):
    """A notebook with one view, run."""
    return jupyter.show("tokens.ipynb", ".ll-tokens .ll-token", MAKE)


def row(page, name: str, column: int = 0):
    return page.locator(f".ll-column:nth-child({column + 1}) .ll-row[data-row={name}]")


def marks(page, name: str, column: int = 0, only: str = "") -> list[str]:
    """What the tokens of a row show; `only` those of a class, such as ".ll-active"."""
    return row(page, name, column).locator(f".ll-token{only}").all_text_contents()


def details(page) -> str:
    return page.locator(".ll-details").inner_text()


def type_in(page, text: str) -> None:
    """Type over what stands in the text area, and wait for the answer."""
    page.locator(".ll-tokens textarea").fill(text)
    page.wait_for_selector(".ll-tokens[aria-busy=false]")


def test_two_encodings_side_by_side(page):
    gpt2, ours = get_encoding("gpt2"), train_bpe(LESSON, 286)
    assert marks(page, "id") == [str(i) for i in gpt2.encode_ordinary(TEXT)]
    assert marks(page, "id", 1) == [str(i) for i in ours.encode(TEXT)]
    raw = b"".join(bytes.fromhex(mark) for mark in marks(page, "bytes"))
    assert raw == TEXT.encode() == b"".join(map(bytes.fromhex, marks(page, "bytes", 1)))
    assert page.locator(".ll-column b").all_text_contents() == ["gpt2", "<b>ours</b>"]
    assert "22 tokens, 2.55 bytes per token" in page.locator(".ll-counts").first.inner_text()
    left, right = (page.locator(".ll-column").nth(i).bounding_box() for i in (0, 1))
    assert left["y"] == right["y"] and left["x"] + left["width"] <= right["x"]


def test_pointing_links_text_ids_and_bytes(page):
    for name in ("text", "id", "bytes"):
        row(page, name).locator(".ll-token").nth(9).hover()
        lit = {n: marks(page, n, only=".ll-active") for n in ("text", "id", "bytes")}
        assert lit == {"text": ["·in"], "id": ["287"], "bytes": ["20 69 6E"]}
        assert marks(page, "text", 1, ".ll-kin") == ["·in"]
        assert details(page).startswith("gpt2: “·in”; id 287; 3 bytes: 20 69 6E; 1 time here; in")
    page.locator(".ll-tokens textarea").hover()
    assert page.locator(".ll-active, .ll-kin").count() == 0


def test_parts_of_a_character_are_bytes(page):
    assert marks(page, "text", only=".ll-raw") == ["20 F0 9F", "8D", "9C"]
    row(page, "text").locator(".ll-raw").nth(1).hover()
    assert details(page).startswith("gpt2: [8D], a part of “🍜”; id 235; 1 byte: 8D")
    assert "in <b>ours</b>: [8D]" in details(page)


def test_keyboard(page):
    page.locator(".ll-tokens textarea").focus()
    for _ in range(3):
        page.keyboard.press("Tab")
    assert details(page).startswith("gpt2: “M”; id 44;")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert marks(page, "id", only=".ll-active") == ["262"]
    focused = page.locator(":focus")
    assert focused.get_attribute("aria-activedescendant") == "ll-now"
    assert page.locator("#ll-now").inner_text() == "·the"
    assert focused.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
    page.keyboard.press("End")
    assert marks(page, "text", only=".ll-active") == [">"]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert marks(page, "text", only=".ll-active") == ["|"]
    page.keyboard.press("Tab")  # to the same tokens' ids: the place stays
    assert marks(page, "id", only=".ll-active") == ["91"]
    page.keyboard.press("Home")
    assert marks(page, "id", only=".ll-active") == ["44"]
    page.keyboard.press("Escape")
    assert page.locator(".ll-active").count() == 0


def test_white_space_toggle(page):
    assert marks(page, "text")[4:8] == [",", "↵\n", "→", "then"]
    box = page.get_by_label("show spaces")
    box.click()
    assert marks(page, "text")[2:8] == [" the", " butter", ",", "\n", "\t", "then"]
    assert row(page, "text").locator(".ll-token").nth(6).bounding_box()["width"] > 1
    box.focus()
    page.keyboard.press("Space")
    assert marks(page, "text")[2] == "·the"


def test_special_tokens_only_by_the_toggle(page):
    ours = train_bpe(LESSON, 286)
    assert str(ours.special("<|end|>")) not in marks(page, "id", 1)
    page.get_by_label("special tokens").click()
    page.wait_for_selector(".ll-special")
    assert marks(page, "text", 1, ".ll-special") == ["<|end|>"]
    row(page, "text", 1).locator(".ll-special").hover()
    assert "a special token: one id" in details(page)
    page.get_by_label("special tokens").click()
    page.wait_for_function("() => !document.querySelector('.ll-special')")


def test_typed_text_is_answered(page):
    area = page.locator(".ll-tokens textarea")
    area.press("Control+a")
    page.keyboard.type("Whisk two eggs.", delay=20)
    page.wait_for_selector(".ll-tokens[aria-busy=false]")
    assert area.input_value() == "Whisk two eggs."
    assert marks(page, "id") == [str(i) for i in get_encoding("gpt2").encode("Whisk two eggs.")]


def test_a_long_text_is_cut_and_the_page_says_so(jupyter, page):
    for text in (LESSON * 200, "x" * 100_000, "今天" * 30_000):
        jupyter.type(page, ".ll-tokens", ".ll-columns", text)
        said = page.locator(".ll-size").inner_text()
        assert said.startswith("the first 16,38") and said.endswith(f"{len(text.encode()):,} bytes")
        assert len(marks(page, "id")) == len(marks(page, "text", 1)) == 300
    assert "8,192 tokens, 2.00 bytes" in page.locator(".ll-counts").first.inner_text()
    assert page.locator(".ll-label").first.inner_text() == "text: the first 300 tokens"
    assert page.locator(".ll-tokens").bounding_box()["height"] < 800  # the rows scroll
    row(page, "text").focus()
    page.keyboard.press("End")
    assert details(page).startswith("gpt2: “天”; id 25465; 3 bytes: E5 A4 A9; ")
    assert "; 2,730 times here; " in details(page)
    for name in ("text", "id", "bytes"):  # each row has scrolled to where it can be seen
        around, lit = row(page, name), row(page, name).locator(".ll-active")
        around, lit = around.bounding_box(), lit.bounding_box()
        assert around["y"] <= lit["y"] <= around["y"] + around["height"]


def test_a_busy_kernel_is_waited_for_in_words(jupyter, page):
    wait = page.locator(".ll-wait")
    assert wait.is_hidden()
    jupyter.occupy(page, "import time; time.sleep(2)")
    page.locator(".ll-tokens textarea").fill("Later.")
    page.wait_for_selector(".ll-tokens[aria-busy=true]")
    wait.wait_for(state="visible")
    page.wait_for_selector(".ll-tokens[aria-busy=false]")
    assert marks(page, "text") == ["Later", "."] and wait.is_hidden()


def test_half_a_pair_letters_from_right_to_left_and_nothing(jupyter, page):
    jupyter.type(page, ".ll-tokens", ".ll-columns", "a\ud800b")
    assert bytes.fromhex("".join(marks(page, "bytes"))).decode() == "a\ufffdb"
    type_in(page, "مرحبا بالعالم")
    boxes = [t.bounding_box()["x"] for t in row(page, "text").locator(".ll-token").all()]
    assert len(boxes) > 4 and boxes == sorted(boxes)  # in the order of their ids
    type_in(page, "")
    assert marks(page, "id") == []
    row(page, "text").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".ll-active").count() == 0


def test_dark_and_light(jupyter, page, pictures):
    page.get_by_label("special tokens").click()
    page.wait_for_selector(".ll-special")
    page.locator(".ll-column .ll-row").last.scroll_into_view_if_needed()
    row(page, "text").locator(".ll-token").nth(3).hover()
    assert page.locator(".ll-active").count() == 3
    parts = [".ll-details", ".ll-label", ".ll-counts", "textarea", ".ll-size", ".ll-active"]
    parts += [f".ll-token:nth-child({i})" for i in range(1, 6)]
    jupyter.check_looks(page, ".ll-tokens", parts, pictures / "token-view")
