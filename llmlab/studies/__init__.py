"""Studies: comparisons that take longer than a class has, made once and kept with the project.

A study is a function of an arm (what is compared) and a seed, in a module of its own name here:

    @study("cleaning", arms=("raw", "cleaned"), seeds=(1, 2, 3), settings={"steps": STEPS})
    def cleaning(lab, arm, seed):
        ...
        return {"val_bpb": 1.23}

`python -m llmlab study cleaning` makes the points that are missing; each is saved as it is made,
so a run that was killed goes on where it stopped.  Points of another version, other settings, data
or checkpoints, or of another device are not mixed with new ones.  With `--ship` the whole study is
kept as `data/studies/cleaning.json`, which notebooks draw with `load_study`; `run_point` makes one
live.  `stale` says whether a shipped study is still what its command would make.
"""

import importlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmlab import artifacts
from llmlab.artifacts import LabError

if TYPE_CHECKING:
    from llmlab.lab import Lab

Arm = str | int | float


@dataclass(frozen=True)
class Study:
    """What is compared (arms), how often (seeds), and the function that makes one point.

    settings: the study's own numbers that decide its points, as JSON holds them; starts_from: the
    names of the shipped checkpoints that it begins with; version: raised by hand when the same
    settings give other numbers.
    """

    name: str
    function: Callable[["Lab", Arm, int], dict]
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    settings: dict = field(default_factory=dict)
    starts_from: tuple[str, ...] = ()
    version: int = 1

    def points(self) -> list[tuple[Arm, int]]:
        """All (arm, seed), a whole seed before the next: a half-made study compares all arms."""
        return [(arm, seed) for seed in self.seeds for arm in self.arms]


_studies: dict[str, Study] = {}


def study(
    name: str, arms: Sequence[Arm], seeds: Sequence[int] = (1, 2, 3), **decided_by
) -> Callable:
    """Registers the decorated function of (lab, arm, seed), which returns numbers by name.

    The lab that it gets has that seed, and a folder of its own for runs.  Where its training was
    stopped, it raises KeyboardInterrupt (see `training.loop.require_finished`): half a run is no
    point.
    decided_by: `settings`, `starts_from` and `version` of `Study`.
    """

    def register(function: Callable[["Lab", Arm, int], dict]) -> Callable:
        _studies[name] = Study(name, function, tuple(arms), tuple(seeds), **decided_by)
        return function

    return register


def find_study(name: str) -> Study:
    """The study of that name, from `llmlab.studies.NAME`; LabError where there is none."""
    modules = {p.stem for p in Path(__file__).parent.glob("[a-z]*.py")}
    if name in modules - _studies.keys():
        importlib.import_module(f"{__name__}.{name}")
    if name not in _studies:
        known = ", ".join(sorted(modules | _studies.keys())) or "none yet"
        raise LabError(f"There is no study {name!r}; there are: {known}.")
    return _studies[name]


