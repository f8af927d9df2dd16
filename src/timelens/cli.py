"""The command line: thin words over the functions that do the work.

Results go to stdout, everything else to stderr. Exit 0: all right; 1: some data could not be used (each named);
2: wrong use.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import timelens
from timelens import cli_kinetics, cli_knowledge
from timelens.errors import TimelensError, UsageError

app = typer.Typer(
    name="timelens",
    help="From raw molecular images of tumours to calibrated numbers with units and uncertainty.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON on stdout.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder of results.")]
Rule = Annotated[
    str | None,
    typer.Option(help="Segmentation rule: auto, given, fixed, percent, percist, suv4, gradient."),
]
Threshold = Annotated[float | None, typer.Option(help="SUV threshold of the rules fixed, percent and gradient.")]
Fraction = Annotated[float | None, typer.Option(help="Fraction of the maximum of the rule percent (0.41, 0.5).")]
Seeds = Annotated[
    list[str] | None,
    typer.Option("--seed", help="x,y,z in mm (RAS+): the find there is physiological and left out. Repeatable."),
]
By = Annotated[
    str | None, typer.Option(help="Column of participants.tsv whose groups are compared; group or arm if there.")
]
Fwhm = Annotated[float | None, typer.Option(help="Resolution of the scanner in mm, for partial-volume correction.")]


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(timelens.__version__)
        raise typer.Exit


@app.command()
def scan(
    folder: Annotated[Path, typer.Argument(help="A folder of scans of any kind.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where to write the inventory.")] = Path("study.yaml"),
    as_json: Json = False,
) -> None:
    """Say what a folder holds and what is missing, and write it into study.yaml to correct."""
    from timelens.run import show
    from timelens.run.api import open_study
    from timelens.run.inventory import write_inventory

    if not folder.is_dir():
        raise UsageError("There is no such folder", file=folder, expected="a folder of scans")
    inventory = open_study(folder)
    write_inventory(inventory, out)
    show.inventory(inventory, out, as_json=as_json)
    _end(any(p.severity == "error" for p in inventory.problems))


@app.command()
def run(
    source: Annotated[Path, typer.Argument(help="A folder of scans, or study.yaml.")],
    out: Out,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    dask: Annotated[str | None, typer.Option(help="Address of a Dask scheduler.")] = None,
    ledger: Annotated[str | None, typer.Option(help="PostgreSQL URL in place of the SQLite ledger.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the steps and what is missing; compute nothing.")
    ] = False,
    rule: Rule = None,
    threshold: Threshold = None,
    fraction: Fraction = None,
    seed: Seeds = None,
    fwhm: Fwhm = None,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Measure every session of a study and write tables, masks, maps and the report."""
    from timelens.run import show
    from timelens.run.api import open_study, plan_study, run_study

    options = _options(rule, threshold, fraction, seed, fwhm) | ({"groups": {"by": by}} if by else {})
    if dry_run:
        _end(not show.plan(plan_study(open_study(source, out), out, options), as_json=as_json))
        return
    with show.progress() as progress:
        result = run_study(source, out, options=options, jobs=jobs, dask=dask, ledger=ledger, progress=progress)
    from timelens.report import build

    page = build(out)
    show.result(result, page, as_json=as_json)
    _end(not result.complete)


@app.command()
def quantify(
    image: Annotated[Path, typer.Argument(help="An image file, or a folder with one DICOM series.")],
    mask: Annotated[Path, typer.Option(help="Label file, DICOM SEG or RTSTRUCT.")],
    unit: Annotated[
        str | None, typer.Option(help="UCUM unit of the values, if the file does not say: g/mL, Bq/mL.")
    ] = None,
    fwhm: Fwhm = None,
    as_json: Json = False,
) -> None:
    """Measure one image in the regions of one mask."""
    from timelens.run import show
    from timelens.run.quantify import quantify_image

    options = {"segment": {"rule": "given"}, "partial_volume": {"fwhm_mm": fwhm}}
    result = quantify_image(image, mask, unit=unit, options=options)
    show.rows(result.measurements, result.problems, as_json=as_json)
    _end(any(p.severity == "error" for p in result.problems))


@app.command()
def report(out: Annotated[Path, typer.Argument(help="A folder of results.")], as_json: Json = False) -> None:
    """Write report.html anew from a folder of results."""
    from timelens.report import build

    if not (out / "study.json").is_file():
        raise UsageError("This is no folder of results", file=out, expected="a folder that 'timelens run' wrote")
    page = build(out)
    typer.echo(json.dumps({"report": str(page)}) if as_json else f"Report: {page}")


@app.command()
def compare(
    out: Annotated[Path, typer.Argument(help="A folder of results.")],
    by: By = None,
    as_json: Json = False,
) -> None:
    """Compare groups of patients in a folder of results: differences, intervals, p-values, false discovery rate."""
    from timelens.report import build
    from timelens.run import show_groups
    from timelens.run.groups import GROUPS_FILE, compare_results

    found, problems = compare_results(out, by)
    build(out)
    show_groups.comparisons(found, problems, out / GROUPS_FILE, as_json=as_json)


