"""SpatialData: sections, masks of cells and their tables in one Zarr 3 folder, as spatialdata 0.5 and later read it.

``images/`` and ``labels/`` are OME-Zarr pyramids, ``tables/`` AnnData whose rows belong to labels. Coordinates are
micrometres from the outer corner of a section, x along its rows of pixels. Their system is ``global`` for a section
that is alone; where there are several, it has the name of the section.
"""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

import timelens
from timelens.errors import UsageError
from timelens.formats.anndata_store import write_annotated
from timelens.formats.h5ad import annotated
from timelens.study.acquisition import Acquisition
from timelens.study.table import Table

__all__ = ["Section", "write"]

#: Versions of the layout: of the whole, of images and labels, of tables.
_WHOLE, _RASTER, _TABLE, _OME = "0.2", "0.3", "0.2", "0.5-dev-spatialdata"
_ATTRS = "spatialdata_attrs"
_REGION, _INSTANCE = "region", "instance_id"
_CHUNK, _SMALLEST_LEVEL = 256, 256
_NAME = re.compile(r"^[A-Za-z0-9_.-]+$")


@dataclass(frozen=True, eq=False)
class Section:
    """A section with what was found in it.

    Attributes
    ----------
    image
        One plane with channels.
    labels
        Name of a set of cells to its labels (y, x) on the grid of the image.
    tables
        Name of a set to its table: a row per cell with ``cell`` (its label), ``x``, ``y`` in um.
    """

    image: Acquisition
    labels: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)


