"""How a version ranks what it was not trained on, beside what costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch

from heedful.config import Pretrain
from heedful.contract import Streams
from heedful.evaluate import (
    Interval,
    OffPolicyEstimate,
    Verdict,
    alpha_of,
    bootstrap,
    coverage,
    hit_rate,
    importance_weights,
    mrr,
    ndcg,
)
from heedful.evaluate.held_out import (
    fresh_targets,
    held_out_ndcg,
    held_out_ranks,
    scored,
    subject_means,
)
from heedful.evaluate.likeness import Likeness
from heedful.loop.bench import Bench, repeats
from heedful.loop.deploy import verdict_on
from heedful.loop.expected import Likelihood, likelihood
from heedful.loop.foretold import Foretold, foretold
from heedful.loop.forgetting import Forgetting, forgetting
from heedful.loop.form import PRIOR_DEPTHS, without_floor
from heedful.loop.judge import Logged, NotFreshError, judge_log, replay_log, value_of
from heedful.loop.lessons import chosen_by_people, sequences_of, split_of, split_on
from heedful.loop.likeness import likeness
from heedful.loop.paired import NoGamesError, verdict_by_games
from heedful.loop.wins import Wins, wins
from heedful.policy import Policy, Popularity, TransitionPrior, load
from heedful.store.registry import Version

TOP = 10
POPULARITY, PRIOR = "popularity", "transition prior"


@dataclass(frozen=True, slots=True)
class Ranks:
    """Ranking metrics of one policy over the held-out units, with 95 % intervals over subjects."""

    hr: Interval
    ndcg: Interval
    mrr: Interval
    coverage: float

    def to_dict(self) -> dict[str, object]:
        """Return plain numbers under the names the field uses."""
        return {
            f"hr@{TOP}": self.hr.mean,
            f"ndcg@{TOP}": self.ndcg.mean,
            "mrr": self.mrr.mean,
            f"coverage@{TOP}": self.coverage,
            "intervals": {
                f"hr@{TOP}": [self.hr.low, self.hr.high],
                f"ndcg@{TOP}": [self.ndcg.low, self.ndcg.high],
                "mrr": [self.mrr.low, self.mrr.high],
            },
        }


@dataclass(frozen=True, slots=True)
class Ranking:
    """A version beside popularity and the transition prior alone.

    Attributes:
        protocol: what was held out and how it was ranked, in words.
        n: subjects ranked for; each counts once, with the mean over its units.
        policies: name -> metrics.
        gain: NDCG@10 of the version minus that of the transition prior, paired by subject.
    """

    protocol: str
    n: int
    policies: Mapping[str, Ranks]
    gain: Interval

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON, the version's metrics first."""
        own, *others = self.policies.items()
        return {
            **own[1].to_dict(),
            "protocol": self.protocol,
            "n": self.n,
            "beside": {name: ranks.to_dict() for name, ranks in others},
            "gain_over_prior": {
                "mean": self.gain.mean,
                "low": self.gain.low,
                "high": self.gain.high,
            },
        }


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What was held out when a version was trained, and how policies rank it.

    Attributes:
        streams: the log as it stood then.
        split: how it was held out.
        slots: int64 [n], the test units there are to rank; by time, a subject can have several.
        policies: the version without its exploration, popularity, and the transition prior.
        ranks: by the same names, [n].
        seen: whether units may come again.
    """

    streams: Streams
    split: Pretrain
    slots: np.ndarray
    policies: Mapping[str, Policy]
    ranks: Mapping[str, np.ndarray]
    seen: bool

    def by_subject(self, values: np.ndarray) -> np.ndarray:
        """Return the mean of ``values`` [n] over the units of each subject, who count alike."""
        return subject_means(self.streams, self.slots, values)


def held_out(bench: Bench, version: Version) -> HeldOut:
    """Rank the units held out when ``version`` was trained, with it and with what costs nothing."""
    card = bench.registry.card(version.name)
    loaded = load(bench.registry.folder(version.name))
    snapshot = bench.log.snapshot(None if card.snapshot is None else card.snapshot.watermark)
    streams = bench.encode(snapshot, loaded.vocabulary)
    section = split_on(card, bench.config.pretrain)
    split = split_of(section, streams, snapshot)
    chosen, seen = chosen_by_people(streams), repeats(bench)
    slots = split.test[chosen[split.test] > 0]
    slots = slots if seen else fresh_targets(streams, slots)
    sequences = sequences_of(streams, chosen * split.train)
    units = np.concatenate([*sequences, np.zeros(0, np.int64)])  # of an empty log there is none
    counts = np.bincount(units, minlength=len(loaded.vocabulary))
    validation = split.validation[chosen[split.validation] > 0]
    policies: dict[str, Policy] = {
        version.name: without_floor(loaded.policy),
        POPULARITY: Popularity(streams.schema).fit(torch.from_numpy(counts)),
        PRIOR: _tuned_prior(bench, streams, sequences, validation),
    }
    window = bench.config.policy.window
    ranks = {
        name: held_out_ranks(policy, streams, slots, window=window, seen=seen)
        for name, policy in policies.items()
    }
    return HeldOut(streams, section, slots, policies, ranks, seen)


def ranking(bench: Bench, version: Version) -> Ranking | None:
    """Rank the held-out units, as the log stood when ``version`` was trained.

    Returns:
        ``None`` where nothing was held out.
    """
    found = held_out(bench, version)
    if not len(found.slots):
        return None
    window = bench.config.policy.window
    metrics = {
        name: _metrics(
            found,
            found.ranks[name],
            _coverage(policy, found.streams, found.slots, window, seen=found.seen),
        )
        for name, policy in found.policies.items()
    }
    difference = ndcg(found.ranks[version.name], TOP) - ndcg(found.ranks[PRIOR], TOP)
    gain = bootstrap(found.by_subject(difference), seed=0)
    return Ranking(_protocol(found), gain.n, metrics, gain)


def _protocol(found: HeldOut) -> str:
    """Say what was held out and how it was ranked."""
    what = "leave-one-out in the order of the log"
    if found.split.split in ("episode", "subject"):
        what = f"{len(found.slots):,} units of whole {found.split.split}s held out"
    if found.split.split == "time":
        what = f"split by time, the latest {found.split.split_share:.0%} of the units held out"
        what += f" ({len(found.slots):,} ranked, subjects count alike)"
    filtered = "with repeats" if found.seen else "items seen before filtered"
    return (
        f"{what}, full ranking of {found.streams.schema.size} units, {filtered}, "
        "score ties count half"
    )


def _tuned_prior(
    bench: Bench, streams: Streams, sequences: list[np.ndarray], validation: np.ndarray
) -> TransitionPrior:
    """Return the transition prior alone, at the depth that validates best: the floor to beat."""
    seen, window = repeats(bench), bench.config.policy.window
    slots = validation if seen else fresh_targets(streams, validation)
    found = []
    for depth in PRIOR_DEPTHS:
        prior = TransitionPrior(Popularity(streams.schema, sharpness=0.0), depth=depth)
        prior.fit(sequences)
        score = 0.0
        if len(slots):
            score = held_out_ndcg(prior, streams, slots, window=window, seen=seen, k=TOP)
        found.append((score, prior))
    return max(found, key=lambda pair: pair[0])[1]


def _metrics(found: HeldOut, ranks: np.ndarray, covered: float) -> Ranks:
    return Ranks(
        bootstrap(found.by_subject(hit_rate(ranks, TOP)), seed=0),
        bootstrap(found.by_subject(ndcg(ranks, TOP)), seed=0),
        bootstrap(found.by_subject(mrr(ranks)), seed=0),
        covered,
    )


def _coverage(
    policy: Policy, streams: Streams, slots: np.ndarray, window: int, *, seen: bool
) -> float:
    """Return the share of units that stand in somebody's first ten."""
    tops = [
        logits.topk(min(TOP, logits.shape[1])).indices.numpy()
        for _, logits in scored(policy, streams, slots, window=window, seen=seen)
    ]
    return float(coverage(np.concatenate(tops), streams.schema.size))


