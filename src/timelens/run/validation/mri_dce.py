"""Contrast-enhanced MRI: tissues of known flow, exchange and volumes, measured with T1 from flip angles."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from timelens.lenses.mri.scene import MrScene, MrTissue, block_scene
from timelens.run.validation.mri_draws import Case, checked, draws, mri_figures, virtual_tumour
from timelens.run.validation.rows import Draw
from timelens.study.contract import Protocol

__all__ = ["CASES", "DEFAULT", "check", "draw", "figures"]

#: A frame every 1.5 s for five minutes.
DEFAULT = Protocol("mri-dce", {"dce_interval_s": 1.5, "dce_frames": 200, "snr": 50.0})
_SERIES = ("flip", "dce")
#: So much flow (1/s) that K^trans is PS: the extended Tofts model is then the tissue's own.
_FAST = 0.5


def _tofts() -> MrScene:
    return block_scene(
        {
            "tumour": MrTissue(f_p=_FAST, ps=0.25 / 60, v_p=0.06, v_e=0.35, t1=1.5),
            "node": MrTissue(f_p=_FAST, ps=0.12 / 60, v_p=0.03, v_e=0.2, t1=1.2),
            "muscle": MrTissue(f_p=_FAST, ps=0.04 / 60, v_p=0.015, v_e=0.12, t1=1.1),
        }
    )


def _exchange() -> MrScene:
    return block_scene(
        {
            "tumour": MrTissue(f_p=0.6 / 60, ps=0.2 / 60, v_p=0.08, v_e=0.35, t1=1.5),
            "node": MrTissue(f_p=0.35 / 60, ps=0.1 / 60, v_p=0.05, v_e=0.2, t1=1.2),
        }
    )


_HOW: dict[str, Case] = {
    "extended Tofts": Case("tissues of the extended Tofts model, artery drawn", _tofts, _SERIES),
    "published input": Case(
        "the same by a published input from the arrival of the bolus on", _tofts, _SERIES,
        {"input": {"source": "population"}},
    ),
    "exchange": Case(
        "two compartments in exchange, measured as such", _exchange, _SERIES,
        {"exchange": {"model": "two_compartment_exchange"}},
    ),
    "exchange as Tofts": Case("the same tissues by the extended Tofts model: its own bias", _exchange, _SERIES),
    "virtual tumour": Case(
        "a virtual tumour whose voxels differ, against the means of its voxels", virtual_tumour, _SERIES,
        {"exchange": {"model": "two_compartment_exchange"}},
    ),
}  # fmt: skip
#: What can be simulated.
CASES: Mapping[str, str] = {name: case.what for name, case in _HOW.items()}
figures = mri_figures


def check(protocol: Protocol | None) -> Protocol:
    """The protocol, or the default one; refused as by :func:`~timelens.run.validation.mri_draws.checked`."""
    return checked(protocol, DEFAULT, _SERIES)


def draw(protocol: Protocol, case: str, rng: np.random.Generator) -> list[Draw]:
    """One repetition of a case."""
    return draws(protocol, case, _HOW[case], rng)
