"""Deduplication: exact copies, near-duplicates by MinHash, leaks by n-grams."""

import hashlib
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import regex

from llmlab.artifacts import LabError


def shingles(text: str) -> np.ndarray:
    """Hashes of all runs of three words, lower case: (runs,) of uint64."""
    words = regex.findall(r"\w+", text.lower())
    h = np.array([zlib.crc32(w.encode()) for w in words] + [0, 0], dtype=np.uint64)
    return h[:-2] * np.uint64(0x9E3779B97F4A7C15) + h[1:-1] * np.uint64(0xC2B2AE3D27D4EB4F) + h[2:]


def minhash(text: str, n_hashes: int = 64) -> np.ndarray:
    """The smallest value of `n_hashes` random hashes over a text's shingles: (n_hashes,).

    Two texts agree in a place with the probability of their Jaccard similarity.  Broder 1997.
    """
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2**64, (2, n_hashes, 1), dtype=np.uint64)
    return ((a | np.uint64(1)) * shingles(text) + b).min(axis=1, initial=2**64 - 1)


def near_duplicates(texts: list[str], threshold: float = 0.5, band: int = 4) -> set[int]:
    """Indices of the texts that nearly repeat an earlier one (estimated Jaccard >= threshold).

    Locality-sensitive hashing: only texts that agree in a whole band are compared.
    Leskovec et al. 2020, section 3.4.
    """
    signatures = np.stack([minhash(t) for t in texts])  # (documents, hashes)
    buckets, out = defaultdict(list), set()
    for i, signature in enumerate(signatures):
        keys = [(j, signature[j : j + band].tobytes()) for j in range(0, len(signature), band)]
        rivals = {r for key in keys for r in buckets[key]}
        if any((signatures[r] == signature).mean() >= threshold for r in rivals):
            out.add(i)
            continue
        for key in keys:
            buckets[key].append(i)
    return out


def exact_copies(texts: Sequence[str]) -> dict[int, int]:
    """Place of each text that equals an earlier one -> place of that one."""
    first, out = {}, {}
    for i, text in enumerate(texts):
        j = first.setdefault(hashlib.sha256(text.encode("utf-8", "replace")).digest(), i)
        if j < i:
            out[i] = j
    return out


def ngrams(text: str, n: int) -> set[str]:
    """The n-grams of a text: all runs of n words, in lower case, without punctuation."""
    words = regex.findall(r"\w+", text.lower())
    return {" ".join(words[i : i + n]) for i in range(len(words) - n + 1)}


def near_copies(texts: Sequence[str], threshold: float = 0.5, n: int = 3) -> dict[int, int]:
    """Place of each text that nearly repeats an earlier one -> place of the nearest such one.

    MinHash and locality-sensitive hashing by `datasketch` propose pairs, the Jaccard similarity
    of their runs of n words decides (>= threshold).  LabError for a threshold that no similarity
    can be.  Broder 1997; Lee et al. 2022.
    """
    from datasketch import MinHash, MinHashLSH

    if not 0 <= threshold <= 1:
        raise LabError(f"A similarity is 0 to 1, so {threshold} is no threshold for copies.")
    shingles = [ngrams(text, n) for text in texts]
    proposes = min(threshold, 0.95)  # 64 hashes cannot tell more; a lower one proposes more pairs
    index = MinHashLSH(threshold=proposes, num_perm=64)
    out = {}
    for i, mine in enumerate(shingles):
        marks = MinHash(num_perm=64, seed=1, hashfunc=hash_ngram)
        marks.update_batch([run.encode() for run in mine])
        near = {j: jaccard(mine, shingles[j]) for j in index.query(marks)}
        best = max(near, key=near.get, default=None)
        if best is not None and near[best] >= threshold:
            out[i] = best
        else:
            index.insert(i, marks, check_duplication=False)
    return out


def hash_ngram(run: bytes) -> int:
    """32 bits of a run, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(run, digest_size=4).digest())


def jaccard(a: set, b: set) -> float:
    """Share of all their members that two sets have in common; 0 for two empty ones."""
    return len(a & b) / max(1, len(a | b))


def leaks(texts: Sequence[str], exam: Iterable[str], n: int = 13) -> dict[int, str]:
    """Place of each text that shares a run of n words with the exam -> one such run.

    Brown et al. 2020 (GPT-3), appendix C.
    """
    asked = set().union(*(ngrams(text, n) for text in exam))
    shared = {i: ngrams(text, n) & asked for i, text in enumerate(texts)}
    return {i: min(found) for i, found in shared.items() if found}
