"""A model's folder: read whole or in shards, written file by file, each whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from llmlab.artifacts import LabError, read_json, replacing, write_atomic, write_json
from llmlab.core.model import Transformer
from llmlab.core.tokenizer import BPE
from llmlab.hub import gguf
from llmlab.hub.card import plain_card
from llmlab.hub.config import hf_config, hf_name, read_config
from llmlab.hub.hub_tokenizer import HubTokenizer
from llmlab.hub.tokenizer_json import read_tokenizer, tokenizer_files

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def load_hf(path: str | Path) -> tuple[Transformer, BPE | HubTokenizer | None, dict]:
    """The model of a local Hugging Face folder, or of a .gguf file, in fp32 on the CPU.

    The layouts are Llama (SmolLM2 is one) and Qwen3: weights in one safetensors file or in shards
    with an index, of any float dtype, the head tied or not, heads grouped or not, rope scaling
    "linear" or "llama3".  The tokenizer is our BPE where it was written by `save_hf`, else a
    `HubTokenizer`, which stages use like one; None where there is none, or where it is no
    byte-level BPE (SentencePiece, WordPiece, Unigram).  meta: {"config": ours, "hf": the folder's
    config.json, or for a GGUF what it would be}.  LabError for what is missing, incomplete, or
    of another architecture.
    """
    path = Path(path)
    if path.suffix == ".gguf":
        with _refusing(path):
            model, tokenizer = gguf.load(path)
        hf = hf_config(model.config)
    else:
        if not path.is_dir():
            raise LabError(f"There is no folder {path}. Give one with a config.json, or a .gguf.")
        hf = read_json(path / "config.json")
        with _refusing(path):
            model = Transformer(read_config(hf))
            model.load_state_dict(_our_weights(_read_weights(path), model))
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
    is told `split_special_tokens=True`.  LabError where the folder cannot be written.
    """
    path, config = Path(path), model.config
    weights = {hf_name(n): t.detach().cpu().contiguous() for n, t in model.state_dict().items()}
    if config.tie_embeddings:
        del weights["lm_head.weight"]  # two names for one tensor
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


def _our_weights(theirs: dict[str, Tensor], model: Transformer) -> dict[str, Tensor]:
    """A state dict for `model` from their tensors.  KeyError or ValueError if they do not fit."""
    if model.config.tie_embeddings:
        theirs["lm_head.weight"] = theirs["model.embed_tokens.weight"]
    ours = {name: theirs.pop(hf_name(name)).float() for name in model.state_dict()}
    left = [name for name in theirs if not name.endswith("rotary_emb.inv_freq")]
    if left:
        raise ValueError(f"it has a tensor {left[0]}, which llmlab does not know")
    return ours


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
    for old in [*path.glob("model*.safetensors"), path / INDEX]:
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
