import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.evaluate import per_subject


def test_one_mean_per_subject_over_its_own_window():
    #            a    b    a    a    b    c
    times = [0.0, 5.0, 9.0, 10.0, 8.0, 90.0]
    rewards = [1.0, 0.0, 0.5, 0.0, 1.0, np.nan]
    matured = per_subject(list("abaabc"), rewards, times, window=10.0, maturity=2.0, now=17.0)
    assert matured.subjects.tolist() == ["a", "b"]
    assert matured.rewards.tolist() == [0.75, 0.5]  # the decision of a at 10 is past its window
    assert matured.decisions.tolist() == [2, 2]
    assert matured.matured_at.tolist() == [12.0, 17.0]
    assert matured.waiting == 1


def test_a_subject_waits_until_feedback_to_its_last_decision_had_its_time():
    options = {"window": 10.0, "maturity": 2.0}
    assert len(per_subject([7], [np.nan], [0.0], now=11.9, **options).rewards) == 0
    assert per_subject([7], [0.5], [0.0], now=12.0, **options).subjects.tolist() == [7]


def test_order_of_maturity_then_of_first_appearance():
    subjects, times = [9, 3, 5, 1, 3], [2.0, 1.0, 2.0, 0.0, 1.5]
    matured = per_subject(subjects, [0.0] * 5, times, window=1.0, maturity=0.0, now=10.0)
    assert matured.subjects.tolist() == [1, 3, 9, 5]


rows = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 30)), max_size=30
)


@given(rows, st.integers(0, 40), st.integers(0, 40))
def test_time_only_appends(rows, now, later):
    """What was judged once is never changed by rows that come later, whenever one looks."""
    early, late = sorted((now, later))
    subjects, rewards, times = (np.array([row[i] for row in rows], dtype=float) for i in range(3))
    known = times <= early
    before = per_subject(
        subjects[known], rewards[known], times[known], window=7, maturity=3, now=early
    )
    after = per_subject(subjects, rewards, times, window=7, maturity=3, now=late)
    n = len(before.rewards)
    for field in ("rewards", "decisions", "matured_at"):
        assert getattr(after, field)[:n].tolist() == getattr(before, field).tolist()
    assert np.isin(before.subjects, after.subjects).all()
    assert len(after.rewards) + after.waiting == len(set(subjects))


@given(rows)
def test_it_agrees_with_a_loop(rows):
    subjects, rewards, times = (np.array([row[i] for row in rows], dtype=float) for i in range(3))
    matured = per_subject(subjects, rewards, times, window=7, maturity=3, now=25)
    expected = {}
    for subject in set(subjects):
        start = times[subjects == subject].min()
        if start + 10 <= 25:
            inside = (subjects == subject) & (times < start + 7)
            expected[subject] = rewards[inside].mean()
    found = dict(zip(matured.subjects.tolist(), matured.rewards.tolist(), strict=True))
    assert found == pytest.approx(expected)
    assert (np.diff(matured.matured_at) >= 0).all()


@pytest.mark.parametrize(
    ("subjects", "rewards", "times", "options", "message"),
    [
        ([1, 1], [0.5, np.nan], [0, 1], {}, r"rewards: row 1 is still unknown.*is 0"),
        ([1], [1.5], [0], {}, r"rewards: row 0 \(1.5\) lies outside \[0, 1\]"),
        ([1], [0.5], [np.nan], {}, "times: row 0 is NaN"),
        ([1, 2], [0.5], [0], {}, "subjects: shape"),
        ([1], [0.5, 0.5], [0], {}, "rewards: 2 rows"),
        ([1], [0.5], [0], {"window": 0.0}, "window, maturity"),
        ([1], [0.5], [0], {"maturity": -1.0}, "window, maturity"),
    ],
)
def test_per_subject_refuses(subjects, rewards, times, options, message):
    with pytest.raises(ValueError, match=message):
        per_subject(
            subjects, rewards, times, **{"window": 5.0, "maturity": 1.0, "now": 50.0, **options}
        )
