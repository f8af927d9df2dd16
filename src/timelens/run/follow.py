"""Which lesion is which over time: by name, else by overlap and distance after registration. A person may overrule it.

The first session of a subject gives the identities. A later lesion takes the identity of the earlier one that it lies
on; what lies on none is new. ``identity`` in ``study.yaml`` (local name to identity) goes before everything else, and
``lesions.csv`` of each subject says how every identity came about.

The frames of a series are joined first: lesions that lie on each other are one, whatever their numbers in the single
frames, and bear the name that they have in the last frame that shows them. Of several animals in one scan, each is
followed by itself; a person names its lesions ``animal/lesion``.
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
from timelens.run.files import bids_label, output_stem
from timelens.study.geometry import Registration
from timelens.study.image import Image

__all__ = ["Followed", "follow_subject"]

#: Below this correlation of the two uptake images a registration is not believed.
_LEAST_CORRELATION = 0.7
#: SUV above which uptake counts as alike in a registration: lesions and bladder change, the body does not.
_UPPER_SUV = 2.5
#: Lesions that do not overlap are one if their centroids are no further apart.
_REACH_MM = 20.0

#: Session, acquisition, animal (empty for the one subject), time of the frame in s (None where there is none), name.
Place = tuple[str, str, str, float | None, str]


@dataclass
class Followed:
    """Identities of one subject's lesions: rows for ``lesions.csv``, and place and name to identity."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    identity: dict[Place, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class _Frame:
    """Lesions of one frame, or of a scan without frames (number 0)."""

    number: int
    time_s: float | None
    names: Mapping[int, str]
    labels: Path


@dataclass(frozen=True)
class _Scan:
    """Lesions of one subject or animal in one acquisition; those of a series are joined over its frames.

    ``names`` and ``labels`` are those of the joined lesions; ``joined`` leads from (frame, number) to their numbers.
    """

    session: str
    acquisition: str
    animal: str
    method: str
    frames: tuple[_Frame, ...]
    names: Mapping[int, str]
    joined: Mapping[tuple[int, int], int]
    labels: Image
    map: Path
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
    scans = [s for record in records for s in _scans(folder, record, stated.get(record["session"], {}), result)]
    for animal in dict.fromkeys(scan.animal for scan in scans):
        _follow([scan for scan in scans if scan.animal == animal], result)
    for session, names in stated.items():
        there = {_said(scan, name) for scan in scans if scan.session == session for name in scan.names.values()}
        if unknown := sorted(set(names) - there):
            result.problems.append(
                Problem(
                    f"An identity is stated for a lesion that {session} does not have",
                    field="identity",
                    found=", ".join(unknown),
                    expected=", ".join(sorted(there)) or "a session with lesions",
                    mend="correct 'identity' of this session in study.yaml",
                    severity="warning",
                )
            )
    return result


def _follow(scans: Sequence[_Scan], result: Followed) -> None:
    """Identities of one subject or animal over its scans."""
    taken: set[str] = set()
    reference: list[tuple[_Scan, dict[int, str]]] = []
    for scan in scans:
        known: dict[int, tuple[str, str, float, float]] = {}
        for number, name in scan.names.items():
            if _said(scan, name) in scan.stated:
                known[number] = (scan.stated[_said(scan, name)], "stated by the user", np.nan, np.nan)
        for earlier, identities in reversed(reference):
            _match(scan, earlier, identities, known, result.problems)
        for number, name in scan.names.items():
            if number not in known:
                how = "first scan" if scan is scans[0] else "new"
                known[number] = (_free(name, taken | {k[0] for k in known.values()}), how, np.nan, np.nan)
        taken |= {identity for identity, *_ in known.values()}
        reference.append((scan, {n: k[0] for n, k in known.items()}))
        _enter(scan, known, result)


