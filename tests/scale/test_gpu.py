"""What a GPU does faster is what `core` does: held to it here, on a CPU."""

import math

import pytest
import torch
from torch.testing import assert_close

from llmlab.artifacts import LabError
from llmlab.core.losses import next_token_loss
from llmlab.core.model import ModelConfig, Transformer
from llmlab.core.optim import Optimizer
from llmlab.core.sampling import generate
from llmlab.core.tokenizer import BPE
from llmlab.scale import cuda_graphs, gpu
from llmlab.stages.pretraining import WindowDataset
from llmlab.training import loop

CONFIG = ModelConfig(
    vocab_size=61, dim=32, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8, hidden_dim=64,
    max_seq_len=48,
)  # fmt: skip
IDS = torch.randint(61, (6, 33), generator=torch.Generator().manual_seed(0))


def model(dtype=torch.float32) -> Transformer:
    """A model whose every part does something: random weights also where `core` begins at zero."""
    torch.manual_seed(1)
    made = Transformer(CONFIG)
    for p in made.parameters():
        if p.ndim == 2:
            torch.nn.init.normal_(p, std=0.1)
    made.compute_dtype = dtype
    return made


def loss_and_gradients(made: Transformer) -> tuple[float, list[torch.Tensor]]:
    loss = next_token_loss(made(IDS[:, :-1]), IDS[:, 1:])
    loss.backward()
    return loss.item(), [p.grad for p in made.parameters()]


@pytest.mark.parametrize("recompute", [False, True])
def test_a_prepared_model_has_the_same_loss_and_gradients(recompute):
    plain, ready = model(), model()
    gpu.prepare_model(ready, activation_checkpointing=recompute)
    (loss, gradients), (own_loss, own) = loss_and_gradients(plain), loss_and_gradients(ready)
    assert own_loss == pytest.approx(loss, abs=1e-5)
    for a, b in zip(gradients, own, strict=True):
        assert_close(b, a, atol=1e-5, rtol=1e-3)


def test_a_released_model_is_as_it_was():
    plain, ready = model(), model()
    before = set(ready.__dict__), set(ready.blocks[0].__dict__)
    gpu.prepare_model(ready, compiled=True, activation_checkpointing=True)
    gpu.restore_model(ready)
    assert (set(ready.__dict__), set(ready.blocks[0].__dict__) - {"_compiled_call_impl"}) == before
    assert loss_and_gradients(ready)[0] == loss_and_gradients(plain)[0]


def test_recomputing_keeps_less():
    """Counted: bytes that the forward pass leaves for the backward pass."""

    def kept(recompute: bool) -> int:
        made, sizes = model(), []
        gpu.prepare_model(made, activation_checkpointing=recompute)
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: sizes.append(t.numel()) or t, lambda t: t
        ):
            next_token_loss(made(IDS[:, :-1]), IDS[:, 1:])
        return sum(sizes)

    assert kept(True) < 0.5 * kept(False)


def test_a_compiled_block_has_the_same_loss():
    plain, ready = model(), model()
    gpu.prepare_model(ready)
    for block in ready.blocks:
        block.compile(backend="aot_eager")  # all of compiling but the code, which takes minutes
    assert loss_and_gradients(ready)[0] == pytest.approx(loss_and_gradients(plain)[0], abs=1e-5)


def test_a_prepared_model_still_samples_and_refuses_what_is_too_long():
    ready, plain = model(), model()
    gpu.prepare_model(ready)
    prompts = [[1, 2, 3], [4]]
    assert generate(ready, prompts, 9, temperature=0) == generate(plain, prompts, 9, temperature=0)
    with pytest.raises(ValueError, match="49 positions"):
        ready(torch.zeros(1, 49, dtype=torch.long))


