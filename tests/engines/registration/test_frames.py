"""Motion between frames whose contrast changes: a body moved by known amounts while parts of it enhance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from timelens.engines.mr_signal import spoiled_gradient_echo
from timelens.engines.registration.frames import FrameMotion, apply_motion, register_frames
from timelens.errors import DataError

SHAPE, EDGES, COUNT = (14, 40, 40), (3.0, 2.0, 2.0), 12
TIMES = np.arange(COUNT) * 15.0


def body(turn: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Parts of a body (parts, z, y, x) that was moved by x -> R x + d, with what a voxel shares between them."""
    fine = 2
    axes = [((np.arange(n * fine) + 0.5) / fine - 0.5 - (n - 1) / 2) * e for n, e in zip(SHAPE, EDGES, strict=True)]
    place = np.stack(np.meshgrid(*axes, indexing="ij"), -1) - shift
    place = place @ Rotation.from_rotvec(np.deg2rad(turn)).as_matrix()

    def ball(centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
        far = np.sqrt(np.square((place - centre) / np.array(radii)).sum(-1))
        return 1 / (1 + np.exp(np.clip((far - 1) * np.mean(radii) / 0.7, -50, 50)))

    whole, inner = ball((0, 0, 0), (35, 34, 30)), ball((0, 0, 0), (35, 28, 24))
    tumour, vessel = ball((3, 7, 5), (8, 8, 7)), ball((0, -11, 9), (60, 3, 3))
    muscle, organ = ball((0, -12, -10), (26, 6, 5)), ball((-5, 7, -11), (12, 9, 7))
    rest = (1 - tumour) * (1 - vessel) * (1 - muscle) * (1 - organ)
    parts = np.stack([whole - inner * whole, inner * rest, tumour, vessel * (1 - tumour), muscle, organ])
    return parts.reshape(6, SHAPE[0], fine, SHAPE[1], fine, SHAPE[2], fine).mean(axis=(2, 4, 6))


def signals() -> np.ndarray:
    """Of each part over time (parts, frames): the tumour becomes brighter than its surroundings, blood peaks."""
    since = np.maximum(TIMES - 30, 0.0)
    blood = 4 * since / 15 * np.exp(1 - since / 15) + 0.5 * (since > 0)
    rise = 1 - np.exp(-since / 40)
    return 100 * np.stack(
        [1.6 + 0 * TIMES, 0.7 + 0.1 * rise, 0.5 + 1.0 * rise, 0.3 + 0.3 * blood, 0.6 + 0.1 * rise, 0.65 + 0.4 * rise]
    )


def series(turns: np.ndarray, shifts: np.ndarray, *, noise: float = 4.0, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    clean = np.stack([np.tensordot(s, body(t, d), 1) for s, t, d in zip(signals().T, turns, shifts, strict=True)])
    return np.hypot(clean + rng.normal(0, noise, clean.shape), rng.normal(0, noise, clean.shape))


def residual(found: FrameMotion, turns: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Root mean square distance of points of the body from where the motion that was found puts them, mm."""
    points = np.random.default_rng(5).uniform(-22, 22, (300, 3))
    far = []
    for turn, shift, known_turn, known_shift in zip(found.turns, found.shifts, turns, shifts, strict=True):
        first = points @ Rotation.from_rotvec(np.deg2rad(turns[0])).as_matrix().T + shifts[0]
        true = points @ Rotation.from_rotvec(np.deg2rad(known_turn)).as_matrix().T + known_shift
        guess = first @ Rotation.from_rotvec(np.deg2rad(turn)).as_matrix().T + shift
        far.append(np.sqrt(np.square(guess - true).sum(axis=1).mean()))
    return np.array(far)


def step_and_drift() -> tuple[np.ndarray, np.ndarray]:
    """A body that has moved for good in the middle of the series, as the bolus washes out, and sinks all the time."""
    late = (np.arange(COUNT) >= 7)[:, None]
    drift = np.linspace(0, 1, COUNT)[:, None]
    return late * np.array([1.5, -1.0, 3.0]), late * np.array([2.0, -1.5, 1.0]) + drift * np.array([0.3, 1.5, -0.5])


@pytest.fixture(scope="module")
def moving() -> tuple[np.ndarray, FrameMotion]:
    data = series(*step_and_drift())
    return data, register_frames(data, EDGES)


def test_motion_is_found_within_a_tenth_of_a_voxel(moving: tuple[np.ndarray, FrameMotion]) -> None:
    turns, shifts = step_and_drift()
    _, found = moving
    far = residual(found, turns, shifts)
    assert found.displacement.max() > 2.7
    assert np.sqrt(np.mean(far**2)) < 0.2 and far.max() < 0.3  # mm; a voxel is 2 x 2 x 3 mm
    np.testing.assert_allclose(found.shifts - found.shifts[0], shifts, atol=0.3)
    np.testing.assert_allclose(found.turns, turns, atol=0.5)
    assert (found.left[7:, 1] < 0.5 * found.left[7:, 0]).all()


def test_a_body_at_rest_stays_and_errors_are_those_of_noise() -> None:
    still = np.zeros((COUNT, 3))
    found = register_frames(series(still, still), EDGES)
    far = residual(found, still, still)
    assert np.sqrt(np.mean(far**2)) < 0.1 and far.max() < 0.2  # mm
    spread = np.sqrt(np.mean((found.shifts[1:] - found.shifts[0]) ** 2))
    assert 0.3 < spread / np.sqrt(2 * np.mean(found.shift_errors**2)) < 2.5


def test_corrected_frames_show_the_body_in_its_place(moving: tuple[np.ndarray, FrameMotion]) -> None:
    data, found = moving
    still = np.zeros((COUNT, 3))
    clean = series(still, still, noise=1e-3)
    mended = apply_motion(data, EDGES, found)
    inside = np.isfinite(mended).all(axis=0) & (body(still[0], still[0])[2] > 0.9)  # the tumour
    assert inside.sum() > 50
    before, after, truth = (x[:, inside].mean(axis=1) for x in (data, mended, clean))
    assert np.abs(after / truth - 1).max() < 0.02 < np.abs(before / truth - 1).max()
    lost = ~np.isfinite(mended)
    assert lost.any() and not lost[0].any()
    assert lost[8, 0].any() or lost[8, -1].any()  # slices that left the field


def test_five_flip_angles() -> None:
    """Few images of much different contrast."""
    rng = np.random.default_rng(3)
    m0, t1 = 2000 * np.array([1.6, 0.9, 1.0, 1.1, 0.85, 0.9]), np.array([0.35, 1.1, 1.6, 1.8, 1.0, 0.8])
    turns, shifts = rng.normal(0, 1.2, (2, 5, 3))
    images = []
    for flip, turn, shift in zip((2.0, 5.0, 8.0, 10.0, 15.0), turns, shifts, strict=True):
        signal = spoiled_gradient_echo(m0, 1 / t1, flip=flip, tr=0.005)
        images.append(np.tensordot(signal, body(turn, shift), 1))
    data = np.hypot(np.stack(images) + rng.normal(0, 4, (5, *SHAPE)), rng.normal(0, 4, (5, *SHAPE)))
    found = register_frames(data, EDGES)
    assert found.displacement.max() > 2.0
    assert residual(found, turns, shifts).max() < 0.35


def test_what_no_frame_can_tell_is_taken_as_rest() -> None:
    """A body without end along x: nothing shows a shift along it."""
    parts = body(np.zeros(3), np.zeros(3))
    parts[:] = parts[:, :, :, SHAPE[2] // 2, None]
    noise = np.random.default_rng(2).normal(0, 2, (COUNT, *SHAPE))
    found = register_frames(np.abs(np.tensordot(signals().T, parts, 1) + noise), EDGES)
    assert np.abs(found.shifts[:, 2]).max() < 1.0
    assert found.shift_errors[:, 2].min() > 5 * found.shift_errors[:, 1].max()


def test_small_and_empty_frames() -> None:
    thin = np.abs(np.random.default_rng(3).normal(50, 1, (5, 2, 6, 18)))
    thin[:, :, 2:4, 5:9] += 40
    found = register_frames(thin, EDGES)
    assert found.displacement.max() < 1.5 and np.isfinite(found.displacement_errors).all()
    with pytest.raises(DataError, match="three or more frames"):
        register_frames(thin[:2], EDGES)
    with pytest.raises(DataError, match="nothing but air"):
        register_frames(np.zeros((4, 5, 6, 7)), EDGES)
    with pytest.raises(DataError, match="size along z"):
        register_frames(thin, (1.0, 0.0, 1.0))
    with pytest.raises(DataError, match="no reference frame"):
        register_frames(thin, EDGES, reference=[])
    with pytest.raises(DataError, match="of other frames"):
        apply_motion(thin[:4], EDGES, found)


def test_unknown_voxels_stay_unknown(moving: tuple[np.ndarray, FrameMotion]) -> None:
    data, found = moving
    holed = data.copy()
    holed[8, 7, 20, 20] = np.nan
    mended = apply_motion(holed, EDGES, found)
    plain = apply_motion(data, EDGES, found)
    extra = ~np.isfinite(mended) & np.isfinite(plain)
    assert 1 <= extra.sum() <= 8 and extra[8].any()
