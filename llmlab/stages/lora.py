"""LoRA by hand: leave every matrix as it is, and learn a thin correction beside it.

A matrix W (out, in) becomes W + scale * up @ down, with down (rank, in) and up (out, rank): a few
numbers in place of out * in.  Afterwards the correction is added to W, and the model is an
ordinary one again.  Hu et al. 2022, "LoRA", equation 3 (A is `down` there, B is `up`).
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmlab.artifacts import LabError
from llmlab.core.model import Linear, Transformer
from llmlab.hub.peft_adapter import read_adapter, write_adapter


class LoRALinear(nn.Module):
    """A frozen matrix and its correction: (..., in) -> (..., out).

    up starts at zero, so that at first nothing is changed.
    """

    def __init__(self, frozen: Linear, rank: int, scale: float):
        super().__init__()
        out_features, in_features = frozen.weight.shape
        self.register_buffer("weight", frozen.weight.detach())  # no parameter: it is not learned
        like = {"device": frozen.weight.device}
        self.down = nn.Parameter(torch.randn(rank, in_features, **like) / in_features**0.5)
        self.up = nn.Parameter(torch.zeros(out_features, rank, **like))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        thin = F.linear(x, self.down.to(x.dtype))  # (..., rank)
        correction = F.linear(thin, self.up.to(x.dtype))  # (..., out)
        return F.linear(x, self.weight.to(x.dtype)) + self.scale * correction

    def merged(self) -> Linear:
        """One plain matrix that does the same."""
        out_features, in_features = self.weight.shape
        plain = Linear(in_features, out_features, bias=False, device=self.weight.device)
        plain.weight.data = (self.weight + self.scale * self.up @ self.down).detach()
        return plain


def add_lora(model: Transformer, rank: int, scale: float = 1.0) -> Transformer:
    """The model itself, everything frozen, with a correction at each matrix of its blocks."""
    model.requires_grad_(False)
    _replace(model, Linear, lambda matrix: LoRALinear(matrix, rank, scale))
    return model


def merge_lora(model: Transformer) -> Transformer:
    """The model itself, the corrections added to their matrices; all of it can be learned again."""
    _replace(model, LoRALinear, LoRALinear.merged)
    return model.requires_grad_(True)


def _replace(model: Transformer, kind: type, new) -> None:
    """Put new(part) in the place of each part of that kind in the model's blocks."""
    for block in model.blocks:
        for parent in (block.attn, block.mlp):
            for name, part in list(parent.named_children()):
                if isinstance(part, kind):
                    setattr(parent, name, new(part))


def trainable(model: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


# --- To hand on -----------------------------------------------------------------------------


def save_adapter(model: Transformer, path: str | Path, base: str | Path | None = None) -> None:
    """Write a model's corrections alone, in the format of `peft`, for the exported model.

    base: where that model is, for `peft` to find it.  LabError where the model has no corrections,
    or the folder cannot be written.
    """
    parts = {name: part for name, part in model.named_modules() if isinstance(part, LoRALinear)}
    if not parts:
        raise LabError("This model has no LoRA corrections, so nothing was written. See add_lora.")
    write_adapter(path, {name: (p.down, p.up, p.scale) for name, p in parts.items()}, base)


def load_adapter(model: Transformer, path: str | Path) -> Transformer:
    """The model itself, everything frozen, with the corrections of an adapter of `peft`.

    LabError where the adapter is none, or was made for a model of another shape; the model is
    then as it was.
    """
    pairs = read_adapter(path)
    matrices = {name: part for name, part in model.named_modules() if isinstance(part, Linear)}
    for name, (down, up, _) in pairs.items():
        shape = tuple(matrices[name].weight.shape) if name in matrices else None
        if not name.startswith("blocks.") or shape != (len(up), down.shape[1]):
            raise LabError(
                f"The adapter in {path} corrects {name} with a matrix of {len(up)} x "
                f"{down.shape[1]}, which this model does not have. Load it onto the model that it "
                "was made for."
            )
    model.requires_grad_(False)
    for name, (down, up, scale) in pairs.items():
        part = LoRALinear(matrices[name], len(down), scale)
        part.down.data.copy_(down)
        part.up.data.copy_(up)
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, part)
    return model
