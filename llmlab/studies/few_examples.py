"""How few examples are enough?  The same steps on 16 to 4,096 examples, read again and again."""

from llmlab.lab import Lab
from llmlab.studies import study
from llmlab.studies.sft import STEPS, tuned


@study("few_examples", arms=(16, 64, 256, 1024, 4096), seeds=(1, 2))
def run(lab: Lab, arm: int, seed: int) -> dict:
    """The report card of an assistant that has seen so many examples."""
    model, tokenizer, _ = lab.latest("base", mine=False)
    return tuned(lab, model, tokenizer, STEPS, limit=arm)
