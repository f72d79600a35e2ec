import numpy as np
import pytest

from heedful.record import Kind
from heedful.reward import Clicks, RewardError, View, earn, measured
from heedful.store import Snapshot
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


def test_an_unknown_measure_is_named(log: Snapshot) -> None:
    with pytest.raises(RewardError, match=r"no measure 'flag'; known are clicked, .*flagged"):
        found(log, "flag", View(watermark=0))
