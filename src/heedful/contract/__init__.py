"""What a newcomer must offer (Domain, Environment), and how records become streams and batches."""

from heedful.contract.conversation import Conversation, Message, stream_of
from heedful.contract.description import described, portraits, schema_of, unit_features
from heedful.contract.domain import Domain, Observed, Reader
from heedful.contract.encode import as_rule, encode
from heedful.contract.environment import Answer, Contested, Environment, NumericEnvironment
from heedful.contract.files import Exported, Exports, Files, Reading
from heedful.contract.hindsight import Hindsight
from heedful.contract.labels import Label, as_shown, demonstrations, labelled
from heedful.contract.rules import Categories, Rulebook, groups_of, units_named
from heedful.contract.session import Prepared, Session, as_choices, decide
from heedful.contract.stream import Stream
from heedful.contract.streams import Rule, SlotColumns, Streams, Window, window_start

__all__ = [
    "Answer",
    "Categories",
    "Contested",
    "Conversation",
    "Domain",
    "Environment",
    "Exported",
    "Exports",
    "Files",
    "Hindsight",
    "Label",
    "Message",
    "NumericEnvironment",
    "Observed",
    "Prepared",
    "Reader",
    "Reading",
    "Rule",
    "Rulebook",
    "Session",
    "SlotColumns",
    "Stream",
    "Streams",
    "Window",
    "as_choices",
    "as_rule",
    "as_shown",
    "decide",
    "demonstrations",
    "described",
    "encode",
    "groups_of",
    "labelled",
    "portraits",
    "schema_of",
    "stream_of",
    "unit_features",
    "units_named",
    "window_start",
]
