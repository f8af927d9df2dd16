"""Curves from every table that programs write them in: the same frames in seconds, the same values."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from timelens.errors import FormatError, TimelensError, UnitError
from timelens.formats import tac
from timelens.formats.headed import parse_headed, split_head

START, END = np.array([0.0, 30.0, 90.0]), np.array([30.0, 90.0, 210.0])
CURVES = np.array([[1.0, 2.0], [3.0, 4.5], [5.0, 6.0]])


def _lines(head: str, rows: list[list[object]], mark: str = "\t") -> str:
    return "\n".join([head, *(mark.join(map(str, row)) for row in rows)]) + "\n"


def _rows(*columns: np.ndarray) -> list[list[object]]:
    return [list(row) for row in np.column_stack(columns)]


TABLES = {
    "bids.tsv": _lines("frame_start\tframe_end\ttumour\tliver", _rows(START, END, CURVES)),
    "durations.tsv": _lines("frame_start\tframe_duration\ttumour\tliver", _rows(START, END - START, CURVES)),
    "pmod.tac": _lines("start[seconds]\tend[kBq/cc]\ttumour\tliver", _rows(START, END, CURVES)),
    "pmod_minutes.tac": _lines("start[minutes]\tend[kBq/cc]\ttumour\tliver", _rows(START / 60, END / 60, CURVES)),
    "turku.tac": "# a comment\n" + _lines("start[seconds] end[kBq/mL] tumour liver", _rows(START, END, CURVES), "  "),
    "kinfitr.csv": _lines(
        '"PET","Times","Weights","tumour","liver","StartTime","Duration"',
        [
            ['"a_1"', 0, 0, 0, 0, 0, 0],
            *(['"a_1"', (s + e) / 2, 1, *c, s, e - s] for s, e, c in zip(START, END, CURVES, strict=True)),
        ],
        ",",
    ),
    "semicolon.csv": _lines("frame_start[s];frame_end[s];tumour;liver", _rows(START, END, CURVES), ";"),
    "tidy.tsv": _lines(
        "region\tframe_start_s\tframe_duration_s\tmean\tsd\tvoxels\tunit",
        [
            [name, s, e - s, v, 0.1, 8, "kBq/mL"]
            for k, name in enumerate(("tumour", "liver"))
            for s, e, v in zip(START, END, CURVES[:, k], strict=True)
        ],
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_form_gives_the_same_curves(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(TABLES[name])
    found = tac.read(path, unit=None if "." in name and name.split(".")[0] in ("pmod", "turku", "tidy") else "kBq/mL")
    assert found.names == ("tumour", "liver")
    np.testing.assert_allclose(found.start, START)
    np.testing.assert_allclose(found.end, END)
    np.testing.assert_allclose(found.curves, CURVES)
    assert found.unit == "kBq/mL"


def test_weights_errors_and_voxels_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(TABLES["kinfitr.csv"])
    assert tac.read(path).weights == pytest.approx([1, 1, 1])
    path = tmp_path / "tidy.tsv"
    path.write_text(TABLES["tidy.tsv"])
    found = tac.read(path)
    assert found.voxels is not None
    assert found.voxels.tolist() == [8, 8]
    assert (found.sd == 0.1).all()


def test_unit_from_a_json_beside(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(TABLES["bids.tsv"])
    (tmp_path / "a.json").write_text(json.dumps({"tumour": {"Units": "kBq/mL"}, "frame_start": {"Units": "s"}}))
    assert tac.read(path).unit == "kBq/mL"
    assert tac.read(tmp_path / "a.tsv", unit="kBq/mL").unit == "kBq/mL"
    with pytest.raises(UnitError, match="contradicts the file"):
        tac.read(path, unit="Bq/mL")


def test_minutes_stated_by_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(_lines("frame_start\tframe_end\ta", _rows(START / 60, END / 60, CURVES[:, :1])))
    np.testing.assert_allclose(tac.read(path, time_unit="min").end, END)


def test_each_column_of_times_has_its_own_unit(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    rows = _rows(START / 60, END - START, CURVES[:, :1])
    path.write_text(_lines("StartTime[min]\tDuration[s]\ta", rows))
    np.testing.assert_allclose(tac.read(path).end, END)
    path.write_text(_lines("frame_start\tframe_duration\ta", rows))
    (tmp_path / "a.json").write_text(json.dumps({"frame_start": {"Units": "min"}, "frame_duration": {"Units": "s"}}))
    np.testing.assert_allclose(tac.read(path).end, END)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("\n", "holds no samples"),
        ("one\n1\n", "does not name the columns"),
        ("tumour\tliver\n1\t2\n", "does not say when its frames start"),
        ("frame_start\ttumour\n0\t2\n", "does not say when its frames end"),
        ("frame_start\tframe_end\n0\t2\n", "holds no curves"),
        ("frame_start\tframe_end\ta\n0\t2\n", "another number of cells"),
        ("frame_start\tframe_end\ta\n0\t2\tx\n2\t4\t1\n", r"not a number.*a, row 1"),
        ("frame_start\tframe_end\ta\nn/a\t2\t1\n0\t3\t1\n", "frame time is missing"),
        ("frame_start\tframe_end\ta\n0\t0\t0\n", "holds no frames"),
        ("frame_start\tframe_end[furlong]\ta\n0\t2\t1\n", "Unknown unit"),
        ("frame_start\tframe_end\ta[Bq/mL]\tb[kBq/mL]\n0\t2\t1\t1\n", "different units"),
        ("region\tframe_start_s\tmean\na\t0\t1\n", "lacks a column"),
        (
            "region\tframe_start_s\tframe_duration_s\tmean\na\t0\t1\t1\na\t1\t1\t1\nb\t0\t1\t1\n",
            "different frames",
        ),
    ],
)
def test_what_is_no_table_of_curves(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(text)
    with pytest.raises(TimelensError, match=match):
        tac.read(path)


def test_heads_of_columns() -> None:
    assert split_head('"blood (kBq/cc)"') == ("blood", "kBq/cc")
    assert split_head("time [ min ]") == ("time", "min")
    assert split_head("a[b]c") == ("a[b]c", None)
    table = parse_headed("# unit := kBq/mL\ntime [min]  blood\n1  2\n")
    assert table.comments == {"unit": "kBq/mL"}
    with pytest.raises(FormatError):
        parse_headed("#only\n#comments\n")


def test_a_region_without_any_value_is_a_curve_and_text_is_none(tmp_path: Path) -> None:
    path = tmp_path / "tacs.tsv"
    rows = [[0, 30, 1.0, "n/a", "early"], [30, 90, 2.0, "", ""], [90, 150, "n/a", "nan", "late"]]
    path.write_text(_lines("frame_start\tframe_end\ttumour\tliver\tnote", rows), encoding="utf-8")
    table = tac.read(path, unit="kBq/mL")
    assert table.names == ("tumour", "liver")
    np.testing.assert_array_equal(np.isnan(table.curves), [[False, True], [False, True], [True, True]])
