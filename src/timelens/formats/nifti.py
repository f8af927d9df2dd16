"""NIfTI-1 and NIfTI-2, plain, gzipped or as a pair of header and image.

The header is parsed by nibabel from its own few hundred bytes and held against the size of the file; pixels are mapped
from disk, or expanded under a cap, when first asked for. The file's (x, y, z, t, c) become our (t, c, z, y, x). Where
the sform is set it is the geometry, else the qform; unit, quantity, frame timing, decay reference and frame of
reference come from the sidecar, for NIfTI has no place for them.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from timelens.errors import DataError, FormatError, GeometryError, Problem, UsageError
from timelens.formats import assemble, atomic, labels, safety, sidecar, sidecar_write
from timelens.study.acquisition import Acquisition
from timelens.study.axes import Axis, default_names
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.region import Region
from timelens.study.timing import FrameTiming

__all__ = ["is_scanner_space", "read", "read_labels", "sniff", "time_step", "write", "write_labels"]

_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 1e-3}
_SECONDS = {8: 1.0, 16: 1e-3, 24: 1e-6}
_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 32: "c8", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
    1792: "c16",
}  # fmt: skip
#: Frames of these are rarely of equal length, which is all that the header knows: they come from the sidecar alone.
_UNEQUAL = ("pet", "nm")
_LARGEST_HEADER = 540
_DIM_LIMIT = 32767


def sniff(head: bytes) -> bool:
    """Whether the first bytes of a (gunzipped) file are a NIfTI header."""
    return (len(head) >= 348 and head[344:348] in (b"n+1\0", b"ni1\0")) or head[4:12] in (
        b"n+2\0\r\n\x1a\n",
        b"ni2\0\r\n\x1a\n",
    )


def read(
    path: str | Path,
    *,
    unit: str | None = None,
    described: Mapping[str, Any] | str | Path | None = None,
    modality: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's name
    subject: str = "",
    session: str = "",
) -> Acquisition:
    """Read a NIfTI file; pixels are read when first asked for.

    Parameters
    ----------
    path
        ``.nii``, ``.nii.gz``, or the ``.hdr`` of a pair.
    unit
        UCUM code of the values, where no sidecar states it.
    described
        The content or the path of the sidecar; by default the ``.json`` of the same name, if it is there.
    modality, id, subject, session
        Where the caller knows them.

    Returns
    -------
    Acquisition
        Its frame of reference is None, unless the sidecar knows it.

    Raises
    ------
    FormatError, UnsafeFileError
        If the header is damaged or claims another size than the file has.
    GeometryError
        If the affine is not usable or contradicts the sidecar.
    MissingFieldError, UnitError
        If nobody states the unit, or two disagree.
    """
    problems: list[Problem] = []
    header, pixels = _header(path)
    geometry = _geometry(header, path, problems)
    said, source = assemble.described(path, described)
    shape, axes, arrange = _layout(header, said.axes, path)
    stored = np.dtype(_TYPES[int(header["datatype"])])
    slope, intercept = _scaling(header, path)
    scaled = (slope, intercept) != (1.0, 0.0)
    dtype = np.result_type(stored, np.float32) if scaled else stored

    def load() -> NDArray[Any]:
        raw = arrange(_pixels(header, path, pixels))
        if scaled:
            wide = np.result_type(dtype, np.float64)
            return (raw.astype(wide) * slope + intercept).astype(dtype)
        return raw if raw.dtype == dtype else raw.astype(dtype)

    return assemble.acquire(
        path,
        load,
        shape=shape,
        dtype=dtype,
        axes=axes,
        geometry=geometry,
        unit=unit,
        said=said,
        frames=None
        if said.image.get("frames") or assemble.modality_of(path, modality, said) in _UNEQUAL
        else _uniform_frames(header, shape, axes, path, problems),
        sources=[p for p in (pixels if pixels != Path(path) else None, source) if p is not None],
        problems=problems,
        modality=modality,
        id=id,
        subject=subject,
        session=session,
    )


def time_step(path: str | Path) -> float | None:
    """Seconds from one volume to the next as the header states them; None where it states none, or no unit."""
    header, _ = _header(path)
    seconds, step = _SECONDS.get(int(header["xyzt_units"]) & 56), float(header["pixdim"][4])
    return step * seconds if seconds is not None and math.isfinite(step) and step > 0 else None


def is_scanner_space(path: str | Path) -> bool:
    """Whether the coordinates are those of the scanner, which all series of one session share (form code 1)."""
    header, _ = _header(path)
    sform, qform = int(header["sform_code"]), int(header["qform_code"])
    return (sform or qform) == 1


def _header(path: str | Path) -> tuple[Any, Path]:
    """The header, checked, and the file that holds the pixels."""
    place = safety.existing(path)
    head = safety.expand_file(place, head=_LARGEST_HEADER)
    if not sniff(head):
        raise FormatError(
            "Not a NIfTI file", file=path, field="magic", found=repr(head[344:348]), expected="n+1 or n+2"
        )
    second = head[4:7] in (b"n+2", b"ni2")
    kind = nib.Nifti2Header if second else nib.Nifti1Header
    size = 540 if second else 348
    if len(head) < size:
        raise FormatError("The header is truncated", file=path, field="sizeof_hdr", found=len(head), expected=size)
    try:
        header = kind(head[:size], check=False)
    except (ValueError, nib.spatialimages.HeaderDataError) as error:
        raise FormatError("The header is damaged", file=path, field="header", found=str(error)) from error
    dims = [int(n) for n in header["dim"]]
    if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1 or any(n > 1 for n in dims[6 : dims[0] + 1]):
        raise FormatError(
            "The dimensions are not those of an image",
            file=path,
            field="dim",
            found=dims,
            expected="1 to 5 sizes, all > 0",
        )
    if int(header["datatype"]) not in _TYPES:
        raise FormatError(
            "The data type is not supported",
            file=path,
            field="datatype",
            found=int(header["datatype"]),
            expected="integers, float32, float64, complex64 or complex128",
        )
    stored = np.dtype(_TYPES[int(header["datatype"])])
    if int(header["bitpix"]) != stored.itemsize * 8:
        raise FormatError(
            "Data type and bits per voxel contradict each other",
            file=path,
            field="bitpix",
            found=int(header["bitpix"]),
            expected=stored.itemsize * 8,
        )
    single = bytes(header["magic"].item())[:2] == b"n+"
    pixels = place if single else _pair(place)
    offset = float(header["vox_offset"])
    least = size + 4 if single else 0
    if not math.isfinite(offset) or offset < least or offset != int(offset):
        raise FormatError(
            "The pixels would begin inside the header",
            file=path,
            field="vox_offset",
            found=offset,
            expected=f"a whole number of at least {least}",
        )
    claimed = math.prod(dims[1 : dims[0] + 1]) * stored.itemsize
    safety.check_claim(claimed, pixels, field="dim", offset=int(offset))
    return header, pixels


def _pair(header: Path) -> Path:
    """The image file of a header file."""
    stem = header.name[: -len(".hdr.gz")] if header.name.endswith(".hdr.gz") else header.stem
    for suffix in (".img", ".img.gz"):
        candidate = header.with_name(stem + suffix)
        if candidate.is_file() and safety.inside(header.parent, candidate):
            return candidate
    raise DataError("The image file of the pair is missing", file=header, field="magic", found="ni1", expected=".img")


def _pixels(header: Any, path: str | Path, pixels: Path) -> NDArray[Any]:
    """The stored values in the file's (x, y, z, ...) order."""
    dims = [int(n) for n in header["dim"]]
    shape = tuple(dims[1 : dims[0] + 1])
    stored = np.dtype(_TYPES[int(header["datatype"])]).newbyteorder(header.endianness)
    offset = int(header["vox_offset"])
    if not safety.is_gzip(pixels):
        return np.memmap(pixels, stored, "r", offset, shape, order="F")
    data = safety.expand_file(pixels, exact=offset + math.prod(shape) * stored.itemsize)
    return np.frombuffer(data, stored, offset=offset).reshape(shape, order="F")


