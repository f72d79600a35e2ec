"""Games are learned by the one trainer, and a game that breaks costs the round it broke in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from heedful.config import Interact
from heedful.domains.games import Game, GameError, Games
from heedful.loop.interact import Interaction, interact
from heedful.loop.run import Run
from heedful.loop.vectorised import Vectorised
from heedful.policy import Feedforward, Greedy, Policy, Schema
from heedful.store import Snapshot
from tests.domains.games.scripted import LOCKS, SAME_STEP, TRACK, Track, register, track

register()
PLAIN = Interact(
    rounds=30,
    environments=8,
    decisions=16,
    epochs=6,
    batch=64,
    learning_rate=0.01,
    decay="constant",
    gamma=0.9,
    kl=0.0,
    kl_limit=0.0,
    entropy_floor=0.0,
    fall=0.0,
    save=1,
)


def learn(
    game: Game, section: Interact, folder: Path, *, seed: int = 0
) -> tuple[Interaction, Policy]:
    torch.manual_seed(seed)
    schema = Schema(len(game.moves.units), features=game.observations.features)
    policy = Feedforward(schema, width=16).eval()
    rollouts = Vectorised(game, steps=section.decisions, gamma=section.gamma, seed=seed)
    folder.mkdir(exist_ok=True)
    run = Run(folder, {})
    try:
        made = interact(
            policy,
            policy,
            rollouts,
            section,
            run,
            objective="ppo",
            seed=seed,
            cut=rollouts.single,
        )
    finally:
        run.close()
    return made, policy


@pytest.mark.parametrize(("name", "best"), [(TRACK, 16.0), (LOCKS, 5.0)])
def test_play_becomes_as_good_as_it_can_be(name: str, best: float, tmp_path: Path) -> None:
    """Three moves right earn 16; of the locks' 6 points one is out of reach."""
    options: dict[str, Any] = {"masked": True} if name == TRACK else {}
    games = Games({"game": name, "options": options})
    assert games.vocabulary(Snapshot.of([])).units == games.moves.units
    made, policy = learn(games.environment(8, 0, {}), PLAIN, tmp_path)
    assert not made.collapse
    assert made.metrics["sampler_gap"] < 1e-4
    judge = Vectorised(games.environment(4, 0, {}), steps=12, gamma=1.0, seed=99)
    assert judge.play(Greedy(policy).eval(), 0).score == best


class Fragile(Track):
    """A track that breaks, once, in its 100th step."""

    def __init__(self) -> None:
        super().__init__(8, SAME_STEP)
        self.steps = 0

    def step(self, actions: Any) -> Any:
        self.steps += 1
        if self.steps == 100:
            raise OSError("the cable came off")
        return super().step(actions)


def test_training_goes_on_from_its_last_state(tmp_path: Path) -> None:
    game, section = track(8), PLAIN.model_copy(update={"rounds": 10})
    fragile = Game(Fragile(), "fragile", game.observations, game.moves)
    with pytest.raises(GameError, match=r"fragile raised OSError at step 100 .*cable came off"):
        learn(fragile, section, tmp_path / "run")
    kept = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(kept) == 6, "the round that broke has left nothing"
    made, _ = learn(fragile, section, tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert lines[:6] == kept
    assert len(lines) == 10
    assert not made.collapse
