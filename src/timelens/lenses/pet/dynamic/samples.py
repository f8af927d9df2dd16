"""Blood samples as the lens reads them: tables in Bq/mL, and what a user may state about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens import units
from timelens.errors import DataError, TimelensError
from timelens.study.acquisition import Acquisition
from timelens.study.table import Table

__all__ = ["UNIT", "BloodOptions", "BloodSamples", "Curve", "samples_of"]

Floats = NDArray[np.float64]
Curve = tuple[Floats, Floats]

#: Concentrations inside.
UNIT = "Bq/mL"
_COLUMNS = ("whole_blood_radioactivity", "plasma_radioactivity", "metabolite_parent_fraction")


@dataclass(frozen=True)
class BloodOptions:
    """What a user may state about blood.

    Attributes
    ----------
    clock_offset_s
        Added to the times of the blood: what the scanner's clock showed when the blood's clock showed zero.
    decay_corrected
        Whether the samples are decay-corrected to time zero, where the files do not say.
    dispersion_s
        Dispersion time of the autosampler, in place of the file's.
    plasma_ratio
        Plasma over whole blood, in place of the samples'.
    parent_fraction
        ``auto`` (the model that fits best), the name of a model, ``interpolate``, or ``none``.
    """

    clock_offset_s: float = 0.0
    decay_corrected: bool | None = None
    dispersion_s: float | None = None
    plasma_ratio: float | None = None
    parent_fraction: str = "auto"


@dataclass(frozen=True, eq=False)
class BloodSamples:
    """One record of blood: times in s, concentrations in Bq/mL, each column without the samples that are missing."""

    file: str
    whole_blood: Curve | None = None
    plasma: Curve | None = None
    parent_fraction: Curve | None = None
    said: Mapping[str, Any] = field(default_factory=dict)

    @property
    def decay_corrected(self) -> bool | None:
        """As the file says it."""
        said = self.said.get("DecayCorrected", self.said.get("decay_corrected"))
        return None if said is None else str(said).strip().lower() == "true"


def samples_of(acquisition: Acquisition) -> BloodSamples:
    """A blood table in Bq/mL.

    Raises
    ------
    DataError, UnitError
        If it holds neither activity nor a parent fraction, or a column's unit is no activity concentration.
    """
    table = acquisition.data
    if not isinstance(table, Table) or "time" not in table.data.columns:
        raise DataError(
            "This is no table of blood samples", file=acquisition.where, field="time", expected="a column time"
        )
    times = table.data["time"].to_numpy(float)
    found: list[Curve | None] = []
    for name in _COLUMNS:
        if name not in table.data.columns:
            found.append(None)
            continue
        try:
            wanted = "1" if name == _COLUMNS[2] else UNIT
            values = np.asarray(units.convert(table.data[name].to_numpy(float), table.column_units[name], wanted))
        except TimelensError as error:
            raise error.at(file=acquisition.where, field=name) from None
        there = np.isfinite(values)
        found.append((times[there], values[there]) if there.any() else None)
    if all(curve is None for curve in found):
        raise DataError(
            "The table holds no blood",
            file=acquisition.where,
            field="columns",
            found=", ".join(map(str, table.data.columns)),
            expected=" or ".join(_COLUMNS),
        )
    return BloodSamples(acquisition.where, found[0], found[1], found[2], acquisition.extra)
