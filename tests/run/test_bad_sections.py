"""Bad input of tissue cytometry through a run: what is said and what is measured all the same.

The same lines stand in the table of ``docs/robustness.md``. Every case gets a folder with a small sound section as text
and its mask, spoils something and runs it; pictures are left out.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tests.formats.cytometry.make import slide
from tests.lenses.cytometry.sections import section

from timelens.errors import UsageError
from timelens.formats.cytometry import txt
from timelens.formats.cytometry.tiff import write_mask
from timelens.run.api import run_study

SIDE = 10
Spoil = Callable[[Path], dict[str, Any] | None]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "scans"
    (folder / "masks").mkdir(parents=True)
    made = section(SIDE)
    txt.write(made.acquisitions[0], folder / "roi.txt")
    write_mask(made.regions[0].labels.numpy()[0], folder / "masks" / "roi.tiff")
    return folder


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("draw", "draw_slide", "draw_truth"):
        monkeypatch.setattr(f"timelens.run.outputs.{name}", lambda *args: None)


# -- ways to spoil ---------------------------------------------------------------------------------------------------


def text(change: Callable[[list[str]], Any]) -> Spoil:
    """Lines of the text file, the head first."""

    def spoil(folder: Path) -> None:
        lines = (folder / "roi.txt").read_text().splitlines()
        changed = change(lines)
        (folder / "roi.txt").write_text("\n".join(lines if changed is None else changed) + "\n")

    return spoil


def column(name: str, change: Callable[[np.ndarray], Any]) -> Spoil:
    """One channel (name begins with) changed."""

    def spoil(lines: list[str]) -> list[str]:
        place = next(k for k, title in enumerate(lines[0].split("\t")) if title.startswith(name))
        values = np.array([float(line.split("\t")[place]) for line in lines[1:]])
        rows = [line.split("\t") for line in lines[1:]]
        for row, value in zip(rows, change(values), strict=True):
            row[place] = f"{value:.3f}"
        return [lines[0], *("\t".join(row) for row in rows)]

    return text(spoil)


def cut_text(folder: Path) -> None:
    content = (folder / "roi.txt").read_bytes()
    (folder / "roi.txt").write_bytes(content[:-60])


def renamed(*names: str) -> Spoil:
    """Old and new titles of columns, one after the other."""

    def spoil(lines: list[str]) -> list[str]:
        head = lines[0]
        for old, new in zip(names[::2], names[1::2], strict=True):
            head = head.replace(old, new)
        return [head, *lines[1:]]

    return text(spoil)


def mask(change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    def spoil(folder: Path) -> None:
        place = folder / "masks" / "roi.tiff"
        tifffile.imwrite(place, change(tifffile.imread(place)))

    return spoil


def options(**steps: Any) -> Spoil:
    return lambda folder: steps


def without_mask(more: Spoil | None = None, **steps: Any) -> Spoil:
    def spoil(folder: Path) -> dict[str, Any]:
        shutil.rmtree(folder / "masks")
        if more is not None:
            more(folder)
        return steps

    return spoil


def dark(lines: list[str]) -> list[str]:
    rows = [line.split("\t")[:6] + ["0.000"] * (len(lines[0].split("\t")) - 6) for line in lines[1:]]
    return [lines[0], *("\t".join(row) for row in rows)]


def only_tumour(marks: np.ndarray) -> np.ndarray:
    """The cells of the middle of the nest alone."""
    inner = np.zeros_like(marks)
    a, b = (round(n * 0.38) for n in marks.shape), (round(n * 0.62) for n in marks.shape)
    cut = tuple(slice(i, j) for i, j in zip(a, b, strict=True))
    inner[cut] = marks[cut]
    return inner


def instrument(**changes: Any) -> Spoil:
    """A slide of the instrument in place of the text: two regions with two nuclei each, then damaged."""

    def spoil(folder: Path) -> dict[str, Any]:
        shutil.rmtree(folder)
        folder.mkdir()
        rng = np.random.default_rng(3)
        y, x = np.mgrid[:24, :30]
        nuclei = sum(20 * np.exp(-((y - v) ** 2 + (x - u) ** 2) / 8) for v, u in ((6, 8), (17, 21)))
        images = [rng.poisson(np.stack([nuclei + 0.2, 0 * nuclei + 2])).astype("f4") for _ in range(2)]
        path = slide(folder, images, texts=changes.get("texts", True), schema=changes.get("schema", False))
        data = path.read_bytes()
        if "keep" in changes:
            path.write_bytes(data[: round(changes["keep"] * len(data))])
        if "swap" in changes:
            path.write_bytes(data.replace(*(part.encode("utf-16-le") for part in changes["swap"])))
        return {"segment": {"diameter_um": 6.0}}

    return spoil


# -- cases: what it is, how it is made, what is said, and part of a row's reason or a number of cells -----------------

#: What it is, how it is made, whether an error is named, what is said, and what of the rows: the number of cells, or a
#: component without a number and the reason.
Case = tuple[str, Spoil, bool, tuple[str, ...], int | tuple[str, str] | None]
CASES: list[Case] = [
    ("a text file cut within its last line", cut_text, False, ("The last line was cut and is left out",), 100),
    ("a text file without its middle", text(lambda lines: [*lines[:4000], *lines[6000:]]), True,
     ("More than the last line of the raster is missing",), None),
    ("letters in place of a count", text(lambda lines: lines.__setitem__(9, lines[9].replace("\t", "\tx", 9))), True,
     ("A line is not made of numbers", "line 10"), None),
    ("a negative count", column("CD8", lambda v: np.where(np.arange(v.size) == 5, -3, v)), True,
     ("A count is negative", "-3"), None),
    ("no pixel", text(lambda lines: lines[:1]), True, ("The region holds no pixel", "0 rows"), None),
    ("no channel", text(lambda lines: ["\t".join(line.split("\t")[:6]) for line in lines]), True,
     ("Not a text file of imaging mass cytometry", "and channels"), None),
    ("no counts at all", without_mask(text(dark)), True, ("There is no cell in this region",), None),
    ("two channels of one marker", renamed("CD4(", "CD8a("), False,
     ("Two channels bear one marker: the first is used for types", "channel CD8"), ("cd4-t-cell", "not measured: CD4")),
    ("two columns of one metal", renamed("CD4(Nd143Di)", "CD8b(Nd144Di)"), True,
     ("A metal stands in two columns",), None),
    ("no channel of nuclei, no mask",
     without_mask(renamed("DNA1(Ir191Di)", "A(Lu175Di)", "DNA2(Ir193Di)", "B(Yb176Di)")), True,
     ("No channel is known to show nuclei", "segment: {nuclear: [CHANNEL]}, or put a mask"), None),
    ("a mask of another size", mask(lambda m: m[:-7]), True,
     ("The mask has another size than its image", "No mask of cells lies on this region"), None),
    ("a mask with parts in place of numbers", mask(lambda m: (m * 0.37).astype("f4")), True,
     ("A mask holds whole numbers, 0 outside of cells", "float32"), None),
    ("a mask with negative numbers", mask(lambda m: -m.astype("i4")), True,
     ("A mask holds whole numbers, 0 outside of cells",), None),
    ("a mask with three colours", mask(lambda m: np.stack([m] * 3, axis=-1)), True,
     ("The mask has another size than its image",), None),
    ("a mask without a cell", mask(lambda m: 0 * m), True, ("There is no cell in this region", "0 cells"), None),
    ("a mask of one cell", mask(lambda m: np.where(m == 40, m, 0)), False, ("does not tell all types",),
     ("tumour-cell", "no positive group: panCK")),
    ("tumour cells alone", mask(only_tumour), False, ("does not tell all types",),
     ("tumour-cell", "no positive group: panCK")),
    ("no tumour cell", column("panCK", lambda v: np.random.default_rng(1).poisson(0.2, v.size)), False,
     ("does not tell all types",), ("tumour-cell", "no positive group: panCK")),
    ("fewer cells than neighbourhoods need", options(space={"neighbourhoods": 20}), False,
     ("Neighbourhoods are not looked for in so few cells", "400 or more"), 100),
    ("a region too small for pairs", options(space={"pair_step_um": 200.0}), False,
     ("The region is too small for statistics of pairs", "sides of at least 800 um"), 100),
    ("masks asked for, none given", without_mask(segment={"cells": "given"}), True,
     ("No mask of cells lies on this region", "segment: {cells: own}"), None),
    ("spillover of a metal that was not measured", options(clean={"spillover": {"Au197": {"Pr141": 0.1}}}), True,
     ("The spillover names a metal that is no channel", "Au197"), None),
    ("a marker for a channel that is not there", options(types={"markers": {"CD99": "CD8"}}), False,
     ("A marker is stated for a channel that is not there", "CD99"), 100),
    ("an MCD cut in its rows, text beside it", instrument(keep=0.3), False,
     ("The region is read from its text file: the MCD no longer says where it lies", "s_ROI_002_2.txt"), 2),
    ("an MCD cut in its rows, nothing beside it", instrument(keep=0.3, texts=False), True,
     ("A region was found by the look of its rows", "No channel is known to show nuclei"), None),
    ("an MCD cut in its schema, schema file beside it", instrument(keep=0.8, texts=False, schema=True), False,
     ("s.schema is used", "Part of the raster is missing and NaN", "666 of 720"), 2),
    ("an MCD whose schema claims more pixels than it holds",
     instrument(texts=False, swap=("<MaxY>24</MaxY>", "<MaxY>99</MaxY>")), False,
     ("Part of the raster is missing and NaN", "720 of 2970"), 2),
    ("an MCD whose schema bears no channels",
     instrument(texts=False, swap=("AcquisitionChannel>", "AcquisitionChannal>")), True,
     ("The file holds no region that can be read", "put the text files of the regions beside it"), None),
    ("an MCD of nothing", instrument(keep=0.0, texts=False), True,
     ("The folder holds no scan that timelens can read",), None),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "error", "facts", "found"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_bad_sections(
    sound: Path, tmp_path: Path, spoil: Spoil, error: bool, facts: tuple[str, ...], found: int | tuple[str, str] | None
) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "scans"))
    done = run_study(folder, tmp_path / "out", options={"cytometry": spoil(folder) or {}})
    said = " | ".join(" ".join(str(v) for v in p.values()) for p in done.problems)
    assert "fault of timelens" not in said
    assert any(p["severity"] == "error" for p in done.problems) == error, said
    for fact in facts:
        assert fact in said
    counted = [m for m in done.measurements if (m.quantity, m.component) == ("cell_density_area", "cell")]
    if found is None:
        assert not done.measurements
    elif isinstance(found, int):
        # Regions by the counts, the text file by its cells: never an invented one, never a silent zero.
        whole = [m for m in counted if m.region == "section"]
        assert (len(whole) if found < 10 else whole[0].n) == found
    else:
        component, why = found
        (row,) = [m for m in done.measurements if (m.quantity, m.component) == ("cell_density_area", component)
                  and m.region == "section"]  # fmt: skip
        assert np.isnan(row.value) and row.reason == why


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ({"immune": {"cut_offs": "hot"}}, "no such convention"),
        ({"immune": {"lymphoid": {"name": "mine"}}}, "no such convention"),
        ({"immune": {"profile_um": 0}}, "no such number"),
        ({"space": {"context_share": 1.5}}, "at most 1"),
        ({"types": {"markers": ["CD8"]}}, "maps channels"),
        ({"colour": {}}, "no such step"),
    ],
)
def test_options_that_make_no_sense_end_before_anything_is_computed(sound: Path, tmp_path: Path, steps: Any, said: str):
    with pytest.raises(UsageError, match=said):
        run_study(sound, tmp_path / "out", options={"cytometry": steps})
