"""The PET lens: which acquisitions it takes, its recipe, and the road from them to measurements."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.regions.labels import separate_bodies
from timelens.errors import DataError, MissingFieldError, Problem, TimelensError, UsageError
from timelens.lenses.pet.quantify import Measured, activity_rows, lean_ratios, measure_suv, measure_values
from timelens.lenses.pet.segmentation import RULES, Lesions, organs_on
from timelens.lenses.pet.uptake import Uptake, uptake
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Administration, Match, Protocol, Recipe, Result, Simulated, Step
from timelens.study.identity import KnownAgent, identify
from timelens.study.image import Image
from timelens.study.region import Region

__all__ = ["DEFAULTS", "PetLens"]

#: The recipe's steps, their parameters, and why.
DEFAULTS: dict[str, dict[str, Any]] = {
    "uptake": {"density_g_per_ml": 1.0, "activity": "auto"},
    "segment": {"rule": "auto"},
    "partial_volume": {"fwhm_mm": None, "fwhm_sd_mm": None},
    "animals": {},
    "frames": {"which": "auto"},
}
_KNOWN: dict[str, set[str]] = {
    "uptake": {"density_g_per_ml", "activity"},
    "segment": {"rule", "threshold", "fraction", "min_volume_ml", "drop_seeds_mm", "keep_seeds_mm", "reference"},
    "partial_volume": {"fwhm_mm", "fwhm_sd_mm", "background"},
    "frames": {"which"},
}
#: Rows of these regions are about normal tissue, not about the agent's target.
_REFERENCES = ("liver", "blood pool")
#: A refusal that names one of these says that the values are no activity concentrations at all.
_NO_CONCENTRATION = ("Units", "CorrectedImage", "DecayCorrection", "SUVType", "AttenuationCorrection")
#: What SUV needs beside the image, by the acquisition's field.
_NEEDED = {
    "administered_activity_bq": "injected activity in Bq, for SUV and %ID/g",
    "weight_g": "body weight in g, for SUV",
    "half_life_s": "half-life in s, for SUV and %ID/g",
    "administered_time": "date and time of injection, for SUV and %ID/g",
}


class PetLens:
    """Positron emission tomography: SUV, lesions, tumour burden."""

    name = "pet"

    def accepts(self, acquisitions: Sequence[Acquisition]) -> Match:
        """The first PET image that is corrected for attenuation, and a CT in the same frame of reference."""
        images = [a for a in acquisitions if isinstance(a.data, Image) and a.data.geometry is not None]
        pets = [a for a in images if a.modality == "pet"]
        if not pets:
            return Match(0.0)
        pet = min(pets, key=lambda a: (_uncorrected(a), a.id))
        roles = {"pet": pet}
        geometry = pet.image.geometry
        assert geometry is not None
        for other in images:
            place = other.image.geometry
            if other.modality == "ct" and place is not None and geometry.same_frame(place):
                roles.setdefault("ct", other)
        plain = [] if _uncorrected(pet) else [a for a in pets if _uncorrected(a)]
        return Match(1.0, roles, tuple(_missing(pet)), {a.id: _aside(a, pet) for a in plain})

    def recipe(self, match: Match, options: Mapping[str, Any]) -> Recipe:
        """The defaults with the user's options over them.

        Raises
        ------
        UsageError
            If a step, parameter or rule is unknown.
        """
        merged = _merged(options)
        if match.lost_regions and merged["segment"]["rule"] == "auto":
            merged["segment"]["rule"] = "given"  # lesions that somebody drew are not replaced by a rule's
        rule = merged["segment"]["rule"]
        whys = {
            "uptake": "QIBA vendor-neutral rules; the branch taken is in the SUV audit",
            "segment": RULES[rule],
            "partial_volume": "reported beside the plain value, where the resolution is stated",
            "animals": "each with its own dose and weight; none named: one subject in the bed",
            "frames": "auto: every frame of a series is measured",
        }
        return Recipe(self.name, tuple(Step(name, merged[name], whys[name]) for name in DEFAULTS))

    def quantify(
        self, inputs: Mapping[str, Acquisition], regions: Sequence[Region], options: Mapping[str, Any]
    ) -> Result:
        """Measure a PET acquisition; what cannot be measured is a problem by name, never a number.

        Parameters
        ----------
        inputs
            ``pet``, and ``ct`` for pictures.
        regions
            Lesions, liver, blood pool, organs, bodies, by role.
        options
            As :meth:`recipe` takes them.
        """
        pet, merged = inputs["pet"], _merged(options)
        agent = identify(pet)
        result = Result(problems=[*agent.problems, *_dates(pet)])
        if not merged["animals"]:
            try:
                found = uptake(pet, "bw", nuclide_half_life_s=agent.half_life_s)
            except DataError as error:
                return _without_suv(pet, agent, regions, error, result)
            self._subject(
                pet, agent, found, regions, merged, result, name="", stated=None, ct=_volume(inputs.get("ct"))
            )
            return result
        for name, stated, body in _animals(pet, regions, merged["animals"]):
            try:
                own = uptake(pet, "bw", stated=stated, nuclide_half_life_s=agent.half_life_s)
                self._subject(pet, agent, own, regions, merged, result, name=name, stated=stated, body=body)
            except DataError as error:
                result.problems.append(error.at(file=pet.where, field=f"animals: {name}").problem)
        return result

    def simulate(
        self, scene: Any, administrations: Sequence[Administration], protocol: Protocol, rng: np.random.Generator
    ) -> Simulated:
        """The scans of a scene, with their truth; see :func:`timelens.lenses.pet.simulate.simulate`."""
        from timelens.lenses.pet.simulate import simulate

        return simulate(scene, administrations, protocol, rng)

    def _subject(
        self,
        pet: Acquisition,
        agent: KnownAgent,
        found: Uptake,
        regions: Sequence[Region],
        options: Mapping[str, Any],
        result: Result,
        *,
        name: str,
        stated: Mapping[str, Any] | None,
        body: NDArray[np.bool_] | None = None,
        ct: Image | None = None,
    ) -> None:
        """One subject, or one animal of several, over the frames of the acquisition."""
        suv = found.image
        assert suv.geometry is not None
        organs = organs_on(regions, suv.geometry)
        if body is not None:
            outside = ~body if organs.exclude is None else organs.exclude | ~body
            organs = replace(
                organs, exclude=outside, liver=_within(organs.liver, body), blood=_within(organs.blood, body)
            )
            regions = [_inside(region, suv, body) for region in regions]
        facts = {**{k: getattr(pet, k) for k in ("weight_g", "height_mm", "sex")}, **(stated or {})}
        ratios = lean_ratios(facts["weight_g"], facts["height_mm"], facts["sex"]) if not _animal(pet, facts) else {}
        key = f"suv:{name}" if name else "suv"
        result.audit[key] = found.result.audit.as_dict()
        result.problems += [Problem(text, file=pet.where, severity="warning") for text in found.result.audit.warnings]
        frames = _frames(suv, options["frames"]["which"])
        for frame in frames:
            volume = suv if frame is None else suv.frame(frame)
            measured = measure_suv(
                volume,
                regions,
                organs,
                options,
                ratios=ratios,
                size=(facts["weight_g"], facts["height_mm"]) if ratios else (None, None),
                repeatable=_is_fdg(agent) and not _animal(pet, facts),
                ct=ct,
            )
            wanted = options["uptake"]["activity"]
            if wanted is True or (wanted == "auto" and _animal(pet, facts)):
                more, remarks = activity_rows(
                    pet,
                    frame,
                    measured.lesions,
                    options["uptake"],
                    stated=stated,
                    nuclide_half_life_s=agent.half_life_s,
                )
                measured.rows += more
                measured.problems += remarks
            _collect(result, pet, agent, volume, measured, frame=frame, name=name, suv=suv)
        result.maps[f"suv_{name}" if name else "suv"] = suv


def _volume(ct: Acquisition | None) -> Image | None:
    """A CT as a volume, for attenuation."""
    return ct.image if ct is not None and isinstance(ct.data, Image) and len(ct.image.shape) == 3 else None


def _collect(
    result: Result,
    pet: Acquisition,
    agent: KnownAgent,
    volume: Image,
    measured: Measured,
    *,
    frame: int | None,
    name: str,
    suv: Image,
) -> None:
    time = float("nan")
    if frame is not None and suv.frames is not None:
        time = float(suv.frames.mid[frame])
    context: dict[str, Any] = {
        "acquisition": pet.id,
        "modality": "pet",
        "agent": agent.name,
        "target": agent.target,
        "component": agent.component,
        "subject": name,
    }
    for row in measured.rows:
        own = context if row.region not in _REFERENCES else {**context, "target": "", "component": ""}
        row = row.with_context(**own)
        result.measurements.append(replace(row, time_s=time) if frame is not None else row)
    key = "lesions" + (f"_{name}" if name else "") + (f"_frame-{frame + 1}" if frame is not None else "")
    result.regions[key] = _as_region(key, measured.lesions, volume)
    for problem in measured.problems:
        if problem not in result.problems:
            result.problems.append(replace(problem, file=problem.file or pet.where))


def _as_region(key: str, lesions: Lesions, volume: Image) -> Region:
    labels = Image(lesions.labels, unit="1", geometry=volume.geometry, name=key)
    return Region(key, "labels", dict(lesions.names), labels, method=lesions.method, extra=dict(lesions.parameters))


def _without_suv(
    pet: Acquisition, agent: KnownAgent, regions: Sequence[Region], error: DataError, result: Result
) -> Result:
    """The refusal as a problem, and what can be measured all the same: plain values in the image's own unit."""
    problem = error.at(file=pet.where).problem
    if lacking := [p.field for p in _missing(pet)]:
        problem = replace(problem, mend=f"write {', '.join(lacking)} in study.yaml")
    result.problems.append(problem)
    if problem.field in _NO_CONCENTRATION:
        return result
    try:
        for frame in _frames(pet.image, "auto"):
            volume = pet.image if frame is None else pet.image.frame(frame)
            _collect(result, pet, agent, volume, measure_values(volume, regions), frame=frame, name="", suv=pet.image)
    except MissingFieldError:
        pass  # no region is given and no rule applies without SUV; the refusal above says why
    return result


