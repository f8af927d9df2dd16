"""Write a volume or dynamic series as classic PT, CT or MR files, one per slice.

PT gets a rescale slope for each slice, so that every slice uses the full range of 16 bits; CT is written in whole
Hounsfield units; MR with one slope. UIDs follow from the content: the same acquisition gives the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from timelens import units
from timelens.errors import DataError, GeometryError, UnitError, UsageError
from timelens.formats.dicom.codes import PET_UNITS, uid
from timelens.formats.dicom.modules import file_meta, instances, series_part
from timelens.formats.dicom.safe import quiet
from timelens.study.acquisition import Acquisition
from timelens.study.image import Image

__all__ = ["content_digest", "rescale_slope", "series_values", "write_series"]

_DICOM_MODALITY = {"pet": "PT", "ct": "CT", "mr": "MR"}
_TERMS = {unit: term for term, unit in PET_UNITS.items()}
_CT_INTERCEPT = -1024


def write_series(
    acquisition: Acquisition,
    folder: str | Path,
    *,
    identity: Mapping[str, str] | None = None,
    dtype: Literal["int16", "uint16"] = "int16",
    series_number: int = 1,
    study: str = "",
    study_time: datetime | None = None,
) -> list[Path]:
    """Write an image acquisition as a DICOM series.

    Parameters
    ----------
    acquisition
        With an image of modality ``pet``, ``ct`` or ``mr``.
    folder
        Where files ``000001.dcm`` and so on go; made if it is not there.
    identity
        Patient and study attributes by keyword (PatientName, PatientID, PatientBirthDate, AccessionNumber, StudyID);
        by default name and id are the subject's alias.
    dtype
        Stored type. Negative values need ``int16``.
    series_number
        Series Number.
    study
        Further text from which the study UID is made; acquisitions of one subject, session and study share a study.
    study_time
        When the study began, where the series is not its first; by default when the series did.

    Returns
    -------
    list of Path
        The files in the order (frame, z).

    Raises
    ------
    DataError, MissingFieldError, UnitError, GeometryError, UsageError
        If the values, their unit, their decay reference or the geometry cannot be told in DICOM.
    """
    image = acquisition.image
    modality = _DICOM_MODALITY.get(acquisition.modality)
    if modality is None:
        raise UsageError(
            "This modality has no classic DICOM series",
            file=acquisition.id, field="modality", found=acquisition.modality, expected=", ".join(_DICOM_MODALITY),
        )  # fmt: skip
    image, term = _in_dicom_unit(image, modality)
    values = series_values(image, acquisition)
    series_uid = uid("series", acquisition.subject, acquisition.session, acquisition.id, content_digest(values, image))
    base = series_part(acquisition, image, modality, term, series_uid, identity or {}, study, series_number, study_time)
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    files = []
    scales = _scales(values, modality, dtype)
    for number, (dataset, t, z) in enumerate(instances(base, acquisition, image, values.shape[0]), 1):
        slope, intercept = scales[t, z]
        _put_pixels(dataset, values[t, z], slope, intercept, dtype if modality != "CT" else "uint16")
        dataset.InstanceNumber = number
        dataset.SOPInstanceUID = uid("instance", series_uid, number)
        dataset.file_meta = file_meta(dataset)
        path = place / f"{number:06d}.dcm"
        with quiet():
            dataset.save_as(path, enforce_file_format=True)
        files.append(path)
    return files


# -- values ----------------------------------------------------------------------------------------------------------


def _in_dicom_unit(image: Image, modality: str) -> tuple[Image, str]:
    """The image in a unit of DICOM's list, and its term there; other units stand in our note."""
    if modality == "CT":
        return image.to_unit("[hnsf'U]"), "HU"
    if modality == "MR":
        return image, ""
    if image.unit in _TERMS:
        return image, _TERMS[image.unit]
    for unit, term in _TERMS.items():
        if units.parse(unit).same_kind(image.unit):
            return image.to_unit(unit), term
    raise UnitError(
        "DICOM PET has no word for this unit",
        field="Units",
        found=image.unit,
        expected=", ".join(_TERMS),
        mend="write a parametric map",
    )


