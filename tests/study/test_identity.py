"""An acquisition's agent, from words, codes and what the user states."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from timelens.errors import DataError
from timelens.study import Acquisition, Geometry, Image
from timelens.study.identity import identify


def acquisition(**facts: Any) -> Acquisition:
    geometry = Geometry.from_spacing((1, 1, 1), (1, 1, 1), frame="1")
    return Acquisition("a", "pet", Image(np.zeros((1, 1, 1), np.float32), unit="Bq/mL", geometry=geometry), **facts)


def test_nothing_said_is_nothing_known() -> None:
    known = identify(acquisition())
    assert (known.record, known.name, known.target, known.nuclide, known.problems) == (None, "", "", None, ())


@pytest.mark.parametrize("words", ["FDG -- fluorodeoxyglucose", "Fluorodeoxyglucose", "F-18 FDG", "[18F]FDG"])
def test_words_of_scanners(words: str) -> None:
    known = identify(acquisition(agent=words, radionuclide="18F"))
    assert known.record is not None
    assert known.record.id == "f18-fdg"
    assert known.nuclide == "18F"
    assert known.half_life_s == pytest.approx(6586, rel=1e-3)


def test_a_code_speaks_where_the_words_do_not() -> None:
    header = ({"RadiopharmaceuticalCodeCodeValue": "35321007", "RadiopharmaceuticalCodeCodingScheme": "SCT"},)
    known = identify(acquisition(agent="Solution", header=header))
    assert known.record is not None
    assert known.record.id == "f18-fdg"


def test_what_the_user_states_goes_before_the_code() -> None:
    header = ({"RadiopharmaceuticalCodeCodeValue": "35321007", "RadiopharmaceuticalCodeCodingScheme": "SCT"},)
    known = identify(acquisition(agent="Solution", header=header).stated(agent="68Ga-FAPI-46"))
    assert known.record is not None
    assert "FAPI-46" in known.name
    assert known.target == "FAP"


def test_the_nuclide_says_which_label_a_bare_name_bears() -> None:
    known = identify(acquisition(agent="atezolizumab", radionuclide="89Zr"))
    assert known.record is not None
    assert known.target == "CD274"


def test_contradictions_are_refused_by_name() -> None:
    with pytest.raises(DataError, match="nuclide is not that of the agent") as caught:
        identify(acquisition(agent="[89Zr]Zr-Df-IAB22M2C", radionuclide="18F"))
    assert caught.value.problem.found == "18F with [89Zr]Zr-Df-IAB22M2C"


def test_an_unknown_agent_is_a_warning() -> None:
    known = identify(acquisition(agent="Unobtainium", radionuclide="18F"))
    assert known.record is None
    assert (known.name, known.nuclide) == ("Unobtainium", "18F")
    assert known.problems[0].severity == "warning"
