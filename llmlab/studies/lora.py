"""LoRA of ranks 1 to 16 against full tuning: what is learned, what it costs, what is forgotten."""

from llmlab.lab import Lab
from llmlab.stages.lora import add_lora, trainable
from llmlab.studies import study
from llmlab.studies.sft import tuned

STEPS = 48
FULL = 0  # the arm that tunes everything


@study("lora", arms=(1, 4, 16, FULL), seeds=(1, 2, 3),
       starts_from=("base",), settings={"steps": STEPS})  # fmt: skip
def run(lab: Lab, arm: int, seed: int) -> dict:
    """The report card after STEPS of a rank, and how many numbers were learned."""
    model, tokenizer, _ = lab.latest("base", mine=False)
    if arm != FULL:
        add_lora(model, rank=arm)
    parameters = trainable(model)
    figures = tuned(lab, model, tokenizer, STEPS)
    return {**figures, "parameters": parameters}
