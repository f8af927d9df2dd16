"""Digital patients through a scanner: resolution, noise, and activity at the start of the scan."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
from scipy.ndimage import gaussian_filter

from timelens.engines.radioactivity import decay_factor
from timelens.engines.regions.partial_volume import FWHM_PER_SIGMA
from timelens.errors import GeometryError
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.tumor.digital_patient import DigitalPatient
from timelens.tumor.paint import suv_image

__all__ = ["activity_image", "add_noise", "scanner_image", "scanner_view"]

#: The blur of a lesion is followed this many resolutions (FWHM) beyond its edge.
_REACH = 2.0


def scanner_view(image: Image, fwhm_mm: float) -> Image:
    """What a noise-free scanner of that resolution shows: the voxel means, blurred by a Gaussian."""
    geometry = _volume(image)
    sigma = fwhm_mm / FWHM_PER_SIGMA / np.array(geometry.spacing)
    blurred = gaussian_filter(image.numpy().astype(np.float32), sigma, mode="nearest", truncate=5.0)
    return Image(blurred, unit=image.unit, geometry=geometry, quantity=image.quantity)


def scanner_image(patient: DigitalPatient, geometry: Geometry, *, fwhm_mm: float, finer: int = 4) -> Image:
    """What a noise-free scanner of that resolution shows of a patient, in g/mL.

    Blurring voxel means folds the detail that was lost between the voxels back into the image; so the surroundings of
    each lesion are painted and blurred on a finer grid, and only then averaged over the voxels.

    Parameters
    ----------
    patient, geometry
        The patient, and a grid along the axes of the body.
    fwhm_mm
        Resolution.
    finer
        Fine voxels along each edge of a voxel around lesions.
    """
    whole = scanner_view(suv_image(patient, geometry), fwhm_mm)
    values = whole.numpy()
    spacing = np.array(geometry.spacing)
    margin = np.ceil(_REACH * fwhm_mm / spacing).astype(int)
    for shape in patient.lesions:
        middle = geometry.to_index(shape.centre)
        reach = np.array(shape.semi_axes)[::-1] / spacing + margin
        first = np.maximum(np.floor(middle - reach), 0).astype(int)
        last = np.minimum(np.ceil(middle + reach) + 1, geometry.shape).astype(int)
        if (first >= last).any():
            continue
        affine = geometry.affine.copy()
        affine[:3, :3] /= finer
        affine[:3, 3] = geometry.to_mm(first - margin - 0.5 + 0.5 / finer)
        n = last - first + 2 * margin
        fine = Geometry((int(n[0]) * finer, int(n[1]) * finer, int(n[2]) * finer), affine, geometry.frame)
        blurred = scanner_view(suv_image(patient, fine), fwhm_mm).numpy()
        means = blurred.reshape(n[0], finer, n[1], finer, n[2], finer).mean(axis=(1, 3, 5))
        inner = means[tuple(slice(m, -m) for m in margin)]
        values[tuple(slice(a, b) for a, b in zip(first, last, strict=True))] = inner
    return whole


def add_noise(
    image: Image, *, variation: float, reference: float, correlation_fwhm_mm: float, rng: np.random.Generator
) -> Image:
    """The image with noise whose variance grows with the uptake, correlated like that of a reconstruction.

    Parameters
    ----------
    image
        Noise-free.
    variation
        Coefficient of variation in tissue of the uptake ``reference`` (0.1 is usual in the liver).
    reference
        In the unit of the image.
    correlation_fwhm_mm
        White noise is smoothed by a Gaussian of that width before it is scaled.
    rng
        Source of randomness.
    """
    geometry = _volume(image)
    sigma = correlation_fwhm_mm / FWHM_PER_SIGMA / np.array(geometry.spacing)
    noise = gaussian_filter(rng.standard_normal(geometry.shape, dtype=np.float32), sigma, mode="wrap", truncate=5.0)
    values = image.numpy()
    local = variation * np.sqrt(np.maximum(values, 0) * reference) / float(noise.std())
    noisy = np.maximum(values + local * noise, 0).astype(np.float32)
    return Image(noisy, unit=image.unit, geometry=geometry, quantity=image.quantity)


def activity_image(
    suv: Image,
    *,
    weight_g: float,
    injected_bq: float,
    half_life_s: float,
    injected: datetime,
    scan_start: datetime,
) -> Image:
    """Activity concentration in Bq/mL, decay-corrected to the start of the scan.

    Parameters
    ----------
    suv
        Uptake by body weight, in g/mL.
    weight_g, injected_bq, half_life_s
        Body weight, activity at ``injected``, half-life in seconds.
    injected, scan_start
        When the activity was injected, and to when values refer.
    """
    left = injected_bq * float(decay_factor((scan_start - injected) / timedelta(seconds=1), half_life_s))
    return suv.scaled(
        left / weight_g, "Bq/g", unit="Bq/mL", quantity="activity_concentration", decay_reference=scan_start
    )


def _volume(image: Image) -> Geometry:
    if image.geometry is None or len(image.shape) != 3:
        raise GeometryError("A scanner looks at a volume", field="axes", found=[a.name for a in image.axes])
    return image.geometry
