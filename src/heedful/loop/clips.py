"""What people want who compare clips: in a workspace, a reward fitted to it and learned from.

The log's comparisons between spans of episodes make a reward of single steps
(:class:`~heedful.reward.clips.ClipReward`); playing then earns that and not what the environment
gives. Nothing it says is kept with the play: each round is labelled anew by the model that is
learned from, and a run belongs to one model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from heedful.loop.bench import Bench
from heedful.loop.interact import Remembering, Rollout, Rollouts
from heedful.policy import Batch, EventKind, Policy, Vocabulary
from heedful.reward import Fitted, RewardError
from heedful.reward.clips import MEMBERS, ClipPairs, ClipReward, Fitting, fit_linear
from heedful.reward.folds import FOLDS
from heedful.reward.foretelling import FEWEST, Foretelling
from heedful.reward.steps import Episodes, Judged, StepReader
from heedful.store.snapshot import Snapshot

MOST_REFERENCE = 2000
"""Steps of the log on which members are brought to a common scale."""


def fit_clips(bench: Bench, snapshot: Snapshot) -> tuple[ClipReward, dict[str, float]]:
    """Return a reward of the log's comparisons, and how it foretells those it was not fitted to.

    A number for each case where all that a step shows is yes or no, else a small network.

    Raises:
        RewardError: there are fewer than :data:`~heedful.reward.foretelling.FEWEST` comparisons.
    """
    episodes = Episodes(snapshot)
    reader = StepReader(bench.domain, bench.domain.vocabulary(snapshot))
    pairs = reader.pairs(episodes, episodes.judged())
    if len(pairs) < FEWEST:
        raise RewardError(
            f"clips = true learns from comparisons of clips, and the log holds {len(pairs)}; it "
            f"takes {FEWEST} at least: heedful label asks people"
        )
    seed = bench.config.workspace.seed
    reference = _reference(reader, episodes, seed)
    fitting = _fitting(reference)
    members = max(MEMBERS, bench.config.reward.members)
    reward = ClipReward.fit(pairs, reference, members=members, fitting=fitting, seed=seed)
    foretold = _cross_validated(pairs, reference, reward, fitting, seed)
    measured = {
        "comparisons": float(len(pairs)),
        "ties": float(np.mean(pairs.outcomes == 0.5)),
        **_measured(foretold),
    }
    return reward, {f"clips/{name}": value for name, value in measured.items()}


def _reference(reader: StepReader, episodes: Episodes, seed: int) -> np.ndarray:
    """Return the features of the log's steps, or of some of them where there are many."""
    rows = np.concatenate(list(episodes.rows.values()))
    if len(rows) > MOST_REFERENCE:
        rows = np.random.default_rng(seed).choice(rows, MOST_REFERENCE, replace=False)
    return reader([episodes.step(row) for row in rows.tolist()])


def _fitting(reference: np.ndarray) -> Fitting:
    if np.isin(reference, (0.0, 1.0)).all():
        return fit_linear
    from heedful.reward.clip_network import fit_network

    return fit_network


def _cross_validated(
    pairs: ClipPairs, reference: np.ndarray, reward: ClipReward, fitting: Fitting, seed: int
) -> Foretelling:
    """Return how models fitted to four fifths of the comparisons foretell the rest."""
    fold = np.random.default_rng(seed).permutation(len(pairs)) % FOLDS
    chances = np.zeros((len(reward.members), len(pairs)))
    for k in range(FOLDS):
        out = np.flatnonzero(fold == k)
        model = ClipReward.fit(
            pairs.take(np.flatnonzero(fold != k)),
            reference,
            members=len(reward.members),
            fitting=fitting,
            penalties=reward.penalties,
            seed=seed,
        )
        chances[:, out] = model.prefer(pairs.left[out], pairs.right[out])
    return Foretelling.of(chances, pairs.outcomes)


def _measured(found: Foretelling) -> dict[str, float]:
    names = {"told": found.n, "foretold": found.share, "expected": found.expected}
    return {name: float(number) for name, number in (names | {"error": found.error}).items()}


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """What people want of play, as a fitted reward says.

    Attributes:
        name: of the fitted reward.
        reward: doubt subtracted.
        reader: how it sees steps.
    """

    name: str
    reward: ClipReward
    reader: StepReader


