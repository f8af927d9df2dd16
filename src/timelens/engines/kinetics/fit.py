"""What every kinetic model returns: parameters with units, errors, and how well the curve was met."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from timelens.engines.kinetics.reasons import FATAL, Reason
from timelens.errors import UsageError

__all__ = ["Fit", "Loss", "akaike", "stack", "t_quantile"]

Floats = NDArray[np.float64]

#: A main parameter is called imprecise when its standard error exceeds this part of it.
IMPRECISE_ABOVE = 0.5
_DOUBTFUL = FATAL | Reason.SINGULAR | Reason.RATE_AT_BOUND | Reason.IMPRECISE | Reason.NOT_PHYSICAL
_DOUBTFUL |= Reason.NOT_CONVERGED | Reason.COMPARTMENT_AT_ZERO

Loss = Literal["squares", "huber"]
Profile = Callable[[str, float, int], tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Fit:
    """Result of fitting curves; every array has the shape of the data without its frame axis (``()`` for one curve).

    Attributes
    ----------
    model
        Name of the model.
    parameters, standard_errors
        By name; NaN where nothing could be fitted, see ``reason``.
    units
        UCUM unit of each parameter; seconds and the ratio of tissue to input unit.
    main
        The parameter that the model is for (``v_t``, ``k_i``, ``bp_nd`` ...).
    weighted_rss
        Sum of weight times squared residual over the frames that were fitted.
    frames_used, free_parameters
        What enters degrees of freedom and information criteria.
    reason
        Flags of :class:`~timelens.engines.kinetics.reasons.Reason`.
    covariance
        (parameters, parameters, ...) in the order of ``parameters``; None for maps.
    predicted, residuals
        (frames, ...), model and data minus model; None for maps.
    weights
        (frames, ...), what each squared residual counted: with a robust loss outliers have less; None for maps.
    t_star
        First time used by a graphical method, s; NaN for models that use all frames.
    """

    model: str
    parameters: dict[str, Floats]
    standard_errors: dict[str, Floats]
    units: dict[str, str]
    main: str
    weighted_rss: Floats
    frames_used: int
    free_parameters: int
    reason: NDArray[np.int32]
    covariance: Floats | None = None
    predicted: Floats | None = None
    residuals: Floats | None = None
    weights: Floats | None = None
    t_star: float = float("nan")
    profile: Profile | None = field(default=None, repr=False)

    @property
    def degrees_of_freedom(self) -> int:
        """Frames minus free parameters."""
        return self.frames_used - self.free_parameters

    @property
    def aic(self) -> Floats:
        """Akaike's criterion for small samples (Hurvich and Tsai 1989, doi:10.1093/biomet/76.2.297)."""
        return akaike(self.weighted_rss, self.frames_used, self.free_parameters)

    @property
    def bic(self) -> Floats:
        """Schwarz's criterion (1978, doi:10.1214/aos/1176344136)."""
        n = self.frames_used
        with np.errstate(divide="ignore"):
            return np.asarray(n * np.log(self.weighted_rss / n) + np.log(n) * (self.free_parameters + 1))

    @property
    def identifiable(self) -> NDArray[np.bool_]:
        """Whether the data determine the parameters: no flag that casts doubt, main error under half its value."""
        return np.asarray((self.reason & int(_DOUBTFUL)) == 0)

    def shaped(self, shape: tuple[int, ...]) -> Fit:
        """A fit of curves in a row, in the shape of the data without frames."""

        def turned(array: Floats | None, leading: int) -> Floats | None:
            return None if array is None else array.reshape(*array.shape[:leading], *shape)

        return replace(
            self,
            parameters={name: value.reshape(shape) for name, value in self.parameters.items()},
            standard_errors={name: value.reshape(shape) for name, value in self.standard_errors.items()},
            weighted_rss=self.weighted_rss.reshape(shape),
            reason=self.reason.reshape(shape),
            covariance=turned(self.covariance, 2),
            predicted=turned(self.predicted, 1),
            residuals=turned(self.residuals, 1),
            weights=turned(self.weights, 1),
        )

    def predict(self) -> Floats:
        """The fitted curves at the frames."""
        if self.predicted is None:
            raise UsageError("Maps keep no fitted curves", mend="use model.fit on the curves of interest")
        return self.predicted

    def interval(
        self, level: float = 0.95, *, parameter: str | None = None, method: Literal["auto", "profile", "wald"] = "auto"
    ) -> tuple[Floats, Floats]:
        """Lower and upper limit of a parameter (the main one by default).

        Parameters
        ----------
        level
            Coverage, between 0 and 1.
        method
            ``"profile"``: where the weighted RSS rises by ``t^2 s^2`` while all else is refitted (Bates and Watts
            1988, ch. 6). ``"wald"``: estimate -+ t times standard error; for two-tissue V_T it covers too little.
            ``"auto"``: profile where the model offers it.
        """
        name = self.main if parameter is None else parameter
        if name not in self.parameters:
            raise UsageError("Unknown parameter", field="parameter", found=name, expected=", ".join(self.parameters))
        if not 0 < level < 1:
            raise UsageError("The level of an interval lies between 0 and 1", field="level", found=level)
        if method == "profile" and self.profile is None:
            raise UsageError("This fit has no profile likelihood", found=self.model, mend="use method='wald'")
        if method == "wald" or self.profile is None:
            half = t_quantile(level, self.degrees_of_freedom) * self.standard_errors[name]
            return np.asarray(self.parameters[name] - half), np.asarray(self.parameters[name] + half)
        values = self.parameters[name]
        lower, upper = np.full(values.shape, np.nan), np.full(values.shape, np.nan)
        for flat, at in enumerate(np.ndindex(values.shape)):
            if np.isfinite(values[at]):
                lower[at], upper[at] = self.profile(name, level, flat)
        return lower, upper


