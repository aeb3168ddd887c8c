"""How the loss falls with size and text, and which size a budget is best spent on.

Notebook 04 fits the law to small runs; `planner` trusts it with larger ones.
"""

import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch

from llmlab import artifacts
from llmlab.core.model import ModelConfig, Transformer

REREAD = 15.4  # how many more readings of a text are worth something: Muennighoff et al. 2023
MOST_READINGS = 40  # beyond which a run is cut short: no more can be learned from this text
# Parameters at most for each token of text that there is: more would learn it by heart.
PER_TOKEN = 4


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
    return _law(_nearest(_columns(parameters, tokens, loss)))


def resampled(parameters, tokens, loss, times: int = 100, seed: int = 0) -> list[Law]:
    """Laws fitted to runs drawn anew with replacement: how sure the fit is (Efron 1979).

    Each fit starts from the one to all runs."""
    rng = np.random.default_rng(seed)
    runs = _columns(parameters, tokens, loss)
    whole = _nearest(runs)
    drawn = (rng.integers(0, runs.shape[1], runs.shape[1]) for _ in range(times))
    return [_law(_nearest(runs[:, chosen], [whole])) for chosen in drawn]


def _columns(parameters, tokens, loss) -> np.ndarray:
    """(3, runs)."""
    return np.stack([np.asarray(x, dtype=float) for x in (parameters, tokens, loss)])


def _law(x) -> Law:
    """The law of log floor, log a, log b, alpha, beta; a and b at 1e5 parameters and 1e6 tokens, so
    that they are of the size of a loss."""
    floor, a, b = np.exp(x[:3])
    return Law(floor, a * 1e5 ** x[3], x[3], b * 1e6 ** x[4], x[4])


def _nearest(runs: np.ndarray, starts=None) -> np.ndarray:
    """What `_law` takes, of the law that lies nearest to runs: (3, runs) -> (5,)."""
    from scipy.optimize import least_squares

    n, d, loss = runs
    low, high = [-8, -8, -8, 0.02, 0.02], [math.log(loss.min()), 3, 3, 2, 2]
    starts = starts or [
        [math.log(f * loss.min()), math.log(0.3), math.log(0.3), alpha, beta]
        for f in (0.1, 0.5, 0.8) for alpha in (0.2, 0.5) for beta in (0.2, 0.5)
    ]  # fmt: skip

    def off(x) -> np.ndarray:
        return np.log(_law(x).loss(n, d)) - np.log(loss)

    found = [least_squares(off, np.clip(s, low, high), bounds=(low, high)) for s in starts]
    return min(found, key=lambda result: result.cost).x


def worth(tokens, text_tokens: float):
    """How many tokens of fresh text a run is worth that reads `text_tokens` over and over.

    tokens: a number or an array, all that are read.  Muennighoff et al. 2023, eq. 5.
    """
    if text_tokens == math.inf:
        return tokens
    again = np.maximum(tokens / text_tokens - 1, 0)
    return np.minimum(tokens, text_tokens) + text_tokens * REREAD * (1 - np.exp(-again / REREAD))


# Of web text, in nats per token.  Hoffmann et al. 2022, eq. 10.
CHINCHILLA = Law(floor=1.69, a=406.4, alpha=0.34, b=410.7, beta=0.28)
# Bytes of web text in a token of theirs: of C4, 0.75 TB in 182 billion tokens.  Rae et al. 2021.
THEIR_BYTES = 4.12


def of_the_web(bytes_per_token: float) -> Law:
    """Chinchilla's law in bits per byte, of a tokenizer whose tokens have so many bytes.

    A run is taken to be worth as much as one of theirs that reads as many bytes.
    """
    c, bits = CHINCHILLA, 1 / math.log(2) / THEIR_BYTES
    b = c.b * (THEIR_BYTES / bytes_per_token) ** c.beta
    return Law(c.floor * bits, c.a * bits, c.alpha, b * bits, c.beta)


def of_the_class() -> Law:
    """The law of the class's own text, in bits per byte, from the study that notebook 04 draws."""
    kept = artifacts.read_json(artifacts.data_dir() / "studies" / "scaling.json")
    runs = [point["figures"] for point in kept["points"]]
    return fit(*([run[key] for run in runs] for key in ("parameters", "tokens", "val_bpb")))


# --- The choice -----------------------------------------------------------------------------


def shape_of_depth(model: ModelConfig, depth: int) -> ModelConfig:
    """A model of that depth, as wide for it as `model` is for its own."""
    heads = max(1, round(model.n_heads * depth / model.n_layers))
    dim = heads * model.head_dim
    hidden = round(model.hidden_dim / model.dim * dim / 64) * 64 or model.hidden_dim
    return replace(model, dim=dim, n_layers=depth, n_heads=heads, n_kv_heads=heads,
                   hidden_dim=hidden)  # fmt: skip


@cache
def size_of(model: ModelConfig) -> int:
    """Parameters of a model of that shape: counted in shallow ones without memory, as each layer
    adds the same."""
    with torch.device("meta"):
        one, two = (
            sum(p.numel() for p in Transformer(replace(model, n_layers=n)).parameters())
            for n in (1, 2)
        )
    return one + (model.n_layers - 1) * (two - one)


def choose(
    law: Law, shapes: list[ModelConfig], flops: float, text_tokens: float
) -> tuple[ModelConfig, int, float]:
    """(shape, tokens, expected loss): what makes the most of a budget of 6 N D FLOPs.

    text_tokens: how many there are to read, inf for no end.
    """
    fits = [s for s in shapes if size_of(s) <= PER_TOKEN * text_tokens] or shapes[:1]
    options = []
    for config in fits:
        n = size_of(config)
        tokens = min(flops / 6 / n, MOST_READINGS * text_tokens)
        options.append((law.loss(n, worth(tokens, text_tokens)), int(tokens), config))
    loss, tokens, config = min(options, key=lambda option: option[0])
    return config, tokens, float(loss)
