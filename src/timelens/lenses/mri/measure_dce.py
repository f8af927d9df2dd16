"""A dynamic contrast-enhanced series measured: concentration, input, fits of regions, curves without a model, maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics import Frames, InputFunction
from timelens.engines.mr_signal.concentration import explain_signal
from timelens.errors import DataError, MissingFieldError
from timelens.lenses.mri.arterial import GivenInput, blood_input, reference_tissue
from timelens.lenses.mri.contrast import ContrastSignal, contrast_signal, corrected
from timelens.lenses.mri.dce import Model, choose_model, concentration_series, exchange_model, map_exchange
from timelens.lenses.mri.dce_errors import Again, Sureness, exchange_rows, region_errors, without_groups
from timelens.lenses.mri.enhancement import enhancement_maps, enhancement_numbers, enhancement_rows, grid_errors
from timelens.lenses.mri.regional import (
    BLOOD,
    blood_mask,
    curves_table,
    fits_table,
    mean_curves,
    region_masks,
    tissue_mask,
)
from timelens.lenses.mri.settings import Before, Steps, baseline_frames, relaxivity_of, setting, t1_before
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Result
from timelens.study.image import Image
from timelens.study.region import Region
from timelens.study.table import Table

__all__ = ["measure_dce"]

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

_FEWEST_FRAMES = 8
#: Among which models the map of model selection chooses, in the order of its codes.
CHOICE: tuple[Model, ...] = ("patlak", "tofts", "extended_tofts", "two_compartment_exchange")


def measure_dce(inputs: Mapping[str, Acquisition], regions: Sequence[Region], steps: Steps) -> Result:
    """K^trans and its kin of each region and voxel.

    Parameters
    ----------
    inputs
        ``dce``; ``t1_map``, or ``flip`` (and ``flip_2`` ...); ``b1_map``.
    regions
        Lesions and organs get rows; a region of blood gives the input, a reference tissue that of its own model.
    steps
        As :func:`timelens.lenses.mri.recipe.merged_steps` gives them.
    """
    scan = inputs["dce"]
    image = scan.image
    assert image.geometry is not None
    timing = image.frames
    if len(image.shape) != 4 or image.axes[0].name != "t" or timing is None:
        raise MissingFieldError(
            "The dynamic series has no frame times", file=scan.where, field="VolumeTiming", found="nothing",
            expected="start of each volume in s", mend="write VolumeTiming into the sidecar",
        )  # fmt: skip
    if image.shape[0] < _FEWEST_FRAMES:
        raise DataError(
            "Too few volumes for a model of exchange", file=scan.where, field="dim", found=image.shape[0],
            expected=f"{_FEWEST_FRAMES} or more",
        )  # fmt: skip
    result = Result()
    tr, flip = setting(scan, steps, "tr_s"), setting(scan, steps, "flip_deg")
    r1, why = relaxivity_of(scan, steps)
    before = t1_before(scan, inputs, steps)
    raw = image.numpy()
    tissue = tissue_mask(raw.mean(axis=0))
    masks, roles = region_masks(image.geometry, regions, tissue)
    blood = blood_mask(masks, roles)
    first = blood if blood is not None else np.any(list(masks.values()), axis=0)
    baseline = baseline_frames(timing.mid, raw[:, first].mean(axis=1, dtype=np.float64), steps, scan)
    found = concentration_series(
        image, before.t1, tr=tr, flip=flip, relaxivity=r1, baseline=slice(0, baseline), b1=before.b1
    )
    signal = contrast_signal(image, before, tr=tr, flip=flip, relaxivity=r1, baseline=baseline)
    series = corrected(found.concentration, signal, masks)
    curves, spread, counts, names = mean_curves(series, masks, scan, result)
    result.tables["tacs"] = curves_table(curves, names, spread, timing, "mmol/L")
    if steps["exchange"]["model"] == "reference_region":
        given = _reference(scan, signal, series, masks, roles)
    else:
        given, said = blood_input(found.concentration, scan, signal, blood, curves[:, 0], steps["input"])
        result.problems += said
    result.tables["input"] = _input_table(given.curve)
    measured = [n for n in names if roles[n] not in (BLOOD, "reference")]
    if measured:
        agent = str(why["agent"])
        _measure_regions(result, series, {n: masks[n] for n in measured}, curves[:, [names.index(n) for n in measured]],
                         counts, given, before, steps, agent)  # fmt: skip
    _make_maps(result, found.concentration, given.curve, tissue, steps)
    result.audit["dce"] = {
        "tr_s": tr, "flip_deg": flip, **why, "t1": before.source, "baseline_frames": baseline, "input": given.source,
        **given.facts, "model": steps["exchange"]["model"], "solver": steps["exchange"]["solver"],
        "voxels_without_concentration": _lost(found.reason, tissue), **result.audit.get("dce", {}),
    }  # fmt: skip
    return result


def _measure_regions(
    result: Result, series: Image, masks: Mapping[str, Mask], curves: Floats, counts: Mapping[str, int],
    given: GivenInput, before: Before, steps: Steps, agent: str,
) -> None:  # fmt: skip
    """Rows of regions by the model and without one."""
    assert series.frames is not None
    times, names = np.asarray(series.frames.mid), list(masks)
    step = steps["exchange"]
    frames, delay = Frames.instants(times), step["delay_s"]

    def made(plasma: InputFunction, span: tuple[float, float] | None = None) -> Any:
        return exchange_model(step["model"], frames, plasma, solver=step["solver"], delay=span)

    data = series.numpy()
    complete = np.isfinite(data).all(axis=0)
    parts = [without_groups(data, mask & complete) for mask in masks.values()]
    changed, text = _stated(given, {n: m & complete for n, m in masks.items()}, before, steps)
    plasma = given.curve
    model = made(plasma, None if delay is None else (float(delay[0]), float(delay[1])))
    fit = model.fit(curves)

    def exchanged(some: Floats, other: InputFunction, owner: NDArray[np.intp]) -> Mapping[str, Floats]:
        if delay is None:
            return dict((model if other is plasma else made(other)).fit(some).parameters)
        found = {name: np.full(some.shape[1], np.nan) for name in fit.parameters}
        for k, late in enumerate(fit.parameters["delay"]):
            if (owner == k).any() and np.isfinite(late):
                again = _near(made, other, float(late), 0.5 * float(np.median(np.diff(times))), some[:, owner == k])
                for name, values in found.items():
                    values[owner == k] = again[name]
        return found

    sure = region_errors(
        exchanged, curves, plasma, own=fit.standard_errors, own_degrees=fit.degrees_of_freedom, parts=parts,
        inputs=given.without_groups(), changed=changed,
    )  # fmt: skip
    solver = "" if step["solver"] == "auto" else f" ({step['solver']})"
    method = f"{step['model']}{solver}; {given.source}; T1 from {before.source}{text}"
    published = given.mask is None and not any(one.name in ("scale", "delay") for one in changed)
    flags = "the error of the published input is not in the standard error" if published else ""
    rows = exchange_rows(fit, names, counts, sure, method=method, flags=flags)
    if steps["enhancement"]["rows"]:
        rows += _without_model(times, curves, parts, plasma, changed, names, counts, f"T1 from {before.source}{text}")
    result.measurements += [replace(row, agent=agent) for row in rows]
    result.tables["fits"] = fits_table(fit, names, step["model"], curves, series.frames, "mmol/L")
    if changed:
        result.audit["dce"] = {"stated_errors": _shares(sure, names)}


def _near(
    made: Callable[[InputFunction], Any], plasma: InputFunction, late: float, width: float, curves: Floats
) -> dict[str, Floats]:
    """Parameters and delay of curves whose delay is near ``late``: three fits, and the vertex of the parabola."""
    left, middle, right = (made(plasma.shifted(late + side * width)).fit(curves) for side in (-1, 0, 1))
    bend = left.weighted_rss - 2 * middle.weighted_rss + right.weighted_rss
    with np.errstate(all="ignore"):
        step = 0.5 * (left.weighted_rss - right.weighted_rss) / bend
    step = np.where(bend > 0, np.clip(step, -1.0, 1.0), 0.0)
    found = {
        name: value + 0.5 * step * (right.parameters[name] - left.parameters[name])
        for name, value in middle.parameters.items()
    }
    return {**found, "delay": late + step * width}


def _without_model(
    times: Floats, curves: Floats, parts: Sequence[Floats], plasma: InputFunction, changed: Sequence[Again],
    names: Sequence[str], counts: Mapping[str, int], method: str,
) -> list[Any]:  # fmt: skip
    shapes = enhancement_numbers(times, curves)

    def estimate(some: Floats, other: InputFunction, owner: NDArray[np.intp]) -> Mapping[str, Floats]:
        return enhancement_numbers(times, some)

    sure = region_errors(
        estimate, curves, plasma, own=grid_errors(times, shapes), own_degrees=np.inf, parts=parts, changed=changed,
        jumps=True,
    )  # fmt: skip
    return enhancement_rows(shapes, sure, names, counts, method=f"curve of the region; {method}")


def _stated(given: GivenInput, masks: Mapping[str, Mask], before: Before, steps: Steps) -> tuple[list[Again], str]:
    """Curves and input with each setting whose standard error is stated higher and lower, and what that says."""
    signal = given.signal

    def both(change: Callable[[float], tuple[ContrastSignal, dict[str, float]]], error: float, name: str) -> Again:
        ends = []
        for sign in (1.0, -1.0):
            other, more = change(sign * error)
            values = [other.tissue(mask) for mask in masks.values()]
            whole = np.stack([v[:, np.isfinite(v).all(axis=0)].mean(axis=1) for v in values], axis=1)
            ends.append((whole, given.changed(other, **more)))
        return Again(name, *ends)

    known: dict[str, tuple[Any, Callable[[float], tuple[ContrastSignal, dict[str, float]]]]] = {
        "relaxivity": (steps["signal"]["relaxivity_error"], lambda e: (signal.scaled(relaxivity=1 + e), {})),
        "B1": (steps["signal"]["b1_error"], lambda e: (signal.scaled(b1=1 + e), {})),
        "T1": (steps["t1"]["t1_error"], lambda e: (signal.scaled(t1=1 + e), {})),
        "haematocrit": (steps["input"]["haematocrit_error"], lambda e: (signal, {"haematocrit": 1 + e})),
        "scale": (steps["input"]["scale_error"], lambda e: (signal, {"scale": 1 + e})),
        "delay": (steps["input"]["delay_error_s"], lambda e: (signal, {"delay": e})),
    }
    found, words = [], []
    for name, (error, change) in known.items():
        if error:
            found.append(both(change, float(error), name))
            words.append(f"{name} {error:g} s" if name == "delay" else f"{name} {100 * error:g} %")
    return found, f"; stated standard errors: {', '.join(words)}" if words else ""


def _shares(sure: Sureness, names: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Standard error by each stated setting, in the fit's own units, by region and parameter."""
    return {
        setting: {region: {p: float(v[k]) for p, v in errors.items()} for k, region in enumerate(names)}
        for setting, errors in sure.stated.items()
    }


