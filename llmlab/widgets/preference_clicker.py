"""`PreferenceClicker`: two answers to a request; the learner says which one is better."""

from collections.abc import Sequence
from pathlib import Path

import traitlets

from llmlab.kitchen import read_answer
from llmlab.stages.preferences import CHOICES, Click, read_clicks, write_clicks
from llmlab.widgets.base import Widget, isolated, paper, plain, script, style, table

SHOWN = 8  # clicks in the static picture


class PreferenceClicker(Widget):
    """Shows pairs of answers one by one and keeps which of the two was clicked.

        clicker = PreferenceClicker(duels, lab.runs / "clicks.json", rewards)
        clicker.clicks  # all that the file holds, those of earlier runs too

    duels: (request, left answer, right answer).  path: the file that keeps the clicks, written
    after each one, read at the start; None keeps them in memory.  rewards: a reward model's
    (left, right) for each duel, to say how often it agrees; what it says of a pair is not shown.
    ValueError where there is no duel, or not one pair of rewards for each.
    """

    _esm, _css = script(__file__), style(__file__, "ll-prefer")

    _view = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        duels: Sequence[tuple[str, str, str]],
        path: Path | None = None,
        rewards: Sequence[tuple[float, float]] | None = None,
    ):
        if not duels:
            raise ValueError("There is no pair of answers to compare.")
        if rewards is not None and len(rewards) != len(duels):
            raise ValueError(f"{len(duels)} pairs of answers, but rewards for {len(rewards)}.")
        self._duels = [tuple(map(plain, duel)) for duel in duels]
        self._path, self._rewards = path, rewards
        self._kept = self._read()
        self._moves = 0  # a message that was sent before the last move is about another pair
        self._place = next(
            (i for i, d in enumerate(self._duels) if d not in self._kept), len(duels)
        )
        super().__init__()
        self._view = self._look()
        self.on_msg(lambda _, content, buffers: self._obey(**content))

    @property
    def clicks(self) -> list[Click]:
        """All clicks, in the order in which their pairs were first decided."""
        return list(self._kept.values())

    def choose(self, choice: str) -> None:
        """Decide the pair on show: "left", "right" or "neither"; keep it, go on to the next."""
        if choice not in CHOICES:
            raise ValueError(f"One chooses one of {', '.join(CHOICES)}, and not {choice!r}.")
        if self._place == len(self._duels):
            return
        duel = self._duels[self._place]
        kept = {**self._kept, **self._read(), duel: Click(*duel, choice)}
        if self._path:
            write_clicks(self._path, list(kept.values()))  # first the disk, then the next pair
        self._kept = kept
        self._go(self._place + 1)

    def _read(self) -> dict[tuple[str, str, str], Click]:
        """What the file holds by now: another notebook may have added to it."""
        return {click.duel: click for click in read_clicks(self._path)} if self._path else {}

    def back(self) -> None:
        """Show the pair before; what was chosen there stays until another choice is made."""
        self._go(max(0, self._place - 1))

    def _obey(self, do: str, moves: int) -> None:
        """A message of the page: a choice or "back", about the pair that it had on show."""
        if moves != self._moves:
            return
        if do == "back":
            self.back()
        else:
            self.choose(do)

    def _go(self, place: int) -> None:
        self._place, self._moves = place, self._moves + 1
        self._view = self._look()

    def _look(self) -> dict:
        """What the page draws."""
        view = {"moves": self._moves, "place": self._place, "all": len(self._duels),
                "said": self._said()}  # fmt: skip
        if self._place == len(self._duels):
            return view
        request, *answers = self._duels[self._place]
        kept = self._kept.get(self._duels[self._place])
        return {**view, "request": request, "answers": [card(a) for a in answers],
                "chosen": kept.choice if kept else ""}  # fmt: skip

    def _agreement(self) -> tuple[int, int]:
        """With how many of the choices on show here the reward model agrees, and of how many."""
        made = [
            (self._kept[duel].choice, left > right)
            for duel, (left, right) in zip(self._duels, self._rewards or (), strict=False)
            if duel in self._kept and self._kept[duel].choice != "neither"
        ]
        return sum((choice == "left") == left for choice, left in made), len(made)

    def _said(self) -> str:
        """One sentence: how many were decided, how often the reward model agrees."""
        done = sum(duel in self._kept for duel in self._duels)
        words = f"{done} of {len(self._duels)} decided"
        agreed, compared = self._agreement()
        if compared:
            words += f"; the reward model agrees with {agreed} of {compared}"
        return words

    def __repr__(self) -> str:
        return f"PreferenceClicker: {self._said()}"

    def _static_html(self) -> str:
        """The newest decisions, or the first pair where there is none."""
        made = [self._kept[duel] for duel in self._duels if duel in self._kept][-SHOWN:]
        rows = [
            (isolated(c.request), *(marked(a, c.choice == side) for a, side in
                                    zip((c.left, c.right), CHOICES, strict=False)))
            for c in made
        ] or [tuple(map(isolated, self._duels[0]))]  # fmt: skip
        heads = ("request", "left (←)", "right (→)")
        return paper(table(self._said(), heads, rows))


def card(answer: str) -> dict:
    """An answer as the page shows it: its title, and its foods one by one."""
    title, items = read_answer(answer)
    return {"title": title, "items": items}


def marked(answer: str, chosen: bool) -> str:
    """An answer inside HTML, bold with a tick where it was chosen."""
    return f"<b>✓ {isolated(answer)}</b>" if chosen else isolated(answer)
