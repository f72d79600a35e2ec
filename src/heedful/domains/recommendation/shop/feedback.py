"""Feedback on its way: clicks come at once, ratings and comments late, some never."""

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heedful.domains.recommendation.shop.comments import comment
from heedful.domains.recommendation.shop.parameters import ShopParameters

__all__ = ["Answers", "Mail", "answer"]

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answers:
    """How n persons answer one slate each; all arrays [n, K].

    Attributes:
        clicked: whether each position was clicked.
        opinion: the rating 1..5 the person would give, where clicked.
        rating_delay: decisions until the rating comes; 0 where none comes.
        comment_delay: the same for the comment.
        luck: uniform in [0, 1), picks the words of the comment.
    """

    clicked: NDArray[np.bool_]
    opinion: NDArray[np.int64]
    rating_delay: NDArray[np.int64]
    comment_delay: NDArray[np.int64]
    luck: NDArray[np.float64]


def answer(
    click_probability: NDArray[np.float64],
    opinion: NDArray[np.int64],
    parameters: ShopParameters,
    rng: np.random.Generator,
) -> Answers:
    """Draw the answers to slates whose positions are clicked with `click_probability` [n, K]."""
    click, rate, rate_when, write, write_when, luck = rng.random((6, *click_probability.shape))
    clicked = click < click_probability
    rates = clicked & (rate < parameters.rating_rate)
    writes = clicked & (write < parameters.comment_rate)
    return Answers(
        clicked=clicked,
        opinion=opinion,
        rating_delay=np.where(rates, _delay(rate_when, parameters), 0),
        comment_delay=np.where(writes, _delay(write_when, parameters), 0),
        luck=luck,
    )


def _delay(uniform: NDArray[np.float64], parameters: ShopParameters) -> NDArray[np.int64]:
    """Geometric delays 1, 2, ... by inversion; 0, never, beyond the person's patience."""
    if parameters.prompt_rate == 1.0:
        return np.ones(uniform.shape, dtype=np.int64)
    delay = 1 + np.floor(np.log1p(-uniform) / np.log1p(-parameters.prompt_rate))
    return np.where(delay <= parameters.patience, delay, 0).astype(np.int64)


class Mail:
    """A calendar with a tray for today and each of `patience` decisions ahead.

    All persons decide in step, so that one calendar serves everybody.
    """

    def __init__(self, patience: int) -> None:
        self._trays: deque[list[tuple[int, Event]]] = deque([] for _ in range(patience + 1))

    def post(self, answers: Answers, *, explicit_no: bool) -> None:
        """Put the answers to the slates shown now into the trays of their day."""
        for person, unit in np.argwhere(answers.rating_delay > 0).tolist():
            delay = int(answers.rating_delay[person, unit])
            self._put(person, delay, unit, "rating", int(answers.opinion[person, unit]))
        for person, unit in np.argwhere(answers.comment_delay > 0).tolist():
            delay = int(answers.comment_delay[person, unit])
            words = comment(int(answers.opinion[person, unit]), float(answers.luck[person, unit]))
            self._put(person, delay, unit, "comment", words)
        # Unknown is not no: what was not clicked stays silent unless a no is asked for.
        sent = np.ones_like(answers.clicked) if explicit_no else answers.clicked
        for person, unit in np.argwhere(sent).tolist():
            self._put(person, 0, unit, "click", bool(answers.clicked[person, unit]))

    def collect(self, people: int) -> NDArray[np.object_]:
        """Empty today's tray and turn the page: an object array [people] of lists of events."""
        feedback = np.empty(people, dtype=np.object_)
        feedback[:] = [[] for _ in range(people)]
        for person, event in self._trays.popleft():
            feedback[person].append(event)
        self._trays.append([])
        return feedback

    def _put(self, person: int, delay: int, unit: int, kind: str, value: bool | int | str) -> None:
        event = {"kind": kind, "decision_age": delay, "unit": unit, "value": value}
        self._trays[delay].append((person, event))
