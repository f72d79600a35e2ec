import math
from pathlib import Path

import pytest

from heedful.policy import load
from heedful.record import Described, Description, Kind, pseudonym
from heedful.serve import Answer, DecisionRequest, FeedbackRequest, listing
from heedful.serve.policies import as_served
from heedful.serve.recommend import Recommender
from tests.serve.world import KEY, OPTIONS, WINDOW, Shop, Workspace, add_version


def recommender(workspace: Workspace, version: str = "0001") -> Recommender:
    served = as_served(
        workspace.registry, workspace.domain, version, load=load, floor=OPTIONS.floor
    )
    return Recommender(workspace.log, workspace.domain, served, window=WINDOW)


def people(*users: str) -> dict[str, str]:
    return {pseudonym(user, KEY): user for user in users}


def rank(workspace: Workspace, *users: str, k: int = 10, **asked: object) -> list[Answer]:
    now = workspace.clock()
    return list(recommender(workspace).rank(people(*users), asked, k=k, now=now))


def lived(workspace: Workspace) -> None:
    """Let two people decide and click a few times."""
    with workspace.serve() as service:
        for _ in range(6):
            for answer in service.decide([DecisionRequest(user=u) for u in ("ada", "bob")]):
                row = FeedbackRequest(decision=answer.id, kind=Kind.CLICK, unit=0, value=True)
                service.feedback([row])


def test_probabilities_are_those_a_service_draws_with(workspace):
    """People without history are all alike: whoever is drawn the top unit is told its share."""
    (answer,) = rank(workspace, "somebody", k=2)
    with workspace.serve() as service:
        drawn = service.decide([DecisionRequest(user=f"u{i}", length=2) for i in range(200)])
    first = [d for d in drawn if d.units[0] == answer.units[0]]
    assert first
    for decision in first:
        assert math.isclose(decision.propensities[0], answer.probabilities[0], rel_tol=1e-4)
    both = [d.propensities[1] for d in first if d.units == answer.units]
    assert all(math.isclose(p, answer.probabilities[1], rel_tol=1e-4) for p in both)
    assert all(p <= answer.probabilities[0] * (1 + 1e-4) for d in drawn for p in d.propensities[:1])


def test_a_history_is_read_as_the_service_reads_it(workspace):
    lived(workspace)
    (answer,) = rank(workspace, "ada", k=1)
    assert (answer.decisions, answer.cold) == (6, False)
    (cold,) = rank(workspace, "zoë", k=1)
    assert (cold.decisions, cold.cold) == (0, True)
    assert cold.probabilities != answer.probabilities
    only = {"allowed": [answer.units[0]]}
    with workspace.serve() as service:
        (decision,) = service.decide([DecisionRequest(user="ada", choices=only)])
    assert decision.propensities == (1.0,)


def test_nothing_is_logged(workspace):
    lived(workspace)
    before = workspace.log.watermark()
    rank(workspace, "ada", "new", cap=[{"most": 1, "units": ["item-1", "item-2"]}])
    assert workspace.log.watermark() == before


def test_many_are_answered_as_one_by_one(workspace):
    lived(workspace)
    users = ("new", "ada", "bob", "eve")
    together = rank(workspace, *users, k=5)
    alone = [answer for user in users for answer in rank(workspace, user, k=5)]
    assert [a.subject for a in together] == list(users)
    assert [a.units for a in together] == [a.units for a in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, rel=1e-4)


def test_a_list_may_be_longer_than_a_slate_and_no_longer_than_the_catalogue(workspace):
    (answer,) = rank(workspace, "ada", k=100)
    assert sorted(answer.units) == sorted(Shop.units)


def test_lists_keep_the_rules(workspace):
    facts = {"colour": ["red"]}
    workspace.log.describe(
        Description(of=Described.UNIT, name=unit, facts=facts, given_at=0.0)
        for unit in Shop.units[:12]
    )
    (answer,) = rank(workspace, "ada", k=6, cap={"colour": 2}, forbidden=["item-23"])
    red = [unit for unit in answer.units if unit in Shop.units[:12]]
    assert (len(answer.units), len(red)) == (6, 2)
    assert "item-23" not in answer.units


