"""OME-TIFF: round trips, another program's files, plane order, damaged and hostile files."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from tests.formats.strategies import acquisitions, assert_same_acquisition

from timelens.errors import FormatError, GeometryError, MissingFieldError, UnitError, UnsafeFileError, UsageError
from timelens.formats import ome_tiff, safety
from timelens.study import Geometry, Image

anywhere = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@anywhere
@given(acquisitions(dtypes=["u1", "i2", "u2", "i4", "f4", "f8", "c8"], spaces=("body", "slide")))
def test_round_trip(tmp_path, made):
    path = ome_tiff.write(made, tmp_path / "a.ome.tif")
    read = ome_tiff.read(path)
    assert not read.image.loaded
    assert_same_acquisition(read, made)


@anywhere
@given(acquisitions(axes=("czyx", "tczyx"), dtypes=["u2"]))
def test_another_program_reads_the_same(tmp_path, made):
    path = ome_tiff.write(made, tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(tifffile.imread(path).ravel(), made.image.numpy().ravel())


def test_same_bytes_from_same_data(tmp_path):
    image = Image(np.ones((1, 2, 3), "u2"), unit="1", geometry=Geometry.from_spacing((1, 2, 3), (1, 1, 1)))
    first = ome_tiff.write(image, tmp_path / "a.ome.tif").read_bytes()
    assert ome_tiff.write(image, tmp_path / "b.ome.tif").read_bytes() == first


def foreign(path, data, axes, **meta):
    meta = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, **meta}
    tifffile.imwrite(
        path, data, ome=True, photometric=meta.pop("photometric", "minisblack"), metadata={"axes": axes, **meta}
    )
    return path


def test_a_flat_multichannel_image(tmp_path, rng):
    data = rng.integers(0, 100, (3, 4, 5)).astype("u2")
    path = foreign(tmp_path / "a.ome.tif", data, "CYX", Channel={"Name": ["DNA", "CD3", "PD-L1"]})
    with pytest.raises(MissingFieldError, match=r"unit of the image is not known.*a\.ome\.tif"):
        ome_tiff.read(path)
    read = ome_tiff.read(path, unit="{counts}")
    np.testing.assert_array_equal(read.image.numpy()[:, 0], data)
    assert read.image.axes[0].coordinates == ("DNA", "CD3", "PD-L1")
    assert (read.image.geometry.space, read.image.geometry.frame) == ("slide", None)
    np.testing.assert_allclose(read.image.geometry.spacing, (1e-3, 5e-4, 5e-4))  # micrometres by the schema
    assert [p.field for p in read.problems] == ["PhysicalSizeX"]
    assert "thickness is not stated" in read.problems[0].message


def test_colour(tmp_path, rng):
    data = rng.integers(0, 255, (4, 5, 3)).astype("u1")
    read = ome_tiff.read(foreign(tmp_path / "a.ome.tif", data, "YXS", photometric="rgb"), unit="1").image
    assert read.shape == (3, 1, 4, 5)
    np.testing.assert_array_equal(read.numpy()[:, 0], np.moveaxis(data, -1, 0))


@pytest.mark.parametrize("order", ["TCZYX", "TZCYX", "CTZYX", "ZCTYX", "ZTCYX", "CZTYX"])
def test_order_of_planes(tmp_path, order):
    data = np.arange(2 * 3 * 4).reshape([{"T": 2, "C": 3, "Z": 4}[n] for n in order[:3]] + [1, 1]).astype("u2")
    data = np.broadcast_to(data, (*data.shape[:3], 2, 2))
    read = ome_tiff.read(foreign(tmp_path / "a.ome.tif", data, order), unit="1").image
    expected = data.transpose([order.index(n) for n in "TCZYX"])
    np.testing.assert_array_equal(read.numpy(), expected)


def test_frames_of_equal_length(tmp_path):
    path = foreign(tmp_path / "a.ome.tif", np.zeros((3, 2, 2), "u2"), "TYX", TimeIncrement=500, TimeIncrementUnit="ms")
    read = ome_tiff.read(path, unit="1")
    assert read.image.frames.start.tolist() == [0, 0.5, 1]
    assert "TimeIncrement" in [p.field for p in read.problems]


def test_pixel_sizes_are_not_guessed(tmp_path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, np.zeros((2, 3), "u2"), ome=True, metadata={"axes": "YX"})
    with pytest.raises(MissingFieldError, match=r"size of a pixel is not known.*PhysicalSizeX.*pixel_size_um"):
        ome_tiff.read(path, unit="1")
    np.testing.assert_allclose(ome_tiff.read(path, unit="1", pixel_size_um=2).image.geometry.spacing[1:], 2e-3)


# -- damaged and hostile ---------------------------------------------------------------------------------------------

XML = """<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">
<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="3" SizeY="2" SizeZ="1" SizeC="2" SizeT="1"
PhysicalSizeX="1" PhysicalSizeY="1"><Channel ID="Channel:0:0"/><Channel ID="Channel:0:1"/><TiffData/></Pixels></Image>
</OME>"""


def hand(path, *replacements, pages=2, xml=XML, **options):
    for old, new in replacements:
        assert old in xml, old
        xml = xml.replace(old, new)
    data = np.arange(6 * pages, dtype="u2").reshape(pages, 2, 3)
    tifffile.imwrite(path, data, description=xml.encode(), metadata=None, photometric="minisblack", **options)
    return path


def test_by_hand(tmp_path):
    read = ome_tiff.read(hand(tmp_path / "a.ome.tif"), unit="1").image
    assert read.numpy().ravel().tolist() == list(range(12))
    swapped = '<TiffData IFD="1" FirstC="0"/><TiffData IFD="0" FirstC="1"/>'
    read = ome_tiff.read(hand(tmp_path / "a.ome.tif", ("<TiffData/>", swapped)), unit="1").image
    assert read.numpy().ravel().tolist() == [*range(6, 12), *range(6)]


ENTITIES = '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]>'
ELSEWHERE = '<TiffData IFD="0"><UUID FileName="../../etc/passwd">u</UUID></TiffData>'


@pytest.mark.parametrize(
    ("replacement", "error", "match"),
    [
        (('<?xml version="1.0"?>', ENTITIES), UnsafeFileError, r"DTD or entities.*a\.ome\.tif\. Field: OME-XML"),
        (("</OME>", ""), FormatError, "Not valid XML"),
        (("<OME", "<XML"), FormatError, r"holds no OME-XML.*ImageDescription"),
        (("Pixels", "Points"), FormatError, r"describes no pixels"),
        (('SizeX="3"', 'SizeX="3000000"'), FormatError, r"another size than the XML says.*page 0"),
        (('SizeX="3"', 'SizeX="-3"'), FormatError, r"Not a positive whole number.*Field: SizeX"),
        (('SizeZ="1"', 'SizeZ="999999999"'), FormatError, "number of planes cannot be"),
        (('SizeZ="1"', 'SizeZ="5"'), FormatError, "more planes than the file holds"),
        (('Type="uint16"', 'Type="float"'), FormatError, r"another type than the XML says.*Field: Type"),
        (('Type="uint16"', 'Type="object"'), FormatError, "Unknown type"),
        (("XYZCT", "XYQCT"), FormatError, "Unknown dimension order"),
        (("<TiffData/>", '<TiffData IFD="9"/><TiffData FirstC="1" IFD="1"/>'), FormatError, "more planes than"),
        (("<TiffData/>", '<TiffData IFD="0"/>'), FormatError, "A plane has no page"),
        (("<TiffData/>", '<TiffData IFD="0" FirstC="7"/>'), FormatError, "lies outside the image"),
        (("<TiffData/>", '<TiffData IFD="x"/>'), FormatError, "not made of numbers"),
        (("<TiffData/>", ELSEWHERE), UnsafeFileError, r"other files are not supported.*etc/passwd"),
        (('PhysicalSizeX="1"', 'PhysicalSizeX="-1"'), GeometryError, r"not positive numbers.*PhysicalSizeX"),
        (('PhysicalSizeX="1"', 'PhysicalSizeX="wide"'), GeometryError, "not positive numbers"),
        (('SizeX="1"', 'SizeX="1" PhysicalSizeXUnit="pixel"'), UnitError, r"Not a unit of length.*pixel"),
    ],
)  # fmt: skip
def test_damaged_xml(tmp_path, replacement, error, match):
    path = hand(tmp_path / "a.ome.tif", replacement)
    with pytest.raises(error, match=match) as caught:
        ome_tiff.read(path, unit="1")
    assert caught.value.problem.file == str(path)


def test_absurd_sizes_in_the_tags(tmp_path):
    path = hand(tmp_path / "a.ome.tif", ('SizeX="3"', 'SizeX="300000"'), ('SizeY="2"', 'SizeY="300000"'))
    raw = path.read_bytes()
    with tifffile.TiffFile(path) as opened:
        places = [page.tags[n].valueoffset for page in opened.pages for n in ("ImageWidth", "ImageLength")]
        kinds = [page.tags[n].dtype for page in opened.pages for n in ("ImageWidth", "ImageLength")]
    changed = bytearray(raw)
    for place, kind in zip(places, kinds, strict=True):
        changed[place : place + 4] = (300_000).to_bytes(4, "little")
        changed[place - 6] = 4  # the entry's type: 32 bit
        assert kind in (3, 4)
    path.write_bytes(changed)
    with pytest.raises(FormatError, match=r"claims more data than the file holds|damaged"):
        ome_tiff.read(path, unit="1")


def test_a_bomb_in_a_strip(tmp_path, monkeypatch):
    path = hand(tmp_path / "a.ome.tif", compression="zlib")
    bomb = zlib.compress(bytes(1 << 22))
    with tifffile.TiffFile(path) as opened:
        tags = opened.pages[0].tags
        places = {name: tags[name].valueoffset for name in ("StripOffsets", "StripByteCounts")}
    raw = bytearray(path.read_bytes())
    for name, value in (("StripOffsets", len(raw)), ("StripByteCounts", len(bomb))):
        raw[places[name] : places[name] + 4] = value.to_bytes(4, "little")
        raw[places[name] - 6] = 4  # the entry's type: 32 bit
    path.write_bytes(raw + bomb)
    monkeypatch.setattr(safety, "FREE_BYTES", 1 << 16)
    with pytest.raises(UnsafeFileError, match=r"beyond the limit.*a\.ome\.tif\. Field: page 0"):
        ome_tiff.read(path, unit="1").image.numpy()


def test_truncated_and_other_files(tmp_path):
    path = hand(tmp_path / "a.ome.tif")
    whole = path.read_bytes()
    for size in (6, 20, 100, len(whole) // 2):
        path.write_bytes(whole[:size])
        with pytest.raises(FormatError, match=r"a\.ome\.tif"):
            ome_tiff.read(path, unit="1").image.numpy()
    path.write_bytes(b"nothing at all")
    with pytest.raises(FormatError, match=r"TIFF file is damaged"):
        ome_tiff.read(path, unit="1")


def test_a_write_that_does_not_fit(tmp_path):
    geometry = Geometry.from_spacing((1, 1, 1), (1, 1, 1))
    with pytest.raises(UsageError, match=r"ends in \.ome\.tif"):
        ome_tiff.write(Image(np.ones((1, 1, 1)), unit="1", geometry=geometry), tmp_path / "a.tif")
    with pytest.raises(UsageError, match="no such data type"):
        ome_tiff.write(Image(np.ones((1, 1, 1), "i8"), unit="1", geometry=geometry), tmp_path / "a.ome.tif")
