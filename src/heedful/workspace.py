"""A folder that holds all of one application: configuration, log, policies and runs."""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from heedful.config import FILE_NAME, Config, ConfigError, Problem, load, template
from heedful.contract import Domain, Exported, Exports, Files, Reading
from heedful.evaluate import Verdict
from heedful.loop import deploy, steps
from heedful.loop.assess import Evaluation, evaluation
from heedful.loop.bench import Bench
from heedful.loop.forever import alone, forever
from heedful.loop.plan import TrialPlan, planned
from heedful.loop.progress import Reporter, Silent
from heedful.loop.range_test import RangeTest
from heedful.loop.reward import Fit, fit_reward
from heedful.loop.status import Status, status
from heedful.loop.turn import Turn, turn
from heedful.record import Described, Description, pseudonym
from heedful.record.errors import check_id
from heedful.store import Receipt
from heedful.store.importing import (
    Features,
    ImportReport,
    describe_file,
    import_file,
    import_records,
)
from heedful.store.importing import Mapping as Columns
from heedful.store.log import Log
from heedful.store.registry import Held, Registry, Trial, Version

if TYPE_CHECKING:
    from heedful.serve import Answer, Service
    from heedful.serve.listing import Written
    from heedful.serve.recommend import Recommender

SECRET, LOG, RUNS, REWARDS = "secret.key", "log.db", "runs", "rewards"
GROUP = "heedful.domains"


