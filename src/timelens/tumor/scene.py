"""The scene: a host with its tumours on one day, and the uptake of one agent in every part of it over time.

What every lens needs of the truth, however it came about: shapes with a curve each, and tumours whose uptake differs
from voxel to voxel as fields on grids of their own. Uptake is SUV by body weight (g/mL), decay-corrected to injection;
times are seconds from injection.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.errors import DataError, UsageError
from timelens.study.geometry import Geometry
from timelens.tumor.digital_patient import DigitalPatient, Point, Shape

__all__ = ["Curve", "Scene", "TumourField", "curves_of"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curve:
    """Uptake over time, linear between its knots; one knot alone is uptake that stays.

    Parameters
    ----------
    times_s
        (n,), ascending, s from injection.
    suv
        (n,), g/mL, decay-corrected to injection.
    """

    times_s: Floats
    suv: Floats

    def __post_init__(self) -> None:
        times, values = np.atleast_1d(np.asarray(self.times_s, float)), np.atleast_1d(np.asarray(self.suv, float))
        if times.ndim != 1 or times.shape != values.shape or times.size == 0:
            raise DataError("A curve needs one value per time", found=f"shapes {times.shape} and {values.shape}")
        if not (np.isfinite(times).all() and np.isfinite(values).all() and (values >= 0).all()):
            raise DataError("A curve holds finite times and uptake that is not negative", field="suv")
        if (np.diff(times) <= 0).any():
            raise DataError("The knots of a curve must ascend in time", field="times_s", found=times.tolist())
        object.__setattr__(self, "times_s", times)
        object.__setattr__(self, "suv", values)

    @classmethod
    def constant(cls, suv: float) -> Curve:
        """Uptake that stays."""
        return cls(np.zeros(1), np.array([suv]))


@dataclass(frozen=True, eq=False)
class TumourField:
    """A tumour whose uptake differs from voxel to voxel.

    Parameters
    ----------
    name
        Name of the lesion.
    share
        Part of each voxel (z, y, x) that belongs to the tumour, 0 to 1.
    times_s
        (n,), as for :class:`Curve`.
    suv
        (n, z, y, x), g/mL, decay-corrected to injection.
    spacing
        Voxel edges (z, y, x) in mm, along the axes of the body.
    centre
        (X, Y, Z) of the middle of the grid, mm.
    hu
        Attenuation in Hounsfield units.
    """

    name: str
    share: NDArray[np.float32]
    times_s: Floats
    suv: NDArray[np.float32]
    spacing: tuple[float, float, float]
    centre: Point
    hu: float = 45.0

    def __post_init__(self) -> None:
        times = np.atleast_1d(np.asarray(self.times_s, float))
        if self.suv.shape != (times.size, *self.share.shape) or self.share.ndim != 3:
            raise DataError(
                f"The uptake of {self.name} does not fit its times and grid",
                field="suv",
                found=self.suv.shape,
                expected=(times.size, *self.share.shape),
            )
        if self.share.min() < 0 or self.share.max() > 1:
            raise DataError("A part of a voxel lies between 0 and 1", field="share", found=float(self.share.max()))
        object.__setattr__(self, "times_s", times)

    @property
    def geometry(self) -> Geometry:
        """Its grid; axis x runs to the right of the body's axes, as in RAS+."""
        half = (np.array(self.share.shape) - 1) / 2 * np.array(self.spacing)
        origin = np.array(self.centre) - half[::-1]
        return Geometry.from_spacing(self.share.shape, self.spacing, origin=origin.tolist())

    @property
    def volume_ml(self) -> float:
        """Its volume."""
        return float(self.share.sum(dtype=np.float64) * np.prod(self.spacing) / 1e3)

    def mean(self, weights: Floats) -> Floats:
        """Mean uptake over the tumour for each row of weights of the knots, (frames, n)."""
        share = self.share.astype(np.float64)
        means = np.array([(v * share).sum() for v in self.suv]) / share.sum()
        return np.asarray(weights @ means)

    def on(self, values: NDArray[Any], geometry: Geometry) -> NDArray[np.float32]:
        """Values on its grid as means over the voxels of another grid along the axes of the body; 0 outside."""
        own = self.geometry
        steps = np.abs(np.diag(geometry.affine[:3, :3][:, ::-1]))[::-1]
        result = values.astype(np.float32)
        for axis, (count, step, edge) in enumerate(zip(geometry.shape, steps, self.spacing, strict=True)):
            samples = max(1, math.ceil(step / edge))
            point = np.zeros((count * samples, 3))
            point[:, axis] = (np.arange(count * samples) + 0.5) / samples - 0.5
            place = own.to_index(geometry.to_mm(point))[:, axis]
            weights = _linear(place, own.shape[axis]).reshape(count, samples, -1).mean(axis=1, dtype=np.float32)
            result = np.moveaxis(np.tensordot(weights, result, axes=(1, axis)), 0, axis)
        return np.ascontiguousarray(result)


def _linear(places: Floats, length: int) -> NDArray[np.float32]:
    """Weights (places, length) of linear interpolation between nodes 0 to length - 1; beyond them lie zeros."""
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(length))).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Scene:
    """A host, its tumours, and the uptake of one agent.

    Attributes
    ----------
    host
        Shapes of organs and lesions, painted one over the other, and what is known of the subject.
    curves
        Uptake over time by the name of a shape; a shape without a curve keeps its own uptake.
    fields
        Tumours with uptake of their own in every voxel, painted last.
    day
        Day of the study.
    species
        ``human``, ``mouse`` ...
    kinetics
        True rate constants by lesion and quantity of the vocabulary (``k1``, ``k_i`` ...), in its reported units: means
        over a tumour whose voxels differ.
    """

    host: DigitalPatient
    curves: Mapping[str, Curve] = field(default_factory=dict)
    fields: tuple[TumourField, ...] = ()
    day: float = 0.0
    species: str = "human"
    kinetics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = [s.name for s in self.shapes]
        if unknown := set(self.curves) - set(known):
            raise UsageError(
                "There is no shape for a curve", field="curves", found=sorted(unknown), expected=", ".join(known)
            )

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Organs, then lesions."""
        return (*self.host.organs, *self.host.lesions)

    def curve(self, shape: Shape) -> Curve:
        """Uptake of a shape."""
        return self.curves.get(shape.name) or Curve.constant(shape.suv)


def curves_of(body: Any, regions: Mapping[str, str]) -> dict[str, Curve]:
    """Curves of shapes from the organ curves of an agent.

    Parameters
    ----------
    body
        Has ``time_s`` and ``suv(region)``, as :class:`timelens.tumor.agents.HostCurves` has.
    regions
        Name of the shape to name of the region.
    """
    return {shape: Curve(body.time_s, np.maximum(body.suv(region), 0.0)) for shape, region in regions.items()}
