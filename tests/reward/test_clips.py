from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from heedful.reward import resamples
from heedful.reward.clips import (
    OVERFITTED,
    ClipPairs,
    ClipReward,
    LinearSteps,
    Member,
    agreed,
    fit_linear,
)
from heedful.reward.lapsing import Lapsing
from heedful.reward.rewards import RewardError

WORTH = np.array([2.0, 1.0, 0.0, -1.0, -2.0, 0.5])


def answered(n: int, *, seed: int = 0, length: int = 4, flips: float = 0.0) -> ClipPairs:
    """Clips of indicators of six cases, compared by what these are worth."""
    rng = np.random.default_rng(seed)
    left, right = np.eye(6)[rng.integers(6, size=(2, n, length))]
    lead = (left @ WORTH).sum(1) - (right @ WORTH).sum(1)
    outcomes = np.where(lead == 0, 0.5, (lead > 0).astype(float))
    return ClipPairs(left, right, np.where(rng.random(n) < flips, 1 - outcomes, outcomes))


def test_the_order_of_the_cases_is_found_from_comparisons_of_sums() -> None:
    reward = ClipReward.fit(answered(200), np.eye(6), seed=1)
    assert np.argsort(reward(np.eye(6))).tolist() == np.argsort(WORTH).tolist()
    assert np.corrcoef(reward(np.eye(6)), WORTH)[0, 1] > 0.97


def test_a_tenth_of_wrong_answers_does_less_harm_to_who_expects_some() -> None:
    def error(share: float) -> float:
        found = [
            ClipReward.fit(
                answered(300, seed=seed, flips=0.1),
                np.eye(6),
                likelihood=Lapsing(share),
                seed=seed,
            )(np.eye(6))
            for seed in range(6)
        ]
        return float(np.mean([1 - np.corrcoef(one, WORTH)[0, 1] for one in found]))

    assert error(0.2) < error(0.0) < 0.1


def test_members_are_normalised_on_the_reference_before_they_are_averaged() -> None:
    reference = np.eye(6)[[0, 0, 1, 2, 3, 4, 5, 5]]
    reward = ClipReward.fit(answered(60), reference, seed=2)
    alone = [
        moments(m.rewards(reference))
        for m, moments in zip(reward.members, reward.moments, strict=True)
    ]
    for numbers in alone:
        assert numbers.mean() == pytest.approx(0.0, abs=1e-9)
        assert numbers.std() == pytest.approx(1.0)
    assert np.allclose(reward(reference), np.mean(alone, axis=0))


def test_doubt_is_subtracted_where_members_differ() -> None:
    reward = ClipReward.fit(answered(30), np.eye(6), seed=3)
    worth = reward.read(np.eye(6))
    assert (worth.spread > 0).all()
    assert np.allclose(reward.doubting(2.0)(np.eye(6)), worth.mean - 2 * worth.spread)


def test_members_disagree_most_on_what_was_never_compared() -> None:
    pairs = answered(200)
    pad = np.zeros((200, 4, 1))
    wider = ClipPairs(
        np.concatenate([pairs.left, pad], 2), np.concatenate([pairs.right, pad], 2), pairs.outcomes
    )
    spreads = []
    for seed in range(5):
        reward = ClipReward.fit(wider, np.eye(7)[:6], seed=seed)
        raw = np.array([m.rewards(np.eye(7)) for m in reward.members])
        assert (raw[:, 6] != 0).all()
        spreads.append(raw[:, 6].std())
    assert np.mean(spreads) > 0.02


def many_cases(n: int, width: int = 40) -> ClipPairs:
    """Comparisons that do not suffice for as many cases, so that a model can be overfitted."""
    rng = np.random.default_rng(0)
    worth = rng.normal(size=width)
    left, right = np.eye(width)[rng.integers(width, size=(2, n, 4))]
    return ClipPairs(left, right, ((left - right).sum(1) @ worth > 0).astype(float))


