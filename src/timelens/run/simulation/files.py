"""A simulated session as files: DICOM as a hospital exports it, or BIDS, with true outlines under ``truth``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from timelens.formats import bids
from timelens.formats.dicom import write_rtstruct, write_seg, write_series
from timelens.run.simulation.spec import Dose, slug
from timelens.study.acquisition import Acquisition
from timelens.study.geometry import Geometry
from timelens.study.region import Region
from timelens.tumor.digital_patient import DigitalPatient
from timelens.tumor.paint import label_region

__all__ = ["Scanned", "known_to", "organ_region", "write_bids", "write_dicom"]

#: Exclusion masks are drawn this far beyond the organ, as blur carries its uptake outwards (mm; a mouse: a tenth).
_EXCLUDE_MARGIN_MM = 8.0


@dataclass(frozen=True, eq=False)
class Scanned:
    """The scans of one administration.

    Attributes
    ----------
    dose
        What was given.
    scans, ct
        PET scans and the CT in their frame of reference.
    organs, outlines
        Masks of organs and the true outlines of lesions, on the grid of the PET scans.
    drawn
        Whether the outlines come with the scans, as drawn by hand.
    """

    dose: Dose
    scans: tuple[Acquisition, ...]
    ct: Acquisition
    organs: Region
    outlines: Region
    drawn: bool


def organ_region(host: DigitalPatient, grid: Geometry, *, species: str = "human") -> Region:
    """References in liver and blood pool, and generous masks of the organs with physiological uptake."""
    known = {organ.name: organ for organ in host.organs}
    margin = _EXCLUDE_MARGIN_MM if species == "human" else _EXCLUDE_MARGIN_MM / 10
    shapes = {name: organ.grown(margin) for name, organ in known.items() if organ.role == "exclude"}
    liver = known["liver"]
    (x, y, z), (a, b, c) = liver.centre, liver.semi_axes
    radius = 0.2 * min(a, b, c)
    shapes["liver"] = replace(
        liver, centre=(x - 0.12 * a, y, z + 0.06 * c), semi_axes=(radius,) * 3, role="liver", cylinder=False
    )
    vessel = known["aorta" if species == "human" else "heart chambers"]
    x, y, z = (0.46 * v for v in vessel.semi_axes)
    shapes["blood pool"] = replace(vessel, semi_axes=(x, y, z), role="blood pool")
    return label_region(shapes, grid, name="organs")


def write_dicom(
    root: Path,
    subject: str,
    session: str,
    start: datetime,
    parts: Sequence[Scanned],
    leave_out: Sequence[str],
    *,
    alone: bool,
) -> None:
    """``DICOM/SIM-001/ses-01/<series>/*.dcm``; the scans of one visit are one study, whatever their day.

    ``alone`` says that the cohort knows one administration only, so that its scans need no name.
    """
    place = root / "DICOM" / subject.replace("sub-", "SIM-") / session
    number = 0
    for part in parts:
        suffix = "" if alone else f"-{slug(part.dose.name)}"
        files: list[Path] = []
        for scan in part.scans:
            number += 1
            known = known_to(scan, subject, session, leave_out)
            files = write_series(known, place / scan.id.upper(), series_number=number, study_time=start)
        ct = known_to(part.ct, subject, session, leave_out)
        write_series(ct, place / f"CT{suffix}", series_number=100 + number, study_time=start)
        if _any(part.organs):
            write_seg(part.organs, place / "SEG" / f"organs{suffix}.dcm", files)
        if _any(part.outlines):
            write_seg(part.outlines, root / "truth" / f"{subject}_{session}{_tag(suffix)}_lesions.dcm", files)
            if part.drawn:
                write_rtstruct(part.outlines, place / "RTSTRUCT" / f"lesions{suffix}.dcm", files)


def write_bids(
    root: Path,
    subject: str,
    session: str,
    name: str,
    parts: Sequence[Scanned],
    leave_out: Sequence[str],
    *,
    alone: bool,
) -> None:
    """PET and CT of a session; masks of organs, and of lesions where they were drawn, under ``derivatives/masks``.

    ``alone`` as for :func:`write_dicom`.
    """
    who: dict[str, Any] = {"subject": subject, "session": session}
    for part in parts:
        label = slug(part.dose.name).replace("-", "")
        for number, scan in enumerate(part.scans, start=1):
            entities: Mapping[str, str] = {} if alone else {"trc": label}
            if len(part.scans) > 1:
                entities = {**entities, "run": str(number)}
            bids.write(known_to(scan, subject, session, leave_out), root, name=name, entities=entities)
        bids.write(
            known_to(part.ct, subject, session, leave_out), root, name=name, entities={} if alone else {"acq": label}
        )
        masks = {"organs": (root / "derivatives" / "masks", part.organs), "truth": (root / "truth", part.outlines)}
        if part.drawn:
            masks["drawn"] = (root / "derivatives" / "masks", part.outlines)
        for desc, (place, region) in masks.items():
            bids.write_derivative(region, place, **who, desc=desc if alone else f"{desc}{label}")


def known_to(scan: Acquisition, subject: str, session: str, leave_out: Sequence[str]) -> Acquisition:
    """A scan of a subject and session, without what its headers lack on purpose."""
    changes: dict[str, Any] = {"subject": subject, "session": session, **dict.fromkeys(leave_out)}
    if leave_out:
        words = ", ".join(name.split("_")[0] for name in leave_out)
        changes["description"] = f"{scan.description}, {words} left out on purpose"
    return replace(scan, **changes)


def _any(region: Region) -> bool:
    return region.labels is not None and bool(region.labels.numpy().any())


def _tag(suffix: str) -> str:
    return suffix.replace("-", "_", 1)
