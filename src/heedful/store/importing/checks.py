"""From fields to numbers and codes: every cell is checked, each distinct one once."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heedful.record import RecordError
from heedful.record.decision import encode_context
from heedful.record.errors import MAX_ID
from heedful.store.importing import cells
from heedful.store.importing.cells import NO_CLICK, NO_POSITION, BadCellError
from heedful.store.importing.mapping import Mapping, fact_role
from heedful.store.importing.report import Findings, Problem
from heedful.store.importing.source import Block

LONGEST_SESSION = MAX_ID - 33  # an episode is named by a pseudonym of 32 digits, ':' and session
LONGEST_POLICY = MAX_ID - 7  # its name in the log begins with 'import:'
DAY = 86_400.0  # clocks and zones may differ by so much before a time counts as the future

NOBODY = "\x1fnobody\x1f"  # begins the name of a subject whom the file does not name
ABSENT = {"propensity": math.nan, "position": NO_POSITION}
"""What a row holds in a column that the file does not have; every other number is 0."""

Key = tuple[object, ...]


@dataclass
class Events:
    """The good rows of a file as columns, ``R`` rows in the order of the file.

    The five columns from ``decision`` on are empty where the file has no such column.

    Attributes:
        sequenced: whether the file says when, or in what order; else ``at`` counts lines.
        anonymous: whether each decision is a subject of its own.
        subjects: raw user ids by code.
        units: unit ids by code.
        sessions: session names by code.
        decisions: names of decisions by code; 0 is none: the row is a decision of its own.
        policies: names of policies by code; 0 is none.
        contexts: contexts by code, as canonical JSON; 0 is none.
        subject: ``int32 [R]``.
        unit: ``int32 [R]``.
        session: ``int32 [R]``.
        at: ``float64 [R]``, seconds.
        rating: ``float64 [R]``, NaN where nothing was said.
        click: ``int8 [R]``, -1 where nothing was said.
        comment: ``R`` texts, ``""`` where nothing was said; empty where there is no such column.
        line: ``int64 [R]``, where the row begins in the file.
        decision: ``int32 [R]``.
        position: ``int32 [R]``, -1 where there is none.
        propensity: ``float64 [R]``, NaN where it is unknown.
        policy: ``int32 [R]``.
        context: ``int32 [R]``.
        spoiled: decisions that a bad row belongs to, as :meth:`key` has them, and its line.
        doubtful: names of decisions with a bad row of which more is not known, and its line.
    """

    sequenced: bool = True
    anonymous: bool = False
    subjects: dict[str, int] = field(default_factory=dict)
    units: dict[str, int] = field(default_factory=dict)
    sessions: dict[str, int] = field(default_factory=dict)
    decisions: dict[str, int] = field(default_factory=lambda: {"": 0})
    policies: dict[str, int] = field(default_factory=lambda: {"": 0})
    contexts: dict[str, int] = field(default_factory=lambda: {"": 0})
    subject: array[int] = field(default_factory=lambda: array("i"))
    unit: array[int] = field(default_factory=lambda: array("i"))
    session: array[int] = field(default_factory=lambda: array("i"))
    at: array[float] = field(default_factory=lambda: array("d"))
    rating: array[float] = field(default_factory=lambda: array("d"))
    click: array[int] = field(default_factory=lambda: array("b"))
    comment: list[str] = field(default_factory=list)
    line: array[int] = field(default_factory=lambda: array("q"))
    decision: array[int] = field(default_factory=lambda: array("i"))
    position: array[int] = field(default_factory=lambda: array("i"))
    propensity: array[float] = field(default_factory=lambda: array("d"))
    policy: array[int] = field(default_factory=lambda: array("i"))
    context: array[int] = field(default_factory=lambda: array("i"))
    spoiled: dict[Key, int] = field(default_factory=dict)
    doubtful: dict[str, int] = field(default_factory=dict)

    def column(self, name: str) -> NDArray[Any]:
        """Return a column as an array that shares its memory; one that is absent is read-only."""
        values: array[float] = getattr(self, name)
        if len(values) < len(self.line):
            return np.broadcast_to(np.dtype(values.typecode).type(ABSENT.get(name, 0)), self.n)
        return np.frombuffer(values, dtype=np.dtype(values.typecode))

    @property
    def n(self) -> int:
        """R."""
        return len(self.line)

    @property
    def has_slates(self) -> bool:
        """Whether any row says which decision it belongs to."""
        return len(self.decisions) > 1

    @property
    def moment(self) -> NDArray[np.float64]:
        """What rows of one event share of ``at``: of a decision, lines do not count as times."""
        at = self.column("at")
        return at if self.sequenced else np.where(self.column("decision") > 0, 0.0, at)

    def key(self, subject: str, session: str, at: float, decision: str) -> Key:
        """Return what rows of one decision have in common; lines do not count as times."""
        return (subject, session, at if self.sequenced else 0.0, decision)

    def key_of(self, row: int) -> Key:
        """Return the key of a row's decision."""
        name, session = self._names["subjects"][self.subject[row]], self.session[row]
        decision = self._names["decisions"][self.column("decision")[row]]
        return self.key(name, self._names["sessions"][session], self.at[row], decision)

    def spoil(self, row: int) -> None:
        """Remember that the decision of a row, where it names one, has a row at fault."""
        if self.has_slates and self.decision[row]:
            self.spoiled.setdefault(self.key_of(row), self.line[row])

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        return {kind: list(getattr(self, kind)) for kind in ("subjects", "sessions", "decisions")}


