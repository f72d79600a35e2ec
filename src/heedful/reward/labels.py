"""Comments with ratings from a file: for a log that does not hold enough of both."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np

from heedful.reward.comments import Pairs
from heedful.reward.rewards import RewardError

COMMENT, RATING = "comment", "rating"


def read_pairs(file: Path) -> Pairs:
    """Return the comments and ratings of a CSV or TSV file, UTF-8, with a line of column names.

    Columns ``comment`` and ``rating`` are read, others are not looked at. Equal texts have one
    owner: a comment that stands twice is not read by a model that saw it. Tabs separate the columns
    of a ``.tsv``, whose quotes mean nothing.

    Raises:
        RewardError: names file, line and what is wrong; nothing of it was used.
    """
    texts, ratings = [], []
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            tabs = file.suffix == ".tsv"
            rows = csv.DictReader(
                stream,
                delimiter="\t" if tabs else ",",
                quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
            )
            for column in (COMMENT, RATING):
                if column not in (rows.fieldnames or ()):
                    raise RewardError(
                        f"{file}: there is no column {column!r}, only "
                        f"{', '.join(map(repr, rows.fieldnames or ())) or 'an empty file'}; name "
                        f"the columns {COMMENT!r} and {RATING!r} in the first line"
                    )
            for row in rows:
                texts.append(row[COMMENT] or "")
                ratings.append(_number(row[RATING], f"{file}: line {rows.line_num}"))
    except OSError as error:
        raise RewardError(
            f"{file}: cannot be read: {error.strerror}; see reward.comments_file"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise RewardError(f"{file}: {error}; save it as CSV or TSV in UTF-8") from error
    return Pairs(texts, np.array(ratings, np.float64), texts)


def _number(text: str | None, place: str) -> float:
    try:
        number = float(text or "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise RewardError(f"{place}: the rating is {text!r}; give a finite number")
    return number
