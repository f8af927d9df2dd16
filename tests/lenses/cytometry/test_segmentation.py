"""Where cells are: learnt models that a user has (faked here), weights that are not there, options, and the default."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from tests.lenses.cytometry.sections import section

from timelens.errors import DataError, MissingDependencyError, UsageError
from timelens.lenses.cytometry import learnt
from timelens.lenses.cytometry.lens import CytometryLens
from timelens.lenses.cytometry.recipe import merged_steps
from timelens.lenses.cytometry.segmentation import own_outlines

LABELS = ("CD3", "collagen", "DNA1")


def _picture():
    y, x = np.mgrid[:60, :80]
    nuclei = np.any([np.hypot(y - v, x - u) < 4 for v, u in ((15, 20), (40, 55))], axis=0)
    cells = np.any([np.hypot(y - v, x - u) < 8 for v, u in ((15, 20), (40, 55))], axis=0)
    bare = np.hypot(y - 15, x - 60) < 7
    rng = np.random.default_rng(2)
    return rng.poisson(np.stack([6 * (cells | bare) + 0.1, np.full(y.shape, 0.2), 25 * nuclei + 0.1])).astype(
        np.float32
    )


def _options(**segment):
    return merged_steps({"segment": segment})["segment"]


def _found(**segment):
    return own_outlines(_picture(), LABELS, [2], (1.0, 1.0), _options(**segment))


def test_nuclei_grow_into_their_markers_and_cells_without_one_are_found():
    made = _found()
    (cells,) = made.sets.values()
    areas = np.bincount(cells.ravel())[1:]
    assert made.own and not made.about and len(areas) == 3
    assert areas[:2] == pytest.approx([np.pi * 64] * 2, rel=0.25) and areas[2] == pytest.approx(np.pi * 49, rel=0.3)
    assert "without a nucleus" in made.method
    only = _found(without_nucleus=False)
    assert next(iter(only.sets.values())).max() == 2 and "without a nucleus" not in only.method


def test_only_markers_of_the_table_of_types_show_cells_without_a_nucleus():
    picture = _picture()[[1, 0, 2]]  # the signal now is collagen's, which lies between cells
    made = own_outlines(picture, LABELS, [2], (1.0, 1.0), _options())
    assert next(iter(made.sets.values())).max() == 2


def test_what_was_not_measured_holds_no_cell():
    picture = _picture()
    picture[:, :, 15:25] = np.nan
    cells = next(iter(own_outlines(picture, LABELS, [2], (1.0, 1.0), _options()).sets.values()))
    assert (cells[:, 15:25] == 0).all() and cells.max() >= 2


# -- learnt models -----------------------------------------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path):
    (tmp_path / "mine").write_bytes(b"weights")
    (tmp_path / "star").mkdir()
    (tmp_path / "star" / "config.json").write_text("{}")
    return tmp_path


def _fake(monkeypatch, package, name, model):
    parent, child = ModuleType(package), ModuleType(f"{package}.models")
    setattr(child, name, model)
    parent.models = child
    monkeypatch.setitem(sys.modules, package, parent)
    monkeypatch.setitem(sys.modules, f"{package}.models", child)


def test_cellpose_gives_whole_cells(monkeypatch, weights):
    seen = SimpleNamespace()

    class Model:
        def __init__(self, gpu, pretrained_model):
            seen.weights, seen.gpu = pretrained_model, gpu

        def eval(self, image, diameter, channels, channel_axis):
            seen.image, seen.diameter, seen.channels = image, diameter, channels
            return (image[..., 0] > 3).astype(np.uint16), None, None

    _fake(monkeypatch, "cellpose", "CellposeModel", Model)
    made = _found(method="cellpose", weights=str(weights / "mine"), diameter_um=12)
    cells = next(iter(made.sets.values()))
    assert seen.weights == str(weights / "mine") and not seen.gpu and seen.diameter == 12 and seen.channels == [1, 2]
    assert np.array_equal(seen.image[..., 1], _picture()[2])
    assert np.array_equal(cells > 0, _picture()[:2].sum(axis=0) > 3)
    assert made.about["weights"] == "mine" and made.about["weights_sha256"] == learnt.digest(weights / "mine")
    assert len(made.about["weights_sha256"]) == 64 and "cellpose (mine)" in made.method


def test_stardist_gives_nuclei_that_grow(monkeypatch, weights):
    seen = SimpleNamespace()

    class Model:
        def __init__(self, config, name, basedir):
            seen.place = (config, name, basedir)

        def predict_instances(self, image):
            seen.image = image
            return np.where(image > 0.5, np.where(np.arange(image.shape[1]) < 40, 1, 2), 0).astype(np.int32), {}

    _fake(monkeypatch, "stardist", "StarDist2D", Model)
    made = _found(method="stardist", weights=str(weights / "star"))
    areas = np.bincount(next(iter(made.sets.values())).ravel())[1:]
    assert seen.place == (None, "star", str(weights)) and seen.image.max() > 0.9 and seen.image.dtype == np.float32
    assert len(areas) == 3 and areas[0] > 100  # two grown nuclei and a cell without
    assert "stardist (star)" in made.method


@pytest.mark.parametrize("given", [np.zeros((3, 3), int), np.full((60, 80), 0.5), np.full((60, 80), -1)])
def test_a_model_that_gives_no_labels_of_the_image_is_refused(monkeypatch, weights, given):
    class Model:
        def __init__(self, *_, **__):
            pass

        def eval(self, *_, **__):
            return given, None, None

    _fake(monkeypatch, "cellpose", "CellposeModel", Model)
    with pytest.raises(DataError, match="gave no labels"):
        _found(method="cellpose", weights=str(weights / "mine"))


@pytest.mark.parametrize(("method", "place"), [("cellpose", "mine"), ("stardist", "star")])
def test_a_package_that_is_not_installed_is_named(monkeypatch, weights, method, place):
    monkeypatch.setitem(sys.modules, method, None)
    monkeypatch.setitem(sys.modules, f"{method}.models", None)
    with pytest.raises(MissingDependencyError, match=f"needs the package '{method}'.*pip install {method}"):
        _found(method=method, weights=str(weights / place))


@pytest.mark.parametrize(
    ("segment", "said"),
    [
        ({"method": "cellpose"}, "needs weights: none are downloaded"),
        ({"method": "stardist", "weights": ""}, "needs weights"),
        ({"method": "cellpose", "weights": 7}, "needs weights"),
        ({"method": "cellpose", "weights": "nowhere/model"}, "weights of cellpose are not there"),
        ({"method": "stardist", "weights": "nowhere"}, "weights of stardist are not there"),
        ({"method": "mesmer"}, "no such method"),
        ({"without_nucleus": "maybe"}, "yes or no"),
        ({"diameter_um": 0}, "no such number"),
        ({"reach_um": -1}, "no such number"),
    ],
)
def test_options_that_cannot_be_followed_are_refused(segment, said):
    with pytest.raises(UsageError, match=said):
        _found(**segment)


def test_a_folder_without_a_model_is_no_weights_of_stardist(tmp_path):
    with pytest.raises(UsageError, match="a folder without config"):
        learnt.weights_of("stardist", str(tmp_path))


# -- through the lens --------------------------------------------------------------------------------------------------


def test_types_of_own_cells_are_told_from_cores_and_means_stay_those_of_whole_cells():
    made = section(side=14)
    results = [
        CytometryLens().quantify(
            {"cytometry": made.acquisitions[0]}, [], {"segment": {"cells": "own"}, "types": {"pixels": pixels}}
        )
        for pixels in ("whole", "auto")
    ]
    whole, core = (r.pictures["cells"][0] for r in results)
    plain, table = (r.tables["cells"].data for r in results)
    assert not any(c.startswith("core_") for c in plain)
    assert np.array_equal(table[[f"core_{c}" for c in core.channels]].to_numpy(), core.core_mean)
    assert np.array_equal(whole.labels, core.labels) and np.array_equal(whole.measures.mean, core.measures.mean)
    assert whole.core_mean is None and whole.telling is whole.measures.mean
    assert core.telling.shape == core.measures.mean.shape
    bright = core.measures.mean > 4
    assert core.telling[bright].mean() > core.measures.mean[bright].mean()
    given = CytometryLens().quantify({"cytometry": made.acquisitions[0]}, made.regions, {}).pictures["cells"][0]
    assert given.core_mean is None
