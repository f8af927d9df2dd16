"""First-pass MRI: tissues of known flow and volume, from long transit times to short ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from timelens.lenses.mri.scene import MrScene, MrTissue, block_scene
from timelens.run.validation.mri_draws import Case, checked, draws, mri_figures
from timelens.run.validation.rows import Draw
from timelens.study.contract import Protocol

__all__ = ["CASES", "DEFAULT", "check", "draw", "figures"]

DEFAULT = Protocol("mri-dsc", {"snr": 100.0})
_SERIES = ("dsc",)


def _scene(transit_s: tuple[float, ...]) -> Callable[[], MrScene]:
    def made() -> MrScene:
        return block_scene({f"transit {t:g} s": MrTissue(v_p=0.06, f_p=0.06 / t, t2_star=0.05) for t in transit_s})

    return made


_HOW: dict[str, Case] = {
    "vascular model": Case("chosen by the noise of the region: the vascular model", _scene((4, 6, 12)), _SERIES),
}
#: What can be simulated.
CASES: Mapping[str, str] = {name: case.what for name, case in _HOW.items()}
figures = mri_figures


def check(protocol: Protocol | None) -> Protocol:
    """The protocol, or the default one; refused as by :func:`~timelens.run.validation.mri_draws.checked`."""
    return checked(protocol, DEFAULT, _SERIES)


def draw(protocol: Protocol, case: str, rng: np.random.Generator) -> list[Draw]:
    """One repetition of a case."""
    return draws(protocol, case, _HOW[case], rng)
