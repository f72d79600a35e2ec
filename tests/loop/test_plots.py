import math
import re
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from heedful.loop.plots import (
    DARK,
    LIGHT,
    Line,
    evidence_over_time,
    png,
    reward_by_round,
    said_and_came,
    spread,
    svg,
    training_curve,
    weights_seen,
)


def texts(figure: Figure) -> list[str]:
    """Everything that is written beside a line of the first axes."""
    return [text.get_text() for text in figure.axes[0].texts]


def rewards(**options: object) -> Figure:
    rounds = [1, 2, 3]
    lines = [
        Line("served", rounds, [0.10, 0.12, 0.15], [0.09, 0.11, 0.14], [0.11, 0.13, 0.16]),
        Line("oracle", rounds, [0.2] * 3, reference=True),
        Line("popularity", rounds, [0.1] * 3, reference=True),
    ]
    return reward_by_round(lines, **options)  # type: ignore[arg-type]


def test_lines_carry_their_names_and_axes_their_units() -> None:
    figure = rewards(events=[(2, "0002")])
    axes = figure.axes[0]
    assert set(texts(figure)) == {"served", "oracle", "popularity", "0002"}
    assert axes.get_xlabel() == "round"
    assert axes.get_ylabel() == "click rate (clicks per item shown)"
    assert axes.get_legend() is None


def test_the_interval_is_where_it_was_said_to_be() -> None:
    (band,) = (c for c in rewards().axes[0].collections if c.get_alpha())
    drawn = band.get_paths()[0].vertices[:, 1]
    assert (drawn.min(), drawn.max()) == (0.09, 0.16)


def test_evidence_is_drawn_on_a_log_scale_with_what_promotes() -> None:
    path = Line("0002", [0, 10, 20], [0.0, math.log(5.0), math.log(40.0)])
    figure = evidence_over_time([path], 32.9)
    axes = figure.axes[0]
    assert axes.get_yscale() == "log"
    assert np.allclose(axes.lines[0].get_ydata(), [1, 5, 40])
    assert np.allclose(axes.lines[1].get_ydata(), 32.9)
    assert {"0002", "promotes: 33"} <= set(texts(figure))
    low, high = axes.get_ylim()
    assert low < 1 < 40 < high


def test_evidence_beyond_float64_is_drawn_at_its_edge() -> None:
    figure = evidence_over_time([Line("0002", [0, 1, 2], [0.0, 5_000.0, -5_000.0])], 33.0)
    drawn = np.asarray(figure.axes[0].lines[0].get_ydata())
    assert np.isfinite(drawn).all()
    assert (drawn > 0).all()
    assert png(figure).startswith(b"\x89PNG")


def test_evidence_before_the_first_row_is_an_empty_plot() -> None:
    assert "promotes: 33" in texts(evidence_over_time([], 33.0))


def test_training_has_a_panel_for_each_metric() -> None:
    curves = {
        "loss (nats)": [Line("train", [1, 2], [4.0, 3.0])],
        "NDCG@10": [Line("v", [1], [0.1])],
    }
    figure = training_curve(curves)
    assert [axes.get_ylabel() for axes in figure.axes] == list(curves)
    assert {axes.get_xlabel() for axes in figure.axes} == {"optimiser steps"}
    with pytest.raises(ValueError, match="nothing to draw"):
        training_curve({})


def test_names_that_would_overlap_are_moved_apart() -> None:
    near = [Line(name, [0, 1], [0.0, 0.5 + shift]) for shift, name in enumerate("ab")]
    same = [Line("c", [0, 1], [0.0, 0.5])]
    figure = reward_by_round([*near, *same])
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 3
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_a_gap_in_a_line_leaves_its_name_at_the_last_number() -> None:
    figure = reward_by_round([Line("served", [1, 2, 3], [0.1, 0.2, math.nan])])
    (name,) = figure.axes[0].texts
    assert name.xy == (2.0, 0.2)


@pytest.mark.parametrize("heights", [[], [5.0], [1.0, 1.0, 1.0, 1.0], [3.0, 0.0, 2.9, 50.0]])
def test_spread_keeps_order_and_distance(heights: list[float]) -> None:
    placed = spread(heights, 10.0)
    order = np.argsort(heights, kind="stable")
    assert (np.diff(np.array(placed)[order]) >= 10.0 - 1e-9).all()
    assert sum(placed) == pytest.approx(sum(heights))


def test_both_themes_are_readable() -> None:
    def luminance(colour: str) -> float:
        parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for theme in (LIGHT, DARK):
        for colour, needed in [(theme.ink, 7.0), *((c, 3.0) for c in theme.cycle)]:
            pair = sorted([luminance(colour), luminance(theme.paper)])
            contrast = (pair[1] + 0.05) / (pair[0] + 0.05)
            assert contrast >= needed, (colour, theme.paper, contrast)  # WCAG 2.2, 1.4.3 and 1.4.11


def test_images_are_what_they_say_and_need_nothing_from_elsewhere() -> None:
    image = svg(rewards(theme=DARK))
    assert ET.fromstring(image).tag.endswith("svg")
    assert DARK.paper in image
    assert not re.search(r'(?:href|src)="(?!#)', image)


def test_no_plot_touches_global_state() -> None:
    before = dict(matplotlib.rcParams)
    svg(rewards())
    assert dict(matplotlib.rcParams) == before


def test_a_reliability_diagram_holds_what_was_said_and_what_came() -> None:
    figure = said_and_came([0.1, 0.4], [0.2, 0.3], [10, 90], what="click (0 to 1)")
    (axes,) = figure.axes
    (marks,) = axes.collections
    np.testing.assert_allclose(marks.get_offsets(), [[0.1, 0.2], [0.4, 0.3]])
    small, large = marks.get_sizes()
    assert small < large


def test_weights_of_zero_have_a_bar_of_their_own() -> None:
    figure = weights_seen([0.5, 1.0, 2.0, 4.0], [7, 3, 4, 1])
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == [7, 3, 4, 1]
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "0",
        "below 1",
        "1–2",
        "2 and more",
    ]
