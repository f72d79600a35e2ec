"""What a step is worth, by a small network: for features that are numbers, not cases.

Fitted with torch, read with NumPy: a step costs two small products, in an environment's loop too.
Import it by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from heedful.reward.clips import ClipPairs
from heedful.reward.lapsing import Lapsing

Floats = npt.NDArray[np.float64]

HIDDEN = 32
STEPS, RATE = 150, 0.02
_FLAT = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class NetworkSteps:
    """A step is worth w tanh(B tanh(A z + a) + b), with z its features on a common scale.

    Attributes:
        centre: float64 [F], means of the clips it was fitted to.
        scale: float64 [F], standard deviations.
        inner: A, [F, H].
        inner_bias: a, [H].
        outer: B, [H, H].
        outer_bias: b, [H].
        last: w, [H].
    """

    centre: Floats
    scale: Floats
    inner: Floats
    inner_bias: Floats
    outer: Floats
    outer_bias: Floats
    last: Floats

    def rewards(self, features: Floats) -> Floats:
        """Return [...] of features [..., F]."""
        hidden = np.tanh((features - self.centre) / self.scale @ self.inner + self.inner_bias)
        worth: Floats = np.tanh(hidden @ self.outer + self.outer_bias) @ self.last
        return worth

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return its weights by name."""
        return {name: getattr(self, name) for name in self.__slots__}


def fit_network(
    pairs: ClipPairs, counts: Floats, penalty: float, likelihood: Lapsing, *, seed: int
) -> NetworkSteps:
    """Return a network that makes the answers likely, under a squared penalty on its weights.

        sum_i c_i loss(d_i, y_i) + penalty / 2 |weights|^2

    Adam on all pairs at once, :data:`STEPS` steps with a rate that falls to 0; members differ in
    what they begin with as well as in what they saw.
    """
    rows = np.flatnonzero(counts > 0)
    both = np.concatenate([pairs.left[rows], pairs.right[rows]])
    centre = both.mean((0, 1))
    scale = both.std((0, 1))
    scale = np.where(scale > _FLAT, scale, 1.0)
    z = torch.from_numpy((both - centre) / scale).float()  # [2 n, T, F]
    outcomes = torch.from_numpy(pairs.outcomes[rows]).float()
    weights = torch.from_numpy(counts[rows]).float()
    parameters = _drawn(z.shape[-1], seed)
    optimiser = torch.optim.Adam(parameters, lr=RATE)
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1.0 - step / STEPS)
        inner, inner_bias, outer, outer_bias, last = parameters
        hidden = torch.tanh(torch.tanh(z @ inner + inner_bias) @ outer + outer_bias)
        worth = (hidden @ last).sum(1)  # [2 n]
        lead = worth[: len(rows)] - worth[len(rows) :]
        sure = (1.0 - likelihood.share) * torch.sigmoid(lead) + likelihood.share / 2
        losses = torch.nn.functional.binary_cross_entropy(sure, outcomes, reduction="none")
        size = torch.stack([one.square().sum() for one in (inner, outer, last)]).sum()
        loss = weights @ losses + penalty / 2 * size
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    found = [one.detach().double().numpy() for one in parameters]
    return NetworkSteps(centre, scale, *found)


def _drawn(width: int, seed: int) -> list[torch.Tensor]:
    """Return weights to begin with: A, a, B, b, w."""
    rng = torch.Generator().manual_seed(seed)
    shapes = [(width, HIDDEN), (HIDDEN,), (HIDDEN, HIDDEN), (HIDDEN,), (HIDDEN,)]
    made = []
    for number, shape in enumerate(shapes):
        drawn = torch.zeros(shape)
        if number in (0, 2, 4):
            drawn = torch.randn(shape, generator=rng) / shape[0] ** 0.5
        made.append(drawn.requires_grad_())
    return made
