"""Pictures of simulated tumours beside what the scan showed, where the study holds the truth.

The truth of a session lies under ``truth/fields`` of the study, one NIfTI file with sidecar per tumour and field, on
the tumour's own grid in the patient's millimetres: ``sub-001_ses-01_tumour-NAME_field-FIELD.nii.gz``. FIELD is
``tumour_fraction``, ``tumour_cells``, ``vessels``, ``oxygen``, ``cd8``, ``target_<id>`` or ``suv_<agent>``, with a
number after the agent where it was scanned several times. The pictures need it, the numbers never see it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from timelens.errors import TimelensError
from timelens.formats import nifti
from timelens.formats.sidecar import beside
from timelens.knowledge import components, targets
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Result
from timelens.study.geometry import Geometry
from timelens.study.identity import identify
from timelens.study.image import Image
from timelens.study.region import Region

if TYPE_CHECKING:
    from timelens.run.pictures import Album

__all__ = ["draw_truth", "truth_files"]

_FOLDER = "truth/fields"
_NAME = re.compile(r"(?P<entity>.+?)_tumour-(?P<tumour>.+?)_field-(?P<field>.+)\.nii(\.gz)?")
#: Fields in reading order, with their titles and colours; the rest follows.
_KNOWN = {
    "tumour_cells": ("Tumour cells", "viridis"),
    "cd8": ("CD8 T cells", "viridis"),
    "vessels": ("Vessels", "Reds"),
    "oxygen": ("Oxygen", "cividis"),
}
_SUV, _TARGET, _CELLS, _FRACTION = "suv_", "target_", "tumour_cells", "tumour_fraction"
#: Room around a tumour's grid in the picture: a part of its extent, and not less than so many mm.
_ROOM, _LEAST_MM = 0.15, 4.0
#: Where no fraction is given, tumour is where tumour cells exceed this part of the densest, and holes (necrosis).
_EDGE = 0.1
_PIXELS = 220
_MOST_FIELDS = 8


def truth_files(root: Path, subject: str, session: str) -> dict[str, dict[str, Path]]:
    """The files of a session's truth: tumour to field to file, in order of name; empty where the study has none."""
    found: dict[str, dict[str, Path]] = {}
    folder = root / _FOLDER
    for path in sorted(folder.glob(f"{subject}_{session}_*.nii*")) if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match is not None and match["entity"] == f"{subject}_{session}":
            found.setdefault(match["tumour"], {})[match["field"]] = path
    return found


def draw_truth(
    album: Album, result: Result, acquisition: Acquisition | None, files: Mapping[str, Mapping[str, Path]]
) -> None:
    """Keep a picture of each tumour: its fields, its true uptake, and what the scan showed in the same plane.

    Parameters
    ----------
    album
        Where they go.
    result
        Of the lens; its map ``suv`` is what the scan showed.
    acquisition
        The scan that was measured.
    files
        As :func:`truth_files` gives them. What cannot be read stands in the caption as left out.
    """
    seen = result.maps.get("suv")
    if acquisition is None or seen is None or seen.geometry is None:
        return
    if len(seen.shape) != 3:
        seen = seen.frame(seen.shape[0] - 1)
    agent = identify(acquisition).record
    for tumour, by_field in files.items():
        volumes, unread = _read(by_field)
        if _CELLS in volumes:
            uptake = _uptake(by_field, volumes, acquisition, agent)
            name = str(_said(by_field[_CELLS]).get("Tumour") or tumour)
            _draw(album, name, volumes, uptake, seen, _lesions(result.regions, seen), acquisition, agent, unread)


