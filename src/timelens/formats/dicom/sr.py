"""Measurement reports (DICOM SR, TID 1500): measurements out and in.

Out: one group per region; each number with its DICOM code where the vocabulary has one, its derivation (maximum, mean
...), its UCUM unit, and in the algorithm parameters everything else that a measurement says, so that reading gives it
back. A value that could not be had is written as "not a number", with its reason. In: the numbers of any report of that
template, as records.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    TrackingIdentifier,
)
from highdicom.sr import (
    Measurement as NumericItem,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

import timelens
from timelens.errors import FormatError, MissingFieldError, TimelensError, UsageError
from timelens.formats.dicom.codes import frame_name, uid, unit_from_code
from timelens.formats.dicom.derived import EQUIPMENT, concept, save_derived, source_headers, ucum
from timelens.formats.dicom.safe import number, quiet, read_dataset, text, value
from timelens.knowledge import quantities
from timelens.study.measurement import Measurement

__all__ = ["read_sr", "write_sr"]

_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.88.{n}" for n in (11, 22, 33, 34))
_MEANINGS = {
    "126401": "SUVbw", "126402": "SUVlbm", "126403": "SUVbsa", "118565006": "Volume", "126032": "Metabolic Volume",
    "126033": "Total Lesion Glycolysis", "112031": "Attenuation Coefficient", "126312": "Ktrans", "126313": "kep",
    "126314": "ve", "113063": "T1", "113065": "T2", "113041": "Apparent Diffusion Coefficient",
}  # fmt: skip
_DERIVATIONS = {
    "max": concept("56851009", "SCT", "Maximum"),
    "min": concept("255605001", "SCT", "Minimum"),
    "mean": concept("373098007", "SCT", "Mean"),
    "median": concept("373099004", "SCT", "Median"),
    "sd": concept("386136009", "SCT", "Standard Deviation"),
    "peak": concept("126031", "DCM", "Peak Value Within ROI"),
}
_NOT_A_NUMBER = concept("114000", "DCM", "Not a number")
_GROUP, _PARAMETERS = "125007", "111002"
_MARK = "timelens measurement "
_MOST_DEPTH = 32


def write_sr(measurements: Iterable[Measurement], path: str | Path, source_files: Sequence[str | Path]) -> Path:
    """Write measurements as a TID 1500 report.

    Parameters
    ----------
    measurements
        Rows of one subject.
    path
        File to write.
    source_files
        Files of the image series that was measured; patient and study are taken from them.

    Raises
    ------
    UsageError
        If there are no measurements or no source files, or rows of several subjects.
    """
    rows = list(measurements)
    if not rows:
        raise UsageError("There are no measurements to report", field="measurements", found="none")
    if len({m.subject for m in rows}) > 1:
        raise UsageError(
            "A report is about one subject", field="subject", found=f"{len({m.subject for m in rows})} subjects"
        )
    first = read_dataset(source_files[0]) if source_files else Dataset()
    headers = source_headers(source_files, frame_name(first))
    by_region: dict[str, list[Measurement]] = {}
    for row in rows:
        by_region.setdefault(row.region, []).append(row)
    with quiet():
        observer = ObserverContext(
            codes.DCM.Device,
            DeviceObserverIdentifyingAttributes(uid=uid("observer", "timelens"), name="timelens"),
        )
        report = MeasurementReport(
            observation_context=ObservationContext(observer_device_context=observer),
            procedure_reported=concept("363679005", "SCT", "Imaging"),
            imaging_measurements=[_group(name, found, headers[0]) for name, found in by_region.items()],
            referenced_images=headers,
        )
        series = uid("sr series", headers[0].SeriesInstanceUID, [m.id for m in rows])
        dataset = Comprehensive3DSR(
            evidence=headers,
            content=report[0],
            series_instance_uid=series,
            series_number=200,
            sop_instance_uid=uid("sr", series),
            instance_number=1,
            manufacturer=EQUIPMENT["manufacturer"],
            is_complete=True,
        )
        _empty_nan(dataset)
        return save_derived(dataset, path, headers[0])


def _group(name: str, rows: Sequence[Measurement], source: Dataset) -> MeasurementsAndQualitativeEvaluations:
    shown = name or "whole image"
    tracked = TrackingIdentifier(uid=uid("tracking", text(source, "PatientID"), shown), identifier=shown)
    return MeasurementsAndQualitativeEvaluations(tracking_identifier=tracked, measurements=[_item(m) for m in rows])


def _item(row: Measurement) -> NumericItem:
    known = quantities.get(row.quantity)
    code, _, scheme = known.dicom.partition(":")
    name = (
        concept(code, scheme, _MEANINGS.get(code, known.symbol))
        if code
        else concept(known.name[:16], "99TIMELENS", known.symbol)
    )
    word = next((w for w in known.name.split("_") if w in _DERIVATIONS), None)
    said = {
        k: v for k, v in asdict(row).items() if v not in ("", None) and not (isinstance(v, float) and math.isnan(v))
    }
    missing = math.isnan(row.value)
    return NumericItem(
        name=name,
        value=0.0 if missing else row.value,
        unit=ucum(row.unit),
        qualifier=_NOT_A_NUMBER if missing else None,
        derivation=None if word is None else _DERIVATIONS[word],
        algorithm_id=AlgorithmIdentification(
            name=row.method or row.quantity,
            version=row.method_version or timelens.__version__,
            parameters=[_MARK + json.dumps(said, sort_keys=True)],
        ),
    )


def _empty_nan(dataset: Dataset) -> None:
    """A number that is not one has no measured value, only the qualifier."""
    for item in _items(dataset):
        qualifier = value(item, "NumericValueQualifierCodeSequence")
        if qualifier and qualifier[0].CodeValue == _NOT_A_NUMBER.value:
            item.MeasuredValueSequence = []


# -- reading ---------------------------------------------------------------------------------------------------------


def read_sr(path: str | Path) -> list[dict[str, Any]]:
    """Numbers of a TID 1500 report as records.

    Returns
    -------
    list of dict
        ``region`` (tracking identifier), ``code``, ``scheme``, ``meaning``, ``derivation``, ``value`` (NaN where
        the report says so), ``unit`` (UCUM, None where the report gives another), ``quantity`` (of the vocabulary, None
        where it is not told) and ``measurement`` (the row that timelens wrote, else None).

    Raises
    ------
    FormatError
        If it is no structured report, or is damaged.
    MissingFieldError
        If it holds no measurement group.
    """
    place = Path(path)
    dataset = read_dataset(place)
    sop_class = text(dataset, "SOPClassUID", place)
    if sop_class not in _CLASSES:
        raise FormatError("Not a structured report", file=place, field="SOPClassUID", found=sop_class, expected="SR")
    groups = [i for i in _items(dataset) if _concept(i)[0] == _GROUP]
    if not groups:
        raise MissingFieldError(
            "The report holds no measurement group",
            file=place, field="ContentSequence", found="no (125007, DCM)", expected="a report of template TID 1500",
        )  # fmt: skip
    return [record for group in groups for record in _records(group, place)]


def _items(dataset: Dataset, depth: int = 0) -> Iterator[Dataset]:
    if depth > _MOST_DEPTH:
        raise FormatError(
            "The report is nested too deep", field="ContentSequence", found=f"more than {_MOST_DEPTH} levels"
        )
    for item in value(dataset, "ContentSequence") or []:
        yield item
        yield from _items(item, depth + 1)


def _concept(item: Dataset, sequence: str = "ConceptNameCodeSequence") -> tuple[str, str, str]:
    found = value(item, sequence)
    if not found:
        return "", "", ""
    code = found[0]
    return text(code, "CodeValue"), text(code, "CodingSchemeDesignator"), text(code, "CodeMeaning")


def _records(group: Dataset, place: Path) -> Iterator[dict[str, Any]]:
    children = value(group, "ContentSequence") or []
    region = next((text(c, "TextValue") for c in children if _concept(c)[0] == "112039"), "")
    for item in children:
        if value(item, "ValueType") != "NUM":
            continue
        code, scheme, meaning = _concept(item)
        own = _own(item, place)
        measured = value(item, "MeasuredValueSequence", place)
        found = math.nan
        unit = None
        if measured:
            precise = number(measured[0], "FloatingPointValue", place)
            plain = number(measured[0], "NumericValue", place)
            found = precise if precise is not None else math.nan if plain is None else plain
            unit = unit_from_code(value(measured[0], "MeasurementUnitsCodeSequence", place))
        if own is not None and not np.isclose(own.value, found, rtol=1e-6, atol=0, equal_nan=True):
            raise FormatError(
                "The number of a measurement and its parameters disagree",
                file=place,
                field="MeasuredValueSequence",
                found=f"{found!r} and {own.value!r}",
                expected="one value",
                mend="one of them was edited: write the report again",
            )
        yield {
            "region": own.region if own is not None else region,
            "code": code,
            "scheme": scheme,
            "meaning": meaning,
            "derivation": next((_concept(c, "ConceptCodeSequence")[2] for c in value(item, "ContentSequence") or []
                                if _concept(c)[0] == "121401"), ""),
            "value": found,
            "unit": own.unit if own is not None else unit,
            "quantity": own.quantity if own is not None else None,
            "measurement": own,
        }  # fmt: skip


def _own(item: Dataset, place: Path) -> Measurement | None:
    """The measurement that timelens wrote beside the number."""
    for child in value(item, "ContentSequence") or []:
        written = text(child, "TextValue")
        if _concept(child)[0] != _PARAMETERS or not written.startswith(_MARK):
            continue
        try:
            said = json.loads(written[len(_MARK) :])
            return Measurement(**{"value": math.nan, **said})
        except (ValueError, TypeError, TimelensError) as error:
            raise FormatError(
                "The parameters of a measurement are damaged",
                file=place, field="(111002, DCM) Algorithm Parameters", found=type(error).__name__,
            ) from error  # fmt: skip
    return None
