"""`Labeller`: a page after the other; the learner says which are worth reading."""

from collections.abc import Callable, Sequence
from pathlib import Path

import ipywidgets as widgets

from llmlab import artifacts
from llmlab.widgets.base import live_and_static, sample_html, table
from llmlab.widgets.box import Box

WORTH, NOT_WORTH = "worth reading", "not worth it"


class Labeller(Box):
    """Shows pages one by one, with a button for each label; labels are kept as they are given.

        labeller = Labeller(texts, lab.runs / "labels.json")
        labeller.labels  # place -> whether the page is worth reading

    path: the file that keeps the labels (by the text's hash), and that is read at the start.
    """

    def __init__(self, texts: Sequence[str], path: Path | None = None):
        if not texts:
            raise ValueError("There is no page to label.")
        self._texts, self._path = list(texts), path
        self._kept = self._read()
        self._page, self._words = widgets.HTML(), widgets.HTML()
        self._buttons = {
            WORTH: button(f"✓ {WORTH}", lambda: self.label(True)),
            NOT_WORTH: button(f"✗ {NOT_WORTH}", lambda: self.label(False)),
            "back": button("back", lambda: self._go(self.place - 1)),
            "skip": button("skip", lambda: self._go(self.place + 1)),
        }
        row = widgets.HBox([*self._buttons.values(), self._words])
        row.layout.flex_flow = "row wrap"
        super().__init__("ll-labels", [row, self._page])
        labels = self.labels
        self._go(next((i for i in range(len(texts)) if i not in labels), 0))

    @property
    def labels(self) -> dict[int, bool]:
        """Place of each page that has a label -> whether it is worth reading."""
        hashes = enumerate(map(artifacts.text_hash, self._texts))
        return {i: self._kept[key] for i, key in hashes if key in self._kept}

    def label(self, worth: bool) -> None:
        """Give the page in view its label, keep it, go on to the next page."""
        given = {artifacts.text_hash(self._texts[self.place]): worth}
        kept = {**self._kept, **self._read(), **given}
        if self._path:
            artifacts.write_json(self._path, kept)  # first the disk, then the next page
        self._kept = kept
        self._go(self.place + 1)

    def _read(self) -> dict[str, bool]:
        """What the file holds by now: another notebook may have added to it."""
        return artifacts.read_json(self._path) if self._path and self._path.exists() else {}

    def _go(self, place: int) -> None:
        """Show another page; after the last one comes the first."""
        self.place = place % len(self._texts)
        labels = self.labels
        mine = {True: f"✓ {WORTH}", False: f"✗ {NOT_WORTH}"}.get(labels.get(self.place), "no label")
        title = f"page {self.place + 1} of {len(self._texts)} ({mine})"
        self._page.value = sample_html(title, self._texts[self.place])
        self._words.value = f"{len(labels)} of {len(self._texts)} labelled"

    def __repr__(self) -> str:
        return f"Labeller: {len(self.labels)} of {len(self._texts)} pages labelled"

    def _repr_mimebundle_(self, **kwargs) -> dict:
        return live_and_static(self, self._static_html())

    def _static_html(self) -> str:
        """How many got which label; no word of any page."""
        labels = list(self.labels.values())
        rows = [(WORTH, str(sum(labels))), (NOT_WORTH, str(len(labels) - sum(labels)))]
        rows.append(("no label yet", str(len(self._texts) - len(labels))))
        return table("Labels given by hand", ("label", "pages>"), rows)


def button(name: str, action: Callable[[], None]) -> widgets.Button:
    made = widgets.Button(description=name)
    made.layout.width = "11em"
    made.on_click(lambda _: action())
    return made
