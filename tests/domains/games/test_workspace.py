"""From players' logs to a clone, and by playing to a better player, in a workspace."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import nn

from heedful.domains.games import Games
from heedful.loop import steps
from heedful.loop.vectorised import Vectorised
from heedful.policy import Policy, load
from heedful.record import ALL_UNITS, UNKNOWN, ChoiceSet, Decision, Feedback, Kind
from heedful.workspace import Workspace
from tests.domains.games.scripted import TRACK, register

register()
TINY = {
    "domain.game": TRACK,
    "domain.options": ["masked=true"],
    "policy.width": 16,
    "pretrain.epochs": 4,
    "interact.environments": 8,
    "interact.decisions": 16,
    "interact.rounds": 25,
    "interact.batch": 64,
    "interact.learning_rate": 0.01,
    "interact.gamma": 0.9,
}
PLAYERS = 30


def matches(games: Games, *, known: bool = False) -> Iterator[Decision | Feedback | ChoiceSet]:
    """Yield what players did who move by chance, with probabilities where these are ``known``."""
    rng = np.random.default_rng(0)
    game, vocabulary = games.environment(1, 0, {}), games.vocabulary(None)
    for player in range(PLAYERS):
        rows, _ = game.reset()
        for step in range(5):
            context = games.context(rows[0])
            choices = games.choices(context)
            legal = context.get("legal", vocabulary.units)
            unit = str(rng.choice(legal))
            decision = Decision(
                id=f"{player}/{step}",
                episode=f"match-{player}",
                step=step,
                subject=f"player-{player}",
                units=(unit,),
                logps=(-math.log(len(legal)),) if known else UNKNOWN,
                policy="players",
                made_at=float(step),
                context=context,
                choices=choices.digest(),
                vocabulary=vocabulary.digest(),
            )
            yield choices
            yield decision
            rows, rewards, terminated, truncated, _ = game.step(
                games.action([unit], vocabulary)[None]
            )
            yield Feedback(
                id=f"{player}/{step}/reward",
                by=decision.subject,
                about=decision.id,
                unit=ALL_UNITS,
                kind=Kind.REWARD,
                value=float(rewards[0]),
                given_at=float(step),
                received_at=float(step),
            )
            if terminated[0] or truncated[0]:
                break


def score(games: Games, policy: Policy) -> float:
    judge = Vectorised(games.environment(8, 0, {}), steps=40, gamma=1.0, seed=9)
    return judge.play(policy, 0).score


def test_a_clone_of_players_gets_better_by_playing(tmp_path: Path) -> None:
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
        player = arcade.reinforce(clone.name)
        policies = [load(arcade.registry.folder(v.name)).policy for v in (clone, player)]
        before, after = (score(games, policy) for policy in policies)
    assert after > 13.0 > before


@pytest.mark.filterwarnings("ignore::heedful.config.ConfigWarning")
def test_what_others_did_is_learned_from_with_returns_of_the_policy_there_is_now(
    tmp_path: Path,
) -> None:
    """[reinforce] v_trace: the players move by chance, and nobody will go on as they did."""
    Workspace.create(tmp_path / "arcade", domain="games").close()
    asked = TINY | {
        "reinforce.objective": "reinforce",
        "reward.kind": "mixture",
        "reward.weights": {"reward": 1.0},
        "reinforce.gamma": 0.5,
        "reinforce.learning_rate": 0.01,
        "reinforce.epochs": 20,
        "reinforce.kl": 0.0,
        "interact.gamma": 0.5,
    }
    found = {}
    for v_trace in (False, True):
        with Workspace.open(tmp_path / "arcade", asked | {"reinforce.v_trace": v_trace}) as arcade:
            games = arcade.domain
            assert isinstance(games, Games)
            if not found:
                with arcade.writing() as log:
                    said = list(matches(games, known=True))
                    log.append(
                        [record for record in said if not isinstance(record, ChoiceSet)],
                        choice_sets=[record for record in said if isinstance(record, ChoiceSet)],
                    )
                    begun = steps.begun(arcade.bench())
            version = arcade.reinforce(begun.name)
            policy = load(arcade.registry.folder(version.name)).policy
            before = load(arcade.registry.folder(begun.name)).policy
            assert score(games, policy) > score(games, before) + 2.0
            found[v_trace] = cast(nn.Module, policy).state_dict()
    assert any(not torch.equal(found[True][name], found[False][name]) for name in found[True])
