"""Studies: comparisons that take longer than a class has, made once and kept with the project.

A study is a function of an arm (what is compared) and a seed, in a module of its own name here:

    @study("cleaning", arms=("raw", "cleaned"), seeds=(1, 2, 3))
    def cleaning(lab, arm, seed):
        ...
        return {"val_bpb": 1.23}

`python -m llmlab study cleaning` makes the points that are missing; each is saved as it is made,
so a run that was killed goes on where it stopped.  Points made by other code, data, budgets or
on another device are not mixed with new ones.  With `--ship` the whole study is kept as
`data/studies/cleaning.json`, which notebooks draw with `load_study`; `run_point` makes one live.
"""

import ast
import importlib
import inspect
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmlab import artifacts
from llmlab.artifacts import LabError

if TYPE_CHECKING:
    from llmlab.lab import Lab

Arm = str | int | float


@dataclass(frozen=True)
class Study:
    """What is compared (arms), how often (seeds), and the function that makes one point."""

    name: str
    function: Callable[["Lab", Arm, int], dict]
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]

    def points(self) -> list[tuple[Arm, int]]:
        """All (arm, seed), a whole seed before the next: a half-made study compares all arms."""
        return [(arm, seed) for seed in self.seeds for arm in self.arms]


_studies: dict[str, Study] = {}


def study(name: str, arms: Sequence[Arm], seeds: Sequence[int] = (1, 2, 3)) -> Callable:
    """Registers the decorated function of (lab, arm, seed), which returns numbers by name.

    The lab that it gets has that seed, and a folder of its own for runs.  Where its training was
    stopped (job.step < job.steps), it raises KeyboardInterrupt: half a run is no point.
    """

    def register(function: Callable[["Lab", Arm, int], dict]) -> Callable:
        _studies[name] = Study(name, function, tuple(arms), tuple(seeds))
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
    """A study that comes with the project: its command, device, data hash, arms, seeds, points."""
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


def _header(lab: "Lab", made: Study) -> dict:
    """All that two points must share to stand in one study; no date, no path."""
    from llmlab.corpus.corpus import load_corpus

    options = [("profile", lab.profile.name), ("budget-minutes", lab.minutes), ("steps", lab.steps)]
    chosen = "".join(f" --{k} {v}" for k, v in options if v not in (None, "class"))
    toy = " --toy" if lab.profile.max_steps else ""
    return {
        "command": f"python -m llmlab study {made.name}{chosen}{toy}",
        "device": lab.machine(),
        "data": load_corpus(lab.profile.sources).hash(),
        "code": _code_hash(made.function),
    }


def _code_hash(function: Callable) -> str:
    """A hash of the module that a function stands in, without comments, layout and decorators:
    to reword a comment or to add a seed is no other experiment."""
    tree = ast.parse(inspect.getsource(inspect.getmodule(function)))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
    return artifacts.text_hash(ast.unparse(tree))[:16]


def _kept(made: Study, path: Path, header: dict) -> dict:
    """The points made so far under the same header; a new study where there are none."""
    points = []
    if path.exists():
        old = artifacts.read_json(path)
        changed = [key for key, value in header.items() if old.get(key) != value]
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
