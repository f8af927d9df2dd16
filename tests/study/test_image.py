"""Images: nothing is read before it is needed, and no operation loses place, unit, timing or decay reference."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import dask.array as da
import numpy as np
import pytest
import SimpleITK as sitk

from timelens.errors import DataError, GeometryError, TimelensError, UnitError, UsageError
from timelens.study.axes import Axis, default_names
from timelens.study.geometry import Geometry, Registration
from timelens.study.image import Image
from timelens.study.timing import FrameTiming

GRID = Geometry.from_spacing((4, 5, 6), (3, 2, 1), origin=(10, 20, 30), frame="1.2.3")
NOON, ONE = datetime(2024, 5, 1, 12), datetime(2024, 5, 1, 13)
FRAMES = FrameTiming([0, 60, 120], [60, 60, 60], "injection")


def volume(values: Any = None, *, unit: str = "Bq/mL", **facts: Any) -> Image:
    """A volume of float32 on GRID."""
    data = np.arange(120, dtype=np.float32).reshape(4, 5, 6) if values is None else values
    return Image(data, unit=unit, **{"geometry": GRID, **facts})


def series(**facts: Any) -> Image:
    """Three frames on GRID."""
    data = np.arange(360, dtype=np.float32).reshape(3, 4, 5, 6)
    return Image(data, **{"unit": "Bq/mL", "geometry": GRID, "frames": FRAMES, **facts})


@pytest.fixture(params=["numpy", "dask", "loader", "dask loader"])
def source(request: pytest.FixtureRequest) -> Image:
    """The same series from every kind of source."""
    data = np.arange(360, dtype=np.float32).reshape(3, 4, 5, 6)
    lazy = da.from_array(data, chunks=(1, 4, 5, 6))
    facts: dict[str, Any] = {"unit": "Bq/mL", "geometry": GRID, "frames": FRAMES, "decay_reference": NOON}
    if request.param in ("numpy", "dask"):
        return Image(data if request.param == "numpy" else lazy, **facts)
    result = data if request.param == "loader" else lazy
    return Image(lambda: result, shape=data.shape, dtype=data.dtype, **facts)


# -- laziness ----------------------------------------------------------------------------------------------------------


def test_nothing_is_read_before_it_is_needed():
    calls = []

    def load() -> np.ndarray:
        calls.append(1)
        return np.ones((3, 4, 5, 6), np.float32)

    image = Image(
        load, shape=(3, 4, 5, 6), dtype=np.float32, unit="Bq/mL", geometry=GRID, frames=FRAMES, decay_reference=NOON
    )
    derived = [
        image.isel(t=0),
        image.isel(t=slice(0, 2), z=slice(1, 3)),
        image.frame(1),
        image.to_unit("kBq/mL"),
        image.scaled(0.5, "g/Bq", unit="g/mL"),
        image.with_info(name="pet"),
        image.resample_to(GRID.with_spacing((1, 1, 1))),
        image + image,
        image / image,
        2 * image,
    ]
    for one in (image, *derived):
        assert (one.shape, one.dtype, one.unit, one.geometry, repr(one), one.loaded) != ()
        assert not one.loaded
    assert calls == []
    assert derived[1].shape == (2, 2, 5, 6)
    for one in derived:
        assert one.numpy().shape == one.shape
        assert one.numpy().dtype == one.dtype
    assert calls == [1]


def test_a_dask_array_stays_one():
    data = da.ones((3, 4, 5, 6), chunks=(1, 4, 5, 6), dtype=np.float32)
    image = Image(data, unit="Bq/mL", geometry=GRID, frames=FRAMES)
    made = (image.to_unit("kBq/mL") + image.to_unit("kBq/mL")).isel(t=0, z=slice(0, 2))
    assert isinstance(made.array, da.Array)
    np.testing.assert_array_equal(made.numpy(), np.full((2, 5, 6), 2e-3, np.float32))


def test_a_loader_must_keep_its_word():
    grid = Geometry.from_spacing((1, 2, 2), (1, 1, 1))
    with pytest.raises(UsageError, match=r"needs the shape and dtype"):
        Image(lambda: np.ones((1, 2, 2)), unit="1", geometry=grid)
    image = Image(lambda: np.ones((2, 2, 2)), shape=(1, 2, 2), dtype=float, unit="1", geometry=grid, name="a.nii")
    with pytest.raises(DataError, match=r"another shape than its header says. File: a.nii.*\(2, 2, 2\).*\(1, 2, 2\)"):
        image.numpy()
    image = Image(lambda: np.ones((1, 2, 2)) * 1j, shape=(1, 2, 2), dtype=np.float32, unit="1", geometry=grid)
    with pytest.raises(DataError, match=r"another type than its header says.*Found: complex128. Expected: float32"):
        image.numpy()
    image = Image(lambda: np.ones((1, 2, 2), ">f4"), shape=(1, 2, 2), dtype=np.float32, unit="1", geometry=grid)
    assert image.numpy().dtype == np.float32


# -- what an image must have -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"unit": ""}, UnitError, r"A unit is missing"),
        ({"unit": "SUV"}, UnitError, r"Unknown unit 'SUV'.*write 'g/mL'"),
        ({"geometry": None}, GeometryError, r"axes z, y, x needs a geometry"),
        ({"geometry": GRID.with_spacing((1, 1, 1))}, GeometryError, r"Array and geometry differ in size.*\(4, 5, 6\)"),
        ({"frames": FRAMES}, DataError, r"timing does not fit axis t. .*3 frames"),
        ({"axes": default_names(4)}, DataError, r"3 dimensions need as many different axes"),
        ({"quantity": "suv"}, UnitError, r"Cannot give the quantity suv the unit Bq/mL and g/mL"),
        ({"quantity": "sphericity"}, UnitError, r"Cannot give the quantity sphericity the unit"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], kind: type[TimelensError], message: str):
    with pytest.raises(kind, match=message):
        volume(**{"unit": "Bq/mL", **changes})


def test_other_bad_arguments_are_refused():
    with pytest.raises(UsageError, match=r"An image needs an array. Found: list"):
        Image([1, 2], unit="1")
    with pytest.raises(UsageError, match=r"1 dimensions has no usual axes.*name the axes"):
        Image(np.ones(3), unit="1")
    with pytest.raises(UsageError, match=r"Unknown kind of axis 'colour'"):
        Axis("c", "colour")
    with pytest.raises(DataError, match=r"Axis 'c' has 2 coordinates for 3 positions"):
        Image(np.ones((3, 2)), unit="1", axes=(Axis("c", "channel", coordinates=("a", "b")), Axis("s", "sample")))
    with pytest.raises(GeometryError, match=r"A geometry belongs to the last axes z, y, x"):
        Image(np.ones((6, 5, 4)), unit="1", axes=default_names(3)[::-1], geometry=GRID)


def test_raw_data_needs_no_geometry():
    axes = (Axis("view", "view", "deg", np.arange(4.0)), Axis("detector", "detector"))
    raw = Image(np.ones((4, 8)), unit="{counts}", axes=axes)
    assert raw.geometry is None
    np.testing.assert_array_equal(raw.isel(view=slice(1, 3)).axes[0].coordinates, [1.0, 2.0])
    with pytest.raises(GeometryError, match=r"Raw data without a geometry cannot be resampled"):
        raw.resample_to(GRID)


# -- parts -------------------------------------------------------------------------------------------------------------


def test_a_part_keeps_its_place_and_time(source: Image):
    part = source.isel(t=slice(1, 3), z=slice(1, 3), y=slice(None, None, 2), x=slice(2, None))
    assert part.shape == (2, 2, 3, 4)
    np.testing.assert_array_equal(part.numpy(), source.numpy()[1:3, 1:3, ::2, 2:])
    np.testing.assert_allclose(part.geometry.to_mm([0, 1, 0]), GRID.to_mm([1, 2, 2]))
    np.testing.assert_array_equal(part.frames.start, [60, 120])
    assert (part.unit, part.decay_reference, part.geometry.frame) == ("Bq/mL", NOON, "1.2.3")


def test_one_frame_is_a_volume(source: Image):
    frame = source.frame(-1)
    assert [a.name for a in frame.axes] == ["z", "y", "x"]
    assert frame.frames is None
    np.testing.assert_array_equal(frame.numpy(), source.numpy()[2])
    assert frame.frame(0) is frame
    with pytest.raises(UsageError, match=r"no axis 't'"):
        frame.frame(1)


def test_parts_that_would_lose_the_place_are_refused():
    with pytest.raises(UsageError, match=r"would lose the geometry.*z=slice\(1, 1 \+ 1\)"):
        volume().isel(z=1)
    with pytest.raises(UsageError, match=r"no axis 'q'"):
        volume().isel(q=0)
    with pytest.raises(UsageError, match=r"no position 3.*0 to 2"):
        series().isel(t=3)
    with pytest.raises(UsageError, match=r"The cut leaves nothing"):
        series().isel(t=slice(2, 2))
    with pytest.raises(UsageError, match=r"cut by a number or a slice. Found: list"):
        series().isel(t=[0, 2])
    with pytest.raises(DataError, match=r"does not start after"):
        series().isel(t=slice(None, None, -1))


def test_channels_keep_their_names():
    axes = (Axis("c", "channel", coordinates=("CD8", "CD4", "FOXP3")), *default_names(3))
    image = Image(np.zeros((3, 4, 5, 6)), unit="1", axes=axes, geometry=GRID)
    assert image.isel(c=slice(1, 3)).axes[0].coordinates == ("CD4", "FOXP3")


# -- units -------------------------------------------------------------------------------------------------------------


def test_converting_changes_values_and_unit_only(source: Image):
    found = source.to_unit("kBq/mL")
    np.testing.assert_allclose(found.numpy(), source.numpy() / 1000, rtol=1e-6)
    assert (found.unit, found.dtype, found.decay_reference) == ("kBq/mL", np.float32, NOON)
    assert found.geometry is GRID
    assert found.frames is source.frames
    assert source.to_unit("Bq/mL") is source
    with pytest.raises(UnitError, match=r"Cannot convert between Bq/mL and g/mL"):
        source.to_unit("g/mL")


@pytest.mark.parametrize(
    ("dtype", "expected"), [("u1", "f4"), ("i2", "f4"), ("i4", "f8"), ("f2", "f4"), ("f8", "f8"), ("c8", "c8")]
)
def test_the_type_that_is_announced_is_the_type_that_comes(dtype: str, expected: str):
    image = volume(np.full((4, 5, 6), 100, dtype))
    made = [
        image.to_unit("kBq/mL"),
        image.scaled(2, "1"),
        image + image,
        image * image,
        image / image,
        image.resample_to(GRID.with_spacing((1, 1, 1))),
    ]
    for one in made:
        assert one.dtype == np.dtype(expected)
        assert one.numpy().dtype == np.dtype(expected)


def test_long_integers_are_not_rounded():
    image = volume(np.full((4, 5, 6), 2**24 + 1, np.int32), unit="1")
    assert image.scaled(1.0, "1").numpy()[0, 0, 0] == 2**24 + 1


def test_scaling_by_a_constant_with_a_unit():
    suv = volume(decay_reference=NOON).scaled(70_000 / 3.7e8, "g/Bq", unit="g/mL", quantity="suv", decay_reference=None)
    np.testing.assert_allclose(suv.numpy(), volume().numpy() * 70_000 / 3.7e8, rtol=1e-6)
    assert (suv.unit, suv.quantity, suv.decay_reference) == ("g/mL", "suv", None)
    assert volume().scaled(2, "g/Bq").unit == "g/mL"
    assert volume(decay_reference=NOON).scaled(2, "1").decay_reference == NOON
    with pytest.raises(UnitError, match=r"Cannot convert between g/mL and m"):
        volume().scaled(1, "g/Bq", unit="m")
    with pytest.raises(DataError, match=r"A factor is not finite"):
        volume().scaled(np.nan, "1")


def test_scaling_frame_by_frame():
    found = series().scaled([1, 2, 3], "1")
    np.testing.assert_array_equal(found.numpy(), series().numpy() * np.array([1, 2, 3]).reshape(3, 1, 1, 1))
    assert found.frames is FRAMES
    with pytest.raises(DataError, match=r"One factor per position of the first axis.*Found: 2. Expected: 3"):
        series().scaled([1, 2], "1")
    with pytest.raises(DataError, match=r"one number, or one per position"):
        series().scaled(np.ones((3, 4)), "1")


def test_stating_what_was_not_known():
    stated = volume(geometry=GRID.with_frame(None)).with_info(
        geometry=GRID, decay_reference=NOON, quantity="suv", unit="g/mL"
    )
    np.testing.assert_array_equal(stated.numpy(), volume().numpy())
    assert (stated.geometry.frame, stated.unit, stated.quantity) == ("1.2.3", "g/mL", "suv")
    with pytest.raises(UsageError, match=r"Only what describes the pixels.*Found: \['axes'\]"):
        stated.with_info(axes=())


# -- arithmetic --------------------------------------------------------------------------------------------------------


def test_adding_converts_units(source: Image):
    total = source + source.to_unit("kBq/mL")
    np.testing.assert_allclose(total.numpy(), 2 * source.numpy(), rtol=1e-6)
    assert (total.unit, total.decay_reference, total.geometry) == ("Bq/mL", NOON, GRID)
    np.testing.assert_allclose((source - source).numpy(), 0)


@pytest.mark.parametrize(("left", "right"), [("Bq/mL", "g/mL"), ("Bq/mL", "1/s/mL"), ("mL/min/mL", "1/min")])
def test_different_things_are_not_added(left: str, right: str):
    for operation, verb in ((Image.__add__, "add"), (Image.__sub__, "subtract")):
        with pytest.raises(UnitError, match=rf"Cannot {verb} {left} and {right}: they measure different things"):
            operation(volume(unit=left), volume(unit=right))


def test_a_transfer_constant_is_not_a_rate_constant():
    k_trans, k_ep = volume(unit="1/min", quantity="k_trans"), volume(unit="1/min", quantity="k_ep")
    with pytest.raises(UnitError, match=r"Cannot add a transfer constant and a rate constant"):
        k_trans + k_ep
    assert (k_ep + k_ep).quantity == "k_ep"
    assert (k_ep + volume(unit="1/min")).quantity is None


def test_decay_references_must_agree():
    early, late, raw = (volume(decay_reference=r) for r in (NOON, ONE, None))
    with pytest.raises(UnitError, match=r"Cannot add images decay-corrected to different times.*12:00:00 and .*13:00"):
        early + late
    with pytest.raises(UnitError, match=r"Cannot subtract images.*not corrected and 2024"):
        raw - early
    with pytest.raises(UnitError, match=r"Cannot divide images decay-corrected to different times"):
        early / late
    with pytest.raises(UnitError, match=r"Cannot divide"):
        early / raw
    assert (early / early).decay_reference is None
    mask = volume(np.ones((4, 5, 6), np.uint8), unit="1")
    assert (early * mask).decay_reference == NOON
    assert (mask * early).decay_reference == NOON


def test_products_have_the_product_of_the_units():
    suv, voxel = volume(unit="g/mL"), volume(unit="mL")
    assert (suv * voxel).unit == "g"
    assert (suv / suv).unit == "1"
    k1, k2 = volume(unit="mL/min/mL"), volume(unit="1/min")
    assert (k1 / k2).unit == "mL/mL"
    with np.errstate(all="raise"):
        ratio = (suv / suv).numpy()
    assert np.isnan(ratio[0, 0, 0])  # 0 / 0
    assert (ratio.ravel()[1:] == 1).all()


def test_numbers_scale_and_keep_the_quantity():
    image = volume(unit="g/mL", quantity="suv")
    for found in (image * 2, 2 * image, np.float64(2) * image, image / 0.5):
        np.testing.assert_array_equal(found.numpy(), image.numpy() * 2)
        assert (found.unit, found.quantity, found.dtype) == ("g/mL", "suv", np.float32)
    with pytest.raises(UsageError, match=r"cannot be divided by 0"):
        image / 0


def test_bare_numbers_and_arrays_are_not_added():
    for other in (1.0, np.ones((4, 5, 6)), "1"):
        with pytest.raises(TypeError, match=r"operand|concatenate"):
            volume() + other
        with pytest.raises(TypeError, match=r"operand|concatenate"):
            other + volume()
    with pytest.raises(TypeError, match=r"operand"):
        np.ones((4, 5, 6)) * volume()


def test_images_of_other_places_are_not_combined():
    moved = volume(geometry=Geometry.from_spacing((4, 5, 6), (3, 2, 1), frame="1.2.3"))
    with pytest.raises(GeometryError, match=r"The two grids differ.*resample_to"):
        volume() + moved
    for frame in ("9.9", None):
        with pytest.raises(GeometryError, match=r"not known to lie in one frame"):
            volume() * volume(geometry=GRID.with_frame(frame))
    unknown = volume(geometry=GRID.with_frame(None))
    with pytest.raises(GeometryError, match=r"unknown and unknown"):
        unknown + unknown
    with pytest.raises(GeometryError, match=r"The images differ in shape"):
        volume() + volume().isel(z=slice(0, 2))


def test_timings_and_channels_must_agree():
    shifted = FrameTiming([1, 61, 121], [60, 60, 60], "injection")
    with pytest.raises(DataError, match=r"The frame timings of the two images differ"):
        series() + series(frames=shifted)
    assert (series(frames=None) + series()).frames is FRAMES
    assert (series(frames=None) * series()).frames is FRAMES

    def channels(*names: str) -> Image:
        axes = (Axis("c", "channel", coordinates=names), *default_names(3))
        return Image(np.ones((2, 4, 5, 6)), unit="1", axes=axes, geometry=GRID)

    assert (channels("CD8", "CD4") + channels("CD8", "CD4")).axes[0].coordinates == ("CD8", "CD4")
    with pytest.raises(DataError, match=r"other positions along axis 'c'.*Found: \('CD4', 'CD8'\)"):
        channels("CD8", "CD4") + channels("CD4", "CD8")


def test_wavelengths_are_compared_as_numbers():
    mine = Axis("w", "wavelength", "nm", np.array([700.0, 800.0]))
    assert mine.agrees_with(Axis("w", "wavelength", "nm", np.array([700.0, 800.0 + 1e-6])))
    assert mine.agrees_with(Axis("w", "wavelength", "nm"))
    assert not mine.agrees_with(Axis("w", "wavelength", "nm", np.array([700.0, 810.0])))
    assert not mine.agrees_with(Axis("w", "wavelength", "um", np.array([700.0, 800.0])))
    assert not mine.agrees_with(Axis("w", "energy", "nm", np.array([700.0, 800.0])))


# -- resampling --------------------------------------------------------------------------------------------------------


def ramp(grid: Geometry) -> np.ndarray:
    """A linear function of millimetres, which trilinear interpolation gives back exactly."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    return grid.to_mm(index) @ [1.0, -2.0, 0.5] + 100.0


