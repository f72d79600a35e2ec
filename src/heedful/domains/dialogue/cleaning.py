"""Text as it comes is not fit to learn from: broken, said twice, or said on every page."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

WORDS_TOGETHER = 5
"""Words of a shingle: what two texts must share to be alike in one place."""

HASHES, ROWS = 128, 4
"""Numbers of a signature, and how many of them must agree for two texts to be compared."""

REPLACEMENT = "\ufffd"
_BYTES = {bytes([b]).decode("cp1252", "ignore") or chr(b): b for b in range(0x80, 0x100)}
_FOREIGN = re.compile(r"[^\x00-\x7f]{2,}")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff]")


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What is taken for unfit.

    Attributes:
        broken: a document is dropped if more than this share of its characters could not be
            decoded when it was written (U+FFFD); with fewer, the lines they stand in are.
        boilerplate: a line is dropped where it stands in more than this share of all different
            documents, and in three at least; 1 keeps all.
        near: a document is dropped if it is as like one before it as this, by Jaccard's index of
            their shingles of five words; 1 drops none but for exact duplicates.
        shortest: a document of fewer characters is dropped.
    """

    broken: float = 0.01
    boilerplate: float = 0.5
    near: float = 0.8
    shortest: int = 1

    def __post_init__(self) -> None:
        """Refuse shares that are none.

        Raises:
            ValueError: names the one.
        """
        for name in ("broken", "boilerplate", "near"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)}: expected a share from 0 to 1")


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What is left, and what was done.

    Attributes:
        texts: the documents that are left, in their order.
        rows: which ones they were, counted from 0.
        dropped: why a document was dropped -> how many were.
        lines: why a line was dropped, of documents that are left -> how many were.
        mended: what was put right inside of documents that are left -> in how many places.
    """

    texts: tuple[str, ...]
    rows: tuple[int, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)
    mended: Mapping[str, int] = field(default_factory=dict)

    def words(self) -> str:
        """Return all of it in one line."""
        parts = [f"{len(self.texts):,} documents left"]
        for counts, what in ((self.dropped, "dropped"), (self.lines, "lines dropped")):
            parts += [f"{n:,} {what}: {why}" for why, n in counts.items()]
        return "; ".join(parts + [f"{n:,} mended: {what}" for what, n in self.mended.items()])


def clean(texts: Iterable[str], how: Cleaning | None = None) -> Cleaned:
    """Return the documents worth learning from, and what became of the others.

    In this order: broken encodings are mended or dropped, exact duplicates go (but for white
    space), then lines that stand everywhere, then near duplicates. The first of those that are
    alike stays.

    >>> found = clean(["To be, or not", "To be,  or not", "caf\u00c3\u00a9"])
    >>> found.texts, found.dropped["exact duplicate"], found.mended["mojibake"]
    (('To be, or not', 'café'), 1, 1)
    """
    how = how or Cleaning()
    given = list(texts)
    mended = [mend(text) for text in given]
    dropped: Counter[str] = Counter()
    kept = _readable([one for one, _ in mended], how, dropped)
    kept = _different(kept, dropped)
    bad = _everywhere(kept.values(), how.boilerplate)
    lines: dict[int, Counter[str]] = {}
    for row, text in list(kept.items()):
        kept[row], lines[row] = _without(text, bad)
        if len(kept[row].strip()) < max(1, how.shortest):
            del kept[row]
            dropped["too short"] += 1
    for row in _alike(kept, how.near):
        del kept[row]
        dropped["near duplicate"] += 1
    return Cleaned(
        tuple(kept.values()),
        tuple(kept),
        dict(dropped),
        dict(sum((lines[row] for row in kept), Counter())),
        dict(sum((mended[row][1] for row in kept), Counter())),
    )


def mend(text: str) -> tuple[str, Counter[str]]:
    """Return ``text`` as it was meant, and what was put right in how many places.

    Mojibake is UTF-8 that was read as Windows-1252 and written again: a run of characters that is
    UTF-8 once more when it is taken back. NULs and other control characters go, and what can be
    written in several ways is written in one (NFC).
    """
    found: Counter[str] = Counter()

    def meant(match: re.Match[str]) -> str:
        run = match.group()
        try:
            again = bytes(_BYTES[character] for character in run).decode("utf-8")
        except (KeyError, UnicodeDecodeError):
            return run
        found["mojibake"] += 1
        return again

    text, n = _CONTROL.subn("", text)
    found["control characters"] += n
    text = unicodedata.normalize("NFC", _FOREIGN.sub(meant, text.replace("\r\n", "\n")))
    return text, +found


def _readable(texts: Sequence[str], how: Cleaning, dropped: Counter[str]) -> dict[int, str]:
    kept = {}
    for row, text in enumerate(texts):
        if not text.strip() or len(text.strip()) < how.shortest:
            dropped["too short" if text.strip() else "empty"] += 1
        elif text.count(REPLACEMENT) > how.broken * len(text):
            dropped["broken encoding"] += 1
        else:
            kept[row] = text
    return kept


def _different(kept: Mapping[int, str], dropped: Counter[str]) -> dict[int, str]:
    first: dict[bytes, int] = {}
    for row, text in kept.items():
        name = hashlib.blake2b(" ".join(text.split()).encode(), digest_size=16).digest()
        first.setdefault(name, row)
    dropped["exact duplicate"] += len(kept) - len(first)
    if not dropped["exact duplicate"]:
        del dropped["exact duplicate"]
    return {row: kept[row] for row in first.values()}


def _everywhere(texts: Iterable[str], share: float) -> set[str]:
    """Return the lines that stand in more than ``share`` of the texts, in three at least."""
    counts: Counter[str] = Counter()
    n = 0
    for text in texts:
        counts.update({line.strip() for line in text.splitlines()} - {""})
        n += 1
    return {line for line, times in counts.items() if times >= 3 and times > share * n}


def _without(text: str, bad: set[str]) -> tuple[str, Counter[str]]:
    found: Counter[str] = Counter()
    kept = []
    for line in text.splitlines(keepends=True):
        if line.strip() in bad:
            found["boilerplate"] += 1
        elif REPLACEMENT in line:
            found["broken encoding"] += 1
        else:
            kept.append(line)
    return "".join(kept), found


def _alike(texts: Mapping[int, str], near: float) -> list[int]:
    """Return which texts are near duplicates of one before them that stays.

    MinHash with bands (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets,
    section 3.4) finds pairs worth comparing, and Jaccard's index itself decides.
    """
    if near >= 1:
        return []
    hashed: dict[int, npt.NDArray[np.uint64]] = {}
    places: defaultdict[tuple[int, bytes], list[int]] = defaultdict(list)
    found = []
    for row, text in texts.items():
        shingles = _shingles(text)
        bands = [(n, part.tobytes()) for n, part in enumerate(_signature(shingles))]
        others = {other for band in bands for other in places[band]}
        if any(_jaccard(shingles, hashed[other]) >= near for other in others):
            found.append(row)
            continue
        hashed[row] = shingles
        for band in bands:
            places[band].append(row)
    return found


def _shingles(text: str) -> npt.NDArray[np.uint64]:
    """Return the different runs of five words of ``text``, hashed, ascending."""
    words = re.findall(r"\w+", text.lower()) or text.split()
    n = max(1, len(words) - WORDS_TOGETHER + 1)
    runs = {" ".join(words[place : place + WORDS_TOGETHER]) for place in range(n)}
    digests = [hashlib.blake2b(run.encode(), digest_size=8).digest() for run in runs]
    return np.unique(np.frombuffer(b"".join(digests), np.uint64))


_RNG = np.random.default_rng(0)
_SCALE = _RNG.integers(0, 2**64, HASHES, dtype=np.uint64) | np.uint64(1)
_SHIFT = _RNG.integers(0, 2**64, HASHES, dtype=np.uint64)


def _signature(shingles: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the least of each of 128 hashes over the shingles, in bands, [32, 4]."""
    least = np.full(HASHES, np.iinfo(np.uint64).max, np.uint64)
    for low in range(0, len(shingles), 4096):
        mixed = shingles[low : low + 4096, None] * _SCALE + _SHIFT
        mixed ^= mixed >> np.uint64(29)
        least = np.minimum(least, mixed.min(axis=0))
    return least.reshape(-1, ROWS)


def _jaccard(one: npt.NDArray[np.uint64], other: npt.NDArray[np.uint64]) -> float:
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both / (len(one) + len(other) - both)
