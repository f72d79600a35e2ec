"""Where it stays: the log of decisions and feedback in SQLite, and its snapshots as columns."""

from heedful.store.columns import ChoiceTable, NameTable, Texts
from heedful.store.descriptions import Descriptions
from heedful.store.doctor import Check
from heedful.store.errors import StoreError
from heedful.store.importing import (
    Features,
    ImportRefusedError,
    ImportReport,
    Mapping,
    Problem,
    UnknownFormatError,
    describe_file,
    import_file,
)
from heedful.store.log import Counts, Log
from heedful.store.memory import Record
from heedful.store.receipts import Receipt
from heedful.store.snapshot import Snapshot
from heedful.store.tables import Decisions, Ends, Feedbacks, Names

__all__ = [
    "Check",
    "ChoiceTable",
    "Counts",
    "Decisions",
    "Descriptions",
    "Ends",
    "Features",
    "Feedbacks",
    "ImportRefusedError",
    "ImportReport",
    "Log",
    "Mapping",
    "NameTable",
    "Names",
    "Problem",
    "Receipt",
    "Record",
    "Snapshot",
    "StoreError",
    "Texts",
    "UnknownFormatError",
    "describe_file",
    "import_file",
]
