"""``[gate]``, ``[loop]`` and ``[serve]``: what goes live, when, and how it meets people."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from heedful.config.fields import key, toml
from heedful.config.section import DAY, YEAR, Number, Section

Margin = Annotated[float, Field(gt=0, lt=1)]
Inner = Annotated[float, Field(gt=0, lt=1)]


class Gate(Section):
    """The evidence a candidate must bring before it goes live."""

    alpha: float = key(0.05, "probability of ever promoting what is no better", gt=0, lt=0.5)
    shares: list[Inner] = key(
        [0.5], "share of subjects who get the candidate, by stage of a trial: [0.1, 0.5]"
    )
    margin: float = key(0.0, "by how much it must be better, in scaled reward", ge=-1, lt=1)
    window: float = key(
        DAY, "how long a subject's answers are collected", unit="seconds", gt=0, le=YEAR
    )
    maturity: float = key(0.0, "wait for late answers after that", unit="seconds", ge=0, le=YEAR)
    minimum_subjects: int = key(
        100, "no verdict, and no next stage, before this many", unit="subjects", ge=1, le=10**9
    )
    maximum_subjects: int = key(
        10_000, "a trial that has not convinced by then ends", unit="subjects", ge=1, le=10**9
    )
    approval: bool = key(False, "whether a person must say yes as well")
    evidence: Literal["assignment", "paired"] = key(
        "assignment",
        "where it comes from: a trial on people, or games that candidate and live version play",
    )
    pairs: int = key(
        2000, "paired: games of each of the two, at most", unit="games", ge=30, le=10_000_000
    )
    returns: list[Number] = key(
        [], "paired: the returns that count 0 and 1; empty: as the domain reads a reward"
    )
    betting: Literal["mixture", "agrapa"] = key(
        "mixture", "how evidence is bet for: twelve stakes at once, or one that moves"
    )
    rollback_alpha: float = key(
        0.2, "probability of ever rolling back what is not worse", gt=0, lt=1
    )
    not_more: dict[str, Margin] = key(
        {}, "guardrails: by how much a measure may exceed the live policy's: flagged = 0.01"
    )
    not_less: dict[str, Margin] = key(
        {}, "guardrails: by how much a measure may fall below it: clicked = 0.01"
    )

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, data: Any) -> Any:
        if isinstance(data, dict) and "share" in data:
            stages = f"[{toml(data['share'])}]"
            raise ValueError(
                f"share is now shares, one for each stage of a trial: write shares = {stages}"
            )
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.shares or self.shares != sorted(set(self.shares)):
            raise ValueError("shares needs at least one stage, and each above the one before")
        if self.returns and (len(self.returns) != 2 or not self.returns[0] < self.returns[1]):
            raise ValueError("returns needs two numbers, the lower one first: [-1.0, 1.0]")
        if self.minimum_subjects > self.maximum_subjects:
            raise ValueError("minimum_subjects must not be above maximum_subjects")
        if self.minimum_subjects * len(self.shares) > self.maximum_subjects:
            raise ValueError(
                f"maximum_subjects leaves no room for minimum_subjects in each of the "
                f"{len(self.shares)} stages of shares: raise it, or take fewer stages"
            )
        return self


class Loop(Section):
    """How ``heedful run --forever`` keeps turning, and how much it may forget."""

    rows: int = key(
        1000, "train after this many new rewarded decisions", unit="decisions", ge=1, le=10**12
    )
    every: float = key(
        DAY, "train after this long if there are any at all", unit="seconds", gt=0, le=YEAR
    )
    look: float = key(
        60.0, "look at the log and at the open trial this often", unit="seconds", gt=0, le=DAY
    )
    cohorts: int = key(
        4, "parts of the past, by first visit, on which a candidate is compared", ge=1, le=1000
    )
    forgetting: float = key(
        0.0,
        "largest rise of the loss on what one of them liked; 0: report only",
        unit="nats",
        ge=0,
        le=100,
    )


class Serve(Section):
    """How it meets people."""

    host: str = key("127.0.0.1", "address to listen on", min_length=1, max_length=255)
    port: int = key(8642, "port to listen on; 0: any free one", ge=0, le=65_535)
    floor: float = key(
        0.05, "share of decisions drawn uniformly: the next gate needs it", gt=0, le=1
    )
    slate: int = key(5, "units per decision, unless asked otherwise", unit="units", ge=1, le=1000)
    hold: float = key(
        0.0, "share of decisions that wait for a person before they are shown", ge=0, lt=1
    )
    session_gap: float = key(
        1800.0, "silence after which a new session begins", unit="seconds", gt=0, le=YEAR
    )
    body_limit: int = key(
        1_048_576, "largest request body", unit="bytes", ge=1024, le=1_073_741_824
    )
