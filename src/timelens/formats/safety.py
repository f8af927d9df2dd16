"""Guards that stand before every reader: sizes, compression, paths, XML.

A file may come from anywhere. Nothing is expanded without a cap, no size in a header is believed before it was held
against the size of the file, no name inside a file leads out of its folder, XML has neither DTD nor entities, and
nothing that could run code is loaded. Each refusal names the file and the field.

Deflate (gzip, zip, deflated DICOM) cannot expand by more than 1032 to 1, so a header that claims more than that from a
compressed file is wrong before a single byte is expanded.
"""

from __future__ import annotations

import gzip
import json
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, TYPE_CHECKING, Any, cast

from timelens.errors import DataError, FormatError, UnsafeFileError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from numpy.typing import NDArray

__all__ = [
    "FREE_BYTES",
    "MAX_BYTES",
    "MAX_RATIO",
    "check_claim",
    "check_expanded",
    "contained",
    "damaged",
    "existing",
    "expand_file",
    "inflate_capped",
    "inside",
    "is_gzip",
    "load_array",
    "open_expanded",
    "parse_xml",
    "read_capped",
    "read_json",
    "read_text",
]

#: Largest expanded size in bytes of anything that is compressed.
MAX_BYTES = 64 << 30
#: Largest expansion, where the result is larger than :data:`FREE_BYTES`.
MAX_RATIO = 300.0
#: Up to this size any ratio is allowed: masks are nearly all zeros and compress a thousandfold.
FREE_BYTES = 256 << 20
#: Largest text file (JSON, TSV, XML, headers).
MAX_TEXT = 64 << 20
_DEFLATE_LIMIT = 1032
_CHUNK = 1 << 20


def existing(path: str | Path) -> Path:
    """The path, if an ordinary file that is not empty stands there.

    Raises
    ------
    DataError
        If there is no such file.
    FormatError
        If it is a folder, a device or pipe, or empty.
    """
    place = Path(path)
    if not place.exists():
        raise DataError("There is no such file", file=path, field="path", expected="a file")
    if not place.is_file():
        raise FormatError("Not an ordinary file", file=path, field="path", expected="a file")
    if place.stat().st_size == 0:
        raise FormatError("The file is empty", file=path, field="size", found="0 bytes")
    return place


def is_gzip(path: str | Path) -> bool:
    """Whether a file begins as gzip does, whatever its name."""
    with Path(path).open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def check_expanded(size: int, compressed: int | None, limit: int, ratio: float, file: object, field: object) -> None:
    """Refuse a size beyond the limit, or one that no image reaches from so few compressed bytes.

    Raises
    ------
    UnsafeFileError
        If it is either.
    """
    if size > limit:
        raise UnsafeFileError(
            "The data expand beyond the limit",
            file=file,
            field=field,
            found=f"more than {limit:,} bytes",
            expected=f"at most {limit:,} bytes",
            mend="expand the file yourself if you trust it",
        )
    if compressed is not None and size > FREE_BYTES and size > ratio * max(compressed, 1):
        raise UnsafeFileError(
            "The data expand more than images do: a compression bomb",
            file=file,
            field=field,
            found=f"more than {ratio:g} to 1",
            expected=f"at most {ratio:g} to 1 above {FREE_BYTES:,} bytes",
            mend="expand the file yourself if you trust it",
        )


def read_capped(
    stream: IO[bytes],
    limit: int = MAX_BYTES,
    ratio: float = MAX_RATIO,
    *,
    compressed: int | None = None,
    file: object = "",
    field: object = "compressed data",
) -> bytes:
    """Everything a stream gives, but no more than a limit.

    Parameters
    ----------
    stream
        A binary stream, usually one that expands as it is read.
    limit
        Largest number of bytes.
    ratio
        Largest expansion above :data:`FREE_BYTES`; looked at where ``compressed`` is given.
    compressed
        Size of the compressed data in bytes.
    file, field
        Place, for messages.

    Raises
    ------
    UnsafeFileError
        If it gives more.
    FormatError
        If the compressed data are truncated or damaged.
    """
    pieces: list[bytes] = []
    size = 0
    try:
        while piece := stream.read(_CHUNK):
            size += len(piece)
            check_expanded(size, compressed, limit, ratio, file, field)
            pieces.append(piece)
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise damaged(error, file, field) from error
    return b"".join(pieces)


