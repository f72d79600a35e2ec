"""Conversations in files: TRL's columns, OpenAI's lines of chats, plain text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from heedful.contract import Conversation, Domain, Message, Reading
from heedful.domains.dialogue.columns import (
    COLUMNS,
    LISTS,
    LONGEST,
    SAID,
    BadColumnError,
    Cells,
    answers,
    checked,
    logps_of,
    messages_of,
    refuse,
    sequel,
    text_of,
    with_common_prompt,
)
from heedful.record import (
    UNKNOWN,
    Context,
    Decision,
    End,
    Feedback,
    Kind,
    Outcome,
    Preference,
    RecordError,
    Unknown,
    Value,
    content_id,
    pseudonym,
)
from heedful.store import Snapshot, StoreError
from heedful.store.importing import FileRow, Findings, Problem, UnknownFormatError
from heedful.store.importing.cells import number, sound, time
from heedful.store.importing.checks import DAY, LONGEST_POLICY, NOBODY
from heedful.store.importing.enter import MADE_ELSEWHERE, policy_name
from heedful.store.importing.opening import open_source
from heedful.store.importing.source import Source


class Speaker(Domain, Conversation, Protocol):
    """A domain whose decisions are replies."""


def read_file(domain: Speaker, path: Path, findings: Findings, how: Reading) -> Iterator[FileRow]:
    """Yield the rows of a file; see :class:`heedful.contract.Files`.

    A row is what it holds: rows of TRL's columns (``prompt, chosen, rejected`` with ``margin``;
    ``prompt, completion`` with ``label``; ``messages``; ``text``), OpenAI's lines of chats, or the
    documents of plain text. Each is a conversation of its own, and ends with it; of two compared
    replies each has one. Where nobody is named, rows of one prompt are one subject's, so that who
    holds out people holds out prompts.

    Raises:
        StoreError: the file cannot be read.
        UnknownFormatError: it has no column that is known.
        UnusableFileError: it is damaged, as ``findings`` say.
    """
    reader = _Reader(domain, how)
    for line, raw, cells, done, total in _rows(path, findings, whole=how.whole):
        yield reader.row(line, raw, cells, done, total)


# From a file to cells

_Row = tuple[int, str, Cells, int, int]


def _rows(path: Path, findings: Findings, *, whole: bool) -> Iterator[_Row]:
    if path.suffix == ".txt":
        yield from _documents(path, findings, whole=whole)
        return
    with open_source(path, findings) as source:
        if isinstance(source, Source) and source.layout.form == "json":
            for line, found, raw in source.objects():
                cells = {name: found[name] for name in COLUMNS if found.get(name) is not None}
                yield line, raw, cells, source.position, source.size
            return
        wanted = [name for name in COLUMNS if name in source.columns]
        if not {"text", *SAID} & set(wanted):
            raise UnknownFormatError(
                f"{path}: none of its columns ({', '.join(source.columns)}) is one of text, "
                f"{', '.join(SAID)}; rename those that are meant"
            )
        for block in source.blocks(wanted, LISTS):
            for line, texts, raw in zip(block.lines, block.rows, block.raws, strict=True):
                named = zip(wanted, texts, strict=True)
                cells = {name: _cell(name, text) for name, text in named if text}
                yield line, raw, cells, source.position, source.size


def _cell(name: str, text: str) -> Any:
    """Return the list that a cell holds as JSON, else its text."""
    if name in LISTS and text.startswith("["):
        try:
            return json.loads(text)
        except ValueError:
            pass  # what people say may begin with a bracket
    return text


def _documents(path: Path, findings: Findings, *, whole: bool) -> Iterator[_Row]:
    try:
        found = path.read_bytes()
        lines = found.decode("utf-8-sig").splitlines(keepends=True)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = found.count(b"\n", 0, error.start) + 1
        findings.fail(Problem(line, "", "encoding", "", "is not UTF-8; save the file as UTF-8"))
    numbered = list(enumerate(lines, start=1))
    parts = [numbered] if whole else _paragraphs(numbered)
    for part in parts:
        text = "".join(line for _, line in part).strip("\r\n")
        if text.strip():
            yield part[0][0], text, {"text": text}, part[-1][0], len(lines)


def _paragraphs(numbered: Sequence[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    for blank, part in groupby(numbered, lambda row: not row[1].strip()):
        if not blank:
            yield list(part)


# From cells to records


@dataclass(frozen=True, slots=True)
class _Facts:
    """What all records of a row share."""

    name: str
    subject: str
    policy: str
    at: float
    of_all: Context


@dataclass(frozen=True, slots=True)
class _Turn:
    """A reply, and what was said before it."""

    heard: Sequence[Message]
    units: tuple[str, ...]
    logps: tuple[float, ...] | Unknown = UNKNOWN


class _Reader:
    """Turns rows into records."""

    def __init__(self, domain: Speaker, how: Reading) -> None:
        self._domain, self._how = domain, how
        self._choices = domain.choices({})
        self._digest = self._choices.digest()
        known = domain.vocabulary(Snapshot.of([])).units
        self._sayable = frozenset(known) - set(self._choices.forbidden)

    def row(self, line: int, raw: str, cells: Cells, done: int, total: int) -> FileRow:
        """Return a row as records, or what is wrong with it."""
        try:
            records = tuple(self._records(cells))
        except BadColumnError as error:
            value = str(error.value)[:80]
            problem = Problem(line, error.column, error.rule, value, str(error))
            return FileRow(line, raw, problem=problem, done=done, total=total)
        except RecordError as error:
            problem = Problem(line, error.field, "text", "", f"{error.problem}; {error.hint}")
            return FileRow(line, raw, problem=problem, done=done, total=total)
        return FileRow(line, raw, records, (self._choices,), done=done, total=total)

    def _records(self, cells: Cells) -> Iterator[Decision | Feedback | End]:
        if "chosen" in cells or "rejected" in cells:
            yield from self._pair(cells)
        elif "completion" in cells:
            yield from self._completion(cells)
        elif "messages" in cells:
            yield from self._chat(cells)
        elif "text" in cells:
            yield from self._document(cells)
        elif "prompt" in cells:
            hint = "a prompt without a reply is nothing that happened; add a completion"
            raise BadColumnError("completion", "required", hint)
        else:
            raise BadColumnError("", "required", f"holds none of text, {', '.join(SAID)}")

    def _pair(self, cells: Cells) -> Iterator[Decision | Feedback | End]:
        for column in ("chosen", "rejected"):
            if column not in cells:
                raise BadColumnError(column, "required", "a pair is chosen and rejected")
        refuse(cells, "a pair", "logps", "units", "label", "reward", "rating", "comment")
        ways = {name: sequel(cells, name) for name in ("chosen", "rejected")}
        if "prompt" not in cells:
            ways = with_common_prompt(ways)
        (heard, _), (other, _) = ways.values()
        facts = self._facts(cells, heard or other)
        decisions = []
        for name, (heard, reply) in ways.items():
            turn = _Turn(heard, self._domain.units(reply))
            [decision], end = self._episode(facts, [turn], part=name)
            decisions.append(decision)
            yield decision
            yield end
        chosen, rejected = (decision.id for decision in decisions)
        yield self._feedback(facts, chosen, Kind.PREFERENCE, Preference(Outcome.CHOSEN, rejected))

    def _completion(self, cells: Cells) -> Iterator[Decision | Feedback | End]:
        heard, reply = sequel(cells, "completion")
        units = self._units(cells, reply)
        facts = self._facts(cells, heard)
        [decision], end = self._episode(facts, [_Turn(heard, units, logps_of(cells, len(units)))])
        yield decision
        for kind, value in answers(cells):
            yield self._feedback(facts, decision.id, kind, value)
        yield end

    def _chat(self, cells: Cells) -> Iterator[Decision | Feedback | End]:
        refuse(cells, "a chat", "logps", "units", "label", "reward", "rating", "comment")
        turns: list[_Turn] = []
        heard: list[Message] = []
        for message, spoken in messages_of("messages", cells["messages"], "user"):
            if spoken:
                turns.append(_Turn(heard, self._domain.units(message["content"])))
                heard = []
            else:
                heard.append(message)
        if not turns:
            raise BadColumnError("messages", "required", "nothing in it was said by the assistant")
        decisions, end = self._episode(self._facts(cells, turns[0].heard), turns, rest=heard)
        yield from decisions
        yield end

    def _document(self, cells: Cells) -> Iterator[Decision | Feedback | End]:
        refuse(cells, "a text", "logps", "units", "label", "reward", "rating", "comment")
        text = text_of("text", cells["text"])
        if not text.strip():
            raise BadColumnError("text", "required", "is empty")
        units, longest = self._domain.units(text), self._domain.length
        parts = range(0, len(units), longest)
        turns = [_Turn((), units[begin : begin + longest]) for begin in parts]
        decisions, end = self._episode(self._facts(cells, [{"role": "", "content": text}]), turns)
        yield from decisions
        yield end

    def _facts(self, cells: Cells, heard: Sequence[Message]) -> _Facts:
        """Return what all of a row shares; the same row has the same name."""
        latest = self._how.now + DAY
        at = checked("given_at", cells.get("given_at", 0.0), lambda text: time(text, latest))
        policy = checked(
            "policy", cells.get("policy", ""), lambda text: sound(text, LONGEST_POLICY)
        )
        somebody = checked("subject", cells.get("subject", ""), lambda text: sound(text, LONGEST))
        of_all: dict[str, object] = {
            name: checked(name, cells[name], number)
            for name in ("margin", "weight")
            if name in cells
        }
        if "source" in cells:
            of_all["source"] = checked("source", cells["source"], lambda text: sound(text, 1_000))
        content = json.dumps({name: cells[name] for name in sorted(cells)})
        return _Facts(
            name=content_id("row", content, at=at),
            subject=pseudonym(somebody or f"{NOBODY}{json.dumps(heard)}", self._how.key),
            policy=policy_name(policy or self._how.made_by),
            at=at,
            of_all=of_all,
        )

    def _episode(
        self,
        facts: _Facts,
        turns: Sequence[_Turn],
        *,
        part: str = "",
        rest: Sequence[Message] = (),
    ) -> tuple[list[Decision], End]:
        """Return the decisions of a conversation and its end.

        Args:
            facts: of the row.
            turns: its replies in order.
            part: which of the row's conversations it is.
            rest: what was said after the last reply.
        """
        episode = f"{facts.name}:{part}" if part else facts.name
        decisions = [
            Decision(
                id=content_id("reply", episode, step, at=facts.at),
                episode=episode,
                step=step,
                subject=facts.subject,
                units=turn.units,
                logps=turn.logps,
                policy=facts.policy,
                made_at=facts.at,
                context=self._domain.heard(turn.heard, turn=step) if turn.heard else {},
                choices=self._digest,
                vocabulary=MADE_ELSEWHERE,
            )
            for step, turn in enumerate(turns)
        ]
        left = self._domain.heard(rest, turn=len(turns)) if rest else {}
        end = End(
            id=content_id("end", episode),
            episode=episode,
            terminated=not rest,
            ended_at=facts.at,
            context={**facts.of_all, **left},
        )
        return decisions, end

    def _units(self, cells: Cells, reply: str) -> tuple[str, ...]:
        """Return the tokens of a reply: those it was drawn as, where they are given."""
        if "units" not in cells:
            return self._domain.units(reply)
        units = cells["units"]
        if not isinstance(units, list) or not all(isinstance(unit, str) for unit in units):
            raise BadColumnError("units", "text", "give the tokens as a list of strings")
        sayable = self._sayable.issuperset(units)
        if not units or not sayable or self._domain.text(units) != reply:
            hint = "do not say the completion; they may be of another tokenizer: leave them out"
            raise BadColumnError("units", "conflict", hint)
        return tuple(units)

    def _feedback(self, facts: _Facts, about: str, kind: Kind, value: Value) -> Feedback:
        return Feedback(
            id=content_id("said", about, kind.value, at=facts.at),
            by=facts.subject,
            about=about,
            kind=kind,
            value=value,
            given_at=facts.at,
            received_at=facts.at,
        )
