"""What an agent's physiology needs to know of it: its own values, those of its record, else those of its class.

Class values stand in ``data/classes.csv``, own values in ``data/own.csv``, permeability in the knowledge base, each
with its source. A class that lacks a value takes it from the wider class (a nanobody is a fragment). Every value says
where it comes from, and :attr:`AgentParameters.defaults` lists what was only assumed.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Literal

import numpy as np

from timelens.errors import DataError, MissingFieldError, UsageError
from timelens.knowledge import agents, permeability
from timelens.knowledge.records import Agent

__all__ = ["AgentParameters", "Model", "Parameter", "agent_parameters", "sieving"]

Model = Literal["circulation", "cell", "antibody"]
Origin = Literal["given", "own", "record", "class default"]

#: Class, and the wider one that fills its gaps.
_WIDER: Mapping[str, str] = {
    "small molecule hours": "small molecule",
    "ion": "small molecule",
    "nanobody": "fragment",
    "affibody": "fragment",
    "protein": "fragment",
    "minibody": "fragment",
    "microbubble": "nanoparticle",
}
#: Vector class of the knowledge base to class of physiology.
_CLASSES: Mapping[str, str] = {
    "small molecule": "small molecule",
    "dye": "small molecule",
    "ion": "ion",
    "peptide": "peptide",
    "peptide and small molecule": "peptide",
    "protein": "protein",
    "affibody": "affibody",
    "nanobody": "nanobody",
    "diabody": "fragment",
    "antibody fragment": "fragment",
    "minibody": "minibody",
    "antibody": "antibody",
    "nanoparticle": "nanoparticle",
    "liposome": "nanoparticle",
    "polymer": "nanoparticle",
    "microbubble": "microbubble",
    "cell": "cell",
}
#: Mass in kDa and sieving coefficient of the glomerulus for globular proteins (order after Haraldsson 2008,
#: doi:10.1152/physrev.00055.2006: inulin 5, lysozyme 14.6, myoglobin 17, Bence Jones 44, haemoglobin 64, albumin 66).
_SIEVING = ((5.0, 1.0), (15.0, 0.8), (29.0, 0.4), (45.0, 0.08), (65.0, 0.01), (80.0, 0.002), (150.0, 0.0005))


@dataclass(frozen=True)
class Parameter:
    """A value with its unit, its source, and whether it is the agent's own."""

    value: float
    unit: str
    source: str
    origin: Origin


@dataclass(frozen=True)
class AgentParameters:
    """All values of one agent in one species.

    Attributes
    ----------
    agent
        Id of the record, or the name given for an agent without one.
    kind
        Class of physiology (``peptide``, ``antibody`` ...).
    model
        Which equations: ``circulation``, ``cell`` or ``antibody``.
    species
        ``mouse`` or ``human``.
    values
        Name to value.
    normal_uptake
        Organs with uptake of their own, as the record names them.
    """

    agent: str
    kind: str
    model: Model
    species: str
    values: Mapping[str, Parameter]
    normal_uptake: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def get(self, name: str, default: float | None = None) -> float:
        """A value.

        Raises
        ------
        MissingFieldError
            If neither agent nor class has it and there is no default.
        """
        if name in self.values:
            return self.values[name].value
        if default is None:
            raise MissingFieldError(
                f"The physiology of {self.agent} lacks a value",
                field=name,
                expected=f"a value for the class {self.kind}",
                mend=f"give overrides={{{name!r}: ...}}",
            )
        return default

    @property
    def defaults(self) -> tuple[str, ...]:
        """Every value that is only its class's, with unit and source, as sentences."""
        return tuple(
            f"{name} = {each.value:g} {each.unit} ({each.source})"
            for name, each in sorted(self.values.items())
            if each.origin == "class default"
        )


@lru_cache(maxsize=1)
def _tables() -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    folder = files("timelens.tumor.agents") / "data"
    classes, own = (
        list(csv.DictReader((folder / name).read_text(encoding="utf-8").splitlines()))
        for name in ("classes.csv", "own.csv")
    )
    return classes, own


def sieving(mass_kda: float) -> float:
    """Part of the concentration in plasma that a protein of that mass has in glomerular filtrate.

    Examples
    --------
    >>> sieving(1.0), round(sieving(50.0), 3), round(sieving(150.0), 4)
    (1.0, 0.044, 0.0005)
    """
    mass, share = np.array(_SIEVING).T
    return float(np.exp(np.interp(np.log(mass_kda), np.log(mass), np.log(share))))


