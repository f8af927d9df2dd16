"""Projections and cuts of a volume with the outlines of its regions.

Volumes are turned as :mod:`timelens.figures.anatomy` says; millimetres keep their proportions; a label array has the
grid of its image. An anatomical image is laid under the emission image only in one frame of reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from timelens import units
from timelens.errors import DataError, UnitError, UsageError
from timelens.figures.anatomy import PLANES, Display
from timelens.figures.canvas import new_figure
from timelens.figures.outline import voxels_by_region
from timelens.figures.palette import INK, REFERENCE, region_colour
from timelens.figures.panel import Box, Panel, colour_bar, legend, plain_name
from timelens.figures.text import nice_ceiling, nice_length, unit_text, with_unit
from timelens.knowledge import quantities
from timelens.study.geometry import Registration
from timelens.study.image import Image

__all__ = ["CT_WINDOW", "mip_figure", "slices_figure", "upper_limit"]

#: Soft-tissue window under an overlay, in HU.
CT_WINDOW = (-160.0, 240.0)
_GREY = "gray_r"
_HEAT = "hot"
_CT_UNIT = "[hnsf'U]"
# More pixels than this per panel are not seen.
_MOST_PIXELS = 1200
_MOST_NAMES = 14
# The range of SUV windows in use; outside it, lesions vanish or noise fills the picture.
_SUV_WINDOW = (5.0, 10.0)
_LESION_WINDOW = (5.0, 20.0)
_BRIGHT = 99.5


def mip_figure(
    image: Image,
    labels: NDArray[Any] | None = None,
    names: Mapping[int, str] | None = None,
    *,
    upper: float | None = None,
    roles: Mapping[int, str] | None = None,
) -> Figure:
    """Coronal and sagittal maximum-intensity projections in inverted grey.

    Parameters
    ----------
    image
        A volume (z, y, x).
    labels
        Integers of the same shape, 0 is background; every region is outlined where it projects to.
    names
        Number to name; a legend shows them where there are no more than 14.
    upper
        Value shown black; by default a round number near the brightest 0.5 % of the projection (for SUV 5 to 10).
    roles
        Number to role; regions of another role than ``lesion`` get a dashed grey outline.

    Returns
    -------
    matplotlib.figure.Figure
    """
    volume, display = _turned(image)
    spots = _spots(labels, image, display)
    views = {name: _fold(_project(volume, PLANES[name][2])) for name in ("Coronal", "Sagittal")}
    top = upper or upper_limit(views["Coronal"][0], image)
    spacing = display.geometry.spacing
    extent = [n * s for n, s in zip(display.geometry.shape, spacing, strict=True)]
    scale = min(5.6 / extent[0], 3.7 / max(extent[1], extent[2]))
    high, widths = extent[0] * scale, (extent[2] * scale, extent[1] * scale)
    entries = _entries(spots, names, roles)
    legend_width = 0.4 + 0.088 * max((len(plain_name(name)) for _, name, _ in entries), default=-5)
    figure = new_figure(0.15 + sum(widths) + 0.15 + 0.65 + legend_width, max(high, 0.19 * len(entries)) + 0.45)
    bottom = figure.get_size_inches()[1] - high - 0.3
    left = 0.15
    for name, width in zip(views, widths, strict=True):
        rows, columns, _ = PLANES[name]
        pixels, step = views[name]
        panel = Panel(
            figure, (left, bottom, width, high), (spacing[rows], spacing[columns]), _whole(display, rows, columns)
        )
        fine = (spacing[rows] * step, spacing[columns] * step)
        shift = (step - 1) / 2 / step  # the centre of a folded pixel, in folded pixels
        panel.show(pixels, limits=(0, top), colours=_GREY, spacing=fine, corner=(shift, shift), smooth=True)
        _outlines(panel, spots, rows, columns, roles)
        panel.letters(display.letters(rows), display.letters(columns))
        panel.scale_bar(nice_length(0.3 * min(extent[1:])))
        panel.title(name if display.geometry.space == "body" else f"Projection {name.lower()}")
        left += width + 0.15
    over = bool(np.nanmax(views["Coronal"][0]) > top) if np.isfinite(views["Coronal"][0]).any() else False
    box = (left, bottom, 0.14, high)
    colour_bar(figure, box, colours=_GREY, limits=(0, top), label=_label(image), over=over)
    legend(figure, left + 0.7, figure.get_size_inches()[1] - 0.3, entries)
    return figure


def slices_figure(
    image: Image,
    labels: NDArray[Any],
    names: Mapping[int, str] | None = None,
    *,
    ct: Image | None = None,
    registration: Registration | None = None,
    count: int = 3,
    upper: float | None = None,
    roles: Mapping[int, str] | None = None,
) -> Figure:
    """Axial, coronal and sagittal cuts through the hottest voxel of the largest lesions.

    Parameters
    ----------
    image, labels, names, roles
        As for :func:`mip_figure`.
    upper
        Value shown black; by default a round number above the brightest of the lesions shown (for SUV 5 to 20).
    ct
        Attenuation in HU, shown below the image in colour; in the frame of the image.
    registration
        Leads from the frame of the CT to that of the image, where they differ; its name is shown.
    count
        How many lesions, the largest first.

    Raises
    ------
    GeometryError
        If the CT is not known to lie in the frame of the image.
    UsageError
        If there is no lesion to show.
    """
    volume, display = _turned(image)
    if ct is not None:
        _check_ct(image, ct, registration)
    spots = _spots(labels, image, display)
    lesions = [n for n in spots if (roles or {}).get(n, "lesion") == "lesion"]
    if not lesions:
        raise UsageError(
            "There is no lesion to cut through", field="labels", found="no voxel with the role of a lesion"
        )
    chosen = sorted(lesions, key=lambda n: (-len(spots[n]), n))[:count]
    peaks = {n: float(volume[tuple(_hottest(volume, spots[n]))]) for n in chosen}
    brightest = float(np.nanmax([*peaks.values(), 0.0]))
    top = upper or _lesion_limit(brightest, image)
    side = _side(display, max(float(np.ptp(spots[n], axis=0).max()) for n in chosen))
    columns, size, bars, foot = (6, 1.36, 0.1, 0.95) if ct is not None else (3, 2.3, 0.85, 0.1)
    row_height = size + 0.54
    figure = new_figure(0.15 + columns * (size + 0.08) + bars, len(chosen) * row_height + foot)
    width, height = figure.get_size_inches()
    for row, number in enumerate(chosen):
        bottom = height - (row + 1) * row_height + 0.06
        centre = _hottest(volume, spots[number])
        name = plain_name((names or {}).get(number, ""), 60)
        text = f"{number}  {name}   maximum {peaks[number]:.3g} {unit_text(image.unit)}"
        figure.text(
            0.15 / width, (bottom + size + 0.24) / height, text, fontsize=9.5, fontweight="bold",
            color=region_colour(number), parse_math=False,
        )  # fmt: skip
        for column, plane in enumerate(PLANES):
            box = (0.15 + column * (size + 0.08), bottom, size, size)
            _cut(figure, box, volume, display, plane, centre, side, top, spots, roles, title=plane)
            if ct is not None:
                box = (0.15 + (column + 3) * (size + 0.08), bottom, size, size)
                _cut(
                    figure, box, volume, display, plane, centre, side, top, spots, roles,
                    title=f"{plane} on CT", ct=ct, registration=registration,
                )  # fmt: skip
    over, label = brightest > top, _label(image)
    if ct is None:
        tall = min(2 * size, height - foot - 0.6)
        box = (0.15 + columns * (size + 0.08) + 0.04, height - 0.48 - tall, 0.13, tall)
        colour_bar(figure, box, colours=_GREY, limits=(0, top), label=label, over=over)
        return figure
    for start, colours, text in ((0, _GREY, label), (3, _HEAT, f"{label}, over CT")):
        box = (0.15 + start * (size + 0.08), foot - 0.27, 3 * size - 0.2, 0.12)
        colour_bar(figure, box, colours=colours, limits=(0, top), label=text, over=over)
    note = f"CT window {CT_WINDOW[0]:g} to {CT_WINDOW[1]:g} HU".replace("-", "−")
    if registration is not None and not image_frames_agree(image, ct):
        note += f"; registration: {plain_name(registration.name, 80)}"
    figure.text(0.15 / width, 0.08 / height, note, fontsize=8, color=INK, parse_math=False)
    return figure


def image_frames_agree(one: Image, other: Image) -> bool:
    """Whether both images are known to lie in one frame of reference."""
    return one.geometry is not None and other.geometry is not None and one.geometry.same_frame(other.geometry)


def upper_limit(projection: NDArray[np.floating], image: Image) -> float:
    """A round value near the brightest 0.5 % of what is positive in a projection; for SUV between 5 and 10."""
    positive = projection[np.isfinite(projection) & (projection > 0)]
    bright = nice_ceiling(float(np.percentile(positive, _BRIGHT))) if len(positive) else 1.0
    known = quantities.find(image.quantity) if image.quantity else None
    if known is not None and known.kind == "standardised uptake value":
        return float(np.clip(bright, *_SUV_WINDOW))
    return bright


def _lesion_limit(brightest: float, image: Image) -> float:
    """A round value above the brightest lesion, so that its inside is seen; for SUV between 5 and 20."""
    known = quantities.find(image.quantity) if image.quantity else None
    if known is not None and known.kind == "standardised uptake value":
        return float(np.clip(nice_ceiling(brightest), *_LESION_WINDOW))
    return nice_ceiling(brightest)


def _turned(image: Image) -> tuple[NDArray[Any], Display]:
    if image.geometry is None or len(image.shape) != 3:
        raise DataError(
            "A picture needs one volume with axes z, y, x",
            file=image.name,
            field="axes",
            found=", ".join(a.name for a in image.axes),
            expected="z, y, x",
            mend="take one frame with Image.frame",
        )
    display = Display.of(image.geometry)
    return display.turn(image.numpy()), display


def _spots(labels: NDArray[Any] | None, image: Image, display: Display) -> dict[int, NDArray[np.intp]]:
    if labels is None:
        return {}
    if labels.shape != image.shape:
        raise DataError(
            "Labels and image differ in size", field="labels", found=labels.shape, expected=image.shape, file=image.name
        )
    return {n: display.turn_index(index) for n, index in voxels_by_region(labels).items()}


def _project(volume: NDArray[Any], axis: int) -> NDArray[np.float32]:
    flat = volume.max(axis=axis)
    if flat.dtype.kind == "f" and np.isnan(flat).any():  # the slower way only where it is needed
        flat = np.fmax.reduce(volume, axis=axis)
    return flat.astype(np.float32)


def _fold(pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """The largest of each block of pixels, so that no more are left than are seen; and the edge of a block."""
    step = -(-max(pixels.shape) // _MOST_PIXELS)
    if step == 1:
        return pixels, 1
    rows, columns = (-(-n // step) * step for n in pixels.shape)
    padded = np.full((rows, columns), np.nan, np.float32)
    padded[: pixels.shape[0], : pixels.shape[1]] = pixels
    blocks = padded.reshape(rows // step, step, columns // step, step)
    return np.fmax.reduce(np.fmax.reduce(blocks, axis=3), axis=1), step


def _whole(display: Display, rows: int, columns: int) -> tuple[float, float, float, float]:
    spacing, shape = display.geometry.spacing, display.geometry.shape
    return (
        -0.5 * spacing[columns],
        (shape[columns] - 0.5) * spacing[columns],
        -0.5 * spacing[rows],
        (shape[rows] - 0.5) * spacing[rows],
    )


def _outlines(
    panel: Panel,
    spots: Mapping[int, NDArray[np.intp]],
    rows: int,
    columns: int,
    roles: Mapping[int, str] | None,
    *,
    cut: tuple[int, int] | None = None,
) -> None:
    for number, index in spots.items():
        if cut is not None:
            index = index[index[:, cut[0]] == cut[1]]
        lesion = (roles or {}).get(number, "lesion") == "lesion"
        colour = region_colour(number) if lesion else REFERENCE
        text = str(number) if lesion and cut is None else ""
        panel.outline(index[:, rows], index[:, columns], colour=colour, text=text, dashed=not lesion)


def _entries(
    spots: Mapping[int, Any], names: Mapping[int, str] | None, roles: Mapping[int, str] | None
) -> list[tuple[str, str, str]]:
    if names is None or len(spots) > _MOST_NAMES:
        return []
    entries = []
    for number in spots:
        role = (roles or {}).get(number, "lesion")
        name = names.get(number, role)
        if role == "lesion":
            entries.append((str(number), name, region_colour(number)))
        else:
            entries.append(("- -", name if name == role else f"{name} ({role})", REFERENCE))
    return entries


def _label(image: Image) -> str:
    known = quantities.find(image.quantity) if image.quantity else None
    return with_unit(known.symbol if known else "Value", image.unit)


def _hottest(volume: NDArray[Any], index: NDArray[np.intp]) -> NDArray[np.intp]:
    values = volume[tuple(index.T)]
    return index[int(np.nanargmax(values))] if np.isfinite(values).any() else index[len(index) // 2]


def _side(display: Display, lesion_voxels: float) -> float:
    """Edge of the square cut-out in mm: room around the lesion, but not less than a third of the field of view."""
    spacing, shape = display.geometry.spacing, display.geometry.shape
    across = max(shape[1] * spacing[1], shape[2] * spacing[2])
    whole = max(across, shape[0] * spacing[0])
    return min(max(2.5 * lesion_voxels * max(spacing), across / 3), whole)


def _cut(
    figure: Figure,
    box: Box,
    volume: NDArray[Any],
    display: Display,
    plane: str,
    centre: NDArray[np.intp],
    side: float,
    top: float,
    spots: Mapping[int, NDArray[np.intp]],
    roles: Mapping[int, str] | None,
    *,
    title: str,
    ct: Image | None = None,
    registration: Registration | None = None,
) -> None:
    rows, columns, across = PLANES[plane]
    spacing = display.geometry.spacing
    window = (*_span(display, columns, int(centre[columns]), side), *_span(display, rows, int(centre[rows]), side))
    first = [max(0, int(np.floor(window[2 * k] / spacing[a])) - 1) for k, a in ((1, rows), (0, columns))]
    last = [int(np.ceil(window[2 * k + 1] / spacing[a])) + 2 for k, a in ((1, rows), (0, columns))]
    index: list[Any] = [slice(None)] * 3
    index[across] = int(centre[across])
    index[rows], index[columns] = slice(first[0], last[0]), slice(first[1], last[1])
    pixels = volume[tuple(index)].astype(np.float32)
    panel = Panel(figure, box, (spacing[rows], spacing[columns]), window, dark=ct is not None)
    corner = (first[0], first[1])
    if ct is None:
        panel.show(pixels, limits=(0, top), colours=_GREY, corner=corner, smooth=True)
    else:
        under, fine = _ct_plane(ct, display, plane, int(centre[across]), window, registration)
        panel.show(
            under,
            limits=CT_WINDOW,
            colours="gray",
            spacing=(fine, fine),
            corner=(window[2] / fine + 0.5, window[0] / fine + 0.5),
        )
        opacity = np.clip(np.nan_to_num(pixels) / (0.35 * top), 0, 1) * 0.6
        panel.show(pixels, limits=(0, top), colours=_HEAT, corner=corner, opacity=opacity, smooth=True)
    _outlines(panel, spots, rows, columns, roles, cut=(across, int(centre[across])))
    panel.letters(display.letters(rows), display.letters(columns))
    panel.scale_bar()
    panel.title(title)


def _span(display: Display, axis: int, centre: int, side: float) -> tuple[float, float]:
    """First and last millimetre along an axis: around the centre, moved into the volume where it is long enough."""
    step, count = display.geometry.spacing[axis], display.geometry.shape[axis]
    low, high = -0.5 * step, (count - 0.5) * step
    start = centre * step - side / 2
    if side >= high - low:
        start = (low + high - side) / 2
    else:
        start = min(max(start, low), high - side)
    return start, start + side


def _check_ct(image: Image, ct: Image, registration: Registration | None) -> None:
    assert image.geometry is not None
    if ct.geometry is None or len(ct.shape) != 3:
        raise DataError("The CT is not one volume with axes z, y, x", file=ct.name, field="axes", found=ct.shape)
    if units.parse(ct.unit).code != _CT_UNIT:
        raise UnitError(
            "A CT is shown in Hounsfield units", file=ct.name, field="unit", found=ct.unit, expected=_CT_UNIT
        )
    image.geometry.require_same_frame(ct.geometry, registration=registration)


def _ct_plane(
    ct: Image,
    display: Display,
    plane: str,
    position: int,
    window: tuple[float, float, float, float],
    registration: Registration | None,
) -> tuple[NDArray[np.float32], float]:
    """The CT on a fine square grid over the window of a cut, and the edge of its pixels in mm."""
    from scipy import ndimage

    assert ct.geometry is not None
    rows, columns, across = PLANES[plane]
    count = 320
    fine = (window[1] - window[0]) / count
    offsets = (np.arange(count) + 0.5) * fine
    index = np.empty((count, count, 3))
    index[..., rows] = ((window[2] + offsets) / display.geometry.spacing[rows])[:, None]
    index[..., columns] = ((window[0] + offsets) / display.geometry.spacing[columns])[None, :]
    index[..., across] = position
    mm = display.geometry.to_mm(index)
    if registration is not None and not display.geometry.same_frame(ct.geometry):
        back = np.linalg.inv(registration.matrix)
        mm = mm @ back[:3, :3].T + back[:3, 3]
    where = np.moveaxis(ct.geometry.to_index(mm), -1, 0)
    sampled = ndimage.map_coordinates(ct.numpy(), where, order=1, mode="constant", cval=-1024, output=np.float32)
    return sampled, fine
