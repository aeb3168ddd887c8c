"""Data parallel training: several processes train one model, as `torchrun` starts them.

A process that is alone may call everything here: it is the first, it has the whole of every list,
and nothing is sent.  https://docs.pytorch.org/docs/stable/distributed.html
"""

import contextlib
import os
import sys
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor

from llmlab.artifacts import LabError


def started() -> bool:
    """Whether torchrun has started this process, be it alone."""
    return {"RANK", "LOCAL_RANK", "WORLD_SIZE"} <= os.environ.keys()


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """While it lasts, this process works with those that torchrun started beside it, on a GPU of
    its own where there are GPUs.  All but the first are silent: they would say the same."""
    if not started():
        yield
        return
    if torch.cuda.is_available():
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise LabError(
                f"This machine has {torch.cuda.device_count()} GPUs, and {local + 1} processes or "
                "more were asked for. Nothing was done: lower --nproc-per-node."
            )
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        with contextlib.ExitStack() as quiet:
            if not is_main_process():
                nowhere = quiet.enter_context(open(os.devnull, "w", encoding="utf-8"))
                quiet.enter_context(contextlib.redirect_stdout(nowhere))
            yield
        dist.barrier()  # none leaves while another still writes
    finally:
        dist.destroy_process_group()


def is_initialized() -> bool:
    """Whether this process works with others, be it the only one of them."""
    return dist.is_initialized()


def world_size() -> int:
    """The world size: how many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main_process() -> bool:
    """Whether this is the process that speaks and writes."""
    return rank() == 0


def shard_for_rank(rows):
    """This process's part of a step's rows (a list or a tensor): every world_size()-th of them.
    LabError where there are fewer of them than processes."""
    if len(rows) < world_size():
        raise LabError(
            f"A step has {len(rows)} rows, too few for {world_size()} processes. What was saved "
            "before was kept: lower --nproc-per-node."
        )
    return rows[rank() :: world_size()]


def _device() -> str:
    return "cuda" if world_size() > 1 and dist.get_backend() == "nccl" else "cpu"


def _summed(numbers: list[float], op=dist.ReduceOp.SUM) -> list[float]:
    """Each number, added up over all processes."""
    if world_size() == 1:
        return numbers
    sent = torch.tensor(numbers, dtype=torch.float64, device=_device())
    dist.all_reduce(sent, op)
    return sent.tolist()


def token_weight(n: float) -> float:
    """What a mean over `n` items here is worth where the means of all processes are averaged: with
    it the average is the mean over all items.  1 for a process that is alone."""
    total = _summed([n])[0]
    return n * world_size() / total if world_size() > 1 and total else 1.0


def mean_over_ranks(record: dict) -> dict:
    """A step's figures, averaged over the processes."""
    if world_size() == 1:
        return record
    # A mean of whole numbers is a whole one here and none there: so both kinds count.
    numbers = {k: v for k, v in record.items() if isinstance(v, int | float)}
    sums = _summed(list(numbers.values()))
    return record | {k: v / world_size() for k, v in zip(numbers, sums, strict=True)}


def any_rank(*flags: bool) -> list[bool]:
    """Of each flag, whether it is set in any process."""
    return [n > 0 for n in _summed([float(f) for f in flags])]


def broadcast(number: float) -> float:
    """The number that the first process has."""
    return _summed([number if is_main_process() else 0.0])[0]


def average_gradients(parameters: list[Tensor]) -> None:
    """Give every process the mean of all gradients; one that is missing counts as zeros."""
    if world_size() == 1:
        return
    for p in parameters:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    flat = torch.cat([p.grad.flatten() for p in parameters])
    dist.all_reduce(flat)
    parts = (flat / world_size()).split([p.numel() for p in parameters])
    for p, part in zip(parameters, parts, strict=True):
        p.grad.copy_(part.view_as(p))


def print_once(text: str) -> None:
    """A line on standard error, once and not by every process."""
    if is_main_process():
        print(text, file=sys.stderr, flush=True)
