"""The one switch: which machine, which profile, which budgets, which model comes next.

Both profiles stand here side by side; no stage and no notebook asks which one it is in.
"""

import contextlib
import ctypes
import math
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import torch

from llmlab import artifacts
from llmlab.artifacts import LabError
from llmlab.core.model import ModelConfig, Transformer
from llmlab.core.tokenizer import BPE, SPECIALS
from llmlab.hub.hub_tokenizer import HubTokenizer

STAGES = ("data", "tokenization", "embedding", "pretraining", "sft", "reward", "dpo", "rl")
LOOPS = ("pretraining", "sft", "reward", "dpo", "grpo", "ppo", "last")  # each has a budget
MOST_ROWS = 4000  # in one step, of whatever a stage counts
MIXTURE = {"recipes": 0.60, "cards": 0.15, "encyclopedia": 0.20, "speeches": 0.03, "python": 0.02}


@dataclass(frozen=True)
class Profile:
    """Everything that differs between a laptop in class and a GPU: data, sizes, budgets.

    *_seconds: what a loop may take live.  Batches count rows (pretraining), examples (SFT),
    pairs (reward) and answers (RL).
    """

    name: str
    model: ModelConfig
    sources: tuple[str, ...] = ("recipes", "encyclopedia", "speeches", "python")
    data_sets: dict[str, float] = field(default_factory=dict)  # of each its stage's share of them
    from_scratch: bool = False  # whether every stage builds on one's own runs, and no shipped ones
    mixture: dict[str, float] = field(default_factory=lambda: dict(MIXTURE))
    seq_len: int = 256
    pretraining_batch: int = 8
    pretraining_seconds: float = 100
    muon_lr: float = 0.02
    muon_momentum: float = 0.95
    adam_lr: float = 4e-3
    adam_betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.05
    sft_batch: int = 128
    sft_seconds: float = 90
    reward_requests: int = 2000
    reward_batch: int = 64
    reward_seconds: float = 55
    dpo_seconds: float = 35
    grpo_requests: int = 32
    grpo_group: int = 8
    grpo_seconds: float = 110
    ppo_batch: int = 128
    ppo_seconds: float = 110
    last_seconds: float = 110
    val_documents: int = 144
    max_steps: int | None = None  # a toy's limit for every loop
    in_all: bool = False  # whether minutes are for all loops together, and not for each of them
    depths: tuple[int, ...] = ()  # of which `scale.plan` chooses one; none: nothing is planned
    compile: bool = False  # whether training is long enough for that to pay, on a GPU
    micro_batch: int = MOST_ROWS  # rows of pretraining that are in memory at once
    recompute: bool = False  # whether activations are reckoned again, to save memory
    pretraining_steps: int | None = None  # as planned, else measured when training begins

    def __post_init__(self):
        """LabError for settings with which no stage can end well."""
        of_rows = [f.name for f in fields(self) if f.name.endswith(("_batch", "_requests"))]
        rules = [("model.vocab_size", self.model.vocab_size, 256 + len(SPECIALS), 1 << 20)]
        rules += [("seq_len", self.seq_len, 2, self.model.max_seq_len)]
        rules += [("grpo_group", self.grpo_group, 2, MOST_ROWS)]
        rules += [(name, getattr(self, name), 1, MOST_ROWS) for name in of_rows]
        for name, value, low, high in rules:
            if not low <= value <= high:
                raise LabError(
                    f"{name} can be {low:,} to {high:,} in this profile, and not {value:,}; "
                    "nothing was changed."
                )


