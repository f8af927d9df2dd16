"""Tables of cells in the report: components by compartments, sets of masks apart, what is not told with its reason."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from timelens.report.cells import cell_facts, cell_tables
from timelens.report.read import Row
from timelens.study.measurement import Measurement

DENSITY = {"unit": "{cells}/mm2", "level": 0.95, "uncertainty_kind": "interval", "modality": "cytometry"}


def row(quantity: str, value: float, unit: str = "1", **more: object) -> Row:
    made = Measurement(quantity, value, **{"unit": unit, **more})  # type: ignore[arg-type]
    text = {k: "" if v is None or v != v else str(v) for k, v in asdict(made).items()}
    return Row(text, made.value, made.uncertainty, made.lower, made.upper, made.level, made.time_s)


def density(component: str, region: str, value: float) -> Row:
    return row(
        "cell_density_area", value, component=component, region=region, lower=value / 2, upper=value * 2, **DENSITY
    )


def test_a_line_a_component_and_a_column_a_compartment():
    rows = [
        density("cd8-t-cell", "section", 100.0),
        density("cd8-t-cell", "nest", 20.0),
        density("cell", "section", 9e3),
    ]
    (table,) = cell_tables(rows)
    assert [str(c.symbol) for c in table.columns] == ["section", "nest"] and table.line_head == "Component"
    first, second = table.lines
    assert (first.name, [c.text for c in first.cells]) == ("cd8-t-cell", ["100", "20.0"])
    assert first.cells[0].spread == "(50.0 to 200)" and second.cells[1].text == ""
    assert not table.folded and ("", "in brackets the 95 % interval") in table.notes


@pytest.mark.parametrize("region", ["{}section", "{}all regions"])
def test_sets_of_masks_have_tables_of_their_own(region):
    rows = [density("cell", region.format(f"masks_{n}_"), 10.0) for n in ("a", "b")]
    tables = cell_tables(rows)
    assert [t.caption.rsplit(", ", 1)[1] for t in tables] == ["masks_a", "masks_b"]
    assert all([str(c.symbol) for c in t.columns] == ["section"] for t in tables)


def test_compartments_of_all_regions():
    (table,) = cell_tables([density("cell", "all regions", 10.0), density("cell", "all regions: nest", 20.0)])
    assert [str(c.symbol) for c in table.columns] == ["section", "nest"]


def test_what_is_not_told_stands_with_its_reason_in_a_folded_table():
    lacking = row("cell_density_area", float("nan"), "{cells}/mm2", component="treg", region="section",
                  reason="not measured: FOXP3")  # fmt: skip
    table = cell_tables([density("cell", "section", 5.0), lacking])[-1]
    assert table.folded and [(line.name, line.cells[0].text) for line in table.lines] == [
        ("treg", "not measured: FOXP3")
    ]


def test_phenotype_and_structures_in_words():
    said = "immune phenotype by the convention cd8-100-100: many are 100 CD8 T cells; cells"
    found = cell_facts(
        [
            row("inflamed_probability", 0.996, region="section", method=said, flags="most likely"),
            row("desert_probability", 0.002, region="section", method=said),
            row("tls_count", 2.0, "{structures}", region="section", flags="maturity: 2 early",
                method="lymphoid structures by the profile b50-t10: B cells; cells"),
        ]
    )  # fmt: skip
    assert found == [
        ("Immune phenotype", "inflamed, probability above 0.99 by cd8-100-100"),
        ("Lymphoid structures", "2 by b50-t10, maturity: 2 early"),
    ]
    assert not cell_facts([row("tls_count", float("nan"), "{structures}", region="section", reason="no B cells")])