def _frames(image: Image, which: Any) -> list[int | None]:
    """Frame numbers to measure; [None] for a volume."""
    if len(image.shape) == 3:
        if which not in ("auto", 1):
            raise UsageError("The image has one frame", field="frames.which", found=which, expected="auto")
        return [None]
    if len(image.shape) != 4 or image.axes[0].name != "t":
        raise DataError(
            "The PET lens measures volumes and series of frames", field="axes", found=[a.name for a in image.axes]
        )
    if which == "auto":
        return list(range(image.shape[0]))
    if isinstance(which, int) and 1 <= which <= image.shape[0]:
        return [which - 1]
    raise UsageError("No such frame", field="frames.which", found=which, expected=f"auto, or 1 to {image.shape[0]}")


def _animals(
    pet: Acquisition, regions: Sequence[Region], stated: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, Mapping[str, Any], NDArray[np.bool_]]]:
    """Name, values and voxels of each animal: by regions with the role body, else by finding separate bodies."""
    for name, own in stated.items():
        for needed in ("administered_activity_bq", "weight_g"):
            if own.get(needed) is None:
                raise MissingFieldError(
                    f"The animal {name} shares its scan with others and needs values of its own",
                    file=pet.where,
                    field=f"animals: {name}: {needed}",
                    found="nothing",
                    expected=needed,
                    mend=f"write {needed} of {name} under 'animals' in study.yaml",
                )
    image = pet.image
    assert image.geometry is not None
    organs = organs_on(regions, image.geometry)
    if organs.bodies is not None:
        numbers = {name: number for number, name in organs.body_names.items()}
        if unknown := set(stated) - set(numbers):
            raise UsageError(
                "An animal has no body region",
                field=", ".join(sorted(unknown)),
                found=", ".join(sorted(numbers)),
                expected="a region with the role body and the name of each animal",
            )
        return [(name, values, organs.bodies == numbers[name]) for name, values in stated.items()]
    volume = image.numpy() if len(image.shape) == 3 else image.numpy().mean(axis=0)
    labels = separate_bodies(volume > _body_threshold(volume), image.geometry.spacing, expected=len(stated))
    return [(name, values, labels == k) for k, (name, values) in enumerate(stated.items(), start=1)]


