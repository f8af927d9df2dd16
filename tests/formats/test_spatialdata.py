"""SpatialData out: what is refused, what zarr finds in the folder, and that another program reads it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import zarr

from timelens.errors import MissingFieldError, UsageError
from timelens.formats.anndata_store import read_annotated
from timelens.formats.cytometry import raster
from timelens.formats.spatialdata import Section, write
from timelens.study.table import Table

UNITS = {"cell": "1", "x": "um", "y": "um", "area": "um2", "mean_CD8": "{counts}"}


def section(rng, shape=(300, 520), **changes):
    values = rng.poisson(3, (2, 1, *shape)).astype("f4")
    channels = raster.Channels(("Pr141", "Nd142"), ("CD8", "CD4"))
    place = raster.place_on_slide(shape, pixel_um=(0.5, 0.25))
    scan = raster.acquisition(
        lambda: values, id="a", shape=shape, channels=channels, geometry=place, sources=(), description="a"
    )
    labels = np.zeros(shape, np.int32)
    labels[4:20, 4:30], labels[40:60, 100:130] = 3, 70000
    frame = pd.DataFrame({"cell": [3, 70000], "x": [4.2, 28.6], "y": [5.8, 24.8], "area": [52.0, 75.0],
                          "type": ["B", "T"], "mean_CD8": [0.5, 2.0]})  # fmt: skip
    parts = {"image": scan, "labels": {"cells": labels}, "tables": {"cells": Table(frame, UNITS)}} | changes
    return Section(**parts)


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("a b", {}, "signs that the format does not allow"),
        ("a", {"labels": {"cells": np.zeros((3, 4), int)}}, "on the grid of the image"),
        ("a", {"labels": {"cells": np.zeros((300, 520))}}, "whole numbers"),
        ("a", {"labels": {}}, "belongs to no labels"),
    ],
)
def test_sections_that_do_not_fit_are_refused(tmp_path, rng, name, changes, said):
    with pytest.raises(UsageError, match=said):
        write({name: section(rng, **changes)}, tmp_path / "s.zarr")
    assert not list(tmp_path.iterdir())


def test_cells_without_number_or_place_are_refused(tmp_path, rng):
    known = section(rng).tables["cells"]
    with pytest.raises(MissingFieldError, match="lacks columns"):
        write({"a": section(rng, tables={"cells": Table(known.data.drop(columns="x"), UNITS)})}, tmp_path / "s.zarr")
    odd = Table(known.data.assign(cell=[1.5, 2.0]), UNITS)
    with pytest.raises(UsageError, match="is its label"):
        write({"a": section(rng, tables={"cells": odd})}, tmp_path / "s.zarr")
    with pytest.raises(UsageError, match="nothing to write"):
        write({}, tmp_path / "s.zarr")
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten_unasked(tmp_path, rng):
    (tmp_path / "s.zarr").mkdir()
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="there already"):
            write({"a": section(rng)}, tmp_path / "s.zarr", overwrite=overwrite)
    write({"a": section(rng)}, tmp_path / "t.zarr")
    write({"b": section(rng)}, tmp_path / "t.zarr", overwrite=True)
    assert list(zarr.open_group(tmp_path / "t.zarr", mode="r")["images"]) == ["b_image"]


def test_zarr_finds_images_labels_and_tables(tmp_path, rng):
    given = section(rng)
    root = zarr.open_group(write({"a": given, "b": given}, tmp_path / "s.zarr"), mode="r")
    assert root.attrs["spatialdata_attrs"]["version"] == "0.2"
    assert root["labels"].attrs["ome"]["labels"] == ["a_cells", "b_cells"]
    image, labels = root["images"]["a_image"], root["labels"]["a_cells"]
    assert np.array_equal(image["s0"][...], given.image.image.numpy()[:, 0])
    assert np.array_equal(labels["s0"][...], given.labels["cells"])
    (scales,) = image.attrs["ome"]["multiscales"]
    assert scales["coordinateTransformations"][0]["scale"] == [1.0, 0.5, 0.25]
    assert [a["unit"] for a in scales["coordinateTransformations"][0]["output"]["axes"][1:]] == ["micrometer"] * 2
    assert scales["coordinateTransformations"][0]["output"]["name"] == "a"  # two sections do not lie on each other
    assert [d["coordinateTransformations"][0]["scale"] for d in scales["datasets"]][-1] == [1, 4, 4]
    # Means keep the mean; labels keep their numbers.
    assert image["s1"][...].mean() == pytest.approx(image["s0"][...].mean(), rel=1e-4)
    assert set(np.unique(labels["s2"])) == {0, 3, 70000}
    assert [c["label"] for c in image.attrs["ome"]["omero"]["channels"]] == ["CD8", "CD4"]
    table = root["tables"]["a_cells_table"]
    assert table.attrs["region"] == "a_cells" and table.attrs["instance_key"] == "instance_id"
    data = read_annotated(table, file="s.zarr")
    assert list(data.obs["instance_id"]) == [3, 70000] and set(data.obs["region"]) == {"a_cells"}
    assert data.uns["spatialdata_attrs"]["region_key"] == "region" and data.channels == ("CD8",)
    assert list(data.values[:, 0]) == [0.5, 2.0] and list(data.obsm["spatial"][1]) == [28.6, 24.8]


def test_another_program_reads_it(tmp_path, rng):
    spatialdata = pytest.importorskip("spatialdata", reason="it needs a hundred packages of its own")
    given = section(rng)
    found = spatialdata.read_zarr(write({"a": given}, tmp_path / "s.zarr"))
    table = found.tables["a_cells_table"]
    assert list(table.obs["type"]) == ["B", "T"] and table.obs["instance_id"].tolist() == [3, 70000]
    image = spatialdata.get_pyramid_levels(found.images["a_image"], n=0)
    assert list(image.coords["c"].values) == ["CD8", "CD4"]
    # Of the middle of each cell the place in micrometres is that of the table.
    middle = spatialdata.get_centroids(found.labels["a_cells"], coordinate_system="global").compute()
    assert np.allclose(middle[["x", "y"]].to_numpy(), table.obsm["spatial"], atol=0.26)
    extent = spatialdata.get_extent(found.images["a_image"], coordinate_system="global")
    assert extent["x"] == (0.0, 130.0) and extent["y"] == (0.0, 150.0)
