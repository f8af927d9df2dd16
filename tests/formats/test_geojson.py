"""Outlines of cells: areas, holes, pieces, and what QuPath asks of a feature."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path as Outline

from timelens.errors import UsageError
from timelens.formats.geojson import outlines, write


def area(ring):
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring)) / 2


@pytest.mark.parametrize(
    ("labels", "classes", "said"),
    [
        (np.zeros((2, 2)), {}, "whole numbers"),
        (np.zeros((2, 2, 2), int), {}, "whole numbers"),
        (np.ones((2, 2), int), {2: "x"}, "no label"),
        (np.ones((2, 2), int), {0: "x"}, "no label"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, labels, classes, said):
    with pytest.raises(UsageError, match=said):
        write(labels, tmp_path / "a.geojson", classes=classes)


def test_a_ring_with_a_hole():
    mask = np.ones((4, 5), bool)
    mask[1:3, 2] = False
    ((outer, hole),) = outlines(mask)
    assert outer == [(0, 0), (5, 0), (5, 4), (0, 4), (0, 0)]
    assert area(outer) == 20 and area(hole) == -2


@settings(max_examples=60, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_outlines_enclose_the_pixels_and_no_others(mask):
    found = outlines(mask)
    assert sum(area(ring) for rings in found for ring in rings) == mask.sum()
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]] + 0.5
    inside = np.zeros(mask.shape, int)
    for rings in found:
        for ring in rings:
            assert ring[0] == ring[-1]
            way = np.diff(ring, axis=0)
            assert (np.abs(way).min(axis=1) == 0).all()  # along edges, each bend once
            assert not (np.sign(way[1:]) == np.sign(way[:-1])).all(axis=1).any()
            inside += Outline(ring).contains_points(np.column_stack([x.ravel(), y.ravel()])).reshape(mask.shape)
    assert np.array_equal(inside % 2 == 1, mask)


def test_a_file_of_features(tmp_path):
    labels = np.zeros((6, 8), np.int32)
    labels[1:3, 2:5], labels[4, 0], labels[0, 7] = 3, 7, 7
    numbers = {3: {"CD8": 2.5, "distance": float("nan")}}
    path = write(labels, tmp_path / "cells.geojson", classes={3: "T cell", 7: "unknown"}, name="roi",
                 colours={"T cell": "#0a141e"}, measurements=numbers)  # fmt: skip
    features = json.loads(path.read_text())["features"]
    assert [f["geometry"]["type"] for f in features] == ["Polygon", "MultiPolygon"]
    assert features[0]["geometry"]["coordinates"] == [[[2, 1], [5, 1], [5, 3], [2, 3], [2, 1]]]
    said = features[0]["properties"]
    assert said["classification"] == {"name": "T cell", "color": [10, 20, 30]}
    assert said["measurements"] == {"CD8": 2.5} and said["objectType"] == "detection"
    again = write(labels, tmp_path / "again.geojson", classes={3: "T cell"}, name="roi")
    assert json.loads(again.read_text())["features"][0]["id"] == features[0]["id"] != features[1]["id"]
