"""From blood tables to the input of a kinetic model: several files at once, one clock, one unit, one decay convention.

The rule where an autosampler and manual samples meet: the densest record is used up to its end, the next densest after
it. Plasma where only whole blood was sampled (the autosampler) is whole blood times the ratio of the manual samples,
linear between them and constant beyond; after the autosampler it is the manual plasma itself. Parent is plasma times
the fitted parent fraction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics.blood import correct_dispersion
from timelens.engines.kinetics.inputs import InputFunction
from timelens.errors import DataError, MissingFieldError, Problem, UsageError
from timelens.lenses.pet.dynamic.models import AgentInput
from timelens.lenses.pet.dynamic.parent import parent_curve
from timelens.lenses.pet.dynamic.samples import UNIT, BloodOptions, BloodSamples, Curve

__all__ = ["arterial_input"]

Floats = NDArray[np.float64]

#: Two records of the same blood may differ by this factor before it is said, and before it is refused.
_APART, _FAR_APART = 1.25, 2.5


def arterial_input(
    records: Sequence[BloodSamples],
    *,
    options: BloodOptions | None = None,
    half_life_s: float | None = None,
    zero_s: float = 0.0,
    metabolites: bool | None = None,
    known_ratio: float | None = None,
) -> tuple[AgentInput, list[Problem]]:
    """Parent in plasma and whole blood, on the scanner's clock from injection, decay-corrected to the injection.

    Parameters
    ----------
    records
        From :func:`samples_of`.
    half_life_s
        Needed where samples are not decay-corrected, or not to the injection.
    zero_s
        When the injection began on the clock of the samples.
    metabolites
        Whether this agent has labelled metabolites in plasma; None where it is not known.
    known_ratio
        Plasma over whole blood for this agent, where samples give none.

    Raises
    ------
    DataError
        No activity at all; records contradict each other, their units or decay corrections; the parent fraction is
        missing although the agent is metabolised.
    """
    how = options or BloodOptions()
    steps: list[str] = []
    problems: list[Problem] = []
    ready = [_on_clock(_corrected(r, how, half_life_s, steps, problems), how, half_life_s, zero_s) for r in records]
    if how.clock_offset_s and half_life_s is None:
        problems.append(
            Problem(
                "The clock of the blood was shifted, and its decay correction was not moved with it",
                ", ".join(r.file for r in records),
                "half_life_s",
                "nothing",
                "seconds",
                "state the half-life",
                "warning",
            )
        )
    ready = [_undispersed(r, how, steps) for r in ready]
    blood = _merged([r.whole_blood for r in ready], [r.file for r in ready], "whole blood", steps, problems)
    manual = _merged([r.plasma for r in ready], [r.file for r in ready], "plasma", steps, problems)
    if blood is None and manual is None:
        raise MissingFieldError(
            "The blood tables hold no radioactivity",
            file=", ".join(r.file for r in records),
            field="whole_blood_radioactivity, plasma_radioactivity",
            expected="one of them",
        )
    plasma = _plasma(blood, manual, ready, how, known_ratio, steps)
    parent = parent_curve(plasma, ready, how, metabolites, steps, problems)
    whole = None if blood is None else _input(blood, "whole_blood")
    how_made = tuple(dict.fromkeys(steps))
    return AgentInput(parent, whole, source="arterial", unit=UNIT, how=how_made, samples=_shown(ready)), problems


def _corrected(
    record: BloodSamples, how: BloodOptions, half_life_s: float | None, steps: list[str], problems: list[Problem]
) -> BloodSamples:
    """The record with samples decay-corrected to the zero of its clock."""
    said = record.decay_corrected
    if said is not None and how.decay_corrected is not None and said != how.decay_corrected:
        raise DataError(
            "File and options contradict each other on the decay correction of blood",
            file=record.file,
            field="decay_corrected",
            found=f"{said} in the file, {how.decay_corrected} stated",
            expected="one of them",
        )
    corrected = said if said is not None else how.decay_corrected
    if corrected is None:
        steps.append("blood taken as decay-corrected to its time zero (no file says)")
        problems.append(
            Problem(
                "Whether the blood samples are decay-corrected is not said; they were taken as corrected to time zero",
                record.file,
                "DecayCorrected",
                "nothing",
                "true or false in the JSON beside the table",
                "write DecayCorrected there, or decay_corrected in the step 'input'",
                "warning",
            )
        )
        return record
    if corrected:
        steps.append("blood decay-corrected to its time zero, as stated")
        return record
    if half_life_s is None:
        raise MissingFieldError(
            "Blood that is not decay-corrected needs the half-life", file=record.file, field="half_life_s",
            found="nothing", expected="seconds", mend="state half_life_s, or the nuclide",
        )  # fmt: skip
    steps.append("blood decay-corrected here from the times of its samples")

    def change(curve: Curve | None) -> Curve | None:
        return None if curve is None else (curve[0], curve[1] * np.exp2(curve[0] / half_life_s))

    return replace(record, whole_blood=change(record.whole_blood), plasma=change(record.plasma))


def _on_clock(record: BloodSamples, how: BloodOptions, half_life_s: float | None, zero_s: float) -> BloodSamples:
    """Times from the injection, and concentrations decay-corrected to it."""
    if zero_s and half_life_s is None:
        raise MissingFieldError(
            "Blood whose time zero is not the injection needs the half-life", file=record.file, field="half_life_s"
        )
    shift = how.clock_offset_s - zero_s
    factor = 1.0 if half_life_s is None else float(np.exp2(shift / half_life_s))

    def change(curve: Curve | None, scale: float) -> Curve | None:
        return None if curve is None else (curve[0] + shift, curve[1] * scale)

    return replace(
        record,
        whole_blood=change(record.whole_blood, factor),
        plasma=change(record.plasma, factor),
        parent_fraction=change(record.parent_fraction, 1.0),
    )


def _undispersed(record: BloodSamples, how: BloodOptions, steps: list[str]) -> BloodSamples:
    """Whole blood of an autosampler without the dispersion of its tubing."""
    said = record.said.get("DispersionCorrected")
    constant = how.dispersion_s if how.dispersion_s is not None else record.said.get("DispersionConstant")
    done = str(said).strip().lower() == "true"
    if done or constant in (None, "n/a") or record.whole_blood is None or record.plasma is not None:
        return record  # manual samples pass no tubing
    try:
        tau = float(constant)
    except (TypeError, ValueError):
        raise DataError(
            "The dispersion time is no number", file=record.file, field="DispersionConstant", found=constant
        ) from None
    if tau == 0:
        return record
    curve = correct_dispersion(InputFunction(*record.whole_blood, "whole_blood", UNIT), tau, smooth=tau)
    steps.append(f"dispersion of {tau:g} s corrected")
    return replace(record, whole_blood=(curve.times, curve.values))


def _merged(
    curves: Sequence[Curve | None], files: Sequence[str], what: str, steps: list[str], problems: list[Problem]
) -> Curve | None:
    """One curve: the densest record first, each next one after the end of the last."""
    there = [(curve, file) for curve, file in zip(curves, files, strict=True) if curve is not None]
    if not there:
        return None
    there.sort(key=lambda item: (_interval(item[0]), item[1]))
    (times, values), first = there[0]
    for curve, file in there[1:]:
        _compare((times, values), curve, what, first, file, problems)
        later = curve[0] > times[-1]
        if later.any():
            steps.append(f"{what}: dense record to {times[-1]:.0f} s, then the next")
        times, values = np.concatenate([times, curve[0][later]]), np.concatenate([values, curve[1][later]])
    return times, values


def _interval(curve: Curve) -> float:
    return float(np.median(np.diff(curve[0]))) if curve[0].size > 1 else np.inf


def _compare(dense: Curve, other: Curve, what: str, first: str, file: str, problems: list[Problem]) -> None:
    """Two records of the same blood have to agree where they overlap."""
    inside = (other[0] >= dense[0][0]) & (other[0] <= dense[0][-1]) & (other[1] > 0)
    seen = np.interp(other[0][inside], *dense)
    good = seen > 0.02 * dense[1].max()
    if not good.any():
        return
    ratio = float(np.median(other[1][inside][good] / seen[good]))
    apart = max(ratio, 1 / ratio)
    if apart <= _APART:
        return
    facts: dict[str, Any] = {
        "file": file, "field": what, "found": f"{ratio:.3g} times the values of {first}", "expected": "the same blood"
    }  # fmt: skip
    if apart > _FAR_APART:
        raise DataError(
            f"Two records of {what} differ by a factor of {apart:.3g}",
            mend="check their units (nCi/mL, kBq/mL, Bq/mL), calibration and decay correction",
            **facts,
        )
    problems.append(Problem(f"Two records of {what} differ by {100 * (apart - 1):.0f} %", severity="warning", **facts))


def _plasma(
    blood: Curve | None,
    manual: Curve | None,
    records: Sequence[BloodSamples],
    how: BloodOptions,
    known_ratio: float | None,
    steps: list[str],
) -> InputFunction:
    """Total radioactivity in plasma over the whole time."""
    if blood is None:
        assert manual is not None
        return _input(manual, "plasma")
    ratio = _ratio(records, how, known_ratio, steps)
    if ratio is None and manual is None:
        raise MissingFieldError(
            "Whole blood without plasma gives no plasma input",
            file=", ".join(r.file for r in records),
            field="plasma_radioactivity",
            found="whole blood only",
            expected="plasma samples, or the ratio of plasma to whole blood",
            mend="write plasma_ratio in the step 'input' (1.0 where whole blood may be taken for plasma)",
        )
    if ratio is None or (manual is not None and how.plasma_ratio is None and _interval(blood) >= _interval(manual)):
        assert manual is not None
        return _input(manual, "plasma")
    from_blood = _input(blood, "whole_blood").times_curve(*ratio, kind="plasma")
    if manual is None or how.plasma_ratio is not None:
        return from_blood
    alone = [r.whole_blood[0][-1] for r in records if r.whole_blood is not None and r.plasma is None]
    if not alone:  # one table whose plasma is sampled less often than its blood: the ratio passes through each sample
        alone = [blood[0][-1]]
    dense_end = float(max(alone))
    early, late = from_blood.times <= dense_end, manual[0] > dense_end
    times = np.concatenate([from_blood.times[early], manual[0][late]])
    steps.append(f"plasma: whole blood times ratio to {dense_end:.0f} s, manual plasma after")
    return InputFunction(times, np.concatenate([from_blood.values[early], manual[1][late]]), "plasma", UNIT)


def _ratio(records: Sequence[BloodSamples], how: BloodOptions, known: float | None, steps: list[str]) -> Curve | None:
    """Plasma over whole blood at some times; None where nobody says."""
    if how.plasma_ratio is not None:
        if not (np.isfinite(how.plasma_ratio) and 0.05 <= how.plasma_ratio <= 20):
            raise UsageError("The ratio of plasma to whole blood cannot be used", field="plasma_ratio",
                             found=how.plasma_ratio, expected="a positive number near 1")  # fmt: skip
        steps.append(f"plasma / whole blood {how.plasma_ratio:g}, stated")
        return np.array([0.0, 1.0]), np.full(2, how.plasma_ratio)
    pairs: dict[float, float] = {}
    for record in records:
        if record.whole_blood is None or record.plasma is None:
            continue
        both, at_blood, at_plasma = np.intersect1d(record.whole_blood[0], record.plasma[0], return_indices=True)
        for time, whole, plasma in zip(both, record.whole_blood[1][at_blood], record.plasma[1][at_plasma], strict=True):
            if whole > 0 and plasma > 0:
                pairs[float(time)] = float(plasma / whole)
    # Samples at the noise before the bolus have no ratio: what lies far from the others' is left out.
    if pairs:
        middle = float(np.median(list(pairs.values())))
        kept = {t: r for t, r in sorted(pairs.items()) if middle / 3 <= r <= 3 * middle}
        steps.append(f"plasma / whole blood from {len(kept)} manual samples")
        return np.array(list(kept)), np.array(list(kept.values()))
    if known is not None:
        steps.append(f"plasma / whole blood {known:g}, from the agent's record")
        return np.array([0.0, 1.0]), np.full(2, known)
    return None


def _input(curve: Curve, kind: Any) -> InputFunction:
    """The curve with zero at time zero where sampling began after it."""
    times, values = curve
    if times[0] > 0:
        times, values = np.append(0.0, times), np.append(0.0, values)
    return InputFunction(times, values, kind, UNIT)


def _shown(records: Sequence[BloodSamples]) -> dict[str, tuple[Floats, Floats, str]]:
    """Samples as they came, for pictures: sparse records of activity, and parent fractions."""
    shown: dict[str, tuple[Floats, Floats, str]] = {}
    for record in records:
        for name, curve in (("whole blood", record.whole_blood), ("plasma", record.plasma)):
            if curve is not None and curve[0].size <= 100:
                shown[name] = (*curve, UNIT)
        if record.parent_fraction is not None:
            shown["parent_fraction"] = (*record.parent_fraction, "1")
    return shown