def _reference(
    scan: Acquisition, signal: ContrastSignal, series: Image, masks: Mapping[str, Mask], roles: Mapping[str, str]
) -> GivenInput:
    drawn = [mask for name, mask in masks.items() if roles[name] == "reference"]
    if not drawn:
        raise MissingFieldError(
            "The reference region model needs a reference tissue", file=scan.where, field="exchange.model",
            found=", ".join(masks), expected="a region with the role reference", mend="draw one, such as muscle",
        )  # fmt: skip
    assert series.frames is not None
    complete = np.isfinite(series.numpy()).all(axis=0)
    return reference_tissue(series.frames, signal, np.any(drawn, axis=0) & complete)


def _make_maps(result: Result, series: Image, plasma: InputFunction, tissue: Mask, steps: Steps) -> None:
    step = steps["exchange"]
    if step["maps"]:
        delay = None if step["delay_s"] is None else tuple(step["delay_s"])
        made = map_exchange(series, plasma, model=step["model"], solver=step["solver"], delay=delay, mask=tissue)
        kept = {n for n, m in made.items() if m.quantity == n}
        result.maps |= {n: m for n, m in made.items() if n in kept or n.removesuffix("_se") in kept}
        result.maps["exchange_reason"] = made["reason"].with_info(name="exchange_reason")
    if step["selection"] and step["model"] != "reference_region":
        chosen = choose_model(series, plasma, models=CHOICE, mask=tissue)
        for short, name in (("model", "selected_model"), ("weight", "selected_model_weight")):
            result.maps[name] = chosen[short].with_info(name=name, quantity=name)
        result.audit.setdefault("dce", {})["selected_model"] = {n + 1: name for n, name in enumerate(CHOICE)}
    if steps["enhancement"]["maps"]:
        result.maps |= enhancement_maps(series, tissue)


def _input_table(plasma: InputFunction) -> Table:
    import pandas as pd

    rows = {"curve": plasma.kind, "kind": "curve", "time_s": plasma.times, "value": plasma.values, "unit": "mmol/L"}
    return Table(pd.DataFrame(rows), {"time_s": "s", "value": "mmol/L"})


def _lost(reason: Image, tissue: Mask) -> dict[str, int]:
    """Voxels of tissue by why they have no concentration."""
    codes, counts = np.unique(reason.numpy()[tissue], return_counts=True)
    return {explain_signal(int(c)): int(n) for c, n in zip(codes, counts, strict=True) if c}
