"""Nests, margin and stroma; densities and mixing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import poisson

from timelens.engines.cells import graph
from timelens.engines.cells.compartments import _area, compartments, density, mixing_score
from timelens.engines.cells.interaction import count
from timelens.engines.cells.window import Window
from timelens.errors import UsageError

WINDOW = Window.rectangle(1000, 1000)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tumour": [True]}, "tumour cell or not"),
        ({"tumour": [1, 0]}, "tumour cell or not"),
        ({"y": [], "x": [], "tumour": np.zeros(0, bool)}, "tumour cell or not"),
        ({"y": [5, 2000]}, "outside of the window"),
        ({"part": 1.0}, "part lies between"),
        ({"sigma": 0.0}, "part lies between"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, said):
    call = {"y": [5, 6], "x": [5, 6], "tumour": [True, False], **changes}
    options = {k: v for k, v in call.items() if k in ("part", "sigma")}
    with pytest.raises(UsageError, match=said):
        compartments(call["y"], call["x"], np.array(call["tumour"]), WINDOW, **options)


def test_only_tumour_or_none():
    y, x = np.full((2, 50), 500.0)
    inside = compartments(y, x, np.ones(50, bool), WINDOW)
    assert set(inside.of(y, x)) == {"nest"} and inside.area_mm2("nest") == pytest.approx(1)
    outside = compartments(y, x, np.zeros(50, bool), WINDOW)
    assert set(outside.of(y, x)) == {"stroma"} and outside.area_mm2("nest") == 0
    assert (outside.profile(y, x, [-100, 0, 100]).cells == 0).all()


def test_a_round_nest_has_its_area_border_and_profile(rng):
    y, x = rng.random((2, 12000)) * 1000
    far = np.hypot(y - 500, x - 500)
    found = compartments(y, x, (far < 300) ^ (rng.random(12000) < 0.05), WINDOW, margin=50)
    assert np.abs(found.at(y, x) - (far - 300)).mean() < 5
    assert found.area_mm2("nest") == pytest.approx(np.pi * 0.25**2, rel=0.05)
    assert found.area_mm2("margin") == pytest.approx(np.pi * (0.35**2 - 0.25**2), rel=0.05)
    total = sum(found.area_mm2(n) for n in ("nest", "margin", "stroma"))
    assert total == pytest.approx(1)
    assert (found.of([500, 500, 5], [500, 795, 5]) == ["nest", "margin", "stroma"]).all()
    profile = found.profile(y, x, np.arange(-200, 151, 50))
    assert ((profile.lower < 12000) & (profile.upper > 12000)).mean() > 0.6
    assert profile.cells.sum() == ((found.at(y, x) >= -200) & (found.at(y, x) < 150)).sum()
    with pytest.raises(UsageError, match="ascend"):
        found.profile(y, x, [0, 0])


@pytest.mark.parametrize(("height", "width"), [(1000.0, 1000.0), (1003.0, 1001.5)])
def test_areas_of_a_disc_and_of_half_a_plane(rng, height, width):
    """Whole pixels at the edge of the section once made areas up to 1 % too large, and steps of the border margins."""
    window = Window.rectangle(height, width)
    y, x = rng.random((2, 20000)) * [[height], [width]]
    disc = compartments(y, x, np.hypot(y - 500, x - 500) < 300, window, margin=50)
    plane = compartments(y, x, x < 437, window, margin=50)
    whole = height * width * 1e-6
    for found in (disc, plane):
        assert sum(found.area_mm2(n) for n in ("nest", "margin", "stroma")) == pytest.approx(whole, rel=1e-12)
    # A smoothed round border lies sigma^2 / 2 radius = 0.7 um inside of the true one.
    inner, outer = np.pi * (0.25 - 0.0007) ** 2, np.pi * (0.35 - 0.0007) ** 2
    assert disc.area_mm2("nest") == pytest.approx(inner, rel=0.01)
    assert disc.area_mm2("margin") == pytest.approx(outer - inner, rel=0.008)
    assert disc.area_mm2("stroma") == pytest.approx(whole - outer, rel=0.008)
    assert plane.area_mm2("nest") == pytest.approx(height * 387e-6, rel=0.008)
    assert plane.area_mm2("margin") == pytest.approx(height * 100e-6, rel=0.008)


def test_the_area_of_a_mask_is_shared_out_exactly(rng):
    mask = rng.random((37, 41)) < 0.7
    window = Window.from_mask(mask, (3.0, 2.0))
    found = _area(window, (23, 17), 5.0)
    fine = np.zeros((115, 85))
    fine[:111, :82] = np.kron(mask, np.ones((3, 2)))
    assert found == pytest.approx(fine.reshape(23, 5, 17, 5).sum(axis=(1, 3)))
    assert found.sum() == pytest.approx(window.area)


def test_what_was_not_seen_has_no_compartment(rng):
    mask = np.ones((10, 10), bool)
    mask[:, 5:] = False
    window = Window.from_mask(mask, (100.0, 100.0))
    y, x = rng.random((2, 500)) * [[1000], [500]]
    found = compartments(y, x, np.ones(500, bool), window)
    assert found.of([500], [900]).tolist() == [""] and found.area_mm2("nest") == pytest.approx(0.5)


def test_specks_are_no_nests(rng):
    y, x = rng.random((2, 5000)) * 1000
    speck = np.hypot(y - 300, x - 300) < 25
    assert compartments(y, x, speck, WINDOW, sigma=10).area_mm2("nest") == 0
    assert np.isfinite(compartments(y, x, speck, WINDOW, sigma=10, smallest_um2=0).distance).any()


def test_intervals_of_densities_cover():
    found = density([0, 1, 10], [2.0, 2.0, 0.0])
    assert (found.value[:2] == [0, 0.5]).all() and np.isnan(found.value[2])
    assert found.upper[0] == pytest.approx(3.6889 / 2, rel=1e-4) and found.lower[0] == 0
    counts = np.arange(60)
    all_counts = density(counts, 1.0)
    for truth in (2.0, 7.5, 20):
        covered = (all_counts.lower <= truth) & (truth <= all_counts.upper)
        assert poisson.pmf(counts, truth)[covered].sum() >= 0.95
    with pytest.raises(UsageError, match="zero or more"):
        density(-1, 1.0)
    with pytest.raises(UsageError, match="level"):
        density(1, 1.0, level=1)


def test_mixing_is_one_at_random_and_less_apart(rng):
    y, x = rng.random((2, 4000))
    near = graph.delaunay(y, x, longest=1)
    types = rng.integers(0, 2, 4000)
    mixed = mixing_score(count(near, types, 2), np.bincount(types), 0, 1)
    assert mixed == pytest.approx(1, abs=0.06)
    halves = (x > 0.5).astype(int)
    assert mixing_score(count(near, halves, 2), np.bincount(halves), 0, 1) < 0.1
    assert np.isnan(mixing_score(np.zeros((2, 2)), [1, 0], 0, 1))
