"""Regions of a volume as runs of voxels, and the connected components of a mask.

A run is a stretch of voxels along x that bear one label. Runs are found in one pass over the volume that skips empty
rows, and hold all that is needed afterwards (counts, boxes, voxel lists, masks), so the label volume is not read
again. Label 0 is background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from timelens.engines.regions import runs
from timelens.engines.regions.grid import IntArray, checked_shape, slab, slab_limits, voxel_volume_ml
from timelens.errors import DataError, UsageError

__all__ = ["Connectivity", "Regions", "components", "find_regions", "label_components", "relabel", "separate_bodies"]

Connectivity = Literal[6, 18, 26]

Int64 = npt.NDArray[np.int64]

_DENSE_LIMIT = 1 << 22


@dataclass(frozen=True)
class Regions:
    """The labelled voxels of a volume, grouped by label (compressed sparse rows).

    Attributes
    ----------
    shape
        Shape of the volume (z, y, x).
    labels
        Label of each region, shape (n,).
    counts
        Voxels of each region; 0 where a wanted label is absent.
    lower, upper
        Bounding boxes, half open, shape (n, 3); (0, 0, 0) for an empty region.
    offsets
        Runs of region i are ``starts[offsets[i]:offsets[i + 1]]``, in raster order.
    starts, lengths
        Flat index of the first voxel of each run, and the voxels in it.
    """

    shape: tuple[int, int, int]
    labels: IntArray
    counts: npt.NDArray[np.int64]
    lower: npt.NDArray[np.int64]
    upper: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def mask(self, region: int, *, margin: int = 0) -> npt.NDArray[np.uint8]:
        """The region in its bounding box (1 inside), with ``margin`` empty voxels around."""
        lower = self.lower[region] - margin
        box = np.zeros(tuple(self.upper[region] + margin - lower), dtype=np.uint8)
        part = slice(self.offsets[region], self.offsets[region + 1])
        runs.paint_box(box, self.starts[part], self.lengths[part], lower, self.shape[1], self.shape[2])
        return box

    def indices(self, region: int) -> npt.NDArray[np.int64]:
        """Flat indices of the region's voxels in raster order."""
        part = slice(self.offsets[region], self.offsets[region + 1])
        return runs.expand(self.starts[part], self.lengths[part], int(self.counts[region]))

    def voxels(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Flat indices of all regions' voxels, and where each region begins in them, shape (n + 1,)."""
        total = int(self.counts.sum())
        return runs.expand(self.starts, self.lengths, total), np.concatenate([[0], np.cumsum(self.counts)])

    def centroids(self) -> npt.NDArray[np.float64]:
        """Mean index (z, y, x) of each region's voxels, NaN for an empty one."""
        sums = runs.index_sums(self.starts, self.lengths, self.offsets, self.shape[1], self.shape[2])
        with np.errstate(invalid="ignore"):
            return np.asarray(sums / self.counts[:, None], dtype=np.float64)

    def select(self, order: Sequence[int] | IntArray, *, labels: Sequence[int] | IntArray | None = None) -> Regions:
        """Some of the regions in the given order, with new labels if given."""
        chosen = np.asarray(order, dtype=np.int64)
        sizes = (self.offsets[1:] - self.offsets[:-1])[chosen]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        take = np.arange(offsets[-1]) + np.repeat(self.offsets[chosen] - offsets[:-1], sizes)
        return Regions(
            self.shape,
            self.labels[chosen] if labels is None else np.asarray(labels, dtype=np.int64),
            self.counts[chosen],
            self.lower[chosen],
            self.upper[chosen],
            offsets,
            self.starts[take],
            self.lengths[take],
        )

    def ordered(self) -> Regions:
        """The regions by decreasing volume, then by their first voxel in raster order, labelled 1, 2, 3, ..."""
        filled = np.flatnonzero(self.counts)
        first = self.starts[self.offsets[:-1][filled]]
        order = filled[np.lexsort((first, -self.counts[filled]))]
        return self.select(order, labels=np.arange(1, len(order) + 1))

    def paint(self, dtype: npt.DTypeLike | None = None) -> IntArray:
        """The label volume. Pages without a region are never touched, so they take no memory.

        The data type is the smallest of uint8, uint16 and int32 that holds all labels, if none is given.
        """
        highest = int(self.labels.max(initial=0))
        kind = np.dtype(dtype) if dtype is not None else _smallest_type(highest)
        if highest > np.iinfo(kind).max:
            raise UsageError(
                "The data type does not hold all labels", field="dtype", found=kind, expected=f"room for {highest}"
            )
        volume = np.zeros(self.shape, dtype=kind)
        of_runs = np.repeat(self.labels.astype(kind), np.diff(self.offsets))
        runs.paint(volume.reshape(-1), self.starts, self.lengths, of_runs)
        return volume


def _smallest_type(highest: int) -> np.dtype[Any]:
    for kind in (np.uint8, np.uint16):
        if highest <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.int32)


