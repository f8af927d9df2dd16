"""Tumours and their hosts whose truth is known: what a lens sees of them can be held against it.

Names are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_WHERE = {
    "ARCHITECTURES": "architecture",
    "Architecture": "architecture",
    "CellInfusion": "treatments",
    "CheckpointInhibitor": "treatments",
    "Chemotherapy": "treatments",
    "Course": "dynamics",
    "DESERT": "architecture",
    "EXCLUDED": "architecture",
    "Expression": "targets",
    "INFLAMED": "architecture",
    "Kinetics": "dynamics",
    "Microenvironment": "microenvironment",
    "Radiotherapy": "treatments",
    "SCENARIOS": "scenarios",
    "Section": "section",
    "Start": "dynamics",
    "TgfBetaInhibitor": "treatments",
    "build": "microenvironment",
    "checkpoint_cycles": "scenarios",
    "expression": "targets",
    "scenario": "scenarios",
    "simulate": "dynamics",
    "tgf_beta_cycles": "scenarios",
    "truth_table": "truth",
}
__all__ = sorted(_WHERE)

if TYPE_CHECKING:
    from timelens.tumor.architecture import ARCHITECTURES as ARCHITECTURES
    from timelens.tumor.architecture import DESERT as DESERT
    from timelens.tumor.architecture import EXCLUDED as EXCLUDED
    from timelens.tumor.architecture import INFLAMED as INFLAMED
    from timelens.tumor.architecture import Architecture as Architecture
    from timelens.tumor.dynamics import Course as Course
    from timelens.tumor.dynamics import Kinetics as Kinetics
    from timelens.tumor.dynamics import Start as Start
    from timelens.tumor.dynamics import simulate as simulate
    from timelens.tumor.microenvironment import Microenvironment as Microenvironment
    from timelens.tumor.microenvironment import build as build
    from timelens.tumor.scenarios import SCENARIOS as SCENARIOS
    from timelens.tumor.scenarios import checkpoint_cycles as checkpoint_cycles
    from timelens.tumor.scenarios import scenario as scenario
    from timelens.tumor.scenarios import tgf_beta_cycles as tgf_beta_cycles
    from timelens.tumor.section import Section as Section
    from timelens.tumor.targets import Expression as Expression
    from timelens.tumor.targets import expression as expression
    from timelens.tumor.treatments import CellInfusion as CellInfusion
    from timelens.tumor.treatments import CheckpointInhibitor as CheckpointInhibitor
    from timelens.tumor.treatments import Chemotherapy as Chemotherapy
    from timelens.tumor.treatments import Radiotherapy as Radiotherapy
    from timelens.tumor.treatments import TgfBetaInhibitor as TgfBetaInhibitor
    from timelens.tumor.truth import truth_table as truth_table


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"timelens.tumor.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
