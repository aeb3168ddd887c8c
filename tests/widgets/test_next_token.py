"""What `NextToken` reckons, appends and draws, without a page."""

import json
import math
import re
from html import unescape

import pytest
import torch

from llmlab.core.sampling import filter_logits, generate
from llmlab.widgets.next_token import LIMIT, NEWEST, SHOWN, NextToken, bits, chances

TEXT = "Lemon rice\n\nMelt the butter in a"


@pytest.fixture
def view(base):
    return NextToken(*base, TEXT)


def found(view: NextToken, key: str) -> list:
    """One property of every row."""
    return [row[key] for row in view._answer["rows"]]


def prompt(base, text: str = TEXT) -> list[int]:
    return [base[1].special("<|end|>"), *base[1].encode(text)]


def test_rows_are_the_model_s_own_likeliest(view, base):
    with torch.inference_mode():
        logits = base[0](torch.tensor([prompt(base)]))[0, -1].float()
    own = logits.softmax(-1)
    best = own.topk(SHOWN).values.tolist()
    assert found(view, "own") == pytest.approx(best, abs=2e-5) == found(view, "now")
    assert [own[i].item() for i in found(view, "id")] == pytest.approx(best, abs=2e-5)
    others = view._answer["others"]
    assert others["count"] == 2048 - SHOWN
    assert others["now"] == others["own"] == pytest.approx(1 - sum(best), abs=1e-4)
    assert view._answer["kept"] == view._answer["ids"] == 2048


@pytest.mark.parametrize(("t", "k", "p"), [(0.5, 0, 1), (2, 5, 1), (0.8, 40, 0.9), (1, 0, 0.3)])
def test_chances_are_those_that_the_sampler_draws_by(view, t, k, p):
    own, own_bits = found(view, "own"), view._answer["own_bits"]
    view.temperature, view.top_k, view.top_p = t, k, p
    assert found(view, "own") == own and view._answer["own_bits"] == own_bits
    filtered = filter_logits(view._logits[None], t, k, p)[0]
    assert torch.equal(view.probs, filtered.softmax(-1))
    assert view._answer["kept"] == filtered.isfinite().sum()
    assert found(view, "now") == pytest.approx(view.probs[found(view, "id")].tolist(), abs=1e-5)
    for i, why in zip(found(view, "id"), found(view, "why"), strict=True):
        assert bool(why) == (not filtered[i].isfinite())
    assert view._answer["bits"] == pytest.approx(
        -sum(q * math.log2(q) for q in view.probs.tolist() if q), abs=0.001
    )


def test_what_leaves_a_token_out_is_named(view):
    view.top_k = 5
    n = (view._logits >= view._logits.topk(5).values[-1]).sum().item()  # equal ones both stay
    assert 5 <= n < 12 and found(view, "why") == [""] * n + ["top-k"] * (12 - n)
    view.top_p = 0.3
    kept = found(view, "why").count("")
    assert 0 < kept < n
    assert found(view, "why") == [""] * kept + ["top-p"] * (n - kept) + ["top-k"] * (12 - n)
    view.temperature = 0
    assert found(view, "why") == [""] + ["temperature 0"] * 11
    assert found(view, "now") == [1] + [0] * 11 and view._answer["bits"] == 0


def test_entropy_is_in_bits():
    assert bits(torch.tensor([0.25, 0.25, 0.25, 0.25, 0])) == pytest.approx(2)
    assert bits(torch.tensor([0.0, 1])) == 0
    assert chances(torch.tensor([0.0, 3, 1]), 0, 2, 0.5).tolist() == [0, 1, 0]


def test_greedy_draws_write_what_generate_writes(view, base):
    view.temperature = 0
    for _ in range(12):
        view.draw()
    ids = generate(base[0], [prompt(base)], 12, temperature=0)[0]
    assert view._context == [*prompt(base), *ids] and view._answer["added"] == 12
    assert view.text == TEXT + base[1].decode(ids)


def test_draws_follow_the_chances_and_the_seed(small):
    view = NextToken(*small, "Melt", temperature=1.5, top_k=3, seed=3)
    chance = dict(zip(found(view, "id"), found(view, "now"), strict=True))
    drawn = []
    for _ in range(400):
        view.draw()
        drawn.append(view._context[-1])
        view.undo()
    for i, share in chance.items():
        assert drawn.count(i) / 400 == pytest.approx(share, abs=0.08)
    assert set(drawn) == {i for i in chance if chance[i]}
    again = NextToken(*small, "Melt", temperature=1.5, top_k=3, seed=3)
    again.draw()
    assert again._context[-1] == drawn[0]


