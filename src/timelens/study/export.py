"""Measurements as CSV and Parquet: the same rows, the same columns in the same order, the same bytes every time.

In CSV, numbers are written with as many digits as it takes to read the same number back; NaN and "not known" are empty.
A text that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return would be run as a formula by a
spreadsheet program: it gets an apostrophe in front (and so does a text that begins with one), which :func:`read_csv`
takes away.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from timelens.errors import FormatError, Problem
from timelens.study.measurement import COLUMNS, NUMBERS, Measurement, from_dict

__all__ = [
    "PROBLEM_COLUMNS", "guard", "read_csv", "read_parquet", "write_csv", "write_parquet", "write_problems",
    "write_table",
]  # fmt: skip

#: Columns of ``problems.csv`` in their stable order.
PROBLEM_COLUMNS = ("severity", "message", "file", "field", "found", "expected", "mend")

_RISKY = ("=", "+", "-", "@", "\t", "\r", "'")


def guard(text: str) -> str:
    """The text so that no spreadsheet program takes it for a formula.

    >>> guard("=1+1"), guard("liver")
    ("'=1+1", 'liver')
    """
    return "'" + text if text.startswith(_RISKY) else text


def write_csv(measurements: Iterable[Measurement], path: str | Path) -> None:
    """Write ``measurements.csv`` (UTF-8, comma, line feed) in one move: readers see the old file or the new one."""
    write_table(path, COLUMNS, (m.as_dict() for m in measurements))


def write_problems(problems: Iterable[Problem], path: str | Path) -> None:
    """Write ``problems.csv`` under the same rules."""
    write_table(path, PROBLEM_COLUMNS, (p.as_dict() for p in problems))


def write_table(
    path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, delimiter: str = ","
) -> None:
    """Write any table under the same rules; columns that a row lacks are empty, other keys are left out."""

    def write(place: Path) -> None:
        with open(place, "w", encoding="utf-8", errors="replace", newline="") as stream:
            for cells in ([guard(c) for c in columns], *([_cell(row.get(c)) for c in columns] for row in rows)):
                stream.write(delimiter.join(_quoted(cell, delimiter) for cell in cells) + "\n")

    _replace(path, write)


def write_parquet(measurements: Iterable[Measurement], path: str | Path) -> None:
    """Write ``measurements.parquet``; NaN is null, columns have fixed types also where they are empty."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [m.as_dict() for m in measurements]
    kinds = {**dict.fromkeys(NUMBERS, pa.float64()), "n": pa.int64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    columns = [
        pa.array([None if isinstance(r[name], float) and math.isnan(r[name]) else r[name] for r in rows], field.type)
        for name, field in zip(COLUMNS, schema, strict=True)
    ]
    table = pa.Table.from_arrays(columns, schema=schema)
    _replace(path, lambda place: pq.write_table(table, place, compression="zstd"))


def read_csv(path: str | Path) -> list[Measurement]:
    """The measurements of a file that :func:`write_csv` wrote.

    Raises
    ------
    FormatError
        If columns are missing or a number cannot be read.
    """
    with open(path, encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise FormatError("The file is not a table of measurements", file=path, found=f"no {', '.join(missing)}")
        return [_parse(row, str(path), reader.line_num) for row in reader]


def read_parquet(path: str | Path) -> list[Measurement]:
    """The measurements of a file that :func:`write_parquet` wrote."""
    import pyarrow.parquet as pq

    return [from_dict(row) for row in pq.read_table(path, columns=list(COLUMNS)).to_pylist()]


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return repr(float(value))  # numpy's own says its type
    return str(value) if isinstance(value, int) else guard(str(value))


def _parse(row: dict[str, str], path: str, line: int) -> Measurement:
    record: dict[str, Any] = {}
    for name in COLUMNS:
        text = row[name] or ""
        try:
            if name in NUMBERS:
                record[name] = float(text) if text else math.nan
            elif name == "n":
                record[name] = int(text) if text else None
            else:
                record[name] = text.removeprefix("'")
        except ValueError as error:
            raise FormatError(
                f"Line {line} holds no number in column {name}", file=path, field=name, found=text, expected="a number"
            ) from error
    return from_dict(record)


def _quoted(cell: str, delimiter: str) -> str:
    # csv.writer before Python 3.13 leaves a lone carriage return bare, and readers then see two lines.
    return '"' + cell.replace('"', '""') + '"' if any(sign in cell for sign in f'{delimiter}"\r\n') else cell


def _replace(path: str | Path, write: Callable[[Path], object]) -> None:
    target = Path(path)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        write(part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
