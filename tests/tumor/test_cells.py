"""Leaves: known to the knowledge base, exclusive, and summed by families."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.errors import UsageError
from timelens.knowledge import components
from timelens.tumor.cells import LEAVES, leaf, leaves_of


@pytest.mark.parametrize("name", LEAVES)
def test_a_leaf_is_a_component_of_the_knowledge_base(name: str) -> None:
    assert components.find(name) is not None
    assert components.get(name).id == name
    assert LEAVES[name].volume_pl > 0


def test_families_gather_their_leaves_and_no_leaf_twice() -> None:
    assert set(leaves_of("cd8-t-cell")) == {"cd8-t-cell", "exhausted-cd8-t-cell"}
    assert {"cd4-t-cell", "th1", "treg"} == set(leaves_of("cd4-t-cell"))
    assert {"cd8-t-cell", "treg", "nkt-cell", "car-t-cell"} <= set(leaves_of("T cell"))
    assert set(leaves_of("tan")) == {"n1-tan", "n2-tan"}
    assert leaves_of("cell") == tuple(LEAVES)
    assert leaves_of("pd-1") == ()
    for name in ("t-cell", "stromal-cell", "cell"):
        assert len(set(leaves_of(name))) == len(leaves_of(name))


def test_a_sphere_of_the_diameter_has_the_volume() -> None:
    found = leaf("tumour-cell")
    assert np.pi / 6 * found.diameter_mm**3 == pytest.approx(found.volume_mm3)
    assert 0.015 < found.diameter_mm < 0.017


def test_what_is_no_leaf_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no leaf of that name.*Found: t-cell"):
        leaf("t-cell")
    with pytest.raises(UsageError):
        leaves_of("no such thing")
