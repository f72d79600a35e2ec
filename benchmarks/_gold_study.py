"""One seed of the gold-judge study: a small model, what is made of it, and what that is worth."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from benchmarks._gold_world import PROMPTS, REPLY, corpus, gold, history
from heedful.checks.records import records_of
from heedful.config import Interact, Pretrain, Reinforce
from heedful.domains.dialogue import Dialogue
from heedful.loop.direct import SORT_OF, Direct, learn_directly
from heedful.loop.interact import OnPolicy, interact
from heedful.loop.pretrain import pretrain
from heedful.loop.reinforce import reinforce_from_log
from heedful.loop.rollouts import Recorded
from heedful.loop.run import Run
from heedful.loop.told import gather
from heedful.objectives import drift, prepare
from heedful.policy import Policy, Transformer, clone
from heedful.record import Decision, Feedback, Kind, Outcome, Preference, Value
from heedful.reward import Comparisons, Given, NgramReward
from heedful.store import Record, Snapshot

WINDOW = 64
WIDTH, LAYERS = 64, 2
NOISE = 0.25
HISTORY, LOGGED, COMPARED, JUDGED = 2400, 1920, 240, 12
"""Conversations at first; logged replies; pairs for reward models; rounds that are judged."""

PLAYED = Interact(
    rounds=80,
    environments=48,
    group=4,
    epochs=2,
    batch=48,
    learning_rate=1e-3,
    kl=0.02,
    keep="last",
    save=1000,
)
FOOLED = 120
"""Rounds against a reward model: long enough to see where it is wrong."""
PAIRS = Reinforce(epochs=4, batch=64, learning_rate=2e-4, beta=1.0, held_out=0.1)
THUMBS = Reinforce(epochs=6, batch=64, learning_rate=5e-4, beta=0.3, held_out=0.1)
LOGGED_ONLY = Reinforce(epochs=8, batch=64, learning_rate=3e-4, kl=0.3, feedback_weight=0.0)
ALONE, TOGETHER = "single model", "ensemble of 5, pessimistic"


class Study:
    """A model that was pre-trained on the tiny language, and all that is needed to improve it."""

    def __init__(self, folder: Path, seed: int, *, quick: bool = False) -> None:
        """Pre-train the model."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "corpus.txt").write_text(corpus(400, 0), "utf-8")
        options = {"text": ["corpus.txt"], "vocabulary": 440, "prompt": 16, "reply": REPLY}
        self.domain, self.folder, self.seed, self.quick = (
            Dialogue(options, folder),
            folder,
            seed,
            quick,
        )
        self.vocabulary = self.domain.vocabulary(Snapshot.of([]))
        self.model = self._pretrained()
        self.logged = self._logged()

    def _pretrained(self) -> Policy:
        records = list(history(self.domain, 400 if self.quick else HISTORY, self.seed))
        snapshot = Snapshot.of(records, choice_sets=[self.domain.choices({})])
        streams = self.domain.encode(snapshot, self.vocabulary)
        torch.manual_seed(self.seed)
        network = Transformer(streams.schema, width=WIDTH, layers=LAYERS, heads=2)
        section = Pretrain(epochs=6, batch=48, learning_rate=0.004, feedback_weight=0.0)
        with _run(self.folder / "pretrain") as run:
            pretrain(
                network,
                streams,
                section,
                run,
                train=np.ones(len(streams.slots.unit)),
                validation=np.empty(0, np.int64),
                window=WINDOW,
                seed=self.seed,
                seen=True,
            )
        return network.eval()

    def rollouts(self, judge: Any, *, group: int = 1, seed: int, n: int = 48) -> Recorded:
        """Return prompts whose replies ``judge`` judges."""
        options = {"prompts": PROMPTS, "judge": judge, "group": group, "unfinished": -2.0}
        return Recorded(
            self.domain,
            self.vocabulary,
            cast(Any, self.domain.environment(n, seed, options)),
            decisions=1,
            window=WINDOW,
            gamma=1.0,
            seed=seed,
            fresh=True,
            text=self.domain.text,
        )

    def worth(self, policy: Policy) -> dict[str, float]:
        """Return what a policy's replies are worth to the gold judge, and how far it has gone.

        Every prompt is asked as often, with the same random numbers for all policies.
        """
        played = self.rollouts(gold, seed=10_000 + self.seed)
        rounds = [played.play(policy, number) for number in range(2 if self.quick else JUDGED)]
        batches = prepare(policy, [r.batch for r in rounds], reference=self.model)
        replies = len(PROMPTS) * len(rounds)
        units = sum(int(batch.mask.sum()) for batch in batches)
        return {
            "gold": float(np.mean([r.score for r in rounds])),
            "kl": sum(float(drift(batch).sum()) for batch in batches) / replies,
            "length": units / replies,
        }

    # Learning

    def played(
        self, objective: OnPolicy, judge: Any = gold, **changes: Any
    ) -> tuple[Policy, list[tuple[float, float]]]:
        """Improve the model by playing; return it, and (divergence, gold) of each round."""
        group = 1 if objective == "ppo" else PLAYED.group
        section = PLAYED.model_copy(update=changes)
        section = section.model_copy(update={"rounds": 4}) if self.quick else section
        policy, path = _copy(self.model), _Path(judge)
        rollouts = self.rollouts(path, group=group, seed=self.seed)
        with _run(self.folder / f"{objective}-{len(list(self.folder.iterdir()))}") as run:
            interact(
                policy,
                self.model,
                rollouts,
                section,
                run,
                objective=objective,
                seed=self.seed,
                longest=REPLY,
                enough=path.note,
            )
        return policy, path.points

    def told(self, objective: Direct) -> Policy:
        """Improve the model by what the gold judge said of the replies in the log."""
        section = PAIRS if objective == "dpo" else THUMBS
        section = section.model_copy(update={"epochs": 1}) if self.quick else section
        streams = self.domain.encode(self.logged, self.vocabulary)
        rows = gather(
            self.logged,
            streams,
            SORT_OF[objective],
            earned=Given()(self.logged),
            ratings=(1.0, 5.0),
            spared=np.ones(len(streams.slots.unit), bool),
            held_out=section.held_out,
            seed=self.seed,
        )
        policy = _copy(self.model)
        with _run(self.folder / objective) as run:
            learn_directly(
                policy,
                self.model,
                rows,
                section,
                run,
                objective=objective,
                window=WINDOW,
                seed=self.seed,
            )
        return policy

    def from_log(self) -> Policy:
        """Improve the model on logged rows (prompt, reply, reward, log-probability) alone."""
        rewards = np.nan_to_num(Given()(self.logged))
        streams = self.domain.encode(self.logged, self.vocabulary, rewards=rewards)
        policy = _copy(self.model)
        section = LOGGED_ONLY.model_copy(update={"epochs": 1}) if self.quick else LOGGED_ONLY
        with _run(self.folder / "log") as run:
            reinforce_from_log(
                policy, self.model, streams, section, run, after=0, window=WINDOW, seed=self.seed
            )
        return policy

    # What is learned from

    def _logged(self) -> Snapshot:
        """Return replies of the model, two to each asking, with all that can be said of them."""
        n = 96 if self.quick else LOGGED
        rollouts = self.rollouts(gold, group=2, seed=20_000 + self.seed, n=96)
        records: list[Record] = []
        for number in range(n // 96):
            snapshot = rollouts.record(self.model, number)
            records += [_named(record, f"{number}-") for _, record in records_of(snapshot)]
        worth = {r.about: r.value for r in records if isinstance(r, Feedback)}
        made = [r for r in records if isinstance(r, Decision)]
        middle = float(np.median([float(cast(float, w)) for w in worth.values()]))
        for one, other in zip(made[::2], made[1::2], strict=True):
            first, second = (float(cast(float, worth[d.id])) for d in (one, other))
            for decision, w in ((one, first), (other, second)):
                records.append(_said(decision, Kind.CLICK, bool(w > middle)))
            outcome = Outcome.CHOSEN if first > second else Outcome.REJECTED
            outcome = Outcome.TIE if first == second else outcome
            records.append(_said(one, Kind.PREFERENCE, Preference(outcome, other.id)))
        return Snapshot.of(records, choice_sets=[self.domain.choices({})])

    def comparisons(self, rng: np.random.Generator) -> Comparisons:
        """Return pairs of logged replies with the gold judge's choice, a quarter of them wrong."""
        decisions, names = self.logged.decisions, self.logged.names.units
        texts = [
            self.domain.text([names[int(u)] for u in decisions.units[low:high]])
            for low, high in zip(decisions.offsets[:-1], decisions.offsets[1:], strict=True)
        ]
        asked = [_asked(context) for context in (decisions.contexts[i] for i in range(len(texts)))]
        prompts, first, second = asked[::2], texts[::2], texts[1::2]
        lead = np.subtract(gold(prompts, first), gold(prompts, second))
        kept = rng.permutation(np.flatnonzero(lead != 0.0))[:COMPARED]
        right = (lead[kept] > 0.0) ^ (rng.random(len(kept)) < NOISE)
        return Comparisons.of(
            [prompts[i] for i in kept],
            [first[i] for i in kept],
            [second[i] for i in kept],
            right.astype(float),
            groups=[f"{i}" for i in kept],
        )

    def models(self) -> dict[str, NgramReward]:
        """Return a single reward model and an ensemble, fitted to the same noisy pairs."""
        pairs = self.comparisons(np.random.default_rng([self.seed, 1]))
        several = NgramReward.fit(pairs, members=5, seed=self.seed)
        return {
            ALONE: NgramReward.fit(pairs, members=1, seed=self.seed),
            TOGETHER: several.doubting(1.0),
        }

    def best_of(
        self, models: dict[str, NgramReward], sizes: Sequence[int]
    ) -> dict[str, list[float]]:
        """Return the gold worth of the best of n of the model's replies, by reward, for each n."""
        most = max(sizes)
        said = _Path(gold)
        rollouts = self.rollouts(said, seed=30_000 + self.seed)
        for number in range(most):
            rollouts.play(self.model, number)
        order = np.argsort(np.array(said.prompts), kind="stable")
        prompts = [said.prompts[i] for i in order]
        replies = [said.replies[i] for i in order]
        worth = np.array(gold(prompts, replies)).reshape(-1, most)
        found = {}
        for name, model in models.items():
            scores = np.array(model(prompts, replies), float).reshape(-1, most)
            found[name] = [_best(scores, worth, n) for n in sizes]
        return found


class _Path:
    """A judge that also notes what the gold judge thinks, round by round."""

    def __init__(self, judge: Callable[..., Any]) -> None:
        self.judge = judge
        self.prompts: list[str] = []
        self.replies: list[str] = []
        self.last = 0.0
        self.points: list[tuple[float, float]] = []

    def __call__(self, prompts: Sequence[str], completions: Sequence[str], **_: Any) -> Any:
        self.prompts += prompts
        self.replies += completions
        self.last = float(np.mean(gold(prompts, completions)))
        return self.judge(prompts, completions)

    def note(self, metrics: Any) -> bool:
        """Remember where the policy stands; never end a run."""
        self.points.append((metrics["kl"] * metrics["length"], self.last))
        return False


def _best(scores: np.ndarray, worth: np.ndarray, n: int) -> float:
    """Return the mean worth of the best by score of each n, over all disjoint lots of n."""
    lots = scores.reshape(len(scores), -1, n)
    chosen = lots.argmax(-1)
    of_lots = worth.reshape(lots.shape)
    return float(np.take_along_axis(of_lots, chosen[..., None], -1).mean())


def _asked(context: str) -> str:
    return str(json.loads(context)["messages"][0]["content"])


def _copy(policy: Policy) -> Policy:
    copy = clone(policy)
    cast(nn.Module, copy).requires_grad_(requires_grad=True)
    return copy


def _run(folder: Path) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    return closing(Run(folder, {}))


def _named(record: Record, head: str) -> Record:
    record = replace(record, id=f"{head}{record.id}")
    if isinstance(record, Feedback):
        return replace(record, about=f"{head}{record.about}")
    return replace(record, episode=f"{head}{record.episode}")


def _said(about: Decision, kind: Kind, value: Value) -> Feedback:
    return Feedback(
        id=f"{about.id}/{kind}",
        by="gold",
        about=about.id,
        kind=kind,
        value=value,
        given_at=0.0,
        received_at=0.0,
    )