def test_the_fused_optimizer_takes_the_same_steps():
    made = [model(), model()]
    settings = {"muon_lr": 0.02, "adam_lr": 4e-3, "weight_decay": 0.1}
    kinds = (Optimizer, gpu.FusedOptimizer)
    optimizers = [
        kind(m.named_parameters(), **settings) for kind, m in zip(kinds, made, strict=True)
    ]
    for step in range(5):
        for m in made:
            loss_and_gradients(m)
        plain, fused = (o.step(1 - 0.1 * step) for o in optimizers)
        assert fused == pytest.approx(plain, rel=1e-3)
    parts = [[set(o.state[p]) for p in o.named.values()] for o in optimizers]
    assert parts[0] == parts[1]
    for a, b in zip(made[0].parameters(), made[1].parameters(), strict=True):
        assert_close(b, a, atol=2e-4, rtol=1e-3)


# --- fp16 -----------------------------------------------------------------------------------


def job(dtype: torch.dtype, muon_lr: float = 0.0) -> loop.TrainState:
    made = model(dtype)
    return loop.TrainState(made, BPE(()), Optimizer(made.named_parameters(), muon_lr))


def loss_of(made: Transformer) -> torch.Tensor:
    return next_token_loss(made(IDS[:, :-1]), IDS[:, 1:])


def test_in_fp16_a_scaled_loss_keeps_gradients_that_would_vanish():
    tiny = 1e-6  # of a loss: its gradients lie below what fp16 can hold
    scaled, plain, exact = job(torch.float16), job(torch.float16), job(torch.float32)
    plain.scaler = torch.amp.GradScaler("cpu", enabled=False)
    norms = []
    for run in (scaled, plain, exact):
        run.backward(loss_of(run.model) * tiny)
        norms.append(run.update(1.0) / tiny)
    assert norms[0] == pytest.approx(norms[2], rel=0.02)
    assert not norms[1] == pytest.approx(norms[2], rel=0.02)


def test_a_step_that_overflows_is_left_out_and_the_scale_halved():
    run = job(torch.float16)
    before, scale = run.model.embed.weight.clone(), run.scaling().get_scale()
    run.backward(loss_of(run.model) * 1e6)
    assert run.update(1.0) == 0.0 and loop.updates(run.optimizer) == 0
    assert torch.equal(run.model.embed.weight, before) and run.model.embed.weight.grad is None
    assert run.metadata()["loss_scale"]["scale"] == scale / 2
    again = job(torch.float16)
    again.load_metadata(run.metadata())
    assert again.metadata()["loss_scale"] == run.metadata()["loss_scale"]


def test_elsewhere_a_scaler_changes_nothing():
    plain, run = model(), job(torch.float32, muon_lr=0.02)
    loss_and_gradients(plain)
    norm = Optimizer(plain.named_parameters()).step(0.5)
    run.backward(loss_of(run.model))
    assert run.update(0.5) == norm and "loss_scale" not in run.metadata()
    for a, b in zip(plain.parameters(), run.model.parameters(), strict=True):
        assert torch.equal(a, b)


# --- Rows -----------------------------------------------------------------------------------


def test_rows_made_ahead_are_the_same_rows():
    rows = WindowDataset(list(range(500)), seed=3)
    ahead = gpu.Prefetcher(rows, "cpu")
    for step in (0, 1, 2, 7, 8):
        assert torch.equal(ahead.batch(step, 4, 16), rows.batch(step, 4, 16))


class Memory:
    """A part's loss on a model that has room for so many rows, as a GPU would say it."""

    def __init__(self, room: int):
        self.room, self.model, self.tried = room, model(), []

    def part_loss(self, part: torch.Tensor, share: float) -> float:
        self.tried.append(len(part))
        loss = next_token_loss(self.model(part[:, :-1]), part[:, 1:])
        (loss * share).backward()
        if len(part) > self.room:  # after gradients have come: they must not count twice
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss.item()


