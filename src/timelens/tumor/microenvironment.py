"""The virtual tumour microenvironment: fields on a grid with units, whose truth is known.

Conventions
-----------
- Fields are float32 of shape (z, y, x). Each has a name and a UCUM unit in :data:`FIELDS`.
- In every voxel the volume fractions of vessels, cells, interstitial fluid, collagen, debris and host tissue sum to 1.
- ``cells`` holds exclusive leaves (:mod:`timelens.tumor.cells`) in cells per mm3 of tissue; ``density`` sums them for
  any component of the knowledge base. Cells of the host's own tissue are not counted.
- The same architecture, grid and seed give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from timelens.errors import MissingFieldError, UsageError
from timelens.knowledge import permeability, targets
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.tumor.architecture import Architecture
from timelens.tumor.cells import LEAVES, leaves_of
from timelens.tumor.layout import lay_out
from timelens.tumor.oxygen import oxygen_field, ph_field
from timelens.tumor.targets import NMOL_PER_L, Expression, expression
from timelens.tumor.tissue import fill, vessels

if TYPE_CHECKING:
    from timelens.study.table import Table
    from timelens.tumor.dynamics import Course
    from timelens.tumor.section import Section

__all__ = ["FIELDS", "Microenvironment", "build"]

Field = NDArray[np.float32]

#: Name of each field, its UCUM unit, and its quantity where the vocabulary has it.
FIELDS: Mapping[str, tuple[str, str | None]] = MappingProxyType(
    {
        "depth": ("mm", None),
        "tumour_fraction": ("mL/mL", None),
        "stroma": ("1", None),
        "tls": ("1", None),
        "vessel_volume_fraction": ("mL/mL", "v_b"),
        "perfusion": ("mL/min/mL", "f_b"),
        "haematocrit": ("1", "haematocrit"),
        "leakiness": ("1", None),
        "interstitial_fraction": ("mL/mL", "v_e"),
        "collagen_fraction": ("mL/mL", "collagen_fraction"),
        "necrosis_fraction": ("mL/mL", None),
        "host_fraction": ("mL/mL", None),
        "oxygen": ("mm[Hg]", "po2"),
        "ph": ("[pH]", "ph"),
        "stiffness": ("kPa", "stiffness"),
    }
)


@dataclass(frozen=True, eq=False)
class Microenvironment:
    """A tumour and its surroundings on a grid, at one day.

    Attributes
    ----------
    geometry
        The grid.
    architecture, seed, centre
        What made it; ``centre`` is (X, Y, Z) in mm, the middle of the grid by default.
    fields
        Field by name (:data:`FIELDS`).
    cells
        Cells per mm3 by leaf.
    expressions
        Where targets are, if other than :func:`timelens.tumor.targets.expression` says.
    day
        Day of the course.
    course
        Populations over time, if it has any.
    origin
        The same tumour at day 0, from which :meth:`at` starts; itself where None.
    """

    geometry: Geometry
    architecture: Architecture
    seed: int
    fields: Mapping[str, Field]
    cells: Mapping[str, Field]
    centre: tuple[float, float, float] | None = None
    expressions: Mapping[str, Expression] = field(default_factory=dict)
    day: float = 0.0
    course: Course | None = None
    origin: Microenvironment | None = None

    # -- fields --------------------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Field:
        """The field of that name."""
        if name not in self.fields:
            raise UsageError("There is no such field", field="name", found=name, expected=", ".join(self.fields))
        return self.fields[name]

    def image(self, name: str) -> Image:
        """A field, or the density of a component, as an image with geometry, unit and quantity."""
        if name in self.fields:
            unit, quantity = FIELDS[name]
            return Image(self.fields[name], unit=unit, geometry=self.geometry, quantity=quantity, name=name)
        values = self.density(name)
        return Image(values, unit="{cells}/mm3", geometry=self.geometry, quantity="cell_density", name=name)

    @property
    def vessel_volume_fraction(self) -> Field:
        """Blood per volume of tissue, mL/mL."""
        return self["vessel_volume_fraction"]

    @property
    def plasma_volume_fraction(self) -> Field:
        """Plasma per volume of tissue, mL/mL."""
        return self["vessel_volume_fraction"] * (1 - self["haematocrit"])

    @property
    def perfusion(self) -> Field:
        """Blood flow, mL/min/mL."""
        return self["perfusion"]

    @property
    def plasma_flow(self) -> Field:
        """Plasma flow, mL/min/mL."""
        return self["perfusion"] * (1 - self["haematocrit"])

    @property
    def interstitial_fraction(self) -> Field:
        """Interstitial fluid per volume of tissue, mL/mL."""
        return self["interstitial_fraction"]

    @property
    def cell_volume_fraction(self) -> Field:
        """Volume of all counted cells per volume of tissue, mL/mL."""
        total = np.zeros(self.geometry.shape, np.float32)
        for name, density in self.cells.items():
            total += np.float32(LEAVES[name].volume_mm3) * density
        return total

    @property
    def vessel_surface(self) -> Field:
        """Inner surface of vessels per volume of tissue, mm2/mm3: that of cylinders of the vessels' radius."""
        return self["vessel_volume_fraction"] * np.float32(2 / self.architecture.vessel_radius_mm)

    def ps(self, permeability_mm_per_s: float) -> Field:
        """Permeability-surface product in mL/min/mL for an agent of that permeability.

        The surface and its relative leakiness belong to the tumour, the permeability to the agent.
        """
        if not permeability_mm_per_s >= 0:
            raise UsageError(
                "A permeability is not negative", field="permeability_mm_per_s", found=permeability_mm_per_s
            )
        return self.vessel_surface * self["leakiness"] * np.float32(60 * permeability_mm_per_s)

    def ps_of_class(self, kind: str) -> Field:
        """As :meth:`ps`, with the permeability of a class (``antibody``, ``peptide`` ...) in the knowledge base."""
        return self.ps(permeability.get(kind).mm_per_s)

    # -- cells and targets ---------------------------------------------------------------------------------------

    def density(self, component: str) -> Field:
        """Cells per mm3 of a component: the sum of its leaves (``t-cell``, ``tam``, ``cell`` for all).

        Raises
        ------
        MissingFieldError
            If no leaf of the tumour belongs to the component.
        UsageError
            If the knowledge base has no such component.
        """
        leaves = leaves_of(component)
        if not leaves:
            raise MissingFieldError(
                "The virtual tumour has no cells of this component",
                field="component",
                found=component,
                expected=", ".join(LEAVES),
            )
        if len(leaves) == 1:
            return self.cells[leaves[0]]
        return np.sum([self.cells[each] for each in leaves], axis=0, dtype=np.float32)

    def expression_of(self, target: str) -> Expression:
        """Where a target is, by its id, name or symbol."""
        record = targets.get(target)
        return self.expressions.get(record.id) or expression(record.id)

    def target_concentration(self, target: str) -> Field:
        """Target per volume of tissue in nmol/L: on cells, in interstitial fluid and in matrix."""
        where = self.expression_of(target)
        result = np.float32(where.soluble_nmol_per_l) * self["interstitial_fraction"]
        if where.matrix_nmol_per_l:
            result += np.float32(where.matrix_nmol_per_l) * self["collagen_fraction"]
        for each in where.carriers:
            result += np.float32(each.copies * each.positive * NMOL_PER_L) * self.cells[each.leaf]
        return result

    def enzyme_activity(self, target: str) -> Field:
        """Activity of an enzyme in U/L (umol/min per litre of tissue): concentration, active part, turnover.

        Raises
        ------
        UsageError
            If the target is no enzyme.
        """
        record = targets.get(target)
        if record.kind not in ("enzyme", "protease"):
            raise UsageError("Only enzymes have an activity", field="target", found=f"{record.name}, a {record.kind}")
        where = self.expression_of(target)
        return self.target_concentration(target) * np.float32(where.active_fraction * where.turnover_per_s * 60 / 1000)

    def with_expression(self, *expressions: Expression) -> Microenvironment:
        """The same tumour with other numbers for some targets."""
        changed = {**self.expressions, **{each.target: each for each in expressions}}
        origin = self.origin.with_expression(*expressions) if self.origin is not None else None
        return replace(self, expressions=changed, origin=origin)

    # -- regions, time, sections ---------------------------------------------------------------------------------

    @cached_property
    def masks(self) -> Mapping[str, NDArray[np.bool_]]:
        """Voxels of named regions: tumour, living tumour, necrosis, margin (both sides), core, host."""
        inside = self["tumour_fraction"] >= 0.5
        necrosis = inside & (self.necrotic_share >= 0.5)
        margin = np.abs(self["depth"]) <= self.architecture.margin_mm
        return MappingProxyType(
            {
                "tumour": inside,
                "living tumour": inside & ~necrosis,
                "necrosis": necrosis,
                "margin": margin,
                "core": inside & ~margin,
                "host": ~inside,
            }
        )

    @property
    def necrotic_share(self) -> Field:
        """Debris relative to debris and living tumour cells."""
        debris = self["necrosis_fraction"]
        living = self.cells["tumour-cell"] * np.float32(LEAVES["tumour-cell"].volume_mm3)
        total = debris + living
        return np.divide(debris, total, out=np.zeros_like(debris), where=total > 0)

    def count(self, component: str, region: str = "tumour") -> float:
        """Number of cells of a component in a region."""
        values = self.density(component)[self.masks[region]]
        return float(values.sum(dtype=np.float64) * self.geometry.voxel_volume)

    def with_course(self, course: Course) -> Microenvironment:
        """The same tumour, now as day 0 of a course."""
        return replace(self, course=course, day=0.0, origin=None)

    def at(self, day: float) -> Microenvironment:
        """The tumour at another day of its course: size, cells and fields follow the populations."""
        from timelens.tumor.evolution import evolve

        return evolve(self, day)

    def sample_cells(self, section: Section, rng: np.random.Generator) -> Table:
        """Single cells in a section (:func:`timelens.tumor.section.sample_cells`)."""
        from timelens.tumor.section import sample_cells

        return sample_cells(self, section, rng)

    def truth(self) -> Table:
        """True values by region (:func:`timelens.tumor.truth.truth_table`)."""
        from timelens.tumor.truth import truth_table

        return truth_table(self)


