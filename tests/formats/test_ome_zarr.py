"""OME-Zarr: round trips in both versions, files of other programs, pyramids, damaged and hostile folders."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.formats.strategies import acquisitions, assert_same_acquisition, assert_same_geometry

from timelens.errors import (
    DataError,
    FormatError,
    GeometryError,
    MissingFieldError,
    UnitError,
    UnsafeFileError,
    UsageError,
)
from timelens.formats import ome_zarr, ome_zarr_meta, safety
from timelens.study import Axis, Geometry, Image
from timelens.study.axes import default_names

anywhere = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@anywhere
@given(
    acquisitions(dtypes=["u1", "i2", "u2", "i4", "f4", "f8", "c8"], spaces=("body", "slide")),
    st.sampled_from(["0.4", "0.5"]),
)
def test_round_trip(tmp_path, made, version):
    path = ome_zarr.write(made, tmp_path / "a.ome.zarr", version=version, overwrite=True)
    read = ome_zarr.read(path)
    assert not read.image.loaded
    assert_same_acquisition(read, made)
    assert read.problems == ()


@pytest.fixture
def image(rng):
    """Two channels of 1 x 300 x 200 pixels of 0.5 um on a slide."""
    geometry = Geometry.from_spacing((1, 300, 200), (5e-3, 5e-4, 5e-4), origin=(1.0, 2, 0), space="slide", frame="S")
    axes = (Axis("c", "channel", "1", ("CD8", "PD-L1")), *default_names(3))
    return Image(rng.integers(0, 1000, (2, 1, 300, 200)).astype("u2"), unit="{counts}", axes=axes, geometry=geometry)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_other_programs_see(tmp_path, image, version):
    path = ome_zarr.write(image, tmp_path / "a.ome.zarr", version=version)
    group = zarr.open_group(path, mode="r")
    assert group.metadata.zarr_format == (3 if version == "0.5" else 2)
    content = dict(group.attrs)["ome"] if version == "0.5" else dict(group.attrs)
    (multiscale,) = content["multiscales"]
    assert [a["name"] for a in multiscale["axes"]] == ["c", "z", "y", "x"]
    assert {a.get("unit") for a in multiscale["axes"]} == {None, "millimeter"}
    scale = [d["coordinateTransformations"][0]["scale"] for d in multiscale["datasets"]]
    assert scale == [[1, 5e-3, 5e-4, 5e-4], [1, 5e-3, 1e-3, 1e-3], [1, 5e-3, 2e-3, 2e-3]]
    assert [c["label"] for c in content["omero"]["channels"]] == ["CD8", "PD-L1"]
    np.testing.assert_array_equal(group["0"][...], image.numpy())
    blocks = image.numpy().reshape(2, 1, 150, 2, 100, 2).mean(axis=(3, 5))
    np.testing.assert_array_equal(group["1"][...], np.rint(blocks))


def test_levels_lie_in_the_same_place(tmp_path, image):
    path = ome_zarr.write(image, tmp_path / "a.ome.zarr", levels=2)
    fine, coarse = (ome_zarr.read(path, level=k).image for k in (0, 1))
    assert coarse.shape == (2, 1, 150, 100)
    assert coarse.geometry.frame == "S"
    np.testing.assert_allclose(coarse.geometry.spacing, (5e-3, 1e-3, 1e-3))
    # The centre of a coarse pixel is the centre of the four that it stands for.
    np.testing.assert_allclose(coarse.geometry.to_mm((0, 0, 0)), fine.geometry.to_mm((0, 0.5, 0.5)))
    with pytest.raises(FormatError, match=r"no such level.*Field: datasets"):
        ome_zarr.read(path, level=2)


def test_chunk_by_chunk(tmp_path, image):
    dask = pytest.importorskip("dask.array")
    read = ome_zarr.read(ome_zarr.write(image, tmp_path / "a.ome.zarr"), chunked=True).image
    assert isinstance(read.array, dask.Array)
    np.testing.assert_array_equal(read.numpy(), image.numpy())


def test_a_change_of_a_chunk_changes_the_source(tmp_path, image):
    path = ome_zarr.write(image, tmp_path / "a.ome.zarr")
    before = ome_zarr.read(path).sources
    zarr.open_array(path / "0", mode="a")[0, 0, 0, 0] = 5000
    after = ome_zarr.read(path).sources
    assert len(before) == 1
    assert before[0].sha256 != after[0].sha256


def test_nothing_is_overwritten_unasked(tmp_path, image):
    path = ome_zarr.write(image, tmp_path / "a.ome.zarr")
    with pytest.raises(UsageError, match="Something is there already"):
        ome_zarr.write(image, path)
    ome_zarr.write(image, path, overwrite=True)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="Something is there already"):
        ome_zarr.write(image, tmp_path / "folder", overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.ome.zarr", "folder"]


def test_a_write_that_does_not_fit(tmp_path, image):
    with pytest.raises(UsageError, match="No such version"):
        ome_zarr.write(image, tmp_path / "a.zarr", version="0.6")
    axes = (Axis("echo", "echo"), *default_names(3))
    odd = Image(np.zeros((2, 1, 300, 200)), unit="1", axes=axes, geometry=image.geometry)
    with pytest.raises(UsageError, match="axes t, c, z, y, x"):
        ome_zarr.write(odd, tmp_path / "a.zarr")


# -- files of other programs -----------------------------------------------------------------------------------------


def foreign(path, *, version=3, shape=(2, 4, 6), names="cyx", unit="micrometer", scale=None, omero=None, **changed):
    """A folder as another program writes it, with parts of its metadata changed."""
    shutil.rmtree(path, ignore_errors=True)
    store = zarr.storage.LocalStore(path)
    array = zarr.create_array(store, name="0", shape=shape, dtype="u2", chunks=shape, zarr_format=version)
    array[...] = np.arange(1, np.prod(shape) + 1).reshape(shape)
    kinds = {"t": "time", "c": "channel"}
    listed = [{"name": n, "type": kinds.get(n, "space")} for n in names]
    for axis in listed:
        if axis["type"] == "space" and unit:
            axis["unit"] = unit
        elif axis["type"] == "time":
            axis["unit"] = "second"
    scale = scale or [1.0 if n in "tc" else 0.5 for n in names]
    transforms = [{"type": "scale", "scale": scale}]
    content = {
        "multiscales": [{"axes": listed, "datasets": [{"path": "0", "coordinateTransformations": transforms}]}],
        "omero": omero or {"channels": [{"label": "DNA"}, {"label": "CD3"}]},
    }
    content["multiscales"][0].update(changed)
    if version == 3:
        root = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": "0.5", **content}}}
        (path / "zarr.json").write_text(json.dumps(root))
    else:
        (path / ".zattrs").write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("version", [2, 3])
def test_a_flat_image_of_another_program(tmp_path, version):
    path = foreign(tmp_path / "a.zarr", version=version)
    with pytest.raises(MissingFieldError, match="unit of the image is not known"):
        ome_zarr.read(path)
    read = ome_zarr.read(path, unit="{counts}")
    assert read.image.shape == (2, 1, 4, 6)
    assert read.image.axes[0].coordinates == ("DNA", "CD3")
    assert (read.image.geometry.space, read.image.geometry.frame) == ("slide", None)
    np.testing.assert_allclose(read.image.geometry.spacing, (1e-3, 5e-4, 5e-4))
    assert "thickness is not stated" in read.problems[0].message
    assert read.image.numpy().ravel().tolist() == list(range(1, 49))


def test_units_of_length(tmp_path):
    with pytest.raises(MissingFieldError, match=r"voxel size has no unit.*length_unit='um'"):
        ome_zarr.read(foreign(tmp_path / "a.zarr", unit=None), unit="1")
    read = ome_zarr.read(foreign(tmp_path / "a.zarr", unit=None), unit="1", length_unit="um")
    np.testing.assert_allclose(read.image.geometry.spacing[1:], (5e-4, 5e-4))
    with pytest.raises(UnitError, match="Not a unit of length"):
        ome_zarr.read(foreign(tmp_path / "a.zarr", unit="parsec"), unit="1")


def test_frames_of_equal_length(tmp_path):
    path = foreign(tmp_path / "a.zarr", shape=(3, 2, 4, 6), names="tzyx", scale=[20.0, 1, 1, 1])
    read = ome_zarr.read(path, unit="1")
    assert read.image.frames.start.tolist() == [0, 20, 40]
    assert [p.field for p in read.problems] == ["axis t"]


def test_translation(tmp_path):
    level = {"path": "0", "coordinateTransformations": [
        {"type": "scale", "scale": [1, 2, 2]}, {"type": "translation", "translation": [0, 10, 20]},
    ]}  # fmt: skip
    read = ome_zarr.read(foreign(tmp_path / "a.zarr", datasets=[level], unit="millimeter"), unit="1").image.geometry
    expected = Geometry.from_spacing((1, 4, 6), (1e-3, 2, 2), origin=(20, 10, 0), space="slide")
    assert_same_geometry(read, expected)


# -- damaged and hostile ---------------------------------------------------------------------------------------------

SCALE = [{"type": "scale", "scale": [1, 1, 1]}]


def level(transforms=None, path="0"):
    return {"datasets": [{"path": path, "coordinateTransformations": SCALE if transforms is None else transforms}]}


@pytest.mark.parametrize(
    ("changed", "error", "match"),
    [
        (level(path="../../etc"), UnsafeFileError, r"leads out of its folder.*datasets\[0\]\.path"),
        (level(path="/etc"), UnsafeFileError, "leads out"),
        (level(path="7"), DataError, "no such file"),
        ({"datasets": [{}]}, FormatError, "level has no path"),
        ({"datasets": []}, FormatError, "no such level"),
        ({"datasets": [{"path": "0"}]}, FormatError, r"no scale.*coordinateTransformations"),
        (level([{"type": "affine"}]), FormatError, "not a scale"),
        (level([{"type": "scale", "scale": [1, "a", 1]}]), FormatError, "finite numbers"),
        (level([{"type": "scale", "scale": [1, 0, 1]}]), FormatError, "finite numbers"),
        (level([{"type": "scale", "scale": [1, 1]}]), FormatError, "3 numbers"),
        ({"axes": [{"name": n} for n in "xyc"]}, FormatError, r"axes are not those of an image.*multiscales\.axes"),
        ({"axes": "xyz"}, FormatError, "axes are not those of an image"),
        ({"axes": [{"name": n, "unit": "micrometer"} for n in "yx"]}, FormatError, "differ in number"),
    ],
)
def test_damaged_groups(tmp_path, changed, error, match):
    path = foreign(tmp_path / "a.zarr", **changed)
    with pytest.raises(error, match=match) as caught:
        ome_zarr.read(path, unit="1")
    assert str(path) in caught.value.problem.file


def _force(path, **fields):
    """Change the metadata of the array."""
    place = path / "0" / "zarr.json" if (path / "0" / "zarr.json").is_file() else path / "0" / ".zarray"
    place.write_text(json.dumps({**json.loads(place.read_text()), **fields}))
    return path


HUGE = {"name": "regular", "configuration": {"chunk_shape": [2, 10**6, 10**6]}}
NESTED = {"name": "sharding_indexed", "configuration": {"codecs": [{"name": "numcodecs.pickle"}]}}


@pytest.mark.parametrize(
    ("version", "fields", "error", "match"),
    [
        (3, {"shape": [10**9, 10**6, 6]}, FormatError, r"claims more data than the folder holds.*Field: shape"),
        (3, {"shape": [2, -4, 6]}, FormatError, r"shape is not a list of positive sizes.*Field: shape"),
        (3, {"shape": "big"}, FormatError, "Field: shape"),
        (3, {"shape": [2, 4, 10**30]}, FormatError, "claims more data"),
        (3, {"chunk_grid": HUGE}, UnsafeFileError, r"chunk is too large.*Field: chunks"),
        (3, {"chunk_grid": 3}, FormatError, "Field: chunks"),
        (3, {"data_type": "string"}, FormatError, r"not one of plain numbers.*data_type"),
        (3, {"codecs": [{"name": "pickle"}]}, UnsafeFileError, r"codec that does more than compress.*'pickle'"),
        (3, {"codecs": [NESTED]}, UnsafeFileError, r"numcodecs\.pickle"),
        (3, {"codecs": 3}, FormatError, "Field: codecs"),
        (3, {"storage_transformers": [{"name": "x"}]}, FormatError, "Storage transformers"),
        (2, {"filters": [{"id": "pickle"}]}, UnsafeFileError, r"codec that does more than compress.*'pickle'"),
        (2, {"compressor": {"id": "msgpack2"}}, UnsafeFileError, "msgpack2"),
        (2, {"dtype": "|O"}, FormatError, r"not one of plain numbers.*dtype"),
        (2, {"dtype": [["a", "<i2"]]}, FormatError, "not one of plain numbers"),
        (2, {"chunks": [0, 1, 1]}, FormatError, "Field: chunks"),
    ],
)
def test_hostile_arrays(tmp_path, version, fields, error, match):
    path = _force(foreign(tmp_path / "a.zarr", version=version), **fields)
    with pytest.raises(error, match=match):
        ome_zarr.read(path, unit="1")


def test_links_that_leave_the_folder(tmp_path):
    path = foreign(tmp_path / "a.zarr")
    (tmp_path / "secret").write_bytes(b"secret")
    chunk = next(p for p in (path / "0" / "c").rglob("*") if p.is_file())
    chunk.unlink()
    chunk.symlink_to(tmp_path / "secret")
    with pytest.raises(UnsafeFileError, match=r"link leads out of the folder.*a\.zarr"):
        ome_zarr.read(path, unit="1")


def test_missing_and_broken_chunks(tmp_path):
    path = foreign(tmp_path / "a.zarr")
    chunk = next(p for p in (path / "0" / "c").rglob("*") if p.is_file())
    chunk.write_bytes(b"broken")
    with pytest.raises(FormatError, match=r"chunk cannot be read.*a\.zarr"):
        ome_zarr.read(path, unit="1").image.numpy()
    chunk.unlink()
    found = [p.message for p in ome_zarr.read(path, unit="1").problems]
    assert "Chunks are missing and read as the fill value" in found


def test_a_chunk_that_is_a_bomb_is_not_expanded(tmp_path, monkeypatch):
    monkeypatch.setattr(ome_zarr_meta, "MAX_CHUNK", 10)
    with pytest.raises(UnsafeFileError, match="chunk is too large"):
        ome_zarr.read(foreign(tmp_path / "a.zarr"), unit="1")
    monkeypatch.undo()
    monkeypatch.setattr(safety, "FREE_BYTES", 10)
    monkeypatch.setattr(safety, "MAX_RATIO", 0.01)
    with pytest.raises(FormatError, match="claims more data"):
        ome_zarr.read(foreign(tmp_path / "a.zarr"), unit="1")


def test_other_folders(tmp_path):
    with pytest.raises(FormatError, match="Not an OME-Zarr folder"):
        ome_zarr.read(tmp_path)
    (tmp_path / "zarr.json").write_text('{"attributes": 3}')
    with pytest.raises(FormatError, match="no multiscale image"):
        ome_zarr.read(tmp_path)


def test_a_sidecar_of_another_grid(tmp_path, image):
    path = ome_zarr.write(image, tmp_path / "a.ome.zarr")
    meta = json.loads((path / "zarr.json").read_text())
    meta["attributes"]["timelens"]["timelens"]["affine"][0][2] = 7.0
    (path / "zarr.json").write_text(json.dumps(meta))
    with pytest.raises(GeometryError, match="describes another grid"):
        ome_zarr.read(path)
    meta["attributes"]["timelens"] = []
    (path / "zarr.json").write_text(json.dumps(meta))
    with pytest.raises(FormatError, match=r"Not a JSON object.*Field: timelens"):
        ome_zarr.read(path, unit="1")