def stack(fits: Sequence[Fit], shape: tuple[int, ...]) -> Fit:
    """Fits of single curves by one model as one fit of many; ``shape`` is that of the data without frames."""
    first = fits[0]

    def join(arrays: Sequence[Floats | None]) -> Floats | None:
        known = [array for array in arrays if array is not None]
        return np.stack(known, axis=-1).reshape(*known[0].shape, *shape) if known else None

    profiles = [fit.profile for fit in fits]

    def profile(name: str, level: float, at: int) -> tuple[float, float]:
        chosen = profiles[at]
        assert chosen is not None
        return chosen(name, level, 0)

    return replace(
        first,
        parameters={name: np.array([fit.parameters[name] for fit in fits]).reshape(shape) for name in first.parameters},
        standard_errors={
            name: np.array([fit.standard_errors[name] for fit in fits]).reshape(shape) for name in first.parameters
        },
        weighted_rss=np.array([fit.weighted_rss for fit in fits]).reshape(shape),
        reason=np.array([fit.reason for fit in fits], dtype=np.int32).reshape(shape),
        covariance=join([fit.covariance for fit in fits]),
        predicted=join([fit.predicted for fit in fits]),
        residuals=join([fit.residuals for fit in fits]),
        weights=join([fit.weights for fit in fits]),
        profile=profile if all(known is not None for known in profiles) else None,
    )


def akaike(rss: Floats, frames: int, parameters: int) -> Floats:
    """AIC corrected for small samples; the noise variance counts as a parameter. Infinite without spare frames."""
    k = parameters + 1
    if frames - k - 1 <= 0:
        return np.full(np.shape(rss), np.inf)
    with np.errstate(divide="ignore"):
        return np.asarray(frames * np.log(np.asarray(rss) / frames) + 2 * k + 2 * k * (k + 1) / (frames - k - 1))


def t_quantile(level: float, degrees: float) -> float:
    """Two-sided quantile of Student's t, normal for infinitely many degrees of freedom and NaN without any."""
    if not degrees > 0:
        return float("nan")
    return float(special.stdtrit(degrees, 0.5 + level / 2) if np.isfinite(degrees) else special.ndtri(0.5 + level / 2))
