"""Statistics of pairs: against brute force, R's spatstat where it is installed, and chance."""

from __future__ import annotations

import io
import shutil
import subprocess

import numpy as np
import pytest

from timelens.engines.cells.pairs import pair_statistics, pool
from timelens.engines.cells.window import Window
from timelens.errors import UsageError

WINDOW = Window.rectangle(200, 300)


def sample(rng, n=400, window=WINDOW, types=3):
    y, x = rng.random((2, 4 * n)) * [[window.height], [window.width]]
    inside = np.flatnonzero(window.contains(y, x))[:n]
    return y[inside], x[inside], rng.integers(0, types, n)


def holes(rng) -> Window:
    mask = np.ones((40, 60), bool)
    mask[10:20, 15:30] = False
    mask[30:, :12] = False
    return Window.from_mask(mask, (5.0, 5.0))


def shared(window: Window, dy: float, dx: float) -> float:
    """Area that the window shares with itself shifted, from a fine raster."""
    if window.mask is None:
        return (window.height - abs(dy)) * (window.width - abs(dx))
    fine = 10  # of a pixel
    solid = np.kron(window.mask, np.ones((fine, fine), bool))
    sy, sx = (round(abs(d) / p * fine) for d, p in zip((dy, dx), window.pixel, strict=True))
    other = solid if dy * dx >= 0 else solid[:, ::-1]
    h, w = solid.shape
    return (other[sy:, sx:] & other[: h - sy, : w - sx]).sum() * window.pixel[0] * window.pixel[1] / fine**2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"types": [0, 1]}, "one type"),
        ({"types": [0.0, 1, 1]}, "one type"),
        ({"types": [0, 1, 2]}, "numbered from 0"),
        ({"y": [0, 1, 500]}, "outside of the window"),
        ({"y": [0, 1, np.nan]}, "not finite"),
        ({"reach": 0}, "positive distance"),
        ({"rings": 0}, "positive distance"),
    ],
)
def test_what_does_not_fit_is_refused(changes, said):
    call = {"y": [1, 2, 3], "x": [1, 2, 3], "types": [0, 1, 1], "reach": 10, "rings": 2, **changes}
    with pytest.raises(UsageError, match=said):
        pair_statistics(call["y"], call["x"], np.array(call["types"]), 2, WINDOW, reach=call["reach"],
                        rings=call["rings"])  # fmt: skip


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_cells_have_no_statistics(n):
    found = pair_statistics(np.ones(n), np.ones(n), np.zeros(n, int), 2, WINDOW, reach=50, rings=5)
    assert np.isnan(found.k()).all() and np.isnan(found.pair_correlation()).all()
    assert np.isnan(found.co_occurrence()).all() and found.pairs.sum() == 0


@pytest.mark.parametrize("kind", ["rectangle", "mask"])
def test_by_brute_force(rng, kind):
    window = WINDOW if kind == "rectangle" else holes(rng)
    y, x, types = sample(rng, 90, window)
    if kind == "mask":
        y, x = np.floor(y * 2) / 2 + 0.25, np.floor(x * 2) / 2 + 0.25  # shifts that the fine raster has
    y[1], x[1] = y[0], x[0]
    found = pair_statistics(y, x, types, 3, window, reach=60, rings=12)
    away = window.border_distance(y, x)
    distance = np.hypot(np.subtract.outer(y, y), np.subtract.outer(x, x))
    np.fill_diagonal(distance, np.inf)
    weight = np.zeros_like(distance)
    for i, j in zip(*np.nonzero(distance <= 60), strict=True):
        weight[i, j] = window.area / shared(window, y[j] - y[i], x[j] - x[i])
    n = np.bincount(types)
    for a in range(3):
        for b in range(3):
            block = np.ix_(types == a, types == b)
            possible = n[a] * n[b] - (n[a] if a == b else 0)
            for k, r in enumerate(found.radii):
                close = distance[block] <= r
                expected = (weight[block] * close).sum() * window.area / possible
                assert found.k()[a, b, k] == pytest.approx(expected, rel=1e-9)
                assert found.k("none")[a, b, k] == pytest.approx(close.sum() * window.area / possible)
                far = away[types == a] >= r
                asked = far.sum() * n[b] / window.area
                if asked:
                    assert found.k("border")[a, b, k] == pytest.approx(close[far].sum() / asked)
                else:
                    assert np.isnan(found.k("border")[a, b, k])
    assert np.allclose(found.l() ** 2 * np.pi, found.k())


