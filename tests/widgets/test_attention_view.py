"""What `AttentionView` reads, sends and draws, without a page."""

import base64
import json
import re
from html import unescape

import pytest
import torch
import traitlets

from llmlab.evaluation import interpretability
from llmlab.widgets.attention_view import CELLS, TOKENS, AttentionView, copier, small_pictures

TEXT = "Shopping list: tofu, mango, rice\nMango Tofu needs tofu, mango, rice."
NEEDS = 14  # the place of " needs" in the base's tokens


@pytest.fixture
def view(base):
    return AttentionView(*base, TEXT)


def ids(view: AttentionView) -> list[int]:
    return [token["id"] for token in view._answer["tokens"]]


def test_tokens_are_the_texts_own_after_the_one_before_all_text(view, base):
    _, tokenizer = base
    assert ids(view) == [tokenizer.special("<|end|>"), *tokenizer.encode(TEXT)]
    shown = [token["shown"] for token in view._answer["tokens"]]
    assert shown[:2] == ["<|end|>", "Shopping"] and shown[9] == "↵" and shown[NEEDS] == "·needs"


def test_rows_are_what_the_model_attends_to(view, base):
    attended = interpretability.attention(base[0], ids(view))
    for head in ((3, 2), (0, 4)):
        view.chosen = head
        assert view._head["chosen"] == list(head)
        for i, row in enumerate(view._head["rows"]):
            assert len(row) == i + 1 and all(isinstance(v, int) for v in row)
            assert torch.allclose(
                torch.tensor(row) / 1000, attended[head][i, : i + 1], atol=0.00051
            )


def test_it_opens_on_the_head_that_copies(view, base):
    scores = interpretability.copying(interpretability.attention(base[0], ids(view)), ids(view))
    best = divmod(scores.argmax().item(), 5)
    assert view.chosen == best == tuple(view._answer["copier"])
    assert view._answer["score"] == pytest.approx(scores.max().item(), abs=0.0006)
    assert view._answer["score"] > 0.4
    twins = [[j for j in range(i + 1) if ids(view)[j] == ids(view)[i + 1]] for i in range(20)]
    even = [len(found) / (i + 1) for i, found in enumerate(twins) if found]
    assert view._answer["even"] == pytest.approx(sum(even) / len(even), abs=0.0006)
    view.place = NEEDS
    (place, share), *_ = view.takes()
    assert ids(view)[place] == ids(view)[NEEDS + 1] and share > 0.75


def test_a_text_without_repeats_names_no_head(view):
    view.text = "Whisk two eggs."
    assert view._answer["copier"] is None and view._answer["repeats"] is False
    assert view.chosen == (3, 4)  # the choice stays


def test_a_head_that_copies_less_than_by_lot_is_not_named():
    attended = torch.zeros(1, 2, 3, 3)
    attended[:, :, :, 0] = 1  # all look at the first place, where "5" has not stood
    assert copier(attended, [1, 5, 5]) == {
        "copier": None, "score": None, "even": None, "repeats": True
    }  # fmt: skip
    attended[0, 1, 1] = torch.tensor([0.0, 1, 0])
    assert copier(attended, [1, 5, 5])["copier"] == [0, 1]
    assert copier(attended, [1, 5, 5])["even"] == 0.5


def test_a_new_text_is_read_with_the_same_head(view, base):
    view.chosen, view.place = (1, 4), 3
    view.text = "Lemon rice needs lemon"
    assert view.chosen == (1, 4) and view.place == -1
    row = interpretability.attention(base[0], ids(view))[1, 4, -1]
    assert len(ids(view)) == len(view._head["rows"]) < 21
    assert view.takes()[0] == (row.argmax().item(), pytest.approx(row.max().item(), abs=0.0006))


@pytest.mark.parametrize("head", [(4, 0), (0, 5), (-1, 0)])
def test_a_head_that_is_not_there_is_refused(view, head):
    with pytest.raises(traitlets.TraitError, match="4 layers of 5 heads"):
        view.chosen = head
    assert view.chosen == (3, 4)


