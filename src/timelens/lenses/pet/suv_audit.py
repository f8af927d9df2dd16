"""The record of how an SUV came about: branch, tags, times, and what the other readings would have given."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from timelens.errors import DataError

__all__ = ["Alternative", "SuvAudit", "SuvResult", "TagUsed"]


@dataclass(frozen=True)
class TagUsed:
    """A value that entered the result: DICOM keyword, element, value, and whether the file or the user gave it."""

    keyword: str
    tag: str
    value: str
    origin: Literal["header", "user"] = "header"


@dataclass(frozen=True)
class Alternative:
    """Another reading of the header and by how many percent it would change the value."""

    name: str
    reference: str
    change_percent: float


@dataclass(frozen=True)
class SuvAudit:
    """How a factor was found.

    Attributes
    ----------
    kind, unit
        What the values become.
    branch
        Which rule applied, for example ``BQML/START/series_time``.
    tags
        Every value that was used.
    time_zero, reference_time
        Injection and the time to which the stored values are decay-corrected (of the first image), ISO text; empty
        where the branch needs none.
    decay_s, decay_factor, half_life_s
        Seconds between the two, the fraction of activity left, and the half-life; NaN where the branch needs none.
    alternatives
        What the other readings of the header would give.
    notes
        What a reader should know: midnight crossed, post-processed series, slightly contradictory tags.
    defaults
        Values assumed because nothing was said.
    warnings
        Plausibility warnings.
    """

    kind: str
    unit: str
    branch: str
    tags: tuple[TagUsed, ...] = ()
    time_zero: str = ""
    reference_time: str = ""
    decay_s: float = float("nan")
    decay_factor: float = float("nan")
    half_life_s: float = float("nan")
    alternatives: tuple[Alternative, ...] = ()
    notes: tuple[str, ...] = ()
    defaults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def overrides(self) -> tuple[TagUsed, ...]:
        """The values that the user gave in place of the header."""
        return tuple(tag for tag in self.tags if tag.origin == "user")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what does not apply is None."""
        record = asdict(self)
        for key in ("decay_s", "decay_factor", "half_life_s"):
            record[key] = None if np.isnan(record[key]) else record[key]
        return record

    def lines(self) -> list[str]:
        """The audit as lines of text."""
        out = [f"SUV {self.kind} in {self.unit} by rule {self.branch}"]
        if self.time_zero:
            out.append(
                f"injection {self.time_zero}, values refer to {self.reference_time}: {self.decay_s:.1f} s, "
                f"{self.decay_factor:.6f} of the activity left (half-life {self.half_life_s:g} s)"
            )
        out += [f"{t.keyword} {t.tag} = {t.value}" + (" (user)" if t.origin == "user" else "") for t in self.tags]
        out += [f"by {a.name} ({a.reference}): {a.change_percent:+.2f} %" for a in self.alternatives]
        out += [f"default: {text}" for text in self.defaults]
        out += [f"note: {text}" for text in self.notes]
        out += [f"warning: {text}" for text in self.warnings]
        return out


@dataclass(frozen=True)
class SuvResult:
    """Factors that rescaled pixel values are multiplied with, one per image, and their audit."""

    kind: str
    unit: str
    factors: NDArray[np.float64]
    audit: SuvAudit

    @property
    def factor(self) -> float:
        """The one factor of the series.

        Raises
        ------
        DataError
            The factors of the images differ by more than 1 part in 10^6: use ``factors``.
        """
        first = float(self.factors[0])
        if float(np.ptp(self.factors)) > 1e-6 * abs(first):
            raise DataError(
                "The images of this series have different SUV factors",
                found=f"{self.factors.min():.9g} to {self.factors.max():.9g}",
                expected="one factor",
                mend="apply `factors` image by image",
            )
        return first
