"""Byte-level BPEs from elsewhere, as a tokenizer.json of the `tokenizers` library holds them."""

import unicodedata
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache

import regex
import tiktoken

# What a ByteLevel with use_regex cuts by.  Radford et al. 2019, whose code it is from.
GPT2_PATTERN = (
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)  # fmt: skip
REMEMBERED = 100_000  # pieces of text


class HubTokenizer:
    """A byte-level BPE from elsewhere: ids in any order, text cut by any patterns in turn.

    It stands in for our `BPE` and, since ids in any order are more than tiktoken's file holds,
    for the `tiktoken.Encoding` of it, too: `to_tiktoken` returns itself.  Ids are those of the
    `tokenizers` library without its post-processor: no bos is put before a text.  Every added
    token is a special one here, which typed text can never produce (`tokenizers` still finds
    those that are marked "special": false).  A byte that has no id is lost, as it is there.

    stored: a tokenizer.json; settings: its tokenizer_config.json; vocab_size: the rows of the
    model's table, where they are more than the tokens.  LookupError, TypeError, ValueError or
    AttributeError for what is no byte-level BPE.
    """

    def __init__(self, stored: dict, settings: dict | None = None, vocab_size: int = 0):
        self.stored, self.settings = stored, settings or {}
        model = stored["model"]
        self._splits = [regex.compile(p) for p in _patterns(stored["pre_tokenizer"])]
        self._nfc = _is_nfc(stored.get("normalizer"))
        _check_plain(model)
        vocab = model["vocab"]
        self._special_ids = {token["content"]: token["id"] for token in stored["added_tokens"]}
        learned = _learned(model["merges"], vocab)
        self._lost = bytes(byte for byte in range(256) if bytes([byte]) not in learned)
        if self._lost and model.get("unk_token"):
            raise ValueError("it lacks bytes and has an unk_token")
        self._ids = list(learned.values())  # by the order of merges, which tiktoken counts in
        self._engine = tiktoken.Encoding(
            "hub", pat_str=r"[\s\S]+", mergeable_ranks={t: i for i, t in enumerate(learned)},
            special_tokens={},
        )  # fmt: skip
        known = {token: id for token, id in vocab.items() if token not in self._special_ids}
        at_once = model.get("ignore_merges")  # whether a token in the text needs no merges
        self._whole = {_spelled(t): id for t, id in known.items()} if at_once else {}
        self._bytes = [b""] * max(vocab_size, 1 + max(*vocab.values(), *self._special_ids.values()))
        for token, id in known.items():
            self._bytes[id] = _spelled(token)
        for token, id in self._special_ids.items():
            self._bytes[id] = token.encode()
        self._piece = lru_cache(REMEMBERED)(self._encode_piece)

    # As our BPE.

    @property
    def vocab_size(self) -> int:
        """Number of ids, as many as the model's table has rows; some may stand for nothing."""
        return len(self._bytes)

    @property
    def specials(self) -> tuple[str, ...]:
        """The names of all added tokens."""
        return tuple(self._special_ids)

    def special(self, name: str) -> int:
        """The id of a special token.  Raises ValueError for a name that is none."""
        if name not in self._special_ids:
            raise ValueError(f"{name!r} is no special token of this tokenizer")
        return self._special_ids[name]

    def encode(self, text: str, allowed_special=(), disallowed_special=()) -> list[int]:
        """Ids of `text`; special tokens in it stay text, but for those allowed (or "all")."""
        allowed = self.specials if allowed_special == "all" else tuple(allowed_special)
        if not allowed:
            return self.encode_ordinary(text)
        longest_first = sorted(allowed, key=len, reverse=True)
        parts = regex.split(f"({'|'.join(map(regex.escape, longest_first))})", text)
        ids = []
        for i, part in enumerate(parts):  # text and special tokens in turns
            ids += [self.special(part)] if i % 2 else self.encode_ordinary(part)
        return ids

    def decode(self, ids: list[int]) -> str:
        """Text of `ids`; bytes that are no valid UTF-8 become U+FFFD.  Raises IndexError."""
        return b"".join(self._bytes[i] for i in ids).decode("utf-8", "replace")

    def to_tiktoken(self) -> "HubTokenizer":
        """Itself, which encodes as a tiktoken encoding does."""
        return self

    def pack(self) -> dict:
        """All of it as plain JSON values, to travel inside a checkpoint."""
        return {"stored": self.stored, "settings": self.settings, "vocab_size": self.vocab_size}

    # As tiktoken's encoding.

    @property
    def n_vocab(self) -> int:
        """Number of ids."""
        return self.vocab_size

    @property
    def special_tokens_set(self) -> set[str]:
        """The names of all added tokens."""
        return set(self._special_ids)

    def encode_ordinary(self, text: str) -> list[int]:
        """Ids of `text`: special tokens in it stay text."""
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # as tiktoken
        pieces = [unicodedata.normalize("NFC", text) if self._nfc else text]
        for pattern in self._splits:
            pieces = [part for piece in pieces for part in _isolated(pattern, piece)]
        return [i for piece in pieces for i in self._piece(piece)]

    def encode_ordinary_batch(self, texts: list[str], num_threads: int = 8) -> list[list[int]]:
        """`encode_ordinary` of each text."""
        with ThreadPoolExecutor(num_threads) as pool:
            return list(pool.map(self.encode_ordinary, texts))

    def decode_batch(self, batch: list[list[int]]) -> list[str]:
        """`decode` of each list of ids."""
        return [self.decode(ids) for ids in batch]

    def decode_single_token_bytes(self, token: int) -> bytes:
        """The bytes that an id stands for.  Raises IndexError."""
        return self._bytes[token]

    def decode_tokens_bytes(self, tokens: list[int]) -> list[bytes]:
        """The bytes of each id."""
        return [self._bytes[i] for i in tokens]

    def is_special_token(self, token: int) -> bool:
        """Whether an id is an added token's."""
        return token in self._special_set

    @cached_property
    def _special_set(self) -> frozenset[int]:
        return frozenset(self._special_ids.values())

    def _encode_piece(self, piece: str) -> tuple[int, ...]:
        """The ids of one piece: by its merges, or at once where the file says so."""
        raw = piece.encode().translate(None, self._lost)
        if raw in self._whole:
            return (self._whole[raw],)
        return tuple(self._ids[i] for i in self._engine._encode_single_piece(raw)) if raw else ()


