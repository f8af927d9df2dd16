"""The input of a contrast-enhanced series: of blood that somebody drew or that is found in the image, a published
curve, or the tissue of a reference region.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics import Frames, InputFunction, reference_input
from timelens.engines.perfusion import (
    ArterialChoice,
    bolus_arrival,
    choose_arterial,
    describe_arterial,
    plasma_from_blood,
    population_input,
)
from timelens.errors import DataError, MissingFieldError, Problem
from timelens.lenses.mri.contrast import ContrastSignal
from timelens.lenses.mri.dce_errors import GROUPS
from timelens.lenses.mri.recipe import HAEMATOCRIT
from timelens.lenses.mri.regional import left_out
from timelens.study.acquisition import Acquisition
from timelens.study.image import Image
from timelens.study.timing import FrameTiming

__all__ = ["GivenInput", "blood_input", "measured_input", "reference_tissue"]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

_POPULATION = {"mouse": "mcgrath_mouse", "human": "parker"}


@dataclass(frozen=True, eq=False)
class GivenInput:
    """An input, how it came about, and how it is made again.

    Attributes
    ----------
    source, facts
        In words, and what the audit keeps.
    make
        The input of a signal, a mask and a haematocrit.
    signal, haematocrit
        Those that it was made with.
    mask
        Voxels that it was measured in; None for a published one.
    """

    source: str
    facts: Mapping[str, Any]
    make: Callable[[ContrastSignal, Bools | None, float], InputFunction]
    signal: ContrastSignal
    haematocrit: float
    mask: Bools | None = None

    @property
    def curve(self) -> InputFunction:
        """The input itself."""
        return self.make(self.signal, self.mask, self.haematocrit)

    def changed(
        self, signal: ContrastSignal, *, haematocrit: float = 1.0, scale: float = 1.0, delay: float = 0.0
    ) -> InputFunction:
        """Of the signal with other settings, with haematocrit and values times a factor, ``delay`` s later."""
        made = self.make(signal, self.mask, self.haematocrit * haematocrit).scaled(scale)
        return made.shifted(delay) if delay else made

    def without_groups(self) -> list[InputFunction]:
        """Without one group of its voxels after the other; empty for a published input or too few voxels."""
        if self.mask is None:
            return []
        return [self.make(self.signal, rest, self.haematocrit) for (rest,) in left_out([self.mask], GROUPS)]


def blood_input(
    series: Image,
    scan: Acquisition,
    signal: ContrastSignal,
    blood: Bools | None,
    enhancing: Floats,
    step: Mapping[str, Any],
) -> tuple[GivenInput, list[Problem]]:
    """The plasma input that the recipe asks for, with warnings.

    Parameters
    ----------
    series
        Concentration (t, z, y, x) with frame times.
    signal
        What it was made of.
    blood
        (z, y, x), what was drawn as blood.
    enhancing
        (frames,), a curve whose rise tells the arrival for a published input.
    step
        The recipe's step ``input``.

    Raises
    ------
    MissingFieldError
        A region of blood is asked for and not there, or no published input is known for the species.
    DataError
        The arrival was not found, or the blood has no complete curve.
    """
    assert series.frames is not None
    timing, wanted = series.frames, step["source"]
    stated = step["haematocrit"] != "auto"
    haematocrit = float(step["haematocrit"]) if stated else HAEMATOCRIT
    assumed = Problem(
        "The haematocrit is not stated: K^trans and volumes go with one minus it", scan.where, "input.haematocrit",
        f"nothing, {HAEMATOCRIT:g} was taken", "that of the subject",
        "write 'mri: {input: {haematocrit: 0.40}}' in study.yaml", "warning",
    )  # fmt: skip
    said = [] if stated else [assumed]
    if wanted == "region" and blood is None:
        raise MissingFieldError(
            "There is no region of blood", file=scan.where, field="input.source", found="none with the role blood pool",
            expected="a region with the role blood pool", mend="draw one, or take 'population'",
        )  # fmt: skip
    if wanted == "search" or (blood is not None and wanted in ("auto", "region")):
        drawn = None if wanted == "search" else blood
        _, choice = measured_input(series, haematocrit=haematocrit, region=drawn)

        def measured(of: ContrastSignal, mask: Bools | None, part: float) -> InputFunction:
            assert mask is not None
            plasma = InputFunction(timing.mid, plasma_from_blood(of.blood(mask), part), "plasma", "mmol/L")
            return plasma.held_until(float(timing.end[-1]))

        mask = choice.mask if drawn is None else _whole(signal, drawn, choice.mask)
        facts = {"input_voxels": int(mask.sum()), "input_voxels_too_bright": int((mask & ~choice.mask).sum()),
                 "peak_over_noise": choice.peak_to_baseline, "earlier_than_tissue_s": choice.early,
                 "haematocrit": haematocrit}  # fmt: skip
        source = "input of a blood region" if drawn is not None else "input found in the image"
        return GivenInput(source, facts, measured, signal, haematocrit, mask), said
    given, warning = _published(timing, scan, signal, enhancing, step, haematocrit)
    return given, [warning, *said]


def _whole(signal: ContrastSignal, drawn: Bools, complete: Bools) -> Bools:
    """All voxels that were drawn, though some have no concentration of their own: to leave out those that noise raises
    above full relaxation would lower the peak. Only the complete ones where even the mean signal has no concentration.
    """
    known = drawn & np.isfinite(signal.t1) & np.isfinite(signal.signal).all(axis=0)
    return known if known.any() and np.isfinite(signal.blood(known)).all() else complete


def _published(
    timing: FrameTiming, scan: Acquisition, signal: ContrastSignal, enhancing: Floats, step: Mapping[str, Any],
    haematocrit: float,
) -> tuple[GivenInput, Problem]:  # fmt: skip
    name: Any = step["population"]
    taken = ""
    if name == "auto":
        species = scan.species or "human"
        taken = "" if scan.species else ", as of man: the species is not stated"
        if species not in _POPULATION:
            raise MissingFieldError(
                "No published input is known for this species", file=scan.where, field="input.population",
                found=species, expected=", ".join(_POPULATION), mend="draw a region of blood",
            )  # fmt: skip
        name = _POPULATION[species]
    delay = step["delay_s"]
    arrival = float(bolus_arrival(timing.mid, enhancing[:, None])[0]) if delay == "auto" else float(delay)
    if not np.isfinite(arrival):
        raise DataError(
            "The arrival of the bolus was not found", file=scan.where, field="input.delay_s", found="no rise",
            expected="a rise of the first region", mend="state it in s",
        )  # fmt: skip

    def published(of: ContrastSignal, mask: Bools | None, part: float) -> InputFunction:
        return population_input(name, float(timing.end[-1]), haematocrit=part, delay=max(arrival, 0.0))

    warning = Problem(
        "A published input stands for the patient's own: K^trans and volumes share its error", scan.where, "input",
        f"{name}{taken}", "a region of blood", "draw a region with the role 'blood pool'", "warning",
    )  # fmt: skip
    facts = {"population": name, "arrival_s": arrival, "haematocrit": haematocrit}
    return GivenInput(f"input of {name}", facts, published, signal, haematocrit), warning


def reference_tissue(timing: FrameTiming, signal: ContrastSignal, mask: Bools) -> GivenInput:
    """The mean curve of a reference tissue as the input of :class:`~timelens.engines.kinetics.ReferenceRegion`."""
    frames = Frames.instants(timing.mid)

    def made(of: ContrastSignal, voxels: Bools | None, part: float) -> InputFunction:
        assert voxels is not None
        values = of.tissue(voxels)
        return reference_input(frames, values[:, np.isfinite(values).all(axis=0)].mean(axis=1), unit="mmol/L")

    return GivenInput("a reference tissue", {"reference_voxels": int(mask.sum())}, made, signal, 0.0, mask)


def measured_input(
    concentration: Image, *, haematocrit: float, region: Bools | None = None, search: Bools | None = None
) -> tuple[InputFunction, ArterialChoice]:
    """Plasma input of a concentration series (mmol/L), and which voxels it came from with what tells how good it is.

    Parameters
    ----------
    concentration
        (t, z, y, x) with frame times; a frame is taken at its middle.
    haematocrit
        Fraction; concentration in plasma is that in blood over one minus it.
    region
        (z, y, x), voxels of the artery. Those with a missing value in any frame are left out. None: they are searched.
    search
        (z, y, x), where to search.

    Returns
    -------
    tuple
        The input, held to the end of the last frame, and the choice; its ``curve`` is in whole blood.

    Raises
    ------
    DataError
        The region holds no complete curve, has another shape, or nothing enhances enough to search.
    """
    if concentration.frames is None or concentration.unit != "mmol/L":
        raise DataError(
            "An arterial input comes from a concentration series with frame times",
            file=concentration.name,
            field="unit",
            found=concentration.unit,
            expected="mmol/L",
            mend="convert the signal to concentration first",
        )
    timing = concentration.frames
    times = timing.start + 0.5 * timing.duration
    data = concentration.numpy().astype(np.float64)
    if region is None:
        choice = choose_arterial(times, data, mask=search)
    else:
        choice = describe_arterial(times, data, region)
    plasma = InputFunction(times, plasma_from_blood(choice.curve, haematocrit), "plasma", "mmol/L")
    return plasma.held_until(float(timing.start[-1] + timing.duration[-1])), choice
