"""`NextToken`: what may come next, and what temperature, top-k and top-p make of it."""

import math

import torch
import traitlets
from torch import Tensor

from llmlab.core.model import Transformer
from llmlab.core.sampling import filter_logits, pick
from llmlab.core.tokenizer import BPE
from llmlab.widgets.attention_view import sign
from llmlab.widgets.base import Widget, bar, isolated, paper, plain, script, style, table

LIMIT = 8192  # characters that are kept of what is typed, its last
SHOWN = 12  # tokens with a bar
NEWEST = 24  # tokens of the text on show


class NextToken(Widget):
    """The likeliest next tokens as bars; click one, or draw one, and the text goes on.

        NextToken(model, tokenizer, "Melt the", temperature=0.8, top_k=40)

    text: what the model reads, after <|end|>, as in its training: the newest tokens that its
    context holds.  temperature: 0 to 2, where 0 takes the likeliest.  top_k: how many of the
    likeliest are kept, 0 for all.  top_p: the least mass of them that is kept, 0.01 to 1.
    seed: of the draws.
    """

    _esm, _css = script(__file__), style(__file__, "ll-next")

    text = traitlets.Unicode().tag(sync=True)
    temperature = traitlets.Float(1.0).tag(sync=True)
    top_k = traitlets.Int(0).tag(sync=True)
    top_p = traitlets.Float(1.0).tag(sync=True)
    _answer = traitlets.Dict().tag(sync=True)  # it carries its question, and the last "act"

    def __init__(self, model: Transformer, tokenizer: BPE, text: str, seed: int = 0, **sliders):
        self._model, self._encoding = model, tokenizer.to_tiktoken()
        self._end = tokenizer.special("<|end|>")
        self._generator = torch.Generator().manual_seed(seed)
        self._added, self._act = 0, 0  # tokens that can be taken back; the page's last message
        text = plain(text)[-LIMIT:]
        self._ids = self._encoding.encode_ordinary(text)
        self._read()
        super().__init__(text=text, **sliders)
        self._answer = self._ask()
        self.on_msg(lambda _, content, buffers: self._obey(**content))

    def append(self, i: int) -> None:
        """Put the token with this id at the end of the text.  ValueError on an unknown id."""
        if not 0 <= i < len(self._logits):
            raise ValueError(f"There is no id {i}: the model has {len(self._logits)}.")
        self._move([*self._ids, i], self._added + 1)

    def draw(self) -> None:
        """Append a token by lot, by the chances on show."""
        how = (self.temperature, self.top_k, self.top_p)
        self.append(pick(self._logits[None], *how, generator=self._generator).item())

    def undo(self) -> None:
        """Take back the last token that was appended; nothing after the text was typed."""
        if self._added:
            self._move(self._ids[:-1], self._added - 1)

    def _obey(self, do: str, act: int, **more) -> None:
        """A message of the page: which method, its number, and the method's arguments."""
        self._act = act
        {"append": self.append, "draw": self.draw, "undo": self.undo}[do](**more)

    def _move(self, ids: list[int], added: int) -> None:
        self._ids, self._added = ids, added
        with self.hold_sync():
            self.text = self._encoding.decode(ids)
            self._read()
            self._answer = self._ask()

    @torch.inference_mode()
    def _read(self) -> None:
        """Let the model read what its context holds."""
        self._context = [self._end, *self._ids][-self._model.config.max_seq_len :]
        ids = torch.tensor([self._context], device=self._model.embed.weight.device)
        self._logits = self._model.head(self._model.hidden(ids)[0, -1]).float().cpu()  # (V,)

    @property
    def probs(self) -> Tensor:
        """The chance of each id under the sliders: (V,)."""
        return chances(self._logits, self.temperature, self.top_k, self.top_p)

    def _ask(self) -> dict:
        own, now, kept = self._logits.softmax(-1), self.probs, self._kept()
        top = self._logits.argsort(descending=True, stable=True)[:SHOWN]
        count = len(self._ids) + 1
        shown = self._context[-NEWEST:]
        return {
            "text": self.text,
            "sliders": [self.temperature, self.top_k, self.top_p],
            "act": self._act,
            "added": self._added,
            "tokens": [sign(self._encoding, i) for i in shown],
            "read": len(self._context),
            "left_out": count - len(self._context),
            "rows": [
                {
                    "id": i,
                    "shown": sign(self._encoding, i),
                    "now": round(now[i].item(), 5),
                    "own": round(own[i].item(), 5),
                    "why": self._why(i) if not kept[i] else "",
                }
                for i in top.tolist()
            ],
            "others": {
                "count": len(own) - len(top),
                "now": round(max(0.0, 1 - now[top].sum().item()), 5),
                "own": round(max(0.0, 1 - own[top].sum().item()), 5),
            },
            "kept": int(kept.sum()),
            "ids": len(own),
            "bits": round(bits(now), 3),
            "own_bits": round(bits(own), 3),
        }

    def _kept(self) -> Tensor:
        """Which ids can come at all: (V,)."""
        if self.temperature == 0:
            return self.probs > 0
        filtered = filter_logits(self._logits[None], self.temperature, self.top_k, self.top_p)
        return filtered[0].isfinite()

    def _why(self, i: int) -> str:
        """What leaves out the id."""
        if self.temperature == 0:
            return "temperature 0"
        by_rank = filter_logits(self._logits[None], self.temperature, self.top_k)[0]
        return "top-p" if by_rank[i].isfinite() else "top-k"

    @traitlets.validate("text")
    def _valid_text(self, proposal) -> str:
        text = plain(proposal["value"])
        return text if text == self._encoding.decode(self._ids) else text[-LIMIT:]

    @traitlets.validate("temperature", "top_p", "top_k")
    def _valid_slider(self, proposal) -> float:
        """The value, to hundredths, as the sliders have it."""
        name, value = proposal["trait"].name, round(proposal["value"], 2)
        ranges = {"temperature": (0, 2), "top_p": (0.01, 1), "top_k": (0, len(self._logits))}
        low, high = ranges[name]
        if not low <= value <= high:
            raise traitlets.TraitError(f"{name} is {low} to {high}, not {proposal['value']}.")
        return value

    @traitlets.observe("text")
    def _retyped(self, change) -> None:
        if self.text == self._encoding.decode(self._ids):
            return  # appended or taken back, or made: the ids spell it
        self._ids, self._added = self._encoding.encode_ordinary(self.text), 0
        self._read()
        self._answer = self._ask()

    @traitlets.observe("temperature", "top_k", "top_p")
    def _slid(self, change) -> None:
        self._answer = self._ask()

    def _summary(self) -> str:
        a = self._answer
        return (
            f"temperature {self.temperature:g}, top-k {self.top_k or 'off'}, "
            f"top-p {self.top_p:g}: {a['kept']:,} of {a['ids']:,} tokens kept, "
            f"entropy {a['bits']:.2f} bits (the model's own {a['own_bits']:.2f})"
        )

    def __repr__(self) -> str:
        first = max(self._answer["rows"], key=lambda row: row["now"])
        return f"NextToken: “{first['shown']}” {first['now']:.1%}; {self._summary()}"

    def _static_html(self) -> str:
        """The newest tokens of the text, those added underlined, and the bars as they stand."""
        tokens, others = self._answer["tokens"], self._answer["others"]
        first = len(tokens) - self._answer["added"]
        chips = [code(t) if i < first else f"<u>{code(t)}</u>" for i, t in enumerate(tokens)]
        before = "… " if len(tokens) < self._answer["read"] else ""
        notes = [f"✕ left out: {row['why']}" * bool(row["why"]) for row in self._answer["rows"]]
        rows = [
            (code(row["shown"]), *numbers(row), note)
            for row, note in zip(self._answer["rows"], notes, strict=True)
        ]
        rows.append((f"{others['count']:,} others", *numbers(others), ""))
        heads = ("next token", "chance>", "", "model's own>", "")
        text = f'<p style="line-height:1.7">{before}{" ".join(chips)} → ?</p>'
        return paper(text + table(self._summary(), heads, rows))


def code(words: str) -> str:
    return f"<code>{isolated(words)}</code>"


def numbers(row: dict) -> tuple[str, str, str]:
    """A row's chance, its bar, and what it is by the model's own."""
    return f"{row['now']:.1%}", bar(row["now"]), f"{row['own']:.1%}"


def chances(logits: Tensor, temperature: float, top_k: int, top_p: float) -> Tensor:
    """Of each id, as `pick` draws them: (V,) -> (V,); at temperature 0 all on the likeliest."""
    if temperature == 0:
        return torch.zeros_like(logits).index_fill(0, logits.argmax(), 1.0)
    return filter_logits(logits[None], temperature, top_k, top_p)[0].softmax(-1)


def bits(probs: Tensor) -> float:
    """Entropy.  Shannon 1948."""
    return abs(torch.xlogy(probs, probs).sum().item()) / math.log(2)
