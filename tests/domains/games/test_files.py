"""Matches from files: what goes in, and what is refused whole."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heedful.record import TOGETHER, Kind
from heedful.store import ImportRefusedError, StoreError, UnknownFormatError
from heedful.store.snapshot import Snapshot
from heedful.workspace import Workspace
from tests.domains.games.scripted import LOCKS, register

LOGS = """
[domain]
game = ""
observed = 2
others = true
outcome_min = 0.0
"""
CHESS = '[domain]\ngame = ""\nothers = true\n'
KINDS = list(Kind)

DUEL: list[dict[str, Any]] = [
    {"match": "m", "player": "ann", "step": 0, "move": "a", "obs_0": 0.5, "obs_1": 1},
    {"match": "m", "player": "bob", "step": 0, "move": "b", "obs_0": 1.5, "obs_1": 2},
    {"match": "m", "player": "ann", "step": 1, "move": "b", "obs_0": 2.5, "obs_1": 3},
    {"match": "m", "player": "ann", "step": 2, "move": "a", "obs_0": 3.5, "obs_1": 4},
    {"match": "m", "player": "bob", "step": 3, "move": "a", "obs_0": 4.5, "obs_1": 5},
]
"""Two players; the first moves of both are made at once."""


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with made(tmp_path / "play") as workspace:
        yield workspace


def made(folder: Path, settings: str = LOGS) -> Workspace:
    text = f'[workspace]\ndomain = "games"\n{settings}'
    Workspace.create(folder, domain="games", settings=text).close()
    return Workspace.open(folder)


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def as_text(cell: object) -> object:
    return json.dumps(cell) if isinstance(cell, list) else cell


FORMATS = pytest.mark.parametrize(
    ("write", "ending"), [(lines, "jsonl"), (table, "csv"), (parquet, "parquet")]
)


def contexts(snapshot: Snapshot) -> list[dict[str, Any]]:
    found = [json.loads(text or "{}") for text in snapshot.decisions.contexts]
    for context in found:
        context.pop(TOGETHER, None)
    return found


def refusals(workspace: Workspace, file: Path) -> list[str]:
    """Import ``file``, which is refused; return its problems."""
    before = workspace.log.watermark()
    with pytest.raises(ImportRefusedError) as refused:
        workspace.import_file(file)
    assert workspace.log.watermark() == before
    return [str(problem) for problem in refused.value.report.problems]


@FORMATS
def test_matches_of_two_players(workspace: Workspace, tmp_path: Path, write: Any, ending: str):
    file = write(tmp_path / f"duel.{ending}", DUEL)
    report = workspace.import_file(file)
    assert (report.read, report.added, report.duplicates, report.refused) == (5, 5, 0, 0)
    snapshot = workspace.log.snapshot()
    decisions, names = snapshot.decisions, snapshot.names
    moves = [names.units[unit] for unit in decisions.units]
    assert moves == ["a", "b", "b", "a", "a"]
    assert contexts(snapshot) == [
        {"observation": [0.5, 1.0]},
        {"observation": [1.5, 2.0]},  # what is moved at once is not known
        {"observation": [2.5, 3.0], "moves": ["b"]},
        {"observation": [3.5, 4.0]},
        {"observation": [4.5, 5.0], "moves": ["a", "b", "a"]},
    ]
    named = [TOGETHER in json.loads(text) for text in decisions.contexts]
    assert named == [True, True, False, False, False], "a match is named once for each side"
    assert len(names.subjects) == 2
    assert decisions.step.tolist() == [0, 0, 1, 2, 1]
    assert snapshot.ends.terminated.tolist() == [True, True]
    assert np.isnan(decisions.logps).all()
    assert list(workspace.domain.vocabulary(snapshot).units) == ["a", "b"]

    watermark = workspace.log.watermark()
    again = workspace.import_file(file)
    assert (again.added, again.duplicates) == (0, 5)
    assert workspace.log.watermark() == watermark


@FORMATS
def test_what_a_row_can_say(tmp_path: Path, write: Any, ending: str) -> None:
    row = {
        **{"match": 7, "player": 3, "step": 4, "time": "2026-11-01T10:00:00Z", "move": "b"},
        **{"observation": [1.5, 2.0], "legal": ["a", "b"], "moves": ["c", "a"], "asked": 0.5},
        **{"reward": 0.25, "rating": 4, "comment": "well, well", "outcome": 1},
        **{"end": "cut off", "probability": 0.5, "policy": "old"},
    }
    rows = [row, {**row, "match": 8, "time": "2026-10-01T10:00:00Z"}]
    if ending == "csv":
        rows = [{name: as_text(cell) for name, cell in row.items()} for row in rows]
    with made(tmp_path / "play") as workspace:
        workspace.import_file(write(tmp_path / f"rows.{ending}", rows))
        snapshot = workspace.log.snapshot()
    decisions, feedback = snapshot.decisions, snapshot.feedback
    assert decisions.made_at.tolist() == sorted(decisions.made_at)  # match 8 was played first
    assert contexts(snapshot)[0] == {
        **{"observation": [1.5, 2.0], "legal": ["a", "b"], "moves": ["c", "a"], "asked": 0.5}
    }
    assert np.exp(decisions.logps).tolist() == [0.5, 0.5]
    assert [KINDS[kind].value for kind in feedback.kind[:3]] == ["reward", "rating", "comment"]
    assert feedback.value[:2].tolist() == [0.25, 4.0]
    assert feedback.texts[2] == "well, well"
    assert list(snapshot.names.policies) == ["import:old"]
    assert snapshot.ends.terminated.tolist() == [False, False]
    assert json.loads(snapshot.ends.contexts[0]) == {"outcome": 1.0}
    chosen_from = snapshot.names.choice_sets[int(decisions.choices[0])]
    assert chosen_from.allowed == ("a", "b")
    assert set(workspace.domain.vocabulary(snapshot).units) == {"a", "b", "c"}  # "c" was heard


def test_an_outcome_alone_is_what_the_last_move_earned(tmp_path: Path) -> None:
    rows = [
        {"match": 1, "player": "white", "step": 1, "move": "e4", "outcome": 0},  # so far
        {"match": 1, "player": "black", "step": 2, "move": "e5", "outcome": 0},
        {"match": 1, "player": "white", "step": 3, "move": "Qh5", "outcome": 1},
    ]
    with made(tmp_path / "chess", CHESS) as workspace:
        workspace.import_file(lines(tmp_path / "chess.jsonl", rows))
        snapshot = workspace.log.snapshot()
    feedback = snapshot.feedback
    assert feedback.decision.tolist() == [1, 2]
    assert feedback.value.tolist() == [0.0, 1.0]
    assert contexts(snapshot) == [{}, {"moves": ["e4"]}, {"moves": ["e5"]}]


def test_nobody_named_is_one_subject_a_match(workspace: Workspace, tmp_path: Path) -> None:
    rows = [{k: v for k, v in row.items() if k != "player"} for row in (DUEL[0], DUEL[2], DUEL[3])]
    rows.append({**rows[0], "match": "n"})
    workspace.import_file(lines(tmp_path / "a.jsonl", rows))
    decisions = workspace.log.snapshot().decisions
    assert decisions.subject.tolist() == [0, 0, 0, 1]


def test_without_steps_rows_stand_in_the_order_of_play(tmp_path: Path) -> None:
    rows = [{"match": 1, "player": "ab"[n % 2], "move": "xxyz"[n]} for n in range(4)]
    with made(tmp_path / "chess", CHESS) as workspace:
        file = lines(
            tmp_path / "chess.jsonl", [*rows, rows[-1]]
        )  # the same move twice is two moves
        assert workspace.import_file(file).added == 5
        assert workspace.import_file(file).added == 0
        snapshot = workspace.log.snapshot()
    assert [context.get("moves") for context in contexts(snapshot)] == [
        *(None, ["x"], ["x"], ["y"], None)
    ]
    assert snapshot.decisions.step.tolist() == [0, 0, 1, 1, 2]


def test_a_repeated_row_counts_once(workspace: Workspace, tmp_path: Path) -> None:
    report = workspace.import_file(lines(tmp_path / "a.jsonl", [*DUEL, DUEL[2]]))
    assert (report.read, report.added, report.duplicates) == (6, 5, 1)
    assert workspace.log.snapshot().decisions.n == 5


def changed(number: int, **cells: Any) -> list[dict[str, Any]]:
    rows = [dict(row) for row in DUEL]
    rows[number] |= cells
    return rows


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (changed(2, move=""), "line 3, column move: required: match m, step 1: is empty"),
        (changed(2, legal=["a"]), "column move: bounds 'b': match m, step 1: 'b' was not legal"),
        (changed(2, reward="nan"), "column reward: number 'nan': match m, step 1: is not finite"),
        (changed(2, obs_0="NaN"), "column obs_0: number 'NaN': match m, step 1: is not finite"),
        (changed(2, step=-1), "column step: number '-1'"),
        (changed(3, step=0), "line 4, column step: conflict '0': match m, step 0: line 1 is the"),
        (
            [*DUEL[:2], DUEL[3], DUEL[2], DUEL[4]],
            "line 4, column step: order '1': match m: step 1 stands after step 2 of line 3",
        ),
        (
            [{**DUEL[0], "time": 20.0}, {**DUEL[2], "time": 10.0}],
            "line 2, column time: order '10': match m: is earlier than line 1",
        ),
        (changed(2, match=""), "line 3, column match: required"),
        (changed(2, end="won"), "column end: text 'won'"),
        (changed(2, probability=1.5), "column probability: bounds '1.5'"),
        (
            changed(2, end="terminated"),
            "line 4, column end: order: match m: line 3 ended it for this player",
        ),
        (changed(2, obs_0=1e300), "match m, step 1: is too large for a 32-bit number"),
        (changed(2, move=["a", "b"]), "a move of this game is one"),
        (changed(2, moves={"a": 1}), "column moves: text"),
    ],
)
def test_bad_rows_are_named(
    workspace: Workspace, tmp_path: Path, rows: list[dict[str, Any]], expected: str
) -> None:
    problems = refusals(workspace, lines(tmp_path / "bad.jsonl", rows))
    assert any(expected in problem for problem in problems), problems


def test_observations_of_another_length(workspace: Workspace, tmp_path: Path) -> None:
    rows = [{**DUEL[0], "observation": [1.0, 2.0, 3.0]}]
    (problem,) = refusals(workspace, lines(tmp_path / "bad.jsonl", rows))
    assert "has 3 numbers, and this game observes 2" in problem


def test_a_match_with_a_bad_row_waits_as_a_whole(workspace: Workspace, tmp_path: Path) -> None:
    other = [{**row, "match": "n"} for row in DUEL]
    file = lines(tmp_path / "bad.jsonl", [*changed(2, legal=["a"]), *other])
    problems = refusals(workspace, file)
    assert len(problems) == 5
    assert "line 1: decision: match m: line 3 of it is at fault" in problems[0]
    bad = tmp_path / "waiting.jsonl"
    report = workspace.import_file(file, quarantine=bad)
    assert (report.added, report.refused) == (5, 5)
    waiting = [json.loads(text) for text in bad.read_text().splitlines()]
    assert [row["line"] for row in waiting] == [1, 2, 3, 4, 5]
    assert len(workspace.log.snapshot().ends.seq) == 2


def test_a_row_of_no_match_lets_nothing_in(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(json.dumps(DUEL[0]) + "\n{broken\n")
    with pytest.raises(ImportRefusedError, match="nobody can tell which match"):
        workspace.import_file(file, quarantine=tmp_path / "waiting.jsonl")
    assert workspace.log.snapshot().decisions.n == 0


def test_a_file_that_is_cut_off_leaves_nothing(workspace: Workspace, tmp_path: Path) -> None:
    rows = [{**row, "match": str(number)} for number in range(2_000) for row in DUEL]
    whole = gzip.compress("".join(f"{json.dumps(row)}\n" for row in rows).encode())
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    assert "cut off" in refusals(workspace, cut)[0]
    part = parquet(tmp_path / "cut.parquet", rows)
    part.write_bytes(part.read_bytes()[:-200])
    assert "damaged" in refusals(workspace, part)[0]
    assert workspace.log.snapshot().decisions.n == 0


def test_what_is_said_otherwise_later_is_a_conflict(workspace: Workspace, tmp_path: Path) -> None:
    workspace.import_file(lines(tmp_path / "a.jsonl", [{**row, "reward": 1} for row in DUEL]))
    (problem,) = refusals(workspace, lines(tmp_path / "b.jsonl", [{**DUEL[0], "reward": 2}]))[:1]
    assert "line 1: conflict" in problem


def test_a_match_goes_on_where_the_file_says_so(workspace: Workspace, tmp_path: Path) -> None:
    rows = [{**row, "end": ""} for row in DUEL]
    workspace.import_file(table(tmp_path / "a.csv", rows[:3]))
    assert workspace.log.snapshot().ends.n == 0
    rows[3]["end"] = rows[4]["end"] = "terminated"
    report = workspace.import_file(table(tmp_path / "b.csv", rows))
    assert (report.added, report.duplicates) == (2, 3)
    assert workspace.log.snapshot().ends.n == 2


def test_other_files_are_not_matches(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UnknownFormatError, match="need the columns match and move, and it has a"):
        workspace.import_file(table(tmp_path / "a.csv", [{"a": 1}]))
    with pytest.raises(StoreError, match="cannot be read"):
        workspace.import_file(tmp_path / "nothing.csv")


def test_moves_are_those_of_the_game(tmp_path: Path) -> None:
    settings = '[domain]\ngame = "heedful/TicTacToe-v0"\n'
    with made(tmp_path / "ttt", settings) as workspace:
        numbers = workspace.domain.observations.numbers
        row = {"match": 1, "move": "4", "observation": [0] * numbers, "legal": ["4", "5"]}
        file = lines(tmp_path / "bad.jsonl", [row, {**row, "move": "9", "legal": None}])
        assert "'9' is no move of this game; moves are 0, 1" in refusals(workspace, file)[1]
        row["observation"] = [7.0] * numbers
        (problem,) = refusals(workspace, lines(tmp_path / "bad.jsonl", [row]))
        assert "lies outside of what the game can show" in problem


def test_a_move_of_several_factors_and_its_probability(tmp_path: Path) -> None:
    register()
    with made(tmp_path / "locks", f'[domain]\ngame = "{LOCKS}"\n') as workspace:
        row = {"match": 1, "move": ["0/1", "1/0"], "observation": [0, 0, 1], "probability": 0.25}
        legal = {**row, "step": 1, "legal": ["0/1", "0/2", "1/0", "1/1"]}
        workspace.import_file(lines(tmp_path / "locks.jsonl", [{**row, "step": 0}, legal]))
        snapshot = workspace.log.snapshot()
        assert snapshot.decisions.logps.tolist() == pytest.approx([np.log(0.25), 0.0] * 2)
        domain = workspace.domain
        streams = domain.encode(snapshot, domain.vocabulary(snapshot))
    batch = streams.batch(streams.windows(64))
    possible = batch.choices.mask(batch.mask)
    assert possible is not None
    assert possible.sum(1).tolist() == [5, 2, 4, 2], "either factor, then the other"
