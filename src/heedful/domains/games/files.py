"""Matches in files: a row for each move, CSV, JSON lines or Parquet.

A match goes in whole or not at all: without one of its moves it would be another match.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from heedful.contract import Reading
from heedful.domains.games.hindsight import OUTCOME
from heedful.domains.games.matches import Matches, Move, Place
from heedful.domains.games.spaces import Moves, Observations
from heedful.record import (
    TOGETHER,
    UNKNOWN,
    ChoiceSet,
    Decision,
    End,
    Feedback,
    Kind,
    RecordError,
    content_id,
    pseudonym,
)
from heedful.record.decision import encode_context
from heedful.record.errors import MAX_ID
from heedful.store.importing import FileRow, Findings, Problem, UnknownFormatError
from heedful.store.importing.cells import BadCellError, named, number, propensity, sound, time
from heedful.store.importing.checks import DAY, LONGEST_POLICY, NOBODY
from heedful.store.importing.enter import MADE_ELSEWHERE, policy_name
from heedful.store.importing.opening import open_source
from heedful.store.importing.source import Source

COLUMNS = (
    *("match", "player", "step", "time", "move", "observation", "legal", "moves", "asked"),
    *("reward", "rating", "comment", "outcome", "end", "probability", "policy"),
)
"""The columns that are read, beside ``obs_0``, ``obs_1``, ...; others are not."""

LISTS = frozenset({"move", "observation", "legal", "moves"})
NUMBERED = re.compile(r"obs_(0|[1-9]\d*)")
ENDS = {"terminated": True, "cut off": False, "": None}
LONGEST = 65_536

Cells = Mapping[str, Any]
Checked = TypeVar("Checked")


class Keys(Protocol):
    """The options that matter here; see :class:`heedful.domains.games.Options`."""

    @property
    def game(self) -> str:
        """The environment, empty where there is none."""
        ...

    @property
    def moves(self) -> tuple[str, ...]:
        """All moves, where they are listed."""
        ...

    @property
    def others(self) -> bool:
        """Whether to keep what others moved."""
        ...

    @property
    def asked(self) -> bool:
        """Whether outcomes can be asked for."""
        ...

    @property
    def bounded(self) -> bool:
        """Whether to refuse observations outside their space."""
        ...


class Player(Protocol):
    """A domain whose matches are read from files."""

    @property
    def options(self) -> Keys:
        """What was said of the game."""
        ...

    @property
    def observations(self) -> Observations:
        """How observations are read."""
        ...

    @property
    def moves(self) -> Moves:
        """How moves are, where there is an environment."""
        ...

    def choices(self, request: Mapping[str, object]) -> ChoiceSet:
        """Return what was possible in a decision."""
        ...


class _BadCell(ValueError):
    """What a cell of a row breaks, and what to do."""

    def __init__(self, column: str, rule: str, hint: str, value: object = "") -> None:
        super().__init__(hint)
        self.column, self.rule, self.value = column, rule, value


def read_file(domain: Player, path: Path, findings: Findings, how: Reading) -> Iterator[FileRow]:
    """Yield the rows of a file; see :class:`heedful.contract.Files`.

    A row is a move that a player made in a match. Rows of a match stand in the order of play; where
    there is a column of times, those of different matches are put in the order of these.

    Raises:
        StoreError: the file cannot be read.
        UnknownFormatError: it has no column of matches, or none of moves.
        UnusableFileError: it is damaged, as ``findings`` say.
    """
    reader = _Reader(domain, how)
    rows = [reader.row(*row) for row in _rows(path, findings)]
    for row in rows:
        if row.problem is not None and not row.match:
            findings.lost(row.line)
    if findings.lost_at and findings.keep_rows:
        hint = (
            "nobody can tell which match this row belongs to, which would go in without it; mend "
            "or remove the row, or the match as a whole"
        )
        findings.fail(Problem(findings.lost_at, "", "decision", "", hint))
    matches = Matches(rows, others=domain.options.others)
    for row in sorted(rows, key=lambda row: row.at):  # stable: else the order of the file
        if row.problem is not None:
            yield FileRow(row.line, row.raw, problem=row.problem, done=row.done, total=row.total)
        else:
            move, place = matches.at(row)
            records, sets = reader.records(move, place), (reader.choices(move),)
            yield FileRow(row.line, row.raw, records, sets, done=row.done, total=row.total)


# From a file to cells

_Row = tuple[int, str, Cells, int, int]


def _rows(path: Path, findings: Findings) -> Iterator[_Row]:
    with open_source(path, findings) as source:
        if isinstance(source, Source) and source.layout.form == "json":
            for line, found, raw in source.objects():
                cells = {name: found[name] for name in _known(found) if found[name] is not None}
                if "end" in found:
                    cells.setdefault("end", "")
                yield line, raw, cells, source.position, source.size
            return
        wanted = _known(source.columns)
        if not {"match", "move"} <= set(wanted):
            raise UnknownFormatError(
                f"{path}: matches need the columns match and move, and it has "
                f"{', '.join(source.columns)}; rename those that are meant"
            )
        for block in source.blocks(wanted, LISTS):
            for line, texts, raw in zip(block.lines, block.rows, block.raws, strict=True):
                named_texts = zip(wanted, texts, strict=True)
                told = {name: text for name, text in named_texts if text or name == "end"}
                cells = {name: _cell(name, text) for name, text in told.items()}
                yield line, raw, cells, source.position, source.size


def _known(columns: Sequence[str] | Mapping[str, Any]) -> list[str]:
    known = set(COLUMNS)
    return [name for name in columns if name in known or NUMBERED.fullmatch(name)]


def _cell(name: str, text: str) -> Any:
    """Return the list that a cell holds as JSON, else its text."""
    if name in LISTS and text.startswith("["):
        try:
            return json.loads(text)
        except ValueError:
            pass  # a move may be written with a bracket
    return text


# From cells to moves


class _Reader:
    """Turns rows into moves, and moves into records."""

    def __init__(self, domain: Player, how: Reading) -> None:
        self._domain, self._how = domain, how
        self._sets: dict[tuple[str, ...] | None, ChoiceSet] = {}
        known = domain.moves.units if domain.options.game else domain.options.moves
        self._known = frozenset(known) if known else None

    def row(self, line: int, raw: str, cells: Cells, done: int, total: int) -> Move:
        """Return a row as a move; what is wrong with it stands in it."""
        move = Move(line, raw, done, total)
        try:
            self._fill(move, cells)
        except _BadCell as error:
            where = f"match {move.match}, " if move.match else ""
            where += f"step {cells['step']}: " if move.match and "step" in cells else ""
            hint = f"{where}{error}"
            move.problem = Problem(line, error.column, error.rule, str(error.value)[:80], hint)
        return move

    def _fill(self, move: Move, cells: Cells) -> None:
        move.match = _text(cells, "match", lambda text: named(text, LONGEST))
        move.player = _text(cells, "player", lambda text: sound(text, LONGEST))
        move.step = _number(cells, "step", math.nan)
        if not math.isnan(move.step) and (move.step < 0 or move.step != int(move.step)):
            raise _BadCell("step", "number", "steps are whole numbers from 0", cells["step"])
        if "time" in cells:
            move.at = _text(cells, "time", lambda text: time(text, self._how.now + DAY))
        move.units = self._moved(cells)
        move.seen = self._seen(cells, move.units)
        probability = _text(cells, "probability", propensity)
        move.logp = math.log(probability) if probability > 0 else math.nan
        move.policy = _text(cells, "policy", lambda text: sound(text, LONGEST_POLICY))
        for kind in (Kind.REWARD, Kind.RATING):
            if kind.value in cells:
                move.said.append((kind, _number(cells, kind.value)))
        if "comment" in cells:
            comment = _text(cells, "comment", lambda text: sound(text, LONGEST))
            move.said.append((Kind.COMMENT, comment))
        move.outcome = _number(cells, "outcome") if "outcome" in cells else None
        ended = _text(cells, "end", lambda text: text.strip().lower())
        if ended not in ENDS:
            raise _BadCell("end", "text", "a match is terminated or cut off, or goes on", ended)
        move.ended, move.told = ENDS[ended], "end" in cells

    def _moved(self, cells: Cells) -> tuple[str, ...]:
        """Return the move: of the game, and one unit of each of its factors."""
        units = _list(cells, "move", "the move that was made")
        if not units:
            raise _BadCell("move", "required", "is empty: a match without a move is no match")
        self._exist("move", units)
        if self._domain.options.game:
            try:
                self._domain.moves.values(units)
            except ValueError as error:
                raise _BadCell("move", "bounds", str(error), units) from None
        elif len(units) > 1:
            raise _BadCell("move", "text", "a move of this game is one", units)
        return units

    def _exist(self, column: str, units: Sequence[str]) -> None:
        if self._known is None:
            return
        for unit in units:
            if unit not in self._known:
                hint = f"{unit!r} is no move of this game; moves are {_some(sorted(self._known))}"
                raise _BadCell(column, "bounds", hint, unit)

    def _seen(self, cells: Cells, units: tuple[str, ...]) -> dict[str, Any]:
        """Return the context, as far as the row says it."""
        seen: dict[str, Any] = {}
        if self._domain.observations.numbers:
            seen["observation"] = self._observed(cells)
        if "legal" in cells:
            legal = _list(cells, "legal", "all moves that were possible")
            self._exist("legal", legal)
            for unit in units:
                if unit not in legal:
                    hint = f"{unit!r} was not legal there; legal were {_some(legal)}"
                    raise _BadCell("move", "bounds", hint, unit)
            seen["legal"] = list(legal)
        if "moves" in cells:
            heard = _list(cells, "moves", "what others moved")
            self._exist("moves", heard)
            if heard:
                seen["moves"] = list(heard)
        if "asked" in cells:
            seen["asked"] = _number(cells, "asked")
        elif self._domain.options.asked:
            seen["asked"] = None
        try:
            encode_context(seen)
        except RecordError as error:
            raise _BadCell("observation", "text", f"{error.problem}; {error.hint}") from None
        return seen

    def _observed(self, cells: Cells) -> list[float] | float:
        """Return the numbers that were observed, checked against the game's."""
        space = self._domain.observations
        if "observation" in cells:
            given = cells["observation"]
            given = given if isinstance(given, list) else [given]
            column = "observation"
        else:
            numbered = [name for name in cells if NUMBERED.fullmatch(name)]
            given = [cells[name] for name in sorted(numbered, key=lambda name: int(name[4:]))]
            column = "obs_0"
        if len(given) != space.numbers:
            hint = f"has {len(given)} numbers, and this game observes {space.numbers}"
            raise _BadCell(column, "fields", hint)
        numbers = [_finite(column, value) for value in given]
        with np.errstate(over="ignore"):
            row = np.array([numbers], np.float32)
        if not np.isfinite(row).all():
            raise _BadCell(column, "bounds", "is too large for a 32-bit number", numbers)
        if self._domain.options.bounded and space.outside(row)[0]:
            raise _BadCell(column, "bounds", "lies outside of what the game can show", numbers)
        whole = [int(x) if w else x for x, w in zip(numbers, space.whole, strict=True)]
        return whole[0] if len(whole) == 1 else whole

    # From moves to records

    def subject(self, move: Move) -> str:
        """Return who moved; where nobody is named, the match has a subject of its own."""
        return pseudonym(move.player or f"{NOBODY}{move.match}", self._how.key)

    def records(self, move: Move, place: Place) -> tuple[Decision | Feedback | End, ...]:
        """Return what a row says, decisions first."""
        subject, match = self.subject(move), self.match_name(move.match)
        episode = f"{subject}:{match}"
        step = place.number if math.isnan(move.step) else int(move.step)
        context = dict(move.seen)
        if place.heard and "moves" not in context:
            context["moves"] = list(place.heard)
        if place.number == 0:
            context[TOGETHER] = match
        name = content_id("move", episode, step)
        decision = Decision(
            id=name,
            episode=episode,
            step=place.number,
            subject=subject,
            units=move.units,
            logps=UNKNOWN if math.isnan(move.logp) else self._logps(move),
            policy=policy_name(move.policy or self._how.made_by),
            made_at=move.at,
            context=context,
            choices=self.choices(move).digest(),
            vocabulary=MADE_ELSEWHERE,
        )
        said = [*move.said]
        if place.last and place.outcome is not None and not place.rewarded:
            said.insert(0, (Kind.REWARD, place.outcome))
        answers = [
            Feedback(
                id=content_id("said", name, kind.value),
                by=subject,
                about=name,
                kind=kind,
                value=value,
                given_at=move.at,
                received_at=move.at,
            )
            for kind, value in said
        ]
        if place.ended is None:
            return (decision, *answers)
        end = End(
            id=content_id("end", episode),
            episode=episode,
            terminated=place.ended,
            ended_at=move.at,
            context={} if place.outcome is None else {OUTCOME: place.outcome},
        )
        return (decision, *answers, end)

    def _logps(self, move: Move) -> tuple[float, ...]:
        """Return that of the whole move as its first unit's: the others follow from it."""
        return (move.logp, *[0.0] * (len(move.units) - 1))

    def choices(self, move: Move) -> ChoiceSet:
        """Return what a move was chosen from."""
        legal = None if "legal" not in move.seen else tuple(move.seen["legal"])
        if legal not in self._sets:
            possible = self._domain.choices({} if legal is None else {"legal": legal})
            # Of several factors one unit each has to be there: all moves of a game are as long.
            self._sets[legal] = possible.within(len(move.units))
        return self._sets[legal]

    def match_name(self, match: str) -> str:
        """Return the name of a match in the log: it may tell who played, so nobody can read it."""
        return pseudonym(f"match\x1f{match}", self._how.key)


