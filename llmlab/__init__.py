"""One small language model through every stage of training, in hands-on notebooks.

This file imports nothing but the standard library, so that `python3 -m llmlab setup` runs on a
bare Python, and `import llmlab` costs nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmlab.lab import Lab

__version__ = "0.1.0"

# Threads that wait for one another sleep, and do not hold a core that others want; read when torch
# is first imported.  On two cores with much other work, a training step took a sixth of the time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def setup(
    profile: str | None = None,
    minutes: float | dict[str, float] | None = None,
    seed: int = 1337,
    runs_dir: str | None = None,
) -> Lab:
    """The one switch: profile, device, dtype and budgets for everything that follows.

    profile: "class" (the default) or "full", else LLMLAB_PROFILE; minutes: the budget of "full"
    for the whole line, else LLMLAB_MINUTES, or by loop as {"pretraining": 40}; runs_dir: where runs
    are kept, else LLMLAB_RUNS.  Prints a card and returns the Lab that every stage takes: with
    "full", sizes are chosen for this machine, once.  In a notebook, the time spent is noted from
    here on.
    """
    from llmlab import lab
    from llmlab.classroom import progress

    made = lab.setup(profile=profile, minutes=minutes, seed=seed, runs_dir=runs_dir)
    progress.begin(runs_dir)
    print(made.card())
    if made.profile.depths:
        from llmlab.stages.pretraining import plan_for_machine

        made = plan_for_machine(made)
    return made
