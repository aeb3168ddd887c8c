"""The optimiser: its schedule, AdamW against torch's, Muon by what it promises."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from llmlab.core.model import Transformer
from llmlab.core.optim import Optimizer, learning_rate, orthogonalize
from tests.core.test_model import SMALL


def test_the_schedule_rises_stays_and_falls():
    factors = [learning_rate(s, 100, warmup=0.1, cooldown=0.5) for s in range(100)]
    assert factors[0] == pytest.approx(0.1) and factors[9] == 1
    assert factors[9:51] == [1] * 42
    assert factors[75] == pytest.approx(0.5) and factors[99] == pytest.approx(0.02)


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 24), (2, 24, 8)])
def test_orthogonalize_levels_the_singular_values(shape):
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalize(torch.randn(shape)).float())
    assert values.min() > 0.5 and values.max() < 1.35


def test_adamw_equals_torch():
    torch.manual_seed(0)
    ours = nn.Linear(5, 3)
    theirs = nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    mine = Optimizer(ours.named_parameters(), muon_lr=0, adam_lr=1e-2, weight_decay=0.1)
    groups = [
        {"params": [theirs.weight], "weight_decay": 0.1},
        {"params": [theirs.bias], "weight_decay": 0.0},  # a vector: no decay
    ]
    reference = torch.optim.AdamW(groups, 1e-2, (0.9, 0.95))
    for _ in range(10):
        x = torch.randn(4, 5)
        ours(x).square().sum().backward()
        mine.step(max_norm=1e9)
        reference.zero_grad()
        theirs(x).square().sum().backward()
        reference.step()
    assert torch.allclose(ours.weight, theirs.weight, atol=1e-6)
    assert torch.allclose(ours.bias, theirs.bias, atol=1e-6)


def block() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)])})


def train(module, optimizer, steps):
    losses = []
    for step in range(steps):
        seed = optimizer.param_groups[0]["step"]
        x = torch.randn(16, 6, generator=torch.Generator().manual_seed(seed))
        y = module["blocks"][1](torch.tanh(module["blocks"][0](x)))
        loss = (y - x.flip(1)).square().mean()
        loss.backward()
        optimizer.step(learning_rate(step, steps))
        losses.append(loss.item())
    return losses


def test_muon_learns_and_state_carries_on_bit_for_bit():
    module = block()
    optimizer = Optimizer(module.named_parameters(), muon_lr=0.05)
    losses = train(module, optimizer, 60)
    assert losses[-1] < 0.5 * losses[0]

    twin = block()
    twin.load_state_dict(module.state_dict())
    resumed = Optimizer(twin.named_parameters(), muon_lr=0.3)  # the stored rate counts
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))
    assert train(module, optimizer, 5) == train(twin, resumed, 5)


def test_muon_steps_by_an_orthogonal_matrix_scaled_by_its_shape():
    torch.manual_seed(0)
    layer = nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(4, 16, bias=False)])})
    weight = layer["blocks"][0].weight
    before, grad = weight.detach().clone(), torch.randn(16, 4)
    weight.grad = grad.clone()
    Optimizer(layer.named_parameters(), muon_lr=0.1).step(factor=0.5, max_norm=1e9)
    step = before - weight.detach()
    values = torch.linalg.svdvals(step) / (0.1 * 0.5 * 2)  # sqrt(16 / 4)
    assert values.min() > 0.5 and values.max() < 1.35
    u, _, v = torch.linalg.svd(grad, full_matrices=False)
    assert torch.nn.functional.cosine_similarity(step.flatten(), (u @ v).flatten(), 0) > 0.97


def test_a_tiny_momentum_is_normalised_before_it_is_cast():
    """Cast first, most entries of 2e-8 would be zeros in fp16."""
    grad = torch.randn(1, 128, 128, generator=torch.Generator().manual_seed(0))
    tiny, usual = (orthogonalize(grad * s, dtype=torch.float16) for s in (2e-8, 1.0))
    assert tiny.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(tiny.flatten(), usual.flatten(), 0) > 0.99


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.95])
def test_muon_looks_ahead_along_its_momentum(momentum):
    """Nesterov's rule by hand, on two gradients."""
    torch.manual_seed(0)
    layer = nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(6, 6, bias=False)])})
    weight, grads = layer["blocks"][0].weight, torch.randn(2, 6, 6)
    optimizer = Optimizer(layer.named_parameters(), muon_lr=0.1, momentum=momentum)
    for grad in grads:
        before, weight.grad = weight.detach().clone(), grad.clone()
        optimizer.step(max_norm=1e9)
    mean = (1 - momentum) * (momentum * grads[0] + grads[1])
    look = momentum * mean + (1 - momentum) * grads[1]
    expected = before - 0.1 * orthogonalize(look[None])[0]
    assert torch.allclose(weight, expected, atol=1e-5)


def test_muon_pulls_its_matrices_towards_zero():
    layer = block()["blocks"][0]
    module = nn.ModuleDict({"blocks": nn.ModuleList([layer])})
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.zeros_like(before)  # so that decay alone moves them
    Optimizer(module.named_parameters(), muon_lr=0.1, weight_decay=0.5).step(factor=0.5)
    assert torch.allclose(layer.weight, before * (1 - 0.1 * 0.5 * 0.5))


def test_what_goes_to_muon():
    def names(muon_lr):
        optimizer = Optimizer(Transformer(SMALL).named_parameters(), muon_lr)
        adam = {id(p) for p in optimizer.param_groups[1]["params"]}
        return {name for name, p in optimizer.named.items() if id(p) in adam}

    every = {name for name, _ in Transformer(SMALL).named_parameters()}
    assert names(0) == every
    matrices = {n for n in every if "blocks." in n and "proj" in n}
    assert names(0.02) == every - matrices and "embed.weight" in names(0.02)


def test_gradients_are_clipped_and_cleared():
    layer = nn.Linear(2, 2)
    optimizer = Optimizer(layer.named_parameters(), muon_lr=0)
    (layer(torch.ones(1, 2)).sum() * 1e6).backward()
    assert optimizer.step() > 1e5
    assert layer.weight.grad is None and torch.isfinite(layer.weight).all()
