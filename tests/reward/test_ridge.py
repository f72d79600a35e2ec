import numpy as np
import pytest

from heedful.reward.ngrams import Rows
from heedful.reward.ridge import CONSTANT_PENALTY, ridge
from tests.reward.test_ngrams import dense

TEXTS = ["good", "good day", "bad", "bad day", "so so", "day by day"]
RATINGS = np.array([5.0, 4.0, 1.0, 2.0, 3.0, 3.0])


@pytest.mark.parametrize("penalty", [0.1, 1.0, 10.0])
def test_it_solves_the_normal_equations(penalty: float) -> None:
    rows, _ = Rows.of(TEXTS).compact()
    weights = np.array([1.0, 2.0, 0.5, 1.0, 3.0, 1.0])
    x, shrink = dense(rows), np.full(rows.width, penalty)
    shrink[-1] = CONSTANT_PENALTY
    exact = np.linalg.solve(x.T * weights @ x + np.diag(shrink), x.T @ (weights * RATINGS))
    found = ridge(rows, RATINGS, weights, penalty)
    np.testing.assert_allclose(rows.times(found), x @ exact, atol=0.01)
    begun = ridge(rows, RATINGS, weights, penalty, start=exact)
    np.testing.assert_allclose(begun, exact, atol=0.01)


def test_a_weight_of_two_is_the_row_twice() -> None:
    rows, _ = Rows.of(TEXTS).compact()
    doubled = rows.take(np.array([0, 0, 1, 2, 3, 4, 5]))
    weights = np.ones(6)
    weights[0] = 2.0
    once = ridge(rows, RATINGS, weights, 1.0)
    twice = ridge(doubled, RATINGS[[0, 0, 1, 2, 3, 4, 5]], np.ones(7), 1.0)
    np.testing.assert_allclose(once, twice, atol=0.01)


def test_nothing_to_explain_is_nothing() -> None:
    rows, _ = Rows.of(TEXTS).compact()
    assert not ridge(rows, np.zeros(6), np.ones(6), 1.0).any()
