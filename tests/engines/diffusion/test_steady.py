"""The steady solver against closed forms, its order of convergence, conservation, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timelens.engines.diffusion import krogh_profile, slab_profile, sphere_profile, steady_state
from timelens.errors import DataError, UsageError

LENGTH = 0.1


def slab_error(per_length: int, half_widths: float, axis: int) -> float:
    """Largest error in a slab whose faces are held at 1."""
    h = LENGTH / per_length
    n = int(2 * half_widths * per_length) + 1
    shape = [1, 1, 1]
    shape[axis] = n
    fixed = np.zeros(n, bool)
    fixed[[0, -1]] = True
    x = (np.arange(n) - (n - 1) / 2) * h
    found = steady_state(
        LENGTH**2, 1.0, np.zeros(shape), (h, h, h), fixed=fixed.reshape(shape), fixed_values=1.0, tolerance=1e-11
    )
    return float(np.abs(found.values.ravel() - slab_profile(x, half_widths * LENGTH, LENGTH)).max())


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("half_widths", [1.0, 3.0, 8.0])
def test_a_slab_is_right_to_one_in_ten_thousand_and_of_second_order(half_widths: float, axis: int) -> None:
    coarse, fine, finest = (slab_error(n, half_widths, axis) for n in (10, 20, 40))
    assert fine < 1e-4
    assert coarse / fine == pytest.approx(4, rel=0.02)
    assert fine / finest == pytest.approx(4, rel=0.02)


def ball_error(per_length: int) -> float:
    """Largest error in a spheroid of radius 1.5 L whose medium is held at the continued closed form."""
    h = LENGTH / per_length
    half = int(np.ceil(1.5 * per_length)) + 1
    axis = np.arange(0, half + 1) * h  # one octant: nothing flows through planes of symmetry at half a voxel
    axis = axis + h / 2
    r = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    truth = sphere_profile(r, 1.5 * LENGTH, LENGTH)
    fixed = r >= 1.5 * LENGTH
    found = steady_state(LENGTH**2, 1.0, np.zeros(r.shape), (h,) * 3, fixed=fixed, fixed_values=truth, tolerance=1e-10)
    return float(np.abs(found.values - truth).max())


def test_a_spheroid_in_three_dimensions_is_right_and_of_second_order() -> None:
    coarse, fine = ball_error(10), ball_error(20)
    assert fine < 1e-4
    assert coarse / fine == pytest.approx(4, rel=0.15)


def cylinder_error(per_length: int, vessel: float) -> float:
    """Largest error around a vessel of that radius in a tissue cylinder 1.5 L wider."""
    h = LENGTH / per_length
    outer = vessel + 1.5 * LENGTH
    axis = (np.arange(int(np.ceil(outer / h)) + 1) + 0.5) * h
    r = np.sqrt(axis[:, None] ** 2 + axis[None, :] ** 2)[None]
    truth = krogh_profile(np.maximum(r, 0.4 * vessel), vessel, outer, LENGTH)
    fixed = (r <= vessel) | (r >= outer)
    found = steady_state(LENGTH**2, 1.0, np.zeros(r.shape), (h,) * 3, fixed=fixed, fixed_values=truth, tolerance=1e-10)
    return float(np.abs(found.values - truth)[~fixed].max())


def test_the_tissue_around_a_vessel_follows_the_closed_form() -> None:
    coarse, fine = cylinder_error(10, 1.5 * LENGTH), cylinder_error(20, 1.5 * LENGTH)
    assert fine < 1e-4
    assert coarse / fine == pytest.approx(4, rel=0.25)


def test_around_a_thin_vessel_its_radius_sets_the_step() -> None:
    assert cylinder_error(20, LENGTH / 2) > 1e-4
    assert cylinder_error(40, LENGTH / 2) < 1e-4


def test_a_known_solution_with_varying_coefficients_is_reached_with_second_order() -> None:
    # u = 2 + cos(pi x) cos(2 pi y) on the unit square has no flux through its edges.
    errors = []
    for n in (16, 32, 64):
        x = (np.arange(n) + 0.5) / n
        y = x[:, None]
        u = 2 + np.cos(np.pi * x) * np.cos(2 * np.pi * y)
        d = 1 + 0.5 * np.sin(np.pi * x) + 0 * y
        loss = 3 + x + y
        ux = -np.pi * np.sin(np.pi * x) * np.cos(2 * np.pi * y)
        minus_div = d * 5 * np.pi**2 * (u - 2) - 0.5 * np.pi * np.cos(np.pi * x) * ux
        found = steady_state(d[None], loss[None], (minus_div + loss * u)[None], (1.0, 1 / n, 1 / n), tolerance=1e-10)
        errors.append(np.abs(found.values[0] - u).max())
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.1)


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 2**31))
def test_what_is_made_is_lost_and_nothing_else(shape: tuple[int, int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    d, loss, source = (rng.uniform(0, 1, shape) for _ in range(3))
    loss += 1e-3
    d[rng.random(shape) < 0.2] = 0
    found = steady_state(d, loss, source, rng.uniform(0.2, 3, 3), tolerance=1e-10)
    assert (loss * found.values).sum() == pytest.approx(source.sum(), rel=1e-8)
    assert found.values.min() >= -1e-9  # sources that are not negative give no negative values
    assert found.residual <= 1e-10


def test_the_number_of_steps_hardly_depends_on_the_grid() -> None:
    rng = np.random.default_rng(3)
    steps = []
    for n in (12, 24, 48):
        source = rng.uniform(0, 1, (n, n, n))
        steps.append(steady_state(1.0, 1e-3, source, (1.0, 1.0, 1.0)).steps)
    assert max(steps) <= 20
    assert steps[2] <= steps[0] + 8


def test_no_source_gives_zero_and_the_same_input_the_same_bytes() -> None:
    assert not steady_state(1.0, 1.0, np.zeros((3, 4, 5)), (1, 1, 1)).values.any()
    source = np.random.default_rng(1).random((9, 10, 11))
    first, second = (steady_state(1.0, 0.1, source, (1, 1, 1)).values.tobytes() for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("kind", "match", "change"),
    [
        (UsageError, r"Sources are an array \(z, y, x\)", {"source": np.zeros(3)}),
        (UsageError, "A spacing is three positive lengths", {"spacing": (1, 0, 1)}),
        (UsageError, "The loss has another shape", {"loss": np.ones(2)}),
        (UsageError, "The mask has another shape", {"fixed": np.ones(2, bool)}),
        (DataError, "The diffusivity must be finite and not negative", {"diffusivity": -1.0}),
        (DataError, "A source is not finite", {"source": np.full((2, 2, 2), np.nan)}),
        (DataError, "A fixed value is not finite", {"fixed": np.ones((2, 2, 2), bool), "fixed_values": np.inf}),
        (DataError, "Nothing determines the level of the solution.*Mend: fix a voxel", {"loss": 0.0}),
        (DataError, "did not converge within 1 steps", {"max_steps": 1, "loss": 1e-6, "tolerance": 1e-14}),
    ],
)
def test_input_that_cannot_be_solved_is_refused(kind: type[Exception], match: str, change: dict) -> None:
    rng = np.random.default_rng(0)
    given = {"diffusivity": 1.0, "loss": 1.0, "source": rng.random((2, 2, 2)), "spacing": (1, 1, 1)} | change
    if "max_steps" in change:
        given["source"] = rng.random((20, 20, 20))
    with pytest.raises(kind, match=match):
        steady_state(**given)
