"""Writing the sidecar that :mod:`timelens.formats.sidecar` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from timelens import units
from timelens.formats import atomic
from timelens.formats.sidecar import BLOCK, KEPT, NUMBERS, TIMES
from timelens.study.acquisition import Acquisition
from timelens.study.image import Image

__all__ = ["content", "write"]


def content(data: Acquisition | Image) -> dict[str, Any]:
    """The sidecar of an acquisition or of an image alone, ready for JSON."""
    acquisition = data if isinstance(data, Acquisition) else Acquisition("", "", data)
    image = acquisition.image
    said: dict[str, Any] = {"Units": image.unit}
    block: dict[str, Any] = {"unit": image.unit, "quantity": image.quantity, "modality": acquisition.modality or None}
    said.update({key: acquisition.extra[key] for key in KEPT if key in acquisition.extra})
    said["TracerName"], said["TracerRadionuclide"] = acquisition.agent, acquisition.radionuclide
    if acquisition.administered_activity_bq is not None:
        said["InjectedRadioactivity"] = acquisition.administered_activity_bq / 1e6
        said["InjectedRadioactivityUnits"] = "MBq"
    if acquisition.weight_g is not None:
        said["BodyWeight"], said["BodyWeightUnits"] = acquisition.weight_g / 1000, "kg"
    said["SeriesDescription"] = acquisition.description or None
    for name in (*NUMBERS, "weight_g", "sex", "species"):
        block[name] = getattr(acquisition, name)
    _write_times(acquisition, image, said, block)
    if image.geometry is not None:
        geometry = image.geometry
        block.update(
            frame_of_reference=geometry.frame,
            space=geometry.space,
            shape=list(geometry.shape),
            affine=geometry.affine.tolist(),
        )
    block["axes"] = [
        {
            "name": axis.name,
            "kind": axis.kind,
            "unit": axis.unit,
            "coordinates": axis.coordinates.tolist() if isinstance(axis.coordinates, np.ndarray) else axis.coordinates,
        }
        for axis in image.axes
    ]
    said[BLOCK] = {key: value for key, value in block.items() if value is not None}
    return {key: value for key, value in said.items() if value is not None}


def _write_times(acquisition: Acquisition, image: Image, said: dict[str, Any], block: dict[str, Any]) -> None:
    """Clock times relative to ``TimeZero``, which is the zero of the frames; what has no clock stays in the block."""
    frames = image.frames
    moments = {name: getattr(acquisition, name) for name in TIMES} | {"decay_reference": image.decay_reference}
    if frames is None:
        zero = acquisition.administered_time or acquisition.acquisition_time
    else:
        zero = acquisition.administered_time if frames.zero == "injection" else acquisition.acquisition_time
    shift = 0.0
    if zero is not None:
        base = zero.replace(microsecond=0)
        shift = (zero - base).total_seconds()
        said["TimeZero"], block["time_zero"] = base.strftime("%H:%M:%S"), base.isoformat()
        for name, key in (("administered_time", "InjectionStart"), ("acquisition_time", "ScanStart")):
            if (moment := moments.pop(name)) is not None:
                said[key] = (moment - base).total_seconds()
        if (moment := moments.pop("decay_reference")) is not None:
            said["ImageDecayCorrectionTime"] = (moment - base).total_seconds()
    if frames is not None:
        said["FrameTimesStart"] = (frames.start + shift).tolist()
        said["FrameDuration"] = frames.duration.tolist()
        block["frame_zero"] = frames.zero
        if frames.zero == "injection":
            said["InjectionStart"] = shift
    if image.decay_reference is not None:
        said["ImageDecayCorrected"] = True
    elif units.parse(image.unit).same_kind("Bq/mL"):
        said.setdefault("ImageDecayCorrected", False)
    block.update({name: moment.isoformat() for name, moment in moments.items() if moment is not None})


def write(data: Acquisition | Image, path: str | Path, *, labels: Mapping[str, Any] | None = None) -> Path:
    """Write the sidecar of an acquisition or image; returns the path."""
    said = content(data)
    if labels:
        said[BLOCK]["labels"] = dict(labels)
    return atomic.write_file(json.dumps(said, indent=2, ensure_ascii=False) + "\n", path)
