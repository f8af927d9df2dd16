"""What a folder of anything holds: series, label files and tables, by subject and time, from headers alone.

Files are recognised by content, not by name. Links that leave the folder are not followed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from timelens.errors import FormatError, GeometryError, Problem, TimelensError
from timelens.formats import bids, bids_mr, blood, dicom, registry, safety, sidecar
from timelens.formats.cytometry import folder as cytometry
from timelens.formats.cytometry.region import read_region
from timelens.formats.dicom.safe import read_dataset
from timelens.study.acquisition import Acquisition
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.provenance import SourceFile
from timelens.study.region import Region, Role

__all__ = ["Found", "Scan", "guess_role", "load_acquisition", "load_region", "scan_folder"]

_MODALITIES = {"PT": "pet", "CT": "ct", "MR": "mr", "NM": "nm"}
#: Formats whose readers take the size of a pixel where the file is silent.
_SIZED = ("h5ad", "ome-tiff")
_REGION_KINDS = {"seg": "dicom-seg", "rtstruct": "dicom-rtstruct"}
#: Words of a file name that say what it is rather than whose.
_WORDS: dict[str, tuple[str, str]] = {
    "pet": ("modality", "pet"), "pt": ("modality", "pet"), "fdg": ("modality", "pet"), "suv": ("modality", "pet"),
    "ct": ("modality", "ct"), "mr": ("modality", "mr"), "mri": ("modality", "mr"), "spect": ("modality", "nm"),
    "t1w": ("modality", "mr"), "t2w": ("modality", "mr"),
    "mask": ("labels", ""), "masks": ("labels", ""), "seg": ("labels", ""), "dseg": ("labels", ""),
    "label": ("labels", ""), "labels": ("labels", ""), "roi": ("labels", ""), "rois": ("labels", ""),
    "lesions": ("labels", ""), "segmentation": ("labels", ""),
    "blood": ("other", ""), "plasma": ("other", ""), "autosampler": ("other", ""),
    "image": ("other", ""), "img": ("other", ""), "volume": ("other", ""),
}  # fmt: skip
_ROLES: tuple[tuple[str, Role], ...] = (
    (r"\b(tumou?rs?|lesions?|[gcip]tv\w*|metasta\w*|mets?|nodes?|nodules?|cancer|lymphoma|mass)\b", "lesion"),
    (r"\bliver\b", "liver"),
    (r"\b(blood|aorta|mediastin\w*|arter(y|ies)\b|aif\b)", "blood pool"),
    (r"\b(body|external|skin|outer|couch|table|patient)\b", "reference"),
    (r"\b(animal|mouse|rat)\b", "body"),
    (
        r"\b(lungs?|heart|myocard\w*|brain|bladder|kidneys?|spleen|bowel|colon|stomach|ureters?|gallbladder|"
        r"marrow|muscle|thyroid|pancreas|testi\w*|uterus|ovar\w*|prostate|rectum|sigmoid|intestine|duodenum|"
        r"o?esophagus|trachea|larynx|pharynx|tongue|parotids?|submandibular\w*|glands?|tonsils?|eyes?|lens|"
        r"cord|spine|bones?|femur|femoral|pelvis|ribs?|vessels?|cava|organs?|physiological|exclude)\b",
        "organ",
    ),
)


@dataclass(frozen=True)
class Found:
    """One series, label set or file.

    Attributes
    ----------
    kind
        ``image``, ``region``, ``table`` (blood samples) or ``other``.
    format
        Which reader takes it.
    files
        Absolute paths.
    subject, session
        Keys that group; ``subject`` may stem from a patient's identifier and is never written out.
    when
        Date and time of the study.
    uid, references, frame
        Own name, names of what it was drawn on, and frame of reference.
    series
        Which part of a file that holds several: the number of a region.
    """

    kind: Literal["image", "region", "table", "other"]
    format: str
    files: tuple[Path, ...]
    subject: str
    session: str
    modality: str
    description: str = ""
    when: datetime | None = None
    uid: str = ""
    references: tuple[str, ...] = ()
    frame: str | None = None
    series: str = ""


@dataclass
class Scan:
    """What a folder holds, what could not be used, and what of no use is there."""

    root: Path
    found: list[Found] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    not_used: list[Path] = field(default_factory=list)


def scan_folder(root: Path, *, skip: Collection[Path] = ()) -> Scan:
    """Look at every file of a folder, reading headers only.

    Results are no scans: a folder below whose ``dataset_description.json`` calls it derivative, and the ``derivatives``
    of a BIDS dataset, are listed as not used and not looked into.

    Parameters
    ----------
    root
        The folder.
    skip
        Folders below that are passed over in silence: where results are about to be written.

    Raises
    ------
    FormatError
        If it is no folder, or holds no file at all.
    """
    if not root.is_dir():
        raise FormatError("There is no such folder", file=root, found="nothing", expected="a folder of scans")
    scan = Scan(root.resolve())
    series: list[Path] = []
    single: list[tuple[Path, str]] = []
    together: dict[tuple[Path, str, str], list[Path]] = {}
    is_bids = (scan.root / "dataset_description.json").is_file()
    for path in _files(scan.root, {folder.resolve() for folder in skip}):
        if _holds_results(path):
            scan.not_used.append(path)
            continue
        kind = registry.sniff(path)
        collection = bids_mr.collection_of(path) if is_bids and kind == "nifti" else None
        if kind == "dicom":
            series.append(path)
        elif collection is not None:
            together.setdefault((path.parent, *collection), []).append(path)
        elif kind in registry.READERS and not path.name.startswith("."):
            single.append((path, kind))
        else:
            scan.not_used.append(path)
    if not (series or single or together or scan.not_used):
        raise FormatError("The folder is empty", file=root, found="no file", expected="scans")
    _dicom(scan, series)
    for paths in together.values():
        _single(scan, paths[0], "bids-mr", paths)
        used = {sidecar.beside(p).with_suffix(".bval") for p in paths}
        scan.not_used = [p for p in scan.not_used if p not in used]
    sections = [(path, kind) for path, kind in single if cytometry.belongs(path, kind)]
    _cytometry(scan, sections)
    for path, kind in single:
        if (path, kind) not in sections:
            _single(scan, path, kind)
    return scan


def _files(root: Path, skip: Collection[Path]) -> Iterator[Path]:
    """Every file below, in order; folders that are one image (OME-Zarr) or hold results as one; no hidden ones."""
    for place in sorted(root.iterdir()):
        if place.name.startswith(".") or not safety.inside(root, place) or place.resolve() in skip:
            continue
        if place.is_dir():
            whole = any((place / name).is_file() for name in ("zarr.json", ".zgroup", ".zattrs"))
            if whole or _holds_results(place):
                yield place
            else:
                yield from _files(place, skip)
        elif place.is_file():
            yield place


def _holds_results(place: Path) -> bool:
    """Whether it is a folder of a BIDS derivative, or of several."""
    if not place.is_dir():
        return False
    if place.name == "derivatives" and (place.parent / "dataset_description.json").is_file():
        return True
    try:
        said = json.loads((place / "dataset_description.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and said.get("DatasetType") == "derivative"


def _dicom(scan: Scan, files: Sequence[Path]) -> None:
    grouped = dicom.group_series([p for p in files if p.name.upper() != "DICOMDIR"]) if files else []
    by_uid = {s.series_uid: s for s in grouped}
    for series in grouped:
        scan.problems += series.problems
        if series.kind == "unreadable":
            scan.not_used += series.files
            continue
        kind: Literal["image", "region", "other"] = (
            "image" if series.kind == "image" else "region" if series.kind in _REGION_KINDS else "other"
        )
        # A structure set belongs to the day of the images it was drawn on, not to the day it was drawn.
        drawn_on = next((by_uid[uid] for uid in series.references if uid in by_uid), series)
        when = drawn_on.study_time or drawn_on.series_time or drawn_on.acquisition_time
        # A series of segmentations or structure sets is several things; an image series is one.
        groups = [(f,) for f in sorted(series.files)] if kind == "region" else [tuple(sorted(series.files))]
        for files in groups:
            scan.found.append(
                Found(
                    kind,
                    _REGION_KINDS.get(series.kind, "dicom"),
                    files,
                    subject=f"dicom:{series.patient or drawn_on.patient or series.study_uid}",
                    session=when.date().isoformat() if when is not None else drawn_on.study_uid,
                    modality=_MODALITIES.get(series.modality, series.modality.lower() or "unknown"),
                    description=series.description,
                    when=when,
                    uid=series.series_uid,
                    references=series.references,
                    frame=series.frame,
                )
            )


def _cytometry(scan: Scan, files: Sequence[tuple[Path, str]]) -> None:
    """Regions of slides, each once, with their masks; a slide is a subject where its folders name none."""
    if not files:
        return
    pieces, used, left_out, problems = cytometry.gather(files, scan.not_used)
    scan.not_used = sorted([*(p for p in scan.not_used if p not in set(used)), *left_out])
    scan.problems += problems
    for piece in pieces:
        entities = _entities(scan.root, piece.slide)
        uid = f"{piece.slide}:{piece.of or piece.name}"
        scan.found.append(
            Found(
                piece.kind,
                piece.format,
                piece.files,
                subject=f"bids:{entities['sub']}" if "sub" in entities else f"name:{piece.slide}",
                session=entities.get("ses", ""),
                modality="cytometry",
                description=piece.name if piece.kind == "region" else piece.description,
                uid=uid if piece.kind == "image" else "",
                references=(uid,) if piece.kind == "region" else (),
                series=piece.region,
            )
        )


def _entities(root: Path, path: Path) -> dict[str, str]:
    """Subject and session as BIDS writes them into names of folders and files."""
    return dict(re.findall(r"(?:^|[_/])(sub|ses)-([A-Za-z0-9]+)", path.relative_to(root).as_posix()))


def _single(scan: Scan, path: Path, kind: str, files: Sequence[Path] = ()) -> None:
    """A file that is a whole image or label set, or files of one collection: whose, and what, from name and folders."""
    entities = _entities(scan.root, path)
    stem = re.split(r"\.", path.name, maxsplit=1)[0]
    if kind == "bids-mr":
        stem = (bids_mr.collection_of(path) or ("", stem))[1]
    words = [w for w in re.split(r"[_\-\s]+", stem) if w]
    said = [_WORDS[w.lower()] for w in words if w.lower() in _WORDS]
    # The suffix of a BIDS name says what it is; an entity before it may say of which scan (acq-FDG_ct).
    ordered = said[::-1] if "sub" in entities else said
    modality = next((value for what, value in ordered if what == "modality"), "unknown")
    labels = any(what == "labels" for what, _ in said)
    rest = "_".join(w for w in words if w.lower() not in _WORDS)
    image_kind: Literal["image", "region", "table", "other"] = "region" if labels else "image"
    if kind in ("blood", "pmod-blood"):
        image_kind, modality, labels = "table", "blood", False
    elif kind == "h5ad":
        image_kind, modality, labels = "table", "cytometry", False
    elif kind == "bids":
        image_kind = "other"
    elif kind == "bids-mr":
        image_kind, modality, labels = "image", "mr", False
    scan.found.append(
        Found(
            image_kind,
            "labels" if labels else kind,
            tuple(files) or (path,),
            subject=f"bids:{entities['sub']}" if "sub" in entities else f"name:{path.parent}/{rest}",
            session=entities.get("ses", ""),
            modality=modality,
            description=stem,
            uid=f"{path.parent}/{rest}",
            references=(f"{path.parent}/{rest}",) if labels else (),
        )
    )


def guess_role(name: str) -> Role:
    """The role that a region's name speaks of; ``unknown`` where it speaks of none.

    >>> guess_role("GTV_Mass"), guess_role("Liver"), guess_role("SpinalCord"), guess_role("Liver met 1")
    ('lesion', 'liver', 'organ', 'lesion')
    >>> guess_role("struct7"), guess_role("carotid artery"), guess_role("AIF")
    ('unknown', 'blood pool', 'blood pool')
    """
    plain = re.sub(r"[_\-.\d]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).lower()
    return next((role for pattern, role in _ROLES if re.search(pattern, plain)), "unknown")


def _roles(region: Region, *, labels: bool) -> dict[int, Role]:
    """Roles as the file states them, else as the names speak of them.

    What nobody says is a lesion in a label file without names, and in a set of one region; elsewhere it stays unknown.
    """
    roles: dict[int, Role] = {}
    for number, name in region.names.items():
        said = region.roles.get(number, "unknown")
        role = guess_role(name) if said == "unknown" else said
        nameless = labels and re.fullmatch(r"(label|region|lesion)?[-_ ]?\d+", name) is not None
        roles[number] = "lesion" if role == "unknown" and (nameless or len(region.names) == 1) else role
    return roles


def patient_identifier(files: Sequence[Path]) -> str:
    """The identifier that a DICOM file gives its patient, for the private key alone; empty where there is none."""
    try:
        return str(read_dataset(files[0], only=["PatientID"], check=False).get("PatientID", ""))
    except TimelensError:
        return ""


def patient_words(files: Sequence[Path]) -> set[str]:
    """Words of at least four letters or digits in the patient's name and identifier, to keep them out of results."""
    try:
        header = read_dataset(files[0], only=["PatientID", "PatientName"], check=False)
    except (TimelensError, IndexError):
        return set()
    text = f"{header.get('PatientID', '')} {header.get('PatientName', '')}"
    return {word for word in re.split(r"[^\w\-]+|_", text) if len(word) >= 4}