def damaged(error: Exception, file: object, field: object = "compressed data") -> FormatError:
    """The error for compressed data that end early or make no sense."""
    return FormatError(
        "The compressed data are truncated or damaged",
        file=file,
        field=field,
        found=str(error),
        expected="a whole compressed file",
        mend="copy the file again",
    )


def inflate_capped(
    data: bytes,
    limit: int = MAX_BYTES,
    ratio: float = MAX_RATIO,
    *,
    wbits: int = -zlib.MAX_WBITS,
    file: object = "",
    field: object = "compressed data",
) -> bytes:
    """Inflate deflated bytes with a cap.

    Parameters
    ----------
    data
        The compressed bytes.
    limit, ratio, file, field
        As in :func:`read_capped`.
    wbits
        As in :mod:`zlib`: raw deflate by default (as in deflated DICOM), ``zlib.MAX_WBITS`` for a zlib header,
        ``zlib.MAX_WBITS | 16`` for gzip.

    Raises
    ------
    UnsafeFileError
        If they expand beyond the cap.
    FormatError
        If they are truncated or damaged.
    """
    engine = zlib.decompressobj(wbits)
    pieces: list[bytes] = []
    size, rest = 0, data
    try:
        while rest and not engine.eof:
            piece = engine.decompress(rest, _CHUNK)
            rest = engine.unconsumed_tail
            size += len(piece)
            check_expanded(size, len(data), limit, ratio, file, field)
            pieces.append(piece)
        if not engine.eof:
            pieces.append(engine.flush())
    except zlib.error as error:
        raise damaged(error, file, field) from error
    if not engine.eof:
        raise damaged(EOFError("the stream ends before its end mark"), file, field)
    return b"".join(pieces)


def open_expanded(path: str | Path) -> IO[bytes]:
    """A file for reading, expanded on the way if its content is gzip."""
    place = existing(path)
    return cast("IO[bytes]", gzip.open(place, "rb") if is_gzip(place) else place.open("rb"))


def expand_file(
    path: str | Path, limit: int = MAX_BYTES, *, head: int | None = None, exact: int | None = None
) -> bytes:
    """The content of a file, gunzipped if it is gzip, with caps.

    Parameters
    ----------
    path
        The file.
    limit
        Largest size in bytes.
    head
        Only this many bytes from the start (fewer, if the file is shorter).
    exact
        The size that the header calls for.

    Raises
    ------
    UnsafeFileError
        If it is larger than the limit or a compression bomb.
    FormatError
        If it is truncated, damaged, or of another size than ``exact``.
    """
    place = existing(path)
    compressed = place.stat().st_size if is_gzip(place) else None
    with open_expanded(place) as stream:
        if head is not None:
            try:
                return stream.read(head)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise damaged(error, path) from error
        data = read_capped(stream, limit if exact is None else min(limit, exact), compressed=compressed, file=path)
    if exact is not None and len(data) != exact:
        raise FormatError(
            "The file is shorter than its header says",
            file=path,
            field="size",
            found=f"{len(data):,} bytes",
            expected=f"{exact:,} bytes",
            mend="copy the file again",
        )
    return data


def check_claim(claimed: int, path: str | Path, *, field: object, offset: int = 0, exact: bool = True) -> None:
    """Hold the size that a header claims against the size of the file, before memory is touched.

    Parameters
    ----------
    claimed
        Bytes of data that the header calls for.
    path
        The file that holds the data; gzip is recognised.
    field
        The header field that makes the claim.
    offset
        Bytes before the data.
    exact
        Whether a plain file may not be longer either.

    Raises
    ------
    FormatError
        If the file cannot hold the data, or holds more.
    UnsafeFileError
        If the claim goes beyond :data:`MAX_BYTES` from a compressed file.
    """
    place = existing(path)
    size = place.stat().st_size
    needed = offset + claimed
    packed = is_gzip(place)
    if packed and needed > MAX_BYTES:
        check_expanded(needed, None, MAX_BYTES, MAX_RATIO, path, field)
    most = size * _DEFLATE_LIMIT + _CHUNK if packed else size
    if claimed < 0 or needed > most:
        raise FormatError(
            "The header claims more data than the file holds",
            file=path,
            field=field,
            found=f"{needed:,} bytes claimed, {size:,} bytes in the file{' (compressed)' if packed else ''}",
            expected="a header that fits the file",
            mend="copy the file again; the header or the file is damaged",
        )
    if exact and not packed and size > needed:
        raise FormatError(
            "The file holds more data than its header claims",
            file=path,
            field=field,
            found=f"{size - needed:,} bytes too many",
            expected=f"{needed:,} bytes",
            mend="the header or the file is damaged; write it again from the source",
        )