def _layout(
    header: Any, said: tuple[Axis, ...] | None, path: str | Path
) -> tuple[tuple[int, ...], tuple[Axis, ...], Callable[[NDArray[Any]], NDArray[Any]]]:
    """Shape and axes in our order, and what brings the file's array into it."""
    dims = [int(n) for n in header["dim"]]
    sizes = [*dims[1 : dims[0] + 1], 1, 1, 1, 1][:5]
    x, y, z, t, c = sizes
    leading = [("t", t), ("c", c)]
    if said is None:
        wanted = [name for name, n in leading if n > 1]
        axes: tuple[Axis, ...] = tuple(a for a in default_names(5) if a.name in (*wanted, "z", "y", "x"))
    else:
        axes = said
        wanted = [a.name for a in axes[:-3]]
        fits = [a.name for a in axes[-3:]] == ["z", "y", "x"] and len(wanted) <= 2
        if not fits or (len(wanted) < 2 and t > 1 and c > 1) or (not wanted and t * c > 1):
            raise FormatError(
                "The axes of the sidecar do not fit the file",
                file=sidecar.beside(path),
                field="timelens.axes",
                found=[a.name for a in axes],
                expected=f"axes for {sizes}",
            )
    shape = ((t, c) if len(wanted) == 2 else (max(t, c),) if wanted else ()) + (z, y, x)

    def arrange(array: NDArray[Any]) -> NDArray[Any]:
        five = array.reshape((x, y, z, t, c), order="F")
        return five.transpose(3, 4, 2, 1, 0).reshape(shape)

    return shape, axes, arrange


