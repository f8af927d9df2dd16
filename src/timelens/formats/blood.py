"""Blood samples: PET-BIDS tables (``_blood.tsv`` with a JSON that holds the units), PMOD ``.bld`` and ``.crv``, CSV.

All become a table with the PET-BIDS columns ``time`` (always seconds), ``whole_blood_radioactivity``,
``plasma_radioactivity`` and ``metabolite_parent_fraction``, each with the unit that the file states. All but the first
have their units in the column heads; a ``.bld`` is text or, under the same name, a spreadsheet.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import numpy as np
import pandas as pd

from timelens import units
from timelens.errors import FormatError, MissingFieldError, UnitError
from timelens.formats import archives, atomic, safety, sidecar
from timelens.formats.headed import parse_headed, read_headed, split_head
from timelens.study.acquisition import Acquisition
from timelens.study.provenance import SourceFile
from timelens.study.table import Table

__all__ = ["MAX_ROWS", "looks_like", "read", "read_table", "write"]

#: More samples than this are no blood curve.
MAX_ROWS = 1_000_000
#: What columns are called elsewhere, without blanks, hyphens and case.
_NAMES = {
    "sampletime": "time", "t": "time", "times": "time",
    "wholeblood": "whole_blood_radioactivity", "blood": "whole_blood_radioactivity", "wb": "whole_blood_radioactivity",
    "bloodradioactivity": "whole_blood_radioactivity", "wholebloodradioactivity": "whole_blood_radioactivity",
    "plasma": "plasma_radioactivity", "totalplasma": "plasma_radioactivity",
    "plasmaradioactivity": "plasma_radioactivity",
    "parentfraction": "metabolite_parent_fraction", "parent": "metabolite_parent_fraction",
    "metaboliteparentfraction": "metabolite_parent_fraction",
}  # fmt: skip
_FRACTIONS = ("metabolite_parent_fraction", "hplc_recovery_fractions")
_FLAGS = (
    "PlasmaAvail", "WholeBloodAvail", "MetaboliteAvail", "MetaboliteMethod", "MetaboliteRecoveryCorrectionApplied",
    "DispersionCorrected", "DispersionConstant", "WithdrawalRate", "TubingType", "TubingLength", "Haematocrit",
    "BloodDensity", "PlasmaFreeFraction", "PlasmaFreeFractionMethod", "DecayCorrected",
)  # fmt: skip


def read(
    path: str | Path,
    *,
    unit: str | None = None,
    described: Mapping[str, Any] | str | Path | None = None,
    modality: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's name
    subject: str = "",
    session: str = "",
) -> Acquisition:
    """Read blood samples as an acquisition, of modality ``blood`` if nothing else is stated, whose data are a table.

    Parameters
    ----------
    path
        ``_blood.tsv``, ``.bld``, ``.crv`` or ``.csv``.
    unit
        UCUM code of the activity concentrations, where no sidecar and no column head states it.
    described
        Content or path of the sidecar; by default the ``.json`` of the same name, if it is there.
    modality, id, subject, session
        Where the caller knows them.

    Raises
    ------
    FormatError, UnsafeFileError
        If the file is no table of numbers, or times do not ascend.
    MissingFieldError, UnitError
        If a column has no unit, or a unit that does not fit.
    """
    place = safety.existing(path)
    side = Path(described) if isinstance(described, str | Path) else sidecar.beside(place)
    said: Mapping[str, Any] = described if isinstance(described, Mapping) else {}
    sources = [place]
    if not isinstance(described, Mapping) and (described is not None or side.is_file()):
        said = safety.read_json(side)
        sources.append(side)
    if place.suffix.lower() == ".tsv" and not _head_has_units(place):
        notes: dict[str, Any] = {}
        table = read_table(place, said, unit=unit)
    else:
        table, notes = _headed(place, unit)
    extra = {**notes, **{key: said[key] for key in _FLAGS if key in said}}
    if found := re.search(r"_recording-([A-Za-z0-9]+)", place.name):
        extra["recording"] = found[1]
    return Acquisition(
        id=id or place.stem,
        modality=modality or "blood",
        data=table,
        subject=subject,
        session=session,
        sources=tuple(SourceFile.of(p) for p in sources),
        extra=extra,
    )


def read_table(path: str | Path, said: Mapping[str, Any], *, unit: str | None = None) -> Table:
    """A tab-separated table whose columns are described by a JSON object.

    Parameters
    ----------
    path
        The table.
    said
        By column name, an object with ``Units``.
    unit
        For activity concentrations without one.

    Raises
    ------
    FormatError, MissingFieldError, UnitError
        As :func:`read`.
    """
    text = safety.read_text(path)
    lines = text.splitlines()
    names = lines[0].split("\t") if lines else []
    if "time" not in names or len(set(names)) != len(names):
        raise FormatError(
            "The first line does not name the columns",
            file=path,
            field="columns",
            found=repr((lines or [""])[0][:80]),
            expected="different names, one of them 'time', separated by tabs",
        )
    rows = [line.split("\t") for line in lines[1:] if line.strip()]
    return _table(path, names, rows, [_unit_of(n, said, unit, path) for n in names])


def _unit_of(name: str, said: Mapping[str, Any], unit: str | None, path: str | Path) -> str | None:
    about = said.get(name, {})
    text = about.get("Units") if isinstance(about, dict) else None
    if name in _FRACTIONS and text in ("arbitrary", "unitless", None):
        return "1"
    if text is not None:
        return sidecar.unit_code(text, file=path, field=name)
    if name == "time":
        return "s"  # PET-BIDS allows no other
    return unit if name.endswith("radioactivity") else None


def _head_has_units(place: Path) -> bool:
    """Whether the first line states units, as PET-BIDS tables do not."""
    with safety.open_expanded(place) as stream:
        first = stream.read(4096).decode("utf-8", "replace").splitlines()[:1]
    return any(split_head(cell)[1] is not None for cell in (first or [""])[0].split("\t"))


def looks_like(head: str) -> bool:
    """Whether a text begins as a table of blood samples with units in its column heads."""
    lines = [line for line in head.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    try:
        found = parse_headed("\n".join([*lines[:1], "0"]))
    except FormatError:
        return False
    names = {_name_of(name) for name in found.names}
    return "time" in names and len(names & set(_NAMES.values())) > 1 and any(found.units)


def _name_of(name: str) -> str:
    return _NAMES.get(re.sub(r"[\s_\-]+", "", name.lower()), name)


def _headed(path: Path, unit: str | None) -> tuple[Table, dict[str, Any]]:
    """Units in the column heads: PMOD (text or a spreadsheet), Turku, or plain CSV; and what comments say."""
    with path.open("rb") as stream:
        spreadsheet = stream.read(4) == b"PK\3\4"
    rows: Sequence[Sequence[Any]]
    notes: dict[str, Any] = {}
    said: dict[str, str] = {}
    if spreadsheet:
        cells = [row for row in _sheet(path) if any(str(cell).strip() for cell in row if cell is not None)]
        if len(cells) < 2:
            raise FormatError("The file holds no samples", file=path, field="rows", found=len(cells), expected="rows")
        heads, rows = [split_head(str(cell)) for cell in cells[0]], cells[1:]
    else:
        found = read_headed(path)
        heads, rows, said = list(zip(found.names, found.units, strict=True)), found.rows, found.comments
    for key in ("decay corrected", "decay_corrected", "decaycorrected"):
        if key in said:
            notes["DecayCorrected"] = said[key]
    names: list[str] = []
    codes: list[str | None] = []
    for raw, text in heads:
        name = _name_of(raw)
        stated = text or (said.get("timeunit") if name == "time" else said.get("unit"))
        if name in _FRACTIONS and text is None:
            stated = "1"
        if stated is None and name != "time" and name.endswith("radioactivity"):
            stated = unit
        if stated is None:
            raise FormatError(
                "A column head has no unit", file=path, field="columns", found=repr(raw[:80]), expected="name[unit]",
                mend=f"write {raw}[s] or {raw}[kBq/mL], whichever it is",
            )  # fmt: skip
        code = "1" if stated in ("1/1", "unitless") else sidecar.unit_code(stated, file=path, field=name)
        if name == "value":
            code = _ratio(path, code, unit)
        names.append(name)
        codes.append(code)
    if names[0] != "time" or len(set(names)) != len(names):
        raise FormatError(
            "The first column is not the time, or two columns are the same", file=path, field="columns",
            found=", ".join(names), expected="time, then different columns",
        )  # fmt: skip
    return _table(path, names, rows, codes), notes


def _ratio(path: Path, code: str, unit: str | None) -> str:
    """PMOD writes the unit of an activity over the ratio of plasma to blood; the file's name tells otherwise."""
    if "ratio" not in path.name.lower() or code == "1":
        return code
    if unit is None:
        raise UnitError(
            "The file is named a ratio, but its column has a unit",
            file=path,
            field="value",
            found=code,
            expected="1",
            mend="state unit='1' if it is a ratio, or the unit that is right",
        )
    return units.parse(unit).code


