"""Zip and tar archives: claims held against caps, members that stay in the folder, neither links nor devices."""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path

from timelens.errors import FormatError, UnsafeFileError
from timelens.formats import safety

__all__ = ["MAX_MEMBERS", "check_zip", "extract_tar", "extract_zip"]

#: Largest number of files in an archive.
MAX_MEMBERS = 100_000


def check_zip(archive: str | Path, *, limit: int = safety.MAX_BYTES) -> None:
    """Hold what a zip archive claims to expand to against the caps, before anything reads it.

    Raises
    ------
    UnsafeFileError
        If it is a bomb.
    FormatError
        If it is no zip archive.
    """
    place = safety.existing(archive)
    try:
        with zipfile.ZipFile(place) as opened:
            members = opened.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise safety.damaged(error, archive, "zip directory") from error
    _check_archive(len(members), sum(m.file_size for m in members), place.stat().st_size, limit, archive)


def extract_zip(archive: str | Path, folder: str | Path, *, limit: int = safety.MAX_BYTES) -> list[Path]:
    """Unpack a zip archive into a folder, with all guards; returns the files in the order of the archive.

    Raises
    ------
    UnsafeFileError
        If a member leaves the folder, is a link, or the archive is a bomb.
    FormatError
        If it is no zip archive, is damaged or encrypted.
    """
    place = safety.existing(archive)
    written: list[Path] = []
    try:
        with zipfile.ZipFile(place) as opened:
            members = opened.infolist()
            _check_archive(len(members), sum(m.file_size for m in members), place.stat().st_size, limit, archive)
            for member in members:
                target = safety.contained(folder, member.filename, file=archive, field="member name")
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise _link(archive, member.filename)
                if member.flag_bits & 1:
                    raise FormatError("The archive is encrypted", file=archive, field=member.filename)
                if member.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                with opened.open(member) as stream:
                    data = safety.read_capped(stream, member.file_size, file=archive, field=member.filename)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
                written.append(target)
    except zipfile.BadZipFile as error:
        raise safety.damaged(error, archive, "zip directory") from error
    return written


def extract_tar(archive: str | Path, folder: str | Path, *, limit: int = safety.MAX_BYTES) -> list[Path]:
    """Unpack a tar archive (plain or gzip) into a folder, with all guards; returns the files in order.

    Raises
    ------
    UnsafeFileError
        If a member leaves the folder, is a link or device, or the archive is a bomb.
    FormatError
        If it is no tar archive or is damaged.
    """
    place = safety.existing(archive)
    written: list[Path] = []
    total = 0
    try:
        # A stream is read member by member, so that the caps hold before the rest is expanded.
        with safety.open_expanded(place) as source, tarfile.open(fileobj=source, mode="r|") as opened:
            for number, member in enumerate(opened, 1):
                total += member.size
                _check_archive(number, total, place.stat().st_size, limit, archive)
                target = safety.contained(folder, member.name, file=archive, field="member name")
                if member.isdir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                content = opened.extractfile(member) if member.isreg() else None
                if content is None:
                    raise _link(archive, member.name)
                data = safety.read_capped(content, member.size, file=archive, field=member.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
                written.append(target)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise safety.damaged(error, archive, "tar") from error
    return written


def _check_archive(members: int, total: int, packed: int, limit: int, archive: object) -> None:
    if members > MAX_MEMBERS:
        raise UnsafeFileError("The archive holds too many files", file=archive, field="members", found=members)
    safety.check_expanded(total, packed, limit, safety.MAX_RATIO, archive, "member sizes")


def _link(archive: object, name: str) -> UnsafeFileError:
    return UnsafeFileError(
        "The archive holds a link or a device", file=archive, field="member name", found=repr(name), expected="files"
    )
