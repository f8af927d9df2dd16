"""Tables as text: which cells are guarded, quoted, empty."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from timelens.study.export import write_table


def test_a_table_without_rows_has_its_head(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", ("a", "b"), [])
    assert (tmp_path / "t.csv").read_bytes() == b"a,b\n"


def test_every_kind_of_cell(tmp_path: Path) -> None:
    row = {"text": "=1+1", "number": 0.1, "numpy": np.float64(0.25), "count": 3, "nan": float("nan"), "none": None,
           "other": "left out"}  # fmt: skip
    write_table(tmp_path / "t.csv", ("text", "number", "numpy", "count", "nan", "none", "absent"), [row])
    assert (tmp_path / "t.csv").read_text().splitlines()[1] == "'=1+1,0.1,0.25,3,,,"


def test_cells_with_signs_of_the_table_come_back(tmp_path: Path) -> None:
    cells = {"a": 'a,"b"', "b": "two\nlines", "c": "tab\there"}
    for delimiter in (",", "\t"):
        write_table(tmp_path / "t", ("a", "b", "c"), [cells], delimiter=delimiter)
        with open(tmp_path / "t", encoding="utf-8", newline="") as stream:
            assert list(csv.DictReader(stream, delimiter=delimiter)) == [cells]
    assert [p.name for p in tmp_path.iterdir()] == ["t"]
