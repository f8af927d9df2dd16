"""What is true of a tumour, region by region, in the quantities of the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from timelens.knowledge import quantities
from timelens.knowledge import targets as known_targets
from timelens.study.table import Table
from timelens.tumor.cells import LEAVES

if TYPE_CHECKING:
    from timelens.tumor.microenvironment import Microenvironment

__all__ = ["HYPOXIC_MMHG", "truth_table"]

#: Partial pressure below which tissue counts as hypoxic here; thresholds differ between authors (Höckel & Vaupel 2001,
#: doi:10.1093/jnci/93.4.266).
HYPOXIC_MMHG = 10.0

#: Quantity to the field whose mean it is.
_MEANS = {
    "v_b": "vessel_volume_fraction",
    "f_b": "perfusion",
    "haematocrit": "haematocrit",
    "v_e": "interstitial_fraction",
    "collagen_fraction": "collagen_fraction",
    "po2": "oxygen",
    "ph": "ph",
    "stiffness": "stiffness",
}
_REGIONS = ("tumour", "living tumour", "necrosis", "margin", "core")
#: Sums that people ask for, beside the leaves.
_SUMS = ("t-cell", "cd8-t-cell", "cd4-t-cell", "b-cell", "tam", "tan", "nk-cell", "stromal-cell")


def truth_table(tumour: Microenvironment, *, targets: Sequence[str] = (), regions: Sequence[str] = _REGIONS) -> Table:
    """True values of a tumour.

    Parameters
    ----------
    tumour
        At its day.
    targets
        Targets whose concentration (and activity, of enzymes) is wanted too.
    regions
        Names of :attr:`~timelens.tumor.microenvironment.Microenvironment.masks`; one without voxels gives no rows.

    Returns
    -------
    Table
        Columns day, region, quantity, component, target, value, unit, sd and n: mean and standard deviation over the
        region's voxels and their number; a total or a share has no sd. The density of a component is that of the leaf
        and its subsets together, as a lens would count them.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []

    def add(region: str, quantity: str, values: NDArray[Any] | float, component: str = "", target: str = "") -> None:
        many = np.ndim(values) > 0
        rows.append(
            {
                "day": tumour.day,
                "region": region,
                "quantity": quantity,
                "component": component,
                "target": target,
                "value": float(np.mean(values, dtype=np.float64)),
                "unit": quantities.get(quantity).unit,
                "sd": float(np.std(values, dtype=np.float64)) if many else float("nan"),
                "n": int(np.size(values)) if many else int(mask.sum()),
            }
        )

    every = tumour.density("cell")
    components = list(dict.fromkeys((*LEAVES, *_SUMS)))
    densities = {name: tumour.density(name) for name in components}
    concentrations = {name: tumour.target_concentration(name) for name in targets}
    for region in regions:
        mask = tumour.masks[region]
        if not mask.any():
            continue
        add(region, "volume", float(mask.sum() * tumour.geometry.voxel_volume / 1000))
        for quantity, field in _MEANS.items():
            add(region, quantity, tumour[field][mask])
        add(region, "hypoxic_fraction", float((tumour["oxygen"][mask] < HYPOXIC_MMHG).mean()))
        add(region, "necrotic_fraction", float(tumour.necrotic_share[mask].mean(dtype=np.float64)))
        total = float(every[mask].sum(dtype=np.float64))
        for name in components:
            here = densities[name][mask]
            add(region, "cell_density", here, component=name)
            share = float(here.sum(dtype=np.float64)) / total if total > 0 else float("nan")
            add(region, "cell_fraction", share, component=name)
        for name, concentration in concentrations.items():
            add(region, "target_concentration", concentration[mask], target=name)
            if _is_enzyme(name):
                add(region, "enzyme_activity", tumour.enzyme_activity(name)[mask], target=name)
    frame = pd.DataFrame(rows)
    return Table(frame, {"day": "d", "value": "1", "sd": "1", "n": "{voxels}"})


def _is_enzyme(name: str) -> bool:
    return known_targets.get(name).kind in ("enzyme", "protease")
