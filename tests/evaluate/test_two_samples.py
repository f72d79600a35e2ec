"""Whether two samples can be told apart: known answers, and what happens where nothing differs."""

from __future__ import annotations

import numpy as np
import pytest

from heedful.evaluate.two_samples import discriminate, energy_test

NULLS = 200


def test_the_energy_distance_of_two_pairs_is_that_of_a_calculation() -> None:
    """Rows 0, 2 and 1, 3: between 1, 3, 1, 1; within 2 and 2; over a deviation of sqrt 1.25."""
    found = energy_test([[0.0], [2.0]], [[1.0], [3.0]], permutations=9, seed=0)
    assert found.distance == pytest.approx((2 * 1.5 - 1.0 - 1.0) / np.sqrt(1.25))
    assert found.n == (2, 2)


def test_p_is_uniform_where_nothing_differs() -> None:
    rng = np.random.default_rng(0)
    said = np.array(
        [
            energy_test(*rng.standard_normal((2, 15, 3)), permutations=99, seed=seed).p
            for seed in range(NULLS)
        ]
    )
    assert 0.02 <= (said < 0.05).mean() <= 0.09
    assert 0.4 <= (said <= 0.5).mean() <= 0.6


def test_a_difference_is_found() -> None:
    rng = np.random.default_rng(1)
    same, wide = rng.standard_normal((40, 3)), 3.0 * rng.standard_normal((40, 3))
    assert energy_test(same, wide, seed=0).p < 0.01  # of equal mean: only the spread differs


@pytest.mark.parametrize("paired", [False, True])
def test_nobody_tells_apart_what_is_one_distributions(paired: bool) -> None:
    """The interval covers 1/2 as often as it says; the mean is 1/2: no lean of pooled scores."""
    rng = np.random.default_rng(2)
    groups = np.arange(80) // 2 if paired else np.arange(80)
    found = [
        discriminate(
            rng.standard_normal((80, 5)), np.arange(80) % 2, groups, penalties=(1.0, 10.0), seed=k
        ).auc
        for k in range(100)
    ]
    assert np.mean([one.mean for one in found]) == pytest.approx(0.5, abs=0.025)
    assert 0.92 <= np.mean([one.low <= 0.5 <= one.high for one in found]) <= 0.995


@pytest.mark.parametrize("width", [4, 200])  # fewer columns than rows, and more
def test_what_differs_is_told_apart(width: int) -> None:
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((120, width))
    second = np.arange(120) % 2
    rows[:, :3] += 3.0 * second[:, None]
    found = discriminate(rows, second, np.arange(120), seed=0)
    assert found.auc.mean > 0.9
    assert found.n == (60, 60)
    assert 0.9 < found.auc.high <= 1.0
    assert found.auc.low > 0.8


def test_a_permutation_that_is_as_far_counts() -> None:
    """Of the six ways to part 0, 1, 2, 3 two are as far apart as the one that is asked about."""
    found = energy_test([[0.0], [1.0]], [[2.0], [3.0]], permutations=4_000, seed=0)
    assert found.p == pytest.approx(1 / 3, abs=0.03)


def test_ties_count_half() -> None:
    auc = discriminate(np.ones((20, 2)), np.arange(20) % 2, np.arange(20), seed=0).auc
    assert auc.mean == 0.5


@pytest.mark.parametrize("paired", [False, True])
def test_few_rows_that_are_all_told_apart_do_not_prove_that_all_are(paired: bool) -> None:
    """5 parts of 2 + 2 rows: 10 pairs that share nothing, 5 where both rows are of one match."""
    second = np.arange(20) % 2
    rows = np.stack([second * 10.0, np.arange(20) % 3], axis=1)
    groups = np.arange(20) // 2 if paired else np.arange(20)
    auc = discriminate(rows, second, groups, seed=0).auc
    assert (auc.mean, auc.high) == (1.0, 1.0)
    assert auc.low == pytest.approx(0.05 ** (1 / (5 if paired else 10)))


def test_a_group_is_never_learned_from_and_judged_at_once() -> None:
    """Every row stands twice in its group; whoever saw its twin would know it."""
    rng = np.random.default_rng(4)
    rows = rng.standard_normal((40, 60))
    label = rng.integers(2, size=40)
    twice, both = np.repeat(rows, 2, axis=0), np.repeat(label, 2)
    apart = discriminate(twice, both, np.repeat(np.arange(40), 2), penalties=(1.0,), seed=0)
    leaked = discriminate(twice, both, np.arange(80), penalties=(1.0,), seed=0)
    assert leaked.auc.mean > 0.8
    assert apart.auc.mean < 0.7
    assert apart.groups == 40


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two parts"):
        discriminate(np.eye(4), [0, 0, 0, 0], np.arange(4), seed=0)
    with pytest.raises(ValueError, match="groups: 3 rows"):
        discriminate(np.eye(4), [0, 1, 0, 1], np.arange(3), seed=0)
    with pytest.raises(ValueError, match="neither 0 nor 1"):
        discriminate(np.eye(4), [0, 1, 2, 1], np.arange(4), seed=0)
    with pytest.raises(ValueError, match="give \\[n, D\\]"):
        energy_test(np.eye(3), np.eye(4), seed=0)
    with pytest.raises(ValueError, match="row 1"):
        energy_test([[0.0], [np.nan]], [[0.0], [1.0]], seed=0)
