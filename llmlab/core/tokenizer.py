"""Byte-level byte-pair encoding, as in GPT-2 (Sennrich et al. 2016; Radford et al. 2019).

Text is cut into pre-tokens by a pattern, each is spelled in UTF-8 bytes (ids 0 to 255), and the
most frequent neighbours are merged again and again.  So any string has ids, and no id is unknown.
Training counts every *distinct* pre-token once and updates only the pairs that a merge touches:
the same merges as the textbook's recount, a hundred times sooner.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush
from itertools import pairwise

import regex
import tiktoken

# Words with the space before them, contractions, numbers of up to three digits, punctuation,
# line ends, other space: a merge never crosses from one to the next.
PATTERN = (
    r"'(?i:s|d|m|t|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIALS = ("<|end|>", "<|user|>", "<|assistant|>")


@dataclass(frozen=True)
class BPE:
    """A trained encoding: bytes are ids 0-255, then one id a merge, then the special tokens.

    merges: pairs of ids in the order of training.  pattern: the pre-tokenizer.  specials: names
    that text can never produce: a user who types "<|end|>" gets its characters, not its id.
    """

    merges: tuple[tuple[int, int], ...]
    pattern: str = PATTERN
    specials: tuple[str, ...] = SPECIALS

    @property
    def vocab_size(self) -> int:
        """Number of ids: 256 bytes, the merges, the special tokens."""
        return 256 + len(self.merges) + len(self.specials)

    @cached_property
    def token_bytes(self) -> list[bytes]:
        """The bytes of every ordinary id, in order of ids."""
        table = [bytes([b]) for b in range(256)]
        for left, right in self.merges:
            table.append(table[left] + table[right])
        return table

    @cached_property
    def ranks(self) -> dict[tuple[int, int], int]:
        """The id that each pair merges into; a lower id was learned earlier and merges first."""
        return {pair: 256 + i for i, pair in enumerate(self.merges)}

    def special(self, name: str) -> int:
        """The id of a special token.  Raises ValueError for a name that is none."""
        return 256 + len(self.merges) + self.specials.index(name)

    def encode(self, text: str) -> list[int]:
        """Ids of `text`: special tokens in it stay text, half a surrogate pair becomes U+FFFD."""
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # as tiktoken
        chunks = regex.findall(self.pattern, text)
        return [i for chunk in chunks for i in self._encode_chunk(chunk.encode())]

    def _encode_chunk(self, chunk: bytes) -> list[int]:
        ids = list(chunk)
        while True:
            pair = min(pairwise(ids), key=lambda p: self.ranks.get(p, 1 << 30), default=None)
            if pair not in self.ranks:
                return ids
            ids = merge_pair(ids, pair, self.ranks[pair])

    def decode(self, ids: list[int]) -> str:
        """Text of `ids`; bytes that are no valid UTF-8 become U+FFFD.  Raises IndexError."""
        table = self.token_bytes + [name.encode() for name in self.specials]
        return b"".join(table[i] for i in ids).decode("utf-8", "replace")

    def to_tiktoken(self) -> tiktoken.Encoding:
        """The same encoding run by tiktoken: equal ids, and fast enough for a corpus."""
        ranks = {b: i for i, b in enumerate(self.token_bytes)}
        ids = {name: self.special(name) for name in self.specials}
        return tiktoken.Encoding(
            "llmlab", pat_str=self.pattern, mergeable_ranks=ranks, special_tokens=ids
        )


def merge_pair(ids: list[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """`ids` with every `pair`, from left to right, replaced by `new_id`."""
    merged, i = [], 0
    while i < len(ids):
        hit = ids[i] == pair[0] and i + 1 < len(ids) and ids[i + 1] == pair[1]
        merged.append(new_id if hit else ids[i])
        i += 2 if hit else 1
    return merged


def train_bpe(
    text: str, vocab_size: int, pattern: str = PATTERN, specials: tuple[str, ...] = SPECIALS
) -> BPE:
    """Learn the merges of a byte-level BPE with `vocab_size` ids from `text`.

    The most frequent pair merges first; of equals, the one with the smaller ids.  Raises
    ValueError when the size leaves no room for the 256 bytes or asks for more merges than the
    text has pairs.  Sennrich et al. 2016, algorithm 1.
    """
    n_merges = vocab_size - 256 - len(specials)
    if n_merges < 0:
        raise ValueError(f"vocab_size must be at least {256 + len(specials)}, not {vocab_size}")
    pretokens = Counter(regex.findall(pattern, text))
    words = [list(word.encode("utf-8", "replace")) for word in pretokens]
    frequency = list(pretokens.values())
    counts, where = defaultdict(int), defaultdict(set)
    for i, ids in enumerate(words):
        for pair in pairwise(ids):
            counts[pair] += frequency[i]
            where[pair].add(i)
    heap, merges = sorted((-count, pair) for pair, count in counts.items()), []
    while len(merges) < n_merges:
        if not heap or not heap[0][0]:
            most = 256 + len(specials) + len(merges)
            raise ValueError(f"the text supports a vocabulary of {most} at most, not {vocab_size}")
        count, pair = heappop(heap)
        if -count != counts[pair]:  # an old entry: counts only fall, so put the true one back
            heappush(heap, (-counts[pair], pair))
            continue
        new_id, touched = 256 + len(merges), set()
        for i in where.pop(pair):
            ids, words[i] = words[i], merge_pair(words[i], pair, new_id)
            for old in pairwise(ids):
                counts[old] -= frequency[i]
            for new in pairwise(words[i]):
                counts[new] += frequency[i]
                if new_id in new:
                    touched.add(new)
                    where[new].add(i)
        for new in touched:
            heappush(heap, (-counts[new], new))
        merges.append(pair)
    return BPE(tuple(merges), pattern, specials)
