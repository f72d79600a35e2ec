import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.policy import FeatureEncoder
from heedful.policy.features import CATEGORIES_WIDTH, TEXT_WIDTH

FILMS = [
    {"year": 1990, "genre": ["Drama"], "title": "The long night"},
    {"year": 2000, "genre": ["Comedy", "Drama"], "title": "The short day"},
    {"year": 2010, "genre": ["Crime"], "title": "Night and day"},
]
facts = st.dictionaries(
    st.sampled_from(["year", "genre", "title", "never heard of"]),
    st.one_of(
        st.none(),
        st.booleans(),
        st.floats(),
        st.text(max_size=8),
        st.lists(st.text(max_size=4), max_size=3),
        st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
    ),
)


def fitted(rows: list[dict[str, object]] = FILMS) -> FeatureEncoder:
    encoder = FeatureEncoder.fit(rows)
    assert encoder is not None
    return encoder


def parts(row: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut a row into genre, title and year: names stand in order."""
    genre = 3 + 1 + 1
    return row[:genre], row[genre : genre + TEXT_WIDTH + 1], row[genre + TEXT_WIDTH + 1 :]


def test_numbers_are_standardised_over_the_rows_that_have_them() -> None:
    rows, gaps = fitted([*FILMS, {"title": "no year"}]).encode(FILMS)
    years = np.stack([parts(row)[2] for row in rows])
    step = math.sqrt(1.5)
    np.testing.assert_allclose(years, [[-step, 0], [0, 0], [step, 0]], rtol=1e-6)
    assert (gaps.absent, gaps.missing, gaps.unknown) == (0, 0, 0)


def test_categories_have_a_place_each_and_length_one() -> None:
    rows, _ = fitted().encode(FILMS)
    genres = np.stack([parts(row)[0] for row in rows])  # Comedy, Crime, Drama, unknown, missing
    half = math.sqrt(0.5)
    np.testing.assert_allclose(
        genres, [[0, 0, 1, 0, 0], [half, 0, half, 0, 0], [0, 1, 0, 0, 0]], rtol=1e-6
    )


def test_an_unknown_category_has_its_place_and_is_counted() -> None:
    rows, gaps = fitted().encode([{**FILMS[0], "genre": ["Western"]}])
    assert parts(rows[0])[0].tolist() == [0, 0, 0, 1, 0]
    assert (gaps.missing, gaps.unknown) == (0, 1)


def test_many_categories_are_hashed() -> None:
    many = [{"town": [f"town {i}"]} for i in range(CATEGORIES_WIDTH + 1)]
    encoder = fitted(many)
    rows, gaps = encoder.encode([*many, {"town": ["a town nobody knew"]}])
    assert encoder.width == CATEGORIES_WIDTH + 1
    np.testing.assert_array_equal(rows.sum(1), 1.0)
    assert len(np.unique(rows.argmax(1))) > CATEGORIES_WIDTH / 2
    assert gaps.unknown == 0


def test_a_missing_fact_is_zeros_and_a_sign_in_its_own_field() -> None:
    rows, gaps = fitted().encode([{"genre": ["Drama"], "title": None}])
    genre, title, year = parts(rows[0])
    assert genre.tolist() == [0, 0, 1, 0, 0]
    assert year.tolist() == [0, 1]
    assert not title[:-1].any()
    assert title[-1] == 1
    assert (gaps.absent, gaps.missing) == (0, 2)


def test_a_row_without_facts_is_missing_everywhere_and_counted_once() -> None:
    rows, gaps = fitted().encode([{}])
    assert [part[-1] for part in parts(rows[0])] == [1, 1, 1]
    assert rows.sum() == 3
    assert (gaps.absent, gaps.missing) == (1, 0)


def test_a_fact_of_another_sort_than_its_name_mostly_has_is_missing() -> None:
    rows, gaps = fitted().encode([{**FILMS[0], "year": "nineteen ninety"}])
    assert parts(rows[0])[2].tolist() == [0, 1]
    assert gaps.missing == 1


def test_texts_that_share_rare_words_are_nearer_than_those_that_share_frequent_ones() -> None:
    texts = [
        {"t": f"the {word}"} for word in ("robbery", "wedding", "garden", "harbour", "robbery")
    ]
    rows, _ = fitted(texts).encode([{"t": "the robbery"}, {"t": "a robbery"}, {"t": "the garden"}])
    same, other = rows[0] @ rows[1], rows[0] @ rows[2]
    assert same > other + 0.1
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-6)


def test_numbers_far_away_are_cut_off() -> None:
    rows, _ = fitted().encode([{"year": 1e30}])
    assert parts(rows[0])[2][0] == 5.0


def test_the_same_words_give_the_same_numbers_on_every_machine() -> None:
    """Written down once: Python's own hash would give others in each process."""
    rows, _ = fitted().encode([{"title": "night"}])
    _, title, _ = parts(rows[0])
    assert np.flatnonzero(title).tolist() == [88]
    assert title[88] == -1.0


@given(row=facts)
def test_nothing_that_may_be_said_is_an_error(row: dict[str, object]) -> None:
    rows, _ = fitted().encode([row])
    assert rows.shape == (1, fitted().width)
    assert np.isfinite(rows).all()


@given(row=facts)
def test_an_encoder_comes_back_from_json(row: dict[str, object]) -> None:
    encoder = fitted()
    again = FeatureEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert again == encoder
    np.testing.assert_array_equal(again.encode([row])[0], encoder.encode([row])[0])


@pytest.mark.parametrize("rows", [[], [{}], [{"year": None, "genre": [], "title": " "}]])
def test_without_a_fact_there_is_no_encoder(rows: list[dict[str, object]]) -> None:
    assert FeatureEncoder.fit(rows) is None
