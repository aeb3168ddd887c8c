"""The Transformer: by its properties, and against `transformers`."""

import math
from dataclasses import replace

import pytest
import torch

from llmlab.core.losses import next_token_loss
from llmlab.core.model import KVCache, ModelConfig, Transformer, apply_rope, rope_table

SMALL = ModelConfig(
    vocab_size=97, dim=32, n_layers=2, n_heads=4, n_kv_heads=4, head_dim=8, hidden_dim=64,
    max_seq_len=48,
)  # fmt: skip
SHAPES = {
    "plain": replace(SMALL, qk_norm=False, tie_embeddings=False),
    "grouped and tied": replace(SMALL, qk_norm=False, n_kv_heads=2),
    "with qk-norm": replace(SMALL, n_kv_heads=2),
}


def random_model(config: ModelConfig) -> Transformer:
    """A model that has something to say: every weight random, norms included."""
    torch.manual_seed(0)
    model = Transformer(config).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, 1.0 if p.ndim == 1 else 0.0, 0.2)
    return model


IDS = torch.randint(0, 97, (3, 20), generator=torch.Generator().manual_seed(1))


def test_first_loss_is_ln_v():
    model = Transformer(SMALL)
    loss = next_token_loss(model(IDS[:, :-1]), IDS[:, 1:]).item()
    assert loss == pytest.approx(math.log(97), abs=0.05)


@pytest.mark.parametrize("name", SHAPES)
def test_the_future_is_not_seen(name):
    model = random_model(SHAPES[name])
    changed = IDS.clone()
    changed[:, 12:] = (changed[:, 12:] + 1) % 97
    assert torch.allclose(model(IDS)[:, :12], model(changed)[:, :12], atol=1e-5)
    assert not torch.allclose(model(IDS)[:, 12:], model(changed)[:, 12:], atol=1e-2)


@pytest.mark.parametrize("name", SHAPES)
def test_the_cache_changes_nothing(name):
    model = random_model(SHAPES[name])
    cache = KVCache(model.config, 3, 20, torch.float32, "cpu")
    parts = [model(IDS[:, :7], cache), *(model(IDS[:, i : i + 1], cache) for i in range(7, 20))]
    assert torch.allclose(torch.cat(parts, 1), model(IDS), atol=1e-5)


@pytest.mark.parametrize("name", SHAPES)
def test_padding_on_the_left_changes_nothing(name):
    model, pad = random_model(SHAPES[name]), 6
    padded = torch.cat((torch.full((3, pad), 42), IDS), 1)
    mask = (torch.arange(20 + pad) >= pad).expand(3, -1)
    assert torch.allclose(model(padded, mask=mask)[:, pad:], model(IDS), atol=1e-4)
    assert not torch.allclose(model(padded)[:, pad:], model(IDS), atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_row_that_may_look_nowhere_has_finite_gradients(dtype):
    model = random_model(SMALL)
    model.compute_dtype = dtype
    mask = torch.tensor([[False] * 20, [True] * 20, [False] * 19 + [True]])
    next_token_loss(model(IDS, mask=mask), IDS).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_grouped_heads_are_shared_heads():
    grouped = random_model(SHAPES["grouped and tied"])
    full = random_model(replace(grouped.config, n_kv_heads=4))
    weights = grouped.state_dict()
    for name in [n for n in weights if "k_proj" in n or "v_proj" in n]:
        heads = weights[name].view(2, 8, 32)  # (kv_heads, hd, dim)
        weights[name] = heads.repeat_interleave(2, 0).reshape(32, 32)
    full.load_state_dict(weights)
    assert torch.allclose(full(IDS), grouped(IDS), atol=1e-5)


def test_rotary_by_hand():
    """At position 1 the first pair of a head of 4 turns by 1, the second by 1 / sqrt(theta)."""
    x = torch.tensor([[1.0, 0.0, 0.0, 1.0]])
    turned = apply_rope(x, rope_table(2, 4, 100.0)[:, 1:])[0]
    expected = [math.cos(1), -math.sin(0.1), math.sin(1), math.cos(0.1)]
    assert turned.tolist() == pytest.approx(expected, abs=1e-6)


def test_positions_are_relative():
    table = rope_table(40, 8, 10000.0)
    q, k = torch.randn(2, 8).unbind()
    scores = [(apply_rope(q, table[:, i + 5]) @ apply_rope(k, table[:, i])) for i in (0, 9, 30)]
    assert torch.allclose(scores[0], scores[1], atol=1e-5)
    assert torch.allclose(scores[0], scores[2], atol=1e-5)


def test_beyond_the_context_is_an_error():
    model, ids = Transformer(SMALL), torch.zeros(1, 49, dtype=torch.long)
    with pytest.raises(ValueError, match="49 positions, but the model has 48"):
        model(ids)
    cache = KVCache(SMALL, 1, 49, torch.float32, "cpu")
    model(ids[:, :48], cache)
    with pytest.raises(ValueError, match="49 positions, but the model has 48"):
        model(ids[:, 48:], cache)


def test_bf16_is_close_to_fp32():
    model = random_model(SMALL)
    exact = model(IDS)
    model.compute_dtype = torch.bfloat16
    rough = model(IDS).float()
    assert (rough - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_tied_weights_are_one():
    model = Transformer(SMALL)
    assert model.head.weight is model.embed.weight
    assert Transformer(SHAPES["plain"]).head.weight.shape == (97, 32)
