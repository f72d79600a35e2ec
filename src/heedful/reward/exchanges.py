"""A prompt and its completion as a sparse row: what was said, what was asked, what they share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from heedful.reward.ngrams import (
    WIDTH,
    Floats,
    Ints,
    Rows,
    entries,
    hashed,
    pieces_of,
    whole_words,
    words,
)

LENGTH, SHARED = hashed("# length"), hashed("# shared")
"""Columns of the logarithm of a reply's length, and of the share of its words the prompt has."""


def exchange_rows(prompts: Sequence[str], completions: Sequence[str]) -> Rows:
    """Return a row for each prompt with its completion, [n, D].

    Words of the reply with their pairs, its pieces of words, the prompt's words with their pairs,
    and the words that stand in both: four blocks, each of length 1; then log(1 + words) of the
    reply and the share of them that the prompt has too. An empty reply has a row as any other.

    >>> rows = exchange_rows(["How are you?", "Hm?"], ["Fine!", ""])
    >>> len(rows), int(rows.offsets[2] - rows.offsets[1])
    (2, 6)
    """
    return Rows.gathered([_row(p, c) for p, c in zip(prompts, completions, strict=True)])


def log_lengths(completions: Sequence[str]) -> Floats:
    """Return log(1 + number of words and signs), [n]."""
    return np.log1p([len(words(text)) for text in completions])


def length_correlation(scores: Floats, completions: Sequence[str]) -> float:
    """Return Pearson's correlation of scores [n] with the logarithm of replies' lengths.

    A reward that goes with length is met by talking more (Singhal et al., A Long Way to Go, arXiv
    2310.03716), so this stands beside every fit. NaN where either does not vary; scores that are
    NaN are passed over.

    >>> round(length_correlation(np.array([1.0, 2.0, 3.0]), ["a", "a b", "a b c"]), 2)
    1.0
    """
    there = ~np.isnan(scores)
    lengths = log_lengths([text for text, kept in zip(completions, there, strict=True) if kept])
    if there.sum() < 2 or not np.ptp(lengths) or not np.ptp(scores[there]):
        return float("nan")
    return float(np.corrcoef(scores[there], lengths)[0, 1])


@lru_cache(maxsize=4096)
def _prompt(prompt: str) -> tuple[list[int], frozenset[str]]:
    """Return the places of a prompt's n-grams and its words: several replies share a prompt."""
    found = words(prompt)
    return whole_words(found, "p"), frozenset(found)


def _row(prompt: str, completion: str) -> tuple[Ints, Floats]:
    asked, known = _prompt(prompt)
    said = words(completion)
    shared = [word for word in said if word in known]
    places, values = entries(
        [whole_words(said), pieces_of(said), asked, (hashed(f"o {word}") for word in shared)]
    )
    dense = [np.log1p(len(said)), len(shared) / max(1, len(said)), 1.0]
    return (
        np.concatenate([places, np.array([LENGTH, SHARED, WIDTH - 1])]),
        np.concatenate([values, dense]),
    )
