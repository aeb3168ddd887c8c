"""GGUF files of the Llama and Qwen3 kinds: one tensor by the package `gguf`, a whole model by
`transformers` (both extras).

They hold weights, often in 4 to 8 bits, and the tokenizer.
https://github.com/ggml-org/ggml/docs/gguf.md
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from llmlab.artifacts import LabError
from llmlab.core.model import ModelConfig
from llmlab.hub.config import read_config, slowed
from llmlab.hub.hub_tokenizer import HubTokenizer
from llmlab.hub.tokenizer_json import byte_level, split

if TYPE_CHECKING:
    from gguf import GGUFReader

# What a ByteLevel with use_regex cuts by.  Radford et al. 2019, whose code it is from.
GPT2_PATTERN = (
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)  # fmt: skip
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


# --- A whole model --------------------------------------------------------------------------


def read(path: Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Our config and the fp32 weights of a file, by their names in `transformers`.

    That reads both, but for what it leaves out silently: the width of a head (Qwen3), the rows of
    the table where there is no tokenizer, and RoPE scaling.  LookupError or ValueError for what is
    not of these kinds, LabError where a package is not installed.
    """
    reader = opened(path)
    kind = _field(reader, "general.architecture")
    if kind not in ("llama", "qwen3"):
        raise ValueError(f"its architecture is {kind!r}")
    if _field(reader, f"{kind}.expert_count", 0):
        raise ValueError("it is a mixture of experts")
    try:
        import accelerate  # noqa: F401  `transformers` needs it for these files
        from transformers import AutoConfig, AutoModelForCausalLM
    except ImportError:
        raise LabError(
            "The model in a .gguf file is read by the packages transformers and accelerate, which "
            "are not installed: run `%pip install transformers accelerate`, then this cell again."
        ) from None
    where = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    config = AutoConfig.from_pretrained(**where)
    width = config.hidden_size // config.num_attention_heads
    width = _field(reader, f"{kind}.attention.key_length", width)
    if _field(reader, f"{kind}.rope.dimension_count", width) != width:
        raise ValueError("only a part of each head is rotated")
    config.head_dim = width
    sizes = {t.name: t.shape.tolist() for t in reader.tensors if t.name != "rope_freqs.weight"}
    config.vocab_size = sizes["token_embd.weight"][-1]
    theirs = AutoModelForCausalLM.from_pretrained(**where, config=config, dtype=torch.float32)
    if len(sizes) != len(list(theirs.parameters())):
        raise ValueError("it has not just the tensors of a plain one")
    hf = config.to_dict() | {"rope_parameters": _rope(reader, kind, width)}
    return read_config(hf), theirs.state_dict()


def _field(reader: "GGUFReader", name: str, *default):
    """A value of the metadata, or the default.  KeyError where there is neither."""
    if name not in reader.fields and default:
        return default[0]
    return reader.fields[name].contents()


def _rope(reader: "GGUFReader", kind: str, head_dim: int) -> dict:
    """The RoPE scaling as config.json has it.  ValueError where llmlab does not know it."""
    rope = {"rope_type": _field(reader, f"{kind}.rope.scaling.type", "none")}
    rope |= {"rope_theta": _field(reader, f"{kind}.rope.freq_base", 10000.0)}
    divisors = [tensor(t) for t in reader.tensors if t.name == "rope_freqs.weight"]
    if divisors:  # by what each frequency is divided
        rope |= LLAMA3 | {"rope_type": "llama3", "factor": divisors[0].max().item()}
        if not torch.allclose(torch.tensor(slowed(rope, head_dim)["slower"]), divisors[0], 1e-3):
            raise ValueError("its rope_freqs are not those of Llama 3")
    elif rope["rope_type"] == "linear":
        rope |= {"factor": _field(reader, f"{kind}.rope.scaling.factor")}
    elif rope["rope_type"] == "none":
        rope |= {"rope_type": "default"}
    return rope


def tokenizer(path: Path, vocab_size: int) -> HubTokenizer | None:
    """The file's tokenizer; None where it is no byte-level BPE whose pattern is known."""
    reader = opened(path)
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