def _scaling(header: Any, path: str | Path) -> tuple[float, float]:
    """Slope and intercept; a slope of 0 or NaN stands for none."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or math.isnan(slope):
        return 1.0, 0.0
    if not math.isfinite(slope) or not math.isfinite(intercept):
        raise FormatError(
            "The scaling is not finite", file=path, field="scl_slope", found=f"{slope}, {intercept}", expected="numbers"
        )
    return slope, intercept


def _geometry(header: Any, path: str | Path, problems: list[Problem]) -> Geometry:
    scale = _MM.get(int(header["xyzt_units"]) & 7)
    if scale is None:
        raise FormatError(
            "The unit of the voxel sizes is unknown",
            file=path,
            field="xyzt_units",
            found=int(header["xyzt_units"]) & 7,
            expected="1 (m), 2 (mm) or 3 (um)",
        )
    dims = [int(n) for n in header["dim"]]
    shape = [*dims[1 : dims[0] + 1], 1, 1, 1][:3]
    sform, qform = int(header["sform_code"]), int(header["qform_code"])
    try:
        affine = header.get_sform() if sform > 0 else header.get_qform() if qform > 0 else header.get_base_affine()
        if not np.isfinite(affine).all():
            raise ValueError("it is not finite")
        found = Geometry.from_nifti(shape, _in_mm(affine, scale))
    except (GeometryError, ValueError, nib.spatialimages.HeaderDataError) as error:
        field = "sform" if sform > 0 else "qform" if qform > 0 else "pixdim"
        message = error.problem.message if isinstance(error, GeometryError) else str(error)
        raise GeometryError(
            f"The geometry cannot be used: {message}",
            file=path,
            field=field,
            found=header["pixdim"][1:4].tolist() if field == "pixdim" else "not a finite, invertible affine",
            expected="finite voxel sizes and axes",
        ) from None
    if sform > 0 and qform > 0:
        _compare(found, header, shape, scale, path, problems)
    if sform <= 0 and qform <= 0:
        problems.append(
            _warning("Neither sform nor qform is set: voxel sizes are known, orientation and position are not", path,
                     "sform_code, qform_code", "0, 0", "1 to 5")
        )  # fmt: skip
    if int(header["xyzt_units"]) & 7 == 0:
        problems.append(
            _warning(
                "The unit of the voxel sizes is not stated; read as millimetres", path, "xyzt_units", "0", "2 (mm)"
            )
        )
    if not 1e-4 <= min(found.spacing) <= max(found.spacing) <= 200:
        problems.append(
            _warning("The voxel sizes look like another unit", path, "pixdim",
                     " x ".join(f"{s:g}" for s in found.spacing) + " mm", "0.0001 to 200 mm")
        )  # fmt: skip
    return found


def _warning(message: str, path: str | Path, field: str, found: str, expected: str) -> Problem:
    return Problem(message, str(path), field, found, expected, "correct the header if this is wrong", "warning")


def _in_mm(affine: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    return np.diag([scale, scale, scale, 1.0]) @ affine


def _compare(
    found: Geometry, header: Any, shape: list[int], scale: float, path: str | Path, problems: list[Problem]
) -> None:
    """Name a qform that disagrees with the sform by more than a tenth of a voxel."""
    try:
        qform = header.get_qform()
        if not np.isfinite(qform).all():
            raise ValueError("it is not finite")
        other = Geometry.from_nifti(shape, _in_mm(qform, scale))
    except (GeometryError, ValueError, nib.spatialimages.HeaderDataError):
        problems.append(_warning("The qform cannot be used; the sform is", path, "qform", "damaged", "an orientation"))
        return
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in found.shape], indexing="ij")).reshape(3, -1).T
    apart = float(np.linalg.norm(found.to_mm(corners) - other.to_mm(corners), axis=1).max())
    if apart > 0.1 * min(found.spacing):
        problems.append(
            _warning("qform and sform disagree; the sform is used", path, "sform, qform", f"up to {apart:.4g} mm apart",
                     "one orientation")
        )  # fmt: skip


def _uniform_frames(
    header: Any, shape: tuple[int, ...], axes: tuple[Axis, ...], path: str | Path, problems: list[Problem]
) -> FrameTiming | None:
    """Frames of equal length, if the header gives their unit and no sidecar knows better."""
    step = float(header["pixdim"][4])
    seconds = _SECONDS.get(int(header["xyzt_units"]) & 56)
    if axes[0].name != "t" or seconds is None or not math.isfinite(step) or step <= 0:
        return None
    step *= seconds
    problems.append(
        _warning("Frame times come from the header, which knows frames of equal length only", path, "pixdim[4]",
                 f"{step:g} s", "FrameTimesStart and FrameDuration in a sidecar")
    )  # fmt: skip
    return FrameTiming(step * np.arange(shape[0], dtype=np.float64), np.full(shape[0], step))


# -- writing ---------------------------------------------------------------------------------------------------------


def write(data: Acquisition | Image, path: str | Path) -> Path:
    """Write an image as NIfTI with its sidecar; returns the path of the image.

    Parameters
    ----------
    data
        An image with a geometry and at most two axes before z, y, x.
    path
        Ends in ``.nii`` or ``.nii.gz``.

    Raises
    ------
    UsageError
        If the image or the name does not fit the format.
    """
    _write_image(data.image if isinstance(data, Acquisition) else data, path)
    sidecar_write.write(data, sidecar.beside(path))
    return Path(path)


def _write_image(image: Image, path: str | Path) -> None:
    place = Path(path)
    if not place.name.endswith((".nii", ".nii.gz")):
        raise UsageError("A NIfTI file ends in .nii or .nii.gz", field="path", found=place.name)
    if image.geometry is None or len(image.shape) > 5:
        raise UsageError(
            "NIfTI holds images with axes z, y, x and at most two more",
            field="axes",
            found=[a.name for a in image.axes],
        )
    array = image.numpy()
    if array.dtype == bool:
        array = array.astype(np.uint8)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    leading = array.shape[:-3]
    names = [a.name for a in image.axes[:-3]]
    # A single leading axis that is not time goes into the fifth dimension.
    t, c = leading if len(leading) == 2 else (leading[0], 1) if names == ["t"] else (1, *leading) if leading else (1, 1)
    stored = array.reshape(t, c, *array.shape[-3:]).transpose(4, 3, 2, 0, 1)
    while stored.ndim > 3 and stored.shape[-1] == 1:
        stored = stored[..., 0]
    kind = nib.Nifti2Image if max(stored.shape) > _DIM_LIMIT else nib.Nifti1Image
    affine = image.geometry.to_nifti()
    made = kind(stored, None, dtype=stored.dtype)
    made.set_sform(affine, code=1)
    if image.geometry.is_orthogonal:
        made.set_qform(affine, code=1)
    step = _equal_step(image.frames)
    made.header.set_xyzt_units("mm", "sec" if step else "unknown")
    if stored.ndim > 3:
        made.header["pixdim"][4] = step
    packed = made.to_bytes()
    atomic.write_file(gzip.compress(packed, 6, mtime=0) if place.name.endswith(".gz") else packed, place)


def _equal_step(frames: FrameTiming | None) -> float:
    """Length of frames that follow each other without gaps and are all of one length, else 0: NIfTI knows no others."""
    if frames is None or np.ptp(frames.duration) > 0:
        return 0.0
    step = float(frames.duration[0])
    return step if np.allclose(np.diff(frames.start), step, rtol=0, atol=1e-3) else 0.0


# -- label files -----------------------------------------------------------------------------------------------------


def read_labels(path: str | Path, *, geometry: Geometry, id: str | None = None) -> Region:  # noqa: A002
    """Read a mask or label file that was drawn on an image; see :func:`timelens.formats.labels.to_region`."""
    unit = None if assemble.described(path, None)[0].image.get("unit") else "1"
    return labels.to_region(read(path, unit=unit), path, geometry=geometry, id=id)


def write_labels(region: Region, path: str | Path, geometry: Geometry | None = None) -> Path:
    """Write regions as a label file with names, roles and identity in the sidecar; returns the path.

    Parameters
    ----------
    region
        The regions.
    path
        Ends in ``.nii`` or ``.nii.gz``.
    geometry
        The grid; needed where the regions are not labels already.

    Raises
    ------
    UsageError
        If contours come without a grid.
    """
    image = labels.to_image(region, geometry)
    _write_image(image, path)
    sidecar_write.write(image, sidecar.beside(path), labels=labels.described(region))
    return Path(path)
