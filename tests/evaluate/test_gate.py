import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from heedful.evaluate import (
    ASSIGNMENT_FRACTIONS,
    OFF_POLICY_FRACTIONS,
    EProcess,
    alpha_of,
    gate,
    log_evidence,
)

B8 = np.array([1, 0, 2, 0, 0, -0.8, 0, 0])  # (w - 1) r, lowest -1
LOWEST = -1.0
differences = hnp.arrays(np.float64, st.integers(0, 30), elements=st.floats(-1, 20))


def fed(rows, lowest=LOWEST, **options):
    process = EProcess(**options)
    process.update(rows, lowest)
    return process


@pytest.mark.parametrize(("fraction", "wealth"), [(0.1, 1.2144), (0.25, 1.5), (0.5, 1.8)])
def test_b8_wealth_of_one_stake(fraction, wealth):
    assert fed(B8, fractions=[fraction]).evidence == pytest.approx(wealth, abs=1e-12)


def test_b8_mixture():
    process = fed(B8, fractions=[0.1, 0.25, 0.5])
    assert process.evidence == pytest.approx(1.5048, abs=1e-12)
    assert np.exp(process.log_wealth) == pytest.approx([1.2144, 1.5, 1.8], abs=1e-12)
    top = np.mean([1.1 * 1.2, 1.25 * 1.5, 1.5 * 2.0])
    assert process.maximum == pytest.approx(top, abs=1e-12)
    assert process.maximum_at == 3


def test_stakes_scale_with_the_declared_bound():
    assert fed(3 * B8, lowest=-3.0).log_evidence == pytest.approx(fed(B8).log_evidence, abs=1e-12)
    varying = -np.linspace(1, 2, len(B8))
    expected = np.log1p(np.outer(OFF_POLICY_FRACTIONS, B8 / -varying)).sum(axis=1)
    assert fed(B8, lowest=varying).log_wealth == pytest.approx(expected, abs=1e-12)


def test_the_mixtures_are_twelve_geometric_stakes():
    for fractions, least in ((OFF_POLICY_FRACTIONS, 0.001), (ASSIGNMENT_FRACTIONS, 0.002)):
        assert len(fractions) == 12
        assert fractions[0] == pytest.approx(least)
        assert fractions[-1] == pytest.approx(0.5)
        assert np.ptp(np.diff(np.log(fractions))) < 1e-12


def test_alphas_of_all_candidates_sum_to_alpha():
    assert alpha_of(1, 0.05) == pytest.approx(6 * 0.05 / math.pi**2)
    assert sum(alpha_of(k, 0.05) for k in range(1, 20_000)) == pytest.approx(0.05, rel=1e-4)
    assert sum(alpha_of(k, 0.05) for k in range(1, 20_000)) < 0.05
    with pytest.raises(ValueError, match="k: candidates are counted from 1"):
        alpha_of(0, 0.05)
    with pytest.raises(ValueError, match="alpha"):
        alpha_of(1, 1.0)


@given(differences)
def test_wealth_is_never_negative_and_the_maximum_never_falls(rows):
    process, best = EProcess(), 0.0
    for row in rows:
        process.update(row, LOWEST)
        assert np.isfinite(process.log_wealth).all()
        assert process.evidence > 0
        best = max(best, process.log_evidence)
        assert process.log_maximum == best


@given(differences, st.integers(0, 30))
def test_one_by_one_or_in_parts_gives_the_same_bits(rows, cut):
    whole, single, parts = fed(rows), EProcess(), EProcess()
    path = [value for row in rows for value in single.update(row, LOWEST)]
    parts.update(rows[:cut], LOWEST)
    parts.update(rows[cut:], LOWEST)
    assert whole.to_dict() == single.to_dict() == parts.to_dict()
    assert path == EProcess().update(rows, LOWEST).tolist()
    if len(rows):
        assert log_evidence(rows, LOWEST, OFF_POLICY_FRACTIONS).tolist() == path


def test_blocks_do_not_change_the_bits(monkeypatch):
    rows = np.random.default_rng(0).uniform(-1, 1.2, size=1000)
    whole = fed(rows).to_dict()
    monkeypatch.setattr(gate, "_BLOCK", 7)
    assert fed(rows).to_dict() == whole


@given(differences, st.integers(0, 30))
def test_merging_two_halves_gives_the_whole(rows, cut):
    whole, merged = fed(rows), fed(rows[:cut]).merge(fed(rows[cut:]))
    assert merged.rows == whole.rows
    assert merged.log_wealth == pytest.approx(whole.log_wealth, abs=1e-9)
    assert merged.log_evidence == pytest.approx(whole.log_evidence, abs=1e-9)
    assert merged.log_maximum <= whole.log_maximum + 1e-9


