"""Comments with ratings, and messages with labels, from files."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from heedful.reward.comments import Pairs
from heedful.reward.rewards import RewardError

COMMENT, RATING = "comment", "rating"
TEXT, LABEL, BEFORE = "text", "label", "before"


def read_pairs(file: Path) -> Pairs:
    """Return the comments and ratings of a CSV or TSV file, UTF-8, with a line of column names.

    Columns ``comment`` and ``rating`` are read, others are not looked at. Equal texts have one
    owner: a comment that stands twice is not read by a model that saw it. Tabs separate the columns
    of a ``.tsv``, whose quotes mean nothing.

    Raises:
        RewardError: names file, line and what is wrong; nothing of it was used.
    """
    texts, ratings = [], []
    for place, row in _rows(file, (COMMENT, RATING), "reward.comments_file"):
        texts.append(row[COMMENT] or "")
        ratings.append(_number(row[RATING], place))
    return Pairs(texts, np.array(ratings, np.float64), texts)


def read_labels(file: Path) -> tuple[list[str], list[str], list[str]]:
    """Return the messages, their labels, and what was said before each, of a CSV or TSV file.

    Columns ``text`` and ``label`` are read, and ``before`` where there is one; as in
    :func:`read_pairs`.

    Raises:
        RewardError: names file, line and what is wrong; nothing of it was used.
    """
    texts, labels, before = [], [], []
    for place, row in _rows(file, (TEXT, LABEL), "reward.labels_file"):
        label = (row[LABEL] or "").strip()
        if not label:
            raise RewardError(f"{place}: there is no label; give one, or leave the line out")
        texts.append(row[TEXT] or "")
        labels.append(label)
        before.append(row.get(BEFORE) or "")
    return texts, labels, before


def _rows(
    file: Path, columns: Sequence[str], key: str
) -> Iterator[tuple[str, Mapping[str, str | None]]]:
    """Yield each row with its place in the file.

    Raises:
        RewardError: the file cannot be read, or lacks one of ``columns``.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            tabs = file.suffix == ".tsv"
            rows = csv.DictReader(
                stream,
                delimiter="\t" if tabs else ",",
                quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
            )
            for column in columns:
                if column not in (rows.fieldnames or ()):
                    raise RewardError(
                        f"{file}: there is no column {column!r}, only "
                        f"{', '.join(map(repr, rows.fieldnames or ())) or 'an empty file'}; name "
                        f"the columns {' and '.join(map(repr, columns))} in the first line"
                    )
            for row in rows:
                yield f"{file}: line {rows.line_num}", row
    except OSError as error:
        raise RewardError(f"{file}: cannot be read: {error.strerror}; see {key}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise RewardError(f"{file}: {error}; save it as CSV or TSV in UTF-8") from error


def _number(text: str | None, place: str) -> float:
    try:
        number = float(text or "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise RewardError(f"{place}: the rating is {text!r}; give a finite number")
    return number
