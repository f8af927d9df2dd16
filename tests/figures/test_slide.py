"""A photograph of a slide: regions where they lie, also where the photograph is turned."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.errors import GeometryError
from timelens.figures.slide import on_photograph, slide_figure
from timelens.study.axes import Axis
from timelens.study.geometry import Geometry
from timelens.study.image import Image


def photograph(turned: bool = False, frame: str = "slide 1") -> Image:
    """2 by 3 mm, 100 by 150 pixels, its corner at (10, 20) mm."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    affine[2, 0] = 0.005
    affine[1, 1], affine[0, 2] = (-0.02, 0.02) if turned else (0.02, 0.02)
    affine[:2, 3] = (10, 22) if turned else (10, 20)
    axes = (Axis("c", "channel", "1", ("red", "green", "blue")), *(Axis(n, "space", "mm") for n in "zyx"))
    return Image(np.zeros((3, 1, 100, 150), np.uint8), unit="1", axes=axes,
                 geometry=Geometry((1, 100, 150), affine, frame, "slide"))  # fmt: skip


def region(frame: str = "slide 1", x: float = 11.0, y: float = 20.5) -> Geometry:
    affine = np.eye(4)
    affine[:3, :3] = 0
    affine[2, 0], affine[1, 1], affine[0, 2] = 0.005, 0.001, 0.001
    affine[:2, 3] = (x, y)
    return Geometry((1, 400, 600), affine, frame, "slide")


def test_another_slide_is_refused():
    with pytest.raises(GeometryError, match="one slide"):
        slide_figure(photograph(), {"a": region("slide 2")})
    assert not on_photograph(photograph(), region("slide 2")) and not on_photograph(photograph(), region(x=30.0))


@pytest.mark.parametrize("turned", [False, True])
def test_a_region_is_outlined_where_it_lies(turned):
    figure = slide_figure(photograph(turned), {"ROI_001": region(), "ROI_002": region(x=12.9, y=21.9)})
    axes = figure.axes[0]
    low, high = (getattr(axes.patches[0].get_xy(), f)(axis=0) for f in ("min", "max"))
    assert low[0] == pytest.approx(1.0, abs=0.001) and high[0] == pytest.approx(1.6, abs=0.001)
    top = 0.5 if not turned else 2.0 - 0.9
    assert low[1] == pytest.approx(top, abs=0.021) and high[1] == pytest.approx(top + 0.4, abs=0.021)
    assert {"ROI_001", "ROI_002"} <= {t.get_text() for t in figure.texts}
    assert on_photograph(photograph(turned), region())
