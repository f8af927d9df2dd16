"""The MRI lens: which series it takes, its recipe, and what it measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from timelens.errors import Problem
from timelens.lenses.mri.matching import match_series
from timelens.lenses.mri.recipe import STEPS, merged_steps, whys
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Administration, Match, Protocol, Recipe, Result, Simulated, Step
from timelens.study.mr import mr_settings
from timelens.study.region import Region

__all__ = ["MriLens"]


class MriLens:
    """Magnetic resonance: relaxation times, diffusion, exchange of contrast agent, first-pass perfusion.

    A session's series are measured one after the other; its PET scans are the business of other lenses.
    """

    name = "mri"

    def accepts(self, acquisitions: Sequence[Acquisition]) -> Match:
        """The first series that can be measured, with the maps and flip angles that it needs.

        The score lies below those of the PET lenses, so that a session of both never ends in a tie.
        """
        return match_series(acquisitions)

    def recipe(self, match: Match, options: Mapping[str, Any]) -> Recipe:
        """The steps that the kind of series needs, with the user's options over the defaults.

        Raises
        ------
        UsageError
            If a step or parameter is unknown, or a value cannot be used.
        """
        merged = merged_steps(options)
        if not match.roles:
            return Recipe(self.name, tuple(Step(name, merged[name]) for name in STEPS))
        reasons = whys(_kind(match.roles, merged))
        return Recipe(self.name, tuple(Step(name, merged[name], why) for name, why in reasons.items()))

    def quantify(
        self, inputs: Mapping[str, Acquisition], regions: Sequence[Region], options: Mapping[str, Any]
    ) -> Result:
        """Rows of regions with standard errors, maps with errors and reasons, curves and fits.

        Parameters
        ----------
        inputs
            One series under its kind (``dce``, ``dsc``, ``flip``, ``inversion``, ``saturation``, ``look_locker``,
            ``gradient_echoes``, ``spin_echoes``, ``echoes``, ``diffusion``, ``dynamic``), and what it needs
            (``t1_map``, ``flip``, ``b1_map``).
        regions
            Lesions and organs; blood pool; reference tissue.
        options
            As :meth:`recipe` takes them.
        """
        from timelens.lenses.mri.measure_dce import measure_dce
        from timelens.lenses.mri.measure_dsc import measure_dsc
        from timelens.lenses.mri.measure_relaxation import measure_relaxation
        from timelens.lenses.mri.motion import at_rest
        from timelens.lenses.mri.quality import (
            judge_artery,
            judge_regions,
            known_parts,
            require_artery,
            require_numbers,
        )

        steps = merged_steps(options)
        kind = _kind(inputs, steps)
        scan = next(iter(inputs.values()))
        if kind == "dynamic":
            return Result(problems=[_unnamed(scan)])
        roles = _joined(kind, inputs)
        role = next(iter(roles))
        require_numbers(roles[role])
        rest = at_rest(roles[role], kind, str(steps["motion"]["mode"]))
        scan = rest.scan
        roles[role] = scan
        table, problems = judge_regions(scan, regions)
        whole = known_parts(scan, regions)
        if kind in ("dce", "dsc") and steps["input"]["source"] in ("auto", "region"):
            require_artery(scan, regions, whole)
        if kind == "dce":
            result = measure_dce({**roles, "dce": scan}, whole, steps)
            problems += judge_artery(scan, whole, result.audit.get("dce", {}))
        elif kind == "dsc":
            result = measure_dsc({**roles, "dsc": scan}, whole, steps)
        else:
            result = measure_relaxation(kind, roles, whole, steps)
        result.problems += [*rest.problems, *problems]
        result.tables |= {**rest.tables, **({"regions": table} if table is not None else {})}
        result.audit["motion"] = dict(rest.facts)
        return result

    def simulate(
        self, scene: Any, administrations: Sequence[Administration], protocol: Protocol, rng: np.random.Generator
    ) -> Simulated:
        """Series of tissues with known parameters (:class:`~timelens.lenses.mri.scene.MrScene`), with their truth."""
        from timelens.lenses.mri.simulate import simulate

        return simulate(scene, administrations, protocol, rng)


def _unnamed(scan: Acquisition) -> Problem:
    """A dynamic series that may be neither kind: functional MRI looks like it. The rest of the session is measured."""
    settings = mr_settings(scan)
    said = {"echo time": settings.te_s and f"{1e3 * settings.te_s:g} ms", "gradient echo": settings.gradient_echo,
            "echo planar": settings.echo_planar}  # fmt: skip
    return Problem(
        "A dynamic series is not measured: nothing says whether it is contrast-enhanced or a first pass", scan.where,
        "series.kind", ", ".join(f"{k} {'not known' if v is None else v}" for k, v in said.items()),
        "a gradient echo with an echo time up to 10 ms (dce), or from 15 ms on (dsc); or the kind itself",
        "write 'mri: {series: {kind: dce}}' (or dsc) in study.yaml, or list it under 'not used'", "warning",
    )  # fmt: skip


def _joined(kind: str, inputs: Mapping[str, Acquisition]) -> dict[str, Acquisition]:
    """Flip angles that lie in series of their own as one series; all else as it is."""
    from timelens.lenses.mri.matching import gathered

    parts = [a for role, a in inputs.items() if role != "b1_map"]
    if kind != "flip" or len(parts) == 1:
        return dict(inputs)
    return {"flip": gathered(parts)[0].joined, **{role: a for role, a in inputs.items() if role == "b1_map"}}


def _kind(roles: Mapping[str, Acquisition], steps: Mapping[str, Mapping[str, Any]]) -> str:
    """Of the first role; what the files leave open the user states."""
    kind = next(iter(roles)).replace("_", " ")
    stated, recovery = str(steps["series"]["kind"]), str(steps["series"]["recovery"])
    if kind == "inversion" and recovery != "auto":
        return recovery.replace("_", " ")
    return stated if kind == "dynamic" and stated != "auto" else kind
