"""Parts of the log into the tables of a snapshot, at a cost that grows with the new rows alone."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from heedful.store.columns import frozen
from heedful.store.growth import Growing, GrowingOffsets, GrowingTexts
from heedful.store.parts import DTYPES, Part
from heedful.store.tables import Decisions, Ends, Feedbacks, position, taken_back

REFERENCES = {"feedback/decision": "decisions/seq", "feedback/retracts": "feedback/seq"}
"""The columns that hold sequence numbers in a part and row numbers in a table, and whose."""

PLAIN = [
    name
    for name in DTYPES
    if name not in REFERENCES and not name.endswith(("lengths", "text_data"))
]


class Assembly:
    """The rows of a log from its beginning, as far as their parts have been added.

    A row refers to earlier ones only, so what has been added never changes. The exception is which
    feedback has been taken back, and that is found anew for every snapshot.
    """

    def __init__(self) -> None:
        self._columns = {name: Growing(DTYPES[name]) for name in (*PLAIN, *REFERENCES)}
        self._offsets = GrowingOffsets()
        self._texts = {table: GrowingTexts() for table in ("decisions", "feedback", "ends")}

    @classmethod
    def of(cls, part: Part) -> Assembly:
        """Return the assembly of one part."""
        assembly = cls()
        assembly.extend(part)
        return assembly

    @property
    def nbytes(self) -> int:
        """Return how much memory the columns take, in bytes."""
        columns = sum(column.nbytes for column in self._columns.values())
        texts = sum(texts.nbytes for texts in self._texts.values())
        return columns + self._offsets.nbytes + texts

    def extend(self, part: Part) -> None:
        """Add the rows of ``part``, whose references are sequence numbers."""
        for name in PLAIN:
            self._columns[name].extend(part[name])
        for name, target in REFERENCES.items():
            self._columns[name].extend(position(self._columns[target].rows, part[name]))
        self._offsets.extend(part["decisions/lengths"])
        for table, texts in self._texts.items():
            texts.extend(part[f"{table}/text_lengths"], part[f"{table}/text_data"])

    def tables(self) -> tuple[Decisions, Feedbacks, Ends]:
        """Return what has been added so far; it stays as it is when more is added."""
        retracted = taken_back(self._columns["feedback/retracts"].rows)
        return (
            Decisions(
                **self._table("decisions"),
                offsets=self._offsets.rows,
                contexts=self._texts["decisions"].rows,
            ),
            Feedbacks(
                **self._table("feedback"),
                retracted=frozen(retracted),
                texts=self._texts["feedback"].rows,
            ),
            Ends(**self._table("ends"), contexts=self._texts["ends"].rows),
        )

    def _table(self, table: str) -> dict[str, NDArray[Any]]:
        columns = ((name.split("/"), column) for name, column in self._columns.items())
        return {name: column.rows for (of, name), column in columns if of == table}
