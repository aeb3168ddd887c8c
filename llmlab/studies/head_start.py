"""What pretraining is worth to an assistant: tuned from the base, and from random weights.

"base:50" is the base after 50 steps of SFT.  Every run has its whole schedule.
"""

from llmlab.lab import Lab
from llmlab.studies import study
from llmlab.studies.sft import tuned

ARMS = ("base:25", "base:50", "base:100", "random:50", "random:100", "random:200")


@study("head_start", arms=ARMS, seeds=(1, 2))
def run(lab: Lab, arm: str, seed: int) -> dict:
    """The report card after an arm's steps from an arm's weights."""
    start, _, steps = arm.partition(":")
    model, tokenizer, _ = lab.latest("base", mine=False)
    if start == "random":
        model = lab.build(model.config)
    return tuned(lab, model, tokenizer, int(steps))
