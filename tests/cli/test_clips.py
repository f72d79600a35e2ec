"""From comparisons of clips to a policy, by the command: what people want, not what the game pays.

A ring of cells: the game pays for going right. Whoever is asked likes what goes left.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from typer.testing import CliRunner, Result

from heedful.cli.app import command
from heedful.domains.games import Games
from heedful.domains.games.clips import play, records
from heedful.loop.clips import wanted
from heedful.loop.vectorised import Vectorised
from heedful.policy import Greedy, load
from heedful.record import Span, pseudonym
from heedful.reward import Fitted
from heedful.reward.questions import Answer, LoggedQuestions
from heedful.reward.steps import Episodes
from heedful.workspace import Workspace
from tests.cli.calls import result, run

RING, CELLS, HORIZON = "tests/Ring-v0", 5, 20
LEFT, RIGHT = "0", "2"
SETTINGS = f"""
[workspace]
domain = "games"
[domain]
game = "{RING}"
[reward]
clips = true
[policy]
kind = "feedforward"
width = 16
dropout = 0.0
prior = false
[pretrain]
epochs = 2
[reinforce]
objective = "ppo"
[interact]
rounds = 8
environments = 8
decisions = 20
epochs = 4
batch = 80
group = 1
learning_rate = 0.02
gamma = 0.9
kl = 0.0
kl_limit = 0.0
entropy_floor = 0.0
fall = 0.0
"""


class Ring(gymnasium.Env[Any, Any]):
    """Left (0), stay (1), right (2) on a ring, which pays for going right; cut off by its time."""

    metadata: dict[str, Any] = {"render_modes": ["ansi"]}  # noqa: RUF012
    observation_space = spaces.Discrete(CELLS)
    action_space = spaces.Discrete(3)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.at = int(self.np_random.integers(CELLS))
        return self.at, {}

    def step(self, action: Any) -> Any:
        self.at = (self.at + int(action) - 1) % CELLS
        return self.at, float(action == 2), False, False, {}

    def render(self) -> str:
        return "".join("O" if cell == self.at else "." for cell in range(CELLS))


if RING not in gymnasium.registry:
    gymnasium.register(id=RING, entry_point=f"{__name__}:Ring", max_episode_steps=HORIZON)


@pytest.fixture
def arcade(tmp_path: Path) -> Path:
    """A workspace with thirty episodes of play by chance, with their seeds."""
    folder = tmp_path / "arcade"
    Workspace.create(folder, domain="games", settings=SETTINGS).close()
    luck = np.random.default_rng(0)
    with Workspace.open(folder) as opened, opened.writing() as log:
        vocabulary = opened.domain.vocabulary(log.snapshot())
        game = gymnasium.make(RING)
        for k in range(30):
            one = play(game, lambda _: int(luck.integers(3)), episode=f"play-{k}", seed=k)
            log.append(
                records(
                    one,
                    lambda cell: {"observation": int(cell)},
                    lambda move: (str(move),),
                    subject=f"player-{k % 6}",
                    policy="chance",
                    vocabulary=vocabulary.digest(),
                    at=float(100 * k),
                )
            )
    return folder


def answered(folder: Path, n: int, by: str, likes: str = LEFT) -> None:
    """Answer questions as somebody who counts the moves to one side."""
    with Workspace.open(folder) as opened, opened.writing() as log:
        episodes = Episodes(log.snapshot())
        asking = LoggedQuestions(
            log, opened.domain, by=pseudonym(by, opened.key), length=5, clock=opened.clock
        )

        def worth(span: Span) -> int:
            units = [step.units[0] for step in episodes.until(span)[span.start :]]
            return sum(unit == likes for unit in units) - sum(
                unit == (RIGHT if likes == LEFT else LEFT) for unit in units
            )

        for _ in range(n):
            question = asking.next()
            assert question is not None
            lead = worth(question.left) - worth(question.right)
            said = Answer.EQUAL if lead == 0 else Answer.LEFT if lead > 0 else Answer.RIGHT
            asking.answer(question, said)


def label(folder: Path, answers: str, *words: str) -> Result:
    told = ["label", str(folder), "--by", "ada", "--length", "3", *words]
    return CliRunner().invoke(command(), told, input=answers)


def test_what_people_want_of_play_is_learned_against_what_the_game_pays(arcade: Path) -> None:
    shown = label(arcade, "e\n", "--questions", "1").stderr
    rows = [line.split() for line in shown.splitlines() if line.count("O") == 2]
    assert len(rows) == 4  # both clips: before each of three moves, and after
    assert all(len(side) == CELLS for row in rows for side in row)

    answered(arcade, 60, "ada")
    fitted = result(run("reward", arcade, "--json"))
    assert fitted["reward"] == "0001"
    assert fitted["metrics"]["clips/comparisons"] == 61
    assert fitted["metrics"]["clips/foretold"] > 0.8
    assert sorted(one.name for one in (arcade / "rewards" / "0001").iterdir()) == [
        "card.json",
        "clips.safetensors",
        "manifest.json",
    ]
    first = result(run("pretrain", arcade, "--json"))["policy"]
    made = result(run("reinforce", arcade, "--parent", first, "--json"))
    assert made["metrics"]["own"] < 5.0  # of 20 that the game would pay
    assert made["metrics"]["score"] > 0.5  # standard deviations above play by chance
    assert "doubt" in made["metrics"]
    with Workspace.open(arcade) as opened:
        assert opened.registry.card(made["policy"]).reward == "0001"
        games = opened.domain
        assert isinstance(games, Games)
        policy = Greedy(load(opened.registry.folder(made["policy"])).policy).eval()
        judge = Vectorised(games.environment(4, 0, {}), steps=HORIZON, gamma=1.0, seed=9)
        batch = judge.play(policy, 0).batch
        assert float((batch.units[batch.mask] == 0).float().mean()) > 0.9


def test_a_reward_that_no_longer_foretells_what_is_said_is_not_learned_from(arcade: Path) -> None:
    answered(arcade, 60, "ada")
    run("reward", arcade)
    with Workspace.open(arcade, {"reward.pessimism": 1.5}) as opened:
        assert wanted(opened.bench(), opened.log.snapshot()).reward.pessimism == 1.5
    first = result(run("pretrain", arcade, "--json"))["policy"]
    answered(arcade, 20, "grace")
    assert run("reinforce", arcade, "--parent", first).exit_code == 0  # she says the same
    answered(arcade, 40, "alan", likes=RIGHT)
    done = run("reinforce", arcade, "--parent", first)
    assert done.exit_code == 1
    told = " ".join(done.stderr.split())
    assert "reward 0001 foretold" in told
    assert "Fit it anew: heedful reward" in told
    assert result(run("reward", arcade, "--json"))["reward"] == "0002"
    assert run("reinforce", arcade, "--parent", first).exit_code == 0


def test_what_is_missing_is_said(arcade: Path) -> None:
    first = result(run("pretrain", arcade, "--json"))["policy"]
    done = run("reinforce", arcade, "--parent", first)
    assert "no reward of clips has been fitted yet: heedful reward" in " ".join(done.stderr.split())
    done = run("reward", arcade)
    assert done.exit_code == 1
    assert "the log holds 0; it takes 10 at least: heedful label" in " ".join(done.stderr.split())
    done = run("reinforce", arcade, "--parent", first, "--set", "reinforce.objective=reinforce")
    assert done.exit_code == 1
    assert "does not play" in " ".join(done.stderr.split())


def test_a_damaged_reward_is_refused(arcade: Path) -> None:
    answered(arcade, 20, "ada")
    run("reward", arcade)
    file = arcade / "rewards" / "0001" / "clips.safetensors"
    assert Fitted.load(file.parent).clips is not None
    file.write_bytes(file.read_bytes()[:-8])
    first = result(run("pretrain", arcade, "--json"))["policy"]
    done = run("reinforce", arcade, "--parent", first)
    assert done.exit_code == 1
    assert "clips.safetensors" in done.stderr.replace("\n", "")


def test_deep_q_learning_matches_nobody(arcade: Path) -> None:
    first = result(run("pretrain", arcade, "--json"))["policy"]
    asked = ["--set", "reward.clips=false", "--set", "reinforce.objective=dqn"]
    done = run("reinforce", arcade, "--parent", first, *asked, "--set", "interact.match=0.5")
    assert done.exit_code == 1
    assert "set match = 0" in " ".join(done.stderr.split())
