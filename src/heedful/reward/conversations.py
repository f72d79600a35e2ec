"""A log of conversations as texts: prompts, replies, and which of them people judged."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from heedful.reward.judgements import FIRST, TIE, Comparisons, Rated
from heedful.reward.ngrams import Floats, Ints
from heedful.reward.rewards import RewardError
from heedful.store.snapshot import Snapshot

MESSAGES = "messages"
"""Where a context holds what was said, as :class:`heedful.contract.Conversation` makes it."""


def transcript(messages: Sequence[Mapping[str, str]]) -> str:
    r"""Return a conversation as one text: what reward functions are given as a prompt.

    A single message is itself; in longer conversations each begins with its role.

    >>> transcript([{"role": "user", "content": "Why?"}])
    'Why?'
    >>> transcript([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}])
    'system: Be kind.\n\nuser: Hi'
    """
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(f"{one['role']}: {one['content']}" for one in messages)


@dataclass(frozen=True, slots=True, eq=False)
class Exchanges:
    """The N decisions of a snapshot as texts.

    Attributes:
        prompts: N texts, all that was said before each reply; empty where nothing was, as before
            plain text, which lies in the log as if somebody had said it.
        completions: N texts.
        openings: N texts, what each conversation began with: those of one opening belong together
            where some are left out.
    """

    prompts: list[str]
    completions: list[str]
    openings: list[str]

    @classmethod
    def of(cls, snapshot: Snapshot, text: Callable[[Sequence[str]], str]) -> Self:
        """Read the conversations of ``snapshot``.

        Args:
            snapshot: what happened; its contexts hold messages.
            text: units of a reply to what it says.

        Raises:
            RewardError: no context holds messages, so these are no conversations.
        """
        decisions, names = snapshot.decisions, snapshot.names
        heard: dict[int, list[Mapping[str, str]]] = {}
        prompts, completions, openings = [], [], []
        began: dict[int, str] = {}
        if decisions.n and not any(map(_messages, decisions.contexts)):
            raise RewardError(
                "no decision has messages in its context, so their replies answer nothing that "
                "could be read"
            )
        for row, episode in enumerate(decisions.episode.tolist()):
            messages = heard.setdefault(episode, [])
            messages.extend(_messages(decisions.contexts[row]))
            units = decisions.units[decisions.offsets[row] : decisions.offsets[row + 1]]
            reply = text([names.units[code] for code in units.tolist()])
            prompts.append(transcript(messages))
            completions.append(reply)
            openings.append(began.setdefault(episode, prompts[-1]))
            if messages:  # each stretch of plain text would else be the prompt of the next
                messages.append({"role": "assistant", "content": reply})
        return cls(prompts, completions, openings)

    def compared(
        self, decisions: Ints, ties: npt.NDArray[np.bool_], gaps: Floats
    ) -> tuple[Comparisons, int]:
        """Return what is known of P pairs of decisions, and how many answer different prompts.

        Args:
            decisions: int64 [P, 2], rows; the first is the one that was preferred, or as good.
            ties: bool [P].
            gaps: float64 [P], by how much the first was rated higher, from -1 to 1; NaN where that
                is not known. A gap that agrees with the preference is its margin.
        """
        prompts = [(self.prompts[one], self.prompts[other]) for one, other in decisions.tolist()]
        kept = [i for i, (one, other) in enumerate(prompts) if one == other]
        first, second = (decisions[kept, side].tolist() for side in (0, 1))
        pairs = Comparisons.of(
            [self.prompts[i] for i in first],
            [self.completions[i] for i in first],
            [self.completions[i] for i in second],
            np.where(ties[kept], TIE, FIRST),
            margins=np.where(ties[kept], 0.0, np.maximum(np.nan_to_num(gaps[kept]), 0.0)),
            groups=[self.openings[i] for i in first],
        )
        return pairs, len(prompts) - len(kept)

    def rated(self, decisions: Ints, numbers: Floats) -> Rated:
        """Return the replies of ``decisions``, int64 [R], with a number each, [R]."""
        rows = decisions.tolist()
        return Rated.of(
            [self.prompts[i] for i in rows],
            [self.completions[i] for i in rows],
            numbers,
            groups=[self.openings[i] for i in rows],
        )


def _messages(context: str) -> list[Mapping[str, str]]:
    found: Any = json.loads(context or "{}").get(MESSAGES)
    return found if isinstance(found, list) else []
