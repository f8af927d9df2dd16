"""Which input a dynamic scan has: arterial blood, else a blood region of the image, else a reference region.

Each is checked against the scan before it is used, and the road that was taken is kept for ``method`` and audit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import timelens
from timelens.engines.kinetics.delay import WithDelay
from timelens.engines.kinetics.frames import Frames
from timelens.engines.kinetics.tissue import IrreversibleTwoTissue
from timelens.errors import DataError, MissingFieldError, Problem, TimelensError
from timelens.knowledge.records import Kinetics
from timelens.lenses.pet.dynamic.blood import arterial_input
from timelens.lenses.pet.dynamic.checks import check_against_dose, check_against_image, check_decay, covering
from timelens.lenses.pet.dynamic.curves import Curves
from timelens.lenses.pet.dynamic.image_input import blood_recovery, image_input, shell_of
from timelens.lenses.pet.dynamic.models import AgentInput
from timelens.lenses.pet.dynamic.samples import BloodOptions, BloodSamples, samples_of
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Result
from timelens.study.identity import KnownAgent
from timelens.study.image import Image
from timelens.study.measurement import Measurement
from timelens.study.table import Table

__all__ = ["Given", "Scan", "delayed", "find_input", "input_table"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: A delay can be found where so many frames are no longer than so many s.
_SHORT_FRAMES, _SHORT_S = 4, 20.0
#: Search range of the delay, s.
_DELAYS = (-30.0, 60.0)
#: The delay is searched in the frames of the first so many s.
_DELAY_FROM_S = 1200.0
#: A delay whose standard error is larger, in s, says nothing.
_DELAY_ERROR_S = 2.0
#: Points of a curve in the table of the input.
_MOST_POINTS = 600


@dataclass(frozen=True, eq=False)
class Given:
    """The input that was found.

    Attributes
    ----------
    agent_input
        Curves for the models.
    used_regions
        Names of regions that are the input, and so get no fit.
    delay_s
        Applied to blood.
    rows
        What was measured on the way (the delay).
    """

    agent_input: AgentInput
    used_regions: tuple[str, ...] = ()
    delay_s: float = 0.0
    rows: list[Measurement] = field(default_factory=list)


@dataclass(eq=False)
class Scan:
    """A dynamic series as the steps of its analysis share it.

    Attributes
    ----------
    pet, agent, known
        The acquisition, who its agent is, and the agent's kinetic default.
    frames, image
        Times in s from the injection, and the series, in Bq/mL at injection where ``at_injection``.
    masks, roles
        By name of the region.
    result
        What is being filled.
    """

    pet: Acquisition
    agent: KnownAgent
    known: Kinetics | None
    frames: Frames
    image: Image
    masks: dict[str, Mask]
    roles: dict[str, str]
    result: Result = field(default_factory=Result)
    at_injection: bool = True

    def context(self, role: str) -> dict[str, str]:
        """What a row of a region with that role says of scan and agent; target and component are of lesions alone."""
        lesion = role == "lesion"
        return {
            "acquisition": self.pet.id,
            "modality": "pet",
            "agent": self.agent.name,
            "target": self.agent.target if lesion else "",
            "component": self.agent.component if lesion else "",
        }


def find_input(
    scan: Scan, curves: Curves, weights: Floats, blood: Sequence[Acquisition], options: Mapping[str, Any]
) -> tuple[Given, list[Problem]]:
    """The best input that is there, or the one that the options ask for.

    Raises
    ------
    MissingFieldError
        If there is none: the message says what was measured all the same.
    DataError
        If the input that is there contradicts the scan.
    """
    source = options["source"]
    records = [samples_of(table) for table in blood]
    active = [r for r in records if r.whole_blood is not None or r.plasma is not None]
    known, masks = scan.known, scan.masks
    pool = _pool(options["region"], scan.roles, masks)
    reference = _reference(options["reference"], masks, known)
    if source == "arterial" or (source == "auto" and active):
        return _arterial(scan, curves, weights, pool, records, options)
    if source == "image-derived" or (source == "auto" and pool is not None and _image_allowed(known, options, records)):
        return _from_image(scan, curves, pool, records, options)
    if source == "reference" or (source == "auto" and reference is not None):
        if reference is None:
            raise MissingFieldError(
                "The reference region is not there", field="input.reference",
                found=", ".join(masks) or "no region", expected=str(options["reference"] or "the name of a region"),
            )  # fmt: skip
        given = AgentInput(
            reference=curves.of(reference), source="reference", unit=curves.unit, how=(f"reference {reference!r}",)
        )
        return Given(given, (reference,)), []
    raise MissingFieldError(
        "This series is dynamic and has no input: curves and the SUV of a late window were measured, and no kinetics",
        field="input",
        found=_nothing(pool, known, records),
        expected="blood samples, a blood region (role 'blood pool'), or a reference region",
        mend="add a PET-BIDS blood table, or name a region as input.region or input.reference in study.yaml",
    )


def _nothing(pool: str | None, known: Kinetics | None, records: Sequence[BloodSamples]) -> str:
    if pool is None:
        return "no blood table, no blood region, no reference region"
    if known is not None and known.metabolites and not records:
        return f"the blood region {pool!r}, which shows labelled metabolites too (no parent fraction)"
    return f"the blood region {pool!r}, whose ratio of plasma to whole blood is not known"


def _image_allowed(known: Kinetics | None, options: Mapping[str, Any], records: Sequence[BloodSamples]) -> bool:
    """Whether whole blood of the image may become plasma without a guess."""
    ratio = options["plasma_ratio"] is not None or (known is not None and known.plasma_to_blood is not None)
    metabolised = known is None or known.metabolites is not False
    fraction = any(r.parent_fraction is not None for r in records) or options["parent_fraction"] == "none"
    return ratio and (fraction or not metabolised or options["plasma_ratio"] is not None)


def _pool(stated: Any, roles: Mapping[str, str], masks: Mapping[str, Mask]) -> str | None:
    """The blood region: the stated one, else the one whose role it is."""
    if stated is not None:
        if stated not in masks:
            raise MissingFieldError(
                "The blood region is not there", field="input.region", found=", ".join(masks) or "no region",
                expected=str(stated),
            )  # fmt: skip
        return str(stated)
    return next((name for name, role in roles.items() if role == "blood pool"), None)


def _reference(stated: Any, masks: Mapping[str, Mask], known: Kinetics | None) -> str | None:
    """The reference region: the stated one, else the first of the agent's that is there."""
    if stated is not None:
        return str(stated) if stated in masks else None
    plain = {name.lower().replace("_", " ").replace("-", " "): name for name in masks}
    wanted = () if known is None else known.reference
    return next((plain[name] for name in wanted if name in plain), None)


