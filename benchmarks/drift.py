"""The drifting shop: everybody's tastes change, and a loop that goes on learning follows them.

One genre is the favourite of nearly all people, and from one decision on another one is. New people
come in every round, through the service; what is learned from is the log. Beside the loop stand the
same policy frozen at the change, one begun anew every round, the oracle, which sees tastes, and
slates drawn at random.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import Table, _drifting
from benchmarks._drifting import ANEW, FLOOR, FROZEN, GATED, WARM, Scale, references, served
from benchmarks._kept import keep

WORLDS = (21, 22, 23)
ARMS = {
    GATED: "warm start, through the gate",
    WARM: "warm start, served at once",
    ANEW: "begun anew every round, served at once",
    FROZEN: "frozen at the change",
}
REGAINED = 0.9  # of the oracle's click rate
LATER = 4  # rounds for which the two loops are followed longer than the others
SETTLED = 2  # rounds before the change that say where a policy stood
PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "drift.png"
Floats = NDArray[np.float64]


QUICK = Scale(people=40, groups=2, decisions=6, before=2, after=2)


def run(quick: bool) -> list[Table]:
    """Let every arm live through the change in every world; what is done is kept."""
    scale, worlds = (QUICK, WORLDS[:1]) if quick else (Scale(), WORLDS)
    longer = scale if quick else replace(scale, after=scale.after + LATER)
    beside = [references(world, longer) for world in worlds]
    lives = [
        _lives((WARM, ANEW, FROZEN), world, scale)
        | _lives((WARM,), world, longer)
        | _lives((GATED,), world, longer)
        for world in worlds
    ]
    shares = {arm: _share(lives, beside, arm, "clicks", "oracle") for arm in ARMS}
    whole = {arm: _share(lives, beside, arm, "all", "oracle, all") for arm in (GATED, WARM)}
    best, random = (np.array([one[name] for one in beside]) for name in ("oracle", "random"))
    tables = [
        _over_time(shares, whole, random / best, scale, worlds),
        _regained(shares, scale, worlds),
        _remembered([one[WARM] for one in lives], scale),
    ]
    if not quick:
        PICTURE.write_bytes(_picture(shares, random / best, scale))
    return tables


def _share(
    lives: Sequence[Mapping[str, Any]],
    beside: Sequence[Mapping[str, Any]],
    arm: str,
    clicks: str,
    oracle: str,
) -> Floats:
    """Return an arm's click rate over the oracle's, [worlds, rounds of its life]."""
    own = np.array([one[arm][clicks] for one in lives])
    return own / np.array([one[oracle] for one in beside])[:, : own.shape[1]]


def _lives(arms: Sequence[str], world: int, scale: Scale) -> dict[str, dict[str, Any]]:
    def measured() -> dict[str, dict[str, Any]]:
        return served(arms, world, scale, {})

    settings = {"arms": list(arms), "world": world, "scale": asdict(scale), "changes": {}}
    found: dict[str, dict[str, Any]] = keep(measured, code=[_drifting.__name__], settings=settings)
    return found


def _over_time(
    shares: Mapping[str, Floats],
    whole: Mapping[str, Floats],
    random: Floats,
    scale: Scale,
    worlds: Sequence[int],
) -> Table:
    """Say what each arm's click rate is as a share of the oracle's, round by round."""
    rows = {ARMS[arm]: share for arm, share in shares.items()}
    rows |= {f"{ARMS[arm]}, all slates": share for arm, share in whole.items()}
    rows |= {"random slates": random}
    head = ["last before", *(f"{number * scale.rows:,}" for number in range(scale.after))]

    def cells(share: Floats) -> list[str]:
        before = share[:, scale.before - SETTLED : scale.before].mean()
        after = share[:, scale.before : scale.before + scale.after]
        return [f"{before:.2f}", *(f"{x:.2f}" for x in after.mean(0))]

    return Table(
        "Click rate over the oracle's, by decisions that were logged after tastes changed",
        ("policy", *head),
        tuple((name, *cells(share)) for name, share in rows.items()),
        f"Means over worlds {list(worlds)}. In each, {scale.before} rounds of {scale.rows:,} "
        f"decisions before the change and {scale.after} after it; new people every round, who see "
        f"{scale.decisions} slates of 5 each. Counted are their slates from the sixth on, as in "
        "the other tables of this shop: the oracle knows somebody at the first slate, and nobody "
        "else can; two rows count all slates. Click rates are exact expectations for what was "
        f'shown. "Last before" are the last {SETTLED} rounds.',
    )


def rows_until(share: Floats, scale: Scale) -> int | None:
    """Return how many decisions had been logged since the change when ``share`` was regained.

    Args:
        share: [rounds], the click rate over the oracle's.
        scale: says which rounds are after the change.

    Returns:
        Those before the first round that reached it; ``None`` where none did.
    """
    reached = np.flatnonzero(share[scale.before :] >= REGAINED)
    return int(reached[0]) * scale.rows if len(reached) else None


def _regained(shares: Mapping[str, Floats], scale: Scale, worlds: Sequence[int]) -> Table:
    """Say after how many rows each arm was back at nine tenths of the oracle's click rate."""

    def cell(share: Floats) -> str:
        rows = rows_until(share, scale)
        best = share[scale.before :].max()
        horizon = (len(share) - scale.before) * scale.rows
        return f"not in {horizon:,}; {best:.2f}" if rows is None else f"{rows:,}"

    return Table(
        f"Decisions after the change until {REGAINED:.0%} of the oracle's click rate",
        ("policy", *(f"world {world}" for world in worlds), "best round, mean"),
        tuple(
            (ARMS[arm], *(cell(one) for one in share), f"{_best(share, scale):.2f}")
            for arm, share in shares.items()
        ),
        "Logged before the first round that reached it. Where none did: the best round's share.",
    )


