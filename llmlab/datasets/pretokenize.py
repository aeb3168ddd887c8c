"""Text at size is tokenised once: by several processes, with datatrove, into files of ids.

Stopped and run again it goes on with the parts that are not done.  The folder gets its name, which
says for which tokenizer and which text it was made, once all of it is there.
"""

import contextlib
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

from llmlab import artifacts, device
from llmlab.artifacts import LabError
from llmlab.checkpoint import pack_tokenizer
from llmlab.core.tokenizer import BPE
from llmlab.corpus.mixture import Mixture
from llmlab.corpus.sources import Source
from llmlab.datasets import hub_datasets
from llmlab.datasets.token_shards import MANIFEST, KitchenRows, TokenDataset, WeightedMixture
from llmlab.lab import Lab
from llmlab.scale import distributed
from llmlab.training.loop import ProgressBar

HELD_OUT = 0.001  # of the documents: of a billion ids a million, more than any evaluation reads
PARTS = 8  # into which a single file is split
EXECUTORS = ("local", "slurm", "ray")


@dataclass(frozen=True)
class Work:
    """How the work is done.

    executor: "local", or "slurm" or "ray" for a cluster; options: what datatrove's executor of
    that kind takes, such as {"partition": "cpu", "time": "08:00:00"}.  workers: how many parts at
    a time, None for as many as there are cores, or as a cluster has room for.
    """

    workers: int | None = None
    executor: str = "local"
    options: dict = field(default_factory=dict)

    def __post_init__(self):
        """LabError for an executor that is none, and for no workers."""
        if self.executor not in EXECUTORS or (self.workers is not None and self.workers < 1):
            raise LabError(
                f"Text is tokenised by one worker or more, on {', '.join(EXECUTORS)}; nothing was "
                "done."
            )


def key_of(source: Source, tokenizer: BPE, folder: Path | None, rows: int, share: float) -> str:
    """12 hex digits for everything that the ids depend on."""
    local = [(path.name, path.stat().st_size) for path in hub_datasets.files(source, folder)]
    what = [local or [source.hub, source.config, source.split, source.revision], rows, share]
    packed = json.dumps([pack_tokenizer(tokenizer), *what])
    return hashlib.sha256(packed.encode()).hexdigest()[:12]


def place(
    source: Source, tokenizer: BPE, folder: Path | None = None, rows: int | None = None,
    share: float = HELD_OUT,
) -> Path:  # fmt: skip
    """Where the ids of a data set lie, or will; arguments as for `tokenize_dataset`."""
    rows = source.rows if rows is None else rows
    key = key_of(source, tokenizer, folder, rows, share)
    return artifacts.cache_dir() / "shards" / f"{source.name}-{key}"


def tokenize_dataset(
    source: Source, tokenizer: BPE, folder: Path | None = None, rows: int | None = None,
    share: float = HELD_OUT, work: Work | None = None,
) -> Path:  # fmt: skip
    """The folder with the ids of a data set, for `TokenDataset`; tokenised where it is not there
    yet.

    folder: of one's own files, else the rows stream from the hub.  rows: about how many to read,
    0 for all, None for the source's own number.  share: of documents that are held out.  LabError
    where the text cannot be had, a part fails, or a cluster is still at it; what is done is kept.
    """
    rows, work = source.rows if rows is None else rows, work or Work()
    target = place(source, tokenizer, folder, rows, share)
    if (target / MANIFEST).is_file():
        return target
    parts = hub_datasets.stream(source, folder).num_shards  # also: whether it can be had at all
    parts = parts if parts > 1 else PARTS
    half = target.with_name(f"{target.name}.part")
    job = _job(source, tokenizer, folder, rows, share, half, parts, work)
    artifacts.check_place(half / MANIFEST)
    with _quiet(), _progress(source.name, half, parts, tokenizer.vocab_size):
        try:
            job.run()
        except Exception as error:  # of whatever read, tokenised or wrote a part
            raise LabError(
                f"{source.name} could not be tokenised ({' '.join(str(error).split())[:200]}). "
                f"{_done(half)} of {parts} parts are done and kept: run it again to go on."
            ) from None
    if (done := _done(half)) < parts:
        raise LabError(
            f"{source.name}: {done} of {parts} parts are tokenised so far, by {work.executor}. "
            "Run it again when the others are done."
        )
    _seal(source, half, target, parts, tokenizer.vocab_size)
    return target


def _done(half: Path) -> int:
    return len(list((half / "log" / "completions").glob("*")))


