from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from heedful.reward.clip_network import NetworkSteps, fit_network
from heedful.reward.clips import ClipPairs, ClipReward, LinearSteps, fit_linear


def near_the_middle(n: int, seed: int) -> ClipPairs:
    """Steps are better the nearer their first number is to 3; the second is noise."""
    rng = np.random.default_rng(seed)
    left, right = rng.normal(3.0, 2.0, size=(2, n, 5, 2))
    lead = -np.abs(left[..., 0] - 3.0).sum(1) + np.abs(right[..., 0] - 3.0).sum(1)
    return ClipPairs(left, right, (lead > 0).astype(float))


def accuracy(reward: ClipReward) -> float:
    unseen = near_the_middle(400, 9)
    return float(
        ((reward.prefer(unseen.left, unseen.right).mean(0) > 0.5) == unseen.outcomes).mean()
    )


def test_a_network_sees_what_no_straight_line_can() -> None:
    pairs = near_the_middle(150, 0)
    reference = pairs.left.reshape(-1, 2)
    curved = ClipReward.fit(pairs, reference, fitting=fit_network, seed=1)
    straight = ClipReward.fit(pairs, reference, fitting=fit_linear, seed=1)
    assert accuracy(curved) > 0.85
    assert accuracy(straight) < 0.65
    at = np.array([[3.0, 3.0], [5.0, 3.0], [1.0, 3.0]])
    assert curved(at).argmax() == 0


def test_a_network_comes_back_from_a_file_and_the_same_seed_gives_the_same(
    tmp_path: Path,
) -> None:
    pairs = near_the_middle(20, 0)
    made = fit_network(
        pairs, np.ones(20), 1.0, ClipReward.fit(pairs, pairs.left[0]).likelihood, seed=3
    )
    again = fit_network(
        pairs, np.ones(20), 1.0, ClipReward.fit(pairs, pairs.left[0]).likelihood, seed=3
    )
    assert (made.rewards(pairs.left) == again.rewards(pairs.left)).all()
    reward = ClipReward.fit(pairs, pairs.left[0], fitting=fit_network, members=2)
    save_file(reward.tensors(), tmp_path / "clips.safetensors")
    back = ClipReward.from_tensors(load_file(tmp_path / "clips.safetensors"), NetworkSteps)
    assert (back(pairs.left) == reward(pairs.left)).all()


def test_a_number_that_never_changes_is_no_trouble() -> None:
    pairs = near_the_middle(20, 0)
    left, right = (
        np.concatenate([side, np.ones((20, 5, 1))], 2) for side in (pairs.left, pairs.right)
    )
    reward = ClipReward.fit(
        ClipPairs(left, right, pairs.outcomes), left[0], fitting=fit_network, members=1
    )
    assert np.isfinite(reward(left)).all()
    assert not isinstance(reward.members[0], LinearSteps)