def _best(share: Floats, scale: Scale) -> float:
    return float(share[:, scale.before :].max(axis=1).mean())


def _remembered(arm: Sequence[Mapping[str, Any]], scale: Scale) -> Table:
    """Say what the candidates of the warm-started loop lost on the past, cohort by cohort."""
    n = max(len(one["cohorts"]) for world in arm for one in world["past"] if one)
    rounds = {"before the change": slice(1, scale.before), "after it": slice(scale.before, None)}
    rows = []
    for name, part in rounds.items():
        for place in range(n):
            cohorts = [
                one["cohorts"][place]
                for world in arm
                for one in world["past"][part]
                if one and len(one["cohorts"]) == n
            ]
            rises = [cohort["rise"]["mean"] for cohort in cohorts]
            losses = [cohort["candidate"] for cohort in cohorts]
            rise = (f"{np.mean(rises):+.2f}", f"{np.max(rises):+.2f}")
            loss = (f"{np.mean(losses):.2f}", f"{np.max(losses):.2f}")
            rows.append((name, str(place + 1), *rise, *loss))
    bound = math.log(scale.shop(0, 0).items / FLOOR)
    return Table(
        "What candidates of the warm-started loop lost on past cohorts",
        ("candidates", "cohort", "mean rise", "largest", "mean loss", "largest"),
        tuple(rows),
        "In nats per held-out liked unit; a rise is over the candidate's parent. Cohort 1 came "
        "first and holds those who bought before there was a policy. No loss can be above "
        f"{bound:.2f}, which the exploration floor sees to.",
    )


def _picture(shares: Mapping[str, Floats], random: Floats, scale: Scale) -> bytes:
    """Draw the click rate over time, with the range of the worlds."""
    from heedful.loop.plots import Line, png, reward_by_round

    x = (np.arange(random.shape[1]) - scale.before) * scale.rows
    lines = [
        Line(ARMS[arm], x[: share.shape[1]], share.mean(0), share.min(0), share.max(0))
        for arm, share in shares.items()
    ]
    lines.append(Line(f"{REGAINED:.0%} of the oracle", x, [REGAINED] * len(x), reference=True))
    lines.append(Line("random slates", x, random.mean(0), reference=True))
    return png(
        reward_by_round(
            lines,
            reward="click rate over the oracle's",
            x="decisions since tastes changed",
            events=[(0.0, "tastes change")],
        )
    )
