"""Oxygen and acid in the tumour: steady diffusion from and to vessels that are finer than the grid.

Oxygen is consumed in proportion to its partial pressure and to the cells that are there. Vessels enter each voxel
through two resistances in a row: what blood flow can carry (arterial content, linear over the range, times flow), and
the tissue cylinder around each vessel, whose closed form gives the voxel its mean
(:func:`timelens.engines.diffusion.krogh_exchange`). Between voxels oxygen diffuses. On a coarse grid the vessels' term
rules, on a fine one diffusion does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from timelens.engines.diffusion import krogh_exchange, steady_state
from timelens.study.geometry import Geometry
from timelens.tumor.architecture import Architecture

__all__ = ["ACID_DIFFUSIVITY", "BLOOD_PER_TISSUE", "OXYGEN_DIFFUSIVITY", "oxygen_field", "ph_field"]

Field = NDArray[np.float32]

#: Diffusion coefficient of oxygen in tumour tissue, mm2/s (2e-9 m2/s: Tannock 1972, doi:10.1259/0007-1285-45-535-515).
OXYGEN_DIFFUSIVITY = 2.0e-3
#: Of lactic acid and its buffers, mm2/s.
ACID_DIFFUSIVITY = 1.0e-3
#: Oxygen that blood of haematocrit 0.45 holds per volume and mmHg (0.2 mL/mL at 95 mmHg), relative to tissue (3e-5).
BLOOD_PER_TISSUE = 0.2 / 95.0 / 3.0e-5
_NORMAL_HAEMATOCRIT = 0.45
#: Volume fraction of cells at which the consumption length is the stated one.
_DENSE = 0.7
#: Consumption of debris, where cells are dying, relative to living cells.
_DYING = 0.3
#: pH of arterial blood.
_ARTERIAL_PH = 7.4
#: Acid made without oxygen relative to plenty, and the partial pressure of half effect in mmHg.
_ANAEROBIC = 2.0
_HALF_ANAEROBIC = 5.0


def oxygen_field(
    a: Architecture,
    geometry: Geometry,
    *,
    fraction: Field,
    perfusion: Field,
    haematocrit: Field,
    living: Field,
    debris: Field,
    host: Field,
) -> Field:
    """Partial pressure of oxygen in mmHg.

    Parameters
    ----------
    a
        Arterial pressure, consumption length and vessel radius.
    geometry
        The grid.
    fraction, perfusion, haematocrit
        Vessels: volume fraction, flow in mL/min/mL.
    living, debris, host
        Volume fractions of the tumour's living cells, of necrotic debris and of host tissue.
    """
    full = OXYGEN_DIFFUSIVITY / a.consumption_length_mm**2
    # Tissue without any cell still consumes a thousandth: it keeps the closed form finite.
    density = (living.astype(float) + _DYING * debris + a.host_consumption * host) / _DENSE
    consumption = full * np.maximum(density, 1e-3)
    length = np.sqrt(OXYGEN_DIFFUSIVITY / consumption)
    wall = consumption * krogh_exchange(fraction, a.vessel_radius_mm, length)
    flow = perfusion.astype(float) / 60 * BLOOD_PER_TISSUE * haematocrit / _NORMAL_HAEMATOCRIT
    total = wall + flow
    supply = np.divide(wall * flow, total, out=np.zeros_like(total), where=total > 0)
    solved = steady_state(
        OXYGEN_DIFFUSIVITY, consumption + supply, supply * a.arterial_po2_mmhg, geometry.spacing, tolerance=1e-6
    )
    return np.maximum(solved.values, 0).astype(np.float32)


def ph_field(a: Architecture, geometry: Geometry, *, perfusion: Field, living: Field, oxygen: Field) -> Field:
    """Extracellular pH: acid from living cells, more where oxygen is scarce, spreads and is carried off by blood flow.

    Linear in pH, as strong buffers make it over half a unit; not below 6.0 (a bound for what has no vessels at all).
    """
    hunger = 1 + (_ANAEROBIC - 1) * _HALF_ANAEROBIC / (_HALF_ANAEROBIC + oxygen.astype(float))
    made = a.acid_ph_per_s * living * hunger
    cleared = perfusion.astype(float) / 60 + 1e-4
    excess = steady_state(ACID_DIFFUSIVITY, cleared, made, geometry.spacing, tolerance=1e-6).values
    return np.maximum(_ARTERIAL_PH - excess, 6.0).astype(np.float32)
