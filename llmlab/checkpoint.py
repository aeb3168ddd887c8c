"""What a checkpoint holds: weights as safetensors, meta data, the tokenizer."""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from llmlab.artifacts import LabError, reading, replacing
from llmlab.core.model import Transformer
from llmlab.core.tokenizer import BPE
from llmlab.hub.hub_tokenizer import HubTokenizer

if TYPE_CHECKING:
    from torch import Tensor


def pack_tokenizer(tokenizer: BPE) -> dict:
    """A tokenizer as plain JSON values, to travel inside a checkpoint."""
    if not isinstance(tokenizer, BPE):  # one from elsewhere: see `hub.HubTokenizer`
        return tokenizer.pack()
    return {
        "merges": tokenizer.merges, "pattern": tokenizer.pattern, "specials": tokenizer.specials,
    }  # fmt: skip


def unpack_tokenizer(packed: dict) -> BPE:
    """The inverse of `pack_tokenizer`.  LookupError, TypeError or ValueError for what is none."""
    if "stored" in packed:
        return HubTokenizer(**packed)
    merges = tuple((int(a), int(b)) for a, b in packed["merges"])
    if any(not 0 <= i < 256 + new for new, pair in enumerate(merges) for i in pair):
        raise ValueError("it merges ids that do not exist yet")
    return BPE(merges, packed["pattern"], tuple(packed["specials"]))


AGAIN = "Remove it and make it again, or copy it again from where it is whole."


def _digest(tensors: dict[str, "Tensor"], meta: str) -> str:
    """The SHA-256 of a checkpoint's meta and of all its tensors: names, types, shapes, bytes."""
    import torch

    digest = hashlib.sha256(meta.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def save_checkpoint(path: str | Path, tensors: dict[str, "Tensor"], meta: dict) -> None:
    """Writes tensors and `meta` (anything JSON holds) as one safetensors file, whole or not at all.

    Every tensor keeps its dtype; two that share memory are stored twice.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    own = {"memory_format": torch.contiguous_format}
    stored = {name: t.detach().cpu().clone(**own) for name, t in tensors.items()}
    text = json.dumps(meta)
    with replacing(Path(path)) as temp:
        try:
            save_file(stored, temp, metadata={"llmlab": text, "sha256": _digest(stored, text)})
        except SafetensorError as error:  # how that library reports a full disk
            raise OSError(str(error)) from error


def load_checkpoint(path: str | Path) -> tuple[dict[str, "Tensor"], dict]:
    """The tensors (on the CPU) and the meta of a file that `save_checkpoint` wrote.

    LabError for everything else: missing, cut short, damaged, a pickle, not ours.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    with reading(Path(path), "checkpoint") as file:
        data = file.read()
    header = _header(Path(path), data, len(data))
    with contextlib.suppress(SafetensorError, KeyError, ValueError):
        tensors = load(data)
        if _digest(tensors, header["llmlab"]) == header["sha256"]:
            return tensors, json.loads(header["llmlab"])
    raise LabError(f"{path} is damaged: it changed after it was written. {AGAIN}")


def read_meta(path: str | Path) -> dict:
    """The meta of a checkpoint, from its first bytes alone."""
    path = Path(path)
    with reading(path, "checkpoint") as file:
        start = file.read(8)
        length = min(int.from_bytes(start, "little"), 100_000_000)  # the format's own limit
        header = _header(path, start + file.read(length), os.fstat(file.fileno()).st_size)
    return json.loads(header["llmlab"])


def _header(path: Path, data: bytes, size: int) -> dict[str, str]:
    """What `save_checkpoint` put into the head of a safetensors file of `size` bytes, checked.

    The format: 8 bytes with the header's length, the header as JSON, the tensors' bytes.
    huggingface.co/docs/safetensors
    """
    if not size:
        raise LabError(f"{path} is empty. {AGAIN}")
    if data[8:9] != b"{" and data.startswith((b"PK\x03\x04", b"\x80")):
        raise LabError(
            f"{path} is a pickle, which can run code when it is opened, so it was not opened. "
            "Give a .safetensors checkpoint made by llmlab."
        )
    end = 8 + int.from_bytes(data[:8], "little")
    if data[8:9] == b"{" and size < end:
        raise LabError(f"{path} is cut short: {size:,} bytes of at least {end:,}. {AGAIN}")
    try:
        header = json.loads(data[8:end])
        ours = header.pop("__metadata__", {})
        whole = end + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
        json.loads(ours.get("llmlab", "null"))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise LabError(f"{path} is not a checkpoint, or it is damaged. {AGAIN}") from None
    if size != whole:
        raise LabError(f"{path} is cut short or damaged: {size:,} bytes of {whole:,}. {AGAIN}")
    if not {"llmlab", "sha256"} <= ours.keys():
        raise LabError(f"{path} holds tensors, but was not written by llmlab. Give one that was.")
    return ours


def fingerprint(model: Transformer) -> str:
    """16 hex digits of a model's weights, for the meta of what begins there: when the parent is
    made anew, a half-done run of its child is another run."""
    hashed = hashlib.sha256()
    for tensor in model_tensors(model).values():
        hashed.update(tensor.detach().float().cpu().numpy().tobytes())
    return hashed.hexdigest()[:16]


def file_fingerprint(path: str | Path) -> str:
    """16 hex digits of all tensors in a checkpoint's file (a reward model's head too); the meta
    does not count.  LabError where the file is missing or damaged."""
    return _digest(load_checkpoint(path)[0], "")[:16]


def named(tensors: dict, prefix: str) -> dict:
    """Those of a checkpoint's tensors whose names begin so, by the rest of the name."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def model_tensors(model: Transformer) -> dict[str, torch.Tensor]:
    """The weights under the names of a checkpoint; a tied head is kept once."""
    tied = model.config.tie_embeddings
    weights = model.state_dict().items()
    return {f"model.{k}": v for k, v in weights if not (tied and k == "head.weight")}
