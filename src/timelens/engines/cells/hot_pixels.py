"""Hot pixels: single pixels that outshine all their neighbours by more than tissue can."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from timelens.errors import UsageError

__all__ = ["filter_hot_pixels"]

_RING = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)


def filter_hot_pixels(image: ArrayLike, threshold: float) -> NDArray[np.float32]:
    """Replace pixels that exceed the highest of their eight neighbours by more than a threshold by that neighbour.

    The rule is that of steinbock (Windhager 2023, doi:10.1038/s41596-023-00881-0), whose usual threshold is 50 counts.

    Parameters
    ----------
    image
        Channels (..., y, x) in counts. NaN (never measured) stays NaN and is no neighbour.
    threshold
        In the unit of the image; positive.

    Returns
    -------
    ndarray of float32, shape of the image

    Raises
    ------
    UsageError
        If the threshold is not a positive number, or the image has fewer than two dimensions.
    """
    values = np.asarray(image, np.float32)
    if not threshold > 0 or not np.isfinite(threshold):
        raise UsageError("The threshold of hot pixels is a positive number", field="threshold", found=threshold)
    if values.ndim < 2:
        raise UsageError("An image has rows and columns", field="image", found=values.shape, expected="(..., y, x)")
    result = values.copy()
    for place in np.ndindex(values.shape[:-2]):
        plane = values[place]
        known = np.isfinite(plane)
        seen = plane if known.all() else np.where(known, plane, np.float32(-np.inf))
        highest = ndimage.maximum_filter(seen, footprint=_RING, mode="mirror")
        with np.errstate(invalid="ignore"):
            hot = known & np.isfinite(highest) & (plane - highest > threshold)
        result[place][hot] = highest[hot]
    return result
