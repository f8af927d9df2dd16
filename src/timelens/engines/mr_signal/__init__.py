"""The signal of magnetic resonance: steady states, recovery, decay, diffusion, and what a contrast agent does to them.

Simulation goes from tissue to signal, quantification back, by the same equations. Times are seconds, rates per second,
flip angles degrees, concentrations mmol/L, b values s/mm2. Arrays broadcast.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PLACES = {
    "checks": ("check_flip", "check_positive", "check_times"),
    "concentration": ("Concentration", "SignalReason", "explain_signal", "gradient_echo_concentration"),
    "decay": ("diffusion_decay", "echo_decay", "ivim_decay", "rician_mean"),
    "gradient_echo": ("ernst_angle", "spoiled_gradient_echo", "with_contrast"),
    "noise": ("concentration_bias", "temporal_variance", "without_floor"),
    "recovery": ("inversion_recovery", "look_locker", "saturation_recovery"),
}
_HOME = {name: module for module, names in _PLACES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
