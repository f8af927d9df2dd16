"""The layout of AnnData in a hierarchy of groups and arrays, the same in HDF5 (``.h5ad``) and in Zarr.

Every element says what it is in its attributes ``encoding-type`` and ``encoding-version``: dense arrays, text, tables
by column, categories as codes, sparse matrices in compressed rows. This is the layout of anndata 0.8 and later; a group
of h5py and one of zarr serve alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.errors import FormatError

__all__ = ["Annotated", "Sparse", "read_annotated", "write_annotated"]

_VERSIONS = {
    "anndata": "0.1.0", "array": "0.2.0", "categorical": "0.2.0", "csr_matrix": "0.1.0", "dataframe": "0.2.0",
    "dict": "0.1.0", "numeric-scalar": "0.2.0", "string": "0.2.0", "string-array": "0.2.0",
}  # fmt: skip
_INDEX = "_index"
_MOST_PLACES = 3  # coordinates of a cell


@dataclass(frozen=True, eq=False)
class Sparse:
    """A square matrix in compressed rows, of ones: who is whose neighbour."""

    starts: NDArray[Any]
    neighbours: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Annotated:
    """Cells by channels with what is known of either.

    Attributes
    ----------
    values
        Shape (cells, channels).
    cells, channels
        Their names.
    obs
        Columns of what is known of cells: numbers, or text.
    obsm
        Arrays of a row per cell.
    obsp
        Pairs of cells.
    uns
        Numbers, text, and mappings of these.
    """

    values: NDArray[Any]
    cells: tuple[str, ...]
    channels: tuple[str, ...]
    obs: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    obsm: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    obsp: Mapping[str, Sparse] = field(default_factory=dict)
    uns: Mapping[str, Any] = field(default_factory=dict)


# -- writing -----------------------------------------------------------------------------------------------------------


def write_annotated(group: Any, data: Annotated, *, categorical: Sequence[str] = ()) -> None:
    """Write into an empty group of h5py or zarr.

    Parameters
    ----------
    group
        Where to.
    data
        What.
    categorical
        Columns of ``obs`` that are categories whatever they hold; text always is.
    """
    _mark(group, "anndata")
    _array(group, "X", np.asarray(data.values))
    obs = _table(group, "obs", data.cells, list(data.obs))
    for name, values in data.obs.items():
        array = np.asarray(values)
        if array.dtype.kind in "iufb" and name not in categorical:
            _array(obs, name, array)
        else:
            _categories(obs, name, [str(v) for v in array])
    _table(group, "var", data.channels, [])
    for name in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
        _mark(group.create_group(name), "dict")
    for name, values in data.obsm.items():
        _array(group["obsm"], name, np.asarray(values))
    for name, pairs in data.obsp.items():
        _sparse(group["obsp"], name, pairs, len(data.cells))
    _mapping(group["uns"], data.uns)


def _mark(node: Any, kind: str) -> Any:
    node.attrs["encoding-type"] = kind
    node.attrs["encoding-version"] = _VERSIONS[kind]
    return node


def _dataset(group: Any, name: str, data: NDArray[Any]) -> Any:
    """An array in either library; text as text of any length."""
    if hasattr(group, "create_array"):  # zarr
        if data.dtype.kind not in "OU":
            return group.create_array(name, data=data)
        made = group.create_array(name, shape=data.shape, dtype=str)
        made[...] = data.astype(object)
        return made
    import h5py

    text = {"dtype": h5py.string_dtype()} if data.dtype.kind in "OU" else {}
    return group.create_dataset(name, data=data.astype(object) if text else data, **text)


def _array(group: Any, name: str, data: NDArray[Any]) -> None:
    _mark(_dataset(group, name, data), "array")


def _texts(group: Any, name: str, values: Sequence[str]) -> None:
    _mark(_dataset(group, name, np.array(list(values), object)), "string-array")


def _table(group: Any, name: str, index: Sequence[str], columns: Sequence[str]) -> Any:
    made = _mark(group.create_group(name), "dataframe")
    made.attrs[_INDEX] = _INDEX
    # A list of no text has no type of its own in HDF5.
    made.attrs["column-order"] = list(columns) if columns or hasattr(group, "create_array") else np.empty(0, float)
    _texts(made, _INDEX, index)
    return made


def _categories(group: Any, name: str, values: Sequence[str]) -> None:
    made = _mark(group.create_group(name), "categorical")
    made.attrs["ordered"] = False
    categories = sorted(set(values))
    place = {v: k for k, v in enumerate(categories)}
    kind = np.int8 if len(categories) < 127 else np.int32
    _array(made, "codes", np.array([place[v] for v in values], kind))
    _texts(made, "categories", categories)


def _sparse(group: Any, name: str, pairs: Sparse, size: int) -> None:
    made = _mark(group.create_group(name), "csr_matrix")
    made.attrs["shape"] = [size, size]
    _array(made, "data", np.ones(len(pairs.neighbours), np.float32))
    _array(made, "indices", np.asarray(pairs.neighbours, np.int32))
    _array(made, "indptr", np.asarray(pairs.starts, np.int32))


def _mapping(group: Any, content: Mapping[str, Any]) -> None:
    for name, value in content.items():
        if isinstance(value, Mapping):
            _mapping(_mark(group.create_group(name), "dict"), value)
        elif isinstance(value, str):
            _mark(_dataset(group, name, np.array(value, object)), "string")
        else:
            _mark(_dataset(group, name, np.array(value)), "numeric-scalar")


# -- reading -----------------------------------------------------------------------------------------------------------


def read_annotated(group: Any, *, file: object) -> Annotated:
    """What a group holds: values, ``obs``, positions under ``obsm``, text and numbers under ``uns``.

    Pairs of cells, layers and what is known of channels besides their names are left unread.

    Parameters
    ----------
    group
        Of h5py or zarr, opened for reading.
    file
        For messages.

    Raises
    ------
    FormatError
        If it is of an older layout, an element is missing, of an unknown kind, or does not fit the cells.
    """
    if _kind(group) != "anndata":
        raise _wrong(file, "encoding-type", "The file is not laid out as AnnData, or as a version before 0.8",
                     _kind(group) or "nothing", "anndata")  # fmt: skip
    obs, var = (_need(group, n, file) for n in ("obs", "var"))
    cells, channels = (tuple(_strings(_need(t, _said(t, _INDEX), file))) for t in (obs, var))
    columns = {n: _column(_need(obs, n, file), f"obs[{n!r}]", file) for n in _listed(obs)}
    values = (
        _matrix(group["X"], "X", (len(cells), len(channels)), file)
        if "X" in group
        else np.empty((len(cells), 0), np.float32)
    )
    channels = channels if values.shape[1] else ()
    obsm = {}
    if "obsm" in group:
        size = (len(cells), _MOST_PLACES)
        obsm = {n: _matrix(group["obsm"][n], f"obsm[{n!r}]", size, file) for n in group["obsm"] if n == "spatial"}
    for name, array in {"X": values, **columns, **obsm}.items():
        if len(array) != len(cells):
            raise _wrong(file, name, "A column has another length than the list of cells", len(array), len(cells))
    if values.shape[1] != len(channels):
        raise _wrong(file, "X", "The matrix has other columns than the list of channels", values.shape[1],
                     len(channels))  # fmt: skip
    uns = _plain(group["uns"]) if "uns" in group else {}
    return Annotated(values, cells, channels, columns, obsm, uns=uns)


def _wrong(file: object, where: str, message: str, found: object, expected: object) -> FormatError:
    return FormatError(message, file=file, field=where, found=found, expected=expected,
                       mend="read it with anndata 0.8 or later and write it again")  # fmt: skip


def _kind(node: Any) -> str:
    return _text(node.attrs.get("encoding-type", ""))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _said(node: Any, name: str) -> str:
    return _text(node.attrs.get(name, name))


def _listed(node: Any) -> list[str]:
    return [_text(n) for n in np.asarray(node.attrs.get("column-order", [])).ravel()]


def _need(group: Any, name: str, file: object) -> Any:
    if name not in group:
        raise _wrong(file, name, "The file lacks an element that it names", "nothing", name)
    return group[name]


def _strings(node: Any) -> list[str]:
    values = node.asstr()[...] if hasattr(node, "asstr") and node.dtype.kind == "O" else np.asarray(node[...])
    return [_text(v) for v in np.asarray(values).ravel()]


def _column(node: Any, where: str, file: object) -> NDArray[Any]:
    """A column as numbers or text; what is missing is NaN, or empty."""
    kind = _kind(node)
    if kind == "array":
        return np.asarray(node[...])
    if kind == "string-array":
        return np.array(_strings(node), object)
    if kind == "categorical":
        names = _column(_need(node, "categories", file), where, file)
        codes = np.asarray(_need(node, "codes", file)[...], np.int64)
        if codes.size and not -1 <= codes.min() <= codes.max() < len(names):
            raise _wrong(file, where, "A category has no name", int(codes.max()), f"below {len(names)}")
        lacking: Any = np.nan if names.dtype.kind in "iuf" else ""
        padded = np.append(names.astype(float) if lacking != "" else names.astype(object), lacking)
        return padded[codes]
    if kind in ("nullable-integer", "nullable-boolean", "nullable-string-array"):
        values = _need(node, "values", file)
        absent = np.asarray(_need(node, "mask", file)[...], bool)
        if kind == "nullable-string-array":
            return np.where(absent, "", np.array(_strings(values), object))
        return np.where(absent, np.nan, np.asarray(values[...], float))
    raise _wrong(file, where, "The column is of an unknown kind", kind or "nothing",
                 "numbers, text or categories")  # fmt: skip


def _matrix(node: Any, where: str, most: tuple[int, int], file: object) -> NDArray[Any]:
    """A matrix as a dense array; a sparse one may state any size, and is not made larger than it can be."""
    kind = _kind(node)
    if kind == "array":
        values = np.asarray(node[...])
        if values.ndim != 2 or values.dtype.kind not in "iufb":
            raise _wrong(file, where, "Not a matrix of numbers", f"{values.dtype} {values.shape}", "rows and columns")
        return values
    if kind in ("csr_matrix", "csc_matrix"):
        from scipy.sparse import csc_matrix, csr_matrix

        shape = tuple(int(n) for n in node.attrs["shape"])
        if len(shape) != 2 or any(n > limit for n, limit in zip(shape, most, strict=True)):
            raise _wrong(file, where, "The sparse matrix is larger than the lists of cells and channels", shape, most)
        parts = [np.asarray(_need(node, n, file)[...]) for n in ("data", "indices", "indptr")]
        try:
            made = (csr_matrix if kind == "csr_matrix" else csc_matrix)(tuple(parts), shape=shape)
            made.check_format(full_check=True)
        except (ValueError, IndexError) as error:
            raise _wrong(file, where, "The sparse matrix is damaged", str(error)[:120], "compressed rows") from error
        dense: NDArray[Any] = made.toarray()
        return dense
    if kind == "null":
        return np.empty((0, 0))
    raise _wrong(file, where, "The matrix is of an unknown kind", kind or "nothing", "array, csr_matrix, csc_matrix")


def _plain(group: Any) -> dict[str, Any]:
    """Text, numbers and mappings of them; all else is left out."""
    found: dict[str, Any] = {}
    for name in group:
        kind = _kind(group[name])
        if kind == "dict":
            found[name] = _plain(group[name])
        elif kind == "string":
            found[name] = _text(np.asarray(group[name][()]).item())
        elif kind == "numeric-scalar":
            found[name] = np.asarray(group[name][()]).item()
    return found
