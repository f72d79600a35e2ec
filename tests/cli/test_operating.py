"""The verbs of whoever answers for the service."""

import json
from pathlib import Path

import pytest

from heedful.serve import DecisionRequest, HeldAnswer
from heedful.store.registry import Registry
from heedful.workspace import Workspace
from tests.cli.calls import TRAIN, result, run

BY = ("--by", "ada")


def audited(shop: Path) -> list[tuple[str, str, str]]:
    with Registry.open(shop) as registry:
        return [(e.who, e.action, e.version or e.unit or "") for e in registry.audit()]


@pytest.fixture
def live(shop: Path) -> Path:
    """A workspace in which 0001 is live and 0002 is a candidate."""
    run("promote", shop, "0001", *BY)
    run("pretrain", shop, "--popularity")
    return shop


def test_a_canary_is_shown_with_its_stages_and_its_evidence(live: Path) -> None:
    before = run("canary", live)
    assert "Version 0001 is live since 20" in before.stdout
    assert "No trial is open." in before.stdout
    run("promote", live, "0002", "--trial", "--set", "gate.shares=[0.1,0.5]", *BY)
    shown = run("canary", live, *TRAIN).stdout
    assert "Version 0002 on trial" in shown
    assert "1 of 2   10%" in shown
    assert "2 of 2   50%     to come" in shown
    assert "0 subjects have matured" in shown
    trial = result(run("canary", live, *TRAIN, "--json"))["trial"]
    assert (trial["policy"], trial["stage"], trial["shares"]) == ("0002", 1, [0.1, 0.5])
    assert (trial["subjects"], trial["promote"], trial["rollback"]) == (0, False, False)


def test_a_stopped_version_is_refused_and_the_one_before_decides(live: Path) -> None:
    run("promote", live, "0002", "--force", "--why", "a sale", *BY)
    done = run("stop", live, "0002", "--why", "it shows nonsense", *BY)
    assert done.stdout == "Version 0002 is never served again; 0001 is live.\n"
    assert audited(live)[-2:] == [("ada", "rolled back", "0001"), ("ada", "stopped", "0002")]
    again = run("promote", live, "0002", "--force", "--why", "please", *BY)
    assert (again.exit_code, "0002 is in the state 'refused'" in again.stderr) == (1, True)
    last = run("stop", live, "0001", "--why", "all of it", *BY)
    assert last.exit_code == 1
    assert "nobody would decide. Promote another one first" in last.stderr
    assert result(run("doctor", live, "--json"))["ok"]


def test_units_are_blocked_and_unblocked_with_a_reason(live: Path) -> None:
    done = run("block", live, "item-1", "--why", "withdrawn by the publisher", *BY)
    assert done.stdout == "Blocked now: item-1.\n"
    assert "Blocked: item-1." in run("canary", live).stdout
    shown = result(run("recommend", live, "--subject", "user-1", "-k", "24", "--json"))
    assert "item-1" not in {unit["unit"] for unit in shown["units"]}
    assert run("block", live, "item-1", "--why", "x", *BY).exit_code == 1
    assert result(run("unblock", live, "item-1", "--why", "back", *BY, "--json")) == {
        "unit": "item-1",
        "blocked": [],
    }
    assert audited(live)[-2:] == [("ada", "blocked", "item-1"), ("ada", "unblocked", "item-1")]
    assert run("unblock", live, "item-1", "--why", "x", *BY).exit_code == 1


def test_held_decisions_are_listed_and_answered(live: Path) -> None:
    assert run("review", live).stdout == "Nothing waits.\n"
    with (
        Workspace.open(live, {"serve.hold": 0.5}) as workspace,
        workspace.serving() as service,
    ):
        answers = service.decide([DecisionRequest(user=f"u{i}") for i in range(20)])
        held = [answer.id for answer in answers if isinstance(answer, HeldAnswer)]
        assert len(held) > 2
        # another process answers while the service runs
        listed = result(run("review", live, "--json"))["waiting"]
        assert [one["decision"] for one in listed] == sorted(held)
        done = run("review", live, held[0], "--yes", "--why", "fine", *BY)
        assert f"Decision {held[0]} may be shown. Waiting: {len(held) - 1}." in done.stdout
        run("review", live, held[1], "--no", "--why", "rude", *BY)
        shown, refused = service.fetch(held[:2])
        assert (len(shown.units) > 0, refused.reason) == (True, "rejected")
    assert audited(live)[-2:] == [("ada", "approved", "0001"), ("ada", "rejected", "0001")]
    assert f"Held for a person: {len(held) - 2}" in run("canary", live).stdout
    for words in ([held[2], "--yes"], [held[2], "--why", "x"], ["--yes"]):
        assert run("review", live, *words).exit_code == 2
    again = run("review", live, held[0], "--no", "--why", "x", *BY)
    assert (again.exit_code, "was approved before" in again.stderr) == (1, True)


def test_the_audit_says_who_and_why(live: Path) -> None:
    run("promote", live, "0002", "--force", "--why", "a sale", *BY)
    run("block", live, "item-1", "--why", "withdrawn", *BY)
    shown = run("audit", live, "--last", "2").stdout
    assert "promoted 0002" in shown
    assert "blocked item-1" in shown
    entries = result(run("audit", live, "--json"))["audit"]
    assert [entry["action"] for entry in entries] == [
        *("created", "promoted", "created", "promoted", "blocked")
    ]
    assert entries[3]["previous"] == "0001"
    assert json.loads(json.dumps(entries[3]["evidence"])) == {"forced": True}


def test_the_doctor_finds_a_state_that_nobody_wrote_down(live: Path) -> None:
    with Registry.open(live) as registry, registry._database.transaction() as connection:
        connection.execute("UPDATE versions SET state = 'refused' WHERE number = 2")
    done = run("doctor", live)
    assert done.exit_code == 1
    assert "by the audit it is" in " ".join(done.stdout.split())


def test_the_old_name_of_a_share_is_refused_with_the_new_one(live: Path) -> None:
    done = run("canary", live, "--set", "gate.share=0.25")
    assert done.exit_code == 2
    assert "write shares = [0.25]" in done.stderr


def test_a_key_for_a_reviewer(live: Path) -> None:
    assert run("serve", live, "--new-key", "eve", "--role", "reviewer").exit_code == 0
    done = run("serve", live, "--new-key", "bob", "--role", "king")
    assert done.exit_code == 1
    assert "choose one of client, reviewer, admin" in done.stderr
