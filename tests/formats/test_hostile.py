"""Bad input of every format through the one door, ``registry.read``: what each gets, word for word.

The same lines stand in the table of ``docs/robustness.md``.
"""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from timelens.errors import TimelensError
from timelens.formats import bids, ecat, interfile, nrrd, ome_tiff, ome_zarr, registry, safety
from timelens.study import Acquisition, FrameTiming, Geometry, Image

GRID = Geometry.from_spacing((2, 3, 4), (4, 3, 2), frame="F")
IMAGE = Image(np.arange(24, dtype="f4").reshape(2, 3, 4), unit="Bq/mL", geometry=GRID)


def nifti_file(path: Path, *, cut: int | None = None, append: bytes = b"", packed: bool = False, **header: Any) -> Path:
    image = nib.Nifti1Image(np.arange(24, dtype="i2").reshape(4, 3, 2), np.diag([2.0, 3, 4, 1]))
    image.header.set_xyzt_units("mm")
    raw = bytearray(image.to_bytes())
    view = np.frombuffer(raw, image.header.template_dtype, 1)
    for key, value in header.items():
        view[key] = value
    data = gzip.compress(bytes(raw), mtime=0) if packed else bytes(raw)
    path.write_bytes(data[:cut] + append)
    return path


def gz(path: Path, append: bytes) -> Path:
    packed = path.with_name("b.nii.gz")
    packed.write_bytes(gzip.compress(path.read_bytes() + append))
    return packed


def with_sidecar(path: Path, **said: Any) -> Path:
    path.with_name(path.name.split(".")[0] + ".json").write_text(json.dumps(said))
    return path


def edited(path: Path, old: bytes, new: bytes) -> Path:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    return path


def zarr_folder(folder: Path, array: dict[str, Any] | None = None, level: str = "0") -> Path:
    path = ome_zarr.write(IMAGE, folder / "a.ome.zarr")
    place = path / "0" / "zarr.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), **(array or {})}))
    return edited(path / "zarr.json", b'"path": "0"', b'"path": "%s"' % level.encode()).parent


def tiff(folder: Path, old: bytes, new: bytes) -> Path:
    path = ome_tiff.write(IMAGE, folder / "a.ome.tif")
    assert len(old) == len(new)
    return edited(path, old, new)


def bomb(folder: Path) -> Path:
    path = folder / "plasma.bld"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", bytes(1 << 22))
    return path


def blood_table(folder: Path, text: str) -> Path:
    path = folder / "sub-01_recording-manual_blood.tsv"
    path.write_text(text)
    return path


def dataset(folder: Path, **participants: str) -> Path:
    path = bids.write(Acquisition("a", "pet", IMAGE, subject="sub-01"), folder)
    target = folder.parent / "outside.nii.gz"
    path.rename(target)
    path.symlink_to(target)
    return path


ENTITIES = b'<!DOCTYPE a [<!ENTITY b "b">]>'

