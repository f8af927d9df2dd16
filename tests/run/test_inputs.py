"""What enters a session's numbers: regions of other series, overlaps, roles, syringes, options, resume keys."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tests.run.conftest import DOSE, FIRST, HALF_LIFE, SHAPE, SPACING, A, B, ball, body, scan, write

from timelens.errors import DataError, UsageError
from timelens.formats import dicom, nifti, ome_zarr
from timelens.formats.scan import guess_role
from timelens.run.api import StudyRun, run_study
from timelens.run.inputs import Inputs
from timelens.run.inventory import SessionEntry, read_inventory
from timelens.study import Acquisition, Geometry, Image, Region


def first_value(result: StudyRun, region: str, quantity: str) -> float:
    return next(m.value for m in result.measurements if (m.region, m.quantity) == (region, quantity))


def problems(result: StudyRun) -> str:
    return " | ".join(p["message"] for p in result.problems)


def labels(acquisition: Acquisition, masks: dict[str, np.ndarray], roles: dict[int, Any] | None = None) -> Region:
    values = np.zeros(acquisition.image.shape, np.int16)
    for number, mask in enumerate(masks.values(), start=1):
        values[mask] = number
    image = Image(values, unit="1", geometry=acquisition.image.geometry)
    return Region("drawn", "labels", dict(enumerate(masks, start=1)), image, roles=roles or {})


@pytest.fixture
def one(tmp_path: Path) -> tuple[Path, Acquisition, list[Path]]:
    """A patient with lesions of SUV 8 and 6."""
    acquisition = scan(body(A, B), patient=1, day=0)
    return tmp_path / "scans", acquisition, write(acquisition, tmp_path / "scans", 1, 0)


def test_contours_drawn_on_the_ct_count_on_the_pet(one: tuple[Path, Acquisition, list[Path]], tmp_path: Path) -> None:
    """The CT has slices of 3 mm and the PET of 4 mm; the lesion's volume is kept within 10 %."""
    root, pet, _ = one
    assert pet.image.geometry is not None
    fine = pet.image.geometry.with_spacing((3.0, 2.0, 2.0))
    hounsfield = np.zeros(fine.shape, np.float32)
    ct = Acquisition("ct", "ct", Image(hounsfield, unit="[hnsf'U]", geometry=fine), description="CT",
                     series_time=pet.series_time, acquisition_time=pet.acquisition_time)  # fmt: skip
    files = dicom.write_series(
        ct, root / "ct", identity={"PatientID": "SECRET-1", "PatientName": "Doe^Jane1"}, study="p1d0"
    )
    index = np.stack(np.meshgrid(*[np.arange(n) for n in fine.shape], indexing="ij"), axis=-1)
    centre = pet.image.geometry.to_mm(A[0])
    mask = np.linalg.norm(fine.to_mm(index) - centre, axis=-1) <= 14
    dicom.write_rtstruct(labels(ct, {"GTV": mask}), root / "rs.dcm", files)
    result = run_study(root, tmp_path / "out")
    assert {m.method.split(";")[0] for m in result.measurements} == {"given"}
    expected = 4 / 3 * np.pi * 14**3 / 1e3
    assert first_value(result, "GTV", "mtv") == pytest.approx(expected, rel=0.1)
    assert first_value(result, "GTV", "suv_max") == pytest.approx(8, rel=1e-3)


def test_a_body_contour_does_not_swallow_the_lesion(one: tuple[Path, Acquisition, list[Path]], tmp_path: Path) -> None:
    root, pet, files = one
    lesion, everything = ball(A[0], 14), ball((12, 15, 16), 46)
    for number, (name, mask) in enumerate({"GTV": lesion, "BODY": everything, "Liver": ball((8, 12, 20), 26)}.items()):
        dicom.write_rtstruct(labels(pet, {name: mask}, {1: "unknown"}), root / f"rs{number}.dcm", files)
    result = run_study(root, tmp_path / "out")
    assert first_value(result, "GTV", "voxel_count") == lesion.sum()
    assert first_value(result, "all lesions", "tmtv") == pytest.approx(lesion.sum() * 0.064)


