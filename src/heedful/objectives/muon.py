"""Muon: steps whose matrices turn every direction by as much, Adam's for everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
BETAS = (0.9, 0.99)
RMS = 0.2
"""Root mean square of a matrix's step at rate 1: about that of Adam, so one rate serves both."""

ROUNDS = 5
A, B, C = 3.4445, -4.7750, 2.0315


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal.

        m <- mu m + (1 - mu) g
        W <- W - rate (.2 sqrt(max(rows, columns)) orthogonal((1 - mu) g + mu m) + decay W)

    A gradient of a hidden matrix is dominated by few directions; here all count alike. Sources:
    Jordan et al., Muon: An optimizer for hidden layers in neural networks (2024), for the rule and
    the coefficients of its iteration; Liu et al., arXiv 2502.16982, section 2.2, for the scale that
    goes with Adam's rate, and decoupled decay. Groups marked ``matrices`` move like this; all
    others as with AdamW, tables and biases among them, to whose rows it does not apply.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, *, eps: float = 1e-8) -> None:
        """Take groups of parameters, each with its ``weight_decay``."""
        super().__init__(groups, {"lr": lr, "eps": eps, "weight_decay": 0.0, "matrices": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            move = _turn if group["matrices"] else _adam
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                move(parameter, parameter.grad, self.state[parameter], group)


def _turn(weight: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    if not state:
        state["momentum"] = torch.zeros_like(weight)
    momentum = state["momentum"].lerp_(gradient, 1.0 - MOMENTUM)
    step = orthogonal(gradient.lerp(momentum, MOMENTUM))
    weight.add_(step.to(weight.dtype), alpha=-group["lr"] * RMS * max(weight.shape) ** 0.5)


def _adam(weight: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    if not state:
        state["step"] = torch.zeros((), dtype=torch.float32)
        state["mean"], state["square"] = torch.zeros_like(weight), torch.zeros_like(weight)
    state["step"] += 1
    mean = state["mean"].lerp_(gradient, 1.0 - BETAS[0])
    square = state["square"].lerp_(gradient * gradient, 1.0 - BETAS[1])
    grown, squared = (1.0 - beta ** int(state["step"]) for beta in BETAS)
    weight.addcdiv_(mean, (square / squared).sqrt_().add_(group["eps"]), value=-group["lr"] / grown)


def orthogonal(matrix: Tensor) -> Tensor:
    """Return about U V^T of ``matrix`` = U S V^T, [n, m]: singular values between .7 and 1.2.

    Five rounds of an odd polynomial that drives singular values towards 1 (Newton and Schulz), in
    bfloat16, which is exact enough for it.
    """
    wide = matrix.shape[0] <= matrix.shape[1]
    x = (matrix if wide else matrix.T).to(torch.bfloat16)
    x = x / (x.norm() + 1e-7)
    for _ in range(ROUNDS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=B, alpha=C), x, beta=A)
    return x if wide else x.T


def hidden_matrices(module: nn.Module, size: int) -> list[nn.Parameter]:
    """Return the matrices between the layers of ``module``: no table and no output layer.

    Args:
        module: a network.
        size: V, by which an output layer over units is known.
    """
    tables = {id(one.weight) for one in module.modules() if isinstance(one, nn.Embedding)}
    found = [
        parameter
        for one in module.modules()
        if isinstance(one, nn.Linear | nn.RNNBase)
        for parameter in one.parameters(recurse=False)
        if parameter.dim() == 2 and min(parameter.shape) > 1 and size not in parameter.shape
    ]
    return [one for one in dict.fromkeys(found) if one.requires_grad and id(one) not in tables]
