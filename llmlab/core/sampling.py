"""Writing text with a model: one token at a time, a whole batch at once."""

import torch
from torch import Tensor

from .model import KVCache, Transformer


def filter_logits(
    logits: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> Tensor:
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
        logits = logits.scatter(-1, order, ranked.masked_fill(before >= top_p, -torch.inf))
    return logits


def pick(logits: Tensor, temperature, top_k, top_p, generator) -> Tensor:
    """One id a row of logits (B, V) -> (B,): the likeliest at temperature 0, else a draw."""
    if temperature == 0:
        return logits.argmax(-1)
    probs = filter_logits(logits, temperature, top_k, top_p).softmax(-1)
    # The Gumbel-max trick in its exponential form: a draw without sorting or cumulating.
    noise = torch.empty_like(probs).exponential_(generator=generator)
    return (probs / noise).argmax(-1)


@torch.inference_mode()
def generate(
    model: Transformer,
    prompts: list[list[int]],
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    stop: int | None = None,
    generator: torch.Generator | None = None,
    on_tokens=None,
) -> list[list[int]]:
    """Continue every prompt; returns the new ids of each, up to and with `stop`.

    Prompts of unequal length are padded on the left and the padding is masked; positions are
    relative, so a shift changes nothing.  Rows that have stopped leave the batch.
    on_tokens(ids, rows): called after every step, for streaming.  Raises ValueError on an empty
    prompt, a temperature below 0, or when prompt and answer do not fit the model's context.
    """
    if not all(prompts) or not temperature >= 0:
        raise ValueError("generate needs prompts of at least one id and a temperature >= 0")
    device, width = model.embed.weight.device, max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts], device=device)  # (B, T)
    seen = torch.zeros(len(prompts), width + max_new_tokens, dtype=torch.bool, device=device)
    for row, prompt in zip(seen, prompts, strict=True):
        row[width - len(prompt) :] = True  # the future counts as seen: it is not there yet
    columns = torch.arange(width, device=device)
    mask = seen[:, None, None, :width] & (columns[:, None] >= columns)
    mask = mask | torch.eye(width, dtype=torch.bool, device=device)  # padding sees itself: no NaN
    cache = KVCache(model.config, *seen.shape, model.compute_dtype, device)
    rows, out = torch.arange(len(prompts), device=device), [[] for _ in prompts]
    going = torch.ones_like(rows, dtype=torch.bool)
    hidden = model.hidden(ids, cache, mask)[:, -1:]
    for _ in range(max_new_tokens):
        new = pick(model.head(hidden)[:, 0], temperature, top_k, top_p, generator)  # (B,)
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
