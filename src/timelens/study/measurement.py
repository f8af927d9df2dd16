"""Measurement: one number with its unit, uncertainty, region, method and origin. The product of timelens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

from timelens import units
from timelens.errors import UnitError, UsageError
from timelens.knowledge import quantities
from timelens.study.provenance import identifier

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "NUMBERS", "Measurement", "UncertaintyKind", "from_dict", "to_frame"]

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

    Raises
    ------
    UnitError
        If the unit is not the one of the quantity.
    UsageError
        If the quantity is unknown, a number is infinite, NaN stands without a reason, or uncertainty, interval or level
        cannot be what they claim.
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
        for name in NUMBERS:  # plain floats, so that the same number gives the same identifier
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.n is not None:
            object.__setattr__(self, "n", int(self.n))
        self._check_numbers()

    def _check_numbers(self) -> None:
        for name in NUMBERS:
            if math.isinf(getattr(self, name)):
                raise UsageError(
                    f"{self.quantity} is infinite",
                    field=name,
                    found=getattr(self, name),
                    expected="a number, or NaN with a reason",
                )
        if math.isnan(self.value) and not self.reason:
            raise UsageError(f"{self.quantity} is NaN without a reason", field="reason")
        if self.uncertainty < 0:
            raise UsageError("An uncertainty is not negative", field="uncertainty", found=self.uncertainty)
        if self.lower > self.upper:
            raise UsageError("The interval ends before it begins", field="lower", found=f"{self.lower} to {self.upper}")
        if not math.isnan(self.level) and not 0 < self.level < 1:
            raise UsageError(
                "The level of an interval lies between 0 and 1", field="level", found=self.level, expected="0.95"
            )

    @cached_property
    def id(self) -> str:
        """Identifier from everything the row says."""
        return identifier("measurement", [repr(getattr(self, f.name)) for f in fields(self)])

    def as_dict(self) -> dict[str, Any]:
        """The row in the order of :data:`COLUMNS`."""
        return {name: getattr(self, name) for name in COLUMNS}

    def with_context(self, **context: Any) -> Measurement:
        """The row with the fields filled in that are still empty (subject, session, run ...)."""
        empty = {k: v for k, v in context.items() if getattr(self, k) in ("", None)}
        return replace(self, **empty)


#: Fields that hold real numbers; NaN is "not known".
NUMBERS: tuple[str, ...] = ("value", "uncertainty", "lower", "upper", "level", "time_s")

#: Columns of ``measurements.csv`` in their stable order.
COLUMNS: tuple[str, ...] = (
    "id", "subject", "session", "acquisition", "modality", "agent", "target", "component", "region", "quantity",
    "value", "unit", "uncertainty", "uncertainty_kind", "lower", "upper", "level", "n", "time_s", "method",
    "method_version", "flags", "reason", "supersedes", "run",
)  # fmt: skip
assert set(COLUMNS) == {"id", *(f.name for f in fields(Measurement))}


def from_dict(record: Mapping[str, Any]) -> Measurement:
    """A measurement from a row as :meth:`Measurement.as_dict` gives it; None stands for NaN and for empty text."""
    known: dict[str, Any] = {name: record[name] for name in COLUMNS if name != "id" and name in record}
    for name, value in known.items():
        if name == "n":
            known[name] = None if value is None or value != value else int(value)
        elif value is None:
            known[name] = math.nan if name in NUMBERS else ""
    return Measurement(**known)


def to_frame(measurements: Iterable[Measurement]) -> pd.DataFrame:
    """The rows as a data frame with the stable columns, also when there are none."""
    import pandas as pd

    return pd.DataFrame([m.as_dict() for m in measurements], columns=list(COLUMNS))
