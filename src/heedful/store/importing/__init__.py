"""Files that other people's systems wrote, into the log."""

from heedful.store.importing.describing import Features, describe_file
from heedful.store.importing.mapping import Mapping
from heedful.store.importing.records import FileRow, import_records
from heedful.store.importing.report import (
    Findings,
    ImportRefusedError,
    ImportReport,
    Problem,
    UnknownFormatError,
)
from heedful.store.importing.run import Progress, import_file

__all__ = [
    "Features",
    "FileRow",
    "Findings",
    "ImportRefusedError",
    "ImportReport",
    "Mapping",
    "Problem",
    "Progress",
    "UnknownFormatError",
    "describe_file",
    "import_file",
    "import_records",
]
