import pytest
import torch

from heedful.checks import EXAMPLE_SCHEMA, check_objective, random_batch
from heedful.objectives import NEEDS, Loss, balanced, joint, ours, prepare, reinforce
from heedful.policy import Batch, Outputs, Recurrent


def mixed(batch: Batch) -> Batch:
    """Return the batch in which nobody wrote down the probabilities of every second row."""
    known = (torch.arange(len(batch)) % 2 == 0)[:, None]
    return batch.filled(behaviour_logps=torch.where(known, batch.behaviour_logps, torch.nan))


def test_only_logged_probabilities_are_reinforced_and_only_the_others_imitated() -> None:
    torch.manual_seed(0)
    policy = Recurrent(EXAMPLE_SCHEMA, width=8).double().eval()
    batch = prepare(policy, [balanced(mixed(random_batch(EXAMPLE_SCHEMA, rows=4)))])[0]
    outputs = policy.forward(batch, NEEDS)
    alone = reinforce(outputs, ours(batch))
    both = joint(alone, outputs, batch, weight=0.7)
    odd = torch.arange(len(batch)) % 2 == 1
    nll = -(outputs.logps * batch.weights * batch.mask)[odd].sum()
    torch.testing.assert_close(both.value, alone.value + 0.7 * nll)
    assert float(both.count) == pytest.approx(float(ours(batch).weights[~odd].sum()))
    assert float(nll.detach()) > 0.0


def test_a_balanced_batch_weighs_history_as_much_as_rewarded_units() -> None:
    batch = mixed(random_batch(EXAMPLE_SCHEMA, rows=6))
    unknown = torch.isnan(batch.behaviour_logps) & batch.mask
    weights = balanced(batch).weights * batch.mask
    assert float(weights[unknown].sum()) == pytest.approx(float(weights[~unknown].sum()))
    known = ~unknown & batch.mask
    torch.testing.assert_close(weights[known], batch.weights[known])


def test_without_history_the_term_is_zero() -> None:
    torch.manual_seed(0)
    policy = Recurrent(EXAMPLE_SCHEMA, width=8).double().eval()
    batch = prepare(policy, [balanced(random_batch(EXAMPLE_SCHEMA))])[0]
    outputs = policy.forward(batch, NEEDS)
    alone = reinforce(outputs, ours(batch))
    both = joint(alone, outputs, batch, weight=1.0)
    assert float(both.value.detach()) == float(alone.value.detach())


def test_the_joint_loss_keeps_the_promises_of_a_loss() -> None:
    # Which rows are history must not depend on how the rows are cut.
    def by_feature(outputs: Outputs, batch: Batch) -> Loss:
        history = (batch.events.lengths % 2 == 0)[:, None]
        unknown = torch.where(history, torch.nan, batch.behaviour_logps)
        batch = batch.filled(behaviour_logps=unknown)
        return joint(reinforce(outputs, ours(batch)), outputs, batch, weight=0.3)

    check_objective(by_feature, NEEDS)
