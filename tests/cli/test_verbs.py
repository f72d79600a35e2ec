import json
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from heedful.record import Kind
from heedful.serve import DecisionRequest, FeedbackRequest
from heedful.store.registry import Registry
from heedful.workspace import Workspace
from tests.cli.calls import COMMAND, NAMED, TRAIN, result, run, watermark
from tests.small_shop import LENGTH, SUBJECTS, Shop


def state(folder: Path, version: str) -> str:
    with Registry.open(folder) as registry:
        return registry.version(version).state


def test_importing_again_adds_nothing(shop: Path, ratings: Path) -> None:
    before = watermark(shop)
    done = run("import", shop, ratings, *NAMED)
    assert done.exit_code == 0
    rows = SUBJECTS * LENGTH
    assert f"{rows} rows read, 0 added, {rows} duplicates, 0 refused." in done.stdout
    assert watermark(shop) == before


def test_popularity_is_a_candidate_without_a_network(shop: Path) -> None:
    assert result(run("pretrain", shop, "--popularity", "--json")) == {
        "policy": "0002",
        "metrics": {},
    }


def test_a_range_test_suggests_a_rate_and_makes_no_candidate(shop: Path) -> None:
    found = result(run("pretrain", shop, *TRAIN, "--range-test", "--json"))
    assert Path(found["plot"]).is_file()
    assert len(found["rates"]) == len(found["losses"]) > 20
    words = run("pretrain", shop, *TRAIN, "--range-test").stdout
    assert words.splitlines()[-1] == (
        f"Suggested: pretrain.learning_rate = {found['suggested']:.1e}"
    )
    with Registry.open(shop) as registry:
        assert [version.name for version in registry.versions()] == ["0001"]


def test_popularity_has_no_rate_to_test(shop: Path) -> None:
    assert run("pretrain", shop, "--popularity", "--range-test").exit_code == 2


@pytest.mark.filterwarnings("default")
def test_doubts_are_said_and_do_not_stop_anything(shop: Path) -> None:
    done = run("pretrain", shop, *TRAIN, "--epochs", "1", "--learning-rate", "0.9")
    assert done.exit_code == 0
    assert "heedful: pretrain.learning_rate = 0.9 is high for adamw" in done.stderr
    assert "steps.py" not in done.stderr


def test_the_first_version_needs_no_evidence_and_the_second_does(shop: Path) -> None:
    first = result(run("promote", shop, "0001", "--by", "ada", "--json"))
    assert first == {"policy": "0001", "state": "live"}
    run("pretrain", shop, "--popularity")
    done = run("promote", shop, "0002")
    assert done.exit_code == 3
    assert "no evidence for 0002" in done.stderr
    assert state(shop, "0002") == "candidate"


def test_a_trial_decides(shop: Path) -> None:
    run("promote", shop, "0001")
    run("pretrain", shop, "--popularity")
    assert run("promote", shop, "0002", "--trial").exit_code == 0
    done = run("promote", shop, "0002", *TRAIN)
    assert done.exit_code == 3
    assert "0 subjects have matured" in done.stderr
    people = Shop(shop)
    people.visit(150, lambda version: 0.9 if version == "0002" else 0.1)
    people.close()
    settings = [*TRAIN, "--set", "gate.window=0.001"]
    assert result(run("promote", shop, "0002", *settings, "--json"))["state"] == "live"
    with Registry.open(shop) as registry:
        assert registry.audit()[-1].why.startswith("Promote")


@pytest.mark.parametrize(
    "words", [["--force"], ["--why", "I say so"], ["--force", "--trial", "--why", "both"]]
)
def test_force_and_why_belong_together(shop: Path, words: list[str]) -> None:
    assert run("promote", shop, "0001", *words).exit_code == 2
    assert state(shop, "0001") == "candidate"


def test_force_is_somebodys_act_and_can_be_taken_back(shop: Path) -> None:
    run("promote", shop, "0001")
    run("pretrain", shop, "--popularity")
    done = run("promote", shop, "0002", "--force", "--why", "a sale", "--by", "ada")
    assert done.exit_code == 0
    back = run("rollback", shop, "--why", "the sale is over", "--by", "bea")
    assert back.stdout == "Version 0001 is live again.\n"
    with Registry.open(shop) as registry:
        forced, rolled = registry.audit()[-2:]
    assert (forced.who, forced.why, forced.evidence) == ("ada", "a sale", {"forced": True})
    assert (rolled.who, rolled.action) == ("bea", "rolled back")


