"""A Transformer in the Llama layout (Vaswani et al. 2017; Touvron et al. 2023).

Notable: RMSNorm before each part, rotary positions, SwiGLU, no biases, grouped key-value heads,
the embedding shared with the output head, and a norm on queries and keys (Dehghani et al. 2023)
that lets a small model bear a large learning rate.  Weights are kept in fp32; each matrix
multiplies in the dtype of the activations, which `compute_dtype` sets.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a Transformer; everything else follows from it."""

    vocab_size: int = 2048
    dim: int = 160
    n_layers: int = 4
    n_heads: int = 5
    n_kv_heads: int = 5
    hidden_dim: int = 384
    max_seq_len: int = 512
    rope_theta: float | dict = 10000.0  # or a dict: see rope_table
    norm_eps: float = 1e-5
    qk_norm: bool = True
    tie_embeddings: bool = True
    head_dim: int = 32


class Linear(nn.Linear):
    """A matrix that multiplies in the dtype of its input: (..., in) -> (..., out)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))


class RMSNorm(nn.RMSNorm):
    """x / rms(x) * weight over the last axis, in the dtype of x.  Zhang & Sennrich 2019, eq. 4."""

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


def rope_table(seq_len: int, head_dim: int, theta: float | dict) -> Tensor:
    """Cosines and sines of the rotary angles: (2, seq_len, head_dim).  Su et al. 2021, eq. 15.

    theta: the base; of a model whose context was extended a dict, which beside "rope_theta" has
    "slower": what each pair's frequency is divided by (`llmlab.hub` computes it).  The left half
    holds minus the angle, which gives its sines the sign that a rotation needs.
    """
    given = theta if isinstance(theta, dict) else {"rope_theta": theta, "slower": 1}
    frequencies = given["rope_theta"] ** (-torch.arange(0, head_dim, 2).float() / head_dim)
    angles = torch.outer(torch.arange(seq_len).float(), frequencies / torch.tensor(given["slower"]))
    angles = torch.cat((-angles, angles), dim=1)
    return torch.stack((angles.cos(), angles.sin()))


def apply_rope(x: Tensor, table: Tensor) -> Tensor:
    """Rotate each pair (i, i + head_dim/2) of x: (..., T, head_dim) by its position's angle."""
    return x * table[0] + x.roll(x.shape[-1] // 2, dims=-1) * table[1]


class KVCache:
    """Room for the keys and values of a batch, allocated once: (layer, 2, B, kv_heads, T, hd)."""

    def __init__(self, config: ModelConfig, batch: int, seq_len: int, dtype, device):
        shape = (config.n_layers, 2, batch, config.n_kv_heads, seq_len, config.head_dim)
        self.kv = torch.empty(shape, dtype=dtype, device=device)
        self.length = 0  # columns filled so far

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store k, v: (B, kv_heads, T, hd) after what is there; returns views of all so far."""
        end = self.length + k.shape[2]
        self.kv[layer, :, :, :, self.length : end] = torch.stack((k, v))
        return self.kv[layer, :, :, :, :end].unbind()


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(q k^T / sqrt(hd) + mask) v: the values, mixed by how well each key fits the query.

    q: (B, heads, T, hd); k, v: (B, heads, S, hd); mask: (T, S) or (B, 1, T, S), added to the
    scores: 0 where a query may look, far below zero where not; None is causal.  Vaswani et al.
    2017, eq. 1.  On a GPU the fused kernel is faster; on a CPU, in bf16, the plain formula is.
    """
    if q.is_cuda or mask is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
    scores = (q * q.shape[-1] ** -0.5) @ k.mT + mask  # (B, heads, T, S)
    return scores.softmax(-1) @ v


class Attention(nn.Module):
    """Causal multi-head attention; groups of query heads may share one key-value head."""

    def __init__(self, config: ModelConfig, layer: int):
        super().__init__()
        c, self.layer, self.head_dim = config, layer, config.head_dim
        self.q_proj = Linear(c.dim, c.n_heads * c.head_dim, bias=False)
        self.k_proj = Linear(c.dim, c.n_kv_heads * c.head_dim, bias=False)
        self.v_proj = Linear(c.dim, c.n_kv_heads * c.head_dim, bias=False)
        self.o_proj = Linear(c.n_heads * c.head_dim, c.dim, bias=False)
        self.q_norm = RMSNorm(c.head_dim, c.norm_eps) if c.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(c.head_dim, c.norm_eps) if c.qk_norm else nn.Identity()
        self.group = c.n_heads // c.n_kv_heads

    def forward(self, x: Tensor, rope: Tensor, mask: Tensor, cache: KVCache | None) -> Tensor:
        split = (*x.shape[:2], -1, self.head_dim)  # (B, T, heads, hd)
        q = self.q_proj(x).view(split).transpose(1, 2)  # (B, heads, T, hd)
        k = self.k_proj(x).view(split).transpose(1, 2)
        v = self.v_proj(x).view(split).transpose(1, 2)
        q, k = apply_rope(self.q_norm(q), rope), apply_rope(self.k_norm(k), rope)
        if cache is not None:
            k, v = cache.append(self.layer, k, v)
        if self.group > 1:  # Ainslie et al. 2023
            k, v = (t.repeat_interleave(self.group, dim=1) for t in (k, v))
        y = attend(q, k, v, mask)  # (B, heads, T, hd)
        return self.o_proj(y.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """SwiGLU: down(silu(gate x) * up x).  Shazeer 2020, eq. 6."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.gate_proj = Linear(config.dim, config.hidden_dim, bias=False)
        self.up_proj = Linear(config.dim, config.hidden_dim, bias=False)
        self.down_proj = Linear(config.hidden_dim, config.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """Attention, then the MLP, each reading a norm of the residual stream and adding to it."""

    def __init__(self, config: ModelConfig, layer: int):
        super().__init__()
        self.attn_norm = RMSNorm(config.dim, config.norm_eps)
        self.attn = Attention(config, layer)
        self.mlp_norm = RMSNorm(config.dim, config.norm_eps)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, rope: Tensor, mask: Tensor, cache: KVCache | None) -> Tensor:
        x = x + self.attn(self.attn_norm(x), rope, mask, cache)
        return x + self.mlp(self.mlp_norm(x))


class Transformer(nn.Module):
    """ids: (B, T) -> logits: (B, T, V), each row a prediction of the next id."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.compute_dtype = torch.float32
        self.embed = nn.Embedding(config.vocab_size, config.dim)
        self.blocks = nn.ModuleList(Block(config, i) for i in range(config.n_layers))
        self.norm = RMSNorm(config.dim, config.norm_eps)
        self.head = Linear(config.dim, config.vocab_size, bias=False)
        table = rope_table(config.max_seq_len, config.head_dim, config.rope_theta)
        self.register_buffer("rope", table, persistent=False)
        # Small random weights; what adds to the residual stream starts at zero, so that at first
        # all ids are about equally likely and the loss is close to ln V.
        for name, p in self.named_parameters():
            if p.ndim == 2:
                nn.init.normal_(p, std=0.02 if name.startswith(("embed", "head")) else 0.05)
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                nn.init.zeros_(p)
        if config.tie_embeddings:
            self.head.weight = self.embed.weight

    def hidden(self, ids: Tensor, cache: KVCache | None = None, mask=None) -> Tensor:
        """The last layer's normed states: (B, T) -> (B, T, dim).

        cache: keys and values of the columns before these ids.  mask: (B, columns), false where a
        column, cached ones included, is padding; later columns are never seen.  A query that may
        look nowhere gets about the mean of all values: of no use, but finite, and so are its
        gradients.  Raises ValueError beyond `max_seq_len`.
        """
        start = cache.length if cache is not None else 0
        end = start + ids.shape[1]
        if end > self.config.max_seq_len:
            raise ValueError(f"{end} positions, but the model has {self.config.max_seq_len}")
        x = self.embed(ids).to(self.compute_dtype)  # (B, T, dim)
        rope = self.rope[:, start:end].to(x.dtype)
        look = torch.ones(end - start, end, dtype=torch.bool, device=x.device).tril(start)
        look = look if mask is None else look & mask[:, None, None, :end]  # (B, 1, T, columns)
        # Far below any score, yet not -inf: a row of nothing else would have a softmax of NaN.
        bias = torch.where(look, 0.0, torch.finfo(x.dtype).min / 2).to(x.dtype)
        for block in self.blocks:
            x = block(x, rope, bias, cache)
        if cache is not None:
            cache.length = end
        return self.norm(x)

    def forward(self, ids: Tensor, cache: KVCache | None = None, mask=None) -> Tensor:
        """Logits in the compute dtype: (B, T) -> (B, T, V).  Arguments as in `hidden`."""
        return self.head(self.hidden(ids, cache, mask))
