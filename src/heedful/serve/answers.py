"""Decisions that were answered before, so that asking twice with one key gets one decision."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from heedful.serve.inbox import Asked
from heedful.serve.requests import DecisionAnswer, HeldAnswer, ServiceError

Name = tuple[str, str]
Answer = DecisionAnswer | HeldAnswer


class Answers:
    """The last answers by subject and idempotency key, in bounded memory.

    A service that restarts forgets them: a request sent again is then decided anew, and the first
    decision stands in the log as one that nobody answered.
    """

    def __init__(self, limit: int) -> None:
        """Remember up to ``limit`` answers."""
        self._limit = limit
        self._known: OrderedDict[Name, tuple[bytes, Answer]] = OrderedDict()

    def sort(self, asked: Sequence[Asked]) -> tuple[list[Asked], list[tuple[Asked, Asked]]]:
        """Answer what was answered before.

        Returns:
            What is new, and what repeats something new, beside it: for :meth:`repeat`, later.
        """
        fresh: list[Asked] = []
        repeated: list[tuple[Asked, Asked]] = []
        firsts: dict[Name, Asked] = {}
        for item in asked:
            name = _name(item)
            if name is not None and name in self._known:
                fingerprint, answer = self._known[name]
                same = fingerprint == item.request.fingerprint()
                item.result = answer if same else _other_body()
            elif name is not None and name in firsts:
                repeated.append((item, firsts[name]))
            else:
                fresh.append(item)
                if name is not None:
                    firsts[name] = item
        return fresh, repeated

    def repeat(self, item: Asked, first: Asked) -> Answer | ServiceError | None:
        """Return the answer to ``item``, which has the key of ``first``."""
        same = item.request.fingerprint() == first.request.fingerprint()
        return first.result if same else _other_body()

    def keep(self, item: Asked, answer: Answer) -> None:
        """Remember the answer, if the request has a key."""
        name = _name(item)
        if name is not None:
            self._known[name] = (item.request.fingerprint(), answer)
            if len(self._known) > self._limit:
                self._known.popitem(last=False)


def _name(item: Asked) -> Name | None:
    key = item.request.idempotency_key
    return None if key is None else (item.subject, key)


def _other_body() -> ServiceError:
    return ServiceError(
        "conflict", "idempotency_key: an earlier request with another body has it; mint a new one"
    )
