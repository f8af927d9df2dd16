"""What the validations of MRI share: a scene measured with and without noise, analysed as a user would."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from timelens.errors import UsageError
from timelens.lenses.mri.lens import MriLens
from timelens.lenses.mri.protocol import MrProtocol, mr_protocol
from timelens.lenses.mri.scene import MrScene, tumour_scene
from timelens.lenses.mri.simulate import simulate
from timelens.run.validation.rows import Draw
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Protocol
from timelens.study.measurement import Measurement
from timelens.study.region import Region

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Case", "checked", "draws", "mri_figures", "virtual_tumour"]


_CLEAN: dict[tuple[str, str, MrProtocol], dict[tuple[str, str], Measurement]] = {}


@dataclass(frozen=True)
class Case:
    """A scene, the series that are measured, and how the lens is asked.

    Attributes
    ----------
    what
        In words.
    scene
        Makes it.
    series
        As :class:`~timelens.lenses.mri.protocol.MrProtocol` names them.
    options
        For the lens.
    settings
        Of the protocol, that belong to the case.
    """

    what: str
    scene: Callable[[], MrScene]
    series: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def checked(protocol: Protocol | None, default: Protocol, series: Sequence[str]) -> Protocol:
    """The protocol, or the default one.

    Raises
    ------
    UsageError
        If a setting cannot be used, or it names series: each case has its own.
    """
    chosen = protocol or default
    mr_protocol(chosen)
    if "series" in chosen.parameters:
        raise UsageError(
            "The cases of a validation have their own series", field="series", found=chosen.parameters["series"],
            expected="nothing", mend=f"leave it out: measured are {', '.join(series)}",
        )  # fmt: skip
    return chosen


def draws(protocol: Protocol, name: str, case: Case, rng: np.random.Generator) -> list[Draw]:
    """One repetition: every row of a region that has a truth, with what the noise-free series give."""
    plan: MrProtocol = replace(mr_protocol(protocol), series=case.series, **case.settings)
    seen = simulate(case.scene(), [], plan, rng)
    noisy = _analysed(seen.acquisitions, seen.regions, case.options)
    # Without noise every repetition is the same.
    key = (name, case.what, plan)
    if key not in _CLEAN:
        _CLEAN[key] = _analysed(seen.noise_free, seen.regions, case.options)
    clean = _CLEAN[key]
    truth = {(t.region, t.quantity): t.ideal for t in seen.truth}
    return [
        Draw.of(row, case=name, seen=clean[key].value if key in clean else math.nan, real=truth[key])
        for key, row in noisy.items()
        if key in truth
    ]


@lru_cache(maxsize=1)
def virtual_tumour() -> MrScene:
    """An inflamed tumour of 18 mm, whose voxels differ, with an artery beside it."""
    from timelens.study.geometry import Geometry
    from timelens.tumor.architecture import INFLAMED
    from timelens.tumor.microenvironment import build

    grid = Geometry.from_spacing((12, 16, 16), (2.0, 2.0, 2.0), frame="mr scene")
    return tumour_scene(build(replace(INFLAMED, diameter_mm=18.0), grid, 1))


def mri_figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """``validation``: bias, spread and coverage of every quantity."""
    from timelens.figures.validation import dots_figure

    return {"validation": dots_figure(rows)}


def _analysed(
    scans: Sequence[Acquisition], regions: Sequence[Region], options: Mapping[str, Any]
) -> dict[tuple[str, str], Measurement]:
    """Rows of the first series that the lens takes, by region and quantity."""
    lens = MriLens()
    match = lens.accepts(scans)
    given = {**options, "exchange": {"maps": False, **options.get("exchange", {})}}
    given["perfusion"] = {"maps": False, **options.get("perfusion", {})}
    given["enhancement"] = {"maps": False, **options.get("enhancement", {})}
    given["motion"] = {"mode": "none", **options.get("motion", {})}
    result = lens.quantify(match.roles, regions, lens.recipe(match, given).options())
    return {(row.region, row.quantity): row for row in result.measurements}
