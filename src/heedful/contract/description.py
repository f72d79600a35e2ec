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


def portraits(snapshot: Snapshot) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield from where on each description of a subject counts, its code and the facts.

    It counts from its own sequence number on. Only a subject's first one stands at the beginning,
    if till then the subject had nothing but history made elsewhere: of the people in an imported
    file it tells who they were all along, and no decision of ours was made without it.
    """
    decisions = snapshot.decisions
    code_of = {name: code for code, name in enumerate(snapshot.names.subjects)}
    first_own = np.full(len(code_of), np.iinfo(np.int64).max)
    ours = ~np.isnan(decisions.logps[decisions.offsets[:-1]])
    np.minimum.at(first_own, decisions.subject[ours], decisions.seq[ours])
    met: set[int] = set()
    for seq, name, facts in snapshot.descriptions.rows(Described.SUBJECT):
        code = code_of.get(name)
        if code is None:
            continue
        begins = code not in met and seq < first_own[code]
        met.add(code)
        yield (BEGINNING if begins else seq), code, facts


def _width(encoder: FeatureEncoder | None) -> int:
    return 0 if encoder is None else encoder.width