def test_what_is_required_is_in_a_list_of_the_length_asked_for(workspace):
    lived(workspace)
    two = {"item-1", "item-2"}
    (answer,) = rank(workspace, "ada", k=2, require=[{"least": 2, "units": sorted(two)}])
    assert set(answer.units) == two


def test_who_cannot_be_shown_anything_is_told_why(workspace):
    lived(workspace)
    asked = {"fresh": True, "require": [{"least": 24, "units": list(Shop.units)}]}
    ada, new = rank(workspace, "ada", "new", k=24, **asked)
    assert (ada.units, ada.cold) == ((), False)
    assert ada.why.startswith("require.0: requires 24 of its units")
    assert (len(new.units), new.why) == (24, "")
    (nobody,) = rank(workspace, "ada", allowed=["new"])
    assert nobody.unknown == ("new",)
    assert (nobody.units, nobody.why) == ((), "no unit is left to show")
    with pytest.raises(ValueError, match="at least 1"):
        rank(workspace, "ada", k=0)


def test_versions_differ(workspace):
    other = add_version(workspace.registry, seed=7)
    first, second = (
        next(recommender(workspace, name).rank(people("ada"), {}, k=3, now=0.0))
        for name in ("0001", other)
    )
    assert (first.policy, second.policy) == ("0001", other)
    assert first.probabilities != second.probabilities
    assert first.to_dict()["units"][0] == {
        "rank": 1, "unit": first.units[0], "probability": first.probabilities[0]
    }  # fmt: skip


# Files


def answers(n: int, k: int = 3) -> list[Answer]:
    units, p = tuple(f"unit, {i}" for i in range(k)), tuple(1 / (i + 2) for i in range(k))
    return [
        Answer(subject=f"s{i}", policy="0001", units=units, probabilities=p, decisions=i)
        for i in range(n)
    ]


def test_a_file_has_one_row_a_unit(tmp_path: Path):
    nobody = Answer(subject="x", policy="1", units=(), probabilities=(), decisions=0, why="none")
    out = tmp_path / "lists.csv"
    written = listing.write([nobody, *answers(600)], out)
    assert written == listing.Written(subjects=601, empty=1, why="none")
    rows = out.read_text("utf-8").splitlines()
    assert rows[0] == "subject,rank,unit,probability,policy"
    assert rows[1:3] == ['s0,1,"unit, 0",0.5,0001', f's0,2,"unit, 1",{1 / 3},0001']
    assert len(rows) == 1 + 3 * 600


def test_parquet_holds_the_same(tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "lists.parquet"
    assert listing.write(answers(600), out).subjects == 600
    table = parquet.read_table(out)
    assert table.column_names == list(listing.COLUMNS)
    assert table.num_rows == 1800
    assert table.slice(1, 1).to_pylist() == [
        {"subject": "s0", "rank": 2, "unit": "unit, 1", "probability": 1 / 3, "policy": "0001"}
    ]
    assert listing.write([], out) == listing.Written()
    assert parquet.read_table(out).num_rows == 0


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_is_whole_or_as_it_was(tmp_path: Path, suffix: str):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / f"lists{suffix}"
    out.write_text("older")

    def failing():
        yield from answers(600)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        listing.write(failing(), out)
    assert out.read_text() == "older"
    assert list(tmp_path.iterdir()) == [out]


def test_a_file_that_cannot_be_written_is_refused_first(tmp_path: Path, monkeypatch):
    with pytest.raises(ValueError, match=r"ends in .csv or .parquet"):
        listing.check(tmp_path / "lists.txt")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        listing.check(tmp_path / "gone" / "lists.csv")

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(listing, "import_module", missing)
    with pytest.raises(ValueError, match=r"heedful\[parquet\]"):
        listing.check(tmp_path / "lists.parquet")
