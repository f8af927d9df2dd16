"""Compartments joined by first-order flows: whole-body models solved exactly, with nothing lost on the way.

Amounts may have any unit; times are in seconds, rates in 1/s.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PLACES = {"linear": ("Compartments",), "saturable": ("saturable_binding",)}
_HOME = {name: module for module, names in _PLACES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
