"""Events are checked, and drug levels fall by halves."""

from __future__ import annotations

import pytest

from timelens.errors import UsageError
from timelens.tumor.treatments import CellInfusion, CheckpointInhibitor, Chemotherapy, Radiotherapy


def test_a_level_falls_with_its_half_life_and_is_zero_before_the_dose() -> None:
    dose = CheckpointInhibitor(5.0, level=8.0, half_life_days=10.0)
    assert [dose.level_at(d) for d in (4.9, 5.0, 15.0, 25.0)] == pytest.approx([0, 8, 4, 2])


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Chemotherapy(0, level=0), "Chemotherapy has no effect"),
        (lambda: CheckpointInhibitor(0, half_life_days=0), "CheckpointInhibitor would not stay"),
        (lambda: Radiotherapy(0, 0), "Radiotherapy without dose"),
        (lambda: Radiotherapy(0, 2, 0), "Radiotherapy without fractions"),
        (lambda: CellInfusion(0, 0), "An infusion without cells"),
        (lambda: CellInfusion(0, 1, homing=1.1), "A part is between 0 and 1"),
        (lambda: CellInfusion(0, 1, "nk-cell"), "Cells that the dynamics does not know"),
    ],
)
def test_events_without_effect_are_refused(make, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        make()
