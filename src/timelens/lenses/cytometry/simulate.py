"""From the cells of a virtual section to the counts of a mass cytometer, and its single stains.

Each cell bears the markers of its type as the lens's own table states them, so that a simulation judges segmentation,
noise, spillover and statistics, but not whether the table is true of real tissue. A marker that the table leaves open
for a type is borne by a part of its cells. Expression varies from cell to cell by a gamma law; ions are Poisson.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from timelens.engines.cells.distances import nearest_distances
from timelens.engines.cells.measure import measure_cells
from timelens.engines.unmixing.spillover import possible
from timelens.errors import UsageError
from timelens.formats.cytometry import raster
from timelens.knowledge import components
from timelens.lenses.cytometry.ions import count_ions
from timelens.lenses.cytometry.markers import MARKERS
from timelens.lenses.cytometry.types import SIGNATURES
from timelens.study.acquisition import Acquisition
from timelens.study.axes import Axis
from timelens.study.contract import Protocol, Simulated, Truth
from timelens.study.image import Image
from timelens.study.region import Region
from timelens.study.table import Table

__all__ = [
    "METALS", "SECTION", "CytometryProtocol", "cytometry_protocol", "express", "paint", "simulate", "single_stains",
    "spill",
]  # fmt: skip

FloatArray = NDArray[np.float64]

_MASSES = (
    "Pr141", "Nd142", "Nd143", "Nd144", "Nd145", "Nd146", "Sm147", "Nd148", "Sm149", "Nd150", "Eu151", "Sm152",
    "Eu153", "Sm154", "Gd155", "Gd156", "Gd158", "Tb159", "Gd160", "Dy161", "Dy162", "Dy163", "Dy164", "Ho165",
    "Er166", "Er167", "Er168", "Tm169", "Er170", "Yb171",
)  # fmt: skip
#: Metal to marker: the 30 markers of the table, and two of DNA.
METALS: Mapping[str, str] = {**dict(zip(_MASSES, MARKERS, strict=True)), "Ir191": "DNA1", "Ir193": "DNA2"}
#: Name of the whole region in rows of truth, as the lens has it.
SECTION = "section"
#: Radius of the nucleus in parts of the cell's: the cube roots of the parts of the volume that Schmid-Schonbein, Shih
#: and Chien (1980), doi:10.1182/blood.V56.5.866.866, found in lymphocytes (0.44) and in neutrophils (0.21). Other cells
#: have that of neutrophils, for want of a number of their own.
_NUCLEUS, _LYMPHOID_NUCLEUS = 0.6, 0.76
_LYMPHOID = frozenset((
    "t-cell", "cd8-t-cell", "exhausted-cd8-t-cell", "cd4-t-cell", "th1", "treg", "memory-t-cell", "nkt-cell",
    "car-t-cell", "nk-cell", "car-nk-cell", "b-cell",
))  # fmt: skip
_SLIDE = "simulated slide"
_TUMOUR = "tumour-cell"


@dataclass(frozen=True)
class CytometryProtocol:
    """How a section is stained and read.

    Attributes
    ----------
    counts
        Mean ions per pixel of a marker on a cell that bears it.
    background
        The same on every other pixel.
    variation
        Coefficient of variation of expression from cell to cell.
    open_part
        Part of the cells that bear a marker which the table leaves open for their type.
    nuclear
        Mean ions per pixel of DNA in a nucleus.
    spillover
        Part counted one mass off; oxides have the same, other isotopes of an element a third of it.
    pixel_um
        Raster.
    stray
        Part of the cells that bear markers at random: debris, doublets.
    """

    counts: float = 8.0
    background: float = 0.15
    variation: float = 0.4
    open_part: float = 0.2
    nuclear: float = 25.0
    spillover: float = 0.01
    pixel_um: float = 1.0
    stray: float = 0.0


def cytometry_protocol(protocol: Protocol | None) -> CytometryProtocol:
    """The parameters of a protocol, checked.

    Raises
    ------
    UsageError
        If one is unknown or no such number.
    """
    stated = dict(protocol.parameters) if protocol is not None else {}
    known = [f.name for f in fields(CytometryProtocol)]
    if unknown := set(stated) - set(known):
        raise UsageError("The protocol has no such parameter", field=", ".join(sorted(unknown)),
                         expected=", ".join(known))  # fmt: skip
    for name, value in stated.items():
        top = {"spillover": 0.2, "open_part": 1.0, "stray": 0.5}.get(name, np.inf)
        least = 0.0 if name in ("spillover", "open_part", "stray", "background") else 1e-6
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= top:
            raise UsageError("The parameter is no such number", field=name, found=value,
                             expected=f"{least:g} to {top:g}")  # fmt: skip
    return CytometryProtocol(**{k: float(v) for k, v in stated.items()})


def express(names: Sequence[str], protocol: CytometryProtocol, rng: np.random.Generator) -> FloatArray:
    """Mean ions per pixel of each marker on each cell, shape (cells, 30).

    Parameters
    ----------
    names
        Component of each cell, a type of the lens's table.
    protocol
        Levels.
    rng
        Same state, same cells.
    """
    markers = list(MARKERS)
    kinds = list(dict.fromkeys(names))
    if unknown := [k for k in kinds if k not in SIGNATURES]:
        raise UsageError("The table of types has no such type", field="component", found=", ".join(unknown),
                         expected=", ".join(SIGNATURES))  # fmt: skip
    chance = np.full((len(kinds), len(markers)), protocol.open_part)
    for k, kind in enumerate(kinds):
        one = SIGNATURES[kind]
        for m, marker in enumerate(markers):
            if marker in one.positive:
                chance[k, m] = 1.0
            elif marker in one.negative or marker == "CAR":
                chance[k, m] = 0.0
    row = np.array([kinds.index(n) for n in names], np.int64)
    borne = rng.random((len(row), len(markers))) < chance[row]
    stray = rng.random(len(row)) < protocol.stray
    borne[stray] = rng.random((int(stray.sum()), len(markers))) < 0.5
    shape = 1 / protocol.variation**2
    level = rng.gamma(shape, 1 / shape, borne.shape) * protocol.counts
    return np.where(borne, level, 0.0) + protocol.background


def paint(
    y: NDArray[Any],
    x: NDArray[Any],
    radius: NDArray[Any],
    away: NDArray[Any],
    shape: tuple[int, int],
    pixel_um: float,
    nuclear: NDArray[Any] | float = _NUCLEUS,
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Label image of cells that share out the ground, and where their nuclei are.

    Cells are spheres, cut by the section; a pixel belongs to the cell whose centre is nearest in parts of that cell's
    radius, if it lies within the radius. A cell that is cut beside its nucleus shows none.

    Parameters
    ----------
    y, x, radius
        Of the cells in micrometres.
    away
        Of their centres from the section, in micrometres; 0 inside of it.
    shape
        Pixels along (y, x).
    pixel_um
        Size of a pixel.
    nuclear
        Radius of the nuclei in parts of that of their cells.

    Returns
    -------
    labels
        Number of the cell, its place plus one; 0 is ground.
    nucleus
        Pixels within the nucleus of their cell, in space.
    """
    grid = np.stack(np.meshgrid(*[(np.arange(n) + 0.5) * pixel_um for n in shape], indexing="ij"), -1).reshape(-1, 2)
    part = np.full(len(grid), np.inf)
    label = np.zeros(len(grid), np.int32)
    tree = cKDTree(grid)
    points = np.column_stack([y, x])
    reach = np.sqrt(np.maximum(radius**2 - away**2, 0.0))
    for k, inside in enumerate(tree.query_ball_point(points, reach) if len(points) else []):
        own = np.asarray(inside, np.int64)
        if not own.size:
            continue
        far = np.sqrt(((grid[own] - points[k]) ** 2).sum(axis=1) + away[k] ** 2) / radius[k]
        nearer = far < part[own]
        part[own[nearer]] = far[nearer]
        label[own[nearer]] = k + 1
    limit = np.append(0.0, np.broadcast_to(nuclear, radius.shape))
    return label.reshape(shape), (part < limit[label]).reshape(shape)


