"""AnnData files (``.h5ad``) of cells, as scanpy, squidpy and scimap read them; needs the extra ``tissue``.

``X`` holds the means per cell and channel in counts, ``obs`` everything else that is known of a cell,
``obsm["spatial"]`` positions (x, y) in micrometres, ``obsp["connectivities"]`` the neighbours, and ``uns["timelens"]``
the units.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.errors import FormatError, MissingDependencyError, MissingFieldError
from timelens.formats import safety
from timelens.study.table import Table

__all__ = ["available", "read", "write"]

_PREFIX = "mean_"
_UNITS = "timelens"


def available() -> bool:
    """Whether the package that reads and writes such files is installed."""
    from importlib.util import find_spec

    return find_spec("anndata") is not None


def _anndata() -> Any:
    try:
        import anndata
    except ImportError:
        raise MissingDependencyError("anndata", purpose="AnnData files", extra="tissue") from None
    return anndata


def write(
    cells: Table,
    path: str | Path,
    *,
    graph: tuple[NDArray[Any], NDArray[Any]] | None = None,
    about: Mapping[str, str] | None = None,
) -> Path:
    """Write a table of cells.

    Parameters
    ----------
    cells
        One row per cell, with ``cell``, ``x``, ``y`` in um, and a column ``mean_CHANNEL`` per channel.
    path
        Ends in ``.h5ad``.
    graph
        Neighbours in compressed rows: first places (cells + 1), and places of neighbours.
    about
        Text that goes along: what the cells come from.

    Raises
    ------
    MissingDependencyError
        If anndata is not installed.
    MissingFieldError
        If a column is missing.
    """
    import pandas as pd
    from scipy.sparse import csr_matrix

    anndata, frame, place = _anndata(), cells.data, Path(path)
    if lacking := [c for c in ("cell", "x", "y") if c not in frame.columns]:
        raise MissingFieldError("The table of cells lacks columns", file=path, field=", ".join(lacking),
                                found=", ".join(map(str, frame.columns)), expected="cell, x, y")  # fmt: skip
    means = [c for c in frame.columns if str(c).startswith(_PREFIX)]
    rest = frame.drop(columns=means)
    obs = pd.DataFrame({str(c): _stored(rest[c]) for c in rest.columns}, index=_names(frame["cell"]))
    data = anndata.AnnData(
        X=frame[means].to_numpy(np.float32),
        obs=obs,
        var=pd.DataFrame(index=_names(str(c).removeprefix(_PREFIX) for c in means)),
        obsm={"spatial": frame[["x", "y"]].to_numpy(np.float64)},
        uns={_UNITS: {"units": dict(cells.column_units), **(about or {})}},
    )
    if graph is not None:
        starts, neighbours = graph
        edges = csr_matrix((np.ones(len(neighbours), np.float32), neighbours, starts), shape=(len(frame),) * 2)
        data.obsp["connectivities"] = edges
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.stem}.{os.getpid()}.h5ad")
    try:
        data.write_h5ad(partial)
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)
    return place


def _names(values: Iterable[Any]) -> Any:
    """Names as plain objects: what pandas 3 makes of text, anndata does not write."""
    import pandas as pd

    return pd.Index([str(v) for v in values], dtype=object)


def _stored(column: Any) -> Any:
    import pandas as pd

    if column.dtype.kind in "iufb":
        return column.to_numpy()
    values = [str(v) for v in column]
    return pd.Categorical(values, categories=_names(sorted(set(values))))


def read(path: str | Path, *, units: Mapping[str, str] | None = None) -> Table:
    """Read a table of cells: ``cell``, ``x``, ``y``, the columns of ``obs``, and ``mean_CHANNEL`` from ``X``.

    Parameters
    ----------
    path
        The file.
    units
        UCUM code per column, where the file, if another program wrote it, states none; the channels share ``X``.

    Raises
    ------
    MissingDependencyError
        If anndata is not installed.
    FormatError
        If the file is damaged.
    MissingFieldError
        If it has no positions, or a number has no unit.
    """
    import pandas as pd

    anndata, place = _anndata(), safety.existing(path)
    try:
        data = anndata.read_h5ad(place)
    except Exception as error:
        raise FormatError("The AnnData file is damaged", file=path, field="h5ad", found=str(error)[:200]) from error
    if "spatial" not in data.obsm or np.asarray(data.obsm["spatial"]).shape[1:] != (2,):
        raise MissingFieldError("The cells have no positions", file=path, field="obsm['spatial']", found="nothing",
                                expected="x and y of each cell")  # fmt: skip
    about = data.uns.get(_UNITS, {})
    stated = {str(k): str(v) for k, v in dict(about.get("units", {})).items()} | dict(units or {})
    values = data.X.toarray() if hasattr(data.X, "toarray") else np.asarray(data.X)
    spatial = np.asarray(data.obsm["spatial"], float)
    columns: dict[str, Any] = {"cell": [str(v) for v in data.obs_names], "x": spatial[:, 0], "y": spatial[:, 1]}
    columns |= {str(c): _plain(data.obs[c]) for c in data.obs.columns if c not in ("x", "y")}
    for k, name in enumerate(data.var_names):
        columns[f"{_PREFIX}{name}"] = values[:, k]
        if units and "X" in units:
            stated.setdefault(f"{_PREFIX}{name}", units["X"])
    frame = pd.DataFrame(columns)
    return Table(frame, {c: stated[c] for c in frame.columns if c in stated and frame[c].dtype.kind in "iufb"})


def _plain(column: Any) -> Any:
    return column.astype(str).to_numpy() if column.dtype.kind not in "iufb" else column.to_numpy()
