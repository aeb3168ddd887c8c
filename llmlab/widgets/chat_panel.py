"""`ChatPanel`: several models answer the same request side by side, as they write."""

import contextlib
import contextvars
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
import traitlets

from llmlab.chat import MAX_ANSWER, check_temperature
from llmlab.core.model import KVCache, Transformer
from llmlab.core.sampling import pick
from llmlab.kitchen import ABILITIES, Request, judge, parse_request, passes
from llmlab.stages.report import LineModel
from llmlab.training.model_copies import to_compute_dtype
from llmlab.widgets.base import Widget, Words, escape, isolated, paper, plain, script, style

LONGEST = 4000  # characters of a request that are read
PERIOD = 0.03  # seconds from one look at the growing answers to the next
KEPT = 8  # exchanges that stay on show above the present one
EXAMPLES = (
    "I have chicken and lemon.",
    "What vegetarian soup of 5 ingredients can I cook with leeks?",
    "Who are you?",
)


class ChatPanel(Widget):
    """A request that is typed goes to all models; each writes a token in turn, till all have ended.

        panel = ChatPanel(report.line(lab))
        panel.ask("I have chicken and lemon.")  # from Python: name -> answer

    members: name -> a model and how it is asked.  examples: requests to click.  temperature: as
    `core.sampling.pick` takes it; LabError for what is none.  seed: of the first request; the next
    one has the next.
    The answers are written in a thread of their own: the kernel goes on with other cells.
    """

    _esm, _css = script(__file__), style(__file__, "ll-chat")

    titles = traitlets.List(Words()).tag(sync=True)
    examples = traitlets.List(Words()).tag(sync=True)
    _past = traitlets.List(traitlets.Dict()).tag(sync=True)  # exchanges that have ended
    _now = traitlets.Dict().tag(sync=True)  # the one on show, empty at first
    _note = traitlets.Dict({"words": "", "count": 0}).tag(sync=True)  # why a request was not asked

    def __init__(
        self, members: Mapping[str, LineModel], examples=EXAMPLES, temperature=0.8, seed=0
    ):
        if not members:
            raise ValueError("There is no model to talk to.")
        check_temperature(temperature)
        self._members = [replace(m, model=to_compute_dtype(m.model)) for m in members.values()]
        self._temperature, self._seed = temperature, seed
        self._stopped, self._ended = threading.Event(), threading.Event()
        self._ended.set()
        titles = [member.title for member in self._members]
        super().__init__(titles=titles, examples=list(examples))
        self.on_msg(lambda _, content, buffers: self._obey(content))

    def _obey(self, message: dict) -> None:
        """A message of the page: {"ask": a request}, or {"stop": true}."""
        if "ask" in message:
            self._begin(str(message["ask"]))
        elif "stop" in message:
            self.stop()

    def ask(self, request: str) -> dict[str, str]:
        """What each model answers, by its title.  ValueError where it cannot be asked, and why."""
        refused = self._note["count"]
        self._begin(request)
        if self._note["count"] > refused:
            raise ValueError(self._note["words"])
        try:
            self._ended.wait()  # and not `join`, which an interrupt leaves in disorder
        except KeyboardInterrupt:  # the notebook's stop button
            self.stop()
        return dict(zip(self.titles, (a["text"] for a in self._now["answers"]), strict=True))

    def stop(self) -> None:
        """Let no model write on; what they have written stays."""
        self._stopped.set()
        self._ended.wait()

    def _begin(self, request: str) -> None:
        """Ask all models, or say why not.  An exchange that still goes on is stopped."""
        request = plain(request).strip()
        if words := self._refusal(request):
            self._note = {"words": words, "count": self._note["count"] + 1}
            return
        self.stop()
        self._stopped.clear()
        turn = self._now.get("turn", 0) + 1
        seed = self._seed + turn - 1
        writers = [Writer(member, request, self._temperature, seed) for member in self._members]
        with self.hold_sync():  # one message: nothing is on show twice
            if self._now:
                self._past = [*self._past, self._now][-KEPT:]
            self._show(turn, request, writers)
        # In a copy of this context: what the thread sends belongs to the cell that asked.
        work, task = contextvars.copy_context().run, (self._write, turn, request, writers)
        self._ended.clear()
        threading.Thread(target=work, args=task, daemon=True).start()

    def _refusal(self, request: str) -> str:
        """Why a request is not asked, in a sentence; empty where it is."""
        if not request:
            return "There is nothing to answer yet: type a request first."
        room = min(m.model.config.max_seq_len for m in self._members) - MAX_ANSWER
        advice = "Say it in fewer words."
        if len(request) > LONGEST:
            return f"That is {len(request):,} characters; at most {LONGEST:,} are read. {advice}"
        longest = max(len(m.chat.prompt(request)) for m in self._members)
        if longest > room:
            return f"That is {longest:,} tokens; these models have room for {room:,}. {advice}"
        return ""

    def _write(self, turn: int, request: str, writers: list["Writer"]) -> None:
        """All answers, a token of each in turn, so that none waits for another's end."""
        shown = 0.0
        with contextlib.ExitStack() as end:  # also where a model fails: nobody waits for ever
            end.callback(self._ended.set)
            end.callback(self._show, turn, request, writers)
            for writer in writers:
                end.callback(writer.end)
            while any(writer.going for writer in writers) and not self._stopped.is_set():
                for writer in writers:
                    writer.step()
                if time.monotonic() - shown > PERIOD:
                    shown = time.monotonic()
                    self._show(turn, request, writers)

    def _show(self, turn: int, request: str, writers: list["Writer"]) -> None:
        wish = parse_request(request)
        self._now = {
            "turn": turn,
            "request": request,
            "writing": any(writer.going for writer in writers),
            "answers": [writer.shown(wish) for writer in writers],
        }

    def __repr__(self) -> str:
        talk = f"“{self._now['request']}”" if self._now else "nothing asked yet"
        return f"ChatPanel: {', '.join(self.titles)}; {talk}"

    def _static_html(self) -> str:
        """The last exchange."""
        font = "font:13px/1.5 sans-serif"
        if not self._now:
            return paper(escape(repr(self)), font)
        asked = "display:inline-block;padding:4px 10px;border:1px solid #808080;border-radius:12px"
        columns = "".join(
            column(title, answer)
            for title, answer in zip(self.titles, self._now["answers"], strict=True)
        )
        request = f'<div style="{asked}">{isolated(self._now["request"])}</div>'
        row = f'<div style="display:flex;flex-wrap:wrap;gap:8px;margin-top:8px">{columns}</div>'
        return paper(request + row, font)


