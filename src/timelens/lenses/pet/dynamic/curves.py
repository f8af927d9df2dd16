"""Time-activity curves of regions, weights of frames, and the series as something that maps read slab by slab.

No more than one frame, or a few slices of all frames, is in memory at once where the image itself is lazy.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics.frames import Frames
from timelens.engines.kinetics.selection import frame_weights
from timelens.errors import DataError, MissingFieldError
from timelens.study.acquisition import Acquisition
from timelens.study.image import Image
from timelens.study.table import Table

__all__ = [
    "Curves",
    "ImageSlabs",
    "curves_table",
    "frames_of",
    "region_curves",
    "scaled_series",
    "time_window_mean",
    "weights_of",
]

Floats = NDArray[np.float64]
Weighting = Literal["counts", "duration", "uniform"]

#: The brightest voxels of a frame: this percentile, so that single hot voxels do not decide.
_BRIGHT_PERCENTILE = 99.9
#: Least activity of a frame in its weight, as a part of the largest.
FAINTEST = 0.05
#: Values looked at per frame for the brightest voxels.
_LOOKED_AT = 200_000


@dataclass(frozen=True, eq=False)
class Curves:
    """Curves of regions.

    Attributes
    ----------
    names
        Of the regions.
    mean, sd
        (frames, regions), over the voxels of the region.
    voxels
        (regions,).
    whole
        (frames,), mean of the whole image.
    bright
        (frames,), the 99.9th percentile of the image.
    unit
        Of the values.
    """

    names: tuple[str, ...]
    mean: Floats
    sd: Floats
    voxels: NDArray[np.int64]
    whole: Floats
    bright: Floats
    unit: str

    def of(self, name: str) -> Floats:
        """The mean curve of one region."""
        return np.asarray(self.mean[:, self.names.index(name)])


def frames_of(acquisition: Acquisition) -> Frames:
    """Frames in seconds from the injection.

    Raises
    ------
    MissingFieldError
        If the series has no frame times, or nobody knows when they were relative to the injection.
    """
    timing = acquisition.image.frames
    if timing is None:
        raise MissingFieldError(
            "The series has no frame times",
            file=acquisition.where,
            field="FrameTimesStart, FrameDuration",
            expected="start and duration of each frame in s",
        )
    offset = 0.0
    if timing.zero != "injection":
        injected, scanned = acquisition.administered_time, acquisition.acquisition_time
        if injected is None or scanned is None:
            raise MissingFieldError(
                "When the frames were measured after the injection is not known",
                file=acquisition.where,
                field="administered_time",
                found="nothing" if injected is None else "no time of the scan",
                expected="date and time of the injection and of the first frame",
                mend="write administered_time in study.yaml, or InjectionStart in the sidecar",
            )
        offset = (scanned - injected).total_seconds()
    return Frames(timing.start + offset, timing.end + offset)


def region_curves(image: Image, masks: Mapping[str, NDArray[np.bool_]]) -> Curves:
    """Mean and standard deviation of each region in each frame, one frame in memory at a time.

    Parameters
    ----------
    image
        (t, z, y, x).
    masks
        Name to mask (z, y, x).
    """
    count = image.shape[0]
    inside = {name: np.flatnonzero(mask.reshape(-1)) for name, mask in masks.items()}
    mean, sd = np.full((count, len(inside)), np.nan), np.full((count, len(inside)), np.nan)
    whole, bright = np.empty(count), np.empty(count)
    step = max(1, math.prod(image.shape[1:]) // _LOOKED_AT)
    for t in range(count):
        frame = np.asarray(image.array[t]).reshape(-1)
        whole[t] = np.nanmean(frame, dtype=np.float64)
        sample = frame[::step]
        bright[t] = np.percentile(sample[np.isfinite(sample)], _BRIGHT_PERCENTILE) if sample.size else np.nan
        for r, index in enumerate(inside.values()):
            if index.size:
                values = frame[index].astype(np.float64)
                mean[t, r], sd[t, r] = values.mean(), values.std(ddof=1) if index.size > 1 else np.nan
    voxels = np.array([index.size for index in inside.values()], dtype=np.int64)
    return Curves(tuple(inside), mean, sd, voxels, whole, bright, image.unit)


def weights_of(
    frames: Frames, whole: Floats, *, kind: Weighting = "counts", half_life_s: float | None = None
) -> Floats:
    """One over the variance of each frame, mean 1.

    ``counts``: duration times undecayed over decay-corrected activity of the whole image; ``duration``; ``uniform``.
    Frames before the bolus count as if they held :data:`FAINTEST` of the largest activity: they have randoms and
    scatter too, and would else outweigh all others.
    """
    if kind == "uniform":
        return np.ones(len(frames))
    if kind == "duration":
        return np.asarray(frames.duration / frames.duration.mean())
    curve = np.where(np.isfinite(whole) & (whole > 0), whole, 0.0)
    if not curve.any():
        raise DataError("The image is empty: it gives no weights", field="weights", found="no positive frame")
    return frame_weights(frames, np.maximum(curve, FAINTEST * curve.max()), half_life=half_life_s)


def curves_table(curves: Curves, frames: Frames) -> Table:
    """The curves as a tidy table: region, frame_start_s, frame_duration_s, mean, sd, voxels, unit."""
    import pandas as pd

    count = len(frames)
    rows = pd.DataFrame(
        {
            "region": np.repeat(np.array(curves.names, object), count),
            "frame_start_s": np.tile(frames.start, len(curves.names)),
            "frame_duration_s": np.tile(frames.duration, len(curves.names)),
            "mean": curves.mean.T.reshape(-1),
            "sd": curves.sd.T.reshape(-1),
            "voxels": np.repeat(curves.voxels, count),
            "unit": curves.unit,
        }
    )
    units = {
        "frame_start_s": "s",
        "frame_duration_s": "s",
        "mean": curves.unit,
        "sd": curves.unit,
        "voxels": "{voxels}",
    }
    return Table(rows, units)


class _Scaled:
    """Frames times a factor each, computed as they are read."""

    def __init__(self, array: Any, factors: Floats) -> None:
        self._array, self._factors = array, factors.astype(np.float32)
        self.shape, self.dtype, self.ndim = tuple(array.shape), np.dtype(np.float32), len(array.shape)

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        frame = key[0] if isinstance(key, tuple) else key
        factor = self._factors[frame]
        part = np.asarray(self._array[key], np.float32)
        return part * (factor if np.ndim(factor) == 0 else factor.reshape(-1, *[1] * (part.ndim - 1)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)


def scaled_series(image: Image, factors: float | Floats, unit: str) -> Image:
    """The series times one factor, or one per frame, in a new unit; frames are read and scaled one by one.

    Where every factor is 1 the array itself is kept.
    """
    values = np.broadcast_to(np.asarray(factors, float), (image.shape[0],))
    array: Any = image.array
    if not np.all(values == 1.0):
        array = _Scaled(array, values)
    return Image(
        array, unit=unit, axes=image.axes, geometry=image.geometry, quantity="activity_concentration",
        decay_reference=image.decay_reference, frames=image.frames, name=image.name,
    )  # fmt: skip


class ImageSlabs:
    """A series of frames as the engine's maps read it: runs of voxels, at most two groups of slices in memory.

    Parameters
    ----------
    image
        (t, z, y, x), numpy, memory-mapped or dask.
    keep
        Frames used, all if None.
    """

    #: Voxels of one group of slices.
    GROUP = 1 << 18

    def __init__(self, image: Image, keep: Sequence[int] | None = None) -> None:
        self._array: Any = image.array
        self._keep = list(range(image.shape[0])) if keep is None else [int(k) for k in keep]
        self.shape = (len(self._keep), *image.shape[1:])
        self._plane = math.prod(self.shape[2:])
        self._depth = max(1, self.GROUP // self._plane)
        self._held: dict[int, NDArray[Any]] = {}
        self._lock = threading.Lock()
        self._plain = isinstance(self._array, np.ndarray) and self._array.flags.c_contiguous

    def slab(self, start: int, stop: int, first: int) -> NDArray[Any]:
        """Voxels ``start`` to ``stop`` of frame ``first`` and all later ones."""
        if self._plain and len(self._keep) == self._array.shape[0]:
            return np.asarray(self._array.reshape(self._array.shape[0], -1)[first:, start:stop])
        size = self._depth * self._plane
        parts = []
        for number in range(start // size, (stop - 1) // size + 1):
            group = self._group(number)
            low = number * size
            parts.append(group[first:, max(start - low, 0) : stop - low])
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _group(self, number: int) -> NDArray[Any]:
        with self._lock:
            if number not in self._held:
                rows = slice(number * self._depth, (number + 1) * self._depth)
                frames = [np.asarray(self._array[t, rows]) for t in self._keep]
                while len(self._held) > 1:
                    del self._held[min(self._held)]
                self._held[number] = np.stack(frames).reshape(len(frames), -1)
            return self._held[number]


def time_window_mean(image: Image, first: int, last: int, durations: Floats) -> Image:
    """Mean of frames ``first`` to ``last`` (inclusive) weighted by their durations, as a volume of the same unit."""

    def mean(array: NDArray[np.generic]) -> NDArray[np.float32]:
        total = np.zeros(image.shape[1:], np.float64)
        for t in range(first, last + 1):
            total += durations[t] * np.asarray(array[t], np.float64)
        return (total / durations[first : last + 1].sum()).astype(np.float32)

    return Image(
        lambda: mean(image.array),
        shape=image.shape[1:],
        dtype=np.float32,
        unit=image.unit,
        geometry=image.geometry,
        quantity=image.quantity,
        decay_reference=image.decay_reference,
        name=image.name,
    )