CLASS = Profile(
    name="class",
    model=ModelConfig(
        vocab_size=2048, dim=160, n_layers=4, n_heads=5, n_kv_heads=5, head_dim=32, hidden_dim=384
    ),
    # For a run of some hundred steps: what a step learns counts more than that it is smooth.
    muon_lr=0.014,
    muon_momentum=0.9,
    adam_lr=3.2e-2,
    adam_betas=(0.7, 0.98),
)
FULL = Profile(
    name="full",
    model=ModelConfig(
        vocab_size=2048, dim=768, n_layers=12, n_heads=12, n_kv_heads=12, head_dim=64,
        hidden_dim=2048, max_seq_len=1024,
    ),
    seq_len=512,
    pretraining_batch=64,
    pretraining_seconds=600,
    sft_seconds=60,
    reward_seconds=45,
    dpo_seconds=15,
    grpo_seconds=90,
    ppo_seconds=60,
    last_seconds=90,
    data_sets={
        "fineweb_edu": 0.7, "smoltalk": 0.5, "ultrafeedback": 0.2, "helpsteer2": 0.1, "gsm8k": 0.3,
    },
    from_scratch=True,
    in_all=True,
    compile=True,
    depths=(2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32),
    reward_requests=4000,
    grpo_requests=64,
    grpo_group=16,
    ppo_batch=512,
)  # fmt: skip
# The class's model at leisure: with it the base that comes with the project was made, at rates that
# suit a long run.
SLOW = Profile(name="slow", model=CLASS.model, seq_len=512, pretraining_batch=4)
PROFILES = {p.name: p for p in (CLASS, SLOW, FULL)}


def toy(profile: Profile) -> Profile:
    """A profile shrunk to seconds, for tests of code paths; its figures mean nothing."""
    model = replace(profile.model, dim=32, n_layers=2, n_heads=2, n_kv_heads=2, head_dim=16,
                    hidden_dim=64)  # fmt: skip
    return replace(
        profile, model=model, sources=("recipes",), mixture={"recipes": 0.7, "cards": 0.3},
        seq_len=64, pretraining_batch=4, sft_batch=8, reward_requests=12, reward_batch=16,
        grpo_requests=4, grpo_group=4, ppo_batch=16, val_documents=3, max_steps=4,
        depths=(), data_sets={}, from_scratch=False,  # nothing can be built on a toy
    )  # fmt: skip


def pick_device() -> tuple[str, torch.dtype]:
    """Device and dtype: bf16 where the hardware multiplies in it, fp16 on older GPUs, else fp32.

    `torch.cuda.is_bf16_supported` also says yes to emulation, so the capability decides.
    """
    if torch.cuda.is_available():
        native = torch.cuda.get_device_capability() >= (8, 0)
        return "cuda", torch.bfloat16 if native else torch.float16
    return "cpu", torch.bfloat16 if _cpu_bf16_pays() else torch.float32


def _cpu_bf16_pays(size: int = 512, rounds: int = 8) -> bool:
    """Whether this CPU multiplies bf16 matrices faster than fp32 ones: measured, 20 ms where it
    does, half a second where it has to reckon them out of fp32."""
    matrices = {t: torch.ones(size, size, dtype=t) for t in (torch.bfloat16, torch.float32)}
    best = dict.fromkeys(matrices, math.inf)
    for number in range(rounds):  # in turns: what else runs here then slows both
        for dtype, a in matrices.items():
            start = time.perf_counter()
            a @ a
            best[dtype] = min(best[dtype], time.perf_counter() - start)
        if number and best[torch.bfloat16] > 4 * best[torch.float32]:
            break  # the first round is slow for either; after the second it is clear
    return best[torch.bfloat16] < 0.8 * best[torch.float32]


def tame_memory() -> None:
    """Tell glibc to keep freed memory: a training step asks for the same blocks again and again,
    and fresh pages from the system cost more than the arithmetic at these sizes.  Not so blocks
    of 256 MiB and more, which no step asks for: a cell that is run again would find the old one
    in pieces and take another.

    And tell oneDNN, which compiles a kernel for every shape that it meets, to keep 64 of them and
    not its 1,024: where batches differ in length, those alone would take gigabytes."""
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, "64")  # read at the first product, which is yet to come
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(-3, 1 << 28)  # M_MMAP_THRESHOLD
            libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


