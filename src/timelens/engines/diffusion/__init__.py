"""Diffusion with loss and sources in tissue at rest in time, and its closed forms.

Names are loaded on first use: the solver compiles its loops.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_WHERE = {
    "Steady": "steady",
    "krogh_exchange": "krogh",
    "krogh_mean": "krogh",
    "krogh_profile": "krogh",
    "slab_profile": "krogh",
    "sphere_profile": "krogh",
    "steady_state": "steady",
}
__all__ = sorted(_WHERE)

if TYPE_CHECKING:
    from timelens.engines.diffusion.krogh import krogh_exchange as krogh_exchange
    from timelens.engines.diffusion.krogh import krogh_mean as krogh_mean
    from timelens.engines.diffusion.krogh import krogh_profile as krogh_profile
    from timelens.engines.diffusion.krogh import slab_profile as slab_profile
    from timelens.engines.diffusion.krogh import sphere_profile as sphere_profile
    from timelens.engines.diffusion.steady import Steady as Steady
    from timelens.engines.diffusion.steady import steady_state as steady_state


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"timelens.engines.diffusion.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
