"""What kind of tumour it is: size, tissue pattern, vessels, and how many cells of each type, as parameters.

Three immune architectures that pathologists tell apart (Chen & Mellman 2017, doi:10.1038/nature21349) are there by
name: :data:`INFLAMED` (T cells among tumour cells), :data:`EXCLUDED` (T cells held back in stroma and margin) and
:data:`DESERT` (hardly any). They differ in numbers only, and anything in between can be set.

Densities are means over the tumour in cells per mm3. Their order follows densities in sections (hundreds of CD8 cells
per mm2 in inflamed tumours: Galon 2006, doi:10.1126/science.1129139) divided by the depth that a section of 4 um shows,
about 0.01 mm. They are illustrative, no statistic of any cancer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType

from timelens.errors import UsageError
from timelens.tumor.cells import LEAVES

__all__ = ["ARCHITECTURES", "DESERT", "EXCLUDED", "INFLAMED", "Architecture"]

_DERIVED = {"tumour-cell", "endothelial-cell"}


@dataclass(frozen=True, eq=False)
class Architecture:
    """Parameters of a tumour.

    Attributes
    ----------
    diameter_mm
        Of a sphere of the tumour's volume.
    aspect
        Semi-axes along z, y, x relative to that sphere; scaled to keep the volume.
    roughness
        Standard deviation of the surface relative to the radius.
    front_mm
        Width over which tumour gives way to host tissue.
    margin_mm
        Half-width of the invasive margin (0.5 mm each side is the 1 mm band of the Immunoscore).
    nest_mm, stroma_fraction
        Size of tumour nests and part of the living tumour that is stroma between them.
    necrotic_fraction
        Part of the tumour's volume that is necrotic, in its depth.
    access
        Density of effector cells in nests relative to stroma, beyond what their type does: 1 without exclusion.
    tls_count, tls_radius_mm
        Tertiary lymphoid structures along the margin.
    densities
        Mean cells per mm3 of each leaf but tumour cells and endothelium, which follow from room and vessels.
    packing
        Part of the room left by vessels and other cells that tumour cells fill in nests.
    vessel_fraction, vessel_variation, core_vessel_loss, vessel_radius_mm
        Blood volume fraction: mean in living tumour, relative spread, relative loss from margin to core; vessel radius.
    haematocrit, perfusion
        Of the tumour's vessels, and blood flow in mL/min/mL, mean over living tumour.
    leakiness_variation
        Relative spread of permeability, which belongs to the agent, around 1.
    host_vessel_fraction, host_perfusion, host_haematocrit, host_leakiness
        The same around the tumour.
    arterial_po2_mmhg, consumption_length_mm, host_consumption
        Oxygen: arterial partial pressure; consumption length where cells are dense; consumption of host tissue relative
        to tumour.
    acid_ph_per_s
        Acid made by dense living tissue, as fall of pH per second if nothing were cleared.
    stiffness_kpa, stiffness_per_collagen_kpa
        Elastic modulus without collagen, and its rise per volume fraction of collagen (orders: mammary gland 0.2 kPa,
        its tumours 4 kPa: Paszek 2005, doi:10.1016/j.ccr.2005.08.010).
    """

    diameter_mm: float = 10.0
    aspect: tuple[float, float, float] = (1.0, 1.0, 1.0)
    roughness: float = 0.08
    front_mm: float = 0.15
    margin_mm: float = 0.5
    nest_mm: float = 0.8
    stroma_fraction: float = 0.25
    necrotic_fraction: float = 0.08
    access: float = 0.7
    tls_count: int = 3
    tls_radius_mm: float = 0.4
    densities: Mapping[str, float] = field(default_factory=dict)
    packing: float = 0.68
    vessel_fraction: float = 0.05
    vessel_variation: float = 0.4
    core_vessel_loss: float = 0.8
    vessel_radius_mm: float = 0.005
    haematocrit: float = 0.25
    perfusion: float = 0.15
    leakiness_variation: float = 0.4
    host_vessel_fraction: float = 0.03
    host_perfusion: float = 0.15
    host_haematocrit: float = 0.4
    host_leakiness: float = 0.1
    arterial_po2_mmhg: float = 95.0
    consumption_length_mm: float = 0.1
    host_consumption: float = 0.3
    acid_ph_per_s: float = 0.0013
    stiffness_kpa: float = 0.2
    stiffness_per_collagen_kpa: float = 20.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "densities", MappingProxyType(dict(self.densities)))
        object.__setattr__(self, "aspect", tuple(float(a) for a in self.aspect))
        for each in fields(self):
            value = getattr(self, each.name)
            numbers = value if each.name == "aspect" else value.values() if each.name == "densities" else (value,)
            for number in numbers:
                if not 0 <= number < float("inf"):
                    raise UsageError("A parameter is negative or no number", field=each.name, found=number)
        for name in ("diameter_mm", "front_mm", "margin_mm", "nest_mm", "vessel_radius_mm", "consumption_length_mm"):
            if getattr(self, name) <= 0:
                raise UsageError("A length must be positive", field=name, found=getattr(self, name), expected="> 0 mm")
        if len(self.aspect) != 3 or min(self.aspect) <= 0:
            raise UsageError("Three semi-axes are needed", field="aspect", found=self.aspect, expected="z, y, x > 0")
        for name in ("stroma_fraction", "necrotic_fraction", "access", "packing", "core_vessel_loss", "haematocrit"):
            if getattr(self, name) > 1:
                raise UsageError("A part is at most 1", field=name, found=getattr(self, name), expected="0 to 1")
        for name in ("vessel_fraction", "host_vessel_fraction"):
            if getattr(self, name) > 0.3:
                raise UsageError(
                    "So many vessels leave no room", field=name, found=getattr(self, name), expected="<= 0.3"
                )
        if unknown := set(self.densities) - (set(LEAVES) - _DERIVED):
            raise UsageError(
                "Densities are of leaves other than tumour cells and endothelium, which follow from the rest",
                field="densities",
                found=sorted(unknown),
                expected=sorted(set(LEAVES) - _DERIVED),
            )

    @property
    def radius_mm(self) -> float:
        """Radius of a sphere of the tumour's volume."""
        return self.diameter_mm / 2

    @property
    def volume_mm3(self) -> float:
        """Volume of the tumour."""
        return 4.1887902047863905 * self.radius_mm**3

    def with_densities(self, **changes: float) -> Architecture:
        """Other densities by id, with ``_`` for ``-`` (``cd8_t_cell=2e4``)."""
        return replace(self, densities={**self.densities, **{k.replace("_", "-"): v for k, v in changes.items()}})