def spill(metals: Sequence[str], part: float) -> FloatArray:
    """A spillover matrix: a part one mass off and as oxide, a third of it into other isotopes of the element."""
    mass = np.array([int(m.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")) for m in metals])
    off = mass[None, :] - mass[:, None]
    near = (np.abs(off) == 1) | (off == 16)
    matrix = np.where(possible(metals), np.where(near, part, part / 3), 0.0)
    np.fill_diagonal(matrix, 1.0)
    return matrix


def single_stains(
    protocol: Protocol | None, rng: np.random.Generator, *, pixels: int = 1000, brightness: float = 25.0
) -> dict[str, FloatArray]:
    """Counts of pixels that bear one metal each, as a laboratory measures them to know its spillover.

    Parameters
    ----------
    protocol
        Parameters of :class:`CytometryProtocol`; its spillover and background are what the pixels have.
    rng
        Same state, same counts.
    pixels
        Of each stain.
    brightness
        Mean ions of the stained metal relative to ``counts``: drops of antibody are far brighter than cells.

    Returns
    -------
    dict
        Metal to counts, shape (channels, pixels), channels as in :data:`METALS`: what
        :func:`timelens.engines.unmixing.spillover.estimate` takes.
    """
    plan = cytometry_protocol(protocol)
    metals = list(METALS)
    matrix = spill(metals, plan.spillover)
    shape = 1 / plan.variation**2
    found = {}
    for k, metal in enumerate(metals):
        mean = np.full((pixels, len(metals)), plan.background)
        mean[:, k] += rng.gamma(shape, brightness * plan.counts / shape, pixels)
        found[metal] = rng.poisson(mean @ matrix).T.astype(np.float64)
    return found


def simulate(
    cells: Table,
    protocol: Protocol | None,
    rng: np.random.Generator,
    *,
    name: str = "section",
    thickness_um: float = 4.0,
    window_mm: tuple[float, float, float, float] | None = None,
    corner_um: tuple[float, float] = (0.0, 0.0),
) -> Simulated:
    """Stain and read a virtual section.

    Parameters
    ----------
    cells
        As :func:`timelens.tumor.section.sample_cells` gives them for a section across z: ``component``, ``u_mm``,
        ``v_mm``, ``z_mm``, ``diameter_mm``.
    protocol
        Parameters of :class:`CytometryProtocol`.
    rng
        Same state, same counts.
    name
        Id of the acquisition.
    thickness_um
        Of the section.
    window_mm
        What is read, as (first u, last u, first v, last v); by default as far as there are cells.
    corner_um
        Where the region begins on its slide, (X, Y).

    Returns
    -------
    Simulated
        The region with and without noise, its true labels, and the true density and part of every component that is
        there, and the median distance of each type to the nearest tumour cell: ``ideal`` is of all cells, ``seen`` of
        those that have a pixel, as their pixels lie.

    Raises
    ------
    UsageError
        If there are no cells, or the protocol is none.
    """
    plan = cytometry_protocol(protocol)
    frame = cells.data
    if not len(frame):
        raise UsageError("The section holds no cells", field="cells", found="0 rows", expected="1 or more")
    names = [str(v) for v in frame["component"]]
    u, v = (frame[c].to_numpy(float) for c in ("u_mm", "v_mm"))
    u0, u1, v0, v1 = window_mm or (u.min(), u.max(), v.min(), v.max())
    y, x = 1e3 * (v - v0), 1e3 * (u - u0)
    extra = 0 if window_mm else 1
    shape = (int(np.ceil(1e3 * (v1 - v0) / plan.pixel_um - 1e-6)) + extra,
             int(np.ceil(1e3 * (u1 - u0) / plan.pixel_um - 1e-6)) + extra)  # fmt: skip
    radius = 500 * frame["diameter_mm"].to_numpy(float)
    labels, nucleus = paint(y, x, radius, _away(frame, thickness_um), shape, plan.pixel_um,
                            np.array([_LYMPHOID_NUCLEUS if n in _LYMPHOID else _NUCLEUS for n in names]))  # fmt: skip
    metals = list(METALS)
    levels = _levels(express(names, plan, rng), metals, plan)
    # Pixels of one cell, within or without its nucleus, are alike.
    row = 2 * labels + nucleus
    clean = np.ascontiguousarray(levels.T.astype(np.float32))[:, row]
    counts = count_ions(levels, row, rng)
    place = raster.place_on_slide(shape, pixel_um=(plan.pixel_um, plan.pixel_um), corner_um=corner_um, slide=_SLIDE)

    def region(values: NDArray[np.float32]) -> Acquisition:
        channels = raster.Channels(tuple(metals), tuple(METALS.values()))
        return raster.acquisition(
            lambda: values[:, None], id=name, shape=shape, channels=channels, geometry=place, sources=(),
            description=name,
        )  # fmt: skip

    axes = tuple(Axis(n, "space", "mm") for n in "zyx")
    marks = Image(labels[None], unit="1", axes=axes, geometry=place, name="cells")
    seen = np.isin(np.arange(1, len(names) + 1), labels)
    numbers = {int(k): f"cell {k}" for k in np.flatnonzero(seen) + 1}
    outlines = Region("cells", "labels", numbers, labels=marks, method="simulated", extra={"cells": True})
    area = shape[0] * shape[1] * plan.pixel_um**2 * 1e-6
    truth = (*_amounts(names, seen, area, name), *_distances(names, (y, x), labels, plan.pixel_um, name))
    return Simulated((region(counts),), (outlines,), truth, (region(clean),))


def _levels(level: FloatArray, metals: Sequence[str], plan: CytometryProtocol) -> FloatArray:
    """Mean ions per pixel (rows, channels) of the ground and of each cell: a row without, a row with nucleus."""
    twice = np.repeat(np.vstack([np.full(level.shape[1], plan.background), level]), 2, axis=0)
    dna = np.tile([[plan.background], [plan.nuclear]], (len(twice) // 2, 1)) * np.array([1.0, 1.7])
    found: FloatArray = np.hstack([twice, dna]) @ spill(metals, plan.spillover)
    return found


def _away(frame: Any, thickness_um: float) -> FloatArray:
    """How far the centres of cells lie above or below the section, in micrometres."""
    z = 1e3 * frame["z_mm"].to_numpy(float)
    return np.maximum(np.abs(z - (z.min() + z.max()) / 2) - thickness_um / 2, 0.0)


def _amounts(names: Sequence[str], seen: NDArray[np.bool_], area_mm2: float, acquisition: str) -> list[Truth]:
    """Density and part of all cells, of each type, its family and all cells."""
    kinds = np.array(names)
    wanted = [*dict.fromkeys(names), *sorted({s.family for k, s in SIGNATURES.items() if s.family and k in names})]
    rows = []
    for component in ("cell", *dict.fromkeys(wanted)):
        own = np.ones(len(kinds), bool) if component == "cell" else np.isin(kinds, sorted(components.family(component)))
        of: dict[str, Any] = {"component": component, "acquisition": acquisition}
        rows.append(
            Truth("cell_density_area", "{cells}/mm2", SECTION, own.sum() / area_mm2, (own & seen).sum() / area_mm2,
                  **of)
        )  # fmt: skip
        if component != "cell":
            part = float(own[seen].mean()) if seen.any() else float("nan")
            rows.append(Truth("cell_fraction", "1", SECTION, float(own.mean()), part, **of))
    return rows


def _distances(
    names: Sequence[str],
    place_um: tuple[FloatArray, FloatArray],
    labels: NDArray[np.int32],
    pixel_um: float,
    acquisition: str,
) -> list[Truth]:
    """Median distance of each type to the nearest tumour cell: of centres, and of pixels."""
    kinds = list(dict.fromkeys(names))
    if _TUMOUR not in kinds:
        return []
    code = np.array([kinds.index(n) for n in names], np.int64)
    painted = measure_cells(np.zeros((1, *labels.shape)), labels, (pixel_um, pixel_um))
    ideal = nearest_distances(*place_um, code, len(kinds)).median()
    seen = nearest_distances(painted.y_um, painted.x_um, code[painted.label - 1], len(kinds)).median()
    to = kinds.index(_TUMOUR)
    return [
        Truth("nearest_cell_distance", "um", SECTION, float(ideal[k, to]), float(seen[k, to]),
              acquisition=acquisition, component=f"{kind}|{_TUMOUR}")
        for k, kind in enumerate(kinds)
        if np.isfinite(ideal[k, to])
    ]  # fmt: skip
