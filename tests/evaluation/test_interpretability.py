"""Looking inside: what is seen is what the model does, and nothing of the hooks is left behind."""

import pytest
import torch

import llmlab
from llmlab.core.model import ModelConfig, Transformer
from llmlab.evaluation import interpretability

TEXT = "Shopping list: tofu, mango, leek, rice\nMango Tofu needs tofu, mango, leek, rice.\n"


@pytest.fixture(scope="module")
def base():
    model, tokenizer, _ = llmlab.setup().latest("base", mine=False)
    return model, tokenizer, [tokenizer.special("<|end|>"), *tokenizer.encode(TEXT)]


@pytest.fixture
def small():
    torch.manual_seed(0)
    config = ModelConfig(vocab_size=50, dim=32, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8,
                         hidden_dim=48)  # fmt: skip
    model = Transformer(config)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.2)
    return model


def hooks(model) -> int:
    return sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in model.modules())


def test_weights_are_causal_sum_to_one_and_mix_the_values_as_the_model_does(small):
    ids = [3, 1, 4, 1, 5, 9]
    seen = interpretability.attention(small, ids)
    assert seen.shape == (2, 4, 6, 6) and hooks(small) == 0
    assert torch.allclose(seen.sum(-1), torch.ones(2, 4, 6))
    assert torch.equal(seen.triu(1), torch.zeros_like(seen))
    attn, inputs = small.blocks[0].attn, []
    hook = attn.register_forward_hook(lambda _, arguments, out: inputs.append((arguments[0], out)))
    small(torch.tensor([ids]))
    hook.remove()
    x, out = inputs[0]
    values = attn.v_proj(x).view(1, 6, 2, 8).transpose(1, 2).repeat_interleave(2, dim=1)
    mixed = (seen[:1] @ values).transpose(1, 2).reshape(1, 6, 32)
    assert torch.allclose(attn.o_proj(mixed), out, atol=1e-5)


def test_contributions_are_the_lengths_of_what_is_added(small):
    ids = [3, 1, 4, 1, 5, 9]
    lengths = interpretability.contributions(small, ids)
    assert list(lengths) == ["table", "attn 1", "MLP 1", "attn 2", "MLP 2"] and hooks(small) == 0
    table = small.embed(torch.tensor(ids))
    assert lengths["table"] == pytest.approx(table.norm(dim=-1).mean().item(), rel=1e-5)
    with interpretability.without(small, [(0, head) for head in range(4)]):
        assert interpretability.contributions(small, ids)["attn 1"] == 0


def test_the_lens_ends_with_the_model_s_own_guess(small):
    ids = [3, 1, 4, 1, 5, 9]
    lens = interpretability.logit_lens(small, ids)
    assert lens.shape == (3, 6, 50) and hooks(small) == 0
    assert torch.allclose(lens[-1], small(torch.tensor([ids]))[0], atol=1e-5)
    first = small.head(small.norm(small.embed(torch.tensor(ids))))
    assert torch.allclose(lens[0], first, atol=1e-5)


def test_copying_by_hand():
    ids = [7, 8, 7, 8]  # the next ids are 8, 7, 8: the last two stand further up, at 0 and at 1
    looks = torch.zeros(1, 2, 4, 4)
    looks[0, 0, 1, 0] = looks[0, 0, 2, 1] = 1.0  # head 0 looks there
    looks[0, 1, 1, 1] = 1.0  # head 1 does half of the way
    looks[0, 1, 2, 1] = 0.5
    assert interpretability.copying(looks, ids).tolist() == [[1.0, 0.25]]


def test_a_silenced_head_adds_nothing_and_comes_back(small):
    ids = torch.tensor([[3, 1, 4, 1, 5]])
    before = small(ids)
    with interpretability.without(small, [(1, 2)]):
        silent = small(ids)
        columns = slice(2 * 8, 3 * 8)
        kept = small.blocks[1].attn.o_proj.weight.data.clone()
    assert not torch.allclose(silent, before)
    assert torch.equal(small(ids), before) and hooks(small) == 0
    small.blocks[1].attn.o_proj.weight.data[:, columns] = 0
    assert torch.allclose(small(ids), silent, atol=1e-6)
    small.blocks[1].attn.o_proj.weight.data = kept


def test_the_base_has_a_head_that_copies(base):
    """In the slow-cooked base: without it the foods that were asked for are lost; without the
    head that copies least, they are not."""
    model, tokenizer, ids = base
    scores = interpretability.copying(interpretability.attention(model, ids), ids)
    heads = model.config.n_heads
    best, worst = (divmod(i.item(), heads) for i in (scores.argmax(), scores.argmin()))
    whole = interpretability.foods_used(model, tokenizer)
    with interpretability.without(model, [best]):
        without_best = interpretability.foods_used(model, tokenizer)
    with interpretability.without(model, [worst]):
        without_worst = interpretability.foods_used(model, tokenizer)
    print(f"head {best} copies {scores[best]:.2f} of the time")
    print(f"used {whole:.2f}, without it {without_best:.2f}, without {worst} {without_worst:.2f}")
    assert whole > 0.9 and without_best < whole - 0.3 and without_worst > whole - 0.15


def test_the_lens_gets_surer_layer_by_layer(base):
    model, _, ids = base
    lens = interpretability.logit_lens(model, ids)[:, :-1].log_softmax(-1)
    surprise = -lens.gather(2, torch.tensor(ids[1:]).expand(len(lens), -1)[..., None]).mean((1, 2))
    assert surprise[-1] < surprise[-2] < surprise[0]
