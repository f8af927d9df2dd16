"""Groups of patients with several values each: means and differences under a random intercept per patient.

The value j of patient i of group g is m_g + b_i + e_ij, with b and e normal of own variances (Laird and Ware 1982,
doi:10.2307/2529876). Restricted likelihood is profiled: for a ratio r of the variances the weight of a patient with n
values is n / (1 + n r), means and residual variance follow in closed form, and r is found on a line. In balanced data
this is the classical analysis of variance, and the test of two groups is the t-test of the patients' means.

Degrees of freedom are patients minus groups: the difference is between patients, and no number of cells or regions in a
patient adds to them (the between-within rule of Schluchter and Elashoff 1990, doi:10.1080/00949659008811295). That is
exact in balanced data, and a little wide where the variance between patients is found to be zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import t as student

from timelens.errors import UsageError

__all__ = ["Difference", "RandomInterceptFit", "random_intercept"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """A difference of two group means, with its t-interval."""

    value: float
    standard_error: float
    lower: float
    upper: float
    p_value: float
    degrees_of_freedom: int


@dataclass(frozen=True)
class RandomInterceptFit:
    """Means of groups.

    Attributes
    ----------
    mean
        One for each group.
    standard_error
        Of the means.
    between, within
        Standard deviations of patients and of values in a patient. ``within`` is NaN where no patient has two values:
        ``between`` is then both in one.
    patients
        Number in each group.
    values
        Number of all values.
    """

    mean: FloatArray
    standard_error: FloatArray
    between: float
    within: float
    patients: NDArray[np.int64]
    values: int

    def difference(self, second: int, first: int = 0, *, level: float = 0.95) -> Difference:
        """Mean of one group minus that of another, with a t-interval and two-sided p-value.

        NaN where nothing varies, or patients are no more than groups.
        """
        if not 0 < level < 1:
            raise UsageError("A level lies between 0 and 1", field="level", found=level)
        freedom = int(self.patients.sum()) - len(self.patients)
        value = float(self.mean[second] - self.mean[first])
        error = float(np.hypot(self.standard_error[second], self.standard_error[first]))
        if freedom < 1 or not error > 0:
            return Difference(value, np.nan, np.nan, np.nan, np.nan, max(freedom, 0))
        half = float(student.ppf(0.5 + level / 2, freedom)) * error
        p = 2 * float(student.sf(abs(value) / error, freedom))
        return Difference(value, error, value - half, value + half, p, freedom)


def random_intercept(values: ArrayLike, patients: ArrayLike, groups: ArrayLike) -> RandomInterceptFit:
    """Fit means of groups by restricted maximum likelihood.

    Parameters
    ----------
    values
        Shape (values,), finite.
    patients
        Whose each value is: whole numbers, text, or any other labels.
    groups
        Group of each value, 0, 1 ...; every group has a patient, and a patient has one group.

    Raises
    ------
    UsageError
        If a value is not finite, lengths differ, a group is empty, or a patient is in two groups.
    """
    y = np.asarray(values, np.float64)
    group = np.asarray(groups, np.int64)
    names, patient = np.unique(np.asarray(patients), return_inverse=True)
    if y.ndim != 1 or group.shape != y.shape or patient.shape != y.shape or not np.isfinite(y).all() or not len(y):
        raise UsageError("Each value is finite and has one patient and one group", field="values", found=y.shape)
    count = np.bincount(patient)
    of = np.zeros(len(names), np.int64)
    of[patient] = group
    if (of[patient] != group).any():
        wrong = names[patient[of[patient] != group][0]]
        raise UsageError("A patient is in two groups", field="groups", found=wrong, expected="one group a patient")
    number = np.bincount(of)
    if group.min() < 0 or (number == 0).any():
        raise UsageError("A group has no patient", field="groups", found=number.tolist())
    centre, scale = float(y.mean()), float(np.ptp(y)) or 1.0
    z = (y - centre) / scale  # the scale of the data is not to decide where the search ends
    mean = np.bincount(patient, z) / count
    inside = float(((z - mean[patient]) ** 2).sum())
    model = _Profile(mean, count.astype(np.float64), of, len(number), inside)
    ratio = model.best()
    beta, variance, weight = model.at(ratio)
    total = np.bincount(of, weight, minlength=len(number))
    error = np.sqrt(variance / total)
    if (count == 1).all():
        between, within = float(np.sqrt(variance)), float("nan")
    else:
        within = float(np.sqrt(inside / (len(y) - len(names)))) if np.isinf(ratio) else float(np.sqrt(variance))
        between = float(np.sqrt(variance)) if np.isinf(ratio) else float(np.sqrt(ratio * variance))
    return RandomInterceptFit(centre + scale * beta, scale * error, scale * between, scale * within, number, len(y))


@dataclass(frozen=True)
class _Profile:
    """Restricted likelihood over the ratio of the variance between patients to that within; patients' means suffice."""

    mean: FloatArray
    count: FloatArray
    group: NDArray[np.int64]
    groups: int
    inside: float

    def best(self) -> float:
        """The ratio: 0 where values of a patient are no more alike than others, infinite where they do not differ."""
        if (self.count == 1).all():
            return 0.0
        if self.inside <= 1e-24 * self.count.sum():
            return float("inf")
        # In s = r / (1 + r) the line is finite; a coarse look first, since there may be two valleys.
        line = np.linspace(0.0, 1 - 1e-9, 33)
        heights = [self.height(s) for s in line]
        k = int(np.argmin(heights))
        low, high = line[max(k - 1, 0)], line[min(k + 1, len(line) - 1)]
        found = minimize_scalar(self.height, bounds=(low, high), method="bounded", options={"xatol": 1e-10})
        s = float(found.x) if found.fun < heights[0] else 0.0
        return s / (1 - s)

    def at(self, ratio: float) -> tuple[FloatArray, float, FloatArray]:
        """Group means, residual variance, and weight of each patient in units of one over that variance."""
        weight = np.ones_like(self.count) if np.isinf(ratio) else self.count / (1 + self.count * ratio)
        total = np.bincount(self.group, weight, minlength=self.groups)
        beta = np.bincount(self.group, weight * self.mean, minlength=self.groups) / total
        square = float((weight * (self.mean - beta[self.group]) ** 2).sum())
        if np.isinf(ratio):  # values in a patient are all equal: patients' means are the data
            return beta, square / max(len(self.mean) - self.groups, 1), weight
        return beta, (self.inside + square) / max(self.count.sum() - self.groups, 1), weight

    def height(self, s: float) -> float:
        """Minus twice the restricted log likelihood, but for a constant."""
        ratio = s / (1 - s)
        _, variance, weight = self.at(ratio)
        total = np.bincount(self.group, weight, minlength=self.groups)
        free = self.count.sum() - self.groups
        return float(free * np.log(max(variance, 1e-300)) + np.log1p(self.count * ratio).sum() + np.log(total).sum())
