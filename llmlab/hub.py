"""Hugging Face, in and out: folders of the Llama layout, and of Qwen3's with its query-key norm."""

import json
from pathlib import Path

from llmlab import artifacts
from llmlab.artifacts import LabError
from llmlab.core.model import ModelConfig, Transformer
from llmlab.core.tokenizer import BPE

# Our names -> theirs, for what is outside of the blocks and inside of one.
OUTSIDE = {"embed": "model.embed_tokens", "norm": "model.norm", "head": "lm_head"}
INSIDE = {
    "attn_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm",
    "attn": "self_attn", "mlp": "mlp",
}  # fmt: skip
CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ m.content }}<|assistant|>"
    "{% else %}{{ m.content }}<|end|>{% endif %}{% endfor %}"
)


def _their_name(name: str) -> str:
    """The name in a Llama folder of one of our weights."""
    if name.startswith("blocks."):
        _, number, part, *rest = name.split(".")
        return ".".join(["model.layers", number, INSIDE[part], *rest])
    part, *rest = name.split(".")
    return ".".join([OUTSIDE[part], *rest])


def _their_config(c: ModelConfig, end: int) -> dict:
    kind = ("Qwen3ForCausalLM", "qwen3") if c.qk_norm else ("LlamaForCausalLM", "llama")
    return {
        "architectures": [kind[0]], "model_type": kind[1], "vocab_size": c.vocab_size,
        "hidden_size": c.dim, "num_hidden_layers": c.n_layers, "num_attention_heads": c.n_heads,
        "num_key_value_heads": c.n_kv_heads, "head_dim": c.head_dim,
        "intermediate_size": c.hidden_dim, "max_position_embeddings": c.max_seq_len,
        "rope_theta": c.rope_theta, "rms_norm_eps": c.norm_eps, "hidden_act": "silu",
        "tie_word_embeddings": c.tie_embeddings, "attention_bias": False, "mlp_bias": False,
        "eos_token_id": end, "bos_token_id": end, "pad_token_id": end, "dtype": "float32",
    }  # fmt: skip


def _our_config(theirs: dict) -> ModelConfig:
    heads = theirs["num_attention_heads"]
    rope = theirs.get("rope_parameters") or {}
    return ModelConfig(
        vocab_size=theirs["vocab_size"],
        dim=theirs["hidden_size"],
        n_layers=theirs["num_hidden_layers"],
        n_heads=heads,
        n_kv_heads=theirs.get("num_key_value_heads", heads),
        hidden_dim=theirs["intermediate_size"],
        max_seq_len=theirs["max_position_embeddings"],
        rope_theta=theirs.get("rope_theta") or rope.get("rope_theta", 10000.0),
        norm_eps=theirs["rms_norm_eps"],
        qk_norm=theirs["model_type"] == "qwen3",
        tie_embeddings=theirs.get("tie_word_embeddings", False),
        head_dim=theirs.get("head_dim") or theirs["hidden_size"] // heads,
    )


def load_hf(path: str | Path) -> Transformer:
    """The model of a Hugging Face folder of the Llama or Qwen3 layout, in fp32.

    Raises LabError where the folder is missing, incomplete, or of another layout.
    """
    from safetensors.torch import load_file

    folder = Path(path)
    if not (folder / "config.json").is_file():
        raise LabError(f"{folder} holds no config.json, so it is no Hugging Face model folder.")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    if config.get("model_type") not in ("llama", "qwen3"):
        raise LabError(
            f"{folder} is a {config.get('model_type')} model; the layouts of Llama and Qwen3 load."
        )
    theirs = {}
    for file in sorted(folder.glob("*.safetensors")):
        theirs |= load_file(file)
    model = Transformer(_our_config(config))
    weights = model.state_dict()
    if model.config.tie_embeddings:
        theirs.setdefault("lm_head.weight", theirs.get("model.embed_tokens.weight"))
    missing = [n for n in weights if theirs.get(_their_name(n)) is None]
    if missing:
        raise LabError(f"{folder} lacks {len(missing)} weights, {_their_name(missing[0])} first.")
    model.load_state_dict({n: theirs[_their_name(n)].float() for n in weights})
    return model


def save_hf(model: Transformer, tokenizer: BPE, path: str | Path) -> None:
    """Write model and tokenizer as a folder that `transformers` loads, chat template included."""
    from safetensors.torch import save

    folder, config = Path(path), model.config
    tied = config.tie_embeddings
    weights = {
        _their_name(n): w.detach().float().cpu().contiguous()
        for n, w in model.state_dict().items() if not (tied and n == "head.weight")
    }  # fmt: skip
    end = tokenizer.special("<|end|>")
    artifacts.write_atomic(folder / "model.safetensors", save(weights, {"format": "pt"}))
    artifacts.write_json(folder / "config.json", _their_config(config, end))
    artifacts.write_json(
        folder / "generation_config.json", {"eos_token_id": end, "do_sample": True}
    )
    artifacts.write_json(folder / "tokenizer.json", _their_tokenizer(tokenizer))
    artifacts.write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>",
         "pad_token": "<|end|>", "chat_template": CHAT_TEMPLATE},
    )  # fmt: skip


def _byte_letters() -> list[str]:
    """GPT-2's printable stand-in for each byte, as `tokenizers` spells them."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    extra = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(extra)) for b in range(256)]


def _their_tokenizer(bpe: BPE) -> dict:
    """Our BPE in the JSON of the `tokenizers` library, with equal ids."""
    letters = _byte_letters()
    spelled = ["".join(letters[b] for b in token) for token in bpe.token_bytes]
    added = [
        {"id": bpe.special(s), "content": s, "special": True, "single_word": False,
         "lstrip": False, "rstrip": False, "normalized": False}
        for s in bpe.specials
    ]  # fmt: skip
    split = {"type": "Split", "pattern": {"Regex": bpe.pattern}, "behavior": "Isolated",
             "invert": False}  # fmt: skip
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False,
                  "use_regex": False}  # fmt: skip
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": None, "post_processor": None, "decoder": byte_level,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "vocab": {s: i for i, s in enumerate(spelled)},
            "merges": [[spelled[a], spelled[b]] for a, b in bpe.merges],
        },
    }  # fmt: skip