def _arterial(
    scan: Scan,
    curves: Curves,
    weights: Floats,
    pool: str | None,
    records: Sequence[BloodSamples],
    options: Mapping[str, Any],
) -> tuple[Given, list[Problem]]:
    pet, frames, agent, known = scan.pet, scan.frames, scan.agent, scan.known
    if not scan.at_injection:
        raise DataError(
            "Blood in Bq/mL needs tissue in Bq/mL at injection", file=pet.where, field="Units", found=scan.image.unit,
            expected="Bq/mL, decay-corrected to a known time",
            mend="complete times and half-life, or use a reference region",
        )  # fmt: skip
    half_life = agent.half_life_s or pet.half_life_s
    file = ", ".join(r.file for r in records)
    given, problems = arterial_input(
        records,
        options=BloodOptions(
            clock_offset_s=float(options["clock_offset_s"]),
            decay_corrected=options["decay_corrected"],
            dispersion_s=options["dispersion_s"],
            plasma_ratio=options["plasma_ratio"],
            parent_fraction=options["parent_fraction"],
        ),
        half_life_s=half_life,
        zero_s=float(pet.extra.get("injection_after_time_zero_s", 0.0)),
        metabolites=None if known is None else known.metabolites,
        known_ratio=None if known is None else known.plasma_to_blood,
    )
    try:
        assert given.plasma is not None
        plasma, held = covering(given.plasma, frames, file=file)
        whole = given.blood
        if whole is not None:
            whole = whole.held_until(float(frames.end[-1]))
        seen = whole if whole is not None else plasma
        check_against_dose(seen, dose_bq=pet.administered_activity_bq, weight_g=pet.weight_g, file=file)
        check_against_image(seen, frames, curves.bright, file=file)
        if pool is not None:
            check_against_image(seen, frames, curves.of(pool), pool=True, file=file)
            if half_life is not None:
                check_decay(seen, frames, curves.of(pool), half_life, file=file)
    except TimelensError as error:
        raise error.at(file=file) from None
    given = replace(given, plasma=plasma, blood=whole)
    given, delay, rows, remarks = delayed(given, frames, curves, options["delay_s"], pool)
    return Given(given, () if pool is None else (pool,), delay, rows), [*problems, *held, *remarks]