@app.command()
def thresholds(
    out: Annotated[Path, typer.Argument(help="A folder of results with sections.")],
    cofactor: Annotated[float, typer.Option(help="Of the arcsinh, as in the step 'types'.")] = 1.0,
    as_json: Json = False,
) -> None:
    """Thresholds of markers over the cells of all sections together, to be stated in study.yaml."""
    from timelens.run import show_groups
    from timelens.run.thresholds import pooled_thresholds

    found, reasons = pooled_thresholds(out, cofactor=cofactor)
    show_groups.thresholds(found, reasons, as_json=as_json)


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="A folder of results.")],
    to: Annotated[str, typer.Option(help="dicom, bids, ome-zarr, csv or spatialdata.")],
    target: Annotated[Path | None, typer.Option("-o", "--out", help="Where to; OUT/export/FORMAT by default.")] = None,
    as_json: Json = False,
) -> None:
    """Write results for other programs: DICOM SEG, SR and maps, BIDS, OME-Zarr, CSV, or SpatialData."""
    from timelens.run.export import export_results

    files = export_results(out, to, target)
    if as_json:
        typer.echo(json.dumps({"files": [str(f) for f in files]}))
    else:
        for file in files:
            typer.echo(file)


@app.command()
def demo(
    out: Out = Path("demo-out"),
    full: Annotated[bool, typer.Option("--full", help="More subjects and finer grids.")] = False,
    lenses: Annotated[str, typer.Option(help="Lenses to show, by name, with commas.")] = "pet,mri,cytometry",
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    as_json: Json = False,
) -> None:
    """Simulate a small trial as DICOM PET/CT, MR and biopsies, measure it, and hold it against the truth."""
    from timelens.run import show, show_demo
    from timelens.run.demo import run_demo

    with show.progress() as progress:
        made = run_demo(
            out, lenses=lenses.split(","), full=full, jobs=jobs, progress=progress, simulated=show.simulated
        )
    from timelens.report import build

    page = build(made.results)
    show_demo.demo(made, page, as_json=as_json)


@app.command()
def simulate(
    spec: Annotated[Path, typer.Argument(help="A cohort in YAML: arms, visits, tumours, agents, protocols.")],
    out: Out,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    as_json: Json = False,
) -> None:
    """Write a simulated cohort as DICOM or PET-BIDS, with its truth beside it."""
    from timelens.run import show
    from timelens.run.simulation.cohort import simulate_cohort

    made = simulate_cohort(spec, out, jobs=jobs, progress=show.simulated)
    facts = {"out": str(made.folder), "scans": made.scans, "truth": str(made.folder / "truth" / "truth.csv")}
    typer.echo(json.dumps(facts) if as_json else f"{made.scans} scans in {out}; truth: {facts['truth']}")


@app.command()
def validate(
    lens: Annotated[str, typer.Option(help="Lens to judge: pet, pet-dynamic ...")] = "pet",
    seeds: Annotated[int, typer.Option(min=2, help="Repetitions.")] = 20,
    protocol: Annotated[Path | None, typer.Option(help="Protocol in YAML; the lens's default if not given.")] = None,
    cases: Annotated[str, typer.Option(help="Some of the lens's cases, with commas between; all if none.")] = "",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for table, JSON and figures.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    as_json: Json = False,
) -> None:
    """Bias, spread, coverage and detection limit of a lens on a protocol, from simulated scans."""
    from timelens.run import show
    from timelens.run.validation import read_protocol, write_validation
    from timelens.run.validation import validate as run_validation

    stated = read_protocol(protocol) if protocol else None
    wanted = [name.strip() for name in cases.split(",") if name.strip()]
    found = run_validation(lens, protocol=stated, seeds=seeds, cases=wanted, jobs=jobs)
    files = write_validation(found, out) if out else ()
    show.validation(found.rows, files, as_json=as_json)


cli_kinetics.register(app)
cli_knowledge.register(app)


def _options(
    rule: str | None, threshold: float | None, fraction: float | None, seeds: list[str] | None, fwhm: float | None
) -> dict[str, Any]:
    """Options of the PET lens from the command line; what is not said is left to study.yaml and the defaults."""
    segment = {"rule": rule, "threshold": threshold, "fraction": fraction}
    if seeds:
        segment["drop_seeds_mm"] = [_point(seed) for seed in seeds]  # type: ignore[assignment]
    options: dict[str, Any] = {}
    if given := {k: v for k, v in segment.items() if v is not None}:
        options["segment"] = given
    if fwhm is not None:
        options["partial_volume"] = {"fwhm_mm": fwhm}
    return {"pet": options} if options else {}


def _point(text: str) -> list[float]:
    try:
        point = [float(part) for part in text.split(",")]
    except ValueError:
        point = []
    if len(point) != 3:
        raise UsageError(
            "A seed is three numbers", field="--seed", found=text, expected="x,y,z in mm, such as 12.5,-40,310"
        )
    return point


def _end(trouble: bool) -> None:
    if trouble:
        raise typer.Exit(1)


def main() -> None:
    """Entry point of the command ``timelens``."""
    import logging
    import warnings

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # What a person should know stands in the results' problems; Python's own form of it would only double that.
    warnings.simplefilter("ignore")
    try:
        app()
    except TimelensError as error:
        from timelens.run import show

        show.error(error)
        sys.exit(error.exit_code)
    except OSError as error:
        from timelens.run import show

        show.error(
            UsageError(
                "A file or folder cannot be used",
                file=error.filename or "",
                found=error.strerror or type(error).__name__,
                expected="a place that can be read, and written where results go",
            )
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
