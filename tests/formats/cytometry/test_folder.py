"""Slides in folders: what belongs together, what is counted once, and what is left out by name."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from tests.formats.cytometry.make import slide

from timelens.errors import UsageError
from timelens.formats import registry
from timelens.formats.cytometry import mcd
from timelens.formats.cytometry.region import read_region
from timelens.formats.cytometry.tiff import write_mask
from timelens.formats.scan import load_acquisition, load_region, scan_folder
from timelens.run.discover import discover

PANEL = "channel,name,keep,deepcell\nIr191,DNA,1,1\nPr141,CD8a,1,\n"


@pytest.fixture
def study(tmp_path, rng):
    """A slide of two regions with texts, panel, masks and plain pictures of both regions, and a stray picture."""
    images = [rng.poisson(3, (2, 6, 5)).astype("f4"), rng.poisson(3, (2, 4, 7)).astype("f4")]
    raw = tmp_path / "raw"
    raw.mkdir()
    slide(raw, images)
    for kind in ("masks_a", "img", "elsewhere"):
        (tmp_path / kind).mkdir()
    (tmp_path / "panel.csv").write_text(PANEL)
    write_mask(np.pad([[1, 1], [0, 2]], ((0, 4), (0, 3))), tmp_path / "masks_a" / "s_001.tiff")
    tifffile.imwrite(tmp_path / "img" / "s_002.tiff", images[1])
    tifffile.imwrite(tmp_path / "elsewhere" / "photo.tif", images[1])
    return tmp_path


def test_a_region_is_counted_once(study):
    scan = scan_folder(study)
    found = [(f.kind, f.format, f.series, [p.name for p in f.files]) for f in scan.found]
    assert found == [
        ("image", "mcd", "1", ["s.mcd", "s_ROI_001_1.txt", "panel.csv"]),
        ("image", "mcd", "2", ["s.mcd", "s_ROI_002_2.txt", "panel.csv"]),
        ("region", "labels", "", ["s_001.tiff"]),
    ]
    assert sorted(p.name for p in scan.not_used) == ["photo.tif", "s_002.tiff"]
    said = {p.file.rsplit("/", 1)[-1]: p.message for p in scan.problems}
    assert "counted once" in said["img"] and "neither channels nor the size" in said["elsewhere"]


def test_a_slide_is_a_subject_and_its_masks_lie_on_their_region(study):
    inventory = discover(study)
    (entry,) = inventory.sessions
    assert [a["modality"] for a in entry.acquisitions] == ["cytometry", "cytometry"]
    assert [a["series"] for a in entry.acquisitions] == ["1", "2"]
    (mask,) = entry.regions
    assert mask["id"] == "masks_a-1" and mask["drawn_on"] == entry.acquisitions[0]["id"]


def test_regions_and_masks_are_read_with_their_panel(study):
    scan = scan_folder(study)
    files = scan.found[0].files
    read = load_acquisition("mcd", files, id="a", subject="sub-1", session="", modality="cytometry", series="1")
    assert read.extra["channel_labels"] == ("DNA", "CD8a") and read.extra["nuclear_channels"] == ("Ir191",)
    assert read.image.shape == (2, 1, 6, 5) and read.id == "a"
    cells = load_region("labels", scan.found[2].files, id="cells", on=read.image.geometry)
    assert sorted(cells.names) == [1, 2] and cells.extra["cells"]


def test_slides_whose_names_begin_alike_keep_their_own_texts(study, rng):
    other = study / "other"
    other.mkdir()
    images = [rng.poisson(3, (2, 3, 4)).astype("f4"), rng.poisson(3, (2, 4, 3)).astype("f4")]
    slide(other, images)
    for path in other.iterdir():
        path.rename(study / "raw" / path.name.replace("s", "s_b", 1))
    found = {(f.files[0].stem, f.series): [p.name for p in f.files[1:-1]] for f in scan_folder(study).found[:4]}
    assert found == {
        ("s", "1"): ["s_ROI_001_1.txt"], ("s", "2"): ["s_ROI_002_2.txt"],
        ("s_b", "1"): ["s_b_ROI_001_1.txt"], ("s_b", "2"): ["s_b_ROI_002_2.txt"],
    }  # fmt: skip
    path = study / "raw" / "s.mcd"
    path.write_bytes(path.read_bytes()[:200])  # what is left to be read from texts is this slide's
    assert [r.image.shape[2:] for r in mcd.read_slide(path).regions] == [(6, 5), (4, 7)]


def test_slides_of_one_name_keep_their_own_masks(study, rng):
    for name in ("masks_a", "raw", "img", "elsewhere"):
        (study / "one").mkdir(exist_ok=True)
        (study / name).rename(study / "one" / name)
    (study / "two" / "masks_a").mkdir(parents=True)
    slide(study / "two", [rng.poisson(3, (2, 4, 4)).astype("f4")])
    write_mask(np.eye(4, dtype="u2"), study / "two" / "masks_a" / "s_001.tiff")
    scan = scan_folder(study)
    images = {f.uid: f for f in scan.found if f.kind == "image"}
    for mask in (f for f in scan.found if f.kind == "region"):
        assert images[mask.references[0]].files[0].is_relative_to(mask.files[0].parents[1])
    assert len(images) == 3 and sum(f.kind == "region" for f in scan.found) == 2


def test_a_text_file_alone_is_a_region(study):
    (study / "raw" / "s.mcd").unlink()
    found = [f for f in scan_folder(study).found if f.kind == "image"]
    assert [f.format for f in found] == ["imc-txt", "imc-txt"]
    assert found[0].subject != found[1].subject
    read = load_acquisition("imc-txt", found[0].files, id="a", subject="", session="", modality="cytometry")
    assert read.extra["channel_labels"] == ("DNA", "CD8a")


def test_a_cut_slide_still_gives_every_region(study):
    whole = (study / "raw" / "s.mcd").read_bytes()
    (study / "raw" / "s.mcd").write_bytes(whole[: len(whole) // 8])
    found = [f for f in scan_folder(study).found if f.kind == "image"]
    assert [f.series for f in found] == ["1", "2"]


def test_an_unreadable_slide_is_named(study):
    for path in (study / "raw").glob("*"):
        path.write_bytes(b"") if path.suffix == ".txt" else path.write_bytes(b"nothing")
    scan = scan_folder(study)
    assert not [f for f in scan.found if f.kind == "image"]
    assert any("no region that can be read" in p.message for p in scan.problems)


def test_plain_pictures_with_a_panel_are_regions_once_their_pixels_have_a_size(study, rng):
    (study / "raw" / "s.mcd").unlink()
    for path in (study / "raw").glob("*.txt"):
        path.unlink()
    values = rng.poisson(3, (2, 6, 5)).astype("f4")
    tifffile.imwrite(study / "img" / "s_001.tiff", values, photometric="minisblack")
    tifffile.imwrite(study / "elsewhere" / "photo.tif", values[:1], photometric="minisblack")
    scan = scan_folder(study)
    found = [(f.kind, f.format, [p.name for p in f.files]) for f in scan.found]
    assert found == [
        ("image", "tiff", ["s_001.tiff", "panel.csv"]), ("image", "tiff", ["s_002.tiff", "panel.csv"]),
        ("region", "labels", ["s_001.tiff"]),
    ]  # fmt: skip
    assert len({f.subject for f in scan.found}) == 1 and [p.name for p in scan.not_used] == ["photo.tif"]
    assert scan.found[2].references == (scan.found[0].uid,)
    inventory = discover(study)
    assert all("pixel_size_um" in a["needs"] for a in inventory.sessions[0].acquisitions)
    stated = {"id": "a", "subject": "", "session": "", "modality": "cytometry", "pixel_size_um": 0.65}
    read = load_acquisition("tiff", scan.found[0].files, **stated)
    assert np.array_equal(read.image.numpy()[:, 0], values) and read.extra["channel_labels"] == ("DNA", "CD8a")
    assert read.extra["nuclear_channels"] == ("Ir191",)
    assert read.image.geometry.spacing[1] == pytest.approx(6.5e-4)


def test_a_panel_of_another_slide_is_left_aside(study):
    (study / "panel.csv").write_text("channel,name\nYb176,Ki67\n")
    files = scan_folder(study).found[0].files
    read = read_region(files, region="1")
    assert any("left aside" in p.message for p in read.problems)
    assert read.extra["channel_labels"] != ("DNA", "CD8a")


def test_two_panels_equally_near_are_none(study):
    (study / "other.csv").write_text(PANEL)
    assert [p.suffix for p in scan_folder(study).found[0].files] == [".mcd", ".txt"]


def test_channels_without_a_row_keep_their_label(study):
    (study / "panel.csv").write_text("channel,name,keep\nPr141,CD8a,1\n")
    read = read_region(scan_folder(study).found[0].files, region="1")
    assert read.extra["channel_labels"][1] == "CD8a"
    assert any("does not name all channels" in p.message for p in read.problems)


def test_no_file_of_a_region(tmp_path):
    (tmp_path / "panel.csv").write_text(PANEL)
    with pytest.raises(UsageError, match="No file of a region"):
        read_region([tmp_path / "panel.csv"])


def test_formats_are_told_by_content(study):
    sniffed = {p.name: registry.sniff(p) for p in study.rglob("*") if p.is_file()}
    assert sniffed["s.mcd"] == "mcd" and sniffed["s_ROI_001_1.txt"] == "imc-txt" and sniffed["photo.tif"] == "tiff"
    assert sniffed["panel.csv"] is None


def test_the_published_slides(shared_data):
    found = scan_folder(shared_data / "imc_hyperion")
    assert sum(f.kind == "image" for f in found.found) == 9 and sum(f.kind == "region" for f in found.found) == 18
    assert len({f.subject for f in found.found}) == 3
    assert not [p for p in found.problems if p.severity == "error"]
