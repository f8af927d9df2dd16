"""Mouse and human in numbers: organs with mass, blood flow, blood and interstitial volume, each value with its source.

Values stand in ``data/host.csv`` and ``data/tissue.csv``. Grams, millilitres, seconds. An organ's mass includes the
blood in it, as an image sees it: Brown's mouse organs were weighed so, ICRP's human organs get theirs added. Whatever
the organs leave of body weight, blood and cardiac output is the organ ``rest``. At another body weight masses and
volumes grow with the weight, flows with its power 0.75 (Brown 1997, doi:10.1177/074823379701300401).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Literal

from timelens.errors import DataError, UsageError

__all__ = ["BLOOD_DENSITY", "PORTAL", "Capillary", "Host", "Organ", "Species", "reference_host"]

Species = Literal["mouse", "human"]
Capillary = Literal["continuous", "fenestrated", "sinusoidal", "barrier"]

#: g/mL (ICRP 110, doi:10.1016/j.icrp.2009.09.001).
BLOOD_DENSITY = 1.06
#: Organs whose blood goes on to the liver.
PORTAL = ("stomach", "intestine", "pancreas", "spleen")
#: Flows grow with this power of body weight.
_FLOW_POWER = 0.75


@dataclass(frozen=True)
class Organ:
    """An organ.

    Attributes
    ----------
    name
        As the knowledge base names it.
    mass_g
        With the blood in it.
    flow_ml_s
        Arterial blood flow in mL/s; of the lung the whole cardiac output.
    blood_ml
        Blood in it.
    interstitial
        Part of the tissue (without blood) that is interstitial fluid.
    capillary
        Kind of its capillaries.
    density
        g/mL.
    hu
        Hounsfield units.
    """

    name: str
    mass_g: float
    flow_ml_s: float
    blood_ml: float
    interstitial: float
    capillary: Capillary
    density: float
    hu: float

    @property
    def tissue_g(self) -> float:
        """Mass without blood."""
        return self.mass_g - BLOOD_DENSITY * self.blood_ml

    @property
    def tissue_ml(self) -> float:
        """Volume of the tissue without blood, at 1.05 g/mL (air counts for nothing)."""
        return self.tissue_g / 1.05

    @property
    def volume_ml(self) -> float:
        """Volume as an image shows it: of the lung with its air."""
        return self.mass_g / self.density


@dataclass(frozen=True)
class Host:
    """A body in numbers.

    Attributes
    ----------
    species
        ``mouse`` or ``human``.
    weight_g
        Body weight.
    organs
        All but large vessels and hollow contents; their masses and the blood outside them sum to the weight.
    arterial_ml, venous_ml
        Blood outside organs.
    haematocrit
        Part of the blood that is cells.
    filtration_ml_s
        Glomerular filtration of plasma.
    bladder_ml
        Urine in the bladder, taken as constant.
    """

    species: Species
    weight_g: float
    organs: tuple[Organ, ...]
    arterial_ml: float
    venous_ml: float
    haematocrit: float
    filtration_ml_s: float
    bladder_ml: float

    def organ(self, name: str) -> Organ:
        """The organ of that name.

        Raises
        ------
        UsageError
            If there is none.
        """
        for each in self.organs:
            if each.name == name:
                return each
        raise UsageError(
            "There is no such organ", field="name", found=name, expected=", ".join(o.name for o in self.organs)
        )

    @property
    def blood_ml(self) -> float:
        """All blood."""
        return self.arterial_ml + self.venous_ml + sum(each.blood_ml for each in self.organs)

    @property
    def plasma_ml(self) -> float:
        """All plasma."""
        return self.blood_ml * (1 - self.haematocrit)

    @property
    def cardiac_output_ml_s(self) -> float:
        """Blood flow through the lung."""
        return self.organ("lung").flow_ml_s


@lru_cache(maxsize=1)
def _tables() -> tuple[dict[tuple[str, str, str], tuple[float, str]], dict[str, dict[str, str]]]:
    folder = files("timelens.tumor.host") / "data"
    values = {
        (row["species"], row["organ"], row["quantity"]): (float(row["value"]), row["unit"])
        for row in csv.DictReader((folder / "host.csv").read_text(encoding="utf-8").splitlines())
    }
    tissue = csv.DictReader((folder / "tissue.csv").read_text(encoding="utf-8").splitlines())
    return values, {row["organ"]: row for row in tissue}


def reference_host(species: Species, *, weight_g: float | None = None) -> Host:
    """The reference mouse (25 g by default) or human (73 kg man).

    Parameters
    ----------
    species
        ``mouse`` or ``human``.
    weight_g
        Another body weight: 10 to 60 g, or 30 to 200 kg.

    Raises
    ------
    UsageError
        If the species is another one.
    DataError
        If the weight is none of an adult of the species.

    Examples
    --------
    >>> mouse = reference_host("mouse")
    >>> round(mouse.organ("liver").mass_g, 2), round(mouse.blood_ml, 2)
    (1.37, 2.12)
    """
    if species not in ("mouse", "human"):
        raise UsageError("There is no such host", field="species", found=species, expected="mouse or human")
    weight = float(weight_g if weight_g is not None else {"mouse": 25.0, "human": 73e3}[species])
    low, high = {"mouse": (10.0, 60.0), "human": (30e3, 200e3)}[species]
    if not low <= weight <= high:
        raise DataError(
            f"This is not the weight of an adult {species}",
            field="weight_g",
            found=f"{weight:g} g",
            expected=f"{low:g} to {high:g} g",
            mend="give grams",
        )
    values, _ = _tables()

    def body(quantity: str) -> float:
        return values[species, "body", quantity][0]

    reference = body("mass")
    size = weight / reference
    pace = size**_FLOW_POWER
    total_flow = body("cardiac_output") / 60 * pace
    total_blood = body("blood_volume") * size
    names = list(dict.fromkeys(o for s, o, _ in values if s == species and o != "body"))
    organs = [_organ(species, name, weight, total_blood, total_flow) for name in names]
    spare_flow = total_flow - sum(each.flow_ml_s for each in organs if each.name != "lung")
    outside = total_blood - sum(each.blood_ml for each in organs)
    # What other tissue holds of the blood is small beside large vessels: a tenth.
    rest_blood = 0.1 * outside
    rest_mass = weight - sum(each.mass_g for each in organs) - BLOOD_DENSITY * (outside - rest_blood)
    organs.append(_make("rest", rest_mass, spare_flow, rest_blood))
    arterial = body("arterial_share") * (outside - rest_blood)
    return Host(
        species=species,
        weight_g=weight,
        organs=tuple(organs),
        arterial_ml=arterial,
        venous_ml=outside - rest_blood - arterial,
        haematocrit=body("haematocrit"),
        filtration_ml_s=body("glomerular_filtration") / 60 * pace,
        bladder_ml=body("bladder_volume") * size,
    )


def _organ(species: str, name: str, weight: float, total_blood: float, total_flow: float) -> Organ:
    values, _ = _tables()
    mass, unit = values[species, name, "mass"]
    grams = weight * mass / 100 if unit == "%" else mass * weight / values[species, "body", "mass"][0]
    blood, unit = values[species, name, "blood"]
    if unit == "%":  # of all blood, and not yet in the mass
        millilitres = total_blood * blood / 100
        grams += BLOOD_DENSITY * millilitres
    else:
        millilitres = blood * grams / 1.05
    flow = total_flow if name == "lung" else total_flow * values[species, name, "flow"][0] / 100
    return _make(name, grams, flow, millilitres)


def _make(name: str, mass: float, flow: float, blood: float) -> Organ:
    row = _tables()[1][name]
    return Organ(
        name,
        mass,
        flow,
        blood,
        float(row["interstitial"]),
        row["capillary"],  # type: ignore[arg-type]
        float(row["density_g_per_ml"]),
        float(row["hu"]),
    )
