"""From scene to scan: calibrated noise, decay, uniform spheres after partial-volume correction, coverage."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from timelens.engines.regions.labels import find_regions
from timelens.engines.regions.partial_volume import correct_mean, mask_recovery, sphere_recovery
from timelens.errors import DataError, MissingFieldError, UsageError
from timelens.knowledge import nuclides
from timelens.lenses.pet.lens import PetLens
from timelens.lenses.pet.local_noise import noise_at_lesions
from timelens.lenses.pet.protocol import Calibration, PetProtocol, Scan, pet_protocol
from timelens.lenses.pet.simulate import simulate
from timelens.lenses.pet.uncertainty import Noise
from timelens.lenses.pet.view import ScannerView
from timelens.study import Geometry, Image
from timelens.study.contract import Administration, Protocol, Simulated
from timelens.tumor.agents import PlacedTumour, agent_scene
from timelens.tumor.architecture import INFLAMED
from timelens.tumor.digital_patient import DigitalPatient, Shape, lesion
from timelens.tumor.host import body_phantom, reference_host
from timelens.tumor.microenvironment import build
from timelens.tumor.paint import grid_over, hounsfield, label_region
from timelens.tumor.scene import Curve, Scene, TumourField

INJECTED = datetime(2024, 3, 1, 9)
FDG = [Administration("FDG", INJECTED, 350e6)]
BATH = Shape("bath", (0, 0, 0), (90, 90, 60), 1.0, cylinder=True)
GRID = grid_over((96, 208, 208), (4, 4, 4), origin=(-104, -104, -48), frame="f")
SILENT = PetProtocol(positron_range=False, calibration=Calibration(cov=0.0))


def scan(scene: Scene, protocol: Any = SILENT, seed: int = 0, given: list[Administration] = FDG) -> Simulated:
    return simulate(scene, given, protocol, np.random.default_rng(seed), geometry=GRID)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"fwhm": 5}, "no such parameter"),
        ({"fwhm_mm": [5, 5]}, "three"),
        ({"fwhm_mm": -1}, "cannot be used"),
        ({"scatter_fraction": 1.0}, "cannot be used"),
        ({"positron_range": 1}, "Yes or no"),
        ({"scans": []}, "a list"),
        ({"scans": [{"start_s": 5}]}, "not complete"),
        ({"scans": [{"start_s": 0, "frames_s": [60, 60]}, {"start_s": 100, "frames_s": 60}]}, "before the one before"),
        ({"calibration": {"cov": -0.1}}, "cannot be used"),
        ({"calibration": {"noise": 0.1}}, "no such parameter"),
        ({"sensitivity_cps_per_kbq": 0}, "cannot be used"),
        ({"sensitivity_cps_per_kbq": 9.6}, "length of the scanner"),
        ({"sensitivity_cps_per_kbq": 9.6, "axial_fov_mm": 221, "calibration": {"cov": 0.3}}, "contradict each other"),
        ({"sensitivity_cps_per_kbq": 9.6, "axial_fov_mm": 221, "calibration": {"cov": 0}}, "contradict each other"),
    ],
)
def test_protocols_that_cannot_be(parameters, message):
    with pytest.raises(UsageError, match=message):
        pet_protocol(Protocol("pet", parameters))


def test_noise_is_stated_or_follows_from_sensitivity():
    scanner = {"sensitivity_cps_per_kbq": 9.6, "axial_fov_mm": 221}
    assert pet_protocol(Protocol("pet", {})).cov == 0.1
    assert pet_protocol(Protocol("pet", {"calibration": {"cov": 0.07}})).cov == 0.07
    counted = pet_protocol(Protocol("pet", scanner)).cov
    assert 0.08 < counted < 0.16
    # What a cylinder showed goes first, where both agree.
    assert pet_protocol(Protocol("pet", {**scanner, "calibration": {"cov": 0.09}})).cov == 0.09
    wide = pet_protocol(Protocol("pet", {**scanner, "correlation_fwhm_mm": 12})).cov
    assert wide == pytest.approx(counted / 4)


def test_protocols_of_other_lenses():
    with pytest.raises(UsageError, match="another lens"):
        pet_protocol(Protocol("mri", {}))


def test_one_agent_with_activity_and_positrons():
    scene = Scene(DigitalPatient((BATH,)))
    with pytest.raises(UsageError, match="one agent"):
        scan(scene, given=[])
    with pytest.raises(MissingFieldError, match="needs activity"):
        scan(scene, given=[Administration("FDG", INJECTED)])
    with pytest.raises(MissingFieldError, match="nuclide"):
        scan(scene, given=[Administration("Unobtainium", INJECTED, 1e6)])
    with pytest.raises(DataError, match="no positrons"):
        scan(scene, given=[Administration("", INJECTED, 1e6, "99mTc")])


def test_activity_is_that_of_the_dose_decayed_to_the_scan():
    made = scan(Scene(DigitalPatient((BATH,), weight_g=70e3)))
    (pet,) = made.acquisitions
    values = pet.image.numpy()
    assert values[12, 26, 26] == pytest.approx(350e6 * 2 ** (-3600 / pet.half_life_s) / 70e3, rel=1e-5)
    assert pet.image.unit == "Bq/mL"
    assert (pet.image.decay_reference - INJECTED).total_seconds() == 3600


def test_dynamic_frames_follow_the_curve():
    """A curve that rises by 0.01 g/mL/s: frames report its decay-weighted mean."""
    curve = Curve(np.array([0.0, 4000.0]), np.array([0.0, 40.0]))
    protocol = PetProtocol(
        scans=(Scan(0.0, (60.0, 600.0, 1800.0)),), positron_range=False, calibration=Calibration(cov=0.0)
    )
    made = scan(Scene(DigitalPatient((BATH,)), {"bath": curve}), protocol)
    (pet,) = made.acquisitions
    values = pet.image.numpy()[:, 12, 26, 26] / (350e6 / 64e3)
    rate = np.log(2) / pet.half_life_s
    start, length = pet.image.frames.start, pet.image.frames.duration
    x = rate * length
    expected = 0.01 * (start + 1 / rate - length * np.exp(-x) / -np.expm1(-x))
    np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_many_frames_are_seen_as_each_alone():
    """Shapes are blurred once and added: the same images as frame by frame."""
    ball = lesion("ball", (20, 2, 3), 24, 8.0)
    scene = Scene(DigitalPatient((BATH,), (ball,)))
    view = ScannerView(scene, GRID, fwhm_mm=6.0)
    uptake = np.array([[1.0, 8.0], [0.5, 3.0], [0.0, 2.0]])
    np.testing.assert_allclose(view.series(uptake, [()] * 3), [view.show(u) for u in uptake], atol=1e-5)


def test_dynamic_scans_tell_the_rate_constants_that_the_scene_knows():
    ball = lesion("ball", (0, 0, 0), 24, 8.0)
    scene = Scene(DigitalPatient((BATH,), (ball,)), kinetics={"ball": {"k1": 0.1, "k_i": 0.03}})
    rows = {}
    for frames in ((60.0, 60.0), (60.0,)):
        made = scan(scene, PetProtocol(scans=(Scan(0.0, frames),), calibration=Calibration(cov=0.0)))
        rows[len(frames)] = {t.quantity: t for t in made.truth if t.quantity in ("k1", "k_i")}
    assert {q: (t.ideal, t.unit) for q, t in rows[2].items()} == {"k1": (0.1, "mL/min/mL"), "k_i": (0.03, "mL/min/mL")}
    assert all(np.isnan(t.seen) and t.acquisition == "pet" for t in rows[2].values())
    assert rows[1] == {}


def test_serial_scans_are_one_acquisition_each():
    protocol = PetProtocol(scans=(Scan(86400.0, (600.0,)), Scan(3 * 86400.0, (600.0,))))
    made = scan(Scene(DigitalPatient((BATH,))), protocol, given=[Administration("", INJECTED, 37e6, "89Zr")])
    first, second = (a.image.numpy()[4:-4, 22:30, 22:30].mean() for a in made.acquisitions)
    assert [a.id for a in made.acquisitions] == ["pet-1", "pet-2"]
    assert second / first == pytest.approx(2 ** (-2 * 24 / 78.36), rel=0.05)
    # Fewer counts, more noise.
    noise = [
        (a.image.numpy() / b.image.numpy())[8:16, 20:32, 20:32].std()
        for a, b in zip(made.acquisitions, made.noise_free, strict=True)
    ]
    assert noise[1] > 1.1 * noise[0]


def cylinder_variation(protocol: PetProtocol, duration: float, nuclide: str = "18F", scans: int = 3) -> float:
    """Coefficient of variation in the middle of a cylinder of 200 mm that holds 5 kBq/mL on average over the scan."""
    cylinder = Shape("cylinder", (0, 0, 0), (100, 100, 100), 1.0, 0.0, cylinder=True)
    geometry = grid_over((216, 216, 216), (4, 4, 4), origin=(-108, -108, -108), frame="f")
    half = nuclides.get(nuclide).half_life_s
    left = np.log(2) * duration / half
    activity = 5000.0 * 64e3 / (2 ** (-3600 / half) * -np.expm1(-left) / left)
    x, y, z = np.moveaxis(geometry.to_mm(np.moveaxis(np.indices(geometry.shape), 0, -1)), -1, 0)
    middle = (np.hypot(x, y) <= 60) & (np.abs(z) <= 80)
    plan = replace(protocol, scans=(Scan(3600.0, (duration,)),))
    found = []
    for seed in range(scans):
        rng = np.random.default_rng(seed)
        given = [Administration("", INJECTED, activity, nuclide)]
        made = simulate(Scene(DigitalPatient((cylinder,))), given, plan, rng, geometry=geometry)
        values = made.acquisitions[0].image.numpy()[middle]
        found.append(values.std() / values.mean())
    return float(np.mean(found))


@pytest.mark.parametrize(("duration", "cov"), [(300.0, 0.1), (1200.0, 0.05)])
def test_the_calibrating_cylinder_shows_the_stated_variation(duration, cov):
    """10 % for 300 s of 5 kBq/mL; a quarter of the noise's variance in four times the time."""
    protocol = PetProtocol(calibration=Calibration(cov=0.1))
    assert cylinder_variation(protocol, duration) == pytest.approx(cov, rel=0.03)


