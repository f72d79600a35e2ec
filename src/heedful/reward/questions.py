"""Which of two clips is better? Asked in a terminal or on a page; answers go into the log."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np

from heedful.contract import Domain
from heedful.contract.clips import Scene, scenes
from heedful.record import Feedback, Kind, Outcome, Preference, Span, mint_id
from heedful.reward.clips import ClipReward
from heedful.reward.rewards import RewardError
from heedful.reward.steps import Episodes, Judged, StepReader
from heedful.store.log import Log

Chosen = Literal["disagreement", "random"]


class Answer(enum.StrEnum):
    """What can be said of two clips."""

    LEFT = "left"
    RIGHT = "right"
    EQUAL = "equal"
    UNSURE = "cannot tell"

    @property
    def outcome(self) -> float:
        """1 for left, 0 for right, 1/2 for equal; NaN where nobody can tell: that is not kept."""
        return _NUMBERS[self]


_NUMBERS: Final = {
    Answer.LEFT: 1.0,
    Answer.RIGHT: 0.0,
    Answer.EQUAL: 0.5,
    Answer.UNSURE: float("nan"),
}
_OUTCOMES: Final = {
    Answer.LEFT: Outcome.CHOSEN,
    Answer.RIGHT: Outcome.REJECTED,
    Answer.EQUAL: Outcome.TIE,
}

CANDIDATES = 100  # pairs, of which the one that the members dispute most is asked about
FEWEST = 10  # answers it takes before a model is asked what it does not know
AT_RANDOM = 0.3  # share of questions that stay random where the others are by disagreement
AGAIN = 10  # answers after which the model that disagrees is fitted anew
_DRAWS = 100


@dataclass(frozen=True, slots=True)
class Question:
    """Which of two clips is better?

    Attributes:
        left: a clip.
        right: another one.
        disputed: whether it was chosen because models disagree, not at random.
    """

    left: Span
    right: Span
    disputed: bool = False


class Questions(Protocol):
    """Who asks, whatever shows the questions: a terminal, a page, a test."""

    def next(self) -> Question | None:
        """Return the next question; ``None`` where there is nothing left to ask."""
        ...

    def show(self, span: Span, *, text: bool) -> list[Scene]:
        """Return what is seen in a clip, as :class:`~heedful.contract.clips.Showing` says."""
        ...

    def answer(self, question: Question, answer: Answer) -> None:
        """Take an answer; one that nobody could give is not kept, and not asked again."""
        ...


class LoggedQuestions:
    """Questions about the episodes of a log; answers go into it as feedback between spans.

    One person says of a clip once how it compares, so the left clip of each question is one that
    this person has not been asked about yet.
    """

    def __init__(
        self,
        log: Log,
        domain: Domain,
        *,
        by: str,
        length: int = 10,
        chosen: Chosen = "disagreement",
        seed: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Read the episodes in ``log``.

        Args:
            log: opened to write, for answers to be kept.
            domain: how its steps are read, and shown where it can show them.
            by: who answers, a pseudonym.
            length: T, steps of a clip.
            chosen: how; disagreement is among three models of the answers so far, and the share
                :data:`AT_RANDOM` of the questions stays random.
            seed: of the draws.
            clock: gives the time, in seconds since the epoch.

        Raises:
            RewardError: no episode is so long.
        """
        self._log, self._domain, self._by, self._clock = log, domain, by, clock
        snapshot = log.snapshot()
        self._episodes = Episodes(snapshot)
        self._reader = StepReader(domain, domain.vocabulary(snapshot))
        self._length, self._chosen, self._rng = length, chosen, np.random.default_rng(seed)
        self._starts = {
            name: len(rows) - length + 1
            for name, rows in self._episodes.rows.items()
            if len(rows) >= length
        }
        if not self._starts:
            raise RewardError(
                f"no episode in the log has {length} steps one after another: there are no clips "
                "to compare. Play or import some, or ask about shorter ones"
            )
        self._judged = self._episodes.judged()
        self._asked = {one.left for one in self._judged if one.by == by}
        self._reward: ClipReward | None = None
        self._fitted = 0

    def next(self) -> Question | None:
        """Return the next question; ``None`` where every clip was asked about."""
        if self._chosen == "random" or self._rng.random() < AT_RANDOM:
            return next(iter(self._drawn(1)), None)
        reward = self._model()
        if reward is None:
            return next(iter(self._drawn(1)), None)
        found = self._drawn(CANDIDATES)
        if not found:
            return None
        left = self._reader.clips(self._episodes, [one.left for one in found])
        right = self._reader.clips(self._episodes, [one.right for one in found])
        most = found[int(reward.prefer(left, right).std(0).argmax())]
        return Question(most.left, most.right, disputed=True)

    def show(self, span: Span, *, text: bool) -> list[Scene]:
        """Return what is seen in a clip."""
        return scenes(self._domain, self._episodes.until(span), span.start, text=text)

    def answer(self, question: Question, answer: Answer) -> None:
        """Write an answer into the log; on disk when this returns.

        Raises:
            RewardError: the log does not take it, because this person has judged that clip before.
            StoreError: it cannot be written.
        """
        if answer is not Answer.UNSURE:
            now = self._clock()
            feedback = Feedback(
                id=mint_id(),
                by=self._by,
                about=question.left,
                kind=Kind.PREFERENCE,
                value=Preference(_OUTCOMES[answer], question.right),
                given_at=now,
                received_at=now,
            )
            [receipt] = self._log.append([feedback])
            if receipt.status != "added":
                raise RewardError(f"the answer was not kept: {receipt.reason or receipt.status}")
            said = Judged(question.left, question.right, answer.outcome, self._by)
            self._judged.append(said)
        self._asked.add(question.left)

    def _drawn(self, n: int) -> list[Question]:
        """Return up to n random pairs of different clips, the left one not asked about before."""
        names = list(self._starts)
        ends = np.cumsum([self._starts[name] for name in names])
        found: list[Question] = []
        for _ in range(_DRAWS):
            for place in self._rng.integers(ends[-1], size=(n, 2)).tolist():
                left, right = (self._clip(names, ends.tolist(), one) for one in place)
                if left not in self._asked and left != right and len(found) < n:
                    found.append(Question(left, right))
            if len(found) == n:
                break
        return found

    def _clip(self, names: list[str], ends: list[int], place: int) -> Span:
        row = int(np.searchsorted(ends, place, side="right"))
        start = place - (ends[row - 1] if row else 0)
        return Span(names[row], start, start + self._length)

    def _model(self) -> ClipReward | None:
        """Return a model of the answers so far, not always of the last few."""
        n = len(self._judged)
        if n >= FEWEST and (self._reward is None or n - self._fitted >= AGAIN):
            pairs = self._reader.pairs(self._episodes, self._judged)
            if len(pairs):
                reference = pairs.left.reshape(-1, self._reader.width)
                self._reward = ClipReward.fit(pairs, reference, seed=n)
                self._fitted = n
        return self._reward
