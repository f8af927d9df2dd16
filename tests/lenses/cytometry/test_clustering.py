"""Clusters of a section: what is refused or left out, and how they agree with the types."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.lenses.cytometry.sections import cells, section

from timelens.errors import UsageError
from timelens.lenses.cytometry.lens import CytometryLens
from timelens.lenses.cytometry.simulate import METALS
from timelens.study.contract import Match

LENS = CytometryLens()


def measured(side=24, nameless=False, **clusters):
    made = section(side)
    scan = made.acquisitions[0]
    options = {"space": {"neighbourhoods": 0, "shuffles": 100}, "clusters": {"method": "louvain"} | clusters}
    if nameless:
        scan = replace(scan, extra={**scan.extra, "channel_labels": tuple(METALS)})
    return LENS.quantify({"cytometry": scan}, made.regions, options)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"method": "som"}, "no such method"), ({"nearest": 0}, "no such number"), ({"resolution": 0}, "no such number")],
)
def test_options_that_make_no_sense_are_refused(options, said):
    with pytest.raises(UsageError, match=said):
        LENS.recipe(Match(0.0), {"clusters": options})


def test_few_cells_are_not_clustered():
    result = measured(6)
    assert any("not looked for in so few cells" in p.message for p in result.problems)
    assert "clusters" not in result.tables and "cluster" not in result.tables["cells"].data


def test_clusters_are_named_as_the_cells_are():
    result = measured()
    table, found = result.tables["clusters"].data, result.tables["cells"].data
    truth = cells().data["component"].to_numpy()[found["cell"] - 1]
    assert (found["cluster_type"] == truth).mean() > 0.95
    assert table["cells"].sum() == len(found) and table["cells"].is_monotonic_decreasing
    assert table["score"].between(0, 1).all() and table["first_stability"].between(0, 1).all()
    (largest,) = table.loc[table["type"] == "treg"].head(1).to_dict("records")
    assert largest["part_FOXP3"] > 0.9 > 0.1 > largest["part_panCK"]
    said = result.audit["cytometry"]["clusters"]
    assert said["same_type_as_the_model"] > 0.95 and said["refined"] == len(table)


def test_no_clusters_where_none_are_asked_for():
    made = section(12)
    result = LENS.quantify({"cytometry": made.acquisitions[0]}, made.regions, {})
    assert "clusters" not in result.tables


def test_a_panel_without_known_markers_has_clusters_without_names():
    result = measured(16, nameless=True)
    assert len(result.tables["clusters"].data) > 1
    assert (result.tables["cells"].data["cluster_type"] == "unknown").all()
    assert np.isfinite(result.tables["clusters"].data["part_Nd142"]).all()
