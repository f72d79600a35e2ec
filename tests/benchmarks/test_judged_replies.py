"""The arithmetic of the benchmark of rewards, and the messages it makes."""

import numpy as np
import pytest
from scipy.stats import binomtest

from benchmarks._intents import INTENTS, messages
from benchmarks._judged_replies import over_groups, right, sign_test


def test_a_lead_is_right_wrong_or_half_right() -> None:
    leads, outcomes = np.array([2.0, -1.0, 0.0, 3.0]), np.array([1.0, 0.0, 1.0, 0.0])
    assert right(leads, outcomes).tolist() == [1.0, 1.0, 0.5, 0.0]


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (3, 0), (10, 4), (4, 10), (7, 7)])
def test_the_sign_test_is_scipys(better: int, worse: int) -> None:
    a = np.array([1.0] * better + [0.0] * worse + [1.0, 0.0, 0.5])
    b = np.array([0.0] * better + [1.0] * worse + [1.0, 0.0, 1.0])
    wanted = binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert sign_test(a, b) == pytest.approx(wanted)


def test_rows_of_one_group_tell_as_much_as_one() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=50), 10)
    alone = over_groups(values, [str(i) for i in range(500)])
    together = over_groups(values, [str(i // 10) for i in range(500)])
    assert together[1] - together[0] > 2 * (alone[1] - alone[0])
    assert together[0] < values.mean() < together[1]


def test_messages_are_the_same_again_and_fresh_ones_are_of_other_phrases() -> None:
    texts, labels = messages(300, 0, fresh=False)
    assert messages(300, 0, fresh=False) == (texts, labels)
    assert set(labels) == set(INTENTS)
    fresh, _ = messages(300, 1, fresh=True)
    assert len(set(texts) & set(fresh)) == 0
