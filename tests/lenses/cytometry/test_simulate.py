"""From cells to counts: bad protocols, expectations, spillover, and that the truth is what was painted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import poisson
from tests.lenses.cytometry.sections import cells, section

from timelens.engines.unmixing.spillover import estimate
from timelens.errors import UsageError
from timelens.lenses.cytometry.ions import count_ions
from timelens.lenses.cytometry.markers import MARKERS
from timelens.lenses.cytometry.simulate import (
    METALS,
    cytometry_protocol,
    express,
    paint,
    simulate,
    single_stains,
    spill,
)
from timelens.lenses.cytometry.types import SIGNATURES
from timelens.study.contract import Protocol
from timelens.study.table import Table


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"colour": 1}, "no such parameter"),
        ({"counts": 0}, "no such number"),
        ({"counts": "many"}, "no such number"),
        ({"spillover": 0.5}, "no such number"),
        ({"pixel_um": float("nan")}, "no such number"),
        ({"variation": True}, "no such number"),
    ],
)
def test_bad_protocols_are_refused(parameters, said):
    with pytest.raises(UsageError, match=said):
        cytometry_protocol(Protocol("cytometry", parameters))


def test_no_cells_and_unknown_cells_are_refused(rng):
    with pytest.raises(UsageError, match="holds no cells"):
        simulate(Table(cells().data.iloc[:0], cells().column_units), None, rng)
    with pytest.raises(UsageError, match="no such type"):
        express(["astrocyte"], cytometry_protocol(None), rng)


def test_cells_bear_what_the_table_states(rng):
    plan = cytometry_protocol(Protocol("cytometry", {"counts": 10.0, "background": 0.0}))
    level = express(["treg"] * 4000, plan, rng)
    markers = list(MARKERS)
    borne = [markers.index(m) for m in SIGNATURES["treg"].positive]
    lacked = [markers.index(m) for m in SIGNATURES["treg"].negative]
    left_open = markers.index("Ki-67")
    assert level[:, borne].mean(axis=0) == pytest.approx(10.0, rel=0.05)
    assert level[:, borne].std(axis=0) == pytest.approx(4.0, rel=0.1)
    assert not level[:, lacked].any()
    assert (level[:, left_open] > 0).mean() == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("kind", SIGNATURES)
def test_every_type_has_the_stated_law_of_each_of_30_markers(kind, rng):
    # Borne: gamma of mean 10 and variation 0.4; lacked: background; left open: borne by a fifth of the cells.
    plan = cytometry_protocol(Protocol("cytometry", {"counts": 10.0, "background": 0.1}))
    level = express([kind] * 3000, plan, rng) - 0.1
    one = SIGNATURES[kind]
    for marker, values in zip(list(MARKERS)[:30], level.T, strict=False):
        borne = values > 1e-9
        lacked = marker in one.negative or (marker == "CAR" and marker not in one.positive)
        share = 1.0 if marker in one.positive else 0.0 if lacked else 0.2
        assert borne.mean() == pytest.approx(share, abs=0.035)
        if borne.sum() > 300:
            assert values[borne].mean() == pytest.approx(10.0, rel=0.1)
            assert values[borne].std() == pytest.approx(4.0, rel=0.25)


def test_a_sphere_is_painted_with_its_area():
    one = np.array([30.0])
    label, nucleus = paint(one, one, np.array([10.0]), np.zeros(1), (60, 60), 1.0)
    assert label.sum() == pytest.approx(np.pi * 100, rel=0.02)
    assert nucleus.sum() == pytest.approx(np.pi * 36, rel=0.05)
    label, nucleus = paint(one, one, np.array([10.0]), np.array([8.0]), (60, 60), 1.0)
    assert label.sum() == pytest.approx(np.pi * 36, rel=0.05) and not nucleus.any()


def test_two_cells_share_the_ground():
    label, _ = paint(np.array([10.0, 10.0]), np.array([8.0, 16.0]), np.full(2, 6.0), np.zeros(2), (20, 24), 1.0)
    assert (label[:, :12] != 2).all() and (label[:, 12:] != 1).all()


def test_spillover_goes_where_it_can():
    matrix = spill(["Nd142", "Nd143", "Nd146", "Gd158"], 0.03)
    assert np.diag(matrix) == pytest.approx(1.0)
    assert matrix[0, 1] == 0.03 and matrix[0, 2] == pytest.approx(0.01) and matrix[0, 3] == 0.03
    assert matrix[3, 0] == 0.0


def test_counts_are_poisson_about_the_clean_picture():
    made = section(16)
    noisy, clean = (a.image.numpy() for a in (made.acquisitions[0], made.noise_free[0]))
    off = (noisy - clean) / np.sqrt(clean)
    assert noisy.shape == (len(METALS), 1, *made.regions[0].labels.shape[1:])
    assert off.mean() == pytest.approx(0, abs=4 / np.sqrt(off.size)) and off.std() == pytest.approx(1, rel=0.01)


def test_counts_of_dark_and_bright_levels_have_the_law_of_poisson(rng):
    mean = np.array([[0.0, 0.15, 3.0, 59.0, 61.0, 4000.0]])
    counts = count_ions(mean, np.zeros((200, 500), np.int64), rng).reshape(6, -1)
    assert (counts == np.floor(counts)).all() and not counts[0].any()
    assert counts.mean(axis=1) == pytest.approx(mean[0], rel=0.01)
    assert counts.var(axis=1) == pytest.approx(mean[0], rel=0.02)
    for m, values in zip(mean[0, 1:4], counts[1:4], strict=True):
        table = np.bincount(values.astype(int))
        law = poisson.pmf(np.arange(len(table)), m)
        assert np.abs(table / len(values) - law).max() < 5 * np.sqrt(law.max() / len(values))


def test_single_stains_tell_the_spillover():
    rng = np.random.default_rng(2)
    plan = Protocol("cytometry", {"spillover": 0.03})
    found = estimate(single_stains(plan, rng), list(METALS))
    truth = spill(list(METALS), 0.03)
    assert np.abs(found.matrix - truth).max() < 0.003 and not found.unstained
    pure = estimate(single_stains(Protocol("cytometry", {"spillover": 0.0}), rng), list(METALS))
    assert np.abs(pure.matrix - np.eye(len(METALS))).max() < 0.001


def test_distances_to_the_tumour_are_those_of_the_cells():
    made, where = section(16), cells(16).data
    rows = {t.component: t for t in made.truth if t.quantity == "nearest_cell_distance"}
    tumour = where[where["component"] == "tumour-cell"]
    own = where[where["component"] == "b-cell"]
    away = np.hypot(*(own[c].to_numpy()[:, None] - tumour[c].to_numpy() for c in ("u_mm", "v_mm"))).min(axis=1)
    assert rows["b-cell|tumour-cell"].ideal == pytest.approx(1e3 * np.median(away))
    assert rows["b-cell|tumour-cell"].seen == pytest.approx(1e3 * np.median(away), abs=1.0)


def test_the_truth_counts_the_cells():
    made = section(16)
    rows = {(t.quantity, t.component): t for t in made.truth}
    kinds = cells(16).data["component"]
    assert rows["cell_fraction", "b-cell"].ideal == pytest.approx((kinds == "b-cell").mean())
    t_cells = kinds.isin(["cd8-t-cell", "cd4-t-cell", "treg"]).mean()
    assert rows["cell_fraction", "t-cell"].ideal == pytest.approx(t_cells)
    assert len(np.unique(made.regions[0].labels.numpy())) - 1 == len(made.regions[0].names)


def test_one_seed_one_picture():
    assert np.array_equal(section(10).acquisitions[0].image.numpy(), section(10).acquisitions[0].image.numpy())
