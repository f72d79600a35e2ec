"""A policy version's card: everything its weights are a function of, and how it did.

A policy version is a pure function of (snapshot, configuration, seed, code, parent, environment),
and its card names all six.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeAlias

from heedful.store.registry.errors import RegistryError

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """The data a policy was made from: a snapshot's watermark and the digest of its content."""

    watermark: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """The code that made a policy.

    Attributes:
        version: the version of the package.
        revision: the git revision it was checked out at, ``-dirty`` if edited since; ``None``
            where it was installed.
        digest: SHA-256 of the sources themselves.
    """

    version: str
    revision: str | None
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where a policy was made, as far as it can change a bit of the result.

    Attributes:
        python: the interpreter's version.
        platform: operating system, its version and the machine's architecture.
        device: where the networks ran, such as ``"cpu"``.
        threads: threads of the process.
        packages: versions of the packages that compute.
    """

    python: str
    platform: str
    device: str
    threads: int
    packages: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The card of a policy version, kept as ``card.json`` in its folder.

    Attributes:
        kind: the kind of policy, such as ``"transformer"`` or ``"popularity"``.
        step: which of the steps made it, such as ``"pretrain"`` or ``"reinforce"``.
        parent: the version it started from, ``None`` if from nothing.
        snapshot: the data it was made from, ``None`` if from none.
        configuration: all that was asked for.
        seed: where the randomness started.
        code: the code that made it.
        environment: where it was made.
        metrics: how it did, by name.
        created_at: seconds since the epoch, UTC.
        notes: anything a person wants to say.
        number: the version's number, given by the registry; 0 before.
        reward: the fitted reward it was trained with, an input like the six; ``None`` without one.
    """

    kind: str
    step: str
    parent: str | None
    snapshot: Data | None
    configuration: Mapping[str, Json]
    seed: int
    code: Code
    environment: Environment
    metrics: Mapping[str, Json] = field(default_factory=dict)
    created_at: float
    notes: str = ""
    number: int = 0
    reward: str | None = None

    def __post_init__(self) -> None:
        """Refuse what JSON cannot say, NaN and infinity among it.

        Raises:
            RegistryError: names the field.
        """
        for name in ("kind", "step"):
            if not getattr(self, name):
                raise RegistryError(f"card: {name} is empty; say what made this policy")
        for name in ("seed", "number"):
            if type(getattr(self, name)) is not int:
                raise RegistryError(f"card: {name} is {getattr(self, name)!r}; give an integer")
        for name, value in asdict(self).items():
            canonical(f"card: {name}", value)

    def recipe(self) -> str:
        """Return the SHA-256 of the inputs; the same recipe makes the same weights."""
        six = ("snapshot", "configuration", "seed", "code", "parent", "environment")
        content = asdict(self)
        inputs = {name: content[name] for name in six}
        if self.reward is not None:  # recipes without one stay what they were
            inputs["reward"] = self.reward
        text = canonical("card", inputs | {"kind": self.kind, "step": self.step})
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> str:
        """Return what stands in ``card.json``."""
        return json.dumps(asdict(self), indent=2, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Card:
        """Return the card that :meth:`to_json` wrote.

        Raises:
            RegistryError: it is not JSON, or not a card of this version of heedful.
        """
        try:
            content: dict[str, Any] = json.loads(text)
            data, code, environment = (content[k] for k in ("snapshot", "code", "environment"))
            content["snapshot"] = None if data is None else Data(**data)
            content["code"] = Code(**code)
            content["environment"] = Environment(**environment)
            return cls(**content)
        except (ValueError, TypeError, KeyError) as error:
            names = ", ".join(item.name for item in fields(cls))
            raise RegistryError(f"this is no card: {error}; a card holds {names}") from error


def canonical(place: str, value: object) -> str:
    """Return canonical JSON of ``value``: sorted keys, no spaces, no NaN.

    Raises:
        RegistryError: JSON cannot say it; the message begins with ``place``.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        remedy = "use finite numbers, text, lists and tables"
        raise RegistryError(f"{place} cannot be written as JSON: {error}; {remedy}") from error
    return text
