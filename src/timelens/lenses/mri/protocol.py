"""How MR series are measured: what a simulated scanner needs, as plain data that a file can hold."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from timelens.errors import UsageError
from timelens.study.contract import Protocol

__all__ = ["SERIES", "MrProtocol", "mr_protocol"]

#: What can be simulated.
SERIES = ("flip", "inversion", "saturation", "look locker", "gradient echoes", "spin echoes", "diffusion", "dce", "dsc")


@dataclass(frozen=True)
class MrProtocol:
    """Settings of the series, with usual values at 3 T.

    Attributes
    ----------
    series
        Which of :data:`SERIES` are measured.
    snr
        Mean signal of tissue in the brightest image of a series over the noise of one channel: before contrast it is
        lower in a contrast-enhanced series.
    field_t, agent, population, haematocrit
        Field in T, contrast agent, arterial input (as :func:`~timelens.engines.perfusion.population_input` knows it),
        haematocrit of large vessels.
    flips_deg, flip_tr_s
        Flip angles in degrees and repetition time of the T1 measurement.
    inversions_s, echoes_s, b_values
        Times after inversion or saturation and echo times in s, b values in s/mm2.
    look_locker_flip_deg, look_locker_interval_s, look_locker_pulses
        The train of pulses after one inversion; the first comes after one interval.
    dce_flip_deg, dce_tr_s, dce_interval_s, dce_frames
        The dynamic spoiled gradient echo.
    dsc_te_s, dsc_interval_s, dsc_frames, dsc_flip_deg
        The first pass; an image takes the whole interval.
    dsc_leakage
        Whether agent leaves the vessels in the first pass and shortens T1 and T2* outside.
    arrival_s
        When the bolus arrives in the artery.
    """

    series: tuple[str, ...] = ("flip", "dce")
    snr: float = 50.0
    field_t: float = 3.0
    agent: str = "gadobutrol"
    population: str = "parker"
    haematocrit: float = 0.42
    flips_deg: tuple[float, ...] = (2.0, 5.0, 10.0, 15.0)
    flip_tr_s: float = 0.005
    inversions_s: tuple[float, ...] = (0.05, 0.15, 0.4, 0.8, 1.6, 3.0, 5.0)
    echoes_s: tuple[float, ...] = (0.005, 0.012, 0.02, 0.03, 0.045, 0.06, 0.08, 0.11)
    look_locker_flip_deg: float = 7.0
    look_locker_interval_s: float = 0.1
    look_locker_pulses: int = 30
    b_values: tuple[float, ...] = (0.0, 20.0, 50.0, 100.0, 150.0, 200.0, 400.0, 600.0, 800.0)
    dce_flip_deg: float = 15.0
    dce_tr_s: float = 0.004
    dce_interval_s: float = 3.0
    dce_frames: int = 100
    dsc_te_s: float = 0.03
    dsc_interval_s: float = 1.25
    dsc_frames: int = 80
    dsc_flip_deg: float = 30.0
    dsc_leakage: bool = False
    arrival_s: float = 25.0

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(f.default, tuple) and f.name != "series":
                good = isinstance(value, tuple) and len(value) >= 2 and all(_number(v) and v >= 0 for v in value)
            elif isinstance(f.default, bool):
                good = isinstance(value, bool)
            elif isinstance(f.default, int | float):
                good = _number(value) and value > 0
            else:
                continue
            if not good:
                raise UsageError(
                    "This setting of the MR protocol cannot be used", field=f.name, found=value,
                    expected=_expected(f.default),
                )  # fmt: skip
        if not self.series or set(self.series) - set(SERIES):
            raise UsageError(
                "The MR protocol has no such series", field="series", found=", ".join(self.series),
                expected=", ".join(SERIES),
            )  # fmt: skip
        if self.haematocrit >= 0.8:
            raise UsageError("A haematocrit is a fraction", field="haematocrit", found=self.haematocrit)


def mr_protocol(protocol: Protocol) -> MrProtocol:
    """The settings of a protocol, lists as tuples.

    Raises
    ------
    UsageError
        If it is one for another lens, or a parameter is unknown or cannot be used.
    """
    if protocol.lens not in ("mri", "mri-dce", "mri-dsc", "mri-relaxometry"):
        raise UsageError("The protocol is for another lens", field="lens", found=protocol.lens, expected="mri")
    known = {f.name for f in fields(MrProtocol)}
    if unknown := set(protocol.parameters) - known:
        raise UsageError(
            "The MR protocol has no such setting", field=", ".join(sorted(unknown)), expected=", ".join(sorted(known))
        )
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in protocol.parameters.items()}
    return MrProtocol(**given)


def _expected(default: object) -> str:
    if isinstance(default, tuple):
        return "two or more numbers"
    return "true or false" if isinstance(default, bool) else "a positive number"


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
