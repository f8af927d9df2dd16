"""Thresholds of markers from all sections of a study together, to be stated for each of them.

A section on which a type does not occur has no positive group of its markers, and so no number of its cells; left out
of a comparison of groups, such sections bias it. A threshold that is stated makes them the zero that they are. Cells of
all sections in one distribution have both groups if any section has; that asks for slides on one scale
(:mod:`timelens.run.slides` warns where they are not).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from timelens.engines.cells.thresholds import explain, split
from timelens.engines.cells.transform import arcsinh
from timelens.errors import UsageError
from timelens.lenses.cytometry.markers import canonical

__all__ = ["pooled_thresholds"]


def pooled_thresholds(
    out: Path, *, cofactor: float = 1.0, floor: float = 0.5
) -> tuple[dict[str, float], dict[str, str]]:
    """Where each marker turns positive over all cells of a folder of results.

    Parameters
    ----------
    out
        The folder; its tables of cells are read.
    cofactor, floor
        As of the step ``types``.

    Returns
    -------
    thresholds, reasons
        Marker to counts, ready for ``types: {thresholds: ...}``, and marker to why it has none.

    Raises
    ------
    UsageError
        If there is no table of cells.
    """
    import pandas as pd

    found: dict[str, list[np.ndarray]] = {}
    files = sorted(out.glob("sub-*/ses-*/cytometry/*ells_table.tsv"))
    for file in files:
        head = pd.read_csv(file, sep="\t", nrows=0).columns
        wanted: dict[str, str] = {}
        for column in head:
            marker = canonical(column.removeprefix("mean_")) if column.startswith("mean_") else None
            if marker is not None and marker not in wanted.values():
                wanted[column] = marker
        table = pd.read_csv(file, sep="\t", usecols=list(wanted), na_values="n/a")
        for column, marker in wanted.items():
            found.setdefault(marker, []).append(table[column].to_numpy(float))
    if not files or not found:
        raise UsageError(
            "The folder holds no cells with known markers", file=out, found=f"{len(files)} tables of cells",
            expected="results of the cytometry lens",
        )  # fmt: skip
    thresholds, reasons = {}, {}
    for marker, parts in found.items():
        one = split(arcsinh(np.concatenate(parts), cofactor))
        if one.reason:
            reasons[marker] = explain(int(one.reason))
        elif one.mean[1] < np.arcsinh(floor / cofactor):
            reasons[marker] = "the brighter group is fainter than the floor"
        else:
            thresholds[marker] = float(cofactor * np.sinh(one.threshold))
    return thresholds, reasons
