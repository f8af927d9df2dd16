"""One PET volume, measured: uptake, lesions, rows per lesion and patient, ratios, partial volume, uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import timelens
from timelens.engines.regions.labels import Regions, find_regions
from timelens.engines.regions.partial_volume import correct_mean, mask_recovery
from timelens.engines.uptake import body_size, check_liver_suv
from timelens.errors import DataError, Problem
from timelens.knowledge import quantities
from timelens.lenses.pet import uncertainty
from timelens.lenses.pet.lesions import lesion_rows, lesion_table, patient_rows, scaled_rows
from timelens.lenses.pet.segmentation import Lesions, Organs, find_lesions
from timelens.lenses.pet.uptake import uptake
from timelens.study.acquisition import Acquisition
from timelens.study.image import Image
from timelens.study.measurement import Measurement
from timelens.study.region import Region

__all__ = ["Measured", "activity_rows", "lean_ratios", "measure_suv", "measure_values"]

_SUL = {"suv_max": "sul_max", "suv_mean": "sul_mean", "suv_peak": "sul_peak"}
_BSA = {"suv_max": "suv_bsa_max", "suv_mean": "suv_bsa_mean"}
_LEAN_NAMES = {
    "lbm_james": "lean body mass James 1976",
    "lbm_janma": "lean body mass Janmahasatian 2005",
    "bsa": "body surface DuBois 1916",
}
#: Voxels around a lesion within this distance, and not in any lesion, are its background.
_SHELL_MM = (3.0, 10.0)


@dataclass
class Measured:
    """Rows, lesions and remarks of one volume."""

    rows: list[Measurement]
    lesions: Lesions
    problems: list[Problem] = field(default_factory=list)
    noise: uncertainty.Noise | None = None


def lean_ratios(weight_g: float | None, height_mm: float | None, sex: str | None) -> dict[str, float]:
    """Other body sizes over body weight, as far as height and sex are known: by name of the formula."""
    if weight_g is None or height_mm is None:
        return {}
    ratios = {}
    for kind in _LEAN_NAMES:
        try:
            size = body_size(kind, weight_kg=weight_g / 1e3, height_m=height_mm / 1e3, sex=sex)  # type: ignore[arg-type]
        except DataError:
            continue
        ratios[kind] = size / weight_g
    return ratios


def measure_suv(
    suv: Image,
    regions: Sequence[Region],
    organs: Organs,
    options: Mapping[str, Any],
    *,
    ratios: Mapping[str, float],
    size: tuple[float | None, float | None] = (None, None),
    repeatable: bool = False,
) -> Measured:
    """All rows of one SUV volume.

    Parameters
    ----------
    suv
        Volume (z, y, x) in g/mL.
    regions, organs
        Given regions, and those that are not lesions on the grid of the volume.
    options
        ``segment`` and ``partial_volume`` as the recipe holds them.
    ratios
        From :func:`lean_ratios`.
    size
        Weight in g and height in mm, for SDmax.
    repeatable
        Whether the published repeatability of 18F-FDG in people applies.
    """
    assert suv.geometry is not None
    array, spacing = suv.numpy(), suv.geometry.spacing
    sul_factor = ratios.get("lbm_janma", ratios.get("lbm_james"))
    lesions = find_lesions(suv, regions, organs, options["segment"], sul_factor=sul_factor)
    found = find_regions(lesions.labels, wanted=list(lesions.names))
    table = lesion_table(array, found, spacing)
    rows = lesion_rows(table, list(lesions.names.values()), unit="g/mL", method=lesions.method)
    result = Measured(rows, lesions, list(lesions.problems))
    if organs.liver is not None:
        result.noise = uncertainty.image_noise(array, organs.liver, spacing)
    rows = rows + _ratios(array, organs, table, lesions, result.problems)
    rows += _partial_volume(array, table, found, lesions, spacing, options.get("partial_volume", {}), result.problems)
    if result.noise is not None:
        boxes = {name: found.mask(k) for k, name in enumerate(lesions.names.values()) if found.counts[k]}
        errors = _volume_errors(array, lesions, found, spacing, result.noise, sul_factor)
        rows = uncertainty.with_noise(rows, boxes, spacing, result.noise, errors)
    centroids = suv.geometry.to_mm(table["centroid_index"])
    rows += patient_rows(table, centroids, method=lesions.method, weight_g=size[0], height_mm=size[1])
    rows = _total_errors(rows)
    if repeatable:
        rows = uncertainty.with_repeatability(rows)
    scaled = [
        row
        for kind, ratio in ratios.items()
        for row in scaled_rows(rows, ratio, _BSA if kind == "bsa" else _SUL, _LEAN_NAMES[kind])
    ]
    result.rows = [*rows, *scaled]
    return result


def _volume_errors(
    array: NDArray[Any],
    lesions: Lesions,
    found: Regions,
    spacing: tuple[float, float, float],
    noise: uncertainty.Noise,
    sul_factor: float | None,
) -> dict[str, tuple[float, float]]:
    """Errors and biases of the lesions' volumes where a threshold made them; a given mask has no such error."""
    threshold, fraction = lesions.parameters.get("threshold"), lesions.parameters.get("fraction")
    if fraction is not None:
        threshold = None
    elif threshold is None:
        return {}
    elif lesions.parameters.get("reference"):  # PERCIST speaks of SUL
        threshold = threshold / (sul_factor or np.nan)
    errors = uncertainty.volume_errors(
        array, lesions.labels, found, spacing, noise, threshold=threshold, fraction=fraction
    )
    names = enumerate(lesions.names.values())
    return {name: (float(errors[k, 0]), float(errors[k, 1])) for k, name in names if np.isfinite(errors[k, 0])}


