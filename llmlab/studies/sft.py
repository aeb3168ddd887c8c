"""The model that recites against the model that reads: what the shape of the examples does.

The same base and the same steps; the examples differ.  "cards" are recipes as they are; in "order"
the asked foods come first, in "swaps" foods are swapped inside their families; "both" is the
recipe of the class, and "no mask" is that with the request learned as well.
"""

from dataclasses import replace

from llmlab.chat import evaluate
from llmlab.core.model import Transformer
from llmlab.core.tokenizer import BPE
from llmlab.corpus.corpus import load_corpus
from llmlab.lab import Lab
from llmlab.stages import sft
from llmlab.stages.pretraining import held_out_bpb
from llmlab.studies import study
from llmlab.training import loop

STEPS = 80
ARMS = {
    "cards": {"swap_rate": 0.0, "asked_first": False},
    "order": {"swap_rate": 0.0},
    "swaps": {"asked_first": False},
    "both": {},
    "no mask": {"mask": False},
}


@study("sft", arms=ARMS, seeds=(1, 2, 3),
       starts_from=("base",), settings={"steps": STEPS, "arms": ARMS})  # fmt: skip
def run(lab: Lab, arm: str, seed: int) -> dict:
    """The report card of an assistant that was tuned on an arm's examples."""
    model, tokenizer, _ = lab.latest("base", mine=False)
    return tuned(lab, model, tokenizer, STEPS, **ARMS[arm])


def tuned(lab: Lab, model: Transformer, tokenizer: BPE, steps: int, **how) -> dict:
    """Tune a model for so many steps and measure what it does then, and what it still can.

    loss: the mean of the last tenth of the steps, in nats per learned token.
    """
    lab = replace(lab, steps=lab.steps or lab.profile.max_steps or steps)
    job = loop.require_finished(sft.tune(lab, model, tokenizer, **how))
    return {
        **evaluate(model, tokenizer, n=200),
        "val_bpb": held_out_bpb(lab, model, tokenizer, load_corpus(lab.profile.sources)),
        "loss": last_loss(job),
        "steps": job.steps,
        "cpu_seconds": round(job.cpu_seconds, 1),
    }


def last_loss(job: loop.TrainState) -> float:
    """The mean loss of the last tenth of a run's steps."""
    last = job.log[-max(1, job.steps // 10) :]
    return sum(record["loss"] for record in last) / len(last)
