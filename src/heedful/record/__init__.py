"""What happened: decisions, feedback to them, the ends of episodes; and what is known of whom.

Standard library only. Every record is a frozen dataclass that checks itself when it is made, so
that nothing unsound can reach the log by any door.
"""

from heedful.record.choices import ALL, ChoiceSet, Group
from heedful.record.decision import (
    TOGETHER,
    UNKNOWN,
    Context,
    Decision,
    Unknown,
    is_reviewed,
    reviewed_name,
)
from heedful.record.description import Described, Description
from heedful.record.errors import RecordError
from heedful.record.feedback import (
    ALL_UNITS,
    End,
    Feedback,
    Kind,
    Outcome,
    Preference,
    Span,
    Value,
)
from heedful.record.ids import content_id, mint_id, pseudonym

__all__ = [
    "ALL",
    "ALL_UNITS",
    "TOGETHER",
    "UNKNOWN",
    "ChoiceSet",
    "Context",
    "Decision",
    "Described",
    "Description",
    "End",
    "Feedback",
    "Group",
    "Kind",
    "Outcome",
    "Preference",
    "RecordError",
    "Span",
    "Unknown",
    "Value",
    "content_id",
    "is_reviewed",
    "mint_id",
    "pseudonym",
    "reviewed_name",
]
