"""Types of cells by the user's own gates, in place of the table of types: a CSV file that a person can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from timelens.engines.cells.gates import Gate, apply_gates, read_gates
from timelens.errors import UsageError
from timelens.lenses.cytometry.markers import canonical
from timelens.lenses.cytometry.types import SIGNATURES

__all__ = ["gate_cells", "gates_of"]

_LARGEST = 1_000_000  # bytes


def gates_of(path: object) -> tuple[Gate, ...]:
    """Gates from a file, with markers by their usual names; none where no file is stated.

    Raises
    ------
    UsageError
        If there is no such file, it is no table of gates, or a type is not in the knowledge base.
    """
    if path == "":
        return ()
    if not isinstance(path, str):
        raise UsageError("The table of gates is a file", field="types: gates", found=path, expected="a path")
    file = Path(path)
    if not file.is_file() or file.stat().st_size > _LARGEST:
        raise UsageError("There is no such table of gates", file=file, field="types: gates", expected="a CSV file",
                         mend="write its path from where the command runs, or the whole path")  # fmt: skip
    try:
        gates = read_gates(file.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UsageError("The table of gates is not text", file=file, field="types: gates", found=error,
                         expected="CSV in UTF-8") from error  # fmt: skip
    except UsageError as error:
        raise error.at(file=file) from error
    if unknown := [g.name for g in gates if g.name not in SIGNATURES]:
        raise UsageError("A gate is of no type that is known", file=file, field="type", found=", ".join(unknown),
                         expected=", ".join(SIGNATURES))  # fmt: skip

    def usual(markers: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(canonical(m) or m for m in markers)

    return tuple(replace(g, positive=usual(g.positive), negative=usual(g.negative), any=usual(g.any)) for g in gates)


def gate_cells(
    positive: NDArray[np.float64], markers: Sequence[str], gates: Sequence[Gate]
) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.float64], Mapping[str, tuple[str, ...]]]:
    """Lead cells through the gates whose markers were measured.

    Parameters
    ----------
    positive
        Chance of each cell to be positive for each marker, (cells, markers); a column of NaN has no threshold.
    markers
        Names of the columns.
    gates
        The table.

    Returns
    -------
    names
        ``unknown``, then the types whose gates could take cells.
    label
        Place in ``names`` of each cell's type.
    chance
        Of the weakest marker on its way; NaN for cells that are unknown.
    lacking
        Gates that could take no cell, with the markers that were not measured or have no threshold; a gate below such
        a one lacks the same.
    """
    lacking: dict[str, tuple[str, ...]] = {}
    asked: list[Gate] = []
    for gate in gates:
        some = tuple(m for m in gate.any if m in markers)
        needed = (*gate.positive, *gate.negative, *(() if some else gate.any))
        missing = tuple(m for m in needed if m not in markers) or lacking.get(gate.parent, ())
        if missing:
            lacking[gate.name] = missing
        else:
            asked.append(replace(gate, any=some))
    gated = apply_gates(positive, markers, asked)
    closed = dict(gated.closed)
    for gate in asked:  # parents stand above
        if gate.parent in closed:
            closed.setdefault(gate.name, closed[gate.parent])
    kept = [k for k, name in enumerate(gated.names) if name not in closed]
    place = np.zeros(len(gated.names), np.int64)
    place[kept] = np.arange(len(kept))
    return tuple(gated.names[k] for k in kept), place[gated.label], gated.chance, {**lacking, **closed}
