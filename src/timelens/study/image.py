"""Image: an array that knows its axes, its place in space, its unit and its timing.

An image is lazy: shape, axes, geometry, unit and timing are known without reading a pixel. Its source is a numpy array,
a dask array, or a function that returns one of them when pixels are first needed. Every operation keeps geometry, unit
and timing right, or refuses; there is no operation that would lose them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from timelens import units
from timelens.errors import DataError, GeometryError, UsageError
from timelens.knowledge import quantities
from timelens.study.axes import SPACE, Axis, default_names
from timelens.study.combine import decay_of_product, require_addable, require_same_space
from timelens.study.geometry import Geometry, Registration
from timelens.study.timing import FrameTiming

__all__ = ["Image"]

#: A numpy or a dask array (dask is optional, so it cannot be named here).
AnyArray: TypeAlias = Any
Loader: TypeAlias = Callable[[], AnyArray]


class Image:
    """An n-dimensional array with axes, unit and, where it has space axes, a geometry.

    Parameters
    ----------
    data
        numpy or dask array, or a function without arguments that returns one.
    unit
        UCUM code of the values; ``1`` if dimensionless.
    axes
        One per dimension; by default the usual names for 2 to 5 dimensions (``t c z y x``).
    geometry
        Needed where axes z, y and x are all there; None for raw data.
    quantity
        Name in the quantity vocabulary, if known.
    decay_reference
        The date-time to which values are decay-corrected, or None where they are not.
    frames
        Timing along axis ``t``.
    shape, dtype
        Needed with a loading function only.
    name
        A short name for messages (never a patient's).

    Raises
    ------
    UnitError, DataError, GeometryError, UsageError
        If unit, axes, geometry or timing do not fit the data.
    """

    #: numpy leaves arithmetic with an image to the image, which refuses bare arrays: they have no unit.
    __array_ufunc__ = None

    def __init__(
        self,
        data: AnyArray | Loader,
        *,
        unit: str,
        axes: Sequence[Axis] | None = None,
        geometry: Geometry | None = None,
        quantity: str | None = None,
        decay_reference: datetime | None = None,
        frames: FrameTiming | None = None,
        shape: Sequence[int] | None = None,
        dtype: DTypeLike | None = None,
        name: str = "",
    ) -> None:
        if callable(data):
            if shape is None or dtype is None:
                raise UsageError("A loading function needs the shape and dtype of what it will return")
            self._loader: Loader | None = data
            self._data: AnyArray = None
            self.shape: tuple[int, ...] = tuple(int(n) for n in shape)
            self.dtype: np.dtype[Any] = np.dtype(dtype)
        else:
            self._loader = None
            self._data = data
            if not hasattr(data, "shape"):
                raise UsageError("An image needs an array", found=type(data).__name__, mend="numpy.asarray(...)")
            self.shape = tuple(data.shape)
            self.dtype = np.dtype(data.dtype)
        self.unit = units.parse(unit).code
        self.axes: tuple[Axis, ...] = tuple(axes) if axes is not None else default_names(len(self.shape))
        self.geometry = geometry
        self.quantity = quantity
        self.decay_reference = decay_reference
        self.frames = frames
        self.name = name
        self._check()

    def _check(self) -> None:
        names = [a.name for a in self.axes]
        if len(names) != len(self.shape) or len(set(names)) != len(names):
            raise DataError(
                f"{len(self.shape)} dimensions need as many different axes", field="axes", found=names, file=self.name
            )
        for axis, length in zip(self.axes, self.shape, strict=True):
            axis.check(length)
        volume = all(n in names for n in SPACE)
        if volume and self.geometry is None:
            raise GeometryError(
                "An image with axes z, y, x needs a geometry", field="geometry", found="none", file=self.name
            )
        if self.geometry is not None:
            if not volume or tuple(names[-3:]) != SPACE:
                raise GeometryError(
                    "A geometry belongs to the last axes z, y, x", field="axes", found=names, file=self.name
                )
            if self.geometry.shape != self.shape[-3:]:
                raise GeometryError(
                    "Array and geometry differ in size",
                    field="shape",
                    found=self.shape[-3:],
                    expected=self.geometry.shape,
                    file=self.name,
                )
        if self.frames is not None and ("t" not in names or len(self.frames) != self.shape[names.index("t")]):
            raise DataError(
                "The frame timing does not fit axis t",
                field="frames",
                found=f"{len(self.frames)} frames",
                expected=f"axes {names} of {self.shape}",
                file=self.name,
            )
        if (
            self.quantity is not None
            and (known := quantities.find(self.quantity)) is not None
            and known.kind != "value"
        ):
            units.require_same_kind(self.unit, known.unit, operation=f"give the quantity {known.name} the unit")

    def __repr__(self) -> str:
        size = " x ".join(f"{a.name} {n}" for a, n in zip(self.axes, self.shape, strict=True))
        return f"<Image {self.name or self.quantity or ''} {size} [{self.unit}] {self.dtype}>"

    # -- pixels --------------------------------------------------------------------------------------------------

    @property
    def loaded(self) -> bool:
        """Whether pixels are in hand (a dask array counts)."""
        return self._data is not None

    @property
    def array(self) -> AnyArray:
        """The numpy or dask array; read now if it was not yet.

        Raises
        ------
        DataError
            If the file gives an array of another shape or type than its header said.
        """
        if self._data is None:
            assert self._loader is not None
            data = self._loader()
            if tuple(data.shape) != self.shape:
                raise DataError(
                    "The file gives another shape than its header says",
                    found=tuple(data.shape),
                    expected=self.shape,
                    file=self.name,
                )
            if data.dtype != self.dtype:
                if not np.can_cast(data.dtype, self.dtype, "same_kind"):
                    raise DataError(
                        "The file gives values of another type than its header says",
                        found=data.dtype,
                        expected=self.dtype,
                        file=self.name,
                    )
                data = data.astype(self.dtype)
            self._data = data
        return self._data

    def numpy(self) -> NDArray[Any]:
        """The values in memory."""
        return np.asarray(self.array)

    def axis(self, name: str) -> int:
        """Position of the axis of that name.

        Raises
        ------
        UsageError
            If there is none.
        """
        names = [a.name for a in self.axes]
        if name not in names:
            raise UsageError(f"The image has no axis {name!r}", found=name, expected=names)
        return names.index(name)

    # -- images made from it -------------------------------------------------------------------------------------

    def _derived(self, compute: Callable[[AnyArray], AnyArray], *, shape: Sequence[int], **changes: Any) -> Image:
        """A new image whose pixels are computed from these when needed."""
        keep: dict[str, Any] = {
            "unit": self.unit,
            "axes": self.axes,
            "geometry": self.geometry,
            "quantity": self.quantity,
            "decay_reference": self.decay_reference,
            "frames": self.frames,
            "name": self.name,
        }
        keep.update(changes)
        dtype = keep.pop("dtype", self.dtype)
        return Image(lambda: compute(self.array), shape=shape, dtype=dtype, **keep)

    def isel(self, index: Mapping[str, int | slice] | None = None, /, **by_name: int | slice) -> Image:
        """A part of the image by axis name: ``image.isel(t=0, z=slice(10, 20))``.

        An integer drops its axis (not a space axis, which would lose the geometry: take a slice of one).

        Raises
        ------
        UsageError
            If an axis is not there, or an integer is given for a space axis of a volume.
        """
        wanted = {**(index or {}), **by_name}
        full: list[int | slice] = [slice(None)] * len(self.shape)
        for name, cut in wanted.items():
            if isinstance(cut, int | np.integer) and name in SPACE and self.geometry is not None:
                raise UsageError(
                    f"One index of axis {name!r} would lose the geometry",
                    found=cut,
                    mend=f"{name}=slice({cut}, {cut} + 1)",
                )
            full[self.axis(name)] = cut
        shape, axes = [], []
        for axis, size, cut in zip(self.axes, self.shape, full, strict=True):
            if isinstance(cut, slice):
                shape.append(len(range(size)[cut]))
                axes.append(axis.take(cut))
            elif not isinstance(cut, int | np.integer):
                raise UsageError(
                    f"Axis {axis.name!r} is cut by a number or a slice", found=type(cut).__name__, expected="int, slice"
                )
            elif not -size <= cut < size:
                raise UsageError(f"Axis {axis.name!r} has no position {cut}", found=cut, expected=f"0 to {size - 1}")
        if 0 in shape:
            raise UsageError("The cut leaves nothing", found=dict(wanted))
        geometry = self.geometry
        if geometry is not None:
            geometry = geometry.crop([c for c in full[-3:] if isinstance(c, slice)])
        frames = self.frames
        if frames is not None:
            cut = full[self.axis("t")]
            frames = frames.take(cut) if isinstance(cut, slice) else None
        key = tuple(full)
        return self._derived(lambda a: a[key], shape=shape, axes=axes, geometry=geometry, frames=frames)

    def frame(self, number: int) -> Image:
        """One frame as a volume; the image itself if it has no time axis and number is 0."""
        if "t" not in [a.name for a in self.axes] and number == 0:
            return self
        return self.isel(t=number)

    def to_unit(self, unit: str) -> Image:
        """The same values in another unit of the same kind.

        Raises
        ------
        UnitError
            If the units measure different things.
        """
        units.require_same_kind(self.unit, unit, operation="convert between")
        if units.parse(unit).code == self.unit:
            return self
        return self._derived(
            lambda a: units.convert(_floating(a), self.unit, unit),
            shape=self.shape,
            unit=unit,
            dtype=np.result_type(self.dtype, np.float32),
        )

    def scaled(
        self,
        factor: float | ArrayLike,
        factor_unit: str,
        *,
        unit: str | None = None,
        quantity: str | None = None,
        decay_reference: datetime | None | Literal["keep"] = "keep",
    ) -> Image:
        """The image times a constant that has a unit (Bq/mL times g/Bq is g/mL).

        Parameters
        ----------
        factor
            One number, or one per position of the first axis.
        factor_unit
            UCUM code of the factor.
        unit
            Unit wanted for the result; converted to, if of the same kind.
        quantity
            What the result is, in the vocabulary.
        decay_reference
            The new reference where the factor re-references decay.
        """
        result = units.parse(self.unit) * factor_unit
        wanted = unit or result.code
        values = np.asarray(factor, float) * units.conversion_factor(result, wanted)
        if not np.isfinite(values).all():
            raise DataError("A factor is not finite", field="factor", found=factor, file=self.name)
        if values.ndim == 1:
            if len(values) != self.shape[0]:
                raise DataError("One factor per position of the first axis", found=len(values), expected=self.shape[0])
            values = values.reshape(-1, *[1] * (len(self.shape) - 1))
        elif values.ndim:
            raise DataError("A factor is one number, or one per position of the first axis", found=values.shape)
        dtype = np.result_type(self.dtype, np.float32)
        values = values.astype(dtype)
        return self._derived(
            lambda a: _floating(a) * values,
            shape=self.shape,
            unit=wanted,
            quantity=quantity,
            dtype=dtype,
            decay_reference=self.decay_reference if decay_reference == "keep" else decay_reference,
        )

    def with_info(self, **changes: Any) -> Image:
        """The same pixels with geometry, quantity, frames, decay_reference, name or unit stated anew by the user.

        Stating a unit is for images that came without one; values are not changed.
        """
        unknown = set(changes) - {"geometry", "quantity", "frames", "decay_reference", "name", "unit"}
        if unknown:
            raise UsageError("Only what describes the pixels can be stated anew", found=sorted(unknown))
        return self._derived(lambda a: a, shape=self.shape, **changes)

    def resample_to(
        self, target: Geometry, *, order: int = 1, registration: Registration | None = None, fill: float = np.nan
    ) -> Image:
        """The image on another grid.

        Parameters
        ----------
        target
            The grid.
        order
            Spline order: 0 nearest (labels), 1 trilinear, 3 cubic.
        registration
            Leads from this image's frame to the target's where they differ.
        fill
            Value where a voxel's centre lies outside of this image's box; integers by the nearest voxel get 0.

        Raises
        ------
        GeometryError
            If this image has no geometry, or the frames differ and no registration joins them.
        DataError
            When pixels are computed, if some are not finite and the order is 2 or more.
        """
        if self.geometry is None:
            raise GeometryError("Raw data without a geometry cannot be resampled", file=self.name)
        target.require_same_frame(self.geometry, registration=registration)
        if target.same_frame(self.geometry) and target.same_grid(self.geometry):
            return self.with_info(geometry=target)
        to_source = np.linalg.inv(self.geometry.affine)
        if registration is not None and not target.same_frame(self.geometry):
            to_source = to_source @ np.linalg.inv(registration.matrix)
        matrix = to_source @ target.affine
        keeps = self.dtype.kind in "iub" and order == 0
        dtype = self.dtype if keeps else np.result_type(self.dtype, np.float32)

        def compute(array: AnyArray) -> NDArray[Any]:
            from timelens.study.resample import resample

            values = np.asarray(array)
            return resample(values, matrix, target.shape, order=order, fill=0 if keeps else fill, dtype=dtype)

        return self._derived(compute, shape=(*self.shape[:-3], *target.shape), geometry=target, dtype=dtype)

    # -- arithmetic ----------------------------------------------------------------------------------------------

    def _plus(self, other: Image, sign: int) -> Image:
        if not isinstance(other, Image):
            return NotImplemented
        require_addable(self, other, "add" if sign > 0 else "subtract")
        factor = units.conversion_factor(other.unit, self.unit) * sign
        quantity = self.quantity if self.quantity == other.quantity else None
        dtype = np.result_type(self.dtype, other.dtype, np.float32)
        return self._derived(
            lambda a: (_floating(a) + _floating(other.array) * dtype.type(factor)).astype(dtype),
            shape=self.shape,
            quantity=quantity,
            frames=self.frames if self.frames is not None else other.frames,
            dtype=dtype,
        )

    def __add__(self, other: Image) -> Image:
        return self._plus(other, +1)

    def __sub__(self, other: Image) -> Image:
        return self._plus(other, -1)

    def _times(self, other: Image | float, invert: bool) -> Image:
        if isinstance(other, Image):
            require_same_space(self, other)
            unit = units.parse(self.unit) / other.unit if invert else units.parse(self.unit) * other.unit
            dtype = np.result_type(self.dtype, other.dtype, np.float32)

            def compute(a: AnyArray) -> AnyArray:
                b = _floating(other.array)
                if not invert:
                    return _floating(a) * b
                with np.errstate(divide="ignore", invalid="ignore"):
                    return _floating(a) / b

            return self._derived(
                compute,
                shape=self.shape,
                unit=unit.code,
                quantity=None,
                decay_reference=decay_of_product(self, other, invert=invert),
                frames=self.frames if self.frames is not None else other.frames,
                dtype=dtype,
            )
        if isinstance(other, int | float | np.number):
            if invert and other == 0:
                raise UsageError("An image cannot be divided by 0", file=self.name)
            return self.scaled(1.0 / float(other) if invert else float(other), "1", quantity=self.quantity)
        return NotImplemented

    def __mul__(self, other: Image | float) -> Image:
        return self._times(other, invert=False)

    __rmul__ = __mul__

    def __truediv__(self, other: Image | float) -> Image:
        return self._times(other, invert=True)


def _floating(array: AnyArray) -> AnyArray:
    """Short integers as float32, long ones as float64 (float32 would round them), real and complex as they are."""
    dtype = np.result_type(array.dtype, np.float32)
    return array if array.dtype == dtype else array.astype(dtype)
