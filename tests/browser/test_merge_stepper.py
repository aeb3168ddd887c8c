"""`MergeStepper` as a learner meets it."""

import pytest

from llmlab.core.tokenizer import train_bpe

TEXT = "bake baking boil boiling fry frying stir stirring stew stewing"
MAKE = f"""
from llmlab.widgets.merge_stepper import MergeStepper

stepper = MergeStepper({TEXT!r}, merges=20)
stepper
"""
BPE = train_bpe(TEXT, 276, specials=())


@pytest.fixture
def page(jupyter):
    """A notebook with one stepper, run."""
    return jupyter.show("merges.ipynb", ".ll-merges .ll-words .ll-symbol", MAKE)


def type_in(jupyter, page, text: str) -> None:
    jupyter.type(page, ".ll-merges", ".ll-words", text)


def press(page, title: str) -> None:
    page.locator(f".ll-merges button[title='{title}']").click()


def words(page) -> list[list[str]]:
    """The symbols of each word on show."""
    lines = page.locator(".ll-words li").all()
    return [line.locator(".ll-symbol").all_text_contents() for line in lines]


def at_step(step: int) -> list[list[str]]:
    """The symbols that train_bpe's first merges make of the words."""
    bpe = type(BPE)(BPE.merges[:step], specials=())
    spelled = [bpe.encode(word) for word in TEXT.replace(" ", "| ").split("|")]
    return [[bpe.decode([i]).replace(" ", "·") for i in ids] for ids in spelled]


def says(page) -> str:
    return page.locator(".ll-says").inner_text()


def count(page) -> str:
    return page.locator(".ll-count").inner_text()


def test_every_step_shows_what_train_bpe_learns(page):
    for step in range(21):
        assert count(page) == f"{step} of 20 merges"
        assert words(page) == at_step(step)
        made = page.locator(".ll-made .ll-symbol").all_text_contents()
        assert made == [BPE.decode([256 + i]).replace(" ", "·") for i in range(step)]
        best = page.locator(".ll-best td").nth(2)
        if step < 20:
            assert best.inner_text() == ", ".join(map(str, BPE.merges[step]))
        press(page, "step forward")
    assert count(page) == "20 of 20 merges"
    press(page, "step back")
    assert count(page) == "19 of 20 merges" and words(page) == at_step(19)
    press(page, "first step")
    assert words(page) == at_step(0)


def test_what_was_merged_and_what_will_be_are_marked(page):
    assert page.locator(".ll-words .ll-next").all_text_contents() == ["in"] * 5
    press(page, "step forward")
    assert page.locator(".ll-words .ll-new").all_text_contents() == ["in"] * 5
    assert page.locator(".ll-words .ll-next").all_text_contents() == ["ing"] * 5
    assert page.locator(".ll-made .ll-new").all_text_contents() == ["in"]
    assert "Made: i + n → in, id 256, 5 times." in says(page).replace("\n", " ")
    assert "counted 5 times, more often than any other pair." in says(page)
    assert "57 tokens now, 1.09 bytes per token" in says(page)


def test_ties_are_said_with_the_rule_that_breaks_them(jupyter, page):
    type_in(jupyter, page, "ab cd ab cd ef ef gh gh")
    assert "counted 2 times, as are 6 more pairs" in says(page)
    assert "the one with the smaller ids" in says(page)
    rows = page.locator(".ll-merges tr").all_inner_texts()
    assert "32, 99" in rows[1] and "merges next" in rows[1]
    assert all("= as often, larger ids" in row for row in rows[2:8])
    assert "= as often" not in rows[8]


