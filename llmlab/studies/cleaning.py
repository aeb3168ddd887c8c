"""Does cleaning pay?  The same small model on four editions of the raw pile, at equal tokens.

Each edition does what the one before it did, and one thing more.  All are examined on the same
clean documents, which none of them holds, and on the recipes that were leaked into the raw pile.
With a budget in minutes a slow machine does fewer steps, and no machine does more.
"""

import random
from dataclasses import replace
from itertools import cycle

from llmlab.core.model import ModelConfig
from llmlab.corpus import filters
from llmlab.corpus.raw_pile import Pile, raw_pile
from llmlab.lab import Lab
from llmlab.stages import pretraining
from llmlab.studies import study
from llmlab.studies.scaling import RATES
from llmlab.training import loop

ARMS = ("raw", "cleaned", "deduplicated", "balanced")
REMOVED_BY = {"cleaned": ("rules", "quality")}  # the later editions: by all filters
MIXTURE = {"recipes": 0.70, "encyclopedia": 0.20, "speeches": 0.06, "python": 0.04}
SMALL = {"dim": 128, "n_layers": 3, "n_heads": 4, "n_kv_heads": 4, "hidden_dim": 320}
STEPS = 600
ADAM_LR = 4e-3
EXAM = 60  # documents of each source
SETTINGS = {
    "steps": STEPS, "adam_lr": ADAM_LR, "rates": RATES, "shape": SMALL, "mixture": MIXTURE,
    "removed_by": REMOVED_BY, "exam": EXAM,
}  # fmt: skip


@study("cleaning", arms=ARMS, seeds=(1, 2, 3), settings=SETTINGS)
def run(lab: Lab, arm: str, seed: int) -> dict:
    """Bits per byte on each source's held-out documents, and on the leaked recipes."""
    pile, tokenizer = raw_pile(lab.profile.sources, seed), lab.tokenizer()
    encoding, end = tokenizer.to_tiktoken(), tokenizer.special("<|end|>")
    ids = {
        source: [[*ids, end] for ids in encoding.encode_ordinary_batch(texts)]
        for source, texts in edition(pile, arm).items()
    }
    rows = pretraining.WindowDataset(
        joined_ids(ids, MIXTURE if arm == "balanced" else None, seed), seed
    )
    steps = lab.steps or lab.profile.max_steps or (None if lab.minutes else STEPS)
    lab = replace(lab, steps=steps, profile=replace(lab.profile, **RATES | {"adam_lr": ADAM_LR}))
    shape = {"vocab_size": tokenizer.vocab_size, "max_seq_len": lab.profile.seq_len}
    model = lab.build(ModelConfig(**SMALL, **shape))
    job = pretraining.new_job(lab, model, tokenizer, lab.path("base"), f"{arm} pile")
    pretraining.train(lab, job, rows, max_steps=STEPS)
    loop.require_finished(job)
    exam = {f"{name}_bpb": texts[:EXAM] for name, texts in pile.exam.items()}
    exam["leaked_bpb"] = list(pile.leaked)
    figures = {
        name: pretraining.bits_per_byte(model, tokenizer, texts, lab.profile.seq_len)
        for name, texts in exam.items()
    }
    tokens = sum(record["tokens"] for record in job.log)
    return {**figures, "tokens": tokens, "epochs": rows.epochs(tokens)}


def edition(pile: Pile, arm: str) -> dict[str, list[str]]:
    """The pile's texts by source, as an arm of the study reads them."""
    texts: dict[str, list[str]] = {}
    if arm == "raw":
        for page in pile.pages:
            texts.setdefault(page.source, []).append(page.text)
        return texts
    removed_by = REMOVED_BY.get(arm, tuple(one.name for one in filters.FILTERS))
    for outcome in filters.clean_pile(pile, ready_quality(pile)):
        if outcome.removed_by not in removed_by:
            texts.setdefault(outcome.page.source, []).append(outcome.text)
    return texts


def ready_quality(pile: Pile):
    """The quality classifier from the ready labels alone."""
    pages = [pile.pages[i] for i in filters.to_label(pile)]
    texts = [filters.clean_text(page.text) for page in pages]
    return filters.quality_model(texts, map(filters.is_worth_reading, pages))


def joined_ids(ids: dict[str, list], weights: dict | None, seed: int) -> list[int]:
    """All documents' ids in random order, one after the other.

    weights: source -> share of the tokens; a scarce source is then read again and again, a
    plentiful one only in part.  None: every document once.
    """
    rng, chosen = random.Random(seed), []
    total = sum(len(d) for documents in ids.values() for d in documents)
    for source, documents in ids.items():
        rng.shuffle(documents)
        room = sum(map(len, documents))
        if weights:
            room = total * weights[source] / sum(weights[s] for s in ids)
        for document in cycle(documents):
            if room <= 0:
                break
            chosen.append(document)
            room -= len(document)
    rng.shuffle(chosen)
    return [i for document in chosen for i in document]
