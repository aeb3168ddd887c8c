"""AdamW against Muon at equal time: the same model and text, each with its own learning rate.

AdamW's rate is the best of those tried here (see ADAMW); Muon's are those of `scaling`.
"""

from dataclasses import replace

from llmlab.core.optim import Optimizer
from llmlab.corpus.corpus import load_corpus
from llmlab.corpus.mixture import Mixture
from llmlab.lab import Lab
from llmlab.stages import pretraining
from llmlab.studies import study
from llmlab.studies.scaling import RATES
from llmlab.training import loop

ADAMW = {"adamw 1e-3": 1e-3, "adamw 2e-3": 2e-3, "adamw 4e-3": 4e-3, "adamw 8e-3": 8e-3}
SECONDS = 60


@study("optimizers", arms=("muon", *ADAMW), seeds=(1, 2, 3),
       settings={"seconds": SECONDS, "adamw": ADAMW, "rates": RATES})  # fmt: skip
def run(lab: Lab, arm: str, seed: int) -> dict:
    """Held-out bits per byte after a minute of one thread's work, and the loss on the way."""
    tokenizer, corpus = lab.tokenizer(), load_corpus(lab.profile.sources)
    lab = replace(lab, minutes=SECONDS / 60, profile=replace(lab.profile, **RATES))
    model = lab.build(replace(lab.profile.model, vocab_size=tokenizer.vocab_size))
    job = pretraining.new_job(lab, model, tokenizer, lab.path("base"), corpus.hash())
    if arm in ADAMW:
        job.optimizer = Optimizer(model.named_parameters(), muon_lr=0, adam_lr=ADAMW[arm])
    pretraining.train(lab, job, Mixture(corpus, tokenizer.to_tiktoken(), lab.profile.mixture, seed))
    loop.require_finished(job)
    return {
        "val_bpb": pretraining.held_out_bpb(lab, model, tokenizer, corpus),
        "steps": job.steps,
        "cpu_seconds": round(job.cpu_seconds, 1),
        "loss": [round(record["loss"], 3) for record in job.log[:: max(1, job.steps // 60)]],
    }
