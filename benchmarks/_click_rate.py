"""The steps of the case study on real ratings: the people, the log, and what each step leaves."""

from __future__ import annotations

import csv
import shutil
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from benchmarks._halving import Look, halve
from benchmarks._readers import Readers, Readership, highest_return, return_of_list
from heedful.config import Reinforce
from heedful.contract import Streams
from heedful.evaluate import auc, calibration_error, log_loss, ndcg
from heedful.evaluate.held_out import fresh_targets, held_out_ranks, subject_means
from heedful.loop.answers import unit_means
from heedful.loop.collect import Collector
from heedful.loop.form import without_floor
from heedful.loop.reinforce import reinforce_from_log
from heedful.loop.run import Run
from heedful.loop.start import network_within
from heedful.policy import Floor, Loaded, Policy, Popularity, Vocabulary, clone, load, save
from heedful.policy.network import Network
from heedful.record import Described, pseudonym
from heedful.reward import Clicks, earn
from heedful.reward.answers import Answers
from heedful.reward.fitted import ANSWERS
from heedful.store.registry import Card, Data, Version, current_code, current_environment
from heedful.workspace import Workspace

LIKED = 4.0
"""A rating of at least so much is a click, a lower one an explicit no."""
LAST = 5
"""The last so many films of every stranger are the test units."""
SLATE, SESSION = 5, 10
PANEL, PANEL_RATINGS, PANEL_FILE = 20, 40, "panel.csv"
"""So many people, of at most so many ratings, are the few whose labels are trusted."""
ARRIVALS = 64
"""Readers side by side."""
CONSTANT, BY_ITEM, POPULAR = "the same for every film", "each film's own click rate", "most clicked"
CLICK_MODEL, ORACLE = "the click model alone", "oracle: knows every reader's chances"
PRETRAINED, REINFORCED, TUNED = "1 pre-trained", "2 reinforced", "3 fine-tuned"
COLUMNS: Mapping[str, object] = {
    "import.subject": "user_id",
    "import.unit": "item_id",
    "import.rating": "rating",
    "import.click": "click",
    "import.time": "timestamp",
}

FORM: Mapping[str, object] = {
    "policy.width": 32,
    "policy.prior": False,
    "pretrain.batch": 8,
    "pretrain.feedback_weight": 1.0,
    "pretrain.patience": 3,
}
"""One network without the transition prior, and many short steps: there are few streams."""

Floats = np.ndarray
Settings = Mapping[str, object]


@dataclass(frozen=True)
class Effort:
    """How much is spent.

    Attributes:
        pretrain: epochs of the first round of halving.
        reinforce: rounds with readers of the first round of halving.
        tune: passes over the labels of the first round of halving.
        judge: most epochs of a click model.
        readers: how many of the strangers a policy is judged by; all where 0.
    """

    pretrain: int = 3
    reinforce: int = 5
    tune: int = 2
    judge: int = 8
    readers: int = 0


@dataclass(frozen=True)
class People:
    """Who is who, as raw user ids: split before anything is learned.

    Attributes:
        learners: whom pre-training and the readers' click model learn from.
        panel: few people, of few ratings, whose clicks are the trusted labels of step 3.
        strangers: whom no training sees: they are the test, and the judge's readers.
    """

    learners: frozenset[str]
    panel: frozenset[str]
    strangers: frozenset[str]


def split_people(ratings: Mapping[str, int], seed: int = 0) -> People:
    """Return half of the people as strangers, and of the others a panel.

    Args:
        ratings: how many each person gave.
        seed: of the draw.
    """
    drawn = np.random.default_rng(seed).permutation(sorted(ratings)).tolist()
    strangers, others = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
    panel = [user for user in others if ratings[user] <= PANEL_RATINGS][:PANEL]
    return People(frozenset(others) - frozenset(panel), frozenset(panel), frozenset(strangers))


def read_ratings(file: Path) -> list[tuple[str, str, str, str]]:
    """Return (user, film, rating, time) of every row of ML-100K's ratings, in order."""
    with file.open(newline="", encoding="utf-8") as rows:
        reader = csv.reader(rows, delimiter="\t")
        header = [name.partition(":")[0] for name in next(reader)]
        place = [header.index(n) for n in ("user_id", "item_id", "rating", "timestamp")]
        return [cast(Any, tuple(row[i] for i in place)) for row in reader]


