"""Background and scale between slides: what is refused, and simulated slides of known gain and background."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.lenses.cytometry.sections import cells, section

from timelens.engines.cells.thresholds import split
from timelens.engines.cells.transform import arcsinh
from timelens.errors import UsageError
from timelens.lenses.cytometry.lens import CytometryLens
from timelens.lenses.cytometry.scale import background
from timelens.study.contract import Match

LENS = CytometryLens()
PLAIN = {"space": {"neighbourhoods": 0, "shuffles": 100}}


@pytest.mark.parametrize(
    ("options", "said"),
    [({"background": "rolling ball"}, "no such method"), ({"normalise": "quantile"}, "no such method")],
)
def test_methods_that_are_none_are_refused(options, said):
    with pytest.raises(UsageError, match=said):
        LENS.recipe(Match(0.0), {"types": options})


def test_a_background_that_is_not_known_is_said(rng):
    values = rng.poisson(30.0, (2, 40, 40)).astype(np.float32)
    everywhere = np.ones((40, 40), np.int32)
    for how, lacking in (("ground", "a, b"), ("floor", "a, b")):
        level, (problem,) = background(values, everywhere, ["a", "b"], how)
        assert not level.any() and problem.found == lacking and problem.severity == "warning"
    assert background(values, everywhere, ["a", "b"], "none")[1] == []


@pytest.mark.parametrize("how", ["ground", "floor"])
def test_the_background_of_a_section_is_found(how):
    # Spillover reaches the ground as well; a section without it has the background that was simulated.
    made = section(20, background=0.6, spillover=0.0)
    image = made.acquisitions[0].image.numpy()[:30, 0]
    level, problems = background(image, made.regions[0].labels.numpy()[0], list("x" * 30), how)
    assert not problems
    if how == "ground":
        assert level == pytest.approx(0.6, abs=0.03)
    assert np.median(level) == pytest.approx(0.6, abs=0.03)


@pytest.fixture(scope="module")
def slides():
    """Three sections: as usual, dim, and bright with a high background."""
    told = [{"counts": 8.0}, {"counts": 4.0}, {"counts": 24.0, "background": 1.0}]
    return [section(20, seed, **p) for seed, p in zip((3, 4, 5), told, strict=True)]


def measured(made, **types):
    return LENS.quantify({"cytometry": made.acquisitions[0]}, made.regions, PLAIN | {"types": types})


def test_own_thresholds_follow_gain_and_background(slides):
    for seed, made in zip((3, 4, 5), slides, strict=True):
        (found,) = measured(made).pictures["cells"]
        truth = cells(20, seed).data["component"].to_numpy()[found.measures.label - 1]
        assert (np.array(found.names)[found.types] == truth).mean() > 0.93


def test_one_scale_for_slides_that_differ(slides):
    results = [measured(made, normalise="landmark", background="ground") for made in slides]
    tables = [r.tables["cells"].data for r in results]
    borne = np.concatenate([r.pictures["cells"][0].positive["CD3"] for r in results])
    slide = np.repeat(range(3), [len(t) for t in tables])

    def right(values):
        threshold = split(values).threshold
        return min(float(((values >= threshold) == borne)[slide == s].mean()) for s in range(3))

    counts = arcsinh(np.concatenate([t["mean_CD3"] for t in tables]), 1.0)
    common = np.concatenate([t["norm_CD3"] for t in tables])
    assert right(common) > 0.985 > right(counts)
    middle = [
        np.median(t["norm_CD3"][r.pictures["cells"][0].positive["CD3"]]) for t, r in zip(tables, results, strict=True)
    ]
    assert middle == pytest.approx([1.0, 1.0, 1.0])
    assert results[2].audit["cytometry"]["background"]["CD3"] == pytest.approx(1.3, abs=0.4)
    levels = [r.audit["cytometry"]["levels"]["panCK"]["positive"] for r in results]
    assert levels[2] > 2 * levels[0] > 3 * levels[1]


def test_means_stay_as_they_were_measured(slides):
    plain, taken = measured(slides[0]), measured(slides[0], background="ground")
    assert np.array_equal(plain.tables["cells"].data["mean_CD3"], taken.tables["cells"].data["mean_CD3"])
    assert "norm_CD3" not in plain.tables["cells"].data
    assert float(plain.pictures["cells"][0].splits["CD3"]) > float(taken.pictures["cells"][0].splits["CD3"])


def test_the_pixels_of_a_hole_are_no_ground(slides):
    made = slides[0]
    scan = made.acquisitions[0]
    values = scan.image.numpy().copy()
    values[:, :, :30] = np.nan
    image = type(scan.image)(values, unit=scan.image.unit, axes=scan.image.axes, geometry=scan.image.geometry)
    result = LENS.quantify(
        {"cytometry": replace(scan, data=image)}, made.regions, PLAIN | {"types": {"background": "ground"}}
    )
    assert all(np.isfinite(v) for v in result.audit["cytometry"]["background"].values())
