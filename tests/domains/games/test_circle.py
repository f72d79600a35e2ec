"""A games workspace improves itself: played against itself, judged on games, promoted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from heedful.cli.app import command
from heedful.loop.bench import Bench
from heedful.loop.deploy import GateRefusedError
from heedful.loop.form import network_of
from heedful.loop.leave import register
from heedful.loop.paired import NoGamesError, _blocks, bounds_of, returns
from heedful.policy import load
from heedful.store import Snapshot
from heedful.store.registry import RegistryError
from heedful.workspace import Workspace
from tests.arcade import make

LEARNING = [
    "reinforce.objective=ppo",
    "interact.opponents=prioritised",
    "interact.pool_every=5",
    "interact.rounds=20",
    "interact.environments=32",
    "interact.decisions=12",
    "interact.batch=128",
    "interact.learning_rate=0.005",
    "interact.entropy=0.05",
    "interact.keep=last",
]


def heedful(*words: object, settings: list[str] | None = None) -> Result:
    flags = [part for setting in settings or [] for part in ("--set", setting)]
    return CliRunner().invoke(command(), [*map(str, words), *flags])


@pytest.fixture(scope="module")
def arcade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 0003 has learned from 0001 by playing itself; 0001 is live."""
    folder = make(tmp_path_factory.mktemp("games") / "arcade")
    done = heedful("reinforce", folder, "--json", settings=LEARNING)
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["policy"] == "0003"
    assert found["metrics"]["pool"] == 4
    assert found["metrics"]["elo"] > 100
    return folder


def test_the_circle_turns(arcade: Path) -> None:
    seen = json.loads(heedful("evaluate", arcade, "--json").stdout)
    assert seen["policy"] == "0003"
    assert seen["gate"]["source"] == "paired games; a promotion plays others"
    assert seen["gate"]["promote"], seen["gate"]["words"]
    assert seen["gate"]["unit"] == "pairs"

    # One that is no better gets nowhere, and has had its share of alpha.
    done = heedful("promote", arcade, "0002")
    assert done.exit_code == 3
    assert "Do not promote" in done.stderr
    assert "2,000 pairs" in done.stderr

    done = heedful("promote", arcade, "0003")
    assert done.exit_code == 0, done.stderr
    words = " ".join(done.stdout.split())
    assert words.startswith("Version 0003 is live. Promote: the candidate is better")
    assert "Per pair the candidate earns" in words
    with Workspace.open(arcade) as workspace:
        judged = [e for e in workspace.registry.audit() if e.action == "judged"]
        assert [(e.version, e.evidence["k"]) for e in judged] == [("0002", 1), ("0003", 2)]
        last = workspace.registry.audit()[-1]
        assert (last.action, last.version, last.evidence["k"]) == ("promoted", "0003", 2)
        assert last.evidence["source"] == "paired games"
        # The second candidate needs pi^2 4 / (6 alpha).
        assert last.evidence["needed"] == pytest.approx(np.pi**2 * 4 / (6 * 0.05))
        assert not workspace.registry.check()
        assert workspace.registry.trials() == []
        with pytest.raises(RegistryError, match="is live"):
            workspace.promote("0003", by="ada")


def test_the_same_games_for_both_and_the_same_again(arcade: Path) -> None:
    with Workspace.open(arcade) as workspace:
        bench, first = workspace.bench(), load(workspace.registry.folder("0001"))
        environment = workspace.domain.environment(16, 0, {})
        assert environment is not None
        one = returns(bench, first, environment, 5)
        assert one.tolist() == returns(bench, first, environment, 5).tolist()
        assert one.tolist() != returns(bench, first, environment, 6).tolist()
        assert set(one) <= {-1.0, 0.0, 1.0}


def test_a_turn_judges_by_games(tmp_path: Path) -> None:
    folder = make(tmp_path / "arcade")
    with Workspace.open(folder) as workspace:
        done = workspace.turn(by="ada")
        assert (done.action, done.policy) == ("refused", "0002")
        assert done.verdict is not None
        assert done.verdict.rows == 2000 or done.verdict.rollback
        assert workspace.registry.version("0002").state == "refused"


def test_who_was_judged_once_is_not_tried_again_by_a_turn(tmp_path: Path) -> None:
    folder = make(tmp_path / "arcade")
    with Workspace.open(folder, {"gate.pairs": 64}) as workspace:
        with pytest.raises(GateRefusedError):
            workspace.promote("0002", by="ada")
        assert workspace.turn(by="ada").action == "nothing new"
        assert workspace.registry.judged() == 1
        assert workspace.registry.version("0002").state == "candidate"


def test_a_turn_waits_where_a_person_must_say_yes(tmp_path: Path) -> None:
    folder = make(tmp_path / "arcade")
    with Workspace.open(folder, {"gate.approval": True}) as workspace:
        for _ in range(2):
            assert workspace.turn(by="ada").action == "approval"
        assert workspace.registry.judged() == 0  # nothing was played, no alpha is spent


