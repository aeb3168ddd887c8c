"""What to train in the minutes that there are: the scaling rule of notebook 04, put to use.

A short probe trains on this machine and measures; the law says which size makes the most of that
many FLOPs.  The plan is kept beside the runs, so that every notebook works by the same one.
"""

import gc
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from llmlab import artifacts
from llmlab.artifacts import LabError
from llmlab.core.losses import next_token_loss
from llmlab.core.model import ModelConfig
from llmlab.lab import Lab
from llmlab.profiles import Profile
from llmlab.scale import distributed, gpu, scaling_law

ROOM = 0.85  # of a GPU's memory: what is left is for evaluation and fragments
STEPS = 2000  # of a run, about: so many updates its text is cut into
FEWEST, MOST = 1 << 11, 1 << 18  # tokens in a step
USABLE = 0.9  # of the minutes: the rest goes into set-up, saving and measuring


@dataclass(frozen=True)
class Probe:
    """What a few steps of a model took: rows at once, tokens a second, MB, seconds to compile."""

    rows: int
    tokens_per_s: float
    peak_mb: float
    compile_s: float
    activation_checkpointing: bool = False


@dataclass(frozen=True)
class Plan:
    """What `full` trains, and what it expects of it.

    key: what it was made for.  expected_loss: in bits per byte, after `expected_s` seconds.
    """

    key: dict
    model: dict
    seq_len: int
    batch: int  # rows in a step
    micro_batch: int  # rows at once on a GPU
    recompute: bool
    tokens: int
    expected_loss: float
    expected_s: float
    tokens_per_s: float
    peak_mb: float
    why: list[str]

    def applied(self, profile: Profile) -> Profile:
        """The profile with what was chosen in it."""
        return replace(
            profile, model=ModelConfig(**self.model), seq_len=self.seq_len,
            pretraining_batch=self.batch, micro_batch=self.micro_batch,
            activation_checkpointing=self.recompute,
            pretraining_steps=max(1, round(self.tokens / self.batch / self.seq_len)),
        )  # fmt: skip

    def text(self) -> str:
        """What was chosen and why, to be printed."""
        m = self.model
        n = scaling_law.size_of(ModelConfig(**m)) / 1e6
        chosen = (
            f"  plan: {m['n_layers']} layers of width {m['dim']}, {n:.1f} M parameters, "
            f"{m['vocab_size']:,} ids; {self.tokens / 1e6:.1f} M tokens in steps of {self.batch} "
            f"x {self.seq_len}, {self.micro_batch} rows at once"
        )
        expected = (
            f"  expected of pretraining: {self.expected_s / 60:.1f} min, "
            f"{self.expected_loss:.3f} {self.measure()} (bits per byte)"
        )
        return "\n".join([chosen, *(f"    {line}" for line in self.why), expected])

    def measure(self) -> str:
        """Which figure the forecast is of: on held-out web text, where that is read, or recipes."""
        return "web_val_bpb" if self.key["bytes_per_token"] else "val_bpb"

    def verdict(self, figures: dict[str, float]) -> str:
        """What `against` says, to be printed."""
        off, late = figures["forecast_loss_off"], figures["forecast_seconds_off"]
        return (
            f"forecast: {self.measure()} {self.expected_loss:.3f} after "
            f"{self.expected_s / 60:.1f} min; the loss is {off:+.1%} off, the time {late:+.1%}"
        )

    def against(self, loss: float, seconds: float) -> dict[str, float]:
        """How good the forecast was: what was expected, and by which share it was missed."""
        return {
            "forecast_loss": self.expected_loss,
            "forecast_loss_off": loss / self.expected_loss - 1,
            "forecast_seconds": self.expected_s,
            "forecast_seconds_off": seconds / self.expected_s - 1,
        }


def stored_plan(lab: Lab) -> Plan | None:
    """The plan by which the lab trains; None where nothing was planned."""
    if lab.profile.pretraining_steps is None:
        return None
    return _stored(lab.runs / "plan.json")


def with_plan(
    lab: Lab, text_tokens: float, bytes_per_token: float | None = None
) -> tuple[Lab, Plan]:
    """The lab with a plan in its profile: the one kept beside its runs, else one made now.

    text_tokens: how many there are to read, inf for no end; bytes_per_token: of web text, None for
    the class's.  Where several processes train, the first one's plan is everybody's.
    """
    path = lab.runs / "plan.json"
    key = {
        "profile": lab.profile.name, "seconds": lab.seconds("pretraining"), "chip": lab.chip(),
        "gpus": distributed.world_size(),
        "text_tokens": text_tokens if math.isfinite(text_tokens) else None,
        "bytes_per_token": bytes_per_token, "vocab_size": lab.profile.model.vocab_size,
        "seq_len": lab.profile.seq_len,
    }  # fmt: skip
    made = _stored(path)
    if distributed.any_rank(made is None or made.key != key)[0]:
        made = make_plan(lab, key, text_tokens)
        if distributed.is_main_process():
            artifacts.write_json(path, asdict(made))
        distributed.any_rank(False)  # until it is there
        made = _stored(path) or made
    return replace(lab, profile=made.applied(lab.profile)), made


def _stored(path: Path) -> Plan | None:
    """The plan in a file; None where there is none in it."""
    if not path.exists():
        return None
    try:
        return Plan(**artifacts.read_json(path))
    except (TypeError, LabError):
        return None


