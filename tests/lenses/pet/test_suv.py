"""Every branch of the SUV rules: the times of the headers lie so far apart that no wrong branch gives the factor."""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelens.errors import DataError, MissingFieldError, PlausibilityWarning, UsageError
from timelens.lenses.pet.suv import suv_factors, suv_factors_by_subject
from timelens.lenses.pet.suv_header import PetSeriesHeader, header_from_records
from timelens.lenses.pet.suv_overrides import SuvOverrides, SyringeAssay

T, WEIGHT, DOSE = 6586.2, 70.0, 300e6
FRAME_S = 120.0
ACQUIRED_S = (900.0, 1800.0)  # two beds, 15 and 30 min after 10:00
AT_10 = 36000.0


def bw(elapsed_s: float, weight_kg: float = WEIGHT, dose: float = DOSE, half_life: float = T) -> float:
    """The SUV factor in closed form."""
    return 1000 * weight_kg / (dose * math.exp(-math.log(2) * elapsed_s / half_life))


def frame_reference_ms(acquired_s: float, reference_s: float) -> float:
    """Frame Reference Time that points from ``reference_s`` to the mean activity of a frame (times after 10:00)."""
    x = math.log(2) / T * FRAME_S
    return 1000 * (acquired_s - reference_s + math.log(x / (1 - math.exp(-x))) * T / math.log(2))


def clock(seconds_after_10: float) -> str:
    return (dt.datetime(2024, 3, 5, 10) + dt.timedelta(seconds=seconds_after_10)).strftime("%H%M%S.%f")


def records(counted_back_s: float | None = -1200.0, **changes: object) -> list[dict[str, object]]:
    """A series at 10:00 of two beds (10:15, 10:30), injected 09:00, whose frames point to 09:40.

    ``counted_back_s`` moves that; a change to None removes a key.
    """
    common = {
        "SeriesDate": "20240305",
        "SeriesTime": "100000",
        "Units": "BQML",
        "DecayCorrection": "START",
        "CorrectedImage": ["NORM", "DTIM", "ATTN", "SCAT", "DECY", "RAN"],
        "Manufacturer": "ACME",
        "PatientWeight": WEIGHT,
        "PatientSize": 1.75,
        "PatientSex": "F",
        "RadionuclideTotalDose": DOSE,
        "RadionuclideHalfLife": T,
        "RadiopharmaceuticalStartTime": "090000",
        "RadiopharmaceuticalStartDateTime": "20240305090000",
        "ActualFrameDuration": 1000 * FRAME_S,
    }
    made = []
    for acquired in ACQUIRED_S:
        own = {"AcquisitionDate": "20240305", "AcquisitionTime": clock(acquired)}
        if counted_back_s is not None:
            own["FrameReferenceTime"] = frame_reference_ms(acquired, counted_back_s)
        made.append({k: v for k, v in {**common, **own, **changes}.items() if v is not None})
    return made


POST = {"SeriesTime": "123000"}  # made 2.5 h later by post-processing
NO_DATE = {"RadiopharmaceuticalStartDateTime": None}
PHILIPS = {"SUVScaleFactor": "0.000551 ", "ActivityConcentrationScaleFactor": "1.6"}

