import numpy as np
import pytest

from heedful.reward import RewardError, SubjectScales


def people(
    n: int, each: int, *, apart: float, noise: float, seed: int
) -> tuple[np.ndarray, list[str]]:
    """Ratings around 0.5 of people whose own middles are ``apart`` (standard deviation)."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(0.5, apart, n)
    ratings = middles[:, None] + rng.normal(0.0, noise, (n, each))
    return ratings.ravel(), [f"p{i}" for i in range(n) for _ in range(each)]


def test_the_components_of_variance_are_found() -> None:
    ratings, names = people(800, 6, apart=0.1, noise=0.15, seed=0)
    fitted = SubjectScales.fit(ratings, names)
    assert fitted.within == pytest.approx(0.15**2, rel=0.08)
    assert fitted.between == pytest.approx(0.1**2, rel=0.15)


def test_the_formula_by_hand() -> None:
    ratings = np.array([0.2, 0.4, 0.2, 0.4, 0.7, 0.9, 0.7, 0.9, 0.5, 0.5, 0.4, 0.6])
    names = ["a"] * 4 + ["b"] * 4 + ["c"] * 4
    fitted = SubjectScales.fit(ratings, names)
    own = np.array([0.3, 0.8, 0.5])
    squares = np.array([0.04, 0.04, 0.02])
    mu, within = own.mean(), squares.sum() / 9
    between = (4 * ((own - mu) ** 2).sum() / 2 - within) / 4
    kappa = within / between
    m = (4 * own + kappa * mu) / (4 + kappa)
    v = (squares + 10 * within) / (3 + 10)
    expected = mu + np.sqrt(within) * (0.9 - m) / np.sqrt(v)
    made = fitted(np.full(3, 0.9), ["a", "b", "c"])
    np.testing.assert_allclose(made, np.clip(expected, 0, 1))


def test_a_generous_and_a_strict_rater_become_comparable() -> None:
    ratings, names = people(100, 20, apart=0.15, noise=0.05, seed=1)
    made = SubjectScales.fit(ratings, names)(ratings, names).reshape(100, 20)
    assert made.mean(1).std() < 0.1 * ratings.reshape(100, 20).mean(1).std()
    assert made.mean() == pytest.approx(ratings.mean(), abs=0.01)


def test_who_said_little_is_shrunk_and_a_stranger_is_left_alone() -> None:
    ratings, names = people(50, 8, apart=0.1, noise=0.1, seed=2)
    fitted = SubjectScales.fit(np.append(ratings, 0.9), [*names, "once"])
    assert fitted(np.array([0.9]), ["stranger"])[0] == pytest.approx(0.9)
    once = fitted(np.array([0.9]), ["once"])[0]
    assert fitted.mean + 0.1 < once < 0.9  # a ninth of the way would be 8 ratings' trust


def test_where_subjects_do_not_differ_no_mean_is_taken_off() -> None:
    ratings = np.tile([0.2, 0.8], 10)
    fitted = SubjectScales.fit(ratings, [f"p{i // 2}" for i in range(20)])
    assert fitted.between == 0.0
    assert (fitted.means == fitted.mean).all()


def test_one_rating_for_all_and_nan_stay() -> None:
    fitted = SubjectScales.fit(np.full(12, 0.5), [f"p{i // 3}" for i in range(12)])
    assert fitted(np.array([0.5, 0.2]), ["p0", "x"]).tolist() == [0.5, 0.2]
    other = SubjectScales.fit(*people(5, 5, apart=0.1, noise=0.1, seed=3))
    assert np.isnan(other(np.array([np.nan]), ["p0"])[0])
    assert len(other(np.empty(0), [])) == 0


def test_too_few_ratings_are_refused_with_the_number_it_takes() -> None:
    with pytest.raises(RewardError, match=r"3 ratings.*at least 10"):
        SubjectScales.fit(np.ones(3), ["a", "b", "c"])


def test_numbers_come_back_from_tensors_and_hold_no_names() -> None:
    ratings, names = people(20, 4, apart=0.1, noise=0.1, seed=4)
    fitted = SubjectScales.fit(ratings, names)
    again = SubjectScales.from_tensors(fitted.tensors())
    np.testing.assert_array_equal(again(ratings, names), fitted(ratings, names))
    assert all(tensor.dtype.kind in "if" for tensor in fitted.tensors().values())
