"""The records of the knowledge base as the library uses them: light, immutable, without pydantic.

Field by field they are the models of ``schema.py``, where each field is explained; a test holds the two together. An
empty text, an empty tuple or None means unknown. Each record exists once, so that two are equal only if they are one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

__all__ = [
    "Agent",
    "Amount",
    "Branch",
    "Component",
    "Dose",
    "Doubt",
    "Evidence",
    "Intervention",
    "Modality",
    "Photon",
    "Radionuclide",
    "Spectrum",
    "Target",
    "as_dict",
    "from_dict",
]


@dataclass(frozen=True, slots=True)
class Doubt:
    """Where the article and what is known differ."""

    article_says: str
    correct: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Amount:
    """A value with its range, unit and source."""

    unit: str
    source: str
    typical: float | None = None
    low: float | None = None
    high: float | None = None
    where: str = ""


@dataclass(frozen=True, slots=True)
class Dose:
    """How an agent is given and when it is imaged, in one species."""

    species: str
    source: str
    activity_mbq: tuple[float, float] | None = None
    mass_mg: tuple[float, float] | None = None
    window_h: tuple[float, float] | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Branch:
    """One way in which a nuclide decays."""

    mode: str
    fraction: float
    source: str
    uncertainty: float | None = None
    daughter: str | None = None


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Electrons, positrons or alphas per decay, with mean and maximum energy in keV."""

    kind: str
    per_decay: float
    source: str
    mean_kev: float | None = None
    max_kev: float | None = None


@dataclass(frozen=True, slots=True)
class Photon:
    """A photon line: energy in keV and photons per decay."""

    energy_kev: float
    per_decay: float
    source: str
    uncertainty: float | None = None
    kind: str = "gamma"


@dataclass(frozen=True, slots=True)
class Radionuclide:
    """A radionuclide with evaluated data; times in seconds, one standard uncertainty."""

    id: str
    name: str
    element: str
    z: int
    a: int
    half_life_s: float
    half_life_as_published: str
    half_life_source: str
    branches: tuple[Branch, ...]
    half_life_uncertainty_s: float | None = None
    synonyms: tuple[str, ...] = ()
    spectra: tuple[Spectrum, ...] = ()
    photons: tuple[Photon, ...] = ()
    uses: tuple[str, ...] = ()
    note: str = ""

    @property
    def positron_fraction(self) -> float:
        """Share of decays with a positron."""
        return sum(branch.fraction for branch in self.branches if branch.mode == "beta+")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Record:
    id: str
    name: str
    synonyms: tuple[str, ...] = ()
    basis: str = "article"
    evidence: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    identifiers: Mapping[str, str] = field(default_factory=dict)
    article_rows: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Component(_Record):
    """A part of the tumour immune microenvironment."""

    kind: str
    parent: str | None = None
    role: str = ""
    markers: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target(_Record):
    """What an agent binds, enters through, is cut by, or is trapped by."""

    kind: str
    symbols: tuple[str, ...] = ()
    hgnc: tuple[str, ...] = ()
    location: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    copies_per_cell: tuple[Amount, ...] = ()
    concentration: tuple[Amount, ...] = ()
    caution: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinetics:
    """How a dynamic scan with an agent is analysed where nobody says otherwise; see the schema for the fields."""

    regions: str
    image_input: bool
    source: str
    maps: tuple[str, ...] = ()
    reference: tuple[str, ...] = ()
    t_star_min: float | None = None
    metabolites: bool | None = None
    plasma_to_blood: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Agent(_Record):
    """What is given, grown or stained so that a modality sees something."""

    kind: str
    vectors: tuple[str, ...] = ()
    chelators: tuple[str, ...] = ()
    vector_class: str = "not stated"
    labels: tuple[str, ...] = ()
    label_text: str = ""
    nuclides: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    signal: str = ""
    mass_class: str | None = None
    mass_kda: float | None = None
    doses: tuple[Dose, ...] = ()
    binds: tuple[str, ...] = ()
    does_not_bind: tuple[str, ...] = ()
    imaged_in: tuple[str, ...] = ()
    excretion: tuple[str, ...] = ()
    plasma_kinetics: str | None = None
    kinetic_models: tuple[str, ...] = ()
    kinetics: Kinetics | None = None
    normal_uptake: tuple[str, ...] = ()
    stage: str = "not stated"
    setting: str = ""
    cautions: tuple[str, ...] = ()

    @property
    def nuclide(self) -> str | None:
        """The nuclide of the label, if there is exactly one."""
        return self.nuclides[0] if len(self.nuclides) == 1 else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Modality(_Record):
    """A way of seeing."""

    family: str
    parts: tuple[str, ...] = ()
    dicom: tuple[str, ...] = ()
    signal: str = ""
    quantities: tuple[str, ...] = ()
    resolution: tuple[Amount, ...] = ()
    depth: tuple[Amount, ...] = ()
    in_vivo: bool = True
    in_humans: bool | None = None
    ionising: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Intervention(_Record):
    """A therapy, and what imaging does for it."""

    kind: str
    targets: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    imaging: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that was shown, and where."""

    id: str
    basis: str
    shown: str
    citation: tuple[int, ...] = ()
    section: str = ""
    identifier: str = ""
    level: str = "not stated"
    species: tuple[str, ...] = ()


T = TypeVar("T")

_NESTED: dict[str, type] = {
    "doubts": Doubt,
    "doses": Dose,
    "copies_per_cell": Amount,
    "concentration": Amount,
    "resolution": Amount,
    "depth": Amount,
    "branches": Branch,
    "spectra": Spectrum,
    "photons": Photon,
    "kinetics": Kinetics,
}


def from_dict(kind: type[T], row: Mapping[str, Any]) -> T:
    """A record from plain data, as ``compiled.json`` has it: lists become tuples, nested records are built."""
    values: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, list):
            nested = _NESTED.get(name)
            if nested is not None:
                values[name] = tuple(from_dict(nested, each) for each in value)
            else:
                values[name] = tuple(value)
        elif isinstance(value, dict) and name in _NESTED:
            values[name] = from_dict(_NESTED[name], value)
        else:
            values[name] = value
    return kind(**values)


def as_dict(record: Any) -> dict[str, Any]:
    """A record as plain data for JSON, with every field, empty ones too."""
    row: dict[str, Any] = {}
    for each in fields(record):
        value = getattr(record, each.name)
        if isinstance(value, tuple):
            value = [as_dict(item) if is_dataclass(item) else item for item in value]
        elif isinstance(value, Mapping):
            value = dict(value)
        elif is_dataclass(value):
            value = as_dict(value)
        row[each.name] = value
    return row