# --- What a tokenizer.json says -------------------------------------------------------------


def byte_characters() -> list[str]:
    """The printable character that stands for each byte in a tokenizer.json, by byte.

    Printable ones stand for themselves, the others for those from U+0100 on.  Radford et al.
    2019, whose code is where this spelling comes from.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b if b in printable else 256 + others.index(b)) for b in range(256)]


_BYTE = {character: byte for byte, character in enumerate(byte_characters())}


def _spelled(token: str) -> bytes:
    """The bytes of a token's characters.  KeyError for one that stands for no byte."""
    return bytes(_BYTE[character] for character in token)


def _learned(merges: list, vocab: dict[str, int]) -> dict[bytes, int]:
    """Bytes -> id of all that merging can make: the single bytes, then by the order of merges."""
    learned = {bytes([byte]): vocab[c] for c, byte in _BYTE.items() if c in vocab}
    for merge in merges:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        learned.setdefault(_spelled(left + right), vocab[left + right])
    return learned


def _check_plain(model: dict) -> None:
    """ValueError for a model that is no byte-level BPE."""
    if model.get("type", "BPE") != "BPE":
        raise ValueError(f"its model is a {model['type']}")
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(name):
            raise ValueError(f"it has {name}")


def _is_nfc(normalizer: dict | None) -> bool:
    """Whether text is brought into Unicode's form NFC first (Qwen); else it stays as it is."""
    if normalizer not in (None, {"type": "NFC"}):
        raise ValueError("its normalizer is another than NFC")
    return normalizer is not None


def _patterns(pre_tokenizer: dict) -> list[str]:
    """The patterns that cut a text one after another, the last step being the bytes'."""
    steps = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    if [step["type"] for step in steps].index("ByteLevel") != len(steps) - 1:
        raise ValueError("its last step is not the bytes'")
    return [pattern for step in steps if (pattern := _pattern(step))]


def _pattern(step: dict) -> str | None:
    """What one step cuts by: each match a piece, and what lies between two."""
    match step:
        case {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}:
            return pattern
        case {"type": "Split", "pattern": {"String": text}, "behavior": "Isolated"}:
            return regex.escape(text)
        case {"type": "Digits", "individual_digits": each}:
            return r"\p{N}" if each else r"\p{N}+"
        case {"type": "ByteLevel", "add_prefix_space": False}:
            return GPT2_PATTERN if step.get("use_regex", True) else None
    raise ValueError(f"it has a step {step['type']} that llmlab does not know")


def _isolated(pattern: regex.Pattern, text: str) -> list[str]:
    """The matches in a text and what lies between them, in order, none empty."""
    parts, at = [], 0
    for match in pattern.finditer(text):
        parts += [text[at : match.start()], match[0]]
        at = match.end()
    return [part for part in (*parts, text[at:]) if part]
