"""What a magnetic resonance series was measured with, in seconds, degrees and tesla, whatever its files write."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from timelens.errors import MissingFieldError
from timelens.study.acquisition import Acquisition

__all__ = ["MrKind", "MrSettings", "mr_settings"]

#: What a series is for; ``t1_map`` and ``b1_map`` are maps, the others are signals.
MrKind = Literal[
    "flip", "inversion", "saturation", "look locker", "gradient echoes", "spin echoes", "diffusion", "dce", "dsc",
    "t1_map", "b1_map",
]  # fmt: skip


@dataclass(frozen=True)
class MrSettings:
    """What is the same for all images of a series; what differs stands on the axis of its image.

    Attributes
    ----------
    kind
        What the file says that the series is for; None where it does not say it safely.
    tr_s
        From one excitation to the next; never the time between volumes.
    te_s, ti_s, flip_deg, field_t
        Echo time, inversion time, flip angle, field of the scanner.
    gradient_echo, spoiled, echo_planar
        As the sequence is described.
    part
        ``magnitude``, ``phase``, ``real`` or ``imaginary``.
    agent
        Contrast agent as the file says.
    """

    kind: MrKind | None = None
    tr_s: float | None = None
    te_s: float | None = None
    ti_s: float | None = None
    flip_deg: float | None = None
    field_t: float | None = None
    gradient_echo: bool | None = None
    spoiled: bool | None = None
    echo_planar: bool | None = None
    part: str = "magnitude"
    agent: str | None = None

    def require(self, name: str, of: Acquisition, *, purpose: str, mend: str) -> Any:
        """The value of a field that ``purpose`` cannot do without.

        Raises
        ------
        MissingFieldError
            If it is None.
        """
        value = getattr(self, name)
        if value is None:
            raise MissingFieldError(
                f"{purpose} needs {name}, which the files do not say",
                file=of.where,
                field=name,
                found="nothing",
                expected=_EXPECTED.get(name, name),
                mend=mend,
            )
        return value

    def known(self) -> dict[str, Any]:
        """What is known, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}


_EXPECTED = {
    "tr_s": "the repetition time from one excitation to the next (RepetitionTimeExcitation)",
    "te_s": "the echo time (EchoTime)",
    "flip_deg": "the flip angle in degrees (FlipAngle)",
    "field_t": "the field in tesla (MagneticFieldStrength)",
    "agent": "the contrast agent (ContrastBolusIngredient or ContrastBolusAgent)",
    "gradient_echo": "gradient or spin echo (ScanningSequence)",
}


def mr_settings(acquisition: Acquisition) -> MrSettings:
    """What the reader found; nothing known where the format says nothing."""
    found = acquisition.extra.get("mr")
    return found if isinstance(found, MrSettings) else MrSettings()
