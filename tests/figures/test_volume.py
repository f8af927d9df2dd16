"""Projections and cuts: what is drawn stands where the patient has it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from tests.figures.body import NAMES, ROLES, Body, body

from timelens.errors import DataError, GeometryError, UnitError, UsageError
from timelens.figures.canvas import png_bytes
from timelens.figures.palette import region_colour
from timelens.figures.volume import CT_WINDOW, mip_figure, slices_figure
from timelens.study import Geometry, Image, Registration


@pytest.fixture(scope="module")
def patient() -> Body:
    return body(8.0)


def texts(figure: Figure) -> list[str]:
    found = [t.get_text() for t in figure.texts]
    for axes in figure.axes:
        found += [t.get_text() for t in axes.texts] + [axes.get_title(loc="left"), axes.get_ylabel()]
    return [t for t in found if t]


def pixels(figure: Figure) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(float) / 255


def coloured(figure: Figure, colour: str) -> np.ndarray:
    """Pixels (row, column) near a colour."""
    return np.argwhere(np.abs(pixels(figure) - to_rgb(colour)).max(axis=2) < 0.06)


def on_panel(figure: Figure, panel: int, x_mm: float, y_mm: float) -> tuple[float, float]:
    """Pixel (row, column) of a place of a panel."""
    axes = figure.axes[panel]
    x, y = axes.transData.transform((x_mm, y_mm))
    return figure.canvas.get_width_height()[1] - y, x


def test_the_outline_of_a_lesion_surrounds_it_in_both_projections(patient: Body) -> None:
    figure = mip_figure(patient.pet, patient.labels, None)
    figure.set_dpi(300)
    z, y, x = np.nonzero(patient.labels == 2)
    # The array runs feet to head, so rows of the picture run against z; x and y already run to the left and back.
    rows = patient.pet.shape[0] - 1 - z
    coloured_pixels = coloured(figure, region_colour(2))
    for panel, columns in enumerate([x, y]):
        top, left = on_panel(figure, panel, (columns.min() - 0.5) * 8.0, (rows.min() - 0.5) * 8.0)
        bottom, right = on_panel(figure, panel, (columns.max() + 0.5) * 8.0, (rows.max() + 0.5) * 8.0)
        row, column = coloured_pixels.T
        within = (row > top - 2) & (row < bottom + 2) & (column > left - 2) & (column < right + 2)
        for side in (row - top, row - bottom, column - left, column - right):
            assert (within & (np.abs(side) < 2)).sum() >= 3
        middle, reach = ((top + bottom) / 2, (left + right) / 2), (bottom - top) / 4
        assert not (np.hypot(row - middle[0], column - middle[1]) < reach).any()


def test_projections_show_the_largest_value_along_the_ray(patient: Body) -> None:
    figure = mip_figure(patient.pet)
    shown = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_array_equal(shown, patient.pet.numpy().max(axis=1)[::-1])
    np.testing.assert_array_equal(
        np.asarray(figure.axes[1].images[0].get_array()), patient.pet.numpy().max(axis=2)[::-1]
    )


def test_millimetres_keep_their_proportions() -> None:
    geometry = Geometry.from_spacing((40, 30, 20), (5.0, 2.0, 3.0), frame="f")
    figure = mip_figure(Image(np.ones((40, 30, 20), np.float32), unit="g/mL", geometry=geometry))
    for axes, (height, width) in zip(figure.axes[:2], [(200, 60), (200, 60)], strict=True):
        box = axes.get_window_extent()
        assert box.height / box.width == pytest.approx(height / width, rel=1e-6)
        assert abs(axes.get_xlim()[1] - axes.get_xlim()[0]) == pytest.approx(width)


@pytest.mark.parametrize("flip_z", [False, True])
@pytest.mark.parametrize("flip_x", [False, True])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
def test_the_right_of_the_patient_is_left_and_the_head_up_however_voxels_run(
    flip_x: bool, flip_z: bool, order: tuple[int, int, int]
) -> None:
    # One hot voxel right, anterior, at the head; then array axes are turned and the affine with them.
    shape = np.array([12, 10, 8])
    array = np.zeros(shape, np.float32)
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = (-3 if flip_z else 3), 3, (-3 if flip_x else 3), 1
    array[1 if flip_z else 10, 8, 1 if flip_x else 6] = 5
    turned = affine.copy()
    turned[:3, :3] = affine[:3, list(order)]
    image = Image(array.transpose(order), unit="g/mL", geometry=Geometry(tuple(shape[list(order)]), turned, "f"))
    figure = mip_figure(image)
    coronal, sagittal = (np.asarray(figure.axes[k].images[0].get_array()) for k in (0, 1))
    assert np.argwhere(coronal == 5).tolist() == [[1, 1]]
    assert np.argwhere(sagittal == 5).tolist() == [[1, 1]]
    letters = [[t.get_text() for t in figure.axes[k].texts if t.get_gid() == "orientation"] for k in (0, 1)]
    assert letters == [["H", "F", "R", "L"], ["H", "F", "A", "P"]]  # top, bottom, left, right


def test_an_oblique_grid_bears_two_letters_and_a_slide_none() -> None:
    angle = np.radians(30)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]]) * -2.0
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine[:3, :3] = turn @ affine[:3, :3]
    image = Image(np.ones((6, 6, 6), np.float32), unit="1", geometry=Geometry((6, 6, 6), affine, "f"))
    letters = [t.get_text() for t in mip_figure(image).axes[0].texts if t.get_gid() == "orientation"]
    assert letters == ["H", "F", "RA", "LP"]
    slide = Image(np.ones((2, 6, 6)), unit="1", geometry=Geometry((2, 6, 6), np.eye(4), "s", "slide"))
    letters = [t.get_text() for t in mip_figure(slide).axes[0].texts if t.get_gid() == "orientation"]
    assert "".join(letters) == ""


def test_colour_bar_scale_bar_and_names_are_there(patient: Body) -> None:
    figure = mip_figure(patient.pet, patient.labels, NAMES, roles=ROLES)
    shown = texts(figure)
    assert "SUV [g/mL]" in shown
    assert "50 mm" in shown
    assert {"1", "2", "3", "4", "5", "mediastinal", "liver", "Coronal", "Sagittal"} <= set(shown)
    assert "20" not in shown  # a reference region has no lesion number


def test_the_upper_limit_is_the_one_asked_for(patient: Body) -> None:
    assert mip_figure(patient.pet, upper=7.0).axes[0].images[0].get_clim() == (0, 7)
    assert mip_figure(patient.pet).axes[0].images[0].get_clim() == (0, 10)


def test_missing_values_stay_white_and_do_not_spread(patient: Body) -> None:
    values = patient.pet.numpy().copy()
    values[:, :5, :] = np.nan
    image = Image(values, unit="g/mL", geometry=patient.pet.geometry, quantity="suv")
    shown = np.ma.masked_invalid(mip_figure(image).axes[0].images[0].get_array())
    assert not shown.mask.any()
    nothing = Image(np.full((3, 3, 3), np.nan), unit="g/mL", geometry=Geometry((3, 3, 3), np.eye(4), "f"))
    assert np.ma.getmaskarray(mip_figure(nothing).axes[0].images[0].get_array()).all()


def test_more_pixels_than_are_seen_are_folded_by_their_maximum() -> None:
    values = np.zeros((2600, 2, 3), np.float32)
    values[1301, 0, 1] = 8
    image = Image(values, unit="g/mL", geometry=Geometry.from_spacing(values.shape, (1, 1, 1), frame="f"))
    shown = mip_figure(image).axes[0].images[0]
    assert shown.get_array().shape == (867, 1)
    assert shown.get_array().max() == 8
    assert shown.get_extent() == pytest.approx([-0.5, 2.5, 2600.5, -0.5])


def test_slices_go_through_the_hottest_voxel_of_the_largest_lesions(patient: Body) -> None:
    figure = slices_figure(patient.pet, patient.labels, NAMES, roles=ROLES, count=2)
    sizes = {n: (patient.labels == n).sum() for n in range(1, 6)}
    largest = sorted(sizes, key=lambda n: (-sizes[n], n))[:2]
    assert len(figure.axes) == 2 * 3 + 1
    for row, number in enumerate(largest):
        peak = patient.pet.numpy()[patient.labels == number].max()
        assert any(f"{number}  {NAMES[number]}   maximum {peak:.3g} g/mL" in t for t in texts(figure))
        for panel in range(3):
            assert np.asarray(figure.axes[3 * row + panel].images[0].get_array()).max() >= peak
        assert len(coloured(figure, region_colour(number))) > 50


def test_a_ct_of_the_same_frame_lies_under_the_image_where_it_belongs(patient: Body) -> None:
    figure = slices_figure(patient.pet, patient.labels, NAMES, ct=patient.ct, roles=ROLES, count=1)
    assert len(figure.axes) == 6 + 2
    under, over = figure.axes[1].images
    assert under.get_clim() == CT_WINDOW
    # The coarse CT has the grid of the PET: at a voxel's centre the fine cut shows that voxel's value.
    z, y, x = np.argwhere(
        (patient.labels == 2) & (patient.pet.numpy() == patient.pet.numpy()[patient.labels == 2].max())
    )[0]
    left, right, _, top = under.get_extent()
    fine = (right - left) / under.get_array().shape[1]
    row, column = int((y * 8.0 - top) / fine), int((x * 8.0 - left) / fine)
    assert under.get_array()[row, column] == pytest.approx(float(patient.ct.numpy()[z, y, x]), abs=4)
    assert 0 < np.asarray(over.get_alpha()).max() <= 0.6
    assert any("CT window −160 to 240 HU" in t for t in texts(figure))


def test_a_ct_of_another_or_unknown_frame_is_refused_unless_registered(patient: Body) -> None:
    geometry = patient.ct.geometry
    assert geometry is not None
    for frame in (None, "another"):
        with pytest.raises(GeometryError, match="one frame of reference"):
            slices_figure(patient.pet, patient.labels, ct=patient.ct.with_info(geometry=geometry.with_frame(frame)))
    moved = np.eye(4)
    moved[0, 3] = 16.0  # the CT's own millimetres are 16 mm too small along X
    affine = geometry.affine.copy()
    affine[0, 3] -= 16.0
    ct = patient.ct.with_info(geometry=Geometry(geometry.shape, affine, "another"))
    path = Registration("rigid, by hand", "another", str(patient.pet.geometry.frame), moved)  # type: ignore[union-attr]
    figure = slices_figure(patient.pet, patient.labels, ct=ct, registration=path, count=1)
    plain = slices_figure(patient.pet, patient.labels, ct=patient.ct, count=1)
    np.testing.assert_allclose(figure.axes[1].images[0].get_array(), plain.axes[1].images[0].get_array(), atol=1e-3)
    assert any("rigid, by hand" in t for t in texts(figure))


def test_what_cannot_be_drawn_is_refused(patient: Body) -> None:
    with pytest.raises(DataError, match="differ in size"):
        mip_figure(patient.pet, patient.labels[1:])
    with pytest.raises(UsageError, match="no lesion"):
        slices_figure(patient.pet, np.zeros_like(patient.labels))
    with pytest.raises(UsageError, match="no lesion"):
        slices_figure(patient.pet, np.where(patient.labels == 20, 20, 0), roles=ROLES)
    with pytest.raises(UnitError, match="Hounsfield"):
        slices_figure(patient.pet, patient.labels, ct=patient.pet)
    frames = Image(np.zeros((2, 3, 3, 3)), unit="g/mL", geometry=Geometry((3, 3, 3), np.eye(4)))
    with pytest.raises(DataError, match="one volume"):
        mip_figure(frames)


def test_names_with_signs_of_formulas_are_plain_text(patient: Body) -> None:
    names = {1: "$\\frac{", 2: "a_b^$x$", 3: "line\nbreak\x07"}
    figure = mip_figure(patient.pet, patient.labels, names)
    pixels(figure)
    assert "line break" in texts(figure)
    pixels(slices_figure(patient.pet, patient.labels, names, count=5))


def test_many_lesions_still_make_a_picture(rng: np.random.Generator) -> None:
    labels = np.zeros((60, 40, 40), np.int16)
    for n in range(1, 121):
        z, y, x = rng.integers(1, [59, 39, 39])
        labels[z, y, x] = n
    image = Image((labels > 0) * np.float32(5), unit="g/mL", geometry=Geometry.from_spacing(labels.shape, (4, 4, 4)))
    figure = mip_figure(image, labels, {n: f"lesion-{n}" for n in range(1, 121)})
    boxes = [t.get_window_extent() for t in figure.axes[0].texts if t.get_text().isdigit()]
    assert 10 < len(boxes) <= 120
    assert not figure.texts  # no legend of 120 names


def test_the_same_picture_is_the_same_bytes_also_from_threads(patient: Body) -> None:
    def draw(_: int) -> bytes:
        return png_bytes(mip_figure(patient.pet, patient.labels, NAMES, roles=ROLES), dpi=60)

    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(draw, range(4)))) == 1
    assert b"matplotlib" not in draw(0)