def load_acquisition(
    kind: str,
    files: Sequence[Path],
    *,
    id: str,  # noqa: A002 - the field's name
    subject: str,
    session: str,
    modality: str,
    unit: str | None = None,
    pixel_size_um: float | None = None,
    series: str = "",
    root: Path | None = None,
) -> Acquisition:
    """The acquisition of some files, pixels unread.

    An image whose format knows no frame of reference gets one of its own, named after the acquisition: it lies in one
    space with nothing but the labels that are stated to belong to it.

    Raises
    ------
    TimelensError
        Whatever the reader refuses.
    """
    if kind == "dicom":
        found = dicom.read_series(files, subject=subject, session=session, unit=unit, series_uid=series or None)
    elif kind == "bids-mr":
        found = bids_mr.read_series(files, root if root is not None else files[0].parent, unit=unit)
    elif kind == "nifti" and root is not None and (root / "dataset_description.json").is_file():
        found = bids.read_scan(files[0], root, unit=unit)  # its JSON may stand higher up
    elif kind == "blood" and root is not None and (root / "dataset_description.json").is_file():
        said, more = bids.inherited(files[0], root)
        found = blood.read(files[0], described=said, unit=unit)
        found = replace(found, sources=(*found.sources, *more))
    elif kind in cytometry.KINDS or (kind in cytometry.PICTURES and modality == "cytometry"):
        found = read_region(files, region=series or None, id=id, unit=unit, pixel_size_um=pixel_size_um)
    elif kind not in registry.READERS:
        raise FormatError(
            "There is no such format",
            file=files[0],
            field="format",
            found=kind,
            expected=", ".join(sorted(registry.READERS)),
        )
    else:
        size = {"pixel_size_um": pixel_size_um} if pixel_size_um is not None and kind in _SIZED else {}
        found = registry.read(files[0], unit=unit, modality=modality, id=id, subject=subject, session=session, **size)
    data = found.data
    if isinstance(data, Image) and data.geometry is not None and data.geometry.frame is None:
        data = data.with_info(geometry=data.geometry.with_frame(f"of {id}"))
    sources = found.sources
    if root is not None:
        sources = tuple(replace(s, path=_relative(s, root)) for s in sources)
    return replace(found, id=id, data=data, subject=subject, session=session, modality=modality, sources=sources)


