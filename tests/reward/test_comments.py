import csv
from pathlib import Path

import numpy as np
import pytest

from heedful.domains.recommendation.shop.comments import comment
from heedful.record import ALL_UNITS, Kind
from heedful.reward import CommentReader, Comments, Fitted, Pairs, RewardError
from heedful.reward.comments import FEWEST_PAIRS, WHOLE, Reader
from heedful.reward.folds import FOLDS, fold_of
from heedful.reward.ngrams import Rows
from tests.reward.logs import decision, said, snapshot


def shop_pairs(n: int, seed: int = 0, people: int = 40) -> Pairs:
    """Comments as the simulated shop's people write them."""
    rng = np.random.default_rng(seed)
    ratings = rng.integers(1, 6, n)
    texts = [comment(int(rating), float(rng.random())) for rating in ratings]
    return Pairs(texts, ratings.astype(float), [f"p{i % people}" for i in range(n)])


def test_a_comment_belongs_to_the_rating_of_the_same_person_for_the_same_unit() -> None:
    log = snapshot(
        decision(1, "ada", ["a", "b"]),
        said(1, Kind.COMMENT, "good", by="ada"),
        said(1, Kind.RATING, 4.0, by="ada"),
        said(1, Kind.COMMENT, "bad", by="ada", unit=1),
        said(1, Kind.RATING, 1.0, by="bea", unit=1),  # somebody else's
        decision(2, "ada", ["c", "d"]),
        said(2, Kind.COMMENT, "at last", by="ada", unit=ALL_UNITS),
        said(2, Kind.COMMENT, "really", by="ada", unit=1, n=1),
        said(2, Kind.RATING, 5.0, by="ada", unit=1),  # of all is of the last
        decision(3, "ada", ["e"]),
        said(3, Kind.COMMENT, "gone", by="ada"),
        said(3, Kind.RATING, 2.0, by="ada"),
        said(3, Kind.RATING, None, by="ada", retracts="3/0/rating/ada/0"),
        decision(4, "ada", ["f"]),
        said(4, Kind.COMMENT, "  ...  ", by="ada"),
        said(4, Kind.COMMENT, " \n ", by="cem"),
        said(4, Kind.RATING, 3.0, by="cem"),
    )
    pairs = Pairs.of(log)
    assert list(pairs.texts) == ["good", "at last\nreally"]
    assert pairs.ratings.tolist() == [4.0, 5.0]
    assert list(pairs.owners) == ["ada", "ada"]
    assert Comments.of(log).units.tolist() == [0, 1, 3, 4, 5]
    assert Comments.of(log, within=-1.0).texts == []
    train = np.ones(6, bool)
    train[0] = False
    assert list(Pairs.of(log, train).texts) == ["at last\nreally"]


def test_the_shops_comments_are_read_better_than_any_constant() -> None:
    pairs, fresh = shop_pairs(300), shop_pairs(300, seed=1)
    reader = CommentReader.fit(pairs)
    read = reader.read(fresh.texts)
    assert np.abs(read.median - fresh.ratings).mean() < 0.05
    assert np.abs(read.mean - fresh.ratings).mean() < 0.2
    known = reader.read(["Terrible, I gave up at once.", "WONDERFUL!! it made my week"])
    assert known.median.tolist() == [1.0, 5.0]


def test_no_text_is_read_by_a_model_that_saw_its_owner() -> None:
    """Words that tell an owner's rating by heart are worth nothing for that owner."""
    rng = np.random.default_rng(0)
    owners = [f"p{i}" for i in range(100)]
    texts = [f"secret{i} secret{i}x word" for i in range(100)]
    pairs = Pairs(texts, rng.integers(1, 6, 100).astype(float), owners)
    reader = CommentReader.fit(pairs)
    folds = fold_of(owners)
    changed = Pairs(texts, np.where(folds == 2, 6 - pairs.ratings, pairs.ratings), owners)
    other = CommentReader.fit(changed)
    for fold in range(FOLDS + 1):
        same = np.array_equal(
            reader.members[0][fold].coefficients, other.members[0][fold].coefficients
        )
        assert same == (fold == 2), fold
    changes = np.flatnonzero(other.read(texts, owners).mean != reader.read(texts, owners).mean)
    assert not set(changes) & set(np.flatnonzero(folds == 2))
    assert len(reader.members[0]) == WHOLE + 1


