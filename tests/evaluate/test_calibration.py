import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.evaluate import auc, brier, calibration_error, log_loss, reliability

BITS = st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=1, max_size=40)


def test_a_table_by_hand() -> None:
    said = [0.1, 0.1, 0.2, 0.6, 0.7, 0.7]
    came = [0, 1, 0, 1, 1, 0]
    table = reliability(said, came, bins=2)
    np.testing.assert_allclose(table.predicted, [0.4 / 3, 2.0 / 3])
    np.testing.assert_allclose(table.observed, [1 / 3, 2 / 3])
    assert table.counts.tolist() == [3, 3]
    assert table.error == pytest.approx(0.5 * (1 / 3 - 0.4 / 3))


def test_probabilities_that_are_true_are_calibrated_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    p = rng.beta(1, 4, 50_000)
    came = rng.random(50_000) < p
    assert calibration_error(p, came) < 0.01
    assert calibration_error(np.sqrt(p), came) == pytest.approx(
        float(np.mean(np.sqrt(p) - p)), abs=0.005
    )


@given(BITS)
def test_rows_of_one_prediction_are_never_parted_and_all_rows_count(
    rows: list[tuple[int, bool]],
) -> None:
    said, came = np.array(rows, float).T
    table = reliability(said / 10, came, bins=4)
    assert table.counts.sum() == len(rows)
    assert len(table.counts) <= 4
    assert (np.diff(table.predicted) > 0).all()
    assert np.average(table.observed, weights=table.counts) == pytest.approx(came.mean())


@given(BITS)
def test_auc_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[int, bool]]) -> None:
    said, came = np.array(rows, float).T
    ones, zeros = said[came == 1], said[came == 0]
    found = auc(said, came)
    if not len(ones) or not len(zeros):
        assert math.isnan(found)
        return
    pairs = ones[:, None] - zeros
    assert found == pytest.approx(float(((pairs > 0) + 0.5 * (pairs == 0)).mean()))


def test_log_loss_and_brier_by_hand() -> None:
    assert log_loss([0.8, 0.4], [1, 0]) == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)
    assert brier([0.8, 0.4], [1, 0]) == pytest.approx((0.04 + 0.16) / 2)
    assert math.isfinite(log_loss([0.0], [1]))


def test_what_is_no_probability_is_refused_by_row() -> None:
    with pytest.raises(ValueError, match=r"probabilities: row 1 \(1.2\)"):
        log_loss([0.5, 1.2], [0, 1])
    with pytest.raises(ValueError, match=r"outcomes: row 0 \(0.5\)"):
        brier([0.5], [0.5])
    with pytest.raises(ValueError, match="outcomes: 2 rows"):
        auc([0.5], [0, 1])
    with pytest.raises(ValueError, match="no row"):
        reliability([], [])
    with pytest.raises(ValueError, match="NaN"):
        reliability([math.nan], [1])
