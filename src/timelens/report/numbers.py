"""Numbers as text: three significant digits, an uncertainty to the same decimals, the exact value kept beside."""

from __future__ import annotations

import math

__all__ = ["decimals_of", "number_text", "plus_minus"]

_DIGITS = 3
_MINUS = "\u2212"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def decimals_of(value: float, digits: int = _DIGITS) -> int:
    """Decimals that show that many significant digits; 0 from 100 on.

    >>> decimals_of(7.8123), decimals_of(0.0456), decimals_of(1234.0)
    (2, 4, 0)
    """
    if not math.isfinite(value) or value == 0:
        return 0
    power = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    return max(0, digits - 1 - power)


def number_text(value: float, *, whole: bool = False, decimals: int | None = None) -> str:
    """A number for people; whole numbers stay whole, and thousands are set apart by a narrow space.

    >>> number_text(7.8123), number_text(-0.04561), number_text(12345.6), number_text(3.0, whole=True)
    ('7.81', '−0.0456', '12\u202f346', '3')
    >>> number_text(0.0000123)
    '1.23×10⁻⁵'
    """
    if math.isinf(value):
        return "∞" if value > 0 else _MINUS + "∞"
    if whole and value == round(value):
        text = _grouped(f"{value:.0f}")
    elif value != 0 and not 1e-4 <= abs(value) < 1e7:
        mantissa, power = f"{value:.{_DIGITS - 1}e}".split("e")
        text = f"{mantissa}×10{str(int(power)).translate(_RAISED)}"
    else:
        text = _grouped(f"{value:.{decimals_of(value) if decimals is None else decimals}f}")
    return text.replace("-", _MINUS) if not text.startswith("-0") or float(value) else text.lstrip("-")


def plus_minus(value: float, uncertainty: float) -> str:
    """The uncertainty to the decimals of its value, or to one digit where that would show nothing.

    >>> plus_minus(7.8123, 2.6), plus_minus(7.8123, 0.0012)
    ('2.60', '0.001')
    """
    decimals = decimals_of(value)
    if uncertainty and abs(uncertainty) < 0.5 * 10**-decimals:
        decimals = decimals_of(uncertainty, 1)
    if abs(value) < 1e-4 or abs(value) >= 1e7:
        return number_text(uncertainty)
    return number_text(uncertainty, decimals=decimals)


def _grouped(text: str) -> str:
    whole, dot, rest = text.partition(".")
    if len(whole.lstrip("-")) > 4:
        whole = f"{int(whole):,}".replace(",", "\u202f")
    return whole + dot + rest
