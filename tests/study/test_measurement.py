"""Measurements refuse what would mislead, and go through tables without losing a digit."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelens.errors import FormatError, Problem, UnitError, UsageError
from timelens.study.export import read_csv, read_parquet, write_csv, write_parquet, write_problems
from timelens.study.measurement import COLUMNS, Measurement, from_dict, to_frame


def a_row(value: float = 8.5, **changes: object) -> Measurement:
    return Measurement("suv_max", value, "g/mL", **{"region": "lesion-1", **changes})


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"quantity": "suvmax"}, UsageError, r"Unknown quantity 'suvmax'.*did you mean suv_max"),
        ({"unit": ""}, UnitError, r"A unit is missing"),
        ({"unit": "SUV"}, UnitError, r"Unknown unit 'SUV'.*write 'g/mL'"),
        ({"unit": "Bq/mL"}, UnitError, r"Cannot report suv_max in Bq/mL and g/mL"),
        ({"unit": "kg/L"}, UnitError, r"suv_max is always reported in g/mL. Field: unit. Found: kg/L"),
        ({"value": math.nan}, UsageError, r"suv_max is NaN without a reason"),
        ({"value": math.inf}, UsageError, r"suv_max is infinite. Field: value.*NaN with a reason"),
        ({"upper": -math.inf}, UsageError, r"suv_max is infinite. Field: upper"),
        ({"uncertainty_kind": "sd"}, UsageError, r"Unknown kind of uncertainty. Found: sd.*standard_error"),
        ({"uncertainty": -1.0}, UsageError, r"An uncertainty is not negative"),
        ({"lower": 2.0, "upper": 1.0}, UsageError, r"ends before it begins. .*2.0 to 1.0"),
        ({"level": 95.0}, UsageError, r"lies between 0 and 1. .*Found: 95.0. Expected: 0.95"),
    ],
)
def test_misleading_rows_are_refused(changes: dict[str, object], kind: type[Exception], message: str):
    with pytest.raises(kind, match=message):
        Measurement(**{"quantity": "suv_max", "value": 1.0, "unit": "g/mL", **changes})


def test_generic_values_take_the_unit_of_the_image():
    assert Measurement("value_max", 1.0, "mm2/s").unit == "mm2/s"


def test_a_row_that_could_not_be_measured_says_why():
    assert math.isnan(a_row(math.nan, reason="no voxels").value)


def test_the_identifier_depends_on_all_a_row_says_and_on_nothing_else():
    row = a_row(0.1 + 0.2, n=3)
    assert row.id == a_row(np.float64(0.1) + 0.2, n=np.int64(3)).id
    assert type(a_row(np.float32(1.5)).value) is float
    changes = ({"value": 0.3}, {"region": "lesion-2"}, {"n": 4}, {"method": "x"}, {"run": "x"}, {"supersedes": "x"})
    for change in changes:
        assert replace(row, **change).id != row.id


def test_identifiers_are_fixed_for_ever():
    # Written down: ledgers and tables of earlier versions hold such identifiers.
    assert a_row().id == "152d17f1244389c3"


def test_context_fills_in_only_what_is_empty():
    row = a_row(subject="sub-001").with_context(subject="sub-002", session="ses-01", run="r", n=4)
    assert (row.subject, row.session, row.run, row.n) == ("sub-001", "ses-01", "r", 4)


def test_a_frame_has_the_stable_columns_also_when_empty():
    assert list(to_frame([]).columns) == list(COLUMNS)
    assert COLUMNS[:3] == ("id", "subject", "session")
    frame = to_frame([a_row(), a_row(2.0)])
    assert list(frame.columns) == list(COLUMNS)
    assert frame["value"].tolist() == [8.5, 2.0]


def test_a_record_comes_back():
    row = a_row(1.5, n=3, lower=1.0, upper=2.0, level=0.95, uncertainty_kind="interval")
    assert from_dict(row.as_dict()).id == row.id
    record = {**row.as_dict(), "n": math.nan, "time_s": None, "supersedes": None}
    found = from_dict(record)
    assert (found.n, found.supersedes) == (None, "")
    assert math.isnan(found.time_s)


# -- files -------------------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def rows(draw: st.DrawFn) -> Measurement:
    """Any row; texts may look like formulas."""
    risky = st.sampled_from(["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "'", "'=x", "a\r\nb", 'say "x", y', ""])
    text = TEXT | risky
    low, high = sorted((draw(NUMBER), draw(NUMBER)))
    return Measurement(
        "suv_max",
        draw(NUMBER),
        "g/mL",
        region=draw(text),
        subject=draw(text),
        method=draw(text),
        flags=draw(text),
        uncertainty=abs(draw(NUMBER)),
        uncertainty_kind="interval",
        lower=low,
        upper=high,
        level=draw(st.sampled_from([0.95, math.nan])),
        n=draw(st.integers(0, 2**62) | st.none()),
        time_s=draw(NUMBER | st.just(math.nan)),
    )


@given(st.lists(rows(), max_size=4))
def test_files_give_back_every_digit_and_letter(tmp_path_factory: pytest.TempPathFactory, written: list[Measurement]):
    folder = tmp_path_factory.mktemp("export")
    write_csv(written, folder / "a.csv")
    write_parquet(written, folder / "a.parquet")
    for found in (read_csv(folder / "a.csv"), read_parquet(folder / "a.parquet")):
        assert [repr(row) for row in found] == [repr(row) for row in written]
        assert [row.id for row in found] == [row.id for row in written]


def test_no_cell_of_text_is_a_formula(tmp_path: Path):
    texts = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "'x"]
    write_csv([a_row(-8.5, region=text, n=2) for text in texts], tmp_path / "a.csv")
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as stream:
        found = list(csv.DictReader(stream))
    assert [row["region"] for row in found] == ["'" + text for text in texts]
    assert {row["value"] for row in found} == {"-8.5"}  # numbers stay numbers


def test_the_same_rows_give_the_same_bytes(tmp_path: Path):
    given_rows = [a_row(), a_row(math.nan, reason="no voxels"), a_row(0.1 + 0.2, n=5)]
    for write, name in ((write_csv, "csv"), (write_parquet, "parquet")):
        write(given_rows, tmp_path / f"a.{name}")
        write(iter(given_rows), tmp_path / f"b.{name}")
        assert (tmp_path / f"a.{name}").read_bytes() == (tmp_path / f"b.{name}").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "a.parquet", "b.csv", "b.parquet"]
    text = (tmp_path / "a.csv").read_text()
    assert text.startswith(",".join(COLUMNS) + "\n")
    assert "0.30000000000000004" in text
    assert "nan" not in text


def test_parquet_has_fixed_types_and_null_for_nan(tmp_path: Path):
    write_parquet([], tmp_path / "none.parquet")
    write_parquet([a_row(math.nan, reason="no voxels")], tmp_path / "one.parquet")
    none, one = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("none", "one"))
    assert none.schema.equals(one.schema)
    assert none.column_names == list(COLUMNS)
    assert str(none.schema.field("value").type) == "double"
    assert str(none.schema.field("n").type) == "int64"
    assert one["value"].to_pylist() == one["n"].to_pylist() == [None]


def test_tables_that_are_none_are_refused(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("id,value\n1,2\n")
    with pytest.raises(FormatError, match=r"not a table of measurements. File: .*a.csv. Found: no subject, session"):
        read_csv(path)
    write_csv([a_row()], path)
    path.write_text(path.read_text().replace("8.5", "8,5".replace(",", ".") + "x"))
    with pytest.raises(FormatError, match=r"Line 2 holds no number in column value.*Found: 8.5x"):
        read_csv(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "a.csv"
    write_csv([a_row()], path)
    before = path.read_bytes()

    def broken():
        yield a_row(2.0)
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match=r"killed"):
        write_csv(broken(), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_problems_are_written_under_the_same_rules(tmp_path: Path):
    problem = Problem("No weight", file="=cmd|x.dcm", field="PatientWeight", mend="state it", severity="warning")
    write_problems([problem], tmp_path / "problems.csv")
    assert (tmp_path / "problems.csv").read_text() == (
        "severity,message,file,field,found,expected,mend\nwarning,No weight,'=cmd|x.dcm,PatientWeight,,,state it\n"
    )
