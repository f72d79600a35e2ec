from pathlib import Path

import numpy as np
import pytest

from heedful.contract.clips import Step, scenes
from heedful.policy import Vocabulary
from heedful.record import Feedback, Kind, Outcome, Preference, Span
from heedful.reward.rewards import RewardError
from heedful.reward.steps import Episodes, Judged, StepReader
from tests.reward.clips_log import Walks, walk, walked


def preference(
    name: str,
    about: Span | str,
    over: Span | str,
    outcome: Outcome = Outcome.CHOSEN,
    *,
    by: str = "ada",
    retracts: str | None = None,
) -> Feedback:
    return Feedback(
        id=name,
        by=by,
        about=about,
        kind=Kind.PREFERENCE,
        value=None if retracts else Preference(outcome, over),
        given_at=1.0,
        received_at=1.0,
        retracts=retracts,
    )


def test_comparisons_of_clips_come_back_from_the_log_without_those_taken_back(
    tmp_path: Path,
) -> None:
    a, b = Span("a", 0, 3), Span("b", 1, 4)
    with walked(tmp_path, [("a", 6), ("b", 6)]) as log:
        log.append(
            [
                preference("1", a, b),
                preference("2", b, a, Outcome.REJECTED),
                preference("3", a, b, Outcome.TIE, by="bob"),
                preference("4", a, b, retracts="1"),
                preference("5", "a-0", "b-0"),  # of decisions, not of clips
                preference("6", Span("a", 2, 5), b, Outcome.TIE),
            ]
        )
        found = Episodes(log.snapshot()).judged()
    assert found == [
        Judged(b, a, 0.0, "ada"),
        Judged(a, b, 0.5, "bob"),
        Judged(Span("a", 2, 5), b, 0.5, "ada"),
    ]


def test_episodes_are_in_the_order_of_their_steps_and_have_no_gaps(tmp_path: Path) -> None:
    gap, late = walk("gap", 5, 0), walk("late", 4, 1)
    with walked(tmp_path, [("whole", 4)]) as log:
        log.append([*gap[:2], *gap[3:], *reversed(late)])
        episodes = Episodes(log.snapshot())
    assert set(episodes.rows) == {"whole", "late"}
    steps = episodes.until(Span("late", 2, 4))
    assert steps == [Step(one.context, one.units) for one in late]
    assert episodes.holds(Span("late", 0, 4))
    assert not episodes.holds(Span("late", 0, 5))
    assert not episodes.holds(Span("gap", 0, 2))


def test_a_step_is_its_numbers_its_units_and_their_products() -> None:
    read = StepReader(Walks(), Vocabulary(Walks.units))
    rows = read([Step({"place": 4}, ("right",)), Step({"place": 0}, ("fly",))])
    assert rows.shape == (2, read.width) == (2, 7 + 2 + 14)
    assert np.flatnonzero(rows[0]).tolist() == [4, 7 + 1, 9 + 2 * 4 + 1]
    assert np.flatnonzero(rows[1]).tolist() == [0]  # a unit that is not known is not seen


def test_many_products_are_left_out() -> None:
    read = StepReader(Walks(), Vocabulary([str(k) for k in range(1000)]))
    assert read.width == 7 + 1000
    assert read([Step({"place": 4}, ("3", "3"))])[0, 7 + 3] == 2.0


def test_clips_of_unequal_length_end_in_nothing(tmp_path: Path) -> None:
    with walked(tmp_path, [("a", 6), ("b", 3)]) as log:
        episodes = Episodes(log.snapshot())
    read = StepReader(Walks(), Vocabulary(Walks.units))
    clips = read.clips(episodes, [Span("a", 1, 5), Span("b", 0, 2)])
    assert clips.shape == (2, 4, read.width)
    assert (clips[1, 2:] == 0).all()
    assert (clips[0, 1] == read([episodes.until(Span("a", 0, 3))[-1]])[0]).all()
    with pytest.raises(RewardError, match="not all, in the log"):
        read.clips(episodes, [Span("b", 0, 4)])
    judged = [
        Judged(Span("a", 0, 2), Span("b", 0, 2), 1.0, "ada"),
        Judged(Span("a", 0, 2), Span("gone", 0, 2), 0.0, "ada"),
    ]
    assert read.pairs(episodes, judged).outcomes.tolist() == [1.0]


def test_a_domain_that_shows_nothing_is_shown_in_words() -> None:
    steps = [Step({}, ("up",)), Step({"place": 3, "wind": 0.5}, ("left", "up"))]
    assert scenes(Walks(), steps, 0, text=True) == ["up", "place 3, wind 0.5: left up"]
