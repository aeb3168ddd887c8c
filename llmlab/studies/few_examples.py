"""How few examples are enough?  The same steps on 16 to 8,192 examples, read again and again."""

from llmlab.lab import Lab
from llmlab.studies import study
from llmlab.studies.sft import tuned

STEPS = 64  # of 128 examples: the last arm reads its own about once


@study("few_examples", arms=(16, 128, 1024, 8192), seeds=(1,))
def run(lab: Lab, arm: int, seed: int) -> dict:
    """The report card of an assistant that has seen so many examples."""
    model, tokenizer, _ = lab.latest("base", mine=False)
    return tuned(lab, model, tokenizer, STEPS, limit=arm)
