"""What `full` trains on this machine: the plan, made from the text that the profile reads."""

import math
from dataclasses import replace

from llmlab.lab import Lab
from llmlab.scale.plan import fitted
from llmlab.stages import prepare
from llmlab.stages.data import Mixture, load_corpus
from llmlab.stages.shards import Blend, Shards


def planned(lab: Lab) -> Lab:
    """The lab with sizes that suit this machine and its minutes, which are printed; as it is where
    its profile leaves nothing to choose."""
    if not lab.profile.depths:
        return lab
    model = replace(lab.profile.model, vocab_size=lab.tokenizer().vocab_size)
    lab = replace(lab, profile=replace(lab.profile, model=model))
    lab, plan = fitted(lab, *text(lab))
    print(plan.text())
    return lab


def text(lab: Lab) -> tuple[int, float | None]:
    """How many ids a run reads before it has read its main text once, and how many bytes each of
    them has where that is of the web; None where it is the class's recipes."""
    tokenizer, p = lab.tokenizer(), lab.profile
    mixture = Mixture(load_corpus(p.sources), tokenizer.to_tiktoken(), p.mixture, lab.seed)
    rows = prepare.rows_of(lab, tokenizer, mixture)
    main = rows.main() if isinstance(rows, Blend) else rows
    of_web = main.bytes_per_token() if isinstance(main, Shards) else None
    return math.ceil(1 / rows.epochs(1)), of_web
