"""OME-Zarr 0.4 (Zarr 2) and 0.5 (Zarr 3): multiscale images in folders.

OME-Zarr has no place for an oblique affine, a frame of reference, a unit of the values or frames of unequal length:
these stand in the attribute ``timelens``. A file without it lies on a slide, in no known frame. Metadata are checked by
:mod:`timelens.formats.ome_zarr_meta` before zarr opens anything.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from timelens.errors import MissingDependencyError, Problem, UsageError
from timelens.formats import assemble, atomic, ome, sidecar, sidecar_write
from timelens.formats.ome_zarr_meta import Group, Level, open_group, open_level, stored
from timelens.study.acquisition import Acquisition
from timelens.study.axes import Axis
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.timing import FrameTiming

__all__ = ["read", "write"]

_KEY = "timelens"
_SMALLEST_LEVEL = 128
_CHUNK = 128


def read(
    path: str | Path,
    *,
    level: int = 0,
    unit: str | None = None,
    length_unit: str | None = None,
    described: Mapping[str, Any] | str | Path | None = None,
    chunked: bool = False,
    modality: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's name
    subject: str = "",
    session: str = "",
) -> Acquisition:
    """Read one level of an OME-Zarr image; pixels are read when first asked for.

    Parameters
    ----------
    path
        The folder.
    level
        0 is the finest.
    unit
        UCUM code of the values, where our attribute does not state it.
    length_unit
        Unit of the voxel sizes where the axes state none (``um``, ``mm``).
    described
        Content or path of a sidecar; by default the attribute ``timelens``.
    chunked
        Give the pixels as a dask array, which reads chunk by chunk.
    modality, id, subject, session
        Where the caller knows them.

    Raises
    ------
    FormatError, UnsafeFileError
        If metadata are damaged, name codecs or paths that are not allowed, or claim more than is stored.
    MissingFieldError, UnitError
        If nobody states a unit.
    """
    group = open_group(path, length_unit)
    listed = group.multiscale.get("datasets")
    if not isinstance(listed, list) or not 0 <= level < len(listed):
        raise group.wrong("datasets", "There is no such level", level, f"0 to {len(listed or []) - 1}")
    finest, wanted = (open_level(group, listed[k], k) for k in (0, level))
    digest = stored(group, wanted)
    said = _described(group, described)
    channels = _channels(group, wanted)
    axes = said.axes if said.axes and len(said.axes) == len(wanted.shape) else ome.axes_of(group.names, channels)
    flat = "z" not in group.names
    if flat:
        axes = (*axes[:-2], Axis("z", "space", "mm"), *axes[-2:])
    shape = (*wanted.shape[:-2], 1, *wanted.shape[-2:]) if flat else wanted.shape

    def load() -> Any:
        try:
            array = zarr.open_array(zarr.storage.LocalStore(wanted.path, read_only=True), mode="r")
            if chunked:
                return _dask().from_array(array, chunks=array.chunks, name=False).reshape(shape)
            return np.asarray(array[...]).astype(wanted.dtype, copy=False).reshape(shape)
        except (ValueError, RuntimeError, TypeError, KeyError, OSError, MemoryError) as error:
            raise group.wrong(str(wanted.path.name), "A chunk cannot be read", error, "whole chunks") from error

    if chunked:
        _dask()
    fine = said.place(_geometry(group, finest), file=path, oriented=False)
    return assemble.acquire(
        path,
        load,
        shape=shape,
        dtype=wanted.dtype,
        axes=axes,
        geometry=_coarser(fine, finest, wanted, group.names, shape[-3:]),
        unit=unit,
        said=sidecar.Described(said.image, said.acquisition, {}, None, said.labels, said.problems),
        frames=None if said.image.get("frames") else _frames(group, wanted),
        problems=group.problems,
        modality=modality,
        id=id,
        subject=subject,
        session=session,
        sources_hashed=digest,
        extra={"channel_labels": tuple(channels)} if channels and all(channels) and said.axes else {},
    )


def _dask() -> Any:
    try:
        import dask.array
    except ImportError:
        raise MissingDependencyError("dask", purpose="Reading chunk by chunk", extra="cluster") from None
    return dask.array


def _described(group: Group, given: Mapping[str, Any] | str | Path | None) -> sidecar.Described:
    if given is not None:
        return assemble.described(group.root, given)[0]
    own = group.attributes.get(_KEY)
    if own is None:
        return sidecar.Described()
    if not isinstance(own, dict):
        raise group.wrong(_KEY, "Not a JSON object", type(own).__name__)
    return sidecar.parse(own, file=group.root)


def _channels(group: Group, level: Level) -> list[str] | None:
    content = group.attributes.get("ome", group.attributes)
    omero = content.get("omero") if isinstance(content, dict) else None
    listed = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(listed, list) or "c" not in group.names or len(listed) != level.shape[group.names.index("c")]:
        return None
    return [str(c.get("label") or "") if isinstance(c, dict) else "" for c in listed]


def _geometry(group: Group, level: Level) -> Geometry:
    spacing: list[float | None] = [None]
    origin = [0.0]
    for name in "zyx" if "z" in group.names else "yx":
        k = group.names.index(name)
        where = f"axis {name}"
        spacing.append(ome.to_mm(level.scale[k], group.units[k], file=group.root, field=where))
        origin.append(ome.to_mm(level.translation[k], group.units[k], file=group.root, field=where))
    return ome.slide(
        level.shape[-3:] if "z" in group.names else (1, *level.shape[-2:]),
        spacing[-3:],
        origin[-3:][::-1],
        file=group.root,
        field="multiscales.axes",
        problems=group.problems,
    )


def _coarser(fine: Geometry, finest: Level, wanted: Level, names: str, shape: Sequence[int]) -> Geometry:
    """The grid of a coarser level from the exact grid of the finest."""
    if wanted.path == finest.path:
        return fine
    ratio, shift = np.ones(3), np.zeros(3)
    for k, name in enumerate("zyx"):
        if name in names:
            i = names.index(name)
            ratio[k] = wanted.scale[i] / finest.scale[i]
            shift[k] = (wanted.translation[i] - finest.translation[i]) / finest.scale[i]
    affine = fine.affine.copy()
    affine[:3, 3] = fine.to_mm(shift)
    affine[:3, :3] = fine.affine[:3, :3] * ratio
    z, y, x = shape
    return Geometry((z, y, x), affine, fine.frame, fine.space)


def _frames(group: Group, level: Level) -> FrameTiming | None:
    if not group.names.startswith("t") or (seconds := ome.SECONDS.get(group.units[0] or "")) is None:
        return None
    step = level.scale[0] * seconds
    group.problems.append(
        Problem("Frame times come from the scale of axis t, which knows frames of equal length only", str(group.root),
                "axis t", f"{step:g} s", "FrameTimesStart and FrameDuration in our attribute", "", "warning")
    )  # fmt: skip
    count = level.shape[0]
    return FrameTiming(step * np.arange(count, dtype=np.float64), np.full(count, step))


# -- writing ---------------------------------------------------------------------------------------------------------


def write(
    data: Acquisition | Image,
    path: str | Path,
    *,
    version: str = "0.5",
    levels: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Write an image as OME-Zarr with a pyramid of means; returns the path of the folder.

    Parameters
    ----------
    data
        An image with a geometry and axes z, y, x, perhaps with t and c before.
    path
        The folder; written whole or not at all.
    version
        ``0.5`` (Zarr 3) or ``0.4`` (Zarr 2).
    levels
        Number of levels; by default as many as it takes until a level is at most 128 voxels wide.
    overwrite
        Whether an OME-Zarr folder that is there may be replaced.

    Raises
    ------
    UsageError
        If the image does not fit, or something is there already.
    """
    image, place = data.image if isinstance(data, Acquisition) else data, Path(path)
    names = "".join(a.name for a in image.axes)
    if version not in ("0.4", "0.5"):
        raise UsageError("No such version of OME-Zarr", field="version", found=version, expected="0.4 or 0.5")
    if image.geometry is None or names not in ("zyx", "tzyx", "czyx", "tczyx"):
        raise UsageError("OME-Zarr holds images with axes t, c, z, y, x", field="axes", found=list(names))
    if place.exists() and not (
        overwrite and place.is_dir() and ((place / "zarr.json").is_file() or (place / ".zattrs").is_file())
    ):
        raise UsageError(
            "Something is there already", field="path", found=str(path), mend="overwrite=True, or another name"
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        _write(data, image, names, partial, version, levels)
        if place.exists():
            shutil.rmtree(place)
        partial.rename(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return place


def _write(data: Acquisition | Image, image: Image, names: str, folder: Path, version: str, levels: int | None) -> None:
    assert image.geometry is not None
    array = image.numpy()
    array = array.astype(np.float32) if array.dtype == np.float16 else array
    v3 = version == "0.5"
    datasets = []
    factors = np.ones(3)
    number = 0
    while True:
        chunks = tuple(min(_CHUNK, n) if k >= array.ndim - 3 else 1 for k, n in enumerate(array.shape))
        made = zarr.create_array(
            zarr.storage.LocalStore(folder),
            name=str(number),
            shape=array.shape,
            dtype=array.dtype,
            chunks=chunks,
            zarr_format=3 if v3 else 2,
            chunk_key_encoding=None if v3 else {"name": "v2", "separator": "/"},
            dimension_names=list(names) if v3 else None,
            config={"write_empty_chunks": True},  # a missing chunk would read as zeros
        )
        made[...] = array
        datasets.append({"path": str(number), "coordinateTransformations": _transforms(image, names, factors)})
        number += 1
        if number >= levels if levels is not None else max(array.shape[-2:]) <= _SMALLEST_LEVEL:
            break
        array, step = _halved(array)
        factors = factors * step
    meta = {
        "axes": [_axis_json(name, timed=image.frames is not None) for name in names],
        "datasets": datasets,
        "name": folder.name.strip("."),
        "type": "mean",
    }
    content: dict[str, Any] = {"multiscales": [meta]}
    if "c" in names:
        labels = data.extra.get("channel_labels") if isinstance(data, Acquisition) else None
        content["omero"] = {"channels": _omero(image, names.index("c"), labels)}
    said = sidecar_write.content(data)
    if v3:
        root = {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": {"ome": {"version": version, **content}, _KEY: said},
        }
        atomic.write_file(json.dumps(root, indent=2), folder / "zarr.json")
    else:
        meta["version"] = version
        atomic.write_file('{"zarr_format": 2}', folder / ".zgroup")
        atomic.write_file(json.dumps({**content, _KEY: said}, indent=2), folder / ".zattrs")


def _axis_json(name: str, *, timed: bool) -> dict[str, str]:
    if name == "c":
        return {"name": "c", "type": "channel"}
    if name == "t":
        return {"name": "t", "type": "time", "unit": "second"} if timed else {"name": "t", "type": "time"}
    return {"name": name, "type": "space", "unit": "millimeter"}


def _transforms(image: Image, names: str, factors: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Scale and translation of a level; the position is ours where the affine has the directions of the axes."""
    geometry = image.geometry
    assert geometry is not None
    spacing = np.array(geometry.spacing)
    first = float(image.frames.duration[0]) if image.frames is not None else 1.0
    lead = [(first or 1.0) if n == "t" else 1.0 for n in names[:-3]]
    aligned = np.allclose(geometry.affine[:3, :3], np.diag(spacing)[::-1], rtol=0, atol=1e-9)
    origin = geometry.affine[:3, 3][::-1] if aligned else np.zeros(3)
    translation = origin + (factors - 1) / 2 * spacing
    return [
        {"type": "scale", "scale": [*lead, *(spacing * factors).tolist()]},
        {"type": "translation", "translation": [*[0.0] * len(lead), *translation.tolist()]},
    ]


def _halved(array: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Means of pairs along y and x, and along z where it is long; an odd last row is left out."""
    step = np.array([2 if array.shape[-3] > _SMALLEST_LEVEL else 1, *[2 if n > 1 else 1 for n in array.shape[-2:]]])
    z, y, x = (slice(0, n // s * s) for n, s in zip(array.shape[-3:], step, strict=True))
    kept = array[..., z, y, x]
    blocks = kept.reshape(
        *kept.shape[:-3], *[k for n, s in zip(kept.shape[-3:], step, strict=True) for k in (n // s, s)]
    )
    mean = blocks.mean(axis=(-5, -3, -1), dtype=np.result_type(array.dtype, np.float64))
    return (np.rint(mean) if array.dtype.kind in "iub" else mean).astype(array.dtype), step.astype(float)


def _omero(image: Image, axis: int, labels: Sequence[str] | None) -> list[dict[str, Any]]:
    colours = ("FFFFFF", "FF0000", "00FF00", "0000FF", "FFFF00", "FF00FF", "00FFFF")
    names = labels or image.axes[axis].coordinates
    result = []
    for k in range(image.shape[axis]):
        part = np.take(image.numpy(), k, axis=axis)
        part = np.abs(part) if part.dtype.kind == "c" else part
        finite = part[np.isfinite(part)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        label = str(names[k]) if names is not None else f"channel {k + 1}"
        window = {"min": low, "max": high, "start": low, "end": high}
        result.append({"label": label, "color": colours[k % len(colours)], "active": True, "window": window})
    return result
