"""What `Labeller` keeps and shows, without a page."""

import json

import pytest

from llmlab.widgets.labeller import NOT_WORTH, WORTH, Labeller

TEXTS = ["Boil the rice.", "<script>window.hacked = 1</script>", "a" * 100_000, "\ud800 \u202e end"]


@pytest.fixture
def labeller(tmp_path):
    return Labeller(TEXTS, tmp_path / "labels.json")


def click(labeller: Labeller, name: str) -> None:
    labeller._buttons[name].click()


def test_labels_are_given_one_by_one_and_kept_at_once(labeller, tmp_path):
    assert labeller.labels == {} and labeller.place == 0
    click(labeller, WORTH)
    assert labeller.labels == {0: True} and labeller.place == 1
    click(labeller, NOT_WORTH)
    assert labeller.labels == {0: True, 1: False}
    assert sorted(json.loads((tmp_path / "labels.json").read_text()).values()) == [False, True]


def test_a_new_labeller_goes_on_where_the_old_one_stopped(labeller, tmp_path):
    for name in (WORTH, NOT_WORTH):
        click(labeller, name)
    again = Labeller(list(reversed(TEXTS)), tmp_path / "labels.json")
    assert again.labels == {3: True, 2: False} and again.place == 0


def test_back_and_skip_change_no_label_and_a_label_can_be_changed(labeller):
    click(labeller, "skip")
    click(labeller, "skip")
    click(labeller, "back")
    assert labeller.place == 1 and labeller.labels == {}
    click(labeller, WORTH)
    click(labeller, "back")
    assert f"✓ {WORTH}" in labeller._page.value
    click(labeller, NOT_WORTH)
    assert labeller.labels == {1: False}


def test_after_the_last_page_comes_the_first(labeller):
    for _ in TEXTS:
        click(labeller, WORTH)
    assert labeller.place == 0 and len(labeller.labels) == len(TEXTS)
    assert "4 of 4 labelled" in labeller._words.value


def test_without_a_file_labels_live_as_long_as_the_labeller():
    labeller = Labeller(TEXTS)
    click(labeller, WORTH)
    assert labeller.labels == {0: True}
    with pytest.raises(ValueError, match="no page"):
        Labeller([])


def test_the_static_picture_counts_and_quotes_nothing(labeller):
    click(labeller, WORTH)
    page = labeller._repr_mimebundle_()["text/html"]
    assert "rice" not in page and WORTH in page and ">3<" in page
    assert repr(labeller) == "Labeller: 1 of 4 pages labelled"