def _relative(source: SourceFile, root: Path) -> str:
    path = Path(source.path)
    return (
        path.resolve().relative_to(root.resolve()).as_posix()
        if path.resolve().is_relative_to(root.resolve())
        else path.name
    )


def load_region(
    kind: str,
    files: Sequence[Path],
    *,
    id: str,  # noqa: A002 - the field's name
    on: Geometry | None,
    root: Path | None = None,
) -> Region:
    """The regions of a SEG, RTSTRUCT or label file, with the roles that their names speak of.

    Raises
    ------
    GeometryError
        If a label file does not say on which acquisition it was drawn.
    TimelensError
        Whatever the reader refuses.
    """
    if kind == "dicom-rtstruct":
        region = dicom.read_rtstruct(files[0])
    elif kind == "dicom-seg":
        region = dicom.read_seg(files[0])
    else:
        if on is None:
            raise GeometryError(
                "A label file belongs to an image, which is not named or not readable",
                file=files[0],
                field="drawn_on",
                expected="the id of an acquisition of the session",
                mend="name the file as its image, with _dseg at the end, or write 'drawn_on' for it in study.yaml",
            )
        region = registry.read_labels(files[0], geometry=on, id=id)
    sources = region.sources
    if root is not None:
        sources = tuple(replace(s, path=_relative(s, root)) for s in sources)
    if region.extra.get("cells"):
        return replace(region, id=id, sources=sources)
    labels = kind not in ("dicom-rtstruct", "dicom-seg")
    return replace(region, id=id, roles=_roles(region, labels=labels), sources=sources)
