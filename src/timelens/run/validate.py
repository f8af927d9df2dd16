"""How well a lens measures on a protocol: spheres in a body, scanned again and again, held against their truth.

The object is that of image-quality phantoms: six spheres of 10 to 37 mm in a ring, in a body of uniform uptake with a
reference region of its own. The ring lies elsewhere in every repetition, so that no place of the grid is special. Each
scan is measured twice, within the true outlines, with noise and without.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from timelens.errors import UsageError
from timelens.lenses.pet.lens import PetLens
from timelens.lenses.pet.protocol import pet_protocol
from timelens.lenses.pet.simulate import simulate
from timelens.study.contract import Administration, Protocol, Simulated
from timelens.study.measurement import Measurement
from timelens.study.region import Region
from timelens.tumor.digital_patient import DigitalPatient, Shape, lesion
from timelens.tumor.paint import label_region
from timelens.tumor.scene import Scene

__all__ = ["COLUMNS", "Validation", "read_protocol", "validate", "write_validation"]

#: The stable columns, then what they rest on.
COLUMNS = (
    "quantity", "unit", "truth", "bias_percent", "spread_percent", "coverage_95", "detection_limit", "n",
    "region", "diameter_mm", "truth_object", "bias_object_percent",
)  # fmt: skip

#: Spheres of the NEMA NU 2 image-quality phantom, in mm.
DIAMETERS = (10.0, 13.0, 17.0, 22.0, 28.0, 37.0)
_RING_MM, _UPTAKE, _BACKGROUND, _WEIGHT_G, _BQ = 57.2, 8.0, 2.0, 70e3, 300e6
_QUANTITIES = ("suv_mean", "suv_mean_pvc", "suv_max", "suv_peak", "mtv", "tlg")
#: Of the standard normal distribution, for 5 % false positives and 5 % false negatives.
_BOTH_ERRORS = 3.29
_TIME = datetime(2024, 1, 15, 9, 0)


@dataclass(frozen=True)
class Validation:
    """What a validation found.

    Attributes
    ----------
    lens
        Name.
    protocol
        As it was used.
    seeds
        Repetitions.
    rows
        With the keys :data:`COLUMNS`; None where something does not apply.
    """

    lens: str
    protocol: Protocol
    seeds: int
    rows: list[dict[str, Any]]


def read_protocol(path: str | Path) -> Protocol:
    """A protocol from a YAML file: ``lens`` (pet where nothing is said) and its parameters."""
    try:
        given = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError("The protocol cannot be read", file=path, found=str(error).splitlines()[0]) from None
    if not isinstance(given, dict):
        raise UsageError("A protocol holds names and values", file=path, found=type(given).__name__)
    return Protocol(str(given.pop("lens", "pet")), given)


def validate(
    lens: str = "pet", *, protocol: Protocol | None = None, seeds: int = 20, jobs: int = 1, seed: int = 0
) -> Validation:
    """Bias, spread, coverage and detection limit of what a lens measures.

    Parameters
    ----------
    lens
        Name; only ``pet`` is simulated.
    protocol
        The lens's default where none is given. A protocol with several scans or frames is judged by its first scan as
        one frame.
    seeds
        Repetitions, each with its own noise and its own place of the spheres; at least 2.
    jobs
        Processes; the result does not depend on them.
    seed
        Of the whole validation.

    Returns
    -------
    Validation
        A row for each quantity and sphere. ``truth`` is what a noise-free scanner of that resolution shows (its mean
        over the repetitions) and ``bias_percent`` the mean deviation from it; ``truth_object`` and
        ``bias_object_percent`` belong to the object itself. ``spread_percent`` is the standard deviation of the
        deviations. ``coverage_95`` is the part of the 95 % intervals from image noise that hold the noise-free value.
        ``detection_limit`` is the least uptake of such a sphere that is told from its background with 5 % error of
        either kind (Currie LA. Anal Chem 1968;40:586, doi:10.1021/ac60259a007): background + 3.29 spread of the
        background in that mask / recovery.
    """
    if lens != "pet":
        raise UsageError("This lens is not simulated", field="lens", found=lens, expected="pet")
    if seeds < 2:
        raise UsageError("A spread needs repetitions", field="seeds", found=seeds, expected="2 or more")
    chosen = protocol or Protocol("pet")
    pet_protocol(chosen)
    tasks = [(chosen, seed, number) for number in range(seeds)]
    if jobs > 1:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            draws = list(pool.map(_draw, tasks, chunksize=max(1, seeds // (4 * jobs))))
    else:
        draws = [_draw(task) for task in tasks]
    return Validation(lens, chosen, seeds, _rows([row for draw in draws for row in draw]))


def _draw(task: tuple[Protocol, int, int]) -> list[dict[str, Any]]:
    """One repetition: every quantity of every sphere, and of its empty mask."""
    protocol, seed, number = task
    rng = np.random.default_rng([seed, number])
    plan = pet_protocol(protocol)
    first = plan.scans[0]
    parameters = {**protocol.parameters, "scans": [{"start_s": first.start_s, "frames_s": [sum(first.frames_s)]}]}
    given = [Administration("FDG", _TIME, _BQ, "18F")]
    turn, shift = rng.uniform(0, 2 * np.pi), rng.uniform(-2, 2, 3)
    width = float(np.mean(plan.fwhm_mm)) if len(set(plan.fwhm_mm)) == 1 else list(plan.fwhm_mm)
    result: list[dict[str, Any]] = []
    empty: dict[str, float] = {}
    for uptake in (_BACKGROUND, _UPTAKE):
        scene = Scene(_phantom(turn, shift, uptake))
        made = simulate(scene, given, Protocol("pet", parameters), rng)
        noisy, clean = (_measured(a, made, scene, width) for a in (made.acquisitions[0], made.noise_free[0]))
        if uptake == _BACKGROUND:
            empty = {f"{m.region} {m.quantity}": m.value for m in noisy.values()}
            continue
        ideal = {(t.region, t.quantity): t.ideal for t in made.truth}
        for (region, quantity), row in noisy.items():
            true = ideal.get((region, "suv_mean" if quantity == "suv_mean_pvc" else quantity), math.nan)
            result.append(
                {
                    "region": region, "quantity": quantity, "unit": row.unit, "value": row.value,
                    "seen": clean[region, quantity].value, "object": true, "lower": row.lower, "upper": row.upper,
                    "noise": row.uncertainty_kind == "standard_error",
                    "empty": empty.get(f"{region} {quantity}", math.nan),
                }
            )  # fmt: skip
    return result


def _phantom(turn: float, shift: np.ndarray[Any, Any], uptake: float) -> DigitalPatient:
    body = Shape("body", (0.0, 0.0, 0.0), (150.0, 115.0, 90.0), _BACKGROUND, 0.0, cylinder=True)
    spheres = []
    for k, diameter in enumerate(DIAMETERS):
        angle = turn + 2 * np.pi * k / len(DIAMETERS)
        x, y, z = np.array([_RING_MM * np.cos(angle), _RING_MM * np.sin(angle), 0.0]) + shift
        spheres.append(lesion(f"sphere {diameter:g} mm", (float(x), float(y), float(z)), diameter, uptake, hu=0.0))
    return DigitalPatient((body,), tuple(spheres), _WEIGHT_G, 1700.0, "F", 50.0)


def _measured(acquisition: Any, made: Simulated, scene: Scene, width: Any) -> dict[tuple[str, str], Measurement]:
    """Rows by region and quantity, within the true outlines."""
    geometry = acquisition.image.geometry
    assert geometry is not None
    reference = Shape("liver", (0.0, 0.0, 50.0), (60.0, 60.0, 22.0), _BACKGROUND, role="liver")
    organs: Region = label_region({"liver": reference}, geometry, name="organs")
    options: Mapping[str, Any] = {
        "segment": {"rule": "given"}, "partial_volume": {"fwhm_mm": width, "background": _BACKGROUND},
    }  # fmt: skip
    rows = PetLens().quantify({"pet": acquisition}, [*made.regions, organs], options).measurements
    names = {s.name for s in scene.host.lesions}
    return {(m.region, m.quantity): m for m in reversed(rows) if m.region in names and m.quantity in _QUANTITIES}


def _rows(draws: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for draw in draws:
        groups.setdefault((draw["quantity"], draw["region"]), []).append(draw)
    order = [(q, f"sphere {d:g} mm") for q in _QUANTITIES for d in DIAMETERS]
    return [_summary(*key, groups[key]) for key in order if key in groups]


def _summary(quantity: str, region: str, draws: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    column = {k: np.array([d[k] for d in draws], float) for k in ("value", "seen", "object", "lower", "upper", "empty")}
    usable = np.isfinite(column["value"]) & np.isfinite(column["seen"])
    value, seen, real = (column[k][usable] for k in ("value", "seen", "object"))
    n = int(usable.sum())
    truth = float(seen.mean()) if n else math.nan
    off = value / seen - 1 if n else np.array([])
    with_noise = usable & np.array([d["noise"] for d in draws])
    held = (column["lower"] <= column["seen"]) & (column["seen"] <= column["upper"])
    limit = None
    empty = column["empty"][np.isfinite(column["empty"])]
    if quantity in ("suv_mean", "suv_mean_pvc", "suv_peak") and len(empty) > 1:
        recovery = (truth - _BACKGROUND) / (_UPTAKE - _BACKGROUND)
        limit = float(empty.mean() + _BOTH_ERRORS * empty.std(ddof=1) / recovery) if recovery > 0 else None
    return {
        "quantity": quantity,
        "unit": str(draws[0]["unit"]),
        "truth": _number(truth),
        "bias_percent": _number(100 * off.mean() if n else math.nan),
        "spread_percent": _number(100 * off.std(ddof=1) if n > 1 else math.nan),
        "coverage_95": _number(float(held[with_noise].mean()) if with_noise.any() else math.nan),
        "detection_limit": limit,
        "n": n,
        "region": region,
        "diameter_mm": float(region.split()[1]),
        "truth_object": _number(float(real.mean()) if n else math.nan),
        "bias_object_percent": _number(100 * (value / real - 1).mean() if n else math.nan),
    }


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def write_validation(found: Validation, folder: str | Path) -> tuple[Path, Path]:
    """Write ``validation.csv`` and ``validation.png``; returns both paths."""
    from timelens.figures import write_png
    from timelens.figures.validation import validation_figure

    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    table, picture = place / "validation.csv", place / "validation.png"
    with open(table, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in found.rows)
    write_png(validation_figure(found.rows), picture)
    return table, picture