def make_plan(lab: Lab, key: dict, text_tokens: float) -> Plan:
    """Probe a size, choose by what it showed, probe that: until a size that was probed is chosen,
    or three were; then the last one of them it is."""
    p, seconds = lab.profile, lab.seconds("pretraining") * USABLE
    shapes = [scaling_law.shape_of_depth(p.model, depth) for depth in p.depths]
    of_web = key["bytes_per_token"]
    rule = scaling_law.of_the_web(of_web) if of_web else scaling_law.of_the_class()
    probes, chosen = {}, shapes[len(shapes) // 2]
    while chosen not in probes and len(probes) < 3:
        config, probes[chosen] = chosen, probe(lab, chosen)
        chosen, _, _ = scaling_law.choose(
            rule, shapes, _flops(config, probes[config], seconds), text_tokens
        )
    config = chosen if chosen in probes else config
    found, n = probes[config], scaling_law.size_of(config)
    most = min(_flops(config, found, seconds) / 6 / n, scaling_law.MOST_READINGS * text_tokens)
    batch = batch_for(most, p.seq_len, distributed.world_size())
    tokens = max(1, round(most / batch / p.seq_len)) * batch * p.seq_len
    rate = found.tokens_per_s * distributed.world_size()
    return Plan(
        key=key, model=asdict(config), seq_len=p.seq_len, batch=batch,
        micro_batch=min(found.rows, math.ceil(batch / distributed.world_size())),
        recompute=found.activation_checkpointing, tokens=tokens,
        expected_loss=round(float(rule.loss(n, scaling_law.worth(tokens, text_tokens))), 4),
        expected_s=round(tokens / rate + found.compile_s, 1),
        tokens_per_s=round(rate, 1), peak_mb=round(found.peak_mb, 1),
        why=_why(lab, found, n, tokens, seconds, text_tokens),
    )  # fmt: skip


def _flops(config: ModelConfig, found: Probe, seconds: float) -> float:
    """What all GPUs together can spend on training that size."""
    rate = found.tokens_per_s * distributed.world_size()
    return 6 * scaling_law.size_of(config) * rate * max(1.0, seconds - found.compile_s)


def _why(lab: Lab, found: Probe, n: int, tokens: int, seconds: float, text_tokens) -> list[str]:
    """The reasons, in sentences."""
    gpus = f" on each of {distributed.world_size()} GPUs" if distributed.world_size() > 1 else ""
    why = [
        f"measured: {found.tokens_per_s:,.0f} tokens/s{gpus}, "
        f"{6e-12 * n * found.tokens_per_s:.2f} TFLOP/s, {found.rows} rows at once, "
        f"{found.peak_mb:,.0f} MB, {found.compile_s:.0f} s to compile",
        f"{seconds / 60:.1f} of the {lab.seconds('pretraining') / 60:.1f} min of pretraining are "
        f"for training; {tokens / n:.0f} tokens for each parameter",
    ]
    if tokens > text_tokens:
        readings = tokens / text_tokens
        why.append(f"the text of {text_tokens / 1e6:.1f} M tokens is read {readings:.0f} times")
    return why


def batch_for(tokens: float, seq_len: int, gpus: int) -> int:
    """Rows in a step: a power of two, so many that a run has about STEPS of them, a row at least
    for each GPU."""
    wanted = min(MOST, max(FEWEST, tokens / STEPS))
    return max(1 << math.ceil(math.log2(gpus)), 1 << round(math.log2(wanted / seq_len)))


# --- Measuring ------------------------------------------------------------------------------


def probe(lab: Lab, config: ModelConfig) -> Probe:
    """The best of ever more rows at once: until they do not fit or bring no more speed.  Where not
    even one row fits, activations are computed again instead of kept."""
    best, rows = None, 1
    while rows <= (256 if lab.device == "cuda" else 4):
        found = _try(lab, config, rows)
        if found is None or (best and found.tokens_per_s < 1.03 * best.tokens_per_s):
            break
        best, rows = found, 2 * rows
    return (
        best or _try(lab, config, 1, activation_checkpointing=True) or Probe(1, 1.0, 0.0, 0.0, True)
    )


def _try(
    lab: Lab, config: ModelConfig, rows: int, activation_checkpointing: bool = False
) -> Probe | None:
    """What some steps take; None where they do not fit into the GPU's memory."""
    try:
        found = _steps(lab, config, rows, activation_checkpointing)
    except torch.OutOfMemoryError:
        found = None
    gc.collect()  # the model is gone by now, and its memory goes back before the next one comes
    if lab.device == "cuda":
        torch.cuda.empty_cache()
        memory = torch.cuda.get_device_properties(0).total_memory
        return found if found and found.peak_mb * 1e6 < ROOM * memory else None
    return found


def _steps(lab: Lab, config: ModelConfig, rows: int, activation_checkpointing: bool) -> Probe:
    """A few whole steps on random ids."""
    model = lab.build(config)
    gpu.prepare_model(model, lab.profile.compile and lab.device == "cuda", activation_checkpointing)
    optimizer = gpu.FusedOptimizer(model.named_parameters())
    optimizer.dtype = lab.dtype
    ids = torch.randint(config.vocab_size, (rows, lab.profile.seq_len + 1), device=lab.device)

    def step() -> None:
        next_token_loss(model(ids[:, :-1]), ids[:, 1:]).backward()
        optimizer.step(1e-3)

    if lab.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    first, *rest = gpu.seconds_of(step, 5, lab.device)
    peak = torch.cuda.max_memory_allocated() if lab.device == "cuda" else 0
    each = min(rest)
    return Probe(
        rows, rows * lab.profile.seq_len / each, peak / 1e6, first - each, activation_checkpointing
    )
