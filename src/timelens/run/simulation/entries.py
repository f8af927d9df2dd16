"""Entries of a specification, checked one by one: each refusal names the field and what is expected there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from timelens.errors import TimelensError, UsageError

__all__ = ["among", "located", "mapping", "number", "point", "span", "whole", "word"]

_T = TypeVar("_T")


def located(where: str, make: Callable[[], _T]) -> _T:
    """What ``make`` gives; an error says where in the specification it came about."""
    try:
        return make()
    except TimelensError as error:
        known = error.problem
        raise UsageError(
            known.message,
            field=f"{where}: {known.field}" if known.field else where,
            found=known.found,
            expected=known.expected,
            mend=known.mend,
        ) from None
    except TypeError as error:
        raise UsageError("The entry is not complete", field=where, found=str(error)) from None


def mapping(given: Any, where: str, known: set[str] | None = None) -> Mapping[str, Any]:
    """Names and values, none of them unknown."""
    if not isinstance(given, Mapping):
        raise UsageError("Names and values are needed", field=where, found=given, expected="a mapping")
    if known is not None and (unknown := {str(k) for k in given} - known):
        raise UsageError(
            "There is no such entry", field=f"{where}: {', '.join(sorted(unknown))}", expected=", ".join(sorted(known))
        )
    return given


def number(given: Any, where: str, *, above: bool = True) -> float:
    """A number above 0, or from 0 on."""
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise UsageError("A number is needed", field=where, found=given)
    if given < 0 or (above and given == 0):
        raise UsageError("The value cannot be used", field=where, found=given, expected="> 0" if above else "0 or more")
    return float(given)


def whole(given: Any, where: str, least: int) -> int:
    """A whole number."""
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        raise UsageError("A whole number is needed", field=where, found=given, expected=f"{least} or more")
    return given


def point(given: Any, where: str) -> tuple[float, float, float]:
    """A place (X, Y, Z) in mm."""
    values = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else []
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)]
    if len(values) != 3 or len(numbers) != 3:
        raise UsageError("A place is three numbers", field=where, found=given, expected="[X, Y, Z] in mm")
    return float(numbers[0]), float(numbers[1]), float(numbers[2])


def span(given: Any) -> tuple[float, float]:
    """Lowest and highest Z of the scans."""
    values = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else []
    if len(values) != 2 or not all(isinstance(v, int | float) for v in values):
        raise UsageError("A range has two ends", field="range_mm", found=given, expected="lowest and highest Z in mm")
    low, high = float(values[0]), float(values[1])
    if not high > low:
        raise UsageError("The range is empty", field="range_mm", found=(low, high), expected="lowest and highest Z")
    return low, high


def word(given: Any, known: Any, where: str) -> str:
    """One of the known words."""
    if given not in known:
        raise UsageError("There is no such choice", field=where, found=given, expected=", ".join(known))
    return str(given)


def among(given: Any, known: Sequence[str], where: str) -> tuple[str, ...]:
    """Some of the known words."""
    names = [given] if isinstance(given, str) else list(given)
    return tuple(word(name, known, where) for name in names)
