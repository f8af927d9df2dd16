"""What the compiled fits of relaxometry share: a run over voxels in chunks, and judging what comes out."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.kinetics.fit import IMPRECISE_ABOVE, Fit
from timelens.engines.kinetics.model import as_mask, check_shape
from timelens.engines.kinetics.reasons import Reason

__all__ = ["CHUNK", "Kernel", "run"]

Array = NDArray[Any]

#: (data (images, n), first voxel, values (parameters, n), errors, rss (n,), reason (n,)) -> None
Kernel = Callable[[Array, int, Array, Array, Array, NDArray[np.int32]], None]

#: Voxels per task: a few hundred kB of data, so that it stays in the cache.
CHUNK = 16384


def run(
    name: str,
    units: dict[str, str],
    main: str,
    kernel: Kernel,
    data: ArrayLike,
    images: int,
    *,
    mask: ArrayLike | None,
    threads: int,
    dtype: type,
) -> Fit:
    """Fit every voxel of ``data`` (images, ...) by a kernel that writes values, errors, residual sums and reasons."""
    array = np.asarray(data)
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    check_shape(array.shape, images)
    shape = array.shape[1:]
    count = math.prod(shape)
    flat = array.reshape(images, count)
    chosen = as_mask(mask, shape)
    values: Array = np.full((len(units), count), np.nan, dtype)
    errors: Array = np.full((len(units), count), np.nan, dtype)
    rss: Array = np.full(count, np.nan, dtype)
    reason = np.zeros(count, np.int32)

    def work(start: int) -> None:
        at = slice(start, min(start + CHUNK, count))
        kernel(flat[:, at], start, values[:, at], errors[:, at], rss[at], reason[at])
        if chosen is not None:
            outside = ~chosen[at]
            values[:, at][:, outside], errors[:, at][:, outside], rss[at][outside] = np.nan, np.nan, np.nan
            reason[at][outside] = int(Reason.NOT_SELECTED)

    with ThreadPoolExecutor(max(1, threads)) as pool:
        list(pool.map(work, range(0, count, CHUNK)))
    index = list(units).index(main)
    with np.errstate(invalid="ignore"):
        loose = ~(errors[index] <= IMPRECISE_ABOVE * np.abs(values[index])) & (reason == 0)
    reason[loose] |= int(Reason.IMPRECISE)
    return Fit(
        name,
        {key: values[i].reshape(shape) for i, key in enumerate(units)},
        {key: errors[i].reshape(shape) for i, key in enumerate(units)},
        dict(units),
        main,
        rss.reshape(shape),
        images,
        2,
        reason.reshape(shape),
    )
