"""AnnData out and in, where the package is there; a clear word where it is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from timelens.errors import FormatError, MissingDependencyError, MissingFieldError
from timelens.formats import h5ad
from timelens.study.table import Table

UNITS = {"cell": "1", "x": "um", "y": "um", "area": "um2", "mean_CD8": "{counts}"}


def table() -> Table:
    frame = pd.DataFrame({"cell": [3, 5, 9], "x": [1.0, 2.5, 4.0], "y": [0.5, 0.5, 7.0], "area": [40.0, 50.0, 60.0],
                          "type": ["B", "T", "B"], "mean_CD8": [0.25, 8.0, np.nan]})  # fmt: skip
    return Table(frame, UNITS)


def test_without_the_package(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "anndata", None)
    with pytest.raises(MissingDependencyError, match="tissue"):
        h5ad.write(table(), tmp_path / "a.h5ad")


def test_cells_go_out_and_come_back(tmp_path):
    anndata = pytest.importorskip("anndata", reason="the extra 'tissue' is not installed")
    graph = np.array([0, 1, 2, 2]), np.array([1, 0])
    path = h5ad.write(table(), tmp_path / "a.h5ad", graph=graph, about={"image": "roi"})
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5ad"]
    back = h5ad.read(path)
    first = table().data
    for column in ("x", "y", "area", "mean_CD8"):
        np.testing.assert_array_equal(back.data[column], first[column])
    assert list(back.data["type"]) == ["B", "T", "B"] and back.column_units["area"] == "um2"
    data = anndata.read_h5ad(path)
    assert data.obsp["connectivities"].toarray().tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert data.uns["timelens"]["image"] == "roi" and list(data.obs_names) == ["3", "5", "9"]


def test_files_that_lack_something(tmp_path):
    anndata = pytest.importorskip("anndata", reason="the extra 'tissue' is not installed")
    with pytest.raises(MissingFieldError, match="lacks columns"):
        h5ad.write(Table(table().data.drop(columns="x"), UNITS), tmp_path / "a.h5ad")
    (tmp_path / "b.h5ad").write_bytes(b"no HDF5")
    with pytest.raises(FormatError, match="damaged"):
        h5ad.read(tmp_path / "b.h5ad")
    names = [pd.DataFrame(index=pd.Index(n, dtype=object)) for n in (["a", "b"], ["CD8"])]
    other = anndata.AnnData(X=np.ones((2, 1), "f4"), obs=names[0], var=names[1])
    other.write_h5ad(tmp_path / "c.h5ad")
    with pytest.raises(MissingFieldError, match="no positions"):
        h5ad.read(tmp_path / "c.h5ad")
    other.obsm["spatial"] = np.zeros((2, 2))
    other.write_h5ad(tmp_path / "d.h5ad")
    with pytest.raises(MissingFieldError, match="no unit"):
        h5ad.read(tmp_path / "d.h5ad")
    assert len(h5ad.read(tmp_path / "d.h5ad", units={"x": "um", "y": "um", "X": "{counts}"})) == 2
