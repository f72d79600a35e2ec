"""Likeness to the people in the log is part of what is known of a version, where there is play."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from heedful.domains.games import Games
from heedful.loop.likeness import _observed
from heedful.record import UNKNOWN, ChoiceSet, Decision
from heedful.store.snapshot import Snapshot
from heedful.workspace import Workspace
from tests.cli.calls import run
from tests.domains.games.scripted import LOCKS, register
from tests.domains.games.test_workspace import TINY, matches
from tests.small_shop import new_shop


def test_what_people_did_is_beside_what_a_version_would_have_done(tmp_path: Path) -> None:
    """Players who move by chance: a clone foretells a third of their moves, and is not told."""
    Workspace.create(tmp_path / "arcade", domain="games").close()
    with Workspace.open(tmp_path / "arcade", TINY) as arcade:
        games = arcade.domain
        assert isinstance(games, Games)
        with arcade.writing() as log:
            said = list(matches(games))
            log.append(
                [record for record in said if not isinstance(record, ChoiceSet)],
                choice_sets=[record for record in said if isinstance(record, ChoiceSet)],
            )
        clone = arcade.pretrain()
        found = arcade.evaluate(clone)
    like = found.likeness
    assert like is not None
    assert like.match.n == 30  # the last move of each player
    assert 0.0 < like.match.top1.mean <= like.match.top3.mean == 1.0  # of three moves
    assert like.match.nll.mean == pytest.approx(1.0, abs=0.3)  # log 3, less where two are legal
    plain = found.to_dict()["likeness"]
    assert isinstance(plain, dict)
    assert plain["top1"] == like.match.top1.mean
    assert like.discriminator is not None
    assert like.discriminator.auc.low <= 0.5 <= like.discriminator.auc.high
    flags = [word for key, value in TINY.items() for word in _flag(key, value)]
    told = " ".join(run("evaluate", tmp_path / "arcade", *flags).stdout.split())
    assert "Likeness: of 30 moves of people" in told
    assert "told from theirs, match by match, with an AUC of" in told


def _flag(key: str, value: object) -> list[str]:
    said = '["masked=true"]' if isinstance(value, list) else str(value)
    return ["--set", f"{key}={said}"]


def test_what_was_seen_stands_behind_what_others_moved() -> None:
    games = Games({"game": "", "observed": 1})
    seen: list[dict[str, object]] = [
        {"observation": 3.0},
        {"observation": 4.0, "moves": ["b", "a"]},
        {"observation": 5.0, "moves": ["b"]},
    ]
    snapshot = Snapshot.of(
        [
            Decision(
                id=f"d{step}",
                episode="e",
                step=step,
                subject="ann",
                units=("ab"[step % 2],),
                logps=UNKNOWN,
                policy="import",
                made_at=float(step),
                context=context,
                choices="all",
                vocabulary="import",
            )
            for step, context in enumerate(seen)
        ]
    )
    streams = games.encode(snapshot, games.vocabulary(snapshot))
    found = _observed(streams, np.arange(3))
    assert found is not None
    assert found[:, 0].tolist() == [3.0, 4.0, 5.0]


def test_moves_of_several_factors_were_made_where_the_first_was() -> None:
    register()
    games = Games({"game": LOCKS})
    rows = [{"observation": [0, 0, 1]}, {"observation": [1, 1, 0]}]
    rule = games.choices({}).within(2)
    snapshot = Snapshot.of(
        [
            Decision(
                id=f"d{step}",
                episode="e",
                step=step,
                subject="ann",
                units=("0/1", "1/0"),
                logps=UNKNOWN,
                policy="import",
                made_at=float(step),
                context=context,
                choices=rule.digest(),
                vocabulary="import",
            )
            for step, context in enumerate(rows)
        ],
        choice_sets=[rule],
    )
    streams = games.encode(snapshot, games.vocabulary(snapshot))
    found = _observed(streams, np.arange(4))
    assert found is not None
    assert found.tolist() == [[1, 0, 0, 0, 1]] * 2 + [[0, 1, 0, 1, 0]] * 2


def test_what_is_shown_in_a_shop_is_no_move(tmp_path: Path) -> None:
    shop = new_shop(tmp_path / "shop")
    found = shop.workspace.evaluate(shop.workspace.popularity())
    shop.close()
    assert found.likeness is None