def agent_parameters(
    agent: Agent | str, species: str, *, kind: str | None = None, overrides: Mapping[str, float] | None = None
) -> AgentParameters:
    """Everything the physiology of an agent needs.

    Parameters
    ----------
    agent
        A record of the knowledge base or a name that means one; with ``kind`` any name.
    species
        ``mouse`` or ``human``.
    kind
        Class of physiology; by default that of the record.
    overrides
        Values that go before all others, in the units of ``data/classes.csv``.

    Raises
    ------
    UsageError
        If the species, class or an override is unknown.
    DataError
        If the agent is never free in blood (a reporter gene, a tissue stain) or its class is not on record.
    """
    if species not in ("mouse", "human"):
        raise UsageError("There is no such host", field="species", found=species, expected="mouse or human")
    record = agent if isinstance(agent, Agent) else (agents.get(agent) if kind is None else agents.find(agent))
    name = record.id if record is not None else str(agent)
    kind, notes = (kind, ()) if kind is not None else _kind(record)
    rows, own = _tables()
    known = {row["class"] for row in rows} - {"any"}
    if kind not in known:
        raise UsageError("There is no such class of physiology", field="kind", found=kind, expected=sorted(known))
    values: dict[str, Parameter] = {}
    for level in ("any", _WIDER.get(kind), kind):
        for row in rows:
            if row["class"] == level and row["species"] in ("any", species):
                values[row["parameter"]] = _parameter(row, "class default")
        if crossing := permeability.find(str(level)):
            values["permeability"] = Parameter(crossing.mm_per_s, "mm/s", crossing.source, "class default")
    uptake: tuple[str, ...] = ()
    if record is not None:
        _from_record(record, kind, values)
        uptake = record.normal_uptake
    for row in own:
        if record is not None and row["agent"] == record.id and row["species"] in ("any", species):
            values[row["parameter"]] = _parameter(row, "own")
    if record is not None and (crossing := permeability.find(record.id)):
        values["permeability"] = Parameter(crossing.mm_per_s, "mm/s", crossing.source, "own")
    for key, value in (overrides or {}).items():
        if key not in values and not key.startswith(("ps.", "trapping.")):
            raise UsageError("There is no such value", field="overrides", found=key, expected=sorted(values))
        if not (np.isfinite(value) and value >= 0):
            raise DataError("A value must be zero or more", field=f"overrides[{key!r}]", found=value)
        unit = values[key].unit if key in values else ("mL/min/g" if key.startswith("ps.") else "1/min")
        values[key] = Parameter(float(value), unit, "given by the caller", "given")
    if "filtration" not in values and kind != "antibody":
        mass = values["mass"]
        source = "sieving by mass, order after Haraldsson 2008 doi:10.1152/physrev.00055.2006"
        values["filtration"] = Parameter(sieving(mass.value), "1", source, "class default")
    model: Model = "antibody" if kind == "antibody" else ("cell" if kind == "cell" else "circulation")
    return AgentParameters(name, kind, model, species, values, uptake, notes)


def _parameter(row: Mapping[str, str], origin: Origin) -> Parameter:
    return Parameter(float(row["value"]), row["unit"], row["source"], origin)


def _kind(record: Agent | None) -> tuple[str, tuple[str, ...]]:
    assert record is not None
    if record.plasma_kinetics == "none" or record.vector_class not in _CLASSES:
        raise DataError(
            f"{record.name} has no physiology in blood",
            field="vector_class",
            found=f"{record.vector_class}, plasma kinetics {record.plasma_kinetics or 'not on record'}",
            expected=f"an agent given into blood, of class {', '.join(sorted(_CLASSES))}",
            mend="give kind= where you know its class",
        )
    kind = _CLASSES[record.vector_class]
    notes = () if record.plasma_kinetics else ("Its plasma kinetics are not on record; those of its class are taken.",)
    if kind == "small molecule" and record.plasma_kinetics == "hours":
        kind = "small molecule hours"
    return kind, notes


def _from_record(record: Agent, kind: str, values: dict[str, Parameter]) -> None:
    """Mass and routes of excretion as the record has them."""
    if record.mass_kda is not None:
        values["mass"] = Parameter(record.mass_kda, "kDa", "knowledge base", "record")
    routes = set(record.excretion)
    if kind in ("antibody", "cell", "nanoparticle", "microbubble") or not routes & {"renal", "hepatobiliary"}:
        return
    if "hepatobiliary" not in routes and "liver_uptake" in values:
        values["liver_uptake"] = Parameter(0.0, "mL/min/g", "knowledge base: excretion names no liver", "record")
    if "renal" not in routes and "filtration" in values:
        values["filtration"] = Parameter(0.0, "1", "knowledge base: excretion names no kidney", "record")
