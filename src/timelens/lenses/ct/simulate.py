"""CT forward: from a scene to the attenuation scan that a scanner gives, with the truth beside it.

Image space, as for PET: the scene's Hounsfield numbers are painted as voxel means, blurred by the point spread of the
kernel, and get noise that is correlated alike. Its standard deviation is the same everywhere, as automatic exposure
control aims for (AAPM Report 96, 2008); streaks, beam hardening and scatter are not there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from timelens.engines.regions.noise import correlated_noise
from timelens.engines.regions.partial_volume import FWHM_PER_SIGMA
from timelens.errors import UsageError
from timelens.knowledge import quantities
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Administration, Protocol, Simulated, Truth
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.tumor.paint import grid_around, hounsfield, voxel_shares
from timelens.tumor.scene import Scene

__all__ = ["LEAST_HU", "CtProtocol", "ct_protocol", "simulate"]

#: The lowest number that scanners store.
LEAST_HU = -1024.0


@dataclass(frozen=True)
class CtProtocol:
    """A CT protocol.

    Attributes
    ----------
    voxel_mm
        Voxel edge along every axis.
    fwhm_mm
        Resolution of the kernel; the noise is correlated alike.
    noise_hu
        Standard deviation of the noise; 12 HU is a low-dose scan beside PET.
    """

    voxel_mm: float = 3.0
    fwhm_mm: float = 1.5
    noise_hu: float = 12.0


def ct_protocol(protocol: Protocol) -> CtProtocol:
    """A protocol from plain data, whose parameters bear the names of :class:`CtProtocol`.

    Raises
    ------
    UsageError
        If it is for another lens, names an unknown parameter or has an impossible value.
    """
    if protocol.lens != "ct":
        raise UsageError("The protocol is for another lens", field="lens", found=protocol.lens, expected="ct")
    given: Mapping[str, Any] = protocol.parameters
    names = [f.name for f in fields(CtProtocol)]
    if unknown := set(given) - set(names):
        raise UsageError(
            "There is no such parameter", field=f"ct: {', '.join(sorted(unknown))}", expected=", ".join(names)
        )
    for name, value in given.items():
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or value < 0 or (value == 0 and name == "voxel_mm"):
            raise UsageError(
                "The value cannot be used", field=f"ct.{name}", found=value, expected="a number, not below 0"
            )
    return CtProtocol(**{name: float(value) for name, value in given.items()})


def simulate(
    scene: Scene,
    administrations: Sequence[Administration],
    protocol: Protocol | CtProtocol,
    rng: np.random.Generator,
    *,
    geometry: Geometry | None = None,
) -> Simulated:
    """Scan a scene.

    Parameters
    ----------
    scene
        Host and tumours, of which the attenuation counts.
    administrations
        None: contrast media are not simulated.
    protocol
        See :class:`CtProtocol`.
    rng
        Source of randomness.
    geometry
        Grid of the image along the axes of the body; by default one of the protocol's voxels around the whole body.

    Returns
    -------
    Simulated
        One acquisition in Hounsfield units (int16); the mean of each lesion as truth: *ideal* of the lesion itself,
        *seen* over the voxels of which half or more is the lesion's, without noise.

    Raises
    ------
    UsageError
        If something was administered or the protocol cannot be used.
    """
    if administrations:
        raise UsageError("Contrast media are not simulated", field="administrations", found=administrations[0].agent)
    plan = protocol if isinstance(protocol, CtProtocol) else ct_protocol(protocol)
    grid = geometry or grid_around(scene, (plan.voxel_mm,) * 3)
    sigma = [plan.fwhm_mm / FWHM_PER_SIGMA / step for step in grid.spacing]
    clean = gaussian_filter(hounsfield(scene, grid), sigma, mode="nearest")
    shown = clean + np.float32(plan.noise_hu) * correlated_noise(grid.shape, sigma, rng) if plan.noise_hu else clean
    truth = _truth(scene, clean, grid)
    return Simulated((_acquisition(shown, scene, grid),), (), tuple(truth), (_acquisition(clean, scene, grid),))


def _acquisition(hu: NDArray[np.float32], scene: Scene, grid: Geometry) -> Acquisition:
    stored = np.rint(np.maximum(hu, LEAST_HU)).astype(np.int16)
    image = Image(stored, unit="[hnsf'U]", geometry=grid, quantity="hounsfield")
    host = scene.host
    return Acquisition(
        id="ct",
        modality="ct",
        data=image,
        description="CT low dose",
        weight_g=host.weight_g,
        height_mm=host.height_mm,
        sex=host.sex,
        age_years=host.age_years,
        species=scene.species,
    )


def _truth(scene: Scene, clean: NDArray[np.float32], grid: Geometry) -> list[Truth]:
    unit = quantities.get("hounsfield").unit
    rows = []
    for shape in scene.host.lesions:
        found = voxel_shares(shape, grid)
        mean = _mean(clean[found[0]], found[1] >= 0.5) if found is not None else float("nan")
        rows.append(Truth("hounsfield", unit, shape.name, shape.hu, mean, shape.centre, acquisition="ct"))
    for tumour in scene.fields:
        inside = tumour.on(tumour.share, grid) >= 0.5
        rows.append(
            Truth("hounsfield", unit, tumour.name, tumour.hu, _mean(clean, inside), tumour.centre, acquisition="ct")
        )
    return rows


def _mean(values: NDArray[np.float32], inside: NDArray[np.bool_]) -> float:
    return float(values[inside].mean(dtype=np.float64)) if inside.any() else float("nan")
