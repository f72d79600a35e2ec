import numpy as np
import pytest

from heedful.reward import agreement, disputed, pessimistic, resamples


def test_all_rows_of_a_person_are_drawn_together_and_as_many_people_as_there_are() -> None:
    people = np.array([3, 3, 3, 1, 1, 7, 9, 9])
    counts = resamples(people, 200, seed=0)
    assert counts.shape == (200, 8)
    for person in np.unique(people):
        assert (np.ptp(counts[:, people == person], axis=1) == 0).all()
    firsts = counts[:, [0, 3, 5, 6]]
    assert (firsts.sum(1) == 4).all()
    assert 0.25 < (firsts == 0).mean() < 0.4  # (1 - 1/4)^4 = 0.316
    assert (resamples(people, 200, seed=0) == counts).all()


def test_smooth_weights_scatter_as_much_as_counts_and_leave_nobody_out() -> None:
    people = np.arange(500) // 2
    weights = resamples(people, 50, seed=0, smooth=True)
    assert (weights > 0).all()
    assert (weights[:, ::2] == weights[:, 1::2]).all()
    assert weights.mean() == pytest.approx(1.0, abs=0.05)
    assert weights.var() == pytest.approx(resamples(people, 50, seed=0).var(), abs=0.1)


def test_a_single_member_sees_every_row_once() -> None:
    assert resamples(np.array([1, 1, 2]), 1, seed=5).tolist() == [[1.0, 1.0, 1.0]]
    mean, spread = agreement(np.array([[0.3, np.nan]]))
    assert mean[0] == 0.3
    assert spread.tolist() == [0.0, 0.0]


def test_spread_of_a_mean_over_people_covers_its_error() -> None:
    """Each person has an opinion of their own: drawing rows would see a fifth of the doubt."""
    rng = np.random.default_rng(2)
    errors, spreads = [], []
    for seed in range(200):
        opinions = rng.normal(size=20)
        values, people = np.repeat(opinions, 25), np.repeat(np.arange(20), 25)
        draws = resamples(people, 20, seed)
        means = (draws * values).sum(1) / draws.sum(1)
        spreads.append(agreement(means[:, None])[1][0])
        errors.append(values.mean())
    assert 0.8 < np.mean(spreads) / np.std(errors) < 1.2


def test_doubt_is_held_against_a_prediction_down_to_the_worst_there_is() -> None:
    mean, spread = np.array([0.5, 0.5, 0.1]), np.array([0.0, 0.2, 0.2])
    assert pessimistic(mean, spread, 1.0).round(9).tolist() == [0.5, 0.3, 0.0]
    assert pessimistic(mean, spread, 0.0).tolist() == mean.tolist()
    assert pessimistic(np.array([2.0]), np.array([2.0]), 1.0, low=1.0).tolist() == [1.0]


def test_the_most_disputed_comes_first() -> None:
    assert disputed(np.array([0.1, np.nan, 0.4, 0.2, 0.4]), 0.1).tolist() == [2, 4, 3]
    assert not len(disputed(np.zeros(3), 0.0))
