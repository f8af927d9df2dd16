"""Relaxation times and diffusion: uniform tissues, means of regions of 128 voxels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from timelens.lenses.mri.scene import MrScene, MrTissue, block_scene
from timelens.run.validation.mri_draws import Case, checked, draws, mri_figures
from timelens.run.validation.rows import Draw
from timelens.study.contract import Protocol

__all__ = ["CASES", "DEFAULT", "check", "draw", "figures"]

DEFAULT = Protocol("mri-relaxometry", {"snr": 50.0})


def _tissues() -> MrScene:
    return block_scene(
        {
            "tumour": MrTissue(t1=1.6, t2=0.09, t2_star=0.045, adc=1.0e-3),
            "muscle": MrTissue(t1=1.1, t2=0.04, t2_star=0.03, adc=1.5e-3),
            "fat": MrTissue(t1=0.4, t2=0.07, t2_star=0.04, adc=0.6e-3),
        },
        artery=False,
    )


def _perfused() -> MrScene:
    return block_scene(
        {
            "liver": MrTissue(ivim_f=0.25, ivim_d_star=0.04, adc=1.1e-3),
            "tumour": MrTissue(ivim_f=0.12, ivim_d_star=0.03, adc=1.0e-3),
        },
        artery=False,
    )


_HOW: dict[str, Case] = {
    "T1, flip angles": Case("T1 from four flip angles", _tissues, ("flip",)),
    "T1, inversion": Case("T1 from seven inversion times", _tissues, ("inversion",)),
    "T1, saturation": Case("T1 from seven times after saturation", _tissues, ("saturation",)),
    "T1, Look-Locker": Case("T1 from thirty small pulses after one inversion", _tissues, ("look locker",)),
    "T2": Case("T2 from eight spin echoes", _tissues, ("spin echoes",)),
    "T2*": Case("T2* and R2* from eight gradient echoes", _tissues, ("gradient echoes",)),
    "ADC": Case("ADC from nine b values", _tissues, ("diffusion",)),
    "IVIM": Case("perfusion in diffusion, fitted to the mean signal", _perfused, ("diffusion",)),
}
#: What can be simulated.
CASES: Mapping[str, str] = {name: case.what for name, case in _HOW.items()}
figures = mri_figures


def check(protocol: Protocol | None) -> Protocol:
    """The protocol, or the default one; refused as by :func:`~timelens.run.validation.mri_draws.checked`."""
    return checked(protocol, DEFAULT, ("flip", "inversion", "saturation", "look locker", "echoes", "diffusion"))


def draw(protocol: Protocol, case: str, rng: np.random.Generator) -> list[Draw]:
    """One repetition of a case."""
    return draws(protocol, case, _HOW[case], rng)
