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
    p, (tokens, web) = lab.profile, text(lab)
    model = replace(p.model, vocab_size=lab.tokenizer().vocab_size)
    seq_len = context(web.ids_per_document(), model.max_seq_len) if web else p.seq_len
    lab = replace(lab, profile=replace(p, model=model, seq_len=seq_len))
    lab, plan = fitted(lab, tokens, web.bytes_per_token() if web else None)
    print(plan.text())
    return lab


def context(document: float, most: int) -> int:
    """How many ids a row has: the least power of two that holds a document of so many, but 256 at
    least, and no more than the model can read."""
    return min(most, max(256, 1 << math.ceil(math.log2(document))))


def text(lab: Lab) -> tuple[int, Shards | None]:
    """How many ids a run reads before it has read its main text once, and that text where it is of
    the web; None where it is the class's recipes."""
    tokenizer, p = lab.tokenizer(), lab.profile
    mixture = Mixture(load_corpus(p.sources), tokenizer.to_tiktoken(), p.mixture, lab.seed)
    rows = prepare.rows_of(lab, tokenizer, mixture)
    main = rows.main() if isinstance(rows, Blend) else rows
    return math.ceil(1 / rows.epochs(1)), main if isinstance(main, Shards) else None
