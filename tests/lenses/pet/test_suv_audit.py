from __future__ import annotations

import json
import math

import numpy as np
import pytest

from timelens.errors import DataError
from timelens.lenses.pet.suv import suv_factors
from timelens.lenses.pet.suv_audit import Alternative, SuvAudit, SuvResult, TagUsed
from timelens.lenses.pet.suv_header import header_from_records

RECORD = {
    "SeriesDate": "20240305", "SeriesTime": "100000", "AcquisitionDate": "20240305", "AcquisitionTime": "101500",
    "Units": "BQML", "DecayCorrection": "START", "CorrectedImage": ["ATTN", "DECY"], "PatientWeight": 70,
    "RadionuclideTotalDose": 3e8, "RadionuclideHalfLife": 7200, "RadiopharmaceuticalStartTime": "080000",
    "FrameReferenceTime": 60000, "ActualFrameDuration": 120000,
}  # fmt: skip


def audit_of(**changes: object) -> SuvAudit:
    made = {k: v for k, v in {**RECORD, **changes}.items() if v is not None}
    return suv_factors(header_from_records([made])).audit


def test_the_audit_says_times_decay_and_tags():
    audit = audit_of()
    assert (audit.time_zero, audit.reference_time) == ("2024-03-05 08:00:00", "2024-03-05 10:00:00")
    assert (audit.decay_s, audit.decay_factor, audit.half_life_s) == (7200.0, 0.5, 7200.0)
    assert {tag.keyword: tag.value for tag in audit.tags} == {
        "Units": "BQML",
        "DecayCorrection": "START",
        "PatientWeight": "70.0 kg",
        "RadionuclideTotalDose": "300000000.0 Bq",
        "SeriesDate and SeriesTime": "2024-03-05 10:00:00",
        "RadiopharmaceuticalStartTime": "8:00:00",
        "RadionuclideHalfLife": "7200.0 s",
    }
    assert all(tag.origin == "header" for tag in audit.tags)


def test_the_audit_says_what_the_other_times_would_give():
    changes = {a.name: a.change_percent for a in audit_of().alternatives}
    assert changes["acquisition_time"] == pytest.approx(100 * (2 ** (900 / 7200) - 1), rel=1e-9)
    assert changes["ADMIN"] == pytest.approx(-50.0, rel=1e-12)
    admin = {a.name: a.change_percent for a in audit_of(DecayCorrection="ADMIN").alternatives}
    assert admin["series_time"] == pytest.approx(100.0, rel=1e-12)


def test_the_audit_says_what_was_assumed():
    audit = audit_of()
    assert audit.defaults == (
        "RadiopharmaceuticalStartDateTime is absent: the day of the injection is that of the scan",
        "RadionuclideTotalDose was taken for the net activity: no residue is recorded",
    )
    assert any("+899.9" in note and "series time" in note for note in audit.notes)


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"SeriesTime": "003000", "RadiopharmaceuticalStartTime": "233000"}, "midnight was crossed"),
        ({"SeriesTime": "120000"}, "6300 s after the first acquisition: a post-processed series"),
        ({"SeriesTime": "120000", "FrameReferenceTime": None}, "earliest acquisition time was used"),
        ({"SeriesTime": None}, "SeriesTime is absent"),
        ({"SeriesDate": None}, "date of the first acquisition was used"),
        ({"AcquisitionDate": None}, "AcquisitionDate is absent"),
        ({"RadiopharmaceuticalStartDateTime": "20240305090000"}, "differs from the date-time by -3600 s"),
        ({"RadiopharmaceuticalStartDateTime": "20240305100100", "SeriesTime": "101500"}, "differs from"),
        ({"RadiopharmaceuticalStartDateTime": "20240305101600", "SeriesTime": "101500"}, "scan began 60 s before"),
        ({"RadiopharmaceuticalStartDateTime": "20240305080000+0100"}, "names a time zone and the series none"),
        ({"RadiopharmaceuticalStartDateTime": "20240304235959"}, "5.0 half-lives after the injection"),
        ({"DecayCorrection": "ADMIN"}, "refer to the injection: no decay"),
    ],
)
def test_notes(changes, note):
    assert any(note in text for text in audit_of(**changes).notes)


def test_the_audit_is_json_and_text():
    audit = SuvAudit(
        kind="bw", unit="g/mL", branch="GML/bw", tags=(TagUsed("PatientWeight", "(0010,1030)", "70 kg", "user"),),
        alternatives=(Alternative("ADMIN", "", -12.345),), notes=("n",), defaults=("d",), warnings=("w",),
    )  # fmt: skip
    record = json.loads(json.dumps(audit.as_dict(), allow_nan=False))
    assert record["decay_factor"] is None
    assert record["alternatives"][0]["change_percent"] == -12.345
    assert audit.overrides == audit.tags
    assert audit.lines() == [
        "SUV bw in g/mL by rule GML/bw",
        "PatientWeight (0010,1030) = 70 kg (user)",
        "by ADMIN (): -12.35 %",
        "default: d",
        "note: n",
        "warning: w",
    ]
    assert "7200.0 s, 0.500000 of the activity left (half-life 7200 s)" in audit_of().lines()[1]


def test_one_factor_or_none():
    audit = SuvAudit(kind="bw", unit="g/mL", branch="x")
    assert SuvResult("bw", "g/mL", np.array([2.0, 2.0 + 1e-9]), audit).factor == 2.0
    with pytest.raises(DataError, match="different SUV factors"):
        _ = SuvResult("bw", "g/mL", np.array([2.0, 2.1]), audit).factor
    assert math.isnan(audit.decay_s)
