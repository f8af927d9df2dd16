"""DICOM segmentations: label images in and out.

Out: one binary segment per label, empty frames left out, through highdicom. In: binary, fractional (half or more
counts) and label-map segmentations of any program. Frames that are not there are background.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from highdicom.content import (
    AlgorithmIdentificationSequence,
    PixelMeasuresSequence,
    PlaneOrientationSequence,
    PlanePositionSequence,
)
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

import timelens
from timelens.errors import FormatError, GeometryError, UsageError
from timelens.formats.dicom.codes import frame_name, put_note, read_note, uid
from timelens.formats.dicom.derived import EQUIPMENT, concept, save_derived, source_headers
from timelens.formats.dicom.enhanced import frames_of
from timelens.formats.dicom.grid import POSITION_TOLERANCE
from timelens.formats.dicom.pixels import decode
from timelens.formats.dicom.safe import image_size, number, quiet, read_dataset, text, value
from timelens.formats.dicom.series import references
from timelens.formats.dicom.slices import need, orientation, pixel_spacing
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.provenance import SourceFile
from timelens.study.region import Region, Role

__all__ = ["planes", "read_seg", "write_seg"]

_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
_MOST_VOXELS = 1 << 31
_ABNORMAL = concept("49755003", "SCT", "Morphologically Abnormal Structure")
_ANATOMY = concept("91723000", "SCT", "Anatomical Structure")
_ANATOMY_CODES = ("91723000", "123037004")
_PROPERTIES = {
    "lesion": (_ABNORMAL, concept("108369006", "SCT", "Neoplasm")),
    "liver": (_ANATOMY, concept("10200004", "SCT", "Liver")),
    "blood pool": (_ANATOMY, concept("15825003", "SCT", "Aorta")),
    "organ": (_ANATOMY, concept("91772007", "SCT", "Organ")),
    "body": (_ANATOMY, concept("38266002", "SCT", "Entire body")),
    "exclude": (_ANATOMY, concept("123037004", "SCT", "Body structure")),
    "reference": (_ANATOMY, concept("123037004", "SCT", "Body structure")),
}
_ROLES: dict[str, Role] = {"10200004": "liver", "15825003": "blood pool", "38266002": "body"}


def write_seg(region: Region, path: str | Path, source_files: Sequence[str | Path]) -> Path:
    """Write labels as a segmentation.

    Parameters
    ----------
    region
        Labels on a grid in the frame of the source images (their own grid, or another).
    path
        File to write.
    source_files
        Files of the image series that was segmented; patient and study are taken from them.

    Raises
    ------
    UsageError
        If the region holds no labels or is empty, or there are no source files.
    GeometryError
        If the frame is not that of the source, or the grid is not at right angles.
    """
    if region.labels is None or region.labels.geometry is None:
        raise UsageError(
            "A segmentation is written from labels", field="kind", found=region.kind, mend="lay it onto a grid first"
        )
    geometry = region.labels.geometry
    labels = region.labels.numpy()
    numbers = [int(n) for n in np.unique(labels) if n > 0]
    if not numbers:
        raise UsageError("There is nothing to write: all labels are 0", field="labels", found="no region")
    if not geometry.is_orthogonal:
        raise GeometryError(
            "A segmentation needs a grid at right angles",
            file=region.id,
            field="affine",
            mend="resample the labels first",
        )
    headers = source_headers(source_files, geometry.frame)
    stored = np.searchsorted(np.array([0, *numbers]), labels).astype(np.uint16 if len(numbers) > 255 else np.uint8)
    series = uid("seg series", headers[0].SeriesInstanceUID, region.id, region.method)
    measures, direction, positions = planes(geometry)
    with quiet():
        dataset = Segmentation(
            source_images=headers,
            pixel_array=stored,
            segmentation_type=SegmentationTypeValues.BINARY,
            segment_descriptions=[_description(region, n, i, headers[0]) for i, n in enumerate(numbers, 1)],
            series_instance_uid=series,
            series_number=100,
            sop_instance_uid=uid("seg", series, _hash(stored)),
            instance_number=1,
            pixel_measures=measures,
            plane_orientation=direction,
            plane_positions=positions,
            content_label="TIMELENS",
            **EQUIPMENT,
        )
        dataset.SeriesDescription = region.id[:64]
        note: dict[str, Any] = {
            "numbers": numbers,
            "roles": {str(n): region.role(n) for n in numbers},
            "identity": {str(n): region.identity[n] for n in numbers if n in region.identity},
            "method": region.method,
        }
        if geometry.frame != str(dataset.FrameOfReferenceUID):
            note["frame"] = geometry.frame
        put_note(dataset, note)
        return save_derived(dataset, path, headers[0])


def _hash(stored: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(stored).data).hexdigest()


def planes(
    geometry: Geometry,
) -> tuple[PixelMeasuresSequence, PlaneOrientationSequence, list[PlanePositionSequence]]:
    """Pixel measures, orientation and positions of the slices of a grid, as functional groups."""
    lps = geometry.to_lps()
    z, y, x = (float(format_number_as_ds(v)) for v in geometry.spacing)
    directions = [
        float(format_number_as_ds(float(v)))
        for v in (*lps[:3, 0] / geometry.spacing[2], *lps[:3, 1] / geometry.spacing[1])
    ]
    measures = PixelMeasuresSequence(pixel_spacing=(y, x), slice_thickness=z, spacing_between_slices=z)
    positions = [
        PlanePositionSequence("PATIENT", [float(format_number_as_ds(float(v))) for v in lps[:3, 3] + k * lps[:3, 2]])
        for k in range(geometry.shape[0])
    ]
    return measures, PlaneOrientationSequence("PATIENT", directions), positions


def _description(region: Region, key: int, order: int, source: Dataset) -> SegmentDescription:
    category, kind = _PROPERTIES[region.role(key)]
    name = region.name(key)
    tracked = region.identity.get(key, name)
    return SegmentDescription(
        segment_number=order,
        segment_label=name[:64],
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=SegmentAlgorithmTypeValues.MANUAL
        if region.method == "given"
        else SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
        algorithm_identification=None
        if region.method == "given"
        else AlgorithmIdentificationSequence(
            name=region.method[:64], family=concept("123105", "DCM", "Histogram Analysis"), version=timelens.__version__
        ),
        tracking_uid=uid("tracking", text(source, "PatientID"), tracked),
        tracking_id=tracked[:64],
    )


# -- reading ---------------------------------------------------------------------------------------------------------


def read_seg(path: str | Path, *, onto: Geometry | None = None) -> Region:
    """Read a segmentation as labels.

    Parameters
    ----------
    path
        The file.
    onto
        Grid of the segmented image: labels are laid onto it by the nearest voxel. By default they keep the
        smallest grid that holds the frames of the file.

    Returns
    -------
    Region
        Numbers are segment numbers (our own, where timelens wrote the file). Where segments overlap the higher number
        wins, and ``extra["overlap"]`` counts the voxels.

    Raises
    ------
    FormatError
        If it is no segmentation, is damaged, or has no segment.
    GeometryError
        If its frames do not lie on one grid.
    """
    place = Path(path)
    dataset = read_dataset(place, pixels=True)
    sop_class = text(dataset, "SOPClassUID", place)
    if sop_class not in _CLASSES:
        raise FormatError("Not a segmentation", file=place, field="SOPClassUID", found=sop_class, expected=_CLASSES[0])
    note = read_note(dataset)
    segments = {int(number(s, "SegmentNumber", place) or 0): s for s in value(dataset, "SegmentSequence", place) or []}
    segments.pop(0, None)
    if not segments:
        raise FormatError("The segmentation describes no segment", file=place, field="SegmentSequence", found="nothing")
    planes = decode(dataset, place).reshape(-1, *image_size(dataset, place))
    kind = text(dataset, "SegmentationType", place)
    if kind == "FRACTIONAL":
        planes = planes >= 0.5 * (number(dataset, "MaximumFractionalValue", place) or 255)
    geometry, levels, owners = _placed(dataset, place, kind == "LABELMAP")
    own = note.get("numbers")
    renumber = (
        dict(enumerate(own, 1)) if isinstance(own, list) and len(own) == len(segments) else {n: n for n in segments}
    )
    labels = np.zeros(geometry.shape, np.uint16)
    overlap = 0
    for i in sorted(range(len(planes)), key=lambda i: owners[i]):
        target = labels[levels[i]]
        if kind == "LABELMAP":
            for n in np.unique(planes[i][planes[i] > 0]):
                target[planes[i] == n] = renumber.get(int(n), int(n))
            continue
        if owners[i] not in segments:
            raise FormatError(
                "A frame belongs to a segment that is not described",
                file=place, field="ReferencedSegmentNumber", found=owners[i], expected=sorted(segments),
            )  # fmt: skip
        inside = planes[i] > 0
        overlap += int((target[inside] > 0).sum())
        target[inside] = renumber[owners[i]]
    names = {renumber[n]: text(s, "SegmentLabel", place) or f"segment {n}" for n, s in sorted(segments.items())}
    region = Region(
        id=place.stem,
        kind="labels",
        names=names,
        labels=Image(labels, unit="1", geometry=geometry, name=place.name),
        method=str(note.get("method") or _method(segments)),
        roles=_roles(segments, renumber, note),
        identity={int(k): str(v) for k, v in dict(note.get("identity") or {}).items()},
        sources=(SourceFile.of(place),),
        extra={
            "referenced_series": references(dataset),
            "overlap": overlap,
        },
    )
    if onto is None:
        return region
    return replace(region, labels=Image(region.on(onto), unit="1", geometry=onto, name=place.name))


def _placed(dataset: Dataset, place: Path, labelmap: bool) -> tuple[Geometry, list[int], list[int]]:
    """The grid that holds all frames, and for each frame its slice and its segment."""
    groups = list(frames_of(dataset, place))
    directions = [groups_.need("PlaneOrientationSequence", "ImageOrientationPatient", 6) for groups_ in groups]
    if not np.allclose(directions, directions[0], rtol=0, atol=1e-3):
        raise GeometryError("The frames have different orientations", file=place, field="ImageOrientationPatient")
    row, column = orientation(directions[0], place)
    measures = groups[0].item("PixelMeasuresSequence") or Dataset()
    down, across = pixel_spacing(need(measures, "PixelSpacing", 2, place), place)
    positions = np.array([g.need("PlanePositionSequence", "ImagePositionPatient", 3) for g in groups])
    normal = np.cross(row, column)
    heights = positions @ normal
    gaps = np.diff(np.unique(np.round(heights, 4)))
    stated = number(measures, "SpacingBetweenSlices", place) or number(measures, "SliceThickness", place)
    step = abs(stated) if stated else float(gaps.min()) if len(gaps) else 1.0
    if len(gaps) and np.abs(gaps / step - np.rint(gaps / step)).max() > POSITION_TOLERANCE * max(
        1.0, (gaps / step).max()
    ):
        step = float(gaps.min())
    levels = (heights - heights.min()) / step
    aside = positions - positions[int(np.argmin(heights))] - np.outer(levels * step, normal)
    if np.abs(levels - np.rint(levels)).max() > 2 * POSITION_TOLERANCE or np.abs(aside).max() > 0.1 * min(down, across):
        shown = ", ".join(f"{g:.4g}" for g in gaps[:4])
        raise GeometryError(
            "The frames of the segmentation do not lie on one grid",
            file=place,
            field="ImagePositionPatient",
            found=f"steps of {shown} mm" if shown else "frames shifted sideways",
            expected=f"multiples of {step:.4g} mm along the normal",
        )
    count = int(np.rint(levels.max())) + 1
    size = image_size(dataset, place)
    if count * size[0] * size[1] > _MOST_VOXELS:
        raise GeometryError(
            "The frames lie too far apart for one grid",
            file=place,
            field="ImagePositionPatient",
            found=f"{count} slices",
        )
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = np.multiply(row, across), np.multiply(column, down), normal * step
    affine[:3, 3] = positions[int(np.argmin(heights))]
    geometry = Geometry.from_lps((count, *size), affine, frame=frame_name(dataset))
    owners = [
        0 if labelmap else int(g.number("SegmentIdentificationSequence", "ReferencedSegmentNumber") or 0)
        for g in groups
    ]
    return geometry, [int(v) for v in np.rint(levels)], owners


def _method(segments: dict[int, Dataset]) -> str:
    first = next(iter(segments.values()))
    algorithm = text(first, "SegmentAlgorithmName") or text(first, "SegmentAlgorithmType")
    return f"given ({algorithm})" if algorithm else "given"


def _roles(segments: dict[int, Dataset], renumber: dict[int, int], note: dict[str, Any]) -> dict[int, Role]:
    noted = note.get("roles")
    if isinstance(noted, dict):
        return {int(k): v for k, v in noted.items() if v in _PROPERTIES}
    found: dict[int, Role] = {}
    for n, item in segments.items():
        category = value(item, "SegmentedPropertyCategoryCodeSequence")
        kind = value(item, "SegmentedPropertyTypeCodeSequence")
        code = text(kind[0], "CodeValue") if kind else ""
        if code in _ROLES:
            found[renumber[n]] = _ROLES[code]
        elif category and text(category[0], "CodeValue") in _ANATOMY_CODES:
            found[renumber[n]] = "organ"
    return found
