"""Rigid motion between the frames of a series whose contrast changes: flip angles, echoes, b values, a bolus.

Convention: a frame shows the body moved by ``x -> R x + d``, x in mm from the centre of the grid along (z, y, x).
Motion is given relative to the mean of the reference frames.

Two stages. First each frame is laid over one of them by mutual information, which does not ask how intensities relate
(Mattes D et al., IEEE Trans Med Imaging 2003;22:120, doi:10.1109/TMI.2003.809072), in SimpleITK. That is right to some
tenths of a voxel. Then each frame is laid over what the others say it should look like: the sum of their leading
principal components that fits it best, found together with the motion by Gauss-Newton steps (progressive principal
components: Melbourne A et al., Phys Med Biol 2007;52:5147, doi:10.1088/0031-9155/52/17/003; the frame itself is left
out of its target, so that it cannot pull it; steps by the gradient of the target, which has less noise than the frame:
Baker S, Matthews I, Int J Comput Vis 2004;56:221, doi:10.1023/B:VISI.0000011205.11775.fd).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import affine_transform, gaussian_filter, spline_filter
from scipy.spatial.transform import Rotation

from timelens.engines.registration.frame_search import (
    FEWEST_VOXELS,
    UNSEEN,
    by_information,
    difference,
    held,
    inside,
    laid,
    noise_of,
    others,
    to_index,
    warp,
)
from timelens.errors import DataError

__all__ = ["FrameMotion", "apply_motion", "register_frames"]

Array = NDArray[Any]
Floats = NDArray[np.float64]

#: Voxels that the search works on, at most; larger frames are averaged in blocks first.
WORKING_VOXELS = 60_000
#: Components of the target in each round: more than one only when motion is nearly gone, for it is a component too.
RANKS = (1, 1, 3)
#: Motion is believed where it leaves less than this part of what frames at rest leave, as a mean over frames.
_BETTER = 0.99
#: Below this part of the 99th percentile of the mean frame a voxel is air.
_AIR = 0.08
#: A frame that its target leaves so many times what others leave, in the median, is like none of them.
_ALONE = 3.0
_MANY = 8
_FEWEST_FRAMES = 3
#: A place this part of a voxel beyond the outermost centres still counts as seen.
_EDGE = 0.05
#: Voxels nearer to the edge of a frame than this, in voxels, are left out of the search, while this part of the tissue
#: remains.
_MARGIN, _ENOUGH = 0.5, 0.4


@dataclass(frozen=True, eq=False)
class FrameMotion:
    """How the body moved.

    Attributes
    ----------
    shifts
        (frames, 3), d in mm along (z, y, x).
    turns
        (frames, 3), rotation vector of R in degrees, about (z, y, x).
    shift_errors, turn_errors
        (frames, 3), standard errors from what is left over; they do not know a bias. Where nothing in the frames shows
        a motion (along a structure without end, across two or three slices, in a frame like no other) the body is taken
        to rest and the errors are 5 mm and 5 degrees.
    displacement
        (frames,), root mean square way of the tissue's voxels, mm.
    displacement_errors
        (frames,), its standard error, of the directions that are seen.
    left
        (frames, 2), root mean square difference of frame and target before and after, over the mean of the tissue.
    """

    shifts: Floats
    turns: Floats
    shift_errors: Floats
    turn_errors: Floats
    displacement: Floats
    displacement_errors: Floats
    left: Floats


def register_frames(
    frames: ArrayLike, spacing: tuple[float, float, float], *, reference: slice | ArrayLike = slice(0, 1)
) -> FrameMotion:
    """Find how the body moved between the frames.

    Parameters
    ----------
    frames
        (frames, z, y, x), magnitudes; not finite values count as zero.
    spacing
        Size of a voxel along (z, y, x), mm.
    reference
        Frames whose mean position counts as no motion.

    Raises
    ------
    DataError
        Fewer than three frames, no spacing, or nothing but air.
    """
    data, edges = _checked(frames, spacing)
    working, edges = _thinned(data, edges)
    tissue = _tissue(working)
    points = _points(tissue.shape, edges)
    noise = noise_of(working, tissue)
    still = np.tile(np.eye(4), (len(working), 1, 1))
    scene = _Scene(working, edges, points, tissue, noise)
    # What the components of frames at rest explain as well needs no motion.
    rest = scene.rounds(still, RANKS[-1:])
    moved_to = held(by_information(working, edges, tissue), working[len(working) // 2], noise, edges, points, tissue)
    found = scene.rounds(moved_to, RANKS)
    if not found[2][:, 1].mean() < _BETTER * rest[2][:, 1].mean():
        found = rest
    matrices, spread, left = found
    # A frame that rest explains better rests. What no other frame explains (the peak of a bolus) tells no motion.
    # Of few frames three components explain everything, moved or not.
    resting, alone = left[:, 1] > left[:, 0], np.zeros(len(left), bool)
    if len(left) >= _MANY:
        alone = left[:, 1] > _ALONE * np.median(left[:, 1])
        resting |= alone | (left[:, 1] > rest[2][:, 1])
    matrices[resting], left[resting, 1] = np.eye(4), left[resting, 0]
    spread[alone] = np.stack([np.zeros(6), UNSEEN**2])
    matrices = _relative(matrices, reference)
    way = points[:, tissue]
    moved = np.einsum("kij,jn->kin", matrices[:, :3, :3] - np.eye(3), way) + matrices[:, :3, 3:]
    displacement = np.sqrt(np.square(moved).sum(axis=1).mean(axis=1))
    size = np.sqrt(np.square(way).mean(axis=1))
    # A turn about one axis moves along the two others.
    arm = np.array([np.hypot(size[1], size[2]), np.hypot(size[0], size[2]), np.hypot(size[0], size[1])])
    error = np.sqrt(spread[:, 0, :3].sum(axis=1) + (spread[:, 0, 3:] * arm**2).sum(axis=1))
    errors = np.sqrt(spread.sum(axis=1))
    mean = float(np.abs(working[:, tissue]).mean())
    return FrameMotion(
        matrices[:, :3, 3], np.rad2deg([Rotation.from_matrix(m[:3, :3]).as_rotvec() for m in matrices]),
        errors[:, :3], np.rad2deg(errors[:, 3:]), displacement, error, left / mean,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Scene:
    """Frames (frames, z, y, x) to be laid over each other, sizes and places of voxels, tissue, and the noise."""

    frames: Floats
    edges: Floats
    points: Floats
    tissue: NDArray[np.bool_]
    noise: float

    def rounds(self, start: Floats, ranks: tuple[int, ...]) -> tuple[Floats, Floats, Floats]:
        """Motion from a start, variances (frames, 2, 6), and what is left before and after (frames, 2)."""
        matrices = start.copy()
        splines = [spline_filter(frame, order=3, mode="nearest") for frame in self.frames]
        spread, left = np.zeros((len(splines), 2, 6)), np.zeros((len(splines), 2))
        for rank in ranks:
            corrected = np.stack([warp(f, m, self.edges) for f, m in zip(splines, matrices, strict=True)])
            common = _common(matrices, self.edges, self.tissue)
            targets = others(corrected, common, rank)
            for k, frame in enumerate(splines):
                matrices[k], spread[k], left[k, 1] = laid(
                    frame, targets[k], matrices[k], self.edges, self.points, common, self.noise
                )
                left[k, 0] = difference(self.frames[k][common], targets[k], common)[0]
        return matrices, spread, left


def apply_motion(frames: ArrayLike, spacing: tuple[float, float, float], motion: FrameMotion) -> Floats:
    """The frames with the body back in its place, by cubic splines; NaN where a frame did not see it, or saw no number.

    Parameters
    ----------
    frames, spacing
        As for :func:`register_frames`.
    motion
        Of these frames.
    """
    data, edges = _checked(frames, spacing)
    if len(data) != len(motion.shifts):
        raise DataError("The motion is of other frames", field="motion", found=len(motion.shifts), expected=len(data))
    found = np.empty(data.shape)
    for k, frame in enumerate(data):
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_rotvec(np.deg2rad(motion.turns[k])).as_matrix()
        matrix[:3, 3] = motion.shifts[k]
        if np.array_equal(matrix, np.eye(4)):
            found[k] = frame
            continue
        turn, offset = to_index(matrix, edges, frame.shape)
        found[k] = warp(spline_filter(np.nan_to_num(frame), order=3, mode="nearest"), matrix, edges)
        lost = ~inside(matrix, edges, frame.shape, -_EDGE)
        unknown = ~np.isfinite(frame)
        if unknown.any():
            lost |= affine_transform(unknown.astype(np.float32), turn, offset, order=1, mode="nearest") > 0
        found[k][lost] = np.nan
    return found


def _checked(frames: ArrayLike, spacing: tuple[float, float, float]) -> tuple[Floats, Floats]:
    data, edges = np.asarray(frames, np.float64), np.asarray(spacing, np.float64)
    if data.ndim != 4 or data.shape[0] < _FEWEST_FRAMES:
        raise DataError(
            "Motion is found between three or more frames of a volume", field="frames", found=f"shape {data.shape}",
            expected="(frames, z, y, x)",
        )  # fmt: skip
    if edges.shape != (3,) or not (np.isfinite(edges) & (edges > 0)).all():
        raise DataError("Voxels have a size along z, y and x", field="spacing", found=spacing, expected="mm, > 0")
    return data, edges


def _thinned(data: Floats, edges: Floats) -> tuple[Floats, Floats]:
    """Blocks of voxels averaged until there are few enough, the finest axes first."""
    data, edges = np.nan_to_num(data, posinf=0.0, neginf=0.0), edges.copy()
    while np.prod(data.shape[1:]) > WORKING_VOXELS:
        axis = int(np.argmin(np.where(np.array(data.shape[1:]) >= 2 * FEWEST_VOXELS, edges, np.inf)))
        size = data.shape[axis + 1] // 2 * 2
        cut = np.take(data, np.arange(size), axis=axis + 1)
        data = cut.reshape(*cut.shape[: axis + 1], size // 2, 2, *cut.shape[axis + 2 :]).mean(axis=axis + 2)
        edges[axis] *= 2
    return data, edges


def _tissue(data: Floats) -> NDArray[np.bool_]:
    mean = gaussian_filter(data.mean(axis=0), 1.0)
    tissue = mean > _AIR * np.percentile(mean, 99)
    if not tissue.any():
        raise DataError("The frames show nothing but air", field="frames", found="no signal", expected="a body")
    return np.asarray(tissue)


def _points(shape: tuple[int, ...], edges: Floats) -> Floats:
    """Places of voxels (3, z, y, x), mm from the centre."""
    axes = [(np.arange(n) - (n - 1) / 2) * e for n, e in zip(shape, edges, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def _common(matrices: Floats, edges: Floats, tissue: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tissue that all frames saw, or most where that is too little."""
    seen = np.mean([inside(m, edges, tissue.shape, _MARGIN) for m in matrices], axis=0)
    for share in (1.0, 0.8, 0.0):
        common = tissue & (seen >= share)
        if common.sum() >= _ENOUGH * tissue.sum():
            return common
    return tissue


def _relative(matrices: Floats, reference: slice | ArrayLike) -> Floats:
    """Motion against the mean of the reference frames."""
    chosen = matrices[reference] if isinstance(reference, slice) else matrices[np.asarray(reference, int)]
    if chosen.ndim != 3 or len(chosen) == 0:
        raise DataError("There is no reference frame", field="reference", found=reference, expected="frames")
    origin = np.eye(4)
    origin[:3, :3] = Rotation.from_matrix(chosen[:, :3, :3]).mean().as_matrix()
    origin[:3, 3] = chosen[:, :3, 3].mean(axis=0)
    return np.asarray(matrices @ np.linalg.inv(origin))
