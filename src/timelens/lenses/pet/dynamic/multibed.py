"""Whole-body Patlak over several bed positions and passes, each bed with its own times and one input for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics.frames import Frames
from timelens.errors import MissingFieldError, TimelensError, UsageError
from timelens.lenses.pet.dynamic.analysis import Steps, activity_of, described, finish_curves, found_input, region_masks
from timelens.lenses.pet.dynamic.beds import Bed, group_beds, join_maps, stitched, whole_grid
from timelens.lenses.pet.dynamic.checks import covering
from timelens.lenses.pet.dynamic.curves import Curves, curves_table, frames_of, region_curves, weights_of
from timelens.lenses.pet.dynamic.fit import LEVEL, RegionFits, fit_regions
from timelens.lenses.pet.dynamic.input import Given, Scan, input_table
from timelens.lenses.pet.dynamic.maps import map_images, tissue_mask
from timelens.lenses.pet.dynamic.models import Build, build, find_model
from timelens.lenses.pet.dynamic.recipe import kinetics_of
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Result
from timelens.study.identity import identify
from timelens.study.image import Image
from timelens.study.measurement import Measurement
from timelens.study.region import Region

__all__ = ["BED_MODELS", "analyse_beds", "is_multibed"]

Floats = NDArray[np.float64]

#: Models that need nothing of the tissue before t*, so that a bed may be seen late only.
BED_MODELS = ("patlak", "antibody_patlak")
_FEWEST_PASSES = 3


def is_multibed(acquisitions: Sequence[Acquisition]) -> bool:
    """Whether these series are bed positions of one scan: one agent and injection, several places of one grid."""
    if len(acquisitions) < 2 or len({(a.agent, a.administered_time) for a in acquisitions}) != 1:
        return False
    try:
        beds = group_beds([(a.image, frames_of(a)) for a in acquisitions])
        whole_grid(beds)
    except TimelensError:
        return False
    return len(beds) > 1 and all(len(bed.frames) >= _FEWEST_PASSES for bed in beds)


def analyse_beds(
    pets: Sequence[Acquisition],
    inputs: Mapping[str, Acquisition],
    regions: Sequence[Region],
    steps: Steps,
    late_options: Mapping[str, Any],
    static: Any,
) -> Result:
    """Patlak maps and regional rates of a body seen bed by bed, and the SUV of the last pass.

    Parameters
    ----------
    pets
        The series of all beds and passes.
    inputs, regions, steps, late_options, static
        As for :func:`timelens.lenses.pet.dynamic.analysis.analyse`.
    """
    first = pets[0]
    agent = identify(first)
    pairs = []
    for pet in pets:
        image, problems = activity_of(pet, agent)
        if problems:
            raise MissingFieldError(
                "Bed positions need one unit and one decay reference", file=pet.where, field=problems[0].field,
                found=problems[0].message, expected="Bq/mL at injection", mend=problems[0].mend,
            )  # fmt: skip
        pairs.append((image, frames_of(pet)))
    beds = group_beds(pairs)
    grid, where = whole_grid(beds)
    result = _last_pass(first, beds, where, grid, inputs, regions, late_options, static)
    leading = min(beds, key=lambda bed: float(bed.frames.start[0]))
    scans = [_scan(first, agent, bed, regions, result) for bed in beds]
    curves = [region_curves(scan.image, scan.masks) for scan in scans]
    _tables(result, scans, curves)
    at = beds.index(leading)
    blood = [a for role, a in inputs.items() if role.startswith("blood")]
    half_life = agent.half_life_s or first.half_life_s
    weights = [
        weights_of(scan.frames, c.whole, kind=steps["fit"]["weights"], half_life_s=half_life)
        for scan, c in zip(scans, curves, strict=True)
    ]
    found = found_input(scans[at], curves[at], blood, weights[at], steps)
    if found is None:
        return result
    found = _to_the_end(found, beds, result, first)
    result.tables["input"] = input_table(found.agent_input)
    _fit(result, scans, curves, weights, found, where, steps)
    _maps(result, scans, weights, found, where, grid, steps)
    result.audit["kinetics"] = {
        "input": found.agent_input.source,
        "steps": list(found.agent_input.how),
        "beds": [
            {"slices": [int(w.start), int(w.stop)], "passes": len(bed.frames),
             "from_min": float(bed.frames.start[0] / 60), "to_min": float(bed.frames.end[-1] / 60)}
            for bed, w in zip(beds, where, strict=True)
        ],
        "weights": steps["fit"]["weights"],
    }  # fmt: skip
    return result


def _scan(pet: Acquisition, agent: Any, bed: Bed, regions: Sequence[Region], result: Result) -> Scan:
    masks, roles = region_masks(bed.image, [*result.regions.values(), *regions], result)
    return Scan(pet, agent, kinetics_of(agent.record), bed.frames, bed.image, masks, roles, result)


def _last_pass(
    pet: Acquisition,
    beds: Sequence[Bed],
    where: Sequence[slice],
    grid: Any,
    inputs: Mapping[str, Acquisition],
    regions: Sequence[Region],
    options: Mapping[str, Any],
    static: Any,
) -> Result:
    """SUV of the last pass of every bed, stitched: all are decay-corrected to the injection."""
    volume = stitched([np.asarray(bed.image.array[len(bed.frames) - 1]) for bed in beds], where, grid.shape)
    image = Image(volume, unit="Bq/mL", geometry=grid, decay_reference=pet.administered_time)
    whole = replace(pet, data=image, header=(), decay_correction=None, decay_reference_time=None)
    roles = {role: a for role, a in inputs.items() if role == "ct"}
    result: Result = static.quantify({"pet": whole, **roles}, regions, options)
    return described(result, "last pass of every bed")


def _tables(result: Result, scans: Sequence[Scan], curves: Sequence[Curves]) -> None:
    """Curves of every region, from the bed that holds most of it."""
    import pandas as pd

    from timelens.study.table import Table

    best = _largest_part(curves)
    parts, units = [], {}
    for k, (scan, own) in enumerate(zip(scans, curves, strict=True)):
        table = curves_table(own, scan.frames)
        units = dict(table.column_units)
        parts.append(table.data[[best[r] == k for r in table.data["region"]]])
    result.tables["tacs"] = Table(pd.concat(parts, ignore_index=True), units)


def _largest_part(curves: Sequence[Curves]) -> dict[str, int]:
    """By region: the bed that holds most of it, the first of several that hold as much."""
    best: dict[str, tuple[int, int]] = {}
    for k, own in enumerate(curves):
        for name, count in zip(own.names, own.voxels, strict=True):
            if name not in best or int(count) > best[name][1]:
                best[name] = k, int(count)
    return {name: k for name, (k, _) in best.items()}


def _to_the_end(found: Given, beds: Sequence[Bed], result: Result, pet: Acquisition) -> Given:
    """The input held to the end of the last bed's last pass, within what is allowed."""
    given = found.agent_input
    if given.plasma is None:
        raise MissingFieldError("Bed positions need a plasma input", file=pet.where, field="input", found=given.source)
    end = max(float(bed.frames.end[-1]) for bed in beds)
    whole = Frames([0.0], [end])
    plasma, held = covering(given.plasma, whole, file=pet.where)
    result.problems += held
    blood = None if given.blood is None else given.blood.held_until(end)
    return replace(found, agent_input=replace(given, plasma=plasma, blood=blood))


