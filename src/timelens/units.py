"""UCUM units with a dimension and a kind.

A unit code such as ``Bq/mL`` or ``10*3/uL`` is parsed into a factor to SI base units and a set of exponents. Beside the
SI dimensions the exponents hold *kinds*, which plain dimensional analysis would lose:

- ``Bq`` is not ``1/s``, ``Gy`` is not ``J/kg``: radioactivity and absorbed dose are kinds of their own;
- an annotation counts: ``{cells}/mm2`` is not ``1/mm2``, ``%{ID}/g`` is not ``%/g``;
- a volume per volume counts: K1 in ``mL/min/mL`` is not k2 in ``1/min``.

Two units that differ in dimension or kind are never added, compared or converted.

Reference: Schadow G, McDonald CJ. The Unified Code for Units of Measure (UCUM), version 2.1, 2017.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from timelens.errors import UnitError

__all__ = ["Unit", "conversion_factor", "convert", "parse", "require_same_kind"]

Exponents = tuple[tuple[str, int], ...]
_Values = TypeVar("_Values")

_PREFIXES = {
    "Y": 1e24, "Z": 1e21, "E": 1e18, "P": 1e15, "T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3, "h": 1e2, "da": 1e1,
    "d": 1e-1, "c": 1e-2, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15, "a": 1e-18,
}  # fmt: skip

# atom: (factor to base units, exponents, takes metric prefixes). Base: m, kg, s, K, mol, A, cd, rad and the kinds.
_ATOMS: dict[str, tuple[float, dict[str, int], bool]] = {
    "m": (1.0, {"m": 1}, True),
    "g": (1e-3, {"kg": 1}, True),
    "s": (1.0, {"s": 1}, True),
    "K": (1.0, {"K": 1}, True),
    "mol": (1.0, {"mol": 1}, True),
    "A": (1.0, {"A": 1}, True),
    "cd": (1.0, {"cd": 1}, True),
    "rad": (1.0, {"rad": 1}, True),
    "sr": (1.0, {"rad": 2}, True),
    "deg": (math.pi / 180, {"rad": 1}, False),
    "min": (60.0, {"s": 1}, False),
    "h": (3600.0, {"s": 1}, False),
    "d": (86400.0, {"s": 1}, False),
    "wk": (604800.0, {"s": 1}, False),
    "mo": (2629800.0, {"s": 1}, False),
    "a": (31557600.0, {"s": 1}, False),
    "L": (1e-3, {"m": 3}, True),
    "l": (1e-3, {"m": 3}, True),
    "t": (1e3, {"kg": 1}, True),
    "u": (1.66053906660e-27, {"kg": 1}, True),
    "Da": (1.66053906660e-27, {"kg": 1}, True),
    "Hz": (1.0, {"s": -1}, True),
    "N": (1.0, {"kg": 1, "m": 1, "s": -2}, True),
    "Pa": (1.0, {"kg": 1, "m": -1, "s": -2}, True),
    "bar": (1e5, {"kg": 1, "m": -1, "s": -2}, True),
    "m[Hg]": (133322.387415, {"kg": 1, "m": -1, "s": -2}, True),
    "J": (1.0, {"kg": 1, "m": 2, "s": -2}, True),
    "W": (1.0, {"kg": 1, "m": 2, "s": -3}, True),
    "eV": (1.602176634e-19, {"kg": 1, "m": 2, "s": -2}, True),
    "cal": (4.184, {"kg": 1, "m": 2, "s": -2}, True),
    "C": (1.0, {"A": 1, "s": 1}, True),
    "V": (1.0, {"kg": 1, "m": 2, "s": -3, "A": -1}, True),
    "Ohm": (1.0, {"kg": 1, "m": 2, "s": -3, "A": -2}, True),
    "F": (1.0, {"kg": -1, "m": -2, "s": 4, "A": 2}, True),
    "T": (1.0, {"kg": 1, "s": -2, "A": -1}, True),
    "G": (1e-4, {"kg": 1, "s": -2, "A": -1}, True),
    "kat": (1.0, {"mol": 1, "s": -1}, True),
    "U": (1e-6 / 60, {"mol": 1, "s": -1}, True),
    "Bq": (1.0, {"radioactivity": 1}, True),
    "Ci": (3.7e10, {"radioactivity": 1}, True),
    "Gy": (1.0, {"absorbed dose": 1}, True),
    "Sv": (1.0, {"equivalent dose": 1}, True),
    "[iU]": (1.0, {"international unit": 1}, True),
    "[pH]": (1.0, {"pH": 1}, False),
    "[hnsf'U]": (1.0, {"Hounsfield": 1}, False),
    "dB": (1.0, {"decibel": 1}, False),
    "%": (1e-2, {}, False),
    "[ppth]": (1e-3, {}, False),
    "[ppm]": (1e-6, {}, False),
    "[ppb]": (1e-9, {}, False),
    "Cel": (1.0, {"K": 1}, False),
}
_CELSIUS_OFFSET = 273.15
#: The kind that mL/mL and mL/min/mL have and 1 and 1/min do not.
_RATIO = "volume per volume"

_TOKEN = re.compile(
    r"(?P<open>\()|(?P<close>\))|(?P<op>[./])|(?P<ten>10[*^](?P<tenexp>[+-]?\d+))"
    r"|(?P<number>\d+(?![*^\d]))|(?P<annotation>\{[^{}]*\})|(?P<symbol>(?:[A-Za-z%]|\[[^\]]*\])(?:[A-Za-z%']|\[[^\]]*\])*)(?P<exp>[+-]?\d+)?"
)


@dataclass(frozen=True)
class Unit:
    """A parsed unit.

    Attributes
    ----------
    code
        The UCUM code as given.
    factor
        What a value is multiplied with to reach base units (m, kg, s, K, mol, A, Bq ...).
    exponents
        Sorted pairs of base dimension or kind, and its exponent.
    offset
        Added after the factor (only degrees Celsius).
    """

    code: str
    factor: float
    exponents: Exponents
    offset: float = 0.0

    def __str__(self) -> str:
        return self.code

    def same_kind(self, other: Unit | str) -> bool:
        """Whether values in both units may be added."""
        return self.exponents == parse(other).exponents

    def __mul__(self, other: Unit | str) -> Unit:
        return _combine(self, parse(other), +1)

    def __truediv__(self, other: Unit | str) -> Unit:
        return _combine(self, parse(other), -1)

    def describe(self) -> str:
        """Dimension and kind in words, for messages."""
        if not self.exponents:
            return "dimensionless"
        return " ".join(name if power == 1 else f"{name}^{power}" for name, power in self.exponents)


def parse(code: Unit | str) -> Unit:
    """Parse a UCUM code.

    Parameters
    ----------
    code
        A case-sensitive UCUM code; ``1`` is dimensionless. A :class:`Unit` is returned as it is.

    Raises
    ------
    UnitError
        If the code is empty or unknown.
    """
    return code if isinstance(code, Unit) else _parse_text(code)


@lru_cache(maxsize=4096)
def _parse_text(code: str) -> Unit:
    text = code.strip() if isinstance(code, str) else ""
    if not text:
        raise UnitError("A unit is missing", found=repr(code), expected="a UCUM code; '1' if dimensionless")
    if text == "Cel":
        return Unit(code, 1.0, (("K", 1),), _CELSIUS_OFFSET)
    factor = 1.0
    exponents: dict[str, int] = {}
    volumes: list[int] = []
    for symbol, power in _terms(text):
        scale, parts = _atom(symbol, code)
        factor *= scale**power
        for name, exponent in parts.items():
            exponents[name] = exponents.get(name, 0) + exponent * power
        volumes += [sign for sign in (1, -1) if _is_volume(symbol, power, sign)]
    if ratios := min(volumes.count(1), volumes.count(-1)):
        exponents[_RATIO] = ratios * volumes[0]  # 1/mL.mL is the inverse of mL/mL
    return Unit(code, factor, tuple(sorted((n, e) for n, e in exponents.items() if e)))


def _terms(text: str) -> list[tuple[str, int]]:
    """Split a code into symbols with exponents; brackets and the meaning of '/' are resolved."""
    result: list[tuple[str, int]] = []
    signs = [1]  # sign of everything inside the open brackets
    sign, position, expecting = 1, 0, True
    if text[0] == "/":
        text = "1" + text
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _unknown(text, text[position:])
        position = match.end()
        if match["op"]:
            if expecting:
                raise _unknown(text, text[match.start() :])
            sign = 1 if match["op"] == "." else -1
            expecting = True
        elif match["open"]:
            signs.append(signs[-1] * sign)
            sign = 1
        elif match["close"]:
            if len(signs) == 1:
                raise _unknown(text, ")")
            signs.pop()
            sign, expecting = 1, False
        elif match["annotation"]:
            # An annotation standing alone is a unit of its own; behind a symbol it belongs to that symbol.
            power = signs[-1] * sign if expecting else (result[-1][1] if result else 1)
            result.append((match["annotation"], power))
            expecting = False
        elif not expecting and result and result[-1][0].startswith("{") and match["symbol"]:
            # DICOM writes the annotation in front: {SUVbw}g/ml.
            result.append((match["symbol"], result[-1][1] * int(match["exp"] or 1)))
        elif not expecting:
            raise _unknown(text, match.group())
        else:
            power = signs[-1] * sign
            if match["ten"]:
                result.append((f"10*{match['tenexp']}", power))
            elif match["number"]:
                result.append((match["number"], power))
            else:
                result.append((match["symbol"], power * int(match["exp"] or 1)))
            expecting = False
    if expecting or len(signs) > 1:
        raise _unknown(text, text[-1])
    return result


def _atom(symbol: str, code: str) -> tuple[float, Mapping[str, int]]:
    if symbol.startswith("{"):
        return 1.0, {symbol: 1}
    if symbol.startswith("10*"):
        return 10.0 ** int(symbol[3:]), {}
    if symbol.isdigit():
        return float(symbol), {}
    if symbol in _ATOMS:
        if symbol == "Cel":
            raise UnitError("Degrees Celsius cannot be part of a compound unit", found=code, expected="K")
        factor, parts, _ = _ATOMS[symbol]
        return factor, parts
    for length in (1, 2):
        prefix, rest = symbol[:length], symbol[length:]
        if prefix in _PREFIXES and rest in _ATOMS and _ATOMS[rest][2]:
            return _PREFIXES[prefix] * _ATOMS[rest][0], _ATOMS[rest][1]
    raise _unknown(code, symbol)


_COMMON_SLIPS = {
    "BQML": "Bq/mL", "Bq/cc": "Bq/mL", "kBq/cc": "kBq/mL", "cc": "cm3", "sec": "s", "hr": "h", "hrs": "h",
    "mins": "min", "SUV": "g/mL", "HU": "[hnsf'U]", "mmHg": "mm[Hg]", "degC": "Cel", "percent": "%", "unitless": "1",
    "arbitrary": "1", "ppm": "[ppm]", "M": "mol/L", "mM": "mmol/L", "uM": "umol/L", "nM": "nmol/L", "°C": "Cel",
}  # fmt: skip
_SIGNS = str.maketrans({"²": "2", "³": "3", "^": None, "µ": "u", "μ": "u", "·": "."})


def _unknown(code: str, part: str) -> UnitError:
    hint = _COMMON_SLIPS.get(code) or _COMMON_SLIPS.get(part) or _respelled(code)
    return UnitError(
        f"Unknown unit {code!r}" + (f" (at {part!r})" if part != code else ""),
        found=code,
        expected="a case-sensitive UCUM code, for example Bq/mL, g/mL, mm2/s, {cells}/mm2, 1",
        mend=f"write {hint!r}" if hint else "look the code up in UCUM; '1' stands for dimensionless",
    )


def _respelled(code: str) -> str | None:
    """The code with signs that UCUM does not have written in its way, if that makes it a unit (mm²/s is mm2/s)."""
    attempt = code.translate(_SIGNS)
    if attempt == code:
        return None
    try:
        return _parse_text(attempt).code
    except UnitError:
        return None


def _combine(left: Unit, right: Unit, sign: int) -> Unit:
    """Product or quotient; equal symbols cancel, so that Bq/mL times g/Bq reads g/mL."""
    if left.offset or right.offset:
        raise UnitError("Degrees Celsius cannot be multiplied or divided", found=f"{left}, {right}", expected="K")
    powers: dict[str, int] = {}
    for symbol, power in _terms(left.code):
        powers[symbol] = powers.get(symbol, 0) + power
    for symbol, power in _terms(right.code):
        powers[symbol] = powers.get(symbol, 0) + sign * power
    powers.pop("1", None)
    exponents = dict(left.exponents)
    for name, power in right.exponents:
        exponents[name] = exponents.get(name, 0) + sign * power
    code = _settled(powers, exponents.get(_RATIO, 0))
    return Unit(code, left.factor * right.factor**sign, tuple(sorted((n, e) for n, e in exponents.items() if e)))


def _settled(powers: dict[str, int], ratios: int) -> str:
    """The code of a product that holds so many volumes per volume.

    Cancelling may have lost one (mL/min/mL times min), and bringing terms together may have made one that is none
    (mL/min times 1/uL is 1000/min, as mL/min times 1/mL is 1/min).
    """
    code = _spelled(powers)
    if dict(_parse_text(code).exponents).get(_RATIO, 0) == ratios:
        return code
    pairs = [[s for s, p in powers.items() if _is_volume(s, p, sign)] for sign in (1, -1)]
    for above, below in zip(*pairs, strict=False):
        factor = math.prod(_atom(symbol, symbol)[0] ** powers.pop(symbol) for symbol in (above, below))
        if ten := round(math.log10(factor)):
            powers[f"10*{ten}"] = powers.get(f"10*{ten}", 0) + 1
    return _spelled(powers, ratios)


def _is_volume(symbol: str, power: int, sign: int) -> bool:
    parts = _atom(symbol, symbol)[1]
    return len(parts) == 1 and parts.get("m", 0) * power == 3 * sign


def _spelled(powers: Mapping[str, int], ratios: int = 0) -> str:
    above = ["mL"] * ratios + [text for s, p in powers.items() if p > 0 for text in _written(s, p)]
    below = [text for s, p in powers.items() if p < 0 for text in _written(s, -p)] + ["mL"] * ratios
    return "1/mL.mL." * -ratios + (".".join(above) or "1") + "".join("/" + text for text in below)


def _written(symbol: str, power: int) -> list[str]:
    return [symbol] * power if symbol[0] in "{%0123456789" or power == 1 else [f"{symbol}{power}"]


def require_same_kind(
    left: Unit | str, right: Unit | str, *, operation: str = "combine", left_kind: str = "", right_kind: str = ""
) -> None:
    """Refuse to combine values that differ in dimension or kind.

    Parameters
    ----------
    left, right
        The units.
    operation
        A verb for the message: add, compare, convert.
    left_kind, right_kind
        Kinds of quantity from the vocabulary, where known (a rate constant is not a clearance).

    Raises
    ------
    UnitError
        If the dimensions or kinds differ.
    """
    a, b = parse(left), parse(right)
    if a.exponents != b.exponents:
        raise UnitError(
            f"Cannot {operation} {a.code} and {b.code}: they measure different things",
            found=f"{a.code} ({a.describe()}) and {b.code} ({b.describe()})",
            expected="units of one dimension and kind",
            mend="convert one of them by its physical relation first (for example Bq/mL to g/mL by dose and weight)",
        )
    if left_kind and right_kind and left_kind != right_kind:
        raise UnitError(
            f"Cannot {operation} a {left_kind} and a {right_kind}, though both have the unit {a.code}",
            found=f"{left_kind} and {right_kind}",
            expected="one kind of quantity",
        )


def conversion_factor(source: Unit | str, target: Unit | str) -> float:
    """What a value in ``source`` is multiplied with to be in ``target``.

    >>> conversion_factor("kBq/mL", "Bq/mL")
    1000.0
    >>> round(conversion_factor("10*3/uL", "1/L"))
    1000000000
    """
    a, b = parse(source), parse(target)
    require_same_kind(a, b, operation="convert between")
    if a.offset != b.offset:
        raise UnitError(
            "A temperature scale with another zero has no factor", found=f"{a}, {b}", mend="use units.convert"
        )
    return 1.0 if a.code == b.code else a.factor / b.factor


def convert(values: Any, source: Unit | str, target: Unit | str) -> Any:
    """Values (number, numpy or dask array) from one unit to another of the same kind.

    >>> round(convert(37.0, "Cel", "K"), 2)
    310.15
    """
    a, b = parse(source), parse(target)
    if a.offset != b.offset:
        require_same_kind(a, b, operation="convert between")
        return (values * a.factor + a.offset - b.offset) / b.factor
    factor = conversion_factor(a, b)
    return values if factor == 1.0 else values * factor
