"""DICOM RT structure sets: contours in, and labels or contours out.

Contours are closed polygons in millimetres of a frame of reference. They are laid onto a grid by
:meth:`timelens.study.Region.on`: nearest slice, pixel centres, even-odd. Labels are written as outlines along pixel
edges, which that rule turns back into exactly the same labels. Images that a structure set names need not be there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.valuerep import format_number_as_ds

from timelens.engines.regions.outline import pixel_outlines
from timelens.errors import FormatError, GeometryError, Problem, UsageError
from timelens.formats.dicom.codes import frame_name, frame_uid, put_note, read_note, uid
from timelens.formats.dicom.modules import file_meta
from timelens.formats.dicom.safe import number, numbers, quiet, read_dataset, text, value
from timelens.formats.dicom.series import references
from timelens.study.geometry import Geometry
from timelens.study.provenance import SourceFile
from timelens.study.region import Region, Role

__all__ = ["read_rtstruct", "write_rtstruct"]

_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
_LPS = np.array([-1.0, -1.0, 1.0])
_ROLES: dict[str, Role] = {
    "EXTERNAL": "body",
    "ORGAN": "organ",
    "AVOIDANCE": "exclude",
    "GTV": "lesion",
    "CTV": "lesion",
    "PTV": "lesion",
}
_TYPES = {"body": "EXTERNAL", "organ": "ORGAN", "liver": "ORGAN", "exclude": "AVOIDANCE", "lesion": "GTV"}
_COLOURS = ((214, 39, 40), (31, 119, 180), (44, 160, 44), (255, 127, 14), (148, 103, 189), (23, 190, 207))


def read_rtstruct(path: str | Path) -> Region:
    """Read the contours of a structure set.

    Numbers are ROI Numbers, names ROI Names. Structures without closed planar contours (points, open lines) are left
    out and named in ``extra["problems"]``; ``extra["referenced_series"]`` holds the series that they were drawn on.

    Raises
    ------
    FormatError
        If it is no structure set, holds no contour, or the coordinates of a contour are damaged.
    GeometryError
        If structures lie in different frames of reference.
    """
    place = Path(path)
    dataset = read_dataset(place)
    if text(dataset, "SOPClassUID", place) != _CLASS:
        raise FormatError(
            "Not a structure set", file=place, field="SOPClassUID", found=text(dataset, "SOPClassUID"), expected=_CLASS
        )
    note = read_note(dataset)
    problems: list[Problem] = []
    names, frames = {}, set()
    for item in value(dataset, "StructureSetROISequence", place) or []:
        key = _number(item, "ROINumber", place)
        names[key] = text(item, "ROIName", place) or f"structure {key}"
        frames.add(text(item, "ReferencedFrameOfReferenceUID", place))
    frames.discard("")
    if len(frames) > 1:
        raise GeometryError(
            "The structures lie in different frames of reference",
            file=place,
            field="ReferencedFrameOfReferenceUID",
            found=f"{len(frames)} frames",
            expected="one frame",
            mend="export a structure set for each series",
        )
    shapes: dict[int, tuple[NDArray[np.float64], ...]] = {}
    for item in value(dataset, "ROIContourSequence", place) or []:
        key = _number(item, "ReferencedROINumber", place)
        contours = tuple(_contours(item, names.get(key, str(key)), place, problems))
        if contours:
            shapes[key] = shapes.get(key, ()) + contours
    problems += [
        Problem("A structure has no closed contour", str(place), names[key], severity="warning")
        for key in sorted(set(names) - set(shapes))
    ]
    if not shapes:
        raise FormatError(
            "The structure set holds no closed contour",
            file=place,
            field="ROIContourSequence",
            found=f"{len(names)} names",
        )
    offset = max(0, 1 - min(shapes))  # ROI numbers may start at 0
    frame = frame_name(dataset) if "frame" in note else (frames.pop() if frames else frame_name(dataset))
    return Region(
        id=place.stem,
        kind="contours",
        names={k + offset: names.get(k, f"structure {k}") for k in sorted(shapes)},
        shapes={k + offset: shapes[k] for k in sorted(shapes)},
        frame=frame,
        method=str(note.get("method") or "given"),
        roles={k + offset: role for k, role in _roles(dataset, place, note).items() if k in shapes},
        identity={int(k): str(v) for k, v in dict(note.get("identity") or {}).items()},
        sources=(SourceFile.of(place),),
        extra={
            "referenced_series": references(dataset),
            "label": text(dataset, "StructureSetLabel", place),
            "problems": tuple(problems),
        },
    )


def _number(item: Dataset, keyword: str, place: Path) -> int:
    found = number(item, keyword, place)
    if found is None:
        raise FormatError("A structure has no number", file=place, field=keyword, found="nothing")
    return int(found)


def _contours(item: Dataset, name: str, place: Path, problems: list[Problem]) -> Iterator[NDArray[np.float64]]:
    for order, contour in enumerate(value(item, "ContourSequence", place) or [], 1):
        kind = text(contour, "ContourGeometricType", place)
        if kind not in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR"):
            problems.append(
                Problem(
                    f"A contour of {name!r} is not a closed polygon and was left out",
                    str(place),
                    "ContourGeometricType",
                    kind,
                    "CLOSED_PLANAR",
                    severity="warning",
                )
            )
            continue
        where = f"ContourData of {name!r}, contour {order}"
        try:
            data = numbers(contour, "ContourData", place)
        except FormatError as error:
            raise FormatError(
                "A contour holds something other than finite numbers",
                file=place,
                field=where,
                found=error.problem.found,
            ) from None
        stated = number(contour, "NumberOfContourPoints", place)
        if not data or len(data) % 3 or (stated is not None and int(stated) != len(data) // 3):
            raise FormatError(
                "A contour does not hold the coordinates that it says",
                file=place,
                field=where,
                found=f"{len(data or [])} numbers",
                expected=f"3 for each of {int(stated or 0)} points",
                mend="export the structure set again",
            )
        yield np.array(data, float).reshape(-1, 3) * _LPS


def _roles(dataset: Dataset, place: Path, note: Mapping[str, Any]) -> dict[int, Role]:
    noted = note.get("roles")
    if isinstance(noted, dict):
        return {int(k): v for k, v in noted.items() if v in get_args(Role)}
    found = {}
    for item in value(dataset, "RTROIObservationsSequence", place) or []:
        kind = text(item, "RTROIInterpretedType", place)
        if kind in _ROLES:
            found[_number(item, "ReferencedROINumber", place)] = _ROLES[kind]
    return found


# -- writing ---------------------------------------------------------------------------------------------------------


def write_rtstruct(
    region: Region,
    path: str | Path,
    source_files: Sequence[str | Path] = (),
    *,
    subject: str = "",
    label: str = "timelens",
) -> Path:
    """Write contours, or the outlines of labels, as a structure set.

    Parameters
    ----------
    region
        Labels or contours whose frame of reference is known.
    path
        File to write.
    source_files
        Files of the image series, which the structure set will refer to; patient and study are taken from the first.
    subject
        Alias for patient name and id where there are no source files.
    label
        Structure set label.

    Raises
    ------
    GeometryError
        If the frame is not known or is not that of the source files.
    UsageError
        If the region is of another kind, or empty.
    """
    frame, shapes = _shapes(region)
    headers = [read_dataset(f) for f in source_files]
    if headers and frame_name(headers[0]) != frame:
        raise GeometryError(
            "The regions do not lie in the frame of the image series",
            file=source_files[0], field="FrameOfReferenceUID", found=frame, expected=frame_name(headers[0]),
        )  # fmt: skip
    dataset = _frame_part(headers, subject, label)
    dataset.FrameOfReferenceUID = frame_uid(frame)
    note: dict[str, Any] = {"roles": {str(k): region.role(k) for k in shapes}, "method": region.method}
    note["identity"] = {str(k): region.identity[k] for k in shapes if k in region.identity}
    put_note(dataset, note if frame_uid(frame) == frame else {**note, "frame": frame})
    dataset.ReferencedFrameOfReferenceSequence = Items([_reference(headers, dataset.FrameOfReferenceUID)])
    structures, contours, observations = [], [], []
    for order, (key, polygons) in enumerate(shapes.items(), 1):
        name = region.name(key)
        structures.append(
            _item(ROINumber=key, ReferencedFrameOfReferenceUID=dataset.FrameOfReferenceUID, ROIName=name[:64],
                  ROIDescription=name[:1024], ROIGenerationAlgorithm="", ROIGenerationDescription=region.method[:64])
        )  # fmt: skip
        contours.append(
            _item(ROIDisplayColor=list(_COLOURS[(order - 1) % len(_COLOURS)]), ReferencedROINumber=key,
                  ContourSequence=Items([_contour(p, headers) for p in polygons]))
        )  # fmt: skip
        observations.append(
            _item(ObservationNumber=order, ReferencedROINumber=key, ROIInterpreter="",
                  RTROIInterpretedType=_TYPES.get(region.role(key), ""))
        )  # fmt: skip
    dataset.StructureSetROISequence = Items(structures)
    dataset.ROIContourSequence = Items(contours)
    dataset.RTROIObservationsSequence = Items(observations)
    content = {str(k): [p.tolist() for p in v] for k, v in shapes.items()}
    dataset.SeriesInstanceUID = uid("rtstruct series", dataset.StudyInstanceUID, region.id, content)
    dataset.SOPInstanceUID = uid("rtstruct", dataset.SeriesInstanceUID, label)
    dataset.file_meta = file_meta(dataset)
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    with quiet():
        dataset.save_as(place, enforce_file_format=True)
    return place


def _shapes(region: Region) -> tuple[str, Mapping[int, Sequence[NDArray[np.float64]]]]:
    """Frame and polygons (mm, RAS) of a region."""
    if region.kind == "contours":
        frame, shapes = region.frame, dict(region.shapes)
    elif region.labels is not None and region.labels.geometry is not None:
        geometry = region.labels.geometry
        frame, shapes = geometry.frame, _outlines(region.labels.numpy(), geometry)
    else:
        raise UsageError("Only labels and contours can be written as a structure set", field="kind", found=region.kind)
    if frame is None:
        raise GeometryError(
            "A structure set needs a known frame of reference",
            file=region.id, field="frame", found="unknown", mend="state it with Geometry.with_frame",
        )  # fmt: skip
    if not shapes:
        raise UsageError("There is nothing to write: all labels are 0", field="labels", found="no region")
    return frame, shapes


def _outlines(labels: NDArray[Any], geometry: Geometry) -> dict[int, tuple[NDArray[np.float64], ...]]:
    found: dict[int, list[NDArray[np.float64]]] = {}
    for z, plane in enumerate(labels):
        for key in np.unique(plane[plane > 0]):
            for corners in pixel_outlines(plane == key):
                index = np.column_stack([np.full(len(corners), float(z)), corners[:, 1], corners[:, 0]])
                found.setdefault(int(key), []).append(geometry.to_mm(index))
    return {key: tuple(found[key]) for key in sorted(found)}


def _frame_part(headers: Sequence[Dataset], subject: str, label: str) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.Modality = _CLASS, "RTSTRUCT"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate",
                    "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"):  # fmt: skip
        given = headers[0].get(keyword) if headers else None
        setattr(dataset, keyword, "" if given is None else given)
    if not headers:
        dataset.PatientName = dataset.PatientID = subject
        dataset.StudyInstanceUID = uid("study", subject, "", "")
    dataset.Manufacturer, dataset.SeriesNumber, dataset.OperatorsName = "timelens", "", ""
    dataset.StructureSetLabel = label[:16]
    # The time of the scan, so that the same input gives the same bytes.
    dataset.StructureSetDate, dataset.StructureSetTime = dataset.StudyDate, dataset.StudyTime
    return dataset


def _reference(headers: Sequence[Dataset], frame: str) -> Dataset:
    outer = _item(FrameOfReferenceUID=frame)
    if headers:
        images = [
            _item(ReferencedSOPClassUID=h.SOPClassUID, ReferencedSOPInstanceUID=h.SOPInstanceUID) for h in headers
        ]
        series = _item(SeriesInstanceUID=headers[0].SeriesInstanceUID, ContourImageSequence=Items(images))
        study = _item(
            ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
            ReferencedSOPInstanceUID=headers[0].StudyInstanceUID,
            RTReferencedSeriesSequence=Items([series]),
        )
        outer.RTReferencedStudySequence = Items([study])
    return outer


def _contour(polygon: NDArray[np.float64], headers: Sequence[Dataset]) -> Dataset:
    points = polygon * _LPS
    item = _item(
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(points),
        ContourData=[format_number_as_ds(float(v)) for v in points.ravel()],
    )
    near = [h for h in headers if h.get("ImagePositionPatient") is not None and _distance(h, points[0]) < 0.05]
    if near:
        item.ContourImageSequence = Items(
            [_item(ReferencedSOPClassUID=near[0].SOPClassUID, ReferencedSOPInstanceUID=near[0].SOPInstanceUID)]
        )
    return item


def _distance(header: Dataset, point: NDArray[np.float64]) -> float:
    """From a point to the plane of a slice, in mm."""
    directions = np.array([float(v) for v in header.ImageOrientationPatient])
    normal = np.cross(directions[:3], directions[3:])
    return float(abs((point - np.array([float(v) for v in header.ImagePositionPatient])) @ normal))


def _item(**content: Any) -> Dataset:
    item = Dataset()
    for keyword, given in content.items():
        setattr(item, keyword, given)
    return item
