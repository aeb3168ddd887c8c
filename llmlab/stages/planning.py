"""What `full` trains on this machine: the plan, made from the text that the profile reads."""

import math

from llmlab.lab import Lab
from llmlab.scale.plan import fitted
from llmlab.stages.data import Mixture, load_corpus


def planned(lab: Lab) -> Lab:
    """The lab with sizes that suit this machine and its minutes, which are printed; as it is where
    its profile leaves nothing to choose."""
    if not lab.profile.depths:
        return lab
    lab, plan = fitted(lab, text_tokens(lab))
    print(plan.text())
    return lab


def text_tokens(lab: Lab) -> float:
    """How many ids a run reads before it has read every recipe once."""
    mixture = Mixture(
        load_corpus(lab.profile.sources), lab.tokenizer().to_tiktoken(), lab.profile.mixture,
        lab.seed,
    )  # fmt: skip
    return math.ceil(1 / mixture.epochs(1))
