"""Which format a file or folder is, and the reader for it.

The content decides, not the name: the first bytes (gunzipped where needed), or what a folder holds. The name is asked
only where a format has no mark of its own.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from timelens.errors import DataError, FormatError, TimelensError, UsageError
from timelens.formats import safety
from timelens.study.acquisition import Acquisition
from timelens.study.geometry import Geometry
from timelens.study.region import Region

__all__ = ["LABEL_FORMATS", "READERS", "WRITERS", "read", "read_labels", "sniff", "write"]

#: Format to the module that reads it into an acquisition.
READERS = {
    "bids": "timelens.formats.bids",
    "blood": "timelens.formats.blood",
    "dicom": "timelens.formats.dicom",
    "ecat": "timelens.formats.ecat",
    "h5ad": "timelens.formats.h5ad",
    "imc-txt": "timelens.formats.cytometry.txt",
    "interfile": "timelens.formats.interfile",
    "mcd": "timelens.formats.cytometry.mcd",
    "nifti": "timelens.formats.nifti",
    "nrrd": "timelens.formats.nrrd",
    "ome-tiff": "timelens.formats.ome_tiff",
    "ome-zarr": "timelens.formats.ome_zarr",
    "pmod-blood": "timelens.formats.blood",
    "tiff": "timelens.formats.cytometry.tiff",
}
#: Ending of a name to the format that it is written in.
WRITERS = {
    ".nii.gz": "nifti",
    ".nii": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".hv": "interfile",
    ".hdr": "interfile",
    ".v": "ecat",
    ".v.gz": "ecat",
    ".zarr": "ome-zarr",
    ".ome.tiff": "ome-tiff",
    ".ome.tif": "ome-tiff",
    ".mcd": "mcd",
}
#: Formats that a label file may have.
LABEL_FORMATS = ("nifti", "nrrd", "tiff")
_HEAD = 4096
_IMC_TEXT = b"Start_push\tEnd_push\tPushes_duration"
_LOOK_AT_MOST = 200


def sniff(path: str | Path) -> str | None:
    """The format of a file or folder, or None.

    Parameters
    ----------
    path
        A file, an OME-Zarr folder, a PET-BIDS dataset, or a folder with DICOM files.

    Raises
    ------
    DataError
        If nothing is there.
    """
    place = Path(path)
    if not place.exists():
        raise DataError("There is no such file or folder", file=path, field="path", expected="a file or folder")
    return _sniff_folder(place) if place.is_dir() else _sniff_file(place)


def _sniff_folder(folder: Path) -> str | None:
    if any((folder / name).is_file() for name in ("zarr.json", ".zgroup", ".zattrs", ".zarray")):
        return "ome-zarr"
    if (folder / "dataset_description.json").is_file():
        return "bids"
    for number, place in enumerate(sorted(folder.rglob("*"))):
        if number >= _LOOK_AT_MOST:
            break
        if place.is_file() and safety.inside(folder, place) and _sniff_file(place) == "dicom":
            return "dicom"
    return None


def _blood_by_content(head: str) -> bool:
    """Whether a text is a table of blood samples; the reader, which is heavy, is asked only where it might be."""
    first = head.lower()
    if "time" not in first or not any(word in first for word in ("blood", "plasma", "parent")):
        return False
    return bool(import_module(READERS["blood"]).looks_like(head))


def _is_ome(place: Path) -> bool:
    """Whether a TIFF file is described by OME-XML; one that is too damaged to say goes by its name."""
    import tifffile

    by_name = place.name.lower().endswith((".ome.tif", ".ome.tiff"))
    try:
        with tifffile.TiffFile(place) as opened:
            return by_name or bool(opened.is_ome)
    except Exception:  # noqa: BLE001 - a damaged file breaks the parser anywhere; the reader says how
        return True


def _sniff_file(place: Path) -> str | None:
    if not place.is_file() or place.stat().st_size == 0:
        return None
    try:
        with safety.open_expanded(place) as stream:
            head = stream.read(_HEAD)
    except (EOFError, zlib.error, gzip.BadGzipFile, OSError):
        return _by_name(place)
    name = place.name.lower()
    if head[128:132] == b"DICM":
        return "dicom"
    if head[:6] == b"MATRIX":
        return "ecat"
    if (len(head) >= 348 and head[344:348] in (b"n+1\0", b"ni1\0")) or head[4:8] in (b"n+2\0", b"ni2\0"):
        return "nifti"
    if head[:4] == b"NRRD":
        return "nrrd"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "ome-tiff" if _is_ome(place) else "tiff"
    if head.removeprefix(b"\xef\xbb\xbf").startswith(_IMC_TEXT):
        return "imc-txt"
    if b"interfile" in head[:256].lower().replace(b" ", b""):
        return "interfile"
    if name.endswith((".bld", ".crv", ".kbq")) or (
        name.endswith((".csv", ".tsv", ".txt"))
        and not name.endswith("_blood.tsv")
        and _blood_by_content(head.decode("utf-8", "replace"))
    ):
        return "pmod-blood"
    if name.endswith("_blood.tsv"):
        return "blood"
    return _by_name(place)


def _by_name(place: Path) -> str | None:
    """By ending alone, so that a damaged file still meets the reader that can say what is wrong with it."""
    endings = {
        ".dcm": "dicom",
        ".nii": "nifti",
        ".nii.gz": "nifti",
        ".nrrd": "nrrd",
        ".nhdr": "nrrd",
        ".v": "ecat",
        ".v.gz": "ecat",
        ".hv": "interfile",
        ".ome.tif": "ome-tiff",
        ".ome.tiff": "ome-tiff",
        ".mcd": "mcd",
        ".h5ad": "h5ad",
    }
    name = place.name.lower()
    return next((kind for ending, kind in endings.items() if name.endswith(ending)), None)


def _require(path: str | Path) -> str:
    found = sniff(path)
    if found is None:
        raise FormatError(
            "The format is not known",
            file=path,
            field="content",
            found="neither the content nor the name is that of a known format",
            expected=", ".join(sorted(READERS)),
        )
    return found


def read(path: str | Path, *, unit: str | None = None, **options: Any) -> Acquisition:
    """Read one file, or a folder with one series, whatever its format.

    Parameters
    ----------
    path
        The file or folder.
    unit
        UCUM code of the values, where the file does not state it.
    **options
        Handed to the reader of the format: ``modality``, ``id``, ``subject``, ``session`` and what it has of its own.

    Raises
    ------
    DataError
        If nothing is there, the format is not known, or the content cannot be used.
    """
    kind = _require(path)
    if unit is not None:
        options["unit"] = unit
    try:
        return _read(kind, path, options)
    except TimelensError as error:
        raise error.at(file=path) from None


def _read(kind: str, path: str | Path, options: dict[str, Any]) -> Acquisition:
    module = import_module(READERS[kind])
    if kind == "bids":
        scans = module.read(path, unit=options.get("unit")).acquisitions
        if len(scans) != 1:
            raise DataError(
                "The dataset does not hold exactly one scan",
                file=path,
                field="sub-*/pet",
                found=f"{len(scans)} scans",
                expected="one",
                mend="name the file of one scan, or run the whole study",
            )
        return scans[0]
    if kind == "dicom":
        stated = {key: value for key in ("id", "modality") if (value := options.pop(key, None)) is not None}
        return replace(module.read_series(path, **options), **stated)
    return module.read(path, **options)


def read_labels(path: str | Path, *, geometry: Geometry, id: str | None = None) -> Region:  # noqa: A002
    """Read a label file drawn on an image, NIfTI, NRRD or (cell masks) TIFF; see :mod:`timelens.formats.labels`.

    Raises
    ------
    FormatError
        If it is of another format, or holds anything but labels.
    GeometryError
        If it belongs to another frame of reference.
    """
    kind = _require(path)
    if kind not in LABEL_FORMATS:
        raise FormatError("Not a label file", file=path, field="format", found=kind, expected=", ".join(LABEL_FORMATS))
    return import_module(READERS[kind]).read_labels(path, geometry=geometry, id=id)


def write(data: Any, path: str | Path) -> Path:
    """Write an acquisition or image in the format that the ending of the name says.

    Raises
    ------
    UsageError
        If no format has that ending.
    """
    name = Path(path).name.lower()
    kind = next((k for ending, k in WRITERS.items() if name.endswith(ending)), None)
    if kind is None:
        raise UsageError("No format has that ending", field="path", found=name, expected=", ".join(WRITERS))
    return import_module(READERS[kind]).write(data, path)
