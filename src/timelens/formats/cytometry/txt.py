"""TXT: one region of imaging mass cytometry as tab-separated text, written by the instrument beside the MCD.

Columns are ``Start_push End_push Pushes_duration X Y Z`` and one per channel, ``label(Metal mass Di)``. Counts are
rounded to three decimals. The size of a pixel is not in the file.
"""

from __future__ import annotations

import csv
import io
import math
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.errors import FormatError, Problem, UsageError
from timelens.formats import safety
from timelens.formats.atomic import write_file
from timelens.formats.cytometry import raster
from timelens.formats.cytometry.panel import Panel, with_panel
from timelens.study.acquisition import Acquisition
from timelens.study.provenance import SourceFile

__all__ = ["HEAD", "is_text", "read", "read_channels", "read_rows", "write"]

#: The first columns of every such file.
HEAD = ("Start_push", "End_push", "Pushes_duration", "X", "Y", "Z")
_CHANNEL = re.compile(r"^(?P<label>.*)\((?P<metal>[A-Za-z]{1,2})(?P<mass>\d{1,3})[A-Za-z]*\)$")
_LINE_LIMIT = 1 << 20


def is_text(path: str | Path) -> bool:
    """Whether a file begins as such a text file does."""
    try:
        with Path(path).open("rb") as stream:
            return stream.read(64).removeprefix(b"\xef\xbb\xbf").startswith("\t".join(HEAD[:3]).encode())
    except OSError:
        return False


def read_channels(path: str | Path) -> raster.Channels:
    """The channels that the first line names.

    Raises
    ------
    FormatError
        If the first line is not that of such a file.
    """
    place = safety.existing(path)
    with place.open("rb") as stream:
        line = stream.readline(_LINE_LIMIT)
    try:
        names = line.decode("utf-8-sig").rstrip("\r\n").split("\t")
    except UnicodeDecodeError:
        names = line.decode("latin-1").rstrip("\r\n").split("\t")
    if tuple(names[: len(HEAD)]) != HEAD or len(names) == len(HEAD):
        raise FormatError(
            "Not a text file of imaging mass cytometry", file=path, field="header", found=names[:7],
            expected="\\t".join(HEAD) + " and channels",
        )  # fmt: skip
    found = [_CHANNEL.match(name) for name in names[len(HEAD) :]]
    if None in found:
        raise FormatError(
            "A column names no metal", file=path, field="header", found=repr(names[len(HEAD) + found.index(None)]),
            expected="label(Pr141Di)",
        )  # fmt: skip
    metals = tuple(f"{m['metal']}{m['mass']}" for m in found if m)
    if len(set(metals)) != len(metals):
        raise FormatError("A metal stands in two columns", file=path, field="header", found=metals)
    return raster.Channels(metals, tuple(m["label"] for m in found if m))


def read_rows(path: str | Path) -> tuple[NDArray[np.float32], list[Problem]]:
    """The rows (X, Y, Z, channels) of a text file; a last line that was cut is left out and reported.

    Raises
    ------
    FormatError
        If a line before the last is not made of as many numbers as the header names.
    """
    import pandas as pd

    width = len(HEAD) + len(read_channels(path))
    problems: list[Problem] = []
    source: Path | io.BytesIO = Path(path)
    with Path(path).open("rb") as stream:
        stream.seek(-1, 2)
        if stream.read(1) not in b"\r\n":
            # Without its line end even a last number that reads well may have lost digits.
            stream.seek(0)
            content = stream.read()
            source = io.BytesIO(content[: content.rfind(b"\n") + 1])
            problems.append(
                Problem(
                    "The last line was cut and is left out", str(path), "rows", "no end of line", severity="warning"
                )
            )
    try:
        table = pd.read_csv(source, sep="\t", header=None, skiprows=1, names=list(range(width)), dtype=np.float32,
                            na_filter=False, index_col=False, encoding="latin-1", quoting=csv.QUOTE_NONE)  # fmt: skip
    except pd.errors.EmptyDataError:
        table = pd.DataFrame(np.empty((0, width), np.float32))
    except ValueError as error:
        raise FormatError(
            "A line is not made of numbers", file=path, field=_first_bad(path, width), found=str(error)[:200],
            expected=f"{width} numbers",
        ) from error  # fmt: skip
    rows = table.to_numpy(np.float32)[:, 3:]
    if not np.isfinite(rows).all():
        bad = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise FormatError(
            "A line is not made of numbers", file=path, field=f"line {bad + 2}", expected="finite numbers"
        )
    if (rows[:, 3:] < 0).any():
        raise FormatError("A count is negative", file=path, field="channels", found=float(rows[:, 3:].min()))
    return rows, problems


def _first_bad(path: str | Path, width: int) -> str:
    """The number of the first line that is not made of so many numbers, for the message."""
    with Path(path).open("rb") as stream:
        next(stream)
        for number, line in enumerate(stream, 2):
            parts = line.rstrip(b"\r\n").split(b"\t")
            try:
                good = len(parts) == width and all(math.isfinite(float(part)) for part in parts)
            except ValueError:
                good = False
            if not good:
                return f"line {number}"
    return "rows"


