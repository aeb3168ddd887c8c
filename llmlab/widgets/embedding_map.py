"""`EmbeddingMap`: a table of vectors as a map, with neighbours, analogies and training's steps."""

import base64
import io
import re
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
import traitlets
from torch import Tensor

from llmlab import figures
from llmlab.stages import embedding
from llmlab.widgets.base import Widget, Words, plain, script, style

LISTED = 8  # words in a list of neighbours or answers


class EmbeddingMap(Widget):
    """Words as points on a map; click one for its neighbours, move the slider to go back in time.

        EmbeddingMap({step: word_vectors(m, tokenizer, words) for ...}, words, groups)

    snapshots: training step -> (n, dim) vectors, tensors or arrays, of any length but zero.
    names: n words, all different.  groups: the n words' groups, shown by colour and shape.
    analogies: ready questions (a, b, c, hoped for): what is to c as a is to b?

    All similarities are cosines in the full space, at the step shown.  The map is one and the same
    for all steps: each vector at length 1, seen along the two directions in which the vectors of
    the *last* step differ most (PCA), so that a point moves only because its vector did.
    `step` and `selected` can also be set from Python.
    """

    _esm, _css = script(__file__), style(__file__, "ll-map")

    title = traitlets.Unicode().tag(sync=True)
    step = traitlets.Int().tag(sync=True)
    selected = traitlets.Unicode().tag(sync=True)  # a name, or "" for none
    _names = traitlets.List().tag(sync=True)
    _groups = traitlets.List().tag(sync=True)  # {"name", "colour", "marker"}
    _group_of = traitlets.List().tag(sync=True)  # for each name, its place in _groups
    _frames = traitlets.List().tag(sync=True)  # {"step", "xy", "rate"}
    _about = traitlets.Unicode().tag(sync=True)
    _analogies = traitlets.List().tag(sync=True)
    _near = traitlets.Dict().tag(sync=True)  # {"of", "step", "rows": [[number, cosine], ...]}
    _question = traitlets.List(Words(), [""] * 4).tag(sync=True)  # a, b, c, hoped for, as typed
    _answer = traitlets.Dict().tag(sync=True)  # {"step", "error", "given", "rows", "hoped"}

    def __init__(
        self,
        snapshots: Mapping[int, Tensor],
        names: Sequence[str],
        groups: Sequence[str],
        title: str = "A map of the table",
        analogies: Sequence[tuple[str, str, str, str]] = (),
    ):
        names, groups = [plain(name) for name in names], [plain(group) for group in groups]
        self._vectors = unit_vectors(snapshots, names, groups)
        last = list(self._vectors.values())[-1]
        self._plane = embedding.plane(last)  # (dim, 2)
        kinds = list(dict.fromkeys(groups))
        super().__init__(
            title=plain(title),
            step=list(self._vectors)[-1],
            _names=names,
            _groups=[{"name": kind} | look(i) for i, kind in enumerate(kinds)],
            _group_of=[kinds.index(group) for group in groups],
            _frames=[self._frame(step, groups) for step in self._vectors],
            _about=about(last, self._plane, list(self._vectors)[-1], embedding.chance_rate(groups)),
            _analogies=[list(map(plain, words)) for words in analogies],
        )

    def neighbours(self, name: str, n: int = LISTED) -> list[tuple[str, float]]:
        """The n words with the greatest cosine to `name` at the step shown, nearest first."""
        vectors, i = self._vectors[self.step], self._names.index(name)
        near = embedding.neighbours(vectors, i, n)
        return [(self._names[j], (vectors[i] @ vectors[j]).item()) for j in near]

    def analogy(self, a: str, b: str, c: str) -> list[tuple[str, float]]:
        """All words by their cosine to a − b + c at the step shown, nearest first.

        The three given words stay in: leaving them out, as is usual, hides that the nearest word
        is often one of them (Linzen 2016, *Issues in evaluating semantic spaces*).
        """
        vectors = self._vectors[self.step]
        va, vb, vc = (vectors[self._names.index(word)] for word in (a, b, c))
        cosines = vectors @ F.normalize(va - vb + vc, dim=0)  # (n,)
        order = cosines.argsort(descending=True, stable=True).tolist()
        return [(self._names[i], cosines[i].item()) for i in order]

    def _frame(self, step: int, groups: list[str]) -> dict:
        """Where the points lie at a step, and the share whose nearest is of their own group."""
        vectors = self._vectors[step]
        xy = [[round(v, 4) for v in point] for point in (vectors @ self._plane).tolist()]
        return {"step": step, "xy": xy, "rate": embedding.same_rate(vectors, groups)}

    @traitlets.validate("step")
    def _kept_step(self, proposal) -> int:
        """The kept step that is nearest to the one asked for."""
        return min(self._vectors, key=lambda step: abs(step - proposal["value"]))

    @traitlets.validate("selected")
    def _known_name(self, proposal) -> str:
        if proposal["value"] and proposal["value"] not in self._names:
            raise traitlets.TraitError(f"No point is called {proposal['value']!r}.")
        return proposal["value"]

    @traitlets.observe("step", "selected")
    def _look_up(self, change) -> None:
        near = self.neighbours(self.selected) if self.selected else []
        rows = [[self._names.index(name), cosine] for name, cosine in near]
        self._near = {"of": self.selected, "step": self.step, "rows": rows}

    @traitlets.observe("step", "_question")
    def _reckon(self, change) -> None:
        words = [self._find(word) for word in self._question]
        unknown = [q for q, word in zip(self._question, words, strict=True) if q and not word]
        empty = {"step": self.step, "error": "", "given": [], "rows": [], "hoped": []}
        if unknown:
            self._answer = empty | {"error": f"Not on the map: {', '.join(unknown)}."}
        elif not all(words[:3]):
            missing = "A question needs three words." if any(words) else ""
            self._answer = empty | {"error": missing}
        else:
            self._answer = empty | self._answer_to(*words)

    def _answer_to(self, a: str, b: str, c: str, hoped: str = "") -> dict:
        place = self._names.index
        ranked = self.analogy(a, b, c)
        order = [name for name, _ in ranked]
        return {
            "given": [place(a), place(b), place(c)],
            "rows": [[place(name), cosine] for name, cosine in ranked[:LISTED]],
            "hoped": [place(hoped), order.index(hoped) + 1] if hoped else [],
        }

    def _find(self, typed: str) -> str:
        """The name that was typed, in any case; "" where there is none."""
        if typed in self._names:
            return typed
        folded = {name.casefold(): name for name in reversed(self._names)}
        return folded.get(typed.strip().casefold(), "")

    def _picture(self) -> dict[str, str]:
        return {"image/png": self._static_png()}

    def __repr__(self) -> str:
        last = self._frames[-1]
        return (
            f"EmbeddingMap: {self.title} ({len(self._names)} words in {len(self._groups)} groups; "
            f"step {last['step']:,}: {last['rate']:.0%} beside their own)"
        )

    def _static_png(self) -> str:
        """The last snapshot as a picture, in base64."""
        picture = io.BytesIO()
        self._figure().savefig(picture, format="png")
        return base64.b64encode(picture.getvalue()).decode()

    def _figure(self):
        """The last snapshot as a figure of matplotlib."""
        last = self._frames[-1]
        groups = [shortened(self._groups[i]["name"]) for i in self._group_of]
        title = shortened(f"{self.title}: step {last['step']:,}", 70)
        axes = *zip(*last["xy"], strict=True), "first direction", "second direction"
        return figures.scatter(*axes, groups, title, list(map(shortened, self._names)))