_IMMUNE = {
    "cd8-t-cell": 2.5e4,
    "exhausted-cd8-t-cell": 1.0e4,
    "cd4-t-cell": 1.2e4,
    "th1": 8.0e3,
    "treg": 5.0e3,
    "memory-t-cell": 6.0e3,
    "nkt-cell": 5.0e2,
    "nk-cell": 3.0e3,
    "b-cell": 1.0e4,
    "plasma-cell": 3.0e3,
    "dendritic-cell": 2.5e3,
    "m1-macrophage": 8.0e3,
    "m2-macrophage": 8.0e3,
    "n1-tan": 1.5e3,
    "n2-tan": 1.5e3,
    "mdsc": 2.0e3,
    "msc": 5.0e2,
    "caf": 8.0e3,
}

#: T cells among the tumour cells, tertiary lymphoid structures.
INFLAMED = Architecture(densities=_IMMUNE)

#: T cells in stroma and margin only; much collagen.
EXCLUDED = Architecture(
    densities=_IMMUNE
    | {
        "cd8-t-cell": 1.2e4,
        "exhausted-cd8-t-cell": 3e3,
        "m2-macrophage": 1.2e4,
        "caf": 1.6e4,
        "b-cell": 5e3,
        "th1": 3e3,
    },
    access=0.03,
    stroma_fraction=0.4,
    tls_count=1,
)

#: Hardly any lymphocytes; myeloid cells.
DESERT = Architecture(
    densities={name: 0.04 * n for name, n in _IMMUNE.items()}
    | {"m2-macrophage": 7e3, "m1-macrophage": 1e3, "n2-tan": 2e3, "mdsc": 4e3, "msc": 5e2, "caf": 6e3},
    access=0.3,
    stroma_fraction=0.15,
    necrotic_fraction=0.15,
    tls_count=0,
)

#: The three by name.
ARCHITECTURES = MappingProxyType({"inflamed": INFLAMED, "excluded": EXCLUDED, "desert": DESERT})
