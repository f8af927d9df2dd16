"""The search behind :mod:`~timelens.engines.registration.frames`: one frame laid over another, or over a target."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.ndimage import affine_transform, gaussian_filter
from scipy.spatial.transform import Rotation

__all__ = [
    "FEWEST_VOXELS",
    "UNSEEN",
    "by_information",
    "difference",
    "held",
    "inside",
    "laid",
    "noise_of",
    "others",
    "to_index",
    "warp",
]

Array = NDArray[Any]
Floats = NDArray[np.float64]

#: Fewer voxels along an axis show no motion along it.
FEWEST_VOXELS = 4
_STEPS = 4
#: A step shorter than this part of a voxel ends a round.
_SETTLED = 5e-3
#: A direction of motion counts as seen where slopes are so many times those of noise in power.
_SEEN = 5.0
#: Standard errors (mm, rad) of directions that are not seen and in which the body is taken to rest: 5 mm, 5 degrees.
UNSEEN = np.repeat([5.0, np.deg2rad(5.0)], 3)
#: A single step is no longer than this many voxels.
_LONGEST = 2.0
#: Mutual information that leads farther between two frames has lost its way; mm and degrees.
_MOST_SHIFT, _MOST_TURN = 30.0, 20.0
#: Standard deviation in voxels of the smoothing before slopes and mutual information.
_SMOOTH = 0.7
#: Standard deviation of the slope per voxel of white noise of one that was so smoothed.
_SLOPE_OF_NOISE = 0.18


def warp(coefficients: Floats, matrix: Floats, edges: Floats) -> Floats:
    """What a frame, given by its spline coefficients, shows at the moved place of each voxel."""
    turn, offset = to_index(matrix, edges, coefficients.shape)
    return np.asarray(affine_transform(coefficients, turn, offset, order=3, mode="nearest", prefilter=False))


def to_index(matrix: Floats, edges: Floats, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Linear part and offset that take the index of a voxel to that of its moved place."""
    middle = (np.array(shape) - 1) / 2
    turn = matrix[:3, :3] * edges / edges[:, None]
    return turn, middle + matrix[:3, 3] / edges - turn @ middle


def inside(matrix: Floats, edges: Floats, shape: tuple[int, ...], margin: float) -> NDArray[np.bool_]:
    """Whether the moved place of each voxel lies within the frame by a margin in voxels."""
    turn, offset = to_index(matrix, edges, shape)
    at = (turn @ np.indices(shape).reshape(3, -1) + offset[:, None]).reshape(3, *shape)
    last = np.array(shape).reshape(3, 1, 1, 1) - 1
    return np.asarray(((at >= margin) & (at <= last - margin)).all(axis=0))


# -- first stage -----------------------------------------------------------------------------------------------------


def by_information(data: Floats, edges: Floats, tissue: NDArray[np.bool_]) -> Floats:
    """Motion of each frame against the one in the middle, by mutual information; none where the search fails."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # sums in one order: the same result on every machine
    count = len(data)
    found = np.tile(np.eye(4), (count, 1, 1))
    if min(data.shape[1:]) < FEWEST_VOXELS:
        return found
    images = [_itk(gaussian_filter(frame, _SMOOTH), edges) for frame in data]
    mask = _itk(tissue.astype(np.uint8), edges)
    middle = count // 2
    for k in range(count):
        if k == middle:
            continue
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(32)
        method.SetMetricSamplingStrategy(method.NONE)
        method.SetMetricFixedMask(mask)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=float(edges.min()), minStep=0.02 * float(edges.min()), numberOfIterations=40,
            relaxationFactor=0.5, gradientMagnitudeTolerance=1e-8,
        )  # fmt: skip
        method.SetOptimizerScalesFromPhysicalShift()
        transform = sitk.Euler3DTransform()
        method.SetInitialTransform(transform, inPlace=True)
        try:
            method.Execute(images[middle], images[k])
        except RuntimeError:  # too few voxels overlap
            continue
        matrix = _matrix(transform)
        turn = np.rad2deg(np.linalg.norm(Rotation.from_matrix(matrix[:3, :3]).as_rotvec()))
        if turn < _MOST_TURN and np.linalg.norm(matrix[:3, 3]) < _MOST_SHIFT:  # else the search has lost its way
            found[k] = matrix
    return found


def _itk(volume: Array, edges: Floats) -> Any:
    """A volume as an ITK image, its centre at the origin."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(volume.astype(np.float32) if volume.dtype.kind == "f" else volume)
    size = np.array(volume.shape[::-1])
    image.SetSpacing([float(e) for e in edges[::-1]])
    image.SetOrigin([float(v) for v in -(size - 1) / 2 * edges[::-1]])
    return image


