"""A first-pass series measured: dR2*, arterial curve, leakage, flow, volume and times of regions and voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.perfusion import ArterialChoice, choose_arterial, delta_r2_star, describe_arterial
from timelens.errors import MissingFieldError, Problem, UsageError
from timelens.lenses.mri.dce_errors import GROUPS, without_groups
from timelens.lenses.mri.dsc import (
    Correction,
    Method,
    correct_curves,
    first_pass_series,
    leakage_corrected,
    map_perfusion,
    relative_maps,
)
from timelens.lenses.mri.dsc_rows import deconvolved, leakage_rows, modelled, region_rows, relative_rows
from timelens.lenses.mri.regional import (
    BLOOD,
    blood_mask,
    curves_table,
    fits_table,
    left_out,
    mean_curves,
    region_masks,
    tissue_mask,
)
from timelens.lenses.mri.settings import Steps, baseline_frames, setting
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Result
from timelens.study.image import Image
from timelens.study.region import Region

__all__ = ["measure_dsc"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: The artery's signal should stay this many times above the noise of its baseline; below, its peak is cut off.
_FLOOR = 5.0
_REFERENCE = "reference"
_SAID: dict[Correction, str] = {
    "one_way": "leakage corrected along a reference tissue (Boxerman)",
    "both_ways": "leakage corrected both ways along a reference tissue (Leu)",
    "by_transit": "leakage corrected by the tail of the residue (Bjørnerud)",
    "fitted": "leakage fitted along the integral of the artery",
}


def measure_dsc(inputs: Mapping[str, Acquisition], regions: Sequence[Region], steps: Steps) -> Result:
    """CBF, CBV, MTT and delay of each region and voxel, and against a reference tissue where one is drawn.

    Parameters
    ----------
    inputs
        ``dsc``.
    regions
        Lesions and organs get rows; a region of blood gives the arterial curve; a reference region, such as normal
        white matter, corrects leakage and scales blood volume and flow.
    steps
        As :func:`timelens.lenses.mri.recipe.merged_steps` gives them.
    """
    scan = inputs["dsc"]
    image = scan.image
    if len(image.shape) != 4 or image.axes[0].name != "t" or image.frames is None:
        raise MissingFieldError(
            "The first-pass series has no frame times", file=scan.where, field="VolumeTiming", found="nothing",
            expected="start of each volume in s", mend="write VolumeTiming into the sidecar",
        )  # fmt: skip
    assert image.geometry is not None
    result, step = Result(), steps["perfusion"]
    te = setting(scan, steps, "te_s")
    signal = image.numpy().astype(np.float64)
    tissue = tissue_mask(signal[0])
    masks, roles = region_masks(image.geometry, regions, tissue)
    blood = blood_mask(masks, roles)
    times = np.asarray(image.frames.mid)
    first = blood if blood is not None else np.any(list(masks.values()), axis=0)
    baseline = baseline_frames(times, -signal[:, first].mean(axis=1), steps, scan)
    series = first_pass_series(image, te=te, baseline=slice(0, baseline)).concentration
    data = series.numpy().astype(np.float64)
    complete = np.isfinite(data).all(axis=0)

    choice, how = _artery(times, data, blood, tissue, scan, steps, result)
    inside = choice.mask & complete
    artery = _mean_signal_curve(signal, inside, te, baseline)
    arteries = [_mean_signal_curve(signal, rest, te, baseline) for (rest,) in left_out([inside], GROUPS)]
    lowest = _doubt_artery(choice, signal[:, inside].mean(axis=1), signal[:baseline, inside], scan, result)

    method: Method = "vascular_model" if step["method"] == "auto" else step["method"]
    reference = [name for name, role in roles.items() if role == _REFERENCE]
    whole = np.any([masks[name] for name in reference], axis=0) if reference else None
    leaves = _correction(step["leakage"], method, reference, scan)
    # A drawn vessel has no flow per mass of tissue.
    mapped = tissue if blood is None else tissue & ~blood
    corrected = series
    if leaves is not None and leaves != "fitted":
        corrected, _ = leakage_corrected(series, whole, method=leaves, arterial=artery)
    if whole is not None:
        # As in the rows: one way, whatever is taken off.
        _, maps = leakage_corrected(series, whole)
        result.maps |= {n: _within(m, mapped) for n, m in maps.items() if n.removesuffix("_se") == "k2_leakage"}
        result.maps["leakage_reason"] = maps["reason"].with_info(name="leakage_reason")

    shown, spread, counts, names = mean_curves(corrected, masks, scan, result)
    result.tables["tacs"] = curves_table(shown, names, spread, image.frames, "1/s")
    measured = [n for n in names if roles[n] not in (BLOOD, _REFERENCE)]
    said = f"{method}; {how}" + (f"; {_SAID[leaves]}" if leaves is not None else "")
    if measured:
        chosen = [*(masks[n] for n in measured), *([whole] if whole is not None else [])]
        chosen = [mask & complete for mask in chosen]
        raw = np.stack([data[:, mask].mean(axis=1) for mask in chosen], axis=1)
        parts = [without_groups(data, mask) for mask in chosen]
        curves = raw
        # The reference is the last of them: nothing leaks there.
        known = raw[:, -1] if whole is not None else None
        if known is not None:
            rates = [correct_curves(times, some, "one_way", reference=known, arterial=None) for some in (raw, *parts)]
            result.measurements += leakage_rows(
                rates[0].rate, rates[0].error, [one.rate for one in rates[1:]], measured, counts,
                method=_SAID["one_way"],
            )  # fmt: skip
        if leaves is not None and leaves != "fitted":
            both = [correct_curves(times, some, leaves, reference=known, arterial=artery) for some in (raw, *parts)]
            curves, parts = both[0].corrected, [one.corrected for one in both[1:]]
        found = (
            modelled(times, artery, curves, parts, arteries, leakage=leaves == "fitted")
            if method == "vascular_model"
            else deconvolved(times, artery, curves, parts, arteries, method)
        )
        result.measurements += region_rows(found, measured, counts, method=said)
        if whole is not None:
            result.measurements += relative_rows(found, measured, len(measured), counts, method=said)
        if found.fit is not None:
            own = replace(found.fit, predicted=found.fit.predict()[:, : len(measured)])
            result.tables["fits"] = fits_table(own, measured, method, curves[:, : len(measured)], image.frames, "1/s")
    if step["maps"]:
        made = map_perfusion(corrected, artery, method=method, leakage=leaves == "fitted", mask=mapped)
        if whole is not None:
            made |= relative_maps(made, whole & mapped)
        kept = {n for n, m in made.items() if m.quantity == n}
        result.maps |= {n: m for n, m in made.items() if n in kept or n.removesuffix("_se") in kept}
        result.maps["perfusion_reason"] = made["reason"].with_info(name="perfusion_reason")
    result.audit["dsc"] = {
        "te_s": te, "baseline_frames": baseline, "artery": how, "artery_voxels": choice.voxels,
        "artery_peak_per_s": float(artery.max()), "artery_peak_over_noise": choice.peak_to_baseline,
        "artery_width_s": choice.full_width, "artery_first_moment_s": choice.moment,
        "artery_earlier_than_tissue_s": choice.early, "artery_roughness": choice.roughness,
        "artery_lowest_signal_over_noise": lowest, "noise_of_voxels": _noise(data[:, tissue], baseline),
        "method": method, "leakage": "not corrected" if leaves is None else _SAID[leaves], "reference": reference,
    }  # fmt: skip
    return result


def _artery(
    times: Floats, data: Floats, blood: Mask | None, tissue: Mask, scan: Acquisition, steps: Steps, result: Result
) -> tuple[ArterialChoice, str]:
    """Voxels of the artery, drawn or searched."""
    wanted = steps["input"]["source"]
    if blood is not None and wanted in ("auto", "region"):
        return describe_arterial(times, data, blood), "drawn artery"
    if wanted in ("region", "population"):
        raise MissingFieldError(
            "First-pass perfusion needs an artery of the same series", file=scan.where, field="input.source",
            found=wanted, expected="a region with the role blood pool, or 'search'", mend="draw one",
        )  # fmt: skip
    choice = choose_arterial(times, data, mask=tissue)
    result.problems.append(Problem(
        "The artery was searched, not drawn: flow and volume share its partial volume", scan.where, "input",
        f"{choice.voxels} voxels", "a region of blood", "draw a region with the role 'blood pool'", "warning",
    ))  # fmt: skip
    return choice, "artery found in the image"


def _mean_signal_curve(signal: Floats, mask: Mask, te: float, baseline: int) -> Floats:
    """dR2* (frames,) of the mean signal: an artery's peak is low signal, whose logarithm noise makes too high."""
    return delta_r2_star(signal[:, mask].mean(axis=1), te=te, baseline=slice(0, baseline)).values