# name, counted back to (s after 10:00), header tweak, branch, seconds between injection and reference
BRANCHES = [
    ("the series time before all acquisitions", -1200, {}, "BQML/START/series_time", 3600),
    ("the series time, private GE time or not", -1200, {"GEPrivateScanDateTime": "20240305105000"},
     "BQML/START/series_time", 3600),
    ("the series time equal to the first acquisition", -1200, {"SeriesTime": "101500"},
     "BQML/START/series_time", 4500),
    ("post-processed, private GE time", -1200, {**POST, "GEPrivateScanDateTime": "20240305105000.00"},
     "BQML/START/ge_private", 6600),
    ("post-processed, private GE time under its other name", -1200,
     {**POST, "GEPrivatePostInjectionDateTime": "20240305105000"}, "BQML/START/ge_private", 6600),
    ("post-processed, private Siemens time", -1200,
     {**POST, "SiemensPrivateDecayCorrectionDateTime": "20240305112000"}, "BQML/START/siemens_private", 8400),
    ("post-processed, counted back from the frames", -1200, POST, "BQML/START/frame_reference_time", 2400),
    ("post-processed, counted back to ten past ten", 600, POST,
     "BQML/START/frame_reference_time", 4200),
    ("post-processed, no frame reference time", None, POST, "BQML/START/acquisition_time", 4500),
    ("post-processed, frame reference time zero", None, {**POST, "FrameReferenceTime": 0},
     "BQML/START/acquisition_time", 4500),
    ("post-processed, frame duration zero", -1200, {**POST, "ActualFrameDuration": 0},
     "BQML/START/acquisition_time", 4500),
    ("post-processed on the next day", -1200, {"SeriesDate": "20240306", "SeriesTime": "080000"},
     "BQML/START/frame_reference_time", 2400),
    ("post-processed on the next day, injection without date", -1200,
     {"SeriesDate": "20240306", "SeriesTime": "080000", **NO_DATE}, "BQML/START/frame_reference_time", 2400),
    ("no series time", -1200, {"SeriesTime": None}, "BQML/START/frame_reference_time", 2400),
    ("no series date", -1200, {"SeriesDate": None}, "BQML/START/series_time", 3600),
    ("no acquisition date", -1200, {"AcquisitionDate": None}, "BQML/START/series_time", 3600),
    ("no acquisition time, but a private GE time", -1200,
     {"AcquisitionTime": None, "GEPrivateScanDateTime": "20240305105000"}, "BQML/START/ge_private", 6600),
    ("decay-corrected to the injection", -1200, {"DecayCorrection": "ADMIN"}, "BQML/ADMIN", 0),
    ("decay-corrected to the injection, post-processed", -1200, {"DecayCorrection": "ADMIN", **POST}, "BQML/ADMIN", 0),
    ("decay-corrected to the injection, no times at all", None,
     {"DecayCorrection": "ADMIN", "SeriesTime": None, "AcquisitionTime": None, "RadionuclideHalfLife": None,
      "RadiopharmaceuticalStartTime": None, **NO_DATE}, "BQML/ADMIN", 0),
    ("injection without date on the same day", -1200, NO_DATE, "BQML/START/series_time", 3600),
    ("injection before midnight, without date", -1200,
     {"SeriesTime": "003000", "RadiopharmaceuticalStartTime": "234000", **NO_DATE}, "BQML/START/series_time", 3000),
    ("injection before midnight, with date", -1200,
     {"SeriesTime": "003000", "RadiopharmaceuticalStartDateTime": "20240304234000"}, "BQML/START/series_time", 3000),
    ("injection date-time against another time of day", -1200, {"RadiopharmaceuticalStartTime": "083000"},
     "BQML/START/series_time", 3600),
    ("a dynamic scan two minutes ahead of the injection", None,
     {"SeriesTime": "101500", "RadiopharmaceuticalStartDateTime": "20240305101700"}, "BQML/START/series_time", -120),
    ("a dynamic scan ahead of an injection without date", None,
     {"SeriesTime": "101500", "RadiopharmaceuticalStartTime": "101700", **NO_DATE}, "BQML/START/series_time", -120),
    ("injection in another time zone", -1200,
     {"RadiopharmaceuticalStartDateTime": "20240305080000+0000", "TimezoneOffsetFromUTC": "+0100"},
     "BQML/START/series_time", 3600),
    ("injection with a zone that the series lacks", -1200, {"RadiopharmaceuticalStartDateTime": "20240305090000+0100"},
     "BQML/START/series_time", 3600),
    ("counts with the Philips activity factor only", -1200,
     {"Units": "CNTS", "PhilipsPETPrivateGroup": {"ActivityConcentrationScaleFactor": "1"}},
     "CNTS/philips_activity_factor/START/series_time", 3600),
    ("counts with a Philips SUV factor of zero", -1200,
     {"Units": "CNTS", "PhilipsPETPrivateGroup": {"SUVScaleFactor": "0", "ActivityConcentrationScaleFactor": "1"}},
     "CNTS/philips_activity_factor/START/series_time", 3600),
    ("counts with the Philips activity factor, post-processed", -1200,
     {"Units": "CNTS", "PhilipsPETPrivateGroup": {"ActivityConcentrationScaleFactor": "1"}, **POST},
     "CNTS/philips_activity_factor/START/frame_reference_time", 2400),
    ("the radiopharmaceutical in its sequence", -1200,
     {"RadionuclideTotalDose": None, "RadiopharmaceuticalInformationSequence": [{"RadionuclideTotalDose": DOSE}]},
     "BQML/START/series_time", 3600),
]  # fmt: skip


