"""A step on a GPU: compiled blocks, fused attention and AdamW, text made ahead.

All of it computes what `core` computes, and runs on a CPU as well, where its tests hold it to that.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import MethodType

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.utils.checkpoint import checkpoint

from llmlab.artifacts import LabError
from llmlab.core.model import KVCache, Transformer
from llmlab.core.optim import Optimizer
from llmlab.scale import distributed


def prepare_model(
    model: Transformer, compiled: bool = False, activation_checkpointing: bool = False
) -> None:
    """Fused attention, compiled blocks, activation checkpointing: a model ready for long training.

    compiled: blocks are alike, so one of them is compiled for all.  activation_checkpointing: the
    backward pass computes the activations again instead of keeping them, which takes a part of a
    step's memory and a third more arithmetic.  Chen et al. 2016.
    """
    if model.embed.weight.is_cuda:
        torch.set_float32_matmul_precision("high")  # TF32 for what is left in fp32
    model.hidden = MethodType(causal_hidden, model)
    for block in model.blocks:
        if activation_checkpointing:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        if compiled:
            block.compile()


def restore_model(model: Transformer) -> None:
    """Undo `prepare_model`: for looking inside, masks and parts are wanted again."""
    model.__dict__.pop("hidden", None)
    for block in model.blocks:
        block.__dict__.pop("forward", None)
        block._compiled_call_impl = None


@contextlib.contextmanager
def prepared_model(
    model: Transformer, device: str, compiled: bool, activation_checkpointing: bool
) -> Iterator[None]:
    """While it lasts, the model is as `prepare_model` makes it: on a GPU; where it would be
    compiled there, so that a CPU's tests take the same way; and in fp32, in which a CPU is faster
    so."""
    if device == "cuda" or compiled or model.compute_dtype == torch.float32:
        prepare_model(model, compiled and device == "cuda", activation_checkpointing)
    try:
        yield
    finally:
        restore_model(model)


def causal_hidden(model: Transformer, ids: Tensor, cache: KVCache | None = None, mask=None):
    """`Transformer.hidden`: (B, T) -> (B, T, dim), with the fused causal kernel where no mask and
    no cache is given (Dao et al. 2022)."""
    if cache is not None or mask is not None or ids.shape[1] > model.config.max_seq_len:
        return Transformer.hidden(model, ids, cache, mask)
    x = model.embed(ids).to(model.compute_dtype)  # (B, T, dim)
    rope = model.rope[:, : ids.shape[1]].to(x.dtype)
    for block in model.blocks:
        x = block(x, rope, None, None)
    return model.norm(x)


class FusedOptimizer(Optimizer):
    """The same updates, all of AdamW's in one kernel; state under the same names."""

    def _adamw(self, params: list[Tensor], group: dict, lr: float) -> None:
        matrices, vectors = ([p for p in params if (p.ndim > 1) == many] for many in (True, False))
        self._fused(matrices, group, lr, group["weight_decay"])
        self._fused(vectors, group, lr, 0.0)  # norms and biases do not decay

    def _fused(self, params: list[Tensor], group: dict, lr: float, decay: float) -> None:
        if not params:
            return
        averages = [[self._buffer(p, name) for p in params] for name in "mv"]
        steps = torch.full((len(params),), group["step"] - 1.0, device=params[0].device).unbind()
        adamw(
            params, [p.grad for p in params], *averages, [], list(steps),
            fused=True, amsgrad=False, beta1=group["betas"][0], beta2=group["betas"][1], lr=lr,
            weight_decay=decay, eps=1e-8, maximize=False,
        )  # fmt: skip


class Prefetcher:
    """Prefetches rows: the next batch is made, in pinned memory, while a GPU does this one.

    rows: anything with `batch(step, batch, seq_len)`; this process gets its part of it.
    """

    def __init__(self, rows, device: str):
        self.rows, self.device = rows, device
        self.pool = ThreadPoolExecutor(1, "text") if device == "cuda" else None
        self.next: tuple[tuple, Future] | None = None

    def batch(self, step: int, batch: int, seq_len: int) -> Tensor:
        """(rows, seq_len + 1) ids of a step, on the device."""
        if self.pool is None:
            return self._make(step, batch, seq_len).to(self.device)
        key = (step, batch, seq_len)
        if self.next is None or self.next[0] != key:
            self.next = key, self.pool.submit(self._make, *key)
        ids = self.next[1].result()
        following = (step + 1, batch, seq_len)
        self.next = following, self.pool.submit(self._make, *following)
        return ids.to(self.device, non_blocking=True)

    def _make(self, step: int, batch: int, seq_len: int) -> Tensor:
        ids = distributed.shard_for_rank(self.rows.batch(step, batch, seq_len))
        return ids.pin_memory() if self.pool else ids


class GradientAccumulation:
    """Gradient accumulation: a step's gradients are taken in micro-batches that fit the memory.

    rows: how many at once; halved, which is said, where they do not fit after all.
    """

    def __init__(self, rows: int):
        self.rows = rows

    def backward(
        self,
        ids: Tensor,
        part_loss: Callable[[Tensor, float], float],
        forget: Callable[[], object],
    ) -> float:
        """The mean loss of all rows.

        part_loss(rows, share): takes the gradients of a part's mean loss times its share of the
        rows, and returns that loss.  forget(): drops what gradients there are.  LabError where one
        row is too many; with several GPUs already where a part is, as all must go in step.
        """
        while True:
            try:
                parts = ids.split(self.rows)
                shares = [len(part) / len(ids) for part in parts]
                return sum(part_loss(p, s) * s for p, s in zip(parts, shares, strict=True))
            except torch.OutOfMemoryError:
                pass  # what follows frees memory, which the exception still holds in its frames
            forget()
            if self.rows == 1 or distributed.world_size() > 1:
                raise LabError(
                    f"A step with {self.rows} rows at once does not fit into this GPU's memory. "
                    "What was saved was kept: ask for fewer minutes, or a shorter context."
                )
            self.rows = math.ceil(min(self.rows, len(ids)) / 2)
            distributed.print_once(
                f"Out of memory: {self.rows} rows at once from here on; nothing is lost."
            )
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def seconds_of(act: Callable[[], object], times: int, device: str) -> list[float]:
    """Seconds that each of some calls takes, a GPU's own work included."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        act()
        if device == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return taken
