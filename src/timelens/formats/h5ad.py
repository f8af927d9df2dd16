"""AnnData files (``.h5ad``) of cells, as scanpy, squidpy and scimap read and write them; needs the extra ``tissue``.

``X`` holds the means per cell and channel in counts, ``obs`` everything else that is known of a cell,
``obsm["spatial"]`` positions (x, y) in micrometres, ``obsp["connectivities"]`` the neighbours, and ``uns["timelens"]``
the units. Files of others state no units: they must be given.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.errors import FormatError, MissingDependencyError, MissingFieldError, TimelensError, UnsafeFileError
from timelens.formats import safety
from timelens.formats.anndata_store import Annotated, Sparse, read_annotated, write_annotated
from timelens.study.table import Table

__all__ = ["PREFIX", "annotated", "available", "read", "write"]

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


def read(path: str | Path, *, units: Mapping[str, str] | None = None) -> Table:
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
    import pandas as pd

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
    if spatial.shape[1:] != (2,):
        raise MissingFieldError("The cells have no positions", file=path, field="obsm['spatial']", found="nothing",
                                expected="x and y of each cell")  # fmt: skip
    about = data.uns.get(_UNITS, {})
    stated = {str(k): str(v) for k, v in dict(about.get("units", {})).items()} | dict(units or {})
    columns: dict[str, Any] = {"cell": list(data.cells), "x": spatial[:, 0], "y": spatial[:, 1]}
    columns |= {name: values for name, values in data.obs.items() if name not in ("x", "y", "cell")}
    columns |= {f"{PREFIX}{name}": data.values[:, k] for k, name in enumerate(data.channels)}
    frame = pd.DataFrame(columns)
    numbers = [c for c in frame.columns if frame[c].dtype.kind in "iuf"]
    for name in numbers:
        rest = stated.get("X") if str(name).startswith(PREFIX) else stated.get("*") if name not in "xy" else None
        if name not in stated and rest is not None:
            stated[name] = rest
    try:
        return Table(frame, {c: stated[c] for c in numbers if c in stated})
    except TimelensError as error:
        raise error.at(file=path) from None


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