def convert(rows: Sequence[tuple[str, str, str, str]], users: Collection[str], out: Path) -> int:
    """Write the rows of ``users`` with a column of clicks; return how many there are."""
    kept = [row for row in rows if row[0] in users]
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["user_id", "item_id", "rating", "click", "timestamp"])
        for user, film, rating, at in kept:
            writer.writerow([user, film, rating, int(float(rating) >= LIKED), at])
    return len(kept)


@dataclass(frozen=True, slots=True)
class Crowd:
    """Simulated readers: a click model's word for each reader and film.

    Attributes:
        chances: [R, V] in the order of a vocabulary.
        metrics: how good the click model is on people it was not fitted to.
    """

    chances: Floats
    metrics: Mapping[str, float]

    def parted(self) -> tuple[Crowd, Crowd]:
        """Return the readers to learn with, and the fifth of them that chooses what to keep."""
        cut = len(self.chances) - len(self.chances) // 5
        return Crowd(self.chances[:cut], self.metrics), Crowd(self.chances[cut:], self.metrics)


class Study:
    """One seed's way through the steps, in a folder."""

    def __init__(self, folder: Path, files: Mapping[str, Path], seed: int, effort: Effort) -> None:
        """Import the learners, and describe the films; strangers stay outside."""
        rows = read_ratings(files["inter"])
        counts: dict[str, int] = {}
        for user, *_ in rows:
            counts[user] = counts.get(user, 0) + 1
        self.people = split_people(counts)
        self.folder, self.effort, self.seed = folder, effort, seed
        self._rows, self._films = rows, files["item"]
        self.workspace = self._open("learners", self.people.learners, {})

    def _open(self, name: str, users: Collection[str], settings: Settings) -> Workspace:
        """Return a workspace with the ratings of ``users`` in its log, and all films described."""
        place = self.folder / name
        if not (place / "heedful.toml").exists():
            Workspace.create(place, secret="5e" * 32).close()
        workspace = self._reopened(name, settings)
        converted = self.folder / f"{name}.csv"
        convert(self._rows, users, converted)
        workspace.import_file(converted)
        workspace.describe_file(self._films, Described.UNIT)
        return workspace

    def _reopened(self, name: str, settings: Settings) -> Workspace:
        options = {**COLUMNS, **FORM, "workspace.seed": self.seed, **settings}
        return Workspace.open(self.folder / name, options)

    def load(self, version: Version) -> Loaded:
        """Return a version of the learners' workspace."""
        return load(self.workspace.registry.folder(version.name))

    # Step 1

    def pretrained(self, settings: Settings, epochs: int) -> tuple[Version, float]:
        """Pre-train; return the version and its NDCG@10 on the learners' validation units."""
        with self._reopened("learners", {**settings, "pretrain.epochs": epochs}) as workspace:
            version = workspace.pretrain()
            score = workspace.registry.card(version.name).metrics["ndcg@10"]
        return version, float(cast(float, score))

    # Step 2

    def crowd(self, name: str, vocabulary: Vocabulary) -> Crowd:
        """Fit a click model to the people of the workspace ``name``, who become the readers."""
        settings = {"reward.silence": "model", "pretrain.epochs": self.effort.judge}
        with self._reopened(name, settings) as workspace:
            fit = workspace.reward()
            bench, window = workspace.bench(), workspace.config.policy.window
            answers = Answers.load(bench.shelf.folder(fit.name) / ANSWERS, window)
            streams = bench.domain.encode(workspace.log.snapshot(), answers.vocabulary)
        films = answers.vocabulary.indexes(vocabulary.units).astype(np.int64)
        chances, _ = answers.of_candidates(streams, streams.slot_offsets[1:] - 1, films, "click")
        return Crowd(chances, fit.metrics)

    def reinforced(
        self, parent: Version, crowd: Crowd, settings: Mapping[str, float], rounds: int
    ) -> tuple[Version, float]:
        """Improve ``parent`` on what readers answer it; return it, and its return with others.

        Each round new readers come, everything of it is learned from, and nothing earlier is.
        """
        loaded = self.load(parent)
        policy = clone(loaded.policy)
        cast(nn.Module, policy).requires_grad_(requires_grad=True)
        config, domain = self.workspace.config, Readership()
        section = Reinforce.model_validate({**config.reinforce.model_dump(), **settings})
        learned_with, others = crowd.parted()
        readers = Readers(learned_with.chances, n=ARRIVALS, slate=SLATE, session=SESSION)
        window = config.policy.window
        collector = Collector(
            domain, loaded.vocabulary, readers, window=window, seed=self.seed, name="reader"
        )
        metrics: dict[str, float] = {}
        for number in range(rounds):
            snapshot = collector.play(policy, SESSION)
            earned = earn(snapshot, Clicks(), maturity=0.0, now=0.0)
            streams = domain.encode(
                snapshot, loaded.vocabulary, rewards=earned.units, matured=earned.matured
            )
            with tempfile.TemporaryDirectory() as folder:
                run = Run(Path(folder), {})
                metrics = reinforce_from_log(
                    policy,
                    loaded.policy,
                    streams,
                    section,
                    run,
                    after=0,
                    window=window,
                    seed=self.seed * 10_000 + number,
                )
                run.close()
        score = float(self.returns(without_floor(policy), loaded.vocabulary, others).mean())
        metrics["rounds"], metrics["validation_return"] = rounds, score
        return self._registered(policy, loaded.vocabulary, parent, metrics), score

    def _registered(
        self, policy: Policy, vocabulary: Vocabulary, parent: Version, metrics: dict[str, float]
    ) -> Version:
        """Keep what readers taught as a candidate, so that the next step can start from it."""
        bench = self.workspace.bench()
        snapshot, registry = bench.log.snapshot(), self.workspace.registry
        inner = without_floor(policy)
        card = Card(
            kind=str(inner.spec()["kind"]),
            step="reinforce",
            parent=parent.name,
            snapshot=Data(watermark=snapshot.watermark, digest=snapshot.digest()),
            configuration=bench.asked_for(),
            seed=self.seed,
            code=current_code(),
            environment=current_environment(device="cpu", threads=1),
            metrics=metrics,
            created_at=bench.clock(),
            notes="by interaction with simulated readers",
        )
        with registry.new(card) as draft:
            save(Floor(inner, share=bench.config.serve.floor), vocabulary, draft.folder)
        return draft.version

    def returns(self, policy: Policy, vocabulary: Vocabulary, crowd: Crowd) -> Floats:
        """Return the expected clicks of each reader's session, [R]; slates are drawn from it."""
        n_readers = len(crowd.chances[: self.effort.readers or None])
        n = min(n_readers, ARRIVALS)
        readers = Readers(crowd.chances, n=n, slate=SLATE, session=SESSION, at_random=False)
        window = self.workspace.config.policy.window
        collector = Collector(
            Readership(), vocabulary, readers, window=window, seed=7_000_003 + self.seed
        )
        while len(readers.returns) < n_readers:
            collector.play(policy, SESSION)
        return np.array(readers.returns[:n_readers])

    # Step 3

    def invite_panel(self) -> None:
        """Import what the few trusted people said."""
        converted = self.folder / PANEL_FILE
        convert(self._rows, self.people.panel, converted)
        self.workspace.import_file(converted)

    def tuned(self, parent: Version, settings: Settings, epochs: int) -> tuple[Version, float]:
        """Fine-tune on the panel's labels; return the version and minus its held-out loss.

        Where no epoch made the held-out labels likelier, the parent stays as it is, and the score
        is minus infinity.
        """
        options = {
            "tune.trusted": sorted(self.people.panel),
            "tune.epochs": epochs,
            **settings,
        }
        with self._reopened("learners", options) as workspace:
            try:
                version = workspace.tune(parent.name)
            except ValueError as error:
                if "made none of the held-out ones likelier" not in str(error):
                    raise
                return parent, -np.inf
            nll = workspace.registry.card(version.name).metrics["nll"]
        return version, -float(cast(float, nll))

    # The test

    def strangers(self) -> Workspace:
        """Open the workspace of the people whom no training saw."""
        return self._open("strangers", self.people.strangers, {})

    def tested(self, versions: Mapping[str, Version], crowd: Crowd) -> dict[str, Any]:
        """Return what every step's version, and what costs nothing, is worth on the strangers.

        Args:
            versions: by name; all over one vocabulary.
            crowd: the learners' readers, for the click model that stands beside.
        """
        loaded = {name: self.load(version) for name, version in versions.items()}
        vocabulary = next(iter(loaded.values())).vocabulary
        with self.strangers() as workspace:
            judge = self.crowd("strangers", vocabulary)
            bench = workspace.bench()
            streams = bench.domain.encode(workspace.log.snapshot(), vocabulary)
        test = Unseen(streams, self.workspace.config.policy.window)
        known = self._learners(vocabulary)
        found = {name: test.of_baseline(known, name) for name in (CONSTANT, BY_ITEM, POPULAR)}
        for name, returns in self._lists(known, judge).items():
            found.setdefault(name, {})["return"] = returns.tolist()
        model = self._click_model(vocabulary)
        found[CLICK_MODEL] = test.of_predictions(*test.predicted(model, vocabulary))
        for name, one in loaded.items():
            policy = without_floor(one.policy)
            network = cast(Network, network_within(policy))
            found[name] = test.of_predictions(*test.predicted(network, vocabulary))
            found[name] |= test.of_ranking(policy)
            found[name]["return"] = self.returns(policy, vocabulary, judge).tolist()
        return {
            "found": found,
            "units": len(test.slots),
            "clicked": float(test.clicked.mean()),
            "judge": dict(judge.metrics),
            "readers": dict(crowd.metrics),
        }

    def _learners(self, vocabulary: Vocabulary) -> Streams:
        """Return the learners' streams: what those who know no history may count in."""
        bench = self.workspace.bench()
        everybody = bench.log.snapshot()
        codes = {self._pseudonym(user) for user in self.people.learners}
        kept = np.array([name in codes for name in everybody.names.subjects])
        return bench.domain.encode(everybody.of_subjects(kept), vocabulary)

    def _pseudonym(self, user: str) -> str:
        return pseudonym(user, self.workspace.key)

    def _click_model(self, vocabulary: Vocabulary) -> Network:
        bench = self.workspace.bench()
        newest = bench.shelf.newest()
        assert newest is not None
        answers = Answers.load(bench.shelf.folder(newest) / ANSWERS, 2)
        assert answers.vocabulary.units == vocabulary.units
        return answers.members[0]

    def _lists(self, known: Streams, judge: Crowd) -> dict[str, Floats]:
        """Return what fixed lists are worth, and what nobody can exceed."""
        shown, chances = SLATE * SESSION, judge.chances[: self.effort.readers or None]
        clicks, rate, _ = by_item(known)
        return {
            CONSTANT: shown * chances.mean(1),
            BY_ITEM: return_of_list(chances, np.argsort(-rate, kind="stable"), shown),
            POPULAR: return_of_list(chances, np.argsort(-clicks, kind="stable"), shown),
            ORACLE: highest_return(chances, shown),
        }


