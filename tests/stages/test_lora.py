"""LoRA: nothing changes at first, only the corrections learn, and merged equals unmerged."""

import copy

import pytest
import torch

from llmlab import checkpoint
from llmlab.core.losses import next_token_loss
from llmlab.core.model import Linear, ModelConfig, Transformer
from llmlab.core.optim import Optimizer
from llmlab.stages.lora import LoRALinear, add_lora, merge_lora, trainable

CONFIG = ModelConfig(vocab_size=64, dim=24, n_layers=2, n_heads=2, n_kv_heads=1, hidden_dim=32,
                     head_dim=8)  # fmt: skip


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = Transformer(CONFIG)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.2)
    return model


@pytest.fixture
def ids():
    return torch.randint(64, (3, 12), generator=torch.Generator().manual_seed(1))


def learn(model, ids, steps=3) -> None:
    optimizer = Optimizer(model.named_parameters(), muon_lr=0.05)
    for _ in range(steps):
        next_token_loss(model(ids[:, :-1]), ids[:, 1:]).backward()
        optimizer.step()


@pytest.mark.parametrize("rank", [1, 4])
def test_nothing_changes_at_first_and_merged_equals_unmerged(model, ids, rank):
    before = model(ids)
    add_lora(model, rank)
    assert torch.equal(model(ids), before)
    learn(model, ids)
    unmerged = model(ids)
    assert not torch.allclose(unmerged, before, atol=1e-2)
    merge_lora(model)
    assert torch.allclose(model(ids), unmerged, atol=1e-4)


def test_only_the_corrections_learn(model, ids):
    before = copy.deepcopy(model)
    learn(add_lora(model, 2), ids)
    old, new = before.state_dict(), model.state_dict()
    assert all(torch.equal(new[name], value) for name, value in old.items())
    learned = {name.rpartition(".")[2] for name in new.keys() - old.keys()}
    assert learned == {"up", "down"}


def test_a_correction_has_its_rank(model, ids):
    before = copy.deepcopy(model)
    learn(add_lora(model, 2), ids)
    merge_lora(model)
    pairs = zip(before.blocks.parameters(), model.blocks.parameters(), strict=True)
    changes = [new - old for old, new in pairs if old.ndim == 2]
    assert len(changes) == 2 * 7
    assert {torch.linalg.matrix_rank(c, rtol=1e-3).item() for c in changes} == {2}


def test_the_count_of_what_is_learned(model):
    whole = trainable(model)
    add_lora(model, 3)
    matrices = [m for m in model.modules() if isinstance(m, LoRALinear)]
    assert trainable(model) == sum(3 * sum(m.weight.shape) for m in matrices) < whole / 2
    merge_lora(model)
    assert trainable(model) == whole
    assert not any(isinstance(m, LoRALinear) for m in model.modules())


def test_a_merged_model_is_kept_like_any_other(model):
    names = list(checkpoint.model_tensors(model))
    assert list(checkpoint.model_tensors(merge_lora(add_lora(model, 1)))) == names


def test_the_scale_is_part_of_the_correction():
    plain = Linear(5, 4, bias=False)
    part = LoRALinear(plain, 2, scale=0.5)
    torch.nn.init.ones_(part.up)
    x = torch.randn(3, 5)
    by_hand = plain(x) + 0.5 * x @ part.down.T @ part.up.T
    assert torch.allclose(part(x), by_hand, atol=1e-6)
    assert torch.allclose(part.merged()(x), by_hand, atol=1e-6)
    assert part(x.bfloat16()).dtype == torch.bfloat16
