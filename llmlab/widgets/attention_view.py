"""`AttentionView`: from which earlier tokens each head of each layer takes, on any text."""

import base64
import io

import tiktoken
import torch
import torch.nn.functional as F
import traitlets
from matplotlib.image import imsave
from torch import Tensor

from llmlab.core.model import Transformer
from llmlab.core.tokenizer import BPE
from llmlab.evaluation import interpretability
from llmlab.widgets.base import (
    Widget,
    Words,
    bar,
    escape,
    isolated,
    paper,
    plain,
    script,
    style,
    svg_image,
    table,
)  # fmt: skip
from llmlab.widgets.token_view import first_part, in_hex, readable, visible

LIMIT = 2048  # bytes of a text that are read
TOKENS = 64  # of them on show, with the one before all text
CELLS = 32  # a side, at most, of the small picture of a head
SMALL, CELL, FONT = 48, 15, 10  # pixels of the static picture


class AttentionView(Widget):
    """All heads of a model at work on a text that can be retyped; one of them large.

        AttentionView(model, tokenizer, "Lemon rice needs lemon, rice")

    text: what the model reads, after <|end|>, as in its training; the first `TOKENS` tokens.
    chosen: (layer, head), both counted from 0; at first the one that copies most.
    place: the token that takes, counted from 0 for <|end|>; -1 is the last.
    """

    _esm, _css = script(__file__), style(__file__, "ll-attention")

    text = Words().tag(sync=True)
    chosen = traitlets.Tuple(traitlets.Int(), traitlets.Int()).tag(sync=True)
    place = traitlets.Int(-1).tag(sync=True)
    _answer = traitlets.Dict().tag(sync=True)  # it carries its question: "text"
    _head = traitlets.Dict().tag(sync=True)  # so does this: "chosen"; rows in thousandths

    def __init__(self, model: Transformer, tokenizer: BPE, text: str, chosen=None, place: int = -1):
        self._model, self._encoding = model, tokenizer.to_tiktoken()
        self._end = tokenizer.special("<|end|>")
        answer = self._read(plain(text))
        first = chosen or answer["copier"] or (0, 0)
        super().__init__(text=text, _answer=answer, chosen=first, place=place)
        self._show_head()

    def _read(self, text: str) -> dict:
        """Let the model read; what the page needs to know of it, apart from the chosen head."""
        self._seen, part = text, first_part(text, LIMIT)
        ids = [self._end, *self._encoding.encode_ordinary(part)]
        shown = ids[: min(TOKENS, self._model.config.max_seq_len)]
        self._attended = interpretability.attention(self._model, shown)  # (layers, heads, T, T)
        return {
            "text": part,
            "cut": len(part) < len(text),
            "count": len(ids),
            "tokens": [{"id": i, "shown": sign(self._encoding, i)} for i in shown],
            "pictures": small_pictures(self._attended),
            **copier(self._attended, shown),
        }

    def _show_head(self) -> None:
        layer, head = self.chosen
        thousandths = (1000 * self._attended[layer, head]).round().int().tolist()
        rows = [row[: i + 1] for i, row in enumerate(thousandths)]
        self._head = {"chosen": [layer, head], "rows": rows}

    @traitlets.validate("chosen")
    def _valid_head(self, proposal) -> tuple[int, int]:
        layers, heads = self._attended.shape[:2]
        layer, head = proposal["value"]
        if not (0 <= layer < layers and 0 <= head < heads):
            there = f"{layers} layers of {heads} heads, counted from 0"
            raise traitlets.TraitError(f"There is no head {layer, head}: the model has {there}.")
        return proposal["value"]

    @traitlets.observe("text")
    def _answer_anew(self, change) -> None:
        if self.text == self._seen:
            return  # it has just been made
        with self.hold_sync():  # one message: the page never sees rows of another text
            self.place = -1
            self._answer = self._read(self.text)
            self._show_head()

    @traitlets.observe("chosen")
    def _choose(self, change) -> None:
        self._show_head()

    def takes(self) -> list[tuple[int, float]]:
        """(place, share) of the tokens from which the token at `place` takes, largest first."""
        row = self._head["rows"][self._at()]
        return sorted(((j, v / 1000) for j, v in enumerate(row)), key=lambda pair: -pair[1])

    def _at(self) -> int:
        """`place`, counted from the front and inside the text."""
        last = len(self._head["rows"]) - 1
        return min(self.place, last) if self.place >= 0 else max(0, last + 1 + self.place)

    def __repr__(self) -> str:
        (layer, head), count = self.chosen, len(self._answer["tokens"])
        copies = ", which copies most" if self._answer["copier"] == [layer, head] else ""
        tokens = f"{count} token{'' if count == 1 else 's'}"
        return f"AttentionView: layer {layer}, head {head}{copies}; {tokens}"

    def _static_html(self) -> str:
        """All heads small, the chosen one large, and from where one token takes."""
        words = [token["shown"] for token in self._answer["tokens"]]
        svg = to_svg(self._answer, self._head, self._at())
        picture = svg_image(svg, repr(self), "max-width:100%;display:block")
        rows = [
            (f"<code>{isolated(words[j])}</code>", str(j), f"{share:.1%}", bar(share))
            for j, share in self.takes()[:5]
        ]
        caption = f"“{words[self._at()]}”, token {self._at()}, takes most from"
        takes = table(caption, ("token", "place>", "share>", ""), rows)
        return paper(f"<div>{escape(repr(self))}</div>{picture}{takes}")