def test_the_cylinder_shows_what_the_sensitivity_means():
    protocol = PetProtocol(sensitivity_cps_per_kbq=9.6, axial_fov_mm=221.0)
    assert cylinder_variation(protocol, 300.0) == pytest.approx(protocol.cov, rel=0.03)


def test_few_positrons_mean_much_noise():
    """89Zr gives 22.7 positrons for 100 decays, 18F 96.7: sqrt(4.25) times the noise at equal activity."""
    protocol = PetProtocol(randoms_fraction=0.0, calibration=Calibration(cov=0.05))
    zirconium, fluorine = (nuclides.get(n).positron_fraction for n in ("89Zr", "18F"))
    assert (zirconium, fluorine) == pytest.approx((0.227, 0.967), abs=0.002)
    found = cylinder_variation(protocol, 300.0, "89Zr", scans=2)
    assert found == pytest.approx(0.05 * np.sqrt(fluorine / zirconium), rel=0.04)


def test_noise_is_less_where_less_matter_is_in_the_way():
    lungs = Shape("lung", (45, 0, 0), (35, 60, 60), 1.0, -800.0, cylinder=True)
    made = scan(Scene(DigitalPatient((BATH, lungs))), PetProtocol(calibration=Calibration(cov=0.05)))
    ratio = made.acquisitions[0].image.numpy() / made.noise_free[0].image.numpy()
    left, right = ratio[4:20, 20:32, 10:20].std(), ratio[4:20, 20:32, 32:42].std()
    assert right < 0.95 * left


