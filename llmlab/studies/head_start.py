"""What pretraining is worth to an assistant: tuned from the base, and from random weights.

"base:40" is the base after 40 steps of SFT.  Every run has its whole schedule;
the arm "both" of the study `sft` is the base after 80.
"""

from llmlab.lab import Lab
from llmlab.studies import study
from llmlab.studies.sft import tuned

ARMS = ("base:20", "base:40", "random:40", "random:80")


@study("head_start", arms=ARMS, seeds=(1, 2, 3), starts_from=("base",))
def run(lab: Lab, arm: str, seed: int) -> dict:
    """The report card after an arm's steps from an arm's weights."""
    start, _, steps = arm.partition(":")
    model, tokenizer, _ = lab.latest("base", mine=False)
    if start == "random":
        model = lab.build(model.config)
    return tuned(lab, model, tokenizer, int(steps))
