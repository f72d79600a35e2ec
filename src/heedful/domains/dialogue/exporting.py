"""What happened, back into TRL's columns: one file that is whole or not there."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from heedful.contract import Conversation, Exported, Message
from heedful.domains.dialogue.columns import COLUMNS
from heedful.record import ALL_UNITS, Kind, Outcome
from heedful.store import Snapshot
from heedful.store.codec import KIND_CODE
from heedful.store.importing.enter import MADE_ELSEWHERE

Row = dict[str, Any]

NAMED = ("margin", "weight", "source")
"""What an import knew of a row as a whole; it stands with the end of its conversation."""


def write_file(domain: Conversation, snapshot: Snapshot, path: Path, *, columns: str) -> Exported:
    """Write a file of rows; see :class:`heedful.contract.Exports`.

    Prompts and replies are texts where each prompt is one message of a user, and lists of roles and
    contents elsewhere. Nobody is named: rows have no ``subject``.

    Args:
        domain: says what units say.
        snapshot: what happened.
        path: ends in ``.jsonl``, ``.csv`` or ``.parquet``.
        columns: ``messages``, ``text``, ``prompt-completion``, ``unpaired`` or ``preference``.

    Raises:
        ValueError: there are no such columns, no such format, or pyarrow is needed for it.
        OSError: the file cannot be written; an earlier one is left as it was.
    """
    if columns not in WAYS:
        raise ValueError(f"there are no columns {columns!r}; choose one of {', '.join(WAYS)}")
    if path.suffix not in WRITERS:
        raise ValueError(f"{path}: name a file that ends in one of {', '.join(WRITERS)}")
    told = _Told(domain, snapshot)
    rows = list(WAYS[columns](told))
    # An empty cell of a table is no text: there an empty reply can only stand in a list.
    if all(_simple(row, empty=path.suffix == ".jsonl") for row in rows):
        rows = [_plain(row) for row in rows]
    with _whole(path) as part:
        WRITERS[path.suffix](rows, part)
    return Exported(rows=len(rows), left_out=dict(told.left_out))


class _Told:
    """A snapshot as conversations.

    Attributes:
        left_out: what does not fit the columns, counted by reason.
    """

    def __init__(self, domain: Conversation, snapshot: Snapshot) -> None:
        self._domain, self._snapshot = domain, snapshot
        self.left_out: Counter[str] = Counter()

    # The ways to tell it

    def chats(self) -> Iterator[Row]:
        for rows in self._episodes.values():
            if not self._is_text(rows):
                messages = [*self._before(rows[-1]), self._reply(rows[-1])]
                left = self._end(rows[0]).get("messages", [])
                yield {"messages": [*messages, *left], **self._of_all(rows[0])}

    def texts(self) -> Iterator[Row]:
        for rows in self._episodes.values():
            if self._is_text(rows):
                units = [unit for row in rows for unit in self._units(row)]
                yield {"text": self._domain.text(units), **self._of_all(rows[0])}

    def completions(self) -> Iterator[Row]:
        answers = self._answers
        for row in range(self._snapshot.decisions.n):
            rows = self._episodes[self._episode_of(row)]
            if self._is_text(rows):
                self.left_out["documents"] += row == rows[0]
                continue
            yield {**self._pair_of(row), **answers[row], **self._drawn(row), **self._of_all(row)}

    def unpaired(self) -> Iterator[Row]:
        for row, label in self._labels():
            yield {**self._pair_of(row), "label": label, **self._of_all(row)}

    def preferences(self) -> Iterator[Row]:
        for row, text in self._said(Kind.PREFERENCE):
            told = json.loads(text)
            other = self._row_of(told["over"])
            if told["outcome"] == Outcome.TIE:
                self.left_out["ties"] += 1
            elif other is None:
                self.left_out["compared with a clip"] += 1
            elif self._before(row) != self._before(other):
                self.left_out["compared with the reply to another prompt"] += 1
            else:
                won = told["outcome"] == Outcome.CHOSEN
                chosen, rejected = (row, other) if won else (other, row)
                yield {
                    "prompt": self._before(chosen),
                    "chosen": [self._reply(chosen)],
                    "rejected": [self._reply(rejected)],
                    **self._of_all(chosen),
                }

    # Parts of rows

    def _pair_of(self, row: int) -> Row:
        return {"prompt": self._before(row), "completion": [self._reply(row)]}

    def _drawn(self, row: int) -> Row:
        """Return the tokens and their log-probabilities, where those are known."""
        decisions = self._snapshot.decisions
        low, high = decisions.offsets[row : row + 2]
        logps = decisions.logps[low:high]
        if np.isnan(logps).any():
            return {}
        return {"logps": logps.tolist(), "units": self._units(row)}

    def _of_all(self, row: int) -> Row:
        decisions = self._snapshot.decisions
        of_all = {name: self._end(row).get(name) for name in NAMED}
        policy = self._snapshot.names.policies[int(decisions.policy[row])]
        if policy != MADE_ELSEWHERE:
            of_all["policy"] = policy.removeprefix(f"{MADE_ELSEWHERE}:")
        if decisions.made_at[row] > 0:
            of_all["given_at"] = float(decisions.made_at[row])
        return {name: value for name, value in of_all.items() if value is not None}

    def _before(self, row: int) -> list[Message]:
        """Return all that was said in a conversation before a reply."""
        rows = self._episodes[self._episode_of(row)]
        messages: list[Message] = []
        for earlier in rows[: rows.index(row)]:
            messages += [*self._heard(earlier), self._reply(earlier)]
        return [*messages, *self._heard(row)]

    def _heard(self, row: int) -> Sequence[Message]:
        text = self._snapshot.decisions.contexts[row]
        return self._domain.said(json.loads(text)) if text else []

    def _reply(self, row: int) -> Message:
        return {"role": "assistant", "content": self._domain.text(self._units(row))}

    def _units(self, row: int) -> list[str]:
        decisions, names = self._snapshot.decisions, self._snapshot.names
        low, high = decisions.offsets[row : row + 2]
        return [names.units[code] for code in decisions.units[low:high].tolist()]

    def _is_text(self, rows: Sequence[int]) -> bool:
        return not any(self._heard(row) for row in rows)

    # What was said of replies

    @cached_property
    def _answers(self) -> defaultdict[int, Row]:
        """What was said of each reply as a whole; of two who said something the later counts."""
        answers: defaultdict[int, Row] = defaultdict(dict)
        for row, label in self._labels():
            answers[row]["label"] = label
        for kind in (Kind.RATING, Kind.REWARD):
            for at in self._standing(kind):
                row = int(self._snapshot.feedback.decision[at])
                answers[row][kind.value] = float(self._snapshot.feedback.value[at])
        for row, text in self._said(Kind.COMMENT):
            answers[row]["comment"] = text
        return answers

    def _labels(self) -> Iterator[tuple[int, bool]]:
        feedback = self._snapshot.feedback
        for at in self._standing(Kind.CLICK):
            yield int(feedback.decision[at]), bool(feedback.value[at] > 0)

    def _said(self, kind: Kind) -> Iterator[tuple[int, str]]:
        for at in self._standing(kind):
            yield int(self._snapshot.feedback.decision[at]), self._snapshot.feedback.texts[at]

    def _standing(self, kind: Kind) -> list[int]:
        """Return the rows of feedback of a kind to replies as a whole that nobody took back."""
        feedback = self._snapshot.feedback
        meant = (feedback.kind == KIND_CODE[kind]) & (feedback.decision >= 0)
        stands = (feedback.retracts < 0) & ~feedback.retracted & (feedback.unit == ALL_UNITS)
        return np.flatnonzero(meant & stands).tolist()

    # Where things stand

    @cached_property
    def _episodes(self) -> dict[int, list[int]]:
        """The rows of each conversation's replies in their order."""
        rows: defaultdict[int, list[int]] = defaultdict(list)
        for row, episode in enumerate(self._snapshot.decisions.episode.tolist()):
            rows[episode].append(row)
        return dict(rows)

    def _episode_of(self, row: int) -> int:
        return int(self._snapshot.decisions.episode[row])

    @cached_property
    def _ends(self) -> dict[int, Row]:
        ends = self._snapshot.ends
        texts = ((int(ends.episode[at]), ends.contexts[at]) for at in range(ends.n))
        return {episode: json.loads(text) for episode, text in texts if text}

    def _end(self, row: int) -> Row:
        return self._ends.get(self._episode_of(row), {})

    def _row_of(self, named: object) -> int | None:
        """Return the row of a decision by the sequence number that a preference names."""
        seq = self._snapshot.decisions.seq
        if not isinstance(named, int):
            return None
        at = int(np.searchsorted(seq, named))
        return at if at < len(seq) and seq[at] == named else None


