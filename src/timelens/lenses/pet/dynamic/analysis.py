"""A dynamic PET series analysed: late SUV, regional curves, the input, fits with errors, parametric maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens import units
from timelens.engines.kinetics.frames import Frames
from timelens.errors import DataError, Problem, TimelensError, UsageError
from timelens.knowledge.records import Kinetics
from timelens.lenses.pet.dynamic.curves import (
    Curves,
    curves_table,
    frames_of,
    region_curves,
    scaled_series,
    time_window_mean,
    weights_of,
)
from timelens.lenses.pet.dynamic.fit import RegionFits, fit_regions, resolve_t_star
from timelens.lenses.pet.dynamic.input import Given, Scan, find_input, input_table
from timelens.lenses.pet.dynamic.maps import map_images, tissue_mask
from timelens.lenses.pet.dynamic.models import AgentInput, Build, build, find_model
from timelens.lenses.pet.dynamic.recipe import kinetics_of
from timelens.lenses.pet.uptake import along_first_axis, uptake
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Result
from timelens.study.identity import KnownAgent, identify
from timelens.study.image import Image
from timelens.study.region import Region

__all__ = ["activity_of", "analyse", "described", "finish_curves", "found_input", "region_masks"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Steps = Mapping[str, Mapping[str, Any]]

#: Length of the late window in s where nothing is said.
LATE_S = 600.0
#: Regions of these roles are no tissue that a curve would describe.
_NO_TISSUE = ("exclude", "body", "unknown", "reference")


def analyse(
    inputs: Mapping[str, Acquisition],
    regions: Sequence[Region],
    steps: Steps,
    late_options: Mapping[str, Any],
    static: Any,
) -> Result:
    """Everything that a dynamic series gives; what cannot be had is a problem by name.

    Parameters
    ----------
    inputs
        ``pet`` and, where there are any, ``blood``, ``blood_2`` ...
    steps
        As :func:`timelens.lenses.pet.dynamic.recipe.merged_steps` gives them.
    late_options, static
        Options and lens for the SUV of the late window.
    """
    pet = _selected(inputs["pet"], steps["frames"])
    agent = identify(pet)
    frames = frames_of(pet)
    result = _late(pet, frames, inputs, regions, steps["late"], late_options, static)
    image, problems = activity_of(pet, agent)
    result.problems += problems
    masks, roles = region_masks(image, [*result.regions.values(), *regions], result)
    scan = Scan(pet, agent, kinetics_of(agent.record), frames, image, masks, roles, result, at_injection=not problems)
    if not masks:
        result.problems.append(_warn("No region is given or was found: there are maps, and no curves", pet, "regions"))
    curves = region_curves(image, masks)
    result.tables["tacs"] = curves_table(curves, frames)
    weights = weights_of(
        frames, curves.whole, kind=steps["fit"]["weights"], half_life_s=agent.half_life_s or pet.half_life_s
    )
    blood = [a for role, a in inputs.items() if role.startswith("blood")]
    found = found_input(scan, curves, blood, weights, steps)
    if found is None:
        return result
    fits = _fits(scan, curves, found, weights, steps)
    _maps(scan, curves, found, weights, steps, fits)
    result.audit["kinetics"] = _audit(scan, found, fits, steps)
    return result


def _selected(pet: Acquisition, which: Mapping[str, Any]) -> Acquisition:
    """The frames that count, by number from 1."""
    image = pet.image
    first = 1 if which["first"] is None else int(which["first"])
    last = image.shape[0] if which["last"] is None else int(which["last"])
    if not 1 <= first <= last <= image.shape[0]:
        raise UsageError(
            "No such frames", field="frames", found=f"{first} to {last}", expected=f"within 1 to {image.shape[0]}"
        )
    if (first, last) == (1, image.shape[0]):
        return pet
    return replace(pet, data=image.isel(t=slice(first - 1, last)))


def _late(
    pet: Acquisition,
    frames: Frames,
    inputs: Mapping[str, Acquisition],
    regions: Sequence[Region],
    window: Mapping[str, Any],
    options: Mapping[str, Any],
    static: Any,
) -> Result:
    """SUV of the mean over a late window, as the PET lens measures a static scan."""
    end = frames.end[-1] if window["end_min"] is None else 60.0 * window["end_min"]
    start = end - LATE_S if window["start_min"] is None else 60.0 * window["start_min"]
    inside = np.flatnonzero((frames.start >= start - 1e-6) & (frames.end <= end + 1e-6))
    if inside.size == 0 and window["start_min"] is None:
        inside = np.array([len(frames) - 1])
    if inside.size == 0:
        raise UsageError(
            "No frame lies in the late window",
            field="late",
            found=f"{start / 60:g} to {end / 60:g} min",
            expected=f"within {frames.start[0] / 60:g} to {frames.end[-1] / 60:g} min",
        )
    first, last = int(inside[0]), int(inside[-1])
    mean = time_window_mean(pet.image, first, last, frames.duration)
    roles = {role: a for role, a in inputs.items() if role == "ct"}
    result: Result = static.quantify({"pet": replace(pet, data=mean), **roles}, regions, options)
    return described(result, f"mean of {frames.start[first] / 60:g} to {frames.end[last] / 60:g} min")


def described(result: Result, said: str) -> Result:
    """The result with a remark in the method of every row."""
    result.measurements = [
        replace(row, method="; ".join(p for p in (row.method, said) if p)) for row in result.measurements
    ]
    return result


def activity_of(pet: Acquisition, agent: KnownAgent) -> tuple[Image, list[Problem]]:
    """The series in Bq/mL decay-corrected to the injection; as it is, with a warning, where that cannot be had."""
    try:
        factors = uptake(pet, "bqml_injection", nuclide_half_life_s=agent.half_life_s).result.factors
        unit = units.conversion_factor(pet.image.unit, "Bq/mL")
        return scaled_series(pet.image, unit * along_first_axis(factors, pet.image.shape), "Bq/mL"), []
    except DataError as error:
        problem = replace(error.at(file=pet.where).problem, severity="warning")
        message = f"The series could not be brought to Bq/mL at injection, so blood cannot be used: {problem.message}"
        return pet.image, [replace(problem, message=message)]


def region_masks(image: Image, regions: Sequence[Region], result: Result) -> tuple[dict[str, Mask], dict[str, str]]:
    """Every named region once: what the PET lens called lesions, and what was given beside them."""
    assert image.geometry is not None
    masks: dict[str, Mask] = {}
    roles: dict[str, str] = {}
    lesions = any(key.startswith("lesions") for key in result.regions)
    for k, region in enumerate(regions):
        own = k < len(result.regions)
        numbers = [n for n in region.names if own or not (lesions and region.role(n) == "lesion")]
        for number, mask in region.masks(image.geometry, numbers):
            role = "lesion" if own else region.role(number)
            if role in ("exclude", "body") or not mask.any():
                continue
            name = region.name(number)
            masks[name] = masks[name] | mask if name in masks else mask
            roles[name] = role
    return masks, roles


def found_input(
    scan: Scan, curves: Curves, blood: Sequence[Acquisition], weights: Floats, steps: Steps
) -> Given | None:
    """The input, or a problem that says what the series was measured without."""
    try:
        found, problems = find_input(scan, curves, weights, blood, steps["input"])
    except TimelensError as error:
        scan.result.problems.append(error.at(file=scan.pet.where).problem)
        return None
    scan.result.problems += problems
    if found.agent_input.plasma is not None:
        scan.result.tables["input"] = input_table(found.agent_input)
    return found


def _fits(scan: Scan, curves: Curves, found: Given, weights: Floats, steps: Steps) -> RegionFits:
    chosen = finish_curves(scan, curves, found)
    if not chosen.names:
        return RegionFits()
    models = _models(steps["fit"]["models"], scan.known, found.agent_input, ("regions", "maps"))
    fits = fit_regions(
        chosen, scan.frames, found.agent_input, weights, models, choices=_choices(steps), t_star_s=_t_star(scan, steps)
    )
    for row in (*fits.rows, *found.rows):
        scan.result.measurements.append(row.with_context(**scan.context(scan.roles.get(row.region, ""))))
    scan.result.tables.update(fits.tables(curves.unit))
    scan.result.problems += [replace(p, file=p.file or scan.pet.where) for p in fits.problems]
    return fits


def finish_curves(scan: Scan, curves: Curves, found: Given) -> Curves:
    """The curves that get fits: not the input's own, and not outlines of no tissue."""
    names = [n for n in curves.names if scan.roles[n] not in _NO_TISSUE and n not in found.used_regions]
    index = [curves.names.index(n) for n in names]
    return replace(
        curves, names=tuple(names), mean=curves.mean[:, index], sd=curves.sd[:, index], voxels=curves.voxels[index]
    )


