"""What a checkpoint holds: weights as safetensors, meta data, the tokenizer."""

import contextlib
import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save_file
from torch import Tensor

from llmlab.artifacts import LabError, reading, replacing
from llmlab.core.model import Transformer
from llmlab.core.tokenizer import BPE
from llmlab.hub.hub_tokenizer import HubTokenizer


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


def _digest(tensors: dict[str, Tensor], meta: str) -> str:
    """The SHA-256 of a checkpoint's meta and of all its tensors: names, types, shapes, bytes."""
    digest = hashlib.sha256(meta.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def save_checkpoint(path: str | Path, tensors: dict[str, Tensor], meta: dict) -> None:
    """Writes tensors and `meta` (anything JSON holds) as one safetensors file, whole or not at all.

    Every tensor keeps its dtype; two that share memory are stored twice.
    """
    own = {"memory_format": torch.contiguous_format}
    stored = {name: t.detach().cpu().clone(**own) for name, t in tensors.items()}
    text = json.dumps(meta)
    with replacing(Path(path)) as temp:
        try:
            save_file(stored, temp, metadata={"llmlab": text, "sha256": _digest(stored, text)})
        except SafetensorError as error:  # how that library reports a full disk
            raise OSError(str(error)) from error


def load_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """The tensors (on the CPU) and the meta of a file that `save_checkpoint` wrote.

    LabError for everything else: missing, cut short, damaged, a pickle, not ours.
    """
    stored = _stored(Path(path))
    with contextlib.suppress(SafetensorError, KeyError, ValueError):
        tensors = load(Path(path).read_bytes())
        if _digest(tensors, stored["llmlab"]) == stored["sha256"]:
            return tensors, json.loads(stored["llmlab"])
    raise LabError(f"{path} is damaged: it changed after it was written. {AGAIN}")


def read_meta(path: str | Path) -> dict:
    """The meta of a checkpoint, from its first bytes alone.  LabError as for `load_checkpoint`."""
    return json.loads(_stored(Path(path))["llmlab"])


def _stored(path: Path) -> dict[str, str]:
    """What `save_checkpoint` put into the head of a file beside the tensors: meta and digest."""
    with reading(path, "checkpoint") as file:
        start = file.read(9)  # the head's length, and the head
    if not start:
        raise LabError(f"{path} is empty. {AGAIN}")
    if start[8:] != b"{" and start.startswith((b"PK\x03\x04", b"\x80")):
        raise LabError(
            f"{path} is a pickle, which can run code when it is opened, so it was not opened. "
            "Give a .safetensors checkpoint made by llmlab."
        )
    try:
        with safe_open(path, "pt") as opened:  # reads the head, and that the length fits
            stored = opened.metadata() or {}
        json.loads(stored.get("llmlab", "null"))
    except (SafetensorError, ValueError, RecursionError) as error:
        raise LabError(
            f"{path} is not a checkpoint, or it was cut short or damaged ({error}). {AGAIN}"
        ) from None
    if not {"llmlab", "sha256"} <= stored.keys():
        raise LabError(f"{path} holds tensors, but was not written by llmlab. Give one that was.")
    return stored


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
