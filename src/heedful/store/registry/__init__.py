"""The registry of policy versions: cards, manifests, states, trials and the audit.

`registry` is the door. `card` says what a version is made of and `provenance` fills in code and
environment; `manifest`, `folders` and `drafts` keep the files; `database`, `version`, `ledger`,
`trial`, `blocks`, `held` and `audit` keep what is known about them, and `replayed` plays the audit.
`shelf` keeps fitted rewards, which have no state.
"""

from heedful.store.registry.audit import AuditEntry
from heedful.store.registry.card import Card, Code, Data, Environment
from heedful.store.registry.drafts import Draft
from heedful.store.registry.errors import (
    Fault,
    ManifestError,
    RegistryBusyError,
    RegistryError,
)
from heedful.store.registry.held import Held
from heedful.store.registry.provenance import current_code, current_environment
from heedful.store.registry.registry import Registry
from heedful.store.registry.replayed import Standing, replayed
from heedful.store.registry.shelf import Placed, Shelf, digest_of
from heedful.store.registry.trial import Outcome, Trial, assigned, uniform
from heedful.store.registry.version import State, Version, is_version

__all__ = [
    "AuditEntry",
    "Card",
    "Code",
    "Data",
    "Draft",
    "Environment",
    "Fault",
    "Held",
    "ManifestError",
    "Outcome",
    "Placed",
    "Registry",
    "RegistryBusyError",
    "RegistryError",
    "Shelf",
    "Standing",
    "State",
    "Trial",
    "Version",
    "assigned",
    "current_code",
    "current_environment",
    "digest_of",
    "is_version",
    "replayed",
    "uniform",
]
