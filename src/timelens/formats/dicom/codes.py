"""Tables and small rules shared by the DICOM readers and writers: SOP classes, units, UIDs and our own private note.

What DICOM has no place for (blood glucose, residual activity, a unit outside its list ...) goes into one private
element, ``(0099,xx01)`` of the block ``TIMELENS``, as JSON. It holds no identity, and a file that lost it can be read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pydicom.dataset import Dataset

from timelens import units
from timelens.errors import TimelensError, UnitError
from timelens.formats.dicom.safe import private, text, value
from timelens.study.provenance import identifier

__all__ = [
    "IMAGE_CLASSES",
    "MODALITIES",
    "MULTI_FRAME_CLASSES",
    "PET_UNITS",
    "RESCALE_UNITS",
    "frame_name",
    "frame_uid",
    "is_uid",
    "put_note",
    "read_note",
    "uid",
    "unit_from_code",
]

_STORAGE = "1.2.840.10008.5.1.4.1.1."

#: SOP classes with one slice a file, and their modality.
IMAGE_CLASSES = {_STORAGE + "128": "PT", _STORAGE + "2": "CT", _STORAGE + "4": "MR"}

#: SOP classes with many slices a file, and their modality.
MULTI_FRAME_CLASSES = {
    _STORAGE + "130": "PT",
    _STORAGE + "128.1": "PT",
    _STORAGE + "2.1": "CT",
    _STORAGE + "2.2": "CT",
    _STORAGE + "4.1": "MR",
    _STORAGE + "4.4": "MR",
    _STORAGE + "20": "NM",
}

#: DICOM modality to ours.
MODALITIES = {"PT": "pet", "CT": "ct", "MR": "mr", "NM": "nm"}

#: Units (0054,1001) of PET and NM to UCUM (PS3.3 C.8.9.1.1.3).
PET_UNITS = {
    "CNTS": "{counts}",
    "NONE": "1",
    "CM2": "cm2",
    "CM2ML": "cm2/mL",
    "PCNT": "%",
    "CPS": "{counts}/s",
    "BQML": "Bq/mL",
    "MGMINML": "mg/min/mL",
    "UMOLMINML": "umol/min/mL",
    "MLMING": "mL/min/g",
    "MLG": "mL/g",
    "1CM": "1/cm",
    "UMOLML": "umol/mL",
    "PROPCNTS": "{propcounts}",
    "PROPCPS": "{propcps}",
    "MLMINML": "mL/min/mL",
    "MLML": "mL/mL",
    "GML": "g/mL",
    "STDDEV": "{stddev}",
}

#: RescaleType (0028,1054) to UCUM; what is not here is an arbitrary scale.
RESCALE_UNITS = {
    "HU": "[hnsf'U]",
    "MGML": "mg/mL",
    "PCT": "%",
    "Z_EFF": "1",
    "HU_MOD": "[hnsf'U]",
    "US": "1",
}

_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_BLOCK = (0x0099, "TIMELENS")
_TIMELENS_ROOT = "2.25."


def is_uid(text: str) -> bool:
    """Whether a text is a valid DICOM UID."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def uid(*parts: Any) -> str:
    """A UID that is the same wherever the parts are the same (root 2.25).

    >>> uid("study", "sub-001") == uid("study", "sub-001")
    True
    """
    return _TIMELENS_ROOT + str(int(identifier("uid", *parts) + identifier("uid-low", *parts), 16))


def frame_uid(frame: str | None, *fallback: Any) -> str:
    """The UID that stands for a frame of reference; ``fallback`` makes one for a frame that is not known."""
    if frame is None:
        return uid("own frame", *fallback)
    return frame if is_uid(frame) else uid("frame", frame)


def frame_name(dataset: Dataset) -> str | None:
    """Our name of the frame of reference of a data set, None where it names none."""
    note = read_note(dataset)
    if "frame" in note:
        return None if note["frame"] is None else str(note["frame"])
    found = value(dataset, "FrameOfReferenceUID")
    return str(found) if found else None


def put_note(dataset: Dataset, content: Mapping[str, Any]) -> None:
    """Write what DICOM has no place for into our private element."""
    if content:
        block = dataset.private_block(*_BLOCK, create=True)
        block.add_new(0x01, "UT", json.dumps(dict(content), sort_keys=True))


def read_note(dataset: Dataset) -> dict[str, Any]:
    """What :func:`put_note` wrote; empty where there is none or it was damaged."""
    try:
        content = json.loads(private(dataset, *_BLOCK, 0x01) or "{}")
    except (ValueError, TimelensError):
        return {}
    return content if isinstance(content, dict) else {}


def unit_from_code(sequence: Any) -> str | None:
    """UCUM code of a Measurement Units Code Sequence, or None where it is of another scheme or unknown to us.

    Millilitres are spelt mL, and the annotation of {SUVbw}g/ml is dropped: which SUV it is belongs to the quantity.
    """
    if not sequence or value(sequence[0], "CodingSchemeDesignator") not in ("UCUM", None):
        return None
    code = re.sub(r"\{SUV\w*\}", "", text(sequence[0], "CodeValue"))
    try:
        return units.parse(re.sub(r"\bml\b", "mL", code)).code
    except UnitError:
        return None
