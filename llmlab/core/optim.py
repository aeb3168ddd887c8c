"""How weights move: Muon for the matrices, AdamW for the rest, warm-up and cool-down.

Both by hand, with their state in plain named tensors, so that a checkpoint can keep them and a
resumed run ends bit for bit where an unbroken one does.
"""

import torch
from torch import Tensor


def learning_rate(step: int, steps: int, warmup: float = 0.02, cooldown: float = 0.5) -> float:
    """Factor on the learning rate: up, level, then in a straight line down to zero.

    step: 0-based, of `steps`; warmup, cooldown: shares of the run.  Haegele et al. 2024.
    """
    rise = (step + 1) / max(1.0, warmup * steps)
    fall = (steps - step) / max(1.0, cooldown * steps)
    return min(1.0, rise, fall)


def orthogonalize(matrices: Tensor, rounds: int = 5, dtype: torch.dtype | None = None) -> Tensor:
    """Push all singular values of each matrix towards 1: (n, rows, cols) -> the same.

    Newton-Schulz iteration on X / |X|: a quintic in X that needs products only.  dtype: of the
    products, and of what is returned; the norm is taken before, since in fp16 it may overflow.
    Jordan et al. 2024, "Muon", whose coefficients these are.
    """
    if matrices.shape[1] > matrices.shape[2]:  # the smaller Gram matrix is the cheaper one
        return orthogonalize(matrices.mT, rounds, dtype).mT
    a, b, c = 3.4445, -4.7750, 2.0315
    x = (matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(dtype or matrices.dtype)
    for _ in range(rounds):
        gram = x @ x.mT
        # a X + (b G + c G G) X, each product in one go with its sum
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


class Optimizer:
    """Muon on the matrices of the blocks, AdamW on embeddings, head, norms and everything else.

    named_parameters: as a module gives them.  muon_lr, adam_lr: at factor 1; muon_lr=0 leaves
    every parameter to AdamW.  momentum: of Muon.  state: name -> tensor, what checkpoints keep.
    AdamW: Loshchilov & Hutter 2019, algorithm 2.
    """

    def __init__(
        self, named_parameters, muon_lr=0.02, adam_lr=4e-3, betas=(0.9, 0.95), weight_decay=0.0
    ):
        self.muon_lr, self.adam_lr, self.betas = muon_lr, adam_lr, betas
        self.weight_decay, self.momentum, self.t = weight_decay, 0.95, 0
        self.dtype = torch.float32  # of Muon's products: bf16 is enough, where it is fast
        self.rest, self.by_shape, self.state = {}, {}, {}  # the matrices go by their shape
        for name, p in named_parameters:
            if muon_lr and p.ndim == 2 and "blocks." in name:
                self.by_shape.setdefault(tuple(p.shape), []).append(p)
            else:
                self.rest[name] = p

    def parameters(self) -> list[Tensor]:
        return [*self.rest.values(), *(p for group in self.by_shape.values() for p in group)]

    @torch.no_grad()
    def step(self, factor: float = 1.0, max_norm: float = 1.0) -> float:
        """One update from the gradients, which it clips and then clears; returns their norm."""
        norm = torch.nn.utils.clip_grad_norm_(self.parameters(), max_norm)
        self.t += 1
        for name, p in self.rest.items():
            if p.grad is not None:
                self._adamw(name, p, self.adam_lr * factor)
        for shape, group in self.by_shape.items():
            self._muon(f"muon.{shape[0]}x{shape[1]}", group, self.muon_lr * factor)
        for p in self.parameters():
            p.grad = None
        return norm.item()

    def _buffer(self, key: str, like: Tensor) -> Tensor:
        if key not in self.state:
            self.state[key] = torch.zeros_like(like)
        return self.state[key]

    def _adamw(self, name: str, p: Tensor, lr: float) -> None:
        m, v = self._buffer(name + ".m", p), self._buffer(name + ".v", p)
        m.lerp_(p.grad, 1 - self.betas[0])
        v.lerp_(p.grad.square(), 1 - self.betas[1])
        m_hat = m / (1 - self.betas[0] ** self.t)
        v_hat = v / (1 - self.betas[1] ** self.t)
        p.mul_(1 - lr * self.weight_decay * (p.ndim > 1))  # a norm's gains are left alone
        p.sub_(lr * m_hat / (v_hat.sqrt() + 1e-8))

    def _muon(self, key: str, group: list[Tensor], lr: float) -> None:
        grad = torch.stack([p.grad for p in group])  # matrices of one shape go as one batch
        momentum = self._buffer(key, grad)
        momentum.lerp_(grad, 1 - self.momentum)
        update = grad.lerp(momentum, self.momentum)  # Nesterov's look ahead
        update = orthogonalize(update, dtype=self.dtype).float()
        rows, cols = group[0].shape
        scale = lr * max(1.0, rows / cols) ** 0.5
        for p, u in zip(group, update, strict=True):
            p.mul_(1 - lr * self.weight_decay)
            p.sub_(u, alpha=scale)
