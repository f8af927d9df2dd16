"""Fits, input functions and graphical analyses as pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from timelens.errors import UsageError
from timelens.figures import FitCurve, GraphicalPlot, fits_figure, graphical_figure, input_figure, png_bytes

START = np.array([0.0, 60.0, 180.0, 600.0, 1800.0])
LONG = np.array([60.0, 120.0, 420.0, 1200.0, 1800.0])
SEEN = np.array([1000.0, 4000.0, 6000.0, 5000.0, 3000.0])


def curve(region: str = "lesion 1", model: str = "2TCM", **changed: Any) -> FitCurve:
    given: dict[str, Any] = {"measured": SEEN, "fitted": SEEN + 100, "unit": "Bq/mL", "sd": None, **changed}
    return FitCurve(region, model, START, LONG, **given)


def plot(**changed: Any) -> GraphicalPlot:
    x = np.array([1.0, 5.0, 20.0, 40.0, 60.0])
    given: dict[str, Any] = {
        "x": x, "y": 0.4 + 0.03 * x, "used": x > 10, "slope": 0.03, "intercept": 0.4, "t_star_s": 1200.0,
        "x_label": "x [min]", "y_label": "y", "slope_text": "K_i = 0.03", **changed,
    }  # fmt: skip
    return GraphicalPlot("lesion 1", "Patlak", **given)


def test_bad_input_is_refused() -> None:
    with pytest.raises(UsageError, match="no fits to draw"):
        fits_figure([])
    with pytest.raises(UsageError, match="lesion 1 needs one value per frame"):
        fits_figure([curve(fitted=SEEN[:3])])
    with pytest.raises(UsageError, match="lesion 1 needs one value per frame"):
        fits_figure([curve(sd=[1.0])])
    with pytest.raises(UsageError, match="no graphical analysis"):
        graphical_figure([])
    with pytest.raises(UsageError, match="of one length"):
        graphical_figure([plot(used=[True])])
    with pytest.raises(UsageError, match="no input function"):
        input_figure({}, unit="Bq/mL")
    with pytest.raises(UsageError, match="plasma needs one value per time"):
        input_figure({"plasma": ([0, 1], [1])}, unit="Bq/mL")


def test_points_and_line_lie_at_mid_frame_and_residuals_are_measured_minus_fitted() -> None:
    figure = fits_figure([curve()])
    below, above = figure.axes
    points, line = above.lines[:2]
    middle = (START + LONG / 2) / 60
    assert np.allclose(points.get_xdata(), middle) and np.allclose(points.get_ydata(), SEEN / 1000)
    assert np.allclose(line.get_xdata(), middle) and np.allclose(line.get_ydata(), (SEEN + 100) / 1000)
    assert np.allclose(below.lines[0].get_ydata(), -0.1)
    assert above.get_ylabel() == "Activity [kBq/mL]" and below.get_xlabel() == "Time [min]"
    assert below.get_xlim() == above.get_xlim() and above.get_xlim()[1] > 60


def test_bars_show_the_spread_of_the_voxels() -> None:
    figure = fits_figure([curve(sd=np.full(5, 500.0))])
    bars = figure.axes[1].collections[0].get_segments()
    assert np.allclose([b[1, 1] - b[0, 1] for b in bars], 1.0)  # twice 0.5 kBq/mL
    assert any("SD of the voxels" in text.get_text() for text in figure.texts)
    assert not any("SD" in text.get_text() for text in fits_figure([curve()]).texts)


def test_models_of_one_region_share_its_cell_and_keep_their_colour() -> None:
    late = np.where(START > 500, SEEN, np.nan)
    figure = fits_figure([curve(), curve(model="Patlak", fitted=late), curve("liver", "Patlak")])
    assert len(figure.axes) == 4
    first, second = figure.axes[1], figure.axes[3]
    assert first.get_title(loc="left") == "lesion 1" and second.get_title(loc="left") == "liver"
    assert first.lines[2].get_color() == second.lines[1].get_color() != first.lines[1].get_color()
    assert [t.get_text() for t in figure.texts][1:3] == ["— 2TCM", "— Patlak"]


def test_regions_that_find_no_room_are_named() -> None:
    figure = fits_figure([curve(f"lesion {i}") for i in range(1, 6)], most=3)
    assert len(figure.axes) == 6
    assert figure.texts[-1].get_text() == "and 2 more regions: lesion 4, lesion 5"


def test_a_failed_fit_and_a_scan_over_days_are_drawn() -> None:
    figure = fits_figure([curve(fitted=np.full(5, np.nan), unit="g/mL")])
    assert "no fit" in figure.axes[1].texts[0].get_text()
    assert figure.axes[1].get_ylabel() == "SUV [g/mL]"
    days = FitCurve("t", "m", START * 288, LONG * 288, SEEN, SEEN, "Bq/mL")
    assert fits_figure([days]).axes[0].get_xlabel() == "Time [d]"
    assert png_bytes(figure) == png_bytes(fits_figure([curve(fitted=np.full(5, np.nan), unit="g/mL")]))


def test_input_function_shows_its_first_part_and_the_parent_fraction() -> None:
    t = np.arange(0.0, 3600.0, 5.0)
    blood = 50e3 * t / 20 * np.exp(1 - t / 20) + 100
    figure = input_figure(
        {"whole blood": (t, blood), "parent": (t, 0.5 * blood)}, unit="Bq/mL",
        samples={"parent": (t[::60], 0.5 * blood[::60])}, parent_fraction=(t, np.full(t.size, 0.5)),
    )  # fmt: skip
    first, whole, parent = figure.axes
    assert [a.get_xlabel() for a in figure.axes] == ["Time [s]", "Time [min]", "Time [min]"]
    assert first.get_xlim() == (0, 80) and whole.get_ylabel() == "Concentration [kBq/mL]"
    assert parent.get_ylabel() == "Parent fraction"
    slow = input_figure({"blood": (t[::-1], t[::-1])}, unit="g/mL")
    assert len(slow.axes) == 1  # the peak is at the end: there is no first part to show


def test_graphical_analysis_marks_t_star_and_draws_its_line() -> None:
    figure = graphical_figure([plot()])
    axes = figure.axes[0]
    hollow, filled, line = axes.lines[:3]
    assert len(hollow.get_xdata()) == 2 and len(filled.get_xdata()) == 3
    assert np.allclose(line.get_ydata(), 0.4 + 0.03 * np.array([20, 60]))
    assert {t.get_text() for t in axes.texts} == {"t* = 20 min", "K_i = 0.03"}
    failed = graphical_figure([plot(slope=np.nan)]).axes[0]
    assert len(failed.lines) == 2
    assert "and 1 more: lesion 1 (Patlak)" in graphical_figure([plot(), plot()], most=1).texts[0].get_text()


def test_early_points_gone_astray_do_not_set_the_scale() -> None:
    y = np.array([-500.0, 0.5, 1.0, 1.6, 2.2])
    axes = graphical_figure([plot(y=y)]).axes[0]
    assert axes.get_ylim()[0] == 0 and axes.get_ylim()[1] < 3
    assert len(axes.lines[0].get_xdata()) == 2  # they are drawn all the same
    assert graphical_figure([plot(y=np.full(5, np.nan))]).axes


def test_rounding_is_no_misfit() -> None:
    below = fits_figure([curve(fitted=SEEN * (1 + 1e-12))]).axes[0]
    assert below.get_ylim() == pytest.approx((-0.006, 0.006))  # a thousandth of 6 kBq/mL
