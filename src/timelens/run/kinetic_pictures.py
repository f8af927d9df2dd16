"""Pictures of kinetics from a lens's tables and maps: curves with fits and residuals, input, maps with errors.

The tables are tidy. ``tacs``: region, frame_start_s, frame_duration_s, mean, sd, unit. ``fits``: region, model,
frame_start_s, frame_duration_s, measured, fitted. ``graphs``: region, model, t_star_s, x, y, fitted, used, with x in s.
``input``: curve, time_s, value, unit, and kind (``sample`` for what was drawn from a vessel). A table or column that is
not there is not drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from timelens.errors import DataError
from timelens.figures.text import unit_text
from timelens.knowledge import quantities
from timelens.study.image import Image
from timelens.study.region import Region
from timelens.study.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from timelens.run.pictures import Album

__all__ = ["draw_curves", "draw_parameter_map"]

Course = tuple[NDArray[np.float64], NDArray[np.float64]]

_FIT = ("region", "model", "frame_start_s", "frame_duration_s", "measured", "fitted")
_TAC = ("region", "frame_start_s", "frame_duration_s", "mean", "unit")
_INPUT = ("curve", "time_s", "value", "unit")
_LINE = ("region", "model", "t_star_s", "x", "y", "fitted", "used")
#: What the axes of a plot are, by a part of the model's name: x, y, and whether y is a time as x is.
_AXES = (
    ("reference_logan", r"$\int C_\mathrm{R}$ dt / $C$ [min]", r"$\int C$ dt / $C$ [min]", True),
    ("logan", r"$\int C_\mathrm{P}$ dt / $C$ [min]", r"$\int C$ dt / $C$ [min]", True),
    ("reference_patlak", r"$\int C_\mathrm{R}$ dt / $C_\mathrm{R}$ [min]", r"$C$ / $C_\mathrm{R}$", False),
    ("patlak", r"$\int C_\mathrm{P}$ dt / $C_\mathrm{P}$ [min]", r"$C$ / $C_\mathrm{P}$", False),
)
_PARENT = "parent_fraction"


def draw_curves(album: Album, tables: Mapping[str, Table]) -> None:
    """Keep the pictures of curves that the tables hold.

    Raises
    ------
    DataError
        If a table lacks a column that its picture needs.
    """
    tacs, fits = _rows(tables, "tacs", _TAC), _rows(tables, "fits", _FIT)
    if fits is not None:
        _draw_fits(album, fits, tacs)
    if tacs is not None:
        fitted = set(fits["region"].astype(str)) if fits is not None else set()
        _draw_tacs(album, tacs, fitted)
    if (lines := _rows(tables, "graphs", _LINE)) is not None:
        _draw_lines(album, lines)
    if (samples := _rows(tables, "input", _INPUT)) is not None:
        _draw_input(album, samples)


def draw_parameter_map(album: Album, name: str, image: Image, error: Image | None, region: Region | None) -> None:
    """Keep the picture of a parameter's map, with its error below and regions outlined.

    Parameters
    ----------
    album
        Where it goes.
    name
        Of the map.
    image, error
        The map and its standard error on the same grid; of a series the last volume.
    region
        Labels on the same grid, or None.
    """
    from timelens.figures.anatomy import Display
    from timelens.figures.parameter_map import parameter_map_figure

    if image.geometry is None:
        return
    display = Display.of(image.geometry)
    known = quantities.find(image.quantity) if image.quantity else None
    symbol = known.symbol if known is not None else name
    labels = region.labels.numpy() if region is not None and region.labels is not None else None
    names = quantities.categories(known) if known is not None else {}
    values = _volume(image)
    figure = parameter_map_figure(
        display.turn(np.where(values == 0, np.nan, values) if names else values),
        display.geometry.spacing,
        image.unit,
        symbol,
        None if error is None else display.turn(_volume(error)),
        labels=None if labels is None or not labels.any() else display.turn(labels),
        letters=[display.letters(axis) for axis in range(3)],
        names=names,
    )
    unit = unit_text(image.unit)
    written = symbol.replace("_", "")
    what = f"{known.definition} ({written}{f', {unit}' if unit else ''})" if known is not None else written
    caption = f"{what}, per voxel; voxels without a value are grey."
    if error is not None:
        caption += " Below it the standard error of each voxel, in the same unit."
    album.keep(figure, name, "parameter", f"Map of {written}", caption)


# -- curves ---------------------------------------------------------------------------------------------------------


def _draw_fits(album: Album, fits: pd.DataFrame, tacs: pd.DataFrame | None) -> None:
    from timelens.figures.kinetics import FitCurve, fits_figure

    curves = []
    for (region, model), rows in fits.groupby(["region", "model"], sort=False):
        unit, spread = "1", None
        if tacs is not None:
            own = tacs[tacs["region"] == region].drop_duplicates("frame_start_s").set_index("frame_start_s")
            unit = str(own["unit"].iloc[0]) if len(own) else unit
            if "sd" in own and len(own):
                spread = own["sd"].reindex(rows["frame_start_s"]).to_numpy(float)
        curves.append(
            FitCurve(
                str(region), model_title(str(model)),
                rows["frame_start_s"].to_numpy(float), rows["frame_duration_s"].to_numpy(float),
                rows["measured"].to_numpy(float), rows["fitted"].to_numpy(float), unit, spread,
            )
        )  # fmt: skip
    bars = ", with the spread of the voxels of the region as bars" if any(c.sd is not None for c in curves) else ""
    album.keep(
        fits_figure(curves), "", "fits", "Curves and fits",
        f"Points are the mean of each region in each frame{bars}; the line is what the model makes of it. "
        "Below, what is left over (measured minus fitted): a good fit leaves no pattern.",
    )  # fmt: skip


def _draw_tacs(album: Album, tacs: pd.DataFrame, fitted: set[str]) -> None:
    """Curves of the regions that no model was fitted to."""
    from timelens.figures.curves import CurvePanel, curves_figure
    from timelens.figures.text import measured_word, readable_unit

    others = [str(r) for r in dict.fromkeys(tacs["region"]) if str(r) not in fitted]
    if not others:
        return
    unit = str(tacs["unit"].iloc[0])
    code, factor = readable_unit(unit, float(np.nanmax(tacs["mean"].to_numpy(float), initial=0.0)))
    curves = {}
    for region in others[:10]:
        rows = tacs[tacs["region"] == region].sort_values("frame_start_s")
        middle = rows["frame_start_s"].to_numpy(float) + rows["frame_duration_s"].to_numpy(float) / 2
        curves[region] = (middle, factor * rows["mean"].to_numpy(float))
    symbol = measured_word(unit)
    title = "Curves of regions" if symbol == "Concentration" else "Time-activity curves"
    left = f" Not shown: {', '.join(others[10:])}." if len(others) > 10 else ""
    album.keep(
        curves_figure([CurvePanel("", symbol, code, curves)]), "", "tacs", title,
        f"Mean of each region in each frame, of the regions that no model was fitted to.{left}",
    )  # fmt: skip


def _draw_lines(album: Album, lines: pd.DataFrame) -> None:
    from timelens.figures.kinetics import GraphicalPlot, graphical_figure

    plots = []
    for (region, model), rows in lines.groupby(["region", "model"], sort=False):
        x, y, fitted = (rows[c].to_numpy(float) for c in ("x", "y", "fitted"))
        used = rows["used"].to_numpy(bool)
        across, up, both = next(((a, b, t) for key, a, b, t in _AXES if key in str(model)), ("x", "y", False))
        x, y, fitted = x / 60, y / (60 if both else 1), fitted / (60 if both else 1)
        on = used & np.isfinite(x) & np.isfinite(fitted)
        slope, rest = np.polyfit(x[on], fitted[on], 1) if len(np.unique(x[on])) > 1 else (np.nan, np.nan)
        plots.append(
            GraphicalPlot(
                str(region), model_title(str(model)), x, y, used, float(slope), float(rest),
                float(rows["t_star_s"].iloc[0]), across, up,
            )
        )  # fmt: skip
    album.keep(
        graphical_figure(plots), "", "graphical", "Graphical analysis",
        "From t* on (dotted) the points should lie on a line; filled points were used, and the slope is the result.",
    )  # fmt: skip


def _draw_input(album: Album, samples: pd.DataFrame) -> None:
    from timelens.figures.kinetics import input_figure

    kind = samples["kind"].astype(str) if "kind" in samples else samples["curve"].map(lambda _: "curve")
    curves: dict[str, Course] = {}
    marks: dict[str, Course] = {}
    parent: Course | None = None
    for key, rows in samples.groupby([samples["curve"].astype(str), kind], sort=False):
        name, sort = (str(k) for k in key)
        course = rows["time_s"].to_numpy(float), rows["value"].to_numpy(float)
        if name == _PARENT:
            parent = course if parent is None or sort != "sample" else parent
        else:
            (marks if sort == "sample" else curves)[name.replace("_", " ")] = course
    curves = {**{name: course for name, course in marks.items() if name not in curves}, **curves}
    units = samples.loc[samples["curve"].astype(str) != _PARENT, "unit"]
    if curves:
        album.keep(
            input_figure(curves, unit=str(units.iloc[0]), samples=marks, parent_fraction=parent), "", "input",
            "Input function",
            "What reaches the tissue over time" + ("; circles are samples as they were measured." if marks else "."),
        )  # fmt: skip


def model_title(name: str) -> str:
    """A model in words where the lens of dynamic PET knows it, else its name."""
    from timelens.lenses.pet.dynamic.models import MODELS

    return MODELS[name].title.split(":")[0] if name in MODELS else name.replace("_", " ")


def _rows(tables: Mapping[str, Table], name: str, needed: tuple[str, ...]) -> pd.DataFrame | None:
    table = tables.get(name)
    if table is None or not len(table):
        return None
    if missing := [column for column in needed if column not in table.data.columns]:
        raise DataError(
            f"The table {name!r} lacks columns that its picture needs", field=", ".join(missing),
            found=", ".join(map(str, table.data.columns)), expected=", ".join(needed),
        )  # fmt: skip
    return table.data


def _volume(image: Image) -> Any:
    return (image if len(image.shape) == 3 else image.frame(image.shape[0] - 1)).numpy()
