"""Parameters are checked; the three architectures differ in them alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from timelens.errors import UsageError
from timelens.tumor.architecture import ARCHITECTURES, DESERT, EXCLUDED, INFLAMED, Architecture


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"diameter_mm": 0.0}, "A length must be positive.*diameter_mm"),
        ({"aspect": (1.0, 0.0, 1.0)}, "Three semi-axes are needed"),
        ({"perfusion": -1.0}, "A parameter is negative or no number.*perfusion"),
        ({"perfusion": float("nan")}, "A parameter is negative or no number.*perfusion"),
        ({"access": 1.5}, "A part is at most 1.*access"),
        ({"vessel_fraction": 0.4}, "So many vessels leave no room"),
        ({"densities": {"tumour-cell": 1.0}}, "follow from the rest.*tumour-cell"),
        ({"densities": {"nobody": 1.0}}, "follow from the rest.*nobody"),
        ({"densities": {"treg": -1.0}}, "A parameter is negative or no number.*densities"),
    ],
)
def test_parameters_that_make_no_tumour_are_refused(change: dict, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        replace(INFLAMED, **change)


def test_what_tells_the_three_apart() -> None:
    assert set(ARCHITECTURES) == {"inflamed", "excluded", "desert"}
    assert INFLAMED.access > 10 * EXCLUDED.access
    assert DESERT.densities["cd8-t-cell"] < 0.1 * EXCLUDED.densities["cd8-t-cell"]


def test_densities_cannot_be_changed_behind_its_back() -> None:
    given = {"treg": 1.0}
    made = Architecture(densities=given)
    given["treg"] = 2.0
    assert made.densities["treg"] == 1.0
    assert made.with_densities(cd8_t_cell=5.0).densities == {"treg": 1.0, "cd8-t-cell": 5.0}
    assert made.volume_mm3 == pytest.approx(523.6, rel=1e-4)
