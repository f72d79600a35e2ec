"""Reward within bounds: a Lagrangian, its prices, and what a policy is estimated to cost.

    max_theta min_{price >= 0}  E[r] - sum_k price_k (E[c_k] - limit_k)

The policy ascends in the reward less what it is charged, each price in what its limit is missed by
(dual ascent; Altman, Constrained Markov Decision Processes, 1999, chapter 3). One value head learns
the charged return, as in reward-constrained policy optimisation (Tessler et al., arXiv 1805.11074,
section 3). Dual ascent alone is the integral part of a controller, and overshoots by as much as
the policy lags behind; a proportional part damps it (Stooke et al., arXiv 2007.03964, section 5;
the derivative part is left out). A trust region that keeps each step feasible, as in constrained
policy optimisation (Achiam et al., arXiv 1705.10528), is not here: the gate refuses what breaks a
limit.

E[c] is that of the policy as it stands and not of the log: :func:`weights_of_decisions`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from heedful.objectives.policy_gradient import importance
from heedful.policy import Batch, scatter

CAP = 20.0
"""Highest importance weight in an estimated cost: far above the one in the gradient, whose bias
would set the price, and low enough for some hundred units to say something."""

MEMORY = 0.7
"""Share of what was known that is kept in each step: an estimate is one over about three steps. A
longer memory is less noisy, and tells of a policy that has moved on: prices swing."""


AHEAD = 1 / 3
"""For which part of the training a price looks ahead. With 0 it goes on rising until the policy has
followed, and swings past the optimum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The mean of a measure over decisions is to be at most ``bound``, or at least.

    Attributes:
        name: what it is called in the curves.
        column: of ``Batch.measured``; a decision has the mean over its units.
        bound: the limit.
        sign: 1 for at most, -1 for at least.
        whole: the measure is one of decisions as a whole and stands n-fold at the last of n units.
    """

    name: str
    column: int
    bound: float
    sign: int
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """The mean rewards of groups of subjects are to lie at most ``within`` apart.

    Attributes:
        name: what it is called in the curves.
        columns: of ``Batch.measured``, one for each of at least two groups: 1 where the decision is
            of a subject in it, else 0.
        within: the largest difference that is allowed.
    """

    name: str
    columns: tuple[int, ...]
    within: float


class Price:
    """One price, or several: a controller that is moved by what the limits are missed by.

        I <- clip(I + rate * share * excess, 0, highest)
        price = clip(I + rate / 3 * excess, 0, highest)

    The first line is dual ascent, in each step by its share of the training. With the second the
    price answers at once and not only when the violation has added up: as if that went on for
    another third of the training (Stooke et al., arXiv 2007.03964, algorithm 2 with K_I = rate and
    K_P = rate / 3). Rates are those of a whole training, because a policy takes as long to follow
    its rewards, however many rows there are and steps it is cut into.

    >>> price = Price(torch.tensor(0.0))
    >>> price.move(torch.tensor(0.1), share=0.01, rate=15.0, highest=9.0)
    >>> price.now, price.integral
    (tensor(0.5150), tensor(0.0150))
    """

    def __init__(self, begin: Tensor) -> None:
        """Begin at ``begin``, of any shape."""
        self.integral = self.now = begin

    def move(self, excess: Tensor, *, share: float, rate: float, highest: float) -> None:
        """Move by ``excess``, positive where a limit is broken.

        Args:
            excess: what the limit is missed by, of the same shape.
            share: how much of the training has gone by since the last time.
            rate: see above.
            highest: see above.
        """
        self.integral = (self.integral + share * rate * excess).clamp(0.0, highest)
        self.now = (self.integral + AHEAD * rate * excess).clamp(0.0, highest)

    def tensors(self) -> dict[str, Tensor]:
        """Return both numbers."""
        return {"integral": self.integral, "price": self.now}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`tensors` gave."""
        self.integral, self.now = tensors["integral"], tensors["price"]