def _models(stated: Any, known: Kinetics | None, given: AgentInput, parts: Sequence[str]) -> Any:
    """Names of models, or ``auto`` for a comparison: the agent's own where they fit the input."""
    if stated == "aic":
        return "auto"
    if stated != "auto":
        return stated
    wanted: list[str] = []
    if known is not None:
        wanted = [known.regions] if "regions" in parts else []
        wanted += [name for name in known.maps if name not in wanted]
    needs = "reference" if given.plasma is None else "plasma"
    wanted = [name for name in wanted if find_model(name).needs == needs]
    if wanted:
        return wanted
    if needs == "reference":
        trapped = known is not None and known.regions == "2tcm_irreversible"
        return ["reference_patlak"] if trapped else ["srtm"]
    return "auto" if "regions" in parts else ["logan"]


def _choices(steps: Steps) -> Build:
    k2 = steps["fit"]["k2_reference_per_min"]
    return Build(
        k2_reference=None if k2 is None else k2 / 60.0,
        blood_volume=steps["fit"]["blood_volume"],
        delay_each=steps["input"]["delay_s"] == "each",
    )


def _t_star(scan: Scan, steps: Steps) -> float | None:
    minutes = steps["fit"]["t_star_min"]
    if minutes is None and scan.known is not None:
        minutes = scan.known.t_star_min
    return None if minutes is None else 60.0 * minutes


