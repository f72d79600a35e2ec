from pathlib import Path

import pytest

from heedful.reward import RewardError
from heedful.reward.labels import read_pairs


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text('\ufeffid,rating,comment\n1,4,"good, really"\n2,1.5,"bad\nvery"\n', "utf-8")
    pairs = read_pairs(file)
    assert list(pairs.texts) == ["good, really", "bad\nvery"]
    assert pairs.ratings.tolist() == [4.0, 1.5]
    assert list(pairs.owners) == list(pairs.texts)


def test_in_a_tsv_a_quote_is_a_sign(tmp_path: Path) -> None:
    file = tmp_path / "labels.tsv"
    file.write_text('comment\trating\n"so" they say\t3\n', "utf-8")
    assert list(read_pairs(file).texts) == ['"so" they say']


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"comment,rating\nfine,3\nbad,often\n", "line 3: the rating is 'often'"),
        (b"comment,rating\nfine,inf\n", "line 2: the rating is 'inf'"),
        (b"comment,rating\nfine\n", "line 2: the rating is None"),
        (b"comment,stars\nfine,3\n", "no column 'rating', only 'comment', 'stars'"),
        (b"", "no column 'comment', only an empty file"),
        (b"comment,rating\n\xff\xfe,3\n", "save it as CSV or TSV in UTF-8"),
    ],
)
def test_a_bad_file_is_refused_whole_and_where(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    file = tmp_path / "labels.csv"
    file.write_bytes(content)
    with pytest.raises(RewardError, match=problem):
        read_pairs(file)


def test_a_file_that_is_not_there_is_named_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(RewardError, match=r"none\.csv: cannot be read.*reward\.comments_file"):
        read_pairs(tmp_path / "none.csv")
