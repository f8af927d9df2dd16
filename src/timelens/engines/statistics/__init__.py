"""Groups compared on plain arrays, the patient being the unit; intervals of parts; false discoveries."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PLACES = {
    "discoveries": ("benjamini_hochberg", "storey"),
    "mixed": ("RandomInterceptFit", "random_intercept"),
    "parts": ("binomial_interval",),
    "permutation": ("PermutationTest", "permutation_test"),
}
_HOME = {name: module for module, names in _PLACES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
