"""The arterial curve measured in the series itself: from a region that somebody drew, or found in the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics import InputFunction
from timelens.engines.perfusion import ArterialChoice, choose_arterial, describe_arterial, plasma_from_blood
from timelens.errors import DataError
from timelens.study.image import Image

__all__ = ["measured_input"]

Bools = NDArray[np.bool_]


def measured_input(
    concentration: Image, *, haematocrit: float, region: Bools | None = None, search: Bools | None = None
) -> tuple[InputFunction, ArterialChoice]:
    """Plasma input of a concentration series (mmol/L), and which voxels it came from with what tells how good it is.

    Parameters
    ----------
    concentration
        (t, z, y, x) with frame times; a frame is taken at its middle.
    haematocrit
        Fraction; concentration in plasma is that in blood over one minus it.
    region
        (z, y, x), voxels of the artery. Those with a missing value in any frame are left out. None: they are searched.
    search
        (z, y, x), where to search.

    Returns
    -------
    tuple
        The input, held to the end of the last frame, and the choice; its ``curve`` is in whole blood.

    Raises
    ------
    DataError
        The region holds no complete curve, has another shape, or nothing enhances enough to search.
    """
    if concentration.frames is None or concentration.unit != "mmol/L":
        raise DataError(
            "An arterial input comes from a concentration series with frame times",
            file=concentration.name,
            field="unit",
            found=concentration.unit,
            expected="mmol/L",
            mend="convert the signal to concentration first",
        )
    timing = concentration.frames
    times = timing.start + 0.5 * timing.duration
    data = concentration.numpy().astype(np.float64)
    if region is None:
        choice = choose_arterial(times, data, mask=search)
    else:
        choice = describe_arterial(times, data, region)
    plasma = InputFunction(times, plasma_from_blood(choice.curve, haematocrit), "plasma", "mmol/L")
    return plasma.held_until(float(timing.start[-1] + timing.duration[-1])), choice