def unit_vectors(snapshots: Mapping, names: list[str], groups: list[str]) -> dict[int, Tensor]:
    """Each step's vectors at length 1, in fp32, steps in order; ValueError where they do not fit.

    step -> (n, dim) for n names and n groups.
    """
    if not snapshots or len(names) < 3:
        raise ValueError("A map needs a snapshot and three words.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"Two points are called {twice!r}.")
    found = {int(step): torch.as_tensor(snapshots[step]).float() for step in sorted(snapshots)}
    shapes = {tuple(vectors.shape) for vectors in found.values()}
    if len(shapes) > 1 or {shape[0] for shape in shapes} != {len(names)}:
        raise ValueError(f"Vectors of shape {sorted(shapes)} do not fit {len(names)} names.")
    if len(groups) != len(names):
        raise ValueError(f"{len(groups)} groups do not fit {len(names)} names.")
    return {step: F.normalize(vectors.detach().cpu(), dim=1) for step, vectors in found.items()}


def about(vectors: Tensor, plane: Tensor, step: int, chance: float) -> str:
    """What the map shows and what it leaves out."""
    centred = vectors - vectors.mean(0)
    share = ((centred @ plane).square().sum() / centred.square().sum()).item()
    return (
        f"The map shows 2 directions of {vectors.shape[1]}, those in which the vectors of step "
        f"{step:,} differ most (PCA); they hold {share:.0%} of the spread, so near on the map is "
        "not always near in the table. All steps are seen along the same two. Cosines are reckoned "
        f"in all {vectors.shape[1]}. Beside their own group: the share of words whose nearest word "
        f"is of their own group; by lot it would be {chance:.0%}."
    )


def look(group: int) -> dict[str, str]:
    """Colour and shape of a group, those of the static picture."""
    colour = figures.COLOURS[group % len(figures.COLOURS)]
    return {"colour": colour, "marker": figures.MARKERS[group % len(figures.MARKERS)]}


def shortened(words: str, limit: int = 24) -> str:
    """Words on one line, their beginning alone where they are many."""
    line = re.sub(r"[\x00-\x1f]", " ", words)
    return line if len(line) <= limit else line[: limit - 1] + "…"