# Input in words, what makes it, the message. {x} is the path of the file.
CASES: list[tuple[str, Any, str]] = [
    (
        "NIfTI: 352 bytes whose header claims 64 GB",
        lambda d: nifti_file(d / "a.nii", cut=352, dim=[3, 4096, 4096, 2048, 1, 1, 1, 1]),
        "The header claims more data than the file holds. File: {x}. Field: dim. Found: 68,719,477,088 bytes claimed, "
        "352 bytes in the file.",
    ),
    (
        "NIfTI: `vox_offset` 0, so that header bytes would be read as voxels",
        lambda d: nifti_file(d / "a.nii", vox_offset=0),
        "The pixels would begin inside the header. File: {x}. Field: vox_offset. Found: 0.0. "
        "Expected: a whole number of at least 352.",
    ),
    (
        "NIfTI: a negative dimension",
        lambda d: nifti_file(d / "a.nii", dim=[3, -4, 3, 2, 1, 1, 1, 1]),
        "The dimensions are not those of an image. File: {x}. Field: dim. Found: [3, -4, 3, 2, 1, 1, 1, 1].",
    ),
    (
        "NIfTI: NaN in the affine",
        lambda d: nifti_file(d / "a.nii", srow_x=[np.nan, 0, 0, 0]),
        "The geometry cannot be used: it is not finite. File: {x}. Field: sform.",
    ),
    (
        "NIfTI: bytes after the image",
        lambda d: nifti_file(d / "a.nii", append=b"garbage"),
        "The file holds more data than its header claims. File: {x}. Field: dim. Found: 7 bytes too many.",
    ),
    (
        "NIfTI: a gzip file cut off",
        lambda d: nifti_file(d / "a.nii.gz", packed=True, cut=-20),
        "The compressed data are truncated or damaged. File: {x}. Field: compressed data.",
    ),
    (
        "NIfTI: garbage behind the gzip stream",
        lambda d: nifti_file(d / "a.nii.gz", packed=True, append=b"garbage"),
        "The compressed data are truncated or damaged. File: {x}. Field: compressed data. Found: Not a gzipped file",
    ),
    (
        "NIfTI: a gzip bomb behind an honest header",
        lambda d: (p := nifti_file(d / "a.nii"), gz(p, bytes(1 << 22)))[1],
        "The data expand beyond the limit. File: {x}. Field: compressed data. Found: more than 400 bytes.",
    ),
    (
        "NIfTI: a gzip file whose header claims what deflate cannot give",
        lambda d: nifti_file(d / "a.nii.gz", packed=True, dim=[3, 2000, 2000, 2000, 1, 1, 1, 1]),
        "The header claims more data than the file holds. File: {x}. Field: dim. Found: 16,000,000,352 bytes claimed,",
    ),
    (
        "NIfTI: no unit in file, sidecar or call",
        lambda d: nifti_file(d / "a.nii"),
        "The unit of the image is not known. File: {x}. Field: Units.",
    ),
    (
        "sidecar: not JSON",
        lambda d: edited(with_sidecar(nifti_file(d / "a.nii"), Units="1").with_suffix(".json"), b"}", b"").with_suffix(
            ".nii"
        ),
        "Not valid JSON. File: {json}. Field: JSON.",
    ),
    (
        "sidecar: a number written as text",
        lambda d: with_sidecar(nifti_file(d / "a.nii"), Units="Bq/mL", InjectedRadioactivity="400"),
        "InjectedRadioactivity is not a finite number. File: {json}. Field: InjectedRadioactivity. Found: str '400'.",
    ),
    (
        "sidecar: an injected activity without its unit (MBq or Bq?)",
        lambda d: with_sidecar(nifti_file(d / "a.nii"), Units="Bq/mL", InjectedRadioactivity=400),
        "InjectedRadioactivity has no unit. File: {json}. Field: InjectedRadioactivityUnits. Found: nothing.",
    ),
    (
        "sidecar: unit `SUV`, which is no unit",
        lambda d: with_sidecar(nifti_file(d / "a.nii"), Units="SUV"),
        "Unknown unit 'SUV'. File: {json}. Field: Units. Found: SUV.",
    ),
    (
        "sidecar: frames that overlap",
        lambda d: with_sidecar(nifti_file(d / "a.nii"), Units="1", FrameTimesStart=[0, 1], FrameDuration=[60, 60]),
        "Frame 0 ends after frame 1 starts. File: {json}. Field: FrameDuration. Found: 60 s > 1 s.",
    ),
    (
        "sidecar: `TimeZero` is no clock time",
        lambda d: with_sidecar(nifti_file(d / "a.nii"), Units="1", TimeZero="noon"),
        "TimeZero is not a clock time hh:mm:ss. File: {json}. Field: TimeZero. Found: str 'noon'.",
    ),
    (
        "sidecar: describes another grid than the image",
        lambda d: with_sidecar(
            nifti_file(d / "a.nii"),
            timelens={"unit": "1", "shape": [2, 3, 4], "affine": np.eye(4)[[2, 1, 0, 3]].tolist()},
        ),
        "The sidecar describes another grid than the image file has. File: {x}. Field: timelens.affine.",
    ),
    (
        "ECAT 7: cut off within a frame",
        lambda d: (p := ecat.write(IMAGE, d / "a.v"), p.write_bytes(p.read_bytes()[:1540]))[0],
        "The header claims more data than the file holds. File: {x}. Field: dimensions of frame 1. "
        "Found: 1,584 bytes claimed, 1,540 bytes in the file.",
    ),
    (
        "ECAT 7: a directory that points outside the file",
        lambda d: edited(
            ecat.write(IMAGE, d / "a.v"), b"\x01\x01\x00\x01\x00\x00\x00\x03", b"\x01\x01\x00\x01\x00\x00\xff\xff"
        ),
        "A subheader lies outside the file. File: {x}. Field: frame 1. Found: 33553408.",
    ),
    (
        "NRRD: a data file elsewhere",
        lambda d: edited(nrrd.write(IMAGE, d / "a.nhdr"), b"data file: a.raw.gz", b"data file: ../../etc/passwd"),
        "A name inside the file leads out of its folder. File: {x}. Field: data file. Found: '../../etc/passwd'.",
    ),
    (
        "NRRD: sizes beyond the file",
        lambda d: edited(nrrd.write(IMAGE, d / "a.nrrd"), b"sizes: 4 3 2", b"sizes: 40000 30000 20000"),
        "The header claims more data than the file holds. File: {x}. Field: sizes. Found: '40000 30000 20000'.",
    ),
    (
        "Interfile: a data file elsewhere",
        lambda d: edited(interfile.write(IMAGE, d / "a.hv"), b":= a.raw", b":= /etc/passwd"),
        "A name inside the file leads out of its folder. File: {x}. Field: name of data file. Found: '/etc/passwd'.",
    ),
    (
        "Interfile: projections in place of an image",
        lambda d: edited(interfile.write(IMAGE, d / "a.hv"), b":= reconstructed", b":= acquired"),
        "The file holds projections, no image. File: {x}. Field: process status. Found: 'acquired'.",
    ),
    (
        "OME-Zarr: a level outside the folder",
        lambda d: zarr_folder(d, level="../../etc"),
        "A name inside the file leads out of its folder. File: {x}. Field: datasets[0].path. Found: '../../etc'.",
    ),
    (
        "OME-Zarr: a codec that unpickles objects",
        lambda d: zarr_folder(d, {"codecs": [{"name": "numcodecs.pickle"}]}),
        "The array uses a codec that does more than compress numbers. File: {x}. Field: codecs. "
        "Found: 'numcodecs.pickle'.",
    ),
    (
        "OME-Zarr: an absurd shape",
        lambda d: zarr_folder(d, {"shape": [10**6, 10**6, 10**6]}),
        "The shape claims more data than the folder holds. File: {x}. Field: shape. "
        "Found: 4,000,000,000,000,000,000 bytes claimed,",
    ),
    (
        "OME-Zarr: a chunk of 4 GB",
        lambda d: zarr_folder(
            d, {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1024, 1024, 1024]}}}
        ),
        "A chunk is too large. File: {x}. Field: chunks. Found: [1024, 1024, 1024].",
    ),
    (
        "OME-TIFF: an XML entity bomb",
        lambda d: tiff(d, b'<?xml version="1.0" encoding="U', ENTITIES + b"<"),
        "The XML holds a DTD or entities. File: {x}. Field: OME-XML.",
    ),
    (
        "OME-TIFF: sizes that the pages do not have",
        lambda d: tiff(d, b'SizeX="4"', b'SizeX="9"'),
        "A page has another size than the XML says. File: {x}. Field: page 0. Found: (3, 4, 1). Expected: (3, 9, 1).",
    ),
    (
        "blood table: garbage",
        lambda d: blood_table(d, "\x02\x03\n"),
        "The first line does not name the columns. File: {x}. Field: columns.",
    ),
    (
        "blood table: a cell that is no number",
        lambda d: blood_table(d, "time\tplasma_radioactivity\n0\tmuch\n"),
        "A cell is not a number. File: {x}. Field: plasma_radioactivity, row 1. Found: 'much'.",
    ),
    (
        "PMOD blood file: a spreadsheet that is a zip bomb",
        bomb,
        "The data expand more than images do: a compression bomb. File: {x}. Field: member sizes.",
    ),
    (
        "BIDS: a scan that is a link out of the dataset",
        dataset,
        "A link leads out of the dataset. File: {x}. Field: path.",
    ),
    (
        "a file of no known format",
        lambda d: (p := d / "notes.txt", p.write_text("notes"))[0],
        "The format is not known. File: {x}. Field: content.",
    ),
]


