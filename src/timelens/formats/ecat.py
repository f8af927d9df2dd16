"""ECAT 7 image volumes (``.v``, ``.v.gz``).

A main header of 512 bytes, directory blocks, and for each frame a subheader and big-endian pixels. Value = stored
number x scale factor of the frame x calibration factor of the file, in the unit the header names; a file that says it
is not calibrated gets no unit from its header.

- Times are milliseconds from the start of the scan, which is in seconds since 1970.
- Decay: where the header says that frames are decay-corrected, and the factors it gives are those to the start of the
  scan, that is the reference; where they are others, the reference stays unknown and a warning says so.
- The dosage has no unit: it is recorded in ``extra`` and never used.
- Axes: for a patient head first and supine x runs to the left, y to the back, z to the feet. The position is relative
  to the centre of the image, for the header has no frame of reference.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.ecat import main_header_dtd, subheader_dtd
from numpy.typing import NDArray

from timelens.errors import DataError, FormatError, Problem, UsageError
from timelens.formats import assemble, atomic, safety, sidecar, sidecar_write
from timelens.study.acquisition import Acquisition
from timelens.study.axes import default_names
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.timing import FrameTiming

__all__ = ["DECAY_TOLERANCE", "read", "write"]

#: Largest relative difference between a frame's decay factor and the one computed to the start of the scan.
DECAY_TOLERANCE = 5e-3

_BLOCK = 512
_MAIN = np.dtype(main_header_dtd).newbyteorder(">")
_SUB = np.dtype(subheader_dtd).newbyteorder(">")
_TYPES = {1: ">u1", 5: ">f4", 6: ">i2", 7: ">i4"}
_LARGEST = 1e38
_VOLUMES = (6, 7)  # 8 and 16 bit image volumes
_DECAY_BIT = 1 << 9
_EPOCH = datetime(1970, 1, 1)
# Direction of x, y, z in RAS by patient orientation: feet or head first, prone or supine.
_DIRECTIONS = {0: (-1, 1, 1), 1: (1, 1, -1), 2: (1, -1, 1), 3: (-1, -1, -1)}
_UNKNOWN_ORIENTATION = 8


def read(
    path: str | Path,
    *,
    unit: str | None = None,
    described: Mapping[str, Any] | str | Path | None = None,
    modality: str | None = "pet",
    id: str | None = None,  # noqa: A002 - the field's name
    subject: str = "",
    session: str = "",
) -> Acquisition:
    """Read an ECAT 7 volume; pixels are read when first asked for.

    Parameters
    ----------
    path
        ``.v`` or ``.v.gz``.
    unit
        UCUM code of the values, where the file says that it is not calibrated.
    described
        Content or path of a sidecar; by default the ``.json`` of the same name, if it is there.
    modality, id, subject, session
        Where the caller knows them.

    Raises
    ------
    FormatError, UnsafeFileError
        If the file is damaged, truncated, gated or no image volume.
    MissingFieldError, UnitError
        If nobody states the unit, or two disagree.
    """
    problems: list[Problem] = []
    raw = _bytes(path)
    main = _main(raw, path)
    offsets = _directory(raw, path, int(main["num_frames"]), problems)
    subs = [_subheader(raw, offset, path, frame) for frame, offset in enumerate(offsets, 1)]
    size, stored = _common(subs, path)
    calibration = _calibration(main, path)
    factors = np.array([float(s["scale_factor"]) * calibration for s in subs])
    if not np.isfinite(factors).all() or (factors == 0).any():
        raise FormatError("A scale factor is not usable", file=path, field="scale_factor", found=factors.tolist())
    count = math.prod(size)

    said, source = assemble.described(path, described)
    shape: tuple[int, ...] = (len(subs), *size)
    axes = default_names(4)
    if said.axes is not None and len(said.axes) == 3 and len(subs) == 1:
        shape, axes = size, said.axes

    def load() -> NDArray[np.float32]:
        content = _bytes(path)
        result = np.empty((len(subs), *size), np.float32)
        for frame, offset in enumerate(offsets):
            start = offset + _BLOCK
            values = content[start : start + count * stored.itemsize].view(stored).reshape(size)
            np.multiply(values, factors[frame], out=result[frame], casting="unsafe")
        return result.reshape(shape)

    known = _known(main, subs, path, problems)
    return assemble.acquire(
        path,
        load,
        shape=shape,
        dtype=np.float32,
        axes=axes,
        geometry=_geometry(main, subs[0], size, path, problems),
        oriented=False,
        unit=unit,
        file_unit=_unit(main),
        said=said,
        sources=[source] if source else [],
        problems=problems,
        modality=modality,
        id=id,
        subject=subject,
        session=session,
        **known,
    )


def _bytes(path: str | Path) -> NDArray[np.uint8]:
    """The file as bytes: mapped, or expanded under a cap."""
    place = safety.existing(path)
    if safety.is_gzip(place):
        return np.frombuffer(safety.expand_file(place), np.uint8)
    return np.memmap(place, np.uint8, "r")


def _main(raw: NDArray[np.uint8], path: str | Path) -> Any:
    if len(raw) < 2 * _BLOCK:
        raise FormatError("The header is truncated", file=path, field="main header", found=f"{len(raw)} bytes")
    main = raw[: _MAIN.itemsize].tobytes()
    header = np.frombuffer(main, _MAIN)[0]
    if not header["magic_number"].startswith(b"MATRIX7"):
        raise FormatError(
            "Not an ECAT 7 file",
            file=path,
            field="magic_number",
            found=repr(header["magic_number"]),
            expected="MATRIX7...",
            mend="convert ECAT 6 files with the vendor's tools",
        )
    if int(header["file_type"]) not in _VOLUMES:
        raise FormatError(
            "Not an image volume",
            file=path,
            field="file_type",
            found=int(header["file_type"]),
            expected="7 (16 bit volume) or 6 (8 bit volume)",
        )
    return header


def _directory(raw: NDArray[np.uint8], path: str | Path, frames: int, problems: list[Problem]) -> list[int]:
    """Offset of the subheader of each frame, in the order of the frames."""
    entries: dict[int, int] = {}
    block, seen = 2, set()
    while block not in seen:
        seen.add(block)
        start = (block - 1) * _BLOCK
        if start < 0 or start + _BLOCK > len(raw):
            raise FormatError(
                "A directory block lies outside the file", file=path, field="directory", found=f"block {block}"
            )
        words = raw[start : start + _BLOCK].tobytes()
        table = np.frombuffer(words, ">i4").reshape(32, 4)
        for number, first, _, status in table[1 : 1 + min(max(int(table[0, 3]), 0), 31)].tolist():
            if status != 1:
                continue  # deleted or not written
            if (number >> 24) & 0x3F > 1 or (number >> 12) & 0xF:
                raise FormatError("Gated and multi-bed files are not supported", file=path, field="matrix number")
            frame = number & 0x1FF
            if frame in entries:
                raise FormatError("A frame stands there twice", file=path, field="matrix number", found=frame)
            entries[frame] = (first - 1) * _BLOCK
        block = int(table[0, 1]) or 2
    if not entries:
        raise FormatError("The file holds no frames", file=path, field="directory", found="no entries")
    if len(entries) != frames:
        problems.append(
            Problem("The header promises another number of frames than the file holds", str(path), "num_frames",
                    str(len(entries)), str(frames), "copy the file again if frames are missing", "warning")
        )  # fmt: skip
    return [entries[frame] for frame in sorted(entries)]


def _subheader(raw: NDArray[np.uint8], offset: int, path: str | Path, frame: int) -> Any:
    if offset < 2 * _BLOCK or offset + _BLOCK > len(raw):
        raise FormatError("A subheader lies outside the file", file=path, field=f"frame {frame}", found=offset)
    sub = np.frombuffer(raw[offset : offset + _SUB.itemsize].tobytes(), _SUB)[0]
    stored = _TYPES.get(int(sub["data_type"]))
    if stored is None:
        raise FormatError(
            "The data type is not supported",
            file=path,
            field=f"data_type of frame {frame}",
            found=int(sub["data_type"]),
            expected="1 (byte), 5 (float), 6 (int16) or 7 (int32)",
        )
    size = [int(sub[f"{a}_dimension"]) for a in "zyx"]
    if min(size) < 1:
        raise FormatError(
            "The dimensions are not positive", file=path, field=f"dimensions of frame {frame}", found=size
        )
    needed = offset + _BLOCK + math.prod(size) * np.dtype(stored).itemsize
    if needed > len(raw):
        raise FormatError(
            "The header claims more data than the file holds",
            file=path,
            field=f"dimensions of frame {frame}",
            found=f"{needed:,} bytes claimed, {len(raw):,} bytes in the file",
            expected="a header that fits the file",
            mend="copy the file again; the header or the file is damaged",
        )
    return sub


def _common(subs: list[Any], path: str | Path) -> tuple[tuple[int, int, int], np.dtype[Any]]:
    """Size (z, y, x) and stored type, which all frames share."""
    fields = ("x_dimension", "y_dimension", "z_dimension", "data_type", "x_pixel_size", "y_pixel_size", "z_pixel_size")
    for name in fields:
        if len({float(s[name]) for s in subs}) > 1:
            raise FormatError("Frames differ", file=path, field=name, found=sorted({float(s[name]) for s in subs}))
    z, y, x = (int(subs[0][f"{a}_dimension"]) for a in "zyx")
    return (z, y, x), np.dtype(_TYPES[int(subs[0]["data_type"])])


def _calibration(main: Any, path: str | Path) -> float:
    """The calibration factor; 1 where an uncalibrated file has none."""
    factor = float(main["ecat_calibration_factor"])
    calibrated = int(main["calibration_unitS"]) != 0
    if calibrated and not (math.isfinite(factor) and factor > 0):
        raise FormatError(
            "The calibration factor is not usable",
            file=path,
            field="ecat_calibration_factor",
            found=factor,
            expected="a positive number, as calibration_units says that the file is calibrated",
        )
    return factor if math.isfinite(factor) and factor > 0 else 1.0


def _unit(main: Any) -> str | None:
    """The unit that the header names, if it says that the values are calibrated."""
    text = _text(main, "data_units")
    return text if text and int(main["calibration_unitS"]) != 0 else None


def _text(header: Any, name: str) -> str:
    return bytes(header[name]).split(b"\0")[0].decode("latin-1").strip()


def _geometry(main: Any, sub: Any, size: tuple[int, int, int], path: str | Path, problems: list[Problem]) -> Geometry:
    spacing = [10 * float(sub[f"{a}_pixel_size"]) for a in "xyz"]  # cm to mm
    if not all(math.isfinite(s) and s > 0 for s in spacing):
        raise FormatError("The voxel sizes are not positive", file=path, field="x_pixel_size", found=spacing)
    code = int(main["patient_orientation"])
    if code not in _DIRECTIONS:
        problems.append(
            Problem("How the patient lay is not known: left and right, head and feet may be exchanged", str(path),
                    "patient_orientation", str(code), "0 to 3", "check against another image of the patient", "warning")
        )  # fmt: skip
    signed = np.array(spacing) * _DIRECTIONS.get(code, _DIRECTIONS[3])
    affine = np.diag([*signed, 1.0])
    affine[:3, 3] = -signed * (np.array(size[::-1]) - 1) / 2
    return Geometry.from_nifti(size[::-1], affine)


def _known(main: Any, subs: list[Any], path: str | Path, problems: list[Problem]) -> dict[str, Any]:
    """What the headers say about agent, times and subject."""
    half_life = float(main["isotope_halflife"])
    weight, height = float(main["patient_weight"]), float(main["patient_height"])
    scan, dose = (int(main[name]) for name in ("scan_start_time", "dose_start_time"))
    agent = _text(main, "radiopharmaceutical")
    known: dict[str, Any] = {
        "agent": agent if agent.lower() not in ("", "unknown") else None,
        "radionuclide": _text(main, "isotope_name") or None,
        "half_life_s": half_life if math.isfinite(half_life) and half_life > 0 else None,
        "acquisition_time": _EPOCH + timedelta(seconds=scan) if scan else None,
        "weight_g": 1000 * weight if math.isfinite(weight) and weight > 0 else None,
        "height_mm": 10 * height if math.isfinite(height) and height > 0 else None,
        "sex": s if (s := _text(main, "patient_sex")) in ("M", "F") else None,
        "extra": {"dosage": float(main["dosage"]), "branching_fraction": float(main["branching_fraction"])},
    }
    if dose and scan and dose > scan:
        problems.append(
            Problem("The dose was given after the scan began, so its time is not used", str(path), "dose_start_time",
                    str(_EPOCH + timedelta(seconds=dose)), f"before {_EPOCH + timedelta(seconds=scan)}",
                    "state administered_time", "warning")
        )  # fmt: skip
    elif dose:
        known["administered_time"] = _EPOCH + timedelta(seconds=dose)
    known["frames"] = _frames(subs, path, scan - dose if known.get("administered_time") and scan else None)
    corrected = [bool(int(s["corrections_applied"]) & _DECAY_BIT) for s in subs]
    known["extra"]["ImageDecayCorrected"] = all(corrected)
    if len(set(corrected)) > 1:
        raise FormatError("Some frames are decay-corrected and some are not", file=path, field="corrections_applied")
    if all(corrected):
        known["decay_reference"] = _reference(subs, known, path, problems)
    return known


def _frames(subs: list[Any], path: str | Path, since_injection: int | None) -> FrameTiming | None:
    start = np.array([float(s["frame_start_time"]) for s in subs]) / 1000
    duration = np.array([float(s["frame_duration"]) for s in subs]) / 1000
    if not duration.any():
        return None
    try:
        if since_injection is None:
            return FrameTiming(start, duration)
        return FrameTiming(start + since_injection, duration, "injection")
    except DataError as error:
        raise error.at(file=path, field="frame_start_time") from None


def _reference(subs: list[Any], known: dict[str, Any], path: str | Path, problems: list[Problem]) -> datetime | None:
    """The start of the scan, if the frames' decay factors are those to it."""
    given = np.array([float(s["decay_corr_fctr"]) for s in subs])
    half_life, scan = known["half_life_s"], known["acquisition_time"]
    if half_life and scan:
        rate = math.log(2) / half_life
        start = np.array([float(s["frame_start_time"]) for s in subs]) / 1000
        length = rate * np.array([float(s["frame_duration"]) for s in subs]) / 1000
        averaged = np.where(length > 1e-9, length / -np.expm1(-np.maximum(length, 1e-9)), 1.0)
        if np.allclose(given, np.exp(rate * start) * averaged, rtol=DECAY_TOLERANCE, atol=0):
            return scan
    problems.append(
        Problem("The frames are decay-corrected, but not to a time that the header tells", str(path), "decay_corr_fctr",
                f"{given[0]:.6g} for the first frame", "the factor to the start of the scan",
                "state the decay reference in a sidecar (ImageDecayCorrectionTime)", "warning")
    )  # fmt: skip
    return None