def find_regions(labels: Any, *, wanted: Sequence[int] | None = None) -> Regions:
    """Find all regions of a label volume in one pass.

    Parameters
    ----------
    labels
        Integer or boolean volume (z, y, x), an array or lazy; 0 is background.
    wanted
        Labels to return, in this order; one that does not occur becomes an empty region. All that occur if not given.

    Returns
    -------
    Regions
        By increasing label, or in the order of ``wanted``.
    """
    shape = checked_shape(labels, "labels")
    _, x0, x1, values, rows = _scan(labels, shape)
    starts, lengths = rows * shape[2] + x0, x1 - x0
    highest = int(values.max(initial=0))
    if highest < _DENSE_LIMIT:
        present = np.zeros(highest + 1, dtype=np.int64)
        present[values] = 1
        found = np.flatnonzero(present)
        dense = (np.cumsum(present) - 1)[values]
    else:
        found, dense = np.unique(values, return_inverse=True)
    regions = _assemble(shape, starts, lengths, dense, found)
    return regions if wanted is None else _pick(regions, wanted)


def components(
    mask: Any,
    *,
    connectivity: Connectivity = 26,
    spacing: Sequence[float] | None = None,
    min_volume_ml: float = 0.0,
    min_voxels: int = 1,
) -> Regions:
    """Connected components of a mask, by decreasing volume, then by position.

    Runs of neighbouring rows are joined, so the work beyond one pass over the mask grows with the number of runs, not
    of voxels. Runs as the unit are from He, Chao & Suzuki, IEEE Trans Image Process 2008,
    doi:10.1109/TIP.2008.919369; which runs belong together is kept in a union-find forest, not in their label sets.

    Parameters
    ----------
    mask
        Volume (z, y, x); every value but 0 is inside.
    connectivity
        Neighbours of a voxel that belong with it: 6 (faces), 18 (and edges) or 26 (and corners).
    spacing
        Voxel edges (z, y, x) in mm; needed for ``min_volume_ml`` only.
    min_volume_ml, min_voxels
        Smaller components are dropped; one exactly as large stays.
    """
    shape, starts, lengths, rank, number = _ranked_runs(mask, connectivity, spacing, min_volume_ml, min_voxels)
    return _assemble(shape, starts, lengths, rank, np.arange(1, number + 1))


def label_components(
    mask: Any,
    *,
    connectivity: Connectivity = 26,
    spacing: Sequence[float] | None = None,
    min_volume_ml: float = 0.0,
    min_voxels: int = 1,
) -> IntArray:
    """As :func:`components`, painted into a label volume: 1 is the largest component."""
    shape, starts, lengths, rank, number = _ranked_runs(mask, connectivity, spacing, min_volume_ml, min_voxels)
    volume = np.zeros(shape, dtype=_smallest_type(number))
    runs.paint(volume.reshape(-1), starts, lengths, (rank + 1).astype(volume.dtype))
    return volume


