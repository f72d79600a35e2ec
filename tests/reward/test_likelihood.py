import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from heedful.reward import Compared
from heedful.reward.likelihood import chances, most_likely
from heedful.reward.ngrams import Rows
from heedful.reward.ridge import CONSTANT_PENALTY


def dense_rows(matrix: np.ndarray) -> Rows:
    """Return a matrix whose last column is the constant's as rows."""
    n, width = matrix.shape
    places = np.tile(np.arange(width), n)
    return Rows(width, np.arange(n + 1) * width, places, matrix.ravel().astype(float))


def items(pairs: list[list[int]], n: int) -> Rows:
    """Return a row for each pair: +1 for the winner, -1 for the loser; the constant is 0."""
    matrix = np.zeros((len(pairs), n + 1))
    for row, (winner, loser) in enumerate(pairs):
        matrix[row, winner], matrix[row, loser] = 1.0, -1.0
    return dense_rows(matrix)


@pytest.mark.data
@pytest.mark.parametrize("number", [1, 2])
def test_strengths_of_items_are_those_of_another_program(data: Path, number: int) -> None:
    """choix, maximum likelihood of the Bradley-Terry model."""
    case = json.loads((data / "choix-testcases" / f"testcase-pairwise-{number}.json").read_text())
    pairs, n = case["data"], case["n_items"]
    won = Compared(np.ones(len(pairs)), np.zeros(len(pairs)))
    b, _ = most_likely(items(pairs, n), won, np.ones(len(pairs)), 1e-7, tolerance=1e-10)
    np.testing.assert_allclose(b[:n] - b[:n].mean(), case["ml_est"], atol=1e-4)


def test_ties_and_margins_are_those_of_a_general_optimiser() -> None:
    rng = np.random.default_rng(0)
    n, width, penalty = 300, 5, 0.7
    matrix = np.column_stack([rng.normal(size=(n, width)), np.ones(n)])
    true = rng.normal(size=width)
    lead = matrix[:, :width] @ true + rng.logistic(size=n)
    outcomes = np.where(np.abs(lead) < 0.7, 0.5, lead > 0)
    offsets, weights = rng.uniform(0, 0.5, n) * (2 * outcomes - 1), rng.uniform(0, 2, n)

    def loss(free: np.ndarray) -> float:
        """The same by the formula: -log p(outcome), and the penalty."""
        d, nu = matrix @ free[:-1] - offsets, np.exp(free[-1])
        total = np.exp(d / 2) + np.exp(-d / 2) + nu
        wanted = np.where(outcomes == 1, np.exp(d / 2), np.where(outcomes == 0, np.exp(-d / 2), nu))
        shrink = penalty * (free[:-2] ** 2).sum() + CONSTANT_PENALTY * free[-2] ** 2
        return float(-(weights * np.log(wanted / total)).sum() + shrink / 2)

    best = minimize(loss, np.zeros(width + 2), method="BFGS", options={"gtol": 1e-6})
    said = Compared(outcomes, offsets, tie=1.0)
    b, fitted = most_likely(dense_rows(matrix), said, weights, penalty, tolerance=1e-10)
    np.testing.assert_allclose(b, best.x[:-1], atol=1e-3)
    assert fitted.tie == pytest.approx(float(np.exp(best.x[-1])), abs=1e-3)
    expected = fitted.chances(matrix @ b)[1]
    assert weights @ expected == pytest.approx(weights[outcomes == 0.5].sum(), rel=1e-3)


def test_a_margin_asks_the_better_one_to_lead_by_more() -> None:
    rows, once = items([[0, 1]], 2), np.ones(1)
    leads = []
    for margin in (0.0, 2.0):
        b, _ = most_likely(rows, Compared(once, np.array([margin])), once, 1.0, tolerance=1e-10)
        leads.append(b[0] - b[1])
    assert leads[1] > leads[0] + 0.3


@given(
    st.lists(st.floats(-60, 60), min_size=1, max_size=8),
    st.floats(0, 5),
)
def test_three_chances_are_a_distribution_and_slopes_those_of_the_losses(
    leads: list[float], tie: float
) -> None:
    d = np.array(leads)
    first, tied, second = chances(d, tie)
    np.testing.assert_allclose(first + tied + second, 1.0, atol=1e-12)
    assert ((first > second) == (d > 0))[np.abs(d) > 1e-9].all()
    for outcome in (1.0, 0.0) + ((0.5,) if tie > 1e-3 else ()):
        of = Compared(np.full(len(d), outcome), np.zeros(len(d)), tie)
        step = 1e-5
        numeric = (of.losses(d + step) - of.losses(d - step)) / (2 * step)
        slope, bend = of.slopes(d)
        np.testing.assert_allclose(slope, numeric, atol=1e-6)
        assert (bend >= -1e-12).all()


def test_without_a_tie_nothing_is_tied_and_with_ties_alone_the_last_nu_stands() -> None:
    leads, weights = np.array([0.3, -0.2]), np.ones(2)
    none = Compared(np.array([1.0, 0.0]), np.zeros(2), tie=1.0)
    assert none.with_tie(leads, weights).tie == 0.0
    ties = Compared(np.array([0.5, 0.5]), np.zeros(2), tie=1.0)
    assert ties.with_tie(leads, weights).tie == 1.0
