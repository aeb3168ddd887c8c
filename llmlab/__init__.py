"""One small language model through every stage of training, in hands-on notebooks.

This file imports nothing but the standard library, so that `python3 -m llmlab setup` runs on a
bare Python, and `import llmlab` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmlab.lab import Lab

__version__ = "0.1.0"


def setup(
    profile: str | None = None,
    minutes: float | None = None,
    seed: int = 1337,
    runs_dir: str | None = None,
) -> Lab:
    """The one switch: profile, device, dtype and budgets for everything that follows.

    profile: "class" (the default) or "full", else LLMLAB_PROFILE; minutes: the budget of "full",
    else LLMLAB_MINUTES; runs_dir: where runs are kept, else LLMLAB_RUNS.  Prints a card and
    returns the Lab that every stage takes.
    """
    from llmlab import lab

    made = lab.setup(profile=profile, minutes=minutes, seed=seed, runs_dir=runs_dir)
    print(made.card())
    return made
