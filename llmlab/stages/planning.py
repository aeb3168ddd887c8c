"""What `full` trains on this machine: the plan, made from the text that the profile reads."""

import math

from llmlab.lab import Lab
from llmlab.scale.plan import fitted
from llmlab.stages import prepare
from llmlab.stages.data import Mixture, load_corpus


def planned(lab: Lab) -> Lab:
    """The lab with sizes that suit this machine and its minutes, which are printed; as it is where
    its profile leaves nothing to choose."""
    if not lab.profile.depths:
        return lab
    tokens, web = text(lab)
    lab, plan = fitted(lab, tokens, web)
    print(plan.text())
    return lab


def text(lab: Lab) -> tuple[int, bool]:
    """How many ids a run reads before it has read its main text once, and whether that is of the
    web, and not the class's recipes."""
    tokenizer, p = lab.tokenizer(), lab.profile
    mixture = Mixture(load_corpus(p.sources), tokenizer.to_tiktoken(), p.mixture, lab.seed)
    rows = prepare.rows_of(lab, tokenizer, mixture)
    return math.ceil(1 / rows.epochs(1)), rows is not mixture
