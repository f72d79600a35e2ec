"""The registry of policy versions: which exist, which one is live, who decided it and why."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self

from heedful.store.registry import audit, blocks, drafts, folders, held, ledger, trial
from heedful.store.registry.audit import AuditEntry, Reason
from heedful.store.registry.card import Card, Json, canonical
from heedful.store.registry.database import Database, integrity
from heedful.store.registry.errors import ManifestError, RegistryBusyError, RegistryError
from heedful.store.registry.held import Held
from heedful.store.registry.replayed import Standing, replayed
from heedful.store.registry.trial import Outcome, Trial
from heedful.store.registry.version import Version, name_of, number_of

FILE_NAME = "registry.db"
FOLDER_NAME = "policies"

Evidence = Mapping[str, Json] | None


class Registry:
    """The versions in ``policies/`` and, in ``registry.db``, their states, trials and audit.

    Every change is one short transaction that several processes may attempt at once; a change that
    returned is on the disk, and one that raised or was killed happened whole or not at all. From
    the first promotion on exactly one version is live at every instant.
    """

    def __init__(self, policies: Path, database: Database) -> None:
        self._policies = policies
        self._database = database

    @classmethod
    def open(cls, workspace: str | Path, *, timeout: float = 10.0) -> Self:
        """Open the registry of a workspace, making it if need be, and tidy up after crashes.

        Args:
            workspace: the folder.
            timeout: how long to wait for another process's change, in seconds.

        Raises:
            RegistryError: it cannot be read, is damaged, or was made by a newer heedful.
        """
        policies = Path(workspace) / FOLDER_NAME
        with _explained(policies):
            policies.mkdir(exist_ok=True)
        database = Database(Path(workspace) / FILE_NAME, timeout=timeout)
        try:
            with _explained(policies):
                drafts.recover(policies, database)
        except BaseException:
            database.close()
            raise
        return cls(policies, database)

    def close(self) -> None:
        """Close the database; closing twice is harmless."""
        self._database.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the database."""
        self.close()

    def versions(self) -> list[Version]:
        """Return all versions in the order of their numbers."""
        return self._database.read(ledger.versions)

    def version(self, name: str) -> Version:
        """Return one version.

        Raises:
            RegistryError: there is none of this name.
        """
        return self._database.read(partial(ledger.find, number=number_of(name)))

    def live(self) -> Version | None:
        """Return the version that decides, ``None`` before the first promotion."""
        return self._database.read(ledger.live)

    def audit(self) -> list[AuditEntry]:
        """Return every change, oldest first."""
        return self._database.read(audit.entries)

    def generation(self) -> int:
        """Return a number that rises with every change by any process; cheap to ask."""
        return self._database.read(audit.last)

    def folder(self, name: str) -> Path:
        """Return a version's folder, after :meth:`verify`: ask it before anything is loaded."""
        self.verify(name)
        return self._policies / name

    def card(self, name: str) -> Card:
        """Return a version's card.

        Raises:
            ManifestError: the card or the manifest is not what was registered.
        """
        self._verify(name, only=folders.CARD)
        return folders.read_card(self._policies / name)

    def verify(self, name: str) -> None:
        """Check every file of a version against its manifest, and the manifest itself.

        Raises:
            ManifestError: names each file that is missing, cut, changed or extra, what was
                expected, what was found, and the remedy.
            RegistryError: there is no such version.
        """
        self._verify(name)

    def check(self) -> list[str]:
        """Return all that is wrong, in words.

        With the database, with versions, with strays; and where the audit, played from its first
        entry, does not lead to what is there.
        """
        problems = self._database.read(integrity)
        problems += self._unaudited()
        known = self.versions()
        for version in known:
            try:
                self.verify(version.name)
            except RegistryError as error:
                problems.append(str(error))
        for number in sorted(set(folders.numbers(self._policies)) - {v.number for v in known}):
            path = self._policies / name_of(number)
            problems.append(f"{path}: not registered; look at it and move it away")
        return problems

    @contextmanager
    def new(self, card: Card, *, by: str = "heedful") -> Iterator[drafts.Draft]:
        """Register what is saved inside the ``with`` block as a candidate.

        An exception removes the draft. The draft of a process that was killed goes when the
        registry is next opened, or asked for a new version. ``card.number`` is filled in.

        Raises:
            RegistryError: the parent does not exist, nothing was saved, or the disk is full.
        """
        reason = Reason(by=by, why=f"{card.step}, {card.kind}", evidence={"recipe": card.recipe()})
        if card.parent is not None:
            self.version(card.parent)
        with _explained(self._policies):
            drafts.recover(self._policies, self._database)
        with drafts.drafted(self._policies, self._database) as draft:
            yield draft
            with _explained(draft.folder):
                draft.became(drafts.register(draft.folder, card, self._database, reason))

    def promote(
        self,
        name: str,
        *,
        by: str,
        why: str,
        evidence: Evidence = None,
        despite_trial: bool = False,
    ) -> Version:
        """Make a candidate, or a retired version, the live one; the live one retires.

        Args:
            name: of the version.
            by: who does it.
            why: and why.
            evidence: in figures.
            despite_trial: end an open trial in the same transaction, whosever it is.

        Raises:
            ManifestError: the version is damaged.
            RegistryError: it is live or refused, or a trial is open, which must be ended first.
        """
        reason = Reason(by=by, why=why, evidence=evidence or {})
        self.verify(name)
        with self._database.transaction() as connection:
            under_way = trial.current(connection)
            if despite_trial and under_way is not None:
                if under_way.candidate == name:
                    trial.end(connection, under_way, "promoted", reason)
                    return ledger.find(connection, number_of(name))
                words = f"{name} is promoted by hand: {why}"
                trial.end(connection, under_way, "stopped", replace(reason, why=words))
            trial.require_none(connection)
            ledger.require(connection, number_of(name), "candidate", "retired")
            ledger.go_live(connection, number_of(name), reason)
            return ledger.find(connection, number_of(name))

    def refuse(self, name: str, *, by: str, why: str, evidence: Evidence = None) -> Version:
        """Refuse a candidate for good.

        Raises:
            RegistryError: it is no candidate; one on trial is refused by :meth:`end_trial`.
        """
        reason = Reason(by=by, why=why, evidence=evidence or {})
        with self._database.transaction() as connection:
            ledger.require(connection, number_of(name), "candidate")
            ledger.refuse(connection, number_of(name), reason)
            return ledger.find(connection, number_of(name))

    def rollback(self, *, by: str, why: str, evidence: Evidence = None) -> Version:
        """Return to the version that was live before; again, and it goes one further back.

        An open trial is stopped in the same transaction: its baseline is gone.

        Raises:
            ManifestError: the version to return to is damaged; promote another one.
            RegistryError: none was live before.
        """
        reason = Reason(by=by, why=why, evidence=evidence or {})
        target, _ = seen = self._database.read(ledger.last_two)
        self.verify(name_of(target))
        with self._database.transaction() as connection:
            if ledger.last_two(connection) != seen:
                raise RegistryBusyError("another process promoted or rolled back just now")
            under_way = trial.current(connection)
            if under_way is not None:
                trial.end(connection, under_way, "stopped", reason)
            ledger.step_back(connection, target, reason)
            return ledger.find(connection, target)

    def stop(self, name: str, *, by: str, why: str, evidence: Evidence = None) -> Version:
        """Refuse a version for good, whatever it is: it is never served again.

        Its trial is stopped. Where it is live, the version before it becomes live in the same
        transaction, and a trial against it is stopped, as its baseline is gone.

        Returns:
            The version, refused.

        Raises:
            ManifestError: the version to return to is damaged; promote another one first.
            RegistryError: it is refused already; or it is live and none was live before, so that
                nobody would decide: promote another one first, then stop this one.
        """
        reason = Reason(by=by, why=why, evidence=evidence or {})
        number = number_of(name)
        target = self._successor(number)
        if target is not None:
            self.verify(name_of(target))
        with self._database.transaction() as connection:
            ledger.require(connection, number, "candidate", "canary", "live", "retired")
            was = ledger.find(connection, number).state
            live = was == "live"
            if live != (target is not None):
                raise RegistryBusyError("another process promoted or rolled back just now")
            under_way = trial.current(connection)
            if under_way is not None and (live or under_way.candidate == name):
                trial.end(connection, under_way, "stopped", reason)
            if target is not None:
                if ledger.last_two(connection) != (target, number):
                    raise RegistryBusyError("another process promoted or rolled back just now")
                ledger.step_back(connection, target, reason)
            reason = Reason(by=by, why=why, evidence={**reason.evidence, "was": was})
            ledger.stop(connection, number, reason)
            return ledger.find(connection, number)

    def _successor(self, number: int) -> int | None:
        """Return which version is live when this one is stopped; ``None`` if it is not live."""
        if self._database.read(partial(ledger.find, number=number)).state != "live":
            return None
        try:
            return self._database.read(ledger.last_two)[0]
        except RegistryError:
            raise RegistryError(
                f"version {name_of(number)} is live, and none was live before it: nobody would "
                "decide. Promote another one first, then stop this one"
            ) from None

    def blocked(self) -> frozenset[str]:
        """Return the units that no decision may hold."""
        return self._database.read(blocks.units)

    def block(self, unit: str, *, by: str, why: str) -> None:
        """Forbid a unit for all decisions from now on, until :meth:`unblock`.

        Raises:
            RegistryError: it is blocked already.
        """
        reason = Reason(by=by, why=why, evidence={})
        with self._database.transaction() as connection:
            blocks.block(connection, unit, reason)

    def unblock(self, unit: str, *, by: str, why: str) -> None:
        """Allow a unit again.

        Raises:
            RegistryError: it is not blocked.
        """
        reason = Reason(by=by, why=why, evidence={})
        with self._database.transaction() as connection:
            blocks.unblock(connection, unit, reason)

    def hold(self, decisions: Sequence[Held]) -> None:
        """Keep decisions that wait for a person; on the disk when this returns.

        Raises:
            RegistryError: nothing of it was kept.
        """
        with self._database.transaction() as connection:
            held.add(connection, decisions)

    def held(self, decision: str) -> Held | None:
        """Return a decision that is held, or was; ``None`` where there is none of this id."""
        return self._database.read(partial(held.find, name=decision))

    def n_held(self) -> int:
        """Return how many decisions were ever held."""
        return self._database.read(held.count)

    def waiting(self) -> list[Held]:
        """Return the decisions that wait for a person, oldest first."""
        return self._database.read(held.waiting)

    def review(
        self, decision: str, *, approve: bool, by: str, why: str, at: float | None = None
    ) -> Held:
        """Let a decision that is held be shown, or not; said once.

        Args:
            decision: its id.
            approve: whether it may be shown.
            by: who says so.
            why: and why.
            at: when, seconds since the epoch; now by default.

        Raises:
            RegistryError: there is none of this id, or it was answered before.
        """
        reason = Reason(by=by, why=why, evidence={})
        moment = time.time() if at is None else at
        said: held.Said = "approved" if approve else "rejected"
        with self._database.transaction() as connection:
            return held.answer(connection, decision, said, moment, reason)

    def first_held(self, since: float) -> Mapping[str, float]:
        """Return when each subject's first decision was held, by pseudonym.

        Args:
            since: only decisions drawn from then on, seconds since the epoch.
        """
        return self._database.read(partial(held.first_held, since=since))

    def judged(self) -> int:
        """Return how many judgements of candidates were ever begun: the next one's k is one more.

        Candidates share one alpha; the k-th may spend 6 alpha / (pi k)^2 of it.
        """
        return self._database.read(trial.judged)

    def judge(self, name: str, *, by: str, why: str) -> int:
        """Count a judgement that needs no trial, before its first look at the data.

        Returns:
            Its k.

        Raises:
            RegistryError: it is no candidate.
        """
        with self._database.transaction() as connection:
            ledger.require(connection, number_of(name), "candidate")
            k = trial.judge(connection, number_of(name))
            reason = Reason(by=by, why=why, evidence={"k": k})
            audit.record(connection, "judged", number_of(name), reason)
        return k

    def begin_trial(
        self,
        candidate: str,
        shares: Sequence[float],
        *,
        salt: str,
        watermark: int,
        k: int,
        alpha: float,
        by: str,
        at: float | None = None,
        terms: Mapping[str, Json] | None = None,
    ) -> Trial:
        """Let a candidate decide for a share of the subjects; at most one trial is open.

        Args:
            candidate: a version in the state candidate.
            shares: probability of the candidate in each stage, rising, inside (0, 1).
            salt: never used before, so that no two trials assign alike.
            watermark: the log's at this moment; only later decisions count.
            k: ``judged() + 1``; the trial counts as the k-th judgement.
            alpha: what the k-th judgement may spend, inside (0, 1).
            by: who begins it.
            at: now, seconds since the epoch, by the clock that decisions are made by.
            terms: the settings the trial is judged by, as JSON.

        Raises:
            ManifestError: the candidate is damaged.
            RegistryError: a trial is open, nothing is live, or an argument is out of bounds.
        """
        trial.check_bounds(shares, salt, watermark, alpha)
        stages, moment = [float(share) for share in shares], time.time() if at is None else at
        about: dict[str, Json] = {"k": k, "shares": stages, "alpha": alpha, "watermark": watermark}
        reason = Reason(by=by, why="a randomised comparison with the live version", evidence=about)
        self.verify(candidate)
        with self._database.transaction() as connection:
            trial.require_none(connection)
            ledger.require(connection, number_of(candidate), "candidate")
            baseline = ledger.live(connection)
            if baseline is None:
                raise RegistryError("no version is live to compare with; promote a first one")
            begun = Trial(
                k=k,
                candidate=candidate,
                baseline=baseline.name,
                shares=tuple(stages),
                since=(moment,),
                salt=salt,
                watermark=watermark,
                alpha=alpha,
                begun_at=moment,
                begun_by=by,
                terms=json.loads(canonical("terms", terms or {})),
            )
            trial.begin(connection, begun, reason)
        return begun

    def trial(self) -> Trial | None:
        """Return the trial that is under way."""
        return self._database.read(trial.current)

    def trials(self) -> list[Trial]:
        """Return every trial, oldest first."""
        return self._database.read(trial.every)

    def raise_share(
        self,
        seen: Trial,
        since: float,
        *,
        by: str,
        why: str,
        evidence: Evidence = None,
        now: Callable[[], float] | None = None,
        notice: float = 0.0,
    ) -> Trial:
        """Take the open trial to its next stage.

        Args:
            seen: the trial as it was when it was judged.
            since: from when on the larger share holds, by the clock that decisions are made by. A
                little ahead of now, so that every server knows before it holds.
            by: who raises it.
            why: and why.
            evidence: in figures.
            now: that clock; by default nobody is given notice.
            notice: seconds that must be left until ``since`` when the change is written.

        Raises:
            RegistryBusyError: the trial is not as it was seen, or there was so long to wait for
                another process that it would be known too late.
            RegistryError: there is no further stage.
        """
        reason = Reason(by=by, why=why, evidence=evidence or {})
        with self._database.transaction() as connection:
            if trial.current(connection) != seen:
                raise RegistryBusyError("another process ended or raised the trial just now")
            if now is not None and since - now() < notice:
                raise RegistryBusyError("the registry was busy for too long; raise the share anew")
            return trial.advance(connection, seen, since, reason)

    def end_trial(
        self,
        outcome: Outcome,
        *,
        by: str,
        why: str,
        evidence: Evidence = None,
        seen: Trial | None = None,
    ) -> Version:
        """End the open trial and promote, refuse or keep its candidate, in one transaction.

        Args:
            outcome: "promoted", "refused", or "stopped" without a verdict: a candidate again.
            by: who ended it.
            why: the verdict in words.
            evidence: the verdict in figures.
            seen: the trial as it was when it was judged, where it was: a verdict on one version
                must not promote another that is on trial by now.

        Returns:
            The candidate in its new state.

        Raises:
            ManifestError: it is to be promoted and is damaged.
            RegistryBusyError: the trial is not as it was seen.
            RegistryError: no trial is open.
        """
        reason = Reason(by=by, why=why, evidence=evidence or {})
        under_way = self.trial()
        if under_way is None:
            raise RegistryError("no trial is open; begin one first")
        if seen is not None and under_way != seen:
            raise RegistryBusyError("another process ended or raised the trial just now")
        if outcome == "promoted":
            self.verify(under_way.candidate)
        with self._database.transaction() as connection:
            if trial.current(connection) != under_way:
                raise RegistryBusyError("another process ended or raised the trial just now")
            trial.end(connection, under_way, outcome, reason)
            return ledger.find(connection, number_of(under_way.candidate))

    def _unaudited(self) -> list[str]:
        """Return where the audit does not lead to what is there, in words."""
        with self._database.transaction() as connection:  # nothing changes in between
            under_way = trial.current(connection)
            there = Standing(
                states={v.name: v.state for v in ledger.versions(connection)},
                stage=None if under_way is None else under_way.stage,
                blocked=set(blocks.units(connection)),
            )
            return replayed(audit.entries(connection)).differences(there)

    def _verify(self, name: str, *, only: str | None = None) -> None:
        number = self.version(name).number
        digest = self._database.read(partial(ledger.manifest_of, number=number))
        with _explained(self._policies / name):
            found = folders.faults(self._policies / name, digest, only=only)
        if found:
            raise ManifestError(name, found)


@contextmanager
def _explained(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        problem = f"{error.filename or place}: {error.strerror or error}"
        remedy = "look at the disk's free space and at who may write there"
        raise RegistryError(f"{problem}; {remedy}") from error
