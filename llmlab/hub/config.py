"""config.json and names of weights in Llama and Qwen3, and RoPE scaling (linear, llama3)."""

import math

from llmlab.core.model import ModelConfig

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
# What `transformers` takes where a config.json leaves a key out, if not what `read_config` does.
DEFAULTS = {"qwen3": {"head_dim": 128, "num_key_value_heads": 32}}
# Ours -> theirs, in this order.
PART_NAMES = {
    "blocks.": "model.layers.",
    ".attn_norm.": ".input_layernorm.",
    ".attn.": ".self_attn.",
    ".mlp_norm.": ".post_attention_layernorm.",
    "embed.": "model.embed_tokens.",
    "head.": "lm_head.",
}
# The kinds of rope scaling that `slowed` knows, and what each needs.
ROPE_TYPES = {
    "default": (),
    "linear": ("factor",),
    "llama3": (
        "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings",
    ),
}  # fmt: skip


def hf_name(name: str) -> str:
    """Their name of one of our parameters."""
    for ours, theirs in PART_NAMES.items():
        name = name.replace(ours, theirs)
    return "model." + name if name.startswith("norm.") else name


def hf_config(config: ModelConfig) -> dict:
    """config.json of a model of ours: a Qwen3 where queries and keys have norms, else a Llama."""
    kind, rope = "Qwen3" if config.qk_norm else "Llama", config.rope_theta
    if not isinstance(rope, dict):
        rope = {"rope_type": "default", "rope_theta": rope}
    rope = {name: value for name, value in rope.items() if name != "slower"}
    return {
        "architectures": [f"{kind}ForCausalLM"],
        "model_type": kind.lower(),
        **{theirs: getattr(config, ours) for ours, theirs in CONFIG_NAMES.items()},
        "rope_parameters": rope,
        "rope_theta": rope["rope_theta"],  # this and the next for transformers before 5
        "rope_scaling": rope if rope["rope_type"] != "default" else None,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "torch_dtype": "float32",
        "bos_token_id": None,
    }


def read_config(hf: dict) -> ModelConfig:
    """Our config of a config.json.  KeyError, ValueError for what our Transformer does not do.

    A key that is left out is what `transformers` takes it to be.
    """
    if hf["model_type"] not in ("llama", "qwen3"):
        raise ValueError(f"its model_type is {hf['model_type']!r}")
    hf = DEFAULTS.get(hf["model_type"], {}) | hf
    usual = {
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "use_sliding_window": False,
        "partial_rotary_factor": 1.0,
    }
    for name, known in usual.items():
        if hf.get(name, known) != known:
            raise ValueError(f"its {name} is {hf[name]!r}, and llmlab knows {known!r} alone")
    optional = {
        "num_key_value_heads": hf["num_attention_heads"],
        "head_dim": hf["hidden_size"] // hf["num_attention_heads"],
        "tie_word_embeddings": False,
    }
    given = optional | {name: value for name, value in hf.items() if value is not None}
    return ModelConfig(
        **{ours: given[theirs] for ours, theirs in CONFIG_NAMES.items()},
        rope_theta=read_rope(hf),
        qk_norm=hf["model_type"] == "qwen3",
    )


def read_rope(hf: dict) -> float | dict:
    """What `rope_table` takes as theta: a number, or a dict where there is a scaling."""
    rope = {**(hf.get("rope_scaling") or {}), **(hf.get("rope_parameters") or {})}
    kind = rope.get("rope_type", rope.get("type", "default"))
    theta = rope.get("rope_theta", hf.get("rope_theta", 10000.0))
    if kind not in ROPE_TYPES:
        *others, last = map(repr, ROPE_TYPES)
        known = f"{', '.join(others)} and {last}"
        raise ValueError(f"its rope type is {kind!r}, and llmlab knows {known} alone")
    needs = {name: rope[name] for name in ROPE_TYPES[kind]}
    if not needs:
        return theta
    width = hf.get("head_dim") or hf["hidden_size"] // hf["num_attention_heads"]
    return slowed({"rope_type": kind, "rope_theta": theta, **needs}, width)


def slowed(rope: dict, head_dim: int) -> dict:
    """`rope_parameters` as `transformers` has them, with what `rope_table` takes: "slower", by how
    much each pair of a head is slowed down.

    "linear": all by `factor` (Chen et al. 2023).  "llama3": pairs that turn often within the old
    length stay as they are, those that hardly turn are slowed down by `factor`, and between them
    the share grows (Dubey et al. 2024, section 3.4).
    """
    kept = [0.0] * (head_dim // 2)  # the share that is not slowed down
    if rope["rope_type"] == "llama3":
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        for i in range(head_dim // 2):
            frequency = rope["rope_theta"] ** (-2 * i / head_dim)
            turns = frequency * rope["original_max_position_embeddings"] / (2 * math.pi)
            kept[i] = min(1.0, max(0.0, (turns - low) / (high - low)))
    return {**rope, "slower": [1 / (k + (1 - k) / rope["factor"]) for k in kept]}