# -- writing ---------------------------------------------------------------------------------------------------------


def write(data: Acquisition | Image, path: str | Path) -> Path:
    """Write an image as an ECAT 7 volume of 16 bit integers with its sidecar; returns the path.

    Each frame is scaled to the range of int16, so values are kept to half of the largest value / 32767. What the format
    has no place for (orientation, frame of reference, quantity) stands in the sidecar.

    Parameters
    ----------
    data
        A real image with axes z, y, x or t, z, y, x.
    path
        Ends in ``.v`` or ``.v.gz``.

    Raises
    ------
    UsageError
        If the image or the name does not fit the format.
    """
    acquisition = data if isinstance(data, Acquisition) else Acquisition("", "", data)
    image, place = acquisition.image, Path(path)
    names = [a.name for a in image.axes]
    if not place.name.endswith((".v", ".v.gz")):
        raise UsageError("An ECAT file ends in .v or .v.gz", field="path", found=place.name)
    if image.geometry is None or names not in (["z", "y", "x"], ["t", "z", "y", "x"]) or image.dtype.kind == "c":
        raise UsageError("ECAT holds real images with axes t, z, y, x", field="axes", found=f"{names} of {image.dtype}")
    values = np.asarray(image.numpy(), float).reshape(-1, *image.geometry.shape)
    if not (np.abs(values) < _LARGEST).all():  # neither is NaN
        raise UsageError("ECAT has no place for NaN, infinity or such large numbers", field="pixels")
    if len(values) > 31 * 16 or max(values.shape[1:]) > 32767:
        raise UsageError("ECAT holds up to 496 frames of up to 32767 voxels a side", field="shape", found=image.shape)
    packed = _packed(acquisition, image, values)
    atomic.write_file(gzip.compress(packed, 6, mtime=0) if place.name.endswith(".gz") else packed, place)
    sidecar_write.write(data, sidecar.beside(place))
    return place