def _wanted(stated: Any) -> list[str]:
    names = list(BED_MODELS[:1]) if stated in ("auto", "aic") else [] if stated == "none" else list(stated)
    if others := [name for name in names if name not in BED_MODELS]:
        raise UsageError(
            "Bed positions seen late take Patlak models alone", field="models", found=", ".join(others),
            expected=", ".join(BED_MODELS),
        )  # fmt: skip
    return names


def _t_star(scan: Scan, steps: Steps) -> float:
    """Stated, else the agent's; every pass where nobody says, since passes begin late."""
    minutes = steps["fit"]["t_star_min"]
    if minutes is None and scan.known is not None:
        minutes = scan.known.t_star_min
    return 0.0 if minutes is None else 60.0 * minutes


def _fit(
    result: Result,
    scans: Sequence[Scan],
    curves: Sequence[Curves],
    weights: Sequence[Floats],
    found: Given,
    where: Sequence[slice],
    steps: Steps,
) -> None:
    """Each region in every bed that holds a part of it; the parts averaged by their voxels."""
    parts: dict[tuple[str, str, str], list[Measurement]] = {}
    shown = RegionFits()
    best = _largest_part(curves)
    for k, (scan, own, weight) in enumerate(zip(scans, curves, weights, strict=True)):
        chosen = finish_curves(scan, own, found)
        if not chosen.names:
            continue
        fits = fit_regions(
            chosen, scan.frames, found.agent_input, weight, _wanted(steps["fit"]["models"]),
            choices=Build(blood_volume=steps["fit"]["blood_volume"]), t_star_s=_t_star(scan, steps),
        )  # fmt: skip
        for problem in fits.problems:
            named = replace(problem, file=problem.file or scan.pet.where)
            if named not in result.problems:
                result.problems.append(named)
        for row in fits.rows:
            parts.setdefault((row.region, row.quantity, row.method), []).append(row)
        shown.fits += [record for record in fits.fits if best[record["region"]] == k]
        shown.graphs += [record for record in fits.graphs if best[record["region"]] == k]
    result.tables.update(shown.tables(curves[0].unit))
    scan = scans[0]
    for rows in parts.values():
        row = rows[0] if len(rows) == 1 else _average(rows)
        role = next((s.roles[row.region] for s in scans if row.region in s.roles), "organ")
        result.measurements.append(row.with_context(**scan.context(role)))


