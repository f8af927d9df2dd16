"""Relaxation times and diffusion from series of images: T1, T2, T2*, ADC and IVIM, with errors and reasons per voxel.

Data are (images, voxels...), images first. Models give the :class:`~timelens.engines.kinetics.Fit` of all engines, and
what has exponentials of unknown rate is fitted by the same separable search as compartment models.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PLACES = {
    "diffusion": ("ADC", "IVIM", "SegmentedIVIM"),
    "echoes": ("EchoDecay", "TwoPoolDecay"),
    "exponential": ("ExponentialFit",),
    "flip_angles": ("VariableFlipAngle",),
    "recovery": ("InversionRecovery", "LookLocker", "SaturationRecovery"),
}
_HOME = {name: module for module, names in _PLACES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
