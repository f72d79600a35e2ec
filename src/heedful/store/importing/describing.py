"""A file of items or people into the log: what is known of each, whole or not at all."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from heedful.record import Described, Description, RecordError, pseudonym
from heedful.store.errors import StoreError
from heedful.store.importing.opening import open_source
from heedful.store.importing.quarantine import Quarantine
from heedful.store.importing.report import (
    Findings,
    ImportRefusedError,
    ImportReport,
    Problem,
    UnknownFormatError,
    UnusableFileError,
)
from heedful.store.importing.run import Progress
from heedful.store.log import Log

Facts = dict[str, object]

UNKNOWN_CELLS = frozenset({"", "-", "?", "n/a", "nan", "none", "null", "unknown"})
YEAR = re.compile(r"^(.*?)\s*\((\d{4})\)\s*$", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """The columns of a file that describes items or people, by name.

    Where no facts are named, every column but ``name`` is one, and is what its cells look like:
    numbers, categories (one word each, or several with ``separator`` between), or text.

    Attributes:
        name: the item's or person's id.
        numbers: columns of numbers.
        categories: columns of one category, or of several with ``separator`` between.
        texts: columns of words.
        separator: what stands between two categories of a cell; a list in JSON needs none.
        lenient: a cell of numbers that holds none counts as not known; else its row is bad.
        year_in: a column of text whose cells end in a year in brackets, which is a number of its
            own, as in the titles of MovieLens.
    """

    name: str
    numbers: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    separator: str = "|"
    lenient: bool = False
    year_in: str = ""

    @property
    def facts(self) -> tuple[str, ...]:
        """The columns of facts."""
        return (*self.numbers, *self.categories, *self.texts)


KNOWN = {
    ("movie_id", "title", "genres"): Features(
        name="movie_id", categories=("genres",), texts=("title",), year_in="title"
    ),
    ("movieId", "title", "genres"): Features(
        name="movieId", categories=("genres",), texts=("title",), year_in="title"
    ),
    ("item_id", "movie_title", "release_year", "class"): Features(
        name="item_id",
        numbers=("release_year",),
        categories=("class",),
        texts=("movie_title",),
        separator=" ",
        lenient=True,
    ),
    ("user_id", "gender", "age", "occupation", "zip_code"): Features(
        name="user_id", categories=("gender", "age", "occupation")
    ),
    ("user_id", "age", "gender", "occupation", "zip_code"): Features(
        name="user_id", numbers=("age",), categories=("gender", "occupation")
    ),
    (
        "",
        "item_id",
        "item_feature_0",
        "item_feature_1",
        "item_feature_2",
        "item_feature_3",
    ): Features(
        name="item_id",
        numbers=("item_feature_0",),
        categories=("item_feature_1", "item_feature_2", "item_feature_3"),
    ),
}
"""Files of MovieLens and of the Open Bandit Dataset (``item_context.csv``), by their columns.

