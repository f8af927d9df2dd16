"""MCD files that we write: what is refused, and that we, an independent reader and the text files read them back."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest

from timelens.errors import FormatError, UsageError
from timelens.formats import registry
from timelens.formats.cytometry import mcd, raster, tiff, txt
from timelens.formats.cytometry.mcd_write import write
from timelens.formats.cytometry.panel import Panel
from timelens.formats.cytometry.panorama import panorama_image
from timelens.formats.cytometry.schema import Panorama
from timelens.study.axes import Axis
from timelens.study.image import Image

METALS = ("Ir191", "Pr141", "Nd142")


def region(rng, shape=(5, 7), *, name="ROI <1> & more", corner=(31080.0, 13449.5), pixel=1.0, **extra):
    values = rng.poisson(4, (3, 1, *shape)).astype("f4") + np.float32(0.25)
    place = raster.place_on_slide(shape, pixel_um=(pixel, pixel), corner_um=corner, slide="s slide 0")
    channels = raster.Channels(METALS, ("DNA1", "CD8a", "CD4"))
    return raster.acquisition(
        lambda: values, id="roi", shape=shape, channels=channels, geometry=place, sources=(), description=name, **extra
    )


def picture(rng, shape=(20, 30)):
    colours = rng.integers(0, 255, (3, 1, *shape)).astype("u1")
    place = raster.place_on_slide(shape, pixel_um=(4.0, 4.0), corner_um=(31000.0, 13500.0), slide="s slide 0")
    axes = (Axis("c", "channel", "1"), *(Axis(n, "space", "mm") for n in "zyx"))
    return Image(colours, unit="1", axes=axes, geometry=place, name="overview")


# -- bad input ---------------------------------------------------------------------------------------------------------


def changed(one, **fields):
    return replace(one, data=one.image.with_info(**fields))


def holes(one):
    values = one.image.numpy().copy()
    values[:, 0, 1, 2] = np.nan
    return replace(one, data=Image(values, unit="{counts}", axes=one.image.axes, geometry=one.image.geometry))


def negative(one):
    values = one.image.numpy() - 100
    return replace(one, data=Image(values, unit="{counts}", axes=one.image.axes, geometry=one.image.geometry))


def renamed(one):
    axes = (Axis("c", "channel", "1", ("DNA", "CD8", "CD4")), *one.image.axes[1:])
    return replace(one, data=Image(one.image.numpy(), unit="{counts}", axes=axes, geometry=one.image.geometry))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: [], "has a region"),
        (lambda one: changed(one, unit="1"), "holds counts"),
        (holes, "missing before the end"),
        (negative, "count is negative"),
        (renamed, "names no metal"),
    ],
)
def test_regions_that_do_not_fit_are_refused(tmp_path, rng, change, said):
    with pytest.raises(UsageError, match=said):
        write(change(region(rng)), tmp_path / "s.mcd")
    assert not list(tmp_path.iterdir())


def test_names_and_pictures_that_do_not_fit_are_refused(tmp_path, rng):
    with pytest.raises(UsageError, match=r"ends in \.mcd"):
        write(region(rng), tmp_path / "s.txt")
    flat = picture(rng).with_info(unit="1")
    floats = Image(flat.numpy().astype("f4"), unit="1", axes=flat.axes, geometry=flat.geometry)
    with pytest.raises(UsageError, match="three colours with 8 bits"):
        write(region(rng), tmp_path / "s.mcd", panoramas=[floats])


# -- good input --------------------------------------------------------------------------------------------------------


def test_regions_and_pictures_come_back(tmp_path, rng):
    given = [region(rng), region(rng, (9, 4), name="second", corner=(33000.0, 9000.0), pixel=0.65)]
    panorama = picture(rng)
    path = write(given, tmp_path / "s.mcd", panoramas=[panorama])
    found = mcd.read_slide(path)
    assert not found.problems and [r.id for r in found.regions] == ["s_001", "s_002"]
    for one, back in zip(given, found.regions, strict=True):
        assert np.array_equal(back.image.numpy(), one.image.numpy())
        assert back.image.geometry.same_grid(one.image.geometry)
        assert (back.description, back.image.unit) == (one.description, "{counts}")
        assert back.image.axes[0].coordinates == METALS and back.extra["channel_labels"] == ("DNA1", "CD8a", "CD4")
        (own,) = back.extra["panoramas"]
        assert np.array_equal(own.numpy(), panorama.numpy()) and own.name == "overview"
        assert own.geometry.same_grid(panorama.geometry)


def test_an_independent_reader_agrees(tmp_path, rng):
    readimc = pytest.importorskip("readimc")
    given = [region(rng, region_number=4), region(rng, (9, 4), name="second", region_number=2)]
    path = write(given, tmp_path / "s.mcd", panoramas=[picture(rng)])
    with readimc.MCDFile(path) as theirs:
        (slide,) = theirs.slides
        assert [a.id for a in slide.acquisitions] == [2, 4]
        for one, other in zip(given[::-1], slide.acquisitions, strict=True):
            assert np.array_equal(theirs.read_acquisition(other), one.image.numpy()[:, 0])
            assert tuple(other.channel_names) == METALS and tuple(other.channel_labels) == ("DNA1", "CD8a", "CD4")
            assert other.description == one.description
            assert (other.width_um, other.height_um) == one.image.shape[:1:-1]
        assert np.array_equal(theirs.read_panorama(slide.panoramas[0]), np.moveaxis(picture_of(path), 0, -1))


def picture_of(path):
    return mcd.read_slide(path).regions[0].extra["panoramas"][0].numpy()[:, 0]


def test_a_slide_with_an_unknown_place_stays_unplaced(tmp_path, rng):
    one = region(rng, corner=None)
    back = mcd.read(registry.write(one, tmp_path / "s.mcd"))
    assert back.image.geometry.frame is None and np.array_equal(back.image.numpy(), one.image.numpy())


def test_a_run_that_was_stopped_ends_early(tmp_path, rng):
    one = region(rng)
    values = one.image.numpy().copy()
    values[:, 0, 4, 3:] = np.nan
    stopped = replace(one, data=Image(values, unit="{counts}", axes=one.image.axes, geometry=one.image.geometry))
    back = mcd.read(write(stopped, tmp_path / "s.mcd"))
    assert np.array_equal(back.image.numpy(), values, equal_nan=True)
    assert any("missing and NaN" in p.message for p in back.problems)


def test_a_written_slide_cut_anywhere_is_repaired_from_its_texts(tmp_path, rng):
    given = [region(rng, name="a"), region(rng, (9, 4), name="b")]
    path = write(given, tmp_path / "s.mcd")
    for number, one in enumerate(given, 1):
        txt.write(one, tmp_path / f"s_{one.description}_{number}.txt")
    data = path.read_bytes()
    for cut in rng.integers(1, len(data) - 24, 12):
        path.write_bytes(data[:cut])
        found = mcd.read_slide(path)
        assert found.problems and len(found.regions) == 2
        for one, back in zip(given, found.regions, strict=True):
            assert np.abs(back.image.numpy() - one.image.numpy()).max() <= 5.1e-4


def test_panoramas_without_an_area_are_refused(tmp_path, rng):
    path = write(region(rng), tmp_path / "s.mcd", panoramas=[picture(rng)])
    (known,) = mcd.read_slide(path).panoramas
    with pytest.raises(FormatError, match="span no area"):
        panorama_image(path, replace(known, corners_um=((0.0, 0.0),) * 4))
    with pytest.raises(FormatError, match="cannot be read"):
        panorama_image(path, Panorama(9, "", 0, 40, "PNG", known.corners_um))


def test_published_panoramas_lie_around_their_regions(shared_data):
    name = "20210305_NE_mockData1"
    for one in mcd.read_slide(shared_data / "imc_hyperion" / "raw" / name / f"{name}.mcd").regions:
        (picture,) = one.extra["panoramas"]
        place = picture.geometry
        assert picture.axes[0].coordinates == ("red", "green", "blue") and picture.numpy().dtype == np.uint8
        # Of the schema: from (31020, 13486) to (31213, 13324).
        low = place.to_mm([0, -0.5, -0.5])[:2]
        high = place.to_mm([0, place.shape[1] - 0.5, place.shape[2] - 0.5])[:2]
        assert np.allclose(low, (31.020, 13.486)) and np.allclose(high, (31.213, 13.324))
        assert place.same_frame(one.image.geometry)


# -- readers of one family ---------------------------------------------------------------------------------------------


def test_readers_take_the_same_words():
    words = [list(inspect.signature(m.read).parameters) for m in (mcd, txt, tiff)]
    assert words[0] == words[1] == words[2]


def test_words_that_contradict_a_file_are_refused(tmp_path, rng):
    path = write(region(rng), tmp_path / "s.mcd")
    text = txt.write(region(rng), tmp_path / "t.txt")
    panel = Panel(("Ir191", "Pr141"), ("DNA", "CD8"), dropped=("Nd142",))
    for read, place in ((mcd.read, path), (txt.read, text)):
        with pytest.raises(UsageError, match="another modality"):
            read(place, modality="pet")
        assert read(place, panel=panel).extra["channel_labels"][:2] == ("DNA", "CD8")
        with pytest.raises(UsageError, match="positive size"):
            read(place, pixel_size_um=-1.0)
    with pytest.raises(UsageError, match="another in the file"):
        mcd.read(path, pixel_size_um=0.5)
    assert mcd.read(path, pixel_size_um=1.0, subject="a").subject == "a"
    with pytest.raises(UsageError, match="without a number"):
        txt.read(text, region=1)


def test_a_slide_is_read_once_for_all_of_its_regions(tmp_path, rng, monkeypatch):
    path = write([region(rng), region(rng, (9, 4))], tmp_path / "s.mcd")
    calls = []
    seen = mcd._by_schema
    monkeypatch.setattr(mcd, "_by_schema", lambda *a: calls.append(1) or seen(*a))
    assert [mcd.read(path, region=n).id for n in (1, 2)] == ["s_001", "s_002"] and len(calls) == 1
    write([region(rng)], path)  # another file of the same name is read anew
    assert mcd.read(path).image.shape == (3, 1, 5, 7) and len(calls) == 2
