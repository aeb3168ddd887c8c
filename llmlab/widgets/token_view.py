"""`TokenView`: any text as tokens, ids and bytes, in several encodings side by side."""

from collections import Counter
from collections.abc import Mapping

import regex
import tiktoken
import traitlets

from llmlab.core.tokenizer import BPE
from llmlab.widgets.base import INK, Widget, Words, escape, paper, plain, script, style

LIMIT = 16_384  # bytes of a text that are tokenised and counted
DRAWN = 300  # tokens of them on show

# Washes over the page's own paper, so that its own ink stays legible in dark and in light.
TINTS = ("0,114,178", "230,159,0", "0,158,115", "204,121,167", "240,228,66")
EDGE = "#808080"  # the line between tokens: at least 3:1 on white and on #111
INVISIBLE = regex.compile(r"[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}]")
MARKS = {" ": "·", "\n": "↵\n", "\t": "→"}


class TokenView(Widget):
    """A text that can be retyped, and what each encoding makes of it.

        TokenView("Melt the butter.", {"gpt2": get_encoding("gpt2"), "ours": bpe})

    text: what is tokenised, its first `LIMIT` bytes.  white_space: spaces and other invisible
    characters are shown as signs.  specials: the name of a special token in the text becomes its
    one id; without it, what is typed stays plain text.
    """

    _esm, _css = script(__file__), style(__file__, "ll-tokens")

    text = Words().tag(sync=True)
    white_space = traitlets.Bool(True).tag(sync=True)
    specials = traitlets.Bool(False).tag(sync=True)
    _answer = traitlets.Dict().tag(sync=True)  # it carries its question: "text" and "specials"

    def __init__(self, text: str, encodings: Mapping[str, tiktoken.Encoding | BPE], **more):
        self._encodings = {
            plain(name): encoding.to_tiktoken() if isinstance(encoding, BPE) else encoding
            for name, encoding in encodings.items()
        }
        super().__init__(text=text, **more)

    @traitlets.default("_answer")
    def _ask(self) -> dict:
        part = first_part(self.text, LIMIT)
        return {
            "text": part,
            "specials": self.specials,
            "bytes": len(part.encode()),
            "all_bytes": len(self.text.encode()),
            "encodings": [
                {
                    "name": name,
                    "ids": encoding.n_vocab,
                    "specials": sorted(encoding.special_tokens_set),
                    **tokenise(encoding, part, self.specials),
                }
                for name, encoding in self._encodings.items()
            ],
        }

    @traitlets.observe("text", "specials")
    def _answer_anew(self, change) -> None:
        self._answer = self._ask()

    def __repr__(self) -> str:
        size = self._answer["bytes"]
        counts = "; ".join(f"{e['name']} {counted(e, size)}" for e in self._answer["encodings"])
        return f"TokenView: {size:,} bytes; {counts}"

    def _static_html(self) -> str:
        """The spans and ids of the first encoding, and the counts of all."""
        seen = "shown" if self.white_space else "text"
        parts = [f"<div>{escape(repr(self))}</div>"]
        for encoding in self._answer["encodings"][:1]:
            some = encoding["tokens"]
            left = encoding["count"] - len(some)
            rest = f" … and {left} more" if left else ""
            words = [t[seen] or f"[{t['bytes']}]" for t in some]
            spans, ids = (
                "".join(span(mark, i) for i, mark in enumerate(marks))
                for marks in (words, [str(t["id"]) for t in some])
            )
            parts += [f"<p><b>{escape(encoding['name'])}</b></p>"]
            parts += [f'<p style="white-space:pre-wrap">{row}{rest}</p>' for row in (spans, ids)]
        return paper("".join(parts), "line-height:1.7")


def tokenise(encoding: tiktoken.Encoding, text: str, specials: bool) -> dict:
    """How many tokens `text` has ("count"), and the first `DRAWN` of them ("tokens").

    Each has its id, its bytes in hex, where in the text's bytes it begins ("at"), how often the
    text has it ("times"), and what a reader can see of it: "text" and "shown" (with signs for
    invisible characters) are empty where the bytes are not whole characters; "part" then holds
    the characters that they are parts of.
    """
    allowed = "all" if specials else set()
    ids = encoding.encode(text, allowed_special=allowed, disallowed_special=())
    whole, at, times, made = text.encode(), 0, Counter(ids), []
    for i in ids[:DRAWN]:
        raw = encoding.decode_single_token_bytes(i)
        at = whole.index(raw, at)  # a pattern such as \S+ leaves gaps between tokens
        seen = readable(raw)
        made.append({
            "id": i,
            "bytes": in_hex(raw),
            "at": at,
            "size": len(raw),
            "times": times[i],
            "text": seen,
            "shown": visible(seen),
            "part": "" if seen else visible(characters(whole, at, at + len(raw))),
            "special": encoding.is_special_token(i),
        })  # fmt: skip
        at += len(raw)
    return {"count": len(ids), "tokens": made}


def counted(encoding: dict, size: int) -> str:
    """Such as "11 tokens, 3.91 bytes per token", over `size` bytes."""
    number = encoding["count"]
    rate = f", {size / number:.2f} bytes per token" if number else ""
    return f"{number:,} token{'' if number == 1 else 's'}{rate}"


def first_part(text: str, limit: int) -> str:
    """The characters that fit into the first `limit` bytes."""
    return text.encode()[:limit].decode("utf-8", "ignore")


def readable(raw: bytes) -> str:
    """The characters that `raw` spells; empty where it holds only a part of one."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return ""


def in_hex(raw: bytes) -> str:
    """Such as "F0 9F"."""
    return raw.hex(" ").upper()


def characters(whole: bytes, start: int, end: int) -> str:
    """The characters that the bytes from `start` to `end` are parts of."""
    while whole[start] & 0xC0 == 0x80:  # a byte inside a character
        start -= 1
    while end < len(whole) and whole[end] & 0xC0 == 0x80:
        end += 1
    return whole[start:end].decode()


def visible(text: str) -> str:
    """`text` with a sign for each space, tab and line end, a number for what else is unseen."""
    return INVISIBLE.sub(lambda m: MARKS.get(m[0]) or f"⟨U+{ord(m[0]):04X}⟩", text)


def span(words: str, number: int) -> str:
    """A token of the static picture: a wash of colour, and an edge for those who see none."""
    style = f"background:rgba({TINTS[number % len(TINTS)]},.32);border-right:1px solid {EDGE}"
    style += f";color:{INK};padding:1px;unicode-bidi:isolate"
    return f'<code style="{style}">{escape(words)}</code><wbr>'