A zip code is not read, as it points to few people.
"""


def describe_file(
    log: Log,
    path: str | Path,
    of: Described,
    features: Features | None = None,
    *,
    key: bytes,
    dry_run: bool = False,
    quarantine: str | Path | None = None,
    progress: Progress = lambda stage, done, total: None,
    now: float | None = None,
) -> ImportReport:
    """Add what a file knows of items or people to ``log``, in one transaction; the latest counts.

    A row replaces all that was known of its name. Importing the same file twice adds nothing.

    Args:
        log: opened to write.
        path: MovieLens' ``movies.dat``, ``movies.csv``, ``users.dat``, RecBole's ``ml-100k.item``
            and ``.user``, Open Bandit's ``item_context.csv``; any table by ``features``.
        of: what its rows describe.
        features: which column means what; None where the file is known.
        key: the workspace's secret, which turns user ids into pseudonyms.
        dry_run: add nothing and list every problem; ``added`` and ``duplicates`` are 0.
        quarantine: a file for bad rows, so that the good ones go in; appended to.
        progress: is told how far it is.
        now: the time that stands beside each description, seconds since the epoch.

    Raises:
        ImportRefusedError: something is wrong with the file, and nothing was added; its
            ``report`` lists what.
        StoreError: the file cannot be read, or the log not be written; nothing was added.
    """
    path, now = Path(path), time.time() if now is None else now
    findings = Findings(keep_rows=quarantine is not None)
    try:
        rows = _Rows(path, features, findings, progress)
    except UnusableFileError:
        if dry_run:
            return findings.report()
        raise ImportRefusedError(path, findings.report()) from None
    known = list(rows.descriptions(of, lambda name: pseudonym(name, key), now))
    if dry_run:
        return findings.report()
    if findings.refused and quarantine is None:
        raise ImportRefusedError(path, findings.report())
    with Quarantine(quarantine, path) as bad:
        bad.write(findings.quarantined(path.name))
        statuses = [receipt.status for receipt in log.describe(known)]
    return findings.report(added=statuses.count("added"), duplicates=statuses.count("duplicate"))


class _Rows:
    """The cells of a file, and what each column is."""

    def __init__(
        self, path: Path, features: Features | None, findings: Findings, progress: Progress
    ) -> None:
        self._findings = findings
        self._lines: list[int] = []
        self._cells: list[list[str]] = []
        self._raws: list[str] = []
        with open_source(path, findings) as source:
            features = features or KNOWN.get(tuple(source.columns))
            if features is None:
                found = ", ".join(source.columns) or "JSON lines"
                raise UnknownFormatError(
                    f"{path}: the format is not known (it has {found}); say which column is the id"
                )
            self._columns = _columns(path, features, source.columns)
            for block in source.blocks(self._columns, frozenset(features.categories)):
                findings.read += len(block.rows)
                self._lines += block.lines
                self._cells += block.rows
                self._raws += block.raws
                progress("reading", source.position, source.size)
        if not findings.read:
            findings.fail(Problem(1, "", "empty", "", "the file has a header and no rows"))
        self._features = features if features.facts else self._guessed(features)

    def descriptions(
        self, of: Described, name_of: Callable[[str], str], now: float
    ) -> Iterator[Description]:
        """Yield what the good rows say; take down the problems of the others."""
        met: dict[str, Facts] = {}
        for line, cells, raw in zip(self._lines, self._cells, self._raws, strict=True):
            row = dict(zip(self._columns, cells, strict=True))
            name = row[self._features.name]
            try:
                facts = self._facts(row)
                if met.setdefault(name, facts) != facts:
                    hint = "stands twice, and says something else"
                    raise _BadCellError(self._features.name, "conflict", name, hint)
                shown = name_of(name) if of is Described.SUBJECT and name else name
                yield Description(of=of, name=shown, facts=facts, given_at=now)
            except _BadCellError as error:
                self._findings.add(
                    Problem(line, error.column, error.rule, error.value[:80], str(error)), raw
                )
            except RecordError as error:
                column = self._features.name if error.field == "name" else error.field
                problem = Problem(line, column, "text", name[:80], f"{error.problem}; {error.hint}")
                self._findings.add(problem, raw)

    def _facts(self, row: dict[str, str]) -> Facts:
        features = self._features
        facts: Facts = {}
        for column in features.texts:
            text = _readable(row[column])
            year = YEAR.match(text) if column == features.year_in else None
            if year is not None:
                text, facts["year"] = year[1], float(year[2])
            facts[column] = text.strip()
        for column in features.categories:
            facts[column] = _categories(row[column], features.separator)
        for column in features.numbers:
            facts[column] = _number(column, row[column], lenient=features.lenient)
        return {name: value for name, value in facts.items() if value not in (None, "", [])}

    def _guessed(self, features: Features) -> Features:
        """Return what the columns look like, where nobody said."""
        numbers, categories, texts = [], [], []
        for place, column in enumerate(self._columns):
            if column == features.name:
                continue
            cells = {cells[place] for cells in self._cells}
            cells = {cell for cell in cells if cell.strip().lower() not in UNKNOWN_CELLS}
            if all(_is_number(cell) for cell in cells):
                numbers.append(column)
            elif any(features.separator in cell for cell in cells) or not any(
                len(cell.split()) > 1 for cell in cells
            ):
                categories.append(column)
            else:
                texts.append(column)
        return Features(
            name=features.name,
            numbers=tuple(numbers),
            categories=tuple(categories),
            texts=tuple(texts),
            separator=features.separator,
        )


class _BadCellError(ValueError):
    """What a row breaks, and what to do."""

    def __init__(self, column: str, rule: str, value: str, hint: str) -> None:
        super().__init__(hint)
        self.column, self.rule, self.value = column, rule, value


def _columns(path: Path, features: Features, found: Sequence[str]) -> list[str]:
    """Return the columns to read, that of the name first.

    Raises:
        StoreError: nobody named the facts, and the file's lines name none beforehand.
    """
    facts = features.facts or tuple(column for column in found if column != features.name)
    if not facts:
        raise StoreError(
            f"{path}: nothing is known of anybody; name the columns of numbers, categories or text"
        )
    return [features.name, *dict.fromkeys(facts)]


def _categories(cell: str, separator: str) -> list[str]:
    """Return the categories of a cell, which is a list in JSON or has ``separator`` between them.

    >>> _categories("Drama|Crime", "|"), _categories('["Drama", "Crime"]', "|")
    (['Drama', 'Crime'], ['Drama', 'Crime'])
    """
    if cell.startswith("["):
        try:
            return [str(one) for one in json.loads(cell) if one not in (None, "")]
        except ValueError:
            pass  # a category may begin with a bracket
    parts = (_readable(part).strip() for part in cell.split(separator))
    return [part for part in parts if part.lower() not in UNKNOWN_CELLS]


def _number(column: str, cell: str, *, lenient: bool) -> float | None:
    if cell.strip().lower() in UNKNOWN_CELLS or (lenient and not _is_number(cell)):
        return None
    if not _is_number(cell):
        hint = "is no number; leave the cell empty if it is not known"
        raise _BadCellError(column, "number", cell, hint)
    return float(cell)


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell)) and "_" not in cell
    except ValueError:
        return False


def _readable(text: str) -> str:
    r"""Return text whose bytes were not UTF-8 as Latin-1, in which MovieLens' titles are written.

    >>> _readable("Caf\udce9")
    'Café'
    """
    if text.isascii() or not any("\udc80" <= character <= "\udcff" for character in text):
        return text
    return text.encode("utf-8", "surrogateescape").decode("latin-1")
