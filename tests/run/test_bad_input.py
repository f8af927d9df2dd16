"""Bad input through the command line: exit code and message of each, as the table of ``docs/robustness.md`` has them.

Every case gets a folder with a sound study (``scans``, one DICOM series), its inventory (``study.yaml``), an image and
a mask, spoils something and gives the command.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import yaml
from tests.run.conftest import A, B, ball, body, scan, write
from tests.run.test_cli import timelens

from timelens.formats import dicom, nifti
from timelens.study import Geometry, Image, Region

Spoil = Callable[[Path], tuple[object, ...] | None]
RUN = ("run", "scans", "-o", "out")
FROM_YAML = ("run", "study.yaml", "-o", "out")
EDGE = np.diag([3.0, 3.0, 3.0, 1.0])


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    acquisition = scan(body(A, B), patient=1, day=0)
    files = write(acquisition, folder / "scans", 1, 0)
    labels = np.where(ball(A[0], A[1]), 1, 0).astype(np.int32)
    gtv = Region("r", "labels", {1: "GTV"}, Image(labels, unit="1", geometry=acquisition.image.geometry))
    dicom.write_rtstruct(gtv, folder / "outlines.dcm", files)
    assert timelens("scan", "scans", cwd=folder).returncode == 0
    suv, mask = np.ones((20, 20, 20), np.float32), np.zeros((20, 20, 20), np.uint8)
    suv[8:12, 8:12, 8:12], mask[8:12, 8:12, 8:12] = 6, 1
    save(folder / "image.nii.gz", suv)
    save(folder / "mask.nii.gz", mask)
    return folder


def save(path: Path, values: np.ndarray, affine: np.ndarray = EDGE) -> None:
    """A NIfTI file as any program writes it: no unit, no frame of reference."""
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


# -- ways to spoil ---------------------------------------------------------------------------------------------------


def without(**changes: Any) -> Spoil:
    """The series written anew with other facts."""

    def spoil(folder: Path) -> None:
        shutil.rmtree(folder / "scans")
        write(replace(scan(body(A, B), patient=1, day=0), **changes), folder / "scans", 1, 0)

    return spoil


def header(change: Callable[[pydicom.Dataset], Any]) -> Spoil:
    """Every header of the series changed."""

    def spoil(folder: Path) -> None:
        for path in folder.glob("scans/**/*.dcm"):
            dataset = pydicom.dcmread(path)
            change(dataset)
            dataset.save_as(path)

    return spoil


def dose(dataset: pydicom.Dataset) -> pydicom.Dataset:
    return dataset.RadiopharmaceuticalInformationSequence[0]


def set_(dataset: pydicom.Dataset, **values: Any) -> None:
    for keyword, value in values.items():
        setattr(dataset, keyword, value)


def injected_at_noon(dataset: pydicom.Dataset) -> None:
    del dose(dataset).RadiopharmaceuticalStartDateTime
    dose(dataset).RadiopharmaceuticalStartTime = "120000"


def slice_(what: str) -> Spoil:
    def spoil(folder: Path) -> None:
        path = next(folder.glob("scans/**/000010.dcm"))
        if what == "cut":
            path.write_bytes(path.read_bytes()[:-500])
        elif what == "absent":
            path.unlink()
        else:
            shutil.copy(path, path.parent / "copy.dcm")

    return spoil


def outlines(change: Callable[[pydicom.Dataset], Any]) -> Spoil:
    """A structure set beside the series, changed."""

    def spoil(folder: Path) -> None:
        dataset = pydicom.dcmread(folder / "outlines.dcm")
        change(dataset)
        dataset.save_as(folder / "scans" / "outlines.dcm")

    return spoil


def other_frame(dataset: pydicom.Dataset) -> None:
    for item in dataset.StructureSetROISequence:
        item.ReferencedFrameOfReferenceUID = "1.2.3.4.5"
    for item in dataset.ReferencedFrameOfReferenceSequence:
        item.FrameOfReferenceUID = "1.2.3.4.5"


def inventory(change: Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], Any]) -> Spoil:
    """``study.yaml`` changed: whole, its session, its acquisition."""

    def spoil(folder: Path) -> tuple[object, ...]:
        place = folder / "study.yaml"
        whole = yaml.safe_load(place.read_text())
        session = whole["sessions"][0]
        change(whole, session, session["acquisitions"][0])
        place.write_text(yaml.safe_dump(whole))
        return FROM_YAML

    return spoil


def text(content: str) -> Spoil:
    def spoil(folder: Path) -> tuple[object, ...]:
        (folder / "study.yaml").write_text(content)
        return FROM_YAML

    return spoil


def options(**steps: Any) -> Spoil:
    return inventory(lambda whole, session, item: whole.update(options={"pet": steps}))


def command(*words: object) -> Spoil:
    return lambda folder: words


def emptied(*names: str) -> Spoil:
    """The folder of scans with nothing but some other files."""

    def spoil(folder: Path) -> None:
        shutil.rmtree(folder / "scans")
        (folder / "scans").mkdir()
        for name in names:
            (folder / "scans" / name).write_text("hello")

    return spoil


def image(change: Callable[[Path], Any], *more: str, unit: str | None = "g/mL") -> Spoil:
    """``quantify`` with an image or mask that was changed."""

    def spoil(folder: Path) -> tuple[object, ...]:
        change(folder)
        stated = () if unit is None else ("--unit", unit)
        return ("quantify", "image.nii.gz", "--mask", "mask.nii.gz", *stated, *more)

    return spoil


def mask(change: Callable[[np.ndarray], np.ndarray], affine: np.ndarray = EDGE) -> Spoil:
    def spoil(folder: Path) -> None:
        values = np.asarray(nibabel.load(folder / "mask.nii.gz").dataobj)
        save(folder / "mask.nii.gz", change(values), affine)

    return image(spoil)


def labelled(folder: Path, *, frame: str) -> None:
    """Image and mask with sidecars that name their frames of reference."""
    for name, at, unit in (("image", "1.2", "g/mL"), ("mask", frame, "1")):
        values = np.asarray(nibabel.load(folder / f"{name}.nii.gz").dataobj).T.copy()
        geometry = Geometry.from_spacing(values.shape, (3.0, 3.0, 3.0), frame=at)
        picture = Image(values, unit=unit, geometry=geometry)
        if name == "image":
            nifti.write(picture, folder / "image.nii.gz")
        else:
            nifti.write_labels(Region("m", "labels", {1: "t"}, picture), folder / "mask.nii.gz")


def series_gone(folder: Path) -> tuple[object, ...]:
    assert timelens(*RUN, cwd=folder).returncode == 0
    shutil.rmtree(folder / "scans")
    return ("export", "out", "--to", "dicom")


def table_broken(folder: Path) -> tuple[object, ...]:
    assert timelens(*RUN, cwd=folder).returncode == 0
    (folder / "out" / "measurements.csv").write_text("garbage")
    return ("report", "out")


def two_series(folder: Path) -> tuple[object, ...]:
    write(scan(body(A), patient=2, day=0), folder / "scans", 2, 0)
    return ("quantify", "scans", "--mask", "mask.nii.gz")


# -- cases: area, what it is, how it is made, exit code, message and facts --------------------------------------------

CASES: list[tuple[str, str, Spoil, int | None, tuple[str, ...]]] = [
    ("header", "no body weight", without(weight_g=None), 1,
     ("SUV of kind bw needs PatientWeight.", "write weight_g in study.yaml")),
    ("header", "no injected activity", without(administered_activity_bq=None), 1,
     ("The injected activity is not known", "write administered_activity_bq in study.yaml")),
    ("header", "no time of injection", without(administered_time=None), 1,
     ("The time of injection is not known.", "write administered_time in study.yaml")),
    ("header", "no half-life and no nuclide", without(half_life_s=None, radionuclide=None, agent="X"), 1,
     ("The half-life is not known.", "write half_life_s in study.yaml")),
    ("header", "activity in MBq where Bq belong", header(lambda d: set_(dose(d), RadionuclideTotalDose="300")), 1,
     ("No subject is imaged with that activity.", "MBq or kBq recorded as Bq?")),
    ("header", "weight in grams where kilograms belong", header(lambda d: set_(d, PatientWeight="75000")), 1,
     ("No body weighs that much.", "give the weight in kilograms (75?)")),
    ("header", "not corrected for decay", header(lambda d: set_(d, DecayCorrection="NONE")), 1,
     ("The image is not corrected for decay (NONE).",)),
    ("header", "not corrected for attenuation", header(lambda d: set_(d, CorrectedImage=["DECY"])), 1,
     ("The image is not corrected for attenuation (NAC)",)),
    ("header", "units that are no concentration", header(lambda d: set_(d, Units="PROPCPS")), 1,
     ("Values in units PROPCPS are not activity concentrations",)),
    ("header", "injection after the scan", header(injected_at_noon), 1,
     ("The time of injection does not fit the scan on the same day, nor on the day before.",)),
    ("folder", "a slice cut short", slice_("cut"), 1, ("The file is smaller than the pixels its header claims.",)),
    ("folder", "a slice missing", slice_("absent"), 1, ("1 slice is missing.", "copy the complete series again")),
    ("folder", "a slice twice", slice_("twice"), 0, ("A file is there twice; it was used once.",)),
    ("folder", "an empty folder", emptied(), 1, ("The folder is empty.",)),
    ("folder", "a folder of other files", emptied("a.txt", "b.docx"), 1,
     ("The folder holds no scan that timelens can read.", "2 other files")),
    ("folder", "a structure set of another frame of reference", outlines(other_frame), 1,
     ("The regions of this file lie in the space of no scan that was measured.", "1.2.3.4.5")),
    ("folder", "a structure set without contours", outlines(lambda d: delattr(d, "ROIContourSequence")), 1,
     ("The structure set holds no closed contour.",)),
    ("study.yaml", "no YAML", text("sessions: [unclosed"), 1, ("The study file is not YAML.",)),
    ("study.yaml", "a list in place of a mapping", text("- a\n- b\n"), 1, ("The study file has no list of sessions.",)),
    ("study.yaml", "a slip in a key (`wieght_g`)", inventory(lambda w, s, a: a.update(wieght_g=1)), 1,
     ("The acquisition sub-001_ses-01_pet has a key that is not known.", "wieght_g", "weight_g")),
    ("study.yaml", "a slip at the top (`sesions`)", inventory(lambda w, s, a: w.update(sesions=[])), 1,
     ("The study file has a key that is not known.", "sesions")),
    ("study.yaml", "a weight with its unit (`75 kg`)", inventory(lambda w, s, a: a.update(weight_g="75 kg")), 1,
     ("The value of weight_g in the study file cannot be used.", "75 kg", "a number")),
    ("study.yaml", "a time that is none", inventory(lambda w, s, a: a.update(administered_time="yesterday")), 1,
     ("The value of administered_time in the study file cannot be used.", "2024-03-01T09:30:00")),
    ("study.yaml", "a subject that is no BIDS label", inventory(lambda w, s, a: s.update(subject="patient 1")), 1,
     ("A session's subject is not a BIDS label.", "patient 1")),
    ("study.yaml", "a session twice", inventory(lambda w, s, a: w["sessions"].append(dict(s))), 1,
     ("A session stands twice in the study file.", "join the two, or rename one")),
    ("study.yaml", "a root that is not there", inventory(lambda w, s, a: w.update(root="elsewhere")), 1,
     ("A folder of the study is not there.", "correct 'root' in study.yaml")),
    ("study.yaml", "a file that is not there",
     inventory(lambda w, s, a: s.update(regions=[{"id": "r", "format": "labels", "files": ["no.nii.gz"],
                                                  "drawn_on": a["id"]}])), 1,
     ("A file of the study is not there.", "no.nii.gz")),
    ("options", "a lens that is not there", inventory(lambda w, s, a: w.update(options={"lens": "sonar"})), None,
     ("There is no such lens.", "sonar")),
    ("options", "a step that is not there", options(smooth={}), None, ("The PET lens has no such step.", "smooth")),
    ("options", "a parameter that is not there", options(segment={"treshold": 3}), None,
     ("The step 'segment' has no such parameter.", "treshold", "threshold")),
    ("options", "an unknown rule", command(*RUN, "--rule", "magic"), None,
     ("There is no such segmentation rule.", "magic", "percist, suv4, gradient")),
    ("options", "a fraction in percent (41)", command(*RUN, "--rule", "percent", "--fraction", "41"), None,
     ("The fraction of the step 'segment' cannot be used.", "between 0 and 1")),
    ("options", "PERCIST without a liver", command(*RUN, "--rule", "percist"), 1,
     ("The PERCIST rule needs a region of the liver.", "add it in study.yaml, or choose another rule")),
    ("options", "given masks without a mask", command(*RUN, "--rule", "given"), 1, ("No lesion is given.",)),
    ("options", "a seed outside of the image", command(*RUN, "--seed", "9000,0,0"), None,
     ("A seed lies outside the image.",)),
    ("options", "a negative resolution", command(*RUN, "--fwhm", "-6"), None,
     ("The fwhm_mm of the step 'partial_volume' cannot be used.", "-6")),
    ("options", "a ledger in another database", command(*RUN, "--ledger", "mysql://x/y"), 2,
     ("A ledger is kept in SQLite or PostgreSQL.", "mysql")),
    ("mask", "an image without a unit", image(lambda folder: None, unit=None), 1,
     ("The unit of the image is not known.", "--unit g/mL")),
    ("mask", "a unit that is none (`SUV`)", image(lambda folder: None, unit="SUV"), 1,
     ("Unknown unit 'SUV'.", "write 'g/mL'")),
    ("mask", "a unit that contradicts the file",
     image(lambda folder: labelled(folder, frame="1.2"), unit="Bq/mL"), 1,
     ("The unit stated is not the unit that the file gives.", "state no unit, or correct the sidecar")),
    ("mask", "a mask of another size", mask(lambda m: m[:, :15]), 1,
     ("Mask and image have different grids.", "20 x 15 x 20")),
    ("mask", "a mask that is shifted", mask(lambda m: m, EDGE + np.outer([60, 0, 0, 0], [0, 0, 0, 1])), 1,
     ("Mask and image have different grids.",)),
    ("mask", "a mask of another frame of reference", image(lambda folder: labelled(folder, frame="9.9"), unit=None), 1,
     ("The labels belong to another frame of reference than the image.", "9.9")),
    ("mask", "a mask without a voxel", mask(lambda m: 0 * m), 1, ("No lesion is given.",)),
    ("mask", "probabilities in place of labels", mask(lambda m: m * np.float32(0.7)), 1,
     ("A label file holds whole numbers.", "a probability map needs a threshold first")),
    ("mask", "negative labels", mask(lambda m: -m.astype(np.int16)), 1, ("A label is out of range.", "-1 to 0")),
    ("mask", "a DICOM image in place of a mask",
     lambda f: ("quantify", "image.nii.gz", "--mask", next(f.glob("scans/**/000001.dcm")), "--unit", "g/mL"), 2,
     ("The mask is a DICOM file, but neither SEG nor RTSTRUCT.",)),
    ("mask", "a folder with two series", two_series, 2, ("The folder holds several series.",)),
    ("mask", "a gzip file cut short",
     image(lambda f: (f / "image.nii.gz").write_bytes((f / "image.nii.gz").read_bytes()[:-200])), 1,
     ("The compressed data are truncated or damaged.", "copy the file again")),
    ("mask", "a picture in place of an image",
     image(lambda f: (f / "image.nii.gz").write_bytes(b"\xff\xd8\xff\xe0 a picture")), 1,
     ("Not a NIfTI file.",)),
    ("mask", "files that are not there", command("quantify", "a.nii", "--mask", "b.nii"), 2,
     ("There is no such file.",)),
    ("results", "a run on what is no study", command("run", "image.nii.gz", "-o", "out"), 2,
     ("There is nothing to run.", "a folder of scans, or study.yaml")),
    ("results", "a report of what are no results", command("report", "scans"), 2, ("This is no folder of results.",)),
    ("results", "an export of what are no results", command("export", "scans", "--to", "csv"), 2,
     ("This is no folder of results.",)),
    ("results", "an export in an unknown form", command("export", "scans", "--to", "excel"), 2,
     ("There is no such export.", "dicom, bids, ome-zarr, csv")),
    ("results", "a DICOM export whose series is gone", series_gone, 1, ("A folder of the study is not there.",)),
    ("results", "a table of results that was spoilt", table_broken, 1,
     ("The table of measurements lacks columns.", "measurements.csv")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "code", "facts"), [case[2:] for case in CASES], ids=[f"{case[0]}: {case[1]}" for case in CASES]
)
def test_bad_input(sound: Path, tmp_path: Path, spoil: Spoil, code: int | None, facts: tuple[str, ...]) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "x"))
    done = timelens(*(spoil(folder) or RUN), cwd=folder)
    said = " ".join(done.stderr.split())
    assert done.returncode == code or (code is None and done.returncode in (1, 2)), said
    assert "Traceback" not in said
    assert "fault of timelens" not in said
    for fact in facts:
        assert fact in said
    table = folder / "out" / "measurements.csv"
    if code == 1 and "SUV" in facts[0] and table.exists():
        assert ",suv_" not in table.read_text()


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("one voxel", None, {"suv_max": 6.0, "suv_sd": "one voxel", "mtv": 0.027}),
        ("a voxel that is NaN", np.nan, {"suv_mean": "NaN or infinite", "suv_peak": "NaN or infinite", "mtv": 1.728}),
        ("a voxel that is infinite", np.inf, {"suv_max": "NaN or infinite", "mtv": 1.728}),
    ],
)
def test_regions_that_have_no_value(
    sound: Path, tmp_path: Path, name: str, values: float | None, expected: dict[str, float | str]
) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "x"))
    if values is None:
        only = np.zeros((20, 20, 20), np.uint8)
        only[9, 9, 9] = 1
        save(folder / "mask.nii.gz", only)
    else:
        suv = np.asarray(nibabel.load(folder / "image.nii.gz").dataobj).copy()
        suv[9, 9, 9] = values
        save(folder / "image.nii.gz", suv)
    done = timelens("quantify", "image.nii.gz", "--mask", "mask.nii.gz", "--unit", "g/mL", "--json", cwd=folder)
    rows = {r["quantity"]: r for r in json.loads(done.stdout) if r["region"] != "all lesions"}
    for quantity, value in expected.items():
        if isinstance(value, str):
            assert rows[quantity]["value"] is None
            assert value in rows[quantity]["reason"]
        else:
            assert math.isclose(rows[quantity]["value"], value, rel_tol=1e-6)
