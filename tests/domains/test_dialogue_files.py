"""Conversations from files, and back into files."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heedful.record import Kind
from heedful.store import ImportRefusedError, StoreError, UnknownFormatError
from heedful.workspace import Workspace
from tests.serve import dialogue

USER = {"role": "user", "content": "Which tree?"}
SYSTEM = {"role": "system", "content": "Be short."}
REPLY = {"role": "assistant", "content": "A poplar."}

PAIRS = [
    {"prompt": "Which tree?", "chosen": "A poplar.", "rejected": "No idea.", "margin": 1.5},
    {"prompt": "Wo ist der Baum?", "chosen": "Drüben 🌳", "rejected": "", "source": "team"},
]
LABELS = [
    {"prompt": "Which tree?", "completion": "A poplar.", "label": True},
    {"prompt": "Which tree?", "completion": "No idea.", "label": False, "weight": 0.5},
]
JUDGED = [
    {"prompt": "a", "completion": "b", "reward": 0.25, "rating": 4.0, "comment": "fine"},
    {"prompt": "a", "completion": "c", "policy": "old", "given_at": 1.5e9},
]
CHATS = [
    {"messages": [SYSTEM, USER, REPLY, {"role": "user", "content": "Why?"}, REPLY]},
    {"messages": [USER, REPLY, {"role": "user", "content": "and nobody answered"}]},
]
TEXTS = [{"text": "a tree is what people say"}, {"text": "über Bäume\n– hello"}]


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with empty(tmp_path / "talk") as workspace:
        yield workspace


def empty(folder: Path) -> Workspace:
    Workspace.create(folder, domain="dialogue", settings=dialogue.SETTINGS.format(reply=6)).close()
    (folder / "text.txt").write_text(dialogue.TEXT)
    return Workspace.open(folder)


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


# There and back


@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        ("preference", PAIRS),
        ("unpaired", LABELS),
        ("prompt-completion", JUDGED),
        ("messages", CHATS),
        ("text", TEXTS),
    ],
)
def test_what_was_imported_comes_back(
    workspace: Workspace, tmp_path: Path, columns: str, rows: list[dict[str, Any]]
) -> None:
    file = lines(tmp_path / "in.jsonl", rows)
    report = workspace.import_file(file)
    assert (report.read, report.added, report.duplicates) == (len(rows), len(rows), 0)
    watermark = workspace.log.watermark()
    again = workspace.import_file(lines(tmp_path / "again.jsonl", [*rows, rows[0]]))
    assert (again.added, again.duplicates) == (0, len(rows) + 1)
    assert workspace.log.watermark() == watermark
    for name in ("out.jsonl", "out.csv", "out.parquet"):
        found = workspace.export_file(tmp_path / name, columns=columns)
        assert (found.rows, found.left_out) == (len(rows), {})
        with empty(tmp_path / f"from-{name}") as other:
            other.import_file(tmp_path / name)
            other.export_file(tmp_path / "back.jsonl", columns=columns)
        assert read(tmp_path / "back.jsonl") == rows
    assert read(tmp_path / "out.jsonl") == rows


def test_lists_where_prompts_are_conversations(workspace: Workspace, tmp_path: Path) -> None:
    rows = [
        {"prompt": [SYSTEM, USER], "chosen": [REPLY], "rejected": [{**REPLY, "content": "No."}]},
        {"prompt": [USER], "chosen": [REPLY], "rejected": [{**REPLY, "content": "Why?"}]},
    ]
    workspace.import_file(lines(tmp_path / "in.jsonl", rows))
    workspace.export_file(tmp_path / "out.jsonl", columns="preference")
    assert read(tmp_path / "out.jsonl") == rows


def test_a_served_conversation_is_exported_with_its_probabilities(tmp_path: Path) -> None:
    from heedful.serve import DecisionAnswer, DecisionRequest, FeedbackRequest

    folder = dialogue.make(tmp_path / "talk")
    with Workspace.open(folder) as workspace:
        with workspace.serving() as service:
            messages = [USER]
            answers = []
            for _ in range(2):
                [answer] = service.decide([DecisionRequest(user="ada", messages=messages)])
                assert isinstance(answer, DecisionAnswer)
                answers.append(answer)
                messages = [*messages, {"role": "assistant", "content": answer.text or ""}, USER]
            for value in (True, False):
                said = FeedbackRequest(
                    decision=answers[0].id, kind=Kind.CLICK, value=value, id=f"v{value}"
                )
                service.feedback([said])
                back = FeedbackRequest(
                    decision=answers[0].id, kind=Kind.CLICK, retracts="vTrue", id="back"
                )
                service.feedback([back])
        workspace.export_file(tmp_path / "out.jsonl", columns="prompt-completion")
        first, second = read(tmp_path / "out.jsonl")
        assert first["prompt"] == [USER]
        assert second["prompt"] == messages[:3]
        assert second["completion"] == [messages[3]]
        assert (first["label"], "label" in second) == (False, False)
        assert first["policy"] == "0001"
        assert first["logps"] == list(answers[0].logps)
    with empty(tmp_path / "other") as other:
        other.import_file(tmp_path / "out.jsonl")
        decisions = other.log.snapshot().decisions
        assert decisions.logps.tolist() == [*answers[0].logps, *answers[1].logps]
        policies = other.log.snapshot().names.policies
        assert list(policies) == ["import:0001"]


def test_what_does_not_fit_is_counted(workspace: Workspace, tmp_path: Path) -> None:
    workspace.import_file(lines(tmp_path / "a.jsonl", [*PAIRS, *TEXTS]))
    found = workspace.export_file(tmp_path / "out.jsonl", columns="prompt-completion")
    assert (found.rows, found.left_out) == (4, {"documents": 2})
    with pytest.raises(ValueError, match="there are no columns 'rows'; choose one of messages"):
        workspace.export_file(tmp_path / "out.jsonl", columns="rows")
    with pytest.raises(ValueError, match=r"ends in one of \.jsonl, \.csv, \.parquet"):
        workspace.export_file(tmp_path / "out.txt", columns="text")


# What a row becomes


def test_a_pair_is_two_conversations_of_one_prompt(workspace: Workspace, tmp_path: Path) -> None:
    workspace.import_file(lines(tmp_path / "a.jsonl", [*PAIRS[:1], *LABELS]))
    snapshot = workspace.log.snapshot()
    assert snapshot.decisions.episode.tolist() == [0, 1, 2, 3]
    assert set(snapshot.decisions.subject.tolist()) == {0}  # one prompt: one subject
    [(kind, _, text), *labels] = dialogue.feedback_of(workspace)
    assert (kind, json.loads(text)["outcome"]) == (Kind.PREFERENCE, "chosen")
    assert [(kind, value) for kind, value, _ in labels] == [(Kind.CLICK, 1.0), (Kind.CLICK, 0.0)]
    assert snapshot.ends.terminated.tolist() == [True] * 4
    assert len(set(snapshot.decisions.contexts)) == 1


def test_a_document_is_cut_and_comes_with_no_context(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("a tree is what people say about other trees\n\n\n  \nhello\nhello\n")
    assert workspace.import_file(file).added == 2
    decisions = workspace.log.snapshot().decisions
    assert np.diff(decisions.offsets).max() == 6
    assert set(decisions.contexts) == {""}
    assert decisions.episode.tolist()[-1] == 1
    workspace.export_file(tmp_path / "out.jsonl", columns="text")
    assert [row["text"] for row in read(tmp_path / "out.jsonl")] == [
        "a tree is what people say about other trees",
        "hello\nhello",
    ]
    with empty(tmp_path / "whole") as other:
        assert other.import_file(file, whole=True).added == 1
        other.export_file(tmp_path / "out.jsonl", columns="text")
        assert read(tmp_path / "out.jsonl") == [{"text": file.read_text().strip("\n")}]


def test_prompts_are_found_where_others_put_them(workspace: Workspace, tmp_path: Path) -> None:
    no = {"role": "assistant", "content": "No idea."}
    rows = [
        {"chosen": [USER, REPLY], "rejected": [USER, no]},  # in both
        {"chosen": "Human: a tree? Yes", "rejected": "Human: a tree? No"},  # plain text
        {"prompt": "Which tree?", "chosen": [USER, REPLY], "rejected": [USER, no]},  # twice
        {"prompt": [USER], "completion": [{"role": "user", "content": "Which?"}, REPLY]},
    ]
    workspace.import_file(lines(tmp_path / "a.jsonl", rows))
    workspace.export_file(tmp_path / "out.jsonl", columns="preference")
    first, second, third = read(tmp_path / "out.jsonl")
    assert first == third == {
        "prompt": "Which tree?", "chosen": "A poplar.", "rejected": "No idea."
    }  # fmt: skip
    assert second == {"prompt": "Human: a tree?", "chosen": " Yes", "rejected": " No"}
    contexts = [json.loads(text) for text in workspace.log.snapshot().decisions.contexts]
    assert [message["content"] for message in contexts[-1]["messages"]] == ["Which?"]


def test_a_transcript_is_a_conversation(workspace: Workspace, tmp_path: Path) -> None:
    told = "\n\nHuman: Which tree?\n\nAssistant: A poplar.\n\nHuman: Why?\n\nAssistant: "
    rows = [{"chosen": f"{told}It grows.", "rejected": f"{told}It goes."}]
    workspace.import_file(lines(tmp_path / "a.jsonl", rows))
    workspace.export_file(tmp_path / "out.jsonl", columns="preference")
    assert read(tmp_path / "out.jsonl") == [
        {
            "prompt": [USER, REPLY, {"role": "user", "content": "Why?"}],
            "chosen": [{"role": "assistant", "content": "It grows."}],
            "rejected": [{"role": "assistant", "content": "It goes."}],
        }
    ]


@pytest.mark.data
def test_all_of_hh_harmless_goes_in(workspace: Workspace, tmp_path: Path, data: Path) -> None:
    report = workspace.import_file(data / "hh-harmless" / "pairs.jsonl.gz")
    assert (report.read, report.added, report.refused) == (1737, 1737, 0)
    found = workspace.export_file(tmp_path / "out.jsonl", columns="preference")
    # Of a few pairs already what came before the last reply differs.
    left_out = {"compared with the reply to another prompt": 5}
    assert (found.rows, found.left_out) == (1732, left_out)


def test_a_reply_of_weight_0_is_heard_and_not_learned(workspace: Workspace, tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Which "}, {"type": "text", "text": "tree?"}]
    chat = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": parts},
        {**REPLY, "weight": 0},
        {"role": "user", "content": "Why?"},
        {**REPLY, "weight": 1},
    ]
    workspace.import_file(lines(tmp_path / "a.jsonl", [{"messages": chat}]))
    [context] = [json.loads(text) for text in workspace.log.snapshot().decisions.contexts]
    assert context["messages"] == [SYSTEM, USER, REPLY, {"role": "user", "content": "Why?"}]


def test_people_keep_their_rows_together_under_a_pseudonym(
    workspace: Workspace, tmp_path: Path
) -> None:
    rows = [{**row, "subject": who} for row, who in zip(LABELS, ("ada", 7), strict=True)]
    workspace.import_file(lines(tmp_path / "a.jsonl", [*rows, {**JUDGED[0], "subject": "ada"}]))
    snapshot = workspace.log.snapshot()
    assert snapshot.decisions.subject.tolist() == [0, 1, 0]
    assert "ada" not in list(snapshot.names.subjects)
    workspace.export_file(tmp_path / "out.jsonl", columns="unpaired")
    assert all("subject" not in row for row in read(tmp_path / "out.jsonl"))


def test_tables_say_the_same_as_lines(workspace: Workspace, tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["id", "prompt", "completion", "label"])
        table.writeheader()
        for number, row in enumerate(LABELS):
            cells = {**row, "prompt": json.dumps([USER]), "id": number}
            table.writerow({name: cells[name] for name in ("id", "prompt", "completion", "label")})
    assert workspace.import_file(tmp_path / "a.csv").added == 2
    typed = {name: [row[name] for row in LABELS] for name in ("completion", "label")}
    pq.write_table(pa.table({**typed, "prompt": [[USER]] * 2}), tmp_path / "a.parquet")
    with empty(tmp_path / "other") as other:
        assert other.import_file(tmp_path / "a.parquet").added == 2
        other.export_file(tmp_path / "two.jsonl", columns="unpaired")
    workspace.export_file(tmp_path / "one.jsonl", columns="unpaired")
    assert read(tmp_path / "one.jsonl") == read(tmp_path / "two.jsonl")
    assert read(tmp_path / "one.jsonl")[0] == LABELS[0]


# What is wrong with a file


@pytest.mark.parametrize(
    ("row", "column", "hint"),
    [
        ({"prompt": "a"}, "completion", "a prompt without a reply is nothing that happened"),
        ({"score": 1}, "", "holds none of text, messages"),
        ({"prompt": "a", "chosen": "b"}, "rejected", "a pair is chosen and rejected"),
        ({"prompt": "a", "completion": 3}, "completion", "give text"),
        ({"prompt": "a", "completion": "b\x00"}, "completion", "holds a NUL"),
        ({"prompt": "a\ud800", "completion": "b"}, "prompt", "lone surrogate"),
        ({"prompt": "a", "completion": []}, "completion", "is an empty list"),
        ({"prompt": "a", "completion": [USER]}, "completion", "does not end with"),
        ({"prompt": "a", "completion": "b", "label": "maybe"}, "label", "a click is 1 or 0"),
        ({"prompt": "a", "completion": "b", "label": ""}, "label", "a label is true or false"),
        ({"prompt": "a", "completion": "b", "reward": "much"}, "reward", "is no number"),
        ({"prompt": "a", "completion": "b", "reward": float("nan")}, "reward", "is not finite"),
        ({"prompt": "a", "completion": "b", "given_at": 9e10}, "given_at", "is in the future"),
        ({"prompt": "a", "completion": "b", "logps": [-1]}, "logps", "has 1 numbers, and the"),
        ({"prompt": "a", "completion": "b", "logps": [1, 1]}, "logps", "a probability above 1"),
        ({"prompt": "a", "completion": "b", "units": ["c"]}, "units", "do not say the completion"),
        ({"prompt": "a", "completion": "b", "units": ["b", "<|up|>"]}, "units", "do not say"),
        ({"prompt": "a", "completion": "b", "units": "b"}, "units", "as a list of strings"),
        ({"messages": [USER]}, "messages", "nothing in it was said by the assistant"),
        ({"messages": [USER, {**REPLY, "tool_calls": [1]}]}, "messages[1]", "calls a tool"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0]", "give a role of"),
        ({"messages": [USER, REPLY], "reward": 1}, "reward", "this row is a chat"),
        ({**PAIRS[0], "label": True}, "label", "this row is a pair"),
        ({"text": "  "}, "text", "is empty"),
        ({"prompt": "x" * 70_000, "completion": "b"}, "context", "send at most 65536"),
    ],
)
def test_a_bad_row_is_named_and_nothing_goes_in(
    workspace: Workspace, tmp_path: Path, row: dict[str, Any], column: str, hint: str
) -> None:
    file = lines(tmp_path / "a.jsonl", [LABELS[0], row])
    with pytest.raises(ImportRefusedError) as refused:
        workspace.import_file(file)
    [problem] = refused.value.report.problems
    assert (problem.line, problem.column) == (2, column)
    assert hint in problem.hint
    assert workspace.log.watermark() == 0


def test_good_rows_go_in_beside_a_quarantine(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    bad = ['{"prompt": "a"}', "[1]", "no JSON"]
    file.write_text("\n".join([json.dumps(LABELS[0]), *bad, "", json.dumps(LABELS[1])]))
    dry = workspace.import_file(file, dry_run=True)
    assert (dry.read, dry.added, dry.refused) == (5, 0, 3)
    assert [problem.line for problem in dry.problems] == [2, 3, 4]
    assert workspace.log.watermark() == 0
    report = workspace.import_file(file, quarantine=tmp_path / "bad.jsonl")
    assert (report.added, report.refused) == (2, 3)
    assert [row["row"].strip() for row in read(tmp_path / "bad.jsonl")] == bad


def test_what_was_imported_under_other_options_is_in_conflict(
    workspace: Workspace, tmp_path: Path
) -> None:
    file = lines(tmp_path / "a.jsonl", TEXTS)
    workspace.import_file(file)
    with (
        Workspace.open(workspace.folder, {"domain.reply": 5}) as other,
        pytest.raises(ImportRefusedError, match="it was imported before, under other options"),
    ):
        other.import_file(file)


def test_files_that_are_none(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("score,id\n1,2\n")
    with pytest.raises(UnknownFormatError, match=r"none of its columns \(score, id\)"):
        workspace.import_file(tmp_path / "a.csv")
    with pytest.raises(StoreError, match="cannot be read"):
        workspace.import_file(tmp_path / "gone.txt")
    with pytest.raises(StoreError, match="cannot be read"):
        workspace.import_file(tmp_path / "gone.jsonl")
    (tmp_path / "b.txt").write_bytes(b"one\ntw\xff\n")
    with pytest.raises(ImportRefusedError, match="line 2: encoding"):
        workspace.import_file(tmp_path / "b.txt")
    for name in ("c.txt", "c.jsonl"):
        (tmp_path / name).write_text("\n")
        with pytest.raises(ImportRefusedError, match="no row in the file"):
            workspace.import_file(tmp_path / name)
    assert workspace.log.watermark() == 0


def test_a_shop_has_no_files_of_its_own(tmp_path: Path) -> None:
    Workspace.create(tmp_path / "shop").close()
    with (
        Workspace.open(tmp_path / "shop") as shop,
        pytest.raises(ValueError, match="recommendation has no files of its own"),
    ):
        shop.export_file(tmp_path / "out.jsonl", columns="messages")
