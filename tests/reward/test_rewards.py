import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from heedful.config import Config
from heedful.config import Reward as Section
from heedful.record import ALL_UNITS, ChoiceSet, Kind
from heedful.reward import (
    Clicks,
    CommentReader,
    Ratings,
    ReadRatings,
    SubjectScales,
    earn,
    from_config,
)
from heedful.reward.measures import per_decision
from heedful.store import Snapshot
from tests.reward.logs import decision, said, snapshot
from tests.reward.test_comments import shop_pairs


@pytest.fixture
def log() -> Snapshot:
    """Two units clicked and not, two that nobody spoke of, and two of which one is too fresh."""
    return snapshot(
        decision(1, "ada", ["a", "b"]),
        said(1, Kind.CLICK, True, by="ada"),
        decision(2, "bea", ["c", "d"]),
        decision(9, "cem", ["e", "f"]),
        said(9, Kind.CLICK, True, by="cem", unit=1),
    )


def test_without_a_model_silence_waits_and_then_is_nothing(log: Snapshot) -> None:
    earned = earn(log, Clicks(), maturity=5.0, now=10.0)
    np.testing.assert_array_equal(earned.units, [1, 0, 0, 0, np.nan, np.nan])


def test_what_waits_earns_what_is_expected_and_what_was_said_stays(log: Snapshot) -> None:
    expected = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    earned = earn(log, Clicks(), maturity=5.0, now=10.0, expected=expected)
    np.testing.assert_array_equal(earned.units, [1, 0, 0, 0, 0.5, 1])
    assert earned.decisions[2] == 0.75
    assert earned.matured.tolist() == [True, True, False]


def test_a_reply_is_worth_what_was_said_of_it_however_long_it_is() -> None:
    """A slate is worth the mean of its items; what closes itself with an end unit is one whole."""
    replies = ChoiceSet(repeat=True, end="<end>")
    made = [decision(1, "ada", ["a", "<end>"]), decision(2, "bea", ["a", "b", "c", "<end>"])]
    made = [replace(one, choices=replies.digest()) for one in made]
    slate = decision(3, "cem", ["a", "b"])
    told = [said(about, Kind.RATING, 5.0, by="x", unit=ALL_UNITS) for about in (1, 2, 3)]
    log = Snapshot.of([*made, slate, *told], choice_sets=[replies])
    assert earn(log, Ratings(), maturity=0.0, now=10.0).decisions.tolist() == [1.0, 1.0, 0.5]
    assert per_decision(log, np.ones(8)).tolist() == [2.0, 4.0, 1.0]


def test_what_is_expected_of_a_reply_is_expected_of_the_whole() -> None:
    """A model of answers has a number for each token; a long reply is not worth their sum."""
    replies = ChoiceSet(repeat=True, end="<end>")
    made = [decision(1, "ada", ["a", "<end>"]), decision(2, "bea", ["a", "b", "c", "<end>"])]
    made.append(decision(3, "cem", ["a", "b", "<end>"]))
    made = [replace(one, choices=replies.digest()) for one in made]
    up = said(3, Kind.CLICK, True, by="cem", unit=ALL_UNITS)
    log = Snapshot.of([*made, up], choice_sets=[replies])
    expected = np.full(9, 0.5)
    for maturity, silence in ((0.0, None), (100.0, 0.0), (100.0, None)):
        earned = earn(
            log, Clicks(), maturity=maturity, now=10.0, expected=expected, silence=silence
        )
        assert earned.decisions.tolist() == [0.5, 0.5, 1.0]


def test_where_silence_says_nothing_what_is_expected_stays(log: Snapshot) -> None:
    expected = np.array([0.1, 0.2, 0.3, np.nan, np.nan, 0.6])
    earned = earn(log, Clicks(), maturity=5.0, now=10.0, expected=expected, silence=None)
    np.testing.assert_array_equal(earned.units, [1, 0.2, 0.3, 0, np.nan, 1])


@pytest.fixture
def written() -> Snapshot:
    return snapshot(
        decision(1, "ada", ["a", "b", "c"]),
        said(1, Kind.RATING, 2.0, by="ada"),
        said(1, Kind.COMMENT, "Wonderful, it made my week.", by="ada"),
        said(1, Kind.COMMENT, "Terrible, I gave up at once.", by="ada", unit=1, at=50.0),
        said(1, Kind.COMMENT, "Loved it, I want more like this.", by="bea", unit=1),
    )


def test_a_rating_that_was_given_is_not_read_from_words(written: Snapshot) -> None:
    reader = CommentReader.fit(shop_pairs(300))
    numbers = ReadRatings(Section(kind="ratings", comments=True), reader)(written)
    assert numbers[0] == 0.25
    assert numbers[1] == pytest.approx(0.5, abs=0.1)  # of a terrible and a loving one the middle
    assert np.isnan(numbers[2])
    soon = ReadRatings(Section(kind="ratings", comments=True, maturity=10.0), reader)(written)
    assert soon[1] > 0.85  # the other came too late


def test_doubt_about_words_costs_and_never_below_the_worst_rating(written: Snapshot) -> None:
    reader = CommentReader.fit(shop_pairs(60), members=4)
    sections = [Section(kind="ratings", comments=True, pessimism=k) for k in (0.0, 1.0, 100.0)]
    found = [ReadRatings(section, reader)(written)[1] for section in sections]
    assert found[0] > found[1] > found[2] == 0.0


def test_ratings_are_made_comparable_after_they_were_read(written: Snapshot) -> None:
    # Ada rates low: the same words from her are worth more.
    ratings = np.concatenate([np.tile([0.0, 0.25], 10), np.tile([0.75, 1.0], 10)])
    scales = SubjectScales.fit(ratings, ["ada"] * 20 + ["bea"] * 20)
    section = Section(kind="ratings", normalise="subject")
    plain, made = ReadRatings(section)(written), ReadRatings(section, None, scales)(written)
    assert plain[0] == 0.25
    assert made[0] > 0.5
    assert np.isnan(made[1:]).all()


def test_a_mixture_takes_the_ratings_that_were_read(written: Snapshot) -> None:
    section = Section(kind="mixture", weights={"rating": 1.0, "click": 1.0}, comments=True)
    reader = CommentReader.fit(shop_pairs(300))
    mixed = from_config(section, ReadRatings(section, reader))(written)
    assert mixed[0] == 0.125
    assert mixed[1] == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"comments": True}, 'belong to kind = "ratings"'),
        ({"normalise": "subject"}, 'belong to kind = "ratings"'),
        ({"kind": "ratings", "comments_file": "x.csv"}, "belongs to comments = true"),
        ({"kind": "mixture", "weights": {"click": 1.0}, "silence": "model"}, "silence = "),
        ({"members": 0}, "greater than or equal to 1"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(keys: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Section(**keys)  # type: ignore[arg-type]


def test_nothing_is_fitted_unless_it_is_asked_for() -> None:
    assert not Config().reward.fitted
    assert Section(silence="model").fitted


def test_reading_people_needs_no_torch() -> None:
    code = "import sys, heedful.reward; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
