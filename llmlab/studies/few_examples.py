"""How few examples are enough?  The same steps on 16 to 1,024 examples, read again and again.

The arm "base:40" of the study `head_start` has the same steps, and each of its examples is new.
"""

from llmlab.lab import Lab
from llmlab.studies import study
from llmlab.studies.sft import tuned

STEPS = 40  # of 128 examples


@study("few_examples", arms=(16, 128, 1024), seeds=(1, 2, 3),
       starts_from=("base",), settings={"steps": STEPS})  # fmt: skip
def run(lab: Lab, arm: int, seed: int) -> dict:
    """The report card of an assistant that has seen so many examples."""
    model, tokenizer, _ = lab.latest("base", mine=False)
    return tuned(lab, model, tokenizer, STEPS, limit=arm)