# Cells


def _some(units: Sequence[str]) -> str:
    return ", ".join(units[:8]) + (", ..." if len(units) > 8 else "")


def _text(cells: Cells, column: str, check: Callable[[str], Checked]) -> Checked:
    """Return what ``check`` makes of a cell's text, which it may refuse."""
    value = cells.get(column, "")
    if isinstance(value, list | dict):
        raise _BadCell(column, "text", "give one value, not a list or an object", value)
    try:
        return check(value if isinstance(value, str) else json.dumps(value))
    except BadCellError as error:
        raise _BadCell(column, error.rule, str(error.hint), value) from None


def _number(cells: Cells, column: str, absent: float = math.nan) -> float:
    return _text(cells, column, number) if column in cells else absent


def _finite(column: str, value: object) -> float:
    return _text({column: value}, column, number)


def _list(cells: Cells, column: str, what: str) -> tuple[str, ...]:
    """Return a list of moves; one alone stands without brackets, numbers as their digits."""
    value = cells.get(column, [])
    items = value if isinstance(value, list) else [value]
    found = []
    for item in items:
        if isinstance(item, bool | float | list | dict) or item is None:
            raise _BadCell(column, "text", f"give {what}, as text or whole numbers", item)
        found.append(_text({column: str(item)}, column, lambda text: named(text, MAX_ID)))
    return tuple(found)