def test_a_merged_maximum_is_one_that_was_seen():
    first, second = fed([1.0, 1.0]), fed([1.0, -1.0, -1.0, -1.0])
    merged = first.merge(second)
    assert (merged.log_maximum, merged.maximum_at) == (first.log_maximum, 2)
    better = first.merge(fed([1.0]))
    assert (better.log_maximum, better.maximum_at) == (better.log_evidence, 3)
    assert first.rows == 2  # untouched


def test_processes_with_other_stakes_do_not_merge():
    with pytest.raises(ValueError, match="later: has other fractions"):
        fed(B8).merge(fed(B8, fractions=ASSIGNMENT_FRACTIONS))


def test_rows_given_twice_change_the_evidence():
    """Which is why whoever feeds the gate must count every id once, and keep their order."""
    assert fed(np.repeat(B8, 2)).log_evidence > 1.5 * fed(B8).log_evidence
    assert fed(B8).log_maximum > fed(B8[::-1]).log_maximum


@given(differences, differences)
def test_state_survives_json_bit_for_bit(before, after):
    process = fed(before, points=4)
    restored = EProcess.from_dict(json.loads(json.dumps(process.to_dict())))
    for one in (process, restored):
        one.update(after, LOWEST)
    assert restored.to_dict() == process.to_dict()


def test_a_damaged_state_is_refused():
    state = fed(B8).to_dict()
    with pytest.raises(ValueError, match="log_wealth: row 0 is NaN"):
        EProcess.from_dict({**state, "log_wealth": [math.nan, *state["log_wealth"][1:]]})
    with pytest.raises(ValueError, match="log_wealth: 1 rows"):
        EProcess.from_dict({**state, "log_wealth": [0.0]})
    with pytest.raises(KeyError, match="stride"):
        EProcess.from_dict({key: value for key, value in state.items() if key != "stride"})


def test_history_is_bounded_evenly_spaced_and_true():
    rows = np.random.default_rng(0).uniform(-1, 1.2, size=5000)
    process = EProcess(points=100)
    path = process.update(rows, LOWEST)
    numbers = [row for row, _ in process.history]
    assert 50 <= len(numbers) <= 100
    assert set(np.diff(numbers)) == {64}
    assert [value for _, value in process.history] == [path[row - 1] for row in numbers]


def test_evidence_beyond_float64_is_kept_as_its_logarithm():
    process = fed(np.full(10_000, 5.0))
    assert process.log_evidence > 10_000
    assert process.evidence == process.maximum == math.exp(700)


def test_no_rows_are_no_evidence():
    process = EProcess()
    assert process.update([], LOWEST).tolist() == []
    assert (process.evidence, process.maximum, process.maximum_at) == (1.0, 1.0, 0)


@pytest.mark.parametrize(
    ("rows", "lowest", "message"),
    [
        ([0.0, -1.01], -1.0, r"differences: row 1 \(-1.01\) lies below its declared.*w_max"),
        ([0.0, np.nan], -1.0, "differences: row 1 is NaN"),
        ([0.0, np.inf], -1.0, r"differences: row 1 \(inf\) is infinite"),
        ([0.0, 0.0], [-1.0, np.nan], "lowest: row 1 is NaN"),
        ([0.0, 0.0], [-1.0, 0.0], r"lowest: row 1 \(0\) is not a finite number below 0"),
        ([0.0], [-np.inf], "lowest: row 0"),
        ([[0.0]], -1.0, "one number per row"),
    ],
)
def test_bad_rows_are_refused_and_nothing_is_added(rows, lowest, message):
    process = fed(B8)
    before = process.to_dict()
    with pytest.raises(ValueError, match=message):
        process.update(rows, lowest)
    assert process.to_dict() == before


def test_rounding_below_the_bound_is_forgiven():
    assert fed([-1.0 - 1e-12], fractions=[0.5]).evidence == 0.5


@pytest.mark.parametrize("fractions", [[], [0.0], [1.0], [0.5, -0.1]])
def test_impossible_stakes_are_refused(fractions):
    with pytest.raises(ValueError, match="fractions"):
        EProcess(fractions)
    with pytest.raises(ValueError, match="points"):
        EProcess(points=0)


def test_log_evidence_judges_many_runs_side_by_side():
    runs = np.random.default_rng(0).uniform(-1, 1.5, size=(3, 2, 40))
    together = log_evidence(runs, -1.0, ASSIGNMENT_FRACTIONS)
    for index in np.ndindex(3, 2):
        alone = EProcess(ASSIGNMENT_FRACTIONS).update(runs[index], -1.0)
        assert together[index] == pytest.approx(alone, abs=1e-12)