def test_same_seed_same_bytes():
    scene = Scene(DigitalPatient((BATH,), (lesion("a", (3, 4, 5), 20, 8),)))
    a, b, c = (scan(scene, PetProtocol(), seed).acquisitions[0].image.numpy().tobytes() for seed in (1, 1, 2))
    assert a == b
    assert a != c


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("diameter", [10.5, 13, 17, 24, 37])
def test_uniform_spheres_are_recovered(diameter, seed):
    """Noise-free, given mask, known point spread and background: SUVmean within 3 % after correction, voxels of 1.5 mm.

    The centre lies anywhere: on a symmetric place of the grid whole shells of voxels change sides together.
    """
    centre = tuple(np.random.default_rng([seed, int(10 * diameter)]).uniform(-2, 2, 3))
    ball = lesion("ball", centre, diameter, 8.0)
    geometry = grid_over((72, 72, 72), (1.5, 1.5, 1.5), origin=(-36, -36, -36), frame="f")
    made = simulate(Scene(DigitalPatient((BATH,), (ball,))), FDG, SILENT, np.random.default_rng(0), geometry=geometry)
    options = {"segment": {"rule": "given"}, "partial_volume": {"fwhm_mm": 6.0, "background": 1.0}}
    rows = PetLens().quantify({"pet": made.acquisitions[0]}, made.regions, options).measurements
    found = {m.quantity: m.value for m in rows if m.region == "ball"}
    assert found["suv_mean_pvc"] == pytest.approx(8.0, rel=0.03)
    truth = {t.quantity: t for t in made.truth}
    assert truth["suv_mean"].ideal == 8.0
    assert found["suv_mean"] == pytest.approx(truth["suv_mean"].seen, rel=1e-5)
    assert found["suv_max"] == pytest.approx(truth["suv_max"].seen, rel=1e-5)