class Workspace:
    """One application's folder. Each method is one verb of the command.

    Use as a context manager, or call :meth:`close`.
    """

    def __init__(self, folder: Path, config: Config, domain: Domain) -> None:
        """Use :meth:`open` or :meth:`create`."""
        self.folder, self.config, self.domain = folder, config, domain
        self.clock: Callable[[], float] = time.time
        self.reporter: Callable[[str], Reporter] = lambda _title: Silent()
        self._writer: Log | None = None

    @classmethod
    def open(cls, path: str | Path, overrides: Mapping[str, object] | None = None) -> Self:
        """Open the workspace at ``path``; ``overrides`` are flags by ``section.key``.

        Raises:
            ConfigError: no heedful.toml there, an error in it, or an unknown domain.
        """
        folder = Path(path)
        if folder.is_file():
            problem = f"is a file; a workspace is a folder with a {FILE_NAME}"
            raise ConfigError([Problem(source=str(folder), key="", problem=problem)])
        config = load(folder, overrides)
        return cls(folder, config, find_domain(config, folder))

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        domain: str = "recommendation",
        settings: str | None = None,
        secret: str | None = None,
    ) -> Self:
        """Make a workspace: a documented heedful.toml, an empty log, and a secret of its own.

        Args:
            path: the folder.
            domain: what a unit is.
            settings: the text of another heedful.toml.
            secret: hexadecimal digits for a simulation that shall come out the same again; a real
                workspace draws its own.

        Raises:
            ConfigError: no such domain is installed; nothing was made.
            FileExistsError: there is a heedful.toml already; it is left as it is.
        """
        folder = Path(path)
        entry = _installed(domain, source="a new workspace")
        if (folder / FILE_NAME).exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder / FILE_NAME))
        folder.mkdir(parents=True, exist_ok=True)
        _make_secret(
            folder / SECRET, secret or secrets.token_hex(32)
        )  # before the file that makes the folder a workspace
        with (folder / FILE_NAME).open("x", encoding="utf-8") as out:
            out.write(_documented(domain, entry) if settings is None else settings)
        with cls.open(folder) as workspace, workspace.writing():
            return cls(folder, workspace.config, workspace.domain)

    @property
    def key(self) -> bytes:
        """The secret that turns user ids into pseudonyms."""
        return bytes.fromhex((self.folder / SECRET).read_text().strip())

    @property
    def runs(self) -> Path:
        """The folder of training runs: curves for TensorBoard, checkpoints, the report."""
        return self.folder / RUNS

    @property
    def log(self) -> Log:
        """The log: this workspace's writer where it has one, else a reader."""
        return self._writer if self._writer is not None else self._reader

    @cached_property
    def registry(self) -> Registry:
        """The versions, their states, trials and the audit."""
        return Registry.open(self.folder)

    @contextmanager
    def writing(self) -> Iterator[Log]:
        """Become the log's one writer for a while.

        Raises:
            StoreError: another process is.
        """
        if self._writer is not None:
            yield self._writer
            return
        with Log.open(self.folder / LOG, write=True) as self._writer:
            try:
                yield self._writer
            finally:
                self._writer = None

    def import_file(
        self,
        path: str | Path,
        *,
        dry_run: bool = False,
        quarantine: str | Path | None = None,
        whole: bool = False,
        progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
    ) -> ImportReport:
        """Add a file of what was chosen, and of answers; see :func:`heedful.store.import_file`.

        A domain that has files of its own reads them itself; see :class:`heedful.contract.Files`.
        """
        domain, made_by = self.domain, self.config.import_.made_by
        with self.writing() as log:
            if isinstance(domain, Files):
                how = Reading(key=self.key, made_by=made_by, now=self.clock(), whole=whole)
                return import_records(
                    log,
                    path,
                    lambda findings: domain.read_file(Path(path), findings, how),
                    dry_run=dry_run,
                    quarantine=quarantine,
                    progress=progress,
                )
            return import_file(
                log,
                path,
                self._columns(),
                key=self.key,
                made_by=made_by,
                bot_rate=self.config.import_.bot_rate,
                dry_run=dry_run,
                quarantine=quarantine,
                now=self.clock(),
                progress=progress,
            )

    def export_file(self, path: str | Path, *, columns: str) -> Exported:
        """Write what happened to a file of the domain's own; see :class:`heedful.contract.Exports`.

        Raises:
            ValueError: the domain has no such files, or no such columns or format.
            OSError: the file cannot be written; an earlier one is left as it was.
        """
        if not isinstance(self.domain, Exports):
            raise ValueError(f"the domain {self.domain.name} has no files of its own to export")
        return self.domain.write_file(self.log.snapshot(), Path(path), columns=columns)

    def describe_file(
        self,
        path: str | Path,
        of: Described,
        features: Features | None = None,
        *,
        dry_run: bool = False,
        quarantine: str | Path | None = None,
        progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
    ) -> ImportReport:
        """Add a file of items or of people; see :func:`heedful.store.importing.describe_file`."""
        with self.writing() as log:
            return describe_file(
                log,
                path,
                of,
                features,
                key=self.key,
                dry_run=dry_run,
                quarantine=quarantine,
                progress=progress,
                now=self.clock(),
            )

    def describe(
        self,
        *,
        units: Mapping[str, Mapping[str, object]] | None = None,
        subjects: Mapping[str, Mapping[str, object]] | None = None,
    ) -> list[Receipt]:
        """Write down what is known of units and of people from now on; the latest counts.

        What is said replaces all that was known of them; no facts at all take it back. A policy
        reads it from the next training on.

        Args:
            units: facts by unit id; see :class:`heedful.record.Description` for what a fact is.
            subjects: facts by user id, which is kept as a pseudonym.

        Returns:
            One receipt each, units first.

        Raises:
            RecordError: a fact cannot be read or kept, and nothing was written.
            StoreError: another process writes the log.
        """
        now, key = self.clock(), self.key
        told = [
            Description(of=Described.UNIT, name=unit, facts=facts, given_at=now)
            for unit, facts in (units or {}).items()
        ]
        told += [
            Description(of=Described.SUBJECT, name=pseudonym(user, key), facts=facts, given_at=now)
            for user, facts in (subjects or {}).items()
        ]
        with self.writing() as log:
            return log.describe(told)

    def popularity(self) -> Version:
        """Leave a candidate that shows what people liked, in proportion."""
        return steps.popularity(self.bench())

    def pretrain(self, parent: str | None = None) -> Version:
        """Leave a candidate that was pre-trained on what people chose.

        Args:
            parent: the version whose network it begins with, grown to the units there are now; a
                fresh network by default.
        """
        known = None if parent is None else self.registry.version(parent)
        return steps.pretrained(self.bench(), known)

    def range_test(self, parent: str | None = None) -> tuple[RangeTest, Path]:
        """Try learning rates for :meth:`pretrain`, with the same arguments; leave no version.

        Returns:
            What was found, and the file of a plot of it, in the folder of runs.
        """
        known = None if parent is None else self.registry.version(parent)
        return steps.rates_tried(self.bench(), known)

    def reward(self) -> Fit:
        """Fit what ``[reward]`` asks for beyond counting; the next reinforcement learns with it.

        Raises:
            RewardError: nothing is asked for, or the log holds too little to fit it to.
        """
        return fit_reward(self.bench())

    def reinforce(self, parent: str | None = None) -> Version:
        """Leave a candidate that improves ``parent`` (the live version) on the feedback in the log.

        Where it learns by playing, and there is nothing to start from, it starts from nothing: a
        fresh network becomes a version of its own, and is the parent.

        Raises:
            LookupError: there is no live version to improve.
        """
        bench = self.bench()
        if parent is None and steps.nothing_yet(bench):
            return steps.reinforced(bench, steps.begun(bench))
        return steps.reinforced(bench, self._named(parent))

    def tune(self, parent: str | None = None) -> Version:
        """Leave a candidate that moves ``parent`` (the live version) towards trusted labels.

        Labels are demonstrations in the log, and what people under ``[tune] trusted`` clicked or
        rated. The candidate goes through the same gate as any other.

        Raises:
            LookupError: there is no live version to start from.
            ValueError: there are too few labels, or those held out did not become likelier.
        """
        return steps.tuned(self.bench(), self._named(parent))

    def evaluate(self, version: Version | str | None = None) -> Evaluation:
        """Say what ``version`` is worth: ranking, estimated value, and the gate's verdict.

        Args:
            version: the newest that is not live yet by default, else the live one.

        Raises:
            LookupError: there is no version at all.
        """
        version = self._newest() if version is None else version
        name = version if isinstance(version, str) else version.name
        return evaluation(self.bench(), self.registry.version(name))

    def begin_trial(self, candidate: Version | str, *, by: str = "heedful") -> Trial:
        """Give ``candidate`` a share of the subjects from now on."""
        name = candidate if isinstance(candidate, str) else candidate.name
        return deploy.begin_trial(self.bench(), name, by=by)

    def plan(
        self,
        gain: float,
        *,
        base: float | None = None,
        decisions: int = 10,
        rows: Sequence[int] = (),
    ) -> TrialPlan:
        """Say how many subjects a gain needs before the gate sees it; see `heedful.loop.plan`."""
        return planned(self.bench(), gain, base=base, decisions=decisions, rows=rows)

    def judge(self) -> Verdict | None:
        """Judge the open trial on everything that has matured; ``None`` where none is open."""
        trial = self.registry.trial()
        return None if trial is None else deploy.verdict_on(self.bench(), trial)

    def promote(self, version: Version | str, *, by: str, why: str = "") -> Version:
        """Make ``version`` live, if the evidence allows it; with a reason ``why``, on your word.

        Raises:
            GateRefusedError: its trial does not say promote, or there is none.
            RegistryError: it is live already or refused, or damaged.
        """
        name = version if isinstance(version, str) else version.name
        if why:
            return deploy.force(self.bench(), name, by=by, why=why)
        return deploy.promote(self.bench(), name, by=by)

    def rollback(self, *, by: str, why: str) -> Version:
        """Return to the version that was live before.

        Raises:
            RegistryError: none was, or it is damaged.
        """
        return self.registry.rollback(by=by, why=why)

    def stop(self, version: Version | str, *, by: str, why: str) -> Version:
        """Never serve ``version`` again; see :meth:`heedful.store.registry.Registry.stop`.

        Raises:
            RegistryError: it is refused already; or it is live and none was live before.
        """
        name = version if isinstance(version, str) else version.name
        return self.registry.stop(name, by=by, why=why)

    def block(self, unit: str, *, by: str, why: str) -> None:
        """Forbid a unit for all decisions from now on, before anything is drawn.

        Raises:
            RegistryError: it is blocked already.
        """
        self.registry.block(unit, by=by, why=why)

    def live_knows(self, unit: str) -> bool:
        """Return whether the live version knows ``unit``; what is not known is never shown."""
        live = self.registry.live()
        if live is None:
            return False
        from heedful.policy import load as load_policy

        return unit in load_policy(self.registry.folder(live.name)).vocabulary

    def unblock(self, unit: str, *, by: str, why: str) -> None:
        """Allow a unit again.

        Raises:
            RegistryError: it is not blocked.
        """
        self.registry.unblock(unit, by=by, why=why)

    def held(self) -> list[Held]:
        """Return the decisions that wait for a person, oldest first."""
        return self.registry.waiting()

    def review(self, decision: str, *, approve: bool, by: str, why: str) -> Held:
        """Let a decision that waits be shown, or not.

        Raises:
            RegistryError: there is none of this id, or it was answered before.
        """
        return self.registry.review(decision, approve=approve, by=by, why=why, at=self.clock())

    def canary(self) -> Status:
        """Return what decides now, and how far the open trial has come; nothing is changed."""
        return status(self.bench())

    @contextmanager
    def serving(self, *, seed: int | None = None, version: str | None = None) -> Iterator[Service]:
        """Serve decisions and take in feedback, as the log's one writer, until the block ends.

        Args:
            seed: of the draws; ``[workspace] seed`` by default.
            version: the one that decides for everybody; by default the live one, and the one on
                trial for its share.

        Raises:
            StoreError: another process writes the log, or there is no such version.
            ValueError: the version is refused, which is never served.
        """
        if version is not None and self.registry.version(version).state == "refused":
            raise ValueError(f"version {version} is refused, and a refused one never decides")
        from heedful.serve import Service  # and with it the web server, which nothing else needs

        config = self.config
        with (
            self.writing() as log,
            Service(
                log,
                self.registry,
                self.domain,
                key=self.key,
                options=config.serve,
                window=config.policy.window,
                clock=self.clock,
                seed=config.workspace.seed if seed is None else seed,
                only=version,
            ) as service,
        ):
            yield service

    def recommend(
        self,
        user: str,
        *,
        k: int = 10,
        version: Version | str | None = None,
        choices: Mapping[str, object] | None = None,
    ) -> Answer:
        """Say what a version would show ``user`` now; nothing is logged.

        Args:
            user: a raw user id; the log knows its pseudonym.
            k: the longest list.
            version: the live one by default, else the newest.
            choices: what is allowed, forbidden and required, as in a request to the service.

        Raises:
            ValueError: a rule cannot be understood, or ``k`` is below 1.
            LookupError: there is no version.
        """
        people = {pseudonym(check_id("user", user), self.key): user}
        ranked = self._recommender(version).rank(people, choices or {}, k=k, now=self.clock())
        return next(ranked)

    def recommend_all(
        self,
        out: str | Path,
        users: Iterable[str] | None = None,
        *,
        k: int = 10,
        version: Version | str | None = None,
        choices: Mapping[str, object] | None = None,
    ) -> Written:
        """Write what a version would show everybody now to a file, .csv or .parquet.

        Args:
            out: the file; an earlier one of this name is replaced once the new one is whole.
            users: raw user ids; by default everybody in the log, under their pseudonyms.
            k: the longest list.
            version: the live one by default, else the newest.
            choices: as in :meth:`recommend`.

        Returns:
            For how many subjects, and who of them got nothing.

        Raises:
            ValueError: as in :meth:`recommend`, or the file's name says no format that is known.
            LookupError: there is no version.
            OSError: the file cannot be written; an earlier one is left as it was.
        """
        from heedful.serve import listing

        place = Path(out)
        listing.check(place)
        key = self.key
        if users is None:
            people = {subject: subject for subject in self.log.subjects()}
        else:
            people = {pseudonym(check_id("user", user), key): user for user in users}
        recommender = self._recommender(version)
        ranked = recommender.rank(people, choices or {}, k=k, now=self.clock())
        shown = self.reporter("recommend")
        try:
            return listing.write(_told(ranked, len(people), shown), place)
        finally:
            shown.close()

    def turn(self, *, by: str = "heedful") -> Turn:
        """Take one turn of the circle; see :func:`heedful.loop.turn.turn`.

        Raises:
            StoreError: another process runs the loop of this workspace; says which.
        """
        with alone(self.folder):
            return turn(self.bench(), by=by)

    def forever(
        self,
        tell: Callable[[Turn], None],
        wait: Callable[[float], bool],
        *,
        by: str = "heedful",
    ) -> None:
        """Take turns as the log grows; see :func:`heedful.loop.forever.forever`.

        Args:
            tell: is told what was done.
            wait: waits so many seconds; True ends the loop.
            by: who does it, for the audit.

        Raises:
            StoreError: another process runs the loop of this workspace; says which.
        """
        with alone(self.folder):
            forever(self.bench, tell, wait, by=by)

    def report(self, out: str | Path | None = None) -> Path:
        """Write the report, one HTML file that needs nothing else, and return its path.

        Args:
            out: where; ``runs/report.html`` in the workspace by default.
        """
        from heedful.loop.report import report  # and with it matplotlib, which nothing else needs

        place = self.runs / "report.html" if out is None else Path(out)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(report(self.bench(), self.folder.resolve().name), "utf-8")
        return place

    def close(self) -> None:
        """Let go of the files."""
        for name in ("registry", "_reader"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def bench(self) -> Bench:
        """Return what the steps of the loop work with."""
        return Bench(
            domain=self.domain,
            log=self.log,
            registry=self.registry,
            config=self.config,
            runs=self.runs,
            rewards=self.folder / REWARDS,
            secret=self.key,
            clock=self.clock,
            reporter=self.reporter,
        )

    def _recommender(self, version: Version | str | None) -> Recommender:
        from heedful.policy import load as load_policy
        from heedful.serve.policies import as_served
        from heedful.serve.recommend import Recommender

        if version is None:
            version = self.registry.live() or self._newest()
        name = version if isinstance(version, str) else version.name
        served = as_served(
            self.registry, self.domain, name, load=load_policy, floor=self.config.serve.floor
        )
        return Recommender(
            self.log,
            self.domain,
            served,
            window=self.config.policy.window,
            blocked=self.registry.blocked(),
        )

    @cached_property
    def _reader(self) -> Log:
        return Log.open(self.folder / LOG, write=False)

    def _columns(self) -> Columns | None:
        section = self.config.import_
        if not section.unit:
            return None
        columns = section.model_dump(exclude={"context", "made_by", "bot_rate"})
        return Columns(**columns, context=tuple(section.context))

    def _newest(self) -> Version:
        """Return the newest version that waits to go live, else the live one."""
        waiting = [v for v in self.registry.versions() if v.state in ("candidate", "canary")]
        live = self.registry.live()
        if waiting and (live is None or waiting[-1].number > live.number):
            return waiting[-1]
        if live is None:
            raise LookupError("there is no policy version yet: train one first")
        return live

    def _named(self, name: str | None) -> Version:
        if name is not None:
            return self.registry.version(name)
        live = self.registry.live()
        if live is None:
            raise LookupError("no version is live: promote one, or name the version to start from")
        return live


def _told(answers: Iterable[Answer], total: int, shown: Reporter) -> Iterator[Answer]:
    """Yield ``answers`` and tell how many there were so far."""
    for done, answer in enumerate(answers, start=1):
        yield answer
        shown.update(done, total)


def _documented(domain: str, entry: EntryPoint) -> str:
    """Return a heedful.toml for ``domain`` with every key, its own options among them."""
    kind = entry.load()
    return template(domain, suits=getattr(kind, "suits", None), options=getattr(kind, "keys", None))


def find_domain(config: Config, folder: Path) -> Domain:
    """Return the domain ``[workspace] domain`` names, made with the options under ``[domain]``.

    Raises:
        ConfigError: it is not installed, or an option is wrong.
    """
    source = str(folder / FILE_NAME)
    entry = _installed(config.workspace.domain, source)
    make = cast(Callable[[dict[str, Any], Path], Domain], entry.load())
    try:
        return make(dict(config.domain), folder)
    except ConfigError as error:
        raise config.located(error) from None
    except ValueError as error:
        raise ConfigError([Problem(source=source, key="domain", problem=str(error))]) from None


def _installed(name: str, source: str) -> EntryPoint:
    """Return the entry point of a domain.

    Raises:
        ConfigError: it is not installed; says which are.
    """
    entries = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name in entries:
        return entries[name]
    problem = Problem(
        source=source,
        key="workspace.domain",
        problem="no such domain is installed",
        found=name,
        allowed=", ".join(sorted(entries)),
    )
    raise ConfigError([problem])


def _make_secret(file: Path, secret: str) -> None:
    """Write a new secret that only its owner can read; one that is there already is kept."""
    with suppress(FileExistsError):
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as out:
            out.write(secret)
