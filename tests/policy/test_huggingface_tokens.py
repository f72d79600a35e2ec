from collections.abc import Sequence

import pytest
import torch

from heedful.policy import Channel, EventKind, Events, Schema
from heedful.policy.huggingface_tokens import TokenReader

SCHEMA = Schema(
    20,
    (
        Channel("click", binary=True),
        Channel("rating", binary=False, low=1.0, high=5.0),
        Channel("comment", binary=False),
        Channel("reward", binary=False),
    ),
)
DOWN, UP, ONE, TWO, THREE, FOUR, FIVE, SAYS, BEGIN = range(10, 19)
MARKS = {"click": [DOWN, UP], "rating": [ONE, TWO, THREE, FOUR, FIVE], "comment": [SAYS]}
CLICK, RATING, COMMENT, REWARD = 1, 2, 3, 4
Written = tuple[EventKind, int, int, float]


def events(*rows: Sequence[Written]) -> Events:
    """Return rows of (kind, unit, channel, value)."""
    width = max(len(row) for row in rows)
    padded = [[*row, *[(EventKind.PAD, -1, 0, 0.0)] * (width - len(row))] for row in rows]
    kind, unit, channel = (
        torch.tensor([[int(event[i]) for event in row] for row in padded], dtype=torch.int64)
        for i in range(3)
    )
    return Events(
        kind.reshape(len(rows), width),
        unit.reshape(len(rows), width),
        channel.reshape(len(rows), width),
        torch.tensor([[event[3] for event in row] for row in padded]).reshape(len(rows), width),
        torch.zeros(len(rows), width, 0),
        torch.full((len(rows), width), torch.nan, dtype=torch.float64),
        torch.tensor([len(row) for row in rows]),
    )


def context(unit: int) -> Written:
    return EventKind.CONTEXT, unit, 0, 0.0


def unit(unit: int, channel: int = 0, value: float = 0.0) -> Written:
    return EventKind.UNIT, unit, channel, value


def answer(channel: int, value: float, about: int = -1) -> Written:
    return EventKind.FEEDBACK, about, channel, value


START: Written = (EventKind.START, -1, 0, 0.0)
END: Written = (EventKind.END, -1, 0, 0.0)


def read(*row: Written, start: int | None = BEGIN) -> list[int]:
    tokens = TokenReader(SCHEMA, start, MARKS).read(events(row))
    return tokens.ids[0].tolist()


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([START, context(1), context(2), unit(3)], [BEGIN, 1, 2, 3]),
        ([unit(3, CLICK, 1.0), unit(4, CLICK, 0.0)], [3, UP, 4, DOWN]),
        ([unit(3), answer(CLICK, 1.0, about=3), unit(4)], [3, UP, 4]),
        ([answer(RATING, value) for value in (0.0, 0.25, 0.4, 0.6, 0.75, 1.0)], None),
        ([unit(-1), context(-1), unit(4)], [4]),
        ([unit(4), END, (EventKind.RETRACTION, 4, CLICK, 0.0), unit(5)], [4, 5]),
        ([unit(4, REWARD, 1.0), answer(REWARD, 0.5)], [4]),
    ],
)
def test_events_as_tokens(row: list[Written], expected: list[int] | None) -> None:
    assert read(*row) == (expected or [ONE, TWO, THREE, THREE, FOUR, FIVE])


def test_a_comment_is_marked_once_and_then_read() -> None:
    said = [answer(COMMENT, 0.0, about=token) for token in (5, 6, 7)]
    assert read(unit(3), *said, unit(4)) == [3, SAYS, 5, 6, 7, 4]
    assert read(unit(3, COMMENT), *said) == [3, SAYS, 5, 6, 7]
    assert read(*said[:1], unit(4), *said[1:]) == [SAYS, 5, 4, SAYS, 6, 7]
    assert read(*said[:1], answer(CLICK, 1.0), *said[1:]) == [SAYS, 5, UP, SAYS, 6, 7]


def test_a_comment_goes_on_in_the_next_step() -> None:
    reader = TokenReader(SCHEMA, BEGIN, MARKS)
    said = [answer(COMMENT, 0.0, about=token) for token in (5, 6, 7)]
    first = reader.read(events([unit(3), said[0]], [unit(3)], [unit(3)]))
    assert first.text.tolist() == [COMMENT, 0, 0]
    second = reader.read(events(said[1:], said[1:], []), first.text)
    assert second.ids.tolist() == [[6, 7, 0], [SAYS, 6, 7], [0, 0, 0]]
    assert second.lengths.tolist() == [2, 3, 0]
    assert second.text.tolist() == [COMMENT, COMMENT, 0]
    idle = reader.read(events([], [], []), second.text)
    assert idle.text.tolist() == [COMMENT, COMMENT, 0]


def test_rows_are_ragged_and_events_know_their_last_token() -> None:
    tokens = TokenReader(SCHEMA, None, MARKS).read(
        events([START, unit(3, CLICK, 1.0), END], [START, context(1)])
    )
    assert tokens.ids.tolist() == [[3, UP], [1, 0]]
    assert tokens.lengths.tolist() == [2, 1]
    assert tokens.after.tolist() == [[0, 2, 2], [0, 1, 1]]


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ({"thumb": [1]}, "'thumb', which is no channel"),
        ({"click": []}, "marks of 'click' must be token ids below 20"),
        ({"click": [1, 20]}, "marks of 'click' must be token ids below 20"),
    ],
)
def test_marks_that_make_no_sense(marks: dict[str, list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenReader(SCHEMA, None, marks)
