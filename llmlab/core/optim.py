"""How weights move: Muon for the matrices, AdamW for the rest, warm-up and cool-down.

Both by hand, as a `torch.optim.Optimizer` whose state is plain tensors: a checkpoint can keep them,
and a resumed run ends bit for bit where an unbroken one does.
"""

from collections import defaultdict

import torch
from torch import Tensor


def learning_rate(step: int, steps: int, warmup: float = 0.02, cooldown: float = 0.5) -> float:
    """The learning rate schedule, as a factor: up, level, then in a straight line down to zero.

    step: 0-based, of `steps`; warmup, cooldown: shares of the run.  Haegele et al. 2024.
    """
    rise = (step + 1) / max(1.0, warmup * steps)
    fall = (steps - step) / max(1.0, cooldown * steps)
    return min(1.0, rise, fall)


def orthogonalize(matrices: Tensor, rounds: int = 5, dtype: torch.dtype | None = None) -> Tensor:
    """Push all singular values of each matrix towards 1: (n, rows, cols) -> the same.

    Newton-Schulz iteration on X / |X|: a quintic in X that needs products only.  dtype: of the
    products; X is normalised before it is cast, as small entries would vanish in 16 bits.
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
    return x.to(matrices.dtype)


class Optimizer(torch.optim.Optimizer):
    """Muon on the matrices of the blocks, AdamW on embeddings, head, norms and everything else.

    named: (name, parameter) pairs, as a module's `named_parameters` gives them.  muon_lr, adam_lr:
    at factor 1; muon_lr=0 leaves every parameter to AdamW.  momentum: of Muon.
    `param_groups`: Muon's, then AdamW's.  `state[p]` holds "momentum", or "m" and "v".
    AdamW: Loshchilov & Hutter 2019, algorithm 2.
    """

    def __init__(
        self, named, muon_lr=0.02, adam_lr=4e-3, betas=(0.9, 0.95), weight_decay=0.0, momentum=0.95
    ):
        muon = {"params": [], "lr": muon_lr, "momentum": momentum}
        adam = {"params": [], "lr": adam_lr, "betas": betas}
        self.named = dict(named)
        for name, p in self.named.items():
            hidden = muon_lr and p.ndim == 2 and "blocks." in name
            (muon if hidden else adam)["params"].append(p)
        super().__init__([muon, adam], {"weight_decay": weight_decay, "step": 0})
        self.dtype = torch.float32  # of Muon's products: bf16 is enough, where it is fast

    def add_param_group(self, param_group: dict) -> None:
        """As torch's, which would first import torch's compiler: two seconds."""
        self.param_groups.append(self.defaults | param_group)

    @torch.no_grad()
    def step(self, factor: float = 1.0, max_norm: float = 1.0) -> float:
        """One update from the gradients, which it clips and then clears; returns their norm.

        factor: on the learning rates of this step, as `learning_rate` gives it.
        """
        norm = torch.nn.utils.clip_grad_norm_(self.named.values(), max_norm)
        for group in self.param_groups:
            group["step"] += 1
            update = self._muon if "momentum" in group else self._adamw
            update([p for p in group["params"] if p.grad is not None], group, group["lr"] * factor)
        for p in self.named.values():
            p.grad = None
        return norm.item()

    def _buffer(self, p: Tensor, name: str) -> Tensor:
        if name not in self.state[p]:
            self.state[p][name] = torch.zeros_like(p)
        return self.state[p][name]

    def _adamw(self, params: list[Tensor], group: dict, lr: float) -> None:
        beta1, beta2 = group["betas"]
        for p in params:
            m, v = self._buffer(p, "m"), self._buffer(p, "v")
            m.lerp_(p.grad, 1 - beta1)
            v.lerp_(p.grad.square(), 1 - beta2)
            m_hat = m / (1 - beta1 ** group["step"])
            v_hat = v / (1 - beta2 ** group["step"])
            p.mul_(1 - lr * group["weight_decay"] * (p.ndim > 1))  # norms and biases do not decay
            p.sub_(lr * m_hat / (v_hat.sqrt() + 1e-8))

    def _muon(self, params: list[Tensor], group: dict, lr: float) -> None:
        batches = defaultdict(list)  # matrices of one shape are made orthogonal together
        for p in params:
            momentum = self._buffer(p, "momentum")
            momentum.lerp_(p.grad, 1 - group["momentum"])
            p.grad.lerp_(momentum, group["momentum"])  # Nesterov: look ahead along the momentum
            batches[p.shape].append(p)
        for (rows, cols), batch in batches.items():
            updates = self._orthogonal([p.grad for p in batch])
            for p, update in zip(batch, updates, strict=True):
                p.mul_(1 - lr * group["weight_decay"])
                p.sub_(update, alpha=lr * max(1.0, rows / cols) ** 0.5)

    def _orthogonal(self, matrices: list[Tensor]) -> Tensor:
        return orthogonalize(torch.stack(matrices), dtype=self.dtype)
