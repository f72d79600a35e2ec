"""One turn of the circle: settle what is on trial, or train the next candidate and try it.

    people -> serve -> log -> prepare -> objective -> candidate -> gate -> registry -> serve

Everything a turn knows stands in the log and the registry, so that a turn which was killed is
simply taken again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, cast

import numpy as np

from heedful.evaluate import Verdict
from heedful.loop import deploy, steps
from heedful.loop.bench import Bench
from heedful.loop.forgetting import Forgetting, forgetting, keep_forgetting
from heedful.loop.reward import fit_reward
from heedful.record import Kind, is_reviewed
from heedful.reward import RewardError, said
from heedful.store.registry import Version
from heedful.store.registry.card import Json

Action = Literal[
    "first version",
    "trial begun",
    "raised",
    "promoted",
    "refused",
    "waiting",
    "approval",
    "nothing new",
]

logger = logging.getLogger("heedful.loop")

NETWORKS = (steps.BEGUN, "pretrain", "reinforce", "tune")
FORGETTING = "forgetting"
"""Under this name an audit entry holds why a candidate got no trial."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn did.

    Attributes:
        action: in a word or two.
        policy: the version it concerns; ``None`` where there is none.
        words: what was done and why.
        verdict: the gate's, where a trial was judged.
        forgetting: how a new candidate does on past cohorts beside its parent.
    """

    action: Action
    policy: str | None
    words: str
    verdict: Verdict | None = None
    forgetting: Forgetting | None = None

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON."""
        gate = None if self.verdict is None else self.verdict.to_dict()
        past = None if self.forgetting is None else self.forgetting.to_dict()
        return {
            "action": self.action,
            "policy": self.policy,
            "words": self.words,
            "gate": gate,
            "forgetting": past,
        }


def turn(bench: Bench, *, by: str = "heedful") -> Turn:
    """Take one turn: judge the open trial, or else train a candidate and begin its trial.

    The first version of a workspace goes live at once: there is nothing it could be compared with.
    """
    if bench.registry.trial() is not None:
        settled = deploy.settle(bench, by=by)
        return Turn(settled.outcome, settled.candidate, settled.words, settled.verdict)
    candidate = untried(bench) or trained(bench)
    if candidate is None:
        words = "Nothing new has come into the log since the last candidate was trained."
        return Turn("nothing new", None, words)
    if bench.registry.live() is None:
        deploy.promote(bench, candidate.name, by=by)
        words = f"Version {candidate.name} is the first, and live."
        return Turn("first version", candidate.name, words)
    past = forgetting(bench, candidate)
    if past is not None:
        keep_forgetting(bench.runs, past)
        if (refusal := forgot(past, bench.config.loop.forgetting)) is not None:
            evidence = cast(Mapping[str, Json], {FORGETTING: past.to_dict()})
            bench.registry.refuse(candidate.name, by=by, why=refusal, evidence=evidence)
            return Turn("refused", candidate.name, refusal, forgetting=past)
    if bench.config.gate.evidence == "paired":
        return _by_games(bench, candidate, past, by=by)
    trial = deploy.begin_trial(bench, candidate.name, by=by)
    shares = " then ".join(f"{share:.0%}" for share in trial.shares)
    words = (
        f"Version {candidate.name} is on trial against {trial.baseline} with {shares} of the "
        f"subjects; evidence of {1 / trial.alpha:,.0f} promotes it."
    )
    return Turn("trial begun", candidate.name, words, forgetting=past)


def _by_games(bench: Bench, candidate: Version, past: Forgetting | None, *, by: str) -> Turn:
    """Let the candidate and the live version play, and promote or refuse it by that."""
    if bench.config.gate.approval:
        words = (
            f"Version {candidate.name} waits for a person: heedful promote lets it and the live "
            "version play, and promotes it if the games allow it."
        )
        return Turn("approval", candidate.name, words, forgetting=past)
    settled = deploy.settle_by_games(bench, candidate.name, by=by)
    return Turn(settled.outcome, settled.candidate, settled.words, settled.verdict, past)