@dataclass(frozen=True, slots=True)
class Weights:
    """A histogram of importance weights.

    Attributes:
        edges: [b + 1], powers of two; the first bin has no lower end and the last no upper one.
        counts: [b + 1], decisions with a weight of 0 first, then those of each bin.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, weights: np.ndarray) -> Weights:
        """Count ``weights`` [n]; those below the first edge are in the first bin."""
        edges = 2.0 ** np.arange(-3, 7)
        placed = np.clip(np.searchsorted(edges, weights, side="right"), 1, len(edges) - 1)
        counts = np.bincount(np.where(weights == 0, 0, placed), minlength=len(edges))
        return cls(tuple(edges.tolist()), tuple(counts.tolist()))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is known of a version's worth.

    Attributes:
        policy: its name.
        ranking: held-out ranking metrics, ``None`` where nothing was held out, or where its
            likelihood is what counts.
        value: estimated reward per decision from the live version's fresh rows, by estimator, and
            under ``"live"`` what it earned there itself; ``None`` where there are no such rows,
            with the reason in ``why_no_value``.
        verdict: the gate's; of the randomised trial where one is open for it, else from the log's
            probabilities; ``None`` where there are no fresh rows.
        source: where the verdict's evidence comes from.
        gain: the most trusted estimate minus the live version's own, paired by subject.
        weights: how many of the live version's fresh decisions have importance weights of what
            size; ``None`` where there are none.
        foretold: what its feedback head expected, beside what people answered since.
        forgetting: how it does on past cohorts beside its parent; ``None`` without a parent.
        likelihood: of what was held out, where ``[pretrain] criterion`` asks for it.
        likeness: how like people's its moves are, where the domain can show play.
        wins: how often it serves somebody better, where it is on trial.
    """

    policy: str
    ranking: Ranking | None
    value: Mapping[str, OffPolicyEstimate] | None
    why_no_value: str
    verdict: Verdict | None
    source: str
    gain: Interval | None = None
    weights: Weights | None = None
    foretold: tuple[Foretold, ...] = ()
    forgetting: Forgetting | None = None
    wins: Wins | None = None
    likelihood: Likelihood | None = None
    likeness: Likeness | None = None

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON."""
        value: dict[str, object] = {"why_not": self.why_no_value}
        if self.value is not None:
            value = {name: _plain(estimate) for name, estimate in self.value.items()}
        if self.gain is not None:
            gain = self.gain
            value["gain_over_live"] = {"mean": gain.mean, "low": gain.low, "high": gain.high}
        gate = {"source": self.source} | ({} if self.verdict is None else self.verdict.to_dict())
        found = None if self.ranking is None else self.ranking.to_dict()
        past = None if self.forgetting is None else self.forgetting.to_dict()
        return {
            "policy": self.policy,
            "ranking": found,
            "likelihood": None if self.likelihood is None else self.likelihood.to_dict(),
            "likeness": None if self.likeness is None else self.likeness.to_dict(),
            "value": value,
            "gate": gate,
            "weights": None if self.weights is None else asdict(self.weights),
            "foretold": [one.to_dict() for one in self.foretold],
            "forgetting": past,
            "wins": None if self.wins is None else self.wins.to_dict(),
        }


def _plain(estimate: OffPolicyEstimate) -> dict[str, float]:
    """Return an estimate as JSON has it, with its 95 % interval."""
    names = ("value", "standard_error", "ess", "n", "mean_weight", "max_weight")
    interval = estimate.interval()
    found = {name: float(getattr(estimate, name)) for name in names}
    return found | {"low": interval.low, "high": interval.high}


def evaluation(bench: Bench, version: Version) -> Evaluation:
    """Return all that is known of ``version``'s worth."""
    try:
        logged, why = replayed(bench, version), ""
    except (NotFreshError, LookupError) as error:
        logged, why = None, str(error)
    value, gain, weights = None, None, None
    if logged is not None:
        known = value_of(logged)
        value, gain = known.by_name(), known.gain.interval()
        weights = Weights.of(importance_weights(logged.candidate, logged.behaviour))
    verdict, source = _verdict(bench, version, logged)
    card = bench.registry.card(version.name)
    by_likelihood = split_on(card, bench.config.pretrain).by_likelihood
    return Evaluation(
        version.name,
        None if by_likelihood else ranking(bench, version),
        value,
        why,
        verdict,
        source,
        gain,
        weights,
        foretold(bench, version),
        forgetting(bench, version),
        _wins(bench, version),
        likelihood(bench, version) if by_likelihood else None,
        likeness(bench, version),
    )


