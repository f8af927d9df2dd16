"""From what an image file says, what its sidecar says and what the caller states, to an acquisition.

The unit comes from the caller, the sidecar or the file, and is never guessed: where two of them disagree, or none
knows, the image is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import DTypeLike

from timelens import units
from timelens.errors import MissingFieldError, Problem, TimelensError, UnitError
from timelens.formats import sidecar
from timelens.study.acquisition import Acquisition
from timelens.study.axes import Axis
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.provenance import SourceFile
from timelens.study.timing import FrameTiming

__all__ = ["acquire", "described", "modality_of", "resolve_unit", "stem"]


def stem(path: str | Path) -> str:
    """The name of a file without the endings of image formats."""
    return sidecar.beside(path).stem


def described(path: str | Path, given: Mapping[str, Any] | str | Path | None) -> tuple[sidecar.Described, Path | None]:
    """The sidecar that belongs to an image file, and its path if it was read from one.

    Parameters
    ----------
    path
        The image file.
    given
        The content of a sidecar, the path of one, or None for the one beside the image, if there is one.
    """
    if isinstance(given, Mapping):
        return sidecar.parse(given, file=sidecar.beside(path)), None
    place = Path(given) if given is not None else sidecar.beside(path)
    if given is None and not place.is_file():
        return sidecar.Described(), None
    return sidecar.read(place), place


def modality_of(path: str | Path, stated: str | None, said: sidecar.Described) -> str:
    """What the caller states, else what the sidecar says, else the suffix of the name (``_pet``), else nothing."""
    suffix = stem(path).rsplit("_", 1)[-1]
    return stated or said.acquisition.get("modality") or (suffix if suffix in ("pet", "ct", "nm") else "")


def resolve_unit(stated: str | None, *said: str | None, file: object, field: str = "Units") -> str:
    """The one unit of an image.

    Parameters
    ----------
    stated
        What the caller states, or None.
    said
        What sidecar and file say, the better informed first, None where nothing is said.
    file, field
        Place, for messages.

    Raises
    ------
    MissingFieldError
        If nobody says.
    UnitError
        If two disagree.
    """
    known = [sidecar.unit_code(text, file=file, field=field) for text in (stated, *said) if text is not None]
    if not known:
        raise MissingFieldError(
            "The unit of the image is not known",
            file=file,
            field=field,
            found="nothing in the file, no sidecar that says it",
            expected="a UCUM code such as Bq/mL or g/mL",
            mend="state it with unit='g/mL' (--unit g/mL), or write Units into a JSON sidecar",
        )
    for other in known[1:]:
        if not units.parse(other).same_kind(known[0]) or units.conversion_factor(other, known[0]) != 1.0:
            raise UnitError(
                "The unit stated is not the unit that the file gives",
                file=file,
                field=field,
                found=other,
                expected=known[0],
                mend="state no unit, or correct the sidecar",
            )
    return known[0]


def acquire(
    path: str | Path,
    load: Callable[[], Any],
    *,
    shape: Sequence[int],
    dtype: DTypeLike,
    axes: Sequence[Axis] | None = None,
    geometry: Geometry | None = None,
    oriented: bool = True,
    unit: str | None = None,
    file_unit: str | None = None,
    frames: FrameTiming | None = None,
    said: sidecar.Described | None = None,
    sources: Sequence[str | Path] = (),
    sources_hashed: tuple[SourceFile, ...] | None = None,
    problems: Sequence[Problem] = (),
    modality: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's name
    subject: str = "",
    session: str = "",
    **known: Any,
) -> Acquisition:
    """An acquisition of one image.

    Parameters
    ----------
    path
        The image file.
    load, shape, dtype, axes, geometry
        The pixels, as in :class:`~timelens.study.Image`; the geometry as the file has it.
    oriented
        Whether the format holds orientation and position; without, the sidecar's stand.
    unit
        What the caller states.
    file_unit, frames
        What the file itself says.
    said
        What the sidecar says; goes before what the file says.
    sources
        Further files that were read.
    sources_hashed
        All that was read, where that is no plain file.
    problems
        What the reader noticed.
    modality, id, subject, session
        What the caller states; without it the sidecar, then the suffix of the name (``_pet``), then nothing.
    **known
        Further fields of the acquisition that the file itself says.
    """
    said = said or sidecar.Described()
    about = dict(said.image)
    try:
        if geometry is not None:
            geometry = said.place(geometry, file=path, oriented=oriented)
        about["unit"] = resolve_unit(unit, about.get("unit"), file_unit, file=path)
        about["frames"] = about.get("frames") or frames
        if "decay_reference" in known:
            file_reference = known.pop("decay_reference")
            about.setdefault("decay_reference", file_reference)
        image = Image(
            load,
            shape=shape,
            dtype=dtype,
            axes=axes,
            geometry=geometry,
            name=Path(path).name,
            **about,
        )
    except TimelensError as error:
        known_file = error.problem.file
        raise (error if known_file and known_file != Path(path).name else _placed(error, path)) from None
    fields = {**{k: v for k, v in known.items() if v is not None}, **said.acquisition}
    fields["extra"] = {**known.get("extra", {}), **said.acquisition.get("extra", {})}
    fields.pop("modality", None)
    return Acquisition(
        id=id or stem(path),
        modality=modality_of(path, modality, said),
        data=image,
        subject=subject,
        session=session,
        sources=sources_hashed or tuple(SourceFile.of(p) for p in (path, *sources)),
        problems=(*problems, *said.problems),
        **fields,
    )


def _placed(error: TimelensError, path: str | Path) -> TimelensError:
    """The error with the full path in place of the bare name."""
    known = error.problem
    return type(error)(
        known.message, file=path, field=known.field, found=known.found, expected=known.expected, mend=known.mend
    )
