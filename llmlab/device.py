"""The machine: its device, its number format (dtype), its threads and memory."""

import contextlib
import ctypes
import math
import os
import sys
import time
from functools import cache
from pathlib import Path

import torch

from llmlab.artifacts import LabError

NUMBER_FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device() -> tuple[str, torch.dtype]:
    """Device and number format (dtype): LLMLAB_DTYPE where it is set, else what suits the device.

    That is bf16 where the hardware multiplies in it, fp16 on older GPUs, else fp32.
    `torch.cuda.is_bf16_supported` also says yes to emulation, so the capability decides.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if named := os.environ.get("LLMLAB_DTYPE"):
        if named not in NUMBER_FORMATS:
            raise LabError(
                f"LLMLAB_DTYPE is {named!r}, which is no number format; nothing was done. "
                f"Set it to {', '.join(NUMBER_FORMATS)}, or unset it."
            )
        return device, NUMBER_FORMATS[named]
    if device == "cuda":
        native = torch.cuda.get_device_capability() >= (8, 0)
        return device, torch.bfloat16 if native else torch.float16
    return device, torch.bfloat16 if _cpu_bf16_pays() else torch.float32


def format_name(dtype: torch.dtype) -> str:
    """fp32, bf16 or fp16."""
    return next(name for name, known in NUMBER_FORMATS.items() if known == dtype)


@cache
def _cpu_bf16_pays(size: int = 512, rounds: int = 8) -> bool:
    """Whether this CPU multiplies bf16 matrices faster than fp32 ones: measured, 20 ms where it
    does, half a second where it has to compute them in fp32.  Once a process: on a busy machine a
    second look might find otherwise, in the middle of a comparison."""
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


def cpu_name() -> str:
    """The processor's name and how many the machine has."""
    info = Path("/proc/cpuinfo")  # Linux has it
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line for line in lines if "model name" in line]
    return f"{names[0].split(':')[1].strip() if names else 'CPU'} x {os.cpu_count()}"