WAYS: Mapping[str, Callable[[_Told], Iterator[Row]]] = {
    "messages": _Told.chats,
    "text": _Told.texts,
    "prompt-completion": _Told.completions,
    "unpaired": _Told.unpaired,
    "preference": _Told.preferences,
}


REPLACED = ("prompt", "completion", "chosen", "rejected")


def _simple(row: Row, *, empty: bool) -> bool:
    """Return whether texts can stand in the place of messages: the prompt is one of a user."""
    if [message["role"] for message in row.get("prompt", ())] != ["user"]:
        return False
    return empty or all(row[name][0]["content"] for name in REPLACED if name in row)


def _plain(row: Row) -> Row:
    return {name: v[0]["content"] if name in REPLACED else v for name, v in row.items()}


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Lend a name beside ``path`` that takes its place on success and is gone otherwise."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _write_lines(rows: Sequence[Row], part: Path) -> None:
    with part.open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


def _write_csv(rows: Sequence[Row], part: Path) -> None:
    names = _names(rows)
    with part.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, names, lineterminator="\n")
        table.writeheader()
        for row in rows:
            table.writerow({name: _as_cell(value) for name, value in row.items()})


def _as_cell(value: object) -> object:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _write_parquet(rows: Sequence[Row], part: Path) -> None:
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise ValueError(
            "Parquet needs pyarrow: pip install 'heedful[parquet]', or write .jsonl"
        ) from None
    columns = {name: [row.get(name) for row in rows] for name in _names(rows)}
    parquet.write_table(arrow.table(columns), part)


def _names(rows: Sequence[Row]) -> list[str]:
    present = {name for row in rows for name in row}
    return [name for name in COLUMNS if name in present]


WRITERS: Mapping[str, Callable[[Sequence[Row], Path], None]] = {
    ".jsonl": _write_lines,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