def test_append_and_undo_move_by_ids_and_not_by_letters(view, base):
    before = view._answer
    ids = [ord("x"), ord("y"), *"🍜".encode()[:2]]  # together they could be other tokens
    for i in ids:
        view.append(i)
    assert view._context == [*prompt(base), *ids]
    assert view.text == TEXT + "xy\ufffd" and view._answer["added"] == 4
    assert view._answer["tokens"][-2:] == ["[F0]", "[9F]"]
    for _ in range(4):
        view.undo()
    assert view._answer == before and view.text == TEXT
    view.undo()  # nothing left to take back
    assert view._answer == before


def test_a_special_token_can_be_appended_and_read(view, base):
    end = base[1].special("<|end|>")
    view.append(end)
    assert view._context[-1] == end and view.text == TEXT + "<|end|>"
    view.temperature = 0.5  # the ids stay what they are
    assert view._context[-1] == end
    view.text = TEXT + "<|end|>!"  # what is typed is plain text
    assert view._context.count(end) == 1 and view._answer["added"] == 0


def test_typing_ends_what_can_be_taken_back(view, base):
    view.draw()
    view.text += " b"
    assert view._answer["added"] == 0
    view.undo()
    assert view._context == prompt(base, view.text)


def test_a_text_at_its_limit_can_go_on(view):
    view.text = "butter " * 3000
    assert len(view.text) == LIMIT
    view.draw()
    assert view._answer["added"] == 1 and len(view.text) > LIMIT
    view.undo()
    assert len(view.text) == LIMIT == len(view._answer["text"])


def test_an_unknown_id_is_refused(view):
    for i in (-1, 2048):
        with pytest.raises(ValueError, match="the model has 2048"):
            view.append(i)
    assert view.text == TEXT


def test_messages_of_the_page_are_obeyed_and_numbered(view):
    i = found(view, "id")[3]
    view._handle_custom_msg({"do": "append", "act": 71, "i": i}, [])
    assert view._context[-1] == i and view._answer["act"] == 71
    view._handle_custom_msg({"do": "draw", "act": 72}, [])
    view._handle_custom_msg({"do": "undo", "act": 73}, [])
    assert view._context[-1] == i and view._answer["act"] == 73


def test_the_answer_carries_its_question(view):
    view.set_state({"temperature": 0.7, "top_k": 3, "top_p": 0.9, "text": "Melt"})
    assert view._answer["text"] == "Melt" and view._answer["sliders"] == [0.7, 3, 0.9]


def test_older_text_is_left_out_where_the_context_ends(small):
    model, tokenizer = small
    words = "Melt the butter, then stir. " * 20
    view = NextToken(model, tokenizer, words)
    ids = tokenizer.encode(words)
    assert view._context == ids[-40:]
    assert (view._answer["read"], view._answer["left_out"]) == (40, len(ids) - 39)
    assert len(view._answer["tokens"]) == NEWEST
    view.draw()
    assert view._context[:-1] == ids[-39:] and view._answer["left_out"] == len(ids) - 38
    view.text = ""
    assert view._context == [tokenizer.special("<|end|>")] and view._answer["left_out"] == 0


def test_little_travels(view):
    size = len(json.dumps(view._answer))
    print(size, "bytes")
    assert size < 2500


def test_the_static_picture_stands_alone(view):
    view.top_k = 4
    view.draw()
    data, _ = view._repr_mimebundle_()
    html = data["text/html"]
    assert data["text/plain"] == repr(view) and repr(view).startswith("NextToken: “")
    assert "temperature 1, top-k 4, top-p 1: 4 of 2,048 tokens kept, entropy" in repr(view)
    assert "http" not in html and "class=" not in html and len(html) < 20_000
    assert html.count("✕ left out: top-k") == SHOWN - 4
    codes = [unescape(code) for code in re.findall(r"<bdi[^>]*>([^<]*)</bdi>", html)]
    shown = view._answer["tokens"]
    assert codes[: len(shown)] == shown and found(view, "shown") == codes[-SHOWN:]
    assert html.count("<u>") == 1 and "2,036 others" in html