def weights_of_decisions(logps: Tensor, batch: Batch, *, whole: bool) -> Tensor:
    """Return how much each slot of the log counts in a mean of the policy that gives ``logps``.

        E_pi[c] ~ sum_d sum_{u in d} W_u c_u / n_d  /  sum_d sum_{u in d} W_u / n_d

    with n_d the units of decision d. For a measure that knows a number for each unit, W_u =
    min(20, pi(x_u) / h(x_u)): what the policy would choose after what the log showed before in the
    same decision, which is the policy gradient's own first-order view of it. For one of decisions
    as a whole, W is the capped product of the ratios of all its units, the same for each.

    It is self-normalised (Swaminathan & Joachims, NIPS 2015, equation 8), so its bias vanishes as
    1/n; two more do not. The cap pulls it towards the log where the policy does what the log hardly
    ever did; and what subjects had seen before the decision, and for a measure of units earlier in
    it, is what the log showed them.

    Args:
        logps: [B, T], of the policy as it stands; no gradient flows.
        batch: with weights, 0 for what does not count.
        whole: whether the measure is one of whole decisions.
    """
    known = _known(batch)
    h = torch.where(known, batch.behaviour_logps, 0.0)
    pi = torch.where(known, logps.detach().double(), 0.0)
    if whole:
        h, pi = _summed(batch, h), _summed(batch, pi)
    ratio = importance(pi, h, known, cap=CAP).double()
    return ratio * batch.weights * _share(batch)


class Term(Protocol):
    """One constraint, its prices, and what it has seen of the policy lately."""

    def charge(self, batch: Batch) -> Tensor:
        """Return what each slot is charged on the scale of a decision's mean, [B, T]."""
        ...

    def seen(self, logps: Tensor, batch: Batch) -> Tensor:
        """Return sums over the slots, [S] float64, which add up over batches."""
        ...

    def settle(self, sums: Tensor, *, share: float, rate: float, highest: float) -> None:
        """Remember the sums of a step that was ``share`` of the training, and move the prices."""
        ...

    def shown(self) -> dict[str, float]:
        """Return price, cost and limit by name."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that has to survive."""
        ...

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`tensors` gave."""
        ...


class Bound:
    """A :class:`Limit` with its price; r - price * sign * (c - bound) takes the place of r."""

    def __init__(self, limit: Limit, price: float = 0.0) -> None:
        """Begin at ``price``."""
        self.limit = limit
        self._price = Price(torch.tensor(price, dtype=torch.float64))
        self._sums = torch.zeros(2, dtype=torch.float64)  # of weight * cost, and of weight

    def charge(self, batch: Batch) -> Tensor:
        """Return price * sign * (c - bound), 0 where the measure is not known."""
        cost = _column(batch, self.limit.column)
        charged = self._price.now * self.limit.sign * (cost - self.limit.bound)
        return torch.nan_to_num(charged, nan=0.0)

    def seen(self, logps: Tensor, batch: Batch) -> Tensor:
        """Return the sums whose ratio is the estimated cost, [2]."""
        cost = _column(batch, self.limit.column)
        weights = weights_of_decisions(logps, batch, whole=self.limit.whole)
        weights = torch.where(torch.isnan(cost), 0.0, weights)
        return torch.stack([(weights * torch.nan_to_num(cost)).sum(), weights.sum()])

    def settle(self, sums: Tensor, *, share: float, rate: float, highest: float) -> None:
        """Raise the price while the estimated cost breaks the limit, lower it while it does not."""
        self._sums = MEMORY * self._sums + sums
        if float(self._sums[1]) > 0:
            excess = self.limit.sign * (self._cost - self.limit.bound)
            self._price.move(excess, share=share, rate=rate, highest=highest)

    @property
    def _cost(self) -> Tensor:
        return self._sums[0] / self._sums[1]

    def shown(self) -> dict[str, float]:
        """Return price, cost and limit; no cost before anything was seen."""
        name = self.limit.name
        found = {f"price_{name}": float(self._price.now), f"limit_{name}": self.limit.bound}
        return found | ({f"cost_{name}": float(self._cost)} if float(self._sums[1]) > 0 else {})

    def tensors(self) -> dict[str, Tensor]:
        """Return the price and the sums."""
        return {"sums": self._sums, **self._price.tensors()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`tensors` gave."""
        self._sums = tensors["sums"]
        self._price.restore(tensors)


