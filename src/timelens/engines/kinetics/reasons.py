"""Why a kinetic value is NaN, or needs a second look: one flag set per curve."""

from __future__ import annotations

from enum import IntFlag

__all__ = ["Reason", "explain"]


class Reason(IntFlag):
    """Flags that combine with ``|``. ``Reason(0)`` means that all is right."""

    NON_FINITE = 1
    TOO_FEW_FRAMES = 2
    NO_SIGNAL = 4
    SINGULAR = 8
    RATE_AT_BOUND = 16
    COEFFICIENT_AT_ZERO = 32
    NOT_CONVERGED = 64
    IMPRECISE = 128
    NOT_PHYSICAL = 256
    NOT_SELECTED = 512
    COMPARTMENT_AT_ZERO = 1024


#: With one of these nothing was fitted and every value is NaN.
FATAL = Reason.NON_FINITE | Reason.TOO_FEW_FRAMES | Reason.NO_SIGNAL | Reason.NOT_SELECTED

_TEXT = {
    Reason.NON_FINITE: "the curve holds NaN or infinite values in frames that count: nothing was fitted",
    Reason.TOO_FEW_FRAMES: "fewer frames with weight than parameters plus one: nothing was fitted",
    Reason.NO_SIGNAL: "the curve is zero throughout: nothing was fitted",
    Reason.SINGULAR: "the data do not tell the parameters apart: standard errors are missing",
    Reason.RATE_AT_BOUND: "a rate lies on the edge of the searched range: it is not determined by the data",
    Reason.COEFFICIENT_AT_ZERO: "blood volume or trapping is zero: the model without it fits as well",
    Reason.COMPARTMENT_AT_ZERO: "a compartment is empty: its rate is not determined, a simpler model fits as well",
    Reason.NOT_CONVERGED: "the iteration stopped before it settled",
    Reason.IMPRECISE: "the main parameter's standard error exceeds half its value",
    Reason.NOT_PHYSICAL: "a parameter came out negative or infinite and was set to NaN",
    Reason.NOT_SELECTED: "outside the mask: nothing was fitted",
}


def explain(reason: int) -> str:
    """The flags as text, ``""`` where none is set."""
    return "; ".join(text for flag, text in _TEXT.items() if int(reason) & flag)
