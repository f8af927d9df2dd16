from __future__ import annotations

import datetime as dt
import math

import pytest

from timelens.errors import DataError, MissingFieldError, UsageError
from timelens.lenses.pet.suv import suv_factors
from timelens.lenses.pet.suv_header import PetSeriesHeader, header_from_records
from timelens.lenses.pet.suv_overrides import SuvOverrides, SyringeAssay

T = 7200.0
AT = dt.datetime(2024, 3, 5, 8)


def header(**changes: object) -> PetSeriesHeader:
    record = {
        "SeriesDate": "20240305", "SeriesTime": "100000", "AcquisitionDate": "20240305", "AcquisitionTime": "101500",
        "Units": "BQML", "DecayCorrection": "START", "CorrectedImage": ["ATTN", "DECY"], "PatientWeight": 70,
        "RadionuclideTotalDose": 3e8, "RadionuclideHalfLife": T, "RadiopharmaceuticalStartDateTime": "20240305080000",
    }  # fmt: skip
    return header_from_records([{k: v for k, v in {**record, **changes}.items() if v is not None}])


PLAIN = 70e3 / (3e8 * 0.5)


@pytest.mark.parametrize("name", ["dose_bq", "weight_kg", "height_m", "half_life_s", "cross_calibration"])
@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_impossible_values_are_wrong_use(name, bad):
    with pytest.raises(UsageError, match="must be positive"):
        SuvOverrides(**{name: bad})


def test_dose_and_syringe_exclude_each_other():
    with pytest.raises(UsageError, match="not both"):
        SuvOverrides(dose_bq=1e8, syringe=SyringeAssay(1e8, AT))


@pytest.mark.parametrize(
    ("overrides", "factor", "keyword"),
    [
        (SuvOverrides(dose_bq=6e8), PLAIN / 2, "RadionuclideTotalDose"),
        (SuvOverrides(weight_kg=35.0), PLAIN / 2, "PatientWeight"),
        (SuvOverrides(injection=AT - dt.timedelta(hours=2)), 2 * PLAIN, "RadiopharmaceuticalStartDateTime"),
        (SuvOverrides(reference=AT), PLAIN / 2, "reference time"),
        (SuvOverrides(half_life_s=3600.0), 2 * PLAIN, "RadionuclideHalfLife"),
        (SuvOverrides(decay_correction="admin"), PLAIN / 2, "DecayCorrection"),
        (SuvOverrides(cross_calibration=1.1), 1.1 * PLAIN, "cross-calibration factor"),
    ],
)
def test_each_value_acts_and_is_recorded(overrides, factor, keyword):
    result = suv_factors(header(), overrides=overrides)
    assert result.factor == pytest.approx(factor, rel=1e-12)
    (tag,) = result.audit.overrides
    assert tag.keyword == keyword
    assert [t.keyword for t in result.audit.tags].count(keyword) == 1
    assert suv_factors(header()).factor == pytest.approx(PLAIN, rel=1e-12)


@pytest.mark.parametrize(
    ("missing", "overrides"),
    [
        ({"RadionuclideTotalDose": 0}, SuvOverrides(dose_bq=3e8)),
        ({"PatientWeight": None}, SuvOverrides(weight_kg=70.0)),
        ({"RadiopharmaceuticalStartDateTime": None}, SuvOverrides(injection=AT)),
        ({"RadiopharmaceuticalStartDateTime": "20240307080000"}, SuvOverrides(injection=AT)),
        ({"RadionuclideHalfLife": None}, SuvOverrides(half_life_s=T)),
        ({"AcquisitionTime": None}, SuvOverrides(reference=dt.datetime(2024, 3, 5, 10))),
        ({"CorrectedImage": None}, SuvOverrides(corrected_image=("attn", "decy"))),
        ({"DecayCorrection": None}, SuvOverrides(decay_correction="START")),
    ],
)
def test_each_value_mends_a_header_that_is_refused_without_it(missing, overrides):
    with pytest.raises(DataError):
        suv_factors(header(**missing))
    assert suv_factors(header(**missing), overrides=overrides).factor == pytest.approx(PLAIN, rel=1e-12)


def test_a_reference_time_does_not_make_up_for_missing_decay_correction():
    with pytest.raises(DataError, match="not corrected for decay"):
        suv_factors(header(DecayCorrection="NONE"), overrides=SuvOverrides(reference=AT))


def test_sex_and_height_given_by_the_user():
    with pytest.raises(MissingFieldError, match="PatientSize"):
        suv_factors(header(), "lbm_janma")
    result = suv_factors(header(), "lbm_janma", overrides=SuvOverrides(height_m=1.75, sex="m"))
    lean = 9270 * 70 / (6680 + 216 * 70 / 1.75**2)
    assert result.factor == pytest.approx(PLAIN * lean / 70, rel=1e-12)


@pytest.mark.parametrize("decay", ["START", "ADMIN"])
def test_the_net_dose_from_syringe_readings(decay):
    # 800 MBq two hours (one half-life) before: 400 at injection; 50 left two hours after: 100 at injection.
    syringe = SyringeAssay(8e8, AT - dt.timedelta(hours=2), 5e7, AT + dt.timedelta(hours=2))
    result = suv_factors(header(DecayCorrection=decay), overrides=SuvOverrides(syringe=syringe))
    assert result.factor == pytest.approx(PLAIN * (0.5 if decay == "ADMIN" else 1.0), rel=1e-12)
    (tag,) = result.audit.overrides
    assert "800" in f"{tag.value}".replace("8e+08", "800")
    assert not any("no residue" in text for text in result.audit.defaults)


def test_syringe_readings_without_injection_time_are_refused():
    times = {"RadiopharmaceuticalStartDateTime": None, "DecayCorrection": "ADMIN"}
    with pytest.raises(MissingFieldError, match="need the time of injection"):
        suv_factors(header(**times), overrides=SuvOverrides(syringe=SyringeAssay(3e8, AT)))