def test_rings_add_up_to_k_and_co_occurrence_is_relative(rng):
    y, x, types = sample(rng)
    found = pair_statistics(y, x, types, 3, WINDOW, reach=50, rings=10)
    area = np.pi * np.diff(np.concatenate([[0], found.radii]) ** 2)
    assert np.allclose(np.cumsum(found.pair_correlation() * area, axis=2), found.k())
    share = found.pairs.sum(axis=0) / found.pairs.sum(axis=(0, 1))
    assert np.allclose((found.co_occurrence() * share[None]).sum(axis=1), 1)


def test_chance_gives_pi_r_squared_and_clusters_give_more(rng):
    runs = [pair_statistics(*sample(rng), 3, WINDOW, reach=40, rings=4) for _ in range(60)]
    found = pool(runs)
    for correction in ("translation", "border"):
        assert found.l(correction) == pytest.approx(np.broadcast_to(found.radii, (3, 3, 4)), rel=0.03)
    assert (found.l("none")[:, :, -1] < 0.96 * 40).all()
    y, x, types = sample(rng)
    y[types == 0], x[types == 0] = 100 + rng.normal(0, 5, (2, (types == 0).sum()))
    clustered = pair_statistics(y, x, types, 3, WINDOW, reach=40, rings=4)
    assert clustered.pair_correlation()[0, 0, 0] > 20 and clustered.co_occurrence()[1, 0, 0] < 0.6


def test_pooled_statistics_are_those_of_the_only_sample(rng):
    one = pair_statistics(*sample(rng), 3, WINDOW, reach=40, rings=4)
    both = pool([one, one])
    for correction in ("translation", "border", "none"):
        assert np.allclose(both.k(correction), one.k(correction))
    with pytest.raises(UsageError, match="no statistics"):
        pool([])
    with pytest.raises(UsageError, match="same types and radii"):
        pool([one, pair_statistics(*sample(rng), 3, WINDOW, reach=50, rings=4)])


# spatstat asks, at each of its radii, the cells further from the border than the radius before. The definition asks
# those further than the radius itself: each radius has one just below it, so that both are the same.
R = """
suppressMessages(library(spatstat.explore))
d <- read.csv(file("stdin")); w <- owin(c(0, 300), c(0, 200)); radii <- (1:500) * 0.1
r <- c(0, sort(c(radii - 1e-7, radii)))
p <- ppp(d$x, d$y, window = w, marks = factor(d$type)); out <- list()
for (a in 0:2) for (b in 0:2) {
  k <- Kcross(p, as.character(a), as.character(b), r = r, correction = c("translate", "border"))
  l <- Lcross(p, as.character(a), as.character(b), r = r, correction = c("translate", "border"))
  out[[length(out) + 1]] <- cbind(a, b, k$trans, k$border, l$trans, l$border)[match(radii, r), ]
}
options(digits = 17); write.table(do.call(rbind, out), sep = ",", row.names = FALSE, col.names = FALSE, na = "nan")
"""


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")
def test_equal_to_spatstat(rng, tmp_path):
    script, cells = tmp_path / "k.R", io.StringIO()
    script.write_text(R)
    y, x, types = sample(rng)
    found = pair_statistics(y, x, types, 3, WINDOW, reach=50, rings=500)
    np.savetxt(cells, np.column_stack([y, x, types]), "%.17g", ",", header="y,x,type", comments="")
    done = subprocess.run(
        [shutil.which("Rscript"), script], input=cells.getvalue(), capture_output=True, text=True, check=False
    )
    if "no package called" in done.stderr:
        pytest.skip(f"spatstat.explore is not installed in R: {done.stderr[-200:]}")
    theirs = np.loadtxt(io.StringIO(done.stdout), delimiter=",").reshape(3, 3, 500, 6)
    assert (theirs[1, 2, 0, :2] == (1, 2)).all()
    ours = (found.k(), found.k("border"), found.l(), found.l("border"))
    for mine, other in zip(ours, np.moveaxis(theirs[..., 2:], -1, 0), strict=True):
        both = np.isfinite(other) & np.isfinite(mine)
        assert both.mean() > 0.8
        assert np.allclose(mine[both], other[both], rtol=1e-6, atol=1e-9)
