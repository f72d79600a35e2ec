"""Fitting what replies are worth, and what messages say, and what both are worth themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from heedful.contract import Conversation
from heedful.evaluate import auc, calibration_error, log_loss
from heedful.loop.bench import NEWEST, Bench
from heedful.loop.told import comparisons, thumbs
from heedful.record import Context, Kind
from heedful.reward import (
    Comparisons,
    Exchanges,
    Fitted,
    NgramReward,
    Rated,
    ReplyReward,
    RewardError,
    TextClassifier,
    left_out_scores,
    said,
)
from heedful.reward.exchanges import log_lengths
from heedful.reward.folds import FOLDS, even_folds
from heedful.reward.labels import read_labels
from heedful.reward.likelihood import chances
from heedful.reward.replies import FEWEST
from heedful.store.snapshot import Snapshot

Judged = Comparisons | Rated


def reply_reward(bench: Bench, name: str = NEWEST) -> ReplyReward:
    """Return the fitted reward of replies, for whoever learns by talking: a text reward.

    Its numbers are lowered by ``[reward] pessimism`` standard deviations of its members.

    Args:
        bench: what is worked with.
        name: of the fitted reward; the newest one by default.

    Raises:
        RewardError: nothing was fitted, or not with ``replies``.
    """
    found = bench.shelf.newest() if name == NEWEST else name
    replies = None if found is None else Fitted.load(bench.shelf.folder(found)).replies
    if replies is None:
        raise RewardError(
            "no reward of replies has been fitted yet: set reward.replies, then heedful reward"
        )
    return replies.doubting(bench.config.reward.pessimism)


def label_columns(bench: Bench, prompts: Sequence[Context]) -> dict[str, list[Any]]:
    """Return what the fitted reader of labels says of each prompt's last message.

    They are columns for reward functions: "label", and "label.NAME" how likely each one is; none
    where ``[reward] labels_file`` names no file, or nothing has been fitted since it does.

    Args:
        bench: what is worked with.
        prompts: contexts of replies, P of them.
    """
    newest = bench.shelf.newest() if bench.config.reward.labels_file else None
    classes = None if newest is None else Fitted.load(bench.shelf.folder(newest)).classes
    if classes is None:
        return {}
    said = [[one["content"] for one in cast(Any, prompt["messages"])] for prompt in prompts]
    before = [told[-2] if len(told) > 1 else "" for told in said]
    return classes.columns("label", [told[-1] for told in said], before)


def fit_replies(
    bench: Bench, snapshot: Snapshot, train: np.ndarray
) -> tuple[NgramReward, dict[str, float]]:
    """Return a reward of replies, and how well it does on conversations it has not seen.

    Args:
        bench: what is worked with.
        snapshot: what happened.
        train: bool [M], the units that may be learned from.

    Raises:
        RewardError: the domain has no conversations, or there are too few judgements.
    """
    domain, section = bench.domain, bench.config.reward
    if not isinstance(domain, Conversation):
        raise RewardError(
            f"reward.replies reads conversations, and {bench.config.workspace.domain} has none"
        )
    offsets, exchanges = snapshot.decisions.offsets, Exchanges.of(snapshot, domain.text)
    kept = np.bincount(snapshot.decisions.of_unit, weights=~train, minlength=len(offsets) - 1) == 0
    judged, others = _judged(exchanges, snapshot, kept, section.replies, bench)
    fitted = NgramReward.fit(judged, members=section.members, seed=bench.config.workspace.seed)
    measured = worth_of(fitted, judged)
    if section.members > 1:
        prompts, replies = exchanges.prompts, exchanges.completions
        measured["spread"] = float(fitted.read(prompts, replies).spread.mean())
    if others:
        measured["comparisons_of_other_prompts"] = float(others)
    return fitted, {f"replies/{name}": value for name, value in measured.items()}


def worth_of(fitted: ReplyReward, judged: Judged) -> dict[str, float]:
    """Return what such a model is worth on groups left out, beside what costs nothing.

    Args:
        fitted: to all of it; its correlation with length is told.
        judged: what it was fitted to.
    """
    measures: Mapping[str, Callable[[Judged], dict[str, float]]] = {
        "comparisons": _of_comparisons,
        "thumbs": _of_thumbs,
        "ratings": _of_ratings,
    }
    source = fitted.scale.source
    found = {source: float(len(judged)), "length": fitted.length}
    return found | measures[source](judged)


def fit_classes(file: Path) -> tuple[TextClassifier, dict[str, float]]:
    """Return a reader of the labels in ``file``, and how well it reads a fifth that is left out.

    Raises:
        RewardError: the file cannot be read, or holds too little.
    """
    texts, labels, before = read_labels(file)
    fold = even_folds(texts, FOLDS)
    seen, left = np.flatnonzero(fold > 0).tolist(), np.flatnonzero(fold == 0).tolist()

    def fit(rows: list[int]) -> TextClassifier:
        return TextClassifier.fit(
            [texts[i] for i in rows], [labels[i] for i in rows], before=[before[i] for i in rows]
        )

    fitted, reader = fit(list(range(len(texts)))), fit(seen)
    found = reader.probabilities([texts[i] for i in left], [before[i] for i in left])
    true = np.array([labels[i] for i in left])
    right = np.array(reader.labels)[found.argmax(1)] == true
    most = max(reader.labels, key=[labels[i] for i in seen].count)
    return fitted, {
        "labels/messages": float(len(texts)),
        "labels/classes": float(len(fitted.labels)),
        "labels/accuracy": float(right.mean()),
        "labels/accuracy_majority": float((true == most).mean()),
        "labels/ece": calibration_error(found.max(1), right * 1.0),
    }


def _judged(
    exchanges: Exchanges, snapshot: Snapshot, kept: np.ndarray, asked: str, bench: Bench
) -> tuple[Judged, int]:
    """Return the judgements that were asked for, or the first sort of which there are enough."""
    section, last = bench.config.reward, snapshot.decisions.offsets[1:] - 1
    rating = said(snapshot, Kind.RATING)[last]
    scaled = (rating - section.rating_min) / (section.rating_max - section.rating_min)
    told = comparisons(snapshot)
    both = kept[told.decisions].all(1)
    decisions = told.decisions[both]
    gaps = scaled[decisions[:, 0]] - scaled[decisions[:, 1]]
    pairs, others = exchanges.compared(decisions, told.ties[both], gaps)
    rows, up = thumbs(snapshot)
    rated = np.flatnonzero(kept & ~np.isnan(rating))
    found: dict[str, Judged] = {
        "comparisons": pairs,
        "ratings": exchanges.rated(rated, rating[rated]),
        "thumbs": exchanges.rated(rows[kept[rows]], up[kept[rows]]),
    }
    if asked != "auto":
        return found[asked], others if asked == "comparisons" else 0
    for name, judged in found.items():
        varied = isinstance(judged, Comparisons) or len(np.unique(judged.numbers)) > 1
        if len(judged) >= FEWEST and varied:
            return judged, others if name == "comparisons" else 0
    counts = ", ".join(f"{len(judged)} {name}" for name, judged in found.items())
    raise RewardError(
        f'reward.replies = "auto": the log holds {counts} that may be learned from; it takes at '
        f"least {FEWEST} of a sort, not all alike. Collect more (pretrain.split = "
        f'"{bench.config.pretrain.split}" holds out {(~kept).sum()} of {len(kept)} replies, in '
        "whole or in part)"
    )


def _of_comparisons(judged: Judged) -> dict[str, float]:
    assert isinstance(judged, Comparisons)
    lead = left_out_scores(judged)
    longer = log_lengths(judged.first) - log_lengths(judged.second)
    decided = judged.outcomes != 0.5
    won = judged.outcomes[decided]
    if not len(won):
        return {"ties": 1.0}
    chance = chances(lead[decided])[0]
    return {
        "ties": float((~decided).mean()),
        "accuracy": float(_right(lead[decided], won).mean()),
        "accuracy_longer": float(_right(longer[decided], won).mean()),
        "log_loss": log_loss(chance, won),
        "log_loss_constant": float(np.log(2.0)),
        "ece": calibration_error(chance, won),
    }


def _of_thumbs(judged: Judged) -> dict[str, float]:
    assert isinstance(judged, Rated)
    chance, true = chances(left_out_scores(judged))[0], judged.numbers
    return {
        "up": float(true.mean()),
        "auc": auc(chance, true),
        "log_loss": log_loss(chance, true),
        "log_loss_constant": log_loss(np.full(len(true), true.mean()), true),
        "ece": calibration_error(chance, true),
    }


def _of_ratings(judged: Judged) -> dict[str, float]:
    assert isinstance(judged, Rated)
    true = judged.numbers
    read = np.clip(left_out_scores(judged), true.min(), true.max())
    return {
        "mae": float(np.abs(read - true).mean()),
        "mae_constant": float(np.abs(np.median(true) - true).mean()),
        "rmse": float(np.sqrt(((read - true) ** 2).mean())),
        "rmse_constant": float(true.std()),
        "ece": calibration_error(read, true),
    }


def _right(lead: np.ndarray, won: np.ndarray) -> np.ndarray:
    """Return 1 where the one that leads won, 1/2 where none leads, else 0."""
    return np.where(lead == 0, 0.5, (lead > 0) == (won == 1.0))
