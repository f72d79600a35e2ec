"""How it meets people: decisions and feedback, from Python and over HTTP.

`service` is the door and `requests` what passes through it. Behind it: `inbox`, the queue;
`engine`, a turn from the queue to the log; `draw`, batches of decisions; `holding`, which of them
wait for a person; `answers`, what was answered before; `sessions`, `threads` and `history`, what is
remembered of subjects; `policies`, which version decides for whom. In front of it: `app`, `bodies`,
`chat`, `guard`, `keys`, `run`. Beside it: `metrics`, `logs`; `recommend` and `listing`, which show
what a version would decide and log nothing.
"""

from heedful.serve.app import create_app
from heedful.serve.keys import Key, Keys, KeysError, Role
from heedful.serve.policies import with_floor
from heedful.serve.recommend import Answer
from heedful.serve.requests import (
    DecisionAnswer,
    DecisionRequest,
    EndRequest,
    FeedbackRequest,
    FetchRequest,
    HeldAnswer,
    ServiceError,
)
from heedful.serve.run import run
from heedful.serve.service import Deciding, Limits, Service

__all__ = [
    "Answer",
    "Deciding",
    "DecisionAnswer",
    "DecisionRequest",
    "EndRequest",
    "FeedbackRequest",
    "FetchRequest",
    "HeldAnswer",
    "Key",
    "Keys",
    "KeysError",
    "Limits",
    "Role",
    "Service",
    "ServiceError",
    "create_app",
    "run",
    "with_floor",
]
