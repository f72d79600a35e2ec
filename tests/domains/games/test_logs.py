"""Games that are known from players' logs alone, and the outcome that is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heedful.checks import check_domain
from heedful.config import Pretrain
from heedful.contract import Hindsight
from heedful.domains.games import Games
from heedful.domains.games.environment import GameError
from heedful.domains.games.hindsight import outcomes, wish
from heedful.loop import lessons
from heedful.policy import Feedforward, Vocabulary, load
from heedful.record import TOGETHER, UNKNOWN, Context, Decision, End, Feedback, Kind
from heedful.serve import DecisionAnswer, DecisionRequest, FeedbackRequest
from heedful.store.snapshot import Snapshot
from heedful.workspace import Workspace

SETTINGS = """
[workspace]
domain = "games"

[domain]
game = ""
others = true
asked = true
outcome_min = 0.0

[policy]
kind = "recurrent"
width = 16

[pretrain]
epochs = 40
batch = 4
learning_rate = 0.01
split = "episode"
split_share = 0.1
"""
OBSERVED = {"game": "", "observed": 1, "asked": True, "outcome_min": 0.0, "outcome_max": 10.0}


def played(
    *, observed: bool = False, n_players: int = 4, n_matches: int = 5
) -> Iterator[Decision | Feedback | End]:
    """Yield matches of three moves; the fifth is still going on, the first one was asked for 7."""
    for player in range(n_players):
        for match in range(n_matches):
            episode = f"player-{player}:match-{match}"
            for step in range(3):
                context: dict[str, Any] = {"asked": 7.0 if match == 0 else None}
                context |= {"observation": [step]} if observed else {"moves": ["b"] * step}
                name = f"{episode}/{step}"
                yield Decision(
                    id=name,
                    episode=episode,
                    step=step,
                    subject=f"player-{player}",
                    units=("ab"[(player + step) % 2],),
                    logps=UNKNOWN,
                    policy="import",
                    made_at=0.0,
                    context=context,
                    choices="all",
                    vocabulary="import",
                )
                yield Feedback(
                    id=f"{name}/r",
                    by=f"player-{player}",
                    about=name,
                    kind=Kind.REWARD,
                    value=float(match),
                    given_at=0.0,
                    received_at=0.0,
                )
            if match < 4:
                final: Context = {"outcome": 9.0} if match == 3 else {}
                yield End(
                    id=f"{episode}/end",
                    episode=episode,
                    terminated=True,
                    ended_at=0.0,
                    context=final,
                )


@pytest.mark.parametrize("observed", [False, True])
def test_a_game_without_an_environment_keeps_what_a_domain_promises(observed: bool) -> None:
    games = Games(OBSERVED if observed else {**OBSERVED, "observed": 0, "others": True})
    snapshot = Snapshot.of(played(observed=observed))
    assert isinstance(games, Hindsight)
    check_domain(games, snapshot=snapshot)
    assert games.length == 1
    with pytest.raises(GameError, match="nobody can play here"):
        _ = games.moves


def test_moves_are_those_of_the_log_or_listed() -> None:
    games = Games({"game": ""})
    with pytest.raises(ValueError, match=r"no move is known yet.*import matches first"):
        games.vocabulary(Snapshot.of([]))
    assert games.vocabulary(Snapshot.of(played())).units == ("a", "b")
    assert Games({"game": "", "moves": ("z", "a")}).vocabulary(Snapshot.of([])).units == ("z", "a")


def test_what_is_read_of_a_context() -> None:
    games, vocabulary = Games(OBSERVED), Vocabulary(["a", "b"])
    unit, numbers = games.observe({"moves": ["b", "?"], "observation": 3, "asked": 5}, vocabulary)
    assert unit.tolist() == [1, -1, -1]
    assert numbers.tolist() == [[0, 0, 0], [0, 0, 0], [3, 1, 0.5]]
    _, numbers = games.observe({"observation": [3]}, vocabulary)
    assert numbers.tolist() == [[3, 0, 0]]  # nobody asks
    for given in ("x", {"a": 1}, [[1], [2, 3]]):
        with pytest.raises(ValueError, match="observation: is no list of numbers"):
            games.observe({"observation": given}, vocabulary)
    for context in ({"observation": [1], "asked": "win"}, {"observation": [1, 2]}, {"asked": 1}):
        with pytest.raises(ValueError, match=r"asked|needs 'observation', a list of 1"):
            games.observe(context, vocabulary)
    with pytest.raises(ValueError, match="moves: expected a list"):
        games.observe({"observation": [1], "moves": "b"}, vocabulary)
    with pytest.raises(ValueError, match="too large for 32 bits"):
        games.observe({"observation": [1e300]}, vocabulary)


def test_what_a_caller_may_write_into_a_context_does_not_spoil_the_log() -> None:
    """No moves, as null; a match that is called by a number."""
    one = next(one for one in played() if isinstance(one, Decision))
    records = [
        replace(one, id=f"d{n}", episode=f"e{n}", context={"moves": None, TOGETHER: n // 2 or "m"})
        for n in range(6)
    ]
    snapshot = Snapshot.of(records)
    assert Games({"game": ""}).vocabulary(snapshot).units == ("a",)
    places = lessons.places_of(snapshot, by_context=False)
    assert places[0] == places[1] != places[2] == places[3] != places[4] == places[5]


def asked_for(games: Games, streams: Any) -> list[tuple[float, float]]:
    """Return whether something is asked for, and what, at each decision."""
    at = streams.offsets[streams.slots.stream] + streams.slots.event - 1
    return [tuple(row) for row in streams.events.features[at, -2:].tolist()]


def test_hindsight_fills_in_what_nobody_asked_for() -> None:
    games, snapshot = Games(OBSERVED), Snapshot.of(played(observed=True))
    streams = games.encode(snapshot, games.vocabulary(snapshot))
    came_to = dict(zip(snapshot.names.episodes, outcomes(snapshot).tolist(), strict=True))
    assert [came_to[f"player-0:match-{match}"] for match in range(4)] == [0.0, 3.0, 6.0, 9.0]
    assert np.isnan(came_to["player-0:match-4"])

    recorded = [(1.0, np.float32(0.7).item())] * 3 + [(0.0, 0.0)] * 12
    assert asked_for(games, streams) == recorded * 4
    rng = np.random.default_rng(0)
    told = games.in_hindsight(streams, snapshot, 1.0, rng)
    known = [(1.0, np.float32(x).item()) for x in (0.3, 0.6, 0.9) for _ in range(3)]
    assert asked_for(games, told) == (recorded[:3] + known + recorded[-3:]) * 4
    assert asked_for(games, streams) == recorded * 4  # what was recorded is as it was
    assert told.events.unit is streams.events.unit
    assert told.slots is streams.slots
    none = games.in_hindsight(streams, snapshot, 0.0, rng)
    assert asked_for(games, none) == recorded * 4
    some = games.in_hindsight(streams, snapshot, 0.5, rng)
    by_match = np.array(asked_for(games, some))[:, 0].reshape(20, 3)
    assert (by_match.min(1) == by_match.max(1)).all()  # a match is asked for or is not
    assert 0 < by_match[:, 0].sum() - 4 < 12


def test_what_is_no_number_is_no_outcome() -> None:
    """Whoever ends an episode over HTTP may write anything, and a log is for ever."""
    told: list[object] = ["won", [1], None, True, 7, 10**400]
    first = next(one for one in played() if isinstance(one, Decision))
    records: list[Decision | End] = []
    for number, outcome in enumerate(told):
        episode = f"e{number}"
        records += [
            replace(first, episode=episode, id=f"move {number}"),
            End(
                id=f"end {number}",
                episode=episode,
                terminated=True,
                ended_at=9.0,
                context={"outcome": outcome},
            ),
        ]
    snapshot = Snapshot.of(records)
    found = dict(zip(snapshot.names.episodes, outcomes(snapshot).tolist(), strict=True))
    assert [found[f"e{number}"] for number in range(5)] == [0.0, 0.0, 0.0, 0.0, 7.0]
    assert found["e5"] > 1e300


def test_beyond_the_bounds_of_outcomes_lies_nothing() -> None:
    found = wish(np.array([-7.0, 0.5, 40.0]), (0.0, 1.0))
    assert found.tolist() == [[1.0, 0.0], [1.0, 0.5], [1.0, 1.0]]


def test_an_outcome_can_be_asked_for_on_a_board() -> None:
    games = Games({"game": "heedful/TicTacToe-v0", "asked": True})
    assert games.image is None, "beside what is asked for it is no image"
    schema = games.schema(games.vocabulary(Snapshot.of([])))
    Feedforward(schema, image=games.image)
    assert Games({"game": "heedful/TicTacToe-v0"}).image == (2, 3, 3)


def test_learning_alone_reads_in_hindsight(tmp_path: Path) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("what is judged, served or replayed was read in hindsight")

    with opened(tmp_path) as workspace, pytest.MonkeyPatch.context() as patch:
        version = workspace.pretrain()
        before = workspace.evaluate(version).to_dict()
        patch.setattr(Games, "in_hindsight", refuse)
        with pytest.raises(AssertionError, match="in hindsight"):
            workspace.pretrain()
        assert workspace.evaluate(version).to_dict() == before
        workspace.promote(version, by="test")
        with workspace.serving() as service:
            service.decide([DecisionRequest(user="ada", context={"moves": ["a"], "asked": 1.0})])


@pytest.mark.parametrize("split", ["episode", "subject"])
def test_no_match_and_no_player_is_on_both_sides(tmp_path: Path, split: str) -> None:
    with opened(tmp_path, n=120) as workspace:
        snapshot, domain = workspace.log.snapshot(), workspace.domain
        streams = domain.encode(snapshot, domain.vocabulary(snapshot))
        section = Pretrain(split=split, split_share=0.2)
        found = lessons.split_of(section, streams, snapshot)
        names = snapshot.names
        of = {
            "episode": [names.episodes[e].split(":")[1] for e in snapshot.decisions.episode],
            "subject": [names.subjects[s] for s in snapshot.decisions.subject],
        }[split]
        parts = (np.flatnonzero(found.train), found.validation, found.test)
        sides = [{of[decision] for decision in streams.slots.decision[part]} for part in parts]
        assert all(sides)
        assert sum(map(len, sides)) == len(set(of)) == len(set.union(*sides))


def opened(tmp_path: Path, n: int = 40) -> Workspace:
    """Return a workspace with matches of two: black wins with "a" and loses with "b"."""
    Workspace.create(tmp_path / "duel", domain="games", settings=SETTINGS, secret="5" * 64).close()
    rng = np.random.default_rng(0)
    rows = []
    for match in range(n):
        good = bool(rng.random() < 0.5)
        for step in range(6):
            white = step % 2 == 0
            move = "ab"[int(rng.integers(2))] if white else "ba"[good]
            row = {"match": match, "player": f"p{match % 20 + 20 * (not white)}", "step": step}
            rows.append({**row, "move": move, "outcome": float(good != white)})
    file = tmp_path / "matches.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    workspace = Workspace.open(tmp_path / "duel")
    workspace.import_file(file)
    return workspace


def test_from_logs_to_a_served_player_who_is_asked_to_win(tmp_path: Path) -> None:
    with opened(tmp_path, n=80) as workspace:
        version = workspace.pretrain()
        assert workspace.evaluate(version).likelihood is not None
        workspace.promote(version, by="test")
        policy = load(workspace.registry.folder(version.name))
        wins = {}
        with workspace.serving() as service:
            for asked in (1.0, 0.0):
                context = {"moves": ["a"], "asked": asked}
                request = DecisionRequest(user=f"black-{asked}", context=context)
                [answer] = service.decide([request])
                assert isinstance(answer, DecisionAnswer)
                chance = float(np.exp(answer.logps[0]))
                wins[asked] = chance if answer.units == ("a",) else 1 - chance
            said = FeedbackRequest(decision=answer.id, kind=Kind.REWARD, value=1.0, id="won")
            service.feedback([said])
        assert wins[1.0] > 0.6 > 0.4 > wins[0.0]
        # replay reads what was asked, and gives the probabilities that were logged
        from heedful.policy import replay

        snapshot = workspace.log.snapshot()
        streams = workspace.domain.encode(snapshot, policy.vocabulary)
        ours = ~np.isnan(streams.slots.behaviour_logp)
        assert ours.sum() == 2
        windows = streams.windows(workspace.config.policy.window, ours)
        batch = streams.batch(windows)
        found = replay(policy.policy, batch)[batch.mask].detach().numpy()
        logged = batch.behaviour_logps[batch.mask].numpy()
        np.testing.assert_allclose(found[~np.isnan(logged)], logged[~np.isnan(logged)], atol=1e-5)
        blind = replace(
            streams,
            events=replace(streams.events, features=np.zeros_like(streams.events.features)),
        )
        other = replay(policy.policy, blind.batch(windows))[batch.mask].detach().numpy()
        assert np.abs(other - found)[~np.isnan(logged)].max() > 0.1


def test_in_play_nobody_asks() -> None:
    games = Games({"game": "heedful/TicTacToe-v0", "asked": True})
    game = games.environment(3, 0, {})
    assert game is not None
    rows, _ = game.reset(seed=0)
    seen, legal = game.read(rows)
    assert seen.shape == (3, games.features)
    assert not seen[:, -2:].any()
    vocabulary = games.vocabulary(Snapshot.of([]))
    _, numbers = games.observe(games.context(rows[0]), vocabulary)
    np.testing.assert_array_equal(numbers[0], seen[0])
    assert legal.shape == (3, 9)
