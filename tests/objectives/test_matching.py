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
LIKELIEST = torch.tensor([[0.5, 0.6], [0.75, 1.0]]).log()


def test_a_decision_falls_short_by_the_probability_of_all_its_units() -> None:
    found = matching(slates_as_batch(SCHEMA, UNITS), LOGPS, LIKELIEST)
    assert torch.allclose(found, torch.tensor([[0.0, 0.2 - 0.3], [0.0, 0.25 - 0.75]]))


def test_moves_of_one_unit_each_stand_by_themselves() -> None:
    batch = slates_as_batch(SCHEMA, UNITS).filled(decisions=torch.arange(4).view(2, 2))
    found = matching(batch, LOGPS, LIKELIEST)
    assert torch.allclose(found, LOGPS.exp() - LIKELIEST.exp())
    assert found[0, 0] == 0.0  # the likeliest: nothing more is to be had, however long it lasts
    out = torch.tensor([[True, True], [True, False]])
    assert matching(batch.filled(mask=out), LOGPS, LIKELIEST)[1, 1] == 0.0  # nothing stands there


def test_the_mean_over_play_is_the_share_of_decisions_that_match_less_the_most() -> None:
    """With pi and p over three units: sum_a pi(a) p(a) - max p."""
    pi, p = torch.tensor([0.2, 0.3, 0.5]), torch.tensor([0.6, 0.3, 0.1])
    batch = slates_as_batch(Schema(3), torch.tensor([[0], [1], [2]]))
    each = matching(batch, p.log()[:, None], p.log().max().expand(3, 1))
    assert float(pi @ each[:, 0]) == pytest.approx(0.2 * 0.6 + 0.3 * 0.3 + 0.5 * 0.1 - 0.6)


def test_a_weight_mixes_it_with_what_was_earned() -> None:
    batch = slates_as_batch(SCHEMA, UNITS)
    batch = batch.filled(rewards=torch.tensor([[0.0, 1.0], [torch.nan, torch.nan]]))
    assert torch.equal(mixed(batch, LOGPS, LIKELIEST, 0.0)[0], batch.rewards[0])
    found = mixed(batch, LOGPS, LIKELIEST, 0.25)
    assert torch.allclose(found[0], torch.tensor([0.0, 0.75 - 0.25 * 0.1]))
    assert mixed(batch, LOGPS, LIKELIEST, 0.5)[1].isnan().all()  # not scored is not 0
    with pytest.raises(ValueError, match="share"):
        mixed(batch, LOGPS, LIKELIEST, 1.5)
