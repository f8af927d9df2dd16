"""From draws to rows: bias, spread, coverage and detection limit of one quantity of one lesion."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.study.measurement import Measurement

__all__ = ["COLUMNS", "Draw", "Empty", "rows_of", "summary"]

#: The stable columns, then what they rest on.
COLUMNS = (
    "quantity", "unit", "truth", "bias_percent", "spread_percent", "coverage_95", "detection_limit", "n",
    "case", "region", "diameter_mm", "truth_object", "bias_object_percent", "noise_free_bias_percent",
    "noise_free_worst_percent", "intervals", "coverage_95_object",
)  # fmt: skip

#: Of the standard normal distribution, for 5 % false positives and 5 % false negatives.
_BOTH_ERRORS = 3.29


@dataclass(frozen=True)
class Empty:
    """What a lesion's mask shows without the lesion: the uptake around it and of it, and the value in this draw."""

    background: float
    uptake: float
    value: float


@dataclass(frozen=True)
class Draw:
    """One measured value with its truth.

    Attributes
    ----------
    case
        What was simulated and how it was measured.
    region, quantity, unit
        As in the measurement.
    value, lower, upper
        Measured, with its interval; ``noise`` says whether the interval is one of image noise.
    seen
        On the noise-free image, measured in the same way.
    real
        Of the object.
    diameter_mm
        Of the lesion, where it has one.
    empty
        For detection limits.
    """

    case: str
    region: str
    quantity: str
    unit: str
    value: float
    lower: float
    upper: float
    noise: bool
    seen: float
    real: float
    diameter_mm: float = math.nan
    empty: Empty | None = None

    @classmethod
    def of(cls, row: Measurement, *, case: str, seen: float, real: float, **more: Any) -> Draw:
        """From a measured row."""
        noise = row.uncertainty_kind == "standard_error"
        known = {"quantity": row.quantity, "unit": row.unit, "region": row.region, **more}
        return cls(case=case, value=row.value, lower=row.lower, upper=row.upper, noise=noise, seen=seen, real=real,
                   **known)  # fmt: skip


def rows_of(draws: Iterable[Draw]) -> list[dict[str, Any]]:
    """One row for each case, quantity and region, in the order in which they first appear within each case."""
    groups: dict[tuple[str, str, str], list[Draw]] = {}
    for draw in draws:
        groups.setdefault((draw.case, draw.quantity, draw.region), []).append(draw)
    cases = list(dict.fromkeys(case for case, _, _ in groups))
    names = list(dict.fromkeys(name for _, name, _ in groups))
    order = sorted(groups, key=lambda key: (cases.index(key[0]), names.index(key[1])))
    return [summary(groups[key]) for key in order]


def summary(draws: Sequence[Draw]) -> dict[str, Any]:
    """The row of draws of one quantity, with the keys :data:`COLUMNS`; None where something does not apply."""
    first = draws[0]
    value, seen, real, low, high = (
        np.array([getattr(d, name) for d in draws], float) for name in ("value", "seen", "real", "lower", "upper")
    )
    usable = np.isfinite(value) & np.isfinite(seen)
    n = int(usable.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        off, off_object, off_seen = value / seen - 1, value / real - 1, seen / real - 1
    judged = usable & np.array([d.noise for d in draws])
    held, held_object = ((low <= sought) & (sought <= high) for sought in (seen, real))
    of_object = judged & np.isfinite(real)
    return {
        "quantity": first.quantity,
        "unit": first.unit,
        "truth": _number(seen[usable].mean() if n else math.nan),
        "bias_percent": _number(100 * off[usable].mean() if n else math.nan),
        "spread_percent": _number(100 * off[usable].std(ddof=1) if n > 1 else math.nan),
        "coverage_95": _number(float(held[judged].mean()) if judged.any() else math.nan),
        "detection_limit": _limit(draws, float(seen[usable].mean()) if n else math.nan),
        "n": n,
        "case": first.case,
        "region": first.region,
        "diameter_mm": _number(first.diameter_mm),
        "truth_object": _number(real[usable].mean() if n else math.nan),
        "bias_object_percent": _number(100 * off_object[usable].mean() if n else math.nan),
        "noise_free_bias_percent": _number(100 * off_seen[usable].mean() if n else math.nan),
        "noise_free_worst_percent": _number(_worst(100 * off_seen[usable])),
        "intervals": int(judged.sum()),
        "coverage_95_object": _number(float(held_object[of_object].mean()) if of_object.any() else math.nan),
    }


def _limit(draws: Sequence[Draw], truth: float) -> float | None:
    """Least uptake that is told from its surroundings: background + 3.29 spread / recovery."""
    known = [d.empty for d in draws if d.empty is not None and math.isfinite(d.empty.value)]
    if len(known) < 2:
        return None
    values = np.array([e.value for e in known])
    background, uptake = known[0].background, known[0].uptake
    recovery = (truth - background) / (uptake - background)
    return float(values.mean() + _BOTH_ERRORS * values.std(ddof=1) / recovery) if recovery > 0 else None


def _worst(off: NDArray[np.float64]) -> float:
    """The deviation farthest from zero, with its sign."""
    there = off[np.isfinite(off)]
    return float(there[np.argmax(np.abs(there))]) if there.size else math.nan


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
