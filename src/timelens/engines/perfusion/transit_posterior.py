"""What curves say of transit time, shape and delay, given a prior: their joint posterior, summed.

The amplitude of a curve and its noise are integrated in closed form (flat in the logarithm of both), so that of a
place in a dictionary only the part of the curve's power counts that it explains. Over delays, which are well determined
once transit time and shape are given, a parabola is integrated; over transit time and shape a sum is taken on nodes.
Where noise is so low that only few nodes count, points between the nodes that follow the posterior's own mean and
covariance take their place (Naylor JC, Smith AFM, Appl Stat 1982;31:214).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from timelens.engines.perfusion.transit_kernels import FLOOR, cholesky, dot, inverse, looseness, misfit, products, read

__all__ = ["LATTICE", "summarise"]

#: Nodes further below the best than this (natural logarithm) do not count.
_FAR = 16.0
#: With fewer nodes that count, points between them are summed.
_FEWEST = 12.0
_STEPS, _PASSES = 12, 2


def _lattice() -> NDArray[np.float64]:
    """Points of a ball, 1.1 standard deviations apart: sums over it are integrals of a normal distribution."""
    line = 1.1 * np.arange(-3, 4)
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.asarray(points[np.square(points).sum(axis=1) < 3.8**2])


LATTICE = _lattice()


@njit(cache=True, nogil=True, error_model="numpy")
def _over_delay(atoms, i, j, guess, seen, power, frames, centre, precision, found):  # type: ignore[no-untyped-def]
    """One transit time and shape: ``found`` is cost without delay, delay, its variance, amplitude, its variance."""
    last = atoms.shape[2] - 2
    k = min(max(int(np.round(guess)), 1), last)
    own, both = products(atoms, i, j, k, seen)
    here = both * abs(both) / own
    own, both = products(atoms, i, j, k + 1, seen)
    later = both * abs(both) / own
    step = 1 if later > here else -1
    while 1 <= k + step <= last:
        own, both = products(atoms, i, j, k + step, seen)
        there = both * abs(both) / own
        if there <= here:
            break
        k, here = k + step, there
    first, fed = products(atoms, i, j, k - 1, seen)
    low = misfit(first, fed, power, frames) + 0.5 * precision * (k - 1 - centre) ** 2
    own, both = products(atoms, i, j, k, seen)
    mid = misfit(own, both, power, frames) + 0.5 * precision * (k - centre) ** 2
    third, late = products(atoms, i, j, k + 1, seen)
    high = misfit(third, late, power, frames) + 0.5 * precision * (k + 1 - centre) ** 2
    if not np.isfinite(low + mid + high):
        found[0] = np.inf
        return
    bend, slope = max(low + high - 2 * mid, 1e-3), 0.5 * (high - low)
    move = min(max(-slope / bend, -1.0), 1.0)
    found[0] = mid + slope * move + 0.5 * bend * move * move + 0.5 * np.log(bend)
    found[1] = k + move
    found[2] = 1 / bend
    a, b, c = fed / first, both / own, late / third
    found[3] = b + 0.5 * (c - a) * move + 0.5 * (a + c - 2 * b) * move * move
    found[4] = looseness(own, both, power, frames)


@njit(cache=True, nogil=True, error_model="numpy")
def _nodes(atoms, seen, power, frames, start, stride, nodes, centre, precision, found):  # type: ignore[no-untyped-def]
    """Fill ``found`` (transit times, shapes, 5) where it counts; the least cost. Every third node first."""
    rows, columns = found.shape[0], found.shape[1]
    # With the same middle of their transit curves lie closest: delay + MTT (1 + 1 / shape) / 2.
    half = np.empty((rows, columns))
    for i in range(rows):
        for j in range(columns):
            shape = np.exp(nodes[1, 0] + nodes[1, 1] * j)
            half[i, j] = 0.5 * np.exp(nodes[0, 0] + nodes[0, 1] * i) * (1 + 1 / shape) / nodes[2, 1]
            found[i, j, 0] = np.inf
    best = np.inf
    for fine in range(2):
        limit = best + _FAR + 6
        for i in range(rows):
            for j in range(columns):
                coarse = i % stride == 0 and j % stride == 0
                if coarse != (fine == 0):
                    continue
                if fine == 0:
                    guess = start[2] + half[start[0], start[1]] - half[i, j]
                else:
                    p, q = min(i // stride * stride, rows - 1 - stride), min(j // stride * stride, columns - 1 - stride)
                    low = np.inf
                    for a in range(p, p + stride + 1, stride):
                        for b in range(q, q + stride + 1, stride):
                            if found[a, b, 0] < low:
                                low, guess = found[a, b, 0], found[a, b, 1] + half[a, b] - half[i, j]
                    if not low < limit:
                        continue
                _over_delay(atoms, i, j, guess, seen, power, frames, centre[2], precision[2], found[i, j])
                found[i, j, 0] += 0.5 * precision[0] * (i - centre[0]) ** 2
                found[i, j, 0] += 0.5 * precision[1] * (j - centre[1]) ** 2
                best = min(best, found[i, j, 0])
    return best


@njit(cache=True, nogil=True, error_model="numpy")
def _add(moments, w, flow, log_mtt, log_shape, delay, loose, delayed):  # type: ignore[no-untyped-def]
    """Add one place to the sums of weights, and of ln flow, ln volume, ln MTT, delay, ln shape and their squares."""
    height = np.log(flow)
    moments[0, 5] += w
    moments[1, 5] += w * w
    moments[0, 0] += w * height
    moments[1, 0] += w * (height * height + loose)
    moments[0, 1] += w * (height + log_mtt)
    moments[1, 1] += w * ((height + log_mtt) ** 2 + loose)
    moments[0, 2] += w * log_mtt
    moments[1, 2] += w * log_mtt**2
    moments[0, 3] += w * delay
    moments[1, 3] += w * (delay**2 + delayed)
    moments[0, 4] += w * log_shape
    moments[1, 4] += w * log_shape**2


@njit(cache=True, nogil=True, error_model="numpy")
def _mode(atoms, place, seen, power, frames, centre, precision, hessian):  # type: ignore[no-untyped-def]
    """Move ``place`` to the mode by damped Gauss-Newton steps, and leave the Hessian there; the cost."""
    width = atoms.shape[3]
    curve, other = np.zeros(width, np.float32), np.zeros(width, np.float32)
    slopes, trial, gradient = np.zeros((3, width)), np.zeros(3), np.zeros(3)
    turned, damped = np.zeros((3, 3)), np.zeros((3, 3))
    damping, best, fresh, done = 1e-3, np.inf, True, False
    for step in range(_STEPS + 1):
        if fresh:
            read(atoms, place, curve)
            own, both = dot(curve, curve), dot(curve, seen)
            flow = both / own
            best = misfit(own, both, power, frames)
            scale = (frames - 1) / max(power - both * flow, FLOOR * power)
            for p in range(3):
                best += 0.5 * precision[p] * (place[p] - centre[p]) ** 2
                # Central differences over half a node look past the bends of the straight pieces.
                ahead, back = min(place[p] + 0.5, atoms.shape[p] - 1.0), max(place[p] - 0.5, 0.0)
                trial[:] = place
                trial[p] = ahead
                read(atoms, trial, other)
                for c in range(width):
                    slopes[p, c] = other[c]
                trial[p] = back
                read(atoms, trial, other)
                along = 0.0
                for c in range(width):
                    slopes[p, c] = (slopes[p, c] - other[c]) / (ahead - back)
                    along += slopes[p, c] * curve[c]
                gradient[p] = precision[p] * (place[p] - centre[p])
                for c in range(width):
                    slopes[p, c] = flow * (slopes[p, c] - along / own * curve[c])
                    gradient[p] -= scale * slopes[p, c] * (seen[c] - flow * curve[c])
                for q in range(p + 1):
                    s = 0.0
                    for c in range(width):
                        s += slopes[p, c] * slopes[q, c]
                    hessian[p, q] = hessian[q, p] = scale * s
                hessian[p, p] += precision[p]
        if done or step == _STEPS:
            break
        for p in range(3):
            for q in range(3):
                damped[p, q] = hessian[p, q]
            damped[p, p] += damping * hessian[p, p]
        fresh = False
        if not inverse(damped, turned):
            damping *= 10
            continue
        longest = 0.0
        for p in range(3):
            move = 0.0
            for q in range(3):
                move -= turned[p, q] * gradient[q]
            trial[p] = min(max(place[p] + min(max(move, -4.0), 4.0), 0.0), atoms.shape[p] - 1.0)
            longest = max(longest, abs(trial[p] - place[p]))
        read(atoms, trial, other)
        value = misfit(dot(other, other), dot(other, seen), power, frames)
        for p in range(3):
            value += 0.5 * precision[p] * (trial[p] - centre[p]) ** 2
        if value < best:
            fresh, done = True, best - value < 1e-3 and longest < 0.02
            place[:] = trial
            damping /= 5
        else:
            damping *= 8
            if longest < 1e-4:
                break
    return best


@njit(cache=True, nogil=True, error_model="numpy")
def _between(atoms, place, seen, power, frames, nodes, centre, precision, lattice, moments):  # type: ignore[no-untyped-def]
    """Sums over points between nodes that follow the posterior from its mode on; False where it has no width."""
    points = lattice.shape[0]
    curve = np.zeros(atoms.shape[3], np.float32)
    at, cost = np.zeros((points, 3)), np.zeros(points)
    flow, loose = np.zeros(points), np.zeros(points)
    hessian, spread = np.zeros((3, 3)), np.zeros((3, 3))
    _mode(atoms, place, seen, power, frames, centre, precision, hessian)
    if not inverse(hessian, spread):
        return False
    for _ in range(_PASSES):
        root = np.zeros((3, 3))
        if not cholesky(spread, root):
            return False
        best = np.inf
        for m in range(points):
            inside = True
            for p in range(3):
                s = place[p]
                for q in range(p + 1):
                    s += root[p, q] * lattice[m, q]
                at[m, p] = s
                inside = inside and 0 <= s <= atoms.shape[p] - 1
            cost[m] = np.inf
            if not inside:
                continue
            read(atoms, at[m], curve)
            own, both = dot(curve, curve), dot(curve, seen)
            cost[m] = misfit(own, both, power, frames)
            if not np.isfinite(cost[m]):
                continue
            flow[m], loose[m] = both / own, looseness(own, both, power, frames)
            for p in range(3):
                cost[m] += 0.5 * precision[p] * (at[m, p] - centre[p]) ** 2
            best = min(best, cost[m])
        if not np.isfinite(best):
            return False
        total, mean = 0.0, np.zeros(3)
        for m in range(points):
            cost[m] = np.exp(best - cost[m])
            total += cost[m]
            for p in range(3):
                mean[p] += cost[m] * at[m, p]
        for p in range(3):
            place[p] = mean[p] / total
            for q in range(p + 1):
                s = 0.0
                for m in range(points):
                    s += cost[m] * (at[m, p] - mean[p] / total) * (at[m, q] - mean[q] / total)
                spread[p, q] = spread[q, p] = s / total + 0.01 * spread[p, q]
    moments[:] = 0.0
    for m in range(points):
        if cost[m] > 0:
            _add(moments, cost[m], flow[m], nodes[0, 0] + nodes[0, 1] * at[m, 0], nodes[1, 0] + nodes[1, 1] * at[m, 1],
                 nodes[2, 0] + nodes[2, 1] * at[m, 2], loose[m], 0.0)  # fmt: skip
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def summarise(atoms, seen, power, frames, starts, stride, nodes, centre, precision, lattice, out):  # type: ignore[no-untyped-def]
    """Posterior means and variances of curves.

    ``atoms`` (MTT, shape, delay, coordinates), ``seen`` (n, coordinates) float32, ``power`` (n,) sums of squares over
    ``frames``, ``starts`` (n, 3) nodes near the best, ``stride`` of the nodes that are looked at first, ``nodes``
    (3, 2) first node and step of ln MTT, ln shape and delay, ``centre`` and ``precision`` (3,) of the prior in nodes,
    ``lattice`` as :data:`LATTICE`. ``out`` (n, 2, 7): mean and variance of ln flow, ln (flow MTT), ln MTT, delay, ln
    shape; then transit time and delay of the likeliest place, in nodes; then what the mean place leaves of the power.
    NaN where nothing fits.
    """
    found = np.empty((atoms.shape[0], atoms.shape[1], 5))
    moments, place, curve = np.zeros((2, 6)), np.zeros(3), np.zeros(atoms.shape[3], np.float32)
    for v in range(seen.shape[0]):
        out[v] = np.nan
        best = _nodes(atoms, seen[v], power[v], frames, starts[v], stride, nodes, centre, precision, found)
        if not np.isfinite(best):
            continue
        moments[:] = 0.0
        for i in range(found.shape[0]):
            for j in range(found.shape[1]):
                cost = found[i, j, 0] - best
                if cost == 0.0:
                    place[0], place[1], place[2] = i, j, found[i, j, 1]
                if cost < _FAR and found[i, j, 3] > 0:
                    w = np.exp(-cost)
                    # The ends of the ranges are half intervals.
                    w *= 0.5 if i in (0, found.shape[0] - 1) else 1.0
                    w *= 0.5 if j in (0, found.shape[1] - 1) else 1.0
                    _add(moments, w, found[i, j, 3], nodes[0, 0] + nodes[0, 1] * i, nodes[1, 0] + nodes[1, 1] * j,
                         nodes[2, 0] + nodes[2, 1] * found[i, j, 1], found[i, j, 4],
                         found[i, j, 2] * nodes[2, 1] ** 2)  # fmt: skip
        few = moments[0, 5] ** 2 < _FEWEST * moments[1, 5]
        if few and not _between(atoms, place, seen[v], power[v], frames, nodes, centre, precision, lattice, moments):
            continue
        out[v, 0, 5], out[v, 1, 5] = place[0], place[2]
        for c in range(5):
            mean = moments[0, c] / moments[0, 5]
            out[v, 0, c] = mean
            out[v, 1, c] = max(moments[1, c] / moments[0, 5] - mean * mean, 0.0)
        place[0] = (out[v, 0, 2] - nodes[0, 0]) / nodes[0, 1]
        place[1] = (out[v, 0, 4] - nodes[1, 0]) / nodes[1, 1]
        place[2] = (out[v, 0, 3] - nodes[2, 0]) / nodes[2, 1]
        read(atoms, place, curve)
        both = dot(curve, seen[v])
        out[v, 0, 6] = power[v] - both * both / dot(curve, curve)
