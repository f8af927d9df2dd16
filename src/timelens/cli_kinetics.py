"""``timelens kinetics``: rate constants from a table of curves and blood samples, without an image.

Results go to stdout, with ``--json`` as JSON. Exit 1: some data could not be used, each named; 2: wrong use.
"""

from __future__ import annotations

import json
import math
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from timelens.errors import UsageError

if TYPE_CHECKING:
    from timelens.run.kinetics import KineticResult

__all__ = ["register"]

_Curves = Annotated[
    Path | None, typer.Argument(metavar="TACS", help="Curves: TSV, CSV, PMOD or Turku .tac; columns are regions.")
]
_Blood = Annotated[
    list[Path] | None,
    typer.Option(
        "--blood", help="Blood table: PET-BIDS TSV, PMOD .bld or .crv, CSV. Repeatable (autosampler, manual)."
    ),
]
_Models = Annotated[
    list[str] | None, typer.Option("--model", help="Name of a model, or auto: the best by AIC. Repeatable.")
]


def _kinetics(
    tacs: _Curves = None,
    blood: _Blood = None,
    model: _Models = None,
    reference: Annotated[str | None, typer.Option(help="Column that is the reference region.")] = None,
    t_star: Annotated[float | None, typer.Option(help="Start of the straight part of a plot, min.")] = None,
    k2_reference: Annotated[float | None, typer.Option(help="k2' of the reference region, 1/min.")] = None,
    blood_volume: Annotated[
        float | None, typer.Option(help="Fixed blood volume (0 to 1); fitted if not given.")
    ] = None,
    weights: Annotated[
        str, typer.Option(help="auto (the table's, else counts), counts, duration or uniform.")
    ] = "auto",
    half_life: Annotated[float | None, typer.Option(help="Of the nuclide in s, for weights and decay.")] = None,
    delay: Annotated[str, typer.Option(help="Delay of blood to tissue in s; fit (one for all) or each.")] = "0",
    clock_offset: Annotated[float, typer.Option(help="Added to the times of blood, s.")] = 0.0,
    dispersion: Annotated[float | None, typer.Option(help="Dispersion time of the autosampler, s.")] = None,
    plasma_ratio: Annotated[float | None, typer.Option(help="Plasma over whole blood.")] = None,
    parent_fraction: Annotated[
        str, typer.Option(help="auto, none, interpolate, hill, power, exponential or inverse_gamma.")
    ] = "auto",
    blood_decay_corrected: Annotated[
        bool | None, typer.Option("--blood-decay-corrected/--blood-not-decay-corrected", help="Where no file says.")
    ] = None,
    unit: Annotated[str | None, typer.Option(help="UCUM unit of curves and blood where no file says: kBq/mL.")] = None,
    time_unit: Annotated[str | None, typer.Option(help="Unit of the frame times where the file does not say.")] = None,
    list_models: Annotated[bool, typer.Option("--list", help="List the models and what each needs.")] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for tables and pictures.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable JSON on stdout.")] = False,
) -> None:
    """Fit kinetic models to time-activity curves: rate constants with errors and intervals."""
    if list_models:
        _list(as_json)
        return
    if tacs is None:
        raise UsageError("There are no curves", field="TACS", expected="a table of curves", mend="see --help")
    for path in (tacs, *(blood or ())):
        if not path.is_file():
            raise UsageError("There is no such file", file=path, found="nothing", expected="a table")
    from timelens.lenses.pet.dynamic.samples import BloodOptions
    from timelens.run.kinetics import KineticOptions, fit_curves, write_kinetics

    options = KineticOptions(
        models=tuple(model or ("auto",)),
        unit=unit,
        time_unit=time_unit,
        reference=reference,
        t_star_min=t_star,
        k2_reference_per_min=k2_reference,
        blood_volume=blood_volume,
        weights=weights,
        half_life_s=half_life,
        delay_s=_delay(delay),
        blood=BloodOptions(clock_offset, blood_decay_corrected, dispersion, plasma_ratio, parent_fraction),
    )
    result = fit_curves(tacs, blood or (), options)
    files = write_kinetics(result, out) if out is not None else []
    _show(result, files, stated=t_star is not None, as_json=as_json)
    if any(p.severity == "error" for p in result.problems):
        raise typer.Exit(1)


def _delay(text: str) -> float | str:
    if text in ("fit", "each"):
        return text
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError("The delay is no number", field="--delay", found=text, expected="seconds, fit or each")
    return value


def _list(as_json: bool) -> None:
    from timelens.lenses.pet.dynamic.models import MODELS

    if as_json:
        typer.echo(
            json.dumps([{"id": m.name, "name": m.title, "synonyms": [], "needs": m.needs} for m in MODELS.values()])
        )
        return
    for kind in MODELS.values():
        typer.echo(f"{kind.name:20} {kind.needs:10} {kind.title}")


def _show(result: KineticResult, files: list[Path], *, stated: bool, as_json: bool) -> None:
    from timelens.run.kinetics import parameter_rows

    rows = parameter_rows(result)
    if as_json:
        plain = [{k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in r.items()} for r in rows]
        typer.echo(json.dumps(plain, ensure_ascii=False))
    else:
        _table(rows)
        for line in result.given.how:
            typer.echo(f"input: {line}")
        for name, start in result.fits.t_star_s.items():
            typer.echo(f"{name}: t* {start / 60:g} min" + ("" if stated else ", found: the points then lie on a line"))
        for file in files:
            typer.echo(str(file))
    for problem in result.problems:
        typer.echo(f"{problem.severity.capitalize()}: {problem}", err=True)


def _table(rows: list[dict[str, Any]]) -> None:
    """One block per region and model; what holds for all its parameters stands in its head."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from timelens.knowledge import quantities
    from timelens.run.show import number

    console = Console()
    for (region, model), group in groupby(rows, key=lambda r: (r["region"], r["model"])):
        block = list(group)
        table = Table(box=None, pad_edge=False)
        for column in ("parameter", "value", "± SE", "95 % interval", "unit"):
            table.add_column(column, justify="left" if column in ("parameter", "unit") else "right")
        for row in block:
            ends = [number(row[e]) if math.isfinite(row[e]) else "open" for e in ("lower", "upper")]
            known = math.isfinite(row["lower"]) or math.isfinite(row["upper"])
            error = number(row["standard_error"], 2) if math.isfinite(row["standard_error"]) else "–"
            table.add_row(
                quantities.get(row["parameter"]).symbol, number(row["value"]), error,
                f"{ends[0]} to {ends[1]}" if known else "–", row["unit"],
            )  # fmt: skip
        console.print(f"[bold]{escape(region)}[/bold]  {escape(model)}", highlight=False)
        console.print(table)
        said = [f for row in block for f in (row["reason"] or row["flags"]).split("; ") if f]
        for remark in dict.fromkeys(said):
            if not remark.startswith("interval: "):
                console.print(f"  {escape(remark)}", style="yellow", highlight=False)
        console.print()


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("kinetics")(_kinetics)
