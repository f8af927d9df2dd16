"""Whether slides may be compared in counts."""

from __future__ import annotations

import pytest

from timelens.run.slides import check_slides


def record(*levels, key="cytometry", name="levels"):
    markers = dict(zip(("CD3", "CD8", "panCK", "SMA"), levels, strict=False))
    return {"audit": {key: {name: {m: {"negative": 0.2, "positive": v} for m, v in markers.items()}}}}


def study(*records):
    return {(f"sub-{k:02d}", "ses-01"): r for k, r in enumerate(records)}


@pytest.mark.parametrize(
    "records",
    [
        (),
        ({},),
        ({"audit": {"suv": []}}, {"audit": None}),
        (record(8, 8, 8, 8),),
        (record(8, 8, 8, 8), record(8, 9, 7, 30)),
        (record(8, 8), record(30, 30)),
        (record(8, 8, 8, 8), record(None, None, 30, 0)),
    ],
)
def test_slides_alike_or_alone_are_no_problem(records):
    assert check_slides(study(*records)) == []


@pytest.mark.parametrize("told", [{}, {"key": "sub-01_ses-01_cytometry:cytometry", "name": "cells_levels"}])
def test_slides_that_differ_are_a_warning(told):
    (problem,) = check_slides(study(record(8, 8, 8, 8), record(20, 24, 9, 8, **told)))
    assert problem.severity == "warning"
    assert problem.found == ("2 of 4 markers 2 times or more; CD8 3.0 times between sub-00 ses-01 and sub-01 ses-01")
