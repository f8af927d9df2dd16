"""Histograms and courses over time."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import numpy as np
import pytest

from timelens.figures.canvas import png_bytes
from timelens.figures.histogram import cumulative, histogram_figure
from timelens.figures.text import nice_ceiling, nice_length, unit_text, with_unit
from timelens.figures.trend import TrendPoint, trend_figure, waterfall_figure


def test_cumulative_histogram_counts_what_is_at_least_as_large() -> None:
    values = np.array([4.0, 1.0, np.nan, 2.0, 2.0])
    thresholds, fraction = cumulative(values)
    assert thresholds.tolist() == [0, 1, 2, 2, 4]
    assert fraction.tolist() == [1, 1, 0.75, 0.5, 0.25]
    assert cumulative(np.array([np.nan]))[0].size == 0


def test_the_bars_hold_the_whole_volume_and_axes_have_units() -> None:
    values = {1: np.array([1.0, 2.0, 9.0]), 2: np.array([4.0, np.nan])}
    figure = histogram_figure(values, {1: "$a"}, unit="g/mL", voxel_ml=0.5)
    left, right = figure.axes
    assert sum(bar.get_height() for bar in left.patches) == pytest.approx(4 * 0.5)
    assert left.get_xlabel() == "SUV [g/mL]"
    assert left.get_ylabel() == "Volume per bin [mL]"
    assert [t.get_text() for t in right.get_legend().get_texts()] == ["1  $a", "2", "all lesions"]
    png_bytes(figure, dpi=40)


@pytest.mark.parametrize("values", [{}, {1: np.array([np.nan])}, {1: np.array([3.0, 3.0])}, {1: np.array([-1.0])}])
def test_degenerate_values_draw_without_error(values: dict[int, np.ndarray]) -> None:
    assert png_bytes(histogram_figure(values, unit="1", voxel_ml=1.0), dpi=40).startswith(b"\x89PNG")


def _points(subject: str, values: list[float], *, dated: bool = True) -> list[TrendPoint]:
    start = datetime(2024, 2, 28)
    return [
        TrendPoint(
            subject, f"ses-{i}", start + timedelta(days=30 * i) if dated else None, "tmtv", "TMTV", "mL", v, 5.0, i
        )
        for i, v in enumerate(values)
    ]


def test_courses_are_in_days_with_error_bars_and_percent_of_the_first() -> None:
    figure = trend_figure([*_points("sub-a", [100, 50, math.nan]), *_points("sub-b", [10, 20, 5])])
    upper, lower = figure.axes
    assert upper.get_ylabel() == "TMTV [mL]"
    assert lower.get_xlabel() == "Days since first session"
    lines = [line for line in upper.lines if len(line.get_xdata()) == 3 and line.get_marker() == "o"]
    np.testing.assert_array_equal(lines[0].get_xdata(), [0, 30, 60])
    np.testing.assert_array_equal(lines[1].get_ydata(), [10, 20, 5])
    changes = [line for line in lower.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(changes[0].get_ydata(), [0, -50, np.nan])
    np.testing.assert_allclose(changes[1].get_ydata(), [0, 100, -50])
    assert len(upper.containers) == 2
    assert {"sub-a", "sub-b"} <= {t.get_text() for t in upper.texts}


def test_without_dates_sessions_stand_in_order_and_a_zero_start_has_no_change() -> None:
    figure = trend_figure(_points("sub-$", [0, 50], dated=False))
    lower = figure.axes[1]
    assert lower.get_xlabel() == "Session, in order"
    assert [t.get_text() for t in lower.get_xticklabels()] == ["ses-0", "ses-1"]
    assert [t.get_text() for t in lower.texts] == ["no second session"]
    png_bytes(figure, dpi=40)


def test_names_at_line_ends_do_not_overlap() -> None:
    figure = trend_figure([p for i in range(10) for p in _points(f"sub-{i}", [100, 50 + 0.1 * i])])
    figure.canvas.draw()
    boxes = sorted(t.get_window_extent().y0 for t in figure.axes[0].texts)
    assert min(np.diff(boxes)) > 8
    assert boxes[-1] < figure.canvas.get_width_height()[1]


def test_many_subjects_and_none() -> None:
    figure = trend_figure([p for i in range(30) for p in _points(f"sub-{i}", [100, 50])])
    assert [t.get_text() for t in figure.axes[0].texts] == ["30 subjects"]
    assert not trend_figure([]).axes


def test_waterfall_orders_changes() -> None:
    figure = waterfall_figure({"a": -20.0, "b": 35.0, "c": math.nan, "d$": 0.0}, symbol="SUVpeak", limits=(-20, 25))
    assert [bar.get_height() for bar in figure.axes[0].containers[0]] == [35, 0, -20]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["b", "d$", "a"]
    png_bytes(figure, dpi=40)


@pytest.mark.parametrize(
    ("code", "text"),
    [("1", ""), ("[hnsf'U]", "HU"), ("{voxels}", "voxels"), ("mm2/s", "mm²/s"), ("1/m", "1/m"), ("um", "µm"),
     ("mL/(100.g)", "mL/100 g"), ("Bq/mL", "Bq/mL"), ("uL", "µL"), ("10*6/L", "10⁶/L"), ("g.m", "g·m")],
)  # fmt: skip
def test_units_are_written_as_people_do(code: str, text: str) -> None:
    assert unit_text(code) == text
    assert with_unit("X", code) == (f"X [{text}]" if text else "X")


def test_round_numbers() -> None:
    assert [nice_ceiling(v) for v in (10, 10.1, 0.099, float("nan"), -1)] == [10, 15, 0.1, 1, 1]
    assert [nice_length(v) for v in (1, 1.99, 700)] == [1, 1, 500]
