"""Label files: from an image of whole numbers to a region set, and back.

0 is background. Names, roles and identity stand in the sidecar (block ``timelens``, field ``labels``), or in a table of
the same name ending in ``.tsv`` with the columns index and name (as BIDS derivatives have it); else the regions are
named by their number.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.errors import FormatError, GeometryError, UsageError
from timelens.formats import assemble, safety, sidecar
from timelens.study.acquisition import Acquisition
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.region import Region

__all__ = ["described", "to_image", "to_region"]


def to_region(
    acquisition: Acquisition,
    path: str | Path,
    *,
    geometry: Geometry,
    id: str | None = None,  # noqa: A002 - the field's name
    said: Mapping[str, Any] | None = None,
) -> Region:
    """The region set that a label file holds.

    Parameters
    ----------
    acquisition
        The label file as read by its format.
    path
        The file; names are looked for beside it.
    geometry
        The grid of the image that the labels were drawn on. They take its frame of reference; where their own sidecar
        names another, they are refused. Their grid may be another one.
    id
        Name of the set; by default the name of the file.
    said
        Names, roles and identity, where the file itself holds them.

    Raises
    ------
    FormatError
        If values are not whole numbers of 0 and more, or the names cannot be read.
    GeometryError
        If the labels belong to another frame of reference.
    """
    image = acquisition.image
    own = image.geometry
    if own is None or len(image.shape) != 3:
        raise FormatError("A label file has three dimensions", file=path, field="dim", found=image.shape)
    if own.frame is not None and geometry.frame is not None and own.frame != geometry.frame:
        raise GeometryError(
            "The labels belong to another frame of reference than the image",
            file=path,
            field="timelens.frame_of_reference",
            found=own.frame,
            expected=geometry.frame,
        )
    values = _whole(image.numpy(), path)
    frame = own.frame if own.frame is not None else geometry.frame
    numbers = [int(n) for n in np.unique(values) if n > 0]
    names, roles, identity, method = _names(path, numbers, said)
    return Region(
        id or assemble.stem(path),
        "labels",
        names,
        labels=Image(values, unit="1", geometry=own.with_frame(frame), name=Path(path).name),
        method=method,
        roles=roles,
        identity=identity,
        sources=acquisition.sources,
    )


def _whole(values: NDArray[Any], path: str | Path) -> NDArray[np.int32]:
    if values.dtype.kind not in "iufb" or (values != np.rint(values)).any():  # NaN differs from itself
        lowest = f" between {np.nanmin(values):g} and {np.nanmax(values):g}" if values.dtype.kind == "f" else ""
        raise FormatError(
            "A label file holds whole numbers",
            file=path,
            field="pixels",
            found=f"{values.dtype}{lowest}",
            expected="0 for background, 1, 2, 3 ...",
            mend="a probability map needs a threshold first",
        )
    if values.min() < 0 or values.max() > np.iinfo(np.int32).max:
        raise FormatError(
            "A label is out of range",
            file=path,
            field="pixels",
            found=f"{values.min():g} to {values.max():g}",
            expected="0 for background, 1, 2, 3 ...",
        )
    return values.astype(np.int32)


def _names(
    path: str | Path, numbers: list[int], said: Mapping[str, Any] | None
) -> tuple[dict[int, str], dict[int, Any], dict[int, str], str]:
    """Names, roles, identity and method from the sidecar, else from a table beside the file, else by number."""
    said = said or assemble.described(path, None)[0].labels
    place = sidecar.beside(path)
    try:
        listed = {key: {int(n): str(v) for n, v in said.get(key, {}).items()} for key in ("names", "roles", "identity")}
    except (AttributeError, TypeError, ValueError):
        raise FormatError(
            "Labels are not listed by number", file=place, field="timelens.labels", expected='{"names": {"1": "..."}}'
        ) from None
    table = place.with_suffix(".tsv")
    names = listed["names"]
    if not names and table.is_file():
        try:
            rows = list(csv.DictReader(io.StringIO(safety.read_text(table)), delimiter="\t"))
            names = {int(row["index"]): row["name"] for row in rows}
        except (KeyError, TypeError, ValueError, csv.Error):
            raise FormatError(
                "The table of labels has no columns index and name", file=table, field="index, name"
            ) from None
    result = {n: names.get(n) or f"lesion-{n}" for n in numbers}
    return result, listed["roles"], listed["identity"], str(said.get("method", "given"))


def to_image(region: Region, geometry: Geometry | None = None) -> Image:
    """Regions as an integer image, on a grid where they are not labels already.

    Raises
    ------
    UsageError
        If contours come without a grid.
    """
    if geometry is None:
        if region.labels is None or region.labels.geometry is None:
            raise UsageError("Contours need the grid they are laid onto", field="geometry", found="none")
        geometry, values = region.labels.geometry, region.labels.numpy().astype(np.int32, copy=False)
    else:
        values = region.on(geometry)
    small = values.astype(np.int16) if values.max() <= np.iinfo(np.int16).max else values
    return Image(small, unit="1", geometry=geometry, name=region.id)


def described(region: Region) -> dict[str, Any]:
    """What the sidecar of a label file holds about its regions."""
    listed = {key: {str(n): v for n, v in getattr(region, key).items()} for key in ("names", "roles", "identity")}
    return {**listed, "method": region.method}