def _matrix(transform: Any) -> Floats:
    """4 x 4 along (z, y, x) from a transform along (x, y, z)."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    axes = np.array([np.array(transform.TransformPoint(tuple(row))) - origin for row in np.eye(3)]).T
    found = np.eye(4)
    found[:3, :3], found[:3, 3] = axes[::-1, ::-1], origin[::-1]
    return found


# -- second stage ----------------------------------------------------------------------------------------------------


def others(data: Floats, tissue: NDArray[np.bool_], rank: int) -> Floats:
    """Leading components of all other frames, for each frame: (frames, rank, z, y, x)."""
    count = len(data)
    flat = data[:, tissue]
    gram = flat @ flat.T
    # Few frames hold few components beside the motion itself.
    found = np.empty((count, min(rank, max(1, (count - 1) // 3)), *data.shape[1:]))
    for k in range(count):
        rest = np.delete(np.arange(count), k)
        last = len(rest) - 1
        vectors = eigh(gram[np.ix_(rest, rest)], subset_by_index=[last + 1 - found.shape[1], last])[1][:, ::-1]
        found[k] = np.tensordot(vectors.T, data[rest], 1)
    return found


def laid(
    coefficients: Floats, parts: Floats, matrix: Floats, edges: Floats, points: Floats, tissue: NDArray[np.bool_],
    noise: float,
) -> tuple[Floats, Floats, float]:  # fmt: skip
    """Motion of one frame (spline coefficients) against a sum of parts, what is left, and the variances (mm2, rad2).

    They are those of noise, and those of directions that are not seen.
    """
    seen = warp(coefficients, matrix, edges)[tissue]
    _, shares = difference(seen, parts, tissue)
    # The target keeps its shape while the frame is moved: slopes and normal equations are made once.
    flat = parts[:, tissue]
    columns = _columns(np.tensordot(shares, parts, 1), edges, points)[:, tissue]
    inside = np.linalg.pinv(flat @ flat.T, hermitian=True)
    own = columns - (columns @ flat.T @ inside) @ flat  # what no change of contrast explains
    normal = own @ own.T
    base = _directions(normal, noise, float(np.linalg.norm(shares)), edges, points[:, tissue])
    inverse = base @ np.linalg.pinv(base.T @ normal @ base, hermitian=True) @ base.T
    for _ in range(_STEPS):
        step = inverse @ (own @ seen)
        size = max(np.abs(step[:3] / edges).max(), np.abs(step[3:]).max() * float(np.abs(points).max() / edges.min()))
        step *= min(1.0, _LONGEST / max(size, 1e-300))
        # A frame that shows target(x + u) is laid over it by going back by u.
        back = np.eye(4)
        back[:3, :3] = Rotation.from_rotvec(step[3:]).as_matrix()
        back[:3, 3] = step[:3]
        matrix = matrix @ np.linalg.inv(back)
        seen = warp(coefficients, matrix, edges)[tissue]
        if size < _SETTLED:
            break
    rest, _ = difference(seen, parts, tissue)
    unseen = np.diag(np.eye(6) - base @ np.linalg.pinv(base)) * UNSEEN**2
    return matrix, np.stack([rest**2 * np.diag(inverse), np.maximum(unseen, 0.0)]), rest


def _columns(target: Floats, edges: Floats, points: Floats) -> Floats:
    """Change of a volume per mm of shift and radian of turn (6, z, y, x); none across too few slices."""
    smooth = gaussian_filter(target, _SMOOTH)
    slope = np.zeros((3, *target.shape))
    for axis, size in enumerate(target.shape):
        if size >= FEWEST_VOXELS:
            slope[axis] = np.gradient(smooth, edges[axis], axis=axis)
    return np.concatenate([slope, np.cross(points, slope, axis=0)])  # a small turn w moves x by w x x


def _directions(normal: Floats, noise: float, share: float, edges: Floats, points: Floats) -> Floats:
    """Base (6, n) of the motions that the slopes of a target show.

    Their power must be beyond that of slopes of noise, ``share`` times the noise of a frame, and the noise of a frame
    must leave them determined to half a voxel.
    """
    power = np.zeros((6, 6))
    for axis in range(3):
        slope = np.zeros_like(points)
        slope[axis] = share * noise * _SLOPE_OF_NOISE / edges[axis]
        column = np.concatenate([slope, np.cross(points, slope, axis=0)])
        power += column @ column.T
    # Turns are measured by the way of a typical voxel, so that both kinds weigh alike.
    scale = np.repeat([1.0, 1.0 / max(float(np.sqrt(np.square(points).mean())), 1e-9)], 3)
    power = power * scale * scale[:, None] + 1e-12 * np.trace(normal) * np.eye(6) + 1e-300 * np.eye(6)
    values, vectors = eigh(normal * scale * scale[:, None], power)
    error = np.hypot(1.0, share) * noise * np.linalg.norm(vectors, axis=0) / np.sqrt(np.maximum(values, 1e-300))
    seen = (values > _SEEN) & (error < 0.5 * edges.min())
    return np.asarray(scale[:, None] * vectors[:, seen])


def noise_of(data: Floats, tissue: NDArray[np.bool_]) -> float:
    """Noise of a voxel from second differences between neighbours, which structure hardly changes the median of."""
    axis = int(np.argmax(data.shape[1:])) + 1
    if data.shape[axis] < FEWEST_VOXELS:
        return 0.0
    bend = np.diff(data, 2, axis=axis)
    inner = np.take(tissue, np.arange(1, data.shape[axis] - 1), axis=axis - 1)
    return float(1.4826 * np.median(np.abs(bend[:, inner])) / np.sqrt(6)) if inner.any() else 0.0


def held(
    matrices: Floats, frame: Floats, noise: float, edges: Floats, points: Floats, tissue: NDArray[np.bool_]
) -> Floats:
    """Motions without their part in directions that the frame does not show."""
    columns = _columns(frame, edges, points)[:, tissue]
    base = _directions(columns @ columns.T, noise, 1.0, edges, points[:, tissue])
    keep = base @ np.linalg.pinv(base)
    found = np.tile(np.eye(4), (len(matrices), 1, 1))
    for k, matrix in enumerate(matrices):
        known = keep @ np.concatenate([matrix[:3, 3], Rotation.from_matrix(matrix[:3, :3]).as_rotvec()])
        found[k, :3, :3], found[k, :3, 3] = Rotation.from_rotvec(known[3:]).as_matrix(), known[:3]
    return found


def difference(seen: Floats, parts: Floats, tissue: NDArray[np.bool_]) -> tuple[float, Floats]:
    """Root mean square of a frame's tissue against the best sum of parts, and their shares."""
    flat = parts[:, tissue]
    shares = np.linalg.lstsq(flat @ flat.T, flat @ seen, rcond=1e-12)[0]
    return float(np.sqrt(np.mean(np.square(seen - shares @ flat)))), np.asarray(shares)
