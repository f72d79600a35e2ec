"""Who counts in a trial whose share rises, and with which share.

A subject belongs to the stage in which its window opened, and counts with that stage's share. Whose
window was still open when the share rose is left out whole, in both arms alike: whoever changed
from the live version to the candidate would be in neither, and to leave out those alone would pick
the arm. That depends on times only, which are known without the arm; docs/decisions/0013 says why
the bet stays fair. The same holds for subjects whose first decision was held for a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heedful.config import Gate
from heedful.evaluate import per_subject
from heedful.record import is_reviewed
from heedful.reward import Earned
from heedful.store.registry import Trial, uniform
from heedful.store.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class TrialRows:
    """The decisions of a trial.

    Attributes:
        rows: int64, rows of the snapshot's decisions.
        candidate: bool, the row's subject was the candidate's at that moment.
        drawn: float64 by subject of the snapshot, the number in [0, 1) that is compared with the
            share; NaN for subjects without a row.
        strangers: decisions of the trial's time that another version made; they are left out with
            all others of their subjects.
    """

    rows: NDArray[np.int64]
    candidate: NDArray[np.bool_]
    drawn: NDArray[np.float64]
    strangers: int


def trial_rows(trial: Trial, snapshot: Snapshot) -> TrialRows:
    """Return the decisions made since ``trial`` began, with the arm of each.

    The arm follows from the subject, the trial's salt and the share at that moment. A subject for
    whom another version than its arm's decided (an old server, say) is left out whole: several
    versions in one record measure neither (failure mode F13). Decisions that a person let through
    are left out one by one: which ones were held was drawn without looking at the arm.
    """
    decisions, names = snapshot.decisions, snapshot.names
    fresh = np.flatnonzero(decisions.seq > trial.watermark)
    policies = np.array(list(names.policies), dtype=object)
    reviewed = np.array([is_reviewed(name) for name in names.policies], dtype=bool)
    fresh = fresh[~reviewed[decisions.policy[fresh]]]
    subjects = decisions.subject[fresh]
    drawn = np.full(len(names.subjects), np.nan)
    present = np.unique(subjects)
    drawn[present] = [uniform(trial.salt, names.subjects[int(code)]) for code in present]
    arm = drawn[subjects] < trial.shares_at(decisions.made_at[fresh])
    expected = np.where(arm, trial.candidate, trial.baseline)
    strange = policies[decisions.policy[fresh]] != expected
    kept = ~np.isin(subjects, np.unique(subjects[strange]))
    return TrialRows(fresh[kept], arm[kept], drawn, int(strange.sum()))


@dataclass(frozen=True, slots=True)
class TrialSubjects:
    """The subjects of a trial that have matured and count, in the order of maturity.

    Attributes:
        codes: int64 [M], of the snapshot's subjects.
        rewards: float64 [M], mean scaled reward over the subject's window.
        candidate: bool [M], the candidate decided for them in that window.
        share: float64 [M], probability of the candidate when the window opened.
        stage: int64 [M], the stage it opened in.
        straddling: matured subjects left out because the share rose within their window.
        held: matured subjects left out because their first decision was held.
    """

    codes: NDArray[np.int64]
    rewards: NDArray[np.float64]
    candidate: NDArray[np.bool_]
    share: NDArray[np.float64]
    stage: NDArray[np.int64]
    straddling: int
    held: int


def trial_subjects(
    trial: Trial,
    snapshot: Snapshot,
    earned: Earned,
    gate: Gate,
    *,
    now: float,
    first_held: Mapping[str, float] | None = None,
) -> TrialSubjects:
    """Return who counts in ``trial`` by ``now``.

    Args:
        trial: in whatever stage.
        snapshot: what happened.
        earned: what its decisions earned.
        gate: how long a window is, and how long late answers are waited for.
        now: seconds since the epoch.
        first_held: when a decision of a subject was first held in the trial, by pseudonym.
    """
    found, decisions = trial_rows(trial, snapshot), snapshot.decisions
    subjects, made_at = decisions.subject[found.rows], decisions.made_at[found.rows]
    one = per_subject(
        subjects,
        earned.decisions[found.rows],
        made_at,
        window=gate.window,
        maturity=gate.maturity,
        now=now,
    )
    names = snapshot.names.subjects
    opened = np.full(len(names), np.inf)
    np.minimum.at(opened, subjects, made_at)
    codes = one.subjects.astype(np.int64)
    began = opened[codes]
    early = first_held or {}
    held = np.array([early.get(names[int(code)], np.inf) for code in codes]) <= began
    whole = trial.within_a_stage(began, gate.window)
    kept = whole & ~held
    share = trial.shares_at(began[kept])
    return TrialSubjects(
        codes=codes[kept],
        rewards=one.rewards[kept],
        candidate=found.drawn[codes[kept]] < share,
        share=share,
        stage=np.searchsorted(trial.shares, share),
        straddling=int((~whole).sum()),
        held=int((whole & held).sum()),
    )