def column(title: str, answer: dict) -> str:
    """A model's answer in the static picture."""
    style = "flex:1 1 180px;padding:6px 8px;border:1px solid #808080;border-radius:4px"
    text = f'<div style="white-space:pre-wrap">{isolated(answer["text"])}</div>'
    marks = " ".join(
        f'<span style="white-space:nowrap">{"✓" if kept else "✗"} {escape(name)}</span>'
        for name, kept in answer["marks"]
    )
    note = f'<div style="font-size:11px">{marks}</div>' if marks else ""
    return f'<div style="{style}"><b>{escape(title)}</b>{text}{note}</div>'


# --- One answer -----------------------------------------------------------------------------


class Writer:
    """One model's answer to one request, a token a step.

    state: "writing"; "ended", by itself; "cut", at `MAX_ANSWER` tokens; or "stopped".
    """

    def __init__(self, member: LineModel, request: str, temperature: float, seed: int):
        self.chat, self.ids, self.state, self.first_ms = member.chat, [], "writing", None
        self.start = time.perf_counter()
        prompt = self.chat.prompt(request)
        self.tokens = stream(member.model, prompt, self.chat.end, temperature, seed)

    @property
    def going(self) -> bool:
        return self.state == "writing"

    def step(self) -> None:
        """Write a token more, where it still goes on."""
        if not self.going:
            return
        self.ids.append(next(self.tokens))
        self.first_ms = self.first_ms or round(1000 * (time.perf_counter() - self.start))
        if self.ids[-1] == self.chat.end:
            self.state = "ended"
        elif len(self.ids) == MAX_ANSWER:
            self.state = "cut"

    def end(self) -> None:
        """No token more."""
        if self.going:
            self.state = "stopped"

    def shown(self, wish: Request) -> dict:
        """What the page needs; marks: the rules that the request asks for, and which are kept."""
        text = self.chat.tokenizer.decode(self.ids).removesuffix("<|end|>").lstrip()
        marks = []
        if self.state in ("ended", "cut") and wish != Request():
            marks = judged(wish, self.chat.read(self.ids))
        return {
            "text": plain(text).rstrip("\ufffd" if self.going else None),  # half a character waits
            "state": self.state,
            "tokens": len(self.ids),
            "first_ms": self.first_ms,
            "marks": marks,
        }


def judged(wish: Request, answer: str) -> list[tuple[str, bool]]:
    """Each rule that a request asks for, and whether the answer keeps it in full."""
    score = judge(wish, answer)
    rules = [name for name, (rule, asks) in ABILITIES.items() if asks(wish) and rule != "kept"]
    return [(name, passes(score, name) == 1) for name in rules]


@torch.inference_mode()
def stream(
    model: Transformer, prompt: list[int], end: int, temperature: float, seed: int
) -> Iterator[int]:
    """The ids that a model goes on with, one by one, up to and with `end`, `MAX_ANSWER` at most:
    what `generate` gives at once."""
    device = model.embed.weight.device
    generator = torch.Generator(device).manual_seed(seed)
    cache = KVCache(model.config, 1, len(prompt) + MAX_ANSWER, model.compute_dtype, device)
    new = torch.tensor([prompt], device=device)  # (1, T), then (1, 1)
    for _ in range(MAX_ANSWER):
        hidden = model.hidden(new, cache)[:, -1:]
        new = pick(model.head(hidden)[:, 0], temperature, generator=generator)[None]
        yield new.item()
        if new.item() == end:
            return