def _draw(
    album: Album,
    tumour: str,
    volumes: Mapping[str, Image],
    uptake: Image | None,
    seen: Image,
    lesions: NDArray[Any] | None,
    acquisition: Acquisition,
    agent: Any,
    unread: list[str],
) -> None:
    from timelens.figures.anatomy import PLANES, Display
    from timelens.figures.truth import TruthField, truth_figure

    cells = volumes[_CELLS]
    assert cells.geometry is not None
    inside = _tumour(volumes)
    if not inside.any():
        return
    display = Display.of(cells.geometry)
    points, spacing = _plane(display, display.turn(inside))
    seen_geometry = seen.geometry
    assert seen_geometry is not None
    if not _reaches(seen_geometry, points):
        return
    wanted = [f for f in _KNOWN if f in volumes]
    aims = {_plain(t) for t in (agent.targets if agent is not None else ())}
    wanted += [f for f in volumes if f.startswith(_TARGET) and _plain(f[len(_TARGET) :]) in aims]
    wanted += [f for f in volumes if f not in (*wanted, _FRACTION) and not f.startswith((_SUV, _TARGET))]
    fields = [
        TruthField(_title(f), _sampled(volumes[f], points), volumes[f].unit, _KNOWN.get(f, ("", "viridis"))[1])
        for f in wanted[:_MOST_FIELDS]
    ]
    true = None if uptake is None else _sampled(uptake, points)
    if true is not None and _FRACTION in volumes:  # a tumour's field knows nothing of the tissue around it
        true = np.where(_sampled(volumes[_FRACTION], points) >= 0.5, true, np.float32(np.nan))
    outline = _labels(inside, cells.geometry, points) > 0
    measured = _labels(lesions, seen_geometry, points) > 0 if lesions is not None else None
    shown = (agent.name if agent is not None else acquisition.agent) or "the agent"
    down, right, _ = PLANES["Axial"]
    figure = truth_figure(
        fields,
        spacing=(spacing, spacing),
        outline=outline,
        true_uptake=true,
        seen=_sampled(seen, points),
        measured=measured if measured is not None and measured.any() else None,
        unit=seen.unit,
        heading=f"{tumour}: the simulated tumour, and what {shown} shows of it",
        letters=(display.letters(down), display.letters(right)),
    )
    album.keep(figure, tumour, "truth", f"{tumour}: truth and image", _caption(shown, uptake is not None, unread))


def _caption(agent: str, known: bool, unread: list[str]) -> str:
    truth = f"the true uptake of {agent} at the time of the scan, and " if known else ""
    lost = f" Left out, as they cannot be read: {', '.join(unread)}." if unread else ""
    return (
        "One axial plane through the middle of the simulated tumour. Above: what is truly there. "
        f"Below: {truth}what the scanner made of it in the same plane"
        f"{' and on the same grey scale' if known else ''}. A scanner blurs what is smaller than its resolution "
        "and adds noise, so the image is coarser than the tumour, and what was measured differs from what is there."
        + lost
    )


def _title(field: str) -> str:
    if field in _KNOWN:
        return _KNOWN[field][0]
    if field.startswith(_TARGET):
        target = targets.find(field[len(_TARGET) :])
        return f"{target.name if target is not None else field[len(_TARGET) :]} (target)"
    component = components.find(field)
    return component.name if component is not None else field.replace("_", " ").capitalize()


def _read(files: Mapping[str, Path]) -> tuple[dict[str, Image], list[str]]:
    """Fields by name, and the files that hold none."""
    found, unread = {}, []
    for field, path in files.items():
        try:
            image = nifti.read(path).image
        except TimelensError:
            unread.append(path.name)
            continue
        if image.geometry is not None and len(image.shape) == 3:
            found[field] = image
        else:
            unread.append(path.name)
    return found, unread


def _tumour(volumes: Mapping[str, Image]) -> NDArray[np.bool_]:
    from scipy import ndimage

    if _FRACTION in volumes and volumes[_FRACTION].shape == volumes[_CELLS].shape:
        inside: NDArray[np.bool_] = volumes[_FRACTION].numpy() >= 0.5
        return inside
    cells = volumes[_CELLS].numpy()
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(np.nan_to_num(cells) > _EDGE * np.nanmax(cells, initial=0.0))
    return filled