def test_overlapping_lesions_are_named(one: tuple[Path, Acquisition, list[Path]], tmp_path: Path) -> None:
    root, pet, files = one
    big, inner = ball(A[0], 14), ball(A[0], 8)
    for number, (name, mask) in enumerate({"lesion big": big, "lesion inner": inner}.items()):
        dicom.write_rtstruct(labels(pet, {name: mask}), root / f"rs{number}.dcm", files)
    result = run_study(root, tmp_path / "out")
    assert "overlap; the shared voxels count for the first" in problems(result)
    assert "lies wholly in others" in problems(result)
    assert not result.complete
    total = next(m for m in result.measurements if m.quantity == "tmtv")
    assert np.isnan(total.value)
    assert "no voxel" in total.reason


def test_roles_in_the_file_go_before_names(one: tuple[Path, Acquisition, list[Path]], tmp_path: Path) -> None:
    root, pet, files = one
    masks = {"Leber": ball((16, 12, 10), 12), "Herd": ball(A[0], 14)}
    dicom.write_seg(labels(pet, masks, {1: "liver", 2: "lesion"}), root / "seg.dcm", files)
    result = run_study(root, tmp_path / "out")
    assert first_value(result, "all lesions", "lesion_count") == 1
    assert first_value(result, "Herd", "tumor_to_liver_ratio") == pytest.approx(4, rel=1e-2)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("SpinalCord", "organ"), ("Parotid_L", "organ"), ("Couch", "reference"), ("LungL", "organ"),
        ("Larynx", "organ"),
        ("Liver met 1", "lesion"), ("Brain mets", "lesion"), ("GTVp1", "lesion"), ("Liver", "liver"),
        ("Aorta", "blood pool"), ("left carotid artery", "blood pool"), ("AIF", "blood pool"),
        ("xyz", "unknown"), ("BODY", "reference"),
    ],
)  # fmt: skip
def test_names_speak_of_roles(name: str, role: str) -> None:
    assert guess_role(name) == role


def test_regions_of_which_nobody_says_what_they_are(one: tuple[Path, Acquisition, list[Path]], tmp_path: Path) -> None:
    root, pet, files = one
    dicom.write_rtstruct(
        labels(pet, {"GTV": ball(A[0], 14), "zzz": ball(B[0], 12)}, {1: "lesion", 2: "unknown"}), root / "rs.dcm", files
    )
    out = tmp_path / "out"
    result = run_study(root, out)
    assert "Nobody says what these regions are" in problems(result)
    assert first_value(result, "all lesions", "lesion_count") == 1
    document = yaml.safe_load((out / "study.yaml").read_text())
    assert document["sessions"][0]["regions"][0]["roles"] == {1: "lesion", 2: "?"}


def test_every_segmentation_of_a_series_is_read(one: tuple[Path, Acquisition, list[Path]], tmp_path: Path) -> None:
    import pydicom

    root, pet, files = one
    uids = set()
    for number, spot in enumerate((A, B)):
        path = dicom.write_seg(labels(pet, {f"lesion {number}": ball(spot[0], 10)}), root / f"seg{number}.dcm", files)
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID = "1.2.826.0.1.99"
        dataset.save_as(path)
        uids.add(dataset.SOPInstanceUID)
    assert len(uids) == 2
    result = run_study(root, tmp_path / "out")
    assert first_value(result, "all lesions", "lesion_count") == 2


def test_an_unreadable_structure_set_is_not_replaced_by_a_rule(
    one: tuple[Path, Acquisition, list[Path]], tmp_path: Path
) -> None:
    root, pet, files = one
    path = dicom.write_rtstruct(labels(pet, {"GTV": ball(A[0], 14)}), root / "rs.dcm", files)
    run_study(root, tmp_path / "first")
    document = yaml.safe_load((tmp_path / "first" / "study.yaml").read_text())
    document["root"] = str(root)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(document))
    path.write_bytes(path.read_bytes()[:900])
    result = run_study(tmp_path / "study.yaml", tmp_path / "out")
    assert not result.complete
    assert not [m for m in result.measurements if m.quantity == "tmtv"]
    assert "No lesion is given" in problems(result)