def _enter(scan: _Scan, known: Mapping[int, tuple[str, str, float, float]], result: Followed) -> None:
    """The identities of a scan, frame by frame."""
    unclear: set[str] = set()
    for frame in scan.frames:
        for number, name in frame.names.items():
            identity, how, overlap, distance = known[scan.joined[frame.number, number]]
            place = (scan.session, scan.acquisition, scan.animal, frame.time_s, name)
            if result.identity.setdefault(place, identity) != identity:
                unclear.add(name)
            result.rows.append(
                {
                    "session": scan.session,
                    "acquisition": scan.acquisition,
                    "animal": scan.animal,
                    "frame": frame.number or "",
                    "number": number,
                    "name": name,
                    "identity": identity,
                    "how": how,
                    "overlap": overlap,
                    "distance_mm": distance,
                }
            )
    for name in sorted(unclear):
        result.identity[scan.session, scan.acquisition, scan.animal, None, name] = name
    if unclear:
        result.problems.append(
            Problem(
                "The frames of a series have no times, so that its rows cannot be told apart; lesions keep the names "
                "that they have in each frame",
                file=scan.acquisition,
                field="FrameTimesStart",
                found=", ".join(sorted(unclear)),
                expected="start and duration of each frame",
                severity="warning",
            )
        )


def _said(scan: _Scan, name: str) -> str:
    """How a person names a lesion in ``study.yaml``."""
    return f"{scan.animal}/{name}" if scan.animal else name


def _scans(folder: Path, record: Mapping[str, Any], stated: Mapping[str, str], result: Followed) -> list[_Scan]:
    """One per acquisition with lesions, and per animal."""
    session, subject = record["session"], record["subject"]
    found: dict[tuple[str, str], dict[int, list[Mapping[str, Any]]]] = {}
    for region in record["regions"]:
        if region["role"] == "lesion" and region["set"].startswith("lesions"):
            frames = found.setdefault((region["acquisition"], region["animal"]), {})
            frames.setdefault(int(region["frame"]), []).append(region)
    scans = []
    for (acquisition, animal), listed in found.items():
        series = [
            _Frame(
                number,
                regions[0]["time_s"],
                {int(r["number"]): r["name"] for r in regions},
                folder / session / regions[0]["file"],
            )
            for number, regions in sorted(listed.items())
        ]
        method = next(iter(listed[series[-1].number]))["method"]
        try:
            names, joined, labels = _joined(series, given=method == "given")
        except (TimelensError, OSError) as error:
            result.problems.append(_lost(session, acquisition, error))
            continue
        lens = Path(listed[series[-1].number][0]["file"]).parent
        wanted = bids_label(f"suv_{animal}" if animal else "suv")
        uptake = folder / session / lens / f"{output_stem(subject, session, acquisition)}_desc-{wanted}_map.nii.gz"
        scans.append(_Scan(session, acquisition, animal, method, tuple(series), names, joined, labels, uptake, stated))
    return scans


def _lost(session: str, acquisition: str, error: Exception) -> Problem:
    return Problem(
        f"Lesions of {session} could not be followed: their mask cannot be read",
        file=acquisition,
        found=error.problem.message if isinstance(error, TimelensError) else type(error).__name__,
        expected="the mask that the run wrote",
        mend="delete the folder of this session and run again",
        severity="warning",
    )


def _joined(frames: Sequence[_Frame], *, given: bool) -> tuple[dict[int, str], dict[tuple[int, int], int], Image]:
    """Lesions over the frames of a series: their names, their numbers by (frame, number), and their labels.

    The last frame, where uptake has settled, begins. Each earlier frame is laid over all that were found after it;
    given regions are one if they have one name. Where lesions of two frames overlap, the label is the later one's.
    """
    last = frames[-1]
    image = nifti.read(last.labels, unit="1").image
    names = dict(last.names)
    joined = {(last.number, n): n for n in names}
    if len(frames) == 1:
        return names, joined, image
    assert image.geometry is not None
    labels = image.numpy().astype(np.int32)
    for frame in reversed(frames[:-1]):
        own = nifti.read(frame.labels, unit="1").image.numpy()
        if given:
            by_name = {name: n for n, name in names.items()}
            pairs = {n: by_name[name] for n, name in frame.names.items() if name in by_name}
        else:
            matching = match_labels(labels, own, image.geometry.spacing, max_distance_mm=_REACH_MM)
            pairs = {after: before for before, after in matching.pairs().items()}
        for number, name in frame.names.items():
            track = pairs.get(number) or max(names, default=0) + 1
            if track not in names:
                names[track] = _free(name, set(names.values()))
            joined[frame.number, number] = track
            labels[(own == number) & (labels == 0)] = track
    return names, joined, Image(labels, unit="1", geometry=image.geometry, name="lesions")


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
    before, after = earlier.labels, scan.labels
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


def _map(scan: _Scan) -> Image:
    if not scan.map.is_file():
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
