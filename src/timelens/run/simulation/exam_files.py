"""MR exams and biopsies as files: Enhanced MR beside the scans in DICOM, qMRI collections in BIDS; slides as MCD.

In DICOM an exam's regions are a SEG; in BIDS a label file beside the last series. A biopsy is one MCD file for each
region, with the cells' labels as steinbock names them where they come with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from timelens.formats import bids, bids_mr, nifti
from timelens.formats.cytometry import mcd_write, tiff
from timelens.formats.dicom import write_enhanced_mr, write_seg
from timelens.run.simulation.biopsies import Taken
from timelens.run.simulation.files import known_to
from timelens.run.simulation.magnetic import Examined
from timelens.run.simulation.spec import slug
from timelens.study.region import Region

__all__ = ["write_biopsies", "write_mr_bids", "write_mr_dicom"]

#: Series numbers of MR begin here.
_FIRST_NUMBER = 200


def write_mr_dicom(
    root: Path, subject: str, session: str, start: datetime, exams: Sequence[Examined], leave_out: Sequence[str]
) -> None:
    """``DICOM/SIM-001/ses-01/MR-<exam>-<series>/000001.dcm``, of the study of the visit, and their regions as SEG."""
    place = root / "DICOM" / subject.replace("sub-", "SIM-") / session
    number = _FIRST_NUMBER
    for exam in exams:
        name, files = slug(exam.exam.name), []
        for scan in exam.series:
            number += 1
            known = known_to(scan, subject, session, leave_out)
            path = place / scan.id.upper() / "000001.dcm"
            files.append(write_enhanced_mr(known, path, series_number=number, study_time=start))
        write_seg(exam.given, place / "SEG" / f"regions-{name}.dcm", files[-1:])
        write_seg(exam.outlines, root / "truth" / f"{subject}_{session}_{name}_lesions.dcm", files[-1:])


def write_mr_bids(root: Path, subject: str, session: str, exams: Sequence[Examined], leave_out: Sequence[str]) -> None:
    """Series under ``anat``, ``perf``, ``dwi`` with the entity ``acq``; regions beside the last of them."""
    for exam in exams:
        label = slug(exam.exam.name).replace("-", "")
        files: list[Path] = []
        for scan in exam.series:
            known = known_to(scan, subject, session, leave_out)
            files = bids_mr.write_series(known, root, entities={"acq": label})
        last = files[-1]
        nifti.write_labels(exam.given, last.with_name(last.name.replace(".nii.gz", "_dseg.nii.gz")))
        bids.write_derivative(
            exam.outlines, root / "truth", subject=subject, session=session, modality="mr", desc=f"truth{label}"
        )


def write_biopsies(root: Path, subject: str, session: str, taken: Sequence[Taken], *, dicom: bool) -> None:
    """A slide as MCD in ``IMC`` beside the DICOM series of the visit, or in ``micr`` of a BIDS session."""
    for one in taken:
        name = slug(one.exam.name)
        if dicom:
            place = root / "DICOM" / subject.replace("sub-", "SIM-") / session / "IMC"
            # Names of slides are unique in a study: masks find their region by it.
            stem = f"{subject.replace('sub-', 'SIM-')}-{session.replace('ses-', 'visit-')}-{name}"
        else:
            place = root / subject / session / "micr"
            stem = f"{subject}_{session}_sample-{name.replace('-', '')}_IMC"
        place.mkdir(parents=True, exist_ok=True)
        mcd_write.write(one.region, place / f"{stem}.mcd")
        if one.drawn:
            (place / "masks").mkdir(exist_ok=True)
            tiff.write_mask(_plane(one.cells), place / "masks" / f"{stem}_001.tiff")
        tiff.write_mask(_plane(one.cells), root / "truth" / f"{subject}_{session}_{name}_cells.tiff")


def _plane(cells: Region) -> np.ndarray:
    assert cells.labels is not None
    return np.asarray(cells.labels.numpy()[0])