def _job(source, tokenizer, folder, rows, share, half: Path, parts: int, work: Work):
    """The datatrove executor that does it; LabError where datatrove is not installed."""
    try:
        from datatrove import executor
        from datatrove.pipeline.readers import HuggingFaceDatasetReader

        from llmlab.datasets import datatrove_steps
    except ImportError:
        raise LabError(
            "The package datatrove, which tokenises at size, is not installed; `pip install "
            "datasets datatrove` brings it."
        ) from None
    path, options = hub_datasets.load_arguments(source, folder)
    limit = ceil(rows / parts) if rows else -1
    steps = [
        HuggingFaceDatasetReader(path, options, streaming=True, limit=limit, text_key="text"),
        datatrove_steps.WriteIds(str(half), tokenizer, share),
    ]
    made = {"local": datatrove_steps.Local, "slurm": executor.SlurmPipelineExecutor,
            "ray": executor.RayPipelineExecutor}[work.executor]  # fmt: skip
    how = {"tasks": parts, "logging_dir": str(half / "log"), "workers": work.workers or -1}
    if work.executor == "local":
        how["workers"] = min(parts, work.workers or device.cores())
        how["start_method"] = "spawn"  # as on Windows: nothing is inherited half-made
    try:
        return made(steps, **how, **work.options)
    except TypeError as error:
        raise LabError(
            f"The executor {work.executor} cannot be made with these options ({error}); nothing "
            "was done."
        ) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """While it lasts, datatrove logs nothing here."""
    from loguru import logger

    logger.disable("datatrove")
    try:
        yield
    finally:
        logger.enable("datatrove")


