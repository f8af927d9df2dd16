"""Which lesion is which over time: by name, else by overlap and distance after registration. A person may overrule it.

The first session of a subject gives the identities. A later lesion takes the identity of the earlier one that it lies
on; what lies on none is new. ``identity`` in ``study.yaml`` (local name to identity) goes before everything else, and
``lesions.csv`` of each subject says how every identity came about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.regions.match import match_labels
from timelens.engines.registration.rigid import register_rigid
from timelens.errors import Problem, TimelensError
from timelens.formats import nifti
from timelens.run.files import bids_label
from timelens.study.geometry import Registration
from timelens.study.image import Image

__all__ = ["Followed", "follow_subject"]

#: Below this correlation of the two uptake images a registration is not believed.
_LEAST_CORRELATION = 0.7
#: SUV above which uptake counts as alike in a registration: lesions and bladder change, the body does not.
_UPPER_SUV = 2.5
#: Lesions that do not overlap are one if their centroids are no further apart.
_REACH_MM = 20.0


@dataclass
class Followed:
    """Identities of one subject's lesions: rows for ``lesions.csv``, and (session, acquisition, name) to identity."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    identity: dict[tuple[str, str, str], str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class _Scan:
    """Lesions of one acquisition of one session."""

    session: str
    acquisition: str
    method: str
    names: Mapping[int, str]
    labels: Path | None
    map: Path | None
    stated: Mapping[str, str]


def follow_subject(
    folder: Path, records: Sequence[Mapping[str, Any]], stated: Mapping[str, Mapping[str, str]]
) -> Followed:
    """Identities over the sessions of one subject.

    Parameters
    ----------
    folder
        The subject's folder of results.
    records
        ``session.json`` of each session, in order of time.
    stated
        Session to the identities that a person gave, by local name.
    """
    result = Followed()
    scans = [scan for record in records for scan in _scans(folder, record, stated)]
    if not scans:
        return result
    first = scans[0]
    taken: set[str] = set()
    reference: list[tuple[_Scan, dict[int, str]]] = []
    for scan in scans:
        known: dict[int, tuple[str, str, float, float]] = {}
        for number, name in scan.names.items():
            if name in scan.stated:
                known[number] = (scan.stated[name], "stated by the user", np.nan, np.nan)
        for earlier, identities in reversed(reference):
            _match(scan, earlier, identities, known, result.problems)
        for number, name in scan.names.items():
            if number not in known:
                how = "first scan" if scan is first else "new"
                known[number] = (_free(name, taken | {k[0] for k in known.values()}), how, np.nan, np.nan)
        taken |= {identity for identity, *_ in known.values()}
        reference.append((scan, {n: k[0] for n, k in known.items()}))
        for number, name in scan.names.items():
            identity, how, overlap, distance = known[number]
            result.identity[scan.session, scan.acquisition, name] = identity
            result.rows.append(
                {
                    "session": scan.session,
                    "acquisition": scan.acquisition,
                    "number": number,
                    "name": name,
                    "identity": identity,
                    "how": how,
                    "overlap": overlap,
                    "distance_mm": distance,
                }
            )
    return result


def _scans(folder: Path, record: Mapping[str, Any], stated: Mapping[str, Mapping[str, str]]) -> list[_Scan]:
    """One per acquisition with lesions; of a series, the last frame."""
    session = record["session"]
    found: dict[tuple[str, str], dict[int, str]] = {}
    methods: dict[tuple[str, str], str] = {}
    for region in record["regions"]:
        if region["role"] == "lesion" and region["set"].startswith("lesions"):
            found.setdefault((region["acquisition"], region["set"]), {})[int(region["number"])] = region["name"]
            methods[region["acquisition"], region["set"]] = region["method"]
    by_acquisition = dict(found.keys())
    scans = []
    for acquisition, name in by_acquisition.items():
        outputs = [folder / session / o for o in record["outputs"]]
        wanted = bids_label(name)
        masks = [p for p in outputs if acquisition in p.name and f"_desc-{wanted}_dseg.nii.gz" in p.name]
        maps = [p for p in outputs if acquisition in p.name and p.name.endswith("_map.nii.gz")]
        scans.append(
            _Scan(
                session,
                acquisition,
                methods[acquisition, name],
                found[acquisition, name],
                masks[0] if masks else None,
                maps[0] if maps else None,
                stated.get(session, {}),
            )
        )
    return scans


