"""What is known of units and subjects, as a policy reads it.

A unit's description is a vector beside its row in the policy's table. A subject's is an event in
the stream: a context that stands where it became known. So a decision sees what was known when it
was made, in training as in serving, and one that comes later changes nothing before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from heedful.contract.domain import Reader
from heedful.policy import FeatureEncoder, Gaps, Schema, Vocabulary
from heedful.record import Described
from heedful.store.snapshot import Snapshot

BEGINNING = 0
"""Before the first sequence number of a log, which is 1."""


def described(vocabulary: Vocabulary, snapshot: Snapshot) -> Vocabulary:
    """Return ``vocabulary`` with encoders fitted on what ``snapshot`` knows of units and subjects.

    What there are no descriptions of gets none, and costs nothing.
    """
    known = snapshot.descriptions.latest(Described.UNIT)
    units = [known[unit] for unit in vocabulary.units if unit in known]
    subjects = snapshot.descriptions.latest(Described.SUBJECT)
    return vocabulary.described(
        of_units=FeatureEncoder.fit(units), of_subjects=FeatureEncoder.fit(subjects.values())
    )


def schema_of(reader: Reader, vocabulary: Vocabulary) -> Schema:
    """Return what the events look like: contexts carry a subject's description behind their own."""
    return Schema(
        len(vocabulary),
        reader.channels,
        reader.features + _width(vocabulary.of_subjects),
        _width(vocabulary.of_units),
    )


def unit_features(
    vocabulary: Vocabulary, snapshot: Snapshot
) -> tuple[npt.NDArray[np.float32], Gaps]:
    """Return what is known of each unit, float32 [V, F], and what is not.

    A unit without a description is missing every fact; see :class:`heedful.policy.FeatureEncoder`.
    """
    if vocabulary.of_units is None:
        return np.zeros((len(vocabulary), 0), np.float32), Gaps()
    known = snapshot.descriptions.latest(Described.UNIT)
    return vocabulary.of_units.encode([known.get(unit, {}) for unit in vocabulary.units])


def subject_numbers(
    reader: Reader, vocabulary: Vocabulary, facts: Mapping[str, object]
) -> npt.NDArray[np.float32]:
    """Return the numbers of the context that says ``facts``, float32 [F]; those of none come first.

    Raises:
        ValueError: the vocabulary has no encoder for subjects.
    """
    if vocabulary.of_subjects is None:
        raise ValueError("this vocabulary does not say how people are described")
    numbers, _ = vocabulary.of_subjects.encode([facts])
    return np.concatenate([np.zeros(reader.features, np.float32), numbers[0]])


def portraits(snapshot: Snapshot) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Yield from where on each description of a subject counts, whose it is, and the facts.

    It counts from its own sequence number on. Only a subject's first one stands at the beginning,
    if till then the subject had nothing but history made elsewhere: of the people in an imported
    file it tells who they were all along, and no decision of ours was made without it.
    """
    decisions, names = snapshot.decisions, snapshot.names.subjects
    ours = np.flatnonzero(~np.isnan(decisions.logps[decisions.offsets[:-1]]))
    codes, first = np.unique(decisions.subject[ours], return_index=True)
    first_own = dict(zip(codes.tolist(), decisions.seq[ours][first].tolist(), strict=True))
    begun = {names[code]: seq for code, seq in first_own.items()}
    met: set[str] = set()
    for seq, name, facts in snapshot.descriptions.rows(Described.SUBJECT):
        begins = name not in met and seq < begun.get(name, seq + 1)
        met.add(name)
        yield (BEGINNING if begins else seq), name, facts


def _width(encoder: FeatureEncoder | None) -> int:
    return 0 if encoder is None else encoder.width
