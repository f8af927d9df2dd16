"""DICOM parametric maps: an image of any unit as 32-bit numbers with a real-world value mapping, out and in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from highdicom.pm import ParametricMap, RealWorldValueMapping

from timelens.errors import DataError, FormatError, GeometryError, MissingFieldError
from timelens.formats.dicom.codes import put_note, read_note, uid
from timelens.formats.dicom.derived import EQUIPMENT, concept, save_derived, source_headers, ucum
from timelens.formats.dicom.enhanced import enhanced_slices
from timelens.formats.dicom.grid import arrange
from timelens.formats.dicom.pixels import SliceLoader
from timelens.formats.dicom.safe import quiet, read_dataset, text
from timelens.formats.dicom.seg import planes
from timelens.formats.dicom.series import references
from timelens.knowledge import quantities
from timelens.study.acquisition import Acquisition
from timelens.study.image import Image
from timelens.study.provenance import SourceFile, identifier

__all__ = ["read_parametric_map", "write_parametric_map"]

_CLASS = "1.2.840.10008.5.1.4.1.1.30"


def write_parametric_map(
    image: Image, path: str | Path, source_files: Sequence[str | Path], *, label: str = ""
) -> Path:
    """Write a volume as a parametric map of 32-bit floating-point numbers.

    Parameters
    ----------
    image
        Axes z, y, x, in the frame of the source images. NaN and infinite values are kept.
    path
        File to write.
    source_files
        Files of the image series that the map was made from; patient and study are taken from them.
    label
        What it shows; by default the quantity or name of the image.

    Raises
    ------
    GeometryError
        If it is no volume at right angles in the frame of the source.
    UsageError
        If there are no source files.
    """
    geometry = image.geometry
    if geometry is None or len(image.shape) != 3 or not geometry.is_orthogonal:
        raise GeometryError(
            "A parametric map is one volume on a grid at right angles", file=image.name, field="axes", found=image.shape
        )
    headers = source_headers(source_files, geometry.frame)
    values = image.numpy().astype(np.float32)
    if values.dtype != image.dtype and not np.allclose(values, image.numpy(), rtol=1e-6, atol=0, equal_nan=True):
        raise DataError("The values do not fit 32-bit numbers", file=image.name, field="FloatPixelData")
    known = quantities.find(image.quantity or "")
    shown = label or (known.symbol if known else image.quantity or image.name or "map")
    measures, direction, positions = planes(geometry)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    series = uid("map series", headers[0].SeriesInstanceUID, shown, image.unit)
    code, _, scheme = known.dicom.partition(":") if known else ("", "", "")
    mapping = RealWorldValueMapping(
        lut_label=shown[:16],
        lut_explanation=shown[:64],
        unit=ucum(image.unit),
        value_range=(low, high),
        slope=1.0,
        intercept=0.0,
        quantity_definition=concept(code, scheme, known.symbol) if known and code else None,
    )
    with quiet():
        dataset = ParametricMap(
            source_images=headers,
            pixel_array=values,
            series_instance_uid=series,
            series_number=300,
            sop_instance_uid=uid("map", series, hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()),
            instance_number=1,
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[mapping],
            window_center=(low + high) / 2,
            window_width=max(high - low, 1.0),
            pixel_measures=measures,
            plane_orientation=direction,
            plane_positions=positions,
            content_label="TIMELENS",
            **EQUIPMENT,
        )
        dataset.SeriesDescription = shown[:64]
        note: dict[str, Any] = {"unit": image.unit}
        if image.quantity is not None:
            note["quantity"] = image.quantity
        if image.decay_reference is not None:
            note["decay_reference"] = image.decay_reference.isoformat()
        if geometry.frame != str(dataset.FrameOfReferenceUID):
            note["frame"] = geometry.frame
        if np.linalg.det(geometry.to_lps()[:3, :3]) < 0:
            note["stack"] = -1
        put_note(dataset, note)
        return save_derived(dataset, path, headers[0])


def read_parametric_map(path: str | Path, *, subject: str = "", session: str = "") -> Acquisition:
    """Read a parametric map.

    Raises
    ------
    FormatError
        If it is no parametric map, or is damaged.
    MissingFieldError
        If its unit is not stated in UCUM.
    GeometryError
        If its frames do not form a regular grid.
    """
    place = Path(path)
    dataset = read_dataset(place)
    if text(dataset, "SOPClassUID", place) != _CLASS:
        raise FormatError(
            "Not a parametric map", file=place, field="SOPClassUID", found=text(dataset, "SOPClassUID"), expected=_CLASS
        )
    slices = enhanced_slices(dataset, place)
    units = {s.unit for s in slices}
    if units == {None} or len(units) > 1:
        raise MissingFieldError(
            "The unit of the map is not stated",
            file=place, field="MeasurementUnitsCodeSequence", found=", ".join(map(str, units)), expected="a UCUM unit",
        )  # fmt: skip
    note = read_note(dataset)
    grid = arrange(slices, descending=note.get("stack") == -1)
    if len(grid.slices) != 1:
        raise GeometryError("A parametric map of several volumes is not read", file=place, field="NumberOfFrames")
    quantity = note.get("quantity")
    image = Image(
        SliceLoader(grid.slices, grid.geometry.shape),
        unit=str(slices[0].unit),
        geometry=grid.geometry,
        quantity=quantity if isinstance(quantity, str) and quantities.find(quantity) else None,
        decay_reference=_noted_time(note),
        shape=grid.geometry.shape,
        dtype=np.float32,
        name=place.name,
    )
    return Acquisition(
        id="_".join(p for p in (subject, session, f"map-{identifier(text(dataset, 'SeriesInstanceUID'))[:8]}") if p),
        modality="map",
        data=image,
        subject=subject,
        session=session,
        description=text(dataset, "SeriesDescription", place),
        sources=(SourceFile.of(place),),
        problems=grid.problems,
        extra={"referenced_series": references(dataset)},
    )


def _noted_time(note: dict[str, Any]) -> datetime | None:
    try:
        return datetime.fromisoformat(note["decay_reference"])
    except (KeyError, TypeError, ValueError):
        return None
