"""The steps of the MRI lens, their parameters, and what a user may write in their place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args

from timelens.engines.perfusion.arterial import Population
from timelens.errors import UsageError
from timelens.lenses.mri.dce import Model, Solver
from timelens.lenses.mri.dsc import Correction, Method

__all__ = ["HAEMATOCRIT", "STEPS", "merged_steps", "whys"]

#: Of large vessels, where nobody states it.
HAEMATOCRIT = 0.42

#: Steps and their defaults.
STEPS: dict[str, dict[str, Any]] = {
    "series": {"kind": "auto", "gradient_echo": "auto", "recovery": "auto"},
    "motion": {"mode": "auto"},
    "relaxation": {"method": "auto", "ivim": "auto"},
    "t1": {"source": "auto", "t1_ms": None, "t1_error": None},
    "signal": {
        "agent": None,
        "relaxivity": None,
        "relaxivity_error": None,
        "b1_error": None,
        "field_t": None,
        "tr_ms": None,
        "te_ms": None,
        "flip_deg": None,
        "baseline_frames": "auto",
    },
    "input": {
        "source": "auto",
        "population": "auto",
        "haematocrit": "auto",
        "delay_s": "auto",
        "haematocrit_error": None,
        "scale_error": None,
        "delay_error_s": None,
    },
    "exchange": {"model": "extended_tofts", "solver": "auto", "delay_s": None, "selection": False, "maps": True},
    "enhancement": {"rows": True, "maps": True},
    "perfusion": {"method": "auto", "leakage": "auto", "maps": True},
}
_CHOICES: dict[tuple[str, str], tuple[Any, ...]] = {
    ("series", "kind"): ("auto", "dce", "dsc"),
    ("series", "gradient_echo"): ("auto", True, False),
    ("series", "recovery"): ("auto", "inversion", "saturation", "look_locker"),
    ("motion", "mode"): ("auto", "none", "measure", "rigid"),
    ("relaxation", "method"): ("auto", "linear", "novifast", "nonlinear", "arlo"),
    ("relaxation", "ivim"): ("auto", True, False),
    ("t1", "source"): ("auto", "map", "flip angles", "stated"),
    ("input", "source"): ("auto", "region", "search", "population"),
    ("input", "population"): ("auto", *get_args(Population)),
    ("exchange", "model"): get_args(Model),
    ("exchange", "solver"): get_args(Solver),
    ("exchange", "selection"): (True, False),
    ("exchange", "maps"): (True, False),
    ("enhancement", "rows"): (True, False),
    ("enhancement", "maps"): (True, False),
    ("perfusion", "method"): ("auto", *get_args(Method)),
    ("perfusion", "leakage"): ("auto", False, *get_args(Correction)),
    ("perfusion", "maps"): (True, False),
}
#: Parameters that are one number, with the least and largest that make sense; ``_error`` are relative standard errors.
_NUMBERS: dict[tuple[str, str], tuple[float, float]] = {
    ("t1", "t1_ms"): (10.0, 10_000.0),
    ("t1", "t1_error"): (0.0, 0.5),
    ("signal", "relaxivity_error"): (0.0, 0.5),
    ("signal", "b1_error"): (0.0, 0.5),
    ("signal", "relaxivity"): (0.1, 100.0),
    ("signal", "field_t"): (0.01, 25.0),
    ("signal", "tr_ms"): (0.2, 60_000.0),
    ("signal", "te_ms"): (0.001, 1000.0),
    ("signal", "flip_deg"): (0.5, 180.0),
    ("signal", "baseline_frames"): (1.0, 1000.0),
    ("input", "haematocrit"): (0.0, 0.79),
    ("input", "delay_s"): (-600.0, 3600.0),
    ("input", "haematocrit_error"): (0.0, 0.5),
    ("input", "scale_error"): (0.0, 0.5),
    ("input", "delay_error_s"): (0.0, 60.0),
}


def merged_steps(options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The defaults with options over them.

    Raises
    ------
    UsageError
        If a step or parameter is unknown, or a value cannot be used.
    """
    if unknown := set(options) - set(STEPS):
        raise UsageError("The MRI lens has no such step", field=", ".join(sorted(unknown)), expected=", ".join(STEPS))
    merged: dict[str, dict[str, Any]] = {}
    for step, defaults in STEPS.items():
        given = dict(options.get(step) or {})
        if unknown := set(given) - set(defaults):
            raise UsageError(
                f"The step {step!r} has no such parameter", field=", ".join(sorted(unknown)),
                expected=", ".join(sorted(defaults)),
            )  # fmt: skip
        merged[step] = {**defaults, **given}
        for name, value in given.items():
            _check(step, name, value)
    if merged["t1"]["source"] == "stated" and merged["t1"]["t1_ms"] is None:
        raise UsageError("A stated T1 must be given", field="t1.t1_ms", found="nothing", expected="T1 in ms")
    if merged["input"]["delay_error_s"] and merged["exchange"]["delay_s"] is not None:
        raise UsageError(
            "A delay that is fitted has the error of the fit", field="input.delay_error_s",
            found=merged["input"]["delay_error_s"], expected="nothing, or no exchange.delay_s",
        )  # fmt: skip
    return merged