def _average(rows: Sequence[Measurement]) -> Measurement:
    """A region that lies in several beds: mean by voxels, errors as of independent scans."""
    good = [r for r in rows if np.isfinite(r.value)]
    if not good:
        return rows[0]
    share = np.array([r.n or 1 for r in good], float)
    share /= share.sum()
    value = float(sum(w * r.value for w, r in zip(share, good, strict=True)))
    error = float(np.sqrt(sum((w * r.uncertainty) ** 2 for w, r in zip(share, good, strict=True))))
    flags = "; ".join(dict.fromkeys(f for r in good for f in r.flags.split("; ") if f))
    known = bool(np.isfinite(error))  # one part without an error leaves the mean without one
    return replace(
        good[0], value=value, uncertainty=error, uncertainty_kind="standard_error" if known else "none",
        lower=value - 1.959964 * error, upper=value + 1.959964 * error, level=LEVEL if known else float("nan"),
        n=sum(r.n or 0 for r in good), flags=f"{flags}; mean of {len(good)} beds by voxels",
    )  # fmt: skip


def _maps(
    result: Result,
    scans: Sequence[Scan],
    weights: Sequence[Floats],
    found: Given,
    where: Sequence[slice],
    grid: Any,
    steps: Steps,
) -> None:
    for name in _wanted(steps["maps"]["models"]):
        kind = find_model(name)
        made = []
        for scan, weight in zip(scans, weights, strict=True):
            mask = None
            if steps["maps"]["mask"] == "auto":
                last = len(scan.frames) - 1
                mask = tissue_mask(np.asarray(scan.image.array[last]))
            choices = Build(t_star=_t_star(scan, steps), blood_volume=steps["fit"]["blood_volume"])
            try:
                model = build(kind, scan.frames, found.agent_input, choices)
                made.append(map_images(kind, model, scan.image, weight, mask=mask))
            except TimelensError as error:
                result.problems.append(error.at(file=scan.pet.where, field=f"maps: {name}").problem)
                break
        else:
            result.maps.update(join_maps(made, where, grid))
