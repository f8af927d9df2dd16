"""A series of flip angles, inversion times, echoes or b values measured: maps with errors, means of regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.relaxometry import IVIM, EchoDecay
from timelens.errors import UsageError
from timelens.lenses.mri.matching import gathered
from timelens.lenses.mri.parametric import parametric_images
from timelens.lenses.mri.regional import fit_rows, map_rows, region_masks, tissue_mask
from timelens.lenses.mri.relaxometry import RECOVERIES, Recovery, map_relaxation
from timelens.lenses.mri.settings import as_ratio, setting
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Result
from timelens.study.image import Image
from timelens.study.mr import mr_settings
from timelens.study.region import Region

__all__ = ["measure_relaxation"]

#: IVIM needs so many different b values at or below and above this one (s/mm2), without zero.
_LOW_B, _FEWEST_LOW, _FEWEST_HIGH = 200.0, 4, 3
#: Less noise than this part of the brightest voxel is rounding.
_LEAST_NOISE = 1e-5
_METHODS = {
    "flip": ("linear", "novifast", "nonlinear"),
    "gradient echoes": ("linear", "arlo", "nonlinear"),
    "spin echoes": ("linear", "arlo", "nonlinear"),
}
_SPELLED = {"linear": "log_linear"}
_RECOVERIES = {
    "inversion": "inversion recovery",
    "saturation": "saturation recovery",
    "look locker": "Look-Locker, inversion taken as complete",
}


def measure_relaxation(
    kind: str, inputs: Mapping[str, Acquisition], regions: Sequence[Region], steps: Mapping[str, Mapping[str, Any]]
) -> Result:
    """Maps and region means of one series.

    Parameters
    ----------
    kind
        ``flip``, ``inversion``, ``saturation``, ``look locker``, ``gradient echoes``, ``spin echoes``, ``echoes`` or
        ``diffusion``.
    inputs
        The series under its kind; ``b1_map`` for flip angles.
    regions
        Those that are measured; all tissue without any.
    steps
        As :func:`timelens.lenses.mri.recipe.merged_steps` gives them.
    """
    parts = [a for role, a in inputs.items() if role != "b1_map"]
    scan = gathered(parts)[0].joined if len(parts) > 1 else parts[0]
    image = scan.image
    assert image.geometry is not None
    if kind == "echoes":
        stated = steps["series"]["gradient_echo"]
        if stated == "auto":
            mend = "write 'mri: {series: {gradient_echo: true}}' in study.yaml"
            stated = mr_settings(scan).require("gradient_echo", scan, purpose="A decay over echoes", mend=mend)
        kind = "gradient echoes" if stated else "spin echoes"
    options = _options(kind, steps["relaxation"]["method"])
    brightest = image.numpy().astype(np.float64).max(axis=0)
    tissue = tissue_mask(brightest)
    masks, _ = region_masks(image.geometry, regions, tissue)
    everywhere = tissue | np.any(list(masks.values()), axis=0)
    result = Result()
    facts: dict[str, Any] = {"kind": kind, "images": image.shape[0], "axis": _axis(image)}
    if kind == "flip":
        tr = setting(scan, steps, "tr_s")
        b1 = as_ratio(inputs["b1_map"].image, inputs["b1_map"]) if "b1_map" in inputs else None
        maps = map_relaxation(image, tr=tr, b1=b1, mask=everywhere, **options)
        facts |= {"tr_s": tr, "b1": "map" if b1 is not None else "none: flip angles are taken as nominal"}
        method = f"variable flip angle, {options['method']}" + (", B1 map" if b1 is not None else "")
    elif kind in RECOVERIES:
        recovery: Recovery = kind
        if recovery == "look locker":
            options = _pulses(scan, steps)
            facts["interval_s"] = options.get("interval", "not known: pulses are taken as weak")
        noise = _noise_of_recovery(image, everywhere, recovery)
        if noise > 0:
            options["sigma"] = noise
        facts["noise"] = options.get("sigma", "not estimated")
        maps = map_relaxation(image, mask=everywhere, recovery=recovery, **options)
        method = _RECOVERIES[kind] + (", likelihood of magnitudes" if noise > 0 else ", least squares")
    elif kind == "diffusion":
        maps, method = map_relaxation(image, mask=everywhere), "mono-exponential over b values"
    else:
        if not options and (noise := _noise_of(image, everywhere)) > 0:
            options = {"sigma": noise}
        facts["noise"] = options.get("sigma", "not estimated")
        maps = map_relaxation(image, gradient_echo=kind == "gradient echoes", mask=everywhere, **options)
        method = f"{kind}, {options.get('method', 'nonlinear')}" + (", Rician" if "sigma" in options else "")
    name = {"flip": "t1", **dict.fromkeys(_RECOVERIES, "t1"), "diffusion": "adc", "gradient echoes": "t2_star"}.get(
        kind, "t2"
    )
    _keep(result, maps, name)
    result.measurements += map_rows(result.maps, masks, method=method)
    if kind == "diffusion" and _wants_ivim(image, steps["relaxation"]["ivim"]):
        model = IVIM(np.asarray(image.axes[0].coordinates, float))
        data = image.numpy().astype(np.float64)
        _keep(result, parametric_images(model.map_all(data, mask=everywhere), image), "ivim")
        # Voxels without a fast part have no D*: a mean over the others would say too much. The mean decay is fitted.
        names = list(masks)
        decay = np.stack([data[:, masks[n]].mean(axis=1) for n in names], axis=1)
        counts = {n: int(masks[n].sum()) for n in names}
        result.measurements += fit_rows(
            model.fit(decay), names, counts, method="intravoxel incoherent motion of the mean signal"
        )
    result.audit["relaxation"] = {**facts, "method": method}
    return result


def _pulses(scan: Acquisition, steps: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Time between the pulses of a Look-Locker train; a longer one than between readings is that of the inversions."""
    stated = steps["signal"]["tr_ms"]
    interval = float(stated) * 1e-3 if stated is not None else mr_settings(scan).tr_s
    gaps = np.diff(np.asarray(scan.image.axes[0].coordinates, float))
    return {"interval": interval} if interval is not None and interval <= 1.001 * float(gaps.min()) else {}


