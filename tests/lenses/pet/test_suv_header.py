from __future__ import annotations

import datetime as dt

import pytest

from timelens.errors import DataError, MissingFieldError
from timelens.lenses.pet.dicom_time import Instant
from timelens.lenses.pet.suv_header import header_from_records

BASE = {"SeriesDate": "20240305", "SeriesTime": "100000", "AcquisitionTime": "101500", "PatientWeight": "52"}


def test_no_images():
    with pytest.raises(MissingFieldError, match="without images"):
        header_from_records([], source="s")


def test_an_empty_record_is_all_unknown():
    header = header_from_records([{}])
    assert (header.units, header.weight_kg, header.series, header.injection, header.dose_bq) == (None,) * 5
    assert header.earliest_acquisition is None
    assert header.acquisition_end is None


@pytest.mark.parametrize(
    ("key", "values"),
    [("PatientWeight", (52, 53)), ("Units", ("BQML", "GML")), ("RadionuclideTotalDose", (3e8, 3.1e8)),
     ("CorrectedImage", (["ATTN"], ["DECY"])), ("SeriesTime", ("100000", "100001"))],
)  # fmt: skip
def test_images_that_disagree_are_refused(key, values):
    with pytest.raises(DataError, match="images of one series disagree") as caught:
        header_from_records([{key: value} for value in values], source="folder")
    assert (caught.value.problem.field, caught.value.problem.file) == (key, "folder")


def test_one_value_in_two_spellings_or_missing_is_no_disagreement():
    header = header_from_records(
        [{"PatientWeight": "52"}, {"PatientWeight": 52.0}, {"PatientWeight": None}, {"PatientWeight": ""}]
    )
    assert header.weight_kg == 52.0
    assert len(header.instances) == 4


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PatientWeight", "heavy"), ("RadionuclideTotalDose", "nan"), ("FrameReferenceTime", "1e999"),
        ("SeriesTime", "ten"), ("SeriesTime", "250000"), ("SeriesDate", "20241305"), ("AcquisitionTime", "10150"),
        ("RadiopharmaceuticalStartDateTime", "20240305"), ("RadiopharmaceuticalStartDateTime", "yesterday"),
    ],
)  # fmt: skip
def test_unreadable_values_are_refused(key, value):
    with pytest.raises(DataError, match="Not a ") as caught:
        header_from_records([{**BASE, key: value}])
    assert caught.value.problem.field == key


def test_zero_means_not_entered():
    header = header_from_records([{"PatientWeight": 0, "PatientSize": "0", "RadionuclideTotalDose": 0.0}])
    assert (header.weight_kg, header.height_m, header.dose_bq) == (None, None, None)


def test_text_is_cleaned():
    header = header_from_records([{"Units": "bqml ", "CorrectedImage": "ATTN\\DECY ", "PatientSex": "f"}])
    assert (header.units, header.corrected_image, header.sex) == ("BQML", ("ATTN", "DECY"), "F")


def test_python_dates_and_times_are_taken_too():
    header = header_from_records(
        [
            {
                "SeriesDate": dt.date(2024, 3, 5),
                "SeriesTime": dt.time(10, 0, 0, 500000),
                "AcquisitionDateTime": dt.datetime(2024, 3, 5, 10, 15),
                "RadiopharmaceuticalStartDateTime": dt.datetime(2024, 3, 5, 9),
            }
        ]
    )
    day = dt.date(2024, 3, 5)
    assert header.series == Instant(day, 36000.5)
    assert header.earliest_acquisition == Instant(day, 36900.0)
    assert header.injection == Instant(day, 32400.0)


def test_ends_of_the_acquisition():
    two = [{**BASE, "AcquisitionTime": t, "ActualFrameDuration": 120000} for t in ("103000", "101500")]
    header = header_from_records(two)
    assert str(header.earliest_acquisition) == "2024-03-05 10:15:00"
    assert str(header.acquisition_end) == "2024-03-05 10:32:00"


def test_one_radiopharmaceutical_is_lifted_and_several_are_counted():
    one = {"RadiopharmaceuticalInformationSequence": [{"RadionuclideTotalDose": 3e8, "Radionuclide": "18F"}]}
    assert header_from_records([one]).dose_bq == 3e8
    assert header_from_records([one]).nuclide == "18F"
    two = {"RadiopharmaceuticalInformationSequence": [{"RadionuclideTotalDose": 3e8}, {"RadionuclideTotalDose": 1e8}]}
    assert header_from_records([two]).dose_bq is None
    assert header_from_records([two]).administrations == 2