def run_point(lab: "Lab", name: str, arm: Arm, seed: int) -> dict:
    """The figures of one point, made now and not kept; LabError where they are not numbers."""
    import torch

    torch.manual_seed(seed)  # else a point would depend on those made before it
    runs = lab.runs / "studies" / name / f"{arm}-{seed}"
    figures = find_study(name).function(replace(lab, seed=seed, runs=runs), arm, seed)
    try:
        return json.loads(json.dumps(figures, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise LabError(f"Study {name}, arm {arm}, seed {seed}: {error}; not kept.") from None


def run_study(lab: "Lab", name: str, points: list[str] | None = None, ship: bool = False) -> dict:
    """Make the missing points of a study, or those named like "raw:1", and keep each as made.

    Returns what is kept; ship: the whole study also goes to data/studies.
    """
    made = find_study(name)
    path = lab.runs / "studies" / f"{name}.json"
    kept = _kept(made, path, _header(lab, made))
    wanted = _named(made, points) if points else made.points()
    missing = [w for w in wanted if w not in [(p["arm"], p["seed"]) for p in kept["points"]]]
    print(f"{name}: {len(wanted) - len(missing)} of {len(wanted)} points are there already.")
    for number, (arm, seed) in enumerate(missing, 1):
        start = time.monotonic()
        figures = run_point(lab, name, arm, seed)
        seconds = round(time.monotonic() - start, 1)
        kept["points"].append({"arm": arm, "seed": seed, "seconds": seconds, "figures": figures})
        artifacts.write_json(path, kept)
        shown = ", ".join(f"{k} {v:.4g}" for k, v in figures.items() if isinstance(v, int | float))
        left = len(missing) - number
        time_left = f"{seconds:.0f} s; {left} left, about {left * seconds / 60:.0f} min"
        print(f"  {arm}, seed {seed}: {shown}  ({time_left})", flush=True)
    if ship:
        _ship(lab, made, kept)
    return kept


def load_study(name: str) -> dict:
    """A study that comes with the project: what decided it, arms, seeds, points."""
    if not _shipped(name).is_file():
        raise LabError(f"{name}.json is not there yet. `python -m llmlab study {name}` makes it.")
    return artifacts.read_json(_shipped(name))


def _shipped(name: str) -> Path:
    return artifacts.data_dir() / "studies" / f"{name}.json"


def values(kept: dict, figure: str) -> dict[Arm, list[float]]:
    """One figure of a study: arm -> its values, a seed each, in the order of the arms."""
    return {
        arm: [p["figures"][figure] for p in kept["points"] if p["arm"] == arm]
        for arm in kept["arms"]
    }


# --- What a point was made by ---------------------------------------------------------------


def stale(name: str) -> list[str]:
    """What a shipped study was made with that is different today, such as "version" or
    "settings.steps"; nothing where its command would make the same.

    The device does not count.  The data are those of the shipped base: the text on this machine
    may be another one, because of its Python or for want of a network.
    """
    from llmlab.lab import setup, shipped_log

    lab = replace(setup("class"), minutes=None)
    now = {"data": shipped_log(lab, "base")["data"], **_decided_by(lab, find_study(name))}
    return _changed(load_study(name), now)


def _header(lab: "Lab", made: Study) -> dict:
    """All that two points must share to stand in one study; no date, no path."""
    from llmlab.corpus.corpus import load_corpus

    own = {"device": lab.machine(), "data": load_corpus(lab.profile.sources).hash()}
    return {**_decided_by(lab, made), **own}


def _decided_by(lab: "Lab", made: Study) -> dict:
    """What decides a study's numbers beside the data and the device."""
    from llmlab import checkpoint

    options = [("profile", lab.profile.name), ("budget-minutes", lab.minutes), ("steps", lab.steps)]
    chosen = "".join(f" --{k} {v}" for k, v in options if v not in (None, "class"))
    toy = " --toy" if lab.profile.max_steps else ""
    deciding = {
        "command": f"python -m llmlab study {made.name}{chosen}{toy}",
        "version": made.version,
        "settings": made.settings,
        "profile": _profile_numbers(lab),
        "starts_from": {n: checkpoint.file_fingerprint(lab.shipped(n)) for n in made.starts_from},
    }
    return json.loads(json.dumps(deciding))  # as it comes back from a file


def _profile_numbers(lab: "Lab") -> dict:
    """The profile's numbers by name, without the live budgets: a study has its own."""
    numbers = asdict(lab.profile)
    shape = {f"model.{name}": value for name, value in numbers.pop("model").items()}
    return {k: v for k, v in {**numbers, **shape}.items() if not k.endswith("_seconds")}


def _changed(old: dict, new: dict) -> list[str]:
    """Which parts of a header are not what they were, such as "version" or "settings.steps".

    Of the profile only numbers that both have count: a field that was added, dropped or renamed
    changes no study.  Where it does, the study's version says so.
    """
    found = []
    for key, value in new.items():
        before = old.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            shared, either = before.keys() & value.keys(), before.keys() | value.keys()
            names = sorted(shared if key == "profile" else either)
            found += [f"{key}.{name}" for name in names if before.get(name) != value.get(name)]
        elif before != value:
            found.append(key)
    return found


def _kept(made: Study, path: Path, header: dict) -> dict:
    """The points made so far under the same header; a new study where there are none."""
    points = []
    if path.exists():
        old = artifacts.read_json(path)
        changed = _changed(old, header)
        points = [] if changed else old["points"]
        if changed:
            artifacts.write_json(path.with_suffix(".old.json"), old)
            print(
                f"Begun anew, with another {', '.join(changed)}; {path.stem}.old.json has the old."
            )
    points = [p for p in points if (p["arm"], p["seed"]) in made.points()]
    return {**header, "arms": list(made.arms), "seeds": list(made.seeds), "points": points}


def _named(made: Study, names: list[str]) -> list[tuple[Arm, int]]:
    """The points that "arm:seed" stand for; LabError that lists all where one is unknown."""
    known = {f"{arm}:{seed}": (arm, seed) for arm, seed in made.points()}
    for name in names:
        if name not in known:
            raise LabError(f"{made.name} has no point {name!r}; there are {', '.join(known)}.")
    return [known[name] for name in names]


def _ship(lab: "Lab", made: Study, kept: dict) -> None:
    """Keep a whole study with the project, its points in order."""
    if len(kept["points"]) < len(made.points()) or lab.profile.max_steps:
        raise LabError(f"{made.name} was not shipped: points are missing, or they are a toy's.")
    points = sorted(kept["points"], key=lambda p: made.points().index((p["arm"], p["seed"])))
    artifacts.write_json(_shipped(made.name), {**kept, "points": points})
