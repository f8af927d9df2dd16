"""The random intercept: bad input, the analysis of variance, the full likelihood, and how often it errs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import ttest_ind

from timelens.engines.statistics import random_intercept
from timelens.errors import UsageError


def draw(rng, regions, between=1.0, within=1.0, effect=0.0):
    """Values, patients and groups; the second half of the patients is the second group."""
    patient = np.repeat(np.arange(len(regions)), regions)
    group = (patient >= len(regions) // 2).astype(int)
    y = between * rng.normal(size=len(regions))[patient] + within * rng.normal(size=len(patient))
    return y + effect * group, patient, group


@pytest.mark.parametrize(
    ("values", "patients", "groups", "said"),
    [
        ([], [], [], "Each value is finite"),
        ([1.0, np.nan], [0, 1], [0, 1], "Each value is finite"),
        ([1.0, 2.0], [0], [0, 1], "Each value is finite"),
        ([1.0, 2.0, 3.0], ["a", "a", "b"], [0, 1, 1], "A patient is in two groups"),
        ([1.0, 2.0], ["a", "b"], [0, 2], "A group has no patient"),
    ],
)
def test_bad_input_is_refused(values, patients, groups, said):
    with pytest.raises(UsageError, match=said):
        random_intercept(values, patients, groups)


def test_one_patient_a_group_has_means_but_no_test():
    found = random_intercept([1.0, 3.0, 5.0], ["a", "a", "b"], [0, 0, 1])
    assert found.mean == pytest.approx([2.0, 5.0])
    assert np.isnan(found.difference(1).p_value) and found.difference(1).degrees_of_freedom == 0


def test_constant_values_have_no_error():
    found = random_intercept(np.ones(8), np.arange(8), np.arange(8) // 4).difference(1)
    assert found.value == 0.0 and np.isnan(found.p_value)
    with pytest.raises(UsageError, match="level lies between"):
        random_intercept(np.ones(4), np.arange(4), [0, 0, 1, 1]).difference(1, level=95)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e5])
def test_balanced_data_give_the_analysis_of_variance(scale, rng):
    patients, n = 12, 4
    y, patient, group = draw(rng, [n] * patients, between=2.0)
    found = random_intercept(scale * y, patient, group)
    means = y.reshape(patients, n).mean(axis=1)
    halves = means[:6], means[6:]
    between = n * sum(((h - h.mean()) ** 2).sum() for h in halves) / (patients - 2)
    within = ((y.reshape(patients, n) - means[:, None]) ** 2).sum() / (patients * (n - 1))
    assert found.within**2 == pytest.approx(scale**2 * within, rel=1e-5)
    assert found.between**2 == pytest.approx(scale**2 * (between - within) / n, rel=1e-5)
    one, other = found.difference(1), ttest_ind(halves[1], halves[0])
    assert one.p_value == pytest.approx(other.pvalue, rel=1e-5) and one.degrees_of_freedom == 10
    assert [one.lower, one.upper] == pytest.approx(scale * np.array(other.confidence_interval()), rel=1e-5)


def test_one_value_a_patient_is_the_t_test(rng):
    y, patient, group = draw(rng, [1] * 9, effect=1.0)
    found = random_intercept(y, patient, group)
    assert found.difference(1).p_value == pytest.approx(ttest_ind(y[group == 1], y[group == 0]).pvalue)
    assert np.isnan(found.within)


def test_equal_values_in_a_patient_are_one(rng):
    y, patient, group = draw(rng, [1] * 8)
    again = random_intercept(np.repeat(y, 5), np.repeat(patient, 5), np.repeat(group, 5))
    assert again.difference(1).p_value == pytest.approx(random_intercept(y, patient, group).difference(1).p_value)
    assert again.within == pytest.approx(0.0, abs=1e-12)


def restricted(y, patient, group, between, within):
    """Minus twice the restricted log likelihood, with whole matrices."""
    z = (patient[:, None] == np.unique(patient)).astype(float)
    x = (group[:, None] == np.unique(group)).astype(float)
    v = between * z @ z.T + within * np.eye(len(y))
    inverse = np.linalg.inv(v)
    information = x.T @ inverse @ x
    beta = np.linalg.solve(information, x.T @ inverse @ y)
    r = y - x @ beta
    return np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1] + r @ inverse @ r, beta, information


@pytest.mark.parametrize("seed", range(4))
def test_unbalanced_data_against_whole_matrices(seed):
    rng = np.random.default_rng(seed)
    y, patient, group = draw(rng, rng.integers(1, 7, 10), between=1.5, effect=0.7)
    found = random_intercept(y, patient, group)
    best = minimize(lambda t: restricted(y, patient, group, *np.exp(t))[0], [0.0, 0.0], method="Nelder-Mead",
                    options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 2000})  # fmt: skip
    between, within = np.exp(best.x)
    _, beta, information = restricted(y, patient, group, between, within)
    assert [found.between**2, found.within**2] == pytest.approx([between, within], rel=1e-4, abs=1e-8)
    assert found.mean == pytest.approx(beta, rel=1e-5)
    assert found.standard_error == pytest.approx(np.sqrt(np.diag(np.linalg.inv(information))), rel=1e-4)


def test_more_regions_add_no_patients(rng):
    y, patient, group = draw(rng, [200] * 6, between=1.0, within=0.1)
    assert random_intercept(y, patient, group).difference(1).degrees_of_freedom == 4
    assert random_intercept(y, patient, group).difference(1).standard_error > 0.3


def errors(runs, seed, level=0.05):
    """How often nothing is called something: mixed model, and regions taken for patients."""
    rng = np.random.default_rng(seed)
    mixed, naive, inside = [], [], []
    for _ in range(runs):
        y, patient, group = draw(rng, rng.integers(1, 9, 12))
        found = random_intercept(y, patient, group).difference(1)
        mixed.append(found.p_value)
        inside.append(found.lower <= 0 <= found.upper)
        naive.append(ttest_ind(y[group == 1], y[group == 0]).pvalue)
    return [float((np.array(p) < level).mean()) for p in (mixed, naive)], float(np.mean(inside))


def test_patients_are_the_unit():
    (mixed, naive), inside = errors(300, 5)
    assert mixed == pytest.approx(0.05, abs=3.5 * np.sqrt(0.05 * 0.95 / 300))
    assert inside == pytest.approx(0.95, abs=3.5 * np.sqrt(0.05 * 0.95 / 300))
    assert naive > 0.2