def _noise_of(image: Image, mask: NDArray[np.bool_]) -> float:
    """Noise of one channel from what a first fit leaves over; the floor of late echoes then follows from it."""
    times = np.asarray(image.axes[0].coordinates, float)
    freedom = times.size - 2
    if freedom < 2:
        return 0.0
    noise = _typical(EchoDecay(times).fit(image.numpy(), mask=mask).weighted_rss[mask], freedom)
    return noise if noise > _LEAST_NOISE * float(np.nanmax(np.abs(image.numpy()))) else 0.0


def _noise_of_recovery(image: Image, mask: NDArray[np.bool_], recovery: Recovery) -> float:
    """The same over recovery times: by least squares first, then by what is left of the likelihood's fit."""
    times = np.asarray(image.axes[0].coordinates, float)
    freedom = times.size - 3
    if freedom < 2:
        return 0.0
    data, model = image.numpy()[:, mask], RECOVERIES[recovery]
    noise = _typical(model(times).map_all(data).weighted_rss, freedom)
    if noise <= _LEAST_NOISE * float(np.nanmax(np.abs(data), initial=0.0)):
        return 0.0
    # Restoring a sign makes residuals near the null too small.
    return noise * _typical(model(times, sigma=noise).map_all(data).weighted_rss, freedom)


def _typical(squares: NDArray[np.float64], freedom: int) -> float:
    """Noise from sums of squared residuals, by their median over that of a chi-square distribution."""
    left = squares[np.isfinite(squares)] / freedom
    return float(np.sqrt(np.median(left) / (1 - 2 / (9 * freedom)) ** 3)) if left.size else 0.0


def _options(kind: str, method: str) -> dict[str, Any]:
    allowed = _METHODS.get(kind, ())
    if method == "auto":
        return {"method": "nonlinear"} if kind == "flip" else {}
    if method not in allowed:
        raise UsageError(
            "This method is none for this series", field="relaxation.method", found=f"{method} for {kind}",
            expected=", ".join(("auto", *allowed)),
        )  # fmt: skip
    return {"method": method if kind == "flip" else _SPELLED.get(method, method)}


def _keep(result: Result, maps: Mapping[str, Image], name: str) -> None:
    """Maps that the vocabulary has, their errors, and the reasons."""
    kept = {n for n, m in maps.items() if m.quantity == n}
    result.maps |= {n: m for n, m in maps.items() if n in kept or n.removesuffix("_se") in kept}
    result.maps[f"{name}_reason"] = maps["reason"].with_info(name=f"{name}_reason")


def _wants_ivim(image: Image, wanted: Any) -> bool:
    if wanted != "auto":
        return bool(wanted)
    b: NDArray[np.float64] = np.unique(np.asarray(image.axes[0].coordinates, float))
    low, high = int(((b > 0) & (b <= _LOW_B)).sum()), int((b > _LOW_B).sum())
    return low >= _FEWEST_LOW and high >= _FEWEST_HIGH


def _axis(image: Image) -> str:
    axis = image.axes[0]
    values = np.asarray(axis.coordinates, float)
    return ", ".join(f"{v:g}" for v in values) + f" {axis.unit}"