@pytest.mark.parametrize(
    ("back", "tweak", "branch", "elapsed"), [row[1:] for row in BRANCHES], ids=[row[0] for row in BRANCHES]
)
def test_branch(back, tweak, branch, elapsed):
    result = suv_factors(header_from_records(records(back, **tweak)))
    assert result.audit.branch == branch
    np.testing.assert_allclose(result.factors, bw(elapsed), rtol=1e-11)
    assert result.factors.shape == (2,)
    assert result.unit == "g/mL"


def test_the_branches_are_told_apart():
    # The five readings of one header give factors at least 5 % apart.
    header = header_from_records(records(-1200, **POST, GEPrivateScanDateTime="20240305105000"))
    result = suv_factors(header)
    others = {a.name: a.change_percent for a in result.audit.alternatives}
    expected = {
        "series_time": bw(12600), "frame_reference_time": bw(2400), "acquisition_time": bw(4500), "ADMIN": bw(0),
    }  # fmt: skip
    assert others.keys() == expected.keys()
    for name, value in expected.items():
        assert others[name] == pytest.approx(100 * (value / bw(6600) - 1), rel=1e-9)
    assert min(abs(change) for change in others.values()) > 5


REFUSED = [
    ("no units", {"Units": None}, "pixel values mean is not said"),
    ("proportional counts per second", {"Units": "PROPCPS"}, "units PROPCPS are not activity concentrations"),
    ("proportional counts", {"Units": "PROPCNTS"}, "units PROPCNTS are not"),
    ("counts per second", {"Units": "CPS"}, "units CPS are not"),
    ("kinetic maps", {"Units": "MLMING"}, "units MLMING are not"),
    ("counts of another vendor", {"Units": "CNTS"}, "private scale factors of Philips, which are absent"),
    ("counts, private factors zero", {"Units": "CNTS", "PhilipsPETPrivateGroup": {
        "SUVScaleFactor": "0", "ActivityConcentrationScaleFactor": 0.0}}, "private scale factors of Philips"),
    ("not corrected for attenuation", {"CorrectedImage": ["NORM", "DECY", "RAN"]}, r"for attenuation \(NAC\)"),
    ("GML not corrected for attenuation", {"CorrectedImage": "NORM\\DECY", "Units": "GML"}, r"\(NAC\)"),
    ("not corrected for decay", {"DecayCorrection": "NONE"}, r"not corrected for decay \(NONE\)"),
    ("GML not corrected for decay", {"DecayCorrection": "NONE", "Units": "GML"}, r"for decay \(NONE\)"),
    ("START without DECY", {"CorrectedImage": ["NORM", "ATTN"]}, "says START, but decay"),
    ("ADMIN without DECY", {"CorrectedImage": ["ATTN"], "DecayCorrection": "ADMIN"}, "says ADMIN, but decay"),
    ("no list of corrections", {"CorrectedImage": None}, "Which corrections the image had is not said"),
    ("no decay correction", {"DecayCorrection": None}, "which time the values are decay-corrected is not said"),
    ("unknown decay correction", {"DecayCorrection": "STRAT"}, "decay correction is unknown"),
    ("no acquisition time", {"AcquisitionTime": None}, "without an acquisition time"),
    ("no times of the scan", {"AcquisitionTime": None, "SeriesTime": None}, "without an acquisition time"),
    ("no injection time", {"RadiopharmaceuticalStartTime": None, **NO_DATE}, "time of injection is not known"),
    ("injection after the scan", {"RadiopharmaceuticalStartDateTime": "20240305101000"},
     "dates of injection and scan contradict each other; de-identification"),
    ("injection days after the scan", {"RadiopharmaceuticalStartDateTime": "20240308090000"}, "de-identification"),
    ("injection two minutes after a scan that had ended",
     {"SeriesTime": "101500", "AcquisitionTime": "101500", "ActualFrameDuration": 60000,
      "RadiopharmaceuticalStartDateTime": "20240305101700"}, "de-identification"),
    ("injection a day before the scan", {"RadiopharmaceuticalStartDateTime": "20240304090000"},
     "13.7 half-lives before the scan"),
    ("injection years before the scan", {"RadiopharmaceuticalStartDateTime": "20200305090000"}, "de-identification"),
    ("time of injection after the scan", {"RadiopharmaceuticalStartTime": "101000", **NO_DATE},
     "does not fit the scan on the same day, nor on the day before"),
    ("time of injection long before the scan", {"SeriesTime": "230000", "AcquisitionTime": "230000", **NO_DATE,
                                                "RadiopharmaceuticalStartTime": "010000"}, "does not fit the scan"),
    ("injection of 89Zr without date", {"RadionuclideHalfLife": 282276.0, **NO_DATE}, "day of the injection is not"),
    ("injection of 64Cu without date", {"RadionuclideHalfLife": 45723.6, **NO_DATE}, "day of the injection is not"),
    ("no weight", {"PatientWeight": None}, "SUV of kind bw needs PatientWeight"),
    ("weight zero", {"PatientWeight": 0}, "SUV of kind bw needs PatientWeight"),
    ("negative weight", {"PatientWeight": -70}, "body weight is not possible"),
    ("weight in grams", {"PatientWeight": 70000}, "grams recorded as kilograms"),
    ("a mouse weighed in grams", {"PatientWeight": 25, "PatientSpeciesDescription": "Mus musculus"},
     "grams recorded as kilograms"),
    ("no dose", {"RadionuclideTotalDose": None}, "injected activity is not known"),
    ("dose zero", {"RadionuclideTotalDose": "0"}, "injected activity is not known"),
    ("negative dose", {"RadionuclideTotalDose": -3e8}, "injected activity is not possible"),
    ("dose in MBq", {"RadionuclideTotalDose": 300}, "MBq or kBq recorded as Bq"),
    ("dose in kBq", {"RadionuclideTotalDose": 300e3}, "MBq or kBq recorded as Bq"),
    ("dose times a million", {"RadionuclideTotalDose": 300e12}, "multiplied once more"),
    ("no half-life", {"RadionuclideHalfLife": None}, "half-life is not known"),
    ("half-life zero", {"RadionuclideHalfLife": 0}, "half-life is not known"),
    ("negative half-life", {"RadionuclideHalfLife": -T}, "half-life must be positive"),
    ("half-life in minutes", {"RadionuclideHalfLife": 109.77}, "half-lives before the scan"),
    ("two administrations", {"RadiopharmaceuticalInformationSequence": [{}, {}], "RadionuclideHalfLife": None},
     "Found: 2 administrations"),
    ("SUV of a type that is none", {"Units": "GML", "SUVType": "FAT"}, "type of SUV does not fit"),
    ("surface SUV in g/mL", {"Units": "GML", "SUVType": "BSA"}, "BSA in GML"),
    ("weight SUV in cm2/mL", {"Units": "CM2ML", "SUVType": "BW"}, "BW in CM2ML"),
]  # fmt: skip


