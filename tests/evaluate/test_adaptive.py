import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from heedful.evaluate import AdaptiveEProcess, EProcess, e_process, log_evidence_by

B8 = np.array([1, 0, 2, 0, 0, -0.8, 0, 0])  # (w - 1) r, lowest -1
differences = hnp.arrays(np.float64, st.integers(0, 30), elements=st.floats(-1, 20))


def fed(rows, lowest=-1.0):
    process = AdaptiveEProcess()
    process.update(rows, lowest)
    return process


def test_b8_by_hand():
    """Stakes: 0, then 1/2 of the maximum throughout, as S / (Q + 1) is 1/2 (S 1, Q 1; S 3, Q 5)."""
    path = AdaptiveEProcess().update(B8, -1.0)
    assert np.exp(path) == pytest.approx([1, 1, 2, 2, 2, 1.2, 1.2, 1.2], abs=1e-12)
    process = fed(B8)
    assert (process.maximum, process.maximum_at) == (pytest.approx(2.0), 3)


def test_the_stake_is_the_estimate_where_that_is_below_half_the_maximum():
    rows = np.array([0.5, -0.5, 0.5, 0.5])
    total, squares, wealth = 0.0, 0.0, 1.0
    for row in rows:
        stake = min(max(total / (squares + 1), 0), 0.5)
        wealth *= 1 + stake * row
        total, squares = total + row, squares + row**2
    assert fed(rows).evidence == pytest.approx(wealth, abs=1e-12)
    assert wealth != 1


def test_the_stake_knows_only_the_past_and_is_within_half_of_the_bound():
    """The last row alone changes the last factor, and no row costs more than half of the wealth."""
    base = np.random.default_rng(0).uniform(-1, 1.4, size=50)
    last = [fed(np.append(base, x)).log_evidence - fed(base).log_evidence for x in (-1.0, 1.0)]
    stake = np.expm1(last[1])
    assert np.expm1(last[0]) == pytest.approx(-stake)
    assert stake == pytest.approx(base.sum() / (1 + (base**2).sum()))
    assert 0 < stake < 0.5
    sure = np.append(np.full(50, 1.0), -4.0)
    assert AdaptiveEProcess().update(sure, -4.0)[-2:] == pytest.approx(
        [np.log1p(stakes_of_ones(50)).sum(), np.log1p(stakes_of_ones(50)).sum() - math.log(2)]
    )


def stakes_of_ones(rows):
    """S / (Q + 1) after t ones is t / (t + 1); half of the maximum is 1/8."""
    seen = np.arange(rows)
    return np.minimum(seen / (seen + 1), 0.125)


def test_losses_alone_are_never_bet_on():
    assert fed([-1.0] * 20).evidence == 1.0


@given(differences, st.integers(0, 30))
def test_one_by_one_or_in_parts_gives_the_same_bits(rows, cut):
    whole, single, parts = fed(rows), AdaptiveEProcess(), AdaptiveEProcess()
    path = [value for row in rows for value in single.update(row, -1.0)]
    parts.update(rows[:cut], -1.0)
    parts.update(rows[cut:], -1.0)
    assert whole.to_dict() == single.to_dict() == parts.to_dict()
    if len(rows):
        together = log_evidence_by("agrapa", np.stack((rows, rows)), -1.0, ())
        assert together.tolist() == [path, path]


@given(differences, differences)
def test_state_survives_json_bit_for_bit(before, after):
    process = fed(before)
    restored = AdaptiveEProcess.from_dict(json.loads(json.dumps(process.to_dict())))
    for one in (process, restored):
        one.update(after, -1.0)
    assert restored.to_dict() == process.to_dict()


def test_halves_do_not_merge():
    with pytest.raises(ValueError, match="cannot be merged"):
        fed(B8).merge(fed(B8))
    with pytest.raises(ValueError, match="largest stake alone"):
        AdaptiveEProcess([0.1, 0.2])


def test_a_rule_by_its_name():
    assert type(e_process("mixture", [0.1])) is EProcess
    assert type(e_process("agrapa", [0.1])) is AdaptiveEProcess
    assert log_evidence_by("mixture", B8, -1.0, [0.5])[-1] == pytest.approx(math.log(1.8))