def sign(encoding: tiktoken.Encoding, i: int) -> str:
    """What a reader can see of a token, on one line: signs for spaces, [bytes] for parts."""
    raw = encoding.decode_single_token_bytes(i)
    return visible(readable(raw)).replace("\n", "") or f"[{in_hex(raw)}]"


def copier(attended: Tensor, ids: list[int]) -> dict:
    """The head that looks most at where the next id has stood before; None where none has.

    score: its share of attention that goes there; even: that of a head that looks everywhere alike.
    """
    scores = interpretability.copying(attended, ids)  # (layers, heads)
    everywhere = torch.ones(1, 1, len(ids), len(ids)).tril()
    even = interpretability.copying(everywhere / everywhere.sum(-1, keepdim=True), ids).item()
    if scores.isnan().any() or scores.max() <= even:
        return {"copier": None, "score": None, "even": None, "repeats": not scores.isnan().any()}
    best = divmod(scores.argmax().item(), scores.shape[1])
    score = round(scores.max().item(), 3)
    return {"copier": list(best), "score": score, "even": round(even, 3), "repeats": True}


def small_pictures(attended: Tensor) -> list[list[str]]:
    """A string for each head: digits 0 to 9, row by row to the diagonal, `CELLS` rows at most.

    attended: (layers, heads, T, T).  A digit is 9 times the root of the weight, so that what is
    faint can be seen; of cells that share a digit the largest counts.
    """
    step = -(-attended.shape[-1] // CELLS)
    levels = (9 * F.max_pool2d(attended, step, ceil_mode=True).sqrt()).round().int()
    i, j = torch.tril_indices(*levels.shape[2:])
    return [["".join(map(str, head)) for head in layer] for layer in levels[:, :, i, j].tolist()]


# --- The static picture ---------------------------------------------------------------------


def to_svg(answer: dict, head: dict, place: int) -> str:
    """Small pictures on the left, the chosen head on the right, a band on the row of `place`."""
    layers, heads = len(answer["pictures"]), len(answer["pictures"][0])
    left, gap = 52, SMALL + 8
    words = [token["shown"] for token in answer["tokens"]]
    right = left + heads * gap + 24
    width = right + CELL * len(words) + 7 * max(map(len, words))
    height = max(20 + layers * gap, 24 + CELL * len(words))
    parts = [label(left + h * gap, 14, f"head {h}") for h in range(heads)]
    for number, layer in enumerate(answer["pictures"]):
        parts.append(label(0, 20 + number * gap + SMALL / 2, f"layer {number}"))
        for h, digits in enumerate(layer):
            x, y = left + h * gap, 20 + number * gap
            parts.append(small(digits, x, y, chosen=[number, h] == head["chosen"]))
            if [number, h] == answer["copier"]:
                parts.append(label(x + SMALL - 2, y + 10, "◆ copies", "text-anchor:end"))
    layer, h = head["chosen"]
    parts.append(label(right, 14, f"layer {layer}, head {h}", "font-weight:bold"))
    band = f'width="{CELL * (place + 1)}" height="{CELL}" fill="#0072b2" fill-opacity="0.22"'
    parts.append(f'<rect x="{right}" y="{24 + CELL * place}" {band}/>')
    parts += [row(i, head["rows"][i], words[i], right, 24) for i in range(len(words))]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" style="background:#fff;color:#222;'
        f'font:{FONT}px sans-serif">{"".join(parts)}</svg>'
    )


def label(x: float, y: float, words: str, style: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" style="fill:currentColor;{style}">{escape(words)}</text>'


def small(digits: str, x: float, y: float, chosen: bool) -> str:
    """A head's small picture in a frame: the darker, the more."""
    side = next(n for n in range(CELLS + 1) if n * (n + 1) // 2 == len(digits))
    cells = torch.zeros(side, side)
    cells[*torch.tril_indices(side, side)] = torch.tensor([float(digit) for digit in digits])
    place = f'x="{x}" y="{y}" width="{SMALL}" height="{SMALL}"'
    stroke = f'fill="none" stroke="currentColor" stroke-width="{2.5 if chosen else 0.4}"'
    href = f"data:image/png;base64,{greys(cells)}"
    return (
        f'<image {place} style="image-rendering:pixelated" href="{href}"/><rect {place} {stroke}/>'
    )


def greys(cells: Tensor) -> str:
    """A PNG in base64, a pixel a cell: from white for 0 to black for 9."""
    png = io.BytesIO()
    imsave(png, cells.numpy(), vmin=0, vmax=9, cmap="Greys", format="png")
    return base64.b64encode(png.getvalue()).decode()


def row(i: int, thousandths: list[int], word: str, x: float, y: float) -> str:
    """A token's row: squares whose areas are its shares, and the word right of the diagonal."""
    y += CELL * i
    sides = [(CELL - 1) * (v / 1000) ** 0.5 for v in thousandths]
    squares = "".join(
        f"M{x + CELL * j + (CELL - s) / 2:.1f} {y + (CELL - s) / 2:.1f}h{s:.1f}v{s:.1f}h-{s:.1f}z"
        for j, s in enumerate(sides)
        if s >= 1.5
    )
    return f'<path d="{squares}"/>' + label(x + CELL * (i + 1) + 4, y + CELL - 4, word)
