"""Magnetic resonance in BIDS: collections, b values, dynamic series, maps, and every slip that must be refused."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from timelens.errors import DataError, MissingFieldError, TimelensError, UsageError
from timelens.formats import bids_mr
from timelens.formats.scan import load_acquisition, scan_folder
from timelens.study.acquisition import Acquisition
from timelens.study.axes import Axis
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.mr import MrSettings, mr_settings
from timelens.study.timing import FrameTiming

SHAPE = (3, 4, 5)
VFA = {"RepetitionTimeExcitation": 0.005, "EchoTime": 0.002, "MagneticFieldStrength": 3.0}


def put(root: Path, name: str, said: dict, shape=SHAPE, *, value=1.0, step=0.0, code=1, shift=0.0) -> Path:
    """A file as a converter leaves it: no sidecar of ours."""
    folder = root / "sub-01" / {"dwi": "dwi", "dce": "perf", "dsc": "perf"}.get(name.rsplit("_", 1)[-1], "anat")
    folder.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    affine[0, 3] = shift
    image = nib.Nifti1Image(np.full(shape[::-1], value, np.float32), affine)
    image.set_sform(affine, code)
    image.header.set_xyzt_units("mm", "sec" if step else "unknown")
    if step:
        image.header["pixdim"][4] = step
    path = folder / f"sub-01_{name}.nii.gz"
    nib.save(image, path)
    path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(said))
    return path


def angles(root: Path, flips=(2, 15, 5), **changes) -> list[Path]:
    said = {k: v for k, v in {**VFA, **changes}.items() if v is not None}
    return [
        put(root, f"flip-{k + 1}_VFA", {**said, "FlipAngle": f}, value=f if isinstance(f, int) else 0)
        for k, f in enumerate(flips)
    ]


def dynamic(root: Path, said: dict, count=6, suffix="dce", step=0.0) -> list[Path]:
    return [put(root, suffix, {**VFA, "FlipAngle": 15, **said}, (count, *SHAPE), step=step)]


def test_flip_angles_become_one_image_with_their_axis_ascending(tmp_path):
    scan = bids_mr.read_series(angles(tmp_path), tmp_path)
    image = scan.image
    assert not image.loaded
    assert (image.axes[0].kind, image.axes[0].unit, image.unit) == ("flip", "deg", "1")
    np.testing.assert_array_equal(image.axes[0].coordinates, [2, 5, 15])
    np.testing.assert_array_equal(image.numpy()[:, 0, 0, 0], [2, 5, 15])
    expected = MrSettings("flip", tr_s=0.005, te_s=0.002, field_t=3.0, gradient_echo=True)
    assert mr_settings(scan) == expected
    assert len([s for s in scan.sources if s.path.endswith(".nii.gz")]) == 3


@pytest.mark.parametrize(
    ("suffix", "entity", "field", "values", "axis", "kind"),
    [
        ("IRT1", "inv", "InversionTime", (0.05, 0.4, 1.5), "inversion", "inversion"),
        ("MEGRE", "echo", "EchoTime", (0.004, 0.008, 0.012), "echo", "gradient echoes"),
        ("MESE", "echo", "EchoTime", (0.01, 0.02, 0.04), "echo", "spin echoes"),
    ],
)
def test_collections(tmp_path, suffix, entity, field, values, axis, kind):
    files = [put(tmp_path, f"{entity}-{k + 1}_{suffix}", {field: v}) for k, v in enumerate(values)]
    scan = bids_mr.read_series(files, tmp_path)
    assert scan.image.axes[0].name == axis and scan.image.axes[0].unit == "s"
    np.testing.assert_array_equal(scan.image.axes[0].coordinates, values)
    assert mr_settings(scan).kind == kind


def test_b_values_are_read_and_ordered(tmp_path):
    path = put(tmp_path, "dwi", {"EchoTime": 0.06}, (3, *SHAPE))
    path.with_name("sub-01_dwi.bval").write_text("800 0 100\n")
    scan = bids_mr.read_series([path], tmp_path)
    np.testing.assert_array_equal(scan.image.axes[0].coordinates, [0, 100, 800])
    assert any(s.path.endswith(".bval") for s in scan.sources)


def test_times_of_volumes_and_a_repetition_time_between_volumes(tmp_path):
    files = dynamic(tmp_path, {"VolumeTiming": [0, 3, 6, 9, 12, 16], "ContrastBolusIngredient": "gadobutrol"})
    scan = bids_mr.read_series(files, tmp_path)
    np.testing.assert_array_equal(scan.image.frames.start, [0, 3, 6, 9, 12, 16])
    assert (mr_settings(scan).tr_s, mr_settings(scan).flip_deg, mr_settings(scan).agent) == (0.005, 15, "gadobutrol")
    files = dynamic(tmp_path, {"VolumeTiming": [0, 3, 6, 9, 12, 15], "RepetitionTime": 3.0,
                               "RepetitionTimeExcitation": None})  # fmt: skip
    assert mr_settings(bids_mr.read_series(files, tmp_path)).tr_s is None


def test_series_of_one_session_lie_in_the_space_of_the_scanner(tmp_path):
    a = bids_mr.read_series(angles(tmp_path), tmp_path)
    b = bids_mr.read_series(dynamic(tmp_path, {}, step=3.0), tmp_path)
    assert a.image.geometry.frame == b.image.geometry.frame == "scanner_sub-01"
    other = put(tmp_path, "T1map", {"Units": "s"}, code=2)
    assert bids_mr.read_series([other], tmp_path).image.geometry.frame is None


def test_a_folder_is_scanned_and_collections_stay_together(tmp_path):
    angles(tmp_path)
    put(tmp_path, "dwi", {}, (2, *SHAPE)).with_name("sub-01_dwi.bval").write_text("0 800")
    found = [f for f in scan_folder(tmp_path).found if f.format == "bids-mr"]
    assert sorted((f.modality, f.description, len(f.files)) for f in found) == [
        ("mr", "sub-01_VFA", 3),
        ("mr", "sub-01_dwi", 1),
    ]
    first = next(f for f in found if len(f.files) == 3)
    scan = load_acquisition(
        first.format, first.files, id="a", subject="sub-01", session="", modality="mr", root=tmp_path
    )
    assert scan.image.shape == (3, *SHAPE) and not any(Path(s.path).is_absolute() for s in scan.sources)
    assert not [p for p in scan_folder(tmp_path).not_used if p.suffix == ".bval"]


@pytest.mark.parametrize("kind", ["flip", "diffusion", "dce"])
def test_what_is_written_is_read_back(tmp_path, kind, rng):
    axis = {
        "flip": Axis("flip", "flip", "deg", np.array([3.0, 12.0, 20.0])),
        "diffusion": Axis("b", "b-value", "s/mm2", np.array([0.0, 200.0, 800.0])),
        "dce": Axis("t", "time", "s"),
    }[kind]
    geometry = Geometry.from_spacing(SHAPE, (3.0, 2.0, 2.0), frame="body")
    frames = FrameTiming(np.arange(3) * 4.0, np.full(3, 4.0)) if kind == "dce" else None
    values = rng.random((3, *SHAPE)).astype(np.float32)
    axes = (axis, *(Axis(n, "space", "mm") for n in "zyx"))
    image = Image(values, unit="1", axes=axes, geometry=geometry, frames=frames)
    settings = MrSettings(kind, tr_s=0.006, flip_deg=None if kind == "flip" else 10.0, field_t=1.5)
    scan = Acquisition("a", "mr", image, subject="sub-01", session="ses-1", extra={"mr": settings})
    back = bids_mr.read_series(bids_mr.write_series(scan, tmp_path), tmp_path)
    np.testing.assert_array_equal(back.image.numpy(), values)
    assert back.image.geometry.frame == "body"
    assert mr_settings(back).known().items() >= settings.known().items()
    if axis.coordinates is not None:
        np.testing.assert_allclose(back.image.axes[0].coordinates, axis.coordinates)
    else:
        np.testing.assert_allclose(back.image.frames.start, frames.start)


def test_what_bids_has_no_place_for_is_not_written(tmp_path):
    image = Image(np.zeros(SHAPE), unit="1", geometry=Geometry.from_spacing(SHAPE, (1.0, 1.0, 1.0)))
    with pytest.raises(UsageError, match="no place for this series"):
        bids_mr.write_series(Acquisition("a", "mr", image, subject="sub-01"), tmp_path)


def _dwi(root: Path, text: str | None, count=3) -> list[Path]:
    path = put(root, "dwi", {}, (count, *SHAPE))
    if text is not None:
        path.with_name("sub-01_dwi.bval").write_text(text)
    return [path]


def _echoes(root: Path, values, **said) -> list[Path]:
    return [put(root, f"echo-{k + 1}_MEGRE", {"EchoTime": v, **said}) for k, v in enumerate(values)]


def _mixed(root: Path) -> list[Path]:
    files = angles(root)
    files[1] = put(root, "flip-2_VFA", {**VFA, "FlipAngle": 15, "RepetitionTimeExcitation": 0.008})
    return files


def _cut(root: Path) -> list[Path]:
    files = angles(root)
    rng = np.random.default_rng(1)
    image = nib.Nifti1Image(rng.random(SHAPE[::-1]).astype(np.float32), np.diag([2.0, 2.0, 3.0, 1.0]))
    image.header.set_xyzt_units("mm")
    nib.save(image, files[0])
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[: len(whole) // 2])
    bids_mr.read_series(files, root).image.numpy()
    return files


TIMES = {"VolumeTiming": [0, 3, 6, 9, 12, 15]}
BAD = {
    "radians": (lambda r: angles(r, (0.035, 0.087, 0.26)), "look like radians"),
    "no angle": (lambda r: angles(r, (2, None, 15)), "has no FlipAngle"),
    "text for an angle": (lambda r: angles(r, (2, "five", 15)), "FlipAngle is not a number"),
    "angle beyond 180": (lambda r: angles(r, (2, 200)), "flip angle is impossible"),
    "negative angle": (lambda r: angles(r, (-2, 15)), "flip angle is impossible"),
    "one angle twice": (lambda r: angles(r, (5, 5, 15)), "have one FlipAngle"),
    "one file": (lambda r: angles(r, (5,)), "One image is no series"),
    "TR in ms": (lambda r: angles(r, RepetitionTimeExcitation=5.0), "spoiled gradient echo looks like milliseconds"),
    "TR far in ms": (lambda r: angles(r, RepetitionTimeExcitation=500.0), "repetition time looks like milliseconds"),
    "TR zero": (lambda r: angles(r, RepetitionTimeExcitation=0), "repetition time is not positive"),
    "TE in ms": (lambda r: angles(r, EchoTime=2.5), "echo time looks like milliseconds"),
    "field in gauss": (lambda r: angles(r, MagneticFieldStrength=15000), "field looks like gauss"),
    "TE in ms on the axis": (lambda r: _echoes(r, (4, 8, 12)), "echo time looks like milliseconds"),
    "spin echo called gradient echo": (
        lambda r: _echoes(r, (0.004, 0.008), ScanningSequence="SE"), "contradicts the suffix"),
    "TI in ms": (
        lambda r: [put(r, f"inv-{k}_IRT1", {"InversionTime": v}) for k, v in enumerate((50, 400))],
        "inversion time looks like milliseconds"),
    "no b values": (lambda r: _dwi(r, None), "b values of the series are not there"),
    "too few b values": (lambda r: _dwi(r, "0 800"), "not as many b values as volumes"),
    "b values in ms/um2": (lambda r: _dwi(r, "0 0.2 0.8"), "look like ms/um2"),
    "b values in s/m2": (lambda r: _dwi(r, "0 2e8 8e8"), "look like s/m2"),
    "negative b value": (lambda r: _dwi(r, "0 -200 800"), "negative or no number"),
    "one b value": (lambda r: _dwi(r, "800 800 800"), "All images have one b value"),
    "words for b values": (lambda r: _dwi(r, "zero 200 800"), "holds more than numbers"),
    "no times": (lambda r: dynamic(r, {}), "volumes of the dynamic series have no times"),
    "times in disorder": (lambda r: dynamic(r, {"VolumeTiming": [0, 6, 3, 9, 12, 15]}), "does not ascend"),
    "text for times": (lambda r: dynamic(r, {"VolumeTiming": "3 s"}), "not a list of numbers"),
    "too few times": (lambda r: dynamic(r, {"VolumeTiming": [0, 3, 6]}), "frame timing does not fit"),
    "times in ms": (
        lambda r: dynamic(r, {"VolumeTiming": [0, 3000, 6000, 9000, 12000, 15000]}, step=3.0),
        "different times between volumes"),
    "TR longer than a volume": (
        lambda r: dynamic(r, {**TIMES, "RepetitionTimeExcitation": 5.0}), "longer than a volume"),
    "two volumes": (lambda r: dynamic(r, {"VolumeTiming": [0, 3]}, count=2), "three volumes or more"),
    "map without unit": (lambda r: [put(r, "T1map", {})], "unit of the map is not known"),
    "map of no time": (lambda r: [put(r, "T1map", {"Units": "mm2/s"})], "mm2/s"),
    "mixed TR": (_mixed, "differ in RepetitionTimeExcitation"),
    "cut short": (_cut, "truncated or damaged"),
    "phase": (lambda r: [put(r, f"part-phase_echo-{k}_MEGRE", {"EchoTime": k / 100}) for k in (1, 2)],
              "Only magnitudes"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_by_name(tmp_path, case):
    make, words = BAD[case]
    with pytest.raises(TimelensError, match=words) as error:
        bids_mr.read_series(make(tmp_path), tmp_path)
    assert error.value.problem.field
    assert "sub-01" in error.value.problem.file or "sub-01" in str(error.value)


def test_settings_that_differ_and_grids_that_differ_are_refused(tmp_path):
    files = angles(tmp_path)
    files[1] = put(tmp_path, "flip-2_VFA", {**VFA, "FlipAngle": 15, "EchoTime": 0.004})
    with pytest.raises(DataError, match="differ in EchoTime"):
        bids_mr.read_series(files, tmp_path)
    files[1] = put(tmp_path, "flip-2_VFA", {**VFA, "FlipAngle": 15}, shift=1.0)
    with pytest.raises(DataError, match="different grids"):
        bids_mr.read_series(files, tmp_path)
    with pytest.raises(UsageError, match="not one collection"):
        bids_mr.read_series([files[0], put(tmp_path, "dwi", {})], tmp_path)


def test_a_setting_that_is_needed_says_where_to_write_it(tmp_path):
    scan = bids_mr.read_series(angles(tmp_path, RepetitionTimeExcitation=None), tmp_path)
    with pytest.raises(MissingFieldError, match="needs tr_s") as error:
        mr_settings(scan).require("tr_s", scan, purpose="T1", mend="state it")
    assert "RepetitionTimeExcitation" in error.value.problem.expected
