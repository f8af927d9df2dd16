"""Relaxivities are those published, for the agents and fields where there are any."""

from __future__ import annotations

import pytest

from timelens.errors import MissingFieldError, UsageError
from timelens.knowledge.relaxivity import agents, relaxivity


@pytest.mark.parametrize(
    ("name", "field", "medium", "r1"),
    [
        ("gadobutrol", 1.5, "plasma", 4.78),
        ("Gadovist", 3.0, "plasma", 4.97),
        ("gadobutrol", 3.0, "blood", 3.47),
        ("Gadoterate meglumine", 2.89, "plasma", 3.00),
        ("ProHance", 7.0, "plasma", 3.21),
    ],
)
def test_published_values(name: str, field: float, medium: str, r1: float) -> None:
    found = relaxivity(name, field, medium=medium)
    assert found.r1 == r1
    assert found.r1_sd > 0
    assert "10.1097/RLI.0000000000000577" in found.source
    assert not found.interpolated


def test_between_two_fields() -> None:
    found = relaxivity("gadoteridol", 5.0)
    assert found.r1 == pytest.approx((3.28 + 3.21) / 2)
    assert found.interpolated


def test_nothing_is_guessed() -> None:
    assert agents() == ["gadobutrol", "gadoterate", "gadoteridol"]
    with pytest.raises(MissingFieldError, match=r"give the relaxivity itself"):
        relaxivity("gadobutrol", 9.4)
    with pytest.raises(MissingFieldError, match=r"give the relaxivity itself"):
        relaxivity("gadobutrol", 1.5, medium="blood")
    with pytest.raises(MissingFieldError, match=r"one of gadobutrol"):
        relaxivity("water", 3.0)
    with pytest.raises(UsageError, match=r"Unknown medium"):
        relaxivity("gadobutrol", 3.0, medium="saline")
