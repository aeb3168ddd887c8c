"""tokenizer.json, the format of the `tokenizers` library: ours goes out, others' come in."""

from pathlib import Path

import regex

from llmlab.artifacts import read_json
from llmlab.core.tokenizer import BPE
from llmlab.hub.hub_tokenizer import HubTokenizer, byte_characters

# Every turn is <|role|> and what was said; an answer ends with <|end|>.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] not in ('user', 'assistant') %}"
    "{{ raise_exception('a message is by the user or the assistant') }}{% endif %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def byte_level(vocab: dict, merges: list, steps: list[dict], added: list[dict]) -> dict:
    """A tokenizer.json of a byte-level BPE.

    steps: pre-tokenizers before the bytes'; added: {"id": ..., "content": ...} of special tokens.
    """
    to_bytes = {
        "type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False,
    }  # fmt: skip
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{**token, **flags, "special": True} for token in added],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*steps, to_bytes]},
        "post_processor": None,
        "decoder": to_bytes,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": merges,
        },
    }


def split(pattern: str) -> dict:
    """The step that makes each match of a pattern a piece."""
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def tokenizer_json(bpe: BPE) -> dict:
    """A BPE of ours in the format of the `tokenizers` library."""
    characters = byte_characters()
    spelled = ["".join(characters[b] for b in token) for token in bpe.token_bytes]
    return byte_level(
        {token: i for i, token in enumerate(spelled)},
        [[spelled[left], spelled[right]] for left, right in bpe.merges],
        [split(bpe.pattern)],
        [{"id": bpe.special(name), "content": name} for name in bpe.specials],
    )


def tokenizer_files(tokenizer: BPE | HubTokenizer, room: int) -> tuple[dict, dict, int | None]:
    """tokenizer.json, tokenizer_config.json, and the id that ends an answer.

    room: the model's context.  What came from elsewhere goes out as it came.
    """
    if isinstance(tokenizer, HubTokenizer):
        end = tokenizer.settings.get("eos_token")
        end = end.get("content") if isinstance(end, dict) else end
        known = end in tokenizer.specials
        return tokenizer.stored, tokenizer.settings, tokenizer.special(end) if known else None
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": room,
        "padding_side": "left",  # so that what is written follows what was read
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|end|>",
        "pad_token": "<|end|>",
        "additional_special_tokens": [name for name in tokenizer.specials if name != "<|end|>"],
        "chat_template": CHAT_TEMPLATE,
    }
    return tokenizer_json(tokenizer), settings, tokenizer.special("<|end|>")


def read_tokenizer(path: Path, vocab_size: int) -> BPE | HubTokenizer | None:
    """The tokenizer of a folder: a BPE if it is one of ours; None if it is no byte-level BPE, or
    has ids beyond the rows of the model's table, of which there are vocab_size."""
    if not (path / "tokenizer.json").is_file():
        return None
    stored, settings = read_json(path / "tokenizer.json"), {}
    if (path / "tokenizer_config.json").is_file():
        settings = read_json(path / "tokenizer_config.json")
    if (path / "chat_template.jinja").is_file():
        template = (path / "chat_template.jinja").read_text("utf-8")
        settings = {**settings, "chat_template": template}
    try:
        tokenizer = _as_ours(stored) or HubTokenizer(stored, settings, vocab_size)
    except (LookupError, TypeError, ValueError, AttributeError, regex.error):
        return None
    return tokenizer if tokenizer.vocab_size <= vocab_size else None


def _as_ours(stored: dict) -> BPE | None:
    """The BPE that has this tokenizer.json, if there is one."""
    ids = stored["model"]["vocab"]
    try:
        pairs = [m.split(" ") if isinstance(m, str) else m for m in stored["model"]["merges"]]
        pattern = stored["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
        regex.compile(pattern)
        specials = [token["content"] for token in stored["added_tokens"]]
        bpe = BPE(tuple((ids[a], ids[b]) for a, b in pairs), pattern, tuple(specials))
        same = tokenizer_json(bpe)
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
    parts = ("added_tokens", "normalizer", "pre_tokenizer", "model")
    return bpe if all(same[part] == stored.get(part) for part in parts) else None
