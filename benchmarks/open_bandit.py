"""Open Bandit: what showing every item alike earns, from the log of a policy that did not.

The Open Bandit Dataset has two logs of each campaign, shown to people of the same shop in the same
days: one by Thompson sampling with the probabilities that acted, one by the uniform policy. The
first is asked what the second earned. Its answer is held against the click rate of the second,
which is a sample too, so the error of both counts.

How much a weight is made smaller is set by the number of rows alone, M = sqrt(n) (Ionides 2008),
and the checks and their limits are the gate's: nothing here was chosen by looking at the result.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from benchmarks import Table
from benchmarks._data import real
from heedful.evaluate import (
    HealthCheck,
    Interval,
    OffPolicyEstimate,
    clipped_ips,
    cross_fit,
    dm,
    dr,
    dr_shrunk,
    importance_weights,
    ips,
    off_policy,
    sndr,
    snips,
    sub_gaussian_ips,
    switch_dr,
)
from heedful.evaluate.likelihood import cressie_read, empirical_likelihood
from heedful.reward import Clicks, earn
from heedful.store import Log, import_file

CAMPAIGNS = {"men": 34, "women": 46}
POLICIES = {"bts": "Thompson sampling", "random": "uniform"}
LEVEL = 0.95
_KEY = b"a key of sixteen"  # subjects' names are not kept


@dataclass(frozen=True)
class Impressions:
    """What one policy showed in a campaign.

    Attributes:
        item: int64 [N], from 0.
        position: int64 [N], which of three places.
        logps: float64 [N], log-probability of the item, as logged.
        clicks: float64 [N], 0 or 1.
    """

    item: NDArray[np.int64]
    position: NDArray[np.int64]
    logps: NDArray[np.float64]
    clicks: NDArray[np.float64]


def read(campaign: str, policy: str) -> Impressions:
    """Import a log of the dataset as anybody would, and read it back.

    Raises:
        NoData: it is not there.
    """
    file = real("open-bandit", policy, campaign, f"{campaign}.csv.gz")
    with TemporaryDirectory() as folder, Log.open(Path(folder) / "log.db", write=True) as log:
        import_file(log, file, key=_KEY, made_by=policy)
        snapshot = log.snapshot()
        decisions = snapshot.decisions
        clicks = earn(snapshot, Clicks(), maturity=0.0, now=0.0).decisions
        places = [json.loads(text)["position"] for text in decisions.contexts]
        return Impressions(
            item=decisions.units.astype(np.int64),
            position=np.array(places),
            logps=decisions.logps.copy(),
            clicks=clicks,
        )


def estimates(log: Impressions, items: int) -> Mapping[str, OffPolicyEstimate]:
    """Estimate the uniform policy's click rate from ``log``, each way there is for single choices.

    The reward model knows item and position, and is cross-fitted by row: nobody has a name here.
    """
    n = len(log.clicks)
    uniform = np.full(n, -math.log(items))
    rows = (uniform, log.logps, log.clicks)
    most = math.sqrt(n)
    context = np.eye(4)[log.position][:, 1:]
    model = cross_fit(log.item, log.clicks, np.arange(n), items, context=context)
    modelled = (*rows, model.logged(log.item), model.policy(np.full((n, items), 1 / items)))
    w = importance_weights(uniform, log.logps)
    return {
        "IPS": ips(*rows),
        "SNIPS": snips(*rows),
        "clipped IPS": clipped_ips(*rows, most),
        "sub-Gaussian IPS": sub_gaussian_ips(*rows, 1 / most),
        "Cressie-Read": cressie_read(w, log.clicks),
        "empirical likelihood": empirical_likelihood(w, log.clicks),
        "DM": dm(uniform, log.logps, modelled[4]),
        "DR": dr(*modelled),
        "SNDR": sndr(*modelled),
        "Switch-DR": switch_dr(*modelled, most),
        "DRos": dr_shrunk(*modelled, most**2),
    }


def health(log: Impressions, items: int) -> tuple[HealthCheck, ...]:
    """Return the gate's checks of the weights."""
    uniform = np.full(len(log.clicks), -math.log(items))
    return off_policy(uniform, log.logps, log.logps, log.clicks).health


def difference(estimate: OffPolicyEstimate, own: OffPolicyEstimate) -> Interval:
    """Return the interval of estimate - own, two independent samples: the errors add in squares."""
    value = estimate.value - own.value
    error = math.hypot(estimate.standard_error, own.standard_error)
    both = OffPolicyEstimate(value, error, estimate.ess, 1.0, 1.0, estimate.n, 0.0)
    return both.interval(LEVEL)


def run(*, quick: bool = False) -> list[Table]:
    """Read both campaigns; ``quick`` is the same, as it takes seconds."""
    return [table for campaign in CAMPAIGNS for table in _campaign(campaign)]


def _campaign(campaign: str) -> list[Table]:
    items = CAMPAIGNS[campaign]
    log, other = read(campaign, "bts"), read(campaign, "random")
    own = ips(other.logps, other.logps, other.clicks)
    checks = health(log, items)
    failed = [check for check in checks if not check.passed]
    title = f"{campaign}, {items} items, {len(log.clicks):,} impressions each"
    verdict = "refused" if failed else "fit to be judged by"
    rows = tuple(
        (check.name, "passed" if check.passed else "failed", check.sentence) for check in checks
    )
    tables = [Table(f"{title}: the log is {verdict}", ("check", "", "what it found"), rows)]
    if not failed:
        tables.append(_values(title, estimates(log, items), own, float(log.clicks.mean())))
    return tables


def _values(
    title: str, found: Mapping[str, OffPolicyEstimate], own: OffPolicyEstimate, logged: float
) -> Table:
    rows = []
    for name, estimate in found.items():
        own_interval, apart = estimate.interval(LEVEL), difference(estimate, own)
        rows.append(
            (
                name,
                f"{estimate.value:.5f}",
                f"{own_interval.low:.5f} to {own_interval.high:.5f}",
                f"{apart.mean:+.5f}",
                f"{apart.low:+.5f} to {apart.high:+.5f}",
                "yes" if apart.low <= 0 <= apart.high else "no",
            )
        )
    truth = own.interval(LEVEL)
    return Table(
        f"{title}: the uniform policy's clicks per impression",
        ("estimate", "value", "95 %", "minus its own log", "95 %, both sampled", "contains 0"),
        tuple(rows),
        f"In its own log the uniform policy earned {own.value:.5f} ({truth.low:.5f} to "
        f"{truth.high:.5f}), Thompson sampling {logged:.5f} in the log that was asked.",
    )
