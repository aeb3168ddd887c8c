"""What `TokenView` makes of a text, without a page."""

import re
from html import unescape

import pytest

from llmlab.core.tokenizer import train_bpe
from llmlab.stages.tokenization import get_encoding
from llmlab.widgets import token_view
from llmlab.widgets.token_view import DRAWN, LIMIT, TokenView, tokenise, visible

TEXT = "Melt the butter, then stir.\n🍜 <|end|>"


@pytest.fixture(scope="module")
def bpe():
    return train_bpe("Melt the butter, then stir. " * 9, 277)


@pytest.fixture
def view(bpe):
    return TokenView(TEXT, {"gpt2": get_encoding("gpt2"), "ours": bpe})


def found(view: TokenView, column: int, key: str) -> list:
    """One property of every token that an encoding made."""
    return [token[key] for token in view._answer["encodings"][column]["tokens"]]


def test_ids_are_the_encodings_own(view, bpe):
    assert found(view, 0, "id") == get_encoding("gpt2").encode_ordinary(TEXT)
    assert found(view, 1, "id") == bpe.encode(TEXT)
    view.text = "then stir"
    assert found(view, 1, "id") == bpe.encode("then stir")


@pytest.mark.parametrize("text", [TEXT, "xx the the e", "🍜🍜🍜🍜"])
def test_bytes_are_the_texts_own(view, text):
    view.text = text
    for column in (0, 1):
        raw = [bytes.fromhex(pair) for pair in found(view, column, "bytes")]
        assert b"".join(raw) == text.encode()
        assert found(view, column, "at") == [len(b"".join(raw[:i])) for i in range(len(raw))]
        assert found(view, column, "size") == [len(part) for part in raw]


def test_parts_of_a_character_are_not_passed_off_as_text(view):
    view.text = "a 🍜"  # GPT-2 has a token of a space and a part of a character
    assert found(view, 0, "bytes") == ["61", "20 F0 9F", "8D", "9C"]
    assert found(view, 0, "shown") == ["a", "", "", ""]
    assert found(view, 0, "part") == ["", "·🍜", "🍜", "🍜"]


def test_special_tokens_need_the_switch(view, bpe):
    end = bpe.special("<|end|>")
    assert end not in found(view, 1, "id") and not any(found(view, 1, "special"))
    view.specials = True
    assert found(view, 1, "id")[-1] == end and found(view, 1, "special")[-1]
    assert found(view, 0, "id") == get_encoding("gpt2").encode_ordinary(TEXT)
    assert view._answer["encodings"][1]["specials"] == sorted(bpe.specials)


def test_times_count_the_whole_text(bpe):
    encoding = bpe.to_tiktoken()
    answer = tokenise(encoding, "the" + " the" * 1000, specials=False)
    assert answer["count"] == len(encoding.encode("the" + " the" * 1000)) > DRAWN
    assert len(answer["tokens"]) == DRAWN and answer["tokens"][-1]["times"] == 1000


def test_a_pattern_with_gaps_is_followed(view):
    toy = train_bpe("bake boil bake", 258, pattern=r"\S+", specials=())
    tokens = tokenise(toy.to_tiktoken(), "bake  boil", specials=False)["tokens"]
    assert "".join(t["text"] for t in tokens) == "bakeboil"
    assert next(t["at"] for t in tokens if t["at"] > 3) == 6


def test_signs_for_what_cannot_be_seen():
    assert visible("a b\n\tc") == "a·b↵\n→c"
    assert visible("\u202e\u200b\x00\ufe0f\u00a0") == ("⟨U+202E⟩⟨U+200B⟩⟨U+0000⟩⟨U+FE0F⟩⟨U+00A0⟩")
    assert visible("crème 面条 🍜 é") == "crème·面条·🍜·é"


def test_the_answer_carries_its_question(view):
    assert view._answer["text"] == TEXT and view._answer["specials"] is False
    view.text, view.specials = "今" * LIMIT, True
    answer = view._answer
    assert answer["text"] == "今" * (LIMIT // 3) and answer["specials"] is True
    assert (answer["bytes"], answer["all_bytes"]) == (LIMIT // 3 * 3, 3 * LIMIT)


def test_the_static_picture_stands_alone(view):
    data, _ = view._repr_mimebundle_()
    assert (
        data["text/plain"]
        == repr(view)
        == (
            "TokenView: 40 bytes; gpt2 17 tokens, 2.35 bytes per token; "
            "ours 20 tokens, 2.00 bytes per token"
        )
    )
    codes = [unescape(code) for code in re.findall(r"<code[^>]*>([^<]*)</code>", data["text/html"])]
    ids = [str(i) for i in found(view, 0, "id")]
    assert codes[len(ids) :] == ids
    assert codes[: len(ids)] == [
        t["shown"] or f"[{t['bytes']}]" for t in view._answer["encodings"][0]["tokens"]
    ]
    assert "http" not in data["text/html"] and "class=" not in data["text/html"]
    view.white_space = False
    assert "> the</code>" in view._repr_mimebundle_()[0]["text/html"]
    view.text = "butter " * 1000
    count = len(get_encoding("gpt2").encode("butter " * 1000))
    assert f" … and {count - DRAWN} more" in view._repr_mimebundle_()[0]["text/html"]


def test_the_page_has_the_pictures_colours():
    style = token_view.TokenView._css
    for i, tint in enumerate(token_view.TINTS):
        assert f"nth-child(5n+{i + 1}) {{ background: rgba({tint},.32); }}" in style
