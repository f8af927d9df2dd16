"""Dynamic PET: scans of tissues with known rate constants, with blood that was sampled, analysed as a user would.

The scene is scanned by the PET lens frame by frame; blood is drawn at the times of a usual study, each sample with the
error of a well counter; the dynamic lens gets frames, outlines and the blood table, and its default for the agent.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from timelens.errors import UsageError
from timelens.lenses.pet.dynamic.lens import FEWEST_FRAMES, LATEST_START_S, DynamicPetLens
from timelens.lenses.pet.protocol import pet_protocol
from timelens.lenses.pet.simulate import simulate
from timelens.run.validation import kinetic_cases
from timelens.run.validation.kinetic_cases import DOSE_BQ, WEIGHT_G, DynamicScene
from timelens.run.validation.rows import Draw
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Administration, Protocol
from timelens.study.measurement import Measurement
from timelens.study.region import Region
from timelens.study.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CASES", "DEFAULT", "check", "draw", "figures"]

#: What can be simulated.
CASES: Mapping[str, str] = {name: case.what for name, case in kinetic_cases.CASES.items()}
#: An hour from the injection in 25 frames.
DEFAULT = Protocol(
    "pet",
    {
        "voxel_mm": 4.0,
        "fwhm_mm": 6.0,
        "scans": [{"start_s": 0.0, "frames_s": [10] * 6 + [20] * 3 + [60] * 5 + [120] * 4 + [300] * 3 + [600] * 3
                   + [300]}],
    },
)  # fmt: skip
#: Blood is drawn every 5 s for 3 min, then at these minutes, each sample with this relative error (one SD).
_MANUAL_MIN = (4, 5, 7, 10, 15, 20, 30, 45, 60, 75, 90, 120, 150, 180, 240)
_BLOOD_ERROR = 0.02
#: Minutes at which metabolites are measured, and the error of the parent fraction (one SD).
_METABOLITES_MIN = (2, 5, 10, 20, 30, 60, 90, 120)
_FRACTION_ERROR = 0.02
_TIME = datetime(2024, 1, 15, 9, 0)


def check(protocol: Protocol | None) -> Protocol:
    """The protocol, or the default one.

    Raises
    ------
    UsageError
        If its first scan is not dynamic: six frames or more, from within two minutes of the injection.
    """
    chosen = protocol or DEFAULT
    first = pet_protocol(chosen).scans[0]
    if len(first.frames_s) < FEWEST_FRAMES or first.start_s > LATEST_START_S:
        raise UsageError(
            "This protocol is not dynamic",
            field="scans",
            found=f"{len(first.frames_s)} frames from {first.start_s:g} s",
            expected=f"{FEWEST_FRAMES} frames or more, the first within {LATEST_START_S:g} s of the injection",
        )
    return chosen


def draw(protocol: Protocol, case: str, rng: np.random.Generator) -> list[Draw]:
    """One repetition of a case: noisy frames and blood, against noise-free frames and blood."""
    full = pet_protocol(protocol)
    plan = replace(full, scans=full.scans[:1])
    known = kinetic_cases.CASES[case]
    end = float(plan.scans[0].timing.end[-1])
    made = kinetic_cases.scene_of(case, rng, end)
    given = [Administration(known.agent, _TIME, DOSE_BQ, known.nuclide)]
    seen = simulate(made.scene, given, plan, rng)
    place = seen.acquisitions[0].image.geometry
    assert place is not None
    regions = [kinetic_cases.outlines(made.scene, place)]
    needs_blood = known.options.get("input", {}).get("source") != "reference"
    found = []
    own = 0.0 if known.exact_blood else 1.0
    for acquisition, error in ((seen.acquisitions[0], own), (seen.noise_free[0], 0.0)):
        blood = [_blood(made, end, error, rng)] if needs_blood else []
        found.append(_analysed(acquisition, regions, blood, known.options))
    noisy, clean = found
    real = {(region, name): value for region, each in made.scene.kinetics.items() for name, value in each.items()}
    return [
        Draw.of(_closed(row), case=f"{case}: {model}", seen=clean[key].value if key in clean else math.nan,
                real=real[key[0], key[1]])
        for key, row in noisy.items()
        for model in [key[2]]
        if key[:2] in real
    ]  # fmt: skip


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """One for each case: bias, spread and coverage of every parameter."""
    from timelens.figures.validation import dots_figure

    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        case = str(row["case"]).split(":")[0]
        groups.setdefault("validation_" + re.sub(r"\W+", "_", case.lower()), []).append(row)
    return {name: dots_figure(each) for name, each in groups.items()}


def _analysed(
    pet: Acquisition, regions: Sequence[Region], blood: Sequence[Acquisition], options: Mapping[str, Any]
) -> dict[tuple[str, str, str], Measurement]:
    """Rows by region, quantity and model."""
    lens = DynamicPetLens()
    match = lens.accepts([pet, *blood])
    recipe = lens.recipe(match, {**options, "maps": {"models": "none"}, "segment": {"rule": "given"}})
    rows = lens.quantify(match.roles, regions, recipe.options()).measurements
    return {(m.region, m.quantity, m.method.split(";")[0]): m for m in rows}


def _closed(row: Measurement) -> Measurement:
    """The row with an end of its interval that the data leave open at infinity."""
    if math.isnan(row.lower) and math.isnan(row.upper):
        return row
    low = -math.inf if math.isnan(row.lower) else row.lower
    high = math.inf if math.isnan(row.upper) else row.upper
    return replace(row, lower=low, upper=high, uncertainty_kind="standard_error")


def _blood(made: DynamicScene, end_s: float, error: float, rng: np.random.Generator) -> Acquisition:
    """A table of samples as a site would hand it over, from the injection to the end of the scan and beyond it."""
    import pandas as pd

    last = made.times_s[-1]
    late = [60.0 * m for m in _MANUAL_MIN]
    times = np.array([*np.arange(0.0, 180.1, 5.0), *late])
    times = np.append(times[times < min(end_s, last)], min(max([t for t in late if t >= end_s][:1] or [end_s]), last))

    def sampled(curve: NDArray[np.float64]) -> NDArray[np.float64]:
        values = np.interp(times, made.times_s, curve) * DOSE_BQ / WEIGHT_G
        return np.asarray(values * (1 + error * _BLOOD_ERROR * rng.standard_normal(times.size)))

    metabolites = np.isin(times, [60.0 * m for m in _METABOLITES_MIN])
    fraction = np.interp(times, made.times_s, made.fraction)
    fraction = np.clip(fraction + error * _FRACTION_ERROR * rng.standard_normal(times.size), 0.0, 1.0)
    columns = {
        "time": times,
        "whole_blood_radioactivity": sampled(made.blood),
        "plasma_radioactivity": sampled(made.plasma),
    }
    units = {"time": "s", "whole_blood_radioactivity": "Bq/mL", "plasma_radioactivity": "Bq/mL"}
    if made.fraction.min() < 1:
        columns["metabolite_parent_fraction"] = np.where(metabolites, fraction, np.nan)
        units["metabolite_parent_fraction"] = "1"
    return Acquisition("blood", "blood", Table(pd.DataFrame(columns), units), extra={"DecayCorrected": True})
