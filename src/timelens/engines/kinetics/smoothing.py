"""Smoothing of dynamic images in space before maps are made; nothing here happens unless it is asked for.

``"gaussian"`` smooths every frame, and loses resolution. ``"hypr"`` (HYPR-LR: Christian BT et al., J Nucl Med
2010;51:1147, doi:10.2967/jnumed.109.073999) multiplies a sharp composite, the mean over all frames, with the ratio of
the smoothed frame to the smoothed composite: noise falls nearly as with the Gaussian, edges that all frames share stay.
Where time courses differ strongly within the filter's reach, each borrows from its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from timelens.engines.kinetics.frames import Frames
from timelens.engines.kinetics.model import check_shape
from timelens.errors import DataError, UsageError

__all__ = ["denoise"]

Array = NDArray[Any]

_SIGMA = 1.0 / np.sqrt(8.0 * np.log(2.0))


def denoise(
    data: ArrayLike,
    frames: Frames,
    spacing: Sequence[float],
    *,
    method: Literal["gaussian", "hypr"],
    fwhm: float,
) -> Array:
    """A smoothed copy (float32) of a dynamic image.

    Parameters
    ----------
    data
        (frames, z, y, x), finite. Memory beyond the copy is three frames.
    frames
        Their durations weight the composite of ``"hypr"``.
    spacing
        Distance between voxels along z, y, x in mm.
    method
        ``"gaussian"`` or ``"hypr"``.
    fwhm
        Width of the Gaussian in mm (full width at half its height).

    Raises
    ------
    DataError
        Shapes do not fit, or voxels are NaN or infinite: a filter would spread them.
    UsageError
        Unknown method, or a width or spacing that is not positive.
    """
    if method not in ("gaussian", "hypr"):
        raise UsageError("Unknown denoising", field="method", found=method, expected="'gaussian' or 'hypr'")
    image = np.asarray(data)
    check_shape(image.shape, len(frames))
    steps = np.asarray(spacing, dtype=np.float64)
    if steps.shape != (image.ndim - 1,) or not (np.isfinite(steps) & (steps > 0)).all():
        raise UsageError(
            "Denoising needs one positive spacing per space axis", field="spacing", found=list(np.ravel(spacing)),
            expected=f"{image.ndim - 1} numbers in mm",
        )  # fmt: skip
    if not (np.isfinite(fwhm) and fwhm > 0):
        raise UsageError("The filter's width must be positive", field="fwhm", found=fwhm, expected="mm")
    for i, frame in enumerate(image):
        if not np.isfinite(frame).all():
            raise DataError(
                "A filter would spread voxels that are no numbers", field=f"frame {i}", found="NaN or infinity",
                mend="set voxels outside the body to zero, or leave the frame out",
            )  # fmt: skip
    sigma = fwhm * _SIGMA / steps

    def smooth(frame: Array) -> Array:
        return np.asarray(ndimage.gaussian_filter(frame.astype(np.float32), sigma, truncate=3.0))

    out = np.empty(image.shape, np.float32)
    if method == "gaussian":
        for i, frame in enumerate(image):
            out[i] = smooth(frame)
        return out
    share = frames.duration if frames.sampling == "frame" else np.ones(len(frames))
    composite = np.tensordot(share / share.sum(), image, axes=1).astype(np.float32)
    # Where the smoothed composite is only noise around zero a ratio means nothing: there the plain filter is used.
    low = smooth(composite)
    useful = (low > 1e-3 * float(low.max())) & (composite > 0)
    ratio = np.where(useful, composite / np.where(useful, low, 1.0), 1.0)
    for i, frame in enumerate(image):
        np.multiply(smooth(frame), ratio, out=out[i])
    return out
