"""``[workspace]`` and ``[import]``: what is learned here, and what files look like."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from heedful.config.fields import key
from heedful.config.section import NAME, Section


class Workspace(Section):
    """What is learnt here, and how the machine is used."""

    domain: str = key("recommendation", "what a unit is: the name of a domain", pattern=NAME)
    seed: int = key(0, "where all randomness starts: same seed, same bits", ge=0, lt=2**32)
    threads: int = key(1, "threads per process; small models are fastest with one", ge=1, le=1024)


class Import(Section):
    """Columns of the files that ``heedful import`` reads; all empty: the format is recognised."""

    subject: str = key("", "column of the person")
    unit: str = key("", "column of what was chosen: item, token or move")
    rating: str = key("", "column of the rating")
    click: str = key("", "column of the click: 0 or 1, true or false")
    comment: str = key("", "column of the comment")
    time: str = key("", "column of the event time: seconds, milliseconds or ISO 8601")
    order: str = key("", "column of a running number, where there are no times")
    session: str = key("", "column of the session; empty: one stream per person")
    decision: str = key("", "column that is alike in rows chosen together, as one slate")
    position: str = key("", "column of the place in the slate, from 0 or 1")
    propensity: str = key("", "column of the probability of the choice, given those before it")
    policy: str = key("", "column of who acted")
    context: list[str] = key([], "columns of what was known when it was chosen")
    anonymous: bool = key(False, "nobody is named: each decision is a subject of its own")
    made_by: str = key("", "who acted, where no column says so", max_length=193)
    bot_rate: float = key(
        0.0, "faster for ten minutes is no person; 0: off", unit="decisions a minute", ge=0, le=1e6
    )
    rating_min: float | None = key(None, "lowest rating, lower ones are bad rows", ge=-1e6, le=1e6)
    rating_max: float | None = key(None, "highest rating, higher ones are bad", ge=-1e6, le=1e6)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.time and self.order:
            raise ValueError("rows are sequenced by time or by order: name one of the two columns")
        if self.subject and self.anonymous:
            raise ValueError("rows name their subject or are anonymous: say one of the two")
        if bool(self.subject or self.anonymous) != bool(self.unit):
            raise ValueError("name both the subject and the unit column, or neither")
        low, high = self.rating_min, self.rating_max
        if low is not None and high is not None and low >= high:
            raise ValueError("rating_min must be below rating_max")
        return self
