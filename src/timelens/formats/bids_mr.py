"""Magnetic resonance in BIDS: file collections of quantitative MRI, diffusion with its b values, dynamic series, maps.

A collection (``sub-01_flip-1_VFA``, ``sub-01_flip-2_VFA`` ...) is one series whose images differ in one coordinate; it
becomes one image with that axis, ascending. Signals have no unit and stand as 1; maps must state theirs. Times in the
JSON are seconds and angles degrees; what looks like another unit is refused. RepetitionTime of a dynamic series is the
time between volumes unless RepetitionTimeExcitation is stated beside it or its frames say otherwise.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.errors import DataError, MissingFieldError, Problem, TimelensError, UsageError
from timelens.formats import atomic, bids, mr_checks, nifti, safety, sidecar
from timelens.study.acquisition import Acquisition
from timelens.study.axes import Axis, AxisKind
from timelens.study.image import Image
from timelens.study.mr import MrKind, MrSettings
from timelens.study.provenance import SourceFile

__all__ = ["SUFFIXES", "collection_of", "read_series", "write_series"]


@dataclass(frozen=True)
class _Suffix:
    """What a suffix means: kind, the entity that counts its files, the field that differs, its axis and unit."""

    kind: MrKind
    entity: str = ""
    field: str = ""
    axis: tuple[str, AxisKind, str] = ("", "other", "1")
    gradient_echo: bool | None = None


_ECHO: tuple[str, AxisKind, str] = ("echo", "echo", "s")
#: Suffixes that are read, in small letters.
SUFFIXES: dict[str, _Suffix] = {
    "vfa": _Suffix("flip", "flip", "FlipAngle", ("flip", "flip", "deg"), True),
    "irt1": _Suffix("inversion", "inv", "InversionTime", ("inversion", "other", "s")),
    "megre": _Suffix("gradient echoes", "echo", "EchoTime", _ECHO, True),
    "mese": _Suffix("spin echoes", "echo", "EchoTime", _ECHO, False),
    "dwi": _Suffix("diffusion", axis=("b", "b-value", "s/mm2")),
    "dce": _Suffix("dce", gradient_echo=True),
    "dsc": _Suffix("dsc"),
    "t1map": _Suffix("t1_map"),
    "tb1map": _Suffix("b1_map"),
}
_MAPS = ("t1_map", "b1_map")
#: Words that stand for no unit at all.
_ARBITRARY = ("arbitrary", "arb", "a.u.", "au", "arb. unit", "n/a")
_GRID = 1e-3
#: A repetition time this near to the time between volumes is that time.
_VOLUME = 0.02


def collection_of(path: Path) -> tuple[str, str] | None:
    """Suffix and name of the collection that a file belongs to; None where it is no series that is read.

    >>> collection_of(Path("sub-01_flip-2_VFA.nii.gz"))
    ('vfa', 'sub-01_VFA')
    """
    if not path.name.endswith((".nii", ".nii.gz")):
        return None
    stem = path.name.split(".")[0]
    known = SUFFIXES.get(stem.rsplit("_", 1)[-1].lower())
    if known is None or not stem.startswith("sub-"):
        return None
    name = re.sub(rf"_{known.entity}-[A-Za-z0-9]+(?=_)", "", stem) if known.entity else stem
    return stem.rsplit("_", 1)[-1].lower(), name


def read_series(files: Sequence[Path], root: Path, *, unit: str | None = None) -> Acquisition:
    """One series of the files of a collection; pixels are read when first asked for.

    Parameters
    ----------
    files
        All of one collection.
    root
        The dataset.
    unit
        Of a map, where its sidecar states none.

    Returns
    -------
    Acquisition
        ``extra["mr"]`` holds a :class:`~timelens.study.mr.MrSettings`.

    Raises
    ------
    DataError, MissingFieldError
        If the files are not one series, a number is missing or looks like another unit, or grids differ.
    """
    named = {collection_of(path) for path in files}
    if len(named) != 1 or None in named:
        raise UsageError(
            "The files are not one collection", file=files[0] if files else root, field="files",
            found=", ".join(p.name for p in files),
        )  # fmt: skip
    suffix, _ = next(iter(named - {None})) or ("", "")
    known = SUFFIXES[suffix]
    said = [dict(bids.inherited(path, root)[0]) for path in files]
    scans = [_single(path, root, each, known, unit) for path, each in zip(files, said, strict=True)]
    for path, each in zip(files, said, strict=True):
        _refuse_part(path, each)
    if known.entity:
        image, axis_values = _stacked(scans, files, said, known)
        said[0][known.field] = None  # it is on the axis
    elif len(scans) > 1:
        raise DataError("The files are several series", file=files[1], field="files", found=len(files), expected=1)
    else:
        image, axis_values = scans[0].image, None
        if known.kind == "diffusion":
            image = _diffusion(image, files[0])
    settings, problems = _settings(said, files, known, image, axis_values)
    first = scans[0]
    return replace(
        first,
        data=image,
        modality="mr",
        sources=tuple({s.path: s for scan in scans for s in (*scan.sources, *_bvals(files[0]))}.values()),
        problems=(*(p for scan in scans for p in scan.problems if p.field != "pixdim[4]"), *problems),
        extra={**first.extra, "mr": settings},
    )


def _bvals(path: Path) -> tuple[SourceFile, ...]:
    place = sidecar.beside(path).with_suffix(".bval")
    return (SourceFile.of(place),) if place.is_file() else ()


def _single(path: Path, root: Path, said: dict[str, Any], known: _Suffix, unit: str | None) -> Acquisition:
    """One file, with the unit of a signal and the times of its frames."""
    if str(said.get("Units", "")).strip().lower() in _ARBITRARY:
        del said["Units"]
    if known.kind not in _MAPS and "Units" not in said and unit is None:
        unit = "1"
    described = dict(said)
    if known.kind in ("dce", "dsc"):
        described |= _frame_times(said, path)
    who, sources = bids.who(path), bids.inherited(path, root)[1]
    try:
        found = nifti.read(path, described=described, unit=unit, modality="mr", **who)
    except MissingFieldError as error:
        if known.kind not in _MAPS or error.problem.field != "Units":
            raise
        raise MissingFieldError(
            "The unit of the map is not known", file=path, field="Units", found="nothing",
            expected="ms or s for T1, % or 1 for B1", mend="write Units into its JSON sidecar",
        ) from None  # fmt: skip
    geometry = found.image.geometry
    if geometry is not None and geometry.frame is None and nifti.is_scanner_space(path):
        shared = "_".join(["scanner", *(v for v in who.values() if v)])
        found = replace(found, data=found.image.with_info(geometry=geometry.with_frame(shared)))
    if known.kind in ("dce", "dsc"):
        _require_frames(found, path, described)
    elif found.image.axes[0].name == "t" and known.kind != "diffusion":
        raise DataError(
            "A file of this suffix holds one volume", file=path, field="dim", found=found.image.shape[0], expected=1
        )
    if known.kind == "t1_map":
        try:
            found.image.to_unit("s")
        except TimelensError as error:  # it is no time
            raise error.at(file=path, field="Units") from None
    return replace(found, sources=(*found.sources, *sources))


def _refuse_part(path: Path, said: Mapping[str, Any]) -> None:
    part = dict(p.split("-", 1) for p in path.name.split("_") if "-" in p).get("part", "mag")
    if part != "mag":
        raise DataError(
            "Only magnitudes are measured", file=path, field="part", found=part, expected="mag",
            mend="give the magnitude images",
        )  # fmt: skip


def _frame_times(said: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """PET-BIDS fields for a dynamic series: VolumeTiming, or the time between volumes."""
    if "FrameTimesStart" in said:
        return {}
    timing = said.get("VolumeTiming")
    if timing is None:
        return {}
    if not isinstance(timing, list) or not all(_is_number(v) for v in timing) or len(timing) < 2:
        raise DataError(
            "VolumeTiming is not a list of numbers", file=path, field="VolumeTiming", found=str(timing)[:60],
            expected="one start in s for each volume",
        )  # fmt: skip
    starts = np.asarray(timing, float)
    if (np.diff(starts) <= 0).any():
        raise DataError(
            "VolumeTiming does not ascend: the order of the volumes is not that of time", file=path,
            field="VolumeTiming", found=str(timing)[:60], expected="ascending times in s",
        )  # fmt: skip
    lengths = np.diff(starts)
    return {"FrameTimesStart": starts.tolist(), "FrameDuration": [*lengths.tolist(), float(lengths[-1])]}


def _require_frames(found: Acquisition, path: Path, said: Mapping[str, Any]) -> None:
    image = found.image
    if image.axes[0].name != "t" or image.shape[0] < 3:
        raise DataError(
            "A dynamic series needs three volumes or more", file=path, field="dim", found=image.shape,
            expected="x, y, z, time",
        )  # fmt: skip
    if image.frames is None:
        raise MissingFieldError(
            "The volumes of the dynamic series have no times", file=path, field="VolumeTiming", found="nothing",
            expected="the start of each volume in s", mend="write VolumeTiming into the sidecar",
        )  # fmt: skip
    header = [p for p in found.problems if p.field == "pixdim[4]"]
    step = float(np.median(image.frames.duration))
    if header or step <= 0:
        return
    stated = nifti.time_step(path)
    if stated is not None and stated > 0 and not 0.5 < stated / step < 2:
        raise DataError(
            "Header and sidecar state different times between volumes", file=path, field="VolumeTiming, pixdim[4]",
            found=f"{step:g} s and {stated:g} s", expected="one time", mend="check seconds and milliseconds",
        )  # fmt: skip


def _stacked(
    scans: Sequence[Acquisition], files: Sequence[Path], said: Sequence[Mapping[str, Any]], known: _Suffix
) -> tuple[Image, NDArray[np.float64]]:
    """The images of a collection along their coordinate, ascending."""
    if len(scans) < 2:
        raise DataError(
            "One image is no series", file=files[0], field=known.entity, found="1 file", expected="2 files or more"
        )
    values = np.array([_number(each, known.field, path) for each, path in zip(said, files, strict=True)])
    if known.field == "FlipAngle":
        values = mr_checks.flip_angles(values.tolist(), file=files[0])
    else:
        name: Any = "te" if known.field == "EchoTime" else "ti"
        values = np.array(
            [mr_checks.check(name, v, file=f, field=known.field) for v, f in zip(values, files, strict=True)]
        )
    order = np.argsort(values, kind="stable")
    if (np.diff(values[order]) <= 0).any():
        at = files[order[int(np.argmax(np.diff(values[order]) <= 0)) + 1]]
        raise DataError(
            f"Two files of the collection have one {known.field}", file=at, field=known.field,
            found=values[order].tolist(), expected="different values", mend="correct the sidecars, or leave one out",
        )  # fmt: skip
    first = scans[0].image
    for scan, path in zip(scans[1:], files[1:], strict=True):
        here, there = first.geometry, scan.image.geometry
        assert here is not None and there is not None
        if here.shape != there.shape or np.abs(here.affine - there.affine).max() > _GRID:
            raise DataError(
                "The files of the collection lie on different grids", file=path, field="affine", found=there.shape,
                expected=f"{here.shape} at the same place", mend="resample them to one grid",
            )  # fmt: skip
    images = [scans[i].image for i in order]
    axis = Axis(*known.axis, values[order])
    stacked = Image(
        lambda: np.stack([np.asarray(i.numpy(), np.float32) for i in images]),
        shape=(len(images), *first.shape), dtype=np.float32, unit=first.unit, axes=(axis, *first.axes),
        geometry=first.geometry, name=files[0].name,
    )  # fmt: skip
    return stacked, values[order]


def _diffusion(image: Image, path: Path) -> Image:
    place = sidecar.beside(path).with_suffix(".bval")
    if not place.is_file():
        raise MissingFieldError(
            "The b values of the series are not there", file=path, field=".bval", found="nothing",
            expected=place.name, mend="copy the file of b values beside the image",
        )  # fmt: skip
    try:
        values = [float(word) for word in safety.read_text(place).split()]
    except ValueError:
        raise DataError(
            "The file of b values holds more than numbers", file=place, field=".bval", expected="numbers in s/mm2"
        ) from None
    count = image.shape[0] if len(image.shape) == 4 else 1
    if len(values) != count:
        raise DataError(
            "There are not as many b values as volumes", file=place, field=".bval", found=len(values), expected=count
        )
    array = mr_checks.b_values(values, file=place, field=".bval")
    order = np.argsort(array, kind="stable")
    axis = Axis("b", "b-value", "s/mm2", array[order])
    return Image(
        lambda: np.asarray(image.numpy())[order], shape=image.shape, dtype=image.dtype, unit=image.unit,
        axes=(axis, *image.axes[1:]), geometry=image.geometry, name=image.name,
    )  # fmt: skip


# -- settings --------------------------------------------------------------------------------------------------------


def _settings(
    said: Sequence[Mapping[str, Any]],
    files: Sequence[Path],
    known: _Suffix,
    image: Image,
    axis: NDArray[np.float64] | None,
) -> tuple[MrSettings, list[Problem]]:
    """What is the same in all files; what differs and is not the axis is refused."""
    problems: list[Problem] = []

    def common(field: str) -> float | None:
        found = {None if each.get(field) is None else _number(each, field, path)
                 for each, path in zip(said, files, strict=True)}  # fmt: skip
        if len(found) > 1:
            raise DataError(
                f"The files of the collection differ in {field}", file=files[0], field=field,
                found=", ".join(sorted(map(str, found))), expected="one value",
                mend="give the files of one setting",
            )  # fmt: skip
        return found.pop()

    values: dict[str, float | None] = {}
    for name, field in (("te", "EchoTime"), ("ti", "InversionTime"), ("field", "MagneticFieldStrength")):
        if field == known.field:
            continue
        value = common(field)
        values[name] = None if value is None else mr_checks.check(name, value, file=files[0], field=field)  # type: ignore[arg-type]
    flip = None if known.field == "FlipAngle" else common("FlipAngle")
    if flip is not None:
        mr_checks.flip_angles([flip], file=files[0])
    tr = _repetition(common, files[0], known, image)
    sequences = {str(each.get("ScanningSequence", "")).upper() for each in said}
    gradient = known.gradient_echo
    for sequence in sequences - {""}:
        has = "GR" in sequence and "SE" not in sequence
        if gradient is not None and ("GR" in sequence or "SE" in sequence) and has != gradient and sequence != "GR\\SE":
            raise DataError(
                "The scanning sequence contradicts the suffix", file=files[0], field="ScanningSequence",
                found=sequence, expected="GR" if gradient else "SE", mend="correct the sidecar or the file's name",
            )  # fmt: skip
        gradient = has if gradient is None and ("GR" in sequence or "SE" in sequence) else gradient
    first = said[0]
    agent = first.get("ContrastBolusAgent") or first.get("ContrastBolusIngredient")
    spoiled = first.get("SpoilingState", "SP" in str(first.get("SequenceVariant", "")) or None)
    return MrSettings(
        kind=known.kind, tr_s=tr, te_s=values.get("te"), ti_s=values.get("ti"), flip_deg=flip,
        field_t=values.get("field"), gradient_echo=gradient, spoiled=bool(spoiled) if spoiled is not None else None,
        echo_planar=any("EP" in s for s in sequences) or None, agent=str(agent) if agent else None,
    ), problems  # fmt: skip


def _repetition(common: Any, file: Path, known: _Suffix, image: Image) -> float | None:
    """Time between excitations."""
    excitation, plain = common("RepetitionTimeExcitation"), common("RepetitionTime")
    step = float(np.median(image.frames.duration)) if image.frames is not None else math.inf
    field = "RepetitionTimeExcitation" if excitation is not None else "RepetitionTime"
    value = excitation if excitation is not None else plain
    if value is None:
        return None
    tr = mr_checks.check("tr", value, file=file, field=field)
    if excitation is None and abs(tr - step) <= _VOLUME * step:
        return None  # the time between volumes
    if tr > step:
        raise DataError(
            "The repetition time is longer than a volume lasts", file=file, field=field,
            found=f"{tr:g} s, volumes every {step:g} s", expected="the time between excitations in s",
            mend="check seconds and milliseconds",
        )  # fmt: skip
    if known.kind in ("flip", "dce") and tr > 1.0:
        raise DataError(
            "The repetition time of a spoiled gradient echo looks like milliseconds", file=file, field=field,
            found=f"{tr:g} s", expected="at most 1 s", mend="write seconds",
        )  # fmt: skip
    return tr


def _number(said: Mapping[str, Any], field: str, path: Path) -> float:
    value = said.get(field)
    if value is None:
        raise MissingFieldError(
            f"The image has no {field}", file=path, field=field, found="nothing", expected="a number",
            mend=f"write {field} into the sidecar",
        )  # fmt: skip
    if not _is_number(value):
        raise DataError(f"{field} is not a number", file=path, field=field, found=repr(value)[:60], expected="a number")
    return float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# -- writing ---------------------------------------------------------------------------------------------------------

_FOLDERS: dict[str, str] = {"dwi": "dwi", "dce": "perf", "dsc": "perf", "tb1map": "fmap"}
_SPELLED = {"vfa": "VFA", "irt1": "IRT1", "megre": "MEGRE", "mese": "MESE", "t1map": "T1map", "tb1map": "TB1map"}
_FIELDS = {
    "tr_s": "RepetitionTimeExcitation", "te_s": "EchoTime", "ti_s": "InversionTime", "flip_deg": "FlipAngle",
    "field_t": "MagneticFieldStrength", "agent": "ContrastBolusIngredient",
}  # fmt: skip


def write_series(
    acquisition: Acquisition, root: str | Path, *, entities: Mapping[str, str] = MappingProxyType({})
) -> list[Path]:
    """Write a series whose ``extra["mr"]`` states its kind into a BIDS dataset; returns the image files.

    Parameters
    ----------
    acquisition
        With a subject and perhaps a session.
    root
        The dataset, made if it is not there.
    entities
        Further entities of the name, in their order (``{"acq": "liver"}``).

    Raises
    ------
    UsageError
        If the kind is not known.
    """
    settings = acquisition.extra.get("mr")
    suffix = next(
        (s for s, k in SUFFIXES.items() if isinstance(settings, MrSettings) and k.kind == settings.kind), None
    )
    if suffix is None or not isinstance(settings, MrSettings):
        raise UsageError("BIDS has no place for this series", field="mr", found=acquisition.id)
    known, image = SUFFIXES[suffix], acquisition.image
    folder, stem = bids.folder_of(Path(root), acquisition.subject, acquisition.session, _FOLDERS.get(suffix, "anat"))
    stem = "_".join([stem, *(f"{key}-{label}" for key, label in entities.items())])
    if any(re.fullmatch(r"[A-Za-z0-9]+", label) is None for label in entities.values()):
        raise UsageError("BIDS names are made of letters and digits", field="entities", found=dict(entities))
    bids.describe(Path(root), "timelens")
    more = {_FIELDS[k]: v for k, v in settings.known().items() if k in _FIELDS}
    written = []
    parts: list[tuple[str, Image, dict[str, Any]]]
    if known.entity:
        coordinates = np.asarray(image.axes[0].coordinates, float)
        name = image.axes[0].name
        parts = [
            (f"_{known.entity}-{k + 1}", image.isel({name: k}), {known.field: float(v)})
            for k, v in enumerate(coordinates)
        ]
    else:
        parts = [("", image, {})]
    for label, part, own in parts:
        path = folder / f"{stem}{label}_{_SPELLED.get(suffix, suffix)}.nii.gz"
        if known.kind == "diffusion":
            values = " ".join(f"{v:g}" for v in np.asarray(part.axes[0].coordinates, float))
            part = Image(part.numpy(), unit=part.unit, geometry=part.geometry, name=part.name)
            atomic.write_file(values + "\n", sidecar.beside(path).with_suffix(".bval"))
        nifti.write(replace(acquisition, data=part, extra={}), path)
        side = sidecar.beside(path)
        atomic.write_file(json.dumps({**safety.read_json(side), **more, **own}, indent=2) + "\n", side)
        written.append(path)
    return written
