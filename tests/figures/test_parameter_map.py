"""Maps of a parameter with their errors."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.errors import UsageError
from timelens.figures import parameter_map_figure, png_bytes
from timelens.figures.parameter_map import robust_range

SPACING = (3.0, 2.0, 2.0)


def ball(shape: tuple[int, int, int] = (20, 24, 22)) -> np.ndarray:
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    inside = ((z - 10) / 8) ** 2 + ((y - 12) / 9) ** 2 + ((x - 11) / 8) ** 2 < 1
    return np.where(inside, 0.02 + 0.001 * x, np.nan)


def test_bad_input_is_refused() -> None:
    with pytest.raises(UsageError, match="one shape"):
        parameter_map_figure(ball()[0], SPACING, "1", "BP_ND")
    with pytest.raises(UsageError, match="one shape"):
        parameter_map_figure(ball(), SPACING, "1", "BP_ND", ball()[1:])
    with pytest.raises(UsageError, match="no such layout"):
        parameter_map_figure(ball(), SPACING, "1", "BP_ND", layout="round")  # type: ignore[arg-type]


def test_an_empty_map_says_so() -> None:
    figure = parameter_map_figure(np.full((4, 5, 6), np.nan), SPACING, "1", "BP_ND")
    assert figure.texts[0].get_text() == "no voxel has a value"


def test_range_is_robust_and_round() -> None:
    values = np.full(10_000, 0.034)
    values[:20] = 50.0
    assert robust_range(values) == (0.0, 0.04)
    assert robust_range(np.append(np.linspace(-3, 4, 1000), np.nan)) == (-3.0, 4.0)
    assert robust_range(np.zeros(5)) == (0.0, 1.0)
    assert robust_range(np.full(5, -2.0)) == (-2.0, 0.0)


def test_what_lies_above_the_range_is_said() -> None:
    values = ball()
    values[10, 12, 11] = 7.0
    figure = parameter_map_figure(values, SPACING, "mL/min/mL", "K_i")
    count = int(np.isfinite(values).sum())
    assert figure.texts[0].get_text() == (
        f"colours from 0 to 0.04 mL/min/mL, 1 voxel above, up to 7; {count} voxels with a value"
    )
    assert figure.axes[-1].get_ylabel() == "$K_\\mathrm{i}$ [mL/min/mL]"


def test_planes_keep_millimetres_and_hide_nothing_but_nan() -> None:
    figure = parameter_map_figure(ball(), SPACING, "mL/mL", "V_T", letters=[("H", "F"), ("A", "P"), ("R", "L")])
    axial, coronal, sagittal = figure.axes[:3]
    assert [a.get_title(loc="left") for a in figure.axes[:3]] == ["Axial", "Coronal", "Sagittal"]
    for axes in (axial, coronal, sagittal):
        box = axes.get_position()
        width, height = figure.get_size_inches()
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        assert box.width * width / (right - left) == pytest.approx(box.height * height / (bottom - top))
    shown = axial.images[0].get_array()
    assert np.array_equal(np.ma.getmaskarray(shown), np.isnan(ball()[10]))
    assert {t.get_text() for t in axial.texts if t.get_gid() == "orientation"} == {"A", "P", "R", "L"}


def test_error_has_its_own_row_and_colours() -> None:
    values = ball()
    figure = parameter_map_figure(values, SPACING, "mL/mL", "V_T", 0.1 * values, anatomy=np.nan_to_num(values))
    assert len(figure.axes) == 8
    upper, lower = figure.axes[0], figure.axes[4]
    assert len(upper.images) == 2  # anatomy below the map
    assert upper.images[1].get_cmap() != lower.images[1].get_cmap()
    assert figure.axes[7].get_ylabel() == "SE of $V_\\mathrm{T}$ [mL/mL]"
    assert png_bytes(figure)[:4] == b"\x89PNG"


def test_regions_are_outlined_and_cut_through() -> None:
    labels = np.zeros((20, 24, 22), int)
    labels[14:17, 5:9, 6:9] = 3
    figure = parameter_map_figure(ball(), SPACING, "1", "BP_ND", labels=labels)
    assert any(t.get_text() == "3" for t in figure.axes[0].texts)
    assert len(figure.axes[0].collections) == 2
    through = parameter_map_figure(ball(), SPACING, "1", "BP_ND", labels=labels, at=(2, 2, 2))
    assert not through.axes[0].collections


def test_axial_cuts_go_from_head_to_feet() -> None:
    figure = parameter_map_figure(ball(), SPACING, "1", "BP_ND", layout="axial", count=4)
    titles = [a.get_title(loc="left") for a in figure.axes[:4]]
    numbers = [int(t.split()[1]) for t in titles]
    assert numbers == sorted(numbers) and len(set(numbers)) == 4


def test_categories_have_names_and_counts_instead_of_a_scale() -> None:
    values = np.where(np.isfinite(ball()), 2.0, np.nan)
    values[10, 12, 11] = 1.0
    figure = parameter_map_figure(values, SPACING, "1", "model", names={1: "Patlak", 2: "Tofts"})
    said = [text.get_text() for text in figure.texts]
    assert "Patlak" in said and "Tofts" in said
    assert f"voxels: Patlak 1, Tofts {int((values == 2).sum())}" in said
    assert len(figure.axes) == 3  # no colour bar
    assert png_bytes(figure).startswith(b"\x89PNG")
