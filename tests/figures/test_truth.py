"""A simulated tumour beside what was seen of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from timelens.errors import UsageError
from timelens.figures import png_bytes
from timelens.figures.truth import TruthField, truth_figure

SHAPE = (30, 30)
Y, X = np.ogrid[:30, :30]
INSIDE = (Y - 15) ** 2 + (X - 15) ** 2 < 64


def draw(count: int = 4, **changed: Any) -> Any:
    given: dict[str, Any] = {
        "spacing": (1.0, 1.0), "outline": INSIDE, "true_uptake": np.where(INSIDE, 6.0, 1.0),
        "seen": np.where(INSIDE, 3.0, 1.0), "measured": INSIDE, "unit": "g/mL", "heading": "a tumour", **changed,
    }  # fmt: skip
    fields = [TruthField(f"field {i}", np.where(INSIDE, 2e5, np.nan), "{cells}/mm3") for i in range(count)]
    return truth_figure(fields, **given)


def test_planes_of_different_shapes_are_refused() -> None:
    with pytest.raises(UsageError, match="planes of one shape"):
        draw(outline=INSIDE[1:])
    with pytest.raises(UsageError, match="planes of one shape"):
        draw(0, seen=np.zeros((0, 0)), outline=np.zeros((0, 0)), true_uptake=None, measured=None)


def test_truth_and_image_share_one_scale() -> None:
    figure = draw()
    truth, seen = figure.axes[-3], figure.axes[-2]
    assert truth.get_title(loc="left") == "SUV: the truth"
    assert seen.get_title(loc="left") == "SUV as the scanner showed it"
    assert truth.images[0].get_clim() == seen.images[0].get_clim() == (0.0, 6.0)
    assert figure.axes[-1].get_ylabel() == "SUV [g/mL]"


def test_large_numbers_are_counted_in_thousands() -> None:
    figure = draw(1)
    assert figure.axes[1].get_ylabel() == "10³ cells/mm³"
    assert figure.axes[1].get_ylim() == (0.0, 200.0)


@pytest.mark.parametrize(("count", "rows"), [(0, 1), (1, 1), (2, 2), (3, 2), (4, 2), (5, 2), (6, 3)])
def test_truth_and_image_stand_side_by_side(count: int, rows: int) -> None:
    figure = draw(count)
    truth, seen = (axes.get_position() for axes in (figure.axes[-3], figure.axes[-2]))
    assert truth.y0 == pytest.approx(seen.y0) and truth.x1 < seen.x0
    assert figure.get_size_inches()[1] == pytest.approx(0.4 + 2.5 * rows)


def test_outlines_are_named_and_a_tumour_that_was_missed_says_so() -> None:
    words = {t.get_text() for t in draw().texts}
    assert {"true outline of the tumour", "outline that was measured", "a tumour"} <= words
    missed = draw(measured=None)
    assert "not found here" in {t.get_text() for t in missed.texts}
    assert png_bytes(missed) == png_bytes(draw(measured=None))


def test_unknown_true_uptake_is_left_out() -> None:
    titles = [axes.get_title(loc="left") for axes in draw(true_uptake=None).axes]
    assert "SUV: the truth" not in titles and "SUV as the scanner showed it" in titles