def _check(step: str, name: str, value: Any) -> None:
    if value == STEPS[step][name] and type(value) is type(STEPS[step][name]):
        return
    if (step, name) in _CHOICES:
        good, expected = value in _CHOICES[step, name], ", ".join(map(str, _CHOICES[step, name]))
    elif (step, name) == ("exchange", "delay_s"):
        expected = "nothing, or least and largest delay in s"
        good = isinstance(value, list | tuple) and len(value) == 2 and all(map(_number, value)) and value[0] < value[1]
    elif (step, name) in _NUMBERS:
        low, high = _NUMBERS[step, name]
        good, expected = _number(value) and low <= value <= high, f"a number from {low:g} to {high:g}"
    else:
        good, expected = isinstance(value, str) and bool(value), "text"
    if not good:
        raise UsageError(
            f"The {name} of the step {step!r} cannot be used", field=f"{step}.{name}", found=value, expected=expected
        )


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


#: Which steps each kind of series needs, and why they are as they are.
_RELAXATION = {"relaxation": "maps with errors; mean of each region"}
_WHYS: dict[str, dict[str, str]] = {
    "flip": {"relaxation": "T1 from flip angles: linear, then weighted by the signal (non-linear)"},
    "inversion": {"relaxation": "T1 from inversion times, by the likelihood of magnitudes"},
    "saturation": {"relaxation": "T1 from times after saturation, by the likelihood of magnitudes"},
    "look locker": {"relaxation": "T1 from a train of pulses after inversion, corrected for the pulses"},
    "gradient echoes": {"relaxation": "T2* and R2* from gradient echoes"},
    "spin echoes": {"relaxation": "T2 from spin echoes"},
    "diffusion": {"relaxation": "ADC; IVIM where there are enough low and high b values"},
    "dce": {
        "t1": "a map of T1, else flip angles of the same session, on the grid of the series",
        "signal": "concentration by the spoiled gradient echo and the agent's relaxivity",
        "input": "a region of blood, else a published curve from the arrival of the bolus on",
        "exchange": "extended Tofts: mean curve of each region, and maps with errors",
        "enhancement": "arrival, time to peak, areas, slopes and type of curve, without a model",
    },
    "dsc": {
        "signal": "dR2* against the baseline",
        "input": "a region of blood, else the voxels that enhance first",
        "perfusion": "the vascular model: unbiased at the noise of voxels, with errors; where a reference tissue is "
        "drawn leakage is corrected along it, and blood volume and flow are also given relative to it",
    },
}


def whys(kind: str) -> dict[str, str]:
    """The steps that a kind of series needs, with why they are as they are."""
    motion = {"motion": "dynamic series: some volumes are laid over each other, and a warning says what moved"}
    return {"series": "what differs between its images", **motion, **_WHYS.get(kind, {})}