@pytest.mark.parametrize(("tweak", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused(tweak, message):
    header = header_from_records(records(**tweak), source="series 7")
    with pytest.raises(DataError, match=message) as caught:
        suv_factors(header)
    problem = caught.value.problem
    assert problem.file == "series 7"
    assert problem.field


def test_refusals_survive_a_process_border():
    with pytest.raises(DataError) as caught:
        suv_factors(header_from_records(records(Units="PROPCPS")))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("half_life", [45723.6, 282276.0])
def test_long_lived_nuclides_are_fine_with_a_date(half_life):
    # Injected two days (64Cu: 3.8, 89Zr: 0.6 half-lives) before.
    made = records(RadionuclideHalfLife=half_life, RadiopharmaceuticalStartDateTime="20240303100000")
    result = suv_factors(header_from_records(made))
    assert result.factor == pytest.approx(bw(172800, half_life=half_life), rel=1e-11)


# Published series headers with their factors: cornerstonejs/calculate-suv (MIT), test data.
@pytest.mark.parametrize(
    ("case", "branch", "tolerance"),
    [
        ("PHILIPS_BQML", "BQML/START/series_time", 1e-11),
        ("SIEMENS", "BQML/START/series_time", 1e-11),
        ("GE_MEDICAL_AND_BQML", "BQML/START/series_time", 1e-11),
        ("BQML_AC_DT_lessThan_S_DT_SIEMENS", "BQML/START/frame_reference_time", 1e-11),
        ("PHILIPS_CNTS_AND_BQML_SUV", "CNTS/philips_suv_factor/bw", 1e-15),
    ],
)
def test_published_headers(shared_data, case, branch, tolerance):
    folder = shared_data / "suv_headers"
    with (folder / "expected_suvbw_factor.csv").open() as file:
        expected = {row["case"]: float(row["suvbw_factor"]) for row in csv.DictReader(file)}
    header = header_from_records(json.loads((folder / f"{case}-instances.json").read_text()))
    result = suv_factors(header)
    np.testing.assert_allclose(result.factors, expected[case], rtol=tolerance)
    assert result.audit.branch == branch
    assert result.audit.warnings == ()


def test_the_two_philips_factors_of_a_published_header_agree(shared_data):
    path = shared_data / "suv_headers" / "PHILIPS_CNTS_AND_BQML_SUV-instances.json"
    (other,) = suv_factors(header_from_records(json.loads(path.read_text()))).audit.alternatives
    assert other.name == "philips_activity_factor"
    assert abs(other.change_percent) < 0.1  # the SUV factor is printed with three digits


def test_philips_counts_scale_by_their_factor():
    header = header_from_records(records(Units="CNTS", PhilipsPETPrivateGroup=PHILIPS))
    result = suv_factors(header)
    assert result.factor == 0.000551
    assert result.audit.alternatives[0].change_percent == pytest.approx(100 * (1.6 * bw(3600) / 0.000551 - 1))
    # A corrected dose cannot act on an SUV factor, but on the concentration.
    with_dose = suv_factors(header, overrides=SuvOverrides(dose_bq=2 * DOSE))
    assert with_dose.factor == pytest.approx(1.6 * bw(3600) / 2, rel=1e-12)
    assert with_dose.audit.branch == "CNTS/philips_activity_factor/START/series_time"


def test_private_factors_may_differ_between_images():
    first, second = records(Units="CNTS")
    first["PhilipsPETPrivateGroup"] = {"SUVScaleFactor": 1e-3}
    second["PhilipsPETPrivateGroup"] = {"SUVScaleFactor": 2e-3}
    result = suv_factors(header_from_records([first, second]))
    np.testing.assert_array_equal(result.factors, [1e-3, 2e-3])
    with pytest.raises(DataError, match="different SUV factors"):
        _ = result.factor


# 70 kg, 1.75 m, female, in g and cm2, by hand.
SIZES = {
    "bw": 70e3,
    "lbm_james": 1000 * (1.07 * 70 - 148 * (70 / 175) ** 2),
    "lbm_james128": 1000 * (1.07 * 70 - 148 * (70 / 175) ** 2),
    "lbm_janma": 1000 * 9270 * 70 / (8780 + 244 * 70 / 1.75**2),
    "ibw": 1000 * (45.5 + 0.91 * (175 - 152)),
    "bsa": 1e4 * 0.007184 * 70**0.425 * 175**0.725,
}
UNITS = {"bsa": "cm2/mL"}


@pytest.mark.parametrize("kind", SIZES)
def test_kinds_from_concentration(kind):
    result = suv_factors(header_from_records(records()), kind)
    assert result.factor == pytest.approx(bw(3600) * SIZES[kind] / SIZES["bw"], rel=1e-11)
    assert (result.unit, result.audit.unit, result.kind) == (UNITS.get(kind, "g/mL"),) * 2 + (kind,)


STORED = {"BW": "bw", "LBM": "lbm_james", "LBMJAMES128": "lbm_james128", "LBMJANMA": "lbm_janma", "IBW": "ibw"}


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize(("stored", "units"), [*((s, "GML") for s in STORED), ("BSA", "CM2ML")])
def test_kinds_from_stored_suv(stored, units, kind):
    header = header_from_records(records(Units=units, SUVType=stored, PatientSex="M"))
    sizes = {
        **SIZES,
        "lbm_james": 1000 * (1.10 * 70 - 120 * 0.16),
        "lbm_james128": 1000 * (1.10 * 70 - 128 * 0.16),
        "lbm_janma": 1000 * 9270 * 70 / (6680 + 216 * 70 / 1.75**2),
        "ibw": 1000 * (48.0 + 1.06 * 23),
    }
    own = STORED.get(stored, "bsa")
    result = suv_factors(header, kind)
    assert result.factor == pytest.approx(sizes[kind] / sizes[own], rel=1e-12)
    assert result.audit.branch == f"{units}/{own}"
    assert any("ratio of body sizes" in note for note in result.audit.notes) == (kind != own)
    if kind == own:
        assert result.factor == 1.0


def test_stored_suv_needs_no_body_dose_or_time():
    bare = [{"Units": "GML", "CorrectedImage": ["ATTN", "DECY"], "DecayCorrection": "ADMIN"}]
    result = suv_factors(header_from_records(bare))
    assert result.factor == 1.0
    assert result.audit.defaults == ("SUVType is absent: body weight (BW), as DICOM prescribes",)
    assert result.audit.as_dict()["decay_s"] is None
    assert suv_factors(header_from_records(bare), overrides=SuvOverrides(height_m=1.7)).factor == 1.0
    with pytest.raises(MissingFieldError, match="needs PatientWeight"):
        suv_factors(header_from_records(bare), "lbm_janma")


def test_stored_suv_follows_a_corrected_weight_and_dose_by_ratio():
    header = header_from_records(records(Units="GML"))
    assert suv_factors(header, overrides=SuvOverrides(weight_kg=77.0)).factor == pytest.approx(1.1, rel=1e-14)
    assert suv_factors(header, overrides=SuvOverrides(dose_bq=2 * DOSE)).factor == pytest.approx(0.5, rel=1e-14)
    taller = suv_factors(header_from_records(records(Units="CM2ML")), "bsa", overrides=SuvOverrides(height_m=1.85))
    assert taller.factor == pytest.approx((1.85 / 1.75) ** 0.725, rel=1e-12)


@pytest.mark.parametrize(
    "overrides",
    [
        SuvOverrides(injection=dt.datetime(2024, 3, 5, 9)),
        SuvOverrides(half_life_s=T),
        SuvOverrides(syringe=SyringeAssay(DOSE, dt.datetime(2024, 3, 5, 9))),
    ],
)
def test_stored_suv_cannot_follow_corrected_times(overrides):
    with pytest.raises(DataError, match="cannot be corrected in values that the scanner has normalised"):
        suv_factors(header_from_records(records(Units="GML")), overrides=overrides)


def test_stored_suv_without_its_dose_cannot_follow_another():
    with pytest.raises(MissingFieldError, match="without the one it was made with"):
        suv_factors(
            header_from_records(records(Units="GML", RadionuclideTotalDose=0)), overrides=SuvOverrides(dose_bq=DOSE)
        )


@pytest.mark.parametrize("kind", ["pct_id_ml", "pct_id_g", "bqml_injection", "bqml_scan"])
def test_stored_suv_gives_no_concentration(kind):
    with pytest.raises(DataError, match="needs the concentration it was made from"):
        suv_factors(header_from_records(records(Units="GML")), kind)


@pytest.mark.parametrize("kind", ["lbm_james", "lbm_janma", "bsa", "ibw"])
def test_body_formulas_are_for_humans(kind):
    mouse = records(PatientWeight=0.025, RadionuclideTotalDose=5e6, PatientSpeciesDescription="Mus musculus")
    with pytest.raises(DataError, match="for humans only"):
        suv_factors(header_from_records(mouse), kind)
    assert suv_factors(header_from_records(mouse)).factor == pytest.approx(bw(3600, 0.025, 5e6), rel=1e-11)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"PatientSex": "O"}, "lbm_janma", "sex is not known"),
        ({"PatientSex": None}, "lbm_james", "sex is not known"),
        ({"PatientSize": 0}, "bsa", "needs PatientSize"),
        ({"PatientSize": 175}, "lbm_james", "centimetres recorded as metres"),
    ],
)
def test_what_the_body_size_needs(change, kind, message):
    header = header_from_records(records(**change))
    with pytest.raises(DataError, match=message):
        suv_factors(header, kind)
    assert suv_factors(header).factor == pytest.approx(bw(3600), rel=1e-11)


