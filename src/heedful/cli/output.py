"""How results look: one JSON object for programs; tables and sentences for people."""

from __future__ import annotations

import json
import math
import shutil
import sys
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from heedful.evaluate import Interval, OffPolicyEstimate
    from heedful.loop.assess import Evaluation, Ranking
    from heedful.store.importing import ImportReport


WIDEST = 100

ESTIMATES = {
    "dr": "doubly robust",
    "snips": "SNIPS",
    "ips": "IPS",
    "clipped_ips": "clipped IPS",
    "live": "live policy",
}


def print_json(result: Mapping[str, Any]) -> None:
    """Print ``result`` as one JSON object on one line; what is no number becomes null."""
    print(json.dumps(_plain(result), allow_nan=False, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def console() -> Console:
    """Return where results go; as wide as the terminal, 80 columns in a pipe."""
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, markup=False)


def print_table(
    title: str,
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: int = 0,
    whole: Collection[str] = (),
) -> None:
    """Print a table.

    Args:
        title: above it.
        head: the columns' names.
        rows: their cells.
        numbers: so many of the last columns are aligned to the right.
        whole: columns whose cells are never broken, as people type them back.
    """
    from rich import box
    from rich.table import Table

    table = Table(
        title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
    )
    for place, name in enumerate(head):
        right = place >= len(head) - numbers
        table.add_column(
            name,
            justify="right" if right else "left",
            no_wrap=right or name in whole,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*row)
    console().print(table)


def print_words(*paragraphs: str) -> None:
    """Print sentences, wrapped between words."""
    width = min(shutil.get_terminal_size().columns, WIDEST)
    for paragraph in paragraphs:
        print(textwrap.fill(paragraph, width, break_on_hyphens=False))


def print_metrics(metrics: Mapping[str, Any]) -> None:
    """Print metrics by name, one a line."""
    width = max(map(len, metrics), default=0)
    for name, value in metrics.items():
        print(f"  {name:<{width}}  {_metric(value)}")


def _metric(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_metric(one)}" for name, one in value.items()) or "nothing"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def print_problems(report: ImportReport) -> None:
    """Print what is wrong with a file: line, column, rule, value, hint."""
    if report.problems:
        rows = [(str(p.line), p.column, p.rule, p.value, p.hint) for p in report.problems]
        print_table("", ("line", "column", "rule", "value", "hint"), rows)
    left = report.n_problems - len(report.problems)
    if left:
        print_words(f"and {left:,} more")


def print_evaluation(found: Evaluation) -> None:
    """Print what is known of a version: its ranking, its estimated value, the gate's verdict."""
    if found.likelihood is not None:
        print_words(f"Likelihood: {found.likelihood.words()}")
    elif found.ranking is None:
        print_words("Ranking: nothing was held out, so there is none.")
    else:
        _print_ranking(found.ranking)
    if found.likeness is not None:
        print_words("", f"Likeness: {found.likeness.words()}")
    print_words("")
    if found.value is None:
        print_words(f"Value: not known yet: {found.why_no_value}.")
    else:
        _print_value(found.value, found.gain)
    print_words("")
    for one in found.foretold:
        print_words(
            f"Answers foretold ({one.kind}): off by {one.error:.3f} on average over "
            f"{sum(one.counts):,} answers that came since its data end."
        )
    gate = "there is no evidence yet." if found.verdict is None else found.verdict.words()
    print_words(f"Gate ({found.source}): {gate}")
    if found.wins is not None:
        print_words("", found.wins.words())
    if found.forgetting is not None:
        print_words("", found.forgetting.words())


def _print_value(value: Mapping[str, OffPolicyEstimate], gain: Interval | None) -> None:
    rows = []
    for name, estimate in value.items():
        interval = estimate.interval()
        cells = (
            f"{estimate.value:.4f}",
            f"{interval.low:.4f}–{interval.high:.4f}",
            f"{estimate.ess:,.0f}",
            f"{estimate.n:,}",
        )
        rows.append((ESTIMATES[name], *cells))
    head = ("estimate", "reward per decision", "95 % interval", "ESS", "decisions")
    print_table("Value, from the live version's fresh decisions", head, rows, numbers=4)
    if gain is not None:
        trusted = ESTIMATES[next(iter(value))]
        print_words(
            f"Over the live policy, by the {trusted} estimate: {gain.mean:+.4f} (95 % interval "
            f"{gain.low:+.4f} to {gain.high:+.4f}, paired by subject), looked at once."
        )


def _print_ranking(ranking: Ranking) -> None:
    rows = []
    for name, ranks in ranking.policies.items():
        measured = (ranks.hr, ranks.ndcg, ranks.mrr)
        cells = [f"{m.mean:.4f}\n{m.low:.4f}–{m.high:.4f}" for m in measured]
        rows.append((name, *cells, f"{ranks.coverage:.4f}"))
    head = ("policy", "HR@10", "NDCG@10", "MRR", "coverage")
    print_words(f"Ranking for {ranking.n:,} subjects, with 95 % intervals: {ranking.protocol}.")
    print_table("", head, rows, numbers=4)
    gain = ranking.gain
    shown = "a gain is shown" if gain.low > 0 else "no gain is shown"
    print_words(
        f"NDCG@10 over the transition prior alone: {gain.mean:+.4f} (95 % interval "
        f"{gain.low:+.4f} to {gain.high:+.4f}, paired by subject): {shown}."
    )
