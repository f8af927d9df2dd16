"""What a scanner must show of a sphere, against integrals, limits and the digital patient itself."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.engines.regions import fixed_threshold, measure_labels
from timelens.engines.regions.partial_volume import sphere_recovery, sphere_recovery_centre
from timelens.errors import DataError
from timelens.lenses.pet.view import scanner_image
from timelens.tumor.digital_patient import DigitalPatient, Shape, lesion
from timelens.tumor.expected import (
    PEAK_RADIUS_MM,
    BlurredSphere,
    Rule,
    blurred_lesion,
    lesion_truth,
    overlap_share,
    patient_truth,
)
from timelens.tumor.paint import grid_over

GRID = grid_over((96, 96, 96), (4, 4, 4), origin=(-48, -48, -48), frame="f")
BATH = Shape("bath", (0, 0, 0), (500, 500, 500), 0.6)


def test_lesions_near_something_else_are_refused():
    patient = DigitalPatient((BATH,), (lesion("a", (0, 0, 0), 20, 9), lesion("b", (25, 0, 0), 20, 9)))
    with pytest.raises(DataError, match="surroundings of a are not uniform"):
        blurred_lesion(patient, patient.lesions[0], fwhm_mm=6, geometry=GRID)
    with pytest.raises(DataError, match="hold for spheres"):
        blurred_lesion(patient, Shape("rod", (0, 0, 0), (9, 9, 9), 1.0, cylinder=True), fwhm_mm=6, geometry=GRID)


def test_threshold_in_the_background_is_refused_and_beyond_reach_is_nan():
    sphere = BlurredSphere(5.0, 6.0, 1.0, 8.0)
    with pytest.raises(DataError, match="surroundings reach the threshold"):
        sphere.radius_at(0.9)
    assert np.isnan(sphere.radius_at(5.9))


def test_profile_against_a_three_dimensional_sum():
    """Gaussian times sphere summed on a fine grid around points at several distances."""
    sphere = BlurredSphere(7.0, 5.0, 1.0, 6.0)
    step, sigma = 0.2, 6.0 / np.sqrt(8 * np.log(2))
    axis = np.arange(-7, 7, step) + step / 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    inside = z**2 + y**2 + x**2 <= 49
    for distance in (0.0, 1e-7, 3.0, 7.0, 12.0):
        square = (x[inside] - distance) ** 2 + y[inside] ** 2 + z[inside] ** 2
        share = np.exp(-square / (2 * sigma**2)).sum() * step**3 / (2 * np.pi * sigma**2) ** 1.5
        assert float(sphere.profile(distance)) == pytest.approx(1 + 4 * share, rel=2e-3)


@pytest.mark.parametrize("radius", [3.0, 8.0, 20.0])
def test_mean_and_centre_are_the_recovery_coefficients(radius):
    sphere = BlurredSphere(radius, 1.0, 0.0, 6.5)
    assert sphere.mean_within(radius) == pytest.approx(float(sphere_recovery(radius, 6.5)), rel=1e-9)
    assert float(sphere.profile(0.0)) == pytest.approx(float(sphere_recovery_centre(radius, 6.5)), rel=1e-12)


def test_without_blur_the_threshold_finds_the_true_surface():
    assert BlurredSphere(9.0, 10.0, 0.5, 0.05).radius_at(4.0) == pytest.approx(9.0, abs=0.02)


def test_overlap_of_spheres():
    assert overlap_share(4, PEAK_RADIUS_MM, 0) == pytest.approx(0.268, abs=5e-4)  # 8 mm: 0.27 mL
    assert overlap_share(10, PEAK_RADIUS_MM, 1.0) == 1.0
    assert overlap_share(4, 4, 8.1) == 0.0
    assert overlap_share(5, 5, 5) == pytest.approx(5 / 16)  # two unit spheres one radius apart
    assert overlap_share(7, 5, 2.0 + 1e-9) == pytest.approx(1.0, abs=1e-6)


def test_rows_of_a_lesion_under_both_rules():
    node = lesion("node", (0, 0, 0), 30, 10)
    patient = DigitalPatient((BATH,), (node,))
    rows = {r.quantity: r for r in lesion_truth(patient, node, Rule(None, 0.0), fwhm_mm=6, geometry=GRID)}
    assert rows["mtv"].ideal == rows["mtv"].seen == pytest.approx(np.pi / 6 * 27)
    assert rows["mtv"].unit == "mL"
    assert rows["suv_mean"].seen < rows["suv_mean"].ideal == 10
    assert rows["tlg"].seen == pytest.approx(rows["suv_mean"].seen * rows["mtv"].seen)
    above = {r.quantity: r for r in lesion_truth(patient, node, Rule(), fwhm_mm=6, geometry=GRID)}
    assert above["mtv"].seen > above["mtv"].ideal  # 4 is less than half of 10


def test_small_lesions_do_not_count_under_the_three_millilitre_rule():
    small, large = lesion("small", (60, 0, 0), 14, 10), lesion("large", (-60, 0, 0), 30, 10)
    patient = DigitalPatient((BATH,), (small, large))
    rows = patient_truth(patient, Rule(), fwhm_mm=6, geometry=GRID)
    assert {r.region for r in rows} == {"large", "all lesions"}
    assert next(r.seen for r in rows if r.quantity == "lesion_count") == 1
    assert not [r for r in rows if r.quantity == "dmax"]
    both = patient_truth(patient, Rule(4.0, 0.0), fwhm_mm=6, geometry=GRID)
    assert next(r.seen for r in both if r.quantity == "dmax") == 120
    total = sum(r.seen for r in both if r.quantity == "mtv")
    assert next(r.seen for r in both if r.quantity == "tmtv") == pytest.approx(total)


@pytest.mark.parametrize("diameter", [16, 24, 40])
def test_voxels_measured_by_the_engines_agree_with_the_closed_form(diameter):
    """At 4 mm voxels and 6 mm resolution: volume on average over sub-voxel positions, means at each of them."""
    ratios = []
    for centre in np.random.default_rng(3).uniform(-2, 2, (8, 3)):
        node = lesion("node", tuple(centre), diameter, 10)
        patient = DigitalPatient((BATH,), (node,))
        image = scanner_image(patient, GRID, fwhm_mm=6.0).numpy()
        table = measure_labels(image, fixed_threshold(image, GRID.spacing, 4.0).labels, GRID.spacing)
        truth = lesion_truth(patient, node, Rule(4.0, 0.0), fwhm_mm=6, geometry=GRID)
        seen = {r.quantity: r.seen for r in truth}
        columns = {
            "suv_max": "max",
            "suv_peak": "peak_global_resampled",
            "mtv": "volume_ml",
            "tlg": "tlg",
            "diameter_max": "diameter_max_mm",
        }
        ratios.append([table[column][0] / seen[quantity] for quantity, column in columns.items()])
    np.testing.assert_allclose(np.array(ratios)[:, 0], 1.0, atol=0.005)
    np.testing.assert_allclose(np.array(ratios)[:, 1], 1.0, atol=0.025)  # 1 mL on a 3 mm grid is 1.03 mL of voxels
    np.testing.assert_allclose(np.mean(ratios, axis=0)[2:], 1.0, atol=0.03)
