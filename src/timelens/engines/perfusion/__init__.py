"""Perfusion by contrast agent: arterial inputs, shape of enhancement, and first-pass blood volume and flow.

Models of exchange (Tofts and its kin) are in :mod:`timelens.engines.kinetics`. Data are (frames, voxels...), frames
first; times are seconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PLACES = {
    "arterial": ("georgiou", "mcgrath_mouse", "parker", "plasma_from_blood", "population_input"),
    "arterial_choice": ("ArterialChoice", "choose_arterial", "describe_arterial"),
    "deconvolution": ("Deconvolution", "Perfusion"),
    "enhancement": ("Enhancement", "bolus_arrival", "describe_enhancement"),
    "first_pass": ("blood_volume", "delta_r2_star", "normalise_to"),
    "leakage": ("Leakage", "correct_leakage", "correct_leakage_both_ways", "correct_leakage_by_transit"),
    "vascular": ("VascularModel",),
}
_HOME = {name: module for module, names in _PLACES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