def test_what_says_nothing_is_not_read() -> None:
    reader = CommentReader.fit(shop_pairs(60))
    read = reader.read(["", " \t", "Wonderful"], ["a", "b", "c"])
    assert np.isnan(read.mean).tolist() == [True, True, False]
    assert np.isnan(read.median).tolist() == [True, True, False]
    assert len(reader.read([]).mean) == 0


@pytest.mark.parametrize("n", [0, 1, FEWEST_PAIRS - 1])
def test_too_few_pairs_are_refused_with_how_many_it_takes(n: int) -> None:
    with pytest.raises(RewardError, match=f"^{n} comments .* at least {FEWEST_PAIRS}"):
        CommentReader.fit(shop_pairs(n))


def test_pairs_of_one_person_alone_are_refused() -> None:
    with pytest.raises(RewardError, match=r"100 of the 100 pairs .* must come from others"):
        CommentReader.fit(shop_pairs(100, people=1))


def test_people_who_all_give_one_rating_are_read_as_giving_it() -> None:
    pairs = shop_pairs(50)
    reader = CommentReader.fit(Pairs(pairs.texts, np.full(50, 4.0), pairs.owners), members=2)
    read = reader.read(["Terrible", "new words"])
    assert read.mean.tolist() == [4.0, 4.0]
    assert read.spread.tolist() == [0.0, 0.0]


def test_members_disagree_about_words_that_few_people_use() -> None:
    pairs = shop_pairs(200)
    texts = [*pairs.texts, "zymurgy, I would say"]
    with_one = Pairs(texts, np.append(pairs.ratings, 1.0), [*pairs.owners, "only me"])
    reader = CommentReader.fit(with_one, members=5, seed=1)
    assert len(reader.members) == 5
    read = reader.read(["zymurgy", "Wonderful, it made my week."])
    assert read.spread[0] > 2 * read.spread[1] >= 0


def test_the_same_reader_comes_back_from_a_folder(tmp_path: Path) -> None:
    reader = CommentReader.fit(shop_pairs(80), members=2)
    Fitted(comments=reader).save(tmp_path)
    again = Fitted.load(tmp_path)
    assert again.comments is not None
    assert again.scales is None
    assert again.comments.pairs == 80
    texts, owners = ["Loved it", "a bit dull", ""], ["x", "y", "z"]
    before, after = reader.read(texts, owners), again.comments.read(texts, owners)
    np.testing.assert_allclose(after.mean, before.mean, atol=1e-5)
    np.testing.assert_array_equal(after.median, before.median)
    file = tmp_path / "comments.safetensors"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(RewardError, match="no fitted reward that can be read"):
        Fitted.load(tmp_path)


def sst5(file: Path) -> tuple[list[str], np.ndarray]:
    rows = [line.split("\t", 1) for line in file.read_text("utf-8").splitlines()]
    return [text for _, text in rows], np.array([float(label[-1]) for label, _ in rows])


@pytest.mark.data
@pytest.mark.slow
def test_sentences_about_films_are_read(data: Path) -> None:
    """SST-5: another's ridge on TF-IDF has a mean absolute error of 0.831, a constant 1.131."""
    texts, ratings = sst5(data / "sst5" / "sst_train.txt")
    fresh, true = sst5(data / "sst5" / "sst_test.txt")
    reader = Reader.fit(Rows.of(texts), ratings, np.ones(len(texts)), texts)
    score = reader.score(Rows.of(fresh))
    median, mean = reader.calibration.median(score), reader.calibration.mean(score)
    assert np.abs(np.median(ratings) - true).mean() == pytest.approx(1.131, abs=1e-3)
    assert np.abs(median - true).mean() < 0.75
    assert np.abs(mean - true).mean() < 0.81
    assert abs((mean - true).mean()) < 0.05


@pytest.mark.data
@pytest.mark.slow
def test_reviews_of_a_loudspeaker_are_read(data: Path) -> None:
    """Alexa reviews, each text once: another's ridge 0.534, a constant 0.559."""
    file = data / "amazon-alexa" / "amazon_alexa.tsv"
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    first = {row["verified_reviews"]: float(row["rating"]) for row in reversed(rows)}
    texts, true = list(first), np.array(list(first.values()))
    read = CommentReader.fit(Pairs(texts, true, texts)).read(texts, texts)
    told = ~np.isnan(read.mean)
    assert np.abs(read.median - true)[told].mean() < 0.45
    assert np.abs(read.mean - true)[told].mean() < 0.534