def series_values(image: Image, acquisition: Acquisition) -> NDArray[np.float64]:
    """Finite values (frame, z, y, x) on a grid whose pixels are rectangles."""
    if image.geometry is None or len(image.shape) > 4:
        raise GeometryError(
            "A DICOM series is a volume, or volumes along one axis",
            file=acquisition.id,
            field="axes",
            found=image.shape,
        )
    if not image.geometry.is_orthogonal:
        _require_square_pixels(image)
    values = image.numpy().astype(np.float64).reshape(-1, *image.geometry.shape)
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise DataError(
            "DICOM stores whole numbers: values that are not finite cannot be written",
            file=acquisition.id, field="PixelData", found=f"{bad} voxels", expected="finite values", mend="fill",
        )  # fmt: skip
    return values


def _require_square_pixels(image: Image) -> None:
    """Rows and columns of a DICOM slice are at right angles; only the stacking may lean."""
    assert image.geometry is not None
    rows, columns = image.geometry.affine[:3, 1], image.geometry.affine[:3, 2]
    if abs(rows @ columns) > 1e-4 * np.linalg.norm(rows) * np.linalg.norm(columns):
        raise GeometryError(
            "Rows and columns are not at right angles",
            field="affine",
            expected="right angles",
            mend="resample the image first",
        )


def content_digest(values: NDArray[np.float64], image: Image) -> str:
    """What UIDs follow from."""
    assert image.geometry is not None
    digest = hashlib.sha256(np.ascontiguousarray(values).data)
    digest.update(image.geometry.affine.tobytes())
    return digest.hexdigest()


def _scales(values: NDArray[np.float64], modality: str, dtype: str) -> dict[tuple[int, int], tuple[float, float]]:
    """Slope and intercept for each slice; a slope is a number that 16 characters hold exactly."""
    if modality == "CT":
        top = 65535 + _CT_INTERCEPT
        if values.size and (values.min() < _CT_INTERCEPT - 0.5 or values.max() > top):
            raise DataError(
                "Values lie outside what a CT series holds",
                field="PixelData", found=f"{values.min():g} to {values.max():g}", expected=f"{_CT_INTERCEPT} to {top}",
            )  # fmt: skip
        return {index: (1.0, float(_CT_INTERCEPT)) for index in np.ndindex(values.shape[:2])}
    if dtype == "uint16" and values.size and values.min() < 0:
        raise DataError("Negative values need a signed type", field="dtype", found="uint16", expected="int16")
    limit = 32767 if dtype == "int16" else 65535
    tops = np.abs(values).max(axis=(2, 3))
    if modality == "MR":
        tops = np.full_like(tops, tops.max())
    return {(t, z): (rescale_slope(float(tops[t, z]), limit), 0.0) for t, z in np.ndindex(*tops.shape)}


def rescale_slope(top: float, limit: int) -> float:
    """The slope that stores values up to ``top`` as whole numbers up to ``limit``."""
    if top == 0:
        return 1.0
    # One part in 10^9 more, so that rounding to 16 characters never pushes the maximum beyond the limit.
    return float(format_number_as_ds(top / limit * (1 + 1e-9)))


def _put_pixels(dataset: Dataset, values: NDArray[np.float64], slope: float, intercept: float, dtype: str) -> None:
    dataset.RescaleSlope = format_number_as_ds(slope)
    dataset.RescaleIntercept = format_number_as_ds(intercept)
    stored = np.rint((values - intercept) / slope)
    info = np.iinfo(dtype)
    dataset.PixelData = np.clip(stored, info.min, info.max).astype(f"<{dtype[0]}2").tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.PixelRepresentation = 1 if dtype == "int16" else 0
