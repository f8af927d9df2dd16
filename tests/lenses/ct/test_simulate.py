"""The CT beside PET: Hounsfield numbers, blur, noise of the stated size, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.errors import UsageError
from timelens.lenses.ct.simulate import CtProtocol, ct_protocol, simulate
from timelens.study.contract import Administration, Protocol
from timelens.study.geometry import Geometry
from timelens.tumor.digital_patient import DigitalPatient, Shape, lesion
from timelens.tumor.scene import Scene, TumourField

BODY = Shape("body", (0, 0, 0), (60, 60, 60), 1.0, 40.0)
SCENE = Scene(DigitalPatient((BODY,), (lesion("node", (10, 0, 0), 20, 5, hu=80),), weight_g=70e3))


@pytest.mark.parametrize(
    ("given", "message"),
    [({"kvp": 120}, "no such parameter"), ({"noise_hu": -1}, "cannot be used"), ({"voxel_mm": 0}, "cannot be used"),
     ({"fwhm_mm": True}, "cannot be used")],
)  # fmt: skip
def test_protocols_that_cannot_be(given, message):
    with pytest.raises(UsageError, match=message):
        ct_protocol(Protocol("ct", given))


def test_other_lenses_and_contrast_media_are_refused(rng):
    with pytest.raises(UsageError, match="another lens"):
        ct_protocol(Protocol("pet"))
    from datetime import datetime

    with pytest.raises(UsageError, match="Contrast media"):
        simulate(SCENE, [Administration("iohexol", datetime(2024, 1, 1))], Protocol("ct"), rng)


def test_without_noise_a_body_has_its_numbers(rng):
    made = simulate(SCENE, [], Protocol("ct", {"noise_hu": 0}), rng)
    (ct,) = made.acquisitions
    assert ct.modality == "ct"
    assert ct.image.unit == "[hnsf'U]"
    at = {p: tuple(np.rint(ct.image.geometry.to_index(p)).astype(int)) for p in ((-40, 0, 0), (10, 0, 0), (0, 0, 75))}
    assert [int(ct.image.numpy()[i]) for i in at.values()] == [40, 80, -1000]
    (row,) = made.truth
    assert (row.quantity, row.region, row.ideal) == ("hounsfield", "node", 80.0)
    assert 40 < row.seen < 80  # the rim's voxels are blurred with the body


def test_noise_has_the_stated_size_and_correlation(rng):
    plan = CtProtocol(voxel_mm=2.0, fwhm_mm=4.0, noise_hu=15.0)
    made = simulate(SCENE, [], plan, rng)
    noise = made.acquisitions[0].image.numpy().astype(float) - made.noise_free[0].image.numpy()
    inside = noise[20:60, 20:60, 20:60]
    assert inside.mean() == pytest.approx(0, abs=0.5)
    assert inside.std() == pytest.approx(15, rel=0.03)
    # Neighbours of white noise under a Gaussian of that width: exp(-d^2 / (4 sigma^2)).
    sigma = 4.0 / 2.3548
    found = np.corrcoef(inside[:, :, :-1].ravel(), inside[:, :, 1:].ravel())[0, 1]
    assert found == pytest.approx(np.exp(-(2.0**2) / (4 * sigma**2)), abs=0.03)


def test_same_seed_same_scan_and_field_tumours_are_there():
    share = np.ones((10, 10, 10), np.float32)
    field = TumourField("mass", share, np.zeros(1), share[None], (2.0, 2.0, 2.0), (-20.0, 0.0, 0.0), hu=90.0)
    scene = Scene(DigitalPatient((BODY,)), fields=(field,))
    grid = Geometry.from_spacing((40, 40, 40), (3.0, 3.0, 3.0), origin=(-60, -60, -60), frame="f")
    one, two = (
        simulate(scene, [], Protocol("ct"), np.random.default_rng(4), geometry=grid).acquisitions[0] for _ in range(2)
    )
    assert np.array_equal(one.image.numpy(), two.image.numpy())
    truth = {r.region: r for r in simulate(scene, [], Protocol("ct"), np.random.default_rng(4), geometry=grid).truth}
    assert truth["mass"].ideal == 90.0
    assert truth["mass"].seen == pytest.approx(85, abs=5)
