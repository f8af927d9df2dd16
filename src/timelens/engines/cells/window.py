"""The piece of tissue that was looked at: a rectangle, or a mask with holes.

What lies outside was not seen, which is not the same as empty. Statistics of distance correct for it in two ways, and
ask the window for what they need: how far each cell lies from the border, and how much of the window would still be
inside if it were shifted (the set covariance).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.signal import fftconvolve

from timelens.engines.cells.graph import points_of
from timelens.errors import UsageError

__all__ = ["Window"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """A window that begins at (0, 0).

    Parameters
    ----------
    height, width
        Size of the frame in micrometres.
    mask
        Which pixels (y, x) of the frame belong to the window; None where all of it does.
    pixel
        Size of the mask's pixels along (y, x) in micrometres.
    """

    height: float
    width: float
    mask: NDArray[np.bool_] | None = field(default=None, repr=False)
    pixel: tuple[float, float] = (1.0, 1.0)

    @classmethod
    def rectangle(cls, height: float, width: float) -> Window:
        """All of a frame.

        Raises
        ------
        UsageError
            If a side is not positive.
        """
        if not (np.isfinite([height, width]).all() and height > 0 and width > 0):
            raise UsageError("A window has positive sides", field="height, width", found=(height, width), expected="um")
        return cls(float(height), float(width))

    @classmethod
    def from_mask(cls, mask: ArrayLike, pixel: tuple[float, float]) -> Window:
        """The pixels of a mask (y, x) that are true.

        Raises
        ------
        UsageError
            If no pixel is, or the size of a pixel is not positive.
        """
        inside = np.asarray(mask, bool)
        if inside.ndim != 2 or not inside.any():
            raise UsageError("A window has at least one pixel", field="mask", found=inside.shape, expected="(y, x)")
        frame = cls.rectangle(inside.shape[0] * pixel[0], inside.shape[1] * pixel[1])
        return cls(frame.height, frame.width, None if inside.all() else inside, (float(pixel[0]), float(pixel[1])))

    @property
    def area(self) -> float:
        """In square micrometres."""
        if self.mask is None:
            return self.height * self.width
        return float(self.mask.sum()) * self.pixel[0] * self.pixel[1]

    def contains(self, y: ArrayLike, x: ArrayLike) -> NDArray[np.bool_]:
        """Whether each position lies inside."""
        points = points_of(y, x)
        inside: NDArray[np.bool_] = np.all((points >= 0) & (points <= (self.height, self.width)), axis=1)
        if self.mask is not None:
            row, column = self._pixels(points[inside])
            inside[inside] = self.mask[row, column]
        return inside

    def border_distance(self, y: ArrayLike, x: ArrayLike) -> FloatArray:
        """How far each position lies from what was not seen, in micrometres.

        In a mask it is the distance from the centre of the position's pixel to the centre of the nearest pixel outside,
        or to the edge of the frame.

        Raises
        ------
        UsageError
            If a position lies outside of the window.
        """
        points = points_of(y, x)
        outside = ~self.contains(points[:, 0], points[:, 1])
        if outside.any():
            raise UsageError(
                "A cell lies outside of the window", field="y, x", found=tuple(points[outside][0]),
                expected=f"inside of {self.height:g} by {self.width:g} um and its mask",
            )  # fmt: skip
        if self.mask is None:
            return np.minimum(points, (self.height, self.width) - points).min(axis=1, initial=np.inf)
        row, column = self._pixels(points)
        away = ndimage.distance_transform_edt(self.mask, sampling=self.pixel)[row, column]
        centre = (np.column_stack([row, column]) + 0.5) * self.pixel
        return np.minimum(away, np.minimum(centre, (self.height, self.width) - centre).min(axis=1, initial=np.inf))

    def set_covariance(self, reach: float) -> FloatArray:
        """Area that the window shares with itself shifted by whole pixels, up to a distance along each axis.

        Between pixels it is bilinear, exactly, since the window is made of pixels.

        Returns
        -------
        ndarray, shape (2 m + 1, 2 n + 1)
            Shift zero is in the middle. For a rectangle, of shape (0, 0): it has a formula.
        """
        if self.mask is None:
            return np.zeros((0, 0))
        shift = [min(int(np.ceil(reach / p)) + 1, n - 1) for p, n in zip(self.pixel, self.mask.shape, strict=True)]
        solid = self.mask.astype(np.float64)
        whole = np.rint(fftconvolve(solid, solid[::-1, ::-1])) * self.pixel[0] * self.pixel[1]
        middle = [n - 1 for n in self.mask.shape]
        return np.asarray(whole[tuple(slice(c - s, c + s + 1) for c, s in zip(middle, shift, strict=True))])

    def _pixels(self, points: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        assert self.mask is not None
        index = np.minimum((points / self.pixel).astype(np.int64), np.array(self.mask.shape) - 1)
        return index[:, 0], index[:, 1]
