from dataclasses import replace

import numpy as np
import pytest

from heedful.record import Described, Kind
from heedful.reward import Clicks, RewardError, View, earn, groups, measured, measured_units
from heedful.store import Snapshot
from heedful.store.descriptions import KINDS, Descriptions
from tests.reward.logs import decision, said, snapshot


@pytest.fixture
def log() -> Snapshot:
    return snapshot(
        decision(1, "ada", ["a", "b"]),
        said(1, Kind.CLICK, True, by="ada"),
        said(1, Kind.FLAG, "spam", by="ada", at=8.0),
        decision(2, "bea", ["a", "c"]),
        said(2, Kind.FLAG, "rude", by="bea", at=3.0),
        decision(3, "cem", ["b", "c"]),
        decision(9, "dan", ["a", "d"]),
    )


def found(log: Snapshot, name: str, view: View, now: float = 10.0) -> list[float]:
    return measured(log, name, earn(log, Clicks(), maturity=5.0, now=now), view).tolist()


def test_a_decision_waits_until_it_has_matured(log: Snapshot) -> None:
    np.testing.assert_array_equal(found(log, "clicked", View(watermark=0)), [0.5, 0, 0, np.nan])


def test_what_came_too_late_does_not_count(log: Snapshot) -> None:
    view = View(watermark=0)
    np.testing.assert_array_equal(found(log, "flagged", view), [1, 1, 0, np.nan])
    view = View(watermark=0, within=5.0)
    np.testing.assert_array_equal(found(log, "flagged", view), [0, 1, 0, np.nan])


def test_the_head_is_what_was_popular_before(log: Snapshot) -> None:
    watermark = int(log.decisions.seq[1])  # until then a was shown twice, b and c once, d never
    tail = found(log, "long_tail", View(watermark=watermark), now=99.0)
    assert tail == [0.5, 0.5, 1.0, 0.5]
    assert found(log, "long_tail", View(watermark=0), now=99.0) == [1.0] * 4


@pytest.fixture
def described(log: Snapshot) -> Snapshot:
    """The log, whose units are described before it and once, of a, after it."""
    unit, subject = KINDS.index(Described.UNIT), KINDS.index(Described.SUBJECT)
    rows = [
        (0, unit, "a", '{"tags": ["news", "short"], "price": 12.5, "explicit": 1}'),
        (0, unit, "b", '{"tags": ["news"], "explicit": 0}'),
        (0, unit, "c", '{"tags": ["sport"], "explicit": 0.5}'),
        (0, subject, "ada", '{"town": "north", "age": 30}'),
        (0, subject, "bea", '{"town": "south", "age": 31}'),
        (0, subject, "cem", '{"town": "north"}'),
        (log.watermark + 1, unit, "a", '{"tags": ["sport"]}'),
    ]
    return replace(log, descriptions=Descriptions.of(rows), watermark=log.watermark + 1)


def test_a_fact_of_units_is_their_share_of_a_decision(described: Snapshot) -> None:
    view = View(watermark=1)
    assert found(described, "unit.tags=news", view, now=99.0) == [1.0, 0.5, 0.5, 0.5]
    assert found(described, "unit.price=12.5", view, now=99.0) == [0.5, 0.5, 0.0, 0.5]
    assert found(described, "unit.explicit", view, now=99.0) == [0.5, 0.75, 0.25, 0.5]


def test_what_was_said_of_a_unit_later_does_not_count(described: Snapshot) -> None:
    early, late = View(watermark=1), View(watermark=described.watermark)
    assert found(described, "unit.tags=sport", early, now=99.0) == [0.0, 0.5, 0.5, 0.0]
    assert found(described, "unit.tags=sport", late, now=99.0) == [0.5, 1.0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unit.size=big", "no unit is described by 'size'; known facts are explicit, price, tags"),
        ("unit.tags=sports", "no unit is described so; values are news, short, sport"),
        ("unit.price", "unit 'a' has 12.5, and a mean .* as in \"unit.price=12.5\""),
        ("unit.=x", "there is no measure 'unit.=x'"),
        ("tests.reward.nowhere:f", "measure 'tests.reward.nowhere:f': No module named"),
        ("tests.reward.logs:nothing", "has no attribute 'nothing'"),
        ("tests.reward.test_measures:NUMBER", "is no function"),
        ("tests.reward.test_measures:short", r"shape \(1,\): return one for each of the 8 units"),
        ("tests.reward.test_measures:large", "gave 2.0: return numbers from 0 to 1"),
        ("tests.reward.test_measures:unknown", "gave nan: return numbers from 0 to 1"),
    ],
)
def test_a_measure_that_is_none_says_why(described: Snapshot, name: str, words: str) -> None:
    with pytest.raises(RewardError, match=words):
        found(described, name, View(watermark=1))


def test_facts_of_units_need_descriptions(log: Snapshot) -> None:
    with pytest.raises(RewardError, match="by 'tags'; no unit is described"):
        found(log, "unit.tags=news", View(watermark=1))


NUMBER = 3


def short(_snapshot: Snapshot, _view: View) -> np.ndarray:
    return np.zeros(1)


def large(snapshot: Snapshot, _view: View) -> np.ndarray:
    return np.full(snapshot.decisions.n, 2.0)


def unknown(snapshot: Snapshot, _view: View) -> np.ndarray:
    return np.full(snapshot.decisions.n, np.nan)


def first_unit(snapshot: Snapshot, _view: View) -> np.ndarray:
    numbers = np.zeros(len(snapshot.decisions.units))
    numbers[snapshot.decisions.offsets[:-1]] = 1.0
    return numbers


def test_a_function_of_the_applications_own(log: Snapshot) -> None:
    name = "tests.reward.test_measures:first_unit"
    assert found(log, name, View(watermark=0), now=99.0) == [0.5] * 4


def test_what_units_add_comes_to_what_the_decision_had(log: Snapshot) -> None:
    earned = earn(log, Clicks(), maturity=5.0, now=10.0)
    for name, wanted in (("clicked", False), ("flagged", True), ("long_tail", False)):
        view = View(watermark=log.watermark)
        of_units, whole = measured_units(log, name, earned, view)
        assert whole == wanted
        np.testing.assert_array_equal(
            of_units.reshape(4, 2).mean(1), measured(log, name, earned, view)
        )
    flags, _ = measured_units(log, "flagged", earned, View(watermark=0))
    np.testing.assert_array_equal(flags, [0, 2, 0, 2, 0, 0, np.nan, np.nan])


def test_groups_are_those_with_the_same_value(described: Snapshot) -> None:
    towns = groups(described, "town")
    assert towns.names == ("north", "south")
    assert towns.of_decision.tolist() == [0, 1, 0, -1]
    assert groups(described, "age").names == ("30", "31")
    with pytest.raises(RewardError, match=r"0 groups by 'size'.*known are age, town"):
        groups(described, "size")


def test_an_unknown_measure_is_named(log: Snapshot) -> None:
    with pytest.raises(RewardError, match=r"no measure 'flag'; known are clicked, .*flagged"):
        found(log, "flag", View(watermark=0))
