"""A model's Hugging Face folder: config.json, safetensors (one file or shards), tokenizer.json.

Written file by file, each whole or not at all.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from llmlab.artifacts import LabError, read_json, replacing, write_atomic, write_json
from llmlab.core.model import ModelConfig, Transformer
from llmlab.core.tokenizer import BPE
from llmlab.hub import gguf
from llmlab.hub.card import plain_card
from llmlab.hub.config import hf_config, hf_name, read_config
from llmlab.hub.hub_tokenizer import HubTokenizer
from llmlab.hub.tokenizer_json import read_tokenizer, tokenizer_files

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
# What an older export has left, of llmlab or `transformers`, that would be read beside the new one.
LEFTOVERS = (
    "model*.safetensors", INDEX, "pytorch_model*.bin", "pytorch_model.bin.index.json",
    "chat_template.*", "additional_chat_templates/*.jinja", "added_tokens.json",
    "special_tokens_map.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model",
)  # fmt: skip


def load_hf(path: str | Path) -> tuple[Transformer, BPE | HubTokenizer | None, dict]:
    """The model of a local Hugging Face folder, or of a .gguf file, in fp32 on the CPU.

    The layouts are Llama (SmolLM2 is one) and Qwen3: weights in one safetensors file or in shards
    with an index, of any float dtype, the head tied or not (it is not where another one is stored,
    whatever the config says, as in `transformers`), heads grouped or not, RoPE scaling "linear" or
    "llama3".  The tokenizer is our BPE where it was written by `save_hf`, else a `HubTokenizer`,
    which stages use like one; None where there is none, or where it is no byte-level BPE
    (SentencePiece, WordPiece, Unigram).  meta: {"config": ours, "hf": the folder's config.json, or
    for a GGUF what it would be}.  LabError for what is missing, incomplete, or of another
    architecture, and where a package that reads it is not installed.
    """
    path = Path(path)
    if path.suffix == ".gguf":
        with _refusing(path):
            model = _model(*gguf.read(path))
            tokenizer = gguf.tokenizer(path, model.config.vocab_size)
        hf = hf_config(model.config)
    else:
        if not path.is_dir():
            raise LabError(f"There is no folder {path}. Give one with a config.json, or a .gguf.")
        hf = read_json(path / "config.json")
        with _refusing(path):
            model = _model(read_config(hf), _read_weights(path))
        tokenizer = read_tokenizer(path, model.config.vocab_size)
    return model, tokenizer, {"config": asdict(model.config), "hf": hf}


def save_hf(
    model: Transformer,
    tokenizer: BPE | HubTokenizer,
    path: str | Path,
    card: str | None = None,
    max_shard_bytes: int = 5_000_000_000,
) -> None:
    """Write model (fp32) and tokenizer as a Hugging Face folder; each file whole or not at all.

    card: the README.md, else a short one that says what the model is and how it is used.
    Weights of more than `max_shard_bytes` go into several files with an index; a single tensor is
    never cut.  config.json comes last, so that a folder with one is complete.  One thing differs
    over there: `tokenizers` takes a "<|end|>" that a user types for the special token unless it
    is told `split_special_tokens=True`.  What an older export has left in the folder goes.
    LabError where the folder cannot be written or holds a PEFT adapter, and for a model that is
    not the plain Transformer of its config, such as one with LoRA corrections.
    """
    path, config = Path(path), model.config
    weights = {hf_name(n): t.cpu().contiguous() for n, t in _plain_weights(model).items()}
    if (path / "adapter_config.json").exists():
        raise LabError(
            f"{path} holds a PEFT adapter, which `transformers` would load in the model's place, "
            "so nothing was written. Choose another folder."
        )
    _write_weights(path, weights, max_shard_bytes)
    stored, settings, end = tokenizer_files(tokenizer, config.max_seq_len)
    write_json(path / "tokenizer.json", stored)
    write_json(path / "tokenizer_config.json", settings)
    write_json(path / "generation_config.json", {"eos_token_id": end, "pad_token_id": end})
    size = sum(t.numel() for t in weights.values())
    write_atomic(path / "README.md", card or plain_card(config, size))
    write_json(path / "config.json", hf_config(config) | {"eos_token_id": end})


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turns what goes wrong with the contents of `path` into a LabError."""
    try:
        yield
    except SafetensorError as error:
        raise LabError(f"The weights in {path} are damaged ({error}). Copy them again.") from None
    except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        reason = "it has no " * isinstance(error, KeyError) + " ".join(str(error).split())[:200]
        raise LabError(
            f"{path} does not hold a model that llmlab can load ({reason}). "
            "Give one in the plain Llama or Qwen3 layout."
        ) from None


