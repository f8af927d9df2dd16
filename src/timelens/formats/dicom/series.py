"""From files to series, and from a series to an acquisition.

:func:`group_series` looks at headers only and never fails for one bad file. :func:`read_series` makes an acquisition of
one image series: headers now, pixels when they are needed. Where anything about it cannot be trusted, it refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from timelens.errors import DataError, FormatError, MissingFieldError, Problem, TimelensError, UsageError
from timelens.formats.dicom.codes import IMAGE_CLASSES, MODALITIES, MULTI_FRAME_CLASSES, frame_name, read_note
from timelens.formats.dicom.enhanced import enhanced_slices, nm_slices
from timelens.formats.dicom.grid import Grid, arrange
from timelens.formats.dicom.header import acquisition_fields
from timelens.formats.dicom.mr import settings_of
from timelens.formats.dicom.pixels import SliceLoader
from timelens.formats.dicom.safe import (
    dicom_files,
    directory_files,
    number,
    read_dataset,
    text,
    value,
)
from timelens.formats.dicom.slices import Slice, classic_slice
from timelens.formats.dicom.times import moment
from timelens.formats.dicom.timing import decay_reference, frame_timing
from timelens.study.acquisition import Acquisition
from timelens.study.axes import Axis
from timelens.study.image import Image
from timelens.study.provenance import SourceFile, identifier
from timelens.study.timing import FrameTiming

__all__ = ["SeriesFiles", "group_series", "read", "read_series", "references"]

_NM_CLASS = "1.2.840.10008.5.1.4.1.1.20"
_LOOKED_AT = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality",
    "SeriesDescription", "StudyDate", "StudyTime", "SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime",
    "AcquisitionDateTime", "TimezoneOffsetFromUTC", "PatientID", "Manufacturer", "ImageType", "Units",
    "BodyPartExamined", "RadiopharmaceuticalInformationSequence", "ReferencedSeriesSequence",
    "ReferencedFrameOfReferenceSequence",
    "CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence",
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel",
    "BitsAllocated", "SpecificCharacterSet",
)  # fmt: skip


@dataclass
class SeriesFiles:
    """The files of one series, and what their headers say.

    Attributes
    ----------
    series_uid, study_uid, frame
        Identity, and frame of reference.
    modality
        As DICOM writes it (``PT``, ``SEG``, ``RTSTRUCT`` ...).
    kind
        ``image``, ``seg``, ``rtstruct``, ``sr``, ``map``, ``other`` or ``unreadable``.
    files
        All of them, also those with problems.
    description, manufacturer, body_part, units, agent
        From the first header.
    study_time, series_time, acquisition_time
        The earliest of each.
    patient
        A hash that is the same for files of one patient. It groups; it is no alias, and is never written out.
    references
        UIDs of the series that a segmentation, structure set, map or report refers to.
    problems
        What is wrong with single files.
    """

    series_uid: str
    study_uid: str
    modality: str
    kind: str
    frame: str | None = None
    files: tuple[Path, ...] = ()
    description: str = ""
    manufacturer: str = ""
    body_part: str = ""
    units: str = ""
    agent: str = ""
    study_time: datetime | None = None
    series_time: datetime | None = None
    acquisition_time: datetime | None = None
    patient: str = ""
    references: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = field(default_factory=tuple)

    @property
    def n_files(self) -> int:
        """Number of files."""
        return len(self.files)


def group_series(files: Iterable[str | Path] | str | Path) -> list[SeriesFiles]:
    """Series found in a folder, DICOMDIR or list of files, from headers alone, in the order of their first file.

    Files that belong to no series come last, together, as kind ``unreadable`` with a problem each: not DICOM (a
    warning), or damaged beyond their series UID (an error).
    """
    found: dict[str, SeriesFiles] = {}
    stray = SeriesFiles("", "", "", "unreadable")
    for path in _listed(files):
        try:
            dataset, damage = _header(path)
            series_uid = text(dataset, "SeriesInstanceUID", path)
            if not series_uid:
                raise MissingFieldError(
                    "The file belongs to no series",
                    file=path,
                    field="SeriesInstanceUID",
                    found="nothing",
                    expected="a UID",
                    mend="the file may be cut short: copy it again",
                )
        except TimelensError as error:
            foreign = error.problem.message == "Not a DICOM file"
            stray.files += (path,)
            stray.problems += (replace(error.problem, severity="warning") if foreign else error.problem,)
            continue
        series = found.setdefault(series_uid, SeriesFiles(series_uid, "", "", "other"))
        series.files += (path,)
        series.problems += damage
        try:
            _describe(series, dataset, path)
        except TimelensError as error:
            series.problems += (error.problem,)
    return [*found.values(), *([stray] if stray.files else [])]


def _header(path: Path) -> tuple[Dataset, tuple[Problem, ...]]:
    """The header, also of a file whose pixels are not what it claims; that is told as a problem."""
    try:
        return read_dataset(path, only=_LOOKED_AT), ()
    except TimelensError as error:
        try:
            return read_dataset(path, only=_LOOKED_AT, check=False), (error.problem,)
        except TimelensError:
            raise error from None


def _listed(files: Iterable[str | Path] | str | Path) -> list[Path]:
    if isinstance(files, str | Path):
        place = Path(files)
        if place.is_dir():
            return dicom_files(place)
        return directory_files(place) if place.name.upper() == "DICOMDIR" else [place]
    return [Path(f) for f in files]


def _describe(series: SeriesFiles, dataset: Dataset, path: Path) -> None:
    for word in ("Study", "Series", "Acquisition"):
        try:
            when = moment(dataset, word, path)
        except FormatError as error:
            series.problems += (replace(error.problem, severity="warning"),)
            continue
        known = getattr(series, f"{word.lower()}_time")
        if when is not None and (known is None or when < known):
            setattr(series, f"{word.lower()}_time", when)
    if series.study_uid:
        return
    series.study_uid = text(dataset, "StudyInstanceUID", path)
    series.modality = text(dataset, "Modality", path)
    series.kind = _kind(text(dataset, "SOPClassUID", path), series.modality)
    series.frame = frame_name(dataset) or _structure_frame(dataset)
    series.description = text(dataset, "SeriesDescription", path)
    series.manufacturer = text(dataset, "Manufacturer", path)
    series.body_part = text(dataset, "BodyPartExamined", path)
    series.units = text(dataset, "Units", path)
    series.references = references(dataset)
    patient = text(dataset, "PatientID", path)
    series.patient = identifier("patient", patient) if patient else ""
    doses = value(dataset, "RadiopharmaceuticalInformationSequence", path)
    if doses:
        codes = value(doses[0], "RadiopharmaceuticalCodeSequence", path)
        named = text(codes[0], "CodeMeaning", path) if codes else ""
        series.agent = named or text(doses[0], "Radiopharmaceutical", path)


def _kind(sop_class: str, modality: str) -> str:
    if sop_class in IMAGE_CLASSES or sop_class in MULTI_FRAME_CLASSES:
        return "image"
    if sop_class == "1.2.840.10008.5.1.4.1.1.30":
        return "map"
    return {"SEG": "seg", "RTSTRUCT": "rtstruct", "SR": "sr"}.get(modality, "other")


def _structure_frame(dataset: Dataset) -> str | None:
    for item in value(dataset, "ReferencedFrameOfReferenceSequence") or []:
        if value(item, "FrameOfReferenceUID"):
            return str(item.FrameOfReferenceUID)
    return None


def references(dataset: Dataset) -> tuple[str, ...]:
    """UIDs of the series that a derived object refers to."""
    items = list(value(dataset, "ReferencedSeriesSequence") or [])
    for outer in value(dataset, "ReferencedFrameOfReferenceSequence") or []:
        for study in value(outer, "RTReferencedStudySequence") or []:
            items += value(study, "RTReferencedSeriesSequence") or []
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in value(dataset, keyword) or []:
            items += value(study, "ReferencedSeriesSequence") or []
    return tuple(dict.fromkeys(str(i.SeriesInstanceUID) for i in items if value(i, "SeriesInstanceUID")))


# -- one series ------------------------------------------------------------------------------------------------------


def read_series(
    files: Iterable[str | Path] | str | Path,
    *,
    subject: str = "",
    session: str = "",
    unit: str | None = None,
    series_uid: str | None = None,
) -> Acquisition:
    """Read one image series.

    Parameters
    ----------
    files
        Its files, a folder with them, or a DICOMDIR. Other kinds of DICOM and other files in a folder are passed over.
    subject, session
        Aliases.
    unit
        UCUM code, where the file does not say it.
    series_uid
        Which series, where there are several.

    Returns
    -------
    Acquisition
        ``header`` holds a record per slice in the order (frame, z). ``data`` loads pixels when they are asked for:
        values are ``RescaleSlope * stored + RescaleIntercept`` of each slice in float32.

    Raises
    ------
    UsageError
        If there are several image series.
    FormatError, GeometryError, DataError, MissingFieldError
        If a file is damaged, slices do not form a grid, the unit is not known ... Each names file and field.
    """
    listed = _listed(files)
    series = group_series(listed)
    problems = [p for s in series if s.kind == "unreadable" for p in s.problems]
    images = [s for s in series if s.kind == "image" and series_uid in (None, s.series_uid)]
    if not images:
        # One file that is no DICOM is named as such; among many, what is damaged is.
        broken = next((p for p in problems if p.severity == "error" or len(listed) == 1), None)
        raise (
            _from_problem(broken)
            if broken
            else FormatError(
                "There is no DICOM image series",
                file=_place(files, listed),
                found=f"{len(listed)} files",
                expected="PT, CT, MR or NM",
            )
        )
    if len(images) > 1:
        raise UsageError(
            "There are several image series; one was asked for",
            file=_place(files, listed),
            field="SeriesInstanceUID",
            found="; ".join(f"{s.modality} {s.description} ({s.n_files} files)" for s in images),
            expected="one series",
            mend="give the files of one series, or its series_uid",
        )
    chosen = images[0]
    # A damaged file could be a slice of this series: a volume that silently lacks one is worse than none.
    for problem in (*chosen.problems, *problems):
        if problem.severity == "error":
            raise _from_problem(problem)
    return _acquisition(chosen, subject=subject, session=session, unit=unit, problems=problems)


def read(path: str | Path, **options: Any) -> Acquisition:
    """The one image series of a folder, DICOMDIR or multi-frame file; options as in :func:`read_series`."""
    return read_series(path, **options)


def _from_problem(problem: Problem) -> FormatError:
    """The error behind a problem; reading the file again tells its class."""
    try:
        read_dataset(problem.file)
    except FormatError as error:
        return error
    facts = problem.as_dict()
    facts.pop("severity")
    return FormatError(facts.pop("message"), **facts)


def _place(files: Any, listed: Sequence[Path]) -> str:
    return str(files) if isinstance(files, str | Path) else str(listed[0]) if listed else "no files"


def _acquisition(
    series: SeriesFiles, *, subject: str, session: str, unit: str | None, problems: Sequence[Problem]
) -> Acquisition:
    slices: list[Slice] = []
    first_header: Dataset | None = None
    for path in series.files:
        dataset = read_dataset(path)
        sop_class = text(dataset, "SOPClassUID", path)
        if sop_class in IMAGE_CLASSES:
            slices.append(classic_slice(dataset, path))
        elif sop_class == _NM_CLASS:
            slices.extend(nm_slices(dataset, path))
        elif sop_class in MULTI_FRAME_CLASSES:
            slices.extend(enhanced_slices(dataset, path))
        else:
            raise FormatError(
                "A series of images holds a file of another kind", file=path, field="SOPClassUID", found=sop_class
            )
        first_header = first_header if first_header is not None else dataset
    assert first_header is not None
    where = series.files[0]
    if not slices:
        raise FormatError(
            "Planar images and projections are not a volume",
            file=where,
            field="ImageType",
            found=text(first_header, "ImageType", where),
            expected="a reconstructed volume (RECON TOMO)",
            mend="give the reconstructed series",
        )
    note = read_note(first_header)
    grid = arrange(slices, descending=note.get("stack") == -1)
    modality = MODALITIES.get(series.modality, series.modality.lower())
    fields, more = acquisition_fields(
        first_header, where, min((s.acquired for s in slices if s.acquired), default=None)
    )
    image, noticed = _image(grid, fields, unit, note, modality)
    extra = _extra(first_header, series)
    if modality == "mr":
        field = number(first_header, "MagneticFieldStrength", where)
        records = [s.record for frame in grid.slices for s in frame]
        extra["mr"], remarks = settings_of(records, grid.axis, field, str(where))
        noticed += remarks
    name = "_".join(part for part in (subject, session, f"{modality}-{identifier(series.series_uid)[:8]}") if part)
    ordered = [s for frame in grid.slices for s in frame]
    return Acquisition(
        id=name,
        modality=modality,
        data=image,
        subject=subject,
        session=session,
        header=tuple(s.record for s in ordered),
        sources=tuple(SourceFile.of(p) for p in dict.fromkeys(s.path for s in ordered)),
        problems=(*problems, *grid.problems, *more, *noticed),
        extra=extra,
        **fields,
    )


def _image(
    grid: Grid, fields: dict[str, Any], unit: str | None, note: dict[str, Any], modality: str
) -> tuple[Image, list[Problem]]:
    first = grid.slices[0][0]
    found = {s.unit for frame in grid.slices for s in frame}
    if len(found) > 1:
        raise DataError(
            "The slices of the series have different units",
            file=first.where,
            field="Units",
            found=", ".join(sorted(map(str, found))),
            expected="one unit",
        )
    stated = found.pop() or unit
    if stated is None:
        raise MissingFieldError(
            "The unit of the image is not stated",
            file=first.where,
            field="Units" if modality == "pet" else "MeasurementUnitsCodeSequence",
            found="nothing",
            expected="a unit",
            mend="state it with unit= or --unit",
        )
    corrections = {str(s.record.get("DecayCorrection", "none stated")) for f in grid.slices for s in f}
    if len(corrections) > 1:
        raise DataError(
            "The slices differ in their decay correction",
            file=first.where,
            field="DecayCorrection",
            found=", ".join(sorted(corrections)),
            expected="one for all",
        )
    flat = [s for frame in grid.slices for s in frame]
    reference, problems = decay_reference(flat, fields, stated)
    frames, axes = None, None
    shape: tuple[int, ...] = grid.geometry.shape
    axis = grid.axis
    if axis is None and "DYNAMIC" in first.record.get("SeriesType", ""):
        axis = Axis("t", "time", "s")  # one frame of a dynamic series
    if axis is not None:
        shape = (len(grid.slices), *shape)
        axes = (axis, *(Axis(n, "space", "mm") for n in "zyx"))
        if axis.name == "t":
            frames, more = frame_timing(
                grid.slices, injected=fields.get("administered_time"), half_life_s=fields.get("half_life_s")
            )
            frames = _noted_zero(frames, note)
            problems += more
    quantity = note.get("quantity")
    return Image(
        SliceLoader(grid.slices, shape),
        unit=stated,
        axes=axes,
        geometry=grid.geometry,
        quantity=quantity if isinstance(quantity, str) else None,
        decay_reference=reference,
        frames=frames,
        shape=shape,
        dtype=np.float32,
        name=first.path.parent.name,
    ), problems


def _noted_zero(frames: FrameTiming, note: dict[str, Any]) -> FrameTiming:
    """Time zero as our own writer knew it; DICOM has no place for it where there was no injection."""
    zero, start = note.get("zero"), note.get("start_s")
    if zero not in ("injection", "first frame") or not isinstance(start, int | float):
        return frames
    return FrameTiming(frames.start - frames.start[0] + start, frames.duration, zero)


def _extra(dataset: Dataset, series: SeriesFiles) -> dict[str, Any]:
    """What lenses may use besides: UIDs for references, reconstruction, resolution."""
    extra: dict[str, Any] = {
        "SeriesInstanceUID": series.series_uid,
        "StudyInstanceUID": series.study_uid,
        "Manufacturer": series.manufacturer,
        "BodyPartExamined": series.body_part,
    }
    for keyword in ("ManufacturerModelName", "ReconstructionMethod", "ConvolutionKernel", "ScannerName"):
        extra[keyword] = text(dataset, keyword)
    for keyword in ("KVP", "MagneticFieldStrength", "RepetitionTime", "EchoTime", "FlipAngle", "PixelPaddingValue"):
        extra[keyword] = number(dataset, keyword)
    if series.modality == "MR":
        extra["intensity"] = "arbitrary"
    return {k: v for k, v in extra.items() if v not in (None, "")}
