"""GGUF files of the Llama and Qwen3 kinds, read by the package `gguf` (an extra).

They hold weights, often in 4 to 8 bits, and the tokenizer.  Queries and keys of a Llama lie in
another order there: rotary pairs side by side.  https://github.com/ggml-org/ggml/docs/gguf.md
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from llmlab.artifacts import LabError
from llmlab.core.model import ModelConfig, Transformer
from llmlab.hub.config import ROPE_TYPES, slowed
from llmlab.hub.hub_tokenizer import GPT2_PATTERN, HubTokenizer
from llmlab.hub.tokenizer_json import byte_level, split

if TYPE_CHECKING:
    from gguf import GGUFReader

# Theirs -> ours.
PART_NAMES = {
    "token_embd.": "embed.",
    "output_norm.": "norm.",
    "blk.": "blocks.",
    ".attn_q.": ".attn.q_proj.",
    ".attn_k.": ".attn.k_proj.",
    ".attn_v.": ".attn.v_proj.",
    ".attn_output.": ".attn.o_proj.",
    ".attn_q_norm.": ".attn.q_norm.",
    ".attn_k_norm.": ".attn.k_norm.",
    ".ffn_norm.": ".mlp_norm.",
    ".ffn_gate.": ".mlp.gate_proj.",
    ".ffn_up.": ".mlp.up_proj.",
    ".ffn_down.": ".mlp.down_proj.",
    "output.": "head.",  # last: the end of attn_output, too
}
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# What text is cut by, which the file only names (tokenizer.ggml.pre).
SPLITS = {
    "gpt-2": [GPT2_PATTERN],
    "smollm": [r"\p{N}", GPT2_PATTERN],
    "llama-bpe": [LLAMA3_PATTERN],
    "qwen2": [LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")],
}
SPECIAL = (3, 4)  # types of tokens: control, user-defined
# The scaling of Llama 3.1 to 3.3: a file holds only what becomes of each frequency.
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def load(path: Path) -> tuple[Transformer, HubTokenizer | None]:
    """Model and tokenizer of a file.  LookupError or ValueError for what is not of these kinds."""
    reader = opened(path)
    weights = {t.name: tensor(t) for t in reader.tensors}
    config = _config(reader, weights)
    model = Transformer(config)
    model.load_state_dict(_our_weights(reader, weights, model))
    return model, _tokenizer(reader, config.vocab_size)


def reader_class() -> type["GGUFReader"]:
    """What opens a file.  LabError where the package gguf is not installed."""
    try:
        from gguf import GGUFReader
    except ImportError:
        raise LabError(
            "A .gguf file is read by the package gguf, which is not installed: run "
            "`%pip install gguf==0.19.0` in a cell, then this cell again."
        ) from None
    return GGUFReader


def opened(path: Path) -> "GGUFReader":
    """A file, opened.  LabError where there is none, or the package gguf is not installed."""
    if not path.is_file():
        raise LabError(f"There is no file {path}. Check the path.")
    return reader_class()(path)


def tensor(stored) -> Tensor:
    """A tensor of a reader in fp32, out of whatever few bits it was stored in."""
    from gguf.quants import dequantize

    return torch.from_numpy(dequantize(stored.data, stored.tensor_type).copy()).float()


def tokens(reader: "GGUFReader") -> list[str]:
    """The vocabulary in order of ids, in the spelling of GPT-2."""
    return reader.fields["tokenizer.ggml.tokens"].contents()


def _config(reader: "GGUFReader", weights: dict[str, Tensor]) -> ModelConfig:
    kind = _field(reader, "general.architecture")
    if kind not in ("llama", "qwen3"):
        raise ValueError(f"its architecture is {kind!r}")
    if _field(reader, f"{kind}.expert_count", 0):
        raise ValueError("it is a mixture of experts")

    def of(name: str, *default):
        return _field(reader, f"{kind}.{name}", *default)

    dim, heads = of("embedding_length"), of("attention.head_count")
    head_dim = of("attention.key_length", dim // heads)
    if of("rope.dimension_count", head_dim) != head_dim:
        raise ValueError("only a part of each head is rotated")
    return ModelConfig(
        vocab_size=len(weights["token_embd.weight"]),
        dim=dim,
        n_layers=of("block_count"),
        n_heads=heads,
        n_kv_heads=of("attention.head_count_kv", heads),
        hidden_dim=of("feed_forward_length"),
        max_seq_len=of("context_length"),
        rope_theta=_rope(of, head_dim, weights.get("rope_freqs.weight")),
        norm_eps=of("attention.layer_norm_rms_epsilon"),
        qk_norm=kind == "qwen3",
        tie_embeddings="output.weight" not in weights,
        head_dim=head_dim,
    )


def _field(reader: "GGUFReader", name: str, *default):
    """A value of the metadata, or the default.  KeyError where there is neither."""
    if name not in reader.fields and default:
        return default[0]
    return reader.fields[name].contents()


def _rope(of, head_dim: int, divisors: Tensor | None) -> float | dict:
    """What `rope_table` takes.  divisors: by what each frequency is divided; ValueError where
    they are not those of a Llama 3."""
    theta, kind = of("rope.freq_base", 10000.0), of("rope.scaling.type", "none")
    if divisors is not None:
        rope = {"rope_type": "llama3", "rope_theta": theta, "factor": divisors.max().item()}
        rope = slowed(rope | LLAMA3, head_dim)
        if not torch.allclose(torch.tensor(rope["slower"]), divisors, rtol=1e-3):
            raise ValueError("its rope_freqs are not those of Llama 3")
        return rope
    if kind == "none":
        return theta
    if kind not in ROPE_TYPES:
        raise ValueError(f"its rope type is {kind!r}, and llmlab knows 'linear' and 'llama3' alone")
    rope = {"rope_type": kind, "rope_theta": theta, "factor": of("rope.scaling.factor")}
    return slowed(rope, head_dim)


def _our_weights(reader, weights: dict[str, Tensor], model: Transformer) -> dict[str, Tensor]:
    """A state dict for `model`.  ValueError where a tensor is left over."""
    config, ours = model.config, {}
    interleaved = _field(reader, "general.architecture") == "llama"
    for name, weight in weights.items():
        heads = {".attn_q.": config.n_heads, ".attn_k.": config.n_kv_heads}
        for part, number in heads.items():
            if interleaved and part in name:
                weight = _halves(weight, number)
        for theirs, our in PART_NAMES.items():
            name = name.replace(theirs, our)
        ours[name] = weight
    ours.pop("rope_freqs.weight", None)
    if config.tie_embeddings:
        ours["head.weight"] = ours["embed.weight"]
    return ours


def _halves(weight: Tensor, heads: int) -> Tensor:
    """Rows of queries or keys (heads * hd, dim) whose rotary pairs lie side by side, brought
    into our order: first all left ones of a head, then all right ones."""
    return weight.view(heads, -1, 2, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


def _tokenizer(reader: "GGUFReader", vocab_size: int) -> HubTokenizer | None:
    """The file's tokenizer; None where it is no byte-level BPE whose pattern is known."""
    pre = _field(reader, "tokenizer.ggml.pre", None)
    if _field(reader, "tokenizer.ggml.model", None) != "gpt2" or pre not in SPLITS:
        return None
    vocab = {token: i for i, token in enumerate(tokens(reader))}
    kinds = _field(reader, "tokenizer.ggml.token_type", [1] * len(vocab))
    added = [{"id": i, "content": t} for (t, i), kind in zip(vocab.items(), kinds, strict=True)
             if kind in SPECIAL]  # fmt: skip
    merges = [merge.split(" ") for merge in _field(reader, "tokenizer.ggml.merges")]
    stored = byte_level(vocab, merges, [split(p) for p in SPLITS[pre]], added)
    stored["model"]["ignore_merges"] = pre == "llama-bpe"
    names, settings = list(vocab), {"tokenizer_class": "PreTrainedTokenizerFast"}
    if (end := _field(reader, "tokenizer.ggml.eos_token_id", None)) is not None:
        settings |= {"eos_token": names[end]}
    if template := _field(reader, "tokenizer.chat_template", None):
        settings |= {"chat_template": template}
    return HubTokenizer(stored, settings, vocab_size)
