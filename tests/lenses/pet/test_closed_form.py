"""From a scene to a scan to numbers, against the closed form of a blurred sphere: no voxel enters the truth."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from timelens.lenses.pet.lens import PetLens
from timelens.lenses.pet.protocol import Calibration, PetProtocol, Scan
from timelens.lenses.pet.simulate import simulate
from timelens.run.simulation.files import organ_region
from timelens.study.contract import Administration
from timelens.study.geometry import Geometry
from timelens.tumor.digital_patient import DigitalPatient, lesion, standard_organs
from timelens.tumor.expected import Rule, patient_truth
from timelens.tumor.scene import Scene

FWHM_MM = 6.0
PATIENT = DigitalPatient(
    standard_organs(),
    (
        lesion("neck node", (46.7, 8.4, 594.9), 28, 11.0),
        lesion("lung nodule", (81.2, -2.9, 490.3), 26, 8.0),
        lesion("liver metastasis", (105.0, 12.6, 318.1), 32, 9.5),
    ),
)


@pytest.fixture(scope="module")
def scan():
    """The trunk of a digital patient 60 min after 224 MBq of FDG."""
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = -198.0, -138.0, 212.0  # LPS, as DICOM has it
    grid = Geometry.from_lps((108, 70, 100), affine, frame="f")
    protocol = PetProtocol(
        scans=(Scan(3600.0, (900.0,)),),
        voxel_mm=(4.0,) * 3,
        fwhm_mm=(FWHM_MM,) * 3,
        positron_range=False,  # part of the stated resolution
        calibration=Calibration(cov=0.023, duration_s=900.0),
    )
    given = Administration("FDG", datetime(2024, 1, 15, 9, 30), 224e6, "18F")
    return simulate(Scene(PATIENT), [given], protocol, np.random.default_rng(7), geometry=grid)


@pytest.mark.parametrize("rule", [Rule(), Rule(None, 0.0)], ids=["SUV of 4", "true outline"])
def test_numbers_of_a_rule_are_those_of_the_blurred_sphere(scan, rule):
    (pet,) = scan.acquisitions
    grid = pet.image.geometry
    regions = [organ_region(PATIENT, grid)]
    if rule.threshold is None:
        regions.append(scan.regions[0])
    result = PetLens().quantify({"pet": pet}, regions, {})
    assert not [p for p in result.problems if p.severity == "error"]
    lesions = result.regions["lesions"]
    labels = lesions.labels.numpy()
    places = {lesions.names[n]: grid.to_mm(np.argwhere(labels == n).mean(axis=0)) for n in lesions.names}
    found = {(m.region, m.quantity): m.value for m in result.measurements}
    truth = patient_truth(PATIENT, rule, fwhm_mm=FWHM_MM, geometry=grid)
    # Noise lifts the maximum; a volume is known to a few voxels, a diameter to one.
    bars = {"suv_max": 12, "mtv": 6, "tlg": 6, "tmtv": 3, "diameter_max": 18, "dmax": 0.5, "lesion_count": 0}
    for row in truth:
        region = row.region
        if row.centre is not None:
            region = min(places, key=lambda name: np.linalg.norm(places[name] - row.centre))
        error = 100 * (found[region, row.quantity] / row.seen - 1)
        assert abs(error) <= bars.get(row.quantity, 4), (row, error)
    assert len(truth) == 3 * 6 + 6
    assert found["liver", "suv_mean"] == pytest.approx(2.2, rel=0.02)
    assert found["blood pool", "suv_mean"] == pytest.approx(1.6, rel=0.04)
