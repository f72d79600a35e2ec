"""Public test suites: whoever implements an interface of heedful gets its tests.

Each function here raises :class:`CheckFailure` at the first promise that is not kept, and says what
was expected, what was found and why it matters; it returns nothing where all is well. They need no
test framework::

    def test_my_policy() -> None:
        check_policy(MyPolicy(EXAMPLE_SCHEMA))
"""

from heedful.checks.domain import check_domain
from heedful.checks.examples import EXAMPLE_SCHEMA, random_batch
from heedful.checks.failure import CheckFailure
from heedful.checks.objective import check_objective
from heedful.checks.policy import check_policy
from heedful.checks.store import check_store

__all__ = [
    "EXAMPLE_SCHEMA",
    "CheckFailure",
    "check_domain",
    "check_objective",
    "check_policy",
    "check_store",
    "random_batch",
]
