"""The doors to the big data sets: files of one's own, or the Hugging Face hub.

`data/sources.toml` names each with its revision, files and columns; the package `datasets` reads
it.  One that cannot be had is said in a sentence, and the class's own data serve alone.
https://huggingface.co/docs/datasets
"""

import contextlib
import gzip
import os
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from llmlab import artifacts
from llmlab.artifacts import LabError
from llmlab.corpus.sources import Source, sources

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

# How the files end that can be read, and which reader of `datasets` takes them.
FORMATS = {".parquet": "parquet", ".jsonl": "json", ".jsonl.gz": "json", ".arrow": "arrow"}
FETCH = "`python -m llmlab data fetch --profile full`"


def big() -> dict[str, Source]:
    """The data sets of `full`, by name."""
    return {name: source for name, source in sources().items() if source.kind == "dataset"}


def of_stage(stage: str, shares: dict[str, float]) -> dict[Source, float]:
    """Those of the named data sets that a stage reads, with the share of its examples that comes
    from each.  LabError for a name that is none, and for shares that leave the kitchen nothing."""
    known = big()
    if unknown := shares.keys() - known.keys():
        raise LabError(f"No data set is called {unknown.pop()!r}; there are {', '.join(known)}.")
    found = {known[name]: share for name, share in shares.items() if stage in known[name].stages}
    if min(found.values(), default=0) < 0 or sum(found.values()) >= 1:
        raise LabError(
            f"The shares of the data sets of {stage} are 0 or more and less than 1 together, and "
            f"not {', '.join(f'{s:g}' for s in found.values())}; nothing was done."
        )
    return {source: share for source, share in found.items() if share}


def user_data_dir(named: str | Path | None = None) -> Path | None:
    """The folder of one's own files: `named`, else LLMLAB_DATA; NAME/*.parquet lie in it.
    LabError where it is no folder."""
    chosen = named or os.environ.get("LLMLAB_DATA")
    if not chosen:
        return None
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        raise LabError(
            f"There is no folder {folder}. Give one that holds a folder for each data set, such as "
            "smoltalk/ with its .parquet, .jsonl or .arrow files."
        )
    return folder


# --- Files on this machine ------------------------------------------------------------------


def _format(path: Path) -> str | None:
    return next((kind for ending, kind in FORMATS.items() if path.name.endswith(ending)), None)


def files(source: Source, folder: Path | None = None, test: bool = False) -> list[Path]:
    """The files of a data set on this machine: one's own in `folder`/NAME, else what was fetched.

    Where a whole repository was copied there, the parts that the series reads.  Files that are
    named after a split belong to it; where none is, all are for training.
    """
    own = folder / source.name if folder else None
    place = own if own and own.is_dir() else source.folder
    if place == source.folder and not _whole(source):
        return []
    found = sorted(p for p in place.rglob("*") if _format(p) and not _hidden(p.relative_to(place)))
    members = [p for p in found if _is_member(source, p.relative_to(place).as_posix())]
    found, split = members or found, source.test if test else source.split
    named = [p for p in found if split and re.match(rf"{split}[-.]", p.name)]
    if named or test:
        return named
    return [p for p in found if not (source.test and re.match(rf"{source.test}[-.]", p.name))]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _is_member(source: Source, name: str) -> bool:
    return any(fnmatchcase(name, member) for member in source.members)


def _whole(source: Source) -> bool:
    """Whether all that was to be fetched is there, each file as long as it was."""
    try:
        record = artifacts.read_json(source.folder / "source.json")
        return all((source.folder / f).stat().st_size == n for f, n in record["files"].items())
    except (LabError, OSError, LookupError, TypeError, AttributeError):
        return False


def load_arguments(
    source: Source, folder: Path | None = None, test: bool = False
) -> tuple[str, dict]:
    """What `datasets.load_dataset` is to be called with: local files, else the hub.

    Of parquet only the columns that are wanted are read; files without rows are left out.  LabError
    where the files are of several formats, or none holds a row.
    """
    there, columns = files(source, folder, test), {"columns": list(source.columns)}
    found = [path for path in there if _holds_rows(path)]
    if there and not found:
        raise LabError(
            f"{source.name} holds no rows: its files in {there[0].parent} are empty. They were "
            "left as they are: copy them again from where they are whole."
        )
    if not found:
        where = {"name": source.config, "split": source.test if test else source.split}
        parquet = all(member.endswith(".parquet") for member in source.members)
        return source.hub, where | {"revision": source.revision} | (columns if parquet else {})
    kinds = {_format(path) for path in found}
    if len(kinds) > 1:
        raise LabError(
            f"{found[0].parent} holds files of several formats ({', '.join(sorted(kinds))}). "
            "They were left as they are: keep one, since it may be the same data twice."
        )
    how = columns if kinds == {"parquet"} else {}
    return kinds.pop(), {"data_files": [str(path) for path in found], "split": "train", **how}


def _holds_rows(path: Path) -> bool:
    """Whether a file has a row; of one that cannot be read the reader will tell."""
    with contextlib.suppress(Exception):  # whatever the readers of its formats raise
        if path.suffix == ".parquet":
            from pyarrow import parquet

            return parquet.read_metadata(path).num_rows > 0
        if ".jsonl" in path.suffixes:
            with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
                return any(map(bytes.strip, file))
    return True


