"""Spectral analysis: a tissue as a spectrum of exponentials, none of them assumed.

Cunningham VJ, Jones T, J Cereb Blood Flow Metab 1993;13:15, doi:10.1038/jcbfm.1993.5: the tissue is the sum of positive
amplitudes times the input convolved with exp(-b t) for a grid of b. K1 is the sum of the amplitudes, V_T the sum of
amplitude / b, and the amplitude at b = 0 is irreversible trapping.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from timelens.engines.kinetics.convolve import convolve_exponential, frame_values
from timelens.engines.kinetics.frames import Frames
from timelens.engines.kinetics.inputs import InputFunction, require_same_convention
from timelens.engines.kinetics.model import check_data, check_span, check_weights
from timelens.engines.kinetics.reasons import Reason
from timelens.engines.kinetics.tables import rate_range

__all__ = ["SpectralAnalysis", "Spectrum"]

Floats = NDArray[np.float64]

#: Rates of the grid besides zero.
GRID = 100


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Amplitudes (components, ...) at ``rates`` (1/s; the first is 0), blood volume, fit and what follows from them.

    ``v_t`` is NaN where there is trapping, ``k_i`` is the trapping; standard errors by a residual bootstrap.
    """

    rates: Floats
    amplitudes: Floats
    parameters: dict[str, Floats]
    standard_errors: dict[str, Floats]
    units: dict[str, str]
    weighted_rss: Floats
    predicted: Floats
    residuals: Floats
    reason: NDArray[np.int32]


class SpectralAnalysis:
    """Non-negative least squares on a logarithmic grid of rates.

    Parameters
    ----------
    frames, plasma, blood
        As for the tissue models.
    blood_volume
        Whether whole blood is one of the components.
    rates
        Lowest and highest rate of the grid, 1/s; by default 0.1 over the scan's length to 0.5.
    trapping
        Whether rate 0 belongs to the grid. Without it a reversible tissue has a finite v_t.
    """

    name = "spectral"
    main = "v_t"

    def __init__(
        self,
        frames: Frames,
        plasma: InputFunction,
        blood: InputFunction | None = None,
        *,
        blood_volume: bool = True,
        rates: tuple[float, float] | None = None,
        trapping: bool = True,
    ) -> None:
        check_span(float(plasma.times[-1]), frames)
        if blood is not None:
            require_same_convention(plasma, blood)
        last = float(frames.end[-1])
        grid = np.geomspace(*rate_range(rates or (0.1 / last, 0.5), last), GRID)
        self.frames = frames
        self.rates = np.concatenate([[0.0], grid]) if trapping else grid
        columns = [convolve_exponential(plasma.times, plasma.values, self.rates, frames)]
        if blood_volume:
            seen = plasma if blood is None else blood
            columns.append(frame_values(seen.times, seen.values, frames)[:, None])
        self.with_blood = blood_volume
        self.design = np.concatenate(columns, axis=1)

    def fit(
        self,
        data: ArrayLike,
        weights: ArrayLike | None = None,
        *,
        bootstrap: int = 0,
        rng: np.random.Generator | None = None,
    ) -> Spectrum:
        """Spectra of one or more curves (frames, ...).

        Parameters
        ----------
        weights
            (frames,), proportional to one over the variance.
        bootstrap
            Number of refits with resampled weighted residuals for the standard errors; 0: none (NaN).
        rng
            Generator for the bootstrap.
        """
        curves, shape = check_data(data, len(self.frames))
        root = np.sqrt(check_weights(weights, shape, len(self.frames)))
        design = self.design
        count = curves.shape[1]
        solved = np.full((design.shape[1], count), np.nan)
        names = ("k1", "v_t", "k_i", "v_b") if self.with_blood else ("k1", "v_t", "k_i")
        values, errors = np.full((len(names), count), np.nan), np.full((len(names), count), np.nan)
        reason = np.zeros(count, dtype=np.int32)
        for i in range(count):
            w = root[:, 0 if root.shape[1] == 1 else i]
            y = np.where(w > 0, curves[:, i] * w, 0.0)
            if not np.isfinite(y).all() or not y.any():
                reason[i] = int(Reason.NON_FINITE if not np.isfinite(y).all() else Reason.NO_SIGNAL)
                continue
            # Columns of unit length keep the solver's tolerance meaningful.
            weighted = design * w[:, None]
            scale = np.linalg.norm(weighted, axis=0)
            scale[scale == 0] = 1.0
            solved[:, i] = optimize.nnls(weighted / scale, y, maxiter=50 * design.shape[1])[0] / scale
            values[:, i] = self._parameters(solved[:, i])
            if bootstrap and rng is not None:
                fitted = weighted @ solved[:, i]
                rest = (y - fitted)[w > 0]
                draws = []
                for _ in range(bootstrap):
                    again = fitted.copy()
                    again[w > 0] += rng.choice(rest, rest.size)
                    draws.append(self._parameters(optimize.nnls(weighted / scale, again, maxiter=5000)[0] / scale))
                errors[:, i] = np.std(draws, axis=0, ddof=1)
        model = design @ solved
        rest = curves - model
        size = self.rates.size
        return Spectrum(
            self.rates,
            solved[:size].reshape(size, *shape),
            {name: values[j].reshape(shape) for j, name in enumerate(names)},
            {name: errors[j].reshape(shape) for j, name in enumerate(names)},
            dict(zip(names, ("mL/mL/s", "mL/mL", "mL/mL/s", "mL/mL"), strict=False)),
            np.square(np.where(root > 0, rest * root, 0.0)).sum(axis=0).reshape(shape),
            model.reshape(-1, *shape),
            rest.reshape(-1, *shape),
            reason.reshape(shape),
        )

    def _parameters(self, solved: Floats) -> Floats:
        volume = float(solved[-1]) if self.with_blood else 0.0
        tissue = solved[: self.rates.size] / (1.0 - volume)
        trapped = self.rates == 0
        k_i = float(tissue[trapped].sum())
        v_t = float((tissue[~trapped] / self.rates[~trapped]).sum()) if k_i == 0 else float("nan")
        return np.array([tissue.sum(), v_t, k_i, volume][: 4 if self.with_blood else 3])