def cores(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """How many cores this process may use: those it is bound to, and no more than the container
    that it may run in has time for, which torch does not ask."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    time_for = math.inf
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        with contextlib.suppress(OSError, ValueError):  # no such version of groups; "max"
            text = " ".join((groups / name).read_text("utf-8") for name in names)
            quota, period = map(int, text.split())
            time_for = quota / period if quota > 0 else math.inf
    return max(1, math.ceil(min(bound or 1, time_for)))


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
        tensors, meta = artifacts.load_checkpoint(path)
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

    def _comparable(self) -> list[dict]:
        """Shapes that a run of the learner's own may have: the profile's, or the shipped base's."""
        base = self.shipped("base")
        shipped = [artifacts.read_meta(base)["config"]] if base.exists() else []
        return [asdict(self.profile.model), *shipped]

    def latest(self, name: str, mine: bool = True) -> tuple[Transformer, BPE, dict]:
        """The learner's own finished run of `name` (base, sft, ...) where it is comparable, else
        the shipped checkpoint; says which.  mine=False: the shipped one, unless the profile begins
        from scratch.  Raises LabError when there is neither."""
        own = self.path(name)
        if (mine or self.profile.from_scratch) and os.path.exists(own):
            meta = artifacts.read_meta(own)
            if meta.get("config") in self._comparable() and meta["step"] == meta["steps"]:
                print(f"{name}: your own run, {own.name} ({meta['steps']} steps).")
                model, tokenizer, meta = self.load(own)
                return model, tokenizer, {**meta, "own": True}
        if not self.shipped(name).exists():
            raise LabError(f"There is no {name} model yet. Run the stage that makes it first.")
        print(f"{name}: the slow-cooked checkpoint that comes with llmlab.")
        model, tokenizer, meta = self.load(self.shipped(name))
        return model, tokenizer, {**meta, "own": False}

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
        return unpack_tokenizer(artifacts.read_meta(self.shipped("base"))["tokenizer"])

    def chosen_tokenizer(self) -> BPE | None:
        """The tokenizer that `stages.vocabulary` chose for the profile's big text; None where these
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
            f"  {self.chip()}, {torch.get_num_threads()} threads, {str(self.dtype).split('.')[-1]}",
            f"  runs in {_short(self.runs)}",
        ]
        budgets = ", ".join(f"{name} {self.seconds(name):.0f} s" for name in LOOPS)
        parts.append(f"  live budgets: {budgets}")
        if self.device == "cuda" and p.name == "class":
            parts.append("  A GPU is here: llmlab.setup('full', minutes=60) trains at full size.")
        return "\n".join(parts)


def profile_called(name: str | None) -> tuple[Profile, str]:
    """The profile of that name, else of LLMLAB_PROFILE, and the name of its folder of runs; with
    "-toy" behind it, shrunk.  LabError where there is none."""
    name = name or os.environ.get("LLMLAB_PROFILE") or "class"
    whole, _, shrunk = name.partition("-")
    if whole not in PROFILES or shrunk not in ("", "toy"):
        raise LabError(f"There is no profile {whole!r}; the profiles are {', '.join(PROFILES)}.")
    return (toy(PROFILES[whole]), f"{whole}-toy") if shrunk else (PROFILES[whole], whole)


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
    return str(error).strip().splitlines()[0][:100] if str(error) else type(error).__name__


def _short(path: Path) -> str:
    home = str(Path.home())
    here = str(path)
    root = str(artifacts.data_dir().parent)
    return here.replace(root, "llmlab").replace(home, "~")


def cpu_name() -> str:
    """The processor's name and how many the machine has."""
    info = Path("/proc/cpuinfo")  # Linux has it
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line for line in lines if "model name" in line]
    return f"{names[0].split(':')[1].strip() if names else 'CPU'} x {os.cpu_count()}"