def read_all(path: Path, folder: Path, unit: str | None) -> None:
    """Read it, pixels included."""
    if path.is_symlink():
        bids.read_scan(path, folder, unit=unit)
    else:
        data = registry.read(path, unit=unit).data
        assert isinstance(data, Image)
        data.numpy()


def outcome(make: Any, folder: Path, unit: str | None = None) -> tuple[str, Path]:
    """What is said of the input, and where it lies."""
    path = make(folder)
    with pytest.raises(TimelensError) as caught:
        read_all(path, folder, unit)
    return str(caught.value), path


@pytest.mark.parametrize(("made", "message"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_bad_input(tmp_path, monkeypatch, made, message):
    monkeypatch.setattr(safety, "FREE_BYTES", 1 << 20)
    folder = tmp_path / "in"
    folder.mkdir()
    # Every case but those about units says its unit, so that nothing else can be what is refused.
    states = any(word in message for word in ("unit", "{json}", "timelens.affine"))
    found, path = outcome(made, folder, None if states else "Bq/mL")
    expected = message.replace("{x}", str(path)).replace("{json}", str(path.with_suffix(".json")))
    assert found.startswith(expected), found


def test_milliseconds_are_a_warning(tmp_path):
    frames = FrameTiming(np.array([0.0, 300_000]), np.array([300_000.0, 300_000]))
    image = Image(np.zeros((2, 2, 3, 4), "f4"), unit="1", geometry=GRID, frames=frames)
    (found,) = registry.read(registry.write(image, tmp_path / "a.nii")).problems
    assert found.severity == "warning"
    assert str(found).startswith("A frame lasts 300000 s, which looks like milliseconds. File:")
