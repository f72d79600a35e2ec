"""Subjects that decide faster than people do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from heedful.record import pseudonym
from heedful.store import ImportRefusedError, Mapping, StoreError, import_file

KEY = b"a key of sixteen"
BY_TIME = Mapping(subject="u", unit="i", time="t")


def visits(who: str, n: int, gap: float, begin: float = 1e6) -> list[str]:
    return [f"{who},item-{i},{begin + i * gap}" for i in range(n)]


def write(tmp_path: Path, *people: list[str], header: str = "u,i,t") -> Path:
    path = tmp_path / "visits.csv"
    path.write_text("\n".join([header, *(row for rows in people for row in rows)]) + "\n")
    return path


def test_a_bot_is_set_aside_whole_with_the_reason(log, tmp_path):
    # 2 a minute over ten minutes are 20; the bot made 21, then rested, then made one more
    bot = [*visits("bot", 21, 29.9), "bot,late,5e6"]
    path = write(tmp_path, visits("ann", 30, 60.0), bot, visits("bob", 20, 1.0))
    quarantine = tmp_path / "bad.jsonl"
    report = import_file(log, path, BY_TIME, key=KEY, bot_rate=2.0, quarantine=quarantine)
    assert (report.read, report.added, report.duplicates, report.refused) == (72, 50, 0, 22)
    problem = report.problems[0]
    assert (problem.line, problem.column, problem.rule, problem.value) == (32, "u", "rate", "bot")
    assert "21 decisions within ten minutes, above the 2 a minute" in problem.hint
    assert pseudonym("bot", KEY) not in list(log.snapshot().names.subjects)
    rows = [json.loads(line) for line in quarantine.read_text().splitlines()]
    assert [row["row"] for row in rows] == [f"{row}\n" for row in bot]


@pytest.mark.parametrize("n", [99, 101, 150, 199, 201])
def test_a_file_shorter_than_the_limit_has_no_bots(log, tmp_path, n):
    path = write(tmp_path, visits("ann", n, 1.0))
    report = import_file(log, path, BY_TIME, key=KEY, bot_rate=20.0, dry_run=True)
    assert report.refused == (n if n > 200 else 0)


@pytest.mark.parametrize(("gap", "bots"), [(29.0, 1), (30.0, 0), (31.0, 0)])
def test_the_rate_has_to_be_sustained_for_ten_minutes(log, tmp_path, gap, bots):
    path = write(tmp_path, visits("fast", 21, gap), visits("slow", 21, 600.0))
    report = import_file(log, path, BY_TIME, key=KEY, bot_rate=2.0, dry_run=True)
    assert report.refused == 21 * bots


def test_without_a_quarantine_the_file_is_refused(log, tmp_path):
    path = write(tmp_path, visits("bot", 100, 1.0))
    with pytest.raises(ImportRefusedError, match="line 2, column u: rate 'bot'"):
        import_file(log, path, BY_TIME, key=KEY, bot_rate=5.0)
    assert log.watermark() == 0


def test_it_is_off_by_default(log, tmp_path):
    assert import_file(log, write(tmp_path, visits("bot", 999, 0.1)), BY_TIME, key=KEY).added == 999


def test_a_slate_is_one_decision_and_repetitions_are_none(log, tmp_path):
    mapping = Mapping(subject="u", unit="i", time="t", decision="d", position="n")
    slates = [f"ann,item-{i},{1e6 + 60 * s},{s},{i}" for s in range(20) for i in range(10)]
    path = write(tmp_path, slates, slates, header="u,i,t,d,n")
    report = import_file(log, path, mapping, key=KEY, bot_rate=2.0)
    assert (report.added, report.duplicates, report.refused) == (200, 200, 0)


def test_without_times_nobody_can_tell(log, tmp_path):
    path = write(tmp_path, visits("ann", 5, 1.0))
    with pytest.raises(StoreError, match="no column of times"):
        import_file(log, path, Mapping(subject="u", unit="i", order="t"), key=KEY, bot_rate=1.0)
    assert log.watermark() == 0


@pytest.mark.data
@pytest.mark.parametrize(("rate", "people", "rows"), [(10.0, 8, 2_786), (20.0, 0, 0)])
def test_people_of_movielens_are_fast_but_not_that_fast(log, data, tmp_path, rate, people, rows):
    path, quarantine = data / "ml-100k" / "ml-100k.inter", tmp_path / "bad.jsonl"
    report = import_file(log, path, key=KEY, bot_rate=rate, quarantine=quarantine)
    assert (report.refused, report.added) == (rows, 100_000 - rows)
    kept = quarantine.read_text().splitlines() if quarantine.exists() else []
    assert len({json.loads(row)["problems"][0]["value"] for row in kept}) == people