# --- Opened ---------------------------------------------------------------------------------


def library():
    """The package `datasets`; LabError where it is not installed."""
    try:
        import datasets
    except ImportError:
        raise LabError(
            "The package datasets, which reads them, is not installed; `pip install datasets "
            "datatrove` brings it."
        ) from None
    return datasets


def load_rows(source: Source, folder: Path | None = None, test: bool = False) -> "Dataset":
    """A data set of this machine, row by row and in any order, without taking memory.

    LabError where it is not here, cannot be read, or lacks a column.
    """
    if not files(source, folder, test):
        part = f" (its split {source.test})" if test else ""
        place = f"{folder or 'a folder named by --data-dir'}/{source.name}/"
        raise LabError(
            f"{source.name}{part} is not on this machine: {FETCH} brings it, or lay its files "
            f"into {place}."
        )
    how = {"cache_dir": str(artifacts.cache_dir() / "datasets" / "arrow")}
    return _opened(source, folder, test, **how)


def stream(source: Source, folder: Path | None = None) -> "IterableDataset":
    """The training rows of a data set in their order: of local files, else straight from the hub.

    LabError where it cannot be reached or read, or lacks a column.
    """
    if not files(source, folder):
        check_online(source)
    return _opened(source, folder, streaming=True)


def _opened(source: Source, folder: Path | None, test: bool = False, **how):
    datasets = library()
    path, options = load_arguments(source, folder, test)
    every = options if path == source.hub else {k: options[k] for k in options if k != "columns"}
    try:
        first = next(iter(datasets.load_dataset(path, **every, streaming=True)), {})
        lacking = [column for column in source.columns if column not in first]
        opened = None if lacking else datasets.load_dataset(path, **options, **how)
    except Exception as error:  # whatever the readers of its formats raise
        raise LabError(
            f"{source.name} cannot be read ({_short(error)}). Its files were left as they are."
        ) from None
    if lacking:
        there = f"there are {', '.join(sorted(first))}" if first else "it is empty"
        raise LabError(
            f"{source.name} has no column {lacking[0]!r} ({there}), so it is not the data set "
            f"{source.hub}. It was left as it is."
        )
    return opened


def _short(error: Exception) -> str:
    """What an error says, its cause first: readers wrap what went wrong in general words."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:160] or type(error).__name__


def test_rows(source: Source, folder: Path | None = None) -> "Dataset | None":
    """The rows that nothing is trained on; None where they are not on this machine."""
    return load_rows(source, folder, test=True) if files(source, folder, test=True) else None


def or_none(source: Source, folder: Path | None = None) -> "Dataset | None":
    """`load_rows`, or None: the reason has been printed, and that the class's data serve alone."""
    try:
        return load_rows(source, folder)
    except LabError as error:
        print(f"{error} The kitchen's own data serve instead.")
        return None


# --- From the hub ---------------------------------------------------------------------------


def check_online(source: Source) -> None:
    """LabError where the network is kept off or the hub does not answer."""
    if os.environ.get("LLMLAB_OFFLINE", "0") not in ("", "0"):
        raise LabError(
            f"{source.name} is not on this machine, and LLMLAB_OFFLINE keeps the network off. "
            f"Unset it and run {FETCH}, or lay its files into a folder named by --data-dir."
        )
    library()
    from huggingface_hub import HfApi

    try:  # one question: `datasets` alone would ask for half a minute
        HfApi().dataset_info(source.hub, revision=source.revision, timeout=15)
    except Exception as error:  # of the network, the hub, or what stands between
        raise _unreachable(source, error) from None


def _unreachable(source: Source, error: Exception) -> LabError:
    return LabError(
        f"{source.name} could not be had from the hub ({_short(error)}); what was fetched before "
        f"was kept. When there is a network, run {FETCH} again, or lay its files into "
        f"{source.name}/ in a folder named by --data-dir."
    )


def fetch(source: Source) -> Path:
    """The folder with the files of a data set, downloaded where they are not there yet.

    Stopped and run again it goes on; the files count once all are there.  LabError where they
    cannot be had.
    """
    if _whole(source):
        return source.folder
    check_online(source)
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(
            source.hub, repo_type="dataset", revision=source.revision, local_dir=source.folder,
            allow_patterns=list(source.members),
        )  # fmt: skip
    except Exception as error:  # of the network, the hub, the disk, or what stands between
        raise _unreachable(source, error) from None
    got = [p for p in source.folder.rglob("*") if p.is_file()]
    sizes = {p.relative_to(source.folder).as_posix(): p.stat().st_size for p in got}
    sizes = {name: size for name, size in sizes.items() if _is_member(source, name)}
    if not sizes:
        raise LabError(f"{source.hub} has none of {', '.join(source.members)} any more.")
    record = {"hub": source.hub, "revision": source.revision, "licence": source.licence}
    artifacts.write_json(source.folder / "source.json", record | {"files": sizes})
    return source.folder