def read(
    path: str | Path,
    *,
    region: int | str | None = None,
    panel: Panel | str | Path | None = None,
    pixel_size_um: float | None = None,
    unit: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's name
    subject: str = "",
    session: str = "",
    modality: str | None = None,
) -> Acquisition:
    """Read one region from a text file.

    Parameters
    ----------
    path
        The file.
    region
        A text file holds one, without a number: leave it out.
    panel
        Names of the channels, and which are kept; by default as the file labels them.
    pixel_size_um
        Size of a pixel in micrometres; 1 by default, the raster of the instrument, with a warning.
    unit
        UCUM code of the values; counts by default.
    id, subject, session
        Where the caller knows them.
    modality
        ``cytometry``; nothing else fits.

    Raises
    ------
    FormatError
        If the file is damaged before its last line.
    UsageError
        If the modality, a region or the size of a pixel makes no sense here.
    """
    raster.check_modality(modality, file=path)
    raster.check_one_region(region, file=path)
    size = raster.PIXEL_UM if pixel_size_um is None else raster.check_size(pixel_size_um)
    place = safety.existing(path)
    channels = read_channels(place)
    rows, problems = read_rows(place)
    shape, complete = raster.grid_size(rows[:, 0], rows[:, 1], file=path)
    if not complete:
        problems.append(incomplete(path, len(rows), shape))
    if pixel_size_um is None:
        problems.append(
            Problem("The size of a pixel is not stated: the raster of the instrument is taken", str(path),
                    "pixel_size_um", "nothing", f"{raster.PIXEL_UM:g} um", "state it with pixel_size_um=", "warning")
        )  # fmt: skip
    one = raster.acquisition(
        partial(_image, rows, shape),
        id=id or place.stem,
        shape=shape,
        channels=channels,
        geometry=raster.place_on_slide(shape, pixel_um=(size, size)),
        sources=[SourceFile.of(place)],
        problems=[*problems, raster.unstated_thickness(path)],
        unit=unit or raster.COUNTS,
        subject=subject,
        session=session,
    )
    return one if panel is None else with_panel(one, panel)


def _image(rows: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.float32]:
    return raster.scatter(rows[:, 0], rows[:, 1], rows[:, 3:], shape)


def incomplete(path: str | Path, pixels: int, shape: tuple[int, int]) -> Problem:
    """The warning that part of a raster was never measured or is lost."""
    return Problem(
        "Part of the raster is missing and NaN", str(path), "pixels", f"{pixels} of {shape[0] * shape[1]}",
        f"{shape[0]} x {shape[1]}", "", "warning",
    )  # fmt: skip


def write(data: Acquisition, path: str | Path) -> Path:
    """Write a region as the instrument does, counts to three decimals; returns the path.

    Parameters
    ----------
    data
        A region in one plane, with metals on its axis ``c``; pixels that are NaN must end the raster.
    path
        Ends in ``.txt``.

    Raises
    ------
    UsageError
        If it is no such region.
    """
    image = data.image
    metals = [str(c) for c in image.axes[0].coordinates or ()]
    if image.axes[0].name != "c" or len(image.shape) != 4 or image.shape[1] != 1 or not metals:
        raise UsageError("A text file holds one plane with named channels", field="axes", found=image.shape,
                         expected="c, 1, y, x")  # fmt: skip
    labels = [str(v) for v in data.extra.get("channel_labels", metals)]
    names = [f"{label}({metal}Di)" for label, metal in zip(labels, metals, strict=True)]
    if bad := [n for n in names if _CHANNEL.match(n) is None or set(n) & set("\t\r\n")]:
        raise UsageError("A channel names no metal", field="channel", found=bad[0], expected="label(Pr141Di)")
    counts = image.numpy()[:, 0].reshape(len(metals), -1).T
    known = np.isfinite(counts).all(axis=1)
    pixels = int(known.sum())
    if not known[:pixels].all() or not pixels:
        raise UsageError("Pixels are missing before the end of the raster", field="pixels", found=f"{pixels} known")
    y, x = np.divmod(np.arange(pixels), image.shape[3])
    # Counts repeat: each different one is put into words once.
    different, place = np.unique(counts[:pixels], return_inverse=True)
    words = np.array([f"{v:.3f}" for v in different.tolist()], object)[np.asarray(place).reshape(pixels, -1)]
    lines = ["\t".join([*HEAD, *names])]
    for number, (row, column, cells) in enumerate(zip(y.tolist(), x.tolist(), words.tolist(), strict=True)):
        lines.append(f"{number}\t{number + 1}\t1\t{column}\t{row}\t{number}\t" + "\t".join(cells))
    text = "\n".join(lines) + "\n"
    return write_file(text, path)
