"""What an import found and did."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import NoReturn

from heedful.store.errors import StoreError

LISTED = 1_000


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a file.

    Attributes:
        line: where, from 1.
        column: the column's name in the file; empty where the line as a whole is meant.
        rule: which rule it breaks, in a word: ``empty``, ``column``, ``fields``, ``syntax``,
            ``encoding``, ``required``, ``text``, ``number``, ``bounds``, ``time``, ``conflict``,
            ``decision`` (it does not fit the others of its slate or match), ``order`` (it stands
            behind what follows it), ``rate`` (its subject is too fast for a person), ``damaged``.
        value: what stands there, shortened.
        hint: what to do.
    """

    line: int
    column: str
    rule: str
    value: str
    hint: str

    def __str__(self) -> str:
        """Return one line for a terminal."""
        where = f"line {self.line}" + (f", column {self.column}" if self.column else "")
        value = f" {self.value!r}" if self.value else ""
        return f"{where}: {self.rule}{value}: {self.hint}"


@dataclass(frozen=True, slots=True)
class ImportReport:
    """How a file fared.

    Attributes:
        read: rows in the file, header and empty lines apart.
        added: rows that added something to the log.
        duplicates: rows that were in the log, or earlier in the file, already.
        refused: rows at fault; where there is any and no quarantine, nothing was added.
        problems: the first 1,000 problems.
        n_problems: how many there are in all; a row can have several.
    """

    read: int
    added: int
    duplicates: int
    refused: int
    problems: tuple[Problem, ...] = ()
    n_problems: int = 0


class ImportRefusedError(StoreError):
    """The file has problems, and nothing of it was added.

    Attributes:
        report: what was found.
    """

    def __init__(self, path: object, report: ImportReport) -> None:
        shown = "\n".join(f"  {problem}" for problem in report.problems[:5])
        rest = report.n_problems - min(5, len(report.problems))
        more = f"\n  and {rest} more" if rest > 0 else ""
        count = "1 problem" if report.n_problems == 1 else f"{report.n_problems} problems"
        super().__init__(f"{path}: {count}, nothing was added\n{shown}{more}")
        self.report = report


class UnknownFormatError(StoreError):
    """Nobody said what the columns of the file mean, and they are none that are known."""


class UnusableFileError(Exception):
    """The file as a whole is at fault, so that even its good rows cannot be trusted."""


@dataclass
class Findings:
    """Problems as they are found, and the rows they are in.

    Attributes:
        keep_rows: whether the text of rows at fault is wanted, for a quarantine.
        read: rows seen so far.
        count: problems found so far.
        listed: the first of them.
        lost_at: the first row of which nobody can tell to which decision it belongs; 0 for none.
    """

    keep_rows: bool = False
    read: int = 0
    count: int = 0
    listed: list[Problem] = field(default_factory=list)
    lost_at: int = 0
    _rows: dict[int, str] = field(default_factory=dict)
    _reasons: dict[int, list[Problem]] = field(default_factory=dict)

    def add(self, problem: Problem, raw: str) -> None:
        """Take down a problem of the row at ``problem.line``, whose text is ``raw``."""
        self.count += 1
        if len(self.listed) < LISTED:
            self.listed.append(problem)
        self._rows[problem.line] = raw if self.keep_rows else ""
        if self.keep_rows:
            self._reasons.setdefault(problem.line, []).append(problem)

    def lost(self, line: int) -> None:
        """Take down that nobody can tell to which decision the row at ``line`` belongs."""
        self.lost_at = self.lost_at or line

    def fail(self, *problems: Problem) -> NoReturn:
        """Take down problems of the file as a whole.

        Raises:
            UnusableFileError: always.
        """
        self.count += len(problems)
        self.listed.extend(problems)
        raise UnusableFileError

    @property
    def refused(self) -> int:
        """Return how many rows are at fault."""
        return len(self._rows)

    def refuses(self, line: int) -> bool:
        """Say whether the row that begins at ``line`` is at fault."""
        return line in self._rows

    def without_text(self) -> set[int]:
        """Return the lines of rows at fault whose text is wanted and not known yet."""
        return {line for line, raw in self._rows.items() if not raw} if self.keep_rows else set()

    def give_text(self, line: int, raw: str) -> None:
        """Set the text of a row at fault."""
        self._rows[line] = raw

    def report(self, *, added: int = 0, duplicates: int = 0) -> ImportReport:
        """Return the report of an import."""
        problems = tuple(self.listed)
        return ImportReport(self.read, added, duplicates, self.refused, problems, self.count)

    def quarantined(self, source: str) -> Iterator[str]:
        """Yield a line of JSON for each row at fault, with its text as it stands in the file."""
        for line, raw in sorted(self._rows.items()):
            problems = [asdict(problem) for problem in self._reasons[line]]
            row = {"file": source, "line": line, "row": raw, "problems": problems}
            yield json.dumps(row) + "\n"
