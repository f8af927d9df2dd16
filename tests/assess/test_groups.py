"""Groups of patients: what cannot be compared and why, what is one patient, and how often nothing is called a find."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_ind

from timelens.assess.groups import Value, changes_of, compare, groups_of, kind_of_region, values_of
from timelens.errors import UsageError
from timelens.study.measurement import Measurement

ARMS = {f"sub-{k}": "ab"[k % 2] for k in range(8)}


def value(subject, number, component="cd8-t-cell", session="ses-01", quantity="cell_density_area"):
    return Value(subject, session, "cytometry", "", "", component, "section", quantity, "{cells}/mm2", number)


def compared(values, groups=ARMS):
    return compare(values, groups, np.random.default_rng(0))


# -- bad input -------------------------------------------------------------------------------------------------------


def test_a_trait_that_is_none_is_refused():
    with pytest.raises(UsageError, match="no such trait"):
        groups_of({"sub-0": {"arm": "a"}}, "response")


@pytest.mark.parametrize("said", [{"a"}, set("abcdefg")])
def test_one_group_and_a_label_a_patient_are_no_groups(said):
    people = {f"sub-{k}": {"code": v} for k, v in enumerate(sorted(said))}
    with pytest.raises(UsageError, match="does not part patients into groups"):
        groups_of(people, "code")
    assert groups_of({s: {"arm": p["code"]} for s, p in people.items()})[1] == {}


def test_a_missing_label_is_said_and_left_out():
    people = {"sub-0": {"arm": "a"}, "sub-1": {"arm": "b"}, "sub-2": {"arm": "n/a"}, "sub-3": {}}
    by, groups, problems = groups_of(people)
    assert (by, groups) == ("arm", {"sub-0": "a", "sub-1": "b"})
    assert problems[0].found == "sub-2, sub-3" and problems[0].severity == "warning"


def test_one_patient_in_a_group_has_a_reason():
    (row,) = compared([value("sub-0", 1.0), value("sub-1", 2.0), value("sub-3", 3.0)])
    assert row.reason == "a number from one patient alone of a" and math.isnan(row.p_value)
    assert row.difference == pytest.approx(1.5) and row.patients_first == 1


def test_no_patient_in_a_group_has_a_reason():
    (row,) = compared([value("sub-0", 1.0), value("sub-2", 2.0), value("sub-1", math.nan)])
    assert row.reason == "no number from any patient of b" and math.isnan(row.difference)
    assert row.flags == "no number from 1 of 1 patients of b"


def test_equal_values_have_a_reason():
    (row,) = compared([value(s, 0.0) for s in ARMS])
    assert row.reason == "all values are equal" and row.difference == 0 and math.isnan(row.q_value)


def test_numbers_that_are_missing_are_counted():
    (row,) = compared([value(s, math.nan if s in ("sub-0", "sub-2") else k) for k, s in enumerate(ARMS)])
    assert row.flags.startswith("no number from 2 of 4 patients of a") and row.patients_first == 2
    assert not row.reason and math.isfinite(row.p_value)


def test_few_patients_cannot_give_a_small_p():
    (row,) = compared([value(s, k) for k, s in enumerate(list(ARMS)[:4])])
    assert "p is 0.33 or more" in row.flags and row.exact == "all permutations"


def test_nothing_to_compare():
    assert compared([]) == [] and compared([value("sub-9", 1.0)]) == []


# -- what is compared --------------------------------------------------------------------------------------------------


def test_two_groups_against_the_t_test(rng):
    numbers = rng.normal(size=8)
    (row,) = compared([value(s, n) for s, n in zip(ARMS, numbers, strict=True)])
    second = np.array([g == "b" for g in ARMS.values()])
    other = ttest_ind(numbers[second], numbers[~second])
    assert row.p_mixed == pytest.approx(other.pvalue)
    assert [row.lower, row.upper] == pytest.approx(list(other.confidence_interval()))
    assert row.difference == pytest.approx(numbers[second].mean() - numbers[~second].mean())
    assert row.p_value == row.q_value


def test_regions_of_a_patient_are_one_patient(rng):
    numbers = dict(zip(ARMS, rng.normal(size=8), strict=True))
    once = compared([value(s, n) for s, n in numbers.items()])[0]
    often = compared([value(s, n) for s, n in numbers.items() for _ in range(50)])[0]
    assert often.p_value == once.p_value and often.p_mixed == pytest.approx(once.p_mixed)
    assert often.values_first == 200 and often.patients_first == 4


def test_sessions_components_and_pairs_of_groups_are_apart(rng):
    groups = {f"sub-{k}": "abc"[k % 3] for k in range(9)}
    rows = compared([value(s, rng.normal(), c, session=t) for s in groups for c in ("treg", "b-cell")
                     for t in ("ses-01", "ses-02")], groups)  # fmt: skip
    assert len(rows) == 3 * 2 * 2 and len({(r.session, r.component, r.first, r.second) for r in rows}) == 12
    assert all(r.q_value >= r.p_value for r in rows)


def test_measurements_of_lesions_corrected_rows_and_frames():
    first = Measurement("suv_max", 4.0, "g/mL", region="lesion-01", subject="sub-0", modality="pet")
    again = Measurement("suv_max", 5.0, "g/mL", region="lesion-01", subject="sub-0", modality="pet",
                        supersedes=first.id)  # fmt: skip
    other = Measurement("suv_max", 2.0, "g/mL", region="lesion-02", subject="sub-0", modality="pet")
    late, early = (
        Measurement("suv_mean", float(t), "g/mL", region="liver", subject="sub-0", modality="pet", time_s=t)
        for t in (600, 60)
    )
    found = values_of([first, again, other, late, early])
    assert [(v.region, v.quantity, v.value) for v in found] == [
        ("lesion", "suv_max", 5.0), ("lesion", "suv_max", 2.0), ("liver", "suv_mean", 600.0)
    ]  # fmt: skip
    assert kind_of_region("cells-3_nest") == "cells_nest" and kind_of_region("CD8") == "CD8"


def test_changes_since_the_first_session():
    values = [value("sub-0", 2.0), value("sub-0", 4.0), value("sub-0", 7.0, session="ses-03"),
              value("sub-1", 1.0, session="ses-02"), value("sub-2", 5.0),
              value("sub-3", math.nan), value("sub-3", 1.0, session="ses-02")]  # fmt: skip
    found = {(v.subject, v.session): v.value for v in changes_of(values)}
    assert math.isnan(found.pop(("sub-3", "ses-02 minus ses-01")))
    assert found == {("sub-0", "ses-03 minus ses-01"): 4.0}
    ten = changes_of([value("sub-0", 1.0, session="ses-10"), value("sub-0", 3.0, session="ses-2")])
    assert [(v.session, v.value) for v in ten] == [("ses-10 minus ses-2", -2.0)]
    assert changes_of([]) == [] and changes_of([value("sub-0", 1.0)]) == []


def test_the_first_session_is_that_of_the_modality():
    scans = [value("sub-0", 1.0), value("sub-0", 2.0, session="ses-02")]
    biopsies = [replace(value("sub-0", v, session=s), modality="pet") for v, s in ((5.0, "ses-02"), (9.0, "ses-03"))]
    found = {(v.modality, v.session): v.value for v in changes_of([*scans, *biopsies])}
    assert found == {("cytometry", "ses-02 minus ses-01"): 1.0, ("pet", "ses-03 minus ses-02"): 4.0}


def test_a_change_of_one_arm_is_found(rng):
    values = []
    for s, g in ARMS.items():
        level = rng.normal(100, 30)  # patients differ more than they change
        values += [value(s, level), value(s, level + rng.normal(0, 2) + (15 if g == "b" else 0), session="ses-02")]
    rows = {r.session: r for r in compared([*values, *changes_of(values)])}
    assert rows["ses-02 minus ses-01"].p_value == pytest.approx(2 / 70) and rows["ses-02"].p_value > 0.05
    assert rows["ses-02 minus ses-01"].difference == pytest.approx(15, abs=4)


def test_other_rows_of_a_bed_do_not_change_a_row(rng):
    values = [value(s, n) for s, n in zip(ARMS, rng.normal(size=8), strict=True)]
    alone = compared(values)[0]
    many = compared([*values, *(value(s, n, "treg") for s, n in zip(ARMS, rng.normal(size=8), strict=True))])[0]
    assert many.p_value == alone.p_value and many.lower == alone.lower


# -- what is called found ----------------------------------------------------------------------------------------------


def null_rows(rng, groups=ARMS, components=60):
    """Densities of a cohort in which groups do not differ: patients vary, and have one to four regions."""
    values = []
    for k in range(components):
        for s in groups:
            level = rng.gamma(2.0, 100.0)
            values += [
                value(s, rng.poisson(level * rng.gamma(8, 1 / 8)), f"type-{k}") for _ in range(rng.integers(1, 5))
            ]
    return compared(values, groups)


def test_nothing_is_found_where_groups_do_not_differ():
    rng = np.random.default_rng(11)
    cohorts = [null_rows(rng) for _ in range(6)]
    p = np.array([r.p_value for rows in cohorts for r in rows])
    # The 35 splits of eight patients in halves make p a multiple of 1/35.
    for least in (2 / 35, 7 / 35, 18 / 35):
        assert (p <= least + 1e-9).mean() == pytest.approx(least, abs=3.5 * np.sqrt(least * (1 - least) / len(p)))


def test_of_many_comparisons_none_is_found_in_most_cohorts_without_a_difference():
    rng = np.random.default_rng(12)
    groups = {f"sub-{k:02d}": "ab"[k % 2] for k in range(14)}  # p may be as small as 1 in 1,716
    cohorts = [null_rows(rng, groups, 40) for _ in range(6)]
    assert all(min(r.p_value for r in rows) <= 0.1 for rows in cohorts)
    assert sum(min(r.q_value for r in rows) <= 0.05 for rows in cohorts) <= 1


def test_what_differs_is_found():
    groups = {f"sub-{k:02d}": "ab"[k % 2] for k in range(20)}
    rng = np.random.default_rng(3)
    values = [
        value(s, rng.normal(6.0 if k < 10 and g == "b" else 4.0), f"type-{k}")
        for k in range(100) for s, g in groups.items()
    ]  # fmt: skip
    found = {r.component for r in compared(values, groups) if r.q_value <= 0.1}
    real = {f"type-{k}" for k in range(10)}
    assert len(found & real) >= 8 and len(found - real) <= 3