def _sheet(path: Path) -> list[Sequence[Any]]:
    """The rows of the first sheet."""
    import openpyxl
    from defusedxml import DefusedXmlException

    archives.check_zip(path)
    try:
        with path.open("rb") as stream:
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True, keep_links=False)
            rows: list[Sequence[Any]] = []
            for row in book.worksheets[0].iter_rows(values_only=True, max_col=64):
                if len(rows) > MAX_ROWS:
                    raise FormatError("The table is too long", file=path, field="rows", expected=f"{MAX_ROWS:,}")
                rows.append([cell for cell in row if cell is not None])
            return rows
    except DefusedXmlException as error:
        raise FormatError(
            "The spreadsheet holds entities", file=path, field="XML", found=type(error).__name__
        ) from error
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, ParseError, zipfile.BadZipFile) as error:
        raise FormatError("Not a spreadsheet that can be read", file=path, field="xlsx", found=str(error)) from error


def _table(path: str | Path, names: list[str], rows: Sequence[Sequence[Any]], codes: list[str | None]) -> Table:
    """Rows of text or numbers as a table; time in seconds."""
    if not rows or len(rows) > MAX_ROWS:
        raise FormatError("The table has no rows, or too many", file=path, field="rows", found=len(rows))
    values = np.full((len(rows), len(names)), np.nan)
    for i, row in enumerate(rows):
        if len(row) != len(names):
            raise FormatError(
                "A row has another number of cells than there are columns",
                file=path,
                field=f"row {i + 1}",
                found=len(row),
                expected=len(names),
            )
        for j, cell in enumerate(row):
            if str(cell).strip().lower() in ("n/a", ""):
                continue
            try:
                values[i, j] = float(cell)
            except (TypeError, ValueError):
                raise FormatError(
                    "A cell is not a number", file=path, field=f"{names[j]}, row {i + 1}", found=repr(str(cell)[:40])
                ) from None
    known: dict[str, str] = {}
    for j, (name, code) in enumerate(zip(names, codes, strict=True)):
        if code is None:
            raise MissingFieldError(
                f"Column {name!r} has no unit",
                file=path,
                field=name,
                found="nothing",
                expected="Units in the JSON beside the table, or unit=",
                mend=f'write {{"{name}": {{"Units": "Bq/mL"}}}} into {sidecar.beside(path).name}',
            )
        if name == "time":
            try:
                values[:, j] = units.convert(values[:, j], code, "s")
            except UnitError as error:
                raise error.at(file=path, field="time") from None
            code = "s"
        known[name] = code
    time = values[:, names.index("time")]
    if not np.isfinite(time).all() or (np.diff(time) <= 0).any():
        raise FormatError("Times do not ascend", file=path, field="time", expected="ascending numbers, none missing")
    return Table(pd.DataFrame(values, columns=names), known)


def write(data: Acquisition | Table, path: str | Path) -> Path:
    """Write blood samples as a PET-BIDS table with its JSON; returns the path of the table."""
    table = data.data if isinstance(data, Acquisition) else data
    extra = data.extra if isinstance(data, Acquisition) else {}
    if not isinstance(table, Table):
        raise FormatError("Blood samples are a table", file=path, field="data", found=type(table).__name__)
    buffer = io.StringIO()
    table.data.to_csv(buffer, sep="\t", index=False, na_rep="n/a", float_format="%.17g", lineterminator="\n")
    said: dict[str, Any] = {key: extra[key] for key in _FLAGS if key in extra}
    for flag, column in (("PlasmaAvail", "plasma_radioactivity"), ("MetaboliteAvail", "metabolite_parent_fraction"),
                         ("WholeBloodAvail", "whole_blood_radioactivity")):  # fmt: skip
        said.setdefault(flag, column in table.data.columns)
    said.update({name: {"Units": table.column_units[name]} for name in table.data.columns})
    atomic.write_file(json.dumps(said, indent=2) + "\n", sidecar.beside(path))
    return atomic.write_file(buffer.getvalue(), path)
