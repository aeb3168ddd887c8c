"""The one switch: which machine, which profile, which budgets, which model comes next.

Both profiles stand here side by side; no stage and no notebook asks which one it is in.
"""

import contextlib
import math
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from llmlab import artifacts, checkpoint
from llmlab.artifacts import LabError
from llmlab.checkpoint import unpack_tokenizer
from llmlab.core.model import ModelConfig, Transformer
from llmlab.core.tokenizer import BPE
from llmlab.device import cores, cpu_name, format_name, pick_device, tame_memory
from llmlab.profiles import LOOPS, Profile, profile_called


@dataclass
class Lab:
    """One learner's set-up: what every stage takes.

    minutes: overrules the profile's live budgets: for each loop, or for all of them where the
    profile says so; by loop as {"pretraining": 40, "sft": 5}.  steps: overrules every budget; runs
    with equal steps and seed end bit for bit alike on one machine.
    """

    profile: Profile
    device: str
    dtype: torch.dtype
    seed: int
    runs: Path
    minutes: float | dict[str, float] | None = None
    steps: int | None = None

    def __post_init__(self):
        """LabError for a budget or a seed that is none."""
        given = self.minutes if isinstance(self.minutes, dict) else {}
        if unknown := given.keys() - set(LOOPS):
            known = ", ".join(LOOPS)
            raise LabError(f"{unknown.pop()!r} has no budget; {known} have. Nothing was done.")
        given = {"steps": self.steps, "minutes": None if given else self.minutes, **given}
        for name, value in given.items():
            number = isinstance(value, int | float)
            if value is not None and not (number and 0 < value < math.inf):
                raise LabError(f"{name} must be more than 0, and not {value!r}; nothing was done.")
        if not (isinstance(self.seed, int) and 0 <= self.seed < 1 << 32):
            raise LabError(f"A seed is 0 to 4,294,967,295, not {self.seed!r}; nothing was done.")

    def seconds(self, stage: str) -> float:
        """The live budget of a loop, in seconds."""
        usual = {name: getattr(self.profile, f"{name}_seconds") for name in LOOPS}
        if isinstance(self.minutes, dict):
            return self.minutes.get(stage, usual[stage] / 60) * 60
        if self.minutes is None:
            return usual[stage]
        share = usual[stage] / sum(usual.values()) if self.profile.in_all else 1.0
        return self.minutes * 60 * share

    def path(self, name: str) -> Path:
        """Where the learner's own checkpoint of that name lies."""
        return self.runs / f"{name}.safetensors"

    def build(self, config: ModelConfig | None = None) -> Transformer:
        """A fresh model on this lab's device, in its dtype, from this lab's seed."""
        torch.manual_seed(self.seed)
        model = Transformer(config or self.profile.model).to(self.device)
        model.compute_dtype = self.dtype
        return model

    def load(self, path: Path) -> tuple[Transformer, BPE, dict]:
        """The model and tokenizer of a checkpoint, and its meta data."""
        tensors, meta = checkpoint.load_checkpoint(path)
        try:
            config = ModelConfig(**meta["config"])
            tokenizer = unpack_tokenizer(meta["tokenizer"])
            if tokenizer.vocab_size != config.vocab_size:
                sizes = f"{config.vocab_size:,} ids, and its tokenizer {tokenizer.vocab_size:,}"
                raise ValueError(f"it has {sizes}")
            model = self.build(config)
            weights = {k[6:]: v.float() for k, v in tensors.items() if k.startswith("model.")}
            model.load_state_dict({**weights, "head.weight": weights.get(
                "head.weight", weights["embed.weight"])})  # fmt: skip
        except (KeyError, TypeError, RuntimeError, ValueError) as error:
            raise LabError(
                f"{path} is whole, but not a model of this series ({_first_line(error)}). "
                "It was left as it is; name another checkpoint, or train this stage again."
            ) from None
        return model.to(self.device), tokenizer, meta

    def shipped(self, name: str) -> Path:
        """The slow-cooked checkpoint of that name, which comes with the project."""
        return artifacts.data_dir() / "checkpoints" / f"{name}.safetensors"

    def _comparable(self, name: str) -> list[dict]:
        """Shapes that a run of the learner's own may have: the profile's, or a shipped model's."""
        shipped = [p for p in (self.shipped(name), self.shipped("base")) if p.exists()]
        shapes = [asdict(self.profile.model), *(checkpoint.read_meta(p)["config"] for p in shipped)]
        if name == "reward":  # of half the layers
            shapes += [{**s, "n_layers": max(1, s["n_layers"] // 2)} for s in shapes]
        return shapes

    def choose(self, name: str, mine: bool = True) -> tuple[Path, bool]:
        """The checkpoint of a stage (base, sft, ...), and whether it is the learner's own: their
        finished run where it is comparable, else the shipped one; prints which.

        mine=False: the shipped one, unless the profile begins from scratch.  A run that cannot be
        read is said and passed over.  Raises LabError when there is neither.
        """
        own = self.path(name)
        if (mine or self.profile.from_scratch) and os.path.exists(own):
            try:
                meta = checkpoint.load_checkpoint(own)[1]
                finished = meta["step"] == meta["steps"]
                if name == "reward":  # a run that was killed at its very end is not finished
                    finished = finished and meta.get("standardised", False)
                if finished and meta["config"] in self._comparable(name):
                    print(f"{name}: your own run, {own.name} ({meta['steps']} steps).")
                    return own, True
            except (LabError, KeyError) as error:
                print(f"{name}: your own run was passed over. {_first_line(error)}")
        if not self.shipped(name).exists():
            raise LabError(f"There is no {name} model yet. Run the stage that makes it first.")
        print(f"{name}: the slow-cooked checkpoint that comes with llmlab.")
        return self.shipped(name), False

    def latest(self, name: str, mine: bool = True) -> tuple[Transformer, BPE, dict]:
        """Model, tokenizer and meta data of the checkpoint that `choose` names; "own" in the meta
        says whose it is."""
        path, own = self.choose(name, mine)
        model, tokenizer, meta = self.load(path)
        return model, tokenizer, {**meta, "own": own}

    def tokenizer(self) -> BPE:
        """The learner's own tokenizer of notebook 02, else the shipped base's (the same merges,
        unless the data differ)."""
        own = self.runs / "tokenizer.json"
        if os.path.exists(own):
            try:
                return unpack_tokenizer(artifacts.read_json(own))
            except (LookupError, TypeError, ValueError):
                raise LabError(
                    f"{own} holds no tokenizer. Remove it, or train one again in notebook 02."
                ) from None
        return self._class_tokenizer()

    def _class_tokenizer(self) -> BPE:
        return unpack_tokenizer(checkpoint.read_meta(self.shipped("base"))["tokenizer"])

    def chosen_tokenizer(self) -> BPE | None:
        """The tokenizer that notebook 02's stage chose for the profile's big text; None where these
        runs have the class's."""
        tokenizer = self.tokenizer() if self.profile.data_sets else None
        return tokenizer if tokenizer != self._class_tokenizer() else None

    def report(self, stage: str, figures: dict) -> dict:
        """Put a stage's figures under its key in this run's report.json; returns the whole."""
        path = self.runs / "report.json"
        whole = _read_report(path)
        whole[stage] = {**whole.get(stage, {}), **figures}
        artifacts.write_json(path, whole)
        return whole

    def chip(self) -> str:
        """The name of what computes here."""
        return torch.cuda.get_device_name() if self.device == "cuda" else cpu_name()

    def machine(self) -> str:
        """What a figure was measured on: chip, architecture, torch."""
        return f"{self.chip()}, {platform.machine()}, torch {torch.__version__}"

    def card(self) -> str:
        """What this machine is and what each stage may take."""
        p = self.profile
        parts = [
            f"llmlab, profile {p.name}, seed {self.seed}",
            f"  {self.chip()}, {torch.get_num_threads()} threads, {format_name(self.dtype)}",
            f"  runs in {_short(self.runs)}",
        ]
        budgets = ", ".join(f"{name} {self.seconds(name):.0f} s" for name in LOOPS)
        parts.append(f"  live budgets: {budgets}")
        if self.device == "cuda" and p.name == "class":
            parts.append("  A GPU is here: llmlab.setup('full', minutes=60) trains at full size.")
        return "\n".join(parts)


def setup(profile=None, minutes=None, seed=1337, runs_dir=None) -> Lab:
    """See `llmlab.setup`."""
    chosen, folder = profile_called(profile)
    tame_memory()
    torch.set_num_threads(min(torch.get_num_threads(), cores()))
    device, dtype = pick_device()
    if folder == "full" and device == "cpu":
        raise LabError(
            "The profile 'full' needs a GPU, and none was found. Use llmlab.setup('class') here, "
            "or open the notebook where there is one."
        )
    if minutes is None and (words := os.environ.get("LLMLAB_MINUTES")):
        try:
            minutes = float(words)
        except ValueError:
            raise LabError(
                f"LLMLAB_MINUTES is {words!r}, which is no number of minutes. "
                "Set it to one, such as 60, or unset it."
            ) from None
    lab = Lab(chosen, device, dtype, seed, artifacts.runs_dir(runs_dir) / folder, minutes)
    torch.manual_seed(seed)
    return lab


def _read_report(path: Path) -> dict:
    """The report so far; a damaged one is set aside, so that an hour's run does not end there."""
    if not os.path.exists(path):
        return {}
    with contextlib.suppress(LabError):
        if isinstance(found := artifacts.read_json(path), dict):
            return found
    aside = path.with_suffix(".damaged.json")
    os.replace(path, aside)
    print(f"{path} was damaged. It was kept as {aside.name}, and a new one was begun.")
    return {}


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error) else type(error).__name__


def _short(path: Path) -> str:
    home = str(Path.home())
    here = str(path)
    root = str(artifacts.data_dir().parent)
    return here.replace(root, "llmlab").replace(home, "~")


def shipped_log(lab: Lab, name: str) -> dict:
    """The log of a slow-cooked checkpoint: command, device, figures, and the curve."""
    return artifacts.read_json(lab.shipped(name).with_suffix(".json"))
