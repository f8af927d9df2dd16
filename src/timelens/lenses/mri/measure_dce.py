"""A dynamic contrast-enhanced series measured: concentration, input, fits of regions, maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens import units
from timelens.engines.kinetics import Frames, InputFunction, WithDelay
from timelens.engines.mr_signal import gradient_echo_concentration
from timelens.engines.mr_signal.concentration import explain_signal
from timelens.engines.perfusion import bolus_arrival, plasma_from_blood, population_input
from timelens.errors import DataError, MissingFieldError, Problem
from timelens.knowledge.relaxivity import relaxivity
from timelens.lenses.mri.arterial import measured_input
from timelens.lenses.mri.dce import concentration_series, map_exchange, model_class
from timelens.lenses.mri.matching import gathered
from timelens.lenses.mri.regional import curves_table, fit_rows, fits_table, left_out, region_masks, tissue_mask
from timelens.lenses.mri.relaxometry import map_relaxation
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Result
from timelens.study.image import Image
from timelens.study.mr import mr_settings
from timelens.study.region import Region
from timelens.study.table import Table

__all__ = ["as_ratio", "baseline_frames", "blood_mask", "mean_curves", "measure_dce", "setting", "t1_before"]

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Steps = Mapping[str, Mapping[str, Any]]

_POPULATION = {"mouse": "mcgrath_mouse", "human": "parker"}
#: Maps of engine parameters that have no row of their own are not kept.
_BLOOD = "blood pool"
_FEWEST_FRAMES = 8
#: Groups of voxels that are left out in turn for standard errors.
GROUPS = 20
#: B1 is a ratio: a map whose median lies outside is in another unit.
_B1_RANGE = (0.3, 2.0)


@dataclass(frozen=True)
class _Given:
    """The plasma input, how it came about, and its quality."""

    plasma: InputFunction
    source: str
    facts: dict[str, Any]
    artery: Mask | None = None
    curve: Callable[[Mask], Floats] | None = None

    @property
    def flags(self) -> str:
        """What the standard errors leave out."""
        return "" if self.artery is not None else "the error of the published input is not in the standard error"

    def on(self, series: Image, artery: Mask) -> InputFunction:
        """The input of other arterial voxels."""
        assert self.curve is not None and series.frames is not None
        return _plasma(self.curve(artery), series, float(self.facts["haematocrit"]))


def _plasma(blood: Floats, series: Image, haematocrit: float) -> InputFunction:
    """Arterial plasma from concentration in blood, held to the end of the series."""
    assert series.frames is not None
    plasma = InputFunction(series.frames.mid, plasma_from_blood(blood, haematocrit), "plasma", "mmol/L")
    return plasma.held_until(float(series.frames.end[-1]))


def measure_dce(inputs: Mapping[str, Acquisition], regions: Sequence[Region], steps: Steps) -> Result:
    """K^trans and its kin of each region and voxel.

    Parameters
    ----------
    inputs
        ``dce``; ``t1_map``, or ``flip`` (and ``flip_2`` ...); ``b1_map``.
    regions
        Lesions and organs get rows; a region of blood gives the input.
    steps
        As :func:`timelens.lenses.mri.recipe.merged_steps` gives them.
    """
    scan = inputs["dce"]
    image = scan.image
    assert image.geometry is not None
    if len(image.shape) != 4 or image.axes[0].name != "t" or image.frames is None:
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
    r1, why = _relaxivity(scan, steps)
    t1, b1, source = t1_before(scan, inputs, steps)
    signal = image.numpy().astype(np.float64)
    tissue = tissue_mask(signal.mean(axis=0))
    masks, roles = region_masks(image.geometry, regions, tissue)
    blood = blood_mask(masks, roles)
    times = image.frames.mid
    first = blood if blood is not None else np.any(list(masks.values()), axis=0)
    baseline = baseline_frames(times, signal[:, first].mean(axis=1), steps, scan)
    found = concentration_series(image, t1, tr=tr, flip=flip, relaxivity=r1, baseline=slice(0, baseline), b1=b1)
    series = found.concentration
    curves, spread, counts, names = mean_curves(series, masks, scan, result)
    result.tables["tacs"] = curves_table(curves, names, spread, image.frames, "mmol/L")
    seconds = units.conversion_factor(t1.unit, "s")
    before = t1.resample_to(image.geometry).numpy().astype(np.float64) * seconds
    scale = np.ones_like(before) if b1 is None else b1.resample_to(image.geometry).numpy().astype(np.float64)

    def arterial(mask: Mask) -> Floats:
        """Concentration of the mean signal: it is convex in the signal, and noise would raise a mean of its own."""
        known = mask & np.isfinite(before)
        one = gradient_echo_concentration(
            signal[:, known].mean(axis=1)[:, None], before[known].mean(keepdims=True), tr=tr, flip=flip, relaxivity=r1,
            baseline=slice(0, baseline), b1=scale[known].mean(keepdims=True),
        )  # fmt: skip
        return one.values[:, 0]

    given = _input(series, scan, masks, blood, curves[:, 0], steps, result, arterial)
    result.tables["input"] = _input_table(given.plasma)
    measured = [n for n in names if roles[n] not in (_BLOOD, "reference")]
    model = steps["exchange"]["model"]
    delay = steps["exchange"]["delay_s"]
    if measured:
        chosen = curves[:, [names.index(n) for n in measured]]
        frames = Frames.instants(times)
        make = model_class(model)
        fitted = (
            make(frames, given.plasma) if delay is None
            else WithDelay(lambda shift: make(frames, given.plasma.shifted(shift)), bounds=tuple(delay))
        )  # fmt: skip
        fit = fitted.fit(chosen)
        apart = _without_groups(series, [masks[n] for n in measured], given, fitted, make, frames, delay)
        method = f"{model}; {given.source}; T1 from {source}"
        result.measurements += [
            replace(row, agent=str(why["agent"]))
            for row in fit_rows(fit, measured, counts, method=method, flags=given.flags, apart=apart)
        ]
        result.tables["fits"] = fits_table(fit, measured, model, chosen, image.frames, "mmol/L")
    if steps["exchange"]["maps"]:
        made = map_exchange(
            series, given.plasma, model=model, delay=None if delay is None else tuple(delay), mask=tissue
        )
        kept = {n for n, m in made.items() if m.quantity == n}
        result.maps |= {n: m for n, m in made.items() if n in kept or n.removesuffix("_se") in kept}
        result.maps["exchange_reason"] = made["reason"].with_info(name="exchange_reason")
    result.audit["dce"] = {
        "tr_s": tr, "flip_deg": flip, **why, "t1": source, "baseline_frames": baseline, "input": given.source,
        **given.facts, "model": model, "voxels_without_concentration": _lost(found.reason, tissue),
    }  # fmt: skip
    return result


def _without_groups(
    series: Image, regions: Sequence[Mask], given: _Given, fitted: Any, make: Any, frames: Frames, delay: Any
) -> list[Any]:
    """The fit again and again without a group of voxels of each region and of the artery."""
    data = series.numpy()
    complete = np.isfinite(data).all(axis=0)
    masks = [mask & complete for mask in regions]
    if given.artery is not None:
        masks.append(given.artery & complete)
    found = []
    for rest in left_out(masks, GROUPS):
        curves = np.stack([data[:, m].mean(axis=1, dtype=np.float64) for m in rest[: len(regions)]], axis=1)
        model = fitted
        if given.artery is not None:
            plasma = given.on(series, rest[-1])
            model = (
                make(frames, plasma)
                if delay is None
                else WithDelay(lambda shift, p=plasma: make(frames, p.shifted(shift)), bounds=tuple(delay))
            )
        found.append(model.fit(curves))
    return found


def setting(scan: Acquisition, steps: Steps, name: str) -> float:
    """A setting as the user states it, else as the files do.

    Raises
    ------
    MissingFieldError
        If nobody states it.
    """
    option, factor = {"tr_s": ("tr_ms", 1e-3), "te_s": ("te_ms", 1e-3), "flip_deg": ("flip_deg", 1.0)}[name]
    stated = steps["signal"][option]
    if stated is not None:
        return float(stated) * factor
    mend = f"write it into the sidecar, or 'mri: {{signal: {{{option}: ...}}}}' in study.yaml"
    return float(mr_settings(scan).require(name, scan, purpose="This series", mend=mend))


def _relaxivity(scan: Acquisition, steps: Steps) -> tuple[float, dict[str, Any]]:
    settings, step = mr_settings(scan), steps["signal"]
    agent = step["agent"] or scan.agent or settings.agent
    if step["relaxivity"] is not None:
        return float(step["relaxivity"]), {"agent": agent or "", "relaxivity": float(step["relaxivity"])}
    mend = "write 'mri: {signal: {agent: gadobutrol, field_t: 3}}' or the relaxivity itself in study.yaml"
    if agent is None:
        settings.require("agent", scan, purpose="Concentration", mend=mend)
    field = step["field_t"] or settings.require("field_t", scan, purpose="Relaxivity", mend=mend)
    try:
        known = relaxivity(str(agent), float(field))
    except MissingFieldError as error:
        raise error.at(file=scan.where) from None
    facts = {"agent": known.agent, "field_t": float(field), "relaxivity": known.r1, "relaxivity_source": known.source}
    return known.r1, facts


def t1_before(scan: Acquisition, inputs: Mapping[str, Acquisition], steps: Steps) -> tuple[Image, Image | None, str]:
    """T1 before contrast, B1, and where T1 comes from.

    Raises
    ------
    MissingFieldError
        If there is neither a map nor a series of flip angles in the frame of the series, and none is stated.
    """
    b1 = inputs["b1_map"].image if "b1_map" in inputs else None
    if b1 is not None:
        b1 = as_ratio(b1, inputs["b1_map"])
    wanted = steps["t1"]["source"]
    geometry = scan.image.geometry
    assert geometry is not None
    if wanted == "stated" or (wanted == "auto" and steps["t1"]["t1_ms"] is not None):
        value = float(steps["t1"]["t1_ms"])
        image = Image(np.full(geometry.shape, value, np.float32), unit="ms", geometry=geometry, name="stated T1")
        return image, b1, f"a stated value of {value:g} ms"
    if "t1_map" in inputs and wanted in ("auto", "map"):
        return inputs["t1_map"].image, b1, "a map"
    if "flip" in inputs and wanted in ("auto", "flip angles"):
        series = [a for role, a in inputs.items() if role == "flip" or role.startswith("flip_")]
        joined = gathered(series)[0].joined if len(series) > 1 else series[0]
        tr = mr_settings(joined).require("tr_s", joined, purpose="T1 from flip angles", mend="write it in the sidecar")
        maps = map_relaxation(joined.image, tr=tr, b1=b1, method="nonlinear")
        return maps["t1"], b1, "flip angles" + (", with B1" if b1 is not None else "")
    raise MissingFieldError(
        "Concentration needs T1 before contrast, and no map of it lies in the space of this series",
        file=scan.where, field="t1", found="no T1map and no flip angles in its frame of reference",
        expected="a T1 map or flip angles of the same session",
        mend="add them, or state one T1: 'mri: {t1: {source: stated, t1_ms: 1400}}' in study.yaml",
    )  # fmt: skip


def as_ratio(b1: Image, of: Acquisition) -> Image:
    """A map of B1 as real over nominal flip angle.

    Raises
    ------
    DataError
        If its values are no such ratio.
    """
    ratio = b1.to_unit("1")
    values = ratio.numpy()
    inside = values[np.isfinite(values) & (values > 0)]
    middle = float(np.median(inside)) if inside.size else 0.0
    if not _B1_RANGE[0] <= middle <= _B1_RANGE[1]:
        raise DataError(
            "The B1 map is not a ratio of flip angles", file=of.where, field="Units", found=f"median {middle:g}",
            expected="near 1", mend="state the unit % if it is in percent",
        )  # fmt: skip
    return ratio


def baseline_frames(times: Floats, curve: Floats, steps: Steps, scan: Acquisition) -> int:
    """How many frames lie before the bolus.

    Raises
    ------
    DataError
        If nothing enhances, or the bolus is there from the first frame on.
    """
    stated = steps["signal"]["baseline_frames"]
    if stated != "auto":
        count = int(stated)
        if count >= times.size:
            raise DataError(
                "More frames before contrast than there are", file=scan.where, field="signal.baseline_frames",
                found=count, expected=f"fewer than {times.size}",
            )  # fmt: skip
        return count
    # One frame of contrast in the baseline harms more than one frame less of noise.
    arrival = float(bolus_arrival(times, (curve - curve[0])[:, None])[0])
    count = int(np.sum(times < arrival - 0.25 * np.median(np.diff(times)))) if np.isfinite(arrival) else 0
    if count < 1:
        raise DataError(
            "No frame before the contrast agent was found", file=scan.where, field="signal.baseline_frames",
            found="no rise of the signal" if not np.isfinite(arrival) else f"arrival at {arrival:g} s",
            expected="a rise after the first frame",
            mend="state 'mri: {signal: {baseline_frames: 5}}' in study.yaml",
        )  # fmt: skip
    return count


def blood_mask(masks: dict[str, Mask], roles: Mapping[str, str]) -> Mask | None:
    """Everything that was drawn as blood, or None."""
    drawn = [mask for name, mask in masks.items() if roles[name] == _BLOOD]
    return np.any(drawn, axis=0) if drawn else None


def mean_curves(
    series: Image, masks: Mapping[str, Mask], scan: Acquisition, result: Result
) -> tuple[Floats, Floats, dict[str, int], list[str]]:
    """Mean and spread of each region over the voxels that are complete, how many they are, and the names.

    A voxel that lacks a frame is left out of all: means over other voxels in each frame would make false curves.
    """
    data = series.numpy()
    complete = np.isfinite(data).all(axis=0)
    columns, spreads, counts, names = [], [], {}, []
    for name, mask in masks.items():
        inside = mask & complete
        count = int(inside.sum())
        if count == 0:
            result.problems.append(Problem(
                f"The region {name} has no voxel with a complete curve: it is not measured", scan.where, "regions",
                f"0 of {int(mask.sum())} voxels", "one or more", "look at the reasons in the map", "warning",
            ))  # fmt: skip
            continue
        values = data[:, inside].astype(np.float64)
        columns.append(values.mean(axis=1))
        spreads.append(values.std(axis=1, ddof=1) if count > 1 else np.full(data.shape[0], np.nan))
        counts[name] = count
        names.append(name)
    if not names:
        raise DataError(
            "No region has a voxel with a complete curve", file=scan.where, field="regions", found=", ".join(masks),
            expected="voxels with a signal that the equations allow",
            mend="check T1, flip angle and repetition time",
        )  # fmt: skip
    return np.stack(columns, axis=1), np.stack(spreads, axis=1), counts, names


def _input(
    series: Image, scan: Acquisition, masks: Mapping[str, Mask], blood: Mask | None, curve: Floats, steps: Steps,
    result: Result, arterial: Callable[[Mask], Floats],
) -> _Given:  # fmt: skip
    step = steps["input"]
    wanted, haematocrit = step["source"], float(step["haematocrit"])
    if wanted == "region" and blood is None:
        raise MissingFieldError(
            "There is no region of blood", file=scan.where, field="input.source", found=", ".join(masks),
            expected="a region with the role blood pool", mend="draw one, or take 'population'",
        )  # fmt: skip
    if wanted == "search" or (blood is not None and wanted in ("auto", "region")):
        drawn = None if wanted == "search" else blood
        _, choice = measured_input(series, haematocrit=haematocrit, region=drawn)
        plasma = _plasma(arterial(choice.mask), series, haematocrit)
        facts = {"input_voxels": choice.voxels, "peak_over_noise": choice.peak_to_baseline,
                 "earlier_than_tissue_s": choice.early, "haematocrit": haematocrit}  # fmt: skip
        return _Given(
            plasma,
            "input of a blood region" if drawn is not None else "input found in the image",
            facts,
            choice.mask,
            arterial,
        )
    assert series.frames is not None
    name: Any = step["population"]
    if name == "auto":
        species = scan.species or "human"
        if species not in _POPULATION:
            raise MissingFieldError(
                "No published input is known for this species", file=scan.where, field="input.population",
                found=species, expected=", ".join(_POPULATION), mend="draw a region of blood",
            )  # fmt: skip
        name = _POPULATION[species]
    delay = step["delay_s"]
    arrival = float(bolus_arrival(series.frames.mid, curve[:, None])[0]) if delay == "auto" else float(delay)
    if not np.isfinite(arrival):
        raise DataError(
            "The arrival of the bolus was not found", file=scan.where, field="input.delay_s", found="no rise",
            mend="state it in s",
        )  # fmt: skip
    result.problems.append(Problem(
        "A published input stands for the patient's own: K^trans and volumes share its error", scan.where, "input",
        str(name), "a region of blood", "draw a region with the role 'blood pool'", "warning",
    ))  # fmt: skip
    plasma = population_input(name, float(series.frames.end[-1]), haematocrit=haematocrit, delay=max(arrival, 0.0))
    facts = {"population": name, "arrival_s": arrival, "haematocrit": haematocrit}
    return _Given(plasma, f"input of {name}", facts)


def _input_table(plasma: InputFunction) -> Table:
    import pandas as pd

    rows = {"curve": "plasma", "kind": "curve", "time_s": plasma.times, "value": plasma.values, "unit": "mmol/L"}
    return Table(pd.DataFrame(rows), {"time_s": "s", "value": "mmol/L"})


def _lost(reason: Image, tissue: Mask) -> dict[str, int]:
    """Voxels of tissue by why they have no concentration."""
    codes, counts = np.unique(reason.numpy()[tissue], return_counts=True)
    return {explain_signal(int(c)): int(n) for c, n in zip(codes, counts, strict=True) if c}
