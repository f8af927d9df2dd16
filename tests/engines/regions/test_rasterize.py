"""Polygons by the pixel-centre, even-odd rule; a clinical contour against its published mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelens.engines.regions.rasterize import rasterize_polygons, rasterize_slice
from timelens.errors import DataError, UsageError


def square(x0, y0, x1, y1):
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def test_a_square_between_pixel_centres():
    mask = rasterize_slice([square(0.5, 1.5, 3.5, 3.5)], (6, 6))
    assert np.argwhere(mask).tolist() == [[2, 1], [2, 2], [2, 3], [3, 1], [3, 2], [3, 3]]


def test_left_and_upper_edges_are_inside_right_and_lower_ones_are_not():
    mask = rasterize_slice([square(1, 1, 3, 3)], (6, 6))
    assert np.argwhere(mask).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]


@given(data=st.data())
def test_a_square_cut_along_a_line_is_covered_exactly_once(data):
    # Two parts share an edge with pixel centres on it: none twice, none missing, whichever way round they are drawn.
    top, bottom = data.draw(st.floats(-0.5, 10.5)), data.draw(st.floats(-0.5, 10.5))
    left = [(-1, -1), (top, -1), (bottom, 11), (-1, 11)]
    right = [(top, -1), (11, -1), (11, 11), (bottom, 11)]
    if data.draw(st.booleans()):
        right.reverse()
    one, other = rasterize_slice([left], (10, 10)), rasterize_slice([right], (10, 10))
    assert np.array_equal(one ^ other, np.ones((10, 10), bool))
    assert not (one & other).any()


@given(seed=st.integers(0, 500), n=st.integers(3, 9))
def test_random_polygons_equal_a_point_in_polygon_test(seed, n):
    points = np.random.default_rng(seed).uniform(-3, 15, (n, 2))
    mask = rasterize_slice([points], (12, 12))
    for y, x in np.ndindex(mask.shape):
        inside = False
        for (ax, ay), (bx, by) in zip(points, np.roll(points, -1, axis=0), strict=True):
            if (ay > y) != (by > y) and x < ax + (y - ay) / (by - ay) * (bx - ax):
                inside = not inside
        assert mask[y, x] == inside


def test_a_polygon_in_a_polygon_is_a_hole_and_a_third_an_island():
    rings = [square(0.5, 0.5, 8.5, 8.5), square(2.5, 2.5, 6.5, 6.5), square(3.5, 3.5, 5.5, 5.5)]
    mask = rasterize_slice(rings, (10, 10))
    assert mask.sum() == 64 - 16 + 4
    assert (mask[1, 1], mask[3, 3], mask[4, 4]) == (True, False, True)


def test_area_of_a_disc():
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    mask = rasterize_slice([np.stack([50.3 + 40.2 * np.cos(angle), 49.8 + 40.2 * np.sin(angle)], axis=1)], (101, 101))
    np.testing.assert_allclose(mask.sum(), np.pi * 40.2**2, rtol=2e-3)


def test_direction_and_start_do_not_matter(rng):
    points = rng.uniform(0, 20, (7, 2))
    mask = rasterize_slice([points], (20, 20))
    assert np.array_equal(mask, rasterize_slice([points[::-1]], (20, 20)))
    assert np.array_equal(mask, rasterize_slice([np.roll(points, 3, axis=0)], (20, 20)))


def test_parts_beyond_the_slice_are_cut_off():
    assert rasterize_slice([square(-1e9, -1e9, 1e9, 1e9)], (4, 5)).all()
    assert not rasterize_slice([square(10, 10, 12, 12)], (4, 5)).any()
    assert not rasterize_slice([], (4, 5)).any()


def test_polygons_go_to_their_slices():
    mask = rasterize_polygons([(0, square(0, 0, 2, 2)), (2, square(1, 1, 2, 2))], (3, 4, 4))
    assert mask.sum(axis=(1, 2)).tolist() == [4, 0, 1]


def test_unusable_polygons_are_refused():
    with pytest.raises(DataError, match=r"outside the volume.*slice 3"):
        rasterize_polygons([(3, square(0, 0, 1, 1))], (3, 4, 4))
    with pytest.raises(DataError, match="encloses no area"):
        rasterize_slice([[(0, 0), (1, 1)]], (4, 4))
    with pytest.raises(DataError, match="not finite"):
        rasterize_slice([[(0, 0), (1, 1), (np.nan, 2)]], (4, 4))
    with pytest.raises(UsageError, match="two columns"):
        rasterize_slice([[(0, 0, 0), (1, 1, 0), (2, 0, 0)]], (4, 4))


def test_a_clinical_contour_gives_the_published_mask(shared_data):
    pydicom = pytest.importorskip("pydicom")
    nibabel = pytest.importorskip("nibabel")
    folder = shared_data / "pet_fdg_sarcoma"
    sets = [pydicom.dcmread(file, force=True) for file in folder.glob("dicom_STS_002/**/*.dcm")]
    slices = sorted((s for s in sets if s.Modality == "PT"), key=lambda s: float(s.ImagePositionPatient[2]))
    (contours,) = (s for s in sets if s.Modality == "RTSTRUCT")
    heights = np.array([float(s.ImagePositionPatient[2]) for s in slices])
    origin = np.array(slices[0].ImagePositionPatient[:2], dtype=float)
    edges = np.array(slices[0].PixelSpacing[::-1], dtype=float)
    polygons = []
    for contour in contours.ROIContourSequence[0].ContourSequence:
        points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
        polygons.append((int(np.abs(heights - points[0, 2]).argmin()), (points[:, :2] - origin) / edges))
    mask = rasterize_polygons(polygons, (len(slices), slices[0].Rows, slices[0].Columns))
    published = np.asarray(nibabel.load(folder / "STS_002_PET_mask.nii.gz").dataobj).T > 0
    assert mask.sum() == 555
    # The published volume runs the other way along x and y.
    assert any(np.array_equal(mask[::a, ::b, ::c], published) for a in (1, -1) for b in (1, -1) for c in (1, -1))
