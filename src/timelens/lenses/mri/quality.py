"""How good regions of a series are: size, field, air, missing numbers, overlap, evenness; how good an artery is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.errors import DataError, Problem
from timelens.lenses.mri.regional import AIR_PART
from timelens.study.acquisition import Acquisition
from timelens.study.image import Image
from timelens.study.region import Region
from timelens.study.table import Table

__all__ = ["judge_artery", "judge_regions", "known_parts", "require_artery", "require_numbers"]

Mask = NDArray[np.bool_]
_BLOOD, _IGNORED = "blood pool", ("exclude", "body", "unknown")
#: Shares of a region from which on a warning is given.
_MUCH_OUTSIDE, _MUCH_BORDER, _MUCH_AIR, _MUCH_SHARED = 0.05, 0.10, 0.10, 0.05
_FEW_VOXELS = 10
#: An axis of fewer voxels has no border to speak of.
_DEEP = 6
#: Spread of the peaks of an artery's voxels over their mean: beyond it some hold tissue beside blood.
_UNEVEN_PEAK = 0.35
#: Share of an artery's voxels above full relaxation: noise alone lifts some at the peak.
_MUCH_BRIGHT = 0.25


def judge_regions(scan: Acquisition, regions: Sequence[Region]) -> tuple[Table | None, list[Problem]]:
    """A row for each region that is drawn, and a warning for what is doubtful.

    Parameters
    ----------
    scan
        A series (images, z, y, x).
    regions
        As they were given, in its frame of reference.

    Returns
    -------
    table
        ``voxels`` within the field; ``outside``: share of the drawn volume beyond it; ``unknown``: share of voxels
        without a number in some image; ``border``: share in the outermost voxels of the field; ``air``: share whose
        signal is below 8 % of the brightest; ``variation``: standard deviation of the mean signal over its mean;
        ``shared``: share that another region of the list holds too. None where nothing is drawn.
    problems
        Warnings.
    """
    import pandas as pd

    image = scan.image
    drawn = _drawn(image, regions)
    if not drawn:
        return None, [_nothing_drawn(scan, regions)] if regions else []
    data = image.numpy().reshape(-1, *image.shape[-3:])
    finite = np.isfinite(data).all(axis=0)
    if not finite.any():
        return None, []
    level = np.where(finite, data.mean(axis=0, dtype=np.float64), np.nan)
    bright = np.nanpercentile(level, 99)
    border = np.ones(level.shape, bool)
    border[tuple(slice(1, -1) if n >= _DEEP else slice(None) for n in level.shape)] = False
    rows, problems = [], []
    for name, role, mask, outside in drawn:
        count = int(mask.sum())
        known = level[mask & finite]
        others = [m for n, r, m, _ in drawn if n != name and r != "organ"] if role != "organ" else []
        shared = float(np.any(others, axis=0)[mask].mean()) if others and count else 0.0
        row = {
            "region": name, "role": role, "voxels": count, "outside": outside,
            "unknown": float((~finite)[mask].mean()) if count else np.nan,
            "border": float(border[mask].mean()) if count else np.nan,
            "air": float((known < AIR_PART * bright).mean()) if known.size else np.nan,
            "variation": float(known.std() / abs(known.mean())) if known.size > 1 and known.mean() else np.nan,
            "shared": shared,
        }  # fmt: skip
        rows.append(row)
        problems += _doubts(row, scan)
    shares = dict.fromkeys(("voxels", "outside", "unknown", "border", "air", "variation", "shared"), "1")
    return Table(pd.DataFrame(rows), shares), problems


def _doubts(row: Mapping[str, Any], scan: Acquisition) -> list[Problem]:
    """Warnings about one region."""

    def doubt(message: str, found: str, expected: str, mend: str) -> Problem:
        return Problem(f"{message}: {row['region']}", scan.where, "regions", found, expected, mend, "warning")

    count = row["voxels"]
    if count == 0 and not row["outside"] > 0:
        return [doubt("A region holds no voxel", "an empty outline", "voxels", "draw it again")]
    if count == 0:
        return [doubt("A region lies outside of the field of the series", "no voxel", "voxels in the field",
                      "draw it on this series")]  # fmt: skip
    found = []
    if row["outside"] > _MUCH_OUTSIDE:
        found.append(doubt("A region leaves the field of the series", f"{100 * row['outside']:.0f} % of its volume",
                           "none", "its part in the field is measured"))  # fmt: skip
    if row["unknown"] > 0:
        found.append(doubt("A region has voxels without a number in some image", f"{100 * row['unknown']:.0f} %",
                           "none", "they are left out"))  # fmt: skip
    if row["air"] > _MUCH_AIR:
        found.append(doubt("A region holds voxels without signal, as air has", f"{100 * row['air']:.0f} %", "tissue",
                           "look whether it lies where it was drawn"))  # fmt: skip
    if row["border"] > _MUCH_BORDER and row["role"] != "organ":
        found.append(doubt("A region touches the edge of the field, where profiles of slices and inflow harm",
                           f"{100 * row['border']:.0f} % of its voxels", "none", "look at the figures"))  # fmt: skip
    if row["shared"] > _MUCH_SHARED:
        found.append(doubt("A region shares voxels with another", f"{100 * row['shared']:.0f} %", "none",
                           "correct the outlines"))  # fmt: skip
    if count < _FEW_VOXELS:
        found.append(doubt("A region has few voxels: its mean is noisy and mixed with its surroundings", f"{count}",
                           f"{_FEW_VOXELS} or more", "look at the figures"))  # fmt: skip
    return found


def require_numbers(scan: Acquisition) -> None:
    """Refuse a series of which no voxel has a number in every image, or that shows nothing.

    Raises
    ------
    DataError
        Naming the first image without numbers.
    """
    image = scan.image
    data = image.numpy().reshape(-1, *image.shape[-3:])
    finite = np.isfinite(data)
    whole = finite.all(axis=0)
    if not whole.any():
        empty = np.flatnonzero(~finite.reshape(len(data), -1).any(axis=1))
        found = f"image {empty[0] + 1} of {len(data)} has none" if empty.size else "each voxel lacks one"
        raise DataError(
            "In this series no voxel has a number in every image", file=scan.where, field="pixels",
            found=f"no number: {found}", expected="finite values", mend="leave the image out, or export it again",
        )  # fmt: skip
    if not (data[:, whole] != 0).any():
        raise DataError(
            "The series shows nothing but air", file=scan.where, field="pixels", found="zeros", expected="a body",
            mend="export it again",
        )  # fmt: skip


def known_parts(scan: Acquisition, regions: Sequence[Region]) -> list[Region]:
    """The regions without voxels that lack a number in some image; the very same where none does."""
    image = scan.image
    assert image.geometry is not None
    data = image.numpy().reshape(-1, *image.shape[-3:])
    finite = np.isfinite(data).all(axis=0)
    if finite.all():
        return list(regions)
    found = []
    for region in regions:
        for number, mask in region.masks(image.geometry, list(region.names)):
            labels = Image(
                (mask & finite).astype(np.uint8), unit="1", geometry=image.geometry, name=region.name(number)
            )
            found.append(Region(
                f"{region.id}-{number}", "labels", {1: region.name(number)}, labels=labels, method=region.method,
                roles={1: region.role(number)}, sources=region.sources,
                identity={1: region.identity[number]} if number in region.identity else {},
            ))  # fmt: skip
    return found


def require_artery(scan: Acquisition, drawn: Sequence[Region], known: Sequence[Region]) -> None:
    """Refuse to put something else in the place of an artery that was drawn where no voxel has a number.

    Parameters
    ----------
    scan
        The series.
    drawn, known
        Regions before and after :func:`known_parts`.

    Raises
    ------
    DataError
        If blood was drawn in the field, and none of it is left.
    """
    place = scan.image.geometry
    assert place is not None

    def blood(regions: Sequence[Region]) -> bool:
        return any(
            mask.any() for region in regions for number, mask in region.masks(place, list(region.names))
            if region.role(number) == _BLOOD
        )  # fmt: skip

    if blood(drawn) and not blood(known):
        raise DataError(
            "No voxel of the drawn artery has a number in every image", file=scan.where, field="regions",
            found="no number", expected="one voxel or more", mend="draw it elsewhere, or write 'mri: {input: {source: "
            "search}}' (contrast-enhanced series also: population) in study.yaml",
        )  # fmt: skip


def judge_artery(scan: Acquisition, regions: Sequence[Region], facts: Mapping[str, Any]) -> list[Problem]:
    """Warnings about a drawn artery of a contrast-enhanced series.

    Parameters
    ----------
    scan
        (t, z, y, x), spoiled gradient echoes.
    regions
        With an artery of the role ``blood pool``; nothing is said where there is none.
    facts
        Of the measurement: ``baseline_frames``, ``input_voxels`` and ``input_voxels_too_bright``.
    """
    masks = [mask for _, role, mask, _ in _drawn(scan.image, regions) if role == _BLOOD and mask.any()]
    count = facts.get("baseline_frames")
    if not masks or not count:
        return []
    mask = np.any(masks, axis=0)
    curves = scan.image.numpy()[:, mask].astype(np.float64)
    start = curves[:count].mean(axis=0)
    problems = []
    used, bright = facts.get("input_voxels"), facts.get("input_voxels_too_bright", 0)
    if used is not None and used < int(mask.sum()):
        problems.append(Problem(
            "Voxels of the artery lack a number, or all of it is brighter than the signal equation allows (inflow)",
            scan.where, "input", f"{int(mask.sum()) - used} of {int(mask.sum())} voxels left out", "none",
            "draw the artery away from the slices where blood enters", "warning",
        ))  # fmt: skip
    if used is not None and bright > _MUCH_BRIGHT * used:
        problems.append(Problem(
            "Voxels of the artery are brighter than the signal equation allows in some frame: inflow, or noise at the "
            "peak", scan.where, "input", f"{bright} of {used} voxels, which count in the mean",
            f"at most {100 * _MUCH_BRIGHT:.0f} %", "draw the artery away from the slices where blood enters", "warning",
        ))  # fmt: skip
    rise = curves.max(axis=0) / np.where(start > 0, start, np.nan) - 1
    spread = float(np.nanstd(rise) / np.nanmean(rise)) if np.isfinite(rise).sum() > 1 else 0.0
    if spread > _UNEVEN_PEAK:
        problems.append(Problem(
            "The voxels of the artery peak unevenly: some hold tissue beside blood, or blood flows in unsaturated",
            scan.where, "input", f"standard deviation {100 * spread:.0f} % of the mean rise",
            f"at most {100 * _UNEVEN_PEAK:.0f} %", "draw the middle of the vessel alone", "warning",
        ))  # fmt: skip
    return problems


def _nothing_drawn(scan: Acquisition, regions: Sequence[Region]) -> Problem:
    return Problem(
        "The regions that were given have no voxel on this series: all tissue is measured in their place",
        scan.where, "regions", ", ".join(r.sources[0].path if r.sources else r.id for r in regions),
        "a region with voxels", "look at the labels and their roles", "warning",
    )  # fmt: skip


def _drawn(image: Image, regions: Sequence[Region]) -> list[tuple[str, str, Mask, float]]:
    """Name, role, mask, and share of the drawn volume outside of the field."""
    assert image.geometry is not None
    found: list[tuple[str, str, Mask, float]] = []
    for region in regions:
        for number, mask in region.masks(image.geometry, list(region.names)):
            role = region.role(number)
            if role in _IGNORED:
                continue
            outside = 0.0
            if region.labels is not None and region.labels.geometry is not None:
                own = region.labels.geometry
                drawn = float((region.labels.numpy() == number).sum()) * abs(np.linalg.det(own.affine[:3, :3]))
                inside = float(mask.sum()) * abs(np.linalg.det(image.geometry.affine[:3, :3]))
                # Both volumes are whole voxels: a coarser grid may miss one layer.
                outside = max(0.0, 1 - inside / drawn) if drawn else 0.0
                outside = 0.0 if own.same_grid(image.geometry) else outside
            found.append((region.name(number), role, mask, outside))
    return found