# --- Weights --------------------------------------------------------------------------------


def _read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a folder by their own names, from one file or from its shards."""
    files = {WHOLE}
    if not (path / WHOLE).is_file() and (path / INDEX).is_file():
        files = set(read_json(path / INDEX)["weight_map"].values())
    weights = {}
    for name in sorted(files):
        file = path / Path(name).name  # a shard lies in the folder itself
        if not file.is_file():
            raise LabError(f"There is no {file.name} in {path}. Copy the folder again.")
        weights |= load_file(file)
    return weights


def _model(config: ModelConfig, theirs: dict[str, Tensor]) -> Transformer:
    """The model of a config and their tensors.  KeyError, ValueError, RuntimeError if they do not
    fit."""
    names = hf_name("embed.weight"), hf_name("head.weight")
    if config.tie_embeddings:  # as `transformers`: not where another head is stored
        stored = [theirs[name] for name in names if name in theirs]
        if len(stored) == 2 and not torch.equal(*stored):
            config = replace(config, tie_embeddings=False)
        elif stored:
            theirs |= dict.fromkeys(names, stored[0])
    model = Transformer(config)
    ours = {name: theirs.pop(hf_name(name)).float() for name in model.state_dict()}
    left = [name for name in theirs if not name.endswith("rotary_emb.inv_freq")]
    if left:
        raise ValueError(f"it has a tensor {left[0]}, which llmlab does not know")
    model.load_state_dict(ours)
    return model


def _plain_weights(model: Transformer) -> dict[str, Tensor]:
    """A model's tensors by our names, a tied head left out.  LabError where a folder cannot hold
    the model as it is."""
    with torch.device("meta"):
        plain = {name: t.shape for name, t in Transformer(model.config).state_dict().items()}
    weights = model.state_dict()
    shapes = {name: t.shape for name, t in weights.items()}
    for name in plain | shapes:
        if plain.get(name) != shapes.get(name):
            raise LabError(
                f"This model is not the plain one of its config (see {name}), so nothing was "
                "written. Merge LoRA corrections by merge_lora, or write them by save_adapter."
            )
    places = {name: t.data_ptr() for name, t in weights.items()}
    tied = places["head.weight"] == places["embed.weight"]
    if tied:
        del weights["head.weight"]  # two names for one tensor
    if tied != model.config.tie_embeddings or len(set(places.values())) < len(weights):
        raise LabError(
            "Parts of this model share their weights otherwise than its config says "
            "(tie_embeddings), so nothing was written. Copy what is shared, or change the config."
        )
    return weights


def _write_weights(path: Path, weights: dict[str, Tensor], limit: int) -> None:
    """One file, or shards and their index; then what an older export has left goes."""
    shards = _shards(weights, limit)
    names = [f"model-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
    if len(shards) == 1:
        names = [WHOLE]
    for name, shard in zip(names, shards, strict=True):
        _write_tensors(path / name, shard)
    if len(shards) > 1:
        size = sum(t.nbytes for t in weights.values())
        where = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
        write_json(path / INDEX, {"metadata": {"total_size": size}, "weight_map": where})
        names.append(INDEX)
    for old in chain.from_iterable(map(path.glob, LEFTOVERS)):
        if old.name not in names:
            old.unlink(missing_ok=True)


def _shards(weights: dict[str, Tensor], limit: int) -> list[dict[str, Tensor]]:
    """The tensors in their order, in as many groups as `limit` bytes for each ask for."""
    shards, room = [{}], limit
    for name, tensor in weights.items():
        if shards[-1] and tensor.nbytes > room:
            shards.append({})
            room = limit
        shards[-1][name] = tensor
        room -= tensor.nbytes
    return shards


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """A safetensors file, whole or not at all."""
    with replacing(path) as temp:
        try:
            save_file(tensors, temp, metadata={"format": "pt"})
        except SafetensorError as error:  # how that library reports a full disk
            raise OSError(str(error)) from error