def test_keyboard(page):
    page.locator(".ll-merges textarea").focus()
    page.keyboard.press("ArrowRight")  # moves among the letters alone
    assert count(page).startswith("0 of")
    for _ in range(6):
        page.keyboard.press("Tab")
    slider = page.locator(":focus")
    assert slider.get_attribute("type") == "range"
    assert slider.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
    for key, step in [("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", 20)]:
        page.keyboard.press(key)
        assert count(page) == f"{step} of 20 merges"
        assert slider.input_value() == str(step)
    page.keyboard.press("ArrowRight")
    assert count(page) == "20 of 20 merges"
    page.keyboard.press("Tab")  # to the words, where the same keys step
    assert page.locator(":focus").get_attribute("aria-label") == "words"
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    assert count(page) == "0 of 20 merges"
    page.keyboard.press("ArrowRight")  # the words keep the focus
    assert count(page) == "1 of 20 merges"
    page.locator(".ll-merges button[title='step forward']").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    assert count(page) == "3 of 20 merges"


def test_the_slider_leads_and_follows(page):
    slider = page.get_by_label("merges done")
    box = slider.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert count(page) == "10 of 20 merges" and words(page) == at_step(10)
    press(page, "last step")
    assert slider.input_value() == "20" and words(page) == at_step(20)


def test_play_runs_to_the_end_and_stops(page):
    press(page, "last step")
    press(page, "step back")
    press(page, "step back")
    press(page, "play")
    assert page.get_by_role("button", name="stop").is_visible()
    page.wait_for_function(
        "() => document.querySelector('.ll-count').textContent.startsWith('20 of')"
    )
    assert page.get_by_role("button", name="play").is_visible()
    press(page, "play")  # from the end: from the beginning
    page.wait_for_function(
        "() => /^[1-3] of/.test(document.querySelector('.ll-count').textContent)"
    )
    press(page, "stop")
    stopped = count(page)
    page.wait_for_timeout(1200)
    assert count(page) == stopped
    press(page, "play")
    press(page, "step forward")  # the learner takes over
    assert page.get_by_role("button", name="play").is_visible()


def test_python_knows_the_step(jupyter, page):
    press(page, "last step")
    for _ in range(13):
        press(page, "step back")
    # The page sends its last step once the kernel has taken in those before.
    said = [jupyter.execute(page, "print(stepper.step, stepper.bpe.merges)") for _ in range(20)]
    assert said[-1] == f"7 {BPE.merges[:7]}\n"


def test_typed_text_is_answered(page):
    area = page.locator(".ll-merges textarea")
    area.press("Control+a")
    page.keyboard.type("aba", delay=20)
    page.wait_for_function("() => /of 2 /.test(document.querySelector('.ll-count').textContent)")
    assert area.input_value() == "aba"
    press(page, "last step")
    assert words(page) == [["aba"]]
    assert "No neighbours are left: every word is one token." in says(page)


def test_half_a_pair_a_long_and_an_empty_text(jupyter, page):
    type_in(jupyter, page, "a\ud800b")
    assert sum(words(page), []) == ["a", "EF", "BF", "BD", "b"]
    type_in(jupyter, page, "x" * 100_000)
    press(page, "last step")
    assert page.locator(".ll-merges").bounding_box()["height"] < 900
    assert "the first 4,096 of 100,000 bytes" in page.locator(".ll-note").inner_text()
    type_in(jupyter, page, "")
    press(page, "last step")
    assert words(page) == []


def test_steps_need_no_kernel_and_a_text_waits_for_it(jupyter, page):
    jupyter.occupy(page, "import time; time.sleep(3)")
    press(page, "last step")
    assert words(page) == at_step(20)
    assert page.locator(".ll-wait").is_hidden()
    page.locator(".ll-merges textarea").fill("aba")
    page.wait_for_selector(".ll-merges[aria-busy=true]")
    page.locator(".ll-wait").wait_for(state="visible")
    page.wait_for_selector(".ll-merges[aria-busy=false]")
    assert count(page) == "2 of 2 merges"


def test_dark_and_light(jupyter, page, pictures):
    for _ in range(3):
        press(page, "step forward")
    parts = ["button", ".ll-says", "h5", ".ll-best td", ".ll-new", ".ll-long", ".ll-times"]
    parts += [".ll-words .ll-symbol", ".ll-count", "th", "textarea"]
    jupyter.check_looks(page, ".ll-merges", parts, pictures / "merge-stepper")
