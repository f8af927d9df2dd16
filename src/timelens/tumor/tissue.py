"""What fills each voxel: vessels, cells, fluid, collagen, debris and host tissue, which sum to 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timelens.errors import DataError
from timelens.tumor.architecture import Architecture
from timelens.tumor.cells import LEAVES, Leaf
from timelens.tumor.layout import Layout

__all__ = ["ENDOTHELIAL_AREA_MM2", "Tissue", "Vessels", "fill", "vessels"]

Field = NDArray[np.float32]

#: Inner surface of a capillary that one endothelial cell covers, in mm2 (order: 1000 um2).
ENDOTHELIAL_AREA_MM2 = 1e-3
#: How the room that vessels and other cells leave is shared; fluid takes what is not named.
_NEST_COLLAGEN = 0.04
_STROMA = {"tumour": 0.10, "collagen": 0.40}
_NECROSIS = {"debris": 0.55, "collagen": 0.08}
_HOST = {"parenchyma": 0.70, "collagen": 0.10}
#: Room that is left in every voxel once vessels and cells other than tumour cells are in.
_LEAST_ROOM = 0.15
#: Part of the cells of one type that lymphoid structures can hold.
_MOST_IN_TLS = 0.9


@dataclass(frozen=True, eq=False)
class Vessels:
    """Blood volume fraction (mL/mL), flow (mL/min/mL), haematocrit and relative permeability; (z, y, x) each."""

    fraction: Field
    perfusion: Field
    haematocrit: Field
    leakiness: Field


@dataclass(frozen=True, eq=False)
class Tissue:
    """Cells per mm3 of each leaf, and volume fractions; with vessels and the volume of cells they sum to 1."""

    cells: dict[str, Field]
    interstitial: Field
    collagen: Field
    debris: Field
    host: Field


def vessels(a: Architecture, layout: Layout) -> Vessels:
    """Vessels: uneven, fewer towards the core, none in necrosis, more in lymphoid structures."""
    spread = np.float32(np.sqrt(np.log1p(a.vessel_variation**2)))
    uneven = np.exp(spread * layout.noise)
    inward = np.clip(layout.depth / np.float32(a.radius_mm), 0, 1)
    alive = 1 - layout.necrosis
    shape = uneven * (1 - np.float32(a.core_vessel_loss) * inward) * alive * (1 + layout.tls)
    living = float((layout.tumour * alive)[layout.inside].sum(dtype=np.float64))
    total = float((layout.tumour * shape)[layout.inside].sum(dtype=np.float64))
    shape *= np.float32(living / total if total > 0 else 0.0)
    outside = 1 - layout.tumour
    fraction = layout.tumour * np.minimum(np.float32(a.vessel_fraction) * shape, np.float32(0.5))
    fraction += outside * np.float32(a.host_vessel_fraction)
    flow = layout.tumour * np.float32(a.perfusion) * shape + outside * np.float32(a.host_perfusion)
    haematocrit = layout.tumour * np.float32(a.haematocrit) + outside * np.float32(a.host_haematocrit)
    wide = np.float32(np.sqrt(np.log1p(a.leakiness_variation**2)))
    # Opposite to density: sparse vessels leak more. The lognormal has mean 1.
    leaky = np.exp(-wide * layout.noise - wide**2 / 2)
    leakiness = layout.tumour * leaky + outside * np.float32(a.host_leakiness)
    return Vessels(fraction, flow, haematocrit, leakiness)


def fill(a: Architecture, layout: Layout, blood: Vessels, *, tumour_cells: float | None = None) -> Tissue:
    """Put cells in their places and share out the room that they leave.

    Parameters
    ----------
    a, layout, blood
        What the tumour is, where its parts lie, and its vessels.
    tumour_cells
        Number of tumour cells; by default as many as ``packing`` says.

    Raises
    ------
    DataError
        If the cells do not fit into the tumour.
    """
    cells: dict[str, Field] = {}
    room = 1 - blood.fraction
    relative_vessels = blood.fraction / np.float32(max(a.vessel_fraction, 1e-6))
    bump = np.exp(-((layout.depth / np.float32(a.margin_mm)) ** 2))
    inward = np.clip(layout.depth / np.float32(a.radius_mm), 0, None)
    roots: dict[float, Field] = {}
    inside = layout.inside
    for each in LEAVES.values():
        if each.id == "tumour-cell":
            continue
        if each.id == "endothelial-cell":
            surface = 2 * blood.fraction / np.float32(a.vessel_radius_mm)
            density = surface / np.float32(ENDOTHELIAL_AREA_MM2)
        else:
            mean = a.densities.get(each.id, 0.0)
            if mean == 0:
                cells[each.id] = np.zeros_like(room)
                continue
            if each.vessels and each.vessels not in roots:
                roots[each.vessels] = relative_vessels ** np.float32(each.vessels)
            density = _placed(each, a, layout, bump, inward, roots.get(each.vessels), inside, mean)
        cells[each.id] = density
        room -= np.float32(each.volume_mm3) * density
    if float(room.min()) < _LEAST_ROOM * (1 - 1e-5):
        room = _make_room(cells, room, 1 - blood.fraction, layout)
    dead = layout.tumour * layout.necrosis
    stroma = (layout.tumour - dead) * np.maximum(layout.stroma, layout.tls)
    nest = layout.tumour - dead - stroma
    outside = 1 - layout.tumour
    taken = room * (np.float32(a.packing) * nest + np.float32(_STROMA["tumour"]) * stroma)
    volume = np.float32(LEAVES["tumour-cell"].volume_mm3)
    if tumour_cells is not None:
        taken *= np.float32(_repacked(a, taken, volume, tumour_cells, layout))
    cells["tumour-cell"] = taken / volume
    collagen = room * (
        np.float32(_NEST_COLLAGEN) * nest
        + np.float32(_STROMA["collagen"]) * stroma
        + np.float32(_NECROSIS["collagen"]) * dead
        + np.float32(_HOST["collagen"]) * outside
    )
    debris = np.float32(_NECROSIS["debris"]) * room * dead
    host = np.float32(_HOST["parenchyma"]) * room * outside
    interstitial = room - taken - collagen - debris - host
    return Tissue({name: cells[name] for name in LEAVES}, interstitial, collagen, debris, host)


def _make_room(cells: dict[str, Field], room: Field, most: Field, layout: Layout) -> Field:
    """Move cells from voxels that are too full to those of the tumour with room; returns what room is left.

    Numbers of each leaf over the tumour stay what they were.
    """
    limit = most - np.float32(_LEAST_ROOM)
    taken = most - room
    keep = np.minimum(1, np.divide(limit, taken, out=np.ones_like(taken), where=taken > 0))
    free = np.where(layout.inside, limit - keep * taken, 0)
    moved = float((taken * (1 - keep)).sum(dtype=np.float64))
    there = float(free.sum(dtype=np.float64))
    if limit.min() <= 0 or moved >= there:
        mean = float((1 - room)[layout.inside].mean(dtype=np.float64))
        raise DataError(
            "So many cells and vessels do not fit into the tumour",
            field="densities",
            found=f"{100 * mean:.0f} % of its volume",
            expected=f"below {100 * (1 - _LEAST_ROOM):.0f} %",
            mend="lower the densities or enlarge the tumour",
        )
    room = most.copy()
    for name, density in cells.items():
        lost = float((density * (1 - keep)).sum(dtype=np.float64))
        cells[name] = density * keep + free * np.float32(lost / there)
        room -= np.float32(LEAVES[name].volume_mm3) * cells[name]
    return room


def _repacked(a: Architecture, taken: Field, volume: np.float32, wanted: float, layout: Layout) -> float:
    """Factor on the volume of tumour cells that gives the number wanted."""
    share = float(taken[layout.inside].sum(dtype=np.float64)) / int(layout.inside.sum())
    now = share * a.volume_mm3 / float(volume)
    factor = wanted / now if now > 0 else 0.0
    most = 0.92 / a.packing
    if factor > most:
        raise DataError(
            "So many tumour cells do not fit into the tumour",
            field="tumour_cells",
            found=f"{wanted:.3g}",
            expected=f"at most {most * now:.3g}",
        )
    return factor


def _placed(
    each: Leaf,
    a: Architecture,
    layout: Layout,
    bump: Field,
    inward: Field,
    near_vessels: Field | None,
    inside: NDArray[np.bool_],
    mean: float,
) -> Field:
    """Cells per mm3 of one leaf, with the mean over the tumour that the parameter says."""
    nest = np.float32(each.nest * (a.access if each.effector else 1.0))
    weight = nest + (1 - nest) * layout.stroma
    weight *= layout.tumour * (1 - layout.necrosis)
    weight += np.float32(each.host) * (1 - layout.tumour)
    if each.margin:
        weight *= 1 + np.float32(each.margin) * bump
    if each.core:
        weight *= np.exp(np.float32(-each.core) * inward)
    if near_vessels is not None:
        weight *= near_vessels
    voxels = int(inside.sum())
    total = float(weight[inside].sum(dtype=np.float64)) / voxels
    zones = {"all": layout.tls, "follicle": layout.follicle, "t zone": layout.tls - layout.follicle}
    zone = zones[each.zone]
    in_tls = float(zone[inside].sum(dtype=np.float64)) / voxels if each.tls and a.tls_count else 0.0
    share = min(_MOST_IN_TLS, each.tls * in_tls / mean)
    if total > 0:
        weight *= np.float32((1 - share) * mean / total)
    if share:
        weight += np.float32(share * mean / in_tls) * zone
    return weight
