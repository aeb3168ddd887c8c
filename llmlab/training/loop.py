"""The loop that every training stage shares: progress, interruption, checkpoints, resuming.

A stage gives a function of the step number that does one update and returns its figures.
Everything random in it must be drawn from the seed and the step, and everything it changes must
be in `TrainState`: then a run that was killed and resumed ends bit for bit like one that was not.
"""

import contextlib
import math
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from llmlab import artifacts, checkpoint
from llmlab.artifacts import LabError
from llmlab.checkpoint import model_tensors, named, pack_tokenizer
from llmlab.core.model import Transformer
from llmlab.core.optim import Optimizer
from llmlab.core.tokenizer import BPE
from llmlab.lab import Lab
from llmlab.scale import distributed

SAVE_EVERY = 30.0  # seconds
FEW = 40  # steps that hardly show what a loop does
BUSY = 0.6  # the share of its own time that a thread at work gets, where others want it too
DROPOUT = 0.1  # the rate, where a run would else learn by heart


@dataclass
class TrainState:
    """A training run: what is updated, how long, where it is kept."""

    model: Transformer
    tokenizer: BPE
    optimizer: Optimizer
    path: Path | None = None  # None: nothing is written
    steps: int = 0
    step: int = 0  # updates done
    log: list[dict] = field(default_factory=list)
    head: nn.Module | None = None  # a head beside the model
    meta: dict = field(default_factory=dict)
    cpu_seconds: float = 0.0
    seconds: float = 0.0  # by the clock
    saved: int | None = None  # updates done when it was last saved
    scaler: torch.amp.GradScaler | None = None  # see `scaling`

    def __post_init__(self) -> None:
        self.optimizer.dtype = self.model.compute_dtype
        self.found = _stamp(self.path)  # what lay there when this run began

    @property
    def horizon(self) -> int:
        """Steps that the learning rate schedule spans: without an end while they are counted."""
        return self.steps or 10**9

    def scaling(self) -> torch.amp.GradScaler:
        """Multiplies a loss before its gradients are taken, where these would vanish in fp16, and
        divides them after; a step that overflows is left out.  Micikevicius et al. 2018.

        In bf16 and fp32 it does nothing.
        """
        if self.scaler is None:
            device, fp16 = self.model.embed.weight.device.type, torch.float16
            self.scaler = torch.amp.GradScaler(device, enabled=self.model.compute_dtype == fp16)
        return self.scaler

    def backward(self, loss: torch.Tensor, weight: float = 1.0) -> None:
        """Add a loss's gradients.  weight: see `distributed.token_weight`, where several train."""
        self.scaling().scale(loss * weight).backward()

    def update(self, factor: float) -> float:
        """One step of the optimiser, at this factor on its rates, from the gradients of all
        processes; returns their norm, 0 where the step was left out."""
        self.gather_gradients()
        norm = self.scaling().step(self.optimizer, factor)
        self.scaling().update()
        for p in self.optimizer.named.values():
            p.grad = None  # also after a step that was left out
        return norm or 0.0

    def gather_gradients(self) -> None:
        """Average the gradients over the processes, each of which has the whole model."""
        distributed.average_gradients(list(self.optimizer.named.values()))

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything that must survive: weights, the head's weights, the optimiser's state."""
        out = model_tensors(self.model)
        if self.head is not None:
            out |= {f"extra.{k}": v for k, v in self.head.state_dict().items()}
        state = self.optimizer.state
        return out | {
            f"optimizer.{name}": state[p][part]
            for p, names in state_names(self.optimizer)
            for part, name in names.items()
            if part in state.get(p, {})
        }

    def save(self) -> None:
        """Write the run to its path.  LabError where not all weights are finite, or where another
        run has been saved there meanwhile."""
        if self.path is None:
            return
        if distributed.is_main_process():
            self._check_alone()
            checkpoint.save_checkpoint(
                self.path, self.check_finite(self.tensors()), self.metadata()
            )
        self.saved = self.step

    def metadata(self) -> dict:
        """The meta of a checkpoint: all but its tensors that a run goes on from."""
        meta = {
            **self.meta, "config": asdict(self.model.config), "step": self.step,
            "steps": self.steps, "tokenizer": pack_tokenizer(self.tokenizer),
            "dtype": str(self.model.compute_dtype).removeprefix("torch."),  # else it may change
            "t": updates(self.optimizer), "cpu_seconds": round(self.cpu_seconds, 1),
            "seconds": round(self.seconds, 1), "log": self.log,
        }  # fmt: skip
        scale = self.scaler.state_dict() if self.scaler else {}
        return meta | ({"loss_scale": scale} if scale else {})

    def check_finite(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The tensors, if all their numbers are finite; LabError where not."""
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            raise self.failure(f"After step {self.step} of {self.steps} not all weights are finite")
        return tensors

    def _check_alone(self) -> None:
        """LabError where another notebook or command has saved a run of its own in this place."""
        if self.saved is None and _stamp(self.path) == self.found:
            return  # what lies there is older, and `resume` has said that it is replaced
        try:
            there = checkpoint.read_meta(self.path)
        except LabError:
            return  # it was removed or damaged: this save makes it whole
        other = any(there.get(key, value) != value for key, value in self._kind().items())
        if other or there["step"] > max(self.step, self.saved or 0):
            raise LabError(
                f"{self.path} now holds another run, which was begun elsewhere while this one went "
                f"on; it was left as it is, and this one ended after step {self.step} of "
                f"{self.steps}. Let one end before the other, or give it a folder of its own."
            )

    def _kind(self) -> dict:
        """What two runs have in common of which one can go on where the other stopped."""
        return {**self.meta, "config": asdict(self.model.config)}

    def failure(self, what: str) -> LabError:
        """Why a run must not go on: what happened at which step, what was kept, what to try."""
        advice = "Nothing of this run was saved yet. Begin again with a smaller learning rate."
        if self.saved is not None:
            advice = (
                f"The checkpoint of step {self.saved} was kept, {self.path}. Go on from there with "
                "a smaller learning rate, or remove it and begin again."
            )
        return LabError(f"{what}. {advice}")

    def resume(self) -> bool:
        """Take up a stored run of the same kind where it stopped; False when there is none.

        A run of other data, seed, shape or starting weights is replaced, which is said.  LabError
        where another process trains there.
        """
        if self.path is None:
            return False
        if distributed.is_main_process():
            check_free(self.path)
        if not os.path.exists(self.path):
            return False
        tensors, meta = checkpoint.load_checkpoint(self.path)
        if any(meta.get(key) != value for key, value in self._kind().items()):
            print(f"{self.path} is of another run (its data, seed, shape or start); this one takes "
                  "its place.")  # fmt: skip
            return False
        if meta["step"] >= meta["steps"]:
            return False
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        if any(shapes.get(name) != tensor.shape for name, tensor in self.tensors().items()):
            raise LabError(
                f"{self.path} is whole, but its weights do not fit the model that it names, so it "
                "cannot go on. It was left as it is: remove it to begin again."
            )
        self.model.load_state_dict(named(tensors, "model."), strict=False)
        if self.head is not None:
            self.head.load_state_dict(named(tensors, "extra."))
        if "dtype" in meta:
            self.model.compute_dtype = self.optimizer.dtype = getattr(torch, meta["dtype"])
        load_state(self.optimizer, named(tensors, "optimizer."), meta["t"])
        self.load_metadata(meta)
        return True

    def load_metadata(self, meta: dict) -> None:
        """Go on from the numbers of a checkpoint's meta."""
        self.step, self.steps = meta["step"], meta["steps"]
        self.cpu_seconds, self.log, self.saved = meta["cpu_seconds"], meta["log"], meta["step"]
        self.seconds = meta.get("seconds", 0.0)
        if scale := meta.get("loss_scale"):
            self.scaling().load_state_dict(scale)


