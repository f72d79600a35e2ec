"""What the columns of a row say: checked, and as messages, texts and numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from heedful.contract import Message
from heedful.record import UNKNOWN, Kind, Unknown, Value
from heedful.store.importing.cells import NO_CLICK, BadCellError, click, number, sound

SAID = ("messages", "prompt", "completion", "chosen", "rejected")
LISTS = frozenset({*SAID, "logps", "units"})
COLUMNS = (
    *("text", *SAID, "margin", "label"),
    *("reward", "rating", "comment", "weight", "logps", "units"),
    *("policy", "given_at", "subject", "source"),
)
"""TRL's, and ours in addition; other columns are not read, and do not make a row another one."""

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
LONGEST = 2**31

TRANSCRIPT = "\n\nHuman:"
TURN = re.compile(r"\n\n(Human|Assistant):")
"""What stands in front of each turn in the transcripts of hh-rlhf."""

Cells = Mapping[str, Any]
Checked = TypeVar("Checked")


class BadColumnError(ValueError):
    """What a column of a row breaks, and what to do."""

    def __init__(self, column: str, rule: str, hint: str, value: object = "") -> None:
        super().__init__(hint)
        self.column, self.rule, self.value = column, rule, value


def answers(cells: Cells) -> Iterator[tuple[Kind, Value]]:
    """Yield what was said of a reply as a whole."""
    if "label" in cells:
        label = checked("label", cells["label"], click)
        if label == NO_CLICK:
            raise BadColumnError("label", "required", "a label is true or false")
        yield Kind.CLICK, bool(label)
    for kind in (Kind.RATING, Kind.REWARD):
        if kind.value in cells:
            yield kind, checked(kind.value, cells[kind.value], number)
    if "comment" in cells:
        yield Kind.COMMENT, text_of("comment", cells["comment"])


def logps_of(cells: Cells, count: int) -> tuple[float, ...] | Unknown:
    """Return the log-probabilities of a reply's ``count`` tokens, where they are given."""
    if "logps" not in cells:
        return UNKNOWN
    logps = cells["logps"]
    if not isinstance(logps, list) or len(logps) != count:
        found = len(logps) if isinstance(logps, list) else "no"
        hint = (
            f"has {found} numbers, and the reply has {count} tokens, its end among them; give one "
            "for each, and the tokens it was drawn as in units"
        )
        raise BadColumnError("logps", "number", hint)
    return tuple(logps)


def sequel(cells: Cells, column: str) -> tuple[list[Message], str]:
    """Return what was said before the reply in ``column``, and the reply.

    What begins with somebody else's message holds its prompt itself.
    """
    told = [message for message, _ in messages_of(column, cells[column], "assistant")]
    *between, reply = told
    if reply["role"] != "assistant":
        raise BadColumnError(column, "required", "does not end with the assistant's reply")
    heard: list[Message] = []
    if "prompt" in cells and told[0]["role"] == "assistant":
        heard = [message for message, _ in messages_of("prompt", cells["prompt"], "user")]
    return [*heard, *between], reply["content"]


def with_common_prompt(
    ways: Mapping[str, tuple[list[Message], str]],
) -> dict[str, tuple[list[Message], str]]:
    """Take what two texts begin with alike for their prompt, as TRL does."""
    (one, chosen), (other, rejected) = ways.values()
    if one or other:
        return dict(ways)
    pairs = enumerate(zip(chosen, rejected, strict=False))
    shorter = min(len(chosen), len(rejected))
    at = next((number for number, (a, b) in pairs if a != b), shorter)
    if at and chosen[at - 1] == " ":
        at -= 1  # a space belongs to the word after it
    heard: list[Message] = [{"role": "user", "content": chosen[:at]}] if at else []
    return {"chosen": (heard, chosen[at:]), "rejected": (heard, rejected[at:])}


def messages_of(column: str, value: object, role: str) -> list[tuple[Message, bool]]:
    """Return messages, and of each whether it is a reply to learn from.

    Args:
        column: where they stand.
        value: a list of roles and contents, or text; a transcript of hh-rlhf is such a list.
        role: whose text it is.
    """
    if not isinstance(value, list):
        content = text_of(column, value)
        if not content.startswith(TRANSCRIPT):
            return [({"role": role, "content": content}, role == "assistant")]
        value = _turns(content)
    if not value:
        raise BadColumnError(column, "required", "is an empty list; give at least one message")
    return [_message(f"{column}[{number}]", one) for number, one in enumerate(value)]


def _turns(transcript: str) -> list[dict[str, str]]:
    _, *turns = TURN.split(transcript)
    return [
        {"role": "user" if who == "Human" else "assistant", "content": said.strip()}
        for who, said in zip(turns[::2], turns[1::2], strict=True)
    ]


def _message(place: str, value: object) -> tuple[Message, bool]:
    if not isinstance(value, dict) or value.get("role") not in ROLES:
        found = value.get("role") if isinstance(value, dict) else value
        raise BadColumnError(place, "text", f"give a role of {', '.join(ROLES)}", found)
    if value.get("tool_calls") or value.get("function_call"):
        raise BadColumnError(place, "text", "calls a tool, and there are none here")
    content = value.get("content")
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else None for part in content]
        content = "".join(text_of(place, part) for part in parts)
    role = ROLES[value["role"]]
    # OpenAI's lines give weight 0 to replies that are not to be learned from.
    spoken = role == "assistant" and value.get("weight") != 0
    return {"role": role, "content": text_of(place, content)}, spoken


def text_of(column: str, value: object) -> str:
    """Return text that the log can keep."""
    if not isinstance(value, str):
        raise BadColumnError(column, "text", "give text", value)
    return checked(column, value, lambda text: sound(text, LONGEST))


def checked(column: str, value: object, check: Callable[[str], Checked]) -> Checked:
    """Return what ``check`` makes of a cell's text, which it may refuse."""
    if isinstance(value, list | dict):
        raise BadColumnError(column, "text", "give one value, not a list or an object", value)
    try:
        return check(value if isinstance(value, str) else json.dumps(value))
    except BadCellError as error:
        raise BadColumnError(column, error.rule, error.hint, value) from None


def refuse(cells: Cells, what: str, *columns: str) -> None:
    """Refuse columns that say something of one reply, where there is more or other than one."""
    for column in columns:
        if column in cells:
            hint = f"is said of one reply, and this row is {what}; leave it out"
            raise BadColumnError(column, "text", hint)