def test_what_cannot_be_judged_by_games_costs_nothing(tmp_path: Path) -> None:
    folder = make(tmp_path / "arcade")
    guarded = {"gate.not_more": {"flagged": 0.1}}
    with Workspace.open(folder, guarded) as workspace:
        with pytest.raises(NoGamesError, match="measured on people"):
            workspace.promote("0002", by="ada")
        assert workspace.registry.judged() == 0
        found = workspace.evaluate("0002")
        assert (found.verdict, "measured on people" in found.source) == (None, True)
    with Workspace.open(folder, {"gate.returns": [0.0, 200.0]}) as workspace:
        assert bounds_of(workspace.bench()) == (0.0, 200.0)
    by_trial = {"gate.evidence": "assignment"}
    refused = pytest.raises(GateRefusedError, match="not on trial")
    with Workspace.open(folder, by_trial) as workspace, refused:
        workspace.promote("0002", by="ada")
    for returns_ in ("[1.0]", "[1.0, 0.0]"):
        done = heedful("evaluate", folder, settings=[f"gate.returns={returns_}"])
        assert (done.exit_code, "the lower one first" in done.stderr) == (2, True)


def test_returns_beyond_their_bounds_are_no_evidence_and_cost_nothing(tmp_path: Path) -> None:
    """A pole pays 1 a step: clipped to what one reward may be, all games would be alike."""
    pole = {"domain.game": "CartPole-v1"}
    folder = make(tmp_path / "pole", **pole)
    with Workspace.open(folder, pole) as workspace:
        with pytest.raises(NoGamesError, match=r"between -1 and 1: .* Set \[gate\] returns"):
            workspace.promote("0002", by="ada")
        assert workspace.registry.judged() == 0
        found = workspace.evaluate("0002")
        assert (found.verdict, "Set [gate] returns" in found.source) == (None, True)
    bounded = {**pole, "gate.returns": [0.0, 500.0], "gate.pairs": 64}
    with Workspace.open(folder, bounded) as workspace:
        found = workspace.evaluate("0002")
        assert found.verdict is not None
        assert found.verdict.live is not None
        assert 0.0 < found.verdict.live.mean < 1.0


def test_a_version_of_other_options_cannot_play_and_that_costs_nothing(tmp_path: Path) -> None:
    folder = make(tmp_path / "arcade")
    with Workspace.open(folder, {"domain.asked": True}) as workspace:
        with pytest.raises(NoGamesError, match="version 0002 reads other contexts"):
            workspace.promote("0002", by="ada")
        assert workspace.registry.judged() == 0
        assert "restore the [domain] options" in workspace.evaluate("0002").source


def test_no_two_judgements_and_no_look_play_the_same_games(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, purposes = make(tmp_path / "arcade"), []
    drawn = Bench.salt

    def salt(bench: Bench, purpose: str) -> str:
        purposes.append(purpose)
        return drawn(bench, purpose)

    monkeypatch.setattr(Bench, "salt", salt)
    with Workspace.open(folder, {"gate.pairs": 64}) as workspace:
        workspace.evaluate("0002")
        for _ in range(2):
            with pytest.raises(GateRefusedError):
                workspace.promote("0002", by="ada")
    assert len(purposes) >= 3
    assert len(set(purposes)) == len(purposes)


def test_every_block_has_games_of_its_own_and_returns_are_clipped(tmp_path: Path) -> None:
    folder = make(tmp_path / "arcade")
    wins_count_no_more_than_draws = {"gate.returns": [-1.0, 0.0], "gate.pairs": 150}
    with Workspace.open(folder, wins_count_no_more_than_draws) as workspace:
        blocks = [mine for mine, _ in _blocks(workspace.bench(), ("0001", "0002"), "a test")]
        assert [len(mine) for mine in blocks] == [64, 64, 22]
        assert blocks[0].tolist() != blocks[1].tolist()
        assert blocks[0].tolist()[:22] != blocks[2].tolist()
        found = workspace.evaluate("0002").verdict
        assert found is not None
        assert found.live is not None
        lost = float(np.mean(np.concatenate(blocks) < 0))
        assert found.live.mean == pytest.approx(1.0 - lost, abs=0.15)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["domain.game=CartPole-v1"], "has no second side"),
        (["policy.kind=recurrent"], "remembers what was before"),
    ],
)
def test_who_cannot_play_itself_says_so(tmp_path: Path, settings: list[str], says: str) -> None:
    folder = tmp_path / "arcade"
    Workspace.create(folder, domain="games").close()
    given = dict(setting.split("=") for setting in settings)
    with Workspace.open(folder, given) as workspace:
        bench, domain = workspace.bench(), workspace.domain
        vocabulary = domain.vocabulary(Snapshot.of([]))
        policy = network_of(bench, domain.schema(vocabulary))
        version = register(
            bench, policy, vocabulary, bench.log.snapshot(), step="pretrain", metrics={}
        )
    done = heedful("reinforce", folder, "--parent", version.name, settings=[*settings, *LEARNING])
    assert (done.exit_code, says in done.stderr) == (1, True), done.stderr