def _stamp(path: Path | None) -> tuple[int, int] | None:
    """When a file was written and how large it is; None where there is none."""
    with contextlib.suppress(OSError, TypeError):
        state = os.stat(path)
        return state.st_mtime_ns, state.st_size
    return None


def alone(path: Path) -> AbstractContextManager[None]:
    """While it lasts, no other process trains what is kept there.  LabError where one does."""
    return artifacts.locked(
        path,
        f"Another notebook or command trains {path} just now; nothing was changed. "
        "Let it end first, or give this run a folder of its own.",
    )


def check_free(path: Path) -> None:
    """LabError where another process trains what is kept there: asked before any work is done."""
    if path.parent.is_dir():
        with alone(path):
            pass


def state_names(optimizer: Optimizer) -> Iterator[tuple[torch.Tensor, dict[str, str]]]:
    """Each parameter, with the names in a checkpoint of what the optimiser keeps for it: AdamW's
    by the parameter's name, Muon's by its shape and number."""
    muon, numbers = set(optimizer.param_groups[0]["params"]), Counter()
    for name, p in optimizer.named.items():
        if p in muon:
            shape = "x".join(map(str, p.shape))
            yield p, {"momentum": f"muon.{shape}.{numbers[shape]}"}
            numbers[shape] += 1
        else:
            yield p, {"m": f"{name}.m", "v": f"{name}.v"}


def load_state(optimizer: Optimizer, tensors: dict[str, torch.Tensor], t: int) -> None:
    """Put an optimiser where a checkpoint's tensors have left it, after `t` updates."""
    for stack in [name for name in tensors if name.startswith("muon.") and name.count(".") == 1]:
        # Checkpoints of before keep the momenta of a shape as one.
        tensors = tensors | {f"{stack}.{i}": part for i, part in enumerate(tensors[stack])}
    optimizer.state.clear()
    for p, names in state_names(optimizer):
        if kept := {part: name for part, name in names.items() if name in tensors}:
            optimizer.state[p] = {k: tensors[name].to(p.device) for k, name in kept.items()}
    for group in optimizer.param_groups:
        group["step"] = t


def updates(optimizer: Optimizer) -> int:
    """How many updates an optimiser has done."""
    return optimizer.param_groups[0]["step"]


