"""The people of a trial who can be judged by now, and what counts of what they said.

A subject's window opens with its first decision in the trial. What was decided within it, and said
before it is judged, counts; what comes later counts for nothing. So a subject's number never
changes once it was judged, and the path of the evidence is the same however often one looks.

A subject belongs to the stage of the trial in which its window opened, and counts with that stage's
share. Whose window was still open when the share rose is left out whole, in both arms alike:
whoever changed from the live version to the candidate would be in neither, and to leave out those
alone would pick the arm. That depends on times only, which are known without the arm;
docs/decisions/0013 says why the bet stays fair. The same holds for subjects whose first decision
was held for a person: the coin was tossed without looking at the arm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from heedful.evaluate import SubjectRewards, per_subject
from heedful.loop.judge import TrialRows, trial_rows
from heedful.store.registry import Trial
from heedful.store.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a subject is observed, and when: ``window`` and ``maturity`` in seconds."""

    window: float
    maturity: float
    now: float


@dataclass(frozen=True, slots=True)
class Cohort:
    """The subjects of a trial whose windows have matured, M of them, in the order of maturity.

    Attributes:
        snapshot: the log without feedback that came after its subject was judged.
        found: the trial's decisions.
        patience: how long each was observed.
        places: int64 [M], where they stand among all subjects who have matured.
        subjects: int [M], their codes in the snapshot.
        arm: bool [M], True where the candidate decided.
        share: float64 [M], probability of that, when the window opened.
        stage: int64 [M], the stage of the trial in which that was.
        opening: int64 [M], the row of each one's first decision.
        counted: int64, the decisions within the windows.
        late: feedback to these decisions that came after its subject was judged.
        straddling: matured subjects left out because the share rose within their windows.
        held: matured subjects left out because their first decision was held for a person.
    """

    snapshot: Snapshot
    found: TrialRows
    patience: Patience
    places: np.ndarray
    subjects: np.ndarray
    arm: np.ndarray
    share: np.ndarray
    stage: np.ndarray
    opening: np.ndarray
    counted: np.ndarray
    late: int
    straddling: int
    held: int

    def means(self, values: np.ndarray) -> np.ndarray:
        """Return each subject's mean of ``values`` [N] over the decisions of its window, [M].

        Raises:
            ValueError: as `per_subject`.
        """
        everybody = _reduced(self.snapshot, self.found, values, self.patience).rewards
        means: np.ndarray = everybody[self.places]
        return means


def cohort(
    trial: Trial,
    snapshot: Snapshot,
    patience: Patience,
    first_held: Mapping[str, float] | None = None,
) -> Cohort:
    """Return the cohort of ``trial``.

    Args:
        trial: in whatever stage.
        snapshot: the log.
        patience: how long each subject is observed.
        first_held: when a decision of a subject was first held in the trial, by pseudonym.
    """
    found = trial_rows(trial, snapshot, patience.window)
    decisions = snapshot.decisions
    one = _reduced(snapshot, found, np.zeros(decisions.n), patience)
    opened = decisions.made_at[_opening(snapshot, found.rows, one.subjects)]
    whole = trial.within_a_stage(opened, patience.window)
    held = whole & (_first_held(snapshot, one.subjects, first_held or {}) <= opened)
    places = np.flatnonzero(whole & ~held)
    subjects = one.subjects[places]
    opening = _opening(snapshot, found.rows, subjects)
    share = trial.shares_at(opened[places])
    candidate = np.zeros(decisions.n, dtype=bool)
    candidate[found.rows] = found.candidate
    judged_at = np.full(len(snapshot.names.subjects), np.inf)
    judged_at[subjects] = one.matured_at[places]
    counted = _within(snapshot, found.rows, opening, patience.window)
    punctual, late = _punctual(snapshot, found.rows, counted, judged_at)
    return Cohort(
        snapshot=punctual,
        found=found,
        patience=patience,
        places=places,
        subjects=subjects,
        arm=candidate[opening],
        share=share,
        stage=np.searchsorted(trial.shares, share),
        opening=opening,
        counted=counted,
        late=late,
        straddling=int((~whole).sum()),
        held=int(held.sum()),
    )


def _first_held(
    snapshot: Snapshot, subjects: np.ndarray, first_held: Mapping[str, float]
) -> np.ndarray:
    """Return when a decision of each subject [M] was first held; infinity where none was."""
    names = snapshot.names.subjects
    return np.array([first_held.get(names[int(code)], np.inf) for code in subjects])


def _reduced(
    snapshot: Snapshot, found: TrialRows, values: np.ndarray, patience: Patience
) -> SubjectRewards:
    decisions = snapshot.decisions
    return per_subject(
        decisions.subject[found.rows],
        values[found.rows],
        decisions.made_at[found.rows],
        window=patience.window,
        maturity=patience.maturity,
        now=patience.now,
    )


def _opening(snapshot: Snapshot, rows: np.ndarray, subjects: np.ndarray) -> np.ndarray:
    """Return the row of each subject's first decision in the trial, by time and then by place."""
    decisions = snapshot.decisions
    order = rows[np.lexsort((rows, decisions.made_at[rows]))]
    first = np.zeros(len(snapshot.names.subjects), dtype=np.int64)
    first[decisions.subject[order[::-1]]] = order[::-1]  # the last write wins: the first decision
    opening: np.ndarray = first[subjects]
    return opening


def _within(snapshot: Snapshot, rows: np.ndarray, opening: np.ndarray, window: float) -> np.ndarray:
    """Return those of ``rows`` that lie within the window that ``opening`` [M] opened."""
    decisions = snapshot.decisions
    closes = np.full(len(snapshot.names.subjects), -np.inf)
    closes[decisions.subject[opening]] = decisions.made_at[opening] + window
    within: np.ndarray = rows[decisions.made_at[rows] < closes[decisions.subject[rows]]]
    return within


def _punctual(
    snapshot: Snapshot, rows: np.ndarray, counted: np.ndarray, judged_at: np.ndarray
) -> tuple[Snapshot, int]:
    """Return the snapshot without what came too late, and how much of that was about ``counted``.

    What takes back late feedback goes with it.
    """
    decisions, feedback = snapshot.decisions, snapshot.feedback
    deadline = np.full(decisions.n, np.inf)
    deadline[rows] = judged_at[decisions.subject[rows]]
    about = feedback.decision >= 0
    late = np.zeros(feedback.n, dtype=bool)
    late[about] = feedback.received_at[about] > deadline[feedback.decision[about]]
    late |= (feedback.retracts >= 0) & late[np.maximum(feedback.retracts, 0)]
    if not late.any():
        return snapshot, 0
    within = np.isin(feedback.decision[late], counted)
    kept = feedback.take(np.flatnonzero(~late), np.arange(decisions.n))
    return replace(snapshot, feedback=kept), int(within.sum())
