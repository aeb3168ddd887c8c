"""Writing a batch of answers on a GPU: every step has the same shapes, so it is recorded once as a
CUDA graph and played again, without a word from Python in between.

`core.sampling.generate` copies its cache as rows stop and asks after every id; a GPU that writes
some hundred rows at once waits for that longer than it works.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from llmlab.core.model import KVCache, Transformer
from llmlab.core.sampling import draw, pick

LOOK = 8  # steps between two looks at whether all rows have stopped: each look waits for the GPU


class StaticCache(KVCache):
    """Keys and values at places that a tensor names; every query sees all columns, masked."""

    def __init__(self, *shape):
        super().__init__(*shape)
        self.kv.zero_()  # unwritten columns are masked, and must not be NaN all the same
        self.columns: Tensor | None = None  # where the next ones go

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store k, v: (B, kv_heads, T, hd) at `columns`: (T,); returns all, written or not."""
        self.kv[layer, 0].index_copy_(2, self.columns, k)
        self.kv[layer, 1].index_copy_(2, self.columns, v)
        return self.kv[layer].unbind()


def _hidden(model: Transformer, ids: Tensor, columns: Tensor, bias: Tensor, cache: StaticCache):
    """States of ids: (B, T) at `columns`: (T,) -> (B, T, dim); bias: (B, 1, T, all columns)."""
    cache.columns = columns
    x = model.embed(ids).to(model.compute_dtype)
    rope = model.rope[:, columns].to(x.dtype)  # (2, T, hd)
    for block in model.blocks:
        x = block(x, rope, bias, cache)
    return model.norm(x)


@torch.inference_mode()
def generate(
    model: Transformer, prompts: list[list[int]], n_new: int, stop: int, temperature=1.0,
    top_k=0, top_p=1.0, generator: torch.Generator | None = None, num_return_sequences=1,
) -> list[list[int]]:  # fmt: skip
    """As `core.sampling.generate`: each prompt's new ids, up to and with the id `stop`.

    The draws of a row differ from those of `core`, which drops rows as they stop; at temperature 0
    the ids are the same.  Raises ValueError on an empty prompt, or when prompt and answer do not
    fit the model's context.
    """
    if not all(prompts):
        raise ValueError("generate needs prompts of at least one id")
    if n_new < 1:
        return [[] for _ in prompts for _ in range(num_return_sequences)]
    device, width = model.embed.weight.device, max(map(len, prompts))
    total = width + n_new
    if total > model.config.max_seq_len:
        raise ValueError(f"{total} positions, but the model has {model.config.max_seq_len}")
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts], device=device)  # (B, width)
    padding = torch.tensor([width - len(p) for p in prompts], device=device)
    columns = torch.arange(total, device=device)
    cache = StaticCache(model.config, len(prompts), total, model.compute_dtype, device)
    seen = (columns >= padding[:, None])[:, None, None]  # (B, 1, 1, total)
    rows = columns[:width, None]
    # Padding sees itself, or its softmax would be of nothing.
    mask = (seen & (rows >= columns)) | (rows == columns)  # (B, 1, width, total)
    hidden = _hidden(model, ids, columns[:width], _bias(model, mask), cache)[:, -1:]
    if hidden.isnan().any():
        raise ValueError("the model's states are not numbers (NaN), so no id can be drawn")
    hidden, seen, cache.kv = (  # each prompt was read once for all its answers
        x.repeat_interleave(num_return_sequences, dim)
        for x, dim in ((hidden, 0), (seen, 0), (cache.kv, 2))
    )
    how = (temperature, top_k, top_p, generator)
    last = pick(model.head(hidden)[:, 0], *how)  # (B,): the ids that came last
    column = columns[width - 1 : width].clone()  # (1,): the last one that was read

    def step() -> None:
        column.add_(1)
        bias = _bias(model, seen & (columns <= column))  # (B, 1, 1, total)
        hidden = _hidden(model, last[:, None], column, bias, cache)
        last.copy_(draw(model.head(hidden)[:, 0], *how))  # `pick` looks, and so waits

    out = torch.full((len(last), n_new), stop, device=device)
    out[:, 0] = last
    on_gpu = model.embed.weight.is_cuda
    play = _recorded(step, (last, column), generator) if on_gpu else step
    for i in range(1, n_new):
        if i % LOOK == 0 and (out[:, :i] == stop).any(1).all():
            break
        play()
        out[:, i] = last
    return [_up_to(row, stop) for row in out.tolist()]


def _recorded(step: Callable, changed: tuple[Tensor, ...], generator) -> Callable[[], None]:
    """`step` as a CUDA graph.  What it changes is put back after the rounds that warm it up; its
    cache may keep what they wrote, as each column is written again before it is read."""
    before = [tensor.clone() for tensor in changed]
    drawn = None if generator is None else generator.get_state()
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        step()
        for tensor, value in zip(changed, before, strict=True):
            tensor.copy_(value)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    if generator is not None:
        generator.set_state(drawn)
        graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def _bias(model: Transformer, mask: Tensor) -> Tensor:
    return torch.zeros_like(mask, dtype=model.compute_dtype).masked_fill(~mask, -torch.inf)


def _up_to(row: list[int], stop: int) -> list[int]:
    return row[: row.index(stop) + 1] if stop in row else row
