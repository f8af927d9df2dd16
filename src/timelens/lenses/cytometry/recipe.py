"""Steps of the lens with their parameters, and the user's options laid over them."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from timelens.errors import UsageError
from timelens.lenses.cytometry.types import SIGNATURES

__all__ = ["DEFAULTS", "WHYS", "merged_steps"]

#: Step to parameters.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "clean": {"hot_pixel": 50.0, "spillover": {}},
    "segment": {
        "cells": "auto", "method": "classical", "weights": "", "nuclear": [], "diameter_um": 8.0, "reach_um": 5.0,
        "without_nucleus": True,
    },
    "types": {
        "gates": "", "pixels": "auto", "cofactor": 1.0, "floor": 0.5, "markers": {}, "thresholds": {}, "least": 0.5,
        "background": "none", "normalise": "none",
    },
    "states": {"exhaustion": "pd1-with-any"},
    "clusters": {"method": "none", "nearest": 15, "resolution": 1.0},
    "space": {
        "reach_um": 4.0, "nearest": 10, "neighbourhoods": 6, "context_nearest": 100, "context_share": 0.9,
        "margin_um": 50.0, "shuffles": 1000, "pair_reach_um": 100.0, "pair_step_um": 10.0,
    },
    "table": {"window_um": [], "longest_um": 25.0, "column": "type", "names": {}},
    "immune": {"cut_offs": "cd8-100-100", "lymphoid": "b50-t10", "profile_um": 25.0, "profile_reach_um": 200.0},
}  # fmt: skip
#: Why each step is there.
WHYS: Mapping[str, str] = {
    "clean": "single bright pixels are artefacts of the detector; spillover is taken back where a matrix is stated",
    "segment": "given masks as they are, each set by itself; else nuclei, grown to where markers change",
    "types": "the types of the knowledge base that this panel can tell; the others are named",
    "clusters": "groups of cells that are found without the table of types, and named by it; only where asked for",
    "states": "what cells of a type are doing; exhaustion is a definition with a name",
    "table": "cells that another program found: what was looked at, which cells are neighbours, where types stand",
    "space": "neighbours are cells that touch once grown; chance is a shuffle of types over cells",
    "immune": "what counts as many cells, or as a lymphoid structure, is a convention with a name",
}
_CELLS = ("auto", "given", "own")
_WORDS = {
    ("segment", "method"): ("classical", "cellpose", "stardist"),
    ("types", "pixels"): ("auto", "whole", "core"),
    ("clusters", "method"): ("none", "louvain", "leiden"),
    ("types", "background"): ("none", "ground", "floor"),
    ("types", "normalise"): ("none", "landmark"),
}
#: Numbers and what they may be: least value, whether it is itself allowed.
_LEAST = {
    "diameter_um": (0.0, False), "reach_um": (0.0, True), "cofactor": (0.0, False), "least": (0.0, True),
    "floor": (0.0, True),
    "nearest": (1, True), "neighbourhoods": (0, True), "margin_um": (0.0, False), "shuffles": (100, True),
    "resolution": (0.0, False), "longest_um": (0.0, False),
    "context_nearest": (1, True), "context_share": (0.0, False), "pair_reach_um": (0.0, False),
    "pair_step_um": (0.0, False), "profile_um": (0.0, False), "profile_reach_um": (0.0, False),
}  # fmt: skip


def merged_steps(options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The defaults with the user's options over them.

    Raises
    ------
    UsageError
        If a step, parameter or value is unknown.
    """
    from timelens.lenses.cytometry.gating import gates_of
    from timelens.lenses.cytometry.profiles import cut_offs, lymphoid_profile
    from timelens.lenses.cytometry.states import exhaustion

    merged = {name: dict(copy.deepcopy(dict(values))) for name, values in DEFAULTS.items()}
    for step, values in options.items():
        if step not in merged:
            raise UsageError("The cytometry lens has no such step", field=step, expected=", ".join(DEFAULTS))
        if not isinstance(values, Mapping) or (unknown := set(values) - set(merged[step])):
            raise UsageError(
                "The step has no such parameter", field=step,
                found=", ".join(sorted(map(str, unknown))) if isinstance(values, Mapping) else values,
                expected=", ".join(merged[step]),
            )  # fmt: skip
        merged[step].update(values)
    for step, values in merged.items():
        for name, value in values.items():
            if name in _LEAST:
                _number(f"{step}: {name}", value, *_LEAST[name], whole=isinstance(DEFAULTS[step][name], int))
    if (threshold := merged["clean"]["hot_pixel"]) is not None:
        _number("clean: hot_pixel", threshold, 0.0, False)
    if merged["segment"]["cells"] not in _CELLS:
        raise UsageError("There is no such source of cells", field="segment: cells",
                         found=merged["segment"]["cells"], expected=", ".join(_CELLS))  # fmt: skip
    for step, part in (("types", "least"), ("space", "context_share")):
        if merged[step][part] > 1:
            raise UsageError("A probability or part is at most 1", field=f"{step}: {part}", found=merged[step][part])
    if not isinstance(merged["segment"]["without_nucleus"], bool):
        raise UsageError("The parameter is yes or no", field="segment: without_nucleus",
                         found=merged["segment"]["without_nucleus"], expected="true or false")  # fmt: skip
    for (step, part), known in _WORDS.items():
        if merged[step][part] not in known:
            raise UsageError("There is no such method", field=f"{step}: {part}", found=merged[step][part],
                             expected=", ".join(known))  # fmt: skip
    _table(merged["table"])
    gates_of(merged["types"]["gates"])
    exhaustion(merged["states"]["exhaustion"])
    cut_offs(merged["immune"]["cut_offs"])
    lymphoid_profile(merged["immune"]["lymphoid"])
    for name, kind in (("nuclear", list), ("markers", Mapping)):
        step = "segment" if name == "nuclear" else "types"
        if not isinstance(merged[step][name], kind):
            raise UsageError("The parameter is a list of channels" if kind is list else "The parameter maps channels "
                             "to markers", field=f"{step}: {name}", found=merged[step][name])  # fmt: skip
    stated = merged["types"]["thresholds"]
    if not isinstance(stated, Mapping):
        raise UsageError("The parameter maps markers to counts", field="types: thresholds", found=stated)
    for marker, counts in stated.items():
        _number(f"types: thresholds: {marker}", counts, 0.0, False)
    return merged


def _number(field: str, value: Any, least: float, inclusive: bool, whole: bool = False) -> None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value < least or (value == least and not inclusive) or (whole and value != int(value)):
        raise UsageError(
            "The parameter is no such number", field=field, found=value,
            expected=f"{'a whole number' if whole else 'a number'} {'of at least' if inclusive else 'above'} {least:g}",
        )  # fmt: skip


def _table(options: Mapping[str, Any]) -> None:
    """Refuse options of the step ``table`` that make no sense."""
    window = options["window_um"]
    numbers = isinstance(window, list) and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in window
    )
    if not numbers or len(window) not in (0, 4) or (window and not (window[2] > window[0] and window[3] > window[1])):
        raise UsageError("A window has two corners", field="table: window_um", found=window,
                         expected="[first x, first y, last x, last y] in um")  # fmt: skip
    if not isinstance(options["column"], str) or not isinstance(options["names"], Mapping):
        raise UsageError("The step names a column, and maps names to types", field="table",
                         found=(options["column"], options["names"]), expected="column: type, names: {}")  # fmt: skip
    if bad := [v for v in options["names"].values() if str(v) not in SIGNATURES]:
        raise UsageError("There is no such type", field="table: names", found=bad[0], expected=", ".join(SIGNATURES))