# -- paths -----------------------------------------------------------------------------------------------------------


def contained(root: str | Path, name: str, *, file: object = "", field: object = "path") -> Path:
    """A path named inside a file, made absolute, if it stays in its folder.

    Parameters
    ----------
    root
        The folder that may not be left.
    name
        The name as the file gives it.
    file, field
        Place, for messages.

    Raises
    ------
    UnsafeFileError
        If the name is absolute, climbs out with ``..``, or leads out through a symbolic link.
    """
    text = name.replace("\\", "/")
    parts = PurePosixPath(text).parts
    bad = not parts or "\0" in name or ".." in parts or text.startswith("/") or PureWindowsPath(name).drive
    place = Path(root) / text
    if bad or not place.resolve().is_relative_to(Path(root).resolve()):
        raise UnsafeFileError(
            "A name inside the file leads out of its folder",
            file=file or root,
            field=field,
            found=repr(name),
            expected="a relative path that stays in the folder",
        )
    return place


def inside(root: str | Path, path: str | Path) -> bool:
    """Whether a path stays in a folder when its symbolic links are followed."""
    return Path(path).resolve().is_relative_to(Path(root).resolve())


# -- text ------------------------------------------------------------------------------------------------------------


def read_text(path: str | Path, *, limit: int = MAX_TEXT) -> str:
    """A UTF-8 text file, with a cap; a byte order mark is dropped.

    Raises
    ------
    FormatError
        If it is not text, or larger than the limit.
    """
    place = existing(path)
    with place.open("rb") as stream:
        data = read_capped(stream, limit, file=path, field="size")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError("Not a text file in UTF-8", file=path, field="encoding", found=str(error)) from error
    if "\0" in text:
        raise FormatError("Not a text file", file=path, field="encoding", found="zero bytes", expected="text in UTF-8")
    return text


def read_json(path: str | Path) -> dict[str, Any]:
    """A JSON object.

    Raises
    ------
    FormatError
        If the file is not JSON, is nested beyond reason, or is no object.
    """
    try:
        content = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise FormatError("Not valid JSON", file=path, field="JSON", found=str(error)) from error
    if not isinstance(content, dict):
        raise FormatError("Not a JSON object", file=path, field="JSON", found=type(content).__name__, expected="{...}")
    return content


def parse_xml(text: str | bytes, *, file: object = "", field: object = "XML") -> Element:
    """The root of an XML text without DTD, entities or references to elsewhere.

    Raises
    ------
    UnsafeFileError
        If it has any of these.
    FormatError
        If it is not XML.
    """
    from xml.etree.ElementTree import ParseError

    import defusedxml
    from defusedxml import ElementTree

    try:
        root: Element = ElementTree.fromstring(text, forbid_dtd=True)
    except defusedxml.DefusedXmlException as error:
        raise UnsafeFileError(
            "The XML holds a DTD or entities", file=file, field=field, found=type(error).__name__, expected="plain XML"
        ) from error
    except (ParseError, ValueError) as error:
        raise FormatError("Not valid XML", file=file, field=field, found=str(error)) from error
    return root


def load_array(path: str | Path) -> NDArray[Any]:
    """A ``.npy`` array, mapped from disk, never unpickled.

    Raises
    ------
    FormatError
        If the file is no array, holds Python objects or is truncated.
    """
    import numpy as np

    place = existing(path)
    try:
        # np.load would fall back to pickle or zip for other content; the memory map reads nothing but arrays.
        with place.open("rb") as stream:
            if stream.read(6) != b"\x93NUMPY":
                raise ValueError("no numpy signature")
        array: NDArray[Any] = np.load(place, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise FormatError("Not a numpy array of plain numbers", file=path, field="npy", found=str(error)) from error
    return array