def build(
    architecture: Architecture,
    geometry: Geometry,
    seed: int,
    *,
    centre: tuple[float, float, float] | None = None,
    tumour_cells: float | None = None,
) -> Microenvironment:
    """Make a tumour.

    Parameters
    ----------
    architecture
        Its parameters (``INFLAMED``, ``EXCLUDED``, ``DESERT``, or your own).
    geometry
        A grid with axes at right angles that leaves room around it; 0.1 to 0.5 mm are usual.
    seed
        Which one of all that have these parameters.
    centre
        (X, Y, Z) in mm in the grid's frame; the middle of the grid by default.
    tumour_cells
        Number of tumour cells; by default as many as the packing of the architecture gives.

    Raises
    ------
    UsageError
        If the seed is none.
    GeometryError
        If the grid cuts the tumour, is too coarse or has slanted axes.
    DataError
        If the cells do not fit.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise UsageError("A seed is a whole number from 0 on", field="seed", found=seed)
    a = architecture
    layout = lay_out(a, geometry, seed, centre)
    blood = vessels(a, layout)
    tissue = fill(a, layout, blood, tumour_cells=tumour_cells)
    living = np.zeros(geometry.shape, np.float32)
    for name, density in tissue.cells.items():
        living += np.float32(LEAVES[name].volume_mm3) * density
    oxygen = oxygen_field(
        a,
        geometry,
        fraction=blood.fraction,
        perfusion=blood.perfusion,
        haematocrit=blood.haematocrit,
        living=living,
        debris=tissue.debris,
        host=tissue.host,
    )
    acid = ph_field(a, geometry, perfusion=blood.perfusion, living=living, oxygen=oxygen)
    stiff = np.float32(a.stiffness_kpa) + np.float32(a.stiffness_per_collagen_kpa) * tissue.collagen
    fields = {
        "depth": layout.depth,
        "tumour_fraction": layout.tumour,
        "stroma": layout.stroma,
        "tls": layout.tls,
        "vessel_volume_fraction": blood.fraction,
        "perfusion": blood.perfusion,
        "haematocrit": blood.haematocrit,
        "leakiness": blood.leakiness,
        "interstitial_fraction": tissue.interstitial,
        "collagen_fraction": tissue.collagen,
        "necrosis_fraction": tissue.debris,
        "host_fraction": tissue.host,
        "oxygen": oxygen,
        "ph": acid,
        "stiffness": stiff,
    }
    for each in (*fields.values(), *tissue.cells.values()):
        each.setflags(write=False)
    return Microenvironment(geometry, a, seed, MappingProxyType(fields), MappingProxyType(tissue.cells), centre=centre)
