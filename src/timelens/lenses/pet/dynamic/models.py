"""Kinetic models by the name a person writes: what each needs, how it is built, and what it reports in which unit.

Inside all rates are per second; reported are the units of the vocabulary (per minute).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics.delay import WithDelay
from timelens.engines.kinetics.frames import Frames
from timelens.engines.kinetics.inputs import InputFunction, reference_input
from timelens.errors import MissingFieldError, UsageError
from timelens.knowledge import quantities

__all__ = ["MODELS", "AgentInput", "Build", "ModelKind", "build", "find_model", "reported"]

Floats = NDArray[np.float64]
Needs = Literal["plasma", "reference"]


@dataclass(frozen=True)
class ModelKind:
    """One model of the engine.

    Attributes
    ----------
    name
        As the engine calls it; spelling with hyphens, blanks or capitals is the same.
    place
        Module and class in the engine.
    needs
        ``plasma`` (from blood or the image) or ``reference`` (a region without the target).
    graphical
        A line through late frames: has a t*.
    title
        In words.
    """

    name: str
    place: tuple[str, str]
    needs: Needs
    graphical: bool
    title: str


def _kinds() -> dict[str, ModelKind]:
    rows: Sequence[tuple[str, str, str, Needs, bool, str]] = (
        ("1tcm", "tissue", "OneTissue", "plasma", False, "one tissue compartment"),
        ("2tcm", "tissue", "TwoTissue", "plasma", False, "two tissue compartments, reversible"),
        ("2tcm_irreversible", "tissue", "IrreversibleTwoTissue", "plasma", False, "two tissue compartments, trapping"),
        ("2tcm_internalising", "tissue", "InternalisingTwoTissue", "plasma", False, "two tissue compartments and "
         "internalisation, for antibodies"),
        ("patlak", "graphical", "Patlak", "plasma", True, "Patlak plot: net influx rate"),
        ("antibody_patlak", "antibody", "AntibodyPatlak", "plasma", True, "Patlak plot over days, for antibodies"),
        ("logan", "graphical", "Logan", "plasma", True, "Logan plot: distribution volume"),
        ("multilinear_logan", "graphical", "MultilinearLogan", "plasma", True, "Logan's equation without division"),
        ("ma1", "graphical", "MA1", "plasma", True, "Ichise's multilinear analysis 1"),
        ("ma2", "graphical", "MA2", "plasma", False, "Ichise's multilinear analysis 2"),
        ("srtm", "reference", "SRTM", "reference", False, "simplified reference tissue model"),
        ("frtm", "full_reference", "FRTM", "reference", False, "full reference tissue model"),
        ("srtm2", "reference", "SRTM2", "reference", False, "simplified reference tissue model with known k2'"),
        ("mrtm1", "reference_linear", "MRTM1", "reference", False, "multilinear reference tissue model"),
        ("mrtm2", "reference_linear", "MRTM2", "reference", False, "multilinear reference tissue model, known k2'"),
        ("reference_patlak", "reference_linear", "ReferencePatlak", "reference", True, "Patlak plot, reference input"),
        ("reference_logan", "reference_linear", "ReferenceLogan", "reference", True, "Logan plot, reference input"),
    )  # fmt: skip
    return {name: ModelKind(name, (module, cls), needs, line, title) for name, module, cls, needs, line, title in rows}


#: Every model by its name.
MODELS: dict[str, ModelKind] = _kinds()
_SAME = {
    "1tc": "1tcm", "1t": "1tcm", "2tc": "2tcm", "2t": "2tcm", "2tcm_irr": "2tcm_irreversible",
    "2tcmi": "2tcm_irreversible", "2tcm_rev": "2tcm", "2tcm3k": "2tcm_irreversible",
    "patlak_reference": "reference_patlak", "refpatlak": "reference_patlak", "logan_reference": "reference_logan",
    "reflogan": "reference_logan",
}  # fmt: skip
_WITH_K2 = ("srtm2", "mrtm2", "reference_logan")
#: Parameters of the engine to quantities of the vocabulary; what is not here is not reported.
_PER_MINUTE = {"mL/mL/s": 60.0, "/s": 60.0, "mL/mL": 1.0, "1": 1.0, "s": 1.0}
_ELSEWHERE = {"delay": "input_delay"}


def find_model(name: str) -> ModelKind:
    """A model by its name in any spelling (``2TCM``, ``2tcm-irreversible``).

    Raises
    ------
    UsageError
        If there is none.
    """
    plain = re.sub(r"[\s\-]+", "_", str(name).strip().lower())
    plain = _SAME.get(plain, plain)
    if plain not in MODELS:
        raise UsageError("There is no such kinetic model", field="model", found=name, expected=", ".join(MODELS))
    return MODELS[plain]


@dataclass(frozen=True, eq=False)
class AgentInput:
    """What drives the tissue: blood curves on the scanner's clock, or a reference region's curve.

    Attributes
    ----------
    plasma
        The agent that can enter tissue (parent in plasma), or None.
    blood
        Whole blood for the blood volume, or None.
    reference
        (frames,), the reference region's curve, or None.
    source
        ``arterial``, ``image-derived`` or ``reference``.
    unit
        Of all of them, and of the tissue.
    how
        The steps that made it, for the audit.
    samples
        Name to times in s, values and unit as they were measured, for pictures.
    """

    plasma: InputFunction | None = None
    blood: InputFunction | None = None
    reference: Floats | None = None
    source: str = ""
    unit: str = ""
    how: tuple[str, ...] = ()
    samples: Mapping[str, tuple[Floats, Floats, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Build:
    """Choices of a model: t* in s, the reference's k2' in 1/s, blood volume (a number, or ``fit``), delay per curve."""

    t_star: float = 0.0
    k2_reference: float | None = None
    blood_volume: float | Literal["fit"] = "fit"
    delay_each: bool = False


def build(kind: ModelKind, frames: Frames, given: AgentInput, choices: Build | None = None) -> Any:
    """The engine's model for these frames and this input.

    Raises
    ------
    MissingFieldError
        If the input that the model needs is not there.
    DataError
        As the engine.
    """
    how = choices or Build()
    module, name = kind.place
    model = getattr(import_module(f"timelens.engines.kinetics.{module}"), name)
    if kind.needs == "reference":
        return _with_reference(kind, model, frames, given, how)
    if given.plasma is None:
        raise MissingFieldError(
            f"The model {kind.name} needs a plasma input",
            field="input",
            found=given.source or "nothing",
            expected="blood samples, or a blood region of the image",
            mend="add a blood table to the session, or draw the aorta or left ventricle",
        )
    if kind.place[0] == "tissue":
        plasma, blood = given.plasma, given.blood
        if not how.delay_each:
            return model(frames, plasma, blood, blood_volume=how.blood_volume)
        return WithDelay(
            lambda d: model(
                frames, plasma.shifted(d), None if blood is None else blood.shifted(d), blood_volume=how.blood_volume
            )
        )
    if kind.name == "antibody_patlak":
        return model(frames, given.plasma, t_star=how.t_star)
    volume = 0.0 if how.blood_volume == "fit" else how.blood_volume
    return model(frames, given.plasma, t_star=how.t_star, blood=given.blood, blood_volume=volume)


def _with_reference(kind: ModelKind, model: Any, frames: Frames, given: AgentInput, how: Build) -> Any:
    if given.reference is None:
        raise MissingFieldError(
            f"The model {kind.name} needs a reference region",
            field="input.reference",
            found=given.source or "nothing",
            expected="a region without the target",
            mend="name the region as 'reference' of the step input",
        )
    more: dict[str, Any] = {"t_star": how.t_star} if kind.graphical else {}
    if kind.name in _WITH_K2:
        if how.k2_reference is None:
            raise MissingFieldError(
                f"The model {kind.name} needs k2' of the reference region",
                field="k2_reference",
                found="nothing",
                expected="1/min, for instance k2_reference of mrtm1",
            )
        more["k2_reference"] = how.k2_reference
    if kind.place[0] in ("reference", "full_reference"):
        return model(frames, reference_input(frames, given.reference, unit=given.unit), **more)
    return model(frames, given.reference, **more)


def reported(name: str, unit: str) -> tuple[str, str, float] | None:
    """Quantity, its unit, and the factor from the engine's value; None for what the vocabulary does not have."""
    known = quantities.find(_ELSEWHERE.get(name, name))
    if known is None or unit not in _PER_MINUTE:
        return None
    return known.name, known.unit, _PER_MINUTE[unit]
