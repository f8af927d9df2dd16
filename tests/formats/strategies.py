"""Random images and acquisitions for round trips, and what must be the same afterwards."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
from hypothesis import strategies as st

from timelens import units
from timelens.study import Acquisition, Axis, FrameTiming, Geometry, Image
from timelens.study.axes import default_names

UNITS = ["Bq/mL", "kBq/mL", "g/mL", "1", "%{ID}/g", "[hnsf'U]", "{cells}/mm3", "mL/min/mL"]
DTYPES = ["u1", "i2", "u2", "i4", "f4", "f8"]
MOMENT = st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1))


@st.composite
def geometries(draw, shape=None, spaces=("body",), orthogonal=True):
    """Oblique grids of either handedness, voxels of 0.05 to 10 mm, down to a single voxel."""
    shape = shape or draw(st.tuples(*[st.integers(1, 4)] * 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    spacing = 10 ** rng.uniform(np.log10(0.05), 1, 3)
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing
    if not orthogonal and draw(st.booleans()):
        affine[:3, 0] += 0.3 * affine[:3, 1]
    affine[:3, 3] = rng.uniform(-500, 500, 3)
    frame = draw(st.sampled_from([None, "1.2.826.0.1.3680043.8.498.1", "scanner A, 2024"]))
    return Geometry(shape, affine, frame, draw(st.sampled_from(spaces)))


@st.composite
def frame_timings(draw, count):
    """Frames of unequal length, some with gaps."""
    duration = np.array(draw(st.lists(st.floats(0.5, 600), min_size=count, max_size=count)))
    gap = np.array(draw(st.lists(st.sampled_from([0.0, 0.25, 30.0]), min_size=count, max_size=count)))
    start = np.concatenate([[0.0], np.cumsum(duration + gap)[:-1]])
    zero = draw(st.sampled_from(["injection", "first frame"]))
    return FrameTiming(start + (draw(st.floats(0, 4000)) if zero == "injection" else 0.0), duration, zero)


@st.composite
def images(draw, dtypes=DTYPES, axes=("zyx", "tzyx", "czyx", "tczyx"), orthogonal=False, unit=None, spaces=("body",)):
    """Images of all kinds that a format can hold."""
    names = draw(st.sampled_from(axes))
    leading = draw(st.lists(st.integers(1, 3), min_size=len(names) - 3, max_size=len(names) - 3))
    geometry = draw(geometries(orthogonal=orthogonal, spaces=spaces))
    shape = (*leading, *geometry.shape)
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    if dtype.kind in "iu":
        data = rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    else:
        data = (rng.normal(size=shape) * 10 ** rng.uniform(-6, 6)).astype(dtype)
        if dtype.kind == "c":
            data = (data + 1j * rng.normal(size=shape)).astype(dtype)
    made = {a.name: a for a in default_names(5)}
    if "c" in names:
        made["c"] = Axis("c", "channel", "1", tuple(f"CD{i}" for i in range(shape[names.index("c")])))
    frames = draw(st.one_of(st.none(), frame_timings(shape[0]))) if names[0] == "t" else None
    unit = unit or draw(st.sampled_from(UNITS))
    reference = draw(st.one_of(st.none(), MOMENT)) if units.parse(unit).same_kind("Bq/mL") else None
    return Image(
        data, unit=unit, axes=[made[n] for n in names], geometry=geometry, frames=frames, decay_reference=reference
    )


@st.composite
def acquisitions(draw, **options):
    """Acquisitions with any part of what quantification needs."""
    image = draw(images(**options))
    moment = draw(MOMENT)

    def maybe(strategy):
        return draw(st.one_of(st.none(), strategy))

    return Acquisition(
        "a",
        draw(st.sampled_from(["pet", "ct", "nm"])),
        image,
        agent=maybe(st.just("FDG")),
        radionuclide=maybe(st.just("F18")),
        half_life_s=maybe(st.just(6586.2)),
        administered_activity_bq=maybe(st.floats(1e3, 1e9)),
        administered_time=maybe(st.just(moment)),
        acquisition_time=maybe(st.just(moment + timedelta(seconds=draw(st.integers(0, 90_000)), microseconds=250_000))),
        series_time=maybe(st.just(moment + timedelta(hours=3))),
        assay_time=maybe(st.just(moment - timedelta(minutes=7))),
        weight_g=maybe(st.floats(15, 150_000)),
        height_mm=maybe(st.floats(500, 2100)),
        sex=maybe(st.sampled_from(["M", "F"])),
        glucose_mmol_per_l=maybe(st.floats(2, 20)),
        description=draw(st.sampled_from(["", "WB µPET"])),
    )


def assert_same_geometry(read, written, tolerance=1e-4, *, frame=True):
    """No corner further off than a part of the smallest voxel edge."""
    assert read.shape == written.shape
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in written.shape], indexing="ij")).reshape(3, -1).T
    apart = np.linalg.norm(read.to_mm(corners) - written.to_mm(corners), axis=1).max()
    assert apart <= tolerance * min(written.spacing)
    np.testing.assert_allclose(read.spacing, written.spacing, rtol=tolerance)
    assert read.space == written.space
    if frame:
        assert read.frame == written.frame


def assert_same_image(read, written):
    """Values, axes, unit, geometry, timing and decay reference."""
    assert read.shape == written.shape
    assert read.dtype == written.dtype
    np.testing.assert_array_equal(read.numpy(), written.numpy())
    assert read.unit == written.unit
    assert read.quantity == written.quantity
    for a, b in zip(read.axes, written.axes, strict=True):
        assert (a.name, a.kind, a.unit) == (b.name, b.kind, b.unit)
        assert (a.coordinates is None) == (b.coordinates is None)
        assert a.coordinates is None or list(a.coordinates) == list(b.coordinates)
    if written.geometry is not None:
        assert_same_geometry(read.geometry, written.geometry)
    assert (read.frames is None) == (written.frames is None)
    if written.frames is not None:
        assert read.frames.close_to(written.frames, 1e-5)
    assert_same_moment(read.decay_reference, written.decay_reference)


def assert_same_moment(read, written):
    assert (read is None) == (written is None), f"{read}, {written}"
    assert read is None or abs((read - written).total_seconds()) < 2e-6


MOMENTS = ["administered_time", "acquisition_time", "series_time", "assay_time", "residual_time"]
NUMBERS = [
    "half_life_s", "administered_activity_bq", "residual_activity_bq", "weight_g", "height_mm", "age_years",
    "glucose_mmol_per_l", "cross_calibration",
]  # fmt: skip
TEXTS = ["modality", "agent", "radionuclide", "sex", "species", "description"]


def assert_same_acquisition(read, written):
    """Everything that quantification needs."""
    assert_same_image(read.image, written.image)
    for name in MOMENTS:
        assert_same_moment(getattr(read, name), getattr(written, name))
    for name in NUMBERS:
        a, b = getattr(read, name), getattr(written, name)
        assert (a is None) == (b is None), name
        assert a is None or np.isclose(a, b, rtol=1e-12, atol=0)
    for name in TEXTS:
        assert getattr(read, name) == getattr(written, name), name
