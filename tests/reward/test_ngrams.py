import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.reward.ngrams import WIDTH, Rows, words


def dense(rows: Rows) -> np.ndarray:
    made = np.zeros((len(rows), rows.width))
    for i in range(len(rows)):
        part = slice(rows.offsets[i], rows.offsets[i + 1])
        made[i, rows.places[part]] = rows.values[part]
    return made


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Très BIEN", ["très", "bien"]),
        ("Отлично!", ["отлично", "!"]),
        ("ΣΟΦΌΣ", ["σοφόσ"]),
        ("don't", ["don't"]),
        ("ﬁne", ["fine"]),  # a ligature is its letters
        ("很好", ["很好"]),
        (" \n\t ", []),
        ("", []),
    ],
)
def test_words_of_any_script(text: str, found: list[str]) -> None:
    assert words(text) == found


def test_what_looks_alike_is_near_and_what_does_not_is_far() -> None:
    rows = dense(Rows.of(["wonderful", "WONDERFULLY", "terrible", "这部电影很好看", "很好"]))
    rows[:, -1] = 0.0
    alike = rows @ rows.T
    assert alike[0, 1] > 0.3
    assert alike[0, 2] < 0.1
    assert alike[3, 4] > 0.1  # without spaces between words a piece of two characters tells


@given(st.lists(st.text(max_size=40), max_size=6))
def test_every_text_has_its_constant_and_blocks_of_length_one(texts: list[str]) -> None:
    rows = Rows.of(texts)
    assert len(rows) == len(texts)
    for i, text in enumerate(texts):
        part = slice(rows.offsets[i], rows.offsets[i + 1])
        assert rows.places[part][-1] == WIDTH - 1
        squares = float((rows.values[part] ** 2).sum())
        assert squares <= 3.0 + 1e-9
        assert (squares > 1.5) == bool(words(text))


def test_products_are_those_of_the_dense_matrix() -> None:
    rows, columns = Rows.of(["good day", "", "bad day, good night"]).compact()
    matrix, rng = dense(rows), np.random.default_rng(0)
    b, y = rng.normal(size=rows.width), rng.normal(size=3)
    np.testing.assert_allclose(rows.times(b), matrix @ b)
    np.testing.assert_allclose(rows.transposed_times(y), matrix.T @ y)
    np.testing.assert_allclose(dense(rows.take(np.array([2, 2, 0]))), matrix[[2, 2, 0]])
    assert columns[-1] == WIDTH - 1
    assert len(Rows.of([]).times(np.zeros(WIDTH))) == 0
