"""Rigid registration of two volumes of one body, by the correlation of their values.

Convention: an affine takes an index (z, y, x, 1) to millimetres; the transform that is found takes millimetres of the
moving volume to millimetres of the fixed one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.errors import DataError, GeometryError

__all__ = ["Rigid", "register_rigid"]

#: Edge in mm to which volumes are brought first: organs are seen, and noise and speed are no matter.
_WORKING_EDGE_MM = 8.0


@dataclass(frozen=True)
class Rigid:
    """What was found: matrix (4 x 4, moving to fixed, mm), and the correlation of the volumes under it (-1 to 1)."""

    matrix: NDArray[np.float64]
    correlation: float


def register_rigid(
    fixed: NDArray[Any],
    fixed_affine: NDArray[np.float64],
    moving: NDArray[Any],
    moving_affine: NDArray[np.float64],
    *,
    upper: float | None = None,
) -> Rigid:
    """Rotation and shift that lay one volume over another.

    Parameters
    ----------
    fixed, moving
        Volumes (z, y, x) of one modality. Values above ``upper`` count as ``upper``, so that hot spots that change
        (bladder, lesions) do not steer the result.
    fixed_affine, moving_affine
        4 x 4, index (z, y, x, 1) to mm.
    upper
        In the unit of the volumes; not used where None.

    Raises
    ------
    DataError
        If a volume is constant, or the search finds nothing.
    GeometryError
        If a grid is sheared.

    Notes
    -----
    Correlation metric on three levels of resolution with a regular-step gradient descent, started at the centres of
    mass (Lowekamp et al., Front Neuroinform 2013, doi:10.3389/fninf.2013.00045). Everything is deterministic.
    """
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # sums in one order: the same result on every machine
    one, other = (_prepared(v, a, upper) for v, a in ((fixed, fixed_affine), (moving, moving_affine)))
    start = sitk.CenteredTransformInitializer(
        one, other, sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=4.0, minStep=0.01, numberOfIterations=150, relaxationFactor=0.5, gradientMagnitudeTolerance=1e-8
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([8.0, 4.0, 0.0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(start, inPlace=True)
    try:
        method.Execute(one, other)
    except RuntimeError as error:
        raise DataError(
            "The two volumes could not be registered",
            found=str(error).strip().splitlines()[-1],
            expected="volumes that overlap",
        ) from None
    # ITK's transform leads from fixed to moving points.
    origin = np.array(start.TransformPoint((0.0, 0.0, 0.0)))
    axes = np.array([np.array(start.TransformPoint(tuple(row))) - origin for row in np.eye(3)]).T
    back = np.eye(4)
    back[:3, :3], back[:3, 3] = axes, origin
    return Rigid(np.asarray(np.linalg.inv(back), np.float64), -float(method.GetMetricValue()))


def _prepared(volume: NDArray[Any], affine: NDArray[np.float64], upper: float | None) -> Any:
    """The volume as an ITK image, thinned to the working resolution by averaging blocks."""
    import SimpleITK as sitk

    edges = np.linalg.norm(affine[:3, :3], axis=0)
    direction = affine[:3, :3] / edges
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-3):
        raise GeometryError("A sheared grid cannot be registered", field="affine", mend="resample it first")
    block = np.maximum(1, np.floor(_WORKING_EDGE_MM / edges)).astype(int)
    block = np.minimum(block, volume.shape)
    size = np.array(volume.shape) // block
    values = np.nan_to_num(np.asarray(volume, np.float32))[tuple(slice(0, n) for n in size * block)]
    if upper is not None:
        values = np.clip(values, 0.0, upper)
    values = values.reshape(size[0], block[0], size[1], block[1], size[2], block[2]).mean(axis=(1, 3, 5))
    if float(np.ptp(values)) == 0.0:
        raise DataError("A constant volume cannot be registered", found="no contrast", expected="a body")
    image = sitk.GetImageFromArray(values)
    order = [2, 1, 0]
    image.SetSpacing([float(e) for e in (edges * block)[order]])
    image.SetOrigin([float(v) for v in (affine @ np.append((block - 1) / 2, 1.0))[:3]])
    image.SetDirection(direction[:, order].ravel().tolist())
    return image
