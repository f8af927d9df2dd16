"""Blood tables: PET-BIDS and PMOD, held against each other, and damaged ones."""

from __future__ import annotations

import zipfile

import numpy as np
import openpyxl
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from timelens.errors import FormatError, MissingFieldError, UnitError, UnsafeFileError
from timelens.formats import blood, safety
from timelens.study import Acquisition, Table

anywhere = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def pmod(shared_data):
    return shared_data / "ecat_pmod_formats" / "pmod_bld"


def test_pmod_agrees_with_its_published_conversion(pmod):
    side = pmod / "converted_blood.json"
    whole = blood.read(pmod / "S001_Whole_Blood_Activity.bld").data
    plasma = blood.read(pmod / "S001_Plasma_Activity.bld").data
    parent = blood.read(pmod / "S001_ParentFraction.bld").data
    automatic = blood.read(pmod / "converted_recording-autosampler_blood.tsv", described=side).data
    manual = blood.read(pmod / "converted_recording-manual_blood.tsv", described=side).data
    assert whole.column_units == {"time": "s", "whole_blood_radioactivity": "kBq/mL"}
    assert automatic.column_units == whole.column_units
    early, sampled = automatic.data, whole.data
    at = np.abs(sampled["time"].to_numpy()[:, None] - early["time"].to_numpy()).argmin(axis=0)
    np.testing.assert_allclose(sampled["time"].to_numpy()[at], early["time"], atol=1e-6)
    np.testing.assert_allclose(
        sampled["whole_blood_radioactivity"].to_numpy()[at], early["whole_blood_radioactivity"], rtol=1e-12
    )
    for table, column in ((plasma, "plasma_radioactivity"), (parent, "metabolite_parent_fraction")):
        late = manual.data[(manual.data["time"] >= 300)]
        at = np.interp(late["time"], table.data["time"], table.data[column])
        np.testing.assert_allclose(late[column], at, rtol=1e-6)
        assert manual.column_units[column] == table.column_units[column]


def test_pmod_parent_fraction(pmod):
    table = blood.read(pmod / "S001_ParentFraction.bld").data
    assert table.column_units == {"time": "s", "metabolite_parent_fraction": "1"}
    assert table.data["time"].tolist()[:3] == [0, 300, 600]


def test_a_ratio_with_the_unit_of_an_activity_is_refused(pmod):
    path = pmod / "S001_Plasma-WholeBlood-Ratio.bld"
    with pytest.raises(UnitError, match=r"named a ratio, but its column has a unit.*Ratio\.bld\. Field: value"):
        blood.read(path)
    assert blood.read(path, unit="1").data.column_units["value"] == "1"


def test_flags_and_recording(pmod):
    read = blood.read(pmod / "converted_recording-manual_blood.tsv", described=pmod / "converted_blood.json")
    assert read.modality == "blood"
    assert read.extra["recording"] == "manual"
    assert read.extra["PlasmaAvail"] == "true"
    assert len(read.sources) == 2


@anywhere
@given(st.lists(st.tuples(st.floats(0.001, 100), st.floats(0, 1e6), st.floats(0, 1)), min_size=1, max_size=20))
def test_round_trip(tmp_path, rows):
    step, activity, fraction = np.array(rows).T
    frame = pd.DataFrame(
        {"time": np.cumsum(step), "plasma_radioactivity": activity, "metabolite_parent_fraction": fraction}
    )
    units = {"time": "s", "plasma_radioactivity": "kBq/mL", "metabolite_parent_fraction": "1"}
    made = Acquisition("a", "blood", Table(frame, units), extra={"Haematocrit": 0.4})
    read = blood.read(blood.write(made, tmp_path / "sub-01_recording-manual_blood.tsv"))
    pd.testing.assert_frame_equal(read.data.data, frame, rtol=0, atol=0)
    assert read.data.column_units == units
    assert read.extra["Haematocrit"] == 0.4
    assert read.extra["MetaboliteAvail"] is True
    assert read.extra["WholeBloodAvail"] is False


def test_missing_values_stay_missing(tmp_path):
    path = tmp_path / "a_blood.tsv"
    path.write_text("time\tplasma_radioactivity\n0\tn/a\n1\t5\n")
    table = blood.read(path, unit="Bq/mL").data
    assert np.isnan(table.data["plasma_radioactivity"][0])
    again = blood.read(blood.write(table, tmp_path / "b_blood.tsv")).data
    pd.testing.assert_frame_equal(again.data, table.data)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("garbage\x01\n", r"first line does not name the columns.*Field: columns"),
        ("a\tb\n1\t2\n", "first line does not name"),
        ("time\ttime\n1\t2\n", "different names"),
        ("time\tplasma_radioactivity\n", "no rows"),
        ("time\tplasma_radioactivity\n1\n", r"another number of cells.*Field: row 1"),
        ("time\tplasma_radioactivity\n1\tmuch\n", r"not a number.*plasma_radioactivity, row 1"),
        ("time\tplasma_radioactivity\n1\t2\n1\t3\n", "Times do not ascend"),
        ("time\tplasma_radioactivity\nnan\t2\n", "Times do not ascend"),
    ],
)
def test_damaged_tables(tmp_path, text, match):
    path = tmp_path / "a_blood.tsv"
    path.write_text(text)
    with pytest.raises(FormatError, match=match) as caught:
        blood.read(path, unit="Bq/mL")
    assert caught.value.problem.file == str(path)