def turned(frame: str = "1.2.3") -> Geometry:
    """A grid that lies obliquely within GRID."""
    angle = 0.3
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, np.sin(angle), np.cos(angle)], [0, np.cos(angle), -np.sin(angle)], [1, 0, 0]]) * 0.5
    affine[:3, 3] = GRID.to_mm([0.5, 2.0, 1.5])
    return Geometry((8, 4, 4), affine, frame)


@pytest.mark.parametrize("order", [1, 3])
def test_a_linear_ramp_is_resampled_exactly(order: int):
    big = Geometry.from_spacing((14, 15, 16), (3, 2, 1), origin=(5, 10, 15), frame="1.2.3")
    image = Image(ramp(big), unit="Bq/mL", geometry=big, decay_reference=NOON)
    found = image.resample_to(turned(), order=order)
    # The spline's mirrored ends bend a ramp a little, less so further inside.
    np.testing.assert_allclose(found.numpy(), ramp(turned()), atol=1e-9 if order == 1 else 0.05)
    assert (found.unit, found.decay_reference, found.shape) == ("Bq/mL", NOON, (8, 4, 4))
    assert found.geometry is not None
    found.geometry.require_same_grid(turned())


def itk(image: Image) -> sitk.Image:
    """The same image in SimpleITK."""
    lps = image.geometry.to_lps()
    made = sitk.GetImageFromArray(image.numpy())
    made.SetOrigin(lps[:3, 3])
    made.SetSpacing(image.geometry.spacing[::-1])
    made.SetDirection((lps[:3, :3] / image.geometry.spacing[::-1]).ravel())
    return made