def _total_errors(rows: Sequence[Measurement]) -> list[Measurement]:
    """The patient's TMTV and TLG with the errors of the lesions, added in squares: distant noise is independent."""
    of_lesion = {"tmtv": "mtv", "tlg": "tlg"}
    errors = {
        total: [r.uncertainty for r in rows if r.quantity == part and r.uncertainty_kind == "standard_error"]
        for total, part in of_lesion.items()
    }
    result = []
    for row in rows:
        own = errors.get(row.quantity, []) if row.region == "all lesions" else []
        if own and len(own) == row.n:
            error = float(np.sqrt(np.sum(np.square(own))))
            row = replace(
                row,
                uncertainty=error,
                uncertainty_kind="standard_error",
                lower=row.value - 1.959964 * error,
                upper=row.value + 1.959964 * error,
                level=0.95,
                flags="uncertainty: image noise alone",
            )
        result.append(row)
    return result


def _ratios(
    array: NDArray[Any],
    organs: Organs,
    table: Mapping[str, NDArray[Any]],
    lesions: Lesions,
    problems: list[Problem],
) -> list[Measurement]:
    """Tumour-to-liver and tumour-to-blood ratios, and the references' own means."""
    rows = []
    for mask, region, quantity in (
        (organs.liver, "liver", "tumor_to_liver_ratio"),
        (organs.blood, "blood pool", "tumor_to_blood_ratio"),
    ):
        if mask is None or not mask.any():
            continue
        values = array[mask]
        mean = float(values.mean(dtype=np.float64))
        rows.append(_row("suv_mean", mean, region, "given reference", n=len(values)))
        rows.append(_row("suv_sd", float(values.std(dtype=np.float64)), region, "given reference", n=len(values)))
        if region == "liver":
            problems += check_liver_suv(mean)
        for k, name in enumerate(lesions.names.values()):
            value = float(table["mean"][k]) / mean if mean > 0 else np.nan
            reason = "" if np.isfinite(value) else "the lesion or the reference has no positive mean"
            rows.append(_row(quantity, value, name, lesions.method, n=int(table["voxel_count"][k]), reason=reason))
    return rows