def write(sections: Mapping[str, Section], path: str | Path, *, overwrite: bool = False) -> Path:
    """Write sections into one folder; returns its path.

    The elements of a section ``NAME`` with a set ``cells`` are the image ``NAME_image``, the labels ``NAME_cells`` and
    the table ``NAME_cells_table``.

    Parameters
    ----------
    sections
        By name: letters, digits, ``_``, ``.`` and ``-``.
    path
        The folder; written whole or not at all.
    overwrite
        Whether a Zarr folder that is there may be replaced.

    Raises
    ------
    UsageError
        If a section does not fit the format, or something is there already.
    MissingFieldError
        If a table lacks the number or the place of its cells.
    """
    place = Path(path)
    if not sections:
        raise UsageError("There is nothing to write", field="sections", found="none", expected="1 or more")
    for name, section in sections.items():
        _check(name, section)
    if place.exists() and not (overwrite and (place / "zarr.json").is_file()):
        raise UsageError(
            "Something is there already", field="path", found=str(path), mend="overwrite=True, or another name"
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        _write(sections, partial)
        if place.exists():
            shutil.rmtree(place)
        partial.rename(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return place


def _check(name: str, section: Section) -> None:
    image = section.image.image
    for text in (name, *section.labels, *section.tables):
        if not _NAME.match(text) or text.startswith("__"):
            raise UsageError("A name has signs that the format does not allow", field="sections", found=text,
                             expected="letters, digits, _ . -")  # fmt: skip
    if image.geometry is None or "".join(a.name for a in image.axes) != "czyx" or image.shape[1] != 1:
        raise UsageError("A section is one plane with channels", field="axes", found=image.shape, expected="c, 1, y, x")
    for kind, marks in section.labels.items():
        array = np.asarray(marks)
        if array.dtype.kind not in "iu" or array.shape != image.shape[2:] or array.min(initial=0) < 0:
            raise UsageError("Labels are whole numbers on the grid of the image", field=kind,
                             found=f"{array.dtype} {array.shape}", expected=image.shape[2:])  # fmt: skip
    if strange := set(section.tables) - set(section.labels):
        raise UsageError("A table belongs to no labels", field="tables", found=", ".join(sorted(strange)),
                         expected=", ".join(section.labels))  # fmt: skip


def _write(sections: Mapping[str, Section], folder: Path) -> None:
    attrs = {"version": _WHOLE, "spatialdata_software_version": f"timelens {timelens.__version__}"}
    root = zarr.create_group(zarr.storage.LocalStore(folder), zarr_format=3, attributes={_ATTRS: attrs})
    images, labels, tables = (root.create_group(n) for n in ("images", "labels", "tables"))
    listed = []
    for name, section in sections.items():
        image = section.image.image
        assert image.geometry is not None
        pixel_um = [1e3 * s for s in image.geometry.spacing[1:]]
        channels = [str(c) for c in image.axes[0].coordinates or range(image.shape[0])]
        said = [str(v) for v in section.image.extra.get("channel_labels") or channels]
        named = {"omero": {"channels": [{"label": v} for v in _unique(said)]}}
        system = "global" if len(sections) == 1 else name
        _pyramid(images, f"{name}_image", image.numpy()[:, 0], pixel_um, system, named)
        for kind, marks in section.labels.items():
            array = np.asarray(marks).astype(np.int32)
            _pyramid(labels, f"{name}_{kind}", array, pixel_um, system, {"image-label": {"version": "0.5"}})
            listed.append(f"{name}_{kind}")
        for kind, table in section.tables.items():
            _table(tables, f"{name}_{kind}_table", table, f"{name}_{kind}")
    labels.attrs["ome"] = {"labels": listed}


def _pyramid(
    group: Any, name: str, array: NDArray[Any], pixel_um: Sequence[float], system: str, more: Mapping[str, Any]
) -> None:
    """An image (c, y, x) as means, or labels (y, x) as every second pixel, down to a small picture."""
    made = group.create_group(name)
    order = "cyx" if array.ndim == 3 else "yx"
    datasets: list[dict[str, Any]] = []
    factors = np.ones(array.ndim)
    level = array
    while True:
        chunks = tuple(1 if n == "c" else min(_CHUNK, size) for n, size in zip(order, level.shape, strict=True))
        store = made.create_array(
            f"s{len(datasets)}", shape=level.shape, dtype=level.dtype, chunks=chunks, dimension_names=list(order),
            config={"write_empty_chunks": True},
        )  # fmt: skip
        store[...] = level
        datasets.append({"path": f"s{len(datasets)}",
                         "coordinateTransformations": [{"type": "scale", "scale": factors.tolist()}]})  # fmt: skip
        if max(level.shape[-2:]) <= _SMALLEST_LEVEL or min(level.shape[-2:]) < 2:
            break
        level = (
            _halved(level) if order == "cyx" else level[: level.shape[0] // 2 * 2 : 2, : level.shape[1] // 2 * 2 : 2]
        )
        factors[-2:] *= 2
    plain = [{"name": n, "type": "channel"} if n == "c" else {"name": n, "type": "space"} for n in order]
    placed = [a if a["name"] == "c" else {**a, "unit": "micrometer"} for a in plain]
    scale = [*([1.0] if order == "cyx" else []), *pixel_um]
    transform = {"type": "scale", "scale": scale, "input": {"name": order, "axes": placed},
                 "output": {"name": system, "axes": placed}}  # fmt: skip
    multiscale = {"name": name, "axes": plain, "datasets": datasets, "coordinateTransformations": [transform]}
    made.attrs["ome"] = {"version": _OME, "multiscales": [multiscale], **more}
    made.attrs[_ATTRS] = {"version": _RASTER}


def _halved(array: NDArray[Any]) -> NDArray[Any]:
    """Means of two by two pixels; an odd last row is left out."""
    c, y, x = array.shape
    blocks = array[:, : y // 2 * 2, : x // 2 * 2].reshape(c, y // 2, 2, x // 2, 2)
    mean: NDArray[Any] = blocks.mean(axis=(2, 4), dtype=np.float64)
    return (np.rint(mean) if array.dtype.kind in "iu" else mean).astype(array.dtype)


def _table(group: Any, name: str, table: Table, region: str) -> None:
    data = annotated(table)
    instance = np.array([_number(v) for v in data.cells], np.int64)
    keys = {"region": region, "region_key": _REGION, "instance_key": _INSTANCE}
    obs = {**data.obs, _REGION: np.array([region] * len(data.cells), object), _INSTANCE: instance}
    made = group.create_group(name)
    write_annotated(made, replace(data, obs=obs, uns={**data.uns, _ATTRS: keys}))
    made.attrs.update({"spatialdata-encoding-type": "ngff:regions_table", **keys, "version": _TABLE})


def _number(text: str) -> int:
    value = float(text)
    if not math.isfinite(value) or value != int(value):
        raise UsageError("The number of a cell is its label", field="cell", found=text, expected="a whole number")
    return int(value)


def _unique(labels: Sequence[str]) -> list[str]:
    return [v if labels.count(v) == 1 else f"{v}-{list(labels[: k + 1]).count(v)}" for k, v in enumerate(labels)]
