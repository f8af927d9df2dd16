"""Kinetics: how an agent moves from blood to tissue, from time curves to rate constants with their errors.

Plain arrays in, plain arrays out. Time curves are (frames, voxels...), frames first. Times are seconds from injection,
rate constants per second; a concentration may have any unit as long as tissue and input share it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PLACES = {
    "antibody": ("AntibodyPatlak", "subtract_baseline"),
    "blood": ("DelayFit", "correct_dispersion", "disperse", "fit_delay"),
    "convolve": ("convolve_exponential", "convolve_with_slope", "frame_values"),
    "delay": ("WithDelay",),
    "exchange": ("ExtendedTofts", "ReferenceRegion", "Tofts", "TwoCompartmentExchange", "TwoCompartmentUptake"),
    "exchange_linear": (
        "LinearExchange",
        "LinearExtendedTofts",
        "LinearReferenceRegion",
        "LinearTofts",
        "PatlakUptake",
    ),
    "fit": ("Fit",),
    "frames": ("Frames",),
    "full_reference": ("FRTM",),
    "graphical": ("MA1", "MA2", "Logan", "MultilinearLogan", "Patlak"),
    "input_models": (
        "ParentFraction",
        "exponentials",
        "feng",
        "fit_exponentials",
        "fit_parent_fraction",
        "sampled",
        "scale_population",
    ),
    "inputs": ("InputFunction", "merge_samples", "reference_input"),
    "reasons": ("Reason", "explain"),
    "reference": ("SRTM", "SRTM2"),
    "reference_linear": ("MRTM1", "MRTM2", "ReferenceLogan", "ReferencePatlak"),
    "resampling": ("Bootstrap", "bootstrap"),
    "selection": ("Comparison", "compare", "find_t_star", "frame_weights"),
    "smoothing": ("denoise",),
    "source": ("SlabSource",),
    "spectral": ("SpectralAnalysis", "Spectrum"),
    "tissue": ("InternalisingTwoTissue", "IrreversibleTwoTissue", "OneTissue", "TwoTissue"),
}
_HOME = {name: module for module, names in _PLACES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