def _partial_volume(
    array: NDArray[Any],
    table: Mapping[str, NDArray[Any]],
    found: Regions,
    lesions: Lesions,
    spacing: tuple[float, float, float],
    options: Mapping[str, Any],
    problems: list[Problem],
) -> list[Measurement]:
    """Recovery coefficient and corrected mean of each lesion, beside the plain values; needs the resolution."""
    fwhm = options.get("fwhm_mm")
    if fwhm is None:
        return []
    rows = []
    for k, name in enumerate(lesions.names.values()):
        if not found.counts[k]:
            continue
        recovery = mask_recovery(found.mask(k), spacing, fwhm, outline="smooth")
        background = options.get("background")
        if background is None:
            background = _background(array, lesions.labels, found, k, spacing)
        corrected = float(correct_mean(float(table["mean"][k]), recovery, background))
        method = f"{lesions.method}; FWHM {np.round(fwhm, 2)} mm, background {background:.3g} g/mL"
        count = int(found.counts[k])
        rows.append(_row("recovery_coefficient", recovery, name, method, n=count))
        reason = "" if np.isfinite(corrected) else "the region recovers too little of its contrast to be corrected"
        rows.append(_row("suv_mean_pvc", corrected, name, method, n=count, reason=reason))
    return rows


def _background(
    array: NDArray[Any], labels: NDArray[Any], found: Regions, k: int, spacing: tuple[float, float, float]
) -> float:
    """Median of a shell around the lesion that touches no lesion; NaN where there is no such shell."""
    from scipy.ndimage import distance_transform_edt

    edges = np.asarray(spacing)
    margin = np.ceil(_SHELL_MM[1] / edges).astype(int) + 1
    lower = np.maximum(found.lower[k] - margin, 0)
    upper = np.minimum(found.upper[k] + margin, labels.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(lower, upper, strict=True))
    around = labels[box]
    distance = distance_transform_edt(around != found.labels[k], sampling=edges)
    shell = (distance > _SHELL_MM[0]) & (distance <= _SHELL_MM[1]) & (around == 0)
    return float(np.median(array[box][shell])) if shell.any() else float("nan")


def measure_values(image: Image, regions: Sequence[Region]) -> Measured:
    """Plain values in the image's unit of the given regions, where SUV cannot be had."""
    assert image.geometry is not None
    lesions = find_lesions(image, regions, Organs(), {"rule": "given"})
    found = find_regions(lesions.labels, wanted=list(lesions.names))
    table = lesion_table(image.numpy(), found, image.geometry.spacing)
    rows = lesion_rows(table, list(lesions.names.values()), unit=image.unit, method="given", suv=False)
    return Measured(rows, lesions, list(lesions.problems))


def activity_rows(
    acquisition: Acquisition,
    frame: int | None,
    lesions: Lesions,
    options: Mapping[str, Any],
    *,
    stated: Mapping[str, Any] | None = None,
    nuclide_half_life_s: float | None = None,
) -> tuple[list[Measurement], list[Problem]]:
    """%ID/g, %ID/mL and Bq/mL at injection and at scan: means over the lesions."""
    rows: list[Measurement] = []
    problems: list[Problem] = []
    density = float(options.get("density_g_per_ml", 1.0))
    found = find_regions(lesions.labels, wanted=list(lesions.names))
    for kind, quantity, how in (
        ("pct_id_g", "id_per_gram", f"density {density:g} g/mL"),
        ("pct_id_ml", "id_per_ml", ""),
        ("bqml_injection", "activity_mean_injection", ""),
        ("bqml_scan", "activity_mean_scan", ""),
    ):
        try:
            image = uptake(
                acquisition,
                kind,  # type: ignore[arg-type]
                stated=stated,
                density_g_per_ml=density,
                nuclide_half_life_s=nuclide_half_life_s,
            ).image
        except DataError as error:
            problems.append(replace(error.problem, severity="warning"))
            continue
        if frame is not None:
            image = image.frame(frame)
        array = image.numpy().reshape(-1)
        method = "; ".join(p for p in (lesions.method, how) if p)
        for k, name in enumerate(lesions.names.values()):
            values = array[found.indices(k)]
            value = float(values.mean(dtype=np.float64)) if len(values) else np.nan
            reason = "" if np.isfinite(value) else "the region has no finite voxel"
            rows.append(_row(quantity, value, name, method, n=len(values), reason=reason))
    return rows, problems


def _row(quantity: str, value: float, region: str, method: str, *, n: int, reason: str = "") -> Measurement:
    return Measurement(
        quantity=quantity,
        value=value,
        unit=quantities.get(quantity).unit,
        region=region,
        n=n,
        method=method,
        method_version=timelens.__version__,
        reason=reason,
    )
