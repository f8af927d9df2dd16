"""Guards: caps, claims, paths, XML."""

from __future__ import annotations

import gzip
import io
import zlib

import numpy as np
import pytest

from timelens.errors import DataError, FormatError, UnsafeFileError
from timelens.formats import safety


@pytest.fixture
def small_caps(monkeypatch):
    """Caps small enough to be met by a test."""
    monkeypatch.setattr(safety, "FREE_BYTES", 1 << 16)


def test_existing(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        safety.existing(tmp_path / "absent")
    with pytest.raises(FormatError, match="Not an ordinary file"):
        safety.existing(tmp_path)
    (tmp_path / "empty").touch()
    with pytest.raises(FormatError, match="empty"):
        safety.existing(tmp_path / "empty")


def test_read_capped_stops_at_the_limit():
    assert safety.read_capped(io.BytesIO(b"12345"), 5) == b"12345"
    with pytest.raises(UnsafeFileError, match=r"beyond the limit.*File: a\.bin.*Field: pixels"):
        safety.read_capped(io.BytesIO(b"123456"), 5, file="a.bin", field="pixels")


def test_a_bomb_is_refused_but_small_zeros_are_not(small_caps):
    zeros = bytes(1 << 22)
    packed = zlib.compress(zeros)
    with pytest.raises(UnsafeFileError, match="compression bomb"):
        safety.inflate_capped(packed, wbits=zlib.MAX_WBITS)
    assert safety.inflate_capped(packed, ratio=2000, wbits=zlib.MAX_WBITS) == zeros
    few = bytes(1 << 15)
    assert safety.inflate_capped(zlib.compress(few), wbits=zlib.MAX_WBITS) == few


def test_inflate_refuses_truncated_and_damaged(rng):
    data = rng.bytes(5000)
    packed = zlib.compress(data, wbits=-15)
    assert safety.inflate_capped(packed) == data
    with pytest.raises(FormatError, match="truncated or damaged"):
        safety.inflate_capped(packed[:-10])
    with pytest.raises(FormatError, match="truncated or damaged"):
        safety.inflate_capped(b"\xff" * 50)


def test_expand_file(tmp_path, rng, small_caps):
    data = rng.bytes(3000)
    plain, packed = tmp_path / "a.bin", tmp_path / "a.bin.gz"
    plain.write_bytes(data)
    packed.write_bytes(gzip.compress(data))
    assert safety.expand_file(plain) == safety.expand_file(packed) == data
    assert safety.expand_file(packed, head=10) == data[:10]
    assert safety.expand_file(packed, exact=3000) == data
    with pytest.raises(FormatError, match="shorter than its header says"):
        safety.expand_file(packed, exact=3001)
    with pytest.raises(UnsafeFileError, match="beyond the limit"):
        safety.expand_file(packed, exact=2999)
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(FormatError, match="truncated or damaged"):
        safety.expand_file(packed)
    packed.write_bytes(gzip.compress(bytes(1 << 20)))
    with pytest.raises(UnsafeFileError, match="compression bomb"):
        safety.expand_file(packed)


def test_check_claim(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(100))
    safety.check_claim(90, path, field="dim", offset=10)
    with pytest.raises(FormatError, match=r"more data than the file holds.*Field: dim.*64,000,000,000"):
        safety.check_claim(64 * 10**9, path, field="dim")
    with pytest.raises(FormatError, match="10 bytes too many"):
        safety.check_claim(90, path, field="dim")
    safety.check_claim(90, path, field="dim", exact=False)
    packed = tmp_path / "a.gz"
    packed.write_bytes(gzip.compress(bytes(100)))
    safety.check_claim(90, packed, field="dim")
    with pytest.raises(FormatError, match="compressed"):
        safety.check_claim(1 << 30, packed, field="dim")
    with pytest.raises(UnsafeFileError, match="beyond the limit"):
        safety.check_claim(1 << 40, packed, field="dim")


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/../../b", "", "C:\\a", "..\\a", "\\a", "a\0b"])
def test_contained_refuses(tmp_path, name):
    with pytest.raises(UnsafeFileError, match=r"leads out of its folder.*File: x\.nhdr.*Field: data file"):
        safety.contained(tmp_path, name, file="x.nhdr", field="data file")


def test_contained_follows_links(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path)
    with pytest.raises(UnsafeFileError, match="leads out"):
        safety.contained(tmp_path / "in", "link/secret")
    assert safety.contained(tmp_path / "in", "a/b.raw") == tmp_path / "in" / "a" / "b.raw"
    assert safety.inside(tmp_path, tmp_path / "in" / "link")
    assert not safety.inside(tmp_path / "in", tmp_path / "in" / "link")


ENTITIES = (
    b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;">]><x>&lol2;</x>"""
)


@pytest.mark.parametrize(
    "text",
    [
        ENTITIES,
        b'<!DOCTYPE x SYSTEM "http://localhost/x.dtd"><x/>',
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "/etc/passwd">]><x/>',
    ],
)
def test_xml_refuses_dtd_and_entities(text):
    with pytest.raises(UnsafeFileError, match=r"DTD or entities.*File: a\.xml"):
        safety.parse_xml(text, file="a.xml")


def test_xml():
    assert safety.parse_xml("<a><b/></a>")[0].tag == "b"
    with pytest.raises(FormatError, match="Not valid XML"):
        safety.parse_xml("<a>", file="a.xml")


def test_text_and_json(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert safety.read_json(path) == {"a": 1}
    for content, match in [
        (b"[1]", "Not a JSON object"),
        (b"{", "Not valid JSON"),
        (b'{"a":' * 100_000, "Not valid JSON"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"a\0b", "zero bytes"),
    ]:
        path.write_bytes(content)
        with pytest.raises(FormatError, match=match):
            safety.read_json(path)
    with pytest.raises(UnsafeFileError, match="beyond the limit"):
        safety.read_text(path, limit=2)


def test_load_array_never_unpickles(tmp_path):
    np.save(tmp_path / "good.npy", np.arange(4.0))
    assert safety.load_array(tmp_path / "good.npy").tolist() == [0, 1, 2, 3]
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(FormatError, match="plain numbers"):
        safety.load_array(tmp_path / "object.npy")
    (tmp_path / "pickle.npy").write_bytes(b"\x80\x04N.")
    with pytest.raises(FormatError, match="no numpy signature"):
        safety.load_array(tmp_path / "pickle.npy")
