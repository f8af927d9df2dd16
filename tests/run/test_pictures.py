"""Which pictures a result gives: curves, maps of parameters, uptake, and the truth beside the image."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from timelens.errors import DataError
from timelens.formats import nifti
from timelens.run.pictures import Album, draw
from timelens.run.truth_pictures import draw_truth, truth_files
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Result
from timelens.study.geometry import Geometry
from timelens.study.identity import identify
from timelens.study.image import Image
from timelens.study.region import Region
from timelens.study.table import Table

START = np.array([0.0, 60.0, 300.0, 900.0])
LONG = np.array([60.0, 240.0, 600.0, 900.0])
GRID = Geometry.from_spacing((12, 12, 12), (4.0, 4.0, 4.0), origin=(-22.0, -22.0, -22.0))


def tacs(*regions: str) -> Table:
    frame = pd.concat(
        pd.DataFrame({"region": r, "frame_start_s": START, "frame_duration_s": LONG, "mean": [1e3, 5e3, 4e3, 3e3],
                      "sd": 200.0, "voxels": 12, "unit": "Bq/mL"})
        for r in regions
    )  # fmt: skip
    seconds = dict.fromkeys(("frame_start_s", "frame_duration_s"), "s")
    return Table(frame, {**seconds, "mean": "Bq/mL", "sd": "Bq/mL", "voxels": "1"})


def fits(*regions: str) -> Table:
    frame = pd.concat(
        pd.DataFrame({"region": r, "model": "2tcm", "frame_start_s": START, "frame_duration_s": LONG,
                      "measured": [1e3, 5e3, 4e3, 3e3], "fitted": [1.1e3, 4.9e3, 4e3, 3e3], "weight": 1.0})
        for r in regions
    )  # fmt: skip
    units = {"frame_start_s": "s", "frame_duration_s": "s", "measured": "Bq/mL", "fitted": "Bq/mL", "weight": "1"}
    return Table(frame, units)


def volume(value: float, quantity: str, unit: str) -> Image:
    z, y, x = np.ogrid[:12, :12, :12]
    inside = (z - 6) ** 2 + (y - 6) ** 2 + (x - 6) ** 2 < 16
    return Image(np.where(inside, value, value / 10).astype(np.float32), unit=unit, geometry=GRID, quantity=quantity)


def labels() -> Region:
    data = Image((volume(1, "suv", "g/mL").numpy() > 0.5).astype(np.int32), unit="1", geometry=GRID)
    return Region("lesions", "labels", {1: "lesion-1"}, data)


def kinds(album: Album) -> list[str]:
    assert all((album.folder / r["file"]).read_bytes()[:4] == b"\x89PNG" for r in album.records)
    assert all(r["acquisition"] == "pet" and r["title"] and r["caption"] for r in album.records)
    return [r["kind"] for r in album.records]


def test_a_table_without_what_its_picture_needs_is_refused(tmp_path: Path) -> None:
    table = Table(fits("a").data.drop(columns="fitted"), fits("a").column_units)
    with pytest.raises(DataError, match=r"'fits' lacks columns.*fitted"):
        draw(Album(tmp_path, "pet", "pet"), Result(tables={"fits": table}), None)


def test_curves_are_drawn_once(tmp_path: Path) -> None:
    album = Album(tmp_path, "pet", "pet")
    draw(album, Result(tables={"tacs": tacs("a", "liver"), "fits": fits("a")}), None)
    assert kinds(album) == ["fits", "tacs"]  # the second for the region without a fit
    album = Album(tmp_path, "pet", "pet")
    draw(album, Result(tables={"tacs": tacs("a"), "fits": fits("a")}), None)
    assert kinds(album) == ["fits"]
    empty = Album(tmp_path, "pet", "pet")
    draw(empty, Result(tables={"tacs": Table(tacs("a").data.iloc[:0], tacs("a").column_units)}), None)
    assert not empty.records


def test_input_and_graphical_analysis_are_drawn_where_the_lens_gives_them(tmp_path: Path) -> None:
    t = np.arange(0.0, 1800.0, 10.0)
    rows = pd.concat(
        pd.DataFrame({"curve": name, "time_s": t, "value": v, "unit": unit, "kind": kind})
        for name, v, unit, kind in (
            ("plasma", 1e3 + t, "Bq/mL", "sample"), ("parent_plasma", 900 + t, "Bq/mL", "curve"),
            ("parent_fraction", 1 - t / 3600, "1", "curve"),
        )
    )  # fmt: skip
    lines = pd.DataFrame(
        {"region": "a", "model": "patlak", "x": [60.0, 600, 1800], "y": [0.2, 0.5, 1.1], "fitted": [np.nan, 0.5, 1.1],
         "used": [False, True, True], "t_star_s": 1200.0}
    )  # fmt: skip
    units = {"x": "s", "y": "1", "fitted": "1", "t_star_s": "s"}
    tables = {"input": Table(rows, {"time_s": "s", "value": "1"}), "graphs": Table(lines, units)}
    album = Album(tmp_path, "pet", "pet")
    draw(album, Result(tables=tables), None)
    assert kinds(album) == ["graphical", "input"]


def test_maps_of_parameters_have_their_error_with_them_and_uptake_its_projections(tmp_path: Path) -> None:
    maps = {
        "Ki": volume(0.05, "k_i", "mL/min/mL"),
        "Ki_se": volume(0.01, "k_i", "mL/min/mL"),
        "suv": volume(5.0, "suv", "g/mL"),
        "patlak_reason": Image(np.zeros((12, 12, 12), np.int16), unit="1", geometry=GRID),
    }
    album = Album(tmp_path, "pet", "pet")
    draw(album, Result(maps=maps, regions={"lesions": labels()}), None)
    assert kinds(album) == ["parameter", "mip", "slices", "histogram"]
    assert album.records[0]["title"] == "Map of Ki"
    assert "standard error" in album.records[0]["caption"]
    assert "Net influx rate (Ki, mL/min/mL)" in album.records[0]["caption"]


# -- truth ----------------------------------------------------------------------------------------------------------


def truth(root: Path, agent: str = "zr89-crefmirlimab") -> Path:
    fine = Geometry.from_spacing((16, 16, 16), (1.5, 1.5, 1.5), origin=(-11.25, -11.25, -11.25))
    z, y, x = np.ogrid[:16, :16, :16]
    r = np.sqrt((z - 7.5) ** 2 + (y - 7.5) ** 2 + (x - 7.5) ** 2)
    tumour = r < 6
    fields = {
        "tumour_cells": (np.where(tumour & (r > 2), 4e5, 0.0), "{cells}/mm3"),
        "cd8": (np.where(tumour, 3e3, 10.0), "{cells}/mm3"),
        "target_cd8a": (np.where(tumour, 20.0, 1.0), "nmol/L"),
        "target_pdl1": (np.where(tumour, 20.0, 1.0), "nmol/L"),
        f"suv_{agent}": (np.where(tumour, 6.0, 1.0), "g/mL"),
    }
    for name, (values, unit) in fields.items():
        path = root / f"truth/fields/sub-001_ses-01_tumour-liver-met_field-{name}.nii.gz"
        nifti.write(Image(values.astype(np.float32), unit=unit, geometry=fine), path)
    return root


def scan(agent: str = "zr89-crefmirlimab") -> tuple[Result, Acquisition]:
    image = volume(5.0, "suv", "g/mL")
    result = Result(maps={"suv": image}, regions={"lesions": labels()})
    return result, Acquisition(id="pet", modality="pet", data=image, agent=agent)


def test_truth_is_found_by_session_and_tumour(tmp_path: Path) -> None:
    assert truth_files(tmp_path, "sub-001", "ses-01") == {}
    truth(tmp_path)
    found = truth_files(tmp_path, "sub-001", "ses-01")
    assert list(found) == ["liver-met"]
    assert set(found["liver-met"]) == {
        "tumour_cells", "cd8", "target_cd8a", "target_pdl1", "suv_zr89-crefmirlimab",
    }  # fmt: skip
    assert truth_files(tmp_path, "sub-001", "ses-02") == truth_files(tmp_path, "sub-00", "ses-01") == {}


def test_truth_is_drawn_beside_the_image_of_its_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import timelens.figures.truth as drawing

    seen = {}
    original = drawing.truth_figure

    def spy(fields, **given):  # type: ignore[no-untyped-def]
        seen.update(given, titles=[f.title for f in fields])
        return original(fields, **given)

    monkeypatch.setattr(drawing, "truth_figure", spy)
    files = truth_files(truth(tmp_path), "sub-001", "ses-01")
    album = Album(tmp_path / "out", "pet", "pet")
    result, acquisition = scan()
    draw_truth(album, result, acquisition, files)
    assert kinds(album) == ["truth"]
    assert album.records[0]["title"] == "liver-met: truth and image"
    assert seen["titles"] == ["Tumour cells", "CD8 T cells", "CD8 alpha (target)"]  # not the target of another agent
    assert np.nanmax(seen["true_uptake"]) == 6.0 and np.nanmax(seen["seen"]) == 5.0
    # The necrotic core belongs to the tumour: the outline is a full disc of radius 6 voxels of 1.5 mm.
    area = seen["outline"].sum() * seen["spacing"][0] ** 2
    assert area == pytest.approx(np.pi * 9**2, rel=0.1)
    assert seen["measured"].any() and np.isnan(seen["true_uptake"][0, 0])
    # A field that cannot be read is named below the picture.
    files["liver-met"]["cd8"].write_bytes(b"broken")
    again = Album(tmp_path / "again", "pet", "pet")
    draw_truth(again, result, acquisition, files)
    assert f"Left out, as they cannot be read: {files['liver-met']['cd8'].name}." in again.records[0]["caption"]
    assert "Left out" not in album.records[0]["caption"]


def test_of_several_scans_the_true_uptake_is_that_of_the_nearest_in_time(tmp_path: Path) -> None:
    from timelens.run.truth_pictures import _read, _uptake

    files = dict(truth_files(truth(tmp_path), "sub-001", "ses-01")["liver-met"])
    once = files.pop("suv_zr89-crefmirlimab")
    for number, hours in ((1, 24), (2, 72)):
        path = once.with_name(once.name.replace("crefmirlimab", f"crefmirlimab-{number}"))
        nifti.write(
            Image(np.full((4, 4, 4), float(number), np.float32), unit="g/mL", geometry=GRID.with_spacing((12,) * 3)),
            path,
        )
        beside = path.with_name(path.name.replace(".nii.gz", ".json"))
        beside.write_text(json.dumps({**json.loads(beside.read_text()), "TimeFromInjection": hours * 3600}))
        files[f"suv_zr89-crefmirlimab-{number}"] = path
    _, acquisition = scan()
    given = datetime(2024, 3, 1, 9)
    for hours, expected in ((25, 1.0), (70, 2.0)):
        late = replace(acquisition, administered_time=given, acquisition_time=given + timedelta(hours=hours))
        uptake = _uptake(files, _read(files)[0], late, identify(late).record)
        assert uptake is not None and uptake.numpy().max() == expected


def test_another_agent_shows_no_true_uptake_and_a_tumour_outside_the_scan_nothing(tmp_path: Path) -> None:
    files = truth_files(truth(tmp_path, agent="f18-fdg"), "sub-001", "ses-01")
    album = Album(tmp_path / "out", "pet", "pet")
    result, acquisition = scan()
    draw_truth(album, result, acquisition, files)
    assert "true uptake" not in album.records[0]["caption"]
    away = Geometry.from_spacing((12, 12, 12), (4.0, 4.0, 4.0), origin=(400.0, 0.0, 0.0))
    image = Image(np.ones((12, 12, 12), np.float32), unit="g/mL", geometry=away, quantity="suv")
    none = Album(tmp_path / "out", "pet", "pet")
    draw_truth(none, Result(maps={"suv": image}), acquisition, files)
    draw_truth(none, Result(), acquisition, files)
    assert not none.records
