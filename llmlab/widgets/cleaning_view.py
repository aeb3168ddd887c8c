"""`CleaningView`: documents on their way through the filters: what each removed, and why."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import traitlets

from llmlab.widgets.base import Widget, bar, isolated, plain, script, style, table

PAGE = 12  # rows of the list that travel at a time
HEAD = 60  # characters of a document in the list
SHOWN = 20_000  # characters of a document that travel to the page
KEPT = "kept"  # what stands after the last filter

Span = tuple[int, int]  # [start, end) in characters of a text


@dataclass(frozen=True)
class Filter:
    """A filter by its name, with one line that says what it removes."""

    name: str
    about: str = ""


@dataclass(frozen=True)
class Twin:
    """The document that another one nearly repeats, and the stretches that both share."""

    text: str
    source: str = ""
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Document:
    """A document and its verdict.

    removed_by: the name of the filter that removed it, or None.  reason: in words.
    spans: the stretches of `text` that are the reason, or are shared with the twin.
    """

    text: str
    source: str = ""
    removed_by: str | None = None
    reason: str = ""
    spans: tuple[Span, ...] = ()
    twin: Twin | None = None


def with_twin(document: Document, other: str, source: str = "", n: int = 3) -> Document:
    """The document beside its near-duplicate, all runs of n words that they share marked."""
    mine, theirs = shared_spans(document.text, other, n)
    return replace(document, spans=mine, twin=Twin(other, source, theirs))


def shared_spans(a: str, b: str, n: int = 3) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """The stretches of a and of b that are covered by runs of n words (shingles) of both.

    Words are compared in lower case, without what stands between them.  Broder 1997.
    """
    runs = [_runs(text, n) for text in (a, b)]
    both = {words for words, _ in runs[0]} & {words for words, _ in runs[1]}
    return tuple(tuple(join(s for w, s in found if w in both)) for found in runs)


def _runs(text: str, n: int) -> list[tuple[tuple[str, ...], Span]]:
    """All runs of n words of a text, each with the stretch that it covers."""
    words = list(re.finditer(r"\w+", text))
    windows = [words[i : i + n] for i in range(len(words) - n + 1)]
    return [(tuple(w[0].lower() for w in ws), (ws[0].start(), ws[-1].end())) for ws in windows]


def join(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, those that overlap or touch made one."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


class CleaningView(Widget):
    """A funnel of filters; choose one to walk through the documents that it removed.

        CleaningView([Filter("too short", "fewer than 50 words"), ...], documents)

    Documents can be many: only the list's page and the document in view travel to the browser.
    `chosen` (the number of a filter; one more than the last is what was kept) and `document`
    (a place in that filter's list) can also be set from Python.
    """

    _esm, _css = script(__file__), style(__file__, "ll-clean")

    title = traitlets.Unicode().tag(sync=True)
    chosen = traitlets.Int().tag(sync=True)
    document = traitlets.Int().tag(sync=True)
    _total = traitlets.Int().tag(sync=True)
    _funnel = traitlets.List().tag(sync=True)  # {"name", "about", "count", "left"}; the last: kept
    _view = traitlets.Dict().tag(sync=True)  # what is looked at: see _look

    def __init__(
        self,
        filters: Sequence[Filter],
        documents: Sequence[Document],
        title: str = "What the filters removed",
    ):
        names = [f.name for f in filters]
        if len(set(names)) < len(names):
            raise ValueError("Two filters bear the same name.")
        if unknown := {d.removed_by for d in documents} - {*names, None}:
            raise ValueError(f"No filter is called {sorted(unknown)[0]!r}.")
        self._removed = [[d for d in documents if d.removed_by == name] for name in [*names, None]]
        counts = [len(found) for found in self._removed]
        first = next((i for i, count in enumerate(counts) if count), 0)
        super().__init__(
            title=plain(title),
            chosen=first,
            _total=len(documents),
            _funnel=funnel(filters, documents),
        )
        self._look()

    @traitlets.validate("chosen")
    def _a_filter(self, proposal) -> int:
        return max(0, min(proposal["value"], len(self._removed) - 1))

    @traitlets.validate("document")
    def _a_document(self, proposal) -> int:
        return max(0, min(proposal["value"], len(self._removed[self.chosen]) - 1))

    @traitlets.observe("chosen")
    def _to_the_first(self, change) -> None:
        if self.document:
            self.document = 0  # and so looks
        else:
            self._look()

    @traitlets.observe("document")
    def _look(self, change=None) -> None:
        """Send the page of the list that the document stands on, and the document."""
        found, place = self._removed[self.chosen], self.document
        first = place - place % PAGE
        self._view = {
            "chosen": self.chosen,
            "document": place,
            "first": first,
            "rows": [row(d) for d in found[first : first + PAGE]],
            "shown": shown(found[place]) if found else None,
        }

    def __repr__(self) -> str:
        removed = [f"{f['name']} −{f['count']:,}" for f in self._funnel[:-1]]
        kept = f"kept {self._funnel[-1]['count']:,}"
        return "; ".join([f"CleaningView: {self._total:,} documents", *removed, kept])

    def _static_html(self) -> str:
        """The funnel as a table: numbers of its own text, no word of any document."""
        lines = [("all documents", "", "", self._total)]
        lines += [(f["name"], f["about"], f"−{f['count']:,}", f["left"]) for f in self._funnel[:-1]]
        rows = [
            (isolated(name), gone, f"{left:,}", bar(left / max(1, self._total)), isolated(about))
            for name, about, gone, left in lines
        ]
        return table(self.title, ("filter", "removed>", "left>", "", "what it removes"), rows)


def funnel(filters: Sequence[Filter], documents: Sequence[Document]) -> list[dict]:
    """For each filter what it removed and how many were left after it; at the end what was kept."""
    removed, left, rows = Counter(d.removed_by for d in documents), len(documents), []
    for f in filters:
        left -= removed[f.name]
        about = {"name": plain(f.name), "about": plain(f.about)}
        rows.append(about | {"count": removed[f.name], "left": left})
    about = {"name": KEPT, "about": "What no filter removed: a sample for human eyes."}
    return [*rows, about | {"count": left, "left": left}]


def row(document: Document) -> dict[str, str]:
    """A document as a line of the list."""
    head = " ".join(document.text[: 4 * HEAD].split())[:HEAD]
    return {"head": plain(head) or "(blank)", "source": plain(document.source)}


def shown(document: Document) -> dict:
    """A document as it is looked at, with its twin where it has one."""
    twin = document.twin
    return {
        "source": plain(document.source),
        "reason": plain(document.reason),
        "pieces": pieces(document.text, document.spans),
        "size": len(document.text),
        "twin": twin
        and {
            "source": plain(twin.source),
            "pieces": pieces(twin.text, twin.spans),
            "size": len(twin.text),
        },
    }


def pieces(text: str, spans: Iterable[Span], limit: int = SHOWN) -> list[tuple[str, bool]]:
    """The beginning of a text, cut where marks begin and end: (piece, whether it is marked).

    Pieces, not places, travel: a page counts characters in another way than Python does.
    """
    cut, at, size = [], 0, min(len(text), limit)
    for start, end in join(spans):
        start, end = max(at, min(start, size)), min(end, size)
        if start < end:
            cut += [(text[at:start], False), (text[start:end], True)]
            at = end
    cut.append((text[at:size], False))
    return [(plain(piece), marked) for piece, marked in cut if piece]
