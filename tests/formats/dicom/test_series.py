"""What series mean: units, scales, order, tilt, dynamic frames, other axes, decay reference, multi-frame files."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from tests.formats.dicom.make import FRAME, ROOT, one_slice, save, stack

from timelens.errors import DataError, GeometryError, MissingFieldError, UsageError
from timelens.formats.dicom import group_series, read_series


def update(dataset, **attributes):
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)


def stored(z, seed=0, size=(4, 5)):
    return np.frombuffer(one_slice(z, size=size, seed=seed).PixelData, "<u2").reshape(size).astype(float)


def test_slices_are_sorted_along_the_normal_and_scaled_one_by_one(tmp_path, rng):
    files = stack(tmp_path, 5, "PT")
    rng.shuffle(files)
    scan = read_series(files)
    image = scan.image
    assert not image.loaded
    np.testing.assert_array_equal(image.numpy(), [stored(z) * (1 + z) for z in range(5)])
    assert image.unit == "Bq/mL"
    assert image.geometry.frame == FRAME
    # First voxel centre (-10, -20, 0) LPS; pixels 2 mm, slices 3 mm.
    np.testing.assert_allclose(image.geometry.to_mm([[0, 0, 0], [4, 3, 2]]), [[10, 20, 0], [6, 14, 12]], atol=1e-9)


def test_a_series_stacked_the_other_way_has_its_normal_along_z(tmp_path):
    stack(tmp_path, 5, change=lambda d, z: update(d, ImageOrientationPatient=["1", "0", "0", "0", "-1", "0"]))
    geometry = read_series(tmp_path).image.geometry
    # The normal points down: slice 0 is the highest.
    np.testing.assert_allclose(geometry.to_mm([0, 0, 0]), [10, 20, 12])
    np.testing.assert_allclose(geometry.to_mm([1, 1, 0]), [10, 22, 9])
    assert np.linalg.det(geometry.to_lps()[:3, :3]) > 0


def test_a_tilted_gantry_gives_a_sheared_grid_and_a_warning(tmp_path):
    stack(tmp_path, 5, change=lambda d, z: update(d, ImagePositionPatient=["-10", f"{-20 + 0.5 * z}", f"{3 * z}"]))
    scan = read_series(tmp_path)
    assert not scan.image.geometry.is_orthogonal
    assert scan.image.geometry.voxel_volume == pytest.approx(12.0)
    np.testing.assert_allclose(scan.image.geometry.to_mm([4, 0, 0]), [10, 18, 12], atol=1e-9)
    (problem,) = scan.problems
    assert "gantry tilt" in problem.message
    assert problem.found.startswith("9.46 degrees")  # atan(0.5 / 3)


def test_positions_rounded_by_the_scanner_are_still_a_grid(tmp_path):
    stack(tmp_path, 7, change=lambda d, z: update(d, ImagePositionPatient=["-10", "-20", f"{round(3.27 * z, 1)}"]))
    geometry = read_series(tmp_path).image.geometry
    assert geometry.spacing[0] == pytest.approx(3.27, abs=0.01)


@pytest.mark.parametrize(
    ("modality", "attributes", "unit"),
    [
        ("PT", {"Units": "CNTS"}, "{counts}"), ("PT", {"Units": "GML"}, "g/mL"), ("PT", {"Units": "CM2ML"}, "cm2/mL"),
        ("PT", {"Units": "PROPCPS"}, "{propcps}"), ("CT", {}, "[hnsf'U]"), ("CT", {"RescaleType": "HU"}, "[hnsf'U]"),
        ("CT", {"RescaleType": "US"}, "1"), ("CT", {"RescaleType": "MGML"}, "mg/mL"), ("MR", {}, "1"),
    ],
)  # fmt: skip
def test_units(tmp_path, modality, attributes, unit):
    stack(tmp_path, 2, modality, lambda d, z: update(d, **attributes))
    assert read_series(tmp_path).image.unit == unit


def test_an_mr_map_with_a_real_world_mapping_has_its_unit(tmp_path):
    def change(dataset, z):
        code = Dataset()
        update(code, CodeValue="mm2/s", CodingSchemeDesignator="UCUM", CodeMeaning="mm2/s")
        mapping = Dataset()
        update(
            mapping,
            RealWorldValueSlope=1e-6,
            RealWorldValueIntercept=0.0,
            MeasurementUnitsCodeSequence=Sequence([code]),
        )
        dataset.RealWorldValueMappingSequence = Sequence([mapping])

    stack(tmp_path, 2, "MR", change)
    image = read_series(tmp_path).image
    assert image.unit == "mm2/s"
    np.testing.assert_allclose(image.numpy()[0], stored(0) * 1e-6, rtol=1e-6)


def test_the_caller_may_state_a_unit_that_the_file_lacks(tmp_path):
    stack(tmp_path, 2, "PT", lambda d, z: d.__delitem__("Units"))
    with pytest.raises(MissingFieldError, match="unit of the image"):
        read_series(tmp_path)
    assert read_series(tmp_path, unit="kBq/mL").image.unit == "kBq/mL"


# -- frames ----------------------------------------------------------------------------------------------------------


def dynamic(folder, times, durations, change=None):
    for f, (time, duration) in enumerate(zip(times, durations, strict=True)):

        def each(dataset, z, f=f, time=time, duration=duration):
            update(dataset, AcquisitionTime=time, SOPInstanceUID=f"{ROOT}8.{f}.{z}", SeriesType=["DYNAMIC", "IMAGE"])
            dataset.RescaleSlope = str(1 + z + 10 * f)
            if duration is not None:
                dataset.ActualFrameDuration = str(duration)
            if change is not None:
                change(dataset, f, z)

        stack(folder / str(f), 3, "PT", each)
    return folder


def test_a_dynamic_series_is_split_into_frames_from_the_injection(tmp_path):
    dynamic(tmp_path, ["110000", "110010", "110040.5"], [10000, 30000, 60000])
    image = read_series(tmp_path).image
    assert image.shape == (3, 3, 4, 5)
    assert image.axes[0].name == "t"
    assert image.frames.zero == "injection"  # at 10:00:00
    np.testing.assert_allclose(image.frames.start, [3600, 3610, 3640.5])
    np.testing.assert_allclose(image.frames.duration, [10, 30, 60])
    np.testing.assert_array_equal(image.numpy()[2, 1], stored(1).astype(np.float32) * 22)
    assert image.decay_reference == datetime(2024, 1, 2, 11)


def test_the_header_runs_over_frames_then_slices(tmp_path):
    dynamic(tmp_path, ["110000", "110010"], [10000, 10000])
    scan = read_series(tmp_path)
    assert [h["AcquisitionTime"] for h in scan.header] == ["110000"] * 3 + ["110010"] * 3
    assert [h["RescaleSlope"] for h in scan.header] == [1, 2, 3, 11, 12, 13]


def test_frame_times_come_from_the_frame_reference_time_where_acquisition_times_do_not_differ(tmp_path):
    half_life, duration = 6586.2, 600.0
    decay = np.log(2) / half_life
    within = np.log(decay * duration / (1 - np.exp(-decay * duration))) / decay  # DICOM PS3.3 C.8.9.4.1.5

    def change(dataset, f, z):
        dataset.FrameReferenceTime = f"{1000 * (600 * f + within):.6f}"

    dynamic(tmp_path, ["110000", "110000"], [600_000, 600_000], change)
    image = read_series(tmp_path).image
    np.testing.assert_allclose(image.frames.start, [0, 600], atol=1e-3)
    assert image.frames.zero == "first frame"


def test_frames_without_duration_end_where_the_next_begins_and_say_so(tmp_path):
    dynamic(tmp_path, ["110000", "110010", "110040"], [None] * 3)
    scan = read_series(tmp_path)
    np.testing.assert_allclose(scan.image.frames.duration, [10, 30, 30])
    assert any("state no duration" in p.message for p in scan.problems)


def test_frames_that_overlap_are_refused_and_cut_times_are_mended(tmp_path):
    dynamic(tmp_path / "a", ["110000", "110010"], [60_000, 60_000])
    with pytest.raises(DataError, match="ends after frame 1 starts"):
        read_series(tmp_path / "a")
    dynamic(tmp_path / "b", ["110000", "110010"], [10_400, 10_000])
    scan = read_series(tmp_path / "b")
    np.testing.assert_allclose(scan.image.frames.duration, [10, 10])
    assert any("less than a second" in p.message for p in scan.problems)


def test_frames_without_any_times_are_refused(tmp_path):
    def change(dataset, f, z):
        del dataset.AcquisitionTime
        dataset.TemporalPositionIdentifier = f + 1

    dynamic(tmp_path, ["110000", "110010"], [10_000, 10_000], change)
    with pytest.raises(MissingFieldError, match="have no times"):
        read_series(tmp_path)


def test_b_values_become_an_axis_even_if_times_differ_too(tmp_path):
    for f, b in enumerate((0.0, 50.0, 800.0)):
        stack(
            tmp_path / str(f), 3, "MR",
            lambda d, z, f=f, b=b: update(
                d, DiffusionBValue=b, AcquisitionTime=f"11000{f}", SOPInstanceUID=f"{ROOT}8.{f}.{z}"
            ),
        )  # fmt: skip
    image = read_series(tmp_path).image
    assert image.shape == (3, 3, 4, 5)
    assert (image.axes[0].name, image.axes[0].kind, image.axes[0].unit) == ("b", "b-value", "s/mm2")
    np.testing.assert_array_equal(image.axes[0].coordinates, [0, 50, 800])
    assert image.frames is None


def test_two_settings_at_once_are_refused(tmp_path):
    for f in range(2):
        stack(
            tmp_path / str(f), 3, "MR",
            lambda d, z, f=f: update(
                d, EchoTime=str(5 + f), FlipAngle=str(10 + f), SOPInstanceUID=f"{ROOT}8.{f}.{z}"
            ),
        )  # fmt: skip
    with pytest.raises(DataError, match="More than one coordinate"):
        read_series(tmp_path)


# -- decay reference -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"DecayCorrection": "NONE"}, None),
        ({"DecayCorrection": "ADMIN"}, datetime(2024, 1, 2, 10)),
        ({"DecayCorrection": "START", "SeriesTime": "104500"}, datetime(2024, 1, 2, 10, 45)),
        ({"DecayCorrection": "START", "SeriesTime": "150000"}, datetime(2024, 1, 2, 11)),
        ({"DecayCorrection": "START", "SeriesTime": "150000", "FrameReferenceTime": "900000",
          "ActualFrameDuration": "2"},
         datetime(2024, 1, 2, 10, 45, 0, 1000)),
        ({"DecayCorrection": "START", "Units": "GML"}, None),
    ],
)  # fmt: skip
def test_decay_reference(tmp_path, attributes, expected):
    stack(tmp_path, 2, "PT", lambda d, z: update(d, **attributes))
    assert read_series(tmp_path).image.decay_reference == expected


def test_the_private_time_of_a_post_processed_series_is_used(tmp_path):
    def change(dataset, z):
        dataset.SeriesTime = "150000"
        dataset.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", "20240102103000.00")

    stack(tmp_path, 2, "PT", change)
    scan = read_series(tmp_path)
    assert scan.image.decay_reference == datetime(2024, 1, 2, 10, 30)
    assert scan.header[0]["GEPrivateScanDateTime"] == "20240102103000.00"
    assert any("series time is not that of the scan" in p.message for p in scan.problems)


def test_philips_factors_reach_the_header(tmp_path):
    def change(dataset, z):
        block = dataset.private_block(0x7053, "Philips PET Private Group", create=True)
        block.add_new(0x00, "DS", "0.000551")
        block.add_new(0x09, "DS", "1.602563")

    stack(tmp_path, 2, "PT", change)
    factors = read_series(tmp_path).header[0]["PhilipsPETPrivateGroup"]
    assert {k: float(v) for k, v in factors.items()} == {
        "SUVScaleFactor": 0.000551,
        "ActivityConcentrationScaleFactor": 1.602563,
    }


def test_an_injection_before_midnight_is_dated_the_day_before(tmp_path):
    def change(dataset, z):
        update(dataset, AcquisitionTime="003000", SeriesTime="003000")
        dose = dataset.RadiopharmaceuticalInformationSequence[0]
        del dose.RadiopharmaceuticalStartDateTime
        dose.RadiopharmaceuticalStartTime = "233000"

    stack(tmp_path, 2, "PT", change)
    scan = read_series(tmp_path)
    assert scan.administered_time == datetime(2024, 1, 1, 23, 30)
    assert any("only its time of day" in p.message for p in scan.problems)


# -- multi-frame -----------------------------------------------------------------------------------------------------


def item(**content):
    made = Dataset()
    update(made, **content)
    return made


def enhanced(path, modality="PT", count=4, frames=1, per_frame=None, **attributes):
    """An enhanced file of ``frames`` frames of ``count`` slices, in scrambled order."""
    classes = {"PT": "130", "CT": "2.1", "MR": "4.1"}
    base = one_slice(0, "CT")
    for keyword in (
        "RescaleSlope",
        "RescaleIntercept",
        "PixelSpacing",
        "ImageOrientationPatient",
        "ImagePositionPatient",
        "SliceThickness",
    ):
        delattr(base, keyword)
    base.SOPClassUID, base.Modality = "1.2.840.10008.5.1.4.1.1." + classes[modality], modality
    shared = Dataset()
    shared.PixelMeasuresSequence = Sequence([item(PixelSpacing=["2", "2"], SliceThickness="3")])
    shared.PlaneOrientationSequence = Sequence([item(ImageOrientationPatient=["1", "0", "0", "0", "1", "0"])])
    base.SharedFunctionalGroupsSequence = Sequence([shared])
    order = [(f, z) for z in range(count) for f in range(frames)][::-1]
    groups, pixels = [], []
    for f, z in order:
        group = Dataset()
        group.PlanePositionSequence = Sequence([item(ImagePositionPatient=["-10", "-20", str(3 * z)])])
        group.PixelValueTransformationSequence = Sequence(
            [item(RescaleSlope=str(1 + z), RescaleIntercept="-5", RescaleType="HU" if modality == "CT" else "US")]
        )
        if per_frame is not None:
            per_frame(group, f, z)
        groups.append(group)
        pixels.append(stored(z, seed=f).astype("<u2"))
    base.PerFrameFunctionalGroupsSequence = Sequence(groups)
    base.NumberOfFrames = len(order)
    base.PixelData = np.stack(pixels).tobytes()
    base["PixelData"].VR = "OW"
    update(base, **attributes)
    path.parent.mkdir(parents=True, exist_ok=True)
    return save(base, path)


def test_enhanced_ct(tmp_path):
    image = read_series(enhanced(tmp_path / "a.dcm", "CT")).image
    assert image.unit == "[hnsf'U]"
    np.testing.assert_array_equal(image.numpy(), [stored(z) * (1 + z) - 5 for z in range(4)])
    np.testing.assert_allclose(image.geometry.to_mm([[0, 0, 0], [3, 3, 2]]), [[10, 20, 0], [6, 14, 9]], atol=1e-9)


def test_enhanced_mr_with_echoes(tmp_path):
    def per_frame(group, f, z):
        group.MREchoSequence = Sequence([item(EffectiveEchoTime=10.0 * (f + 1))])

    image = read_series(enhanced(tmp_path / "a.dcm", "MR", frames=3, per_frame=per_frame)).image
    assert image.shape == (3, 4, 4, 5)
    np.testing.assert_allclose(image.axes[0].coordinates, [0.01, 0.02, 0.03])
    np.testing.assert_array_equal(image.numpy()[2, 1], stored(1, seed=2) * 2 - 5)


@pytest.mark.parametrize(
    ("corrected_to", "word", "reference"),
    [
        ("20240102100000", "ADMIN", datetime(2024, 1, 2, 10)),
        ("20240102105500", "START", datetime(2024, 1, 2, 10, 55)),
        ("20240102120000", None, None),
    ],
)
def test_enhanced_dynamic_pet(tmp_path, corrected_to, word, reference):
    unit = item(CodeValue="Bq/ml", CodingSchemeDesignator="UCUM", CodeMeaning="Becquerels/milliliter")

    def per_frame(group, f, z):
        group.FrameContentSequence = Sequence(
            [
                item(
                    FrameAcquisitionDateTime=f"2024010211{f:02d}00",
                    FrameAcquisitionDuration=60000.0,
                    TemporalPositionIndex=f + 1,
                )
            ]
        )
        group.RealWorldValueMappingSequence = Sequence(
            [item(RealWorldValueSlope=0.5, RealWorldValueIntercept=0.0, MeasurementUnitsCodeSequence=Sequence([unit]))]
        )

    dose = one_slice(0, "PT").RadiopharmaceuticalInformationSequence
    scan = read_series(
        enhanced(
            tmp_path / "a.dcm", "PT", frames=2, per_frame=per_frame, DecayCorrected="YES",
            DecayCorrectionDateTime=corrected_to, AcquisitionDateTime="20240102110000",
            RadiopharmaceuticalInformationSequence=dose,
        )
    )  # fmt: skip
    image = scan.image
    assert image.unit == "Bq/mL"
    np.testing.assert_array_equal(image.numpy()[1, 3], stored(3, seed=1) * 0.5)
    np.testing.assert_allclose(image.frames.start, [3600, 3660])
    assert image.decay_reference == reference
    assert scan.header[0].get("DecayCorrection") == word
    assert scan.header[0]["Units"] == "BQML"
    assert [h["AcquisitionTime"] for h in scan.header[::4]] == ["110000.000000", "110100.000000"]


@pytest.mark.parametrize("sign", [1, -1])
def test_an_nm_volume_is_stacked_the_way_the_sign_of_its_spacing_says(tmp_path, sign):
    dataset = one_slice(0, "NM")
    del dataset.ImagePositionPatient, dataset.ImageOrientationPatient, dataset.RescaleIntercept
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    dataset.NumberOfFrames, dataset.SpacingBetweenSlices, dataset.RescaleSlope = 3, str(4 * sign), "0.25"
    place = item(ImagePositionPatient=["-10", "-20", "100"], ImageOrientationPatient=["1", "0", "0", "0", "1", "0"])
    dataset.DetectorInformationSequence = Sequence([place])
    dataset.SliceVector = [1, 2, 3]
    dataset.PixelData = np.stack([stored(z) for z in range(3)]).astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    image = read_series(save(dataset, tmp_path / "a.dcm")).image
    assert image.unit == "{counts}"
    planes = [stored(z) * 0.25 for z in range(3)][::sign]
    np.testing.assert_array_equal(image.numpy(), planes)
    heights = image.geometry.to_mm([[0, 0, 0], [2, 0, 0]])[:, 2]
    np.testing.assert_allclose(heights, [100, 108] if sign > 0 else [92, 100])


def test_gated_nm_and_stacked_energy_windows_are_refused(tmp_path):
    dataset = one_slice(0, "NM")
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "RECON GATED TOMO", "EMISSION"]
    save(dataset, tmp_path / "a.dcm")
    with pytest.raises(DataError, match="gated series"):
        read_series(tmp_path / "a.dcm")
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    dataset.NumberOfFrames, dataset.SliceVector = 2, [1, 1]
    dataset.PixelData = dataset.PixelData * 2
    save(dataset, tmp_path / "a.dcm")
    with pytest.raises(DataError, match="not one stack of slices"):
        read_series(tmp_path / "a.dcm")


# -- choosing --------------------------------------------------------------------------------------------------------


def test_one_of_several_series_can_be_named(tmp_path):
    stack(tmp_path / "a", 3)
    stack(tmp_path / "b", 4, "PT", seed=1)
    with pytest.raises(UsageError, match="several image series"):
        read_series(tmp_path)
    assert read_series(tmp_path, series_uid=ROOT + "3.1").image.shape[0] == 4


def test_grouping_names_bad_files_and_keeps_the_others(tmp_path):
    stack(tmp_path, 3)
    (tmp_path / "text.txt").write_text("x")
    file = stack(tmp_path / "b", 3, "PT", seed=1)[1]
    file.write_bytes(file.read_bytes()[:-10])
    ct, pet, stray = group_series(tmp_path)
    assert (ct.modality, ct.n_files, ct.problems) == ("CT", 3, ())
    assert (pet.modality, pet.n_files, pet.agent) == ("PT", 3, "FDG")
    assert [p.severity for p in pet.problems] == ["error"]
    assert (stray.kind, [p.severity for p in stray.problems]) == ("unreadable", ["warning"])
    assert ct.series_time == datetime(2024, 1, 2, 11)
    with pytest.raises(GeometryError, match="missing"):
        read_series([f for f in stack(tmp_path / "c", 5) if f.name != "002.dcm"])