# Positions halfway between two voxels have no nearest one, so these grids avoid them.
FINER = Geometry.from_spacing((9, 9, 9), (1.71, 1.13, 0.83), origin=(10.07, 19.66, 29.23), frame="1.2.3")
COARSER = Geometry.from_spacing((3, 3, 3), (4.31, 4.77, 2.93), origin=(9.59, 21.31, 28.87), frame="1.2.3")


@pytest.mark.parametrize("target", [turned(), FINER, COARSER])
@pytest.mark.parametrize(("order", "peer"), [(0, sitk.sitkNearestNeighbor), (1, sitk.sitkLinear)])
def test_resampling_agrees_with_simpleitk(rng: np.random.Generator, target: Geometry, order: int, peer: int):
    image = volume(rng.normal(size=(4, 5, 6)))
    reference = itk(Image(np.zeros(target.shape), unit="1", geometry=target))
    expected = sitk.GetArrayFromImage(sitk.Resample(itk(image), reference, sitk.Transform(), peer, -99.0))
    found = image.resample_to(target, order=order, fill=-99.0).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_labels_reach_to_the_edge_of_the_box():
    labels = volume(np.ones((4, 5, 6), np.uint8), unit="1")
    finer = labels.resample_to(GRID.with_spacing((0.5, 0.5, 0.5)), order=0)
    assert finer.dtype == np.uint8
    assert finer.numpy().all()


