"""MCD files: equal to an independent reader and to the text files, and repaired wherever they are cut."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.formats.cytometry import make

from timelens.errors import DataError, FormatError
from timelens.formats.cytometry import mcd, txt

SLIDES = ("20210305_NE_mockData1", "20210305_NE_mockData2", "20210305_NE_mockData4")


@pytest.fixture
def images(rng):
    return [rng.poisson(3, (2, h, w)).astype("f4") for h, w in ((4, 5), (6, 3))]


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "empty"), (b"nothing here", "no region that can be read"), (b"\x00" * 500, "no region")]
)
def test_files_without_regions_are_refused(tmp_path, content, said):
    path = tmp_path / "a.mcd"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=said):
        mcd.read_slide(path)


def test_absent_file(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        mcd.read_slide(tmp_path / "a.mcd")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ValueBytes": 8}, "unknown type"),
        ({"SegmentDataFormat": "Int"}, "unknown type"),
        ({"MaxX": "wide"}, "lacks a number"),
        ({"DataStartOffset": "NaN"}, "lacks a number"),
    ],
)
def test_schemas_that_make_no_sense_are_refused(tmp_path, images, changes, said):
    with pytest.raises(FormatError, match=said):
        mcd.read_slide(make.slide(tmp_path, images, texts=False, **changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"DataEndOffset": 10}, "names no channels, pixels or bytes"),
        ({"DataStartOffset": 10**12, "DataEndOffset": 10**12 + 360}, "behind the end of the file"),
        ({"MaxX": 2}, "does not fit its channels and pixels"),
        ({"MaxX": 2, "MaxY": 10}, "lies outside of its region"),
        ({"MaxX": 0}, "names no channels, pixels or bytes"),
    ],
)
def test_a_region_that_cannot_be_read_is_left_out_by_name_or_read_from_its_text(tmp_path, images, changes, said):
    path = make.slide(tmp_path, images, texts=False, **changes)
    found = mcd.read_slide(path)
    assert [r.id for r in found.regions] == ["s_001"]
    assert said in str(found.problems[0]) and found.problems[0].field == "region 2 (ROI_002)"
    if "Data" in str(changes):
        (tmp_path / "s_ROI_002_2.txt").write_text(make.text_of(images[1]))
        found = mcd.read_slide(path)
        assert np.array_equal(found.regions[1].image.numpy()[:, 0], images[1])
        assert found.regions[1].extra["repaired_from"] == "s_ROI_002_2.txt"


def test_rows_that_are_no_counts_come_from_the_text(tmp_path, images):
    path = make.slide(tmp_path, images)
    data = bytearray(path.read_bytes())
    data[37 + 12 : 37 + 16] = np.array([np.nan], "<f4").tobytes()
    path.write_bytes(data)
    found = mcd.read_slide(path)
    assert "no counts" in found.problems[0].message and len(found.regions) == 2
    assert np.array_equal(found.regions[0].image.numpy()[:, 0], images[0])


def test_a_text_file_with_other_channels_is_not_taken(tmp_path, images):
    path = make.slide(tmp_path, images, DataStartOffset=10**9, DataEndOffset=10**9 + 360)
    text = tmp_path / "s_ROI_002_2.txt"
    text.write_text(text.read_text().replace("Pr141Di", "Sm147Di"))
    found = mcd.read_slide(path)
    assert [r.id for r in found.regions] == ["s_001"]
    assert any("other channels" in p.message for p in found.problems)


# -- good input --------------------------------------------------------------------------------------------------------


def test_regions_know_their_place_channels_and_names(tmp_path, images):
    found = mcd.read_slide(make.slide(tmp_path, images), subject="sub-1", session="ses-1")
    assert [r.description for r in found.regions] == ["ROI_001", "ROI_002"] and not found.problems
    one = found.regions[0]
    assert (one.subject, one.session, one.modality, one.image.unit) == ("sub-1", "ses-1", "cytometry", "{counts}")
    assert one.image.axes[0].coordinates == ("Ir191", "Pr141")
    assert one.extra["channel_labels"] == ("Ir191_DNA1", "Pr141_CD8")
    # Row 0 lies at the top of the slide: its pixels' centres are half a micrometre below the corner.
    assert np.allclose(one.image.geometry.to_mm([0, 0, 0])[:2], (6.0005, 8.9995))
    assert np.allclose(one.image.geometry.to_mm([0, 3, 4])[:2], (6.0045, 8.9965))
    assert one.image.geometry.same_frame(found.regions[1].image.geometry)


def test_a_corner_that_contradicts_the_size_is_unknown(tmp_path, images):
    found = mcd.read_slide(make.slide(tmp_path, images, ROIEndXPosUm=99999))
    assert found.regions[1].image.geometry.frame is None


def test_one_region_by_number_or_name(tmp_path, images):
    path = make.slide(tmp_path, images)
    assert mcd.read(path, region=2, unit="1").id == mcd.read(path, region="ROI_002").id == "s_002"
    with pytest.raises(DataError, match="several regions"):
        mcd.read(path)
    with pytest.raises(DataError, match="no such region"):
        mcd.read(path, region=7)
    alone = tmp_path / "alone"
    alone.mkdir()
    assert mcd.read(make.slide(alone, images[:1]), id="mine").id == "mine"


def test_a_cut_region_without_text_keeps_its_lines(tmp_path, images):
    path = make.slide(tmp_path, images, texts=False, schema=True)
    row = 5 * 4
    path.write_bytes(path.read_bytes()[: 37 + 20 * row + 10 * row + 7])
    found = mcd.read_slide(path)
    second = found.regions[1].image.numpy()[:, 0]
    assert np.array_equal(second[:, :3], images[1][:, :3]) and np.isnan(second[:, 3, 1:]).all()
    assert np.isnan(second[:, 4:]).all()
    assert [p.severity for p in found.problems] == ["warning"] * 2
    assert "10 of 18" in str(found.problems[1])


def test_a_cut_schema_gives_the_elements_that_are_whole(tmp_path, images):
    path = make.slide(tmp_path, images, texts=False)
    path.write_bytes(path.read_bytes()[:-120])
    found = mcd.read_slide(path)
    assert found.regions[0].id == "s_001" and np.array_equal(found.regions[0].image.numpy()[:, 0], images[0])
    assert "1 regions" in found.problems[0].found


def test_rows_alone_are_found_by_their_look(tmp_path, images):
    path = make.slide(tmp_path, images, texts=False)
    path.write_bytes(path.read_bytes()[: 37 + 38 * 20])
    found = mcd.read_slide(path)
    assert [np.array_equal(r.image.numpy()[:, 0], i) for r, i in zip(found.regions, images, strict=True)] == [
        True,
        True,
    ]
    assert found.regions[0].image.axes[0].coordinates == ("channel_1", "channel_2")
    assert sum("look of its rows" in p.message for p in found.problems) == 2


# -- published slides --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SLIDES)
def test_published_slides_equal_an_independent_reader_and_their_texts(shared_data, name):
    readimc = pytest.importorskip("readimc")
    path = shared_data / "imc_hyperion" / "raw" / name / f"{name}.mcd"
    found = mcd.read_slide(path)
    assert len(found.regions) == 3 and not found.problems
    with readimc.MCDFile(path) as theirs:
        slide = theirs.slides[0]
        for one, other in zip(found.regions, slide.acquisitions, strict=True):
            values = one.image.numpy()[:, 0]
            assert np.array_equal(values, theirs.read_acquisition(other))
            assert one.image.axes[0].coordinates == tuple(other.channel_names)
            assert one.extra["channel_labels"] == tuple(other.channel_labels)
            text = txt.read(path.with_name(f"{name}_{one.description}_{other.id}.txt"))
            assert np.abs(text.image.numpy()[:, 0] - values).max() <= 5.1e-4
            assert text.image.axes[0].coordinates == one.image.axes[0].coordinates
        picture = theirs.read_panorama(slide.panoramas[0])
        assert np.array_equal(mcd.read_panorama(path, found.panoramas[0]), picture)


def test_published_regions_stand_where_the_table_says(shared_data):
    import pandas as pd

    table = pd.read_csv(shared_data / "imc_hyperion" / "steinbock" / "images.csv").set_index("image")
    for name in SLIDES:
        for one in mcd.read_slide(shared_data / "imc_hyperion" / "raw" / name / f"{name}.mcd").regions:
            row = table.loc[f"{one.id}.tiff"]
            corner = one.image.geometry.to_mm([0, -0.5, -0.5])[:2] * 1e3
            assert np.allclose(corner, (row.acquisition_start_x_um, row.acquisition_start_y_um))
            assert one.image.shape[2:] == (row.height_px, row.width_px)


@pytest.mark.parametrize("beside", ["texts and schema", "texts", "schema", "nothing"])
@pytest.mark.parametrize("name", SLIDES)
def test_slides_cut_anywhere_yield_what_is_left(shared_data, tmp_path, rng, name, beside):
    source = shared_data / "imc_hyperion" / "raw" / name
    whole = mcd.read_slide(source / f"{name}.mcd")
    ends = _ends(source / f"{name}.mcd")
    data = (source / f"{name}.mcd").read_bytes()
    if "texts" in beside:
        for text in source.glob("*.txt"):
            shutil.copyfile(text, tmp_path / text.name)
    if "schema" in beside:
        shutil.copyfile(source / f"{name}.schema", tmp_path / f"{name}.schema")
    path = tmp_path / f"{name}.mcd"
    for cut in rng.integers(1, data.rfind("</MCDSchema>".encode("utf-16-le")), 20):
        path.write_bytes(data[:cut])
        intact = [k for k, end in enumerate(ends) if end <= cut]
        wanted = set(range(3)) if "texts" in beside else set(intact)
        try:
            found = mcd.read_slide(path)
        except FormatError:
            assert not wanted
            continue
        assert found.problems, "a damaged file is reported"
        given = {a.extra["region_number"] - 1: a for a in found.regions}
        assert wanted <= set(given)
        for k, one in given.items():
            values, truth = one.image.numpy(), whole.regions[k].image.numpy()
            there = np.isfinite(values)
            assert there.all() or k not in wanted
            lines = values.shape[2]
            assert np.abs(values - truth[:, :, :lines])[there].max() <= 5.1e-4


def _ends(path: Path) -> list[int]:
    from timelens.formats.cytometry import schema

    found = schema.find(path)
    assert found is not None
    return [r.end for r in found.regions]
