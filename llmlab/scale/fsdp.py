"""One model split over several GPUs: parameters, gradients and optimiser, each process its part.

FSDP2 (`fully_shard`; Zhao et al. 2023) splits and gathers, DCP writes: safetensors files, a part of
each by every process, which any number of processes can read again.
https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
"""

import shutil
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from llmlab import artifacts
from llmlab.artifacts import LabError
from llmlab.core.model import Transformer
from llmlab.core.optim import orthogonalize
from llmlab.scale import distributed
from llmlab.scale.gpu import FusedOptimizer

KEPT = 2  # checkpoints of a run: the last, and the one before it


def shard_model(model: Transformer) -> None:
    """Split a model over all processes, block by block; it multiplies in its compute dtype."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(model.embed.weight.device.type, (distributed.world_size(),))
    # Gradients are added up in fp32: in bf16 small ones would be lost among many.
    policy = MixedPrecisionPolicy(param_dtype=model.compute_dtype, reduce_dtype=torch.float32)
    for part in (*model.blocks, model):
        fully_shard(part, mesh=mesh, mp_policy=policy)


class ShardedOptimizer(FusedOptimizer):
    """Muon and AdamW on parameters that are split over processes.

    Muon needs whole matrices: each process makes some of a shape's orthogonal, then all share.
    """

    def _orthogonal(self, matrices: list[Tensor]) -> list[Tensor]:
        whole = torch.stack([matrix.full_tensor() for matrix in matrices])  # (n, rows, cols)
        count = -(-len(whole) // distributed.world_size())  # for each process; the last may idle
        padded = whole.new_zeros(count * distributed.world_size(), *whole.shape[1:])
        padded[: len(whole)] = whole
        own = orthogonalize(padded.split(count)[distributed.rank()], dtype=self.dtype)
        parts = [torch.empty_like(own) for _ in range(distributed.world_size())]
        dist.all_gather(parts, own.contiguous())
        updates = torch.cat(parts)[: len(whole)]
        return [_like(update, p) for update, p in zip(updates, matrices, strict=True)]


def _like(whole: Tensor, part: Tensor) -> Tensor:
    """A tensor that every process has whole, split as `part` is."""
    from torch.distributed.tensor import DTensor, Replicate

    replicated = [Replicate()] * part.device_mesh.ndim
    return DTensor.from_local(whole, part.device_mesh, replicated).redistribute(
        placements=part.placements
    )


def full_tensor(tensor: Tensor) -> Tensor:
    """A tensor with all its parts, in every process."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


# --- Checkpoints ----------------------------------------------------------------------------


def save(folder: Path, step: int, tensors: dict[str, Tensor], meta: dict) -> None:
    """Write a checkpoint into `folder`, each process its parts; it counts once its meta is there,
    which comes last.  Older ones go, all but the last but one.  LabError on a full disk."""
    from torch.distributed.checkpoint import CheckpointException, HuggingFaceStorageWriter, save

    place = folder / f"step-{step:09d}"
    failed = ""
    if distributed.is_main_process():
        shutil.rmtree(place, ignore_errors=True)  # what a kill has left of the same step
        try:
            place.mkdir(parents=True)
        except OSError as error:
            failed = str(error)
    _together(failed, place)
    try:
        writer = HuggingFaceStorageWriter(path=str(place), save_distributed=True)
        save(tensors, storage_writer=writer)
    except (Exception, CheckpointException) as error:  # the latter is no Exception of Python's
        failed = " ".join(str(error).split())[-200:]
    _together(failed, place)
    if distributed.is_main_process():
        artifacts.write_json(place / "meta.json", meta)
        for old in _steps(folder)[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)
    dist.barrier()


def _together(failed: str, place: Path) -> None:
    """LabError in every process where any of them has failed."""
    if distributed.any_rank(bool(failed))[0]:
        raise LabError(
            f"The checkpoint {place} could not be written ({failed or 'by another process'}); the "
            "one before it was kept. Free some space, then run it again."
        )


def _steps(folder: Path) -> list[Path]:
    """The whole checkpoints of a run, oldest first."""
    return sorted(meta.parent for meta in folder.glob("step-*/meta.json"))


def latest(folder: Path) -> tuple[Path, dict] | None:
    """The last whole checkpoint of a run and its meta; None where there is none."""
    for place in reversed(_steps(folder)):
        try:
            return place, artifacts.read_json(place / "meta.json")
        except LabError:
            continue  # the one before it is whole
    return None


def load(place: Path, tensors: dict[str, Tensor]) -> None:
    """Fill tensors, however they are split now, from a checkpoint.  LabError where it is damaged
    or of another shape."""
    from torch.distributed.checkpoint import CheckpointException, HuggingFaceStorageReader, load

    failed = ""
    try:
        load(tensors, storage_reader=HuggingFaceStorageReader(path=str(place)))
    except (Exception, CheckpointException) as error:  # the latter is no Exception of Python's
        failed = " ".join(str(error).split())[-200:]
    if distributed.any_rank(bool(failed))[0]:
        raise LabError(
            f"The checkpoint {place} cannot be read ({failed}). Remove that folder: the run then "
            "goes on from the one before it."
        )
