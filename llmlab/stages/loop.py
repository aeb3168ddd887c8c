"""The loop that every training stage shares: progress, interruption, checkpoints, resuming.

A stage gives a function of the step number that does one update and returns its figures.
Everything random in it must be drawn from the seed and the step, and everything it changes must
be in `Job`: then a run that was killed and resumed ends bit for bit like one that was not.
"""

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from llmlab import artifacts
from llmlab.artifacts import LabError
from llmlab.core.model import Transformer
from llmlab.core.optim import Optimizer
from llmlab.core.tokenizer import BPE
from llmlab.lab import Lab, pack_tokenizer

SAVE_EVERY = 30.0  # seconds
DROPOUT = 0.1  # the rate, where a run would else learn by heart


@dataclass
class Job:
    """A training run: what is updated, how long, where it is kept."""

    model: Transformer
    tokenizer: BPE
    optimizer: Optimizer
    path: Path | None = None  # None: nothing is written
    steps: int = 0
    step: int = 0  # updates done
    log: list[dict] = field(default_factory=list)
    extra: nn.Module | None = None  # a head beside the model
    meta: dict = field(default_factory=dict)
    cpu_seconds: float = 0.0

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything that must survive: weights, the head's weights, the optimiser's state."""
        out = model_tensors(self.model)
        if self.extra is not None:
            out |= {f"extra.{k}": v for k, v in self.extra.state_dict().items()}
        return out | {f"optimizer.{k}": v for k, v in self.optimizer.state.items()}

    def save(self) -> None:
        if self.path is None:
            return
        meta = {
            **self.meta, "config": asdict(self.model.config), "step": self.step,
            "steps": self.steps, "tokenizer": pack_tokenizer(self.tokenizer),
            "t": self.optimizer.t, "cpu_seconds": round(self.cpu_seconds, 1), "log": self.log,
        }  # fmt: skip
        artifacts.save_checkpoint(self.path, self.tensors(), meta)

    def resume(self) -> bool:
        """Take up a stored run of the same kind where it stopped; False when there is none.

        A run of other data, seed or shape is replaced, which is said.
        """
        if self.path is None or not self.path.exists():
            return False
        tensors, meta = artifacts.load_checkpoint(self.path)
        wanted = {**self.meta, "config": asdict(self.model.config)}
        if any(meta.get(k) != v for k, v in wanted.items()):
            print(f"{self.path} is of another run (data, seed or shape); this one takes its place.")
            return False
        if meta["step"] >= meta["steps"]:
            return False
        self.model.load_state_dict(_named(tensors, "model."), strict=False)
        if self.extra is not None:
            self.extra.load_state_dict(_named(tensors, "extra."))
        device = self.model.embed.weight.device
        self.optimizer.state = {k: v.to(device) for k, v in _named(tensors, "optimizer.").items()}
        self.optimizer.t, self.step, self.steps = meta["t"], meta["step"], meta["steps"]
        self.cpu_seconds, self.log = meta["cpu_seconds"], meta["log"]
        return True


def _named(tensors: dict, prefix: str) -> dict:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def model_tensors(model: Transformer) -> dict[str, torch.Tensor]:
    """The weights under the names of a checkpoint; a tied head is kept once."""
    tied = model.config.tie_embeddings
    weights = model.state_dict().items()
    return {f"model.{k}": v for k, v in weights if not (tied and k == "head.weight")}


def calibrate(lab: Lab, stage: str, one_step: Callable[[int], dict], job: Job) -> int:
    """How many steps fit the stage's budget: a few are timed, then everything is put back."""
    limit = lab.steps or lab.profile.max_steps
    if limit:
        return limit
    before = {k: v.clone() for k, v in job.tensors().items()}
    state, t = {k: v.clone() for k, v in job.optimizer.state.items()}, job.optimizer.t
    times = []
    for step in range(7):
        start = time.perf_counter()
        one_step(step)
        times.append(time.perf_counter() - start)
    job.model.load_state_dict(_named(before, "model."), strict=False)
    if job.extra is not None:
        job.extra.load_state_dict(_named(before, "extra."))
    job.optimizer.state, job.optimizer.t = state, t
    spare = lab.seconds(stage) - sum(times)
    return max(10, int(0.95 * spare / sorted(times[2:])[2]))


def run(
    job: Job,
    one_step: Callable[[int], dict],
    on_step: Callable[[dict], None] | None = None,
    name: str = "training",
    on_save: Callable[[Job], None] | None = None,
    save_every: float = SAVE_EVERY,
    dropout_rate: float = 0.0,
) -> bool:
    """Do the steps that are left; True when the run is whole, False when it was interrupted.

    An interrupt (the notebook's stop button, Ctrl-C) ends the loop cleanly after saving; the same
    call goes on from there.  A loss that is not finite raises LabError and keeps the last save.
    """
    bar = tqdm(total=job.steps, initial=job.step, desc=name, unit="step", file=sys.stderr,
               mininterval=0.5, leave=False, dynamic_ncols=True)  # fmt: skip
    saved = time.monotonic()
    with Stopper() as stopper, dropout(job.model, dropout_rate):
        while job.step < job.steps and not stopper.pressed:
            cpu = time.process_time()
            if dropout_rate:
                torch.manual_seed(job.meta["seed"] * 1_000_003 + job.step)  # also when resumed
            record = {"step": job.step + 1, **one_step(job.step)}
            job.cpu_seconds += time.process_time() - cpu
            if not math.isfinite(record["loss"]):
                raise LabError(
                    f"The loss was {record['loss']} at step {job.step + 1} of {job.steps}; the "
                    "last good checkpoint was kept. Try a smaller learning rate."
                )
            job.step += 1
            job.log.append(record)
            bar.update()
            bar.set_postfix_str(f"loss {record['loss']:.3f}", refresh=False)
            for call in filter(None, (on_step, on_save)):
                call(record if call is on_step else job)
            if time.monotonic() - saved > save_every:
                job.save()
                saved = time.monotonic()
    bar.close()
    job.save()
    if job.step < job.steps:
        print(f"Stopped after step {job.step} of {job.steps}; run it again to go on from there.")
    return job.step == job.steps


@contextmanager
def dropout(model: Transformer, rate: float) -> Iterator[None]:
    """While it lasts, a share `rate` of what each part adds to the residual stream is zero, so
    that nothing can be learned by heart from one path alone.  Srivastava et al. 2014."""

    def drop(part, arguments, out):
        return F.dropout(out, rate)

    parts = [part for block in model.blocks for part in (block.attn, block.mlp)]
    hooks = [part.register_forward_hook(drop) for part in parts if rate]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class Stopper:
    """Turns the first interrupt (Ctrl-C, the notebook's stop button) into a flag, so that a step
    is never cut in half; the second one interrupts as usual."""

    def __enter__(self) -> "Stopper":
        self.pressed = False
        self.in_main = threading.current_thread() is threading.main_thread()
        if self.in_main:
            self.previous = signal.signal(signal.SIGINT, self._press)
        return self

    def _press(self, *_) -> None:
        self.pressed = True
        signal.signal(signal.SIGINT, self.previous)

    def __exit__(self, *_) -> None:
        if self.in_main:
            signal.signal(signal.SIGINT, self.previous)
