"""How the loss falls with size and with text: four sizes, three budgets of tokens, one law.

The sizes are llmlab's own model, wider and deeper; each run has its whole schedule, all with the
same learning rates.  "192x4:1200" is a model of 4 layers of width 192 after 1,200 thousand
tokens.  One further run, not among those that the law is fitted to, checks its prediction.
"""

from dataclasses import replace

from llmlab.core.model import ModelConfig
from llmlab.corpus.corpus import load_corpus
from llmlab.corpus.mixture import Mixture
from llmlab.lab import Lab
from llmlab.scale.scaling_law import fit, resampled  # noqa: F401, which notebook 04 asks for here
from llmlab.stages import pretraining
from llmlab.studies import study
from llmlab.training import loop

SIZES = ("64x2", "96x3", "128x4", "192x4")  # width x layers
BUDGETS = (300, 600, 1200)  # thousand tokens
CHECK = "160x4:1440"  # held back
RATES = {"muon_lr": 0.02, "muon_momentum": 0.95, "adam_lr": 1.6e-2, "adam_betas": (0.9, 0.95)}
ARMS = tuple(f"{size}:{tokens}" for size in SIZES for tokens in BUDGETS) + (CHECK,)


@study("scaling", arms=ARMS, seeds=(1,), settings={"rates": RATES})
def run(lab: Lab, arm: str, seed: int) -> dict:
    """Held-out loss in nats per token after an arm's tokens, and what it cost."""
    size, _, thousands = arm.partition(":")
    tokenizer, corpus = lab.tokenizer(), load_corpus(lab.profile.sources)
    steps = round(int(thousands) * 1000 / lab.profile.pretraining_batch / lab.profile.seq_len)
    profile = replace(lab.profile, **RATES)
    lab = replace(lab, steps=lab.profile.max_steps or steps, profile=profile)
    model = lab.build(model_shape(size, tokenizer.vocab_size))
    job = pretraining.new_job(lab, model, tokenizer, lab.path("base"), corpus.hash())
    rows = Mixture(corpus, tokenizer.to_tiktoken(), lab.profile.mixture, seed)
    pretraining.train(lab, job, rows)
    loop.require_finished(job)
    bpb = pretraining.held_out_bpb(lab, model, tokenizer, corpus)
    parameters = sum(p.numel() for p in model.parameters())
    tokens = sum(record["tokens"] for record in job.log)
    return {
        "val_bpb": bpb,
        "parameters": parameters,
        "tokens": tokens,
        "flops": 6 * parameters * tokens,
        "cpu_seconds": round(job.cpu_seconds, 1),
    }


def model_shape(size: str, vocab_size: int) -> ModelConfig:
    """The shape that "192x4" stands for: heads 32 wide, an MLP of 2.4 times the width."""
    dim, layers = map(int, size.split("x"))
    heads = dim // 32
    return ModelConfig(vocab_size=vocab_size, dim=dim, n_layers=layers, n_heads=heads,
                       n_kv_heads=heads, hidden_dim=round(2.4 * dim / 32) * 32)  # fmt: skip
