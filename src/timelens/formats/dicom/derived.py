"""What segmentations, reports and parametric maps share: their source images, codes, and bytes without a time stamp."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset

import timelens
from timelens.errors import GeometryError, UsageError
from timelens.formats.dicom.codes import frame_name, uid
from timelens.formats.dicom.modules import file_meta
from timelens.formats.dicom.safe import quiet, read_dataset

__all__ = ["EQUIPMENT", "concept", "save_derived", "source_headers", "ucum"]

#: Who made the object.
EQUIPMENT: dict[str, Any] = {
    "manufacturer": "timelens",
    "manufacturer_model_name": "timelens",
    "software_versions": timelens.__version__,
    "device_serial_number": "none",
}


def source_headers(files: Sequence[str | Path], frame: str | None) -> list[Dataset]:
    """Headers of the images that an object is derived from, all in one frame.

    Raises
    ------
    UsageError
        If there are none.
    GeometryError
        If the frame is not known, or another than theirs.
    """
    if not files:
        raise UsageError(
            "A derived DICOM object names the images it was made from",
            field="source_files", found="none", mend="write the series with write_series first, and give its files",
        )  # fmt: skip
    headers = [read_dataset(f) for f in files]
    known = {frame_name(h) for h in headers}
    if known != {frame}:
        raise GeometryError(
            "The object does not lie in the frame of its source images",
            file=files[0], field="FrameOfReferenceUID", found=frame or "unknown", expected=", ".join(map(str, known)),
        )  # fmt: skip
    return headers


def concept(value: str, scheme: str, meaning: str) -> CodedConcept:
    """A code."""
    return CodedConcept(value, scheme, meaning[:64])


def ucum(unit: str) -> CodedConcept:
    """The code of a unit."""
    return CodedConcept(unit, "UCUM", "no units" if unit == "1" else unit[:64])


def save_derived(dataset: Dataset, path: str | Path, source: Dataset) -> Path:
    """Save with the date of the source in place of today's, so that the same input gives the same bytes."""
    for name in ("Content", "InstanceCreation", "Series"):
        if f"{name}Date" in dataset:
            setattr(dataset, f"{name}Date", source.get("StudyDate") or "19000101")
        if f"{name}Time" in dataset:
            setattr(dataset, f"{name}Time", source.get("StudyTime") or "000000")
    for item in dataset.iterall():
        if item.keyword == "DimensionOrganizationUID":
            item.value = uid("dimensions", dataset.SOPInstanceUID)
        elif item.keyword in ("ContributionDateTime", "ObservationDateTime"):
            item.value = (source.get("StudyDate") or "19000101") + str(source.get("StudyTime") or "000000")[:6]
    dataset.file_meta = file_meta(dataset)
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    with quiet():
        dataset.save_as(place, enforce_file_format=True)
    return place
