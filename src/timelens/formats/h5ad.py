"""AnnData files (``.h5ad``) of cells, as scanpy, squidpy and scimap read and write them; needs the extra ``tissue``.

``X`` holds the means per cell and channel in counts, ``obs`` everything else that is known of a cell,
``obsm["spatial"]`` positions (x, y) in micrometres, ``obsp["connectivities"]`` the neighbours, and ``uns["timelens"]``
the units. Files of others state no units: they must be given.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.errors import (
    FormatError,
    MissingDependencyError,
    MissingFieldError,
    Problem,
    TimelensError,
    UnsafeFileError,
    UsageError,
)
from timelens.formats import safety
from timelens.formats.anndata_store import Annotated, Sparse, read_annotated, write_annotated
from timelens.study.acquisition import Acquisition
from timelens.study.provenance import SourceFile
from timelens.study.table import Table
from timelens.units import conversion_factor

__all__ = ["PREFIX", "annotated", "available", "read", "read_table", "write"]

#: What names of columns of means begin with, before the channel.
PREFIX = "mean_"
_UNITS = "timelens"
_MOST_ELEMENTS = 10_000


def available() -> bool:
    """Whether the package that reads and writes such files is installed."""
    from importlib.util import find_spec

    return find_spec("h5py") is not None


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise MissingDependencyError("h5py", purpose="AnnData files", extra="tissue") from None
    return h5py


def annotated(
    cells: Table,
    *,
    graph: tuple[NDArray[Any], NDArray[Any]] | None = None,
    about: Mapping[str, str] | None = None,
    file: object = "",
) -> Annotated:
    """A table of cells as AnnData has it.

    Parameters
    ----------
    cells
        One row per cell, with ``cell``, ``x``, ``y`` in um, and a column ``mean_CHANNEL`` per channel.
    graph
        Neighbours in compressed rows: first places (cells + 1), and places of neighbours.
    about
        Text that goes along: what the cells come from.
    file
        For messages.

    Raises
    ------
    MissingFieldError
        If a column is missing.
    """
    frame = cells.data
    if lacking := [c for c in ("cell", "x", "y") if c not in frame.columns]:
        raise MissingFieldError("The table of cells lacks columns", file=file, field=", ".join(lacking),
                                found=", ".join(map(str, frame.columns)), expected="cell, x, y")  # fmt: skip
    means = [c for c in frame.columns if str(c).startswith(PREFIX)]
    return Annotated(
        values=frame[means].to_numpy(np.float32),
        cells=tuple(str(v) for v in frame["cell"]),
        channels=tuple(str(c).removeprefix(PREFIX) for c in means),
        obs={str(c): _stored(frame[c]) for c in frame.columns if c not in means},
        obsm={"spatial": frame[["x", "y"]].to_numpy(np.float64)},
        obsp={} if graph is None else {"connectivities": Sparse(*graph)},
        uns={_UNITS: {"units": dict(cells.column_units), **(about or {})}},
    )


def _stored(column: Any) -> NDArray[Any]:
    if column.dtype.kind in "iufb":
        return np.asarray(column.to_numpy())
    return np.array([str(v) for v in column], object)


def write(
    cells: Table,
    path: str | Path,
    *,
    graph: tuple[NDArray[Any], NDArray[Any]] | None = None,
    about: Mapping[str, str] | None = None,
) -> Path:
    """Write a table of cells; parameters as :func:`annotated` has them.

    Parameters
    ----------
    cells
        One row per cell.
    path
        Ends in ``.h5ad``; written whole or not at all.
    graph
        Neighbours.
    about
        What the cells come from.

    Raises
    ------
    MissingDependencyError
        If h5py is not installed.
    MissingFieldError
        If a column is missing.
    """
    h5py, place = _h5py(), Path(path)
    data = annotated(cells, graph=graph, about=about, file=path)
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.stem}.{os.getpid()}.h5ad")
    try:
        with h5py.File(partial, "w") as store:
            write_annotated(store, data)
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)
    return place


def read(
    path: str | Path,
    *,
    pixel_size_um: float | None = None,
    unit: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's name
    subject: str = "",
    session: str = "",
    modality: str | None = None,
) -> Acquisition:
    """Read the cells of a section as an acquisition whose data are a table, positions in micrometres.

    Parameters
    ----------
    path
        The file.
    pixel_size_um
        Micrometres per unit of the positions, where the file does not state it: the size of a pixel where they are
        pixels, 1 where they are micrometres.
    unit
        UCUM code of ``X``, where the file does not state it.
    id, subject, session
        Where the caller knows them.
    modality
        ``cytometry`` by default.

    Raises
    ------
    MissingFieldError
        If nobody states the unit of the positions or of ``X``.
    FormatError, UnsafeFileError, MissingDependencyError
        As :func:`read_table`.
    """
    data, stated = _opened(path)
    problems = []
    if "x" not in stated or "y" not in stated:
        if pixel_size_um is None:
            raise MissingFieldError(
                "The unit of the positions is not known", file=path, field="pixel_size_um", found="nothing",
                expected="micrometres per unit of obsm['spatial']",
                mend="state it with pixel_size_um (1 where positions are micrometres)",
            )  # fmt: skip
        if not (math.isfinite(pixel_size_um) and pixel_size_um > 0):
            raise UsageError("A pixel has a positive size", field="pixel_size_um", found=pixel_size_um, expected="um")
    places = {}
    for k, name in enumerate("xy"):
        factor = conversion_factor(stated[name], "um") if name in stated else float(pixel_size_um or math.nan)
        places[name] = factor * data.obsm["spatial"][:, k]
    means = {f"{PREFIX}{name}": data.values[:, k] for k, name in enumerate(data.channels)}
    if unit is None and (silent := [n for n in means if n not in stated]):
        raise MissingFieldError(
            "The unit of the values is not known", file=path, field="unit", found="nothing", expected="{counts}, 1 ...",
            mend=f"state it with unit='{{counts}}': it is not known of {silent[0].removeprefix(PREFIX)}",
        )  # fmt: skip
    rest = {n: v for n, v in data.obs.items() if n not in ("x", "y", "cell")}
    if lost := [n for n, v in rest.items() if np.asarray(v).dtype.kind in "iuf" and n not in stated]:
        problems.append(
            Problem("Columns without a unit are left out", str(path), "obs", ", ".join(lost), "a unit per number", "",
                    "warning")
        )  # fmt: skip
    columns = {"cell": list(data.cells), **places, **{n: v for n, v in rest.items() if n not in lost}, **means}
    known = {n: stated.get(n) or str(unit) for n in columns if n in stated or n in means} | {"x": "um", "y": "um"}
    return Acquisition(
        id=id or Path(path).stem,
        modality=modality or "cytometry",
        data=_table(columns, known, path),
        subject=subject,
        session=session,
        description=Path(path).stem,
        sources=(SourceFile.of(path),),
        problems=tuple(problems),
    )


def read_table(path: str | Path, *, units: Mapping[str, str] | None = None) -> Table:
    """Read a table of cells: ``cell``, ``x``, ``y``, the columns of ``obs``, and ``mean_CHANNEL`` from ``X``.

    Parameters
    ----------
    path
        The file.
    units
        UCUM code per column, where the file, if another program wrote it, states none; the channels share ``X``, and
        ``*`` stands for all other numbers of ``obs``.

    Raises
    ------
    MissingDependencyError
        If h5py is not installed.
    FormatError, UnsafeFileError
        If the file is damaged, or leads to other files.
    MissingFieldError
        If it has no positions, or a number has no unit.
    """
    data, stated = _opened(path)
    stated = stated | dict(units or {})
    spatial = data.obsm["spatial"]
    columns: dict[str, Any] = {"cell": list(data.cells), "x": spatial[:, 0], "y": spatial[:, 1]}
    columns |= {name: values for name, values in data.obs.items() if name not in columns}
    columns |= {f"{PREFIX}{name}": data.values[:, k] for k, name in enumerate(data.channels)}
    for name in columns:
        rest = stated.get("X") if name.startswith(PREFIX) else stated.get("*") if name not in ("x", "y") else None
        if name not in stated and rest is not None:
            stated[name] = rest
    return _table(columns, stated, path)


def _table(columns: Mapping[str, Any], units: Mapping[str, str], path: str | Path) -> Table:
    import pandas as pd

    frame = pd.DataFrame(dict(columns))
    try:
        return Table(frame, {c: units[c] for c in frame.columns if c in units and frame[c].dtype.kind in "iuf"})
    except TimelensError as error:
        raise error.at(file=path) from None


def _opened(path: str | Path) -> tuple[Annotated, dict[str, str]]:
    """What the file holds, with positions, and the units that it states."""
    h5py, place = _h5py(), safety.existing(path)
    try:
        with h5py.File(place, "r") as store:
            _check(store, place, h5py)
            data = read_annotated(store, file=path)
    except TimelensError:
        raise
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, MemoryError) as error:
        raise FormatError("The AnnData file is damaged", file=path, field="h5ad", found=str(error)[:200]) from error
    spatial = np.asarray(data.obsm.get("spatial", np.empty((0, 0))), float)
    if spatial.shape[1:] != (2,) or not np.isfinite(spatial).all():
        raise MissingFieldError("The cells have no positions", file=path, field="obsm['spatial']",
                                found="not finite" if spatial.shape[1:] == (2,) else "nothing",
                                expected="x and y of each cell")  # fmt: skip
    about = data.uns.get(_UNITS, {})
    said = about.get("units", {}) if isinstance(about, Mapping) else {}
    stated = {str(k): str(v) for k, v in said.items()} if isinstance(said, Mapping) else {}
    return replace(data, obsm={"spatial": spatial}), stated


def _check(store: Any, place: Path, h5py: Any) -> None:
    """Refuse links to other files, and arrays that claim more than the file can hold."""
    size, claimed, seen = place.stat().st_size, 0, 0
    pending = [store]
    while pending:
        group = pending.pop()
        for name in group:
            seen += 1
            if seen > _MOST_ELEMENTS:  # a group may lie within itself
                raise FormatError("The file holds too many elements", file=place, field="h5ad", found=seen)
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise UnsafeFileError("An element of the file is a link", file=place, field=f"{group.name}/{name}",
                                      expected="data in the file itself")  # fmt: skip
            node = group[name]
            if isinstance(node, h5py.Group):
                pending.append(node)
                continue
            if node.external or node.is_virtual:
                raise UnsafeFileError("The data of an element lie in other files", file=place, field=node.name,
                                      expected="data in the file itself")  # fmt: skip
            claimed += node.nbytes if node.shape is not None else 0
    if claimed > max(safety.FREE_BYTES, size * safety.MAX_RATIO):
        raise FormatError("The file claims more data than it can hold", file=place, field="shape",
                          found=f"{claimed:,} bytes claimed, {size:,} bytes in the file")  # fmt: skip