def replayed(bench: Bench, version: Version) -> Logged:
    """Return the live version's fresh decisions as ``version`` would have made them.

    Raises:
        LookupError: nothing is live, or ``version`` itself is.
        NotFreshError: it made no decision since ``version``'s training data end.
    """
    live, registry = bench.registry.live(), bench.registry
    if live is None:
        raise LookupError("no version is live, so no fresh decisions are there to learn from")
    if live.name == version.name:
        raise LookupError(f"{version.name} is live: its own reward is in the log")
    card = registry.card(version.name)
    loaded = load(registry.folder(version.name))
    snapshot = bench.log.snapshot()
    return replay_log(
        bench.domain,
        loaded.vocabulary,
        loaded.policy,
        snapshot,
        bench.earned(snapshot, card.reward),
        after=0 if card.snapshot is None else card.snapshot.watermark,
        made_by=live.name,
        window=bench.config.policy.window,
    )


def _wins(bench: Bench, version: Version) -> Wins | None:
    trial = bench.registry.trial()
    on_trial = trial is not None and trial.candidate == version.name
    return wins(bench, trial) if on_trial and trial is not None else None


def _verdict(bench: Bench, version: Version, logged: Logged | None) -> tuple[Verdict | None, str]:
    trial = bench.registry.trial()
    if trial is not None and trial.candidate == version.name:
        return verdict_on(bench, trial), "randomised assignment of subjects"
    live = bench.registry.live()
    if bench.config.gate.evidence == "paired" and live is not None and live.name != version.name:
        return _by_games(bench, version.name, live.name)
    if logged is None:
        return None, "no fresh decisions"
    # A look at the log decides nothing by itself; it is the k-th look that a promotion counts.
    k = bench.registry.judged() + 1
    return judge_log(
        logged, bench.config.gate, k=k
    ), "logged probabilities, a pre-screen: only a trial promotes"


def _by_games(bench: Bench, version: str, live: str) -> tuple[Verdict | None, str]:
    """Let both play; a promotion plays games of its own, so a look at these costs no alpha."""
    spend = alpha_of(bench.registry.judged() + 1, bench.config.gate.alpha)
    try:
        verdict = verdict_by_games(
            bench, version, live, purpose=f"a look at {version} beside {live}", spend=spend
        )
    except NoGamesError as error:
        return None, str(error)
    return verdict, "paired games; a promotion plays others"