def test_the_page_can_choose_with_a_list(view):
    view.set_state({"chosen": [2, 1], "place": 5})
    assert view.chosen == (2, 1) and view._head["chosen"] == [2, 1]


@pytest.mark.parametrize(("place", "at"), [(-1, 20), (0, 0), (7, 7), (99, 20), (-99, 0)])
def test_any_place_is_a_token(view, place, at):
    view.place = place
    assert len(view.takes()) == at + 1
    assert sum(share for _, share in view.takes()) == pytest.approx(1, abs=0.02)


def test_small_pictures_keep_what_is_large():
    attended = torch.zeros(1, 2, 3, 3)
    attended[0, 0] = torch.tensor([[1, 0, 0], [0.25, 0.75, 0], [0.01, 0, 0.99]])
    assert small_pictures(attended)[0] == ["948109", "000000"]
    long = torch.zeros(1, 1, 64, 64)
    long[0, 0, 63, 10] = 1
    digits = small_pictures(long)[0][0]
    assert len(digits) == CELLS * (CELLS + 1) // 2 and digits.count("9") == 1
    assert digits.index("9") == 31 * 32 // 2 + 5


def test_long_texts_are_cut_to_what_is_shown_and_what_the_model_holds(view, small):
    view.text = TEXT * 10
    assert len(ids(view)) == TOKENS and view._answer["count"] == 201 and not view._answer["cut"]
    view.text = TEXT * 100
    assert view._answer["cut"] and view._answer["count"] < 1000
    little = AttentionView(*small, "Melt the butter. " * 30)
    assert len(ids(little)) == 40
    view.text = ""
    assert len(ids(view)) == 1 and view.takes() == [(0, 1.0)]


def test_a_model_of_random_weights_will_do(small):
    view = AttentionView(*small, "Melt the butter", chosen=(1, 2), place=2)
    assert [len(layer) for layer in view._answer["pictures"]] == [3, 3]
    assert view.chosen == (1, 2) and len(view.takes()) == 3


def test_little_travels(base):
    view = AttentionView(*base, "stir the pot " * 60)
    sizes = {name: len(json.dumps(getattr(view, name))) for name in ("_answer", "_head")}
    print(sizes)
    assert len(ids(view)) == TOKENS and sizes["_answer"] < 20_000 and sizes["_head"] < 10_000


def test_a_special_token_that_is_typed_stays_text(view):
    view.text = "<|end|>"
    assert ids(view).count(ids(view)[0]) == 1


def svg(view: AttentionView) -> str:
    html = view._repr_mimebundle_()[0]["text/html"]
    return base64.b64decode(
        re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', html)[1]
    ).decode()


def test_the_static_picture_stands_alone(view):
    data, _ = view._repr_mimebundle_()
    html = data["text/html"]
    assert data["text/plain"] == repr(view)
    assert repr(view) == "AttentionView: layer 3, head 4, which copies most; 21 tokens"
    assert "http" not in html and "class=" not in html and len(html) < 60_000
    assert "“.”, token 20, takes most from" in unescape(re.sub(r"<[^>]+>", "", html))
    picture = svg(view)
    assert picture.count("<image") == 20 and "◆ copies" in picture
    assert "·needs</text>" in picture and "script" not in picture
    assert re.findall(r'<rect x="(\d+)" y="(\d+)"[^>]*stroke-width="2.5"', picture) == [
        (str(52 + 4 * 56), str(20 + 3 * 56))
    ]
    view.chosen, view.place = (0, 1), NEEDS
    assert "AttentionView: layer 0, head 1; 21 tokens" in view._static_html()
    assert "“·needs”, token 14" in unescape(re.sub(r"<[^>]+>", "", view._static_html()))
    assert svg(view) != picture


def test_the_picture_of_a_long_text_is_small(base):
    assert len(AttentionView(*base, TEXT * 10)._static_html()) < 120_000