def channel(streams: Streams, kind: str) -> Floats:
    """Return one kind of answer to each slot, scaled, float64 [U]; NaN where there is none."""
    kinds = [one.kind for one in streams.schema.channels]
    return np.asarray(streams.slots.feedback[:, kinds.index(kind)], np.float64)


def by_item(streams: Streams) -> tuple[Floats, Floats, Floats]:
    """Return each unit's clicks, click rate and mean rating from 0 to 1, [V] each.

    Rates and means are drawn towards the mean of all as
    :func:`heedful.loop.answers.unit_means` says.
    """
    click, rating, unit = channel(streams, "click"), channel(streams, "rating"), streams.slots.unit
    once, size = np.ones(len(unit)), streams.schema.size
    clicks = np.bincount(unit, weights=click, minlength=size)
    return clicks, unit_means(unit, click, once, size), unit_means(unit, rating, once, size)


class Unseen:
    """The strangers' last films: each with what its person had said before it, and nothing later.

    Attributes:
        slots: int64 [n], slot numbers.
        clicked: float64 [n], 1 or 0.
    """

    def __init__(self, streams: Streams, window: int) -> None:
        self.streams, self._window = streams, window
        ends = streams.slot_offsets[1:]
        starts = np.maximum(streams.slot_offsets[:-1], ends - LAST)
        self.slots = np.concatenate([np.arange(a, b) for a, b in zip(starts, ends, strict=True)])
        self.clicked = channel(streams, "click")[self.slots]
        self._rating = channel(streams, "rating")[self.slots]
        liked = fresh_targets(streams, self.slots)
        self._liked = liked[channel(streams, "click")[liked] > 0]

    def predicted(self, network: Network, vocabulary: Vocabulary) -> tuple[Floats, Floats]:
        """Return what a network's feedback head says: chance of a click, and rating, [n] each."""
        answers = Answers((network,), vocabulary, self._window)
        click, rating = (answers.expected(self.streams, kind)[0] for kind in ("click", "rating"))
        return click[self.slots], rating[self.slots]

    def of_predictions(self, click: Floats, rating: Floats) -> dict[str, Any]:
        """Return the measures of predictions, and the log-loss by person."""
        p = np.clip(click, 1e-12, 1 - 1e-12)
        each = -np.where(self.clicked > 0, np.log(p), np.log1p(-p))
        return {
            "log-loss": log_loss(click, self.clicked),
            "AUC": auc(click, self.clicked),
            "ECE": calibration_error(click, self.clicked),
            "MAE": float(np.abs(rating - self._rating).mean() * 4.0),
            "losses": subject_means(self.streams, self.slots, each).tolist(),
        }

    def of_ranking(self, policy: Policy) -> dict[str, Any]:
        """Return NDCG@10 of the films that were clicked, by person."""
        ranks = held_out_ranks(policy, self.streams, self._liked, window=self._window)
        return {"ndcgs": subject_means(self.streams, self._liked, ndcg(ranks, 10)).tolist()}

    def of_baseline(self, known: Streams, name: str) -> dict[str, Any]:
        """Return the measures of one of the policies that know no history."""
        clicks, rate, mean = by_item(known)
        unit = self.streams.slots.unit[self.slots]
        if name == POPULAR:
            return self._ranked_by(clicks)
        if name == BY_ITEM:
            return self.of_predictions(rate[unit], mean[unit]) | self._ranked_by(rate)
        always = np.full(len(unit), float(channel(known, "click").mean()))
        median = np.full(len(unit), float(np.median(channel(known, "rating"))))
        return self.of_predictions(always, median)

    def _ranked_by(self, scores: Floats) -> dict[str, Any]:
        return self.of_ranking(Popularity(self.streams.schema).fit(torch.from_numpy(scores)))


