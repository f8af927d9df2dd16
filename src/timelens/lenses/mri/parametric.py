"""From a fit in seconds to parametric images in the units that the vocabulary reports."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens import units
from timelens.engines.kinetics.fit import Fit
from timelens.knowledge import quantities
from timelens.study.image import Image

__all__ = ["REASON", "parametric_images", "reported"]

#: Name of the image of reason codes.
REASON = "reason"
#: Reported units of parameters that the vocabulary has no row for.
_UNITS = {"t1_star": "ms", "r2": "/s"}
#: Names in the vocabulary where the engine's are short.
_NAMES = {"f": "ivim_f", "d": "ivim_d", "d_star": "ivim_d_star", "delay": "input_delay"}


def parametric_images(fit: Fit, like: Image) -> dict[str, Image]:
    """Each parameter, its standard error (``<name>_se``), and the reason codes, on the grid of ``like``.

    Parameters
    ----------
    fit
        Maps of the shape of the grid.
    like
        An image whose last three axes are that grid.
    """
    assert like.geometry is not None
    found: dict[str, Image] = {}
    for short, values in fit.parameters.items():
        name = _NAMES.get(short, short)
        known = quantities.find(name)
        inside = fit.units[short]
        outside = known.unit if known is not None else _UNITS.get(name, inside)
        factor = units.conversion_factor(inside, outside)
        pairs: list[tuple[str, NDArray[Any]]] = [(name, values), (f"{name}_se", fit.standard_errors[short])]
        for label, array in pairs:
            found[label] = Image(
                np.asarray(array * factor, dtype=np.float32),
                unit=outside,
                axes=like.axes[-3:],
                geometry=like.geometry,
                quantity=name if known is not None and label == name else None,
                name=label,
            )
    found[REASON] = Image(
        np.asarray(fit.reason, dtype=np.int32), unit="1", axes=like.axes[-3:], geometry=like.geometry, name=REASON
    )
    return found


def reported(name: str, unit: str) -> tuple[str, str, float] | None:
    """Quantity, its unit, and the factor from the engine's value; None for what the vocabulary does not have."""
    known = quantities.find(_NAMES.get(name, name))
    if known is None or known.name != _NAMES.get(name, name):
        return None
    return known.name, known.unit, units.conversion_factor(unit, known.unit)