def test_an_unknown_version_is_named(shop: Path) -> None:
    for words in (["promote", shop, "0009"], ["evaluate", shop, "0009"]):
        done = run(*words)
        assert done.exit_code == 1
        assert "there is no policy version 0009; the newest is 0001" in done.stderr


def test_nothing_to_roll_back_to_is_said(shop: Path) -> None:
    done = run("rollback", shop, "--why", "a test")
    assert done.exit_code == 1
    assert "no version was live before" in done.stderr


def test_a_run_is_one_turn(shop: Path) -> None:
    first = result(run("run", shop, *TRAIN, "--json"))
    assert (first["action"], first["policy"]) == ("first version", "0001")
    again = run("run", shop, *TRAIN)
    assert again.exit_code == 0
    assert "Nothing new" in again.stdout


def test_the_report_is_where_it_says(shop: Path, tmp_path: Path) -> None:
    run("evaluate", shop, *TRAIN)
    done = run("report", shop)
    place = Path(done.stdout.strip())
    assert place == shop / "runs" / "report.html"
    html = place.read_text("utf-8")
    assert html.startswith("<!doctype html>")
    assert "leave-one-out" in html  # what evaluate found is in it
    out = tmp_path / "elsewhere.html"
    assert result(run("report", shop, "--out", out, "--json")) == {"report": str(out)}


def test_tuning_refuses_too_few_labels_and_says_what_to_do(shop: Path) -> None:
    run("promote", shop, "0001")
    done = run("tune", shop, *TRAIN)
    assert done.exit_code == 1
    assert "there are 0 trusted labels about 0 subjects" in done.stderr
    assert "kind demonstration" in done.stderr
    assert "Traceback" not in done.stderr


def test_tuning_on_demonstrations_makes_a_candidate(shop: Path) -> None:
    run("promote", shop, "0001")
    people = Shop(shop)
    with people.workspace.serving(seed=0) as service:
        answers = service.decide([DecisionRequest(user=f"visitor-{n}") for n in range(24)])
        wanted = ("item-3", "item-5")
        service.feedback(
            [FeedbackRequest(decision=a.id, kind=Kind.DEMONSTRATION, value=wanted) for a in answers]
        )
    people.close()
    words = ["tune", shop, *TRAIN, "--epochs", "3", "--learning-rate", "0.01", "--json"]
    made = result(run(*words, "--parent", "0001"))
    assert made["policy"] == "0002"
    assert made["metrics"]["nll"] < made["metrics"]["nll_before"]
    assert made["metrics"]["labels"] + made["metrics"]["labels_held_out"] == 24
    assert run("promote", shop, "0002").exit_code == 3


@pytest.fixture
def listening(shop: Path) -> Iterator[tuple[str, str, "subprocess.Popen[str]"]]:
    """A service with a live version: its address, a key, its process."""
    run("promote", shop, "0001")
    token = run("serve", shop, "--new-key", "test").stdout.strip()
    words = [*COMMAND, "serve", str(shop), "--port", "0", *TRAIN]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        lines = iter(server.stderr.readline, "")
        found = (re.search(r"Listening on (\S+)", line) for line in lines)
        yield next(match[1] for match in found if match), token, server
        server.kill()


def ask(url: str, token: str) -> dict[str, object]:
    request = urllib.request.Request(
        f"{url}/v1/decisions",
        json.dumps({"user": "ada"}).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        found = json.loads(answer.read())
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_service_answers_whoever_has_a_key_and_stops_when_told(
    shop: Path, listening: tuple[str, str, "subprocess.Popen[str]"], stop: signal.Signals
) -> None:
    url, token, server = listening
    before = watermark(shop)
    assert ask(url, token)["policy"] == "0001"
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(url, "guessed")
    refused.value.close()
    assert refused.value.code == 401
    server.send_signal(stop)
    assert server.wait(20) == 0
    assert watermark(shop) == before + 1


def test_a_service_without_a_key_is_not_started(empty: Path) -> None:
    done = run("serve", empty)
    assert done.exit_code == 1
    assert "--new-key" in done.stderr


def test_keys_can_be_taken_back(shop: Path) -> None:
    assert run("serve", shop, "--new-key", "phone").stdout.startswith("heedful_")
    assert run("serve", shop, "--new-key", "phone").exit_code == 1
    assert run("serve", shop, "--revoke", "phone").exit_code == 0
    assert run("serve", shop, "--revoke", "phone").exit_code == 1


def test_two_writers_at_once_are_refused_by_name(shop: Path, ratings: Path) -> None:
    with Workspace.open(shop) as workspace, workspace.writing():
        done = run("import", shop, ratings, *NAMED)
    assert done.exit_code == 1
    assert "one writer at a time" in done.stderr.replace("\n", " ")
