"""Fitting what ``[reward]`` asks for, apart from every policy, and held fixed afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from heedful.contract import Streams
from heedful.evaluate import auc, brier, calibration_error, log_loss
from heedful.loop.answers import train_answers, unit_means
from heedful.loop.bench import SPOKEN, Bench, units_of
from heedful.loop.clips import fit_clips
from heedful.loop.lessons import split_of, without_answers
from heedful.loop.replies import fit_classes, fit_replies
from heedful.loop.run import Run
from heedful.reward import CommentReader, Fitted, Pairs, Ratings, RewardError, SubjectScales
from heedful.reward.answers import Answers
from heedful.reward.ensemble import resamples
from heedful.reward.fitted import ANSWERS
from heedful.reward.labels import read_pairs
from heedful.store.registry import Card, Data, current_code, current_environment, digest_of
from heedful.store.snapshot import Snapshot

KIND = "reward"
HELD_OUT = 0.1
"""Share of subjects that nothing is fitted to, and as many again to choose the best epoch."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted reward.

    Attributes:
        name: under which its folder stands in ``rewards/``.
        metrics: how its parts did on what they were not fitted to, beside what costs nothing.
    """

    name: str
    metrics: Mapping[str, float]


def fit_reward(bench: Bench) -> Fit:
    """Fit every part that ``[reward]`` asks for to what may be learned from.

    What ``[pretrain] split`` holds out is not looked at.

    Raises:
        RewardError: nothing is asked for, or the log holds too little to fit it to.
    """
    section, snapshot = bench.config.reward, bench.log.snapshot()
    if not section.fitted:
        raise RewardError(
            f'[reward] kind = "{section.kind}" is computed from what people said, so there is '
            'nothing to fit: ask for comments = true, normalise = "subject", silence = "model", '
            'replies = "auto", clips = true or a labels_file'
        )
    train = train_units(bench, snapshot)
    metrics: dict[str, float] = {}
    reader, scales, answers, replies, classes = None, None, None, None, None
    if section.comments:
        reader, measured = _reader(bench, snapshot, train)
        metrics |= measured
    if section.normalise == "subject":
        scales, measured = _scales(bench, snapshot, train)
        metrics |= measured
    if section.replies != "none":
        replies, measured = fit_replies(bench, snapshot, train)
        metrics |= measured
    if section.labels_file:
        classes, measured = fit_classes(_in_workspace(bench, section.labels_file))
        metrics |= measured
    clips = None
    if section.clips:
        clips, measured = fit_clips(bench, snapshot)
        metrics |= measured
    runs: list[Run] = []
    if section.silence == "model":
        answers, runs, measured = _answers(bench, snapshot, train)
        metrics |= measured
    with bench.shelf.new(_card(bench, snapshot, metrics)) as placed:
        Fitted(reader, scales, replies, classes, clips).save(placed.folder)
        if answers is not None:
            answers.save(placed.folder / ANSWERS)
    for run in runs:
        run.finish()
    return Fit(placed.name, metrics)


def train_units(bench: Bench, snapshot: Snapshot) -> np.ndarray:
    """Return which units of ``snapshot`` may be learned from, bool [M]."""
    streams = bench.domain.encode(snapshot, bench.domain.vocabulary(snapshot))
    split = split_of(bench.config.pretrain, streams, snapshot)
    train = np.ones(len(snapshot.decisions.units), bool)
    train[units_of(streams, snapshot)[~split.train]] = False
    return train


def _reader(
    bench: Bench, snapshot: Snapshot, train: np.ndarray
) -> tuple[CommentReader, dict[str, float]]:
    """Return a reader of comments, and how near it comes to ratings of people it has not seen."""
    section = bench.config.reward
    file = section.comments_file
    pairs = read_pairs(_in_workspace(bench, file)) if file else Pairs.of(snapshot, train)
    clipped = np.clip(pairs.ratings, section.rating_min, section.rating_max)
    pairs = replace(pairs, ratings=clipped)
    reader = CommentReader.fit(pairs, members=section.members, seed=bench.config.workspace.seed)
    read = reader.read(pairs.texts, pairs.owners)
    told = ~np.isnan(read.mean)
    true, mean = pairs.ratings[told], read.mean[told]
    measured = {
        "pairs": float(reader.pairs),
        "mae": float(np.abs(read.median[told] - true).mean()),
        "mae_constant": float(np.abs(np.median(true) - true).mean()),
        "rmse": float(np.sqrt(((mean - true) ** 2).mean())),
        "rmse_constant": float(true.std()),
        "ece": calibration_error(mean, true),
    }
    if section.members > 1:
        measured["spread"] = float(read.spread[told].mean())
    return reader, {f"comment/{name}": value for name, value in measured.items()}


def _in_workspace(bench: Bench, named: str) -> Path:
    """Return the file of this name, in the workspace if the name is relative."""
    return bench.rewards.parent / named


def _scales(
    bench: Bench, snapshot: Snapshot, train: np.ndarray
) -> tuple[SubjectScales, dict[str, float]]:
    section, decisions = bench.config.reward, snapshot.decisions
    rating = Ratings(section.rating_min, section.rating_max, section.maturity or None)(snapshot)
    rows = np.flatnonzero(~np.isnan(rating) & train)
    codes = decisions.subject[decisions.of_unit[rows]].tolist()
    scales = SubjectScales.fit(rating[rows], [snapshot.names.subjects[code] for code in codes])
    return scales, {
        "rating/subjects": float(len(scales.keys)),
        "rating/variance_within": scales.within,
        "rating/variance_between": scales.between,
    }


def _answers(
    bench: Bench, snapshot: Snapshot, train: np.ndarray
) -> tuple[Answers, list[Run], dict[str, float]]:
    """Return a model of answers, its runs, and what it says to subjects nothing was fitted to."""
    config, kind = bench.config, SPOKEN[bench.config.reward.kind]
    vocabulary = bench.domain.vocabulary(snapshot)
    matured = bench.earned(snapshot, None).matured
    streams = bench.domain.encode(snapshot, vocabulary, matured=matured)
    streams = without_answers(streams, ~train[units_of(streams, snapshot)])
    kinds = [channel.kind for channel in streams.schema.channels]
    if kind not in kinds:
        raise RewardError(
            f'nobody answers with a {kind} here, so reward.silence = "model" has nothing to learn'
        )
    answered = ~np.isnan(streams.slots.feedback[:, kinds.index(kind)])
    answered &= comparable(streams, kinds.index(kind))
    part = _parts(streams.slots.stream, answered, config.workspace.seed)
    true = streams.slots.feedback[:, kinds.index(kind)].astype(np.float64)
    _require_both(true[part == 0], kind)
    members = []
    draws = resamples(streams.slots.stream, config.reward.members, config.workspace.seed)
    for number, weight in enumerate(draws):
        weights = weight * (part == 0)
        members.append(
            train_answers(
                bench,
                snapshot,
                streams,
                vocabulary,
                number,
                weights=weights,
                validation=np.flatnonzero(part == 1),
                channel=kinds.index(kind),
            )
        )
    networks, runs = zip(*members, strict=True)
    answers = Answers(networks, vocabulary, config.policy.window)
    found = _measured(answers, streams, kind, part, true)
    return answers, list(runs), {f"{kind}/{name}": value for name, value in found.items()}


def comparable(streams: Streams, channel: int) -> np.ndarray:
    """Return the slots whose answers can stand beside each other, bool [U].

    Where silence about what we showed is a no, history in which nobody ever said no tells of what
    people chose and not of what they passed over: with it, a click would look likelier than it is.
    """
    every = np.ones(len(streams.slots.unit), bool)
    history = np.isnan(streams.slots.behaviour_logp)
    said = streams.slots.feedback[history, channel]
    if (
        streams.schema.channels[channel].silence is None
        or len(np.unique(said[~np.isnan(said)])) > 1
    ):
        return every
    return ~history


def _parts(stream: np.ndarray, answered: np.ndarray, seed: int) -> np.ndarray:
    """Return where each slot belongs, int [U]: 0 training, 1 validation, 2 test, -1 unanswered.

    Whole subjects are held out: what one of them said tells of what else they said.

    Raises:
        RewardError: fewer than three subjects answered.
    """
    subjects = np.unique(stream[answered])
    if len(subjects) < 3:
        raise RewardError(
            f"{len(subjects)} subjects answered what they were shown; a model of answers takes at "
            "least 3, to learn from one and be tested on another. Serve a policy first"
        )
    n = max(1, round(HELD_OUT * len(subjects)))
    shuffled = np.random.default_rng(seed).permutation(subjects)
    of_stream = np.zeros(int(stream.max()) + 1, np.int64)
    of_stream[shuffled[:n]], of_stream[shuffled[n : 2 * n]] = 2, 1
    return np.where(answered, of_stream[stream], -1)


def _require_both(true: np.ndarray, kind: str) -> None:
    if len(np.unique(true)) < 2:
        raise RewardError(
            f"all {len(true)} answers there are to learn from are the same {kind}; a model of "
            "answers takes different ones. Collect more, or say after how long silence is a no: "
            "reward.maturity"
        )


def _measured(
    answers: Answers, streams: Streams, kind: str, part: np.ndarray, true: np.ndarray
) -> dict[str, float]:
    """Return what the model is worth on the test subjects, beside a constant and each unit's mean.

    The baselines know the training subjects' answers alone, as the model does.
    """
    test, learned = part == 2, part == 0
    expected, spread = answers.expected(streams, kind)
    constant = float(true[learned].mean())
    unit = streams.slots.unit
    once = np.ones(int(learned.sum()))
    by_unit = unit_means(unit[learned], true[learned], once, streams.schema.size)
    said = {"": expected[test], "_constant": np.full(test.sum(), constant)}
    said["_by_unit"] = by_unit[unit[test]]
    found = {"answers": float(learned.sum()), "answers_tested": float(test.sum())}
    [channel] = (one for one in streams.schema.channels if one.kind == kind)
    for name, numbers in said.items():
        measures = _of_clicks if channel.binary else _of_numbers
        found |= {f"{m}{name}": v for m, v in measures(numbers, true[test]).items()}
    if len(answers.members) > 1:
        found["spread"] = float(spread[test].mean())
    return found


def _of_clicks(said: np.ndarray, true: np.ndarray) -> dict[str, float]:
    return {
        "log_loss": log_loss(said, true),
        "auc": auc(said, true),
        "brier": brier(said, true),
        "ece": calibration_error(said, true),
    }


def _of_numbers(said: np.ndarray, true: np.ndarray) -> dict[str, float]:
    error = said - true
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "ece": calibration_error(said, true),
    }


def _card(bench: Bench, snapshot: Snapshot, metrics: Mapping[str, float]) -> Card:
    config, configuration = bench.config, bench.asked_for()
    named = {"labels": config.reward.comments_file, "classes": config.reward.labels_file}
    for part, file in named.items():
        if file:
            configuration[part] = {"sha256": digest_of(_in_workspace(bench, file))}
    return Card(
        kind=KIND,
        step=KIND,
        parent=None,
        snapshot=Data(watermark=snapshot.watermark, digest=snapshot.digest()),
        configuration=configuration,
        seed=config.workspace.seed,
        code=current_code(),
        environment=current_environment(device="cpu", threads=config.workspace.threads),
        metrics={name: value for name, value in metrics.items() if np.isfinite(value)},
        created_at=bench.clock(),
    )
