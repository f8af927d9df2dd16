"""One PET volume, measured: uptake, lesions, rows per lesion and patient, ratios, partial volume, uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import timelens
from timelens.engines.regions.labels import Regions, find_regions
from timelens.engines.uptake import body_size, check_liver_suv
from timelens.errors import DataError, Problem
from timelens.knowledge import quantities
from timelens.lenses.pet import uncertainty
from timelens.lenses.pet.lesions import lesion_rows, lesion_table, patient_rows, scaled_rows
from timelens.lenses.pet.local_noise import noise_at_lesions
from timelens.lenses.pet.partial_volume import partial_volume_rows
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
    ct: Image | None = None,
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
    ct
        Hounsfield units in the frame of the volume, for the counts at each lesion; without it the body is water.
    """
    assert suv.geometry is not None
    array, spacing = suv.numpy(), suv.geometry.spacing
    sul_factor = ratios.get("lbm_janma", ratios.get("lbm_james"))
    lesions = find_lesions(suv, regions, organs, options["segment"], sul_factor=sul_factor)
    found = find_regions(lesions.labels, wanted=list(lesions.names))
    table = lesion_table(array, found, spacing)
    rows = lesion_rows(table, list(lesions.names.values()), unit="g/mL", method=lesions.method)
    result = Measured(rows, lesions, list(lesions.problems))
    local: dict[str, uncertainty.Noise] = {}
    if organs.liver is not None:
        result.noise = uncertainty.image_noise(array, organs.liver, spacing)
    if result.noise is not None and organs.liver is not None:
        local = noise_at_lesions(suv, organs.liver, result.noise, found, lesions.names, ct)
    rows = rows + _ratios(array, organs, table, lesions, result.problems)
    if local:
        boxes = {name: _values_of(array, found, k) for k, name in enumerate(lesions.names.values()) if found.counts[k]}
        errors = _volume_errors(array, lesions, found, spacing, local, sul_factor)
        rows = uncertainty.with_noise(rows, boxes, spacing, local, errors)
    stated = options.get("partial_volume", {})
    rows += partial_volume_rows(array, table["mean"], found, lesions, spacing, stated, local)
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


def _values_of(array: NDArray[Any], found: Regions, k: int) -> NDArray[np.float64]:
    """SUV of a lesion in its bounding box, 0 outside and where it is negative."""
    z, y, x = (slice(int(a), int(b)) for a, b in zip(found.lower[k], found.upper[k], strict=True))
    return np.maximum(array[z, y, x], 0.0) * found.mask(k)


def _volume_errors(
    array: NDArray[Any],
    lesions: Lesions,
    found: Regions,
    spacing: tuple[float, float, float],
    noise: Mapping[str, uncertainty.Noise],
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
    here = [noise.get(name, uncertainty.Noise(np.nan, np.zeros(3))) for name in lesions.names.values()]
    errors = uncertainty.volume_errors(
        array, lesions.labels, found, spacing, here, threshold=threshold, fraction=fraction
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