class Gap:
    """An :class:`Alike` with a price for each ordered pair of groups.

    That the largest difference of mean rewards is at most ``within`` says J_g - J_h <= within for
    all pairs, each with a price p_gh >= 0. Their Lagrangian is a reward that counts differently by
    group, with q_g the share of decisions that are of group g:

        E[r] - sum_gh p_gh (J_g - J_h - within)  =  sum_g (q_g - m_g) J_g + constant,
        m_g = sum_h p_gh - p_hg

    so a unit of group g earns r - m_g / q_g (r - J_g). Where m_g is above q_g the group is served
    worse on purpose: the constraint asks for alike, whichever way. What the differences cost
    together, sum p_gh, is the price that is shown.
    """

    def __init__(self, alike: Alike) -> None:
        """Begin with prices of 0."""
        self.alike = alike
        n = len(alike.columns)
        self._prices = Price(torch.zeros(n, n, dtype=torch.float64))
        self._sums = torch.zeros(2 * n + 1, dtype=torch.float64)  # rewards, weights; all weights

    @property
    def _means(self) -> Tensor:
        """J_g, [G]; NaN of a group that was not seen."""
        n = len(self.alike.columns)
        return self._sums[:n] / self._sums[n : 2 * n]

    def charge(self, batch: Batch) -> Tensor:
        """Return m_g / q_g (r - J_g), 0 for subjects in no group."""
        n = len(self.alike.columns)
        shares = self._sums[n : 2 * n] / self._sums[-1]
        prices = self._prices.now
        signed = torch.nan_to_num((prices.sum(1) - prices.sum(0)) / shares, posinf=0.0, neginf=0.0)
        of_group = self._of_group(batch)
        means = of_group @ torch.nan_to_num(self._means)
        return (of_group @ signed) * (batch.rewards.double() - means)

    def seen(self, logps: Tensor, batch: Batch) -> Tensor:
        """Return the sums of each group's rewards and weights, and of all weights, [2 G + 1]."""
        weights = weights_of_decisions(logps, batch, whole=False)
        each = self._of_group(batch) * weights[..., None]
        rewards = (each * batch.rewards.double()[..., None]).sum((0, 1))
        return torch.cat([rewards, each.sum((0, 1)), weights.sum()[None]])

    def settle(self, sums: Tensor, *, share: float, rate: float, highest: float) -> None:
        """Raise the price of each pair that lies too far apart, lower that of the others."""
        self._sums = MEMORY * self._sums + sums
        apart = self._means[:, None] - self._means[None, :] - self.alike.within
        excess = torch.nan_to_num(apart, nan=0.0)  # of a group that was not seen nothing is known
        self._prices.move(excess, share=share, rate=rate, highest=highest)

    def shown(self) -> dict[str, float]:
        """Return the price, the largest difference seen, and what is allowed."""
        name, known = self.alike.name, self._means[~torch.isnan(self._means)]
        found = {f"price_{name}": float(self._prices.now.sum()), f"limit_{name}": self.alike.within}
        apart = {f"cost_{name}": float(known.max() - known.min())} if len(known) > 1 else {}
        return found | apart

    def tensors(self) -> dict[str, Tensor]:
        """Return the prices and the sums."""
        return {"sums": self._sums, **self._prices.tensors()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`tensors` gave."""
        self._sums = tensors["sums"]
        self._prices.restore(tensors)

    def _of_group(self, batch: Batch) -> Tensor:
        columns = [_column(batch, column) for column in self.alike.columns]
        return torch.nan_to_num(torch.stack(columns, -1))


class Lagrangian:
    """All constraints of a training run; without any it changes nothing."""

    def __init__(
        self,
        terms: Sequence[Term] = (),
        *,
        units: float = 1.0,
        rate: float = 15.0,
        highest: float = 10.0,
    ) -> None:
        """Keep to ``terms``.

        Args:
            terms: the constraints with their prices.
            units: how many units a decision has on average. A decision is charged so many times,
                divided among its units: so a price is mean reward *per unit* for 1 of the measure.
            rate: how far a price moves in the training, per 1 that its limit is missed by.
            highest: the highest price; a limit that cannot be kept would else drown the reward.
        """
        self.terms, self._units = tuple(terms), units
        self._rate, self._highest = rate, highest

    def charged(self, batch: Batch) -> Batch:
        """Return the batch whose rewards are less what their units are charged.

        Only units of ours are, those with a logged probability.
        """
        if not self.terms:
            return batch
        total = torch.stack([term.charge(batch) for term in self.terms]).sum(0)
        charge = self._units * torch.where(_known(batch), total * _share(batch), 0.0)
        return batch.filled(rewards=(batch.rewards.double() - charge).to(batch.rewards.dtype))

    def seen(self, logps: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return what a step shows of the costs of the policy, as sums for ``Loss.metrics``."""
        return {
            f"{_SUMS}{number}.{place}": value
            for number, term in enumerate(self.terms)
            for place, value in enumerate(term.seen(logps, batch))
        }

    def settle(self, metrics: Mapping[str, float], *, share: float) -> dict[str, float]:
        """Move the prices by what a step has shown; return the other metrics, and the prices.

        Args:
            metrics: of the step, as :func:`heedful.objectives.descend` gives them.
            share: how much of the training the step was.
        """
        count = metrics.get("count", 1.0)
        rest = {name: value for name, value in metrics.items() if not name.startswith(_SUMS)}
        for number, term in enumerate(self.terms):
            head = f"{_SUMS}{number}."
            sums: list[float] = []
            while (name := f"{head}{len(sums)}") in metrics:
                sums.append(metrics[name] * count)
            term.settle(
                torch.tensor(sums, dtype=torch.float64),
                share=share,
                rate=self._rate,
                highest=self._highest,
            )
        return rest | self.shown()

    def shown(self) -> dict[str, float]:
        """Return every price, with the cost it is for and the limit."""
        return {name: value for term in self.terms for name, value in term.shown().items()}

    def words(self) -> list[str]:
        """Say how each limit is kept and at what price; nothing before anything was seen."""
        shown, said = self.shown(), []
        for name in (key.removeprefix("limit_") for key in shown if key.startswith("limit_")):
            if (cost := shown.get(f"cost_{name}")) is not None:
                limit, price = shown[f"limit_{name}"], shown[f"price_{name}"]
                said.append(f"{name} {cost:.3f} (limit {limit:g}, price {price:.2f})")
        return said

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that has to survive, as tensors with names."""
        return {
            f"{number}.{name}": tensor
            for number, term in enumerate(self.terms)
            for name, tensor in term.tensors().items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`tensors` gave."""
        for number, term in enumerate(self.terms):
            head = f"{number}."
            term.restore(
                {k.removeprefix(head): v for k, v in tensors.items() if k.startswith(head)}
            )


_SUMS = "sums."


def _known(batch: Batch) -> Tensor:
    return batch.mask & ~torch.isnan(batch.behaviour_logps)


def _column(batch: Batch, column: int) -> Tensor:
    if batch.measured is None:
        raise ValueError("a constraint needs a batch with what is measured")
    return batch.measured[..., column]


def _summed(batch: Batch, values: Tensor) -> Tensor:
    """Return the sum of ``values`` [B, T] over the units of each decision, at each of them."""
    row = torch.arange(len(batch), device=values.device)[:, None].expand_as(batch.decisions)
    pairs = torch.stack([row[batch.mask], batch.decisions[batch.mask]])
    _, place = torch.unique(pairs, dim=1, return_inverse=True)
    totals = values.new_zeros(len(place)).index_add(0, place, values[batch.mask])
    return scatter(totals[place], batch.mask)


def _share(batch: Batch) -> Tensor:
    """Return 1 / n_d at each of the n_d units of a decision, [B, T] float64; 0 off the mask."""
    n = _summed(batch, batch.mask.double())
    return torch.where(batch.mask, 1.0 / n.clamp(min=1.0), 0.0)
