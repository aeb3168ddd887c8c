"""Copies of a model: cast for sampling, frozen as a reference model, cut to its lower layers."""

import copy
from dataclasses import replace

import torch

from llmlab.core.model import ModelConfig, Transformer


@torch.no_grad()
def to_compute_dtype(model: Transformer, earlier: Transformer | None = None) -> Transformer:
    """A model to sample with: a copy with its weights in the dtype that it computes in, so that
    they are not cast anew for every token; the model itself where they are in it already.

    earlier: a copy that was made before, which is brought up to date instead of made anew.
    """
    if model.embed.weight.dtype == model.compute_dtype:
        return model
    if earlier is None:
        return copy.deepcopy(model).to(model.compute_dtype)
    for old, new in zip(earlier.parameters(), model.parameters(), strict=True):
        old.copy_(new)
    return earlier


def truncated_config(config: ModelConfig) -> ModelConfig:
    """The shape of a model's lower half: half the layers."""
    return replace(config, n_layers=max(1, config.n_layers // 2))


def truncate_layers(model: Transformer) -> Transformer:
    """A copy of a model's lower layers.  The upper ones are busy with the next token: to a head
    that learns from comparisons they are more in the way than of use."""
    half = Transformer(truncated_config(model.config)).to(model.embed.weight.device)
    half.load_state_dict(model.state_dict(), strict=False)
    half.compute_dtype = model.compute_dtype
    return half


def reference_copy(model: Transformer) -> Transformer:
    """The reference model of DPO, GRPO and PPO: a copy that stays as it is."""
    copy = type(model)(model.config).to(model.embed.weight.device)
    copy.load_state_dict(model.state_dict())
    copy.compute_dtype = model.compute_dtype
    return copy.requires_grad_(False)


def trainable_copy(model: Transformer) -> Transformer:
    """A copy that learns."""
    return reference_copy(model).requires_grad_(True)