def _body_threshold(volume: NDArray[Any]) -> float:
    """A tenth of the 99th percentile: above the air's noise, below the tissue's background."""
    return float(np.percentile(volume, 99)) / 10


def _within(mask: NDArray[np.bool_] | None, body: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    return None if mask is None else mask & body


def _inside(region: Region, image: Image, body: NDArray[np.bool_]) -> Region:
    """The lesions of a region that lie in one body; other roles as they are."""
    numbers = [n for n in region.names if region.role(n) == "lesion"]
    if not numbers:
        return region
    assert image.geometry is not None
    labels = np.zeros(image.geometry.shape, np.int32)
    for number, mask in region.masks(image.geometry, numbers):
        labels[mask & body] = number
    here = {n: region.name(n) for n in numbers if (labels == n).any()}
    data = Image(labels, unit="1", geometry=image.geometry)
    return Region(region.id, "labels", here, data, method=region.method, roles=dict(region.roles))


def _merged(options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    if unknown := set(options) - set(DEFAULTS):
        raise UsageError(
            "The PET lens has no such step", field=", ".join(sorted(unknown)), expected=", ".join(DEFAULTS)
        )
    merged: dict[str, dict[str, Any]] = {}
    for step, defaults in DEFAULTS.items():
        given = dict(options.get(step) or {})
        if step in _KNOWN and (unknown := set(given) - _KNOWN[step]):
            raise UsageError(
                f"The step {step!r} has no such parameter",
                field=", ".join(sorted(unknown)),
                expected=", ".join(sorted(_KNOWN[step])),
            )
        merged[step] = {**defaults, **given}
    if merged["segment"]["rule"] not in RULES:
        raise UsageError(
            "There is no such segmentation rule",
            field="segment.rule",
            found=merged["segment"]["rule"],
            expected=", ".join(RULES),
        )
    _check_values(merged)
    return merged


def _check_values(merged: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse numbers that no rule can work with."""
    positive = {("segment", "threshold"), ("uptake", "density_g_per_ml")}
    positive |= {("partial_volume", "fwhm_mm"), ("partial_volume", "fwhm_sd_mm")}
    for step, name in sorted(positive | {("segment", "fraction"), ("segment", "min_volume_ml")}):
        value = merged[step].get(name)
        if value is None:
            continue
        if name == "fwhm_mm" and isinstance(value, list | tuple):
            value = min(value, default=0.0) if len(value) == 3 else 0.0
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        low = number and (value > 0 or (name == "min_volume_ml" and value == 0))
        if not low or (name == "fraction" and value >= 1):
            raise UsageError(
                f"The {name} of the step {step!r} cannot be used",
                field=f"{step}.{name}",
                found=value,
                expected="between 0 and 1" if name == "fraction" else "a positive number",
            )
    reference = merged["segment"].get("reference", "liver")
    if reference not in ("liver", "blood_pool"):
        raise UsageError(
            "There is no such reference", field="segment.reference", found=reference, expected="liver or blood_pool"
        )


def _missing(pet: Acquisition) -> list[Problem]:
    """What SUV needs and the file does not say, each with what it is needed for."""
    if pet.image.unit in ("g/mL", "cm2/mL"):
        return []
    known = None
    try:
        known = identify(pet).half_life_s
        uptake(pet, "bw", nuclide_half_life_s=known)
    except TimelensError:
        pass
    else:
        return []
    return [
        Problem(f"{name} is not known", file=pet.where, field=name, expected=why, mend=f"write {name} in study.yaml")
        for name, why in _NEEDED.items()
        if getattr(pet, name) is None and not (name == "half_life_s" and known is not None)
    ]


def _uncorrected(acquisition: Acquisition) -> bool:
    """Whether a DICOM series says that it is not corrected for attenuation."""
    corrected = acquisition.header[0].get("CorrectedImage") if acquisition.header else None
    return corrected is not None and "ATTN" not in corrected


def _dates(pet: Acquisition) -> list[Problem]:
    """A warning where the scanner's stored SUV is used although the dates contradict each other."""
    injected, scanned = pet.administered_time, pet.acquisition_time
    if pet.image.unit != "g/mL" or injected is None or scanned is None or injected <= scanned + timedelta(minutes=5):
        return []
    return [
        Problem(
            "The injection lies after the scan; the SUV that the scanner stored was used as it is",
            file=pet.where,
            field="RadiopharmaceuticalStartDateTime",
            found=f"injection {injected:%Y-%m-%d %H:%M}, scan {scanned:%Y-%m-%d %H:%M}",
            expected="an injection before the scan",
            mend="dates shifted by de-identification? nothing that needs dose and time can be had from this series",
            severity="warning",
        )
    ]


def _aside(uncorrected: Acquisition, corrected: Acquisition) -> Problem:
    return Problem(
        "A series without attenuation correction (NAC) was left out, because a corrected one is there",
        file=uncorrected.where,
        field="CorrectedImage",
        found=f"{uncorrected.description or uncorrected.id}, beside {corrected.description or corrected.id}",
        severity="warning",
    )


def _is_fdg(agent: KnownAgent) -> bool:
    return agent.record is not None and agent.record.id == "f18-fdg"


def _animal(pet: Acquisition, facts: Mapping[str, Any]) -> bool:
    """Whether the subject is an animal: by its species, else by a weight below 2 kg."""
    if pet.species:
        return pet.species.lower() not in ("human", "homo sapiens")
    return facts["weight_g"] is not None and facts["weight_g"] < 2000
