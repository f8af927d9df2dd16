"""Which images may be brought together: added, compared, multiplied."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from timelens import units
from timelens.errors import DataError, GeometryError, UnitError
from timelens.knowledge import quantities

if TYPE_CHECKING:
    from timelens.study.image import Image

__all__ = ["decay_of_product", "require_addable", "require_same_space"]


def require_addable(left: Image, right: Image, operation: str) -> None:
    """Refuse to add or subtract images that differ in kind, decay reference, place or timing.

    Raises
    ------
    UnitError
        If units, kinds of quantity or decay references differ.
    GeometryError, DataError
        As :func:`require_same_space`.
    """
    kinds = [known.kind if i.quantity and (known := quantities.find(i.quantity)) else "" for i in (left, right)]
    units.require_same_kind(left.unit, right.unit, operation=operation, left_kind=kinds[0], right_kind=kinds[1])
    if left.decay_reference != right.decay_reference:
        raise _other_reference(operation, left.decay_reference, right.decay_reference)
    require_same_space(left, right)


def require_same_space(left: Image, right: Image) -> None:
    """Refuse images whose voxels, frames or channels do not stand for the same.

    Raises
    ------
    GeometryError
        If shapes, grids or frames of reference differ, or a frame is unknown.
    DataError
        If frame timings, or positions along another axis, differ.
    """
    if left.shape != right.shape or [a.name for a in left.axes] != [a.name for a in right.axes]:
        raise GeometryError(
            "The images differ in shape",
            field="shape",
            found=right.shape,
            expected=left.shape,
            mend="resample_to, isel",
        )
    if left.geometry is not None and right.geometry is not None:
        left.geometry.require_same_grid(right.geometry)
    if left.frames is not None and right.frames is not None and not left.frames.close_to(right.frames):
        raise DataError("The frame timings of the two images differ", field="frames")
    for mine, theirs in zip(left.axes, right.axes, strict=True):
        if not mine.agrees_with(theirs):
            raise DataError(
                f"The two images have other positions along axis {mine.name!r}",
                field=mine.name,
                found=f"{theirs.coordinates} {theirs.unit}",
                expected=f"{mine.coordinates} {mine.unit}",
            )


def decay_of_product(left: Image, right: Image, *, invert: bool) -> datetime | None:
    """The decay reference of a product, or of a quotient (``invert``); in a quotient of two alike, decay cancels.

    Raises
    ------
    UnitError
        If the two are decay-corrected to different times, or only one of two activities is.
    """
    mine, theirs = left.decay_reference, right.decay_reference
    both_decay = all("radioactivity" in dict(units.parse(i.unit).exponents) for i in (left, right))
    if mine != theirs and (both_decay or (mine is not None and theirs is not None)):
        raise _other_reference("divide" if invert else "multiply", mine, theirs)
    if mine is not None and theirs is not None and invert:
        return None
    return mine if mine is not None else theirs


def _other_reference(operation: str, mine: datetime | None, theirs: datetime | None) -> UnitError:
    return UnitError(
        f"Cannot {operation} images decay-corrected to different times",
        field="decay_reference",
        found=f"{mine or 'not corrected'} and {theirs or 'not corrected'}",
        expected="one reference",
        mend="bring one to the reference of the other with engines.radioactivity first",
    )
