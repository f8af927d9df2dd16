"""Targets: copies with a source, concentrations by hand, and what has none is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.tumor.small import tumour

from timelens.errors import MissingFieldError, UsageError
from timelens.knowledge import targets
from timelens.tumor.cells import LEAVES
from timelens.tumor.targets import CLASS_COPIES, STATES, expression


def test_copies_come_from_the_knowledge_base_where_it_has_them() -> None:
    found = expression("CD19")
    assert {c.leaf for c in found.carriers} == {"b-cell", "plasma-cell"}
    assert found.carriers[0].copies == 22000
    assert "knowledge base" in found.carriers[0].source


def test_else_from_the_class_and_it_says_so() -> None:
    found = expression("pdcd1")
    assert {c.leaf: c.positive for c in found.carriers}["exhausted-cd8-t-cell"] == 1.0
    assert {c.leaf: c.positive for c in found.carriers}["th1"] == 0.5
    assert all(
        c.source == "class default for a receptor" and c.copies == CLASS_COPIES["receptor"] for c in found.carriers
    )


def test_states_lead_to_leaves() -> None:
    for parts in STATES.values():
        assert set(parts) <= set(LEAVES)
        assert all(0 < part <= 1 for part in parts.values())


@pytest.mark.parametrize("record", targets.all_targets(), ids=lambda r: r.id)
def test_each_target_has_numbers_or_is_refused_by_name(record) -> None:
    refused = {"cd33", "mki67", "slc5a5", "tgfbr1-tgfbr2", "tspo"}
    if record.kind in ("process", "property") or record.id in refused:
        with pytest.raises(MissingFieldError, match=r"which has no concentration|is known to carry"):
            expression(record.id)
        return
    found = expression(record.id)
    assert found.carriers or found.matrix_nmol_per_l or found.soluble_nmol_per_l
    assert all(c.copies > 0 and c.source for c in found.carriers)


def test_a_concentration_by_hand() -> None:
    m = tumour("inflamed")
    # 22,000 copies on 1e6 cells per mm3 is 1e6 * 22000 / 6.022e23 mol per mm3: 36.5 nmol/L.
    b_cells = (m.cells["b-cell"] + m.cells["plasma-cell"]).astype(float)
    assert m.target_concentration("cd19") == pytest.approx(22000 * b_cells * 1e6 / 6.02214076e23 * 1e9, rel=1e-5)


def test_soluble_and_matrix_parts_and_the_users_own_numbers() -> None:
    m = tumour("inflamed")
    own = replace(expression("mmp9"), carriers=(), soluble_nmol_per_l=2.0, matrix_nmol_per_l=10.0)
    changed = m.with_expression(own, expression("cd8a").replaced({"cd8-t-cell": 1e5}))
    expected = 2 * m["interstitial_fraction"] + 10 * m["collagen_fraction"]
    assert changed.target_concentration("mmp9") == pytest.approx(expected, rel=1e-5)
    carriers = {c.leaf: c for c in changed.expression_of("cd8a").carriers}
    assert carriers["cd8-t-cell"].copies == 1e5
    assert carriers["cd8-t-cell"].source == "stated by the user"
    assert carriers["exhausted-cd8-t-cell"].copies == CLASS_COPIES["marker"]


def test_activity_is_concentration_times_turnover() -> None:
    m = tumour("inflamed")
    own = replace(expression("gzmb"), turnover_per_s=5.0, active_fraction=0.2)
    changed = m.with_expression(own)
    # 1 nmol/L at 1 per second turns over 0.06 umol per minute and litre.
    assert changed.enzyme_activity("gzmb") == pytest.approx(m.target_concentration("gzmb") * 0.06, rel=1e-5)
    with pytest.raises(UsageError, match="Only enzymes have an activity"):
        m.enzyme_activity("cd8a")


def test_what_has_no_concentration_is_refused() -> None:
    with pytest.raises(MissingFieldError, match=r"which has no concentration.*use the field of the tumour"):
        expression("hypoxia")
    with pytest.raises(MissingFieldError, match="No cell of the virtual tumour is known to carry"):
        expression("tspo")
    with pytest.raises(MissingFieldError, match="There are no such leaves"):
        expression("cd8a").replaced({"nobody": 1.0})
    with pytest.raises(UsageError):
        expression("no such target")
    assert np.isfinite(tumour("inflamed").target_concentration("cd274")).all()