@contextlib.contextmanager
def _progress(name: str, half: Path, parts: int, vocab_size: int) -> Iterator[None]:
    """A bar of ids written and parts done, drawn by a thread that looks into the folder."""
    from llmlab.datasets.datatrove_steps import dtype_for

    width, over = int(dtype_for(vocab_size)[-1]), threading.Event()

    def written() -> int:
        total = 0
        for path in half.rglob("*.ids"):
            with contextlib.suppress(OSError):  # renamed meanwhile
                total += path.stat().st_size
        return total // width

    def watch(bar: ProgressBar) -> None:
        while True:
            last = over.wait(0.5)
            bar.update(written() - bar.n)
            bar.set_postfix_str(f"{_done(half)} of {parts} parts", refresh=False)
            if last:
                return

    with ProgressBar(
        desc=f"tokenising {name}", unit=" ids", unit_scale=True, initial=written()
    ) as bar:
        thread = threading.Thread(target=watch, args=(bar,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _seal(source: Source, half: Path, target: Path, parts: int, vocab_size: int) -> None:
    """Count what all parts hold, and give the folder its name."""
    from llmlab.datasets.datatrove_steps import dtype_for

    found = {f"{k:05d}.ids": artifacts.read_json(half / f"{k:05d}.json") for k in range(parts)}
    files = {name: part["ids"] for name, part in found.items() if part["ids"]}
    if not files:
        raise LabError(f"{source.name} holds no text that could be tokenised; nothing was kept.")
    held_out = [text for part in found.values() for text in part["held_out"]]
    artifacts.write_json(half / "held_out.json", held_out)
    totals = {
        key: sum(part[key] for part in found.values()) for key in ("ids", "documents", "bytes")
    }
    about = {"source": source.name, "hub": source.hub, "revision": source.revision,
             "licence": source.licence, "credit": source.credit}  # fmt: skip
    artifacts.write_json(
        half / MANIFEST,
        about | {"key": target.name.rsplit("-", 1)[1], "dtype": dtype_for(vocab_size),
                 "vocab_size": vocab_size, "files": files, **totals},
    )  # fmt: skip
    for left in half.glob(f"{artifacts.SCRATCH}*"):  # by a kill
        shutil.rmtree(left, ignore_errors=True)
    os.rename(half, target)
    shutil.rmtree(target / "log", ignore_errors=True)
    for part in target.glob("[0-9]*.json"):
        part.unlink()


def weighted_mixture(
    shares: dict[str, float], tokenizer: BPE, mixture: Mixture, seed: int,
    folder: Path | None = None, rows: int | None = None,
) -> WeightedMixture | None:  # fmt: skip
    """The class's mixture blended with the data sets that pretraining reads, each by its share of
    all rows; tokenised first, where they are not.  None where none can be had: the reason has been
    printed.

    Where several processes train, the text has to be tokenised before: they could not wait so long
    for one another.
    """
    readers, weights = {"kitchen": KitchenRows(mixture)}, {}
    for source, share in hub_datasets.of_stage("pretraining", shares).items():
        try:
            target = place(source, tokenizer, folder, rows)
            if distributed.world_size() > 1 and not (target / MANIFEST).is_file():
                raise LabError(f"{source.name} is not tokenised yet; {hub_datasets.FETCH} does it.")
            readers[source.name] = TokenDataset(
                tokenize_dataset(source, tokenizer, folder, rows), seed
            )
            weights[source.name] = share
        except LabError as error:
            print(f"{error} The class's text serves alone.")
    if not weights:
        return None
    return WeightedMixture(readers, {"kitchen": 1 - sum(weights.values()), **weights}, seed)


def available_shares(lab: Lab, tokenizer: BPE, stage: str) -> dict[str, float]:
    """The shares of those data sets of a stage that lie on this machine.  Of the others it is said
    that the class's data serve: nothing is fetched by the gigabyte while a stage waits."""
    shares = {}
    for source, share in hub_datasets.of_stage(stage, lab.profile.data_sets).items():
        status, _, _ = state(source, tokenizer, hub_datasets.user_data_dir())
        if status in (("tokenised",) if stage == "pretraining" else ("local", "cached")):
            shares[source.name] = share
        else:
            print(
                f"{source.name} is not here ({hub_datasets.FETCH} brings it): "
                "the class's data serve."
            )
    return shares


def rows_of(lab: Lab, tokenizer: BPE, mixture: Mixture) -> Mixture | WeightedMixture:
    """What pretraining reads: the class's mixture, in a blend with big texts where they are."""
    shares = available_shares(lab, tokenizer, "pretraining")
    blended = shares and weighted_mixture(
        shares, tokenizer, mixture, lab.seed, hub_datasets.user_data_dir()
    )
    return blended or mixture


def held_out(lab: Lab, tokenizer: BPE) -> list[str]:
    """Documents that were kept out of the big texts of this machine; none where there are none."""
    sources = hub_datasets.of_stage("pretraining", lab.profile.data_sets)
    places = [place(source, tokenizer, hub_datasets.user_data_dir()) for source in sources]
    there = [TokenDataset(folder, lab.seed) for folder in places if (folder / MANIFEST).is_file()]
    return [text for shards in there for text in shards.held_out()]


# --- What is there, and what is brought -----------------------------------------------------


def state(
    source: Source, tokenizer: BPE, folder: Path | None = None, rows: int | None = None,
    share: float = HELD_OUT,
) -> tuple[str, str, int]:  # fmt: skip
    """What this machine has of a data set: (status, what there is of it, its bytes).

    The statuses: "tokenised", "half done", "local" for one's own files, "cached", "missing".
    """
    found = hub_datasets.files(source, folder)
    size = sum(path.stat().st_size for path in found)
    if "pretraining" in source.stages:
        target = place(source, tokenizer, folder, rows, share)
        if (target / MANIFEST).is_file():
            manifest = artifacts.read_json(target / MANIFEST)
            written = sum(path.stat().st_size for path in target.glob("*.ids"))
            return "tokenised", f"{manifest['ids'] / 1e6:,.1f} M ids in {target}", written
        half = target.with_name(f"{target.name}.part")
        if half.is_dir():
            return "half done", f"{_done(half)} parts are done; {hub_datasets.FETCH} goes on", size
    if not found:
        return "missing", f"{hub_datasets.FETCH} brings it", 0
    files = f"{len(found)} file{'s' * (len(found) > 1)}"
    own = folder and found[0].is_relative_to(folder)
    return ("local" if own else "cached"), f"{files} for training", size


def bring(
    source: Source, tokenizer: BPE, folder: Path | None = None, rows: int | None = None,
    work: Work | None = None,
) -> tuple[str, str, int]:  # fmt: skip
    """Have a data set ready for its stage, tokenised or fetched, and say what came of it, as
    `state` does; where it cannot be had: ("missing", why, 0)."""
    try:
        if "pretraining" in source.stages:
            tokenize_dataset(source, tokenizer, folder, rows, work=work)
        elif not hub_datasets.files(source, folder):
            hub_datasets.fetch(source)
    except LabError as error:
        return "missing", f"{error} The class's data serve instead.", 0
    return state(source, tokenizer, folder, rows)