def test_a_unit_is_not_guessed(tmp_path):
    path = tmp_path / "a_blood.tsv"
    path.write_text("time\tplasma_radioactivity\n1\t2\n")
    with pytest.raises(MissingFieldError, match=r"'plasma_radioactivity' has no unit.*a_blood\.tsv"):
        blood.read(path)
    (tmp_path / "a_blood.json").write_text('{"plasma_radioactivity": {"Units": "arbitrary"}}')
    with pytest.raises(UnitError, match=r"Unknown unit 'arbitrary'.*plasma_radioactivity"):
        blood.read(path)
    (tmp_path / "a_blood.json").write_text('{"time": {"Units": "kg"}, "plasma_radioactivity": {"Units": "Bq/mL"}}')
    with pytest.raises(UnitError, match=r"Field: time"):
        blood.read(path)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("time\tplasma\n1\t2\n", r"column head has no unit.*'time'"),
        ("time[minutes]\tplasma[furlong]\n1\t2\n", "Unknown unit 'furlong'"),
        ("plasma[kBq/cc]\ttime[minutes]\n1\t2\n", "first column is not the time"),
        ("time[minutes]\tplasma[kBq/cc]\n", "holds no samples"),
        ("\n", "holds no samples"),
    ],
)
def test_damaged_pmod(tmp_path, text, match):
    path = tmp_path / "a.bld"
    path.write_text(text)
    with pytest.raises((FormatError, UnitError), match=match):
        blood.read(path)


def test_a_spreadsheet_under_the_name_of_a_text(tmp_path):
    book = openpyxl.Workbook()
    for row in (("time[seconds]", "plasma[Bq/cc]"), (0, 1.5), (10, 2.5)):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    path = (tmp_path / "a.xlsx").rename(tmp_path / "a.bld")
    table = blood.read(path).data
    assert table.column_units["plasma_radioactivity"] == "Bq/mL"
    assert table.data["time"].tolist() == [0, 10]


def test_hostile_spreadsheets(tmp_path, monkeypatch):
    path = tmp_path / "a.bld"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("nothing", "")
    with pytest.raises(FormatError, match=r"Not a spreadsheet.*a\.bld"):
        blood.read(path)
    path.write_bytes(b"PK\3\4" + b"\0" * 100)
    with pytest.raises(FormatError, match="truncated or damaged"):
        blood.read(path)
    monkeypatch.setattr(safety, "FREE_BYTES", 1 << 16)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", bytes(1 << 22))
    with pytest.raises(UnsafeFileError, match=r"compression bomb.*a\.bld"):
        blood.read(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "time[min],whole-blood[kBq/cc],plasma[kBq/cc]\n0,0,0\n1,2,3\n"),
        ("a.csv", "time (min); blood (kBq/mL); plasma (kBq/mL)\n0;0;0\n1;2;3\n"),
        ("a.crv", "sample-time[minutes]\twhole-blood[kBq/cc]\tplasma[kBq/cc]\n0\t0\t0\n1\t2\t3\n"),
        ("a.kbq", "# timeunit := min\n# unit := kBq/mL\ntime  blood  plasma\n0 0 0\n1 2 3\n"),
        ("a.tsv", "time\twhole_blood_radioactivity\tplasma_radioactivity\n0\t0\t0\n60\t2\t3\n"),
    ],
)
def test_one_blood_in_many_tables(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    table = blood.read(path, unit="kBq/mL" if name == "a.tsv" else None).data
    assert list(table.data.columns) == ["time", "whole_blood_radioactivity", "plasma_radioactivity"]
    assert table.data.to_numpy().tolist() == [[0, 0, 0], [60, 2, 3]]
    assert table.column_units == {
        "time": "s", "whole_blood_radioactivity": "kBq/mL", "plasma_radioactivity": "kBq/mL"
    }  # fmt: skip


def test_comments_may_say_that_samples_are_decay_corrected(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("# decay_corrected = false\ntime[s],blood[Bq/mL]\n0,1\n1,2\n")
    assert blood.read(path).extra["DecayCorrected"] == "false"


def test_percent_of_parent_becomes_a_fraction_where_its_unit_says_so(tmp_path):
    from timelens.lenses.pet.dynamic.samples import samples_of

    path = tmp_path / "a.csv"
    path.write_text("time[s],plasma[Bq/mL],parent-fraction[%]\n0,1,100\n60,2,50\n")
    assert samples_of(blood.read(path)).parent_fraction[1].tolist() == [1.0, 0.5]


def test_columns_that_are_the_same(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("time[s],blood[Bq/mL],whole-blood[Bq/mL]\n0,1,1\n1,2,2\n")
    with pytest.raises(FormatError, match="two columns are the same"):
        blood.read(path)


def test_what_looks_like_blood():
    assert blood.looks_like("time[min],plasma[kBq/cc]\n0,1\n")
    assert not blood.looks_like("time,plasma\n0,1\n")
    assert not blood.looks_like("start[s]\tend[kBq/cc]\tblood\n")
    assert not blood.looks_like("")
