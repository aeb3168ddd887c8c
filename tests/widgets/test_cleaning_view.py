"""What `CleaningView` counts, cuts and sends, without a page."""

import json

import pytest

from llmlab.widgets.cleaning_view import (
    PAGE,
    SHOWN,
    CleaningView,
    Document,
    Filter,
    join,
    pieces,
    shared_spans,
    with_twin,
)

FILTERS = [Filter("too short", "fewer than 5 words"), Filter("spam", "sells"), Filter("twins")]


def documents() -> list[Document]:
    short = [Document(f"short {i}", "web", "too short", "2 words") for i in range(30)]
    spam = [Document("Buy now! Buy!", "web", "spam", "says “buy” twice", ((0, 3), (9, 12)))]
    return short + spam + [Document(f"A good text, number {i}.", "books") for i in range(9)]


@pytest.fixture
def view() -> CleaningView:
    return CleaningView(FILTERS, documents())


def test_the_funnel_counts_what_is_left(view):
    rows = [(f["name"], f["count"], f["left"]) for f in view._funnel]
    assert rows == [("too short", 30, 10), ("spam", 1, 9), ("twins", 0, 9), ("kept", 9, 9)]
    assert view._total == 40


def test_it_opens_on_the_first_filter_that_removed_something():
    assert CleaningView(FILTERS, documents()[30:]).chosen == 1


def test_a_chosen_document_comes_with_its_page_of_the_list(view):
    view.document = PAGE + 1
    assert view._view["first"] == PAGE and view._view["document"] == PAGE + 1
    assert [row["head"] for row in view._view["rows"]][1] == f"short {PAGE + 1}"
    assert view._view["shown"]["pieces"] == [(f"short {PAGE + 1}", False)]
    assert view._view["shown"]["reason"] == "2 words"


def test_a_filter_begins_at_its_first_document(view):
    view.document = 20
    view.chosen = 1
    assert view.document == 0 and view._view["chosen"] == 1
    assert view._view["shown"]["pieces"][0] == ("Buy", True)
    view.chosen = 2
    assert view._view["rows"] == [] and view._view["shown"] is None
    view.chosen = 3
    assert len(view._view["rows"]) == 9 and view._view["shown"]["reason"] == ""


def test_places_outside_become_the_nearest_inside(view):
    view.document = 999
    assert view.document == 29
    view.chosen = -5
    assert view.chosen == 0
    view.chosen = 77
    assert view.chosen == 3


def test_only_what_is_shown_travels():
    many = [Document(f"{i} " + "x" * 5000, "web", "spam") for i in range(1000)]
    view = CleaningView([Filter("spam")], many)
    assert len(json.dumps(view.get_state()["_view"])) < 5000 + 4000
    view.document = 500
    assert view._view["shown"]["pieces"][0][0].startswith("500 ")


def test_pieces_are_the_text_again():
    text = "naïve 🍋 café"
    cut = pieces(text, [(6, 7), (0, 2), (1, 3), (99, 120), (8, 8)])
    assert cut == [("naï", True), ("ve ", False), ("🍋", True), (" café", False)]
    assert "".join(piece for piece, _ in cut) == text
    assert pieces("", []) == []


def test_a_long_document_is_cut_and_its_size_told():
    view = CleaningView([], [Document("x" * 100_000, spans=((10, 99_999),))])
    shown = view._view["shown"]
    assert [len(piece) for piece, _ in shown["pieces"]] == [10, SHOWN - 10]
    assert shown["size"] == 100_000


def test_spans_that_overlap_or_touch_become_one():
    assert join([(5, 8), (0, 3), (2, 5), (10, 11)]) == [(0, 8), (10, 11)]


def test_shared_runs_of_words_are_marked_in_both():
    a, b = "Mix the eggs, and the flour. Bake.", "First: mix THE eggs and the sugar; bake."
    mine, theirs = shared_spans(a, b)
    assert [a[s:e] for s, e in mine] == ["Mix the eggs, and the"]
    assert [b[s:e] for s, e in theirs] == ["mix THE eggs and the"]
    assert shared_spans(a, b, n=5) == (mine, theirs)
    assert shared_spans(a, b, n=6) == ((), ())
    assert shared_spans("", b) == ((), ())


def test_shared_spans_of_large_texts():
    a = " ".join(str(i % 977) for i in range(20_000))
    mine, _ = shared_spans(a, a)
    assert mine == ((0, len(a)),)  # by every pair of places it would take minutes


def test_a_twin_travels_with_its_own_marks():
    twin = with_twin(Document("one two three four", "web", "twins"), "zero one two three", "wiki")
    shown = CleaningView(FILTERS, [twin])._view["shown"]
    assert shown["pieces"] == [("one two three", True), (" four", False)]
    assert shown["twin"]["pieces"] == [("zero ", False), ("one two three", True)]
    assert shown["twin"]["source"] == "wiki"


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="'ghost'"):
        CleaningView(FILTERS, [Document("a", removed_by="ghost")])
    with pytest.raises(ValueError, match="same name"):
        CleaningView([Filter("a"), Filter("a")], [])


def test_nothing_at_all_can_be_shown():
    view = CleaningView([], [])
    assert view._view["shown"] is None
    assert repr(view) == "CleaningView: 0 documents; kept 0"
    assert "<table>" in view._static_html()


def test_mime_bundle_holds_the_funnel_and_no_document(view):
    data, _ = view._repr_mimebundle_()
    assert data["text/plain"] == (
        "CleaningView: 40 documents; too short −30; spam −1; twins −0; kept 9"
    )
    table = data["text/html"]
    assert table.count("<tr>") == 1 + 1 + 3
    assert "short 1" not in table and "Buy" not in table and "http" not in table
    assert "width:120px" in table and "width:30px" in table