def forgot(past: Forgetting, limit: float) -> str | None:
    """Say why a candidate gets no trial, or ``None`` where it may have one.

    Args:
        past: how it does on past cohorts.
        limit: ``[loop] forgetting``; 0 refuses nothing.
    """
    cohort = past.beyond(limit) if limit else None
    if cohort is None:
        return None
    place, rise = past.cohorts.index(cohort) + 1, cohort.rise
    since, until = (datetime.fromtimestamp(t, UTC).date() for t in (cohort.since, cohort.until))
    return (
        f"Version {past.candidate} gets no trial: in past cohort {place} of {len(past.cohorts)} "
        f"(who came from {since} to {until}) its loss on what they liked is {rise.mean:+.3f} nats "
        f"[{rise.low:+.3f}, {rise.high:+.3f}] over that of its parent {past.parent}, and "
        f"loop.forgetting allows {limit:g}. Replay more of the old (reinforce.replay), or allow "
        "more if tastes have changed."
    )


def untried(bench: Bench) -> Version | None:
    """Return the newest version if it is a candidate that has had no trial yet."""
    versions = bench.registry.versions()
    if not versions or versions[-1].state != "candidate":
        return None
    tried = {trial.candidate for trial in bench.registry.trials()}
    judged = {entry.version for entry in bench.registry.audit() if entry.action == "judged"}
    return None if versions[-1].name in tried | judged else versions[-1]


def trained(bench: Bench) -> Version | None:
    """Train what the log allows: a network on what people chose, then better ones on rewards.

    Returns:
        ``None`` where the log holds nothing that the newest version was not trained on.
    """
    registry, network = bench.registry, newest_network(bench)
    begun = network is None and chosen(bench)
    if begun:
        network = steps.pretrained(bench)
    if network is not None:
        if rewarded(bench, after=looked_until(bench)):
            reward = refitted(bench)
            until = steps.interrupted_at(bench, network, reward)
            return steps.reinforced(bench, network, reward, until=until)
        return network if begun else None
    if registry.versions():
        return None
    return steps.begun(bench) if steps.plays(bench) else steps.popularity(bench)


def refitted(bench: Bench) -> str | None:
    """Fit the reward to the log as it stands, where ``[reward]`` asks for one; return its name.

    Returns:
        The last one where the log does not allow it, ``None`` where it never did: till people have
        said enough, what they said is all that is learned from, and the version's card says so.
    """
    if not bench.config.reward.fitted:
        return None
    try:
        return fit_reward(bench).name
    except RewardError as error:
        logger.warning("the reward was not fitted: %s", error)
        return bench.shelf.newest()


def newest_network(bench: Bench) -> Version | None:
    """Return the last network that was trained, whether it went live or not.

    Learning goes on from there: what the gate refuses is not worse to learn from, only not shown
    to be better to serve. What was refused because it forgot is: a child of it, compared with it,
    would seem to forget nothing.
    """
    forgetful = {
        entry.version
        for entry in bench.registry.audit()
        if entry.action == "refused" and FORGETTING in entry.evidence
    }
    kept = [version for version in networks(bench) if version.name not in forgetful]
    return kept[-1] if kept else None


def networks(bench: Bench) -> list[Version]:
    """Return all versions with a network that was trained, the oldest first."""
    return [v for v in bench.registry.versions() if bench.registry.card(v.name).step in NETWORKS]


def looked_until(bench: Bench) -> int:
    """Return the sequence number up to which some version was reinforced; 0 where none was.

    Rows before it lead to no other candidate, even where that version was refused for good.
    """
    return max((steps.learned_until(bench, version) for version in networks(bench)), default=0)


def rewarded(bench: Bench, *, after: int) -> int:
    """Count the decisions after sequence number ``after`` with probabilities and a reward."""
    snapshot = bench.log.snapshot()
    decisions = snapshot.decisions
    known = ~np.isnan(decisions.logps[decisions.offsets[:-1]])
    answered = ~np.isnan(bench.earned(snapshot).decisions)
    return int(np.sum((decisions.seq > after) & known & answered))


def chosen(bench: Bench, *, liked: bool = True) -> bool:
    """Say whether the log holds units that people chose themselves, or ``liked`` when shown."""
    snapshot = bench.log.snapshot()
    decisions = snapshot.decisions
    reviewed = np.array([is_reviewed(name) for name in snapshot.names.policies], dtype=bool)
    own = np.isnan(decisions.logps) & ~reviewed[decisions.policy][decisions.of_unit]
    own &= said(snapshot, Kind.CLICK) != 0
    return bool(np.any(own | (bench.earned(snapshot).units > 0) if liked else own))