def test_readings_of_the_syringe_count_whoever_says_them(
    one: tuple[Path, Acquisition, list[Path]], tmp_path: Path
) -> None:
    root, _, _ = one
    inventory = tmp_path / "study.yaml"
    run_study(root, tmp_path / "first")
    document = yaml.safe_load((tmp_path / "first" / "study.yaml").read_text())
    document["root"] = str(root)
    document["sessions"][0]["acquisitions"][0]["residual_activity_bq"] = DOSE / 5
    inventory.write_text(yaml.safe_dump(document))
    result = run_study(inventory, tmp_path / "out")
    assert first_value(result, "all lesions", "suv_max") == pytest.approx(8 / 0.8, rel=1e-3)
    document["sessions"][0]["acquisitions"][0] |= {
        "residual_activity_bq": None,
        "assay_time": (FIRST - timedelta(seconds=HALF_LIFE)).isoformat(),
    }
    inventory.write_text(yaml.safe_dump(document))
    later = run_study(inventory, tmp_path / "out2")
    assert first_value(later, "all lesions", "suv_max") == pytest.approx(16, rel=1e-3)


@pytest.mark.parametrize("time", ["2024-03-01", "2024-03-01T09:00:00Z", "2024-03-01T09:00:00+02:00", "soon"])
def test_times_without_clock_or_with_zone_are_refused(
    time: str, one: tuple[Path, Acquisition, list[Path]], tmp_path: Path
) -> None:
    root, _, _ = one
    run_study(root, tmp_path / "first")
    text = (tmp_path / "first" / "study.yaml").read_text()
    document = yaml.safe_load(text)
    document["root"] = str(root)
    document["sessions"][0]["acquisitions"][0]["administered_time"] = yaml.safe_load(time)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(document))
    result = run_study(tmp_path / "study.yaml", tmp_path / "out")
    assert "cannot be used" in problems(result)
    assert not [m for m in result.measurements if m.quantity.startswith("suv")]


@pytest.mark.parametrize(
    "options",
    [
        {"segment": {"rule": "suv4"}},
        {"pett": {}},
        {"pet": {"segment": {"threshold": -1}}},
        {"pet": {"segment": {"fraction": 1.5}}},
        {"pet": {"segment": {"reference": "spleen"}}},
    ],
)
def test_options_that_nobody_knows_are_wrong_use(
    options: dict[str, Any], one: tuple[Path, Acquisition, list[Path]], tmp_path: Path
) -> None:
    with pytest.raises(UsageError):
        run_study(one[0], tmp_path / "out", options=options)


def test_the_command_line_goes_over_the_session(one: tuple[Path, Acquisition, list[Path]], tmp_path: Path) -> None:
    root, _, _ = one
    run_study(root, tmp_path / "first")
    document = yaml.safe_load((tmp_path / "first" / "study.yaml").read_text())
    document["root"] = str(root)
    document["sessions"][0]["options"] = {"pet": {"segment": {"rule": "fixed", "threshold": 7.0}}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(document))
    own = run_study(tmp_path / "study.yaml", tmp_path / "a")
    assert first_value(own, "all lesions", "lesion_count") == 1
    stated = {"pet": {"segment": {"threshold": 5.0}}}
    over = run_study(tmp_path / "study.yaml", tmp_path / "b", options=stated)
    assert first_value(over, "all lesions", "lesion_count") == 2


def test_sidecars_and_tables_of_names_enter_the_key(tmp_path: Path) -> None:
    """A changed dose in the JSON, or a changed name in the table, is computed anew."""
    root = tmp_path / "scans"
    root.mkdir()
    pet = scan(body(A), patient=1, day=0)
    nifti.write(pet, root / "p1_pet.nii.gz")
    nifti.write_labels(labels(pet, {"alpha": ball(A[0], 14)}), root / "p1_mask.nii.gz")
    beside = root / "p1_mask.json"
    out = tmp_path / "out"
    before = run_study(root, out)
    assert first_value(before, "alpha", "suv_max") == pytest.approx(8, rel=1e-3)
    sidecar = json.loads((root / "p1_pet.json").read_text())
    key = next(k for k in sidecar if k.lower().startswith("injectedradioactivity") and not k.endswith("Units"))
    sidecar[key] *= 2
    (root / "p1_pet.json").write_text(json.dumps(sidecar))
    beside.write_text(beside.read_text().replace("alpha", "beta"))
    after = run_study(root, out)
    assert [o.status for o in after.outcomes] == ["done"]
    assert first_value(after, "beta", "suv_max") == pytest.approx(4, rel=1e-3)


