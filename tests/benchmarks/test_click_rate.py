import csv

import numpy as np
import pytest
import torch

from benchmarks._click_rate import PANEL, Unseen, by_item, convert, read_ratings, split_people
from benchmarks._readers import Readers, Readership, highest_return, return_of_list
from heedful.domains.recommendation import Recommendation
from heedful.evaluate import auc, calibration_error, log_loss
from heedful.loop.collect import Collector
from heedful.policy import Popularity, Vocabulary
from heedful.record import UNKNOWN, Decision, Feedback, Kind
from heedful.store.snapshot import Snapshot

CHANCES = np.array([[0.0, 1.0, 0.5, 0.25], [1.0, 0.0, 0.5, 0.0], [0.2, 0.2, 0.2, 0.2]])


def test_a_rating_of_four_is_a_click_and_who_is_not_meant_is_left_out(tmp_path):
    file = tmp_path / "some.inter"
    file.write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        "7\t242\t3\t881250949\n8\t302\t4\t891717742\n7\t51\t5\t881250950\n"
    )
    rows = read_ratings(file)
    assert convert(rows, {"7"}, tmp_path / "out.csv") == 2
    with (tmp_path / "out.csv").open(newline="") as out:
        found = list(csv.DictReader(out))
    assert [(row["item_id"], row["rating"], row["click"]) for row in found] == [
        ("242", "3", "0"),
        ("51", "5", "1"),
    ]
    assert found[0]["timestamp"] == "881250949"
    convert(rows, {"8"}, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as out:
        assert [row["click"] for row in csv.DictReader(out)] == ["1"]


def test_people_are_parted_once_and_the_panel_has_few_ratings():
    ratings = {f"u{i}": 20 + i for i in range(200)}
    people = split_people(ratings)
    parts = (people.learners, people.panel, people.strangers)
    assert sum(map(len, parts)) == 200
    assert frozenset.union(*parts) == ratings.keys()
    assert len(people.strangers) == 100
    assert 0 < len(people.panel) <= PANEL
    assert max(ratings[user] for user in people.panel) <= 40
    assert split_people(dict(reversed(ratings.items()))) == people


def test_readers_click_with_their_chances_and_sessions_add_up():
    readers = Readers(CHANCES, n=2, slate=2, session=2, at_random=False)
    readers.reset(seed=0)
    _, reward, ended, cut, infos = readers.step(np.array([[0, 1], [0, 1]]))
    assert reward.tolist() == [0.5, 0.5]
    assert [entry["value"] for entry in infos["feedback"][0]] == [False, True]
    assert [entry["value"] for entry in infos["feedback"][1]] == [True, False]
    assert not ended.any()
    assert not cut.any()
    _, _, ended, cut, _ = readers.step(np.array([[2, 3], [2, 3]]))
    assert cut.all()
    assert not ended.any()
    assert readers.returns == [1.75, 1.5]
    for _ in range(2):
        readers.step(np.array([[0, 1], [2, 3]]))  # the third reader, and the first again
    assert readers.returns[2:] == pytest.approx([0.8, 1.5])


def test_chances_that_are_none_are_refused():
    with pytest.raises(ValueError, match="within"):
        Readers(np.array([[1.5]]), n=1, slate=1, session=1)
    with pytest.raises(ValueError, match="at least one"):
        Readers(np.empty((0, 3)), n=1, slate=1, session=1)


def test_a_list_is_worth_its_units_and_nothing_is_worth_more_than_the_best():
    worth = return_of_list(CHANCES, np.array([2, 1, 0, 3]), 2)
    assert worth == pytest.approx([1.5, 0.5, 0.4])
    assert highest_return(CHANCES, 2) == pytest.approx([1.5, 1.5, 0.4])


def test_a_policy_meets_readers_through_the_collector():
    domain, vocabulary = Readership({"slate": 2}), Vocabulary(["a", "b", "c", "d"])
    readers = Readers(CHANCES, n=3, slate=2, session=2, at_random=False)
    policy = Popularity(domain.schema(vocabulary))
    snapshot = Collector(domain, vocabulary, readers, window=16, seed=1).play(policy, 2)
    assert len(readers.returns) == 3
    assert readers.returns == pytest.approx(CHANCES.sum(1).tolist())  # all four films, once each
    streams = domain.encode(snapshot, vocabulary)
    assert len(streams.slots.unit) == 12
    click = streams.slots.feedback[:, 0].reshape(3, 4)  # an answer to everything that was shown
    certain = (CHANCES == 0) | (CHANCES == 1)
    by_unit = np.take_along_axis(CHANCES, streams.slots.unit.reshape(3, 4), axis=1)
    known = (by_unit == 0) | (by_unit == 1)
    assert known.sum() == certain.sum()
    assert (click[known] == by_unit[known]).all()


@pytest.fixture
def streams():
    """Two people; their last five films are what is tested."""
    records = []
    said = {"ann": [5, 1, 4, 2, 5, 3], "bob": [1, 1, 5, 5, 4, 2]}
    for place, (who, ratings) in enumerate(said.items()):
        for step, rating in enumerate(ratings):
            at = float(10 * place + step)
            name = f"{who}-{step}"
            records.append(
                Decision(
                    id=name,
                    episode=who,
                    step=step,
                    subject=who,
                    units=(f"film-{step}",),
                    logps=UNKNOWN,
                    policy="import",
                    made_at=at,
                    context={},
                    choices="all",
                    vocabulary="v",
                )
            )
            for kind, value in ((Kind.CLICK, rating >= 4), (Kind.RATING, float(rating))):
                records.append(
                    Feedback(
                        id=f"{name}/{kind}",
                        by=who,
                        about=name,
                        unit=0,
                        kind=kind,
                        value=value,
                        given_at=at,
                        received_at=at,
                    )
                )
    snapshot, domain = Snapshot.of(records), Recommendation()
    return domain.encode(snapshot, domain.vocabulary(snapshot))


def test_films_have_a_rate_drawn_towards_all(streams):
    clicks, rate, mean = by_item(streams)
    assert clicks.tolist() == [1, 0, 2, 1, 2, 0]
    overall = 6 / 12
    assert rate == pytest.approx((clicks + 5 * overall) / 7)
    assert mean[0] == pytest.approx(
        (1.0 + 0.0 + 5 * np.mean([1, 0, 0.75, 0.25, 1, 0.5, 0, 0, 1, 1, 0.75, 0.25])) / 7
    )


def test_only_the_last_films_are_measured(streams):
    test = Unseen(streams, window=16)
    assert test.slots.tolist() == [1, 2, 3, 4, 5, 7, 8, 9, 10, 11]
    assert test.clicked.tolist() == [0, 1, 0, 1, 0, 0, 1, 1, 1, 0]
    click = np.linspace(0.1, 0.9, 10)
    found = test.of_predictions(click, np.full(10, 0.5))
    assert found["log-loss"] == pytest.approx(log_loss(click, test.clicked))
    assert np.mean(found["losses"]) == pytest.approx(found["log-loss"])
    assert found["AUC"] == auc(click, test.clicked)
    assert found["ECE"] == calibration_error(click, test.clicked)
    assert found["MAE"] == pytest.approx(
        np.abs(np.array([1, 4, 2, 5, 3, 1, 5, 5, 4, 2]) - 3).mean()
    )


def test_ranking_is_of_clicked_films_among_those_not_seen(streams):
    test = Unseen(streams, window=16)
    counts = torch.tensor([9.0, 8.0, 7.0, 6.0, 5.0, 4.0])
    [ann, bob] = test.of_ranking(Popularity(streams.schema).fit(counts))["ndcgs"]
    assert ann == pytest.approx(1.0)  # what is left is ranked in the order it came
    assert bob == pytest.approx(1.0)
    [ann, _] = test.of_ranking(Popularity(streams.schema).fit(counts.flip(0)))["ndcgs"]
    # film 2 is the last of four that are left, film 4 the last of two
    assert ann == pytest.approx(np.mean([1 / np.log2(5), 1 / np.log2(3)]))
