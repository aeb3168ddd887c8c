"""A pretraining run of which every process holds a part: `loop.TrainState`, kept as `scale.fsdp`
does.

Its checkpoints are folders beside the place of the finished model, and any number of processes can
go on from them.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from llmlab import checkpoint
from llmlab.scale import distributed, fsdp
from llmlab.training import loop


@dataclass
class ShardedTrainState(loop.TrainState):
    """A run whose model is split over the processes."""

    @property
    def folder(self) -> Path:
        """Where its checkpoints lie while it goes on."""
        return self.path.with_name(f"{self.path.stem}-parts")

    def gather_gradients(self) -> None:
        """FSDP has averaged them already, while it split them."""

    def save(self) -> None:
        """Write this process's parts; of a finished run, also the whole model in one file."""
        fsdp.save(self.folder, self.step, self.check_finite(self.tensors()), self.metadata())
        self.saved = self.step
        if self.step == self.steps:
            weights = checkpoint.model_tensors(self.model).items()
            whole = {name: fsdp.full_tensor(tensor) for name, tensor in weights}
            if distributed.is_main_process():
                checkpoint.save_checkpoint(self.path, whole, self.metadata())

    def check_finite(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """As in `TrainState`, asked of the parts in every process."""
        bad = not all(tensor.to_local().isfinite().all() for tensor in tensors.values())
        if distributed.any_rank(bad)[0]:
            raise self.failure(f"After step {self.step} of {self.steps} not all weights are finite")
        return tensors

    def resume(self) -> bool:
        """Take up the last whole checkpoint of the same run; False when there is none."""
        found = fsdp.latest(self.folder)
        if found is None:
            return False
        place, meta = found
        same = json.loads(json.dumps(self._kind()))  # as it was stored
        if any(meta.get(key) != value for key, value in same.items()):
            print(f"{self.folder} is of another run (its data, seed or shape); this one is new.")
            return False
        if meta["step"] >= meta["steps"]:
            return False
        for p, names in loop.state_names(self.optimizer):  # room for what is loaded
            self.optimizer.state[p] = {part: torch.zeros_like(p) for part in names}
        tensors = self.tensors()
        fsdp.load(place, tensors)
        self.model.load_state_dict(loop.named(tensors, "model."), strict=False)
        loop.load_state(self.optimizer, loop.named(tensors, "optimizer."), meta["t"])
        self.load_metadata(meta)
        return True
