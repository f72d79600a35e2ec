import numpy as np
import pytest

from heedful.reward import exchange_rows, length_correlation
from heedful.reward.exchanges import LENGTH, SHARED
from heedful.reward.ngrams import WIDTH, Rows, hashed
from tests.reward.test_ngrams import dense


def test_a_row_tells_the_reply_the_prompt_and_what_they_share_apart() -> None:
    rows = dense(exchange_rows(["red apple", "red apple", "blue"], ["apple", "pear", "apple"]))
    assert rows[:, LENGTH].tolist() == pytest.approx([np.log(2)] * 3)
    assert rows[:, SHARED].tolist() == [1.0, 0.0, 0.0]
    assert rows[:, WIDTH - 1].tolist() == [1.0] * 3
    reply = rows[0] - rows[2]  # one reply, two prompts: what is left is the prompt's and shared
    assert (reply != 0).sum() > 3
    assert (rows[0] != rows[1]).any()


def test_replies_that_say_the_same_leave_nothing_of_their_prompt() -> None:
    prompts = ["a long question about the weather", "why?"]
    same = exchange_rows(prompts, ["because", ""]).minus(exchange_rows(prompts, ["because", ""]))
    assert same.places.tolist() == [WIDTH - 1] * 2
    assert same.values.tolist() == [0.0] * 2
    first, second = exchange_rows(prompts, ["yes", "no"]), exchange_rows(prompts, ["no", "yes"])
    np.testing.assert_allclose(dense(first.minus(second)), dense(first) - dense(second))


def test_rare_columns_weigh_more_and_the_whole_as_much() -> None:
    rows = Rows.of(["good day", "good night", "good", "good grief"])
    weight = rows.rarity(0.5, np.array([WIDTH - 1]))
    common, rare = (hashed(f"w {word}") for word in ("good", "night"))
    assert weight[common] < weight[rare]
    assert weight[WIDTH - 1] == 1.0
    scaled = rows.scaled(weight)
    grams = rows.places != WIDTH - 1
    b = np.random.default_rng(1).normal(size=WIDTH)
    np.testing.assert_allclose(scaled.times(b), rows.times(weight * b))
    assert set(rows.rarity(0.0, np.array([WIDTH - 1])).tolist()) == {1.0}
    whole, before = ((one.values[grams] ** 2).sum() for one in (scaled, rows))
    assert whole == pytest.approx(before)


def test_correlation_with_length_where_there_is_one_to_tell() -> None:
    texts = ["a", "a b", "a b c d", "x"]
    assert length_correlation(np.array([1.0, 2.0, 4.0, np.nan]), texts) > 0.98
    assert length_correlation(-np.array([1.0, 2.0, 4.0, 1.0]), texts) < -0.98
    assert np.isnan(length_correlation(np.ones(4), texts))
    assert np.isnan(length_correlation(np.arange(4.0), ["a"] * 4))
    assert np.isnan(length_correlation(np.full(4, np.nan), texts))
