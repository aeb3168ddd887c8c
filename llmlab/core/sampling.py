"""Writing text with a model: one token at a time, a whole batch at once."""

import torch
from torch import Tensor

from .model import KVCache, Transformer


def filter_logits(logits: Tensor, temperature: float = 1.0, top_k=0, top_p=1.0) -> Tensor:
    """Logits (B, V) divided by the temperature, -inf outside the top k ids and the top p mass.

    top_k = 0 and top_p = 1 keep all.  Fan et al. 2018 (top-k); Holtzman et al. 2020 (top-p).
    """
    logits = logits.float() / max(temperature, 1e-30)  # smaller ones are greedy, not infinite
    if top_k:
        kth = logits.topk(min(top_k, logits.shape[-1])).values[..., -1:]
        logits = logits.masked_fill(logits < kth, -torch.inf)
    if top_p < 1:
        ranked, order = logits.sort(descending=True)
        before = ranked.softmax(-1).cumsum(-1) - ranked.softmax(-1)  # mass of the likelier ids
        ranked = ranked.masked_fill(before >= max(top_p, 1e-9), -torch.inf)  # the first one stays
        logits = logits.scatter(-1, order, ranked)
    return logits


def draw(logits: Tensor, temperature: float = 1.0, top_k=0, top_p=1.0, generator=None) -> Tensor:
    """One id a row of logits (B, V) -> (B,): the likeliest at temperature 0, else at random."""
    if temperature == 0:
        return logits.argmax(-1)
    cdf = filter_logits(logits, temperature, top_k, top_p).softmax(-1).cumsum(-1)  # (B, V)
    dart = cdf[:, -1:] * torch.rand(len(cdf), 1, generator=generator, device=cdf.device)
    return (cdf <= dart * (1 - 1e-6)).sum(-1)  # a little less: inside, whatever the rounding


def pick(logits: Tensor, temperature: float = 1.0, *how, **more) -> Tensor:
    """As `draw`, but raises ValueError on a temperature below 0, or where logits are NaN."""
    if not temperature >= 0:
        raise ValueError(f"a temperature is 0 or more, not {temperature}")
    if logits.isnan().any():
        raise ValueError("the model's logits are NaN: its weights are damaged")
    return draw(logits, temperature, *how, **more)


@torch.inference_mode()
def generate(
    model: Transformer, prompts: list[list[int]], n_new, stop=None, num_return_sequences=1, **how
) -> list[list[int]]:
    """Continue every prompt by at most `n_new` ids, up to and with the id `stop`: the new ids.

    Prompts of unequal length are padded on the left and the padding is masked; positions are
    relative, so a shift changes nothing.  num_return_sequences: answers to each prompt, one after
    the other; each prompt is read once for all of them.  Rows that have stopped leave the batch.
    how: temperature, top_k, top_p, generator, as `draw` takes them.  Raises ValueError on an empty
    prompt, on logits of NaN, or when prompt and answer do not fit the model's context.
    """
    if not all(prompts):
        raise ValueError("generate needs prompts of at least one id")
    device, width = model.embed.weight.device, max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts], device=device)  # (B, T)
    padding = torch.tensor([width - len(p) for p in prompts], device=device)
    seen = torch.arange(width + n_new, device=device) >= padding[:, None]  # (B, columns)
    cache = KVCache(model.config, *seen.shape, model.compute_dtype, device)
    hidden = model.hidden(ids, cache, seen)[:, -1:]
    rows = torch.arange(len(prompts), device=device).repeat_interleave(num_return_sequences)
    hidden, seen, cache.kv = hidden[rows], seen[rows], cache.kv[:, :, rows]  # read once for all
    rows, out = torch.arange(len(rows), device=device), [[] for _ in rows]
    going = torch.ones_like(rows, dtype=torch.bool)
    for _ in range(n_new):
        new = pick(model.head(hidden)[:, 0], **how)  # (B,)
        for row, token in zip(rows[going].tolist(), new[going].tolist(), strict=True):
            out[row].append(token)
        going = going & (new != stop) if stop is not None else going
        if not going.any() or cache.length == seen.shape[1] - 1:
            break
        if going.float().mean() < 0.75:  # copying the cache pays once a quarter has stopped
            new, rows, seen, cache.kv = new[going], rows[going], seen[going], cache.kv[:, :, going]
            going = going[going]
        hidden = model.hidden(new[:, None], cache, seen)
    return out
