"""A small tumour that several tests share: built once a session, never changed (its arrays are read-only)."""

from __future__ import annotations

from functools import lru_cache

from timelens.study.geometry import Geometry
from timelens.tumor.architecture import ARCHITECTURES
from timelens.tumor.microenvironment import Microenvironment, build

GRID = Geometry.from_spacing((40, 42, 44), (0.3, 0.3, 0.3), frame="tumour")


@lru_cache(maxsize=8)
def tumour(name: str = "inflamed", seed: int = 5) -> Microenvironment:
    """One of the three architectures on a grid of 0.3 mm."""
    return build(ARCHITECTURES[name], GRID, seed)
