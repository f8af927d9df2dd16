"""AnnData out and in: what is refused, what comes back, and that other programs' files are read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from timelens.errors import FormatError, MissingDependencyError, MissingFieldError, UnsafeFileError
from timelens.formats import h5ad
from timelens.formats.anndata_store import Annotated, write_annotated
from timelens.study.table import Table

UNITS = {"cell": "1", "x": "um", "y": "um", "area": "um2", "mean_CD8": "{counts}"}


def table() -> Table:
    frame = pd.DataFrame({"cell": [3, 5, 9], "x": [1.0, 2.5, 4.0], "y": [0.5, 0.5, 7.0], "area": [40.0, 50.0, 60.0],
                          "type": ["B", "T", "B"], "mean_CD8": [0.25, 8.0, np.nan]})  # fmt: skip
    return Table(frame, UNITS)


def test_without_the_package(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(MissingDependencyError, match="tissue"):
        h5ad.write(table(), tmp_path / "a.h5ad")


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py", reason="the extra 'tissue' is not installed")


def test_tables_that_lack_something(h5py, tmp_path):
    with pytest.raises(MissingFieldError, match="lacks columns"):
        h5ad.write(Table(table().data.drop(columns="x"), UNITS), tmp_path / "a.h5ad")
    assert not list(tmp_path.iterdir())


def spoil(h5py, path, change):
    h5ad.write(table(), path)
    with h5py.File(path, "r+") as store:
        change(store, h5py)


def no_index(store, h5py):
    del store["obs"]["_index"]


def old(store, h5py):
    del store.attrs["encoding-type"]


def longer(store, h5py):
    values = store["obs"]["area"].attrs.items()
    values = dict(values)
    del store["obs"]["area"]
    store["obs"].create_dataset("area", data=np.zeros(7)).attrs.update(values)


def wide(store, h5py):
    values = dict(store["X"].attrs)
    del store["X"]
    store.create_dataset("X", data=np.zeros((3, 2), "f4")).attrs.update(values)


def strange(store, h5py):
    store["obs"]["area"].attrs["encoding-type"] = "awkward-array"


def codes(store, h5py):
    store["obs"]["type"]["codes"][0] = 9


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (no_index, "lacks an element"),
        (old, "not laid out as AnnData"),
        (longer, "another length"),
        (wide, "other columns than the list"),
        (strange, "unknown kind"),
        (codes, "has no name"),
    ],
)
def test_damaged_layouts_are_refused(h5py, tmp_path, change, said):
    spoil(h5py, tmp_path / "a.h5ad", change)
    with pytest.raises(FormatError, match=said):
        h5ad.read_table(tmp_path / "a.h5ad")


def linked(store, h5py):
    store["obsm"]["other"] = h5py.ExternalLink("b.h5", "/X")


def outside(store, h5py):
    store["obsm"].create_dataset("other", shape=(3, 2), dtype="f8", external=[("b.bin", 0, 48)])


def virtual(store, h5py):
    layout = h5py.VirtualLayout((3, 2), "f8")
    layout[:] = h5py.VirtualSource("b.h5", "X", (3, 2))
    store["obsm"].create_virtual_dataset("other", layout)


@pytest.mark.parametrize("change", [linked, outside, virtual])
def test_files_that_lead_elsewhere_are_refused(h5py, tmp_path, change):
    (tmp_path / "b.bin").write_bytes(bytes(48))
    spoil(h5py, tmp_path / "a.h5ad", change)
    with pytest.raises(UnsafeFileError, match=r"is a link|lie in other files"):
        h5ad.read_table(tmp_path / "a.h5ad")


def huge(store, h5py):
    store["obsm"].create_dataset("other", shape=(1 << 20, 1 << 20), dtype="f8", chunks=(64, 64))


def endless(store, h5py):
    store["uns"]["again"] = store["uns"]


def sparse(store, h5py):
    del store["X"]
    made = store.create_group("X")
    made.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [3, 1 << 40]})
    for name, values in {"data": [7.0], "indices": [0], "indptr": [0, 0, 0, 1]}.items():
        made.create_dataset(name, data=np.array(values))


@pytest.mark.parametrize(
    ("change", "said"),
    [(huge, "claims more data"), (endless, "too many elements"), (sparse, "larger than the lists of cells")],
)
def test_files_without_measure_are_refused(h5py, tmp_path, change, said):
    spoil(h5py, tmp_path / "a.h5ad", change)
    with pytest.raises(FormatError, match=said):
        h5ad.read_table(tmp_path / "a.h5ad")


def test_no_hdf5_is_refused(h5py, tmp_path):
    (tmp_path / "b.h5ad").write_bytes(b"no HDF5")
    with pytest.raises(FormatError, match="damaged"):
        h5ad.read_table(tmp_path / "b.h5ad")


def foreign(h5py, path, **parts):
    data = Annotated(np.ones((2, 1), "f4"), ("a", "b"), ("CD8",), **parts)
    with h5py.File(path, "w") as store:
        write_annotated(store, data)
    return path


def test_files_of_others_need_positions_and_units(h5py, tmp_path):
    with pytest.raises(MissingFieldError, match="no positions"):
        h5ad.read_table(foreign(h5py, tmp_path / "c.h5ad"))
    spatial = {"spatial": np.zeros((2, 2))}
    path = foreign(h5py, tmp_path / "d.h5ad", obsm=spatial, obs={"size": np.array([3, 4])})
    with pytest.raises(MissingFieldError, match="no unit"):
        h5ad.read_table(path)
    with pytest.raises(MissingFieldError, match="'size' has no unit"):
        h5ad.read_table(path, units={"x": "um", "y": "um", "X": "{counts}"})
    found = h5ad.read_table(path, units={"x": "um", "y": "um", "X": "{counts}", "*": "1"})
    assert found.column_units["mean_CD8"] == "{counts}" and found.column_units["size"] == "1"


def test_cells_go_out_and_come_back(h5py, tmp_path):
    graph = np.array([0, 1, 2, 2]), np.array([1, 0])
    path = h5ad.write(table(), tmp_path / "a.h5ad", graph=graph, about={"image": "roi"})
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5ad"]
    back = h5ad.read_table(path)
    for column in ("x", "y", "area", "mean_CD8"):
        np.testing.assert_array_equal(back.data[column], table().data[column])
    assert list(back.data["type"]) == ["B", "T", "B"] and back.column_units["area"] == "um2"
    assert list(back.data["cell"]) == ["3", "5", "9"]
    first = path.read_bytes()
    assert h5ad.write(table(), path, graph=graph, about={"image": "roi"}).read_bytes() == first


def test_sparse_values_and_missing_entries_of_others(h5py, tmp_path):
    path = foreign(h5py, tmp_path / "a.h5ad", obsm={"spatial": np.zeros((2, 2))}, obs={"kind": np.array(["T", "B"])})
    with h5py.File(path, "r+") as store:
        del store["X"]
        sparse = store.create_group("X")
        sparse.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [2, 1]})
        for name, values in {"data": [7.0], "indices": [0], "indptr": [0, 0, 1]}.items():
            sparse.create_dataset(name, data=np.array(values))
        store["obs"]["kind"]["codes"][0] = -1
        whole = store["obs"].create_group("n")
        whole.attrs.update({"encoding-type": "nullable-integer", "encoding-version": "0.1.0"})
        whole.create_dataset("values", data=np.array([4, 5]))
        whole.create_dataset("mask", data=np.array([False, True]))
        store["obs"].attrs["column-order"] = ["kind", "n"]
    back = h5ad.read_table(path, units={"x": "um", "y": "um", "X": "{counts}", "n": "1"}).data
    assert list(back["mean_CD8"]) == [0.0, 7.0] and list(back["kind"]) == ["", "B"]
    assert back["n"].iloc[0] == 4 and np.isnan(back["n"].iloc[1])


def test_another_program_agrees(h5py, tmp_path):
    anndata = pytest.importorskip("anndata", reason="it needs an older pandas than the pinned one")
    graph = np.array([0, 1, 2, 2]), np.array([1, 0])
    data = anndata.read_h5ad(h5ad.write(table(), tmp_path / "a.h5ad", graph=graph, about={"image": "roi"}))
    assert data.obsp["connectivities"].toarray().tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert data.uns["timelens"]["image"] == "roi" and list(data.obs_names) == ["3", "5", "9"]
    data.write_h5ad(tmp_path / "b.h5ad")
    pd.testing.assert_frame_equal(h5ad.read_table(tmp_path / "b.h5ad").data, h5ad.read_table(tmp_path / "a.h5ad").data)