def test_what_does_not_fit_is_halved_and_the_step_is_the_same(capsys):
    whole, small = Memory(6), Memory(2)
    micro = gpu.GradientAccumulation(100)
    loss = gpu.GradientAccumulation(100).backward(IDS, whole.part_loss, whole.model.zero_grad)
    assert micro.backward(IDS, small.part_loss, small.model.zero_grad) == pytest.approx(loss)
    assert small.tried == [6, 3, 2, 2, 2] and micro.rows == 2
    for a, b in zip(whole.model.parameters(), small.model.parameters(), strict=True):
        assert_close(b.grad, a.grad, atol=1e-6, rtol=1e-4)
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"Out of memory: {n} rows at once from here on; nothing is lost." for n in (3, 2)
    ]


def test_where_not_even_one_row_fits_this_is_said():
    none = Memory(0)
    with pytest.raises(LabError, match="1 rows at once does not fit .* fewer minutes"):
        gpu.GradientAccumulation(4).backward(IDS, none.part_loss, none.model.zero_grad)


# --- Sampling -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fixed_shapes_write_the_same_greedy_answers(dtype):
    made = model(dtype)
    prompts = [[5, 9, 2], [1], [7, 7, 7, 7, 3, 2]]
    for stop in range(0, 60, 7):
        want = generate(made, prompts, 20, stop=stop, temperature=0)
        got = cuda_graphs.generate(made, prompts, 20, stop=stop, temperature=0)
        assert [a[:3] for a in got] == [a[:3] for a in want]  # rounding may part them later
        assert dtype == torch.bfloat16 or got == want
        assert all(stop not in answer[:-1] for answer in got)


def test_several_answers_to_a_prompt_are_those_to_it_alone():
    made, prompts = model(), [[5, 9, 2], [1], [7, 7, 7, 7, 3, 2]]
    for write in (generate, cuda_graphs.generate):
        alone = write(made, prompts, 12, stop=60, temperature=0)
        thrice = write(made, prompts, 12, stop=60, temperature=0, num_return_sequences=3)
        assert thrice == [answer for answer in alone for _ in range(3)]
        drawn = write(made, prompts, 12, stop=60, num_return_sequences=3,
                      generator=torch.Generator().manual_seed(1))  # fmt: skip
        assert len({tuple(answer) for answer in drawn}) == 9


def test_draws_follow_the_same_chances():
    """A thousand first ids after one prompt, from both: the shares differ by chance alone."""
    made, n = model(), 1000
    shares = []
    for write in (generate, cuda_graphs.generate):
        generator = torch.Generator().manual_seed(4)
        answers = write(made, [[3, 1]] * n, 2, stop=60, temperature=0.7, top_k=5,
                        generator=generator)  # fmt: skip
        shares.append(torch.bincount(torch.tensor([a[-1] for a in answers]), minlength=61) / n)
    assert (shares[0] - shares[1]).abs().max() < 4 * math.sqrt(0.25 * 2 / n)
    assert (shares[0] > 0).sum() > 5


def test_it_refuses_what_core_refuses():
    made = model()
    with pytest.raises(ValueError, match="at least one id"):
        cuda_graphs.generate(made, [[1], []], 4, stop=0)
    with pytest.raises(ValueError, match="50 positions, but the model has 48"):
        cuda_graphs.generate(made, [[1] * 30], 20, stop=0)
    assert cuda_graphs.generate(made, [[1], [2]], 0, stop=0) == [[], []]


def test_a_shape_that_a_gpu_could_not_know_is_not_made_up():
    """The shapes of a step do not depend on how far it is: what a recorded graph needs."""
    seen = []
    made = model()
    hook = made.norm.register_forward_hook(lambda m, args, out: seen.append(tuple(out.shape)))
    cuda_graphs.generate(made, [[1, 2], [3]], 6, stop=59, temperature=0)
    hook.remove()
    assert seen[0] == (2, 2, 32) and set(seen[1:]) == {(2, 1, 32)}
