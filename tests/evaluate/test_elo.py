import math

import numpy as np
import pytest

from heedful.evaluate import elo
from heedful.evaluate.elo import SCALE


def test_two_players_have_the_logarithm_of_their_odds():
    found = elo([[0.0, 75.0], [25.0, 0.0]], anchor=1, prior=1e-9)
    assert found.ratings == pytest.approx([400 * math.log10(3), 0.0])
    # Of a logit with p = 3/4 from 100 games: 1 / sqrt(n p (1 - p)).
    assert found.standard_errors == pytest.approx([SCALE / math.sqrt(100 * 0.75 * 0.25), 0.0])
    assert found.expected(0, 1) == pytest.approx(0.75)
    assert found.expected(1, 0) == pytest.approx(0.25)
    assert found.difference(1, 0)[0] == pytest.approx(-found.ratings[0])
    assert found.difference(1, 0)[1] == pytest.approx(found.standard_errors[0])


def test_a_table_that_the_model_would_give_gives_the_model_back():
    true = np.array([0.0, 120.0, -50.0, 400.0])
    expected = 1 / (1 + 10 ** ((true[None, :] - true[:, None]) / 400))
    scores = 1e4 * expected * (1 - np.eye(4))
    assert elo(scores, prior=1e-6).ratings == pytest.approx(true, abs=0.01)
    moved = elo(scores, anchor=3, prior=1e-6)
    assert moved.ratings == pytest.approx(true - 400, abs=0.01)
    assert moved.standard_errors[3] == 0.0
    difference = elo(scores, prior=1e-6).difference(1, 2)
    assert moved.difference(1, 2) == pytest.approx(difference)


def test_who_won_all_and_who_played_nobody_have_a_rating():
    scores = np.zeros((3, 3))
    scores[1, 0] = 20.0
    found = elo(scores)
    assert np.isfinite(found.ratings).all()
    assert found.ratings[1] > 300
    assert found.standard_errors[2] > found.standard_errors[1] > 0


def test_a_million_wins_are_rated_too():
    """Strengths x and -x: what wins pull, 10^6 / (1 + e^2x), is what the prior of 10^-6 holds."""
    found = elo([[0.0, 0.0], [1e6, 0.0]], prior=1e-6)
    assert found.ratings[1] == pytest.approx(SCALE * math.log(2e12), abs=0.01)


def test_errors_are_of_the_curvature_where_the_ratings_are():
    """Second differences of the log-likelihood and its prior, far from even strength."""
    table, prior = np.array([[0.0, 1.0, 0.5], [19.0, 0.0, 6.0], [0.5, 2.0, 0.0]]), 2.0

    def likelihood(x):
        won = -np.log1p(np.exp(x[None, :] - x[:, None]))
        drawn = -0.5 * prior * (np.log1p(np.exp(-x)) + np.log1p(np.exp(x)))
        return (table * won).sum() + drawn.sum()

    found, step = elo(table, prior=prior), np.eye(3) * 1e-3
    # Ratings leave out by how much all are shifted, which the prior sets.
    at = found.ratings / SCALE
    at = at + max(np.linspace(-4.0, 4.0, 8001), key=lambda shift: likelihood(at + shift))
    bend = -np.array(
        [
            [
                likelihood(at + i + j)
                - likelihood(at + i - j)
                - likelihood(at - i + j)
                + likelihood(at - i - j)
                for i in step
            ]
            for j in step
        ]
    ) / (4e-6)
    inverse = np.linalg.inv(bend)
    relative = inverse - inverse[0] - inverse[:, :1] + inverse[0, 0]
    np.testing.assert_allclose(found.covariance, SCALE**2 * relative, rtol=2e-3, atol=1e-6)


def test_intervals_cover_the_true_rating():
    """95 % intervals from 60 decided games a pair, over 300 tables."""
    rng = np.random.default_rng(0)
    true = np.array([0.0, 100.0, 250.0])
    p = 1 / (1 + 10 ** ((true[None, :] - true[:, None]) / 400))
    inside = 0
    for _ in range(300):
        won = np.triu(rng.binomial(60, p), 1).astype(float)
        table = won + np.tril(60 - won.T, -1)
        found = elo(table, prior=0.01)
        inside += abs(found.ratings[2] - true[2]) < 1.96 * found.standard_errors[2]
    assert 0.91 <= inside / 300 <= 0.985


@pytest.mark.parametrize(
    ("scores", "options", "says"),
    [
        ([[0.0, 1.0]], {}, "square"),
        ([[0.0, -1.0], [0.0, 0.0]], {}, "negative"),
        ([[0.0, math.nan], [0.0, 0.0]], {}, "not finite"),
        ([[0.0, 1.0], [0.0, 2.0]], {}, "player 1 scored against itself"),
        ([[0.0, 1.0], [0.0, 0.0]], {"anchor": 2}, "no player 2"),
        ([[0.0, 1.0], [0.0, 0.0]], {"prior": 0.0}, "prior"),
    ],
)
def test_what_is_no_table_is_refused(scores, options, says):
    with pytest.raises(ValueError, match=says):
        elo(scores, **options)
