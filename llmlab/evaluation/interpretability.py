"""Looking inside a model: attention weights, the guess at each layer, heads and what they do.

Everything hangs on the modules from outside and is taken off again; the model itself is unchanged.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from llmlab import kitchen
from llmlab.core.model import Attention, Transformer, apply_rope
from llmlab.core.sampling import generate
from llmlab.core.tokenizer import BPE

Head = tuple[int, int]  # layer, head


def weights(attn: Attention, x: Tensor, rope: Tensor, bias: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(hd) + bias) of one layer: (B, heads, T, T).  Arguments as it gets them.

    Vaswani et al. 2017, eq. 1, without the values.
    """
    B, T, _ = x.shape
    q, k = (
        apply_rope(norm(proj(x).view(B, T, -1, attn.head_dim).transpose(1, 2)), rope)
        for proj, norm in ((attn.q_proj, attn.q_norm), (attn.k_proj, attn.k_norm))
    )  # (B, heads, T, hd)
    k = k.repeat_interleave(attn.group, dim=1)
    return (q @ k.mT * attn.head_dim**-0.5 + bias).float().softmax(-1)


def _read(model: Transformer, ids: Sequence[int], hooks: list[RemovableHandle]) -> None:
    """Let the model read ids, then take the hooks off."""
    try:
        model.hidden(torch.tensor([list(ids)], device=model.embed.weight.device))
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def attention(model: Transformer, ids: Sequence[int]) -> Tensor:
    """Where every head of every layer looks: T ids -> (layers, heads, T, T), each row sums to 1."""
    found = []

    def keep(attn: Attention, arguments: tuple) -> None:
        found.append(weights(attn, *arguments[:3])[0])

    hooks = [block.attn.register_forward_pre_hook(keep) for block in model.blocks]
    _read(model, ids, hooks)
    return torch.stack(found).cpu()


@torch.no_grad()
def contributions(model: Transformer, ids: Sequence[int]) -> dict[str, float]:
    """Mean length of what the table and each part add to the residual stream: name -> length."""
    parts = {"table": model.embed}
    for i, block in enumerate(model.blocks, 1):
        parts |= {f"attn {i}": block.attn, f"MLP {i}": block.mlp}
    lengths = {}

    def keep(name: str):
        def hook(_, arguments: tuple, out: Tensor) -> None:
            lengths[name] = out.float().norm(dim=-1).mean().item()

        return hook

    hooks = [part.register_forward_hook(keep(name)) for name, part in parts.items()]
    _read(model, ids, hooks)
    return lengths


@torch.no_grad()
def logit_lens(model: Transformer, ids: Sequence[int]) -> Tensor:
    """What the model would guess if it stopped after 0, 1, … layers: (layers + 1, T, V) logits.

    The residual stream so far, through the last norm and the head.  nostalgebraist 2020.
    """
    streams = []
    hooks = [
        block.register_forward_pre_hook(lambda _, arguments: streams.append(arguments[0]))
        for block in model.blocks
    ]
    hooks.append(model.norm.register_forward_pre_hook(lambda _, x: streams.append(x[0])))
    _read(model, ids, hooks)
    return torch.stack([model.head(model.norm(x))[0] for x in streams]).float().cpu()


def copying(attended: Tensor, ids: Sequence[int]) -> Tensor:
    """How far each head looks at where the next id has stood before: (layers, heads), in [0, 1].

    attended: (layers, heads, T, T).  The mean, over the places whose next id stands further up, of
    the attention that goes there.  As the prefix-matching score of Olsson et al. 2022, but with the
    id that comes rather than with the one after an earlier twin.
    """
    ids = torch.tensor(list(ids))
    here = ids[1:, None] == ids[None, :]  # (T - 1, T): the next id of a row stands in a column
    here = here & (torch.arange(len(ids)) <= torch.arange(len(ids) - 1)[:, None])
    rows = here.any(1)
    mass = (attended[:, :, :-1] * here).sum(-1)  # (layers, heads, T - 1)
    return mass[:, :, rows].mean(-1)


@contextmanager
def without(model: Transformer, heads: Iterable[Head]) -> Iterator[None]:
    """While it lasts, these heads add nothing to the residual stream."""
    hooks = []
    for layer, head in heads:
        attn = model.blocks[layer].attn
        columns = slice(head * attn.head_dim, (head + 1) * attn.head_dim)

        def silence(_, arguments: tuple, columns=columns) -> tuple:
            mixed = arguments[0].clone()  # (B, T, heads * hd), one head after the other
            mixed[..., columns] = 0
            return (mixed,)

        hooks.append(attn.o_proj.register_forward_pre_hook(silence))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def foods_used(model: Transformer, tokenizer: BPE, n: int = 100, seed: int = 0) -> float:
    """Share of the foods asked for that a base model's page takes up, in [0, 1].

    n questions of the kind that its cards ask, two foods each, none of them from a recipe.
    """
    asked = [request.foods for request in kitchen.held_out_requests(3 * n)[1::3]]
    end = tokenizer.special("<|end|>")
    prompts = [
        [end, *tokenizer.encode(f"Q: What goes with {kitchen.and_list(kitchen.names(f))}?\nA:")]
        for f in asked
    ]
    generator = torch.Generator(model.embed.weight.device).manual_seed(seed)
    pages = generate(model, prompts, 40, stop=end, temperature=0.7, generator=generator)
    used = [
        food in kitchen.foods_in(tokenizer.decode(page))
        for foods, page in zip(asked, pages, strict=True)
        for food in foods
    ]
    return sum(used) / len(used)
