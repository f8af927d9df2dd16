"""Cell types by gates: a table that a person can read, applied from parents to children.

Each row names a type, its parent (none for the first level), markers that must be positive, markers that must be
negative, and markers of which at least one must be positive. A cell goes to the child whose weakest required marker is
strongest, by the chance of being positive that :mod:`~timelens.engines.cells.thresholds` gives; if no child fits, it
stays with its parent, and at the first level it is unknown. A marker that has no threshold makes no cell positive or
negative: gates that need it take no cell, and say so.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.cells.thresholds import check_table
from timelens.errors import UsageError

__all__ = ["UNKNOWN", "Gate", "Gated", "apply_gates", "read_gates"]

FloatArray = NDArray[np.float64]

#: Name of cells that no gate takes.
UNKNOWN = "unknown"
_COLUMNS = ("type", "parent", "positive", "negative", "any")


@dataclass(frozen=True)
class Gate:
    """One row of a table of gates."""

    name: str
    parent: str = ""
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    any: tuple[str, ...] = ()

    @property
    def markers(self) -> tuple[str, ...]:
        """All markers that the gate asks for."""
        return (*self.positive, *self.negative, *self.any)


@dataclass(frozen=True)
class Gated:
    """Types of cells.

    Parameters
    ----------
    names
        ``unknown``, then the types in the order of the table.
    label
        Place in ``names`` of each cell's type.
    chance
        Of the weakest marker on the cell's way through the gates; NaN for cells that are unknown.
    closed
        Gates that took no cell because a marker has no threshold, with these markers.
    """

    names: tuple[str, ...]
    label: NDArray[np.int64]
    chance: FloatArray
    closed: Mapping[str, tuple[str, ...]]


def read_gates(text: str) -> tuple[Gate, ...]:
    """Gates from CSV with the columns type, parent, positive, negative, any; several markers are parted by ``;``.

    Raises
    ------
    UsageError
        If columns are missing, a type comes twice, is not asked for any marker, or its parent does not stand above it.
    """
    reader = csv.DictReader(io.StringIO(text))
    try:
        header, rows = reader.fieldnames or (), list(reader)
    except csv.Error as error:
        raise UsageError("The table of gates is no table", field=f"line {reader.line_num}", found=error) from error
    lacking = set(_COLUMNS[:3]) - set(header)
    if lacking:
        raise UsageError("The table of gates lacks columns", field="header", found=", ".join(header),
                         expected=", ".join(_COLUMNS))  # fmt: skip
    gates: list[Gate] = []
    for line, row in enumerate(rows, 2):
        cell = {key: (row.get(key) or "").strip() for key in _COLUMNS}
        marks = [tuple(m.strip() for m in cell[key].split(";") if m.strip()) for key in _COLUMNS[2:]]
        gate = Gate(cell["type"], cell["parent"], *marks)
        above = {g.name for g in gates}
        if not gate.name or gate.name in above or gate.name == UNKNOWN:
            raise UsageError("A type has no name, or one that is taken", field=f"line {line}", found=repr(gate.name))
        if gate.parent and gate.parent not in above:
            raise UsageError("The parent of a type stands above it", field=f"line {line}", found=repr(gate.parent),
                             expected=", ".join(sorted(above)))  # fmt: skip
        if not gate.markers or len(set(gate.markers)) != len(gate.markers):
            raise UsageError("A gate asks for markers, each once", field=f"line {line}", found=", ".join(gate.markers))
        gates.append(gate)
    return tuple(gates)


def apply_gates(positive: ArrayLike, markers: Sequence[str], gates: Sequence[Gate]) -> Gated:
    """Lead cells through gates.

    Parameters
    ----------
    positive
        Chance of each cell to be positive for each marker, (cells, markers); a column of NaN has no threshold.
    markers
        Names of the columns.
    gates
        The table, parents above their children.

    Raises
    ------
    UsageError
        If a gate asks for a marker that has no column, or chances do not lie between 0 and 1.
    """
    names = tuple(markers)
    chance = check_table(positive, names)
    with np.errstate(invalid="ignore"):
        if ((chance < 0) | (chance > 1)).any():
            raise UsageError("A chance lies between 0 and 1", field="positive",
                             found=(np.nanmin(chance), np.nanmax(chance)))  # fmt: skip
    lacking = sorted({m for g in gates for m in g.markers} - set(names))
    if lacking:
        raise UsageError("Gates ask for markers that were not measured", field="gates", found=", ".join(names),
                         expected=", ".join(lacking), mend="leave these gates out, or add the markers")  # fmt: skip
    column = {name: chance[:, k] for k, name in enumerate(names)}
    without = {name for name in names if np.isnan(column[name]).all()}
    types = (UNKNOWN, *(g.name for g in gates))
    label, way = np.zeros(len(chance), np.int64), np.ones(len(chance))
    closed = {g.name: missing for g in gates if (missing := tuple(m for m in g.markers if m in without))}
    # Children are asked after all their parents' siblings, since parents stand above.
    depth = {g.name: 0 for g in gates}
    for gate in gates:
        depth[gate.name] = depth[gate.parent] + 1 if gate.parent else 0
    for level in range(max(depth.values(), default=-1) + 1):
        best = np.full(len(chance), 0.5)
        found = label.copy()
        for place, gate in enumerate(gates, 1):
            if depth[gate.name] != level or gate.name in closed:
                continue
            parent = types.index(gate.parent) if gate.parent else 0
            weakest = _weakest(gate, column, len(chance))
            better = (label == parent) & (weakest > best)
            found[better], best[better] = place, weakest[better]
        moved = found != label
        way[moved] = np.minimum(way[moved], best[moved])
        label = found
    return Gated(types, label, np.where(label > 0, way, np.nan), closed)


def _weakest(gate: Gate, column: Mapping[str, FloatArray], cells: int) -> FloatArray:
    """The chance of the marker that fits worst; 0 where one is not known."""
    parts = [np.ones(cells)]
    parts += [column[m] for m in gate.positive]
    parts += [1 - column[m] for m in gate.negative]
    if gate.any:
        parts.append(np.fmax.reduce([column[m] for m in gate.any]))
    return np.nan_to_num(np.min(parts, axis=0), nan=0.0)