def studied(
    folder: Path,
    files: Mapping[str, Path],
    seed: int,
    effort: Effort,
    configurations: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    """Go through all steps, choose by halving on validation, and open the test at the end.

    Args:
        folder: of this seed.
        files: "inter" and "item" of ML-100K.
        seed: of everything but the split of the people.
        effort: how much is spent.
        configurations: by step, what halving chooses among; a single one is just run.

    Returns:
        JSON: measures by policy, every look of the halvings, and CPU seconds by step.
    """
    torch.set_num_threads(1)
    if (folder / PANEL_FILE).exists():  # killed after the panel came: nothing before may know of it
        shutil.rmtree(folder)
        folder.mkdir()
    study, looks, seconds = Study(folder, files, seed, effort), dict[str, Any](), dict[str, float]()

    def chosen(step: str, budget: int, tried: Any) -> Version:
        began, made = time.process_time(), dict[tuple[int, int], Version]()
        options = configurations[step]

        def score(place: int, spent: int) -> float:
            made[place, spent], found = tried(options[place], spent)
            return float(found)

        if len(options) == 1:  # what another seed chose, with the budget that the winner had
            looks[step] = [Look(0, budget, score(0, budget))]
        else:
            looks[step] = halve(range(len(options)), score, budget=budget)
        seconds[step] = time.process_time() - began
        last = looks[step][-1]
        return made[last.place, last.budget]

    def budget(step: str, first: int) -> int:
        return int(configurations[step][0].get("budget", first))

    def without_budget(settings: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in settings.items() if key != "budget"}

    first = chosen(
        PRETRAINED,
        budget(PRETRAINED, effort.pretrain),
        lambda settings, n: study.pretrained(without_budget(settings), n),
    )
    began = time.process_time()
    crowd = study.crowd("learners", study.load(first).vocabulary)
    seconds["click model"] = time.process_time() - began
    second = chosen(
        REINFORCED,
        budget(REINFORCED, effort.reinforce),
        lambda settings, n: study.reinforced(first, crowd, without_budget(settings), n),
    )
    study.invite_panel()
    third = chosen(
        TUNED,
        budget(TUNED, effort.tune),
        lambda settings, n: study.tuned(second, without_budget(settings), n),
    )
    began = time.process_time()
    found = study.tested({PRETRAINED: first, REINFORCED: second, TUNED: third}, crowd)
    seconds["test"] = time.process_time() - began
    cards = {
        name: dict(study.workspace.registry.card(version.name).metrics)
        for name, version in ((PRETRAINED, first), (REINFORCED, second), (TUNED, third))
    }
    study.workspace.close()
    told = {
        step: [[look.place, look.budget, look.score] for look in of] for step, of in looks.items()
    }
    return {**found, "looks": told, "seconds": seconds, "cards": cards}