def test_outside_of_the_image_is_not_known():
    wide = Geometry.from_spacing((6, 5, 6), (3, 2, 1), origin=(10, 20, 27), frame="1.2.3")
    found = volume().resample_to(wide).numpy()
    assert np.isnan(found[[0, 5]]).all()
    np.testing.assert_array_equal(found[1:5], volume().numpy())
    labels = volume(np.ones((4, 5, 6), np.uint8), unit="1").resample_to(wide, order=0).numpy()
    assert (labels[[0, 5]] == 0).all()
    assert (labels[1:5] == 1).all()


def test_the_same_grid_changes_no_value():
    image = volume(np.full((4, 5, 6), np.nan, np.float32))
    found = image.resample_to(Geometry(GRID.shape, GRID.affine, GRID.frame), order=3)
    assert np.isnan(found.numpy()).all()


def test_every_frame_is_resampled():
    found = series().resample_to(GRID.with_spacing((3, 2, 2)))
    assert found.shape == (3, 4, 5, 3)
    assert found.frames is FRAMES
    np.testing.assert_allclose(found.numpy()[2], series().frame(2).resample_to(GRID.with_spacing((3, 2, 2))).numpy())


def test_splines_do_not_spread_what_is_not_known():
    values = np.ones((4, 5, 6))
    values[1, 1, 1] = np.nan
    with pytest.raises(DataError, match=r"cannot be resampled by a spline. Found: 1 such values. .*use order 1"):
        volume(values).resample_to(GRID.with_spacing((1, 1, 1)), order=3).numpy()


