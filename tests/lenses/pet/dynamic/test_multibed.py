"""Whole-body Patlak bed by bed: each with its own times, joined on one grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from timelens.engines.kinetics import Frames, InputFunction, convolve_exponential, frame_values
from timelens.errors import DataError, GeometryError
from timelens.lenses.pet.dynamic.beds import Bed, beds_by_slice_times, group_beds, join_maps, whole_grid
from timelens.lenses.pet.dynamic.lens import DynamicPetLens
from timelens.lenses.pet.dynamic.multibed import _average
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Result
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.measurement import Measurement
from timelens.study.region import Region
from timelens.study.timing import FrameTiming

from .dynamic_data import INJECTED, blood_table, dynamic_case, plasma

PASS = 100.0
DEPTH, PLANE = 4, (8, 8)
KI, V0 = (0.02, 0.05, 0.01), 0.5
#: Bed 0 is seen from injection on, then in passes; the others in passes only, each at another time.
EARLY = np.array([10.0] * 6 + [30] * 4 + [60] * 4)


def _frames(bed: int) -> Frames:
    passes = 1200.0 + PASS * (3 * np.arange(6) + bed)
    if bed:
        return Frames(passes, passes + PASS)
    start = np.concatenate([np.cumsum(EARLY) - EARLY, passes])
    return Frames(start, start + np.concatenate([EARLY, np.full(6, PASS)]))


def _curve(k_i: float, frames: Frames, entering: InputFunction) -> np.ndarray:
    """Trapping on top of a tissue that follows the plasma: Patlak is exact at all times."""
    total = convolve_exponential(entering.times, entering.values, 0.0, frames)
    return np.asarray(k_i / 60 * total + V0 * frame_values(entering.times, entering.values, frames))


def _bed(bed: int, offset: int) -> tuple[Acquisition, np.ndarray]:
    frames, entering = _frames(bed), plasma()
    series = np.zeros((len(frames), DEPTH, *PLANE), np.float32)
    series[:, :, 1:7, 1:7] = _curve(KI[bed], frames, entering)[:, None, None, None]
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, :3] = affine[:3, :3][:, ::-1]
    affine[2, 3] = 4.0 * offset
    geometry = Geometry((DEPTH, *PLANE), affine, "frame")
    timing = FrameTiming(frames.start, frames.end - frames.start, "injection")
    image = Image(series, unit="Bq/mL", geometry=geometry, decay_reference=INJECTED, frames=timing)
    pet = replace(dynamic_case().pet, id=f"pet-{bed}", data=image)
    return pet, series


def _case(offsets: tuple[int, ...] = (0, 4, 8)) -> tuple[list[Acquisition], Region]:
    pets = [_bed(k, offset)[0] for k, offset in enumerate(offsets)]
    depth = max(offsets) + DEPTH
    labels = np.zeros((depth, *PLANE), np.int32)
    labels[offsets[0] + 1, 2:6, 2:6] = 1
    labels[offsets[1] : offsets[1] + DEPTH, 2:6, 2:6] = 2
    geometry = replace(pets[0].image.geometry, shape=labels.shape)  # type: ignore[type-var]
    return pets, Region("drawn", "labels", {1: "lesion-1", 2: "lesion-2"}, Image(labels, unit="1", geometry=geometry))


def test_each_bed_keeps_its_own_times() -> None:
    """K_i of each bed is exact; with the times of its neighbour it would be off by a tenth and more."""
    pets, region = _case()
    lens = DynamicPetLens()
    match = lens.accepts([*pets, blood_table()])
    assert match.score == 2.0
    assert list(match.roles) == ["pet", "pet_2", "pet_3", "blood"]
    assert set(match.also) == {"pet-1", "pet-2"}
    options = {s.name: dict(s.parameters) for s in lens.recipe(match, {"input": {"delay_s": 0}}).steps}
    assert options["fit"]["models"] == options["maps"]["models"] == ["patlak"]
    result = lens.quantify(match.roles, [region], options)
    for table in ("tacs", "fits", "graphs"):  # each region once, from the bed that holds most of it
        rows = result.tables[table].data
        assert set(rows["region"]) == {"lesion-1", "lesion-2"}
        assert not rows.duplicated(["region", "frame_start_s"]).any()
    assert not [p for p in result.problems if p.severity == "error"]
    ki = result.maps["Ki"]
    assert ki.shape == (12, *PLANE)
    for bed in range(3):
        np.testing.assert_allclose(ki.numpy()[4 * bed : 4 * bed + 4, 3, 3], KI[bed], rtol=1e-4)
    rows = {(m.region, m.quantity): m for m in result.measurements if m.quantity == "k_i"}
    assert rows["lesion-1", "k_i"].value == pytest.approx(KI[0], rel=1e-4)
    assert rows["lesion-2", "k_i"].value == pytest.approx(KI[1], rel=1e-4)
    assert result.maps["suv"].shape == (12, *PLANE)
    shifted = Frames(_frames(1).start + PASS, _frames(1).end + PASS)
    assert abs(_curve(KI[1], shifted, plasma())[-1] / _curve(KI[1], _frames(1), plasma())[-1] - 1) > 0.01


def test_what_a_person_states_holds_for_maps_as_for_regions() -> None:
    """A blood volume of 0.1 makes K_i of the tissue without blood larger by 1 / 0.9; a t* after the scan is said."""
    pets, region = _case()
    lens = DynamicPetLens()
    match = lens.accepts([*pets, blood_table()])

    def measured(**fit: object) -> Result:
        steps = lens.recipe(match, {"input": {"delay_s": 0}, "fit": fit}).steps
        return lens.quantify(match.roles, [region], {s.name: dict(s.parameters) for s in steps})

    result = measured(blood_volume=0.1)
    (row,) = (m for m in result.measurements if m.quantity == "k_i" and m.region == "lesion-2")
    assert row.value == pytest.approx(KI[1] / 0.9, rel=1e-4)
    np.testing.assert_allclose(result.maps["Ki"].numpy()[4:8, 3, 3], row.value, rtol=1e-4)
    none = measured(t_star_min=200.0)
    assert "Ki" not in none.maps
    assert any("Too few frames after t*" in p.message for p in none.problems)
    assert "suv" in none.maps


def test_an_agent_with_reversible_binding_gets_patlak_for_beds() -> None:
    pets, _ = _case()
    lens = DynamicPetLens()
    match = lens.accepts([*(replace(pet, agent="18F-AraG") for pet in pets), blood_table()])
    named = {s.name: s.parameters for s in lens.recipe(match, {}).steps}
    assert named["fit"]["models"] == named["maps"]["models"] == ["patlak"]


def test_overlapping_slices_are_averaged_by_their_variance() -> None:
    grid = Geometry((3, 1, 1), np.eye(4), "f")
    part = Geometry((2, 1, 1), np.eye(4), "f")

    def maps(value: float, error: float) -> dict[str, Image]:
        def volume(v: float) -> Image:
            return Image(np.full((2, 1, 1), v, np.float32), unit="1", geometry=part)

        return {"Ki": volume(value), "Ki_se": volume(error)}

    joined = join_maps([maps(1.0, 1.0), maps(3.0, 2.0)], [slice(0, 2), slice(1, 3)], grid)
    np.testing.assert_allclose(joined["Ki"].numpy()[:, 0, 0], [1.0, (1 + 3 / 4) / 1.25, 3.0])
    np.testing.assert_allclose(joined["Ki_se"].numpy()[:, 0, 0], [1.0, 1.25**-0.5, 2.0], rtol=1e-6)


def test_series_of_one_bed_are_joined_in_time() -> None:
    pet, series = _bed(0, 0)
    image = pet.image
    frames = _frames(0)
    split = 10
    early, late = image.isel(t=slice(0, split)), image.isel(t=slice(split, None))
    beds = group_beds([(late, frames.select(slice(split, None))), (early, frames.select(slice(0, split)))])
    assert len(beds) == 1
    np.testing.assert_array_equal(beds[0].frames.start, frames.start)
    np.testing.assert_array_equal(np.asarray(beds[0].image.array), series)
    np.testing.assert_array_equal(beds[0].image.array[3, 1:3], series[3, 1:3])


def test_slices_with_times_of_their_own_become_beds() -> None:
    geometry = Geometry((5, 2, 2), np.eye(4), "f")
    image = Image(np.arange(60.0).reshape(3, 5, 2, 2), unit="Bq/mL", geometry=geometry)
    start = np.array([[0.0, 0, 0, 50, 50], [100, 100, 100, 150, 150], [200, 200, 200, 250, 250]])
    beds = beds_by_slice_times(image, start, np.full((3, 5), 50.0))
    assert [b.geometry.shape[0] for b in beds] == [3, 2]
    np.testing.assert_array_equal(beds[1].frames.start, [50, 150, 250])
    with pytest.raises(DataError, match="one row per pass"):
        beds_by_slice_times(image, start.T, np.full((5, 3), 50.0))


@pytest.mark.parametrize(("offsets", "match"), [((0, 6, 10), "leave a gap"), ((0, 4.5, 8), "not parts of one grid")])
def test_beds_that_do_not_fit_together(offsets: tuple[float, ...], match: str) -> None:
    beds = []
    for k, offset in enumerate(offsets):
        pet, _ = _bed(k, 0)
        affine = pet.image.geometry.affine.copy()  # type: ignore[union-attr]
        affine[2, 3] = 4.0 * offset
        moved = pet.image.with_info(geometry=replace(pet.image.geometry, affine=affine))  # type: ignore[type-var]
        beds.append(Bed(moved, _frames(k)))
    with pytest.raises(GeometryError, match=match):
        whole_grid(beds)


def test_compartment_models_are_refused_for_beds_seen_late() -> None:
    pets, region = _case()
    lens = DynamicPetLens()
    match = lens.accepts([*pets, blood_table()])
    options = {s.name: dict(s.parameters) for s in lens.recipe(match, {"fit": {"models": ["2tcm"]}}).steps}
    with pytest.raises(Exception, match="take Patlak models alone"):
        lens.quantify(match.roles, [region], options)


def test_a_region_of_two_beds_is_their_mean_by_voxels() -> None:
    one = Measurement(
        "k_i", 0.02, "mL/min/mL", region="liver", uncertainty=0.003, uncertainty_kind="standard_error", n=30
    )
    two = replace(one, value=0.03, uncertainty=0.004, n=10)
    mean = _average([one, two])
    assert (mean.value, mean.n) == (pytest.approx(0.0225), 40)
    assert mean.uncertainty == pytest.approx(np.hypot(0.75 * 0.003, 0.25 * 0.004))
    assert (mean.lower + mean.upper) / 2 == pytest.approx(mean.value)
    unsure = _average([one, replace(two, uncertainty=np.nan, uncertainty_kind="none")])
    assert unsure.uncertainty_kind == "none"
    assert np.isnan([unsure.lower, unsure.upper, unsure.level]).all()