def test_percent_injected_and_concentrations():
    header = header_from_records(records())
    left = math.exp(-math.log(2) * 3600 / T)
    assert suv_factors(header, "pct_id_ml").factor == pytest.approx(100 / (DOSE * left), rel=1e-11)
    assert suv_factors(header, "pct_id_g", density_g_per_ml=1.04).factor == pytest.approx(
        100 / (DOSE * left) / 1.04, rel=1e-11
    )
    assert suv_factors(header, "bqml_injection").factor == pytest.approx(1 / left, rel=1e-11)
    assert suv_factors(header, "bqml_scan").factor == 1.0
    admin = header_from_records(records(DecayCorrection="ADMIN"))
    assert suv_factors(admin, "pct_id_ml").factor == pytest.approx(100 / DOSE, rel=1e-14)
    assert suv_factors(admin, "bqml_injection").factor == 1.0
    assert suv_factors(admin, "bqml_scan").factor == pytest.approx(left, rel=1e-11)
    assert [suv_factors(header, k).unit for k in ("pct_id_ml", "pct_id_g", "bqml_scan")] == [
        "%{ID}/mL", "%{ID}/g", "Bq/mL",
    ]  # fmt: skip


def test_the_density_is_recorded_as_default_or_as_given():
    header = header_from_records(records())
    plain, denser = (suv_factors(header, "pct_id_g", density_g_per_ml=d).audit for d in (1.0, 1.04))
    assert "tissue density 1 g/mL" in plain.defaults
    assert plain.overrides == ()
    assert not any("density" in text for text in denser.defaults)
    assert [(t.keyword, t.value) for t in denser.overrides] == [("tissue density", "1.04 g/mL")]


