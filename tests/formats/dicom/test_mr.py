"""Magnetic resonance in DICOM: settings in s and degrees, private b values and scales, and contradictions."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from tests.formats.dicom.make import ROOT, stack
from tests.formats.dicom.test_series import enhanced, item, stored, update

from timelens.errors import DataError, FormatError
from timelens.formats.dicom import read_series
from timelens.study.mr import mr_settings

PLAIN = {
    "RepetitionTime": "5.2", "EchoTime": "2.1", "FlipAngle": "15", "MagneticFieldStrength": "3",
    "ScanningSequence": "GR", "SequenceVariant": ["SP", "OSP"], "ContrastBolusAgent": "Gadovist",
}  # fmt: skip


def test_settings_are_in_seconds_degrees_and_tesla(tmp_path):
    stack(tmp_path, 3, "MR", lambda d, z: update(d, **PLAIN))
    found = mr_settings(read_series(tmp_path))
    assert found.tr_s == pytest.approx(0.0052) and found.te_s == pytest.approx(0.0021)
    assert (found.flip_deg, found.field_t, found.gradient_echo, found.spoiled) == (15, 3, True, True)
    assert (found.agent, found.part, found.kind) == ("Gadovist", "magnitude", None)


@pytest.mark.parametrize(
    ("attributes", "field", "words"),
    [
        ({"RepetitionTime": "0.0052"}, "RepetitionTime", "looks like seconds"),
        ({"EchoTime": "2100"}, "EchoTime", "looks like microseconds"),
        ({"EchoTime": "-2"}, "EchoTime", "not positive"),
        ({"FlipAngle": "0.26"}, "FlipAngle", "look like radians"),
        ({"FlipAngle": "270"}, "FlipAngle", "impossible"),
        ({"MagneticFieldStrength": "30000"}, "MagneticFieldStrength", "looks like gauss"),
    ],
)
def test_a_slip_of_the_unit_is_not_used_and_named(tmp_path, attributes, field, words):
    stack(tmp_path, 3, "MR", lambda d, z: update(d, **{**PLAIN, **attributes}))
    scan = read_series(tmp_path)
    (problem,) = [p for p in scan.problems if p.field == field]
    assert words in problem.message and problem.message.endswith("it is not used") and problem.severity == "warning"
    name = {"RepetitionTime": "tr_s", "EchoTime": "te_s", "FlipAngle": "flip_deg", "MagneticFieldStrength": "field_t"}
    assert getattr(mr_settings(scan), name[field]) is None


def test_a_setting_that_differs_between_slices_is_not_used(tmp_path):
    stack(tmp_path, 3, "MR", lambda d, z: update(d, **{**PLAIN, "RepetitionTime": str(5 + z)}))
    scan = read_series(tmp_path)
    assert mr_settings(scan).tr_s is None
    assert any("RepetitionTime differs between slices" in p.message for p in scan.problems)


@pytest.mark.parametrize(
    ("sequence", "gradient"), [(["SE"], False), (["EP", "SE"], False), (["EP", "GR"], True), (["IR"], None)]
)
def test_kind_of_echo(tmp_path, sequence, gradient):
    stack(tmp_path, 2, "MR", lambda d, z: update(d, **{**PLAIN, "ScanningSequence": sequence}))
    found = mr_settings(read_series(tmp_path))
    assert found.gradient_echo is gradient
    assert found.echo_planar is ("EP" in sequence or None)


def test_a_phase_image_says_so(tmp_path):
    stack(tmp_path, 2, "MR", lambda d, z: update(d, **PLAIN, ImageType=["ORIGINAL", "PRIMARY", "P", "ND"]))
    assert mr_settings(read_series(tmp_path)).part == "phase"


def private(dataset, group, creator, element, vr, value):
    dataset.private_block(group, creator, create=True).add_new(element, vr, value)


VENDORS = {
    "Siemens": (0x0019, "SIEMENS MR HEADER", 0x0C, "IS", "{:.0f}"),
    "GE": (0x0043, "GEMS_PARM_01", 0x39, "IS", "{:.0f}"),
    "Philips": (0x2001, "Philips Imaging DD 001", 0x03, "FL", "{}"),
}


@pytest.mark.parametrize("vendor", VENDORS)
def test_private_b_values(tmp_path, vendor):
    group, creator, element, vr, text = VENDORS[vendor]
    for f, b in enumerate((0.0, 100.0, 800.0)):

        def change(d, z, f=f, b=b):
            stated = b + 1e9 if vendor == "GE" else b
            value = stated if vr == "FL" else [text.format(stated), "8", "0", "0"] if vendor == "GE" else text.format(b)
            private(d, group, creator, element, vr, value)
            update(d, SOPInstanceUID=f"{ROOT}8.{f}.{z}")

        stack(tmp_path / str(f), 3, "MR", change)
    np.testing.assert_array_equal(read_series(tmp_path).image.axes[0].coordinates, [0, 100, 800])


def test_a_vendors_b_value_that_contradicts_is_refused(tmp_path):
    def change(d, z):
        private(d, 0x0019, "SIEMENS MR HEADER", 0x0C, "IS", "800")
        d.DiffusionBValue = 400.0

    stack(tmp_path, 2, "MR", change)
    with pytest.raises(DataError, match="contradicts the standard one"):
        read_series(tmp_path)


def test_philips_scale_slope(tmp_path):
    def change(d, z):
        update(d, Manufacturer="Philips Healthcare", RescaleSlope="2.5", RescaleIntercept="10")
        private(d, 0x2005, "Philips MR Imaging DD 001", 0x0E, "FL", 0.02)

    stack(tmp_path, 2, "MR", change)
    scan = read_series(tmp_path)
    np.testing.assert_allclose(scan.image.numpy()[1], (2.5 * stored(1) + 10) / (2.5 * np.float32(0.02)), rtol=1e-6)
    assert not [p for p in scan.problems if "Scale Slope" in p.field]


def test_philips_without_and_with_an_impossible_scale_slope(tmp_path):
    stack(tmp_path / "a", 2, "MR", lambda d, z: update(d, Manufacturer="Philips"))
    assert any("cannot be compared" in p.message for p in read_series(tmp_path / "a").problems)

    def change(d, z):
        private(d, 0x2005, "Philips MR Imaging DD 001", 0x0E, "FL", 0.0)

    stack(tmp_path / "b", 2, "MR", change)
    with pytest.raises(FormatError, match="scale slope of the image is not positive"):
        read_series(tmp_path / "b")


def test_volumes_of_one_clock_time_are_dated_by_their_trigger_time(tmp_path):
    def frame(f, trigger):
        stack(
            tmp_path / str(f), 2, "MR",
            lambda d, z: update(d, TemporalPositionIdentifier=f + 1, TriggerTime=str(trigger),
                                SOPInstanceUID=f"{ROOT}8.{f}.{z}"),
        )  # fmt: skip

    for f in range(4):
        frame(f, 100 + 3500 * f)
    frames = read_series(tmp_path).image.frames
    np.testing.assert_allclose(frames.start, [0, 3.5, 7, 10.5])
    frame(2, 20)
    with pytest.raises(DataError, match="do not ascend"):
        read_series(tmp_path)


def test_settings_and_scale_of_an_enhanced_file(tmp_path):
    def per_frame(group, f, z):
        group.MRTimingAndRelatedParametersSequence = Sequence([item(RepetitionTime=6.0, FlipAngle=5.0 * (f + 1))])
        group.MREchoSequence = Sequence([item(EffectiveEchoTime=2.0)])
        inner = Dataset()
        private(inner, 0x2005, "Philips MR Imaging DD 001", 0x0E, "FL", 0.5)
        group.add_new((0x2005, 0x0014), "LO", "Philips MR Imaging DD 005")
        group.add_new((0x2005, 0x140F), "SQ", Sequence([inner]))

    scan = read_series(enhanced(tmp_path / "a.dcm", "MR", frames=3, per_frame=per_frame, EchoPulseSequence="GRADIENT"))
    found = mr_settings(scan)
    assert (found.tr_s, found.te_s, found.flip_deg, found.gradient_echo) == (0.006, 0.002, None, True)
    np.testing.assert_array_equal(scan.image.axes[0].coordinates, [5, 10, 15])
    z = 2
    np.testing.assert_allclose(scan.image.numpy()[1, z], (stored(z, seed=1) * (1 + z) - 5) / ((1 + z) * 0.5))
