"""What a scan of a folder ties together: labels and their image, sidecars and their scans."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from timelens.run.api import open_study, run_study

GRID = (6, 6, 3)


def put(path: Path, data: np.ndarray, said: dict[str, object] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(data.astype(np.float32), np.diag([2.0, 2.0, 4.0, 1.0]))
    image.header["sform_code"] = image.header["qform_code"] = 1
    nibabel.save(image, path)
    if said is not None:
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(said))


@pytest.fixture
def echoes(tmp_path: Path) -> Path:
    """Four gradient echoes of one subject, T2* 40 ms, and a label file whose name is not that of the images."""
    root = tmp_path / "scans"
    anat = root / "sub-01" / "anat"
    for k in range(1, 5):
        signal = np.full(GRID, 1000 * np.exp(-k / 8))
        put(anat / f"sub-01_echo-{k}_MEGRE.nii.gz", signal, {"EchoTime": 0.005 * k, "MagneticFieldStrength": 3})
    drawn = np.zeros(GRID)
    drawn[1:4, 1:4] = 1
    put(anat / "sub-01_dseg.nii.gz", drawn)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    return root


def test_labels_belong_to_the_only_image_of_their_folder(echoes: Path) -> None:
    (entry,) = open_study(echoes).sessions
    assert entry.regions[0]["drawn_on"] == entry.acquisitions[0]["id"]


def test_labels_between_two_images_are_not_tied_by_guess(echoes: Path, tmp_path: Path) -> None:
    signal = np.stack([np.full(GRID, 1000 * np.exp(-b * 1e-3)) for b in (0, 400, 800)], axis=-1)
    put(echoes / "sub-01" / "anat" / "sub-01_dwi.nii.gz", signal, {})
    (echoes / "sub-01" / "anat" / "sub-01_dwi.bval").write_text("0 400 800")
    (entry,) = open_study(echoes).sessions
    assert entry.regions[0]["drawn_on"] == ""
    problems = run_study(echoes, tmp_path / "out").outcomes[0].problems
    assert any("_dseg at the end" in p.mend for p in problems)


def test_sidecars_are_read_with_their_scans(echoes: Path) -> None:
    (echoes / "notes.json").write_text("{}")
    assert open_study(echoes).not_used == ["notes.json"]


def test_regions_drawn_on_an_unreadable_scan_are_named(echoes: Path, tmp_path: Path) -> None:
    sidecar = echoes / "sub-01" / "anat" / "sub-01_echo-2_MEGRE.json"
    sidecar.write_text(json.dumps({"EchoTime": 10, "MagneticFieldStrength": 3}))  # milliseconds
    problems = run_study(echoes, tmp_path / "out").outcomes[0].problems
    assert any("These regions are left out" in p.message and p.severity == "warning" for p in problems)


def test_a_file_that_breaks_off_is_named_from_the_root(echoes: Path, tmp_path: Path) -> None:
    image = echoes / "sub-01" / "anat" / "sub-01_echo-4_MEGRE.nii.gz"
    image.write_bytes(image.read_bytes()[:-30])
    problems = run_study(echoes, tmp_path / "out").outcomes[0].problems
    assert "sub-01/anat/sub-01_echo-4_MEGRE.nii.gz" in {p.file for p in problems}