def test_a_concentration_needs_neither_dose_nor_weight():
    header = header_from_records(records(RadionuclideTotalDose=None, PatientWeight=None))
    assert suv_factors(header, "bqml_injection").factor == pytest.approx(math.exp(math.log(2) * 3600 / T), rel=1e-11)
    unknown = header_from_records(records(RadiopharmaceuticalStartTime=None, **NO_DATE))
    assert suv_factors(unknown, "bqml_scan").factor == 1.0
    with pytest.raises(MissingFieldError, match="time of injection is not known"):
        suv_factors(unknown, "bqml_injection")


def test_percent_needs_no_weight():
    header = header_from_records(records(PatientWeight=None))
    assert suv_factors(header, "pct_id_ml").factor == pytest.approx(bw(3600) / 700, rel=1e-11)


def test_wrong_use():
    header = header_from_records(records())
    with pytest.raises(UsageError, match="no uptake of kind 'sul'"):
        suv_factors(header, "sul")
    with pytest.raises(UsageError, match="density must be positive"):
        suv_factors(header, "pct_id_g", density_g_per_ml=0)


@given(
    scale=st.floats(0.5, 2.0),
    shift=st.floats(-1200.0, 1200.0),
    kind=st.sampled_from(["bw", "lbm_janma", "bsa"]),
)
def test_invariants(scale, shift, kind):
    header = header_from_records(records())
    plain = suv_factors(header, kind).factor
    with_dose = suv_factors(header, kind, overrides=SuvOverrides(dose_bq=scale * DOSE)).factor
    assert with_dose == pytest.approx(plain / scale, rel=1e-12)
    # Moving injection and scan together changes nothing; a longer wait scales by the decay in between.
    injection = dt.datetime(2024, 3, 5, 9) + dt.timedelta(seconds=shift)
    together = SuvOverrides(injection=injection, reference=injection + dt.timedelta(hours=1))
    assert suv_factors(header, kind, overrides=together).factor == pytest.approx(plain, rel=1e-9)
    later = suv_factors(header, kind, overrides=SuvOverrides(injection=injection)).factor
    assert later == pytest.approx(plain * 2 ** (-shift / T), rel=1e-9)


