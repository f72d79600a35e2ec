"""``heedful chat``, with lines from a pipe, as somebody types them."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from heedful.cli.app import command
from heedful.record import Kind
from heedful.workspace import Workspace
from tests.serve import dialogue


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    return dialogue.make(tmp_path / "talk")


def chat(folder: Path, *lines: str, user: str = "ada") -> Result:
    typed = "".join(f"{line}\n" for line in lines)
    return CliRunner().invoke(command(), ["chat", str(folder), "--user", user], input=typed)


def test_a_conversation_with_every_key(talk: Path) -> None:
    typed = ["-", "hello", "+", "-", "4", "c", "über trees", "e", "a tree", "", " 5", "q", "more"]
    done = chat(talk, *typed)
    assert done.exit_code == 0, done.stderr
    with Workspace.open(talk) as workspace:
        snapshot, domain = workspace.log.snapshot(), workspace.domain
        contexts = [json.loads(text) for text in snapshot.decisions.contexts]
        assert [context["messages"][0]["content"] for context in contexts] == ["hello", "5"]
        assert [context["turn"] for context in contexts] == [0, 1]
        ends = snapshot.decisions.offsets.tolist()
        replies = [
            domain.text([snapshot.names.units[code] for code in snapshot.decisions.units[low:high]])
            for low, high in pairwise(ends)
        ]
        assert done.stdout == "".join(f"{reply}\n" for reply in replies)
        assert done.stderr.splitlines() == [
            "There is no reply yet to say this of.",
            "thumb up", "thumb down", "rated 4", "comment kept", "better kept",
        ]  # fmt: skip
        told = dialogue.feedback_of(workspace)
        kinds = [Kind.CLICK, Kind.CLICK, Kind.CLICK, Kind.RATING, Kind.COMMENT, Kind.DEMONSTRATION]
        assert [kind for kind, _, _ in told] == kinds
        assert snapshot.feedback.retracts.tolist()[:3] == [-1, 0, -1]
        assert told[2][1] == 0.0
        assert domain.text(json.loads(told[-1][2])) == "a tree"
        assert snapshot.ends.n == 1  # q ends it
        assert set(snapshot.feedback.decision.tolist()) == {0}


def test_lines_that_end_without_a_word_end_the_conversation(talk: Path) -> None:
    assert chat(talk, "hello", "c").exit_code == 0
    assert chat(talk, "hello").exit_code == 0
    assert chat(talk).exit_code == 0
    with Workspace.open(talk) as workspace:
        snapshot = workspace.log.snapshot()
        assert snapshot.decisions.episode.tolist() == [0, 1]
        assert (snapshot.ends.n, snapshot.feedback.n) == (2, 0)


def test_what_cannot_be_answered_is_said_and_it_goes_on(talk: Path) -> None:
    done = chat(talk, "x" * 70_000, "hello")
    assert done.exit_code == 0
    assert done.stderr.startswith("Not answered: messages: has")
    with Workspace.open(talk) as workspace:
        assert workspace.log.snapshot().decisions.n == 1


def test_nobody_to_talk_to(tmp_path: Path) -> None:
    Workspace.create(tmp_path / "shop").close()
    done = chat(tmp_path / "shop", "hello")
    assert done.exit_code == 1
    assert "recommendation are no replies" in done.stderr
    settings = dialogue.SETTINGS.format(reply=4)
    Workspace.create(tmp_path / "new", domain="dialogue", settings=settings).close()
    (tmp_path / "new" / "text.txt").write_text(dialogue.TEXT)
    done = chat(tmp_path / "new", "hello")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no live policy: train one and promote it" in done.stderr


def test_a_policy_over_other_tokens_says_so(talk: Path) -> None:
    shutil.rmtree(talk / "tokenizer")
    (talk / "text.txt").write_text("some other words altogether, quite\n" * 20)
    done = chat(talk, "hello")
    assert done.exit_code == 1
    assert "restore the tokenizer it was trained with" in done.stderr


def test_a_file_in_and_a_file_out(talk: Path, tmp_path: Path) -> None:
    row = {"prompt": "Which tree?", "chosen": "A poplar.", "rejected": "No."}
    (tmp_path / "in.jsonl").write_text(json.dumps(row) + "\n" + json.dumps({"text": "a tree"}))
    runner, app = CliRunner(), command()
    done = runner.invoke(app, ["import", str(talk), str(tmp_path / "in.jsonl"), "--json"])
    assert json.loads(done.stdout) == {"read": 2, "added": 2, "duplicates": 0, "refused": 0}
    out = ["export", str(talk), str(tmp_path / "out.jsonl"), "--columns"]
    done = runner.invoke(app, [*out, "preference"])
    assert (done.exit_code, done.stdout) == (0, "out.jsonl: 1 rows.\n")
    assert json.loads((tmp_path / "out.jsonl").read_text()) == row
    done = runner.invoke(app, [*out, "prompt-completion"])
    assert "Left out: 1 documents." in done.stderr
    assert runner.invoke(app, [*out, "rows"]).exit_code == 1
    (tmp_path / "bad.jsonl").write_text('{"prompt": "alone"}')
    words = ["import", str(talk), str(tmp_path / "bad.jsonl")]
    assert runner.invoke(app, words).exit_code == 4
    done = runner.invoke(app, [*words, "--subject", "who", "--unit", "what"])
    assert done.exit_code == 1
    assert "--subject: columns have names of their own" in done.stderr
