"""Units and numbers as people read them."""

from __future__ import annotations

import math
import re

__all__ = [
    "measured_word",
    "nice_ceiling",
    "nice_length",
    "readable_unit",
    "symbol_math",
    "time_unit",
    "unit_text",
    "with_unit",
]

_WHOLE = {
    "1": "",
    "[hnsf'U]": "HU",
    "Cel": "°C",
    "mm[Hg]": "mmHg",
    "[pH]": "pH",
    "mL/(100.g)": "mL/100 g",
    "mL/min/(100.g)": "mL/min/100 g",
}
_TIMES = (("s", 1.0), ("min", 60.0), ("h", 3600.0), ("d", 86400.0))
_POWERS = {"-": "⁻", "1": "¹", "2": "²", "3": "³", "4": "⁴", "6": "⁶"}


def unit_text(code: str) -> str:
    """A UCUM code in the usual notation; empty for dimensionless.

    >>> unit_text("g/mL"), unit_text("{cells}/mm2"), unit_text("10*3/uL"), unit_text("%{ID}/g")
    ('g/mL', 'cells/mm²', '10³/µL', '%ID/g')
    """
    if code in _WHOLE:
        return _WHOLE[code]
    text = re.sub(r"[{}]", "", code)
    text = re.sub(r"10[*^](-?\d+)", lambda m: "10" + _raised(m[1]), text)
    text = re.sub(r"(?<=[A-Za-z])(-?\d)(?!\d)", lambda m: _raised(m[1]), text)
    return re.sub(r"\bu(?=[A-Za-z])", "µ", text).replace(".", "·")


def _raised(digits: str) -> str:
    return "".join(_POWERS.get(d, d) for d in digits)


def measured_word(code: str) -> str:
    """What a curve in that unit shows: SUV, activity, concentration, else a value."""
    return "SUV" if code == "g/mL" else "Activity" if "Bq" in code else "Concentration" if "mol" in code else "Value"


def symbol_math(symbol: str) -> str:
    r"""A symbol with its lower or upper part set as such, for text that matplotlib parses.

    >>> symbol_math("K_i"), symbol_math("K^trans"), symbol_math("SUV")
    ('$K_\\mathrm{i}$', '$K^\\mathrm{trans}$', 'SUV')
    """
    if (raised := re.fullmatch(r"([A-Za-z]+)\^([A-Za-z]+)", symbol)) is not None:
        return f"${raised[1]}^\\mathrm{{{raised[2]}}}$"
    match = re.fullmatch(r"([A-Za-z]+)_?([A-Za-z]+|\d)", symbol)
    if match is None or ("_" not in symbol and not match[2].isdigit()):
        return symbol
    return f"${match[1]}_\\mathrm{{{match[2]}}}$"


def with_unit(label: str, code: str) -> str:
    """A label with its unit in brackets: ``SUVmax [g/mL]``; the label alone where dimensionless."""
    unit = unit_text(code)
    return f"{label} [{unit}]" if unit else label


def nice_ceiling(value: float) -> float:
    """The smallest of 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10 times a power of ten that is not below the value.

    >>> nice_ceiling(7.1), nice_ceiling(0.021), nice_ceiling(0.0)
    (8.0, 0.025, 1.0)
    """
    if not (math.isfinite(value) and value > 0):
        return 1.0
    power = math.floor(math.log10(value))
    for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10):
        candidate = float(f"{step}e{power}")
        if candidate >= value * (1 - 1e-9):
            return candidate
    return float(f"1e{power + 1}")


def nice_length(longest: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not above the value; for scale bars.

    >>> nice_length(137.0), nice_length(4.9)
    (100.0, 2.0)
    """
    power = math.floor(math.log10(longest))
    steps = [float(f"{step}e{power}") for step in (1, 2, 5)]
    return max(s for s in steps if s <= longest)


def readable_unit(code: str, largest: float) -> tuple[str, float]:
    """A UCUM code in which values up to the largest are short to write, and the factor that leads there.

    Only becquerels take another prefix; other units stay.

    >>> readable_unit("Bq/mL", 23000.0), readable_unit("g/mL", 23000.0)
    (('kBq/mL', 0.001), ('g/mL', 1.0))
    """
    for prefix, factor in (("M", 1e-6), ("k", 1e-3)):
        if code.startswith("Bq") and largest * factor >= 1:
            return prefix + code, factor
    return code, 1.0


def time_unit(last: float) -> tuple[str, float]:
    """The largest of s, min, h and d that a time in s holds four times, and its seconds.

    >>> time_unit(200.0), time_unit(5400.0)
    (('s', 1.0), ('min', 60.0))
    """
    return next(((unit, seconds) for unit, seconds in reversed(_TIMES) if last >= 4 * seconds), _TIMES[0])