def test_the_penalty_is_adapted_until_what_was_left_out_is_predicted_a_little_worse() -> None:
    pairs, likelihood, seed = many_cases(120), Lapsing(0.1), 4
    counts = resamples(np.arange(len(pairs)), 3, seed)

    def ratios(members: Sequence[Member]) -> list[float]:
        found = []
        for member, drawn in zip(members, counts, strict=True):
            lead = member.rewards(pairs.left).sum(1) - member.rewards(pairs.right).sum(1)
            losses = likelihood.losses(lead, pairs.outcomes)
            found.append(float(losses[drawn == 0].mean() / np.average(losses, weights=drawn)))
        return found

    weak = [fit_linear(pairs, drawn, 0.01, likelihood, seed=0) for drawn in counts]
    strong = [fit_linear(pairs, drawn, 100.0, likelihood, seed=0) for drawn in counts]
    assert min(ratios(weak)) > OVERFITTED[1]
    assert max(ratios(strong)) < OVERFITTED[0]
    for penalty in (0.01, 100.0):
        reward = ClipReward.fit(
            pairs, np.eye(40), likelihood=likelihood, seed=seed, penalties=(penalty,) * 3
        )
        assert all(1.0 < ratio < 1.8 for ratio in ratios(reward.members))
        assert all(0.01 < one < 100.0 for one in reward.penalties)


def test_a_weaker_penalty_fits_closer_and_a_stronger_one_stays_near_nothing() -> None:
    pairs, counts, likelihood = answered(40), np.ones(40), Lapsing(0.0)

    def loss(penalty: float) -> float:
        member = fit_linear(pairs, counts, penalty, likelihood, seed=0)
        lead = member.rewards(pairs.left).sum(1) - member.rewards(pairs.right).sum(1)
        return float(likelihood.losses(lead, pairs.outcomes).mean())

    assert loss(0.01) < loss(1.0) < loss(100.0)


def test_both_ways_to_solve_a_step_give_the_same_model() -> None:
    """Fewer comparisons than cases, or more: the smaller system is solved."""
    pairs = answered(5)
    few = fit_linear(pairs, np.ones(5), 0.5, Lapsing(), seed=0)
    twice = ClipPairs(
        *(np.concatenate([side] * 3) for side in (pairs.left, pairs.right, pairs.outcomes))
    )
    many = fit_linear(twice, np.full(15, 1 / 3), 0.5, Lapsing(), seed=0)
    assert np.allclose(few.coefficients, many.coefficients, atol=1e-3)


def test_the_same_seed_gives_the_same_model_and_another_gives_another() -> None:
    one, same, other = (
        ClipReward.fit(answered(50), np.eye(6), seed=seed)(np.eye(6)) for seed in (1, 1, 2)
    )
    assert (one == same).all()
    assert (one != other).any()


def test_a_model_comes_back_from_a_file(tmp_path: Path) -> None:
    reward = ClipReward.fit(answered(50), np.eye(6), seed=5).doubting(0.5)
    save_file(reward.tensors(), tmp_path / "clips.safetensors")
    again = ClipReward.from_tensors(load_file(tmp_path / "clips.safetensors"))
    assert (again(np.eye(6)) == reward(np.eye(6))).all()
    assert again.penalties == reward.penalties
    pairs = answered(9, seed=8)
    assert (again.prefer(pairs.left, pairs.right) == reward.prefer(pairs.left, pairs.right)).all()
    assert isinstance(again.members[0], LinearSteps)


def test_answers_that_tell_nothing_apart_give_a_reward_of_nothing() -> None:
    same = np.ones((4, 2, 3))
    pairs = ClipPairs(same, same, np.full(4, 0.5))
    assert np.isfinite(ClipReward.fit(pairs, np.ones((5, 3)))(np.ones((2, 3)))).all()


def test_ties_count_half_in_agreement() -> None:
    chances = np.array([[0.9, 0.2, 0.6], [0.8, 0.4, 0.1]])
    assert agreed(chances, np.array([1.0, 1.0, 0.5])).tolist() == [1.0, 0.0, 0.5]


@pytest.mark.parametrize(
    ("left", "outcomes", "message"),
    [
        ((2, 3, 4), [1.0], "1 outcomes for 2 pairs"),
        ((2, 3), [1.0, 0.0], "stand against"),
        ((2, 3, 4), [1.0, 0.7], "1 is left, 0 is right"),
    ],
)
def test_what_is_no_comparison_is_refused(
    left: tuple[int, ...], outcomes: list[float], message: str
) -> None:
    with pytest.raises(RewardError, match=message):
        ClipPairs(np.zeros(left), np.zeros(left), np.array(outcomes))


def test_nothing_to_learn_from_is_refused() -> None:
    nothing = ClipPairs(np.zeros((0, 2, 3)), np.zeros((0, 2, 3)), np.zeros(0))
    with pytest.raises(RewardError, match="0 comparisons"):
        ClipReward.fit(nothing, np.eye(3))
