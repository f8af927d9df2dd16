"""Published arterial inputs of contrast agent, in whole blood, and the way from blood to plasma.

Concentrations are mmol/L for the dose of the paper (0.1 mmol/kg in man); times are seconds from injection as the paper
counts it. A curve is zero before its start, and ``delay`` moves it later.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from timelens.engines.kinetics.inputs import InputFunction
from timelens.errors import DataError, UsageError

__all__ = ["Population", "georgiou", "mcgrath_mouse", "parker", "plasma_from_blood", "population_input"]

Floats = NDArray[np.float64]
Population = Literal["parker", "georgiou", "mcgrath_mouse"]

#: Parker GJM et al., Magn Reson Med 2006;56:993, doi:10.1002/mrm.21066, table 1: areas (mmol/L min), times and widths
#: (min) of the Gaussians; alpha (mmol/L), beta, s (1/min) and tau (min) of the exponential.
_PARKER_GAUSSIANS = ((0.809, 0.17046, 0.0563), (0.330, 0.365, 0.132))
_PARKER_TAIL = (1.050, 0.1685, 38.078, 0.483)
#: Georgiou L et al., Magn Reson Med 2019;81:1955, doi:10.1002/mrm.27524, table 3: amplitudes (mmol/L) and rates (1/min)
#: of the exponentials; alpha, beta (min), tau (min) of the bolus. The table rounds to two or three figures (0.37, 0.33,
#: 10.06; 0.11, 1.17, 16.02; 5.26, 0.032, 0.129), which is 1 % off the authors' own sampled curve; these digits give
#: it back within 3e-5 mmol/L.
_GEORGIOU_TAIL = ((0.37430504, 0.11269108), (0.33118566, 1.17452423), (10.06078909, 16.0195858))
_GEORGIOU_BOLUS = (5.26695886, 0.03207895, 0.12855639)
#: McGrath DM et al., Magn Reson Med 2009;61:1173, doi:10.1002/mrm.21959, model B: end of the rise (s), then amplitudes
#: (mmol/L) and rates (1/s).
_MCGRATH_RISE = 7.0
_MCGRATH_TAIL = ((3.40, 0.045), (1.81, 0.0015))


def _since(times: ArrayLike, delay: float) -> Floats:
    at = np.asarray(times, dtype=np.float64) - delay
    if not np.isfinite(at).all():
        raise DataError("Times of an input must be numbers", field="times", found="NaN or infinity", expected="seconds")
    return np.asarray(at)


def parker(times: ArrayLike, *, delay: float = 0.0) -> Floats:
    """Parker's population average: two Gaussians and an exponential that a sigmoid switches on."""
    at = _since(times, delay)
    t = at / 60
    alpha, beta, steep, tau = _PARKER_TAIL
    curve = alpha * np.exp(-beta * t) * special.expit(steep * (t - tau))
    for area, middle, width in _PARKER_GAUSSIANS:
        curve = curve + area / (width * np.sqrt(2 * np.pi)) * np.exp(-((t - middle) ** 2) / (2 * width**2))
    return np.asarray(np.where(at >= 0, curve, 0.0))


def georgiou(times: ArrayLike, *, delay: float = 0.0) -> Floats:
    """Georgiou's average at high temporal resolution: a gamma variate and its recirculations, times exponentials.

    Recirculation ``j`` comes ``j tau`` later and is the bolus convolved with itself ``j`` times, again a gamma variate
    (Horsfield MA et al., Phys Med Biol 2009;54:2933, doi:10.1088/0031-9155/54/9/023).
    """
    t = _since(times, delay) / 60
    alpha, beta, tau = _GEORGIOU_BOLUS
    bolus = np.zeros_like(t)
    for j in range(int(max(float(t.max(initial=0.0)), 0.0) / tau) + 1):
        power, late = (j + 1) * alpha + j, t - j * tau
        rise = power * np.log(np.maximum(late, 1e-300)) - late / beta
        term = rise - (power + 1) * np.log(beta) - special.gammaln(power + 1)
        bolus += np.where(late > 0, np.exp(np.minimum(term, 700.0)), 0.0)
    slow = np.zeros_like(t)
    for amplitude, rate in _GEORGIOU_TAIL:
        slow += amplitude * np.exp(-rate * np.maximum(t, 0.0))
    return np.asarray(bolus * slow)


def mcgrath_mouse(times: ArrayLike, *, delay: float = 0.0) -> Floats:
    """McGrath's preclinical model B: a straight rise and two exponentials, for a bolus of some seconds."""
    at = _since(times, delay)
    late = np.maximum(at - _MCGRATH_RISE, 0.0)
    curve, top = np.zeros_like(at), 0.0
    for amplitude, rate in _MCGRATH_TAIL:
        curve += amplitude * np.exp(-rate * late)
        top += amplitude
    return np.asarray(np.where(at < _MCGRATH_RISE, np.maximum(at, 0.0) / _MCGRATH_RISE * top, curve))


def plasma_from_blood(blood: ArrayLike, haematocrit: float) -> Floats:
    """Concentration in plasma, where all of an extracellular agent is: blood over one minus the haematocrit.

    Raises
    ------
    DataError
        The haematocrit is no fraction from 0 to below 0.8; in percent it must be divided by 100.
    """
    if not 0 <= haematocrit < 0.8:
        raise DataError(
            "A haematocrit is a fraction",
            field="haematocrit",
            found=haematocrit,
            expected="0 to 0.8, usually 0.45 in large vessels",
            mend="divide percent by 100",
        )
    return np.asarray(np.asarray(blood, dtype=np.float64) / (1 - haematocrit))


def population_input(
    name: Population, end: float, *, haematocrit: float, delay: float = 0.0, dose: float = 1.0, step: float = 0.25
) -> InputFunction:
    """A published input in plasma, as models take it.

    Parameters
    ----------
    name
        ``"parker"``, ``"georgiou"`` or ``"mcgrath_mouse"``.
    end
        s; last sample.
    haematocrit
        Fraction, see :func:`plasma_from_blood`.
    delay
        s; when the curve starts.
    dose
        Dose given over that of the paper.
    step
        s between samples.
    """
    if name not in get_args(Population):
        raise UsageError("Unknown input", field="name", found=name, expected=", ".join(get_args(Population)))
    if not (np.isfinite(end) and end > 0 and step > 0 and dose > 0):
        raise UsageError("End, step and dose must be positive", found=f"end {end}, step {step}, dose {dose}")
    times = np.linspace(0, end, int(np.ceil(end / step)) + 1)
    curve = {"parker": parker, "georgiou": georgiou, "mcgrath_mouse": mcgrath_mouse}[name](times, delay=delay)
    return InputFunction(times, plasma_from_blood(dose * curve, haematocrit), "plasma", "mmol/L")
