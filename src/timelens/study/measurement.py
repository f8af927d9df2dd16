"""Measurement: one number with its unit, uncertainty, region, method and origin. The product of timelens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from timelens import units
from timelens.errors import UnitError, UsageError
from timelens.knowledge import quantities
from timelens.study.provenance import identifier

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "Measurement", "UncertaintyKind", "to_frame"]

UncertaintyKind = Literal["standard_error", "interval", "repeatability", "none"]


@dataclass(frozen=True)
class Measurement:
    """One tidy row.

    Parameters
    ----------
    quantity
        Name in the vocabulary.
    value
        The number; NaN with a ``reason`` where it could not be had.
    unit
        UCUM code, never empty; ``1`` is dimensionless. Must be the unit of the quantity (of its kind for the generic
        ``value_*`` quantities, which take the unit of the image).
    uncertainty, uncertainty_kind
        In the unit of the value. ``standard_error``: one standard error. ``interval``: see lower and upper.
        ``repeatability``: half the width of the limits of agreement between two scans without change.
    lower, upper, level
        Interval and its level (0.95).
    n
        Number of voxels, cells or lesions behind the value.
    time_s
        Seconds from time zero at which the value holds.
    method, method_version
        Name of the rule, with its parameters, and the version of timelens that applied it.
    flags, reason
        Remarks joined by ``;``, and why a value is NaN.
    supersedes
        Id of the row that this one corrects.
    run
        Id of the run that made it.
    """

    quantity: str
    value: float
    unit: str
    region: str = ""
    subject: str = ""
    session: str = ""
    acquisition: str = ""
    modality: str = ""
    agent: str = ""
    target: str = ""
    component: str = ""
    uncertainty: float = math.nan
    uncertainty_kind: UncertaintyKind = "none"
    lower: float = math.nan
    upper: float = math.nan
    level: float = math.nan
    n: int | None = None
    time_s: float = math.nan
    method: str = ""
    method_version: str = ""
    flags: str = ""
    reason: str = ""
    supersedes: str = ""
    run: str = ""

    def __post_init__(self) -> None:
        known = quantities.get(self.quantity)
        unit = units.parse(self.unit)
        if known.kind != "value" and unit.code != known.unit:
            units.require_same_kind(unit, known.unit, operation=f"report {known.name} in")
            raise UnitError(
                f"{known.name} is always reported in {known.unit}", field="unit", found=unit.code, expected=known.unit
            )
        if self.uncertainty_kind not in get_args(UncertaintyKind):
            raise UsageError(
                "Unknown kind of uncertainty", found=self.uncertainty_kind, expected=get_args(UncertaintyKind)
            )
        if math.isnan(self.value) and not self.reason:
            raise UsageError(f"{self.quantity} is NaN without a reason", field="reason")

    @property
    def id(self) -> str:
        """Identifier from everything the row says."""
        return identifier("measurement", [repr(v) for v in asdict(self).values()])

    def as_dict(self) -> dict[str, Any]:
        """The row in the order of :data:`COLUMNS`."""
        record = {"id": self.id, **asdict(self)}
        return {name: record[name] for name in COLUMNS}

    def with_context(self, **context: Any) -> Measurement:
        """The row with the fields filled in that are still empty (subject, session, run ...)."""
        empty = {k: v for k, v in context.items() if getattr(self, k) in ("", None)}
        return replace(self, **empty)


#: Columns of ``measurements.csv`` in their stable order.
COLUMNS: tuple[str, ...] = (
    "id", "subject", "session", "acquisition", "modality", "agent", "target", "component", "region", "quantity", "value",
    "unit", "uncertainty", "uncertainty_kind", "lower", "upper", "level", "n", "time_s", "method", "method_version",
    "flags", "reason", "supersedes", "run",
)  # fmt: skip
assert set(COLUMNS) == {"id", *(f.name for f in fields(Measurement))}


def from_dict(record: Mapping[str, Any]) -> Measurement:
    """A measurement from a row as :meth:`Measurement.as_dict` gives it."""
    return Measurement(**{k: v for k, v in record.items() if k != "id"})


def to_frame(measurements: Iterable[Measurement]) -> pd.DataFrame:
    """The rows as a data frame with the stable columns, also when there are none."""
    import pandas as pd

    return pd.DataFrame([m.as_dict() for m in measurements], columns=list(COLUMNS))
