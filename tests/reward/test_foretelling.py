"""Surprises: counted by hand, rare where a model is right, and seen where it is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from heedful.reward.foretelling import FEWEST, Foretelling


def test_answers_are_counted_and_ties_are_none() -> None:
    chances = np.array([[0.9, 0.6, 0.2, 0.5], [0.7, 0.8, 0.4, 0.5]])
    found = Foretelling.of(chances, np.array([1.0, 0.0, 0.0, 0.5]))
    assert found.n == 3
    assert found.share == pytest.approx(2 / 3)
    assert found.expected == pytest.approx((0.8 + 0.7 + 0.7) / 3)
    assert found.error == pytest.approx(np.sqrt(0.8 * 0.2 + 0.7 * 0.3 + 0.3 * 0.7) / 3)
    assert Foretelling.of(chances, np.full(4, 0.5)).n == 0


def answers(
    n: int, rng: np.random.Generator, *, wrong: float = 0.0, hard: bool = False
) -> Foretelling:
    """Return how a model does that is right about all but a share of the answers."""
    p = 0.4 + 0.2 * rng.random(n) if hard else rng.random(n)
    said = rng.random(n) < p
    turned = rng.random(n) < wrong
    return Foretelling.of(p[None], (said ^ turned).astype(np.float64))


def test_a_model_that_is_right_is_seldom_stopped_also_where_questions_are_hard() -> None:
    rng = np.random.default_rng(0)
    stopped = [answers(40, rng, hard=True).worse_than(answers(60, rng)) for _ in range(400)]
    assert np.mean(stopped) < 0.06


def test_a_model_that_is_wrong_is_stopped() -> None:
    rng = np.random.default_rng(1)
    stopped = [answers(60, rng, wrong=0.5).worse_than(answers(60, rng)) for _ in range(100)]
    assert np.mean(stopped) > 0.7


def test_little_says_nothing() -> None:
    rng = np.random.default_rng(2)
    right = Foretelling.of(np.full((1, 50), 0.95), np.ones(50))
    wrong = Foretelling.of(np.full((1, FEWEST), 0.95), np.zeros(FEWEST))
    few = Foretelling.of(np.full((1, FEWEST - 1), 0.95), np.zeros(FEWEST - 1))
    assert wrong.worse_than(right)
    assert not few.worse_than(right)
    assert not answers(50, rng).worse_than(Foretelling.of(np.full((1, 3), 0.9), np.ones(3)))