def delayed(
    given: AgentInput, frames: Frames, curves: Curves, wanted: Any, pool: str | None = None
) -> tuple[AgentInput, float, list[Measurement], list[Problem]]:
    """The input shifted to the tissue: by the stated delay, or by the one for which the regions' mean fits best."""
    assert given.plasma is not None
    rows: list[Measurement] = []
    problems: list[Problem] = []
    short = int((frames.duration[frames.start < 300] <= _SHORT_S).sum())
    # A gap would pull the mean down.
    whole = np.asarray(np.isfinite(curves.mean[frames.start < _DELAY_FROM_S]).all(axis=0))
    tissue = [k for k, name in enumerate(curves.names) if name != pool and whole[k]]
    if wanted == "fit" and (short < _SHORT_FRAMES or not tissue):
        why = "no short frames" if short < _SHORT_FRAMES else "no region without gaps"
        return replace(given, how=(*given.how, f"delay not fitted ({why})")), 0.0, rows, problems
    if wanted == "each":
        return replace(given, how=(*given.how, "delay fitted in each region and voxel")), 0.0, rows, problems
    if wanted != "fit":
        delay = float(wanted)
        how = f"delay {delay:g} s, stated"
    else:
        plasma, blood = given.plasma, given.blood
        voxels = np.maximum(curves.voxels[tissue], 1)
        mean = np.average(curves.mean[:, tissue], axis=1, weights=voxels)
        # All frames of the first minutes count the same: the rise of the bolus tells, which weights may leave out. One
        # rate and trapping meet any tissue there, and their residual sum is smooth in the delay.
        early = frames.select(frames.start < _DELAY_FROM_S)
        model = WithDelay(
            lambda d: IrreversibleTwoTissue(early, plasma.shifted(d), None if blood is None else blood.shifted(d)),
            bounds=_DELAYS,
        )
        with np.errstate(invalid="ignore"):  # an empty compartment has no variance, which is of no account here
            found = model.fit(mean[: len(early)])
        delay, error = float(found.parameters["delay"]), float(found.standard_errors["delay"])
        how = f"delay {delay:.1f} s, fitted to the regions' mean"
        if not error <= _DELAY_ERROR_S:
            problems.append(_no_delay(delay, error))
            return replace(given, how=(*given.how, "delay not determined, taken as 0 s")), 0.0, rows, problems
        rows.append(
            Measurement(
                "input_delay", delay, "s", region="all regions", uncertainty=error,
                uncertainty_kind="standard_error" if np.isfinite(error) else "none",
                method="2tcm_irreversible of the mean of the regions, first 20 min",
                method_version=timelens.__version__,
            )
        )  # fmt: skip
    shifted = replace(
        given,
        plasma=given.plasma.shifted(delay),
        blood=None if given.blood is None else given.blood.shifted(delay),
        how=(*given.how, how),
    )
    return shifted, delay, rows, problems


def _no_delay(delay: float, error: float) -> Problem:
    """That the delay was not used: on the edge of the search, or lost in the noise."""
    edge = delay in _DELAYS
    return Problem(
        "The delay between blood and tissue lies on the edge of what was searched, and was not used"
        if edge
        else "The delay between blood and tissue is not determined by these curves, and was not used",
        field="input.delay_s",
        found=f"{delay:.1f} s" + ("" if edge else f", standard error {error:.1f} s"),
        expected=f"within {_DELAYS[0]:g} to {_DELAYS[1]:g} s, standard error up to {_DELAY_ERROR_S:g} s",
        mend="state clock_offset_s where the clocks differ, or delay_s",
        severity="warning",
    )


def _from_image(
    scan: Scan, curves: Curves, pool: str | None, records: Sequence[BloodSamples], options: Mapping[str, Any]
) -> tuple[Given, list[Problem]]:
    image, frames, masks, known = scan.image, scan.frames, scan.masks, scan.known
    if pool is None:
        raise MissingFieldError(
            "An image-derived input needs a blood region", field="input.region", found="no region with the role",
            expected="a region of the aorta or left ventricle",
        )  # fmt: skip
    assert image.geometry is not None
    spacing = image.geometry.spacing
    recovery = blood_recovery(
        masks[pool], spacing, fwhm_mm=options["fwhm_mm"], vessel_diameter_mm=options["vessel_diameter_mm"]
    )
    background = np.zeros(len(frames))
    if recovery.value < 1:
        shell = shell_of(masks[pool], spacing)
        background = np.array([float(np.mean(np.asarray(image.array[t])[shell])) for t in range(len(frames))])
    ratio = options["plasma_ratio"]
    if ratio is None and known is not None:
        ratio = known.plasma_to_blood
    given, problems = image_input(
        frames,
        curves.of(pool),
        background,
        recovery,
        plasma_ratio=ratio,
        metabolites=None if known is None else known.metabolites,
        fractions=records,
        options=BloodOptions(parent_fraction=options["parent_fraction"]),
        region=pool,
    )
    if recovery.value == 1.0:
        problems.append(
            Problem(
                "The image-derived input is not corrected for partial volume",
                field="input.fwhm_mm",
                found="nothing",
                expected="the resolution in mm, and the vessel's diameter",
                mend="write fwhm_mm and vessel_diameter_mm in the step 'input'",
                severity="warning",
            )
        )
    return Given(given, (pool,)), problems


def input_table(given: AgentInput) -> Table:
    """The input as a table: curve, kind (``curve``, or ``sample`` as measured), time_s, value, unit."""
    import pandas as pd

    parts = []
    for name, curve in (("parent plasma", given.plasma), ("whole blood", given.blood)):
        if curve is not None:
            thin = max(1, curve.times.size // _MOST_POINTS)
            parts.append((name, "curve", curve.times[::thin], curve.values[::thin], given.unit))
    parts += [(name, "sample", times, values, unit) for name, (times, values, unit) in given.samples.items()]
    rows = pd.concat(
        [pd.DataFrame({"curve": n, "kind": k, "time_s": t, "value": v, "unit": u}) for n, k, t, v, u in parts],
        ignore_index=True,
    )
    return Table(rows, {"time_s": "s", "value": given.unit or "1"})
