"""Hugging Face in and out: folders of config.json, safetensors and tokenizer.json.

Our Transformer is a Llama with other names for its parts; with norms on queries and keys it is a
Qwen3.  The tokenizer goes out as a byte-level BPE of the `tokenizers` library: the same merges,
the same ids.  https://huggingface.co/docs/transformers (Llama, Qwen3), /docs/tokenizers
"""

from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from llmlab.artifacts import LabError, read_json, write_atomic, write_json
from llmlab.core.model import ModelConfig, Transformer
from llmlab.core.tokenizer import BPE

# Every turn is <|role|> and what was said; an answer ends with <|end|>.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] not in ('user', 'assistant') %}"
    "{{ raise_exception('a message is by the user or the assistant') }}{% endif %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def load_hf(path: str | Path) -> tuple[Transformer, BPE | None, dict]:
    """The model of a local Hugging Face folder in the Llama or Qwen3 layout, in fp32 on the CPU.

    Weights in one safetensors file or in shards with an index, of any float dtype.  The tokenizer
    is None where there is none, or where it is no BPE that counts its ids as ours does (bytes,
    merges, special tokens).  meta: {"config": ours, "hf": the folder's config.json}.  LabError
    for a folder that is missing, incomplete, or of another architecture.
    """
    path = Path(path)
    if not path.is_dir():
        raise LabError(f"There is no folder {path}. Give one with a config.json and safetensors.")
    hf = read_json(path / "config.json")
    try:
        config = _read_config(hf)
        model = Transformer(config)
        model.load_state_dict(_our_weights(_read_weights(path), model))
    except SafetensorError as error:
        raise LabError(f"The weights in {path} are damaged ({error}). Copy them again.") from None
    except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        reason = "it has no " * isinstance(error, KeyError) + " ".join(str(error).split())[:200]
        raise LabError(
            f"{path} does not hold a model that llmlab can load ({reason}). "
            "Give a folder in the plain Llama or Qwen3 layout."
        ) from None
    return model, _read_tokenizer(path), {"config": asdict(config), "hf": hf}


def save_hf(model: Transformer, tokenizer: BPE, path: str | Path) -> None:
    """Write model (fp32) and tokenizer as a Hugging Face folder; each file whole or not at all.

    config.json comes last, so that a folder with one is complete.  One thing differs over there:
    `tokenizers` takes a "<|end|>" that a user types for the special token unless it is told
    `split_special_tokens=True`.  LabError where the folder cannot be written.
    """
    path = Path(path)
    weights = {_hf_name(n): t.detach().cpu().contiguous() for n, t in model.state_dict().items()}
    if model.config.tie_embeddings:
        del weights["lm_head.weight"]  # two names for one tensor
    write_atomic(path / "model.safetensors", save(weights, {"format": "pt"}))
    write_json(path / "tokenizer.json", _tokenizer_json(tokenizer))
    write_json(path / "tokenizer_config.json", _tokenizer_config(tokenizer, model.config))
    end = {"eos_token_id": tokenizer.special("<|end|>")}
    write_json(path / "generation_config.json", {**end, "pad_token_id": end["eos_token_id"]})
    write_json(path / "config.json", _hf_config(model.config) | end)


# --- The model ------------------------------------------------------------------------------

# Names in config.json of what a ModelConfig holds under ours.
CONFIG_NAMES = {
    "vocab_size": "vocab_size",
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "hidden_dim": "intermediate_size",
    "max_seq_len": "max_position_embeddings",
    "norm_eps": "rms_norm_eps",
    "tie_embeddings": "tie_word_embeddings",
    "head_dim": "head_dim",
}
# Ours -> theirs, in this order.
PART_NAMES = {
    "blocks.": "model.layers.",
    ".attn_norm.": ".input_layernorm.",
    ".attn.": ".self_attn.",
    ".mlp_norm.": ".post_attention_layernorm.",
    "embed.": "model.embed_tokens.",
    "head.": "lm_head.",
}


def _hf_name(name: str) -> str:
    """Their name of one of our parameters."""
    for ours, theirs in PART_NAMES.items():
        name = name.replace(ours, theirs)
    return "model." + name if name.startswith("norm.") else name


def _hf_config(config: ModelConfig) -> dict:
    """config.json of a model of ours: a Qwen3 where queries and keys have norms, else a Llama."""
    kind = "Qwen3" if config.qk_norm else "Llama"
    return {
        "architectures": [f"{kind}ForCausalLM"],
        "model_type": kind.lower(),
        **{theirs: getattr(config, ours) for ours, theirs in CONFIG_NAMES.items()},
        "rope_theta": config.rope_theta,  # for transformers before 5
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "torch_dtype": "float32",
        "bos_token_id": None,
    }