@pytest.mark.parametrize(("diameter", "percent"), [(10, 3.1), (17, 1.5), (37, 0.6)])
def test_what_a_wrong_point_spread_costs(diameter, percent):
    """The corrected mean when 6 mm is taken for 6.2 mm: 3 % at 10 mm, as the closed form says, and less beyond."""
    exact = [float(sphere_recovery(diameter / 2, w)) for w in (6.0, 6.2)]
    assert 100 * 7 / 8 * (exact[0] / exact[1] - 1) == pytest.approx(percent, abs=0.15)
    ball = lesion("ball", (0.3, -0.4, 0.1), diameter, 8.0)
    geometry = grid_over((64, 64, 64), (2, 2, 2), origin=(-32, -32, -32), frame="f")
    made = simulate(Scene(DigitalPatient((BATH,), (ball,))), FDG, SILENT, np.random.default_rng(0), geometry=geometry)
    mask = made.regions[0].labels.numpy() == 1
    seen = {t.quantity: t.seen for t in made.truth}["suv_mean"]
    narrow, right, wide = (
        float(correct_mean(seen, mask_recovery(mask, (2, 2, 2), w, outline="smooth"), 1.0)) for w in (5.8, 6.0, 6.2)
    )
    assert 100 * (wide / right - 1) == pytest.approx(percent, abs=0.2)
    assert 100 * (narrow / right - 1) == pytest.approx(-percent, abs=0.3)


def test_positron_range_widens_the_image():
    ball = lesion("ball", (0, 0, 0), 12, 8.0)
    scene = Scene(DigitalPatient((BATH,), (ball,)))
    given = [Administration("", INJECTED, 100e6, n) for n in ("18F", "68Ga")]
    protocol = PetProtocol(calibration=Calibration(cov=0.0))
    top = [{t.quantity: t.seen for t in scan(scene, p, given=[g]).truth}["suv_max"]
           for p, g in ((SILENT, given[0]), (protocol, given[0]), (protocol, given[1]))]  # fmt: skip
    assert top[0] > top[1] > top[2]
    assert top[1] > 0.97 * top[0]
    assert top[2] < 0.95 * top[0]


def test_a_tumour_field_is_seen_like_the_shape_it_depicts():
    """A sphere as a field of 1 mm voxels, and as a shape: the same image within the field's own steps."""
    ball = lesion("ball", (1, 2, 3), 24, 8.0)
    steps = np.arange(33) - 16.0
    z, y, x = np.meshgrid(steps, steps, steps, indexing="ij")
    share = np.clip(12.5 - np.sqrt(x**2 + y**2 + z**2), 0, 1).astype(np.float32)
    tumour = TumourField("ball", share, np.zeros(1), np.full((1, 33, 33, 33), 8.0, np.float32), (1, 1, 1), (1, 2, 3))
    assert tumour.volume_ml == pytest.approx(ball.volume_ml, rel=0.01)
    as_shape = scan(Scene(DigitalPatient((BATH,), (ball,))))
    as_field = scan(Scene(DigitalPatient((BATH,)), fields=(tumour,)))
    a, b = (m.acquisitions[0].image.numpy() / (350e6 * 2 ** (-3600 / 6584) / 64e3) for m in (as_shape, as_field))
    np.testing.assert_allclose(b, a, atol=0.15)
    rows = [{t.quantity: t for t in m.truth} for m in (as_shape, as_field)]
    assert rows[1]["suv_mean"].ideal == pytest.approx(8.0)
    assert rows[1]["suv_mean"].seen == pytest.approx(rows[0]["suv_mean"].seen, rel=0.01)