def _match(
    scan: _Scan,
    earlier: _Scan,
    identities: Mapping[int, str],
    known: dict[int, tuple[str, str, float, float]],
    problems: list[Problem],
) -> None:
    """Give lesions of a scan the identities of an earlier one, where none is known yet."""
    used = {identity for identity, *_ in known.values()}
    if scan.method == "given" and earlier.method == "given":
        by_name = {earlier.names[n]: identity for n, identity in identities.items()}
        for number, name in scan.names.items():
            if number not in known and name in by_name and by_name[name] not in used:
                known[number] = (by_name[name], f"name, as in {earlier.session}", np.nan, np.nan)
                used.add(by_name[name])
    if all(number in known for number in scan.names):
        return
    try:
        before, after, spacing, how = _on_one_grid(scan, earlier)
    except TimelensError as error:
        problems.append(
            Problem(
                f"Lesions of {scan.session} could not be laid over those of {earlier.session}",
                found=error.problem.message,
                expected="scans of one body that can be registered",
                mend="write 'identity' for the lesions of this session in study.yaml",
                severity="warning",
            )
        )
        return
    matching = match_labels(before, after, spacing, max_distance_mm=_REACH_MM)
    for old, new, status, overlap, distance in zip(
        matching.before, matching.after, matching.status, matching.overlap, matching.distance_mm, strict=True
    ):
        if status == "matched" and int(new) not in known:
            identity = identities.get(int(old))
            if identity is not None and identity not in used:
                known[int(new)] = (identity, how, float(overlap), float(distance))
                used.add(identity)


def _on_one_grid(scan: _Scan, earlier: _Scan) -> tuple[NDArray[Any], NDArray[Any], tuple[float, float, float], str]:
    """Labels of both scans on the earlier one's grid."""
    before, after = _labels(earlier), _labels(scan)
    target, source = before.geometry, after.geometry
    assert target is not None
    assert source is not None
    if target.same_frame(source):
        moved = after if target.same_grid(source) else after.resample_to(target, order=0)
        return before.numpy(), moved.numpy(), target.spacing, f"overlap, same frame as {earlier.session}"
    fixed, moving = _map(earlier), _map(scan)
    assert fixed.geometry is not None
    assert moving.geometry is not None
    found = register_rigid(
        fixed.numpy(), fixed.geometry.affine, moving.numpy(), moving.geometry.affine, upper=_UPPER_SUV
    )
    if found.correlation < _LEAST_CORRELATION:
        raise TimelensError(
            f"after rigid registration the uptake images correlate by {found.correlation:.2f} only",
            expected=f"at least {_LEAST_CORRELATION}",
        )
    frames = (source.frame or "later", target.frame or "earlier")
    registration = Registration("rigid, correlation of uptake", *frames, found.matrix)
    moved = after.with_info(geometry=source.with_frame(frames[0])).resample_to(
        target.with_frame(frames[1]), order=0, registration=registration
    )
    how = f"overlap after rigid registration to {earlier.session} (correlation {found.correlation:.2f})"
    return before.numpy(), moved.numpy(), target.spacing, how


def _labels(scan: _Scan) -> Image:
    if scan.labels is None:
        raise TimelensError("the lesion labels are not there", file=scan.session)
    return nifti.read(scan.labels, unit="1").image


def _map(scan: _Scan) -> Image:
    if scan.map is None:
        raise TimelensError("the uptake map is not there", file=scan.session)
    image = nifti.read(scan.map).image
    return image if len(image.shape) == 3 else image.frame(image.shape[0] - 1)


def _free(name: str, taken: set[str]) -> str:
    """The name itself, or the next number of its kind that is free: lesion-04."""
    if name not in taken:
        return name
    stem, _, number = name.rpartition("-")
    if not number.isdigit():
        stem, number = name, "01"
    count = int(number)
    while (candidate := f"{stem}-{count:02d}") in taken:
        count += 1
    return candidate
