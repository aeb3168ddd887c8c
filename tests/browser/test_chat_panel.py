"""`ChatPanel` as a learner meets it: a real kernel, the shipped models."""

import pytest

MAKE = """
import torch
torch.set_num_threads(1)  # more only wait for one another on a busy machine
import llmlab
from llmlab.stages import report
from llmlab.widgets.chat_panel import ChatPanel

line = report.load_line(llmlab.setup())
panel = ChatPanel({name: line[name] for name in ("base", "sft", "grpo")})
panel
"""
# A model that goes on and on: it never writes <|end|>, and takes its time for each token.
SLOW = """
import time

def slowly(*_):
    time.sleep(0.1)

for member in panel._members:
    member.model.head.register_forward_hook(
        lambda _, inputs, logits: logits.index_fill(-1, torch.tensor([member.chat.end]), -1e4))
    member.model.head.register_forward_pre_hook(slowly)
"""
REQUEST = "I have chicken and lemon."


@pytest.fixture
def page(jupyter):
    """A notebook with a panel of three shipped models, run."""
    return jupyter.show("chat.ipynb", ".ll-chat textarea", MAKE)


def ask(page, request: str) -> None:
    page.locator(".ll-chat textarea").fill(request)
    page.keyboard.press("Enter")


def ended(page, turns: int = 1) -> None:
    """Until so many exchanges stand there and all answers have ended."""
    page.wait_for_function(
        "turns => document.querySelectorAll('.ll-exchange').length === turns"
        " && !document.querySelector('.ll-writing')",
        arg=turns,
    )


def longer(page, lengths: list[int]) -> None:
    """Until each answer has more letters than that."""
    page.wait_for_function(
        "lengths => lengths.every((length, i) =>"
        " document.querySelectorAll('.ll-now .ll-text')[i]?.innerText.length > length)",
        arg=lengths,
    )


def texts(page) -> list[str]:
    return page.locator(".ll-now .ll-text").all_inner_texts()


def test_three_models_answer_side_by_side(page):
    area = page.locator(".ll-chat textarea")
    area.fill(REQUEST)
    area.press("Enter")
    ended(page)
    assert page.locator(".ll-now h5").all_inner_texts() == ["base", "SFT", "GRPO"]
    assert page.locator(".ll-now .ll-asked").inner_text() == REQUEST
    assert all(texts(page)) and ": chicken, lemon" in texts(page)[2]
    boxes = [box.bounding_box() for box in page.locator(".ll-now .ll-answer").all()]
    assert len({box["y"] for box in boxes}) == 1  # side by side
    assert "first token after" in page.locator(".ll-now .ll-facts").last.inner_text()
    assert page.locator(".ll-now .ll-answer").last.locator(".ll-kept").count() >= 2
    assert area.input_value() == "" and page.locator(":focus").get_attribute("aria-label") == (
        "your request"
    )


def test_answers_grow_together_and_stop(jupyter, page):
    jupyter.execute(page, SLOW)
    ask(page, REQUEST)
    longer(page, [4, 4, 4])
    send = page.locator(".ll-send")
    assert send.inner_text() == "Stop"
    before = texts(page)
    longer(page, list(map(len, before)))
    after = texts(page)
    assert all(a.startswith(b[:4]) for a, b in zip(after, before, strict=True))
    jupyter.execute(page, "answer = 6 * 7")  # the kernel does other work meanwhile
    assert page.locator(".ll-writing").count() == 3
    send.click()
    page.wait_for_selector(".ll-writing", state="detached")
    stopped = texts(page)
    assert page.locator(".ll-facts").all_inner_texts()[0].endswith(", stopped")
    page.wait_for_timeout(300)
    assert texts(page) == stopped and send.inner_text() == "Send"
    ask(page, REQUEST)
    page.wait_for_selector(".ll-now.ll-exchange .ll-writing")
    page.keyboard.press("Escape")
    page.wait_for_selector(".ll-writing", state="detached")
    assert page.locator(".ll-exchange").count() == 2


def test_a_new_request_does_not_wait_for_the_old(jupyter, page):
    jupyter.execute(page, SLOW)
    ask(page, REQUEST)
    page.wait_for_selector(".ll-now .ll-writing")
    ask(page, "Who are you?")
    page.wait_for_function(
        "() => document.querySelector('.ll-now .ll-asked').innerText === 'Who are you?'"
    )
    old = page.locator(".ll-exchange").nth(1)
    assert old.locator(".ll-asked").inner_text() == REQUEST
    assert all(f.endswith("stopped") for f in old.locator(".ll-facts").all_inner_texts())
    page.locator(".ll-send").click()
    page.wait_for_selector(".ll-writing", state="detached")


def test_by_keys(page):
    area = page.locator(".ll-chat textarea")
    area.focus()
    page.keyboard.type("I have")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("leeks.")
    assert area.input_value() == "I have\nleeks."
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Send"
    assert page.locator(":focus").evaluate("n => getComputedStyle(n).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    ended(page)
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == REQUEST  # the first example
    page.keyboard.press("Space")
    ended(page, 2)
    assert page.locator(".ll-now .ll-asked").inner_text() == REQUEST
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.locator(":focus").get_attribute("aria-label") == "answers"
    page.keyboard.press("b")  # in Jupyter: a new cell below
    assert page.locator(".jp-Notebook .jp-Cell").count() == 1


def test_a_screen_reader_is_told_whole_answers(page):
    said = page.locator(".ll-chat [aria-live=polite]")
    assert said.get_attribute("role") == "status" and said.inner_text() == ""
    ask(page, REQUEST)
    ended(page)
    told = said.text_content().split("\n")
    assert told[0].startswith("base: ") and told[-1] == f"GRPO: {texts(page)[2]}"
    assert page.locator(".ll-now").get_attribute("aria-label") == REQUEST


def test_what_cannot_be_asked_gets_a_sentence(page):
    why = page.locator(".ll-chat [role=alert]")
    page.locator(".ll-send").click()
    why.get_by_text("There is nothing to answer yet: type a request first.").wait_for()
    page.locator(".ll-send").click()  # and again
    page.wait_for_selector(".ll-chat[aria-busy=false]")
    ask(page, "leeks " * 600)
    why.get_by_text("Say it in fewer words.").wait_for()
    assert page.locator(".ll-chat textarea").input_value().startswith("leeks leeks")  # to shorten
    ask(page, "x" * 200_000)
    why.get_by_text("That is 200,000 characters").wait_for()
    assert page.locator(".ll-exchange").count() == 0
    ask(page, REQUEST)
    ended(page)
    assert why.inner_text() == ""


def test_a_word_that_never_ends_is_broken(page):
    ask(page, "long" * 100)
    ended(page)
    assert page.evaluate("document.querySelector('.ll-chat').scrollWidth") <= 1000


def test_a_busy_kernel_is_waited_for_in_words(jupyter, page):
    wait = page.locator(".ll-wait")
    assert wait.is_hidden()
    jupyter.occupy(page, "import time; time.sleep(2)")
    ask(page, REQUEST)
    wait.wait_for(state="visible")
    ended(page)
    assert wait.is_hidden()


def test_dark_and_light(jupyter, page, pictures):
    for i, request in enumerate(
        (REQUEST, "Give me a vegetarian soup of 5 ingredients with leeks.")
    ):
        ask(page, request)
        ended(page, i + 1)
    parts = ["textarea", ".ll-send", ".ll-examples button", ".ll-asked", "h5", ".ll-text"]
    parts += [".ll-facts", ".ll-marks span"]
    jupyter.check_looks(page, ".ll-chat", parts, pictures / "chat-panel")
