"""How the loss falls with size and with text: four sizes, three budgets of tokens, one law.

The sizes are llmlab's own model, wider and deeper; each run has its whole schedule, with the
learning rates of the class.  "192x4:1200" is a model of 4 layers of width 192 after 1,200 thousand
tokens.  One further run, not among those that the law is fitted to, checks its prediction.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from llmlab.core.model import ModelConfig
from llmlab.lab import Lab
from llmlab.stages import pretraining
from llmlab.stages.data import Mixture, load_corpus
from llmlab.studies import study

SIZES = ("64x2", "96x3", "128x4", "192x4")  # width x layers
BUDGETS = (300, 600, 1200)  # thousand tokens
CHECK = "160x4:1440"  # held back
ARMS = tuple(f"{size}:{tokens}" for size in SIZES for tokens in BUDGETS) + (CHECK,)


@study("scaling", arms=ARMS, seeds=(1,))
def run(lab: Lab, arm: str, seed: int) -> dict:
    """Held-out loss in nats per token after an arm's tokens, and what it cost."""
    size, _, thousands = arm.partition(":")
    tokenizer, corpus = lab.tokenizer(), load_corpus(lab.profile.sources)
    steps = round(int(thousands) * 1000 / lab.profile.pretraining_batch / lab.profile.seq_len)
    lab = replace(lab, steps=lab.profile.max_steps or steps)
    model = lab.build(shape(size, tokenizer.vocab_size))
    job = pretraining.new_job(lab, model, tokenizer, lab.path("base"), corpus.hash())
    rows = Mixture(corpus, tokenizer.to_tiktoken(), lab.profile.mixture, seed)
    pretraining.train(lab, job, rows)
    if job.step < job.steps:
        raise KeyboardInterrupt
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


def shape(size: str, vocab_size: int) -> ModelConfig:
    """The shape that "192x4" stands for: heads 32 wide, an MLP of 2.4 times the width."""
    dim, layers = map(int, size.split("x"))
    heads = dim // 32
    return ModelConfig(vocab_size=vocab_size, dim=dim, n_layers=layers, n_heads=heads,
                       n_kv_heads=heads, hidden_dim=round(2.4 * dim / 32) * 32)  # fmt: skip


# --- The law ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Law:
    """loss = floor + a / parameters^alpha + b / tokens^beta.  Hoffmann et al. 2022, eq. 2."""

    floor: float
    a: float
    alpha: float
    b: float
    beta: float

    def loss(self, parameters, tokens):
        """Predicted loss, in the unit that the law was fitted in; numbers or arrays."""
        return self.floor + self.a / parameters**self.alpha + self.b / tokens**self.beta

    def best(self, flops: float) -> tuple[float, float]:
        """(parameters, tokens) that make the most of a budget of 6 N D FLOPs.

        Hoffmann et al. 2022, eq. 4.
        """
        exponent = self.alpha + self.beta
        g = (self.alpha * self.a / (self.beta * self.b)) ** (1 / exponent)
        n = g * (flops / 6) ** (self.beta / exponent)
        return n, flops / 6 / n


def fit(parameters, tokens, loss) -> Law:
    """The law that lies nearest to measured losses, by least squares of their logarithms.

    parameters, tokens, loss: (runs,).  Constants are positive, exponents between 0 and 2; the best
    of several starting points counts.
    """
    from scipy.optimize import least_squares

    n, d, loss = (np.asarray(x, dtype=float) for x in (parameters, tokens, loss))
    scale = 1e5, 1e6  # so that a and b are of the size of a loss

    def law(x) -> Law:
        floor, a, b = np.exp(x[:3])
        return Law(floor, a * scale[0] ** x[3], x[3], b * scale[1] ** x[4], x[4])

    def off(x) -> np.ndarray:
        return np.log(law(x).loss(n, d)) - np.log(loss)

    low, high = [-8, -8, -8, 0.02, 0.02], [math.log(loss.min()), 3, 3, 2, 2]
    starts = [
        [math.log(f * loss.min()), math.log(0.3), math.log(0.3), alpha, beta]
        for f in (0.1, 0.5, 0.8) for alpha in (0.2, 0.5) for beta in (0.2, 0.5)
    ]  # fmt: skip
    found = [least_squares(off, start, bounds=(low, high)) for start in starts]
    return law(min(found, key=lambda result: result.cost).x)


def resampled(parameters, tokens, loss, times: int = 100, seed: int = 0) -> list[Law]:
    """Laws fitted to runs drawn anew with replacement: how sure the fit is (Efron 1979)."""
    rng = np.random.default_rng(seed)
    runs = np.stack([np.asarray(x, dtype=float) for x in (parameters, tokens, loss)])
    drawn = (rng.integers(0, runs.shape[1], runs.shape[1]) for _ in range(times))
    return [fit(*runs[:, chosen]) for chosen in drawn]
