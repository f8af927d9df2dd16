"""What is written is read again: geometry, values, units, timing, decay reference, frame, and all that SUV needs."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.formats.dicom.make import patient
from tests.formats.strategies import assert_same_geometry, geometries

from timelens.errors import DataError, GeometryError, MissingFieldError, UnitError, UsageError
from timelens.formats.dicom import read_series, write_series
from timelens.study import Axis, FrameTiming, Geometry, Image

KEPT = (
    "weight_g", "height_mm", "sex", "age_years", "agent", "radionuclide", "half_life_s", "description",
    "administered_activity_bq", "administered_time", "acquisition_time", "glucose_mmol_per_l",
)  # fmt: skip
ZERO = datetime(2024, 1, 2, 10)


@st.composite
def pet_scans(draw):
    """Static and dynamic PET on any grid that leans along the stack only."""
    geometry = draw(geometries(orthogonal=False))
    count = draw(st.integers(0, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (*([count] if count else []), *geometry.shape)
    values = rng.normal(size=shape) * 10 ** rng.uniform(-6, 6, (*shape[:-2], 1, 1))
    delay = draw(st.sampled_from([0.0, 3600.25, 86400.0]))
    frames = None
    if count:
        duration = np.array(draw(st.lists(st.floats(0.5, 600), min_size=count, max_size=count)))
        start = delay + np.concatenate([[0.0], np.cumsum(duration + 0.5)[:-1]])
        zero = draw(st.sampled_from(["injection", "first frame"]))
        frames = FrameTiming(start if zero == "injection" else start - start[0], duration, zero)
    unit = draw(st.sampled_from(["Bq/mL", "g/mL", "{counts}", "cm2/mL", "%"]))
    first = ZERO + timedelta(seconds=delay)
    activity = unit in ("Bq/mL", "{counts}")
    reference = draw(st.sampled_from([None, ZERO, first])) if activity else None
    image = Image(values.astype(np.float32), unit=unit, geometry=geometry, frames=frames, decay_reference=reference)
    full = patient()
    optional = {name: getattr(full, name) for name in ("weight_g", "height_mm", "sex", "agent", "radionuclide")}
    kept = {name: draw(st.sampled_from([None, v])) for name, v in optional.items()}
    return replace(
        full,
        data=image,
        acquisition_time=first,
        series_time=first,
        glucose_mmol_per_l=draw(st.sampled_from([None, 5.25])),
        **kept,
    )


@settings(max_examples=40)
@given(pet_scans(), st.randoms(use_true_random=False))
def test_pet_round_trip(scan, random):
    with tempfile.TemporaryDirectory() as folder:
        files = write_series(scan, folder)
        random.shuffle(files)
        back = read_series(files, subject="sub-001", session="ses-01")
        values, written = back.image.numpy(), scan.image.numpy()
    # Each slice has its own scale: half a step of 16 bits, and float32.
    step = np.abs(written).max(axis=(-1, -2), keepdims=True) / 32767
    assert (np.abs(values - written) <= step * 0.5001 + 1e-7 * np.abs(written)).all()
    frame = scan.image.geometry.frame
    assert_same_geometry(back.image.geometry, scan.image.geometry, frame=frame is not None)
    assert back.image.unit == scan.image.unit
    assert back.image.decay_reference == scan.image.decay_reference
    assert [a.name for a in back.image.axes] == [a.name for a in scan.image.axes]
    if scan.image.frames is not None:
        assert back.image.frames.close_to(scan.image.frames)
    for name in KEPT:
        assert getattr(back, name) == getattr(scan, name), name


def test_one_dynamic_frame_comes_back_as_one_volume_on_a_time_axis(tmp_path):
    scan = patient()
    image = Image(
        scan.image.numpy()[None],
        unit="Bq/mL",
        geometry=scan.image.geometry,
        frames=FrameTiming([3600.0], [60.0], "injection"),
    )
    write_series(replace(scan, data=image), tmp_path)
    back = read_series(tmp_path)
    assert back.image.shape == (1, 5, 6, 7)
    assert back.image.frames.close_to(image.frames)


@pytest.mark.parametrize(("modality", "tolerance"), [("ct", 0.0), ("mr", 0.06)])
def test_ct_and_mr_round_trip(tmp_path, modality, tolerance):
    scan = patient(modality, unit="1")
    write_series(scan, tmp_path)
    back = read_series(tmp_path)
    assert np.abs(back.image.numpy() - scan.image.numpy()).max() <= tolerance * 10
    assert back.image.unit == scan.image.unit
    assert back.modality == modality
    assert_same_geometry(back.image.geometry, scan.image.geometry)


def test_an_mr_map_keeps_its_unit_and_its_axis_of_echoes(tmp_path):
    scan = patient("mr", unit="ms")
    data = np.stack([scan.image.numpy() * k for k in (1, 2, 3)])
    echoes = Axis("echo", "echo", "s", np.array([0.01, 0.02, 0.035]))
    axes = (echoes, *(Axis(n, "space", "mm") for n in "zyx"))
    image = Image(data, unit="ms", geometry=scan.image.geometry, axes=axes)
    write_series(replace(scan, data=image), tmp_path)
    back = read_series(tmp_path).image
    assert back.unit == "ms"
    assert back.axes[0].name == "echo"
    np.testing.assert_allclose(back.axes[0].coordinates, echoes.coordinates, rtol=1e-12)
    assert np.abs(back.numpy() - data).max() <= np.abs(data).max() / 32767


def test_the_same_acquisition_gives_the_same_bytes_and_another_one_other_uids(tmp_path):
    first = write_series(patient(), tmp_path / "a")
    again = write_series(patient(), tmp_path / "b")
    other = write_series(patient(seed=2), tmp_path / "c")
    assert [f.read_bytes() for f in first] == [f.read_bytes() for f in again]
    uids = {pydicom.dcmread(f).SOPInstanceUID for f in (*first, *other)}
    assert len(uids) == len(first) + len(other)
    assert len({pydicom.dcmread(f).StudyInstanceUID for f in (*first, *other)}) == 1


def test_the_residue_is_taken_off_the_dose_that_other_programs_read(tmp_path):
    zero = patient().administered_time
    scan = patient(
        residual_activity_bq=1e7,
        residual_time=zero + timedelta(seconds=6586.2),
        assay_time=zero - timedelta(seconds=6586.2),
    )
    file = write_series(scan, tmp_path)[0]
    written = pydicom.dcmread(file).RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose
    assert float(written) == pytest.approx(3.7e8 / 2 - 2e7, rel=1e-12)
    back = read_series(tmp_path)
    assert back.administered_activity_bq == 3.7e8
    assert (back.residual_activity_bq, back.residual_time, back.assay_time) == (
        1e7,
        scan.residual_time,
        scan.assay_time,
    )


def test_files_hold_an_alias_unless_an_identity_is_given(tmp_path):
    plain = pydicom.dcmread(write_series(patient(), tmp_path / "a")[0])
    named = pydicom.dcmread(write_series(patient(), tmp_path / "b", identity={"PatientName": "Doe^Jane"})[0])
    assert (str(plain.PatientName), plain.PatientID, plain.PatientBirthDate) == ("sub-001", "sub-001", "")
    assert str(named.PatientName) == "Doe^Jane"
    with pytest.raises(UsageError, match="Not an attribute of patient or study"):
        write_series(patient(), tmp_path / "c", identity={"SeriesInstanceUID": "1.2"})


def test_what_dicom_cannot_say_is_refused(tmp_path):
    scan = patient()
    image, geometry = scan.image, scan.image.geometry
    values = image.numpy().copy()
    values[0, 0, 0] = np.nan
    with pytest.raises(DataError, match=r"not finite.*1 voxels"):
        write_series(replace(scan, data=Image(values, unit="Bq/mL", geometry=geometry)), tmp_path)
    with pytest.raises(UnitError, match="no word for this unit"):
        write_series(replace(scan, data=image.with_info(unit="K", decay_reference=None)), tmp_path)
    late = image.with_info(decay_reference=datetime(2024, 1, 2, 12))
    with pytest.raises(DataError, match="not after the start of the scan"):
        write_series(replace(scan, data=late), tmp_path)
    with pytest.raises(MissingFieldError, match="needs the acquisition time"):
        write_series(replace(scan, acquisition_time=None), tmp_path)
    with pytest.raises(UsageError, match="no classic DICOM series"):
        write_series(replace(scan, modality="ultrasound"), tmp_path)
    with pytest.raises(DataError, match="Negative values"):
        write_series(
            replace(scan, data=Image(-image.numpy(), unit="Bq/mL", geometry=geometry)), tmp_path, dtype="uint16"
        )
    affine = geometry.affine.copy()
    affine[:3, 1] += 0.2 * affine[:3, 2]
    leaning = Geometry(geometry.shape, affine, geometry.frame)
    with pytest.raises(GeometryError, match="not at right angles"):
        write_series(replace(scan, data=Image(image.numpy(), unit="Bq/mL", geometry=leaning)), tmp_path)
    frames = FrameTiming([10.0], [60.0], "injection")
    dynamic = Image(image.numpy()[None], unit="Bq/mL", geometry=geometry, frames=frames)
    with pytest.raises(DataError, match="contradict the times of injection"):
        write_series(replace(scan, data=dynamic), tmp_path)
    thin = Image(np.full((5, 6, 7), -2000.0), unit="[hnsf'U]", geometry=geometry)
    with pytest.raises(DataError, match="outside what a CT series holds"):
        write_series(replace(patient("ct"), data=thin), tmp_path)
    assert not list(tmp_path.glob("*.dcm"))
