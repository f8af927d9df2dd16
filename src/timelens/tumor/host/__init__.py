"""The host: its organs in numbers, and its body as smooth shapes in which tumours are placed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PLACES = {
    "phantom": ("Part", "Phantom", "body_phantom"),
    "reference": ("Host", "Organ", "reference_host"),
}
_HOME = {name: module for module, names in _PLACES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