def test_an_image_that_is_a_folder_runs(tmp_path: Path) -> None:
    root = tmp_path / "scans"
    root.mkdir()
    pet = scan(body(A), patient=1, day=0)
    ome_zarr.write(pet, root / "p1_pet.ome.zarr")
    result = run_study(root, tmp_path / "out")
    assert first_value(result, "all lesions", "suv_max") == pytest.approx(8, rel=1e-3), problems(result)


def test_an_uncorrected_image_gives_no_concentration(tmp_path: Path) -> None:
    root = tmp_path / "scans"
    plain = replace(scan(body(A), patient=1, day=0), extra={"CorrectedImage": ("DECY", "SCAT")})
    files = write(plain, root, 1, 0)
    dicom.write_rtstruct(labels(plain, {"GTV": ball(A[0], 14)}), root / "rs.dcm", files)
    result = run_study(root, tmp_path / "out")
    assert result.measurements == []
    assert "not corrected for attenuation" in problems(result)


def test_names_in_paths_stay_out_of_the_results(tmp_path: Path) -> None:
    root = tmp_path / "scans"
    acquisition = replace(scan(body(A), patient=1, day=0), description="WB Miller^Jane")
    dicom.write_series(acquisition, root / "MILLER^JANE_19500101" / "pet",
                       identity={"PatientID": "MRN12345", "PatientName": "Miller^Jane"})  # fmt: skip
    out = tmp_path / "out"
    run_study(root, out)
    for path in out.rglob("*"):
        if path.is_file() and "private" not in path.parts and path.name != "study.yaml":
            assert b"miller" not in path.read_bytes().lower(), path


def test_a_study_file_with_one_id_twice_is_refused(one: tuple[Path, Acquisition, list[Path]], tmp_path: Path) -> None:
    root, _, _ = one
    run_study(root, tmp_path / "first")
    document = yaml.safe_load((tmp_path / "first" / "study.yaml").read_text())
    session = document["sessions"][0]
    session["acquisitions"].append(dict(session["acquisitions"][0]))
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(DataError, match="have one id"):
        read_inventory(tmp_path / "study.yaml")


def test_animals_need_values_of_their_own(tmp_path: Path) -> None:
    root = tmp_path / "scans"
    write(scan(body(A), patient=1, day=0), root, 1, 0)
    options = {"pet": {"animals": {"m1": {"weight_g": 20.0}, "m2": {"weight_g": 22.0}}}}
    result = run_study(root, tmp_path / "out", options=options)
    assert "needs values of its own" in problems(result)
    assert result.measurements == []


def test_geometry_of_the_fixture() -> None:
    """The ball of the fixture is a ball in millimetres: volumes in the tests above rest on it."""
    geometry = Geometry.from_spacing(SHAPE, SPACING)
    assert ball(A[0], 14).sum() * geometry.voxel_volume == pytest.approx(4 / 3 * np.pi * 14**3, rel=0.05)


def test_a_changed_file_that_an_option_names_is_another_run(tmp_path: Path) -> None:
    gates = tmp_path / "gates.csv"
    gates.write_text("type,parent,positive\nt-cell,,CD3\n")
    entry, inputs = SessionEntry("sub-001", "ses-01"), Inputs()

    def key(named: object) -> str:
        return inputs.run(entry, {"cytometry": {"types": {"gates": named}}}, 1, 1).id

    first = key(str(gates))
    assert key(str(gates)) == first and key("") != first
    gates.write_text("type,parent,positive\nt-cell,,CD4\n")
    assert key(str(gates)) != first
