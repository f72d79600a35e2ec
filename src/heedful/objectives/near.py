"""Learning a few trusted labels without leaving the policy one comes from."""

from __future__ import annotations

import torch
from torch import Tensor

from heedful.objectives.loss import Loss
from heedful.policy import Batch, Outputs, scatter

IMITATE_NEEDS = frozenset({"logps", "logits"})
PARENT_NEEDS = frozenset({"logits"})


def imitate(outputs: Outputs, parent: Outputs, batch: Batch, *, kl: float) -> Loss:
    """Maximise the likelihood of labels, and stay near ``parent`` there and everywhere else.

        L = - sum_t w_t log pi(x_t | h_t) + kl * sum_t KL(pi_0(. | h_t) || pi(. | h_t))

    The second sum also runs over units of weight 0, moments of the log that nobody labelled. It is
    exact, a sum over the vocabulary. The sampled estimators (k2, k3) are unbiased on units that
    the policy itself drew, and neither labels nor a log are that. The direction is the one that
    asks to keep whatever the parent does: it is large where pi drops something that pi_0 shows, as
    in distillation from the old network (Li & Hoiem, Learning without Forgetting, arXiv
    1606.09282, section 3), and its gradient with respect to the logits is pi - pi_0, bounded.

    Args:
        outputs: with "logps" and "logits".
        parent: of the policy to stay near, with "logits"; carries no gradient.
        batch: labels with their weights, and moments of weight 0.
        kl: weight of the divergence, per unit.
    """
    assert outputs.logps is not None
    assert outputs.logits is not None
    assert parent.logits is not None
    scale = batch.weights * batch.mask
    nll = -(outputs.logps * scale).sum()
    drift = scatter(divergence(parent.logits, outputs.logits), batch.mask).sum()
    metrics = {"nll": nll.detach(), "kl": drift.detach()}
    return Loss(nll + kl * drift, scale.sum(dtype=torch.float64), metrics)


def divergence(of: Tensor, to: Tensor) -> Tensor:
    """Return KL(softmax(of) || softmax(to)) in nats, [N], from logits [N, V].

    Both may have minus infinity, in the same places.

    >>> divergence(torch.tensor([[0.0, -torch.inf]]), torch.tensor([[3.0, -torch.inf]]))
    tensor([0.])
    """
    log_p, log_q = torch.log_softmax(of.detach(), -1), torch.log_softmax(to, -1)
    possible = torch.isfinite(log_p)
    gap = torch.where(possible, log_p, 0.0) - torch.where(possible, log_q, 0.0)
    return (log_p.exp() * gap).sum(-1)
