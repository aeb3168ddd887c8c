"""`CleaningView` as a learner meets it."""

import re

import pytest

MAKE = """
from llmlab.widgets.cleaning_view import CleaningView, Document, Filter, with_twin

FILTERS = [Filter("too short", "Fewer than 20 words (Gopher's rule asks for 50)."),
           Filter("spam", "Sells something, by a list of phrases."),
           Filter("<b>hostile</b>", "Made to break the page."),
           Filter("near-duplicate", "Shares half of its runs of three words with one before it.")]
SOUP = ("Onion soup. Peel and slice six onions. Melt the butter in a heavy pot and cook the onions "
        "slowly, stirring now and then, until they are golden and soft. Add the stock, salt and a "
        "leaf of bay, and simmer for half an hour. Serve with toasted bread and grated cheese.")
OTHER = SOUP.replace("six onions", "four large onions").replace("a leaf of bay", "some thyme")
FULL = "Knead the dough until it is smooth, let it rise for an hour, and bake it. "
SPAM = "The best oven of the year. Buy now and save! " + FULL
HOSTILE = ["<script>window.hacked=1</script><img src=x onerror='window.hacked=2'>", "\\ud800 half",
           "\\u202e\\u05e9\\u05dc\\u05d5\\u05dd right \\u200b\\u200b", "a" * 100_000]
documents = [Document(f"Salt the water, number {i}.", "forum", "too short", f"{5 + i % 2} words",
                      ((0, 4),)) for i in range(600)]
documents += [Document(SPAM * 60, "web crawl", "spam", "says “Buy now and save”", ((27, 43),))]
documents += [Document(text, "<i>pile</i>", "<b>hostile</b>", "made so") for text in HOSTILE]
documents += [with_twin(Document(OTHER, "blog", "near-duplicate",
                                 "shares 60 % of its runs of three words"), SOUP, "cookbook")]
documents += [Document(FULL * 70, "cookbook") for i in range(394)]
view = CleaningView(FILTERS, documents)
view
"""


@pytest.fixture
def page(jupyter):
    """A notebook with a view of 1,000 documents, all cells run."""
    return jupyter.show("cleaning.ipynb", ".ll-clean .ll-text", MAKE)


def view(page):
    return page.locator(".jp-OutputArea-output .ll-clean")


def wait_for_text(page, words: str) -> None:
    """Until a document in view holds these words."""
    page.wait_for_function(
        "words => document.querySelector('.ll-clean .ll-text')?.textContent.includes(words)",
        arg=words,
    )


def test_the_funnel_tells_what_is_left(page):
    words = [re.sub(r"\s+", " ", w) for w in view(page).locator(".ll-step").all_inner_texts()]
    assert words == [
        "all documents 1,000",
        "1 too short −600 400 left",
        "2 spam −1 399 left",
        "3 <b>hostile</b> −4 395 left",
        "4 near-duplicate −1 394 left",
        "0 kept 394",
    ]
    widths = [bar.bounding_box()["width"] for bar in view(page).locator(".ll-track .ll-left").all()]
    assert widths == sorted(widths, reverse=True)
    assert widths[1] / widths[0] == pytest.approx(0.4, abs=0.01)


def test_a_filter_by_click_and_by_key(page):
    view(page).get_by_role("button", name="spam").click()
    wait_for_text(page, "best oven")
    assert "says “Buy now and save”" in view(page).locator(".ll-reason").inner_text()
    assert view(page).locator("mark").first.inner_text() == "Buy now and save"
    page.keyboard.press("4")
    wait_for_text(page, "four large onions")
    pressed = view(page).locator(".ll-step[aria-pressed=true]")
    assert "near-duplicate" in pressed.inner_text()
    page.keyboard.press("0")
    wait_for_text(page, "Knead the dough")
    assert "Kept." in view(page).locator(".ll-reason").inner_text()
    assert page.locator(".jp-Notebook .jp-Cell").count() == 1  # no shortcut of Jupyter's ran
    assert page.locator(".jp-MarkdownCell").count() == 0


def test_arrows_walk_through_pages_of_documents(page):
    view(page).locator(".ll-list").focus()
    for number in range(1, 14):
        page.keyboard.press("ArrowRight")
        wait_for_text(page, f"number {number}.")
    assert view(page).locator(".ll-bar").inner_text().split("\n")[1] == "14 of 600 documents"
    assert "number 13" in view(page).locator(".ll-row[aria-selected=true]").inner_text()
    assert view(page).locator(".ll-row").count() == 12
    page.keyboard.press("End")
    wait_for_text(page, "number 599.")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    wait_for_text(page, "number 598.")
    view(page).locator(".ll-row").first.click()
    wait_for_text(page, "number 588.")


def test_a_twin_stands_beside_with_the_shared_runs_marked(page):
    view(page).get_by_role("button", name="near-duplicate").click()
    wait_for_text(page, "four large onions")
    figures = view(page).locator("figure")
    assert figures.count() == 2
    assert "its twin · cookbook" in figures.nth(1).inner_text()
    marks = [figures.nth(i).locator("mark").all_inner_texts() for i in (0, 1)]
    assert marks[0] == marks[1] and len(marks[0]) == 3
    assert "four large" not in " ".join(marks[0]) and "six" not in " ".join(marks[1])
    line = figures.nth(0).locator("mark").first
    assert line.evaluate("mark => getComputedStyle(mark).borderBottomWidth") == "2px"


def test_what_is_not_shown_of_a_long_document_is_said(page):
    view(page).get_by_role("button", name="hostile").click()
    view(page).locator(".ll-list").focus()
    page.keyboard.press("End")
    wait_for_text(page, "a" * 20_000)
    assert "80,000 characters are not shown" in view(page).inner_text()


def test_a_mark_far_down_is_scrolled_into_view(jupyter):
    far = MAKE.replace("((27, 43),)", "((5000, 5010),)")
    page = jupyter.open_notebook(jupyter.write_notebook("far.ipynb", far))
    jupyter.run_all(page)
    view(page).get_by_role("button", name="spam").click()
    wait_for_text(page, "best oven")
    mark, text = (view(page).locator(s).bounding_box() for s in ("figure mark", ".ll-text"))
    assert text["y"] <= mark["y"] <= text["y"] + text["height"]


def test_dark_and_light(jupyter, page, pictures):
    view(page).get_by_role("button", name="near-duplicate").click()
    wait_for_text(page, "four large onions")
    parts = ["h4", ".ll-step", ".ll-about", ".ll-row", ".ll-bar button", ".ll-reason", ".ll-text"]
    parts += ["mark", "figcaption", ".ll-quiet", "kbd"]
    jupyter.check_looks(page, ".ll-clean", parts, pictures / "cleaning-view")
