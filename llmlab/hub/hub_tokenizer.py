"""Tokenizers of the Hugging Face Hub: a tokenizer.json, run by the `tokenizers` library."""

import json

from llmlab.artifacts import LabError


class HubTokenizer:
    """A byte-level BPE from the Hugging Face Hub, such as that of Llama 3, Qwen3 or SmolLM2.

    It stands in for our `BPE` and for the `tiktoken.Encoding` of it, too: `to_tiktoken` returns
    itself.  Ids are those of `tokenizers` without its post-processor: no bos is put before a text.
    Every added token is a special token here, which typed text can never produce (over there it
    can, where it is marked "special": false); a chat template that is encoded with
    `allowed_special="all"` does.  A byte that has no id is lost.

    stored: a tokenizer.json; settings: its tokenizer_config.json; vocab_size: the rows of the
    model's table, where they are more than the tokens.  LabError where `tokenizers` is not
    installed; LookupError, TypeError, ValueError or AttributeError for what is no byte-level BPE.
    """

    def __init__(self, stored: dict, settings: dict | None = None, vocab_size: int = 0):
        self.stored, self.settings = stored, settings or {}
        self._special_ids = {token["content"]: token["id"] for token in stored["added_tokens"]}
        _check_byte_level(stored)
        plain = {"truncation": None, "padding": None, "post_processor": None}
        self._marked = _engine(stored | plain)  # special tokens in a text are found
        learned = _without(stored["model"], self._special_ids)
        self._typed = _engine(stored | plain | {"added_tokens": [], "model": learned})
        if any(self._marked.token_to_id(t) != id for t, id in self._special_ids.items()):
            raise ValueError("its added tokens have other ids than those that it says")
        ids = (*learned["vocab"].values(), *self._special_ids.values())
        self._bytes = [b""] * max(vocab_size, 1 + max(ids))
        for token, id in learned["vocab"].items():
            self._bytes[id] = bytes(_BYTE[character] for character in token)
        for token, id in self._special_ids.items():
            self._bytes[id] = token.encode()

    @property
    def vocab_size(self) -> int:
        """Number of ids, as many as the model's table has rows; some may stand for nothing."""
        return len(self._bytes)

    n_vocab = vocab_size  # as tiktoken calls it

    @property
    def specials(self) -> tuple[str, ...]:
        """The names of all added tokens."""
        return tuple(self._special_ids)

    @property
    def special_tokens_set(self) -> set[str]:
        """The names of all added tokens."""
        return set(self._special_ids)

    def special(self, name: str) -> int:
        """The id of a special token.  Raises ValueError for a name that is none."""
        if name not in self._special_ids:
            raise ValueError(f"{name!r} is no special token of this tokenizer")
        return self._special_ids[name]

    def is_special_token(self, token: int) -> bool:
        """Whether an id is an added token's."""
        return token in self._special_ids.values()

    def encode(self, text: str, allowed_special=(), disallowed_special=()) -> list[int]:
        """Ids of `text`; special tokens in it stay text unless `allowed_special` is "all"."""
        if allowed_special and allowed_special != "all":
            raise ValueError("a Hub tokenizer allows all special tokens in a text, or none")
        engine = self._marked if allowed_special else self._typed
        return engine.encode(_well_formed(text), add_special_tokens=False).ids

    def encode_ordinary(self, text: str) -> list[int]:
        """Ids of `text`: special tokens in it stay text."""
        return self.encode(text)

    def encode_ordinary_batch(self, texts: list[str], num_threads: int = 8) -> list[list[int]]:
        """`encode_ordinary` of each text, by as many threads as the library likes."""
        texts = [_well_formed(text) for text in texts]
        return [made.ids for made in self._typed.encode_batch(texts, add_special_tokens=False)]

    def decode(self, ids: list[int]) -> str:
        """Text of `ids`; bytes that are no valid UTF-8 become U+FFFD.  Raises IndexError."""
        return b"".join(self.decode_tokens_bytes(ids)).decode("utf-8", "replace")

    def decode_tokens_bytes(self, tokens: list[int]) -> list[bytes]:
        """The bytes of each id.  Raises IndexError."""
        return [self._bytes[i] for i in tokens]

    def decode_single_token_bytes(self, token: int) -> bytes:
        """The bytes that an id stands for.  Raises IndexError."""
        return self._bytes[token]

    def to_tiktoken(self) -> "HubTokenizer":
        """Itself, which encodes as a tiktoken encoding does."""
        return self

    def pack(self) -> dict:
        """All of it as plain JSON values, to travel inside a checkpoint."""
        return {"stored": self.stored, "settings": self.settings, "vocab_size": self.vocab_size}


def _engine(stored: dict):
    """A `tokenizers.Tokenizer`.  LabError where that is not installed, ValueError if it cannot be
    made."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise LabError(
            "A tokenizer from the Hugging Face Hub is run by the package tokenizers, which is not "
            "installed: run `%pip install tokenizers` in a cell, then this cell again."
        ) from None
    try:
        return Tokenizer.from_str(json.dumps(stored))
    except Exception as error:  # the library raises no narrower kind
        raise ValueError(f"tokenizers refuses it ({error})") from None


def _check_byte_level(stored: dict) -> None:
    """ValueError for what is no byte-level BPE."""
    model, steps = stored["model"], stored["pre_tokenizer"]
    if model.get("type", "BPE") != "BPE":
        raise ValueError(f"its model is a {model['type']}")
    if steps.get("pretokenizers", [steps])[-1]["type"] != "ByteLevel":
        raise ValueError("its last step is not the bytes'")
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name):
            raise ValueError(f"it has {name}")


def _without(model: dict, names: dict[str, int]) -> dict:
    """The BPE without those tokens and all merges that lead to or from one, always the same for
    the same text: what is typed can become none of them."""
    pairs = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
    merges = [pair for pair in pairs if names.keys().isdisjoint((*pair, "".join(pair)))]
    vocab = {token: id for token, id in model["vocab"].items() if token not in names}
    return model | {"vocab": vocab, "merges": merges, "unk_token": None, "dropout": None}


def _well_formed(text: str) -> str:
    """The text with U+FFFD for halves of surrogate pairs, as tiktoken does."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def byte_characters() -> list[str]:
    """The printable character that stands for each byte in a tokenizer.json, by byte.

    Printable ones stand for themselves, the others for those from U+0100 on.  Radford et al.
    2019, whose code is where this spelling comes from.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b if b in printable else 256 + others.index(b)) for b in range(256)]


_BYTE = {character: byte for byte, character in enumerate(byte_characters())}
