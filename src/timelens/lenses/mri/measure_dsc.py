"""A first-pass series measured: dR2*, arterial curve, flow, volume and transit time of regions and voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.perfusion import Deconvolution, VascularModel, choose_arterial, describe_arterial
from timelens.errors import MissingFieldError, Problem
from timelens.lenses.mri.dsc import first_pass_series, leakage_corrected, map_perfusion
from timelens.lenses.mri.regional import (
    blood_mask,
    curves_table,
    fit_rows,
    fits_table,
    left_out,
    map_rows,
    mean_curves,
    region_masks,
    tissue_mask,
)
from timelens.lenses.mri.settings import baseline_frames, setting
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Result
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.measurement import Measurement
from timelens.study.region import Region

__all__ = ["measure_dsc"]

Floats = NDArray[np.float64]
#: Noise over the peak of a curve up to which the vascular model is the least biased method.
LOW_NOISE = 0.02
#: Most voxels that the vascular model maps: it does some hundred a second.
_MOST_VOXELS = 3000
#: Groups of voxels that are left out in turn for standard errors; each costs a dictionary of curves.
GROUPS = 6


def measure_dsc(
    inputs: Mapping[str, Acquisition], regions: Sequence[Region], steps: Mapping[str, Mapping[str, Any]]
) -> Result:
    """CBF, CBV and MTT of each region and voxel.

    Parameters
    ----------
    inputs
        ``dsc``.
    regions
        Lesions and organs get rows; a region of blood gives the arterial curve, a reference region corrects leakage.
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
    result = Result()
    te = setting(scan, steps, "te_s")
    signal = image.numpy().astype(np.float64)
    tissue = tissue_mask(signal[0])
    masks, roles = region_masks(image.geometry, regions, tissue)
    blood = blood_mask(masks, roles)
    times = np.asarray(image.frames.mid)
    first = blood if blood is not None else np.any(list(masks.values()), axis=0)
    baseline = baseline_frames(times, -signal[:, first].mean(axis=1), steps, scan)
    found = first_pass_series(image, te=te, baseline=slice(0, baseline))
    series, leakage = _without_leakage(found.concentration, masks, roles, steps, result)
    data = series.numpy().astype(np.float64)
    wanted = steps["input"]["source"]
    if blood is not None and wanted in ("auto", "region"):
        choice, how = describe_arterial(times, data, blood), "drawn artery"
    elif wanted in ("region", "population"):
        raise MissingFieldError(
            "First-pass perfusion needs an artery of the same series", file=scan.where, field="input.source",
            found=wanted, expected="a region with the role blood pool, or 'search'", mend="draw one",
        )  # fmt: skip
    else:
        choice, how = choose_arterial(times, data, mask=tissue), "artery found in the image"
        result.problems.append(Problem(
            "The artery was searched, not drawn: flow and volume share its partial volume", scan.where, "input",
            f"{choice.voxels} voxels", "a region of blood", "draw a region with the role 'blood pool'", "warning",
        ))  # fmt: skip
    curves, spread, counts, names = mean_curves(series, masks, scan, result)
    result.tables["tacs"] = curves_table(curves, names, spread, image.frames, "1/s")
    measured = [n for n in names if roles[n] not in ("blood pool", "reference")]
    chosen = curves[:, [names.index(n) for n in measured]]
    noise = _noise(chosen, baseline)
    method = steps["perfusion"]["method"]
    regional = ("vascular_model" if noise <= LOW_NOISE else "osvd") if method == "auto" else method
    said = f"{regional}; {how}" + ("; leakage corrected" if leakage else "")
    if measured and regional == "vascular_model":
        fit = VascularModel(times, choice.curve).fit(chosen)
        complete = np.isfinite(data).all(axis=0)
        parts = left_out([*(masks[n] & complete for n in measured), choice.mask & complete], GROUPS)
        apart = [
            VascularModel(times, data[:, rest[-1]].mean(axis=1)).fit(
                np.stack([data[:, m].mean(axis=1) for m in rest[:-1]], axis=1)
            )
            for rest in parts
        ]
        result.measurements += fit_rows(fit, measured, counts, method=said, apart=apart)
        if fit.predicted is not None:
            result.tables["fits"] = fits_table(fit, measured, regional, chosen, image.frames, "1/s")
    elif measured:
        result.measurements += _deconvolved(times, choice.curve, chosen, measured, counts, regional, said)
    voxel_noise = _noise(data[:, tissue], baseline)
    mapped = method
    if method == "auto":
        mapped = "vascular_model" if voxel_noise <= LOW_NOISE and int(tissue.sum()) <= _MOST_VOXELS else "osvd"
    if steps["perfusion"]["maps"]:
        made = map_perfusion(series, choice.curve, method=mapped, mask=tissue)
        kept = {n for n, m in made.items() if m.quantity == n}
        result.maps |= {n: m for n, m in made.items() if n in kept or n.removesuffix("_se") in kept}
        result.maps["perfusion_reason"] = made["reason"].with_info(name="perfusion_reason")
    result.audit["dsc"] = {
        "te_s": te, "baseline_frames": baseline, "artery": how, "artery_voxels": choice.voxels,
        "peak_over_noise": choice.peak_to_baseline, "noise_of_regions": noise, "noise_of_voxels": voxel_noise,
        "method_of_regions": regional, "method_of_maps": mapped, "leakage": leakage or "not corrected",
    }  # fmt: skip
    return result


def _without_leakage(
    series: Image, masks: Mapping[str, Any], roles: Mapping[str, str], steps: Mapping[str, Mapping[str, Any]],
    result: Result,
) -> tuple[Image, str]:  # fmt: skip
    reference = [mask for name, mask in masks.items() if roles[name] == "reference"]
    if steps["perfusion"]["leakage"] is False or not reference:
        return series, ""
    corrected, maps = leakage_corrected(series, np.any(reference, axis=0))
    result.maps["leakage_reason"] = maps["reason"].with_info(name="leakage_reason")
    return corrected, "reference tissue (Boxerman)"


def _noise(curves: Floats, baseline: int) -> float:
    """Median over curves of the noise, from second differences, over the peak."""
    if curves.size == 0 or curves.shape[0] < 4:
        return float("nan")
    steady = curves[: max(baseline, 4)]
    noise = np.std(np.diff(steady, axis=0), axis=0) / np.sqrt(2)
    with np.errstate(all="ignore"):
        return float(np.nanmedian(noise / np.nanmax(curves, axis=0)))


def _deconvolved(
    times: Floats, artery: Floats, curves: Floats, names: Sequence[str], counts: Mapping[str, int], method: Any,
    said: str,
) -> list[Measurement]:  # fmt: skip
    """Rows of the mean curve of each region; a deconvolution gives no standard error."""
    found = Deconvolution(times, artery, method=method).fit(curves[:, None, None, :])
    line = Geometry.from_spacing((1, 1, len(names)), (1.0, 1.0, 1.0))
    units = {"cbf": "mL/min/(100.g)", "cbv": "mL/(100.g)", "mtt": "s"}
    maps = {
        n: Image(np.asarray(getattr(found, n), np.float64), unit=u, geometry=line, quantity=n) for n, u in units.items()
    }
    rows = []
    for k, name in enumerate(names):
        mask = np.zeros((1, 1, len(names)), bool)
        mask[0, 0, k] = True
        flags = "no standard error: a deconvolution gives none"
        own = map_rows(maps, {name: mask}, method=said, flags=flags)
        rows += [replace(row, n=counts[name]) for row in own]
    return rows
