"""Files of items and of people: whole or not at all, and importing twice adds nothing."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from heedful.record import Described, pseudonym
from heedful.store import Features, ImportRefusedError, Log, StoreError, describe_file

KEY = b"a key for pseudonyms"
FILMS = (
    b"1::Toy Story (1995)::Animation|Children's|Comedy\n"
    b"2::Les Mis\xe9rables (1998)::Drama\n"
    b"3::Untitled::Drama\n"
)


def read(log: Log, path: Path, of: Described = Described.UNIT, **given: Any) -> dict[str, Any]:
    describe_file(log, path, of, key=KEY, now=5.0, **given)
    return dict(log.snapshot().descriptions.latest(of))


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_films_of_movielens(log: Log, tmp_path: Path) -> None:
    """The year is a number, and titles are in Latin-1."""
    assert read(log, write(tmp_path / "movies.dat", FILMS)) == {
        "1": {"genres": ["Animation", "Children's", "Comedy"], "title": "Toy Story", "year": 1995},
        "2": {"genres": ["Drama"], "title": "Les Misérables", "year": 1998},
        "3": {"genres": ["Drama"], "title": "Untitled"},
    }


def test_people_of_movielens_are_pseudonyms_without_their_zip_code(
    log: Log, tmp_path: Path
) -> None:
    found = read(log, write(tmp_path / "users.dat", "7::F::25::10::48067\n"), Described.SUBJECT)
    assert found == {pseudonym("7", KEY): {"gender": ["F"], "age": ["25"], "occupation": ["10"]}}


def test_items_of_recbole(log: Log, tmp_path: Path) -> None:
    text = (
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "1\tToy Story\t1995\tAnimation Comedy\n"
        "267\tunkonwn\tunkonwn\tunknown\n"
    )
    assert read(log, write(tmp_path / "ml-100k.item", text)) == {
        "1": {"class": ["Animation", "Comedy"], "movie_title": "Toy Story", "release_year": 1995},
        "267": {"movie_title": "unkonwn"},
    }


def test_columns_are_what_their_cells_look_like(log: Log, tmp_path: Path) -> None:
    text = "id,price,colour,tags,words\na,1.5,red,x|y,two words\nb,,blue,z,one more\nc,-2,?,,\n"
    path = tmp_path / "items.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    assert read(log, path, features=Features(name="id")) == {
        "a": {"price": 1.5, "colour": ["red"], "tags": ["x", "y"], "words": "two words"},
        "b": {"colour": ["blue"], "tags": ["z"], "words": "one more"},
        "c": {"price": -2.0},
    }


def test_named_columns_are_what_they_are_said_to_be(log: Log, tmp_path: Path) -> None:
    path = write(tmp_path / "items.csv", "id,code,more,left out\na,7,8,9\n")
    features = Features(name="id", categories=("code",), texts=("more",))
    assert read(log, path, features=features) == {"a": {"code": ["7"], "more": "8"}}


def test_json_lines_may_hold_lists(log: Log, tmp_path: Path) -> None:
    rows = [{"id": "a", "tags": ["x|y", "z"], "year": 1990}, {"id": "b", "tags": None}]
    path = write(tmp_path / "items.jsonl", "\n".join(map(json.dumps, rows)))
    features = Features(name="id", categories=("tags",), numbers=("year",))
    assert read(log, path, features=features) == {"a": {"tags": ["x|y", "z"], "year": 1990}}


def test_importing_twice_adds_nothing_and_a_change_replaces(log: Log, tmp_path: Path) -> None:
    path = write(tmp_path / "items.csv", "id,n\na,1\nb,2\n")
    features = Features(name="id")
    counts = []
    for text in ("id,n\na,1\nb,2\n", "id,n\na,1\nb,2\n", "id,n\na,1\nb,3\n"):
        report = describe_file(log, write(path, text), Described.UNIT, features, key=KEY)
        counts.append((report.read, report.added, report.duplicates))
    assert counts == [(2, 2, 0), (2, 0, 2), (2, 1, 1)]
    assert log.snapshot().descriptions.latest(Described.UNIT)["b"] == {"n": 3}


@pytest.mark.parametrize(
    ("text", "line", "rule", "hint"),
    [
        ("id,n,words\n,1,a b\n", 2, "text", "is empty"),
        ("id,n,words\na,1,a b\nb,one,c\n", 3, "number", "leave the cell empty"),
        ("id,n,words\na,1,a b\na,2,a b\n", 3, "conflict", "stands twice"),
        ("id,n,words\na,1\n", 2, "fields", "has 2 fields"),
        ("id,n,words\n" + "a" * 201 + ",1,b\n", 2, "text", "201 characters"),
        ("id,n,words\na,1,b\x00c\n", 2, "text", "NUL"),
    ],
)
def test_a_bad_row_refuses_the_file_or_goes_to_quarantine(
    log: Log, tmp_path: Path, text: str, line: int, rule: str, hint: str
) -> None:
    path = write(tmp_path / "items.csv", text + "good,5,word\n")
    features = Features(name="id", numbers=("n",), texts=("words",))
    with pytest.raises(ImportRefusedError) as caught:
        describe_file(log, path, Described.UNIT, features, key=KEY)
    problem = caught.value.report.problems[0]
    assert (problem.line, problem.rule) == (line, rule)
    assert hint in problem.hint
    assert log.watermark() == 0
    tried = describe_file(log, path, Described.UNIT, features, key=KEY, dry_run=True)
    assert (tried.refused, tried.added, log.watermark()) == (1, 0, 0)
    bad = tmp_path / "bad.jsonl"
    report = describe_file(log, path, Described.UNIT, features, key=KEY, quarantine=bad)
    assert report.refused == 1
    assert "good" in log.snapshot().descriptions.latest(Described.UNIT)
    assert json.loads(bad.read_text())["line"] == line


@pytest.mark.parametrize(
    ("name", "text", "features", "message"),
    [
        ("what.csv", "a,b\n1,2\n", None, "the format is not known .it has a, b.; say which"),
        ("items.jsonl", '{"id": "a"}\n', Features(name="id"), "name the columns of numbers"),
        ("items.csv", "id,n\na,1\n", Features(name="nobody"), "nobody: column: is missing"),
        ("items.csv", "id,n\n", Features(name="id"), "no rows"),
        ("nothing.csv", None, Features(name="id"), "cannot be read"),
    ],
)
def test_a_file_that_says_nothing_is_refused(
    log: Log, tmp_path: Path, name: str, text: str | None, features: Features, message: str
) -> None:
    path = tmp_path / name if text is None else write(tmp_path / name, text)
    with pytest.raises(StoreError, match=message):
        describe_file(log, path, Described.UNIT, features, key=KEY)
    assert log.watermark() == 0


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "of", "n"),
    [
        ("ml-100k/ml-100k.item", Described.UNIT, 1682),
        ("ml-100k/ml-100k.user", Described.SUBJECT, 943),
        ("ml-1m/movies.dat", Described.UNIT, 3883),
        ("ml-1m/users.dat", Described.SUBJECT, 6040),
    ],
)
def test_the_files_of_movielens_as_they_are(
    log: Log, data: Path, name: str, of: Described, n: int
) -> None:
    report = describe_file(log, data / name, of, key=KEY)
    assert (report.read, report.added, report.refused) == (n, n, 0)
