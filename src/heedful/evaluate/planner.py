"""How many subjects a gain needs before the gate sees it: trials, simulated before there is one.

Subjects are drawn with replacement from rewards that were seen (or from a click rate that is
assumed), assigned at random, and judged by the functions that judge a real trial. A gain moves the
candidate's subjects up by the same share of what each has left to gain,

    r' = r + (1 - r) gain / (1 - mean r),

so that rewards stay within [0, 1] and their mean rises by the gain exactly; a loss moves them down
by the same share of what they have. Guardrails are not simulated: a rare harm with a small margin
may need more subjects than the gain does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from heedful.evaluate.adaptive import Betting, log_evidence_by
from heedful.evaluate.checked import FloatArray, unit_interval
from heedful.evaluate.evidence import assignment_differences
from heedful.evaluate.gate import ASSIGNMENT_FRACTIONS, alpha_of

STRENGTH = 5.0
"""Assumed click rates of subjects are Beta(5 base, 5 (1 - base)): as unlike as readers are."""

_AT_ONCE = 400_000  # subjects simulated together: twelve stakes on each are 38 MB


@dataclass(frozen=True, slots=True)
class Planned:
    """What trials of a candidate with a certain gain would come to.

    Attributes:
        gain: by how much it is better per subject, scaled reward.
        base: mean reward of the live policy's subjects.
        spread: standard deviation of the subjects' rewards.
        needed: the evidence that promotes.
        power: (subjects of both arms together, share of trials that promote by then).
        median: subjects by which half of the trials promote; ``None`` if more than were simulated.
        most: subjects by which four of five do; ``None`` if more.
        simulated: subjects of each trial.
        runs: trials.
    """

    gain: float
    base: float
    spread: float
    needed: float
    power: tuple[tuple[int, float], ...]
    median: int | None
    most: int | None
    simulated: int
    runs: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        power = [{"subjects": subjects, "power": share} for subjects, share in self.power]
        return {**asdict(self), "power": power}


def plan(
    rewards: FloatArray,
    gain: float,
    *,
    share: float,
    alpha: float = 0.05,
    k: int = 1,
    margin: float = 0.0,
    betting: Betting = "mixture",
    rows: Sequence[int] = (250, 500, 1000, 2000, 4000, 10_000),
    runs: int = 400,
    seed: int = 0,
) -> Planned:
    """Simulate trials of a candidate that is better by ``gain``.

    Args:
        rewards: [P], subjects' rewards under the live policy, within [0, 1].
        gain: scaled reward per subject.
        share: of the subjects who get the candidate.
        alpha: of all candidates together.
        k: which candidate it would be, from 1.
        margin: by how much a candidate must be better.
        betting: the rule.
        rows: at how many subjects the power is asked for, rising; as many are simulated.
        runs: simulated trials; shares are known to about 1 / (2 sqrt(runs)).
        seed: of the simulation.

    Raises:
        ValueError: there are no rewards, they leave no room for the gain, or rows do not rise.
    """
    pool = unit_interval("rewards", rewards)
    if len(pool) == 0:
        raise ValueError("rewards: no subject has any yet; serve for a while, or assume a base")
    counts = list(rows)
    if not counts or counts[0] < 1 or counts != sorted(set(counts)):
        raise ValueError(f"rows: expected rising numbers of subjects, got {counts}")
    better, needed = moved(pool, gain), 1 / alpha_of(k, alpha)
    rng, crossed = np.random.default_rng(seed), []
    at_once = max(1, _AT_ONCE // counts[-1])
    for done in range(0, runs, at_once):
        size = (min(at_once, runs - done), counts[-1])
        arm, who = rng.random(size) < share, rng.integers(len(pool), size=size)
        pairs = assignment_differences(np.where(arm, better[who], pool[who]), arm, share, margin)
        over = log_evidence_by(betting, *pairs, ASSIGNMENT_FRACTIONS) >= math.log(needed)
        crossed.append(np.where(over.any(axis=-1), over.argmax(axis=-1) + 1, np.inf))
    at = np.sort(np.concatenate(crossed))
    return Planned(
        gain=gain,
        base=float(pool.mean()),
        spread=float(pool.std()),
        needed=needed,
        power=tuple((n, float((at <= n).mean())) for n in counts),
        median=_reached(at, 0.5),
        most=_reached(at, 0.8),
        simulated=counts[-1],
        runs=runs,
    )


def moved(rewards: FloatArray, gain: float) -> FloatArray:
    """Return rewards [P] whose mean is higher by ``gain``, each within [0, 1].

    Raises:
        ValueError: there is no room for it.

    >>> moved(np.array([0.0, 0.5, 1.0]), 0.25)
    array([0.5 , 0.75, 1.  ])
    """
    mean = float(rewards.mean())
    room = 1 - mean if gain >= 0 else mean
    if abs(gain) > room or room == 0:
        raise ValueError(f"gain: {gain:+g} is more than there is room for, the mean being {mean:g}")
    part = gain / room
    raised: FloatArray = rewards + (1 - rewards if gain >= 0 else rewards) * part
    return raised


def assumed(base: float, decisions: int, *, subjects: int = 10_000, seed: int = 0) -> FloatArray:
    """Return rewards of subjects who click with a rate about ``base``, [subjects].

    Args:
        base: mean click rate, within (0, 1).
        decisions: of each subject's window, at least 1.
        subjects: how many.
        seed: of the draw.

    Raises:
        ValueError: base or decisions is out of range.
    """
    if not 0 < base < 1:
        raise ValueError(f"base: expected a rate between 0 and 1, got {base}")
    if decisions < 1:
        raise ValueError(f"decisions: expected at least 1, got {decisions}")
    rng = np.random.default_rng(seed)
    rates = rng.beta(STRENGTH * base, STRENGTH * (1 - base), subjects)
    clicked: FloatArray = rng.binomial(decisions, rates) / decisions
    return clicked


def _reached(at: FloatArray, share: float) -> int | None:
    """The row by which this share of the trials, in order, has promoted."""
    row = at[math.ceil(share * len(at)) - 1]
    return int(row) if np.isfinite(row) else None
