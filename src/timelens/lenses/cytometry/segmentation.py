"""Where cells are: masks that were given, or cells that are found on the channels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.cells.outlines import cell_outlines
from timelens.engines.cells.segment import nuclei
from timelens.errors import DataError, MissingFieldError
from timelens.lenses.cytometry.learnt import METHODS, cellpose, digest, stardist, weights_of
from timelens.lenses.cytometry.markers import canonical, nuclear_channels
from timelens.study.acquisition import Acquisition
from timelens.study.region import Region

__all__ = ["Outlines", "find_outlines", "nuclear_places", "own_outlines"]


@dataclass(frozen=True, eq=False)
class Outlines:
    """Label images and how they were had.

    Attributes
    ----------
    sets
        Name to label image (y, x); the name of an only set is empty.
    method
        In words.
    own
        Whether they were found here, so that borders are uncertain.
    about
        What belongs to the method besides: the model and the hash of its weights.
    """

    sets: Mapping[str, NDArray[np.int32]]
    method: str
    own: bool
    about: Mapping[str, str] = field(default_factory=dict)


def find_outlines(
    scan: Acquisition,
    regions: Sequence[Region],
    values: NDArray[np.float32],
    metals: Sequence[str],
    labels: Sequence[str],
    pixel_um: tuple[float, float],
    options: Mapping[str, Any],
) -> Outlines:
    """The cells of a region as the step ``segment`` wants them.

    Parameters
    ----------
    scan
        The region.
    regions
        Masks, of which those on the grid of the region count.
    values
        Channels (c, y, x), cleaned.
    metals, labels
        Names of the channels.
    pixel_um
        Size of a pixel along (y, x).
    options
        Of the step ``segment``.

    Raises
    ------
    DataError
        If masks are asked for and none lies on the region.
    MissingFieldError
        If cells are to be found and no channel shows nuclei.
    UsageError
        If a learnt model is asked for, and its package or weights are not there.
    """
    place = scan.image.geometry
    assert place is not None
    given = {
        r.id: np.asarray(r.labels.numpy()[0], np.int32)
        for r in regions
        if r.labels is not None and r.labels.geometry is not None and r.labels.geometry.same_grid(place)
    }
    wanted = options["cells"]
    if wanted == "given" and not given:
        raise DataError("No mask of cells lies on this region", file=scan.where, field="segment: cells",
                        found="none", expected="a mask of the same size", mend="segment: {cells: own}")  # fmt: skip
    if given and wanted != "own":
        named = _set_names(given, str(scan.extra.get("region_number", ""))) if len(given) > 1 else [""]
        return Outlines(dict(zip(named, given.values(), strict=True)), f"given: {', '.join(given)}", False)
    chosen = nuclear_places(scan, metals, labels, options)
    if not chosen:
        stated = ", ".join(options["nuclear"])
        known = labels if not stated else [n if m == n else f"{m} or {n}" for m, n in zip(metals, labels, strict=True)]
        raise MissingFieldError(
            f"The region has no channel {stated}" if stated else "No channel is known to show nuclei",
            file=scan.where, field="segment: nuclear", found=", ".join(known),
            expected="a channel of this list" if stated else "iridium, DNA, DAPI, histone H3",
            mend="segment: {nuclear: [CHANNEL]}, or put a mask of the cells beside it",
        )  # fmt: skip
    return own_outlines(values, labels, chosen, pixel_um, options)


def own_outlines(
    values: NDArray[np.float32],
    labels: Sequence[str],
    nuclear: Sequence[int],
    pixel_um: tuple[float, float],
    options: Mapping[str, Any],
) -> Outlines:
    """Find cells on the channels.

    Parameters
    ----------
    values
        Channels (c, y, x), cleaned; NaN where nothing was measured.
    labels
        Their names. Cells without a nucleus are looked for where a marker of the table of types is borne.
    nuclear
        Places of the channels that show nuclei.
    pixel_um
        Size of a pixel along (y, x).
    options
        Of the step ``segment``.
    """
    signal = values[list(nuclear)].sum(axis=0)
    others = [k for k in range(len(values)) if k not in set(nuclear)]
    cellular = [k for k in others if canonical(labels[k])] if options["without_nucleus"] else []
    diameter, reach = (float(options[k]) / pixel_um[0] for k in ("diameter_um", "reach_um"))
    method, about = options["method"], {}
    names = ", ".join(labels[k] for k in nuclear)
    if method in METHODS:
        weights = weights_of(method, options["weights"])
        about = {"model": method, "weights": weights.name, "weights_sha256": digest(weights)}
    if method == "cellpose":
        cells = cellpose(signal, np.nansum(values[others], axis=0), diameter, weights)
        said = f"own: cellpose ({weights.name}) on {names} and the sum of all other channels"
    else:
        seeds = stardist(signal, weights) if method == "stardist" else nuclei(signal, diameter)
        cells = cell_outlines(seeds, values[others], diameter, reach, bare=values[cellular])
        by = f"stardist ({weights.name}), " if about else ""
        bare = ", and cells without a nucleus where markers of types are borne" if cellular else ""
        said = (
            f"own: {by}nuclei of {names}, diameter {options['diameter_um']:g} um, grown to edges of markers, at most "
            f"{options['reach_um']:g} um{bare}"
        )
    cells[~np.isfinite(signal)] = 0
    return Outlines({"": cells}, said, True, about)


def nuclear_places(
    scan: Acquisition, metals: Sequence[str], labels: Sequence[str], options: Mapping[str, Any]
) -> list[int]:
    """Places of the channels that show nuclei: as the user states them, else the panel, else by their names."""
    stated = options["nuclear"] or scan.extra.get("nuclear_channels", ())
    named = [m for m, n in zip(metals, labels, strict=True) if n in stated]
    return nuclear_channels(metals, labels, [*stated, *named])


def _set_names(ids: Iterable[str], number: str) -> list[str]:
    """Names of sets of masks without the number of the region, so that a set has one name in all regions."""
    whole = list(ids)
    short = [name.removesuffix(f"-{number}") if number else name for name in whole]
    return short if len(set(short)) == len(short) else whole
