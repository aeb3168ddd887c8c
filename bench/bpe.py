"""How fast `train_bpe` is, beside the textbook's algorithm and two libraries in Rust.

    python bench/bpe.py [--json FILE]

All learn byte-level merges from the same pre-tokens of the same text, and their merges must be
equal, else the run fails.  Two textbooks are timed, both of which count every pair anew for each
merge: over the text as it stands, each pre-token as often as it occurs, as lectures do; and over
the distinct pre-tokens with their numbers, as in Sennrich et al. 2016, algorithm 1.

Seconds are those of the processor, on one thread, so that other work on the machine counts little;
what is fast is timed five times, and the fastest counts.  The text is the start of each of the
series' sources, one after the other: it repeats nothing.
"""

import os

os.environ["RAYON_NUM_THREADS"] = "1"  # before a library in Rust starts its threads
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import regex

from llmlab.core.tokenizer import PATTERN, merge_pair, train_bpe
from llmlab.corpus.corpus import Recipe, read_source
from llmlab.device import cpu_name

SHARES = {"recipes": 0.35, "encyclopedia": 0.45, "speeches": 0.1, "python": 0.1}
Pair = tuple[int, int]


def class_text(size: int) -> str:
    """About `size` bytes of the class sources; SystemExit where they are not all there."""
    parts = []
    for name, share in SHARES.items():
        documents, own = read_source(name)
        if not own:
            sys.exit(f"The source {name} is missing: python -m llmlab data fetch")
        whole = "\n".join(d.text() if isinstance(d, Recipe) else d for d in documents)
        parts.append(whole.encode()[: round(share * size)].decode("utf-8", "ignore"))
    return "\n".join(parts)


# --- The trainers: pre-tokens and a number of merges in, merges out ---------------------------


def textbook(words: Sequence[list[int]], times: Sequence[int], n_merges: int) -> list[Pair]:
    """Count all pairs, merge the most frequent everywhere, and again: nothing is remembered.

    words: pre-tokens as ids of bytes.  times: how often each occurs.  Of equals, the pair with
    the smaller ids merges first.  Sennrich et al. 2016, algorithm 1.
    """
    merges = []
    for new_id in range(256, 256 + n_merges):
        counts = Counter()
        for ids, n in zip(words, times, strict=True):
            for pair in zip(ids, ids[1:], strict=False):
                counts[pair] += n
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        words = [merge_pair(ids, best, new_id) for ids in words]
        merges.append(best)
    return merges


def every_pretoken(text: str, n_merges: int) -> list[Pair]:
    """The textbook over the text as it stands."""
    words = [list(word.encode()) for word in regex.findall(PATTERN, text)]
    return textbook(words, [1] * len(words), n_merges)


def distinct_pretokens(text: str, n_merges: int) -> list[Pair]:
    """The textbook over each distinct pre-token once."""
    found = Counter(regex.findall(PATTERN, text))
    return textbook([list(word.encode()) for word in found], list(found.values()), n_merges)


def ours(text: str, n_merges: int) -> list[Pair]:
    return list(train_bpe(text, 256 + n_merges, specials=()).merges)


def with_rustbpe(text: str, n_merges: int) -> list[bytes]:
    """rustbpe's tokens in the order of training: it breaks ties as we do."""
    import rustbpe

    tokenizer = rustbpe.Tokenizer()
    tokenizer.train_from_iterator(iter([text]), 256 + n_merges, pattern=PATTERN)
    ranks = tokenizer.get_mergeable_ranks()
    return [bytes(token) for token, _ in sorted(ranks, key=lambda item: item[1])]


def with_tokenizers(text: str, n_merges: int) -> set[str]:
    """The tokens of Hugging Face's library, spelled in its own alphabet of bytes."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=256 + n_merges, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([text], trainer)
    return set(tokenizer.get_vocab())


# --- Timed and compared ---------------------------------------------------------------------


def seconds(train: Callable, text: str, n_merges: int, times: int = 5) -> tuple[float, object]:
    """The fewest seconds of the processor out of `times` trainings, and what the last one made."""
    took = []
    for _ in range(times):
        start = time.process_time()
        made = train(text, n_merges)
        took.append(time.process_time() - start)
    return min(took), made


def beside_the_textbook(text: str, n_merges: int) -> dict[str, float]:
    """Seconds of both textbooks and of ours; AssertionError unless all merges are equal."""
    made = {
        "textbook, every pre-token": seconds(every_pretoken, text, n_merges, times=1),
        "textbook, distinct pre-tokens": seconds(distinct_pretokens, text, n_merges, times=1),
        "train_bpe": seconds(ours, text, n_merges),
    }
    merges = [made[name][1] for name in made]
    assert merges[0] == merges[1] == merges[2], "the merges differ"
    return {name: took for name, (took, _) in made.items()}


def beside_libraries(text: str, n_merges: int) -> dict[str, float]:
    """Seconds of ours and of the libraries; AssertionError unless rustbpe's merges are equal.

    `tokenizers` orders bytes in another way, and ties with them: its last merges may be others.
    """
    took, merges = seconds(ours, text, n_merges)
    rust, ranks = seconds(with_rustbpe, text, n_merges)
    face, vocabulary = seconds(with_tokenizers, text, n_merges)
    table = [bytes([b]) for b in range(256)]
    for left, right in merges:
        table.append(table[left] + table[right])
    assert ranks == table, "rustbpe learned other merges"
    assert len(vocabulary) == len(table)
    return {"train_bpe": took, "rustbpe": rust, "tokenizers": face}


def report(title: str, text: str, n_merges: int, took: dict[str, float]) -> dict:
    """Print a table, and give it back as a dict."""
    found = Counter(regex.findall(PATTERN, text))
    size = len(text.encode())
    print(f"{title}: {size / 1e6:.2f} MB to {256 + n_merges:,} ids; {found.total():,} pre-tokens, "
          f"{len(found):,} distinct")  # fmt: skip
    for name, value in took.items():
        print(f"  {name:<30} {value:9.3f} s   {value / took['train_bpe']:8.2f} x train_bpe")
    figures = {"bytes": size, "ids": 256 + n_merges, "pretokens": found.total()}
    return {**figures, "distinct_pretokens": len(found), "seconds": took}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time train_bpe beside others.")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--small", type=int, default=300_000, help="bytes for the textbooks")
    parser.add_argument("--large", type=int, default=5_000_000, help="bytes for the libraries")
    args = parser.parse_args(argv)
    print(f"{cpu_name()}, one thread, Python {sys.version.split()[0]}; processor seconds")
    small, large = class_text(args.small), class_text(args.large)
    figures = {
        "textbook": report(
            "beside the textbook", small, 768, beside_the_textbook(small, 768)
        ),
        "libraries": report(
            "beside libraries", large, 2048 - 256, beside_libraries(large, 2048 - 256)
        ),
    }  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps({"device": cpu_name(), **figures}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
