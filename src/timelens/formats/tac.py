"""Time-activity curves as a table: PMOD and Turku ``.tac``, BIDS and kinfitr's columns as TSV or CSV.

All become frames in seconds and one curve per region in one unit:

- ``frame_start``, ``frame_end`` (or ``frame_duration``), or ``StartTime`` and ``Duration``, and a column per region;
- ``start[seconds]``, ``end[kBq/cc]`` and regions, where the unit in the head of the end is that of the curves;
- the tidy table that ``timelens run`` writes (``region``, ``frame_start_s``, ``frame_duration_s``, ``mean``).

A column ``weight`` or ``weights`` holds the weights of the frames. Columns of text are skipped, but for ``region``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from timelens import units
from timelens.errors import DataError, FormatError, MissingFieldError, UnitError
from timelens.formats import safety, sidecar
from timelens.formats.headed import HeadedTable, read_headed

__all__ = ["TacTable", "read"]

Floats = NDArray[np.float64]

_START = ("framestart", "framestarts", "starttime", "start", "frametimesstart", "framestarttime")
_END = ("frameend", "frameends", "endtime", "end", "frameendtime")
_LENGTH = ("frameduration", "framedurations", "duration", "framedurationtime")
_WEIGHT = ("weight", "weights")
#: Columns that are no curves although they hold numbers.
_NOT_CURVES = ("times", "time", "petno", "injrad", "frame", "midtime", "framemid")
_MOST_ROWS = 100_000


@dataclass(frozen=True, eq=False)
class TacTable:
    """Curves of regions.

    Attributes
    ----------
    start, end
        (frames,), s.
    names
        Of the regions.
    curves
        (frames, regions), NaN where a cell is empty.
    unit
        UCUM code; "" where nobody says it.
    weights
        (frames,), or None.
    sd, voxels
        (frames, regions) and (regions,), where the tidy table has them.
    """

    start: Floats
    end: Floats
    names: tuple[str, ...]
    curves: Floats
    unit: str
    weights: Floats | None = None
    sd: Floats | None = None
    voxels: NDArray[np.int64] | None = None


def read(path: str | Path, *, unit: str | None = None, time_unit: str | None = None) -> TacTable:
    """Read curves.

    Parameters
    ----------
    path
        A table of text.
    unit, time_unit
        UCUM codes of curves and times where the file states none; times are seconds then.

    Raises
    ------
    FormatError
        If there are no frame times, no curves, or a cell is not a number.
    UnitError
        If a unit is unknown, or the stated one contradicts the file's.
    """
    place = safety.existing(path)
    table = read_headed(place)
    said = _beside(place)
    plain = [re.sub(r"[\s_\-]+", "", name.lower()) for name in table.names]
    if "region" in plain and any(name.startswith("framestart") for name in plain):
        return _tidy(place, table, plain, unit)
    columns = _numbers(place, table)
    start = _find(plain, _START)
    if start is None:
        raise FormatError(
            "The table does not say when its frames start",
            file=place,
            field="columns",
            found=", ".join(table.names[:8]),
            expected="frame_start and frame_end, start[seconds] and end[kBq/cc], or StartTime and Duration",
        )
    end, length = _find(plain, _END), _find(plain, _LENGTH)
    if end is None and length is None:
        raise FormatError(
            "The table does not say when its frames end", file=place, field="columns",
            found=", ".join(table.names[:8]), expected="frame_end, or frame_duration",
        )  # fmt: skip
    general = table.units[start] or said.get("time") or time_unit or table.comments.get("timeunit") or "s"

    def seconds(column: int) -> Floats:
        """A column of times: by its own unit where its head or the JSON says one, else by that of the start."""
        clock = _time_unit(place, table, column) or said.get(table.names[column].lower()) or general
        code = sidecar.unit_code(clock, file=place, field=table.names[column])
        return np.asarray(columns[column] * units.conversion_factor(code, "s"))

    begins = seconds(start)
    ends = seconds(end) if end is not None else begins + seconds(length or 0)
    where = [k for k, name in enumerate(plain) if _is_curve(name, table, k) and k not in (start, end, length)]
    if not where:
        raise FormatError("The table holds no curves", file=place, field="columns", found=", ".join(table.names))
    stated = _unit_of(place, table, plain, where, end, said)
    code = _agreed(place, stated, unit)
    weight = _find(plain, _WEIGHT)
    return _checked(
        place,
        TacTable(
            begins,
            ends,
            tuple(table.names[k] for k in where),
            np.stack([columns[k] for k in where], axis=1),
            code,
            None if weight is None else columns[weight],
        ),
    )


def _find(plain: list[str], wanted: tuple[str, ...]) -> int | None:
    """Position of the first column of such a name, with or without its unit of seconds at the end."""
    for k, name in enumerate(plain):
        if name in wanted or (name.endswith("s") and name[:-1] in wanted):
            return k
    return None


def _is_curve(name: str, table: HeadedTable, column: int) -> bool:
    """Whether a column is no text; one without any value is a curve too, so that nobody misses it."""
    cells = (row[column] for row in table.rows)
    return name not in (*_WEIGHT, *_NOT_CURVES) and all(_empty(cell) or _is_number(cell) for cell in cells)


def _empty(cell: str) -> bool:
    return cell.lower() in ("", "n/a", "na", "nan")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(place: Path, table: HeadedTable) -> list[Floats]:
    """Every column as numbers; NaN throughout for a column of text."""
    if len(table.rows) > _MOST_ROWS:
        raise FormatError("The table is too long", file=place, field="rows", found=len(table.rows))
    result = []
    for k, name in enumerate(table.names):
        values = np.full(len(table.rows), np.nan)
        bad: tuple[int, str] | None = None
        for i, row in enumerate(table.rows):
            if len(row) != len(table.names):
                raise FormatError(
                    "A row has another number of cells than there are columns", file=place, field=f"row {i + 1}",
                    found=len(row), expected=len(table.names),
                )  # fmt: skip
            if _is_number(row[k]):
                values[i] = float(row[k])
            elif not _empty(row[k]):
                bad = bad or (i, row[k])
        if bad is not None and np.isfinite(values).any():
            raise FormatError(
                "A cell is not a number", file=place, field=f"{name}, row {bad[0] + 1}", found=repr(bad[1][:40])
            )
        result.append(values)
    return result


def _beside(place: Path) -> dict[str, str]:
    """Units from a JSON of the same name: ``{"frame_start": {"Units": "s"}, "FC": {"Units": "kBq/mL"}}``."""
    side = sidecar.beside(place)
    if not side.is_file():
        return {}
    said = safety.read_json(side)
    found = {str(k).lower(): str(v["Units"]) for k, v in said.items() if isinstance(v, dict) and "Units" in v}
    if isinstance(said.get("Units"), str):
        found[""] = said["Units"]
    if "frame_start" in found:
        found["time"] = found["frame_start"]
    return found


def _unit_of(
    place: Path, table: HeadedTable, plain: list[str], where: list[int], end: int | None, said: dict[str, str]
) -> str | None:
    """The one unit of all curves: in their heads, in the head of the end of frames, in the JSON, in a comment."""
    texts = {u for k in where if (u := table.units[k] or said.get(table.names[k].lower()))}
    if end is not None and table.units[end] is not None and _time_unit(place, table, end) is None:
        texts.add(sidecar.unit_code(table.units[end], file=place, field=table.names[end]))
    texts |= {u for u in (said.get(""), table.comments.get("unit")) if u and not texts}
    codes = {sidecar.unit_code(text, file=place) for text in texts}
    if len(codes) > 1:
        raise UnitError("Curves have different units", file=place, field="Units", found=", ".join(sorted(codes)))
    return codes.pop() if codes else None


def _time_unit(place: Path, table: HeadedTable, column: int) -> str | None:
    """The unit in the head of a column if it is one of time; that of the end of PMOD's frames is the curves'."""
    text = table.units[column]
    if text is None:
        return None
    code = sidecar.unit_code(text, file=place, field=table.names[column])
    try:
        units.require_same_kind(code, "s", operation="be a time")
    except UnitError:
        return None
    return code


def _agreed(place: Path, found: str | None, stated: str | None) -> str:
    if stated is None:
        return found or ""
    code = sidecar.unit_code(stated)
    if found is not None and found != code:
        raise UnitError(
            "The stated unit contradicts the file's", file=place, field="unit", found=code, expected=found,
            mend="leave --unit out, or correct the file",
        )  # fmt: skip
    return code


def _tidy(place: Path, table: HeadedTable, plain: list[str], unit: str | None) -> TacTable:
    """The table that a run writes: one row per region and frame."""
    at = {name: k for k, name in enumerate(plain)}
    need = {"region": "region", "start": "framestarts", "length": "framedurations", "mean": "mean"}
    if missing := [n for n, key in need.items() if key not in at]:
        raise MissingFieldError("The table of curves lacks a column", file=place, field=", ".join(missing))
    regions = list(dict.fromkeys(row[at["region"]] for row in table.rows))
    columns = _numbers(place, table)
    by_region = [np.array([i for i, row in enumerate(table.rows) if row[at["region"]] == r]) for r in regions]
    first = by_region[0]
    begins, lengths = columns[at["framestarts"]][first], columns[at["framedurations"]][first]
    for name, index in zip(regions, by_region, strict=True):
        if index.size != first.size or not np.allclose(columns[at["framestarts"]][index], begins):
            raise DataError("Regions have different frames", file=place, field=name, found=f"{index.size} frames")
    found = {row[at["unit"]] for row in table.rows} if "unit" in at else set()
    code = _agreed(place, sidecar.unit_code(found.pop(), file=place) if len(found) == 1 else None, unit)

    def wide(column: str) -> Floats:
        return np.stack([columns[at[column]][index] for index in by_region], axis=1)

    voxels = wide("voxels")[0].astype(np.int64) if "voxels" in at else None
    sd = wide("sd") if "sd" in at else None
    return _checked(place, TacTable(begins, begins + lengths, tuple(regions), wide("mean"), code, sd=sd, voxels=voxels))


def _checked(place: Path, table: TacTable) -> TacTable:
    """Without the pseudo-frames of no duration that some programs put at time zero."""
    if not (np.isfinite(table.start).all() and np.isfinite(table.end).all()):
        raise FormatError("A frame time is missing", file=place, field="frame times", found="empty", expected="numbers")
    empty = (table.end == table.start) & (np.nan_to_num(table.curves) == 0).all(axis=1)
    keep = ~empty
    if not keep.any():
        raise FormatError("The table holds no frames", file=place, field="frame times")
    return TacTable(
        table.start[keep], table.end[keep], table.names, table.curves[keep], table.unit,
        None if table.weights is None else table.weights[keep],
        None if table.sd is None else table.sd[keep], table.voxels,
    )  # fmt: skip
