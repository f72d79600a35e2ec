"""``heedful play``, with moves from a pipe, as somebody types them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from heedful.cli.app import command
from heedful.domains.games.boards import TIC_TAC_TOE, BoardMatch
from heedful.policy import load, replay
from heedful.record import Kind, pseudonym
from heedful.workspace import Workspace
from tests.arcade import make


@pytest.fixture
def arcade(tmp_path: Path) -> Path:
    return make(tmp_path / "arcade")


def play(folder: Path, *words: str, keys: str, env: Mapping[str, str] | None = None) -> Result:
    typed = "".join(f"{key}\n" for key in keys.split())
    words = ("play", str(folder), "--user", "grace", *words)
    return CliRunner().invoke(command(), words, input=typed, env=env)


EVERY_KEY = " ".join("123456789" * 9)
"""Whatever is played, a legal move is among the next nine keys."""


def test_a_game_to_its_end_is_in_the_log_with_the_exact_probabilities(arcade: Path) -> None:
    done = play(arcade, "--seat", "second", keys=EVERY_KEY)
    assert done.exit_code == 0, done.stderr
    with Workspace.open(arcade) as workspace:
        snapshot, names = workspace.log.snapshot(), workspace.log.snapshot().names
        decisions, feedback = snapshot.decisions, snapshot.feedback
        moves = [names.units[code] for code in decisions.units]
        assert done.stdout.split() == [str(int(move) + 1) for move in moves]
        assert tuple(names.subjects) == (pseudonym("grace", workspace.key),)
        assert tuple(names.policies) == ("0001",)
        assert decisions.step.tolist() == list(range(decisions.n))
        contexts = [json.loads(text) for text in decisions.contexts]
        loaded = load(workspace.registry.folder("0001"))
        streams = workspace.domain.encode(snapshot, loaded.vocabulary)
        batch = streams.batch(streams.windows(200))
        with torch.no_grad():
            gap = replay(loaded.policy, batch) - batch.behaviour_logps
        assert float(gap[batch.mask].abs().max()) < 1e-6
        # A reward for each move, the last one says who won.
        assert feedback.decision.tolist() == list(range(decisions.n))
        assert set(feedback.kind.tolist()) == {list(Kind).index(Kind.REWARD)}
        assert not feedback.value[:-1].any()
        told = {"You have won.": -1.0, "You have lost.": 1.0, "Drawn.": 0.0}
        [words] = [line for line in done.stderr.splitlines() if line in told]
        assert feedback.value[-1] == told[words]
        assert snapshot.ends.terminated.tolist() == [True]
        # The log alone says what was played: each board follows from the one before.
        last = json.loads(snapshot.ends.contexts[0])["observation"]
        before = contexts[-1]["observation"]
        assert sum(last) > sum(before)
        # The version's own stones are first in both, and none is ever taken away.
        assert all(later >= earlier for later, earlier in zip(last, before, strict=True))


def test_wrong_keys_are_told_and_leaving_keeps_what_was_played(arcade: Path) -> None:
    done = play(arcade, "--seat", "first", keys="0 hello 5 5 q 1")
    assert done.exit_code == 0
    assert "'0' is no move now: type one of 1 2 3 4 5 6 7 8 9, or q to quit." in done.stderr
    assert "'hello' is no move now" in done.stderr
    assert "'5' is no move now" in done.stderr  # the second time
    assert done.stderr.splitlines()[-2:] == [
        "Cut off; what was played is kept.",
        "Against 0001: 1 cut off.",
    ]
    with Workspace.open(arcade) as workspace:
        snapshot = workspace.log.snapshot()
        assert (snapshot.decisions.n, snapshot.feedback.n) == (1, 0)
        assert snapshot.ends.terminated.tolist() == [False]
        assert json.loads(snapshot.decisions.contexts[0])["observation"][9:] == [
            *[0.0] * 4, 1.0, *[0.0] * 4
        ]  # fmt: skip


def test_the_end_of_the_input_leaves_the_game(arcade: Path) -> None:
    assert play(arcade, keys="").exit_code == 0  # before anybody decided: nothing to log
    assert play(arcade, keys="1").exit_code == 0
    with Workspace.open(arcade) as workspace:
        snapshot = workspace.log.snapshot()
        assert (snapshot.decisions.n, snapshot.ends.n) == (1, 1)


def test_several_games_seats_and_a_named_version(arcade: Path) -> None:
    done = play(arcade, "--games", "4", "--version", "0002", "--json", keys=EVERY_KEY * 4)
    found = json.loads(done.stdout)
    assert found.pop("policy") == "0002"
    assert (sum(found.values()), found["cut off"]) == (4, 0)
    begun = [line.split(".")[0] for line in done.stderr.splitlines() if line.startswith("You are")]
    assert begun == ["You are x and begin", "You are o and answer"] * 2
    with Workspace.open(arcade) as workspace:
        snapshot = workspace.log.snapshot()
        assert tuple(snapshot.names.policies) == ("0002",)
        assert (snapshot.ends.n, len(snapshot.names.episodes)) == (4, 4)


def test_who_cannot_be_played(arcade: Path, tmp_path: Path) -> None:
    done = play(arcade, "--version", "0009", keys="1")
    assert (done.exit_code, "0009" in done.stderr) == (1, True)
    with Workspace.open(arcade) as workspace:
        workspace.stop("0002", by="ada", why="no good")
    done = play(arcade, "--version", "0002", keys="1")
    assert "version 0002 is refused" in done.stderr
    Workspace.create(tmp_path / "shop").close()
    done = play(tmp_path / "shop", keys="1")
    assert (done.exit_code, "recommendation are no moves" in done.stderr) == (1, True)
    Workspace.create(tmp_path / "new", domain="games").close()
    done = play(tmp_path / "new", keys="1")
    assert (done.exit_code, "no live policy" in done.stderr) == (1, True)
    done = play(tmp_path / "new", "--set", "domain.game=CartPole-v1", keys="1")
    assert (done.exit_code, "no game of two in turn" in done.stderr) == (1, True)


def test_a_move_that_a_person_looks_at_first_is_not_waited_for(arcade: Path) -> None:
    done = play(arcade, "--seat", "second", "--set", "serve.hold=0.99", keys=EVERY_KEY)
    assert "--set serve.hold=0" in done.stderr
    assert done.stderr.splitlines()[-1] == "Against 0001: 1 cut off."


def test_a_match_refuses_what_is_no_move() -> None:
    match = BoardMatch(TIC_TAC_TOE, lambda row: {"observation": row.tolist()})
    match.play("4")
    for unit in ("4", "9", "x"):
        with pytest.raises(ValueError, match="is no move here"):
            match.play(unit)
    for unit in "0128":
        match.play(unit)
    assert (match.over, match.turn, match.reward(0)) == (False, 1, 0.0)
    match.play("3")
    match.play("7")  # beneath 1 and 4
    assert (match.over, match.reward(0), match.reward(1)) == (True, 1.0, -1.0)
    assert not match.legal()
    with pytest.raises(ValueError, match="is no move here"):
        match.play("5")
    assert match.show() == "o x o\no x 6\n7 x x"
