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
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

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
def locked(path: Path, held: str, patience: float = 0.0) -> Iterator[None]:
    """While it lasts, no other process is in here for the same path.  LabError `held` where one
    still is after `patience` seconds.

    The system's own lock on a file beside it, which ends with the process that holds it.  Where
    there can be none (no such file system, no folder to write in), it goes on without: what cannot
    be written is told by the writing.
    """
    from filelock import FileLock, Timeout  # set-up has the standard library alone

    lock = FileLock(path.with_name(f".{path.stem}.lock"), timeout=patience)
    try:
        lock.acquire(poll_interval=0.02)
    except Timeout:
        if os.access(path.parent, os.W_OK):  # else that is why there is no lock
            raise LabError(held) from None
    except (OSError, NotImplementedError):
        pass
    try:
        yield
    finally:
        if not patience:  # nobody waits for this very file
            with contextlib.suppress(OSError):
                os.unlink(lock.lock_file)
        lock.release()


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
        temp.write_bytes(_utf8(data) if isinstance(data, str) else data)


def _utf8(text: str) -> bytes:
    """A text in UTF-8.  Bytes of a path that the system's locale could not read are what they
    were; half a surrogate pair, and bytes that are no UTF-8, become U+FFFD."""
    text = re.sub("[\ud800-\udc7f\udd00-\udfff]", "\ufffd", text)
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").encode("utf-8")


def write_json(path: str | Path, obj: object) -> None:
    """Writes `obj` as readable JSON, whole or not at all."""
    write_atomic(path, json.dumps(obj, indent=1, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> object:
    """The object in a JSON file; LabError where it is missing or damaged."""
    with reading(Path(path), "file") as file:
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


def _note_read(path: Path) -> None:
    """Where `LLMLAB_READ_LOG` names a file, add a line to it: what a notebook has read tells
    `notebooks/build.py` when the notebook is stale."""
    if log := os.environ.get("LLMLAB_READ_LOG"):
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{path.resolve()}\n")


@contextlib.contextmanager
def reading(path: Path, what: str) -> Iterator[BinaryIO]:
    """A file, opened; LabError where there is none, or it cannot be read."""
    try:
        with open(path, "rb") as file:
            _note_read(path)
            yield file
    except FileNotFoundError:
        raise LabError(f"There is no {what} at {path}. Check the path.") from None
    except OSError as error:
        reason = "it is a folder" if os.path.isdir(path) else error.strerror
        raise LabError(
            f"The {what} {path} cannot be read: {reason}. It was left as it is; give another."
        ) from None
