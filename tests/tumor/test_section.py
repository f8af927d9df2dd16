"""Single cells: counts by Poisson's law, places by the fields, distances where there is room."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import cKDTree
from tests.tumor.small import GRID, tumour

from timelens.errors import UsageError
from timelens.tumor.cells import LEAVES
from timelens.tumor.section import Section, expected_cells, sample_cells


def test_expectation_by_hand() -> None:
    m = tumour()
    for counted, depth in (("centres", 0.004), ("profiles", 0.004 + LEAVES["treg"].diameter_mm)):
        mean = expected_cells(m, Section(index=11, counted=counted))["treg"]
        assert mean == pytest.approx(m.cells["treg"][11].astype(float) * 0.09 * depth, rel=1e-6)
    along_x = expected_cells(m, Section(index=20, axis="x", counted="centres"))["treg"]
    assert along_x == pytest.approx(m.cells["treg"][:, :, 20].astype(float) * 0.09 * 0.004, rel=1e-6)


def test_counts_of_every_type_agree_with_their_expectation() -> None:
    m, section = tumour(), Section()
    counts = sample_cells(m, section, np.random.default_rng(2)).data["component"].value_counts()
    for leaf, mean in expected_cells(m, section).items():
        # The chance that one of 22 lies outside of 4.5 standard deviations is about 1 in 7,000.
        assert abs(counts[leaf] - mean.sum()) <= 4.5 * np.sqrt(max(mean.sum(), 1.0))


def test_counts_voxel_by_voxel_follow_poissons_law() -> None:
    m, section = tumour(), Section(counted="centres", distance_mm=0.01)
    mean = expected_cells(m, section)["cd8-t-cell"]
    table = sample_cells(m, section, np.random.default_rng(3)).data
    chosen = table[table.component == "cd8-t-cell"]
    found = np.histogram2d(chosen.v_mm, chosen.u_mm, bins=[np.arange(43) * 0.3, np.arange(45) * 0.3])[0]
    full = mean > 2
    statistic = ((found - mean)[full] ** 2 / mean[full]).sum()
    assert 1e-4 < stats.chi2.sf(statistic, full.sum()) < 1 - 1e-4


def test_within_a_voxel_cells_lean_towards_denser_neighbours() -> None:
    m, section = tumour(), Section(counted="centres", distance_mm=0.0, thickness_mm=0.05)
    density = m.cells["tumour-cell"][GRID.shape[0] // 2].astype(float)
    table = sample_cells(m, section, np.random.default_rng(4)).data
    chosen = table[table.component == "tumour-cell"]
    column, row = (chosen.u_mm // 0.3).astype(int), (chosen.v_mm // 0.3).astype(int)
    inside = (column > 0) & (column < 43)
    slope = (density[row[inside], column[inside] + 1] - density[row[inside], column[inside] - 1]) / 2
    lean = np.clip(slope / density[row[inside], column[inside]], -2, 2)
    place = (chosen.u_mm[inside] / 0.3) % 1 - 0.5
    # A density 1 + lean (t - 1/2) has its mean at lean / 12.
    error = np.sqrt(1 / 12 / (np.abs(lean) > 0.5).sum())
    strong = np.abs(lean) > 0.5
    assert (np.sign(lean) * place)[strong].mean() == pytest.approx(np.abs(lean)[strong].mean() / 12, abs=5 * error)


def test_cells_keep_their_distance_where_there_is_room() -> None:
    m = tumour()
    table = sample_cells(m, Section(counted="centres", distance_mm=0.008), np.random.default_rng(5)).data
    nearest = cKDTree(table[["u_mm", "v_mm"]]).query(table[["u_mm", "v_mm"]], k=2)[0][:, 1]
    assert nearest.min() >= 0.008 * (1 - 1e-6)
    loose = sample_cells(m, Section(counted="centres", distance_mm=0.0), np.random.default_rng(5)).data
    assert len(loose) == pytest.approx(len(table), rel=0.02)
    assert cKDTree(loose[["u_mm", "v_mm"]]).query(loose[["u_mm", "v_mm"]], k=2)[0][:, 1].min() < 0.002


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_places_in_the_frame_lie_in_the_section(axis: str) -> None:
    m = tumour()
    section = Section(index=15, axis=axis, window_mm=(4.0, 7.0, 5.0, 8.0))
    table = sample_cells(m, section, np.random.default_rng(6)).data
    assert table.u_mm.between(3.9 - 1e-9, 7.2 + 1e-9).all()
    assert table.v_mm.between(4.8 - 1e-9, 8.1 + 1e-9).all()
    index = GRID.to_index(table[["x_mm", "y_mm", "z_mm"]].to_numpy())
    across = "zyx".index(axis)
    half = (0.004 + table.diameter_mm.to_numpy()) / 2 / 0.3
    assert (np.abs(index[:, across] - 15) <= half + 1e-9).all()
    rows, columns = (a for a in range(3) if a != across)
    assert (index[:, columns] + 0.5) * 0.3 == pytest.approx(table.u_mm.to_numpy())
    assert (index[:, rows] + 0.5) * 0.3 == pytest.approx(table.v_mm.to_numpy())


def test_same_generator_same_cells() -> None:
    m, section = tumour(), Section(window_mm=(3, 6, 3, 6))
    one, two, other = (sample_cells(m, section, np.random.default_rng(s)).data for s in (1, 1, 2))
    assert one.equals(two)
    assert not one.u_mm.iloc[:50].equals(other.u_mm.iloc[:50])


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda m: Section(axis="t"), "There is no such axis"),
        (lambda m: Section(counted="nuclei"), "by profiles or centres"),
        (lambda m: Section(thickness_mm=0), "A section has a thickness"),
        (lambda m: m.sample_cells(Section(index=40), np.random.default_rng()), "lies outside of the grid"),
        (lambda m: m.sample_cells(Section(window_mm=(50, 60, 0, 1)), np.random.default_rng()), "holds no voxel"),
        (lambda m: m.sample_cells(Section(thickness_mm=5), np.random.default_rng()), "holds too many cells"),
    ],
)
def test_what_gives_no_section_is_refused(call, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        call(tumour())