def test_the_lens_simulates():
    made = PetLens().simulate(
        Scene(DigitalPatient((BATH,))), FDG, Protocol("pet", {"voxel_mm": 8}), np.random.default_rng(0)
    )
    assert made.acquisitions[0].image.geometry.spacing == (8.0, 8.0, 8.0)


def coverage(draws: int, seed: int, background: float | None = None) -> dict[str, float]:
    """Part of the 95 % intervals that hold the noise-free value, by quantity: three lesions at each draw."""
    rng = np.random.default_rng(seed)
    protocol = PetProtocol(positron_range=False, calibration=Calibration(cov=0.05))
    body = Shape("body", (0, 0, 0), (95, 95, 44), 2.0, cylinder=True)
    reference = Shape("liver", (0, 0, 0), (28, 28, 28), 2.0, role="liver")
    options = {"segment": {"rule": "given"}, "partial_volume": {"fwhm_mm": 6.0, "background": background}}
    hits, total = {"suv_mean": 0, "suv_mean_pvc": 0}, 0
    while total < draws:
        turn = rng.uniform(0, 2 * np.pi)
        lesions = []
        for k, diameter in enumerate((12, 15, 18)):
            angle = turn + 2 * np.pi * k / 3
            place = (55 * np.cos(angle), 55 * np.sin(angle), rng.uniform(-4, 4))
            lesions.append(lesion(f"{diameter}", place, diameter, 5.0))
        made = scan(Scene(DigitalPatient((body,), tuple(lesions))), protocol, int(rng.integers(1 << 31)))
        regions = [*made.regions, label_region({"liver": reference}, GRID, name="organs")]
        noisy, clean = (
            {(m.region, m.quantity): m for m in PetLens().quantify({"pet": a}, regions, options).measurements}
            for a in (made.acquisitions[0], made.noise_free[0])
        )
        for one in lesions:
            for quantity in hits:
                row = noisy[one.name, quantity]
                assert row.uncertainty_kind == "standard_error"
                hits[quantity] += row.lower <= clean[one.name, quantity].value <= row.upper
            total += 1
    return {quantity: count / total for quantity, count in hits.items()}


def test_intervals_cover_the_noise_free_mean() -> None:
    """60 draws: 95 % within binomial error is 85 to 100 %."""
    assert min(coverage(60, 1).values()) >= 0.85


@pytest.mark.slow
@pytest.mark.parametrize("background", [None, 2.0])
def test_intervals_cover_closely(background: float | None) -> None:
    """2,000 lesion draws: 93 to 97 %."""
    found = coverage(2001, 2, background)
    print(background, found)
    assert all(0.93 <= part <= 0.97 for part in found.values()), found


@pytest.mark.parametrize("with_ct", [True, False])
def test_noise_far_from_the_reference_follows_the_counts(with_ct):
    """In a neck of 110 mm less is absorbed than in a trunk of 300 mm: less noise than in the liver, as foretold."""
    trunk = Shape("trunk", (0, 0, 60), (150, 110, 60), 1.0, cylinder=True)
    neck = Shape("neck", (0, 0, -60), (55, 55, 60), 1.0, cylinder=True)
    there = lesion("node", (0, 0, -60), 60, 1.0)
    scene = Scene(DigitalPatient((trunk, neck), (there,)))
    protocol = PetProtocol(calibration=Calibration(cov=0.05), positron_range=False)
    made = simulate(scene, FDG, protocol, np.random.default_rng(3))
    pet = made.acquisitions[0]
    grid = pet.image.geometry
    liver = label_region({"liver": Shape("liver", (0, 0, 60), (60, 60, 40), 1.0, role="liver")}, grid, name="organs")
    reference = next(mask for _, mask in liver.masks(grid, [1]))
    labels = made.regions[0].labels.numpy()
    ratio = pet.image.numpy() / made.noise_free[0].image.numpy()
    noise = Noise(0.1, np.full(3, 6.0))
    ct = Image(hounsfield(scene, grid), unit="[hnsf'U]", geometry=grid) if with_ct else None
    suv = Image(pet.image.numpy() / pet.image.numpy().max(), unit="g/mL", geometry=grid)
    found = noise_at_lesions(suv, reference, noise, find_regions(labels), {1: "node"}, ct)["node"]
    assert found.cov / noise.cov == pytest.approx(ratio[labels == 1].std() / ratio[reference].std(), rel=0.1)
    assert found.cov < 0.8 * noise.cov
    # Slices that end within the body do not say what lies on the lines.
    cut = (slice(None), slice(20, 40), slice(30, 50))
    inner = Image(suv.numpy()[cut], unit="g/mL", geometry=Geometry.from_spacing(suv.numpy()[cut].shape, (4, 4, 4)))
    same = noise_at_lesions(inner, reference[cut], noise, find_regions(labels[cut]), {1: "node"})["node"]
    assert same.cov == noise.cov


