"""What a reward of clips sees of a round is what it sees of the same steps in the log."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from heedful.contract.clips import Step
from heedful.domains.games import Games
from heedful.loop.clips import Preferred, Wanted, steps_of
from heedful.loop.rollouts import Recorded
from heedful.loop.vectorised import Vectorised
from heedful.policy import Feedforward, Transformer, Vocabulary
from heedful.reward.clips import ClipPairs, ClipReward
from heedful.reward.steps import StepReader
from heedful.store import Snapshot
from tests.contract.toys import Grid
from tests.domains.games.scripted import LOCKS, register

register()


def test_moves_of_several_factors_are_one_step_each() -> None:
    games = Games({"game": LOCKS})
    vocabulary = games.vocabulary(Snapshot.of([]))
    torch.manual_seed(0)
    policy = Feedforward(games.schema(vocabulary), width=8).eval()
    rollouts = Vectorised(games.environment(3, 0, {}), steps=5, gamma=0.9, seed=1)
    batch = rollouts.play(policy, 0).batch
    turned = Vocabulary(tuple(reversed(vocabulary.units)))  # the reward's units are its own
    number = torch.from_numpy(turned.indexes(vocabulary.units)).long()
    seen, units, last = steps_of(batch, number, len(turned))
    assert seen.shape == (15, games.features)
    assert (units.sum(1) == 2).all()
    assert int(last.sum()) == 15
    reader = StepReader(games, turned)
    for row, chosen in enumerate(units):
        values = [turned.units[k] for k in np.flatnonzero(chosen)]
        dial, lights = seen[row][:3].argmax(), seen[row][3:]
        step = Step({"observation": [int(dial), *lights.tolist()]}, tuple(values))
        assert np.array_equal(reader([step])[0], reader.features(seen[[row]], units[[row]])[0])


def corridor(grid: Grid) -> Recorded:
    return Recorded(
        grid,
        grid.vocabulary(Snapshot.of([])),
        grid.environment(4, 0, {}),
        decisions=6,
        window=32,
        gamma=1.0,
        seed=0,
        fresh=False,
        reward=grid.reward,
    )


def test_a_policy_with_a_memory_is_read_at_its_last_context() -> None:
    grid = Grid()
    vocabulary = grid.vocabulary(Snapshot.of([]))
    torch.manual_seed(0)
    policy = Transformer(grid.schema(vocabulary), width=16, layers=1, heads=2).double().eval()
    batch = corridor(grid).play(policy, 0).batch
    seen, units, last = steps_of(batch, torch.arange(3), 3)
    assert int(last.sum()) == len(seen) == 24
    at, move = seen[:, 0], units.argmax(1)
    row = torch.nonzero(last)[:, 0].numpy()
    for here, there in zip(range(23), range(1, 24), strict=True):
        if row[here] == row[there]:
            moved = at[here] + np.array([-1, 1, 0])[move[here]]
            assert at[there] == (0 if moved == 4 else moved)


def test_a_round_earns_what_is_wanted_less_doubt_and_keeps_its_own_score_beside() -> None:
    grid = Grid()
    vocabulary = grid.vocabulary(Snapshot.of([]))
    reader = StepReader(grid, vocabulary)
    rng = np.random.default_rng(0)
    clips = rng.random((2, 30, 4, reader.width))
    pairs = ClipPairs(*clips, (clips[0, :, :, 2].sum(1) > clips[1, :, :, 2].sum(1)).astype(float))
    reward = ClipReward.fit(pairs, clips[0].reshape(-1, reader.width))
    torch.manual_seed(0)
    policy = Transformer(grid.schema(vocabulary), width=16, layers=1, heads=2).double().eval()

    own = corridor(grid).play(policy, 0)
    bold = Preferred(corridor(grid), Wanted("1", reward, reader), vocabulary).play(policy, 0)
    careful = Wanted("1", reward.doubting(2.0), reader)
    doubting = Preferred(corridor(grid), careful, vocabulary).play(policy, 0)
    assert torch.equal(bold.batch.units, own.batch.units)
    assert bold.metrics["own"] == own.score or np.isnan(own.score)
    _, _, last = steps_of(own.batch, torch.arange(3), 3)
    assert bool((bold.batch.rewards[~last] == 0).all())
    assert bold.score - doubting.score == pytest.approx(2.0 * bold.metrics["doubt"], abs=1e-5)
