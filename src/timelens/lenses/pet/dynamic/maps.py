"""Parametric maps: every parameter of a model per voxel with its standard error and the reason where there is none."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics.fit import Fit
from timelens.lenses.pet.dynamic.curves import ImageSlabs
from timelens.lenses.pet.dynamic.models import ModelKind, reported
from timelens.study.image import Image

__all__ = ["MAP_NAMES", "map_images", "tissue_mask"]

Floats = NDArray[np.float64]

#: Parameter to the name of its map.
MAP_NAMES = {
    "k1": "K1", "k2": "k2", "k3": "k3", "k4": "k4", "k_i": "Ki", "v_t": "VT", "bp_nd": "BPND", "bp_p": "BPP",
    "r1": "R1",
    "v_0": "V0", "v_b": "vB", "v_nd": "VND", "v_s": "VS", "k2a": "k2a", "k_int": "kint", "k_i_ref": "Kiref",
    "delay": "delay",
}  # fmt: skip
#: Voxels whose time average lies below this part of the image's 99.9th percentile are air.
AIR_PART = 0.02


def tissue_mask(mean: NDArray[Any]) -> NDArray[np.bool_]:
    """Where there is tissue: above the air, with holes filled slice by slice."""
    from scipy.ndimage import binary_fill_holes

    finite = mean[np.isfinite(mean)]
    if finite.size == 0:
        return np.zeros(mean.shape, bool)
    mask = np.asarray(mean > AIR_PART * np.percentile(finite, 99.9))
    return np.stack([binary_fill_holes(part) for part in mask])


def map_images(
    kind: ModelKind,
    model: Any,
    image: Image,
    weights: Floats,
    *,
    mask: NDArray[np.bool_] | None,
    which: Literal["main", "all"] = "all",
    threads: int = 2,
) -> dict[str, Image]:
    """Maps of a model by name (``Ki``, ``Ki_se`` ..., and ``<model>_reason``), each in the unit of the vocabulary.

    Parameters
    ----------
    image
        (t, z, y, x), the series in the unit of the input; read a few slices at a time.
    mask
        Voxels to fit; the others are NaN.
    which
        ``main``: the parameter that the model is for; ``all``: every one that the vocabulary has.
    """
    fit: Fit = model.map(ImageSlabs(image), weights, mask=mask, threads=threads)
    maps: dict[str, Image] = {}
    for name, unit in fit.units.items():
        known = reported(name, unit)
        if known is None or name not in MAP_NAMES or (which == "main" and name != fit.main):
            continue
        quantity, code, factor = known
        values, errors = fit.parameters[name], fit.standard_errors[name]
        if factor != 1.0:
            values, errors = values * np.float32(factor), errors * np.float32(factor)
        maps[MAP_NAMES[name]] = _volume(image, values, code, quantity, MAP_NAMES[name])
        maps[f"{MAP_NAMES[name]}_se"] = _volume(image, errors, code, None, f"{MAP_NAMES[name]}_se")
    reason = fit.reason.astype(np.int16)
    maps[f"{kind.name}_reason"] = Image(reason, unit="1", geometry=image.geometry, name=f"{kind.name}_reason")
    return maps


def _volume(image: Image, values: NDArray[Any], unit: str, quantity: str | None, name: str) -> Image:
    return Image(
        np.ascontiguousarray(values, np.float32), unit=unit, geometry=image.geometry, quantity=quantity, name=name
    )