def _uptake(
    files: Mapping[str, Path], volumes: Mapping[str, Image], acquisition: Acquisition, agent: Any
) -> Image | None:
    """The true uptake of the agent; of several scans the one nearest in time."""
    own = {_plain(name) for name in (agent.id if agent is not None else "", acquisition.agent or "") if name}
    found = [f for f in volumes if f.startswith(_SUV) and _plain(re.sub(r"-\d+$", "", f[len(_SUV) :])) in own]
    found = found or [f for f in volumes if f.startswith(_SUV) and _plain(f[len(_SUV) :]) in own]
    given, start = acquisition.administered_time, acquisition.acquisition_time
    if len(found) > 1 and given is not None and start is not None:
        after = (start - given).total_seconds()
        found.sort(key=lambda f: abs(_time_of(files[f]) - after))
    return volumes[found[0]] if found else None


def _time_of(path: Path) -> float:
    """Seconds from injection that a field's sidecar states; far off where it states none."""
    stated = _said(path).get("TimeFromInjection")
    return float(stated) if isinstance(stated, int | float) else float("inf")


def _said(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(beside(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _plane(display: Any, inside: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Millimetres (rows, columns, 3) of an axial plane through the middle of the tumour, and the edge of its pixels."""
    centre = [float(np.mean(found)) for found in np.nonzero(inside)]
    spacing, shape = display.geometry.spacing, display.geometry.shape
    side = max(shape[1] * spacing[1], shape[2] * spacing[2])
    side += 2 * max(_ROOM * side, _LEAST_MM)
    fine = side / _PIXELS
    offsets = (np.arange(_PIXELS) + 0.5) * fine - side / 2
    index = np.empty((_PIXELS, _PIXELS, 3))
    index[..., 0] = round(centre[0])
    index[..., 1] = ((shape[1] - 1) / 2 + offsets / spacing[1])[:, None]
    index[..., 2] = ((shape[2] - 1) / 2 + offsets / spacing[2])[None, :]
    return display.geometry.to_mm(index), fine


def _reaches(geometry: Geometry, points: NDArray[np.float64]) -> bool:
    index = geometry.to_index(points[_PIXELS // 2, _PIXELS // 2])
    return bool(((index >= -0.5) & (index <= np.array(geometry.shape) - 0.5)).all())


def _sampled(image: Image, points: NDArray[np.float64]) -> NDArray[np.float32]:
    """An image's voxels at points in mm, NaN outside of it: voxels stay visible as they are."""
    from scipy import ndimage

    assert image.geometry is not None
    where = np.moveaxis(image.geometry.to_index(points), -1, 0)
    sampled: NDArray[np.float32] = ndimage.map_coordinates(
        image.numpy().astype(np.float32, copy=False), where, order=0, mode="constant", cval=np.nan
    )
    return sampled


def _labels(labels: NDArray[Any], geometry: Geometry, points: NDArray[np.float64]) -> NDArray[np.int32]:
    from scipy import ndimage

    where = np.moveaxis(geometry.to_index(points), -1, 0)
    sampled: NDArray[np.int32] = ndimage.map_coordinates(labels.astype(np.int32), where, order=0, mode="constant")
    return sampled


def _lesions(regions: Mapping[str, Region], seen: Image) -> NDArray[Any] | None:
    """Lesions on the grid of the image, of the last frame where there are several; None where there are none."""
    assert seen.geometry is not None
    for name in reversed(list(regions)):
        region = regions[name]
        if name.startswith("lesions") and region.labels is not None:
            place = region.labels.geometry
            if place is not None and place.same_grid(seen.geometry):
                labels = region.labels.numpy()
                others = [n for n in region.names if region.role(n) != "lesion"]
                return np.where(np.isin(labels, others), 0, labels)
    return None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
