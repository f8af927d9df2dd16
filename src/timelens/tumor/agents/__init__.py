"""Agents in the body and in tissue: whole-body physiology by class, and binding to targets voxel by voxel."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PLACES = {
    "curves": ("HostCurves", "LumpedTumour", "default_times", "simulate_host"),
    "parameters": ("AgentParameters", "Parameter", "agent_parameters", "sieving"),
    "rates": ("Affinity", "TissueRates", "TissueTruth", "tissue_rates", "tissue_truth"),
    "microenvironment": ("rates_in",),
    "scene": ("AgentScene", "PlacedTumour", "agent_scene"),
    "tissue": ("TissueCurves", "tissue_curves"),
}
_HOME = {name: module for module, names in _PLACES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
