"""Blood to input: several records on one clock, in one unit and one decay convention, and every slip caught."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from timelens.engines.kinetics import InputFunction
from timelens.errors import DataError, MissingFieldError, TimelensError, UsageError
from timelens.lenses.pet.dynamic.blood import arterial_input
from timelens.lenses.pet.dynamic.checks import check_against_dose, check_against_image, check_decay, covering
from timelens.lenses.pet.dynamic.lens import DynamicPetLens
from timelens.lenses.pet.dynamic.samples import BloodOptions, BloodSamples, samples_of
from timelens.study.acquisition import Acquisition
from timelens.study.table import Table

from .dynamic_data import FRAMES, HALF_LIFE, DynamicCase, blood_table, dynamic_case, plasma

CORRECTED = {"DecayCorrected": True}


def _records(manual_scale: float = 1.0) -> list[BloodSamples]:
    """An autosampler of whole blood to 240 s, manual samples of blood (ratio 0.8) and plasma after."""
    curve = plasma()
    dense = curve.times <= 240
    manual = np.array([60.0, 120, 200, 300, 600, 1200, 1800, 2700, 3300])
    whole = np.interp(manual, curve.times, curve.values) * manual_scale
    fraction = 1 / (1 + manual / 1800)
    return [
        BloodSamples("manual", (manual, whole), (manual, whole / 0.8), (manual, fraction), CORRECTED),
        BloodSamples("auto", (curve.times[dense], curve.values[dense]), said=CORRECTED),
    ]


def test_dense_record_first_then_manual_samples() -> None:
    """The stated rule: autosampler to its end, times the ratio; manual plasma after; times the parent fraction."""
    given, problems = arterial_input(_records(), options=BloodOptions(parent_fraction="interpolate"))
    assert problems == []
    assert given.plasma is not None
    assert given.blood is not None
    curve = plasma()
    at = np.array([20.0, 100.0, 200.0])
    expected = np.interp(at, curve.times, curve.values)
    np.testing.assert_allclose(given.blood.at(at), expected, rtol=1e-9)
    np.testing.assert_allclose(
        given.plasma.at(60.0), np.interp(60.0, curve.times, curve.values) / 0.8 / (1 + 60 / 1800)
    )
    late = np.array([600.0, 2700.0])
    np.testing.assert_allclose(
        given.plasma.at(late), np.interp(late, curve.times, curve.values) / 0.8 / (1 + late / 1800), rtol=1e-9
    )
    assert given.plasma.kind == "parent"
    assert "plasma: whole blood times ratio to 240 s, manual plasma after" in given.how


def test_one_table_with_fewer_samples_of_plasma_than_of_blood() -> None:
    """Plasma is blood times the ratio of the samples that have both, and passes through each of them."""
    curve = plasma()
    some = np.isin(curve.times, [20.0, 60.0, 300.0, 1200.0, 3300.0])
    ratio = np.linspace(1.1, 1.4, int(some.sum()))
    record = BloodSamples(
        "one", (curve.times, curve.values), (curve.times[some], ratio * curve.values[some]), said=CORRECTED
    )
    given, problems = arterial_input([record], options=BloodOptions(parent_fraction="none"))
    assert problems == []
    assert given.plasma is not None
    np.testing.assert_allclose(given.plasma.at(curve.times[some]), ratio * curve.values[some], rtol=1e-12)
    between = np.interp(700.0, curve.times[some], ratio) * np.interp(700.0, curve.times, curve.values)
    assert given.plasma.at(700.0) == pytest.approx(between, rel=1e-3)


def test_fitted_parent_fraction_is_named() -> None:
    given, _ = arterial_input(_records())
    assert any(step.startswith("parent fraction ") and "9 samples" in step for step in given.how)


def test_records_of_one_blood_in_different_units_are_refused() -> None:
    with pytest.raises(DataError, match=r"differ by a factor of 37.*nCi/mL"):
        arterial_input(_records(manual_scale=37.0))
    _, problems = arterial_input(_records(manual_scale=1.5))
    assert "differ by 50 %" in problems[0].message


def test_decay_correction_is_stated_or_said() -> None:
    record = BloodSamples("a", (plasma().times, plasma().values), said={})
    raw = replace(record, whole_blood=(plasma().times, plasma().values * np.exp2(-plasma().times / HALF_LIFE)))
    how = BloodOptions(plasma_ratio=1.0, parent_fraction="none")
    _, problems = arterial_input([record], options=how)
    assert "is not said" in problems[0].message
    given, none = arterial_input([raw], options=replace(how, decay_corrected=False), half_life_s=HALF_LIFE)
    assert none == []
    np.testing.assert_allclose(given.blood.values, plasma().values, rtol=1e-12)  # type: ignore[union-attr]
    with pytest.raises(MissingFieldError, match="half-life"):
        arterial_input([raw], options=replace(how, decay_corrected=False))
    with pytest.raises(DataError, match="contradict"):
        arterial_input([replace(raw, said=CORRECTED)], options=replace(how, decay_corrected=False), half_life_s=1.0)


def test_clock_of_the_blood() -> None:
    """Samples of a clock 40 s behind, and of one that starts 100 s before the injection."""
    how = BloodOptions(plasma_ratio=1.0, parent_fraction="none", clock_offset_s=40.0)
    late = BloodSamples("a", (plasma().times - 40.0, plasma().values), said=CORRECTED)
    given, problems = arterial_input([late], options=how)
    np.testing.assert_allclose(given.blood.at([60.0, 500.0]), plasma().at([60.0, 500.0]))  # type: ignore[union-attr]
    assert "decay correction was not moved" in problems[0].message
    moved, none = arterial_input([late], options=how, half_life_s=HALF_LIFE)
    assert none == []
    np.testing.assert_allclose(moved.blood.values, given.blood.values * 2 ** (40 / HALF_LIFE))  # type: ignore[union-attr]
    early = BloodSamples("a", (plasma().times + 100.0, plasma().values * np.exp2(100.0 / HALF_LIFE)), said=CORRECTED)
    given, _ = arterial_input([early], options=replace(how, clock_offset_s=0), zero_s=100.0, half_life_s=HALF_LIFE)
    np.testing.assert_allclose(given.blood.at([60.0]), plasma().at([60.0]))  # type: ignore[union-attr]


def test_dispersion_of_the_autosampler() -> None:
    from timelens.engines.kinetics import disperse

    seen = disperse(InputFunction(plasma().times, plasma().values, "whole_blood"), 5.0)
    record = BloodSamples("a", (seen.times, seen.values), said={**CORRECTED, "DispersionConstant": 5.0})
    how = BloodOptions(plasma_ratio=1.0, parent_fraction="none")
    given, _ = arterial_input([record], options=how)
    sharp = float(np.abs(given.blood.at(plasma().times[:120]) - plasma().values[:120]).max())  # type: ignore[union-attr]
    blurred = float(np.abs(seen.values[:120] - plasma().values[:120]).max())
    assert sharp < 0.5 * blurred
    done = replace(record, said={**record.said, "DispersionCorrected": True})
    given, _ = arterial_input([done], options=how)
    np.testing.assert_allclose(given.blood.values, seen.values)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("record", "options", "known", "match"),
    [
        (BloodSamples("a", (np.arange(5.0), np.ones(5))), {}, {}, "Whole blood without plasma"),
        (BloodSamples("a", parent_fraction=(np.arange(5.0), np.ones(5))), {}, {}, "hold no radioactivity"),
        (BloodSamples("a", plasma=(np.arange(5.0), np.ones(5))), {}, {"metabolites": True}, "labelled metabolites"),
        (
            BloodSamples("a", None, (np.arange(6.0), np.ones(6)), (np.arange(6.0), np.full(6, 50.0))),
            {}, {}, r"between 0 and 1.*percent",
        ),
        (BloodSamples("a", (np.arange(5.0), np.ones(5))), {"plasma_ratio": -1.0}, {}, "cannot be used"),
        (
            BloodSamples("a", (np.arange(5.0), np.ones(5)), said={"DispersionConstant": "long"}),
            {"plasma_ratio": 1.0}, {}, "no number",
        ),
    ],
)  # fmt: skip
def test_what_blood_lacks(record: BloodSamples, options: dict[str, float], known: dict[str, bool], match: str) -> None:
    with pytest.raises(TimelensError, match=match):
        arterial_input([record], options=BloodOptions(**options), **known)  # type: ignore[arg-type]


@pytest.mark.parametrize("unit", ["Bq/mL", "kBq/mL", "MBq/mL", "nCi/mL", "uCi/mL"])
def test_every_unit_gives_the_same_samples(unit: str) -> None:
    from timelens import units

    table = blood_table(unit=unit, scale=units.conversion_factor("Bq/mL", unit))
    found = samples_of(table)
    np.testing.assert_allclose(found.plasma[1], plasma().values, rtol=1e-12)  # type: ignore[index]


def test_tables_that_hold_no_blood() -> None:
    frame = pd.DataFrame({"time": [0.0, 1.0], "haematocrit": [0.4, 0.4]})
    with pytest.raises(DataError, match="holds no blood"):
        samples_of(Acquisition("b", "blood", Table(frame, {"time": "s", "haematocrit": "1"})))
    with pytest.raises(DataError, match="no table of blood"):
        samples_of(dynamic_case().pet)


# -- slips that would give numbers ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def case() -> DynamicCase:
    return dynamic_case()


def _run(case: DynamicCase, blood: Acquisition, **options: object) -> list[str]:
    """Messages of the errors, with what was found; none if kinetics were measured."""
    lens = DynamicPetLens()
    match = lens.accepts([case.pet, blood])
    stated = {"input": {"delay_s": 0, **options}, "maps": {"models": "none"}, "fit": {"models": ["patlak"]}}
    recipe = {s.name: dict(s.parameters) for s in lens.recipe(match, stated).steps}
    result = lens.quantify(match.roles, case.regions, recipe)
    errors = [f"{p.message} {p.found} {p.mend}" for p in result.problems if p.severity == "error"]
    measured = any(m.quantity == "k_i" for m in result.measurements)
    assert measured == (not errors)
    assert any(m.quantity == "suv_mean" for m in result.measurements)  # a static scan's numbers are there all the same
    return errors


def test_blood_that_fits_is_used(case: DynamicCase) -> None:
    assert _run(case, blood_table()) == []


@pytest.mark.parametrize(
    ("blood", "match"),
    [
        ({"times": 1 / 60}, "one sixtieth of the scan: their times are minutes"),
        ({"times": 60.0}, "far longer than the scan"),
        ({"times": 0.6}, "end before the scan does"),
        ({"scale": 1e-3}, "kBq/mL read as Bq/mL"),
        ({"scale": 1 / 37}, "nCi/mL read as Bq/mL"),
        ({"scale": 37.0}, "Bq/mL read as nCi/mL"),
        ({"scale": 1e3}, "Bq/mL read as kBq/mL"),
    ],
)
def test_slips_of_time_and_unit(case: DynamicCase, blood: dict[str, float], match: str) -> None:
    errors = _run(case, blood_table(**blood))  # type: ignore[arg-type]
    assert len(errors) == 1
    assert match in errors[0]


@pytest.mark.parametrize("blood", [{"scale": 1e-3}, {"scale": 1 / 37}, {"scale": 37.0}, {"scale": 1e3}])
def test_slips_of_unit_show_in_the_image_alone(case: DynamicCase, blood: dict[str, float]) -> None:
    """Without dose and weight the blood region of the image tells."""
    bare = replace(case, pet=replace(case.pet, weight_g=None))
    lens = DynamicPetLens()
    table = blood_table(**blood)  # type: ignore[arg-type]
    result = lens.quantify({"pet": bare.pet, "blood": table}, case.regions, {"input": {"delay_s": 0}})
    assert any("differ by orders of magnitude" in p.message for p in result.problems)


def test_blood_without_decay_correction_is_seen_against_the_aorta(case: DynamicCase) -> None:
    table = blood_table()
    assert isinstance(table.data, Table)
    rows = table.data.data.copy()
    for name in ("whole_blood_radioactivity", "plasma_radioactivity"):
        rows[name] *= np.exp2(-rows["time"] / HALF_LIFE * 3)  # 45 min of a nuclide three times as short
    short = replace(case, pet=replace(case.pet, half_life_s=HALF_LIFE / 3, agent="", radionuclide=None))
    raw = replace(table, data=Table(rows, table.data.column_units))
    errors = _run(short, raw, parent_fraction="none")
    assert "falls behind the blood of the image as if it were not decay-corrected" in errors[0]
    right = replace(raw, extra={"DecayCorrected": False})
    assert _run(short, right, parent_fraction="none") == []


def test_samples_that_begin_after_the_bolus() -> None:
    curve = InputFunction([0.0, 400.0, 401.0, 4000.0], [0.0, 0.0, 10.0, 5.0], "parent")
    with pytest.raises(DataError, match=r"begin too late.*401 s"):
        covering(curve, FRAMES)


def test_the_last_sample_is_held_and_said() -> None:
    curve, problems = covering(InputFunction([0.0, 10.0, 3100.0], [0.0, 5.0, 1.0], "parent"), FRAMES)
    assert curve.times[-1] == FRAMES.end[-1] == 3300.0
    assert "held for 200 s" in problems[0].message


def test_checks_have_room_for_real_bodies() -> None:
    """FDG, an antibody that stays in blood, and a tracer that leaves it fast are no slips."""
    for suv in (0.5, 5.0, 17.0):
        constant = InputFunction([0.0, 600.0], [suv * 3e8 / 7e4] * 2, "whole_blood")
        check_against_dose(constant, dose_bq=3e8, weight_g=7e4)
    check_against_dose(InputFunction([0.0, 1.0], [1.0, 1.0], "plasma"), dose_bq=None, weight_g=7e4)
    blood = InputFunction([0.0, 4000.0], [100.0, 100.0], "whole_blood")
    check_against_image(blood, FRAMES, np.full(len(FRAMES), 100.0), pool=True)
    check_decay(blood, FRAMES, np.full(len(FRAMES), 80.0), 600.0)


def test_unknown_choices_are_refused() -> None:
    lens = DynamicPetLens()
    for options, match in (
        ({"input": {"source": "venous"}}, "source"),
        ({"input": {"clock": 3}}, "no such parameter"),
        ({"fit": {"models": ["3tcm"]}}, "no such kinetic model"),
        ({"input": {"delay_s": "soon"}}, "delay_s"),
        ({"input": {"decay_corrected": "yes"}}, "decay_corrected"),
        ({"blood": {}}, "no such step"),
    ):
        with pytest.raises(UsageError, match=match):
            lens.recipe(lens.accepts([]), options)