def test_another_frame_needs_a_named_registration():
    shift = np.eye(4)
    shift[:3, 3] = [1.0, 2.0, 3.0]  # pet (1.2.3) to ct
    target = Geometry.from_spacing((4, 5, 6), (3, 2, 1), origin=(11, 22, 33), frame="ct")
    with pytest.raises(GeometryError, match=r"not known to lie in one frame"):
        volume().resample_to(target)
    joined = Registration("rigid, by hand", "1.2.3", "ct", shift)
    found = volume().resample_to(target, registration=joined)
    np.testing.assert_allclose(found.numpy(), volume().numpy(), atol=1e-5)
    assert found.geometry.frame == "ct"
    with pytest.raises(GeometryError, match=r"not known to lie in one frame"):
        volume().resample_to(target, registration=Registration("other way", "ct", "1.2.3", shift))


def test_complex_images_are_resampled():
    values = np.arange(120).reshape(4, 5, 6) * (1 + 2j)
    found = volume(values).resample_to(GRID.with_spacing((3, 2, 0.5)))
    assert found.dtype == np.complex128
    np.testing.assert_allclose(found.numpy().imag, 2 * found.numpy().real)


def test_it_says_what_it_is():
    assert repr(volume(name="pet")) == "<Image pet z 4 x y 5 x x 6 [Bq/mL] float32>"
