"""Radionuclides: half-lives, branching, energies and photons from evaluated sources, with uncertainty.

The half-life in the header of a series is what that series' values were decay-corrected with, and stays so; ``compare``
says whether it is the evaluated one.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

from timelens.errors import UsageError
from timelens.knowledge.load import store
from timelens.knowledge.records import Radionuclide
from timelens.knowledge.spelling import nuclide as spelled

__all__ = ["HalfLife", "all_nuclides", "canonical", "canonical_or_none", "compare", "find", "get"]

#: Relative difference from which on a stated half-life is called another one: rounding in headers stays below.
TOLERANCE = 0.005


@dataclass(frozen=True, slots=True)
class HalfLife:
    """A stated half-life beside the evaluated one, in seconds.

    ``agrees`` is true within the tolerance; ``sigmas`` is the difference in standard uncertainties of the evaluation,
    NaN where none is published; ``activity_error_percent`` is the error of an activity that was decay-corrected over
    one hour with the stated half-life.
    """

    nuclide: str
    stated_s: float
    evaluated_s: float
    relative_difference: float
    sigmas: float
    activity_error_percent: float
    agrees: bool


def all_nuclides() -> list[Radionuclide]:
    """Every radionuclide with data, in the order of the file: PET, SPECT, therapy."""
    return list(store().nuclides.rows.values())


def canonical_or_none(text: str) -> str | None:
    """The nuclide that a text names, written ``89Zr``, or None."""
    return spelled(text)


def canonical(text: str) -> str:
    """The nuclide that a text names, written ``89Zr``.

    Raises
    ------
    UsageError
        If the text does not name exactly one nuclide.

    Examples
    --------
    >>> canonical("zirconium-89"), canonical("Tc-99m"), canonical("^18^Fluorine")
    ('89Zr', '99mTc', '18F')
    """
    found = spelled(text)
    if found is None:
        near = difflib.get_close_matches(text, [each.id for each in all_nuclides()], n=3, cutoff=0.5)
        raise UsageError(
            "This is no nuclide",
            field="nuclide",
            found=text,
            expected="mass number and symbol, such as 89Zr",
            mend=f"did you mean {', '.join(near)}?" if near else "write 89Zr or Zr-89",
        )
    return found


def find(text: str) -> Radionuclide | None:
    """The radionuclide that a text names, in any spelling; None if there are no data on it."""
    name = spelled(text)
    return store().nuclides.rows.get(name) if name else None


def get(text: str) -> Radionuclide:
    """The radionuclide that a text names, in any spelling.

    Raises
    ------
    UsageError
        If the text names none, or one without data.

    Examples
    --------
    >>> get("Zr-89").half_life_as_published
    '78.41(12) h'
    """
    name = canonical(text)
    found = store().nuclides.rows.get(name)
    if found is None:
        raise UsageError(
            "There are no data on this nuclide",
            field="nuclide",
            found=name,
            expected=", ".join(store().nuclides.rows),
            mend="give its half-life",
        )
    return found


def compare(text: str, half_life_s: float) -> HalfLife:
    """Hold a stated half-life against the evaluated one.

    Parameters
    ----------
    text
        The nuclide.
    half_life_s
        The half-life that a header states, in seconds.

    Raises
    ------
    UsageError
        If the nuclide has no data or the half-life is not a positive number.
    """
    record = get(text)
    if not (math.isfinite(half_life_s) and half_life_s > 0):
        raise UsageError(
            "A half-life is a positive number of seconds", field="half_life_s", found=half_life_s, expected="> 0"
        )
    difference = half_life_s - record.half_life_s
    sigma = record.half_life_uncertainty_s
    hour = 3600.0 * math.log(2)
    factor = math.exp(hour / half_life_s - hour / record.half_life_s)
    return HalfLife(
        record.id,
        half_life_s,
        record.half_life_s,
        difference / record.half_life_s,
        difference / sigma if sigma else math.nan,
        100 * (factor - 1),
        abs(difference) <= TOLERANCE * record.half_life_s,
    )
