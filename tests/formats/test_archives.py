"""Archives that leave their folder, hold links, or expand without measure."""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile

import pytest

from timelens.errors import FormatError, UnsafeFileError
from timelens.formats import archives, safety


@pytest.fixture
def small_caps(monkeypatch):
    """Caps small enough to be met by a test."""
    monkeypatch.setattr(safety, "FREE_BYTES", 1 << 16)


def _zip(path, members, mode=0):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return path


def test_zip(tmp_path, small_caps):
    good = _zip(tmp_path / "good.zip", {"a/b.txt": b"text"})
    assert [p.read_bytes() for p in archives.extract_zip(good, tmp_path / "out")] == [b"text"]
    slip = _zip(tmp_path / "slip.zip", {"../../evil": b"x"})
    with pytest.raises(UnsafeFileError, match=r"leads out of its folder.*slip\.zip.*member name.*evil"):
        archives.extract_zip(slip, tmp_path / "out")
    assert not (tmp_path.parent / "evil").exists()
    link = _zip(tmp_path / "link.zip", {"l": b"/etc/passwd"}, mode=stat.S_IFLNK)
    with pytest.raises(UnsafeFileError, match="link or a device"):
        archives.extract_zip(link, tmp_path / "out")
    bomb = _zip(tmp_path / "bomb.zip", {"zeros": bytes(1 << 22)})
    with pytest.raises(UnsafeFileError, match="compression bomb"):
        archives.extract_zip(bomb, tmp_path / "out")
    (tmp_path / "no.zip").write_bytes(b"PK\3\4 nothing")
    with pytest.raises(FormatError, match="truncated or damaged"):
        archives.extract_zip(tmp_path / "no.zip", tmp_path / "out")


def test_zip_with_too_many_members(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 2)
    with pytest.raises(UnsafeFileError, match="too many files"):
        archives.extract_zip(_zip(tmp_path / "many.zip", {str(i): b"" for i in range(3)}), tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "kind", "match"),
    [
        ("../evil", tarfile.REGTYPE, "leads out"),
        ("link", tarfile.SYMTYPE, "link or a device"),
        ("hard", tarfile.LNKTYPE, "link or a device"),
        ("pipe", tarfile.FIFOTYPE, "link or a device"),
    ],
)
def test_tar_refuses(tmp_path, name, kind, match):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "bad.tar.gz", "w:gz") as archive:
        archive.addfile(info)
    with pytest.raises(UnsafeFileError, match=match):
        archives.extract_tar(tmp_path / "bad.tar.gz", tmp_path / "out")
    assert not (tmp_path / "evil").exists()


def test_tar(tmp_path, small_caps):
    (tmp_path / "a.txt").write_bytes(b"text")
    with tarfile.open(tmp_path / "good.tar", "w") as archive:
        archive.add(tmp_path / "a.txt", "d/a.txt")
    assert [p.read_bytes() for p in archives.extract_tar(tmp_path / "good.tar", tmp_path / "out")] == [b"text"]
    (tmp_path / "zeros").write_bytes(bytes(1 << 22))
    with tarfile.open(tmp_path / "bomb.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "zeros", "zeros")
    with pytest.raises(UnsafeFileError, match="compression bomb"):
        archives.extract_tar(tmp_path / "bomb.tar.gz", tmp_path / "out")
    (tmp_path / "no.tar").write_bytes(os.urandom(2000))
    with pytest.raises(FormatError, match="truncated or damaged"):
        archives.extract_tar(tmp_path / "no.tar", tmp_path / "out")
