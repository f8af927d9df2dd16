"""The table of kinetic parameters: every number with its error, its interval and what that rests on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tests.report.results import write_study
from tests.report.test_report import page

from timelens.report.parameters import is_parameter, parameter_table
from timelens.report.read import read_results
from timelens.study import Measurement

MODEL = "2tcm_irreversible; arterial input"


def fit(quantity: str, value: float, unit: str, region: str = "lesion-1", **more: Any) -> Measurement:
    given: dict[str, Any] = {
        "acquisition": "pet", "modality": "pet", "agent": "FDG", "method": MODEL, "method_version": "0.1.0",
        "uncertainty": 0.1 * value, "uncertainty_kind": "standard_error", "lower": 0.8 * value, "upper": 1.3 * value,
        "level": 0.95, "flags": "interval: profile", **more,
    }  # fmt: skip
    return Measurement(quantity, value, unit, region, **given)


def table(out: Path, *rows: Measurement) -> Any:
    session = read_results(write_study(out, {"sub-001/ses-01": list(rows)})).sessions[0]
    return parameter_table(session.rows, [{"number": 1, "name": "lesion-1"}], "Parameters")


def test_only_what_a_model_gives_is_a_parameter(tmp_path: Path) -> None:
    rows = [fit("k_i", 0.05, "mL/min/mL"), fit("bp_nd", 2.0, "1"), fit("input_delay", 3.0, "s")]
    others = [fit("suv_mean", 2.0, "g/mL"), fit("mtv", 2.0, "mL"), fit("suv_cv", 0.1, "1")]
    session = read_results(write_study(tmp_path, {"sub-001/ses-01": [*rows, *others]})).sessions[0]
    assert [is_parameter(row) for row in session.rows] == [True] * 3 + [False] * 3
    assert parameter_table(session.rows[3:], [], "Parameters") is None


def test_value_error_interval_and_its_kind(tmp_path: Path) -> None:
    found = table(tmp_path, fit("k1", 0.25, "mL/min/mL"), fit("k3", 0.1, "1/min", flags="interval: wald"))
    (group,) = found.groups
    assert (group.name, group.number, group.model) == (
        "lesion-1", "1", "two tissue compartments, trapping; arterial input",
    )  # fmt: skip
    first, second = group.lines
    assert (first.cell.text, first.error, first.interval, first.kind) == ("0.250", "0.025", "0.200 to 0.325", "profile")
    assert (second.kind, second.unit, second.title[:13]) == ("Wald", "1/min", "Rate constant")
    assert found.level == "95 % interval" and not found.with_remark
    assert [text.split(":")[0] for _, text in found.notes] == ["SE", "profile likelihood", "Wald"]


def test_an_open_end_a_missing_error_and_a_missing_value_are_said(tmp_path: Path) -> None:
    nan = math.nan
    found = table(
        tmp_path,
        fit("k3", 0.1, "1/min", upper=nan, flags="interval: profile; interval open above"),
        fit("v_b", 0.0, "mL/mL", lower=nan, upper=0.06, uncertainty=nan, uncertainty_kind="interval"),
        fit("k2", nan, "1/min", uncertainty=nan, uncertainty_kind="none", lower=nan, upper=nan, level=nan,
            flags="interval: wald", reason="the curve is zero throughout: nothing was fitted"),
    )  # fmt: skip
    k3, v_b, k2 = found.groups[0].lines
    assert (k3.interval, k3.remark) == ("0.0800 to open", "interval open above")
    assert (v_b.interval, v_b.error) == ("open to 0.0600", "")
    assert (k2.cell.reason, k2.kind, k2.interval) == ("the curve is zero throughout: nothing was fitted", "", "")
    assert ("a", "the curve is zero throughout: nothing was fitted") in found.notes


def test_what_holds_for_a_whole_fit_is_said_once(tmp_path: Path) -> None:
    said = "interval: profile; blood volume or trapping is zero: the model without it fits as well"
    found = table(
        tmp_path,
        fit("k1", 0.2, "mL/min/mL", flags=said),
        fit("k3", 0.1, "1/min", flags=f"{said}; interval open above"),
        fit("k1", 0.2, "mL/min/mL", "liver"),
        fit("k_i", 0.03, "mL/min/mL", method="patlak; arterial input; t* 20 min"),
    )
    first, second, _ = found.groups  # the models of a region stand together
    assert first.remark == "blood volume or trapping is zero: the model without it fits as well"
    assert [line.remark for line in first.lines] == ["", "interval open above"]
    assert second.model == "Patlak plot; arterial input; t* 20 min"


def test_the_page_shows_it_and_does_not_repeat_it(tmp_path: Path) -> None:
    rows = [fit("k_i", 0.0512, "mL/min/mL"), fit("k_i", 0.01, "mL/min/mL", "liver"), fit("suv_mean", 3.0, "g/mL")]
    found = page(write_study(tmp_path, {"sub-001/ses-01": rows}))
    assert "K i mL/min/mL 0.0512 0.0051 0.0410 to 0.0666 profile" in found.prose
    assert sorted(value for value, _ in found.data) == ["0.01", "0.0512", "3.0"]
    assert "SE: one standard error" in found.prose
