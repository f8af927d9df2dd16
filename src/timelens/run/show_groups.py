"""Groups of patients on a terminal: what differs first, then what could not be compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from timelens.assess.groups import Comparison
from timelens.errors import Problem
from timelens.knowledge import quantities
from timelens.run import show

__all__ = ["comparisons", "thresholds"]

_MOST = 20


def comparisons(found: Sequence[Comparison], problems: Sequence[Problem], file: Path, *, as_json: bool) -> None:
    """The comparisons with the smallest adjusted p-values, and where all of them are."""
    if as_json:
        show.write_json({"file": file, "comparisons": [vars(c) for c in found],
                         "problems": [p.as_dict() for p in problems]})  # fmt: skip
        return
    tested = sorted((c for c in found if math.isfinite(c.p_value)), key=lambda c: (c.q_value, c.p_value, c.p_mixed))
    several = len({c.session for c in found}) > 1
    for pair in dict.fromkeys((c.first, c.second) for c in tested):
        own = [c for c in tested if (c.first, c.second) == pair]
        title = f"{pair[1]} minus {pair[0]}: the {_MOST} smallest of {len(own)}" if len(own) > _MOST else \
            f"{pair[1]} minus {pair[0]}"  # fmt: skip
        table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for column in ("", "of", "difference", "95 % interval", "unit", "p", "q"):
            words = column in ("", "of", "unit")
            table.add_column(column, justify="left" if words else "right", no_wrap=column != "of", overflow="fold")
        for c in own[:_MOST]:
            known = quantities.find(c.quantity)
            table.add_row(
                known.symbol if known else c.quantity,
                Text(", ".join(p for p in (c.component, c.region, c.session if several else "") if p)),
                show.number(c.difference, 3),
                f"{show.number(c.lower, 2)} to {show.number(c.upper, 2)}", c.unit, show.number(c.p_value, 2),
                show.number(c.q_value, 2),
            )  # fmt: skip
        show._out.print(table)
    for problem in problems:
        show._problem(problem)
    untested = len(found) - len(tested)
    show._out.print(f"{len(tested)} comparisons" + (f", {untested} without a test (reasons in the table)." if untested
                    else "."))  # fmt: skip
    show._out.print(f"Table: {file}")


def thresholds(found: Mapping[str, float], reasons: Mapping[str, str], *, as_json: bool) -> None:
    """The option as it stands in ``study.yaml``, and on stderr the markers that have no threshold."""
    if as_json:
        show.write_json({"thresholds": dict(found), "reasons": dict(reasons)})
        return
    show._out.print("options:\n  cytometry:\n    types:\n      thresholds:", markup=False)
    for marker, counts in found.items():
        show._out.print(f"        {marker}: {show.number(counts, 4)}", markup=False)
    for marker, why in reasons.items():
        show._err.print(f"{marker}: no threshold, {why}", markup=False)
