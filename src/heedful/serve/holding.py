"""Which decisions wait for a person before they are shown, and what becomes of them then."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from heedful.record import Decision, reviewed_name
from heedful.serve.inbox import Asked, Fetched
from heedful.serve.requests import DecisionAnswer, HeldAnswer, ServiceError
from heedful.store import StoreError
from heedful.store.registry import Held, Registry


class Holding:
    """Tosses the coin, keeps what waits, and says whether it may be shown.

    The coin knows neither for whom a decision is made, nor by which version, nor of what: it is
    tossed before anything is drawn, from randomness of its own.
    """

    def __init__(self, registry: Registry, *, share: float, seed: int) -> None:
        """Hold ``share`` of the decisions; what waits is kept in ``registry``."""
        self._registry, self._share = registry, share
        self._coin = random.Random(seed)

    def toss(self, asked: Iterable[Asked]) -> None:
        """Say of each item whether it waits."""
        for item in asked:
            item.held = self._share > 0 and self._coin.random() < self._share

    def keep(self, items: Sequence[Asked]) -> None:
        """Keep what was drawn and waits, durably, and answer so."""
        if not items:
            return
        held = [
            Held(decision=item.record, choices=item.choices)
            for item in items
            if item.record is not None and item.choices is not None
        ]
        try:
            self._registry.hold(held)
        except StoreError as error:
            for item in items:
                problem = f"the decision could not be held: {error}"
                item.result = ServiceError("unavailable", problem, retry_after=5.0)
            return
        for item, one in zip(items, held, strict=True):
            item.result = HeldAnswer(id=one.decision.id, session=item.request.session)

    def look_up(self, items: Iterable[Fetched]) -> None:
        """Find out what is known of the decisions that are fetched.

        Raises:
            StoreError: the registry cannot be read.
        """
        for item in items:
            item.held = self._registry.held(item.request.decision)
            item.subject = None if item.held is None else item.held.decision.subject

    def answer(
        self, item: Fetched, blocked: frozenset[str], *, shown: bool
    ) -> HeldAnswer | ServiceError | Decision:
        """Return what to say, or the decision as it was drawn where it may be shown.

        What was stopped or blocked since a person said yes is not shown, unless it was before.

        Args:
            item: with what is known of it.
            blocked: units that no decision may hold.
            shown: it stands in the log already.
        """
        held = item.held
        if held is None:
            return ServiceError("unknown", "no decision of this id was held")
        drawn = held.decision
        if held.answer is None:
            return HeldAnswer(id=drawn.id)
        if held.answer == "rejected":
            return ServiceError("rejected", "a person said no; ask for another decision")
        if shown:
            return drawn
        if self._registry.version(drawn.policy).state == "refused":
            return ServiceError(
                "rejected", "its policy was stopped since; ask for another decision"
            )
        if blocked & set(drawn.units):
            return ServiceError("rejected", "a unit was blocked since; ask for another decision")
        return drawn


def shown(drawn: Decision, text: str | None) -> DecisionAnswer:
    """Return the answer with a decision that a person let through: its probability is unknown.

    Args:
        drawn: as it was drawn.
        text: what its units say, where it is a reply.
    """
    return DecisionAnswer(
        id=drawn.id,
        units=drawn.units,
        logps=(),
        policy=reviewed_name(drawn.policy),
        session=drawn.episode,
        text=text,
    )
