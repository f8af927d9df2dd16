"""The demonstration's last words on a terminal: what changed, and truth beside measurement."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from timelens.knowledge import quantities
from timelens.run.demo import Change, Demo
from timelens.run.demo_spec import AGENTS
from timelens.run.show import number, write_json

__all__ = ["demo"]

_out = Console(highlight=False)
#: Of the usual trial, and of no other; tests hold these sentences against its rows.
_OF_CHANGES = (
    "The same inhibitor works in sub-001 and not in sub-002, whose T cells stay in the stroma; sub-003 is not "
    "treated. After three weeks neither diameters (-30 or +20 %) nor FDG (30 %) have changed enough to say so. "
    "The minibody tells them apart, by its level more than by its rise, which both treated patients show. Nothing "
    "of this is put in by hand: cells, vessels and the dose make the uptake. It rises less than the cells do, for "
    "blood brings only so much to where CD8 is dense, and the dose occupies more than 5 % of the target in most "
    "of the tumour: rate constants of the tracer limit hold at the start only.\n"
)
_OF_VESSELS = (
    "Contrast-enhanced MRI sees vessels, not T cells: K^trans falls where tumour dies (sub-001) and hardly elsewhere. "
)
_OF_CELLS = (
    "A biopsy of 0.4 mm counts the CD8 T cells at one place of the node, after three weeks: it ranks the patients as "
    "the minibody does, and another place would give another number. "
)
_OF_TRUTH = (
    "Object: what is true in the tumour. Truth: what a noise-free scanner of this resolution shows in the same "
    "outline. The error is against the latter; what lies between the two is blur."
)
_OF_OTHERS = (
    "K^trans of the object is the mean over its voxels, the truth what the extended Tofts model makes of the mean "
    "curve without noise: what lies between is the model. The cells of the biopsy are counted in their true outlines, "
    "which come with it as masks: types and density are put to the test, not finding cells."
)
#: Columns that stay readable on eighty characters.
_LEAST = {"region": 10, "tumour": 10, "seen by": 8, "measured": 8, "unit": 5}
#: Text is set this wide at most.
_WIDTH = 100
_CELLS = {"cd8-t-cell": "CD8 cells"}
_NAMES = {**{agent: name for name, agent in AGENTS.items()}, "gadobutrol": "DCE MRI", "": "biopsy"}


def demo(made: Demo, page: Path, *, as_json: bool) -> None:
    """What a demonstration found: changes of each tumour, then truth, measured, error, unit."""
    if as_json:
        write_json(
            {
                "truth_table": made.table,
                "report": page,
                "rows": made.shown,
                "changes": [vars(change) for change in made.changes],
                "problems": made.run.problems,
            }
        )
        return
    _out.print(_changes(made.changes))
    lenses = {row["lens"] for row in made.shown}
    if made.told:
        _out.print(_OF_CHANGES, width=min(_WIDTH, _out.width))
        if more := (_OF_VESSELS if "mri" in lenses else "") + (_OF_CELLS if "cytometry" in lenses else ""):
            _out.print(f"{more}\n", width=min(_WIDTH, _out.width))
    _out.print(_truth(made.shown))
    _out.print(_OF_TRUTH, width=min(_WIDTH, _out.width))
    if lenses - {"pet"}:
        _out.print(_OF_OTHERS, width=min(_WIDTH, _out.width))
    left_out = sorted({p["subject"] for p in made.run.problems if p["severity"] == "error"})
    if left_out:
        _out.print(
            f"Left out: {', '.join(left_out)}, on purpose: its weight is missing, as problems.csv and the report say."
        )
    _out.print(f"All rows: {made.table}")
    _out.print(f"Study:    {made.study}   (DICOM and MCD, with the truth beside it)")
    _out.print(f"Report:   {page}")


def _changes(found: Sequence[Change]) -> Table:
    table = _table(
        "From the first visit to the last", subject="left", arm="left", tumour="left",
        **{"CD8 cells,\ntrue": "right", "volume,\ntrue": "right"},
        **{f"{name}\nSUVmean": "right" for name in AGENTS},
    )  # fmt: skip
    for change in found:
        table.add_row(
            change.subject, change.arm, change.tumour,
            _percent(_rise(change.cells), 0), _percent(_rise(change.volume), 0),
            *[_course(change.uptake[name]) for name in AGENTS],
        )  # fmt: skip
    return table


def _truth(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _table(
        "Truth and measurement", scan="left", **{"seen by": "left"}, region="left", quantity="left", object="right",
        truth="right", measured="right", error="right", unit="left",
    )  # fmt: skip
    for row in rows:
        table.add_row(
            f"{row['subject']} {row['session']}", _NAMES.get(row["agent"], row["agent"]), row["lesion"],
            _quantity(row), number(row["truth_object"], 3), number(row["truth"], 3), number(row["measured"], 3),
            _percent(row["error_percent"], 1), re.sub(r"\{.*?\}", "", row["unit"]),
        )  # fmt: skip
    return table


def _quantity(row: Mapping[str, Any]) -> str:
    """Symbol of a quantity; of a density, whose."""
    if row["component"]:
        return _CELLS.get(row["component"], str(row["component"]))
    name = quantities.find(row["quantity"])
    return name.symbol if name else str(row["quantity"])


def _table(title: str, **columns: Any) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False
    )
    for name, side in columns.items():
        table.add_column(name, justify=side, overflow="fold", min_width=_LEAST.get(name))
    return table


def _course(pair: tuple[float, float]) -> str:
    """Two values and their change: 6.3 → 9.4 (+48 %)."""
    first, last = (f"{v:.1f}" if v == v else "–" for v in pair)
    return f"{first} → {last} ({_percent(_rise(pair), 0)})" if last != "–" else f"{first} → {last}"


def _rise(pair: tuple[float, float]) -> float:
    return 100 * (pair[1] / pair[0] - 1)


def _percent(value: float, digits: int) -> str:
    return f"{value:+.{digits}f} %" if math.isfinite(value) else "–"
