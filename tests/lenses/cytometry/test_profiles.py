"""Conventions: by name, stated by the user, and what is no convention."""

from __future__ import annotations

import pytest

from timelens.engines.cells.immune_phenotype import CutOffs
from timelens.errors import UsageError
from timelens.lenses.cytometry.profiles import CUT_OFFS, LYMPHOID, LymphoidProfile, cut_offs, lymphoid_profile

WHOLE = {"name": "mine", "reach_um": 20.0, "fewest_within_reach": 5, "fewest_b": 30, "fewest_t": 5, "around_um": 40.0}


@pytest.mark.parametrize(
    "stated", ["hot", None, 100, {"nest": 1.0, "stroma": 1.0}, {"name": "a", "nest": "1", "stroma": 1.0},
               {"name": "a", "nest": True, "stroma": 1.0}, {"name": "a", "nest": 1.0, "stroma": 1.0, "margin": 2.0}],
)  # fmt: skip
def test_what_is_no_convention_is_refused(stated):
    with pytest.raises(UsageError, match="no such convention"):
        cut_offs(stated)
    with pytest.raises(UsageError, match="no such convention"):
        lymphoid_profile(stated)


def test_numbers_that_make_no_sense_are_refused():
    with pytest.raises(UsageError, match="positive densities"):
        cut_offs({"name": "a", "nest": 0.0, "stroma": 1.0})
    with pytest.raises(UsageError, match="values are positive"):
        lymphoid_profile(WHOLE | {"fewest_b": 0})


def test_by_name_and_stated():
    assert all(cut_offs(name).name == name for name in CUT_OFFS) and all(
        lymphoid_profile(n).name == n for n in LYMPHOID
    )
    assert cut_offs({"name": "mine", "nest": 80, "stroma": 90.0}) == CutOffs("mine", 80, 90.0)
    assert lymphoid_profile(WHOLE) == LymphoidProfile(**WHOLE)