def wanted(bench: Bench, snapshot: Snapshot) -> Wanted:
    """Return the newest reward of clips, if it still foretells what people say.

    Raises:
        RewardError: none has been fitted; or the answers given since surprise it by more than
            chance, so that learning from it would go on where it is wrong.
    """
    name = bench.shelf.newest()
    reward = None if name is None else Fitted.load(bench.shelf.folder(name)).clips
    if name is None or reward is None:
        raise RewardError("no reward of clips has been fitted yet: heedful reward does that")
    card = bench.shelf.card(name)
    assert card.snapshot is not None
    then = bench.log.snapshot(card.snapshot.watermark)
    reader = StepReader(bench.domain, bench.domain.vocabulary(then))
    before, now = Episodes(then).judged(), Episodes(snapshot)
    known = set(before)
    since = [one for one in now.judged() if one not in known]
    _guard(name, card.metrics, _foretold(reward, reader, now, since))
    return Wanted(name, reward.doubting(bench.config.reward.pessimism), reader)


def _foretold(
    reward: ClipReward, reader: StepReader, episodes: Episodes, since: Sequence[Judged]
) -> Foretelling:
    pairs = reader.pairs(episodes, since)
    return Foretelling.of(reward.prefer(pairs.left, pairs.right), pairs.outcomes)


def _guard(name: str, metrics: Mapping[str, object], now: Foretelling) -> None:
    said = {key: metrics.get(f"clips/{key}") for key in ("told", "foretold", "expected", "error")}
    if any(not isinstance(value, int | float) for value in said.values()):
        return  # all were ties
    told, share, expected, error = (float(value) for value in said.values())  # type: ignore[arg-type]
    before = Foretelling(int(told), share, expected, error)
    if now.worse_than(before):
        raise RewardError(
            f"reward {name} foretold {now.share:.0%} of the {now.n} answers given since it was "
            f"fitted, where it expected {now.expected:.0%}; before it was {before.share:.0%} of "
            f"{before.n}: play has found where it is wrong. Fit it anew: heedful reward"
        )


class Preferred:
    """Rollouts that earn what people want in place of what the environment gives.

    The score is the mean reward of a decision, as the model's numbers have no end to add up to; the
    environment's own score stands beside it as "own", and as "doubt" how far the members differ:
    where it rises, play goes where nobody has said anything.
    """

    def __init__(self, inner: Rollouts, want: Wanted, vocabulary: Vocabulary) -> None:
        """Play as ``inner`` does.

        Args:
            inner: where experience comes from.
            want: what is wanted.
            vocabulary: of the policy that plays.
        """
        self._inner, self._want = inner, want
        self._number = torch.from_numpy(want.reader.vocabulary.indexes(vocabulary.units)).long()

    def play(self, policy: Policy, number: int) -> Rollout:
        """Play ``policy`` for a round, and say what each of its decisions is worth."""
        made = self._inner.play(policy, number)
        seen, units, last = steps_of(made.batch, self._number, len(self._want.reader.vocabulary))
        features = self._want.reader.features(seen, units)
        rewards = torch.zeros(made.batch.mask.shape)
        rewards[last] = torch.from_numpy(self._want.reward(features)).to(rewards)
        doubt = float(self._want.reward.read(features).spread.mean())
        return replace(
            made,
            batch=made.batch.filled(rewards=rewards),
            score=float(rewards[last].mean()),
            metrics={**made.metrics, "own": made.score, "doubt": doubt},
        )

    def kept(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Return what a checkpoint holds of the rollouts inside."""
        return self._inner.kept() if isinstance(self._inner, Remembering) else ({}, {})

    def take_up(self, facts: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Go on from there."""
        if isinstance(self._inner, Remembering):
            self._inner.take_up(facts, tensors)


def steps_of(
    batch: Batch, number: torch.Tensor, size: int
) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
    """Return the decisions of a round as a reward of clips sees them.

    Args:
        batch: a row for each environment, in the order of time.
        number: int64 [V], the unit of the reward for each of the policy's, -1 where it knows none.
        size: how many units the reward knows.

    Returns:
        What was observed before each of D decisions, [D, F]; how often each unit was chosen, [D,
        size]; and the last unit of each, bool [B, T].
    """
    padded = torch.nn.functional.pad(batch.decisions, (1, 1), value=-1)
    first = batch.mask & (padded[:, :-2] != batch.decisions)
    last = batch.mask & (padded[:, 2:] != batch.decisions)
    place = torch.arange(batch.events.kind.shape[1])
    contexts = torch.where(batch.events.kind == EventKind.CONTEXT, place, -1).cummax(1).values
    row, slot = torch.nonzero(first, as_tuple=True)
    seen = batch.events.features[row, contexts[row, batch.positions[row, slot]]]
    decision = first[batch.mask].cumsum(0) - 1  # slots of a decision stand together
    unit = number[batch.units[batch.mask]]
    units = torch.zeros(len(row), size)
    units.index_put_((decision[unit >= 0], unit[unit >= 0]), torch.tensor(1.0), accumulate=True)
    return seen.double().numpy(), units.double().numpy(), last