def _maps(scan: Scan, curves: Curves, found: Given, weights: Floats, steps: Steps, fits: RegionFits) -> None:
    models = steps["maps"]["models"]
    if models == "none":
        return
    models = _models(models, scan.known, found.agent_input, ("maps",))
    mask = None
    if steps["maps"]["mask"] == "auto":
        last = len(scan.frames) - 1
        mask = tissue_mask(time_window_mean(scan.image, 0, last, scan.frames.duration).numpy())
    for name in models:
        kind = find_model(name)
        choices = _choices(steps)
        try:
            if kind.graphical:
                start = fits.t_star_s.get(kind.name)
                if start is None:
                    stated = _t_star(scan, steps)
                    start = resolve_t_star(kind, scan.frames, found.agent_input, curves, weights, choices, stated)
                choices = replace(choices, t_star=start)
            model = build(kind, scan.frames, found.agent_input, choices)
            made = map_images(kind, model, scan.image, weights, mask=mask)
        except TimelensError as error:
            scan.result.problems.append(error.at(file=scan.pet.where, field=f"maps: {kind.name}").problem)
            continue
        for key, image in made.items():
            if key in scan.result.maps:  # the first model that gives a parameter has its plain name
                stem, _, tail = key.partition("_")
                key = f"{stem}_{kind.name}" + (f"_{tail}" if tail else "")
            scan.result.maps[key] = image


def _audit(scan: Scan, found: Given, fits: RegionFits, steps: Steps) -> dict[str, Any]:
    """How the numbers came about, as plain data."""
    given = found.agent_input
    return {
        "input": given.source,
        "steps": list(given.how),
        "delay_s": found.delay_s,
        "unit": given.unit,
        "decay": "tissue and input decay-corrected to the injection" if given.plasma is not None else "as the image",
        "frames": len(scan.frames),
        "weights": steps["fit"]["weights"],
        "t_star_min": {name: start / 60 for name, start in fits.t_star_s.items()},
        "chosen_by_aic": dict(fits.chosen),
        "agent_default": scan.known.source if scan.known is not None else "",
    }


def _warn(message: str, pet: Acquisition, where: str) -> Problem:
    return Problem(message, pet.where, where, "nothing", severity="warning")