def _read_config(hf: dict) -> ModelConfig:
    """Our config of a config.json.  ValueError for what our Transformer does not compute."""
    if hf["model_type"] not in ("llama", "qwen3"):
        raise ValueError(f"its model_type is {hf['model_type']!r}")
    rope = {**(hf.get("rope_scaling") or {}), **(hf.get("rope_parameters") or {})}
    usual = {
        "rope type": (rope.get("rope_type", rope.get("type", "default")), "default"),
        "hidden_act": (hf.get("hidden_act", "silu"), "silu"),
        "attention_bias": (hf.get("attention_bias", False), False),
        "mlp_bias": (hf.get("mlp_bias", False), False),
        "use_sliding_window": (hf.get("use_sliding_window", False), False),
    }
    for name, (found, known) in usual.items():
        if found != known:
            raise ValueError(f"its {name} is {found!r}, and llmlab knows {known!r} alone")
    optional = {
        "num_key_value_heads": hf["num_attention_heads"],
        "head_dim": hf["hidden_size"] // hf["num_attention_heads"],
        "tie_word_embeddings": False,
    }
    given = optional | {name: value for name, value in hf.items() if value is not None}
    return ModelConfig(
        **{ours: given[theirs] for ours, theirs in CONFIG_NAMES.items()},
        rope_theta=rope.get("rope_theta", hf.get("rope_theta", 10000.0)),
        qk_norm=hf["model_type"] == "qwen3",
    )


def _read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a folder by their own names, from one file or from its shards."""
    files = {"model.safetensors"}
    index = path / "model.safetensors.index.json"
    if not (path / "model.safetensors").is_file() and index.is_file():
        files = set(read_json(index)["weight_map"].values())
    weights = {}
    for name in sorted(files):
        file = path / Path(name).name  # a shard lies in the folder itself
        if not file.is_file():
            raise LabError(f"There is no {file.name} in {path}. Copy the folder again.")
        weights |= load_file(file)
    return weights


def _our_weights(theirs: dict[str, Tensor], model: Transformer) -> dict[str, Tensor]:
    """A state dict for `model` from their tensors.  KeyError or ValueError if they do not fit."""
    if model.config.tie_embeddings:
        theirs["lm_head.weight"] = theirs["model.embed_tokens.weight"]
    ours = {name: theirs.pop(_hf_name(name)).float() for name in model.state_dict()}
    left = [name for name in theirs if not name.endswith("rotary_emb.inv_freq")]
    if left:
        raise ValueError(f"it has a tensor {left[0]}, which llmlab does not know")
    return ours


# --- The tokenizer --------------------------------------------------------------------------


def _byte_characters() -> list[str]:
    """The printable character that stands for each byte in a tokenizer.json, by byte.

    Printable ones stand for themselves, the others for those from U+0100 on.  Radford et al.
    2019, whose code is where this spelling comes from.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b if b in printable else 256 + others.index(b)) for b in range(256)]


def _tokenizer_json(bpe: BPE) -> dict:
    """A BPE in the format of the `tokenizers` library."""
    characters = _byte_characters()
    spelled = ["".join(characters[b] for b in token) for token in bpe.token_bytes]
    byte_level = {
        "type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False,
    }  # fmt: skip
    split = {
        "type": "Split", "pattern": {"Regex": bpe.pattern}, "behavior": "Isolated", "invert": False,
    }  # fmt: skip
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": bpe.special(name), "content": name, **flags, "special": True}
            for name in bpe.specials
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(spelled)},
            "merges": [[spelled[left], spelled[right]] for left, right in bpe.merges],
        },
    }


def _tokenizer_config(bpe: BPE, config: ModelConfig) -> dict:
    """tokenizer_config.json: which token ends an answer, and how a chat is written."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.max_seq_len,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|end|>",
        "pad_token": "<|end|>",
        "additional_special_tokens": [name for name in bpe.specials if name != "<|end|>"],
        "chat_template": CHAT_TEMPLATE,
    }


def _read_tokenizer(path: Path) -> BPE | None:
    """The BPE of a folder's tokenizer.json, if it is one of ours."""
    if not (path / "tokenizer.json").is_file():
        return None
    stored = read_json(path / "tokenizer.json")
    try:
        ids = stored["model"]["vocab"]
        pairs = [m.split(" ") if isinstance(m, str) else m for m in stored["model"]["merges"]]
        pattern = stored["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
        specials = [token["content"] for token in stored["added_tokens"]]
        bpe = BPE(tuple((ids[a], ids[b]) for a, b in pairs), pattern, tuple(specials))
        same = _tokenizer_json(bpe)
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
    parts = ("added_tokens", "normalizer", "pre_tokenizer", "model")
    return bpe if all(same[part] == stored.get(part) for part in parts) else None