def _doubt_artery(choice: ArterialChoice, mean: Floats, before: Floats, scan: Acquisition, result: Result) -> float:
    """Warn of an artery that is none, or whose peak the noise floor cuts off; its lowest signal over the noise."""
    noise = float(np.median(before.std(axis=0, ddof=1))) if before.shape[0] > 1 else 0.0
    lowest = float(mean.min() / noise) if noise > 0 else float("inf")
    doubts = choice.doubts()
    if lowest < _FLOOR:
        doubts.append(f"its lowest signal is {lowest:.1f} times the noise, which cuts off its peak")
    if doubts:
        result.problems.append(Problem(
            "The arterial curve is doubtful: flow and volume rest on it", scan.where, "input", "; ".join(doubts),
            "an early, high, narrow and smooth curve", "draw another artery, such as one beside the vessel", "warning",
        ))  # fmt: skip
    return lowest


def _within(image: Image, mask: Mask) -> Image:
    """The map where the mask is, NaN elsewhere."""
    return Image(
        np.where(mask, image.numpy(), np.float32(np.nan)), unit=image.unit, axes=image.axes, geometry=image.geometry,
        quantity=image.quantity, name=image.name,
    )  # fmt: skip


def _correction(wanted: Any, method: Method, reference: Sequence[str], scan: Acquisition) -> Correction | None:
    """Which correction of leakage is made."""
    if wanted is False:
        return None
    if wanted == "auto":
        if not reference:
            return None
        return "fitted" if method == "vascular_model" else "both_ways"
    if wanted == "fitted" and method != "vascular_model":
        raise UsageError(
            "Only the vascular model has leakage as a part", field="perfusion.leakage", found=f"fitted with {method}",
            expected="one_way, both_ways or by_transit",
        )  # fmt: skip
    if wanted in ("one_way", "both_ways") and not reference:
        raise MissingFieldError(
            "This correction of leakage needs a tissue that does not leak", file=scan.where, field="perfusion.leakage",
            found="no region with the role reference", expected="one, or another correction",
            mend="draw normal white matter",
        )  # fmt: skip
    chosen: Correction = wanted
    return chosen


def _noise(curves: Floats, baseline: int) -> float:
    """Median over curves of the noise of the baseline over the peak."""
    if curves.size == 0 or curves.shape[0] < 4:
        return float("nan")
    noise = np.std(np.diff(curves[: max(baseline, 4)], axis=0), axis=0) / np.sqrt(2)
    # A voxel that lacks a volume (motion took it out of the field) has no peak.
    with np.errstate(all="ignore"):
        parts = noise / curves.max(axis=0)
    return float(np.median(parts[np.isfinite(parts)])) if np.isfinite(parts).any() else float("nan")
