"""Learning from decisions that were compared with one another: direct preference optimisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from heedful.objectives.loss import Loss
from heedful.objectives.whole import Whole
from heedful.policy import Batch, Outputs

DIRECT_NEEDS = frozenset({"logps"})

Form = Literal["sigmoid", "ipo"]


def dpo(
    outputs: Outputs,
    batch: Batch,
    *,
    beta: float = 0.1,
    form: Form = "sigmoid",
    margin: float = 0.0,
    noise: float = 0.0,
) -> Loss:
    """Make what was preferred likelier than what was not, as seen from the reference policy.

        h = log pi(y_w | x) / ref(y_w | x) - log pi(y_l | x) / ref(y_l | x)
        g = h - margin * (R_w - R_l) / beta
        L = sum over pairs of w l(g),  l(g) = - log sigmoid(beta g)   or   (g - 1 / (2 beta))^2

    The first form is DPO (Rafailov et al., arXiv 2305.18290, equation 7), the second IPO (Azar et
    al., arXiv 2310.12036, equation 17, with tau = beta), which does not run off where people always
    agree. Log-probabilities are summed over all units, the one that ends a reply included; that
    pushes length, so ``chosen_longer`` is shown, and win rates want a look with length held equal.

    *Which* is preferred is what ``rewards`` say: of the two decisions of a pair the one with the
    higher total, R. Comparisons without numbers are written as 1 and 0; ``margin`` asks for more
    where the gap is larger (the offset of Amini et al., arXiv 2402.10571, linear in the
    gap). Equal rewards are a tie, half a win each: (l(h) + l(-h)) / 2, least at h = 0. Where the
    reward of one is not known (NaN), the pair says nothing.

    With ``noise`` = e > 0, the share of comparisons thought to be the wrong way round, each counts
    ((1 - e) l_kept - e l_reversed) / (1 - 2 e), whose mean is the loss without that noise (robust
    DPO: Chowdhury et al., arXiv 2403.00409, section 3). It is not bounded below.

    The weight w of a pair is the mean of its decisions' weights, theirs the mean over their units.
    It is normal that the preferred one becomes less likely too: both log-probabilities are shown.
    Ties have no part in these metrics, and have one of their own, ``ties``.

    Args:
        outputs: with "logps", in evaluation mode (no dropout), at the temperature of the sampler.
        batch: with ``pairs`` and ``reference_logps``, pairs whole as :meth:`Batch.split
            <heedful.policy.Batch.split>` leaves them.
        beta: how dearly leaving the reference is paid for, above 0.
        form: "sigmoid" or "ipo".
        margin: in units of beta h for each unit of reward.
        noise: at least 0, below 1/2.

    Raises:
        ValueError: an option is out of range, the batch has no pairs or reference, or one of a pair
            is missing.
    """
    _check_options(beta, form, noise)
    pairs = _Pairs.of(outputs, batch)
    chosen, rejected = pairs.ratios.unbind(1)
    offset = margin * pairs.gap / beta
    kept, turned = (
        _one_way(h - offset, beta, form) for h in (chosen - rejected, rejected - chosen)
    )
    loss = ((1.0 - noise) * kept - noise * turned) / (1.0 - 2.0 * noise)
    loss = torch.where(pairs.gap == 0.0, 0.5 * (kept + turned), loss)
    return Loss((loss * pairs.weight).sum(), pairs.weight.sum(), pairs.shown(beta))


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """The P pairs of a batch; the first of the two is the preferred one.

    Attributes:
        logps, ratios: [P, 2], of the whole decision; log pi and log pi / ref.
        lengths: float64 [P, 2].
        gap: float64 [P], by how much the first one's reward is higher; at least 0.
        weight: float64 [P].
    """

    logps: Tensor
    ratios: Tensor
    lengths: Tensor
    gap: Tensor
    weight: Tensor

    @classmethod
    def of(cls, outputs: Outputs, batch: Batch) -> _Pairs:
        """Find the pairs, and which of the two was preferred."""
        if batch.pairs is None:
            raise ValueError("dpo learns from pairs, and Batch.pairs is None: say which decisions")
        whole = Whole(batch)
        two = _members(whole.number(batch.pairs))
        rewards = whole.total(batch.rewards.double())[two]
        two = torch.where((rewards[:, 1] > rewards[:, 0])[:, None], two.flip(1), two)
        gap = (rewards[:, 0] - rewards[:, 1]).abs()
        weight = whole.mean(batch.weights)[two].mean(1)
        logps = whole.total(given_logps(outputs))
        return cls(
            logps[two],
            (logps - whole.total(given_reference(batch)))[two],
            whole.lengths[two],
            torch.nan_to_num(gap, nan=0.0),
            torch.where(torch.isnan(gap), 0.0, weight),
        )

    def shown(self, beta: float) -> dict[str, Tensor]:
        """Return what is worth watching, summed with the weights; ties have no part in it."""
        weight = self.weight * (self.gap > 0.0)
        ratios, logps = self.ratios.detach(), self.logps.detach()
        ahead = ratios[:, 0] - ratios[:, 1]
        metrics = {
            "chosen_logps": logps[:, 0],
            "rejected_logps": logps[:, 1],
            "chosen_reward": beta * ratios[:, 0],
            "rejected_reward": beta * ratios[:, 1],
            "accuracy": (ahead > 0.0).double(),
            "chosen_longer": (self.lengths[:, 0] > self.lengths[:, 1]).double(),
        }
        found = {name: (value * weight).sum() for name, value in metrics.items()}
        return {**found, "ties": (self.weight * (self.gap == 0.0)).sum()}


def _members(pair: Tensor) -> Tensor:
    """Return the two decisions of each pair, int64 [P, 2], from the pair of each decision, [D]."""
    compared = torch.nonzero(pair >= 0).flatten()
    order = compared[torch.argsort(pair[compared], stable=True)]
    numbers, sizes = torch.unique_consecutive(pair[order], return_counts=True)
    if bool((sizes != 2).any()):
        number, size = int(numbers[sizes != 2][0]), int(sizes[sizes != 2][0])
        raise ValueError(
            f"pair {number} has {size} decision(s) in this batch and needs 2: put both into one "
            "batch (Batch.split keeps them together), or number the pair -1 and count it as dropped"
        )
    return order.view(-1, 2)


def _one_way(gap: Tensor, beta: float, form: Form) -> Tensor:
    """Return the loss of each pair in which the first was preferred, [P]."""
    if form == "ipo":
        return (gap - 1.0 / (2.0 * beta)) ** 2
    return -functional.logsigmoid(beta * gap)


def _check_options(beta: float, form: str, noise: float) -> None:
    if form not in ("sigmoid", "ipo"):
        raise ValueError(f"dpo: form {form!r} is unknown: use 'sigmoid' or 'ipo'")
    if not beta > 0.0:
        raise ValueError(f"dpo: beta is {beta} and has to be above 0")
    if not 0.0 <= noise < 0.5:
        raise ValueError(
            f"dpo: noise is {noise}: at least 0 and below 1/2, where pairs say nothing"
        )


def given_logps(outputs: Outputs) -> Tensor:
    """Return the policy's log-probabilities, [B, T].

    Raises:
        ValueError: it was not asked for them.
    """
    if outputs.logps is None:
        raise ValueError("the policy was not asked for 'logps', which this objective needs")
    return outputs.logps


def given_reference(batch: Batch) -> Tensor:
    """Return the reference policy's log-probabilities, [B, T].

    Raises:
        ValueError: nobody computed them.
    """
    if batch.reference_logps is None:
        raise ValueError(
            "Batch.reference_logps is None: put the batch through objectives.prepare with the "
            "policy to stay near as reference"
        )
    return batch.reference_logps
