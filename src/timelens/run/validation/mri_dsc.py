"""First-pass MRI: tissues of known flow and volume, from long transit times to short ones, tight and leaking."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from timelens.lenses.mri.scene import MrScene, MrTissue, block_scene
from timelens.run.validation.mri_draws import Case, checked, draws, mri_figures, virtual_tumour
from timelens.run.validation.rows import Draw
from timelens.study.contract import Protocol

__all__ = ["CASES", "DEFAULT", "check", "draw", "figures"]

DEFAULT = Protocol("mri-dsc", {"snr": 100.0})
_SERIES = ("dsc",)
_WHITE = "white matter"


def _scene(transit_s: tuple[float, ...], *, edge: int = 8, slices: int = 2) -> Callable[[], MrScene]:
    def made() -> MrScene:
        tissues = {f"transit {t:g} s": MrTissue(v_p=0.06, f_p=0.06 / t, t2_star=0.05) for t in transit_s}
        return block_scene(tissues, edge=edge, slices=slices)

    return made


def _with_reference(ps_per_min: tuple[float, ...]) -> Callable[[], MrScene]:
    """Tissues that leak, and normal white matter that does not."""

    def made() -> MrScene:
        tissues = {
            f"PS {each:g} /min": MrTissue(v_p=0.06, f_p=0.01, ps=each / 60, v_e=0.3, t2_star=0.05)
            for each in ps_per_min
        }
        white = MrTissue(v_p=0.025, f_p=0.005, ps=0.0, t1=0.9, t2_star=0.05)
        scene = block_scene({**tissues, _WHITE: white})
        number = next(n for n, name in scene.names.items() if name == _WHITE)
        return replace(scene, roles={**scene.roles, number: "reference"})

    return made


_HOW: dict[str, Case] = {
    "regions of 128 voxels": Case("by the vascular model, artery drawn", _scene((4, 6, 12)), _SERIES),
    "regions of 18 voxels": Case("the same of few voxels", _scene((4, 6, 12), edge=3), _SERIES),
    "cSVD": Case("the same regions by deconvolution", _scene((4, 6, 12)), _SERIES, {"perfusion": {"method": "csvd"}}),
    "leakage": Case(
        "tissues that leak beside white matter, leakage fitted", _with_reference((0.0, 0.02, 0.05)), _SERIES,
        settings={"dsc_leakage": True},
    ),
    "leakage left in": Case(
        "the same, not corrected", _with_reference((0.0, 0.02, 0.05)), _SERIES, {"perfusion": {"leakage": False}},
        settings={"dsc_leakage": True},
    ),
    "virtual tumour": Case(
        "a virtual tumour whose voxels differ, agent that stays in vessels, against the means of its voxels",
        virtual_tumour, _SERIES,
    ),
    "virtual tumour, leaking": Case(
        "the same with a small agent, of which three quarters leave at the first pass; leakage fitted",
        virtual_tumour, _SERIES, {"perfusion": {"leakage": "fitted"}}, settings={"dsc_leakage": True},
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