@given(wait=st.floats(60.0, 20000.0))
def test_one_scan_has_one_suv_whatever_its_reference(wait):
    """The same activity stored as START and as ADMIN values gives the same SUV."""
    reference = dt.datetime(2024, 3, 5, 9) + dt.timedelta(seconds=wait)
    start = suv_factors(header_from_records(records()), overrides=SuvOverrides(reference=reference))
    admin = suv_factors(header_from_records(records(DecayCorrection="ADMIN")))
    at_injection, at_scan = 5000.0, 5000.0 * 2 ** (-wait / T)
    assert at_scan * start.factor == pytest.approx(at_injection * admin.factor, rel=1e-9)


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (records(PatientWeight=25, RadionuclideTotalDose=5e6), "grams of body weight as kilograms"),
        (records(PatientWeight=350), "weight is unusual"),
        (records(RadionuclideTotalDose=5e6), "activity per body weight is unusual"),
    ],
)
def test_slips_are_warned_about_and_kept_in_the_audit(made, text):
    with pytest.warns(PlausibilityWarning, match=text):
        result = suv_factors(header_from_records(made))
    assert any(text in warning for warning in result.audit.warnings)


def test_the_james_formula_warns_beyond_its_range():
    header = header_from_records(records(PatientWeight=130))
    with pytest.warns(PlausibilityWarning, match="too heavy for the James formula"):
        suv_factors(header, "lbm_james")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        suv_factors(header, "lbm_janma")


