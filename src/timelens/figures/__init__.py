"""Pictures of images, curves and courses over time, made without a screen and safe in threads.

Names are loaded on first use: matplotlib is imported only when a picture is drawn.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_WHERE = {
    "CurvePanel": "curves",
    "FitCurve": "kinetics",
    "GraphicalPlot": "kinetics",
    "TrendPoint": "trend",
    "curves_figure": "curves",
    "fits_figure": "kinetics",
    "graphical_figure": "kinetics",
    "histogram_figure": "histogram",
    "input_figure": "kinetics",
    "mip_figure": "volume",
    "parameter_map_figure": "parameter_map",
    "png_bytes": "canvas",
    "region_colour": "palette",
    "slices_figure": "volume",
    "trend_figure": "trend",
    "unit_text": "text",
    "waterfall_figure": "trend",
    "write_png": "canvas",
}
__all__ = sorted(_WHERE)

if TYPE_CHECKING:
    from timelens.figures.canvas import png_bytes as png_bytes
    from timelens.figures.canvas import write_png as write_png
    from timelens.figures.curves import CurvePanel as CurvePanel
    from timelens.figures.curves import curves_figure as curves_figure
    from timelens.figures.histogram import histogram_figure as histogram_figure
    from timelens.figures.kinetics import FitCurve as FitCurve
    from timelens.figures.kinetics import GraphicalPlot as GraphicalPlot
    from timelens.figures.kinetics import fits_figure as fits_figure
    from timelens.figures.kinetics import graphical_figure as graphical_figure
    from timelens.figures.kinetics import input_figure as input_figure
    from timelens.figures.palette import region_colour as region_colour
    from timelens.figures.parameter_map import parameter_map_figure as parameter_map_figure
    from timelens.figures.text import unit_text as unit_text
    from timelens.figures.trend import TrendPoint as TrendPoint
    from timelens.figures.trend import trend_figure as trend_figure
    from timelens.figures.trend import waterfall_figure as waterfall_figure
    from timelens.figures.volume import mip_figure as mip_figure
    from timelens.figures.volume import slices_figure as slices_figure


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"timelens.figures.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
