"""Writing text with a model: one token at a time, a whole batch at once."""

import torch
from torch import Tensor

from .model import KVCache, Transformer


def filter_logits(logits: Tensor, temperature: float = 1.0, top_k=0, top_p=1.0) -> Tensor:
    """Logits (B, V) divided by the temperature, -inf outside the top k ids and the top p mass.

    top_k = 0 and top_p = 1 keep all.  Fan et al. 2018 (top-k); Holtzman et al. 2020 (top-p).
    """
    logits = logits.float() / temperature
    if top_k:
        kth = logits.topk(min(top_k, logits.shape[-1])).values[..., -1:]
        logits = logits.masked_fill(logits < kth, -torch.inf)
    if top_p < 1:
        ranked, order = logits.sort(descending=True)
        before = ranked.softmax(-1).cumsum(-1) - ranked.softmax(-1)  # mass of the likelier ids
        ranked = ranked.masked_fill(before >= max(top_p, 1e-9), -torch.inf)  # the first one stays
        logits = logits.scatter(-1, order, ranked)
    return logits


def pick(logits: Tensor, temperature: float = 1.0, top_k=0, top_p=1.0, generator=None) -> Tensor:
    """One id a row of logits (B, V) -> (B,): the likeliest at temperature 0, else a draw.

    Raises ValueError on a temperature below 0.
    """
    if not temperature >= 0:
        raise ValueError(f"a temperature is 0 or more, not {temperature}")
    if temperature == 0:
        return logits.argmax(-1)
    logits = logits.float() - logits.amax(-1, keepdim=True)  # at most 0: nothing overflows
    cdf = filter_logits(logits, max(temperature, 1e-38), top_k, top_p).softmax(-1).cumsum(-1)
    dart = cdf[:, -1:] * torch.rand(len(cdf), 1, generator=generator, device=cdf.device)
    return (cdf <= dart * (1 - 1e-6)).sum(-1)  # a little less: inside, whatever the rounding


@torch.inference_mode()
def generate(
    model: Transformer, prompts: list[list[int]], n_new: int, stop=None, on_tokens=None, **how
) -> list[list[int]]:
    """Continue every prompt by at most `n_new` ids, up to and with the id `stop`: the new ids.

    Prompts of unequal length are padded on the left and the padding is masked; positions are
    relative, so a shift changes nothing.  Rows that have stopped leave the batch.
    on_tokens(ids, rows): called after every step, for streaming.  how: temperature, top_k, top_p,
    generator, as `pick` takes them.  Raises ValueError on an empty prompt, when prompt and answer
    do not fit the model's context, or where the model's states are not numbers (NaN).
    """
    if not all(prompts):
        raise ValueError("generate needs prompts of at least one id")
    device, width = model.embed.weight.device, max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts], device=device)  # (B, T)
    padding = torch.tensor([width - len(p) for p in prompts], device=device)
    columns = torch.arange(width + n_new, device=device)
    seen = columns >= padding[:, None]  # (B, columns); the future counts: it is not there yet
    mask = seen[:, None, None, :width] & (columns[:width, None] >= columns[:width])
    mask = mask | torch.eye(width, dtype=torch.bool, device=device)  # padding sees itself: no NaN
    cache = KVCache(model.config, *seen.shape, model.compute_dtype, device)
    rows, out = torch.arange(len(prompts), device=device), [[] for _ in prompts]
    going = torch.ones_like(rows, dtype=torch.bool)
    hidden = model.hidden(ids, cache, mask)[:, -1:]
    for _ in range(n_new):
        if hidden.isnan().any():
            raise ValueError("the model's states are not numbers (NaN), so no id can be drawn")
        new = pick(model.head(hidden)[:, 0], **how)  # (B,)
        for row, token in zip(rows[going].tolist(), new[going].tolist(), strict=True):
            out[row].append(token)
        if on_tokens is not None:
            on_tokens(new[going], rows[going])
        going = going & (new != stop) if stop is not None else going
        if not going.any() or cache.length == seen.shape[1] - 1:
            break
        if going.float().mean() < 0.75:  # copying the cache pays once a quarter has stopped
            new, rows, seen, cache.kv = new[going], rows[going], seen[going], cache.kv[:, :, going]
            going = going[going]
        hidden = model.hidden(new[:, None], cache, seen[:, None, None, : cache.length + 1])
    return out
