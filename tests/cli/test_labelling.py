"""heedful label, with answers from a pipe."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from heedful.cli.app import command
from heedful.domains.games.clips import FixedHorizon, play, records
from heedful.record import pseudonym
from heedful.reward.clips import ClipReward
from heedful.reward.steps import Episodes, StepReader
from heedful.workspace import Workspace
from tests.cli.calls import NAMED, result, run

BY = ["--by", "ada", "--length", "2"]


@pytest.fixture
def shop(ratings: Path, tmp_path: Path) -> Path:
    """A workspace with ratings, and nothing trained on them."""
    assert run("init", tmp_path / "rated").exit_code == 0
    assert run("import", tmp_path / "rated", ratings, *NAMED).exit_code == 0
    return tmp_path / "rated"


def label(shop: Path, answers: str, *words: str) -> Result:
    return CliRunner().invoke(command(), ["label", str(shop), *BY, *words], input=answers)


def test_answers_from_a_pipe_are_in_the_log(shop: Path) -> None:
    found = result(label(shop, "l\nR\nhm\n\ne\nc\nq\nl\n", "--json"))
    assert found == {"left": 1, "right": 1, "equal": 1, "unsure": 1}
    with Workspace.open(shop) as workspace:
        judged = Episodes(workspace.log.snapshot()).judged()
        assert [one.outcome for one in judged] == [1.0, 0.0, 0.5]
        assert {one.by for one in judged} == {pseudonym("ada", workspace.key)}


def test_both_clips_are_shown_and_what_to_type(shop: Path) -> None:
    done = label(shop, "x\nl\n", "--questions", "1", "--random")
    assert done.exit_code == 0
    assert "Question 1 of 1" in done.stderr
    assert "[l]eft, [r]ight, [e]qual, [c]annot tell, [q]uit" in done.stderr
    assert "x is no answer." in done.stderr
    shown = [line for line in done.stderr.splitlines() if line.count("item-") == 2]
    assert len(shown) == 2  # a line for each step of both clips
    assert done.stdout == "1 answers are in the log; 0 could not be told.\n"


def test_the_end_of_the_input_ends_it(shop: Path) -> None:
    assert result(label(shop, "l\n", "--json"))["left"] == 1
    assert result(label(shop, "", "--json"))["left"] == 0


def test_play_in_an_environment_is_logged_compared_and_read(tmp_path: Path) -> None:
    """Games: the answers, and features in which a reward of clips can be fitted to them."""
    settings = '[workspace]\ndomain = "games"\n\n[domain]\ngame = "FrozenLake-v1"\n'
    Workspace.create(tmp_path / "lake", domain="games", settings=settings).close()
    game = FixedHorizon(gymnasium.make("FrozenLake-v1"), 12)
    luck = np.random.default_rng(0)
    with Workspace.open(tmp_path / "lake") as opened, opened.writing() as log:
        vocabulary = opened.domain.vocabulary(log.snapshot())
        for k in range(6):
            one = play(game, lambda _: int(luck.integers(4)), episode=f"play-{k}", seed=k)
            log.append(
                records(
                    one,
                    lambda state: {"observation": int(state)},
                    lambda move: (str(move),),
                    subject="chance",
                    policy="chance",
                    vocabulary=vocabulary.digest(),
                    at=1.0,
                )
            )
    found = result(label(tmp_path / "lake", "l\nr\n" * 8, "--questions", "16", "--json"))
    assert (found["left"], found["right"]) == (8, 8)
    with Workspace.open(tmp_path / "lake") as opened:
        episodes = Episodes(opened.log.snapshot())
        read = StepReader(opened.domain, vocabulary)
        assert read.width == 16 + 4 + 64  # states, moves, and each of these cases
        pairs = read.pairs(episodes, episodes.judged())
        assert pairs.left.shape == (16, 2, read.width)
        reward = ClipReward.fit(pairs, pairs.left[0])
        assert np.isfinite(reward(pairs.left)).all()


def test_a_log_without_clips_says_what_to_do(shop: Path, empty: Path) -> None:
    done = label(shop, "l\n", "--length", "500")
    assert done.exit_code == 1
    assert "no episode in the log has 500 steps" in done.stderr
    assert label(empty, "l\n").exit_code == 1
