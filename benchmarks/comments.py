"""Comments: ratings read from words, beside a constant, and whether they mean what they say.

SST-5 is learned from its training file and read in its test file. Alexa reviews, each text once,
are read crosswise: every text by a model that has not seen it. Real data: the folder that
HEEDFUL_DATA names.
"""

from __future__ import annotations

import csv
import time
from pathlib import Path

import numpy as np

from benchmarks import Table
from benchmarks._data import real
from heedful.evaluate import reliability
from heedful.reward import CommentReader, Pairs, Readings
from heedful.reward.comments import Reader
from heedful.reward.ngrams import Rows

ANOTHERS_RIDGE = {"SST-5": "0.831", "Alexa": "0.534"}


def run(quick: bool) -> list[Table]:
    """Read both sets; with ``quick`` the larger one is learned from a quarter."""
    measured = [about_films(2000 if quick else None), of_a_loudspeaker()]
    return [errors(measured), *(_calibration(*one[:3]) for one in measured)]


def about_films(most: int | None) -> tuple[str, np.ndarray, Readings, float, float]:
    """Read SST-5's test sentences; return name, ratings, readings, the median, CPU seconds."""
    texts, ratings = _sentences(real("sst5", "sst_train.txt"))
    fresh, true = _sentences(real("sst5", "sst_test.txt"))
    every = 1 if most is None else max(1, len(texts) // most)  # the file is in order of ratings
    texts, ratings = texts[::every], ratings[::every]
    began = time.process_time()
    reader = Reader.fit(Rows.of(texts), ratings, np.ones(len(texts)), texts)
    score = reader.score(Rows.of(fresh))
    read = Readings(
        reader.calibration.mean(score), reader.calibration.median(score), np.zeros(len(fresh))
    )
    return "SST-5", true, read, float(np.median(ratings)), time.process_time() - began


def of_a_loudspeaker() -> tuple[str, np.ndarray, Readings, float, float]:
    """Read reviews crosswise; return name, ratings, readings, the median, CPU seconds."""
    with real("amazon-alexa", "amazon_alexa.tsv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    rated = {row["verified_reviews"]: float(row["rating"]) for row in reversed(rows)}
    texts = [text for text in rated if text.strip()]
    true = np.array([rated[text] for text in texts])
    began = time.process_time()
    read = CommentReader.fit(Pairs(texts, true, texts)).read(texts, texts)
    told = ~np.isnan(read.mean)
    kept = Readings(read.mean[told], read.median[told], read.spread[told])
    return "Alexa", true[told], kept, float(np.median(true)), time.process_time() - began


def _sentences(file: Path) -> tuple[list[str], np.ndarray]:
    """Return the texts and ratings of lines like ``__label__4<TAB>text``."""
    rows = [line.split("\t", 1) for line in file.read_text("utf-8").splitlines()]
    return [text for _, text in rows], np.array([float(label[-1]) for label, _ in rows])


def errors(measured: list[tuple[str, np.ndarray, Readings, float, float]]) -> Table:
    """Return how far off each reading was, beside a constant and another's ridge."""
    rows = []
    for name, true, read, constant, seconds in measured:
        table = reliability(read.mean, true)
        cells = (
            np.abs(read.median - true).mean(),
            np.abs(read.mean - true).mean(),
            np.abs(constant - true).mean(),
            np.sqrt(((read.mean - true) ** 2).mean()),
            true.std(),
            table.error,
        )
        mae, mae_mean, mae_constant, rmse, rmse_constant, error = (f"{c:.3f}" for c in cells)
        rows.append(
            (
                name,
                f"{len(true):,}",
                mae,
                mae_mean,
                ANOTHERS_RIDGE[name],
                mae_constant,
                rmse,
                rmse_constant,
                error,
                f"{seconds:.0f}",
            )
        )
    columns = (
        "texts",
        "read",
        "MAE, median",
        "MAE, mean",
        "another's ridge",
        "constant",
        "RMSE, mean",
        "constant's",
        "calibration error",
        "CPU s",
    )
    note = (
        "Ratings from 1 to 5. The reward is the mean; the median is what comes nearest to one "
        "rating, and what a constant (the median) is to be compared with. Another's ridge: on "
        "TF-IDF, measured for this project by another program. Calibration error: mean distance "
        "of what was said from what came, in ten bins; of ratings, so on their scale."
    )
    return Table("Ratings read from words", columns, tuple(rows), note)


def _calibration(name: str, true: np.ndarray, read: Readings) -> Table:
    table = reliability(read.mean, true)
    rows = tuple(
        (f"{said:.2f}", f"{came:.2f}", f"{count:,}")
        for said, came, count in zip(table.predicted, table.observed, table.counts, strict=True)
    )
    return Table(f"{name}: read and given", ("mean read", "mean given", "texts"), rows)
