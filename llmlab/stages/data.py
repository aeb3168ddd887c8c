"""Stage 1, data: got, cleaned, labelled, checked, balanced, and cut into rows of ids.

A source is read, cleaned and freed of twins *before* the split, and the split is by the hash of a
document: nothing of the validation set, nor a near copy of it, reaches any training.
Recipes are read in many layouts with foods swapped inside their families, so that copying what
stands above is the only way to a low loss: the base learns to look back.
"""

import time

from llmlab.corpus.corpus import load_corpus


def run(lab, on_step=None) -> dict:
    """The stage: read, clean, free of twins, split.  Returns figures for the report."""
    start = time.monotonic()
    corpus = load_corpus(lab.profile.sources)
    totals = {
        key: sum(f[key] for f in corpus.figures.values())
        for key in ("documents", "twins", "bytes", "training_documents", "held_out_documents")
    }
    return {**totals, "hash": corpus.hash(), "sources": corpus.figures,
            "seconds": time.monotonic() - start}  # fmt: skip
