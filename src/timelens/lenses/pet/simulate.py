"""PET forward: from a scene to the scans a PET scanner gives, with the truth beside them.

Image space: the scene is painted as voxel means, blurred by positron range and point spread, decays over its frames and
gets the noise of its counts. :func:`noisy_frames` is the one place that a projection and reconstruction would replace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.radioactivity.attenuation import mu_511kev
from timelens.engines.regions.labels import find_regions
from timelens.errors import DataError, MissingFieldError, UsageError
from timelens.knowledge import nuclides, quantities
from timelens.knowledge.records import Radionuclide
from timelens.lenses.pet.counts import (
    calibration_counts,
    line_counts,
    prompts_per_true,
    relative_noise,
    with_noise,
)
from timelens.lenses.pet.lesions import lesion_table
from timelens.lenses.pet.physics import activity_at, frame_weights, mean_decay
from timelens.lenses.pet.protocol import PetProtocol, Scan, pet_protocol
from timelens.lenses.pet.view import ScannerView
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Administration, Protocol, Simulated, Truth
from timelens.study.geometry import Geometry
from timelens.study.identity import identify
from timelens.study.image import Image
from timelens.study.region import Region, Role
from timelens.study.timing import FrameTiming
from timelens.tumor.expected import PEAK_RADIUS_MM, overlap_share
from timelens.tumor.paint import grid_around, hounsfield
from timelens.tumor.scene import Scene

__all__ = ["SEEN_COLUMNS", "lesion_regions", "noisy_frames", "simulate"]

Volume = NDArray[np.float32]
#: Quantity of a lesion's truth to the column of the table of lesions.
SEEN_COLUMNS = {
    "suv_mean": "mean",
    "suv_max": "max",
    "suv_peak": "peak_global_resampled",
    "mtv": "volume_ml",
    "tlg": "tlg",
}


@dataclass(frozen=True)
class _Tracer:
    activity_bq: float
    nuclide: Radionuclide
    agent: str

    @property
    def energy_kev(self) -> float:
        """Mean energy of the positrons."""
        found = [s for s in self.nuclide.spectra if s.kind == "beta+" and s.mean_kev]
        if not found or not self.nuclide.positron_fraction > 0:
            raise DataError(
                "The nuclide emits no positrons", field="radionuclide", found=self.nuclide.id, expected="18F, 89Zr ..."
            )
        return float(found[0].mean_kev or 0.0)


def simulate(
    scene: Scene,
    administrations: Sequence[Administration],
    protocol: Protocol | PetProtocol,
    rng: np.random.Generator,
    *,
    geometry: Geometry | None = None,
) -> Simulated:
    """Scan a scene.

    Parameters
    ----------
    scene
        Host, tumours and uptake.
    administrations
        One, with an activity.
    protocol
        See :class:`timelens.lenses.pet.protocol.PetProtocol`.
    rng
        Source of randomness.
    geometry
        Grid of the images along the axes of the body; by default one around the whole body.

    Returns
    -------
    Simulated
        One acquisition a scan in Bq/mL, decay-corrected to its start; the true outlines; the truth of each lesion,
        frame and quantity for these outlines, and for dynamic scans the rate constants that the scene knows (``seen``
        is NaN there).

    Raises
    ------
    UsageError, MissingFieldError, DataError
        If the administration, protocol or curves cannot make a scan.
    """
    plan = protocol if isinstance(protocol, PetProtocol) else pet_protocol(protocol)
    tracer, given = _tracer(administrations)
    energy = tracer.energy_kev
    grid = geometry or grid_around(scene, plan.voxel_mm)
    view = ScannerView(scene, grid, fwhm_mm=plan.fwhm_mm, mean_energy_kev=energy if plan.positron_range else None)
    region = lesion_regions(scene, grid)
    scans, clean, truth = [], [], []
    for number, scan in enumerate(plan.scans):
        weights = _Weights(scene, scan.timing, tracer.nuclide.half_life_s)
        frames = len(scan.frames_s)
        pictures = view.series([weights.shapes(k) for k in range(frames)], [weights.fields(k) for k in range(frames)])
        known: dict[str, Any] = {
            "name": "pet" if len(plan.scans) == 1 else f"pet-{number + 1}",
            "given": given,
            "scene": scene,
            "scan": scan,
            "tracer": tracer,
            "geometry": grid,
        }
        noisy = noisy_frames(pictures, scene, grid, scan.timing, tracer, plan, rng)
        scans.append(_acquisition(noisy, **known))
        clean.append(_acquisition(pictures, **known))
        for k, picture in enumerate(pictures):
            time = float(scan.timing.mid[k]) if frames > 1 else float("nan")
            rows = _truth(scene, region, picture, weights, k, grid)
            truth += [replace(row, time_s=time, acquisition=known["name"]) for row in rows]
        if frames > 1:
            truth += [replace(row, acquisition=known["name"]) for row in _kinetic_truth(scene)]
    return Simulated(tuple(scans), (region,), tuple(truth), tuple(clean))


class _Weights:
    """The uptake that each frame reports: of every shape, and of the field tumours in every voxel."""

    def __init__(self, scene: Scene, timing: FrameTiming, half_life_s: float) -> None:
        self.scene = scene
        span = (timing.start, timing.duration, half_life_s)
        curves = [scene.curve(shape) for shape in scene.shapes]
        self._shapes = np.stack([frame_weights(c.times_s, *span) @ c.suv for c in curves], axis=1)
        self._fields = [frame_weights(f.times_s, *span) for f in scene.fields]

    def shapes(self, frame: int) -> list[float]:
        return [float(v) for v in self._shapes[frame]]

    def fields(self, frame: int) -> list[Volume]:
        return [
            np.tensordot(w[frame], f.suv, axes=1).astype(np.float32)
            for w, f in zip(self._fields, self.scene.fields, strict=True)
        ]

    def of(self, name: str, frame: int) -> float:
        """Mean true uptake of a lesion."""
        for shape, value in zip(self.scene.shapes, self._shapes[frame], strict=True):
            if shape.name == name:
                return float(value)
        for f, w in zip(self.scene.fields, self._fields, strict=True):
            if f.name == name:
                return float(f.mean(w[frame : frame + 1])[0])
        raise UsageError("There is no such lesion", field="name", found=name)


def noisy_frames(
    suv: Volume,
    scene: Scene,
    geometry: Geometry,
    timing: FrameTiming,
    tracer: Any,
    plan: PetProtocol,
    rng: np.random.Generator,
) -> Volume:
    """Frames with the noise of their counts.

    Parameters
    ----------
    suv
        Noise-free frames (frames, z, y, x), g/mL.
    scene, geometry
        For attenuation and weight.
    timing
        Frames in s from the injection.
    tracer
        Activity and nuclide.
    plan
        Scanner and calibration.
    rng
        Source of randomness.
    """
    stated, cov = plan.calibration, plan.cov
    if cov == 0:
        return suv
    nuclide = tracer.nuclide
    per_suv = [
        tracer.activity_bq / scene.host.weight_g * mean_decay(float(a), float(d), nuclide.half_life_s)
        for a, d in zip(timing.start, timing.duration, strict=True)
    ]
    emitting = suv * np.array(per_suv)[:, None, None, None] * nuclide.positron_fraction
    counts = line_counts(emitting, mu_511kev(hounsfield(scene, geometry)), geometry.spacing)
    fluorine = nuclides.get("18F").positron_fraction
    reference = stated.concentration_bq_per_ml * fluorine
    volume_ml = np.pi * stated.diameter_mm**2 / 4 * stated.length_mm / 1e3
    total = emitting.reshape(len(emitting), -1).sum(axis=1, dtype=np.float64) * geometry.voxel_volume / 1e3
    result = np.empty_like(suv)
    for k, picture in enumerate(suv):
        fractions = (plan.scatter_fraction, plan.randoms_fraction)
        noise = relative_noise(
            counts[k] * float(timing.duration[k]),
            cov=cov,
            reference_counts=calibration_counts(stated.diameter_mm, reference) * stated.duration_s,
            prompts=float(prompts_per_true(*fractions, total[k] / (reference * volume_ml))),
            reference_prompts=float(prompts_per_true(*fractions, 1.0)),
        )
        result[k] = with_noise(picture, noise, geometry.spacing, plan.noise_fwhm_mm, rng)
    return result


def lesion_regions(scene: Scene, geometry: Geometry) -> Region:
    """True outlines: voxels whose centres lie in a lesion, or of which half belongs to a field tumour.

    A later lesion wins. Counting centres gives volumes that are right on average.
    """
    labels, names = np.zeros(geometry.shape, np.int32), {}
    for number, shape in enumerate(scene.host.lesions, start=1):
        names[number] = shape.name
        middle, reach = geometry.to_index(shape.centre), np.array(shape.semi_axes)[::-1] / np.array(geometry.spacing)
        first = np.clip(np.floor(middle - reach).astype(int), 0, geometry.shape)
        last = np.clip(np.ceil(middle + reach).astype(int) + 1, 0, geometry.shape)
        index = np.stack(np.meshgrid(*[np.arange(a, b) for a, b in zip(first, last, strict=True)], indexing="ij"), -1)
        box = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
        labels[box][shape.contains(geometry.to_mm(index))] = number
    for number, tumour in enumerate(scene.fields, start=len(names) + 1):
        names[number] = tumour.name
        labels[tumour.on(tumour.share, geometry) >= 0.5] = number
    roles: dict[int, Role] = dict.fromkeys(names, "lesion")
    return Region("lesions", "labels", names, Image(labels, unit="1", geometry=geometry), roles=roles)


def _tracer(administrations: Sequence[Administration]) -> tuple[_Tracer, Administration]:
    if len(administrations) != 1:
        raise UsageError(
            "A PET scan shows one agent", field="administrations", found=len(administrations), expected="1"
        )
    given = administrations[0]
    if given.activity_bq is None or not given.activity_bq > 0:
        raise MissingFieldError(
            "A PET scan needs activity", field="activity_bq", found=given.activity_bq, expected="Bq > 0"
        )
    nothing = Image(np.zeros((1, 1, 1), np.float32), unit="1", geometry=Geometry.from_spacing((1, 1, 1), (1, 1, 1)))
    known = identify(Acquisition("pet", "pet", nothing, agent=given.agent, radionuclide=given.radionuclide))
    if known.nuclide is None:
        raise MissingFieldError(
            "The agent does not say its nuclide",
            field="radionuclide",
            found=given.agent,
            expected="such as 18F",
            mend="give the administration's radionuclide",
        )
    return _Tracer(given.activity_bq, nuclides.get(known.nuclide), given.agent), given


def _acquisition(
    suv: Volume,
    *,
    name: str,
    given: Administration,
    scene: Scene,
    scan: Scan,
    tracer: _Tracer,
    geometry: Geometry,
) -> Acquisition:
    """Frames in g/mL as a scan in Bq/mL, decay-corrected to its start."""
    host, half_life = scene.host, tracer.nuclide.half_life_s
    start = given.time + timedelta(seconds=scan.start_s)
    factor = float(
        activity_at(
            1.0, injected_bq=tracer.activity_bq, weight_g=host.weight_g, elapsed_s=scan.start_s, half_life_s=half_life
        )
    )
    dynamic = len(scan.frames_s) > 1
    image = Image(
        (suv if dynamic else suv[0]) * np.float32(factor),
        unit="Bq/mL",
        geometry=geometry,
        quantity="activity_concentration",
        decay_reference=start,
        frames=scan.timing if dynamic else None,
    )
    return Acquisition(
        id=name,
        modality="pet",
        data=image,
        agent=given.agent,
        radionuclide=tracer.nuclide.id,
        half_life_s=half_life,
        administered_activity_bq=tracer.activity_bq,
        administered_time=given.time,
        series_time=start,
        acquisition_time=start,
        weight_g=host.weight_g,
        height_mm=host.height_mm,
        sex=host.sex,
        age_years=host.age_years,
        species=scene.species,
        description="PET simulated",
        extra={"ActualFrameDuration": 1000 * scan.frames_s[0], "AttenuationCorrection": "simulated"},
    )


def _truth(
    scene: Scene, region: Region, picture: Volume, weights: _Weights, frame: int, geometry: Geometry
) -> list[Truth]:
    """Every lesion within its true outline: of the object, and of the noise-free image."""
    assert region.labels is not None
    names = dict(region.names)
    if not names:
        return []
    table = lesion_table(picture, find_regions(region.labels.numpy(), wanted=list(names)), geometry.spacing)
    sizes = {s.name: (s.volume_ml, s.centre) for s in scene.host.lesions} | {
        f.name: (f.volume_ml, f.centre) for f in scene.fields
    }
    peaks = _highest(scene, weights, frame)
    rows = []
    for k, name in enumerate(names.values()):
        volume, centre = sizes[name]
        mean = weights.of(name, frame)
        highest, peak = peaks[name]
        ideal = {"suv_mean": mean, "suv_max": highest, "suv_peak": peak, "mtv": volume, "tlg": mean * volume}
        for quantity, column in SEEN_COLUMNS.items():
            unit = quantities.get(quantity).unit
            rows.append(Truth(quantity, unit, name, float(ideal[quantity]), float(table[column][k]), centre))
    return rows


def _highest(scene: Scene, weights: _Weights, frame: int) -> dict[str, tuple[float, float]]:
    """Highest uptake and the mean of the hottest mL; the latter NaN where no closed form says it."""
    found = {}
    for shape in scene.host.lesions:
        value = weights.of(shape.name, frame)
        peak = float("nan")
        if min(shape.semi_axes) >= PEAK_RADIUS_MM:
            peak = value
        elif len(set(shape.semi_axes)) == 1 and not shape.cylinder:
            organs = weights.shapes(frame)
            point = np.array(shape.centre)
            around = [v for o, v in zip(scene.host.organs, organs, strict=False) if o.contains(point)]
            background = around[-1] if around else 0.0
            peak = background + (value - background) * overlap_share(shape.semi_axes[0], PEAK_RADIUS_MM, 0.0)
        found[shape.name] = (value, peak)
    for tumour, values in zip(scene.fields, weights.fields(frame), strict=True):
        found[tumour.name] = (float(values[tumour.share > 0.5].max()), float("nan"))
    return found


def _kinetic_truth(scene: Scene) -> list[Truth]:
    """Rate constants of lesions where the scene knows them; what a noise-free scan shows depends on the analysis."""
    centres = {s.name: s.centre for s in scene.host.lesions} | {f.name: f.centre for f in scene.fields}
    return [
        Truth(quantity, quantities.get(quantity).unit, name, value, float("nan"), centre)
        for name, centre in centres.items()
        for quantity, value in scene.kinetics.get(name, {}).items()
    ]
