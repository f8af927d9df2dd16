"""Thresholds of markers from all sections of a study together, to be stated for each of them.

A section on which a type does not occur has no positive group of its markers, and so no number of its cells; left out
of a comparison of groups, such sections bias it. A threshold that is stated makes them the zero that they are. Cells of
all sections in one distribution have both groups if any section has; that asks for slides on one scale
(:mod:`timelens.run.slides` warns where they are not). Counts are those that types were told from: of the cores of cells
where the table has them, else of whole cells.
"""

from __future__ import annotations

import json
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
        If there is no table of cells, or a background was taken off before types were told, which the tables keep.
    """
    import pandas as pd

    found: dict[str, list[np.ndarray]] = {}
    files = sorted(out.glob("sub-*/ses-*/cytometry/*ells_table.tsv"))
    for file in files:
        head = pd.read_csv(file, sep="\t", nrows=0).columns
        wanted: dict[str, str] = {}
        prefix = "core_" if any(c.startswith("core_") for c in head) else "mean_"
        for column in head:
            marker = canonical(column.removeprefix(prefix)) if column.startswith(prefix) else None
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
    _check_background(out)
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


def _check_background(out: Path) -> None:
    """Refuse results whose types were told above a background: a threshold is counted from it, the tables are not."""
    for file in sorted(out.glob("sub-*/ses-*/session.json")):
        for step in json.loads(file.read_text(encoding="utf-8")).get("recipe", ()):
            taken = step["parameters"].get("background", "none") if step["name"] == "types" else "none"
            if taken != "none":
                raise UsageError(
                    "A background was taken off, which the tables of cells still hold", file=file,
                    field="types: background", found=taken, expected="none",
                    mend="types: {background: none}, here and where the thresholds are stated",
                )  # fmt: skip