def test_half_life_against_the_nuclide():
    header = header_from_records(records(RadionuclideHalfLife=6000.0, Radionuclide="18F"))
    with pytest.warns(PlausibilityWarning, match=r"not that of its nuclide.*-8\.9 %"):
        result = suv_factors(header, nuclide_half_life_s=T)
    assert result.factor == pytest.approx(bw(3600, half_life=6000.0), rel=1e-11)
    with pytest.raises(DataError, match="minutes recorded as seconds"):
        suv_factors(header_from_records(records(RadionuclideHalfLife=109.77)), nuclide_half_life_s=T)
    absent = suv_factors(header_from_records(records(RadionuclideHalfLife=None)), nuclide_half_life_s=T)
    assert absent.factor == pytest.approx(bw(3600), rel=1e-11)
    assert any("RadionuclideHalfLife is absent: 6586.2 s" in text for text in absent.audit.defaults)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        suv_factors(header_from_records(records()), nuclide_half_life_s=6584.0)


def test_several_animals_in_one_bed():
    header = header_from_records(records(PatientWeight=70, RadionuclideTotalDose=5e6))
    own = {"left": SuvOverrides(dose_bq=5e6, weight_kg=0.020), "right": SuvOverrides(dose_bq=8e6, weight_kg=0.025)}
    results = suv_factors_by_subject(header, own)
    assert {name: r.factor for name, r in results.items()} == pytest.approx(
        {"left": bw(3600, 0.020, 5e6), "right": bw(3600, 0.025, 8e6)}, rel=1e-11
    )
    assert [t.keyword for t in results["left"].audit.overrides] == ["RadionuclideTotalDose", "PatientWeight"]
    with pytest.raises(MissingFieldError, match=r"Subject left shares its scan.*dose_bq"):
        suv_factors_by_subject(header, {"left": SuvOverrides(weight_kg=0.02)})
    with pytest.raises(MissingFieldError, match=r"Subject left shares its scan.*weight_kg"):
        suv_factors_by_subject(header, {"left": SuvOverrides(dose_bq=5e6)})
    (percent,) = suv_factors_by_subject(header, {"left": SuvOverrides(dose_bq=5e6)}, "pct_id_ml").values()
    assert percent.unit == "%{ID}/mL"


def test_rounds_of_images_that_disagree_each_get_their_own():
    first, second = records(-1200, **POST)
    second["FrameReferenceTime"] = frame_reference_ms(ACQUIRED_S[1], -600.0)
    result = suv_factors(header_from_records([first, second]))
    np.testing.assert_allclose(result.factors, [bw(2400), bw(3000)], rtol=1e-11)
    assert any("disagree by 600 s" in note for note in result.audit.notes)


def test_one_image_without_frame_time_sends_all_to_the_acquisition_time():
    first, second = records(-1200, **POST)
    del second["FrameReferenceTime"]
    result = suv_factors(header_from_records([first, second]))
    np.testing.assert_allclose(result.factors, bw(4500), rtol=1e-11)


def test_a_header_without_images_is_refused():
    with pytest.raises(MissingFieldError, match="without images"):
        suv_factors(PetSeriesHeader(units="BQML"))


def test_animals_that_share_a_scan_of_stored_suv_are_rescaled_from_what_the_scanner_used():
    # The scanner took 40 g and 10 MBq for the whole bed.
    header = header_from_records(records(Units="GML", PatientWeight=0.040, RadionuclideTotalDose=10e6))
    own = {"left": SuvOverrides(dose_bq=5e6, weight_kg=0.020), "right": SuvOverrides(dose_bq=4e6, weight_kg=0.024)}
    results = suv_factors_by_subject(header, own)
    assert {name: r.factor for name, r in results.items()} == pytest.approx({"left": 1.0, "right": 1.5}, rel=1e-12)
