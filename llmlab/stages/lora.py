"""LoRA by hand: leave every matrix as it is, and learn a thin correction beside it.

A matrix W (out, in) becomes W + scale * up @ down, with down (rank, in) and up (out, rank): a few
numbers in place of out * in.  Afterwards the correction is added to W, and the model is an
ordinary one again.  Hu et al. 2022, "LoRA", equation 3 (A is `down` there, B is `up`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmlab.core.model import Linear, Transformer


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
