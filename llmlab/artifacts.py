"""The only door to the disk: places, files and checkpoints (`sources` brings the texts).

Whatever is written goes to a temporary folder beside its target and is renamed at the end, so that
a reader finds the old file or the new one, whole, also after a kill or on a full disk.  Nothing is
ever unpickled.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from torch import Tensor

PACKAGE = Path(__file__).resolve().parent


class LabError(Exception):
    """A mistake or an outage that a user can meet: what happened, what was kept, what to do."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback: the sentence alone."""
        return [str(self)]


# --- Places ---------------------------------------------------------------------------------


def data_dir() -> Path:
    """The folder of what comes with the project: `data/` in a checkout, `_data` in a wheel."""
    checkout = PACKAGE.parent / "data"
    return checkout if (checkout / "sources.toml").is_file() else PACKAGE / "_data"


def cache_dir() -> Path:
    """The folder of what was downloaded: `LLMLAB_CACHE`, else the user's own cache."""
    if named := os.environ.get("LLMLAB_CACHE"):
        return Path(named).expanduser()
    if os.name == "nt" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "llmlab"
    return Path.home() / ".cache" / "llmlab"


def runs_dir(override: str | Path | None = None) -> Path:
    """The folder of the learner's own runs.

    `override`, else `LLMLAB_RUNS`, else `runs/` of a checkout that can be written, else
    `llmlab/runs` in the user's home.
    """
    if named := override or os.environ.get("LLMLAB_RUNS"):
        return Path(named).expanduser()
    root = PACKAGE.parent
    if (root / "pyproject.toml").is_file() and os.access(root, os.W_OK):
        return root / "runs"
    return Path.home() / "llmlab" / "runs"


# --- Files ----------------------------------------------------------------------------------


SCRATCH = ".tmp-llmlab-"


@contextlib.contextmanager
def scratch(folder: Path, seconds: float = 24 * 3600) -> Iterator[Path]:
    """A temporary folder inside `folder`, which is made where there is none.

    What killed processes left there goes first, once it is surely nobody's any more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{SCRATCH}*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > seconds:
                shutil.rmtree(left)
    with tempfile.TemporaryDirectory(
        prefix=SCRATCH, dir=folder, ignore_cleanup_errors=True
    ) as inside:
        yield Path(inside)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns what the system says against a file at `path` into a LabError."""
    try:
        yield
    except OSError as error:
        kept = (
            "the file that was there is still whole"
            if os.path.isfile(path)
            else "nothing was left behind"
        )
        raise LabError(
            f"{path} could not be written ({error.strerror or error}); {kept}. "
            "Free some space or choose another folder, then run it again."
        ) from error


def check_place(path: str | Path) -> None:
    """LabError where no file can be written to `path`: asked before the work that would be lost.

    Makes the folders above it.
    """
    path = Path(path)
    with _writing(path), scratch(path.parent):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name to write to; it takes the place of `path` at the end.

    It lies in a folder of its own, since some writers put temporary files beside what they write.
    """
    with _writing(path), scratch(path.parent) as folder:
        temp = folder / path.name
        yield temp
        with open(temp, "rb+") as file:
            os.fsync(file.fileno())  # else a power cut could leave the name on empty blocks
        os.replace(temp, path)


def write_atomic(path: str | Path, data: bytes | str) -> None:
    """Writes a whole file or nothing; text as UTF-8.  Makes the folders above it."""
    with replacing(Path(path)) as temp:
        temp.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)


def write_json(path: str | Path, obj: object) -> None:
    """Writes `obj` as readable JSON, whole or not at all."""
    write_atomic(path, json.dumps(obj, indent=1, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> object:
    """The object in a JSON file; LabError where it is missing or damaged."""
    with _reading(Path(path), "file") as file:
        data = file.read()
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise LabError(f"{path} is not whole JSON ({error}). Remove it, make it again.") from None


def sha256_file(path: str | Path) -> str:
    """The SHA-256 of a file, 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_hash(text: str) -> str:
    """The SHA-256 of a text in UTF-8, 64 hex digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@contextlib.contextmanager
def _reading(path: Path, what: str) -> Iterator[BinaryIO]:
    """A file, opened; LabError where there is none, or it cannot be read."""
    try:
        with open(path, "rb") as file:
            yield file
    except FileNotFoundError:
        raise LabError(f"There is no {what} at {path}. Check the path.") from None
    except OSError as error:
        reason = "it is a folder" if os.path.isdir(path) else error.strerror
        raise LabError(
            f"The {what} {path} cannot be read: {reason}. It was left as it is; give another."
        ) from None


# --- Checkpoints ----------------------------------------------------------------------------

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

    with _reading(Path(path), "checkpoint") as file:
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
    with _reading(path, "checkpoint") as file:
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