def relabel(labels: Any) -> IntArray:
    """Number the regions of a label volume anew: 1, 2, 3, ... by decreasing volume, then by position."""
    return find_regions(labels).ordered().paint()


def separate_bodies(
    mask: Any, spacing: Sequence[float], *, expected: int | None = None, min_volume_ml: float = 1.0
) -> IntArray:
    """Label the bodies in one bed, as when several animals are scanned together.

    Bodies are 26-connected components of at least ``min_volume_ml``, labelled 1, 2, ... by the position of their
    centre as one reads: along x, then row by row along y, then along z. Centres closer than half a body's width count
    as level.

    Parameters
    ----------
    mask
        Where there is body: a threshold on CT, or on PET above air. Volume (z, y, x).
    spacing
        Voxel edges (z, y, x) in mm.
    expected
        Number of bodies; another number is refused (bodies touch, or a bed was taken for one).
    min_volume_ml
        Smaller components are no bodies. 1 mL suits mice.
    """
    found = components(mask, spacing=spacing, min_volume_ml=min_volume_ml)
    if expected is not None and len(found) != expected:
        raise DataError(
            "The number of bodies in the bed is not as expected",
            field="mask",
            found=len(found),
            expected=expected,
            mend="change the threshold of the mask so that bodies do not touch, or give a label file",
        )
    if len(found) == 0:
        return found.paint()
    centres = found.centroids() * np.asarray(spacing, dtype=np.float64)
    half_widths = np.median((found.upper - found.lower) * np.asarray(spacing), axis=0) / 2
    levels = [_levels(centres[:, axis], half_widths[axis]) for axis in range(3)]
    order = np.lexsort((levels[2], levels[1], levels[0]))
    return found.select(order, labels=np.arange(1, len(order) + 1)).paint()


def _levels(positions: npt.NDArray[np.float64], tolerance: float) -> npt.NDArray[np.int64]:
    order = np.argsort(positions, kind="stable")
    level = np.concatenate([[0], np.cumsum(np.diff(positions[order]) > tolerance)])
    out = np.empty(len(positions), dtype=np.int64)
    out[order] = level
    return out


def _ranked_runs(
    mask: Any,
    connectivity: Connectivity,
    spacing: Sequence[float] | None,
    min_volume_ml: float,
    min_voxels: int,
) -> tuple[tuple[int, int, int], Int64, Int64, Int64, int]:
    """Shape; starts, lengths and component of the runs, in raster order; number of components.

    Component 0 is the largest; of equal ones the earlier comes first.
    """
    if connectivity not in (6, 18, 26):
        raise UsageError("No such neighbourhood", field="connectivity", found=connectivity, expected="6, 18 or 26")
    least = min_voxels
    if min_volume_ml > 0:
        if spacing is None:
            raise UsageError(
                "A minimum volume in mL needs the voxel spacing", field="spacing", mend="give spacing=(z, y, x) in mm"
            )
        # A hair of tolerance, so that a component of exactly the minimum volume survives rounding.
        least = max(least, int(np.ceil(min_volume_ml / voxel_volume_ml(spacing) * (1 - 1e-9))))
    shape = checked_shape(mask, "mask")
    row_offsets, x0, x1, _, rows = _scan(mask, shape, binary=True)
    component, number = runs.flatten(runs.join_rows(row_offsets, x0, x1, shape[0], shape[1], connectivity))
    starts, lengths = rows * shape[2] + x0, x1 - x0
    counts = np.bincount(component, weights=lengths, minlength=number)
    kept = np.flatnonzero(counts >= least)
    # Components are numbered by their first voxel, which a stable sort keeps among equals.
    order = kept[np.argsort(-counts[kept], kind="stable")]
    rank = np.full(number, -1, dtype=np.int64)
    rank[order] = np.arange(len(order))
    rank = rank[component]
    if len(order) < number:
        inside = rank >= 0
        starts, lengths, rank = starts[inside], lengths[inside], rank[inside]
    return shape, starts, lengths, rank, len(order)


