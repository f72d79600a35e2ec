"""Matching somebody as a reward, by hand."""

from __future__ import annotations

import pytest
import torch

from heedful.objectives import matching, mixed
from heedful.policy import Schema
from tests.policy.batches import slates_as_batch

SCHEMA = Schema(4)
UNITS = torch.tensor([[0, 1], [2, 3]])
LOGPS = torch.tensor([[0.5, 0.4], [0.25, 1.0]]).log()


def test_a_decision_matches_with_the_probability_of_all_its_units() -> None:
    found = matching(slates_as_batch(SCHEMA, UNITS), LOGPS)
    assert torch.allclose(found, torch.tensor([[0.0, 0.2], [0.0, 0.25]]))


def test_moves_of_one_unit_each_match_by_themselves() -> None:
    batch = slates_as_batch(SCHEMA, UNITS).filled(decisions=torch.arange(4).view(2, 2))
    assert torch.allclose(matching(batch, LOGPS), LOGPS.exp())
    out = torch.tensor([[True, True], [True, False]])
    assert matching(batch.filled(mask=out), LOGPS)[1, 1] == 0.0  # nothing stands there


def test_the_mean_over_play_is_the_share_of_decisions_that_match() -> None:
    """With pi and p over three units: sum_a pi(a) p(a)."""
    pi, p = torch.tensor([0.2, 0.3, 0.5]), torch.tensor([0.6, 0.3, 0.1])
    each = matching(slates_as_batch(Schema(3), torch.tensor([[0], [1], [2]])), p.log()[:, None])
    assert float(pi @ each[:, 0]) == pytest.approx(0.2 * 0.6 + 0.3 * 0.3 + 0.5 * 0.1)


def test_a_weight_mixes_it_with_what_was_earned() -> None:
    batch = slates_as_batch(SCHEMA, UNITS)
    batch = batch.filled(rewards=torch.tensor([[0.0, 1.0], [torch.nan, torch.nan]]))
    assert torch.equal(mixed(batch, LOGPS, 0.0)[0], batch.rewards[0])
    assert torch.allclose(mixed(batch, LOGPS, 0.25)[0], torch.tensor([0.0, 0.75 + 0.25 * 0.2]))
    assert mixed(batch, LOGPS, 0.5)[1].isnan().all()  # not scored is not 0
    with pytest.raises(ValueError, match="share"):
        mixed(batch, LOGPS, 1.5)
