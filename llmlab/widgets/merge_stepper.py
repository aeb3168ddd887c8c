"""`MergeStepper`: byte-pair encoding, merge by merge, on the learner's own text."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import nsmallest

import regex
import traitlets

from llmlab.core.tokenizer import BPE, PATTERN, merge_pair
from llmlab.widgets.base import Widget, Words, escape, paper, script, style
from llmlab.widgets.token_view import first_part, in_hex, readable, span, visible

LIMIT = 4096  # bytes of a text that are learned from
WORDS = 24  # distinct words on show
SYMBOLS = 40  # of a word on show
LETTERS = 40  # of a token on show
PAIRS = 8  # rows in the table of counts

Pair = tuple[int, int]


class MergeStepper(Widget):
    """The training of a BPE that can be walked through, forward and back.

        MergeStepper("bake baking boil boiling stir stirring", merges=20)

    text: what is learned from, its first `LIMIT` bytes.  merges: how many, at
    most; fewer where the text runs out of pairs.  step: how many of them are done.  pattern: the
    pre-tokenizer.  `train_bpe` learns the same merges.
    """

    _esm, _css = script(__file__), style(__file__, "ll-merges")

    text = Words().tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)
    _answer = traitlets.Dict().tag(sync=True)  # it carries its question: "text"

    def __init__(self, text: str, merges: int = 40, pattern: str = PATTERN, **more):
        self._merges, self._pattern = merges, pattern
        super().__init__(text=text, **more)

    @property
    def bpe(self) -> BPE:
        """The encoding as it stands at this step, without special tokens."""
        steps = self._answer["steps"][: self.step]
        return BPE(tuple(tuple(step["pairs"][0][:2]) for step in steps), self._pattern, ())

    @traitlets.validate("step")
    def _valid_step(self, proposal) -> int:
        return max(0, min(proposal["value"], len(self._answer["steps"]) - 1))

    @traitlets.default("_answer")
    def _learn(self) -> dict:
        part = first_part(self.text, LIMIT)
        states = list(train(part, self._merges, self._pattern))
        merges = tuple(state.best for state in states[:-1])
        first = states[0]
        shown = nsmallest(WORDS, range(len(first.words)), key=lambda i: -first.counts[i])
        return {
            "text": part,
            "bytes": len(part.encode()),
            "all_bytes": len(self.text.encode()),
            "names": [name(raw) for raw in BPE(merges).token_bytes],
            "counts": [first.counts[i] for i in shown],
            "more_words": len(first.words) - len(shown),
            "steps": [state.message(shown) for state in states],
        }

    @traitlets.observe("text")
    def _answer_anew(self, change) -> None:
        self._answer = self._learn()
        self.step = min(self.step, len(self._answer["steps"]) - 1)

    def __repr__(self) -> str:
        last, size = self._answer["steps"][-1], self._answer["bytes"]
        merges = len(self._answer["steps"]) - 1
        return f"MergeStepper: {size:,} bytes, {last['tokens']:,} tokens after {merges} merges"

    def _static_html(self) -> str:
        """What all merges together made: the new tokens with their counts, and the words."""
        answer = self._answer
        names = [n["text"] or f"[{n['hex']}]" for n in answer["names"]]
        tokens = " ".join(
            together(f"{span(names[256 + i], i)} {step['pairs'][0][2]}×")
            for i, step in enumerate(answer["steps"][:-1])
        )
        last = answer["steps"][-1]
        words = " ".join(
            together(f"{count}× {''.join(span(names[i], i) for i in ids)}{' …' * cut}")
            for count, ids, cut in zip(answer["counts"], last["words"], last["cut"], strict=True)
        )
        more = f"and {answer['more_words']} more" if answer["more_words"] else ""
        return paper(
            f"<div>{escape(repr(self))}</div>"
            f"<p><b>new tokens, in order, with the count that decided</b></p><p>{tokens}</p>"
            f"<p><b>words, as they stand after the last merge</b></p><p>{words} {more}</p>",
            "line-height:1.9",
        )


def together(markup: str) -> str:
    """What no line end parts, with room to the next."""
    return f'<span style="display:inline-block;margin-right:1.2em">{markup}</span>'


@dataclass(frozen=True)
class State:
    """Training between two merges.

    words: the ids of each distinct word.  counts: how often each word occurs.  pairs: how often
    each two neighbours occur.
    """

    words: list[list[int]]
    counts: list[int]
    pairs: Counter

    @property
    def best(self) -> Pair | None:
        """The pair that merges next: the most frequent; of equals, the one with smaller ids."""
        return min(self.pairs, key=self.rank, default=None)

    def rank(self, pair: Pair) -> tuple[int, Pair]:
        return -self.pairs[pair], pair

    def message(self, shown: list[int]) -> dict:
        """What the page shows of it, with these words alone."""
        top = nsmallest(PAIRS, self.pairs, key=self.rank)
        most = self.pairs[top[0]] if top else 0
        return {
            "words": [self.words[i][:SYMBOLS] for i in shown],
            "cut": [len(self.words[i]) > SYMBOLS for i in shown],
            "tokens": sum(len(w) * n for w, n in zip(self.words, self.counts, strict=True)),
            "pairs": [[*pair, self.pairs[pair]] for pair in top],
            "equals": sum(count == most for count in self.pairs.values()),
        }


def train(text: str, merges: int, pattern: str = PATTERN) -> Iterator[State]:
    """The states from no merge to `merges` of them, or to where no pair is left.

    The textbook's way, with all pairs counted anew each time: slower than `train_bpe`, with the
    same merges.  Sennrich et al. 2016, algorithm 1.
    """
    found = Counter(regex.findall(pattern, text))
    words, counts = [list(word.encode()) for word in found], list(found.values())
    for number in range(merges + 1):
        pairs = Counter()
        for ids, count in zip(words, counts, strict=True):
            for pair in zip(ids, ids[1:], strict=False):
                pairs[pair] += count
        state = State(words, counts, pairs)
        yield state
        if (best := state.best) is None:
            return
        words = [merge_pair(ids, best, 256 + number) for ids in words]


def name(raw: bytes) -> dict[str, str]:
    """What a token is called on the page; "text" is empty where it is a part of a character."""
    text = visible(readable(raw)).replace("\n", "")
    rest = "…" if len(text) > LETTERS else ""
    return {"text": text[:LETTERS] + rest, "hex": in_hex(raw[:LETTERS])}