def test_a_width_that_is_not_sure_widens_the_corrected_interval():
    """Without noise: the interval is that of the recovery under the width and its error; 0.2 mm are 1.5 % at 17 mm."""
    ball = lesion("ball", (1, 2, 3), 17, 8.0)
    made = scan(Scene(DigitalPatient((BATH,), (ball,))))
    stated = {"fwhm_mm": 6.0, "fwhm_sd_mm": 0.2, "background": 1.0}
    rows = [
        {m.quantity: m for m in PetLens().quantify({"pet": made.acquisitions[0]}, made.regions, {
            "segment": {"rule": "given"}, "partial_volume": {**stated, **change}}).measurements if m.region == "ball"}
        for change in ({}, {"fwhm_mm": 6.2}, {"fwhm_sd_mm": None})
    ]  # fmt: skip
    right, wide, sure = (r["suv_mean_pvc"] for r in rows)
    assert right.uncertainty_kind == "standard_error" and "FWHM known to 0.2 mm" in right.flags
    assert right.uncertainty == pytest.approx(wide.value - right.value, rel=0.1)
    assert right.uncertainty / right.value == pytest.approx(0.015, abs=0.003)
    assert rows[0]["recovery_coefficient"].uncertainty > 0
    assert sure.uncertainty_kind == "none"


def test_a_virtual_tumour_in_a_mouse_is_seen():
    """89Zr minibody, serial scans: the whole road from cells to the scan, and what the scan shows of the truth."""
    day = 86400.0
    tumour = build(INFLAMED, Geometry.from_spacing((22, 22, 22), (0.7, 0.7, 0.7), frame="tumour"), 5)
    mouse = body_phantom(reference_host("mouse"))
    placed = PlacedTumour(tumour, (9.5, 3.0, 8.0), ["cd8a"])
    made_scene = agent_scene(mouse, "zr89-crefmirlimab", {"flank": placed}, [day, 2 * day, 2.1 * day], dose_nmol=0.1)
    protocol = Protocol(
        "pet",
        {
            "voxel_mm": 1.0,
            "fwhm_mm": 1.5,
            "scans": [{"start_s": day, "frames_s": [1200]}, {"start_s": 2 * day, "frames_s": [1200]}],
            "calibration": {"cov": 0.05, "duration_s": 1200, "concentration_bq_per_ml": 1e5, "diameter_mm": 30},
        },
    )
    given = [Administration("zr89-crefmirlimab", INJECTED, 3.7e6, "89Zr")]
    made = PetLens().simulate(made_scene.scene, given, protocol, np.random.default_rng(0))
    assert [a.id for a in made.acquisitions] == ["pet-1", "pet-2"]
    field = made_scene.scene.fields[0]
    for k, acquisition in enumerate(made.acquisitions):
        rows = {t.quantity: t for t in made.truth if t.acquisition == acquisition.id}
        frame = np.average(field.suv[k], weights=field.share)
        assert rows["suv_mean"].ideal == pytest.approx(frame, rel=0.02)
        assert 0.6 * frame < rows["suv_mean"].seen < 1.2 * frame
        assert acquisition.species == "mouse"
        result = PetLens().quantify({"pet": acquisition}, made.regions, {"segment": {"rule": "given"}})
        found = next(m for m in result.measurements if (m.region, m.quantity) == ("flank", "suv_mean"))
        assert found.value == pytest.approx(rows["suv_mean"].seen, rel=0.1)
