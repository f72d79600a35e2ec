"""Which policy decides for whom: follows the registry while the service runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from heedful.contract import Conversation, Domain
from heedful.policy import Floor, Loaded, Mask, Policy, Vocabulary
from heedful.serve.logs import event
from heedful.store import Snapshot, StoreError
from heedful.store.registry import Registry, Trial, Version, assigned

Load = Callable[[Path], Loaded]

RETRY_SECONDS = 10.0
NO_POLICY = "no live policy: train one and promote it"


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """A policy version in memory, ready to decide.

    Attributes:
        version: its name, as it stands in the log's decisions.
        policy: in evaluation mode, exploration included.
        vocabulary: the units behind its logits.
        digest: the vocabulary's.
    """

    version: str
    policy: Policy
    vocabulary: Vocabulary
    digest: str


def with_floor(policy: Policy, share: float) -> Policy:
    """Return ``policy`` with exploration: a :class:`~heedful.policy.Floor` where it has none yet.

    A policy that brings a floor of its own keeps it. Rules of the house (:class:`Mask`) around the
    policy stay outside of the floor, so that nothing explores what they forbid.

    Raises:
        ValueError: a mask stands inside another wrapper, where no floor can go beneath it.
    """
    if isinstance(policy, Mask):
        return Mask(with_floor(policy.inner, share), forbidden=policy.indexes)
    modules = getattr(policy, "modules", tuple)
    if any(isinstance(module, Floor) for module in modules()):
        return policy
    return Floor(policy, share=share).eval()


def as_served(
    registry: Registry, domain: Domain, version: str, *, load: Load, floor: float
) -> Served:
    """Return ``version`` as it decides when it is live, exploration included.

    Raises:
        ValueError: it reads other events than ``domain`` offers, or says other tokens.
        StoreError: there is no such version, or its files are not what was registered.
    """
    loaded = load(registry.folder(version))
    expected = domain.schema(loaded.vocabulary)
    if loaded.policy.schema != expected:
        raise ValueError(
            f"policy {version} reads other events than the domain {domain.name} offers "
            "(feedback channels, numbers of the context): restore the domain's options, or "
            "train a policy under the new ones"
        )
    if isinstance(domain, Conversation):
        _check_tokens(version, loaded.vocabulary, domain.vocabulary(Snapshot.of([])))
    policy = with_floor(loaded.policy, floor)
    return Served(version, policy, loaded.vocabulary, loaded.vocabulary.digest())


def _check_tokens(version: str, has: Vocabulary, wants: Vocabulary) -> None:
    """Refuse a policy over tokens of which the domain would make another text.

    It may have more of them, behind those of the domain, which are never said.

    Raises:
        ValueError: some token of the domain is not the policy's of the same number.
    """
    pairs = zip_longest(has.units[: len(wants)], wants.units)
    differ = next((number for number, (a, b) in enumerate(pairs) if a != b), None)
    if differ is not None:
        raise ValueError(
            f"policy {version} says other tokens than the workspace's tokenizer has (from number "
            f"{differ} on): restore the tokenizer it was trained with, or train a policy anew"
        )


class Policies:
    """The live version and the one on trial, one object in memory for each.

    A version that cannot be loaded (a damaged file, another domain's feedback) is never served: the
    one before goes on, and loading is tried again after a while or when the registry changes.

    Attributes:
        live: the live version.
        trial: the trial that is under way.
        candidate: the version on trial, where it could be loaded.
        blocked: units that no decision may hold.
        absence: what to say to those for whom nothing decides.
    """

    def __init__(
        self,
        registry: Registry,
        domain: Domain,
        *,
        load: Load,
        floor: float,
        only: str | None = None,
    ) -> None:
        """Follow ``registry``; ``floor`` is the share of exploration.

        Args:
            registry: says which version is live.
            domain: what a unit is.
            load: reads a policy.
            floor: the share of exploration.
            only: the version that decides for everybody, whatever is live.
        """
        self._registry, self._domain, self._load, self._floor = registry, domain, load, floor
        self._only = only
        self._generation = -1
        self._retry_at = float("inf")
        self._loaded: dict[str, Served] = {}
        self.live: Served | None = None
        self.trial: Trial | None = None
        self.candidate: Served | None = None
        self.blocked: frozenset[str] = frozenset()
        self.absence = NO_POLICY
        self._problem = ""

    def why(self) -> str:
        """Return why nothing decides, for whoever runs the service: what was wrong stands in it."""
        return f"{self.absence} ({self._problem})" if self._problem else self.absence

    def refresh(self) -> None:
        """Take over what changed in the registry; cheap where nothing did."""
        try:
            generation = self._registry.generation()
            if generation == self._generation and time.monotonic() < self._retry_at:
                return
            live, trial = self._deciding()
            self.blocked = self._registry.blocked()
            self._drop_stopped()
        except StoreError as error:
            event("registry_unreadable", level=logging.WARNING, error=type(error).__name__)
            return
        self._generation, self._retry_at, self._problem = generation, float("inf"), ""
        if live is not None:
            self.live = self._get(live.name) or self.live
            self.absence = (
                f"the live policy {live.name} could not be loaded: see the service's log, restore "
                "the files, or roll back"
            )
        self.trial = trial
        self.candidate = self._get(trial.candidate) if trial is not None else None
        kept = {served.version for served in (self.live, self.candidate) if served is not None}
        self._loaded = {version: self._loaded[version] for version in kept}

    def _deciding(self) -> tuple[Version | None, Trial | None]:
        """Return the version that decides and the trial beside it, as the registry has them now."""
        if self._only is None:
            return self._registry.live(), self._registry.trial()
        version = self._registry.version(self._only)
        return (None if version.state == "refused" else version), None

    def _drop_stopped(self) -> None:
        """Stop deciding by what was refused, even where the version before cannot be loaded."""
        if self.live is not None and self._registry.version(self.live.version).state == "refused":
            self.live = None

    def of(self, subject: str, now: float) -> Served | None:
        """Return what decides for ``subject``; ``None`` where nothing is live.

        As long as a stage of a trial lasts, a subject always gets the same of the two versions; in
        a later one the candidate may take over from the live version, and never the reverse.
        """
        trial, candidate = self.trial, self.candidate
        if trial is None or candidate is None or not assigned(trial, subject, now):
            return self.live
        return candidate

    def _get(self, version: str) -> Served | None:
        if version in self._loaded:
            return self._loaded[version]
        try:
            served = as_served(
                self._registry, self._domain, version, load=self._load, floor=self._floor
            )
        except Exception as error:  # whatever a third-party policy raises, the last one serves on
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self._problem = str(error)
            event("policy_refused", level=logging.ERROR, policy=version, error=str(error))
            return None
        event("policy_loaded", policy=version, units=len(served.vocabulary))
        self._loaded[version] = served
        return served