def _scan(volume: Any, shape: tuple[int, int, int], *, binary: bool = False) -> tuple[npt.NDArray[np.int64], ...]:
    """Runs of a volume in raster order: row offsets, first and past-the-end x, value, row."""
    counts, firsts, lasts, values = [], [], [], []
    for start, stop in slab_limits(volume):
        part = _countable(slab(volume, start, stop), binary=binary).reshape(-1, shape[2])
        row_counts = runs.count_runs(part)
        x0, x1, value, smallest = runs.fill_runs(part, row_counts)
        if smallest < 0:
            raise DataError(
                "Labels are counting numbers",
                field="labels",
                found=smallest,
                expected="0 for background, else positive",
            )
        counts.append(row_counts)
        firsts.append(x0)
        lasts.append(x1)
        values.append(value)
    per_row = np.concatenate(counts) if counts else np.zeros(0, dtype=np.int64)
    rows = np.repeat(np.arange(len(per_row)), per_row)
    offsets = np.concatenate([[0], np.cumsum(per_row)])
    return offsets, np.concatenate(firsts), np.concatenate(lasts), np.concatenate(values), rows


def _countable(part: npt.NDArray[Any], *, binary: bool) -> npt.NDArray[Any]:
    """The slab in one of the few data types that the run finder is compiled for."""
    if part.dtype == np.bool_:
        return part.view(np.uint8)
    if binary:
        return (part != 0).view(np.uint8)
    if part.dtype.kind == "f":
        if not np.array_equal(part, np.trunc(part)):
            raise DataError(
                "Labels are counting numbers",
                field="labels",
                found="fractions or NaN",
                expected="whole numbers",
                mend="resample label volumes by nearest neighbour",
            )
        return part.astype(np.int64)
    if part.dtype in (np.uint8, np.uint16, np.int32):
        return part
    if part.dtype.kind not in "iu":
        raise DataError("Labels are counting numbers", field="labels", found=part.dtype, expected="an integer type")
    return part.astype(np.int32 if part.dtype.itemsize <= 2 else np.int64)


def _assemble(
    shape: tuple[int, int, int],
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    dense: npt.NDArray[np.int64],
    labels: IntArray,
) -> Regions:
    """Group runs by their dense region number 0 to n - 1, raster order kept within a region."""
    n = len(labels)
    # Small integers are sorted by radix, several times as fast as int64.
    order = np.argsort(dense.astype(np.uint16) if n <= 1 << 16 else dense, kind="stable")
    per_region = np.bincount(dense, minlength=n)
    offsets = np.concatenate([[0], np.cumsum(per_region)]).astype(np.int64)
    starts, lengths = starts[order], lengths[order]
    counts, lower, upper = runs.boxes(starts, lengths, offsets, shape[1], shape[2])
    return Regions(shape, np.asarray(labels, dtype=np.int64), counts, lower, upper, offsets, starts, lengths)


def _pick(regions: Regions, wanted: Sequence[int]) -> Regions:
    """The wanted labels in their order, absent ones as empty regions."""
    place = {int(label): i for i, label in enumerate(regions.labels)}
    n = len(regions)
    nothing = np.zeros(1, dtype=np.int64)
    # One empty region past the end stands for all that are absent.
    padded = Regions(
        regions.shape,
        np.append(regions.labels, 0),
        np.append(regions.counts, nothing),
        np.vstack([regions.lower, np.zeros((1, 3), dtype=np.int64)]),
        np.vstack([regions.upper, np.zeros((1, 3), dtype=np.int64)]),
        np.append(regions.offsets, regions.offsets[-1]),
        regions.starts,
        regions.lengths,
    )
    return padded.select([place.get(int(label), n) for label in wanted], labels=list(wanted))
