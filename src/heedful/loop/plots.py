"""Plots: each a pure function from plain arrays to a figure, without pyplot's global state.

Lines carry their names at their ends, colours are those of Okabe and Ito (2008), which people with
any colour vision tell apart, and every axis names its unit. A figure is drawn for paper or for a
dark screen; :func:`svg` writes it down.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike

WIDTH, HEIGHT = 7.2, 3.4  # inches
_GAP = 13.0  # points between the middles of two labels
_LARGEST = 100.0  # log10 of the largest evidence drawn: the axis and its ticks must fit float64
_MARKED = 25  # a line of fewer points shows each


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of a figure: ``ink`` for text, ``faint`` for the grid, ``cycle`` for lines."""

    paper: str
    ink: str
    faint: str
    cycle: tuple[str, ...]


LIGHT = Theme(
    paper="#ffffff",
    ink="#30363d",
    faint="#d8dde3",
    cycle=("#0072b2", "#d55e00", "#009e73", "#a5528a", "#8a6d00"),
)
DARK = Theme(
    paper="#161b22",
    ink="#c9d1d9",
    faint="#343b44",
    cycle=("#56b4e9", "#e69f00", "#2bc497", "#dd8fc0", "#f0e442"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot.

    Attributes:
        name: stands at its end.
        x, y: [N], in the units of the axes; NaN leaves a gap.
        low, high: [N], bounds of an interval around ``y``, or ``None``.
        reference: drawn thin and dashed: what others are compared with.
    """

    name: str
    x: ArrayLike
    y: ArrayLike
    low: ArrayLike | None = None
    high: ArrayLike | None = None
    reference: bool = False


def training_curve(
    curves: Mapping[str, Sequence[Line]], *, x: str = "optimiser steps", theme: Theme = LIGHT
) -> Figure:
    """Draw how training went: one panel per metric, side by side, each with its own scale.

    Args:
        curves: lines by the metric's name with its unit, such as "loss (nats per unit)".
        x: what is counted along the horizontal axis.
        theme: colours.

    Raises:
        ValueError: there is no curve.
    """
    if not curves:
        raise ValueError("curves: there is nothing to draw")
    figure = _figure(theme)
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for axes, (metric, lines) in zip(panels, curves.items(), strict=True):
        _style(axes, x, metric, theme)
        _draw(axes, lines, theme)
    _label(figure)
    return figure


def loss_by_rate(
    rates: ArrayLike, losses: ArrayLike, suggested: float, *, theme: Theme = LIGHT
) -> Figure:
    """Draw a learning-rate range test: the smoothed loss over rates, and the rate it suggests.

    Args:
        rates: [N], above 0.
        losses: [N], in nats per unit.
        suggested: one of the rates.
        theme: colours.
    """
    figure = _figure(theme)
    axes = figure.subplots()
    _style(axes, "learning rate (log scale)", "loss (nats per unit)", theme)
    axes.set_xscale("log")
    axes.axvline(suggested, color=theme.faint, linewidth=1.4, zorder=0)
    _above(axes, suggested, f"suggested: {suggested:.1e}", theme)
    _draw(axes, [Line("loss", rates, losses)], theme)
    return figure


def reward_by_round(
    served: Sequence[Line],
    *,
    reward: str = "click rate (clicks per item shown)",
    x: str = "round",
    events: Sequence[tuple[float, str]] = (),
    theme: Theme = LIGHT,
) -> Figure:
    """Draw what people's answers were worth, round by round.

    Args:
        served: what was measured, with intervals; and, as references, what to compare it with: the
            oracle and the popularity policy, say.
        reward: what the vertical axis shows, with its unit.
        x: what is counted along the horizontal axis.
        events: (place on the horizontal axis, short text), such as promotions.
        theme: colours.
    """
    figure = _figure(theme)
    axes = figure.subplots()
    _style(axes, x, reward, theme)
    if x == "round":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for place, text in events:
        axes.vlines(place, 0, 1, transform=axes.get_xaxis_transform(), color=theme.faint, zorder=0)
        _above(axes, place, text, theme)
    _draw(axes, served, theme)
    _label(figure)
    return figure


def _above(axes: Axes, place: float, text: str, theme: Theme) -> None:
    """Write ``text`` above the plot, over ``place`` on the horizontal axis."""
    axes.annotate(
        text,
        (place, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        fontsize=8,
        color=theme.ink,
    )


def evidence_over_time(
    paths: Sequence[Line],
    needed: float,
    *,
    rolls_back: float | None = None,
    unit: str = "subjects",
    theme: Theme = LIGHT,
) -> Figure:
    """Draw the gate's evidence after every row beside what promotes, and what rolls back.

    Args:
        paths: evidence by row, as natural logarithms in ``y``.
        needed: 1 / alpha_k, the evidence that promotes.
        rolls_back: 1 / rollback_alpha, the evidence against the candidate that ends its trial.
        unit: what a row is.
        theme: colours.
    """
    figure = _figure(theme)
    axes = figure.subplots()
    _style(axes, f"{unit} judged", "evidence (wealth of the bet, log scale)", theme)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _power(value)))
    lines = [_exponential(line) for line in paths]
    last = max((float(np.max(line.x, initial=1.0)) for line in lines), default=1.0)
    threshold = Line(f"promotes: {needed:,.0f}", [0, last], [needed] * 2, reference=True)
    marks = [threshold, Line("at the start: 1", [0, last], [1, 1], reference=True)]
    if rolls_back is not None:
        marks.append(
            Line(
                f"rolls back: {rolls_back:,.0f}",
                [0, last],
                [rolls_back] * 2,
                None,
                None,
                reference=True,
            )
        )
    _draw(axes, [*lines, *marks], theme)
    drawn = np.concatenate([[0.5, needed], *(np.asarray(line.y) for line in lines)])
    axes.set_ylim(float(np.nanmin(drawn)) / 1.5, float(np.nanmax(drawn)) * 2.0)
    _label(figure)
    return figure


def said_and_came(
    predicted: ArrayLike,
    observed: ArrayLike,
    counts: ArrayLike,
    *,
    what: str,
    theme: Theme = LIGHT,
) -> Figure:
    """Draw a reliability diagram: what was predicted beside what came.

    Args:
        predicted: [b], mean prediction of each bin.
        observed: [b], mean outcome there.
        counts: [b], rows; a mark's area grows with them.
        what: what is predicted, with its unit.
        theme: colours.
    """
    figure = _figure(theme)
    axes = figure.subplots()
    _style(axes, f"predicted {what}", f"observed {what}", theme)
    said, came = np.asarray(predicted, np.float64), np.asarray(observed, np.float64)
    n = np.asarray(counts, np.float64)
    edge = float(max(said.max(initial=0.0), came.max(initial=0.0), 1e-6)) * 1.1
    axes.plot([0, edge], [0, edge], "--", color=theme.ink, linewidth=1.0)
    axes.annotate(
        "as predicted",
        (edge * 0.1, edge * 0.1),
        xytext=(6, -10),
        fontsize=8.5,
        textcoords="offset points",
        color=theme.ink,
    )
    axes.scatter(
        said, came, s=20 + 120 * n / max(n.max(initial=1.0), 1.0), color=theme.cycle[0], alpha=0.8
    )
    axes.set_xlim(0, edge)
    axes.set_ylim(0, edge)
    return figure


def weights_seen(edges: ArrayLike, counts: ArrayLike, *, theme: Theme = LIGHT) -> Figure:
    """Draw a histogram of importance weights.

    Args:
        edges: [b + 1], rising; the first bin has no lower end and the last no upper one.
        counts: [b + 1], decisions with a weight of 0 first, then those of each bin.
        theme: colours.
    """
    figure = _figure(theme)
    axes = figure.subplots()
    _style(
        axes, "importance weight (candidate's probability over the logged one)", "decisions", theme
    )
    bounds, n = np.asarray(edges, np.float64), np.asarray(counts, np.float64)
    names = ["0", *(f"{low:g}–{high:g}" for low, high in pairwise(bounds))]
    names[1], names[-1] = f"below {bounds[1]:g}", f"{bounds[-2]:g} and more"
    axes.bar(np.arange(len(n)), n, color=theme.cycle[0], width=0.8)
    axes.set_xticks(np.arange(len(n)), names)
    return figure


def svg(figure: Figure) -> str:
    """Return ``figure`` as SVG, text drawn as paths: it looks the same everywhere."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()


def png(figure: Figure, *, dots_per_inch: int = 144) -> bytes:
    """Return ``figure`` as PNG."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=dots_per_inch)
    return out.getvalue()


def _figure(theme: Theme) -> Figure:
    figure = Figure(figsize=(WIDTH, HEIGHT), facecolor=theme.paper, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _style(axes: Axes, x: str, y: str, theme: Theme) -> None:
    axes.set_facecolor(theme.paper)
    axes.set_xlabel(x, color=theme.ink, fontsize=9)
    axes.set_ylabel(y, color=theme.ink, fontsize=9)
    axes.tick_params(colors=theme.ink, labelsize=8, length=0)
    axes.tick_params(which="minor", length=0)
    axes.grid(axis="y", color=theme.faint, linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(theme.faint)


def _draw(axes: Axes, lines: Sequence[Line], theme: Theme) -> None:
    """Draw the lines with their bands; :func:`_label` names them."""
    colours = iter(theme.cycle * (1 + len(lines) // len(theme.cycle)))
    for line in lines:
        x, y = np.asarray(line.x, dtype=np.float64), np.asarray(line.y, dtype=np.float64)
        colour = theme.ink if line.reference else next(colours)
        axes.plot(
            x,
            y,
            "--" if line.reference else "-",
            color=colour,
            linewidth=1.0 if line.reference else 1.9,
            marker="o" if len(x) < _MARKED and not line.reference else "",
            markersize=3.5,
            label=line.name,
        )
        if line.low is not None and line.high is not None:
            axes.fill_between(x, line.low, line.high, color=colour, alpha=0.18, linewidth=0)


def _label(figure: Figure) -> None:
    """Write each line's name beside its end, moved up or down so that none overlap."""
    figure.draw_without_rendering()  # settles where the axes are, so that heights are known
    for axes in figure.axes:
        ends = {line: end for line in axes.lines if (end := _end(line)) is not None}
        right = max((x for x, _ in ends.values()), default=0.0)
        points = [axes.transData.transform(end)[1] * 72.0 / figure.dpi for end in ends.values()]
        places = zip(ends.items(), points, spread(points, _GAP), strict=True)
        for (line, (_, y)), now, wanted in places:
            axes.annotate(
                str(line.get_label()),
                (right, y),
                xytext=(6, wanted - now),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
                color=line.get_color(),
                annotation_clip=False,
            )


def _end(line: Line2D) -> tuple[float, float] | None:
    """Return the last point of a line that is a number."""
    x, y = (np.asarray(values, dtype=np.float64) for values in line.get_data())
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    return (float(x[known[-1]]), float(y[known[-1]])) if len(known) else None


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Return places near ``heights`` that are at least ``gap`` apart and keep their order.

    >>> spread([0.0, 1.0, 30.0], 10.0)
    [-4.5, 5.5, 30.0]
    """
    order = sorted(range(len(heights)), key=heights.__getitem__)
    groups: list[list[int]] = []
    for index in order:
        groups.append([index])
        while len(groups) > 1 and _middle(groups[-1], heights) - _middle(groups[-2], heights) < (
            gap * (len(groups[-1]) + len(groups[-2])) / 2
        ):
            groups[-2:] = [groups[-2] + groups[-1]]
    placed = [0.0] * len(heights)
    for group in groups:
        lowest = _middle(group, heights) - gap * (len(group) - 1) / 2
        for rank, index in enumerate(group):
            placed[index] = lowest + gap * rank
    return placed


def _middle(group: Sequence[int], heights: Sequence[float]) -> float:
    return sum(heights[index] for index in group) / len(group)


def _exponential(line: Line) -> Line:
    """Turn log evidence into evidence, cut where a plot of it ends."""
    edge = _LARGEST * math.log(10)
    values = np.exp(np.clip(np.asarray(line.y, dtype=np.float64), -edge, edge))
    return Line(line.name, line.x, values, reference=line.reference)


def _power(value: float) -> str:
    """Write a tick of the evidence: 0.1, 1, 100, and powers of ten beyond."""
    if 1e-3 <= value < 1e5:
        return f"{value:,g}"
    return f"$10^{{{round(math.log10(value))}}}$"
