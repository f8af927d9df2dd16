"""A small virtual section: cells of few types in nests and stroma, apart from each other."""

from __future__ import annotations

import numpy as np
import pandas as pd

from timelens.lenses.cytometry.simulate import simulate
from timelens.study.contract import Protocol, Simulated
from timelens.study.table import Table

KINDS = ("cd8-t-cell", "cd4-t-cell", "treg", "b-cell", "m2-macrophage", "caf", "endothelial-cell")


def cells(side: int = 24, seed: int = 3, pitch_um: float = 13.0) -> Table:
    """A jittered lattice of cells: tumour cells in a disc, the other kinds around it and a few of them in it."""
    rng = np.random.default_rng(seed)
    v, u = (a.ravel() * pitch_um for a in np.mgrid[:side, :side])
    v, u = (a + rng.uniform(-2, 2, a.size) for a in (v, u))
    middle = pitch_um * (side - 1) / 2
    nest = np.hypot(v - middle, u - middle) < 0.3 * side * pitch_um
    kind = np.where(nest & (rng.random(v.size) < 0.9), "tumour-cell", rng.choice(KINDS, v.size))
    columns = {"component": kind, "u_mm": u / 1e3, "v_mm": v / 1e3, "z_mm": 0.0, "diameter_mm": 0.0105}
    return Table(pd.DataFrame(columns), dict.fromkeys(("u_mm", "v_mm", "z_mm", "diameter_mm"), "mm"))


def section(side: int = 24, seed: int = 3, **protocol: float) -> Simulated:
    """The same, stained and read."""
    return simulate(cells(side, seed), Protocol("cytometry", protocol), np.random.default_rng(seed))
