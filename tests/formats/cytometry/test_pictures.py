"""Sections as OME pictures: written, recognised in folders, read back with their labels, and refused without a size."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tifffile
from tests.lenses.cytometry.sections import section

from timelens.errors import MissingFieldError, UnitError
from timelens.formats import ome_tiff, registry
from timelens.formats.cytometry import mcd, txt
from timelens.formats.cytometry.region import read_region
from timelens.formats.cytometry.tiff import write_mask
from timelens.formats.scan import load_acquisition, scan_folder

ENDINGS = (".ome.tiff", ".ome.zarr")


@pytest.fixture(scope="module")
def made():
    return section(8)


def test_a_picture_without_a_size_or_with_a_strange_one_is_refused(tmp_path, made):
    path = ome_tiff.write(made.acquisitions[0], tmp_path / "a.ome.tiff")
    (tmp_path / "a.json").unlink()
    for pattern, new, error, said in (
        (r' PhysicalSizeX="[^"]*"', "", MissingFieldError, "size of a pixel is not known"),
        (r'PhysicalSizeXUnit="µm"', 'PhysicalSizeXUnit="px"', UnitError, "Not a unit of length"),
    ):
        other = tmp_path / "b.ome.tiff"
        other.write_bytes(path.read_bytes())
        text = tifffile.tiffcomment(other)
        assert re.search(pattern, text)
        tifffile.tiffcomment(other, re.sub(pattern, new, text).encode())
        with pytest.raises(error, match=said):
            ome_tiff.read(other, unit="{counts}")


@pytest.mark.parametrize(("size", "unit", "um"), [("650", "nm", 0.65), ("0.00065", "mm", 0.65), ("2", "µm", 2.0)])
def test_sizes_in_other_units_are_converted(tmp_path, made, size, unit, um):
    path = ome_tiff.write(made.acquisitions[0], tmp_path / "a.ome.tiff")
    (tmp_path / "a.json").unlink()
    text = tifffile.tiffcomment(path)
    for axis in "XY":
        text = re.sub(rf'PhysicalSize{axis}="[^"]*"', f'PhysicalSize{axis}="{size}"', text)
        text = re.sub(rf'PhysicalSize{axis}Unit="[^"]*"', f'PhysicalSize{axis}Unit="{unit}"', text)
    tifffile.tiffcomment(path, text.encode())
    found = read_region([path], unit="{counts}")
    assert found.image.geometry.spacing[1:] == pytest.approx((um * 1e-3,) * 2)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_section_goes_out_and_comes_back(tmp_path, made, ending):
    scan = made.acquisitions[0]
    path = registry.write(scan, tmp_path / f"roi{ending}")
    found = read_region([path])
    assert np.array_equal(found.image.numpy(), scan.image.numpy())
    assert found.image.geometry.same_grid(scan.image.geometry) and found.image.unit == "{counts}"
    assert found.image.axes[0].coordinates == scan.image.axes[0].coordinates
    assert found.extra["channel_labels"] == scan.extra["channel_labels"] and found.modality == "cytometry"


def test_other_programs_read_size_names_and_metals(tmp_path, made):
    path = ome_tiff.write(made.acquisitions[0], tmp_path / "a.ome.tiff")
    text = tifffile.tiffcomment(path)
    assert 'PhysicalSizeX="1.0"' in text and 'PhysicalSizeXUnit="µm"' in text
    assert re.search(r'Name="CD45"[^>]*Fluor="Pr141"|Fluor="Pr141"[^>]*Name="CD45"', text)
    (tmp_path / "a.json").unlink()
    found = read_region([path], unit="{counts}")
    assert found.image.axes[0].coordinates[0] == "Pr141" and found.extra["channel_labels"][0] == "CD45"


@pytest.mark.parametrize("ending", ENDINGS)
def test_folders_know_sections_and_their_masks(tmp_path, made, ending):
    (tmp_path / "masks").mkdir()
    registry.write(made.acquisitions[0], tmp_path / f"roi{ending}")
    write_mask(made.regions[0].labels.numpy()[0], tmp_path / "masks" / "roi.tiff")
    (image, mask) = scan_folder(tmp_path).found
    assert (image.kind, image.modality, mask.kind, mask.references) == ("image", "cytometry", "region", (image.uid,))
    found = load_acquisition(image.format, image.files, id="a", subject="", session="", modality="cytometry")
    assert found.extra["channel_labels"][0] == "CD45"


def test_a_region_that_has_a_file_of_its_own_is_counted_once(tmp_path, made):
    mcd.write(made.acquisitions[0], tmp_path / "s.mcd")
    txt.write(made.acquisitions[0], tmp_path / "t.txt")
    for name in ("s_001", "t"):
        ome_tiff.write(made.acquisitions[0], tmp_path / f"{name}.ome.tiff")
    scan = scan_folder(tmp_path)
    assert [f.format for f in scan.found] == ["mcd", "imc-txt"]
    assert any("counted once" in p.message for p in scan.problems)


def test_a_picture_of_something_else_is_no_section(tmp_path, rng):
    path = tmp_path / "light.ome.tiff"
    tifffile.imwrite(path, rng.random((3, 8, 8), "f4"), ome=True, photometric="minisblack",
                     metadata={"axes": "CYX", "Channel": {"Name": ["red", "green", "blue"]}})  # fmt: skip
    (found,) = scan_folder(tmp_path).found
    assert found.modality == "unknown"


@pytest.mark.parametrize("attribute", ["Fluor", "Name"])
def test_metals_alone_tell_a_section_whose_unit_is_then_asked_for(tmp_path, rng, attribute):
    path = tmp_path / "a.ome.tiff"
    tifffile.imwrite(path, rng.random((2, 8, 8), "f4"), ome=True, photometric="minisblack",
                     metadata={"axes": "CYX", "PhysicalSizeX": 1.0, "PhysicalSizeY": 1.0,
                               "Channel": {"Name": ["CD45", "DNA1"], attribute: ["Pr141", "Ir191"]}})  # fmt: skip
    (found,) = scan_folder(tmp_path).found
    assert found.modality == "cytometry"
    with pytest.raises(MissingFieldError, match="unit of the image is not known"):
        read_region(found.files)


def test_damaged_pictures_are_no_sections(tmp_path):
    (tmp_path / "a.ome.tiff").write_bytes(b"II*\0 and nothing")
    (tmp_path / "b.ome.zarr").mkdir()
    (tmp_path / "b.ome.zarr" / "zarr.json").write_text('{"attributes": {"ome": [1], "timelens": 3}}')
    assert {f.modality for f in scan_folder(tmp_path).found} == {"unknown"}