def _packed(acquisition: Acquisition, image: Image, values: NDArray[np.float64]) -> bytes:
    main = np.zeros((), _MAIN)
    assert image.geometry is not None
    scan = acquisition.acquisition_time
    main["magic_number"], main["sw_version"], main["file_type"] = b"MATRIX72v", 72, 7
    main["isotope_name"] = (acquisition.radionuclide or "").encode("latin-1", "replace")[:8]
    main["isotope_halflife"] = acquisition.half_life_s or 0
    main["radiopharmaceutical"] = (acquisition.agent or "").encode("latin-1", "replace")[:32]
    main["scan_start_time"] = _seconds(scan)
    main["dose_start_time"] = _seconds(acquisition.administered_time)
    main["patient_weight"] = (acquisition.weight_g or 0) / 1000
    main["ecat_calibration_factor"], main["calibration_unitS"] = 1.0, 1
    main["data_units"] = image.unit.encode()[:32]
    main["patient_orientation"] = _UNKNOWN_ORIENTATION
    main["num_planes"], main["num_frames"], main["num_gates"] = values.shape[1], len(values), 1
    frame_blocks = 1 + -(-values[0].size * 2 // _BLOCK)
    directories = -(-len(values) // 31)
    blocks, entries, position = [], [], 2 + directories
    for number, frame in enumerate(values, 1):
        sub, pixels = _frame(image, frame, number - 1)
        body = pixels.tobytes()
        blocks.append(sub.tobytes().ljust(_BLOCK, b"\0") + body.ljust((frame_blocks - 1) * _BLOCK, b"\0"))
        entries.append((0x01010000 | number & 0x1FF, position, position + frame_blocks - 1, 1))
        position += frame_blocks
    return main.tobytes().ljust(_BLOCK, b"\0") + _tables(entries, directories) + b"".join(blocks)


def _tables(entries: list[tuple[int, int, int, int]], directories: int) -> bytes:
    """Directory blocks of up to 31 entries, the last of which points back to the first."""
    tables = np.zeros((directories, 32, 4), ">i4")
    for k in range(directories):
        part = entries[31 * k : 31 * (k + 1)]
        tables[k, 0] = (31 - len(part), 2 + (k + 1) % directories, 2 + (k - 1) % directories, len(part))
        tables[k, 1 : 1 + len(part)] = part
    return tables.tobytes()


def _frame(image: Image, values: NDArray[np.float64], number: int) -> tuple[Any, NDArray[np.int16]]:
    assert image.geometry is not None
    sub = np.zeros((), _SUB)
    sub["data_type"], sub["num_dimensions"] = 6, 3
    for axis, size, spacing in zip("zyx", image.geometry.shape, image.geometry.spacing, strict=True):
        sub[f"{axis}_dimension"], sub[f"{axis}_pixel_size"] = size, spacing / 10
    scale = float(np.abs(values).max()) / 32767 or 1.0
    # The header holds the factor in single precision; what is stored must fit the rounded one, and not overflow it.
    factor = np.nextafter(np.float32(scale), np.float32(np.inf))
    sub["scale_factor"] = factor
    sub["corrections_applied"] = 0
    if image.frames is not None:
        sub["frame_start_time"] = round(1000 * (image.frames.start[number] - image.frames.start[0]))
        sub["frame_duration"] = round(1000 * image.frames.duration[number])
    pixels = np.rint(values / float(factor)).astype(">i2")
    sub["image_min"], sub["image_max"] = pixels.min(), pixels.max()
    return sub, pixels


def _seconds(moment: datetime | None) -> int:
    return round((moment.replace(tzinfo=None) - _EPOCH).total_seconds()) if moment else 0