class Checker:
    """Checks blocks of rows and collects the good ones as columns.

    Args:
        mapping: which column means what.
        findings: where problems go.
        now: seconds since the epoch; what is a day later has not happened yet.

    Attributes:
        events: what has been kept.
        mapping: which column means what.
    """

    def __init__(self, mapping: Mapping, findings: Findings, now: float) -> None:
        self.events = Events(sequenced=mapping.sequenced, anonymous=mapping.anonymous)
        self.mapping = mapping
        self._columns = mapping.columns()
        self._findings = findings
        self._checks: dict[str, Callable[[str], object]] = {
            "subject": lambda text: cells.named(text, 65_536),
            "unit": lambda text: cells.named(text, MAX_ID),
            "session": lambda text: cells.sound(text, LONGEST_SESSION),
            "rating": lambda text: cells.rating(text, mapping.rating_min, mapping.rating_max),
            "click": cells.click,
            "comment": lambda text: cells.sound(text, 65_536),
            "time": lambda text: cells.time(text, now + DAY),
            "order": cells.order,
            "decision": lambda text: cells.sound(text, MAX_ID),
            "position": cells.position,
            "propensity": cells.propensity,
            "policy": lambda text: cells.sound(text, LONGEST_POLICY),
        } | {fact_role(name): cells.fact for name in mapping.context}

    @property
    def wanted(self) -> list[str]:
        """Return the names of the columns that :meth:`take` expects, in order."""
        return list(dict.fromkeys(self._columns.values()))

    def take(self, block: Block) -> None:
        """Check a block, and keep its good rows."""
        self._findings.read += len(block.rows)
        texts = dict(zip(self.wanted, zip(*block.rows, strict=True), strict=True))
        good = bytearray(b"\x01") * len(block.rows)
        values = {
            role: self._column(role, texts[name], block, good)
            for role, name in self._columns.items()
        }
        values["context"] = self._contexts(values, block, good)
        if not all(good):
            self._spoil(values, block.lines, good)
            values = {role: list(compress(column, good)) for role, column in values.items()}
        self._keep(values, list(compress(block.lines, good)))

    def _column(
        self, role: str, texts: tuple[str, ...], block: Block, good: bytearray
    ) -> list[Any]:
        """Check the distinct cells of one column; take down the rows with a bad one."""
        check = self._checks[role]
        checked: dict[str, object] = {}
        for text in set(texts):
            try:
                checked[text] = check(text)
            except BadCellError as error:
                checked[text] = error
        values = [checked[text] for text in texts]
        if any(isinstance(value, BadCellError) for value in checked.values()):
            for row, value in enumerate(values):
                if isinstance(value, BadCellError):
                    self._reject(block, row, good, self._columns[role], value, texts[row])
        return values

    def _reject(
        self, block: Block, row: int, good: bytearray, name: str, error: BadCellError, text: str
    ) -> None:
        good[row] = 0
        problem = Problem(block.lines[row], name, error.rule, text[:80], error.hint)
        self._findings.add(problem, block.raws[row])

    def _contexts(
        self, values: dict[str, list[Any]], block: Block, good: bytearray
    ) -> list[str | BadCellError]:
        """Return the context of each row as canonical JSON, ``""`` where nothing is known."""
        facts = {name: values[fact_role(name)] for name in self.mapping.context}
        if "position" in values:
            alone = values.get("decision", [""] * len(good))
            facts["position"] = [
                place if place != NO_POSITION and not decision else facts.get("position")
                for place, decision in zip(values["position"], alone, strict=True)
            ]
        if not facts:
            return []
        known: dict[tuple[object, ...], str | BadCellError] = {}
        contexts: list[str | BadCellError] = []
        for row, told in enumerate(zip(*facts.values(), strict=True)):
            told = told if good[row] else ()
            typed = tuple(map(repr, told))  # 1, 1.0 and True are equal, and not the same
            if typed not in known:
                known[typed] = _context(dict(zip(facts, told, strict=False)))
            found = known[typed]
            if isinstance(found, BadCellError):
                self._reject(block, row, good, "", found, "")
            contexts.append(found)
        return contexts

    def _spoil(self, values: dict[str, list[Any]], lines: list[int], good: bytearray) -> None:
        """Remember the decisions that bad rows belong to, as far as their cells still say so."""
        if not self.mapping.decision:
            return
        bad = [not sound for sound in good]
        rows = {role: list(compress(column, bad)) for role, column in values.items()}
        lines = list(compress(lines, bad))
        for line, key in zip(lines, self._keys(rows, lines), strict=True):
            *rest, name = key
            if isinstance(name, BadCellError):
                self._findings.lost(line)
            elif name and any(isinstance(part, BadCellError) for part in rest):
                self.events.doubtful.setdefault(str(name), line)
            elif name:
                self.events.spoiled.setdefault(key, line)

    def _keys(self, values: dict[str, list[Any]], lines: list[int]) -> Iterator[Key]:
        at = values.get("time", values.get("order", lines))
        sessions = values.get("session", [""] * len(lines))
        subjects = values.get("subject") or list(self._nobodies(values, at))
        columns = (subjects, sessions, at, values["decision"])
        return (self.events.key(*row) for row in zip(*columns, strict=True))

    def _nobodies(self, values: dict[str, list[Any]], at: list[Any]) -> Iterator[str]:
        """Yield names for subjects whom nobody named, from what tells their decisions apart."""
        nothing = [""] * len(at)
        columns = (
            *(values["unit"], values["context"] or nothing),
            *(values.get("decision", nothing), values.get("session", nothing), at),
        )
        for unit, context, decision, session, when in zip(*columns, strict=True):
            moment = when if self.events.sequenced or not decision else 0.0
            what = ("", decision) if decision else (unit, context)
            parts = "\x1f".join((*map(str, what), str(session), repr(moment)))
            yield NOBODY + blake2b(parts.encode(), digest_size=16).hexdigest()

    def _keep(self, values: dict[str, list[Any]], lines: list[int]) -> None:
        events, n = self.events, len(lines)
        at = values.get("time", values.get("order", lines))
        if events.anonymous:
            values["subject"] = list(self._nobodies(values, at))
        for role, table in (
            ("subject", events.subjects),
            ("unit", events.units),
            ("session", events.sessions),
            ("decision", events.decisions),
            ("policy", events.policies),
            ("context", events.contexts),
        ):
            names = values.get(role, [""] * n if role == "session" else [])
            getattr(events, role).extend([table.setdefault(name, len(table)) for name in names])
        events.at.extend(at)
        events.rating.extend(values.get("rating", [math.nan] * n))
        events.click.extend(values.get("click", [NO_CLICK] * n))
        events.comment.extend(values.get("comment", []))
        events.line.extend(lines)
        events.position.extend(values.get("position", []))
        events.propensity.extend(values.get("propensity", []))


def _context(facts: dict[str, object]) -> str | BadCellError:
    """Return ``facts`` that are known as canonical JSON, ``""`` for none, or what is wrong."""
    told = {name: value for name, value in facts.items() if value is not None}
    try:
        return encode_context(told) if told else ""
    except RecordError as error:
        return BadCellError("text", f"context: {error.problem}; {error.hint}")
