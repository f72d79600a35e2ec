"""Games that nobody has played yet: by the command, from nothing to a version that plays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from heedful.domains.games import Games
from heedful.loop.vectorised import Vectorised
from heedful.policy import Feedforward, Floor, Greedy, Policy, load, replay
from heedful.serve import DecisionRequest
from heedful.workspace import Workspace
from tests.cli.calls import result, run
from tests.domains.games.scripted import OneTrack
from tests.small_shop import flags

BREAKS, SCREEN = "tests/breaks-v0", "tests/screen-v0"
PLAY = {
    "policy.width": 16,
    "interact.environments": 16,
    "interact.decisions": 16,
    "interact.rounds": 12,
    "interact.batch": 64,
    "interact.learning_rate": 0.01,
}
DEEP = {
    **PLAY,
    "reinforce.objective": "dqn",
    "interact.epochs": 8,
    "interact.learning_rate": 0.003,
    "interact.warm_up": 200,
    "interact.target": 50,
}


class Breaks(OneTrack):
    """A track on which the step that ``FAULT`` names goes wrong, once."""

    FAULT: ClassVar[dict[str, Any]] = {"kind": "", "at": -1, "steps": 0}

    def step(self, action: Any) -> Any:
        fault = self.FAULT
        fault["steps"] += 1
        observed, reward, terminated, truncated, info = super().step(action)
        if fault["steps"] == fault["at"]:
            match fault["kind"]:
                case "raise":
                    raise OSError("the cable came off")
                case "nan":
                    observed[0] = np.nan
                case "outside":
                    observed[0] = 7.0
                case "mask":
                    info["action_mask"] = np.zeros(3, np.int8)
                    terminated = truncated = False
        return observed, reward, terminated, truncated, info


class Screen(gymnasium.Env[Any, Any]):
    """A screen of 12 x 12 grey pixels, one half of it bright: left (0) or right (1)."""

    observation_space = spaces.Box(0, 255, (12, 12, 1), np.uint8)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.turns = 0
        return self._seen(), {}

    def step(self, action: Any) -> Any:
        reward, self.turns = float(action == self.bright), self.turns + 1
        return self._seen(), reward, self.turns == 4, False, {}

    def _seen(self) -> Any:
        self.bright = int(self.np_random.integers(2))
        screen = self.np_random.integers(60, size=(12, 12, 1)).astype(np.uint8)
        screen[:, 6 * self.bright : 6 * self.bright + 6] += 150
        return screen


for name, entry in ((BREAKS, "Breaks"), (SCREEN, "Screen")):
    if name not in gymnasium.registry:
        gymnasium.register(id=name, entry_point=f"{__name__}:{entry}")


@pytest.fixture
def play(tmp_path: Path) -> Path:
    assert run("init", tmp_path / "play", "--domain", "games").exit_code == 0
    return tmp_path / "play"


def reinforce(folder: Path, settings: dict[str, Any], *words: str) -> Any:
    return run("reinforce", folder, *words, "--json", *flags(settings))


def version(folder: Path, name: str) -> Policy:
    policy = load(folder / "policies" / name).policy
    assert isinstance(policy, Floor)
    return policy.inner  # type: ignore[no-any-return]


def score(games: Games, policy: Policy) -> float:
    judge = Vectorised(games.environment(64, 0, {}), steps=20, gamma=1.0, seed=9)
    return judge.play(policy, 0).score


def test_a_game_without_a_log_is_learned_from_nothing(play: Path) -> None:
    done = reinforce(play, PLAY)
    made = result(done)
    assert "It began with version 0001" in done.stderr
    assert made["policy"] == "0002"
    assert made["metrics"]["objective"] == "ppo"
    with Workspace.open(play) as workspace:
        cards = [workspace.registry.card(name) for name in ("0001", "0002")]
        games = workspace.domain
    assert [(card.step, card.parent) for card in cards] == [("begin", None), ("reinforce", "0001")]
    assert isinstance(games, Games)
    first, second = (version(play, name) for name in ("0001", "0002"))
    batch = Vectorised(games.environment(8, 0, {}), steps=6, gamma=1.0, seed=0).play(first, 0).batch
    possible = batch.choices.mask(batch.mask)
    assert possible is not None
    p = batch.behaviour_logps[batch.mask].exp() * possible.sum(1)
    assert 0.9 < float(p.min()) < float(p.max()) < 1.1, "at first all moves are as likely"
    assert score(games, second) > score(games, first) + 0.2
    again = reinforce(play, PLAY)
    assert again.exit_code == 1
    assert "no version is live" in again.stderr


def test_a_turn_of_the_loop_begins_from_nothing_too(play: Path) -> None:
    done = json.loads(run("run", play, "--json", *flags(PLAY)).stdout)
    assert (done["action"], done["policy"]) == ("first version", "0001")
    with Workspace.open(play) as workspace:
        assert workspace.registry.card("0001").kind == "feedforward"
    assert result(reinforce(play, PLAY))["policy"] == "0002"


def test_values_of_moves_are_saved_served_logged_and_replayed_like_any_policy(play: Path) -> None:
    made = result(reinforce(play, DEEP))
    assert made["metrics"]["objective"] == "dqn"
    first, second = (version(play, name) for name in ("0001", "0002"))
    assert isinstance(second, Greedy)
    network = second.inner
    assert isinstance(network, Feedforward)
    assert network.activation == "relu"
    assert result(run("promote", play, "0002", "--force", "--why", "it is the first", "--json"))
    with Workspace.open(play, DEEP) as workspace:
        games = workspace.domain
        assert isinstance(games, Games)
        assert score(games, second) > score(games, first) + 0.2
        game = games.environment(1, 0, {})
        rows, _ = game.reset(seed=1)
        with workspace.serving() as service:
            for _ in range(4):
                context = games.context(rows[0])
                legal = context.get("legal", list(games.moves.units))
                asked = DecisionRequest(user="ada", session="match", context=context)
                (answer,) = service.decide([asked])
                assert answer.units[0] in legal  # type: ignore[union-attr]
                rows, _, over, *_ = game.step(games.action(answer.units, None)[None])  # type: ignore[union-attr,arg-type]
                if over[0]:
                    break
        snapshot = workspace.log.snapshot()
        loaded = load(workspace.registry.folder("0002"))
        streams = games.encode(snapshot, loaded.vocabulary)
        batch = streams.batch(streams.windows(workspace.config.policy.window))
        with torch.no_grad():
            replayed = replay(loaded.policy, batch)[batch.mask].double()
        assert snapshot.decisions.n >= 3
        torch.testing.assert_close(replayed, batch.behaviour_logps[batch.mask], atol=1e-6, rtol=0)
        share = workspace.config.serve.floor
        assert float(replayed.max().exp()) > 1.0 - share, "but for the floor it is greedy"
    refused = reinforce(play, PLAY)
    assert refused.exit_code == 1
    assert "always does what is worth most" in refused.stderr
    assert result(reinforce(play, DEEP))["policy"] == "0003"


def test_a_policy_with_a_memory_has_no_values_of_moves(play: Path) -> None:
    done = reinforce(play, {**DEEP, "policy.kind": "recurrent"})
    assert done.exit_code == 1
    assert 'needs policy.kind = "feedforward"' in done.stderr


@pytest.mark.parametrize(
    ("objective", "kind", "said"),
    [
        ("ppo", "raise", "tests/breaks-v0 raised OSError"),
        ("dqn", "raise", "tests/breaks-v0 raised OSError"),
        ("ppo", "nan", "tests/breaks-v0, game 0 of 16, step 100: observed nan"),
        ("ppo", "outside", "tests/breaks-v0, game 0 of 16, step 100: observed 7"),
        ("ppo", "mask", "tests/breaks-v0, game 0 of 16, step 100: allows no move"),
    ],
)
def test_a_game_that_breaks_costs_its_round_and_nothing_else(
    tmp_path: Path, objective: str, kind: str, said: str
) -> None:
    folder = tmp_path / "play"
    run("init", folder, "--domain", "games")
    settings: dict[str, Any] = {
        **(DEEP if objective == "dqn" else PLAY),
        "domain.game": BREAKS,
        "domain.options": '["masked=true"]',
        "interact.rounds": 10,
        "interact.save": 1,
    }
    Breaks.FAULT.update(kind=kind, at=99 * 16 + 1, steps=0)
    broken = reinforce(folder, settings)
    assert broken.exit_code == 1
    assert said in broken.stderr
    (lines,) = folder.glob("runs/*/metrics.jsonl")
    kept = lines.read_text().splitlines()
    assert len(kept) == 6, "the round that broke has left nothing"
    with Workspace.open(folder) as workspace:
        assert [v.name for v in workspace.registry.versions()] == ["0001"]
        assert workspace.log.watermark() == 0
    assert result(run("doctor", folder, "--json"))["ok"]
    assert result(reinforce(folder, settings))["policy"] == "0002"
    assert lines.read_text().splitlines()[:6] == kept
    assert len(lines.read_text().splitlines()) == 10


def test_screens_are_read_by_convolutions(tmp_path: Path) -> None:
    """Who looks at half of a screen as at a row of numbers could learn it too: the form tells."""
    folder = tmp_path / "play"
    run("init", folder, "--domain", "games")
    settings = {**PLAY, "domain.game": SCREEN, "interact.learning_rate": 0.003}
    made = result(reinforce(folder, settings))
    policy = version(folder, made["policy"])
    assert isinstance(policy, Feedforward)
    assert policy.image == (1, 12, 12)
    with Workspace.open(folder, settings) as workspace:
        games = workspace.domain
        assert isinstance(games, Games)
        assert score(games, policy) > 3.5


def test_what_needs_chances_is_refused_for_values_of_moves(play: Path) -> None:
    for name in ("kl", "match"):
        done = reinforce(play, {**DEEP, f"interact.{name}": 0.1})
        assert done.exit_code == 1
        assert f"set {name} = 0" in done.stderr


def test_play_is_of_no_groups(play: Path) -> None:
    done = reinforce(play, {**PLAY, "reinforce.objective": "rloo"})
    assert done.exit_code == 1
    assert 'objective = "rloo" compares several answers to the same asking' in done.stderr
    assert '"ppo" or "dqn"' in done.stderr
