"""Reading DICOM files that may be damaged or made to do harm.

Before memory is touched: a deflated data set is inflated piece by piece under a cap of size and ratio, and the pixels
that a header claims are held against the size of the file. Paths in a DICOMDIR cannot leave its folder. No UID is ever
used as a path. Every refusal names file and field.
"""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import walk
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from timelens.errors import FormatError, TimelensError, UnsafeFileError

__all__ = [
    "MAX_CLAIM",
    "MAX_INFLATED",
    "MAX_RATIO",
    "check_pixel_claim",
    "dicom_files",
    "directory_files",
    "image_size",
    "number",
    "numbers",
    "private",
    "quiet",
    "read_dataset",
    "text",
    "value",
]

#: Bytes that one file may inflate to.
MAX_INFLATED = 1 << 31
#: Inflated over deflated size, once more than :data:`FREE_SIZE` bytes come out (small files may be nearly all zeros).
MAX_RATIO = 100
FREE_SIZE = 32 << 20
#: Bytes of pixels that one file may claim.
MAX_CLAIM = 1 << 34

_PIECE = 1 << 20
_MARKER = b"DICM"
_DIRECTORY = "1.2.840.10008.1.3.10"
_PIXEL_WORDS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}

# What pydicom raises on damaged content, seen by truncating and corrupting files at every offset.
_DAMAGE = (
    OSError,  # pydicom's own, without a number
    EOFError,
    InvalidDicomError,
    BytesLengthException,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    NotImplementedError,
    OverflowError,
    MemoryError,
    RecursionError,
    AssertionError,
    struct.error,
    zlib.error,
)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings about values that break a length or character rule.

    Such files are common and harmless, and the messages repeat values, which may name a patient.
    """
    log = logging.getLogger("pydicom")
    before = log.disabled
    log.disabled = True  # asked for every value: a change of level would empty the caches of all loggers
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        log.disabled = before


def read_dataset(
    path: str | Path, *, pixels: bool = False, only: Sequence[str] | None = None, check: bool = True
) -> Dataset:
    """Read one DICOM file under guard.

    Parameters
    ----------
    path
        The file.
    pixels
        Whether pixels are read too.
    only
        Keywords to read; all by default.
    check
        Whether the claimed size of pixels is held against the file (see :func:`check_pixel_claim`).

    Raises
    ------
    FormatError
        If it is no DICOM file, or is damaged.
    UnsafeFileError
        If it would inflate beyond the caps, or claims more pixels than one file may.
    """
    place = Path(path)
    if not place.is_file():
        raise FormatError("There is no such file", file=place, expected="a DICOM file")
    try:
        with quiet(), place.open("rb") as stream:
            head = stream.read(144)
            if head[128:132] != _MARKER:
                raise FormatError(
                    "Not a DICOM file",
                    file=place,
                    field="bytes 128 to 131",
                    found=f"{len(head)} bytes" if len(head) < 132 else repr(head[128:132]),
                    expected="DICM",
                )
            syntax = _transfer_syntax(place)
            if syntax == DeflatedExplicitVRLittleEndian:
                _check_deflated(place, stream, head)
            stream.seek(0)
            dataset = pydicom.dcmread(
                stream, stop_before_pixels=not pixels, specific_tags=None if only is None else list(only)
            )
            if check:
                # pydicom stops before the header of the pixel element, which takes 8 or 12 bytes.
                begin = 0 if pixels else stream.tell() + (8 if syntax and syntax.is_implicit_VR else 12)
                room = max(place.stat().st_size - begin, 0)
                check_pixel_claim(dataset, place, room=room, syntax=syntax)
    except TimelensError:
        raise
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:  # pydicom's own OSError has no number
            raise FormatError("The file cannot be opened", file=place, found=error.strerror) from error
        raise FormatError(
            "The DICOM file is damaged or truncated",
            file=place,
            field="data set",
            found=type(error).__name__,
            expected="a complete DICOM data set",
            mend="copy or export the file again",
        ) from error
    return dataset


def _transfer_syntax(place: Path) -> UID | None:
    meta = pydicom.filereader.read_file_meta_info(place)
    return meta.get("TransferSyntaxUID")


def _check_deflated(place: Path, stream: Any, head: bytes) -> None:
    """Inflate without keeping anything, and stop at the caps."""
    group, element, vr, size, length = struct.unpack("<HH2sHL", head[132:144])
    if (group, element, vr, size) != (2, 0, b"UL", 4):
        raise UnsafeFileError(
            "A deflated file must say where its data set starts", file=place, field="FileMetaInformationGroupLength"
        )
    stream.seek(144 + length)
    inflater, came_in, came_out = zlib.decompressobj(-zlib.MAX_WBITS), 0, 0
    while not inflater.eof:
        piece = inflater.unconsumed_tail
        if not piece:
            piece = stream.read(_PIECE)
            came_in += len(piece)
        if not piece:
            raise FormatError(
                "The DICOM file is truncated",
                file=place,
                field="deflated data set",
                found=f"{came_in} bytes without an end",
            )
        came_out += len(inflater.decompress(piece, _PIECE))
        if came_out > MAX_INFLATED or (came_out > FREE_SIZE and came_out > MAX_RATIO * came_in):
            raise UnsafeFileError(
                "The deflated data set inflates beyond what is allowed",
                file=place,
                field="TransferSyntaxUID",
                found=f"more than {came_out} bytes from {came_in}",
                expected=f"at most {MAX_INFLATED} bytes and {MAX_RATIO} times the deflated size",
                mend="if the file is genuine, convert it to explicit VR little endian with a DICOM tool",
            )


def check_pixel_claim(dataset: Dataset, path: str | Path, *, room: int, syntax: UID | None = None) -> int:
    """Hold the pixels that a header claims against the bytes left for them in the file; bytes claimed.

    Raises
    ------
    FormatError
        If the file is smaller than its pixels, or the size of the image cannot be read.
    UnsafeFileError
        If the claim is beyond :data:`MAX_CLAIM`.
    """
    if "Rows" not in dataset or "Columns" not in dataset:
        return 0
    rows, columns = number(dataset, "Rows", path) or 0, number(dataset, "Columns", path) or 0
    frames = number(dataset, "NumberOfFrames", path) if "NumberOfFrames" in dataset else 1.0
    samples = number(dataset, "SamplesPerPixel", path) or 1
    bits = number(dataset, "BitsAllocated", path) or 8
    if frames is None or rows < 1 or columns < 1 or frames < 1 or samples < 1:
        raise FormatError(
            "The header claims an empty image",
            file=path,
            field="Rows, Columns, NumberOfFrames",
            found=f"{rows:g} x {columns:g} x {0 if frames is None else frames:g}",
            expected="positive sizes",
        )
    claim = int(rows * columns * frames * samples * bits + 7) // 8
    if claim > MAX_CLAIM:
        raise UnsafeFileError(
            "The header claims more pixels than one file may hold",
            file=path,
            field="Rows, Columns, NumberOfFrames",
            found=f"{claim} bytes",
            expected=f"at most {MAX_CLAIM} bytes",
        )
    syntax = syntax or dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise FormatError("The transfer syntax is not named", file=path, field="TransferSyntaxUID", found="nothing")
    if syntax.is_private or not syntax.is_transfer_syntax:
        raise FormatError("Unknown transfer syntax", file=path, field="TransferSyntaxUID", found=str(syntax))
    if syntax.is_deflated:  # its size is capped where it is inflated
        return claim
    packed = syntax.is_encapsulated
    if not packed and claim > room:
        raise FormatError(
            "The file is smaller than the pixels its header claims",
            file=path,
            field="PixelData",
            found=f"{room} bytes",
            expected=f"at least {claim} bytes",
            mend="the file is truncated, or Rows, Columns or NumberOfFrames are wrong: export it again",
        )
    if packed and claim > FREE_SIZE and claim > 20 * MAX_RATIO * room:
        raise UnsafeFileError(
            "The header claims far more pixels than the compressed file can hold",
            file=path,
            field="Rows, Columns, NumberOfFrames",
            found=f"{claim} bytes from {room}",
            expected=f"at most {20 * MAX_RATIO} times the compressed size",
        )
    return claim


# -- values ----------------------------------------------------------------------------------------------------------


def value(dataset: Dataset, keyword: str, path: str | Path = "") -> Any:
    """The value of an element, or None where it is absent or empty.

    Raises
    ------
    FormatError
        If what stands there is no value of its kind.
    """
    try:
        tag = tag_for_keyword(keyword)
        item = None if tag is None else dataset.get_item(tag)
        if item is None or isinstance(item, DataElement):  # nothing to be converted, about which pydicom might warn
            found = None if item is None else item.value
        else:
            with quiet():
                found = dataset.get(keyword)
    except _DAMAGE as error:
        raise FormatError(
            "A value cannot be read", file=path, field=keyword, found=type(error).__name__, expected="a valid value"
        ) from error
    if found is None or (isinstance(found, str | bytes | MultiValue | list) and len(found) == 0):
        return None
    return found


def number(dataset: Dataset, keyword: str, path: str | Path = "") -> float | None:
    """A finite number (the first, where there are several), or None where it is absent.

    Raises
    ------
    FormatError
        If it is not a finite number.
    """
    found = numbers(dataset, keyword, path)
    return None if found is None else found[0]


def numbers(dataset: Dataset, keyword: str, path: str | Path = "", *, count: int | None = None) -> list[float] | None:
    """Finite numbers, or None where the element is absent.

    Raises
    ------
    FormatError
        If one is not a finite number, or there are not ``count`` of them.
    """
    found = value(dataset, keyword, path)
    if found is None:
        return None
    parts = list(found) if isinstance(found, MultiValue | list) else [found]
    try:
        result = [float(part) for part in parts]
    except (TypeError, ValueError):
        result = [float("nan")]
    if not all(abs(v) < float("inf") for v in result) or (count is not None and len(result) != count):
        raise FormatError(
            "Not as many finite numbers as there should be",
            file=path,
            field=keyword,
            found=f"{len(parts)} values: {', '.join(str(p)[:16] for p in parts[:6])}",
            expected=f"{count or 'only'} finite numbers",
        )
    return result


def text(dataset: Dataset, keyword: str, path: str | Path = "") -> str:
    """Text without padding; empty where the element is absent. Several values are joined by a backslash."""
    found = value(dataset, keyword, path)
    if found is None:
        return ""
    parts = list(found) if isinstance(found, MultiValue | list) else [found]
    return "\\".join(str(p) for p in parts).strip(" \0")


def image_size(dataset: Dataset, path: str | Path) -> tuple[int, int]:
    """Rows and columns.

    Raises
    ------
    FormatError
        If one is not stated.
    """
    found = [number(dataset, keyword, path) for keyword in ("Rows", "Columns")]
    if found[0] is None or found[1] is None:
        raise FormatError(
            "The image has no size", file=path, field="Rows, Columns", found="nothing", expected="numbers"
        )
    return int(found[0]), int(found[1])


def private(dataset: Dataset, group: int, creator: str, element: int) -> str | None:
    """Text of a private element, or None where it is absent or damaged. Implicit VR files hold it as bytes."""
    try:
        with quiet():
            found = dataset.private_block(group, creator)[element].value
    except _DAMAGE:
        return None
    written = (found.decode("utf-8", "replace") if isinstance(found, bytes) else str(found)).strip(" \0")
    return written or None


# -- folders ---------------------------------------------------------------------------------------------------------


def dicom_files(folder: str | Path) -> list[Path]:
    """Regular files below a folder in a stable order; links that lead out of it and DICOMDIR are left out."""
    root = Path(folder)
    inside = root.resolve()
    found = []
    for place, folders, names in walk(root, followlinks=False):
        folders[:] = sorted(n for n in folders if not n.startswith("."))
        for name in sorted(names):
            file = Path(place) / name
            if name.startswith(".") or name.upper() == "DICOMDIR" or not file.is_file():
                continue
            if file.is_symlink() and not file.resolve().is_relative_to(inside):
                continue
            found.append(file)
    return found


def directory_files(dicomdir: str | Path) -> list[Path]:
    """The files that a DICOMDIR lists.

    Raises
    ------
    UnsafeFileError
        If an entry leads out of the folder of the DICOMDIR.
    FormatError
        If it is no DICOMDIR, or names a file that is not there.
    """
    place = Path(dicomdir)
    dataset = read_dataset(place)
    if str(dataset.file_meta.get("MediaStorageSOPClassUID", "")) != _DIRECTORY:
        raise FormatError("Not a DICOMDIR", file=place, field="MediaStorageSOPClassUID")
    root = place.parent.resolve()
    files = []
    for record in value(dataset, "DirectoryRecordSequence", place) or []:
        entry = value(record, "ReferencedFileID", place)
        if entry is None:
            continue
        parts = [str(p) for p in entry] if isinstance(entry, MultiValue | list) else [str(entry)]
        target = place.parent.joinpath(*parts)
        if any(_leaves(p) for p in parts) or not target.resolve().is_relative_to(root):
            raise UnsafeFileError(
                "An entry of the DICOMDIR leads out of its folder",
                file=place,
                field="ReferencedFileID",
                found="\\".join(parts),
                expected="plain names below the folder of the DICOMDIR",
                mend="name the folder with the images instead",
            )
        if not target.is_file():
            raise FormatError(
                "The DICOMDIR lists a file that is not there",
                file=place,
                field="ReferencedFileID",
                found="\\".join(parts),
                mend="copy the whole medium",
            )
        files.append(target)
    return files


def _leaves(part: str) -> bool:
    return (
        part in ("", ".", "..")
        or "\0" in part
        or len(PurePosixPath(part).parts) != 1
        or len(PureWindowsPath(part).parts) != 1
        or PureWindowsPath(part).drive != ""
    )