def steps_for_budget(lab: Lab, stage: str, one_step: Callable[[int], dict], job: TrainState) -> int:
    """How many steps fit the stage's budget: a few are timed, then everything is put back.

    Where they are few, or other programs took most of the time, this is said.
    """
    planned = lab.profile.pretraining_steps if stage == "pretraining" else None
    limit = lab.steps or lab.profile.max_steps or planned
    if limit:
        return limit
    before = {k: v.clone() for k, v in job.tensors().items()}
    t = updates(job.optimizer)
    budget, times, own = lab.seconds(stage), [], time.thread_time()
    try:
        for step in range(7):
            start = time.perf_counter()
            one_step(step)
            times.append(time.perf_counter() - start)
            if distributed.any_rank(step > 1 and sum(times) > budget / 10)[0]:
                break  # a slow machine: its budget is for training
    finally:  # also where it is interrupted: the same call then begins from the same weights
        job.model.load_state_dict(named(before, "model."), strict=False)
        if job.head is not None:
            job.head.load_state_dict(named(before, "extra."))
        load_state(job.optimizer, named(before, "optimizer."), t)
    share = (time.thread_time() - own) / sum(times) if lab.device == "cpu" else 1.0
    steps = max(10, int(0.95 * (budget - sum(times)) / median(times[2:])))
    steps = int(distributed.broadcast(steps))
    if steps < FEW or share < BUSY:
        busy = f", for other programs take {1 - share:.0%} of its time" if share < BUSY else ""
        print(
            f"{stage}: {steps} steps fit into {budget:.0f} s on this machine{busy}. They may "
            "show less than the text says; more time helps: llmlab.setup(minutes=5)."
        )
    return steps


def run(
    job: TrainState,
    one_step: Callable[[int], dict],
    on_step: Callable[[dict], None] | None = None,
    name: str = "training",
    on_save: Callable[[TrainState], None] | None = None,
    save_every: float = SAVE_EVERY,
    dropout_rate: float = 0.0,
) -> bool:
    """Do the steps that are left; True when the run is whole, False when it was interrupted.

    An interrupt (the notebook's stop button, Ctrl-C) ends the loop cleanly after saving; the same
    call goes on from there.  A loss that is not finite, or above the first one by more than a
    blind guess costs (ln V), raises LabError and keeps the last save.
    """
    keeps = job.path is not None and distributed.is_main_process()
    if keeps:
        artifacts.check_place(job.path)
    for module in filter(None, (job.model, job.head)):
        module.zero_grad()  # a step that a second interrupt cut in half may have left some
    bar = ProgressBar(total=job.steps, initial=job.step, desc=name, unit="step", file=sys.stderr,
                      mininterval=0.5, leave=False, dynamic_ncols=True,
                      disable=not distributed.is_main_process())  # fmt: skip
    blind, written = math.log(job.model.config.vocab_size), time.monotonic()
    mine = alone(job.path) if keeps else nullcontext()
    with mine, GracefulInterrupt() as stopper, dropout(job.model, dropout_rate), bar:
        stop = stopper.pressed
        while job.step < job.steps and not stop:
            cpu, clock = time.process_time(), time.monotonic()
            if dropout_rate:
                torch.manual_seed(job.meta["seed"] * 1_000_003 + job.step)  # also when resumed
            record = {"step": job.step + 1, **distributed.mean_over_ranks(one_step(job.step))}
            job.cpu_seconds += time.process_time() - cpu
            job.seconds += time.monotonic() - clock
            loss, first = record["loss"], (job.log or [record])[0]["loss"]
            if not -math.inf < loss <= first + blind:  # true of nan as well
                where = f"at step {job.step + 1} of {job.steps}, {first:.3g} at the first"
                raise job.failure(f"The loss was {loss:.3g} {where}")
            job.step += 1
            job.log.append(record)
            bar.update()
            bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
            for call in filter(None, (on_step, on_save)):
                call(record if call is on_step else job)
            late = time.monotonic() - written > save_every
            stop, save = distributed.any_rank(stopper.pressed, late)  # all together, or none
            if save:
                job.save()
                written = time.monotonic()
        job.save()
    if job.step < job.steps:
        print(f"Stopped after step {job.step} of {job.steps}; run it again to go on from there.")
    return job.step == job.steps


def require_finished(job: TrainState) -> TrainState:
    """A run that came to its end.  Raises KeyboardInterrupt where it was stopped before: of half a
    run there is nothing to measure, and nothing to build on."""
    if job.step < job.steps:
        raise KeyboardInterrupt
    return job


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


class ProgressBar(tqdm):
    """A progress bar by the clock that never goes back: by the wall clock's, which may be set, it
    would stand still for as long as that went back."""

    _time = property(lambda self: time.monotonic, lambda self, clock: None)


class GracefulInterrupt:
    """Turns the first interrupt (Ctrl-C, the notebook's stop button) into a flag, so that a step
    is never cut in half; the second one interrupts as usual."""

    def __enter__(self) -> "GracefulInterrupt":
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
