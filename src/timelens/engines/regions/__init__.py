"""Regions of a volume: finding, labelling, measuring, segmenting, matching and correcting them.

Plain arrays in, plain arrays out. Volumes are indexed (z, y, x), ``spacing`` is (z, y, x) in mm, label 0 is background.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PLACES = {
    "labels": ("Regions", "components", "find_regions", "label_components", "relabel", "separate_bodies"),
    "match": ("Matching", "match_by_name", "match_labels"),
    "measure": ("measure_labels", "measure_regions", "measure_shape"),
    "noise": ("correlation_length", "mean_standard_error"),
    "partial_volume": ("correct_mean", "mask_recovery", "sphere_recovery", "sphere_recovery_centre"),
    "peak": ("peaks", "resampled_peaks", "sphere_weights"),
    "rasterize": ("rasterize_polygons", "rasterize_slice"),
    "reasons": ("Reason", "explain"),
    "segment": (
        "Segmentation",
        "drop_components",
        "fixed_threshold",
        "keep_components",
        "percist",
        "percist_threshold",
        "suv4",
    ),
    "segment_local": ("fraction_of_maximum", "gradient_watershed"),
    "shape": ("max_diameter", "mesh", "sphericity", "spread", "standardised_spread"),
    "statistics": ("describe", "gather_values"),
}
_HOME = {name: module for module, names in _PLACES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
