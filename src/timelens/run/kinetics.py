"""Curves from a table and blood from files, without an image: fits with intervals, pictures, tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens import units
from timelens.engines.kinetics.frames import Frames
from timelens.errors import DataError, MissingFieldError, Problem, UnitError, UsageError
from timelens.formats import blood as blood_format
from timelens.formats import tac
from timelens.lenses.pet.dynamic.blood import arterial_input
from timelens.lenses.pet.dynamic.checks import check_against_image, covering
from timelens.lenses.pet.dynamic.curves import Curves, curves_table, weights_of
from timelens.lenses.pet.dynamic.fit import RegionFits, fit_regions
from timelens.lenses.pet.dynamic.input import delayed, input_table
from timelens.lenses.pet.dynamic.models import AgentInput, Build, find_model
from timelens.lenses.pet.dynamic.samples import BloodOptions, samples_of
from timelens.study.measurement import Measurement
from timelens.study.table import Table

__all__ = ["KineticOptions", "KineticResult", "fit_curves", "parameter_rows", "write_kinetics"]

Floats = NDArray[np.float64]
_ACTIVITY = "Bq/mL"
#: A scan that ends before this and has this many frames is likely in minutes.
_SHORT_S, _MANY = 200.0, 15


@dataclass(frozen=True)
class KineticOptions:
    """What a person may state about curves, blood and models; times in the units that their names say.

    Attributes
    ----------
    models
        Names, or ``("auto",)`` for a comparison by Akaike's criterion.
    unit, time_unit
        UCUM codes where the files state none.
    reference
        Name of the column that is the reference region.
    weights
        ``auto`` (the table's own, else counts), ``counts``, ``duration`` or ``uniform``.
    delay_s
        Seconds, ``fit`` (one for all regions) or ``each`` (one per region).
    """

    models: tuple[str, ...] = ("auto",)
    unit: str | None = None
    time_unit: str | None = None
    reference: str | None = None
    t_star_min: float | None = None
    k2_reference_per_min: float | None = None
    blood_volume: float | None = None
    weights: str = "auto"
    half_life_s: float | None = None
    delay_s: float | str = 0.0
    blood: BloodOptions = field(default_factory=BloodOptions)


@dataclass(eq=False)
class KineticResult:
    """Fits of curves, the input that drove them, tables for pictures, and problems."""

    fits: RegionFits
    given: AgentInput
    tables: dict[str, Table]
    problems: list[Problem]
    rows: list[Measurement]


def fit_curves(tacs: Path, blood: Sequence[Path], options: KineticOptions) -> KineticResult:
    """Fit the curves of a table.

    Parameters
    ----------
    tacs
        Curves; see :mod:`timelens.formats.tac`.
    blood
        Blood tables: PET-BIDS, PMOD or CSV; none for reference models.

    Raises
    ------
    TimelensError
        If a file, unit, input or model cannot be used.
    """
    table = tac.read(tacs, unit=options.unit, time_unit=options.time_unit)
    frames = _at(tacs, lambda: Frames(table.start, table.end))
    problems = _minutes(frames, tacs)
    scale, unit = _scale(table.unit, bool(blood), tacs)
    values = table.curves * scale
    whole = np.nanmean(values, axis=1)
    voxels = table.voxels if table.voxels is not None else np.zeros(len(table.names), np.int64)
    sd = table.sd * scale if table.sd is not None else np.full(values.shape, np.nan)
    curves = Curves(table.names, values, sd, voxels, whole, np.nanmax(values, axis=1), unit)
    weights = _weights(options, frames, table.weights, whole)
    given, used, more, rows = _input(tacs, blood, frames, curves, weights, options)
    problems += more
    keep = [k for k, name in enumerate(curves.names) if name not in used]
    chosen = replace(
        curves, names=tuple(curves.names[k] for k in keep), mean=values[:, keep], sd=sd[:, keep], voxels=voxels[keep]
    )
    models = "auto" if "auto" in options.models else tuple(find_model(m).name for m in options.models)
    k2 = options.k2_reference_per_min
    fits = fit_regions(
        chosen,
        frames,
        given,
        weights,
        models,
        choices=Build(
            k2_reference=None if k2 is None else k2 / 60,
            blood_volume="fit" if options.blood_volume is None else options.blood_volume,
            delay_each=options.delay_s == "each",
        ),
        t_star_s=None if options.t_star_min is None else 60 * options.t_star_min,
    )
    problems += fits.problems
    if options.half_life_s is None and weights is not table.weights and options.weights in ("auto", "counts"):
        problems.append(_no_decay(tacs))
    tables = {"tacs": curves_table(curves, frames), **fits.tables(curves.unit)}
    if given.plasma is not None:
        tables["input"] = input_table(given)
    return KineticResult(fits, given, tables, problems, [*fits.rows, *rows])


def parameter_rows(result: KineticResult) -> list[dict[str, Any]]:
    """Rows of region, model, parameter, value, standard_error, lower, upper, unit, t_star_min, flags and reason."""
    starts = result.fits.t_star_s
    return [
        {
            "region": row.region,
            "model": row.method.split(";")[0],
            "parameter": row.quantity,
            "value": row.value,
            "standard_error": row.uncertainty if row.uncertainty_kind == "standard_error" else np.nan,
            "lower": row.lower,
            "upper": row.upper,
            "unit": row.unit,
            "t_star_min": starts.get(row.method.split(";")[0], np.nan) / 60,
            "flags": row.flags,
            "reason": row.reason,
        }
        for row in result.rows
    ]


def write_kinetics(result: KineticResult, folder: Path) -> list[Path]:
    """Write parameters, fitted curves and pictures into a folder, which is made; returns the files."""
    import pandas as pd

    from timelens.run.files import write_text
    from timelens.run.kinetic_pictures import draw_curves
    from timelens.run.pictures import Album

    folder.mkdir(parents=True, exist_ok=True)
    parameters = folder / "parameters.csv"
    write_text(parameters, pd.DataFrame(parameter_rows(result)).to_csv(index=False))
    written = [parameters]
    for name, table in result.tables.items():
        path = folder / f"{name}.tsv"
        write_text(path, table.data.to_csv(sep="\t", index=False, na_rep="n/a"))
        written.append(path)
    album = Album(folder, "kinetics", "")
    draw_curves(album, result.tables)
    return written + [folder / record["file"] for record in album.records]


def _at(file: Path, make: Any) -> Any:
    try:
        return make()
    except DataError as error:
        raise error.at(file=file) from None


def _minutes(frames: Frames, file: Path) -> list[Problem]:
    """A warning where frame times look like minutes."""
    if frames.end[-1] > _SHORT_S or len(frames) < _MANY:
        return []
    return [
        Problem(
            f"{len(frames)} frames end at {frames.end[-1]:g} s: are their times minutes?", str(file), "frame_start",
            f"{frames.end[-1]:g} s", mend="state --time-unit min", severity="warning",
        )
    ]  # fmt: skip


def _no_decay(file: Path) -> Problem:
    return Problem(
        "The weights of the frames follow counts without decay, as no half-life is stated: late frames count too much",
        str(file), "--half-life", "nothing", "s", "state it, or --weights duration", "warning",
    )  # fmt: skip


def _scale(unit: str, blood: bool, file: Path) -> tuple[float, str]:
    """Factor and unit that bring curves to that of the blood."""
    if not blood:
        return 1.0, unit or "1"
    if not unit:
        raise MissingFieldError(
            "The curves have no unit, and blood has one", file=file, field="unit", found="nothing",
            expected="UCUM code such as kBq/mL", mend="state --unit kBq/mL, or write a JSON beside the table",
        )  # fmt: skip
    try:
        return units.conversion_factor(unit, _ACTIVITY), _ACTIVITY
    except UnitError as error:
        raise error.at(file=file, field="unit") from None


def _weights(options: KineticOptions, frames: Frames, own: Floats | None, whole: Floats) -> Floats:
    if options.weights == "auto" and own is not None and np.isfinite(own).all() and (own > 0).any():
        return own
    if options.weights not in ("auto", "counts", "duration", "uniform"):
        raise UsageError(
            "There are no such weights", field="--weights", found=options.weights,
            expected="auto, counts, duration or uniform",
        )  # fmt: skip
    kind = "counts" if options.weights == "auto" else options.weights
    return weights_of(frames, whole, kind=kind, half_life_s=options.half_life_s)  # type: ignore[arg-type]


def _input(
    tacs: Path, blood: Sequence[Path], frames: Frames, curves: Curves, weights: Floats, options: KineticOptions
) -> tuple[AgentInput, tuple[str, ...], list[Problem], list[Measurement]]:
    if options.reference is not None:
        if options.reference not in curves.names:
            raise UsageError(
                "The reference region is not in the table", file=tacs, field="--reference", found=options.reference,
                expected=", ".join(curves.names),
            )  # fmt: skip
        curve = curves.of(options.reference)
        given = AgentInput(reference=curve, source="reference", unit=curves.unit)
        return given, (options.reference,), [], []
    if not blood:
        raise MissingFieldError(
            "There is no input", field="--blood, --reference", found="nothing",
            expected="a blood table, or the name of a reference region",
        )  # fmt: skip
    records = [samples_of(blood_format.read(path, unit=options.unit)) for path in blood]
    given, problems = arterial_input(records, options=options.blood, half_life_s=options.half_life_s)
    assert given.plasma is not None
    file = ", ".join(map(str, blood))
    plasma, held = covering(given.plasma, frames, file=file)
    whole = None if given.blood is None else given.blood.held_until(float(frames.end[-1]))
    check_against_image(whole or plasma, frames, curves.bright, regions=True, file=file)
    given = replace(given, plasma=plasma, blood=whole)
    wanted = 0.0 if options.delay_s == "each" else options.delay_s
    given, _, rows, remarks = delayed(given, frames, curves, wanted)
    return given, (), [*problems, *held, *remarks], rows
