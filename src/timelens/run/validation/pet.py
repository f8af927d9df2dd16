"""Static PET: spheres and virtual tumours, within true outlines and under rules, with several nuclides and widths."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from timelens.lenses.pet.lens import PetLens
from timelens.lenses.pet.protocol import PetProtocol, pet_protocol
from timelens.lenses.pet.simulate import simulate
from timelens.run.validation import phantom
from timelens.run.validation.rows import Draw, Empty
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Administration, Protocol, Result, Simulated
from timelens.study.measurement import Measurement
from timelens.study.region import Region
from timelens.tumor.digital_patient import Point
from timelens.tumor.scene import Scene

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CASES", "NUCLIDES", "RULES", "check", "draw", "figures"]

#: What can be simulated.
CASES: Mapping[str, str] = {
    "spheres": "six spheres of 10 to 37 mm, 18F, within their true outlines, and their empty masks",
    "89Zr": "the spheres with 37 MBq of 89Zr after three days, three times the frame",
    "68Ga": "the spheres with 150 MBq of 68Ga",
    "64Cu": "the spheres with 200 MBq of 64Cu",
    "tumours": "virtual tumours of 24 mm under FDG: inflamed, excluded, with a necrotic core",
    "rules": "the spheres and the tumours, outlined by rules",
    "resolution": "the spheres without noise, corrected with a resolution that is 0.2 mm off",
}
#: Activity in Bq, s from injection beyond the protocol's own, and how many times its frame.
NUCLIDES: Mapping[str, tuple[float, float, float]] = {
    "18F": (300e6, 0.0, 1.0),
    "89Zr": (37e6, 3 * 86400.0, 3.0),
    "68Ga": (150e6, 0.0, 1.0),
    "64Cu": (200e6, 0.0, 1.0),
}
#: Rules by which lesions are outlined, as the options of the lens's step ``segment``.
RULES: Mapping[str, Mapping[str, Any]] = {
    "SUV 4, 3 mL": {"rule": "suv4"},
    "SUV 4": {"rule": "fixed", "threshold": 4.0},
    "41 % of maximum": {"rule": "percent", "fraction": 0.41},
    "50 % of maximum": {"rule": "percent", "fraction": 0.50},
    "gradient": {"rule": "gradient"},
}
_OFF_MM = 0.2
_QUANTITIES = ("suv_mean", "suv_mean_pvc", "suv_max", "suv_peak", "mtv", "tlg")
_UNDER_RULES = ("suv_mean", "mtv", "tlg")
#: Quantities that can be told from an empty mask.
_DETECTED = ("suv_mean", "suv_mean_pvc", "suv_peak")
#: A find belongs to a lesion if its centroid is no farther from the lesion's centre than this.
_NEAR_MM = 20.0
_TIME = datetime(2024, 1, 15, 9, 0)


def check(protocol: Protocol | None) -> Protocol:
    """The protocol, or the default one; see :func:`~timelens.lenses.pet.protocol.pet_protocol` for what is refused."""
    chosen = protocol or Protocol("pet")
    pet_protocol(chosen)
    return chosen


def draw(protocol: Protocol, case: str, rng: np.random.Generator) -> list[Draw]:
    """One repetition of a case, judged by the first scan of the protocol as one frame."""
    if case == "rules":
        return _rules(protocol, rng)
    if case == "resolution":
        return _resolution(protocol, rng)
    nuclide = case if case in NUCLIDES else "18F"
    if case == "tumours":
        scan = _Scan.of(protocol, _tumours(protocol, rng), rng)
    else:
        places = phantom.ring(len(phantom.DIAMETERS), rng)
        scan = _Scan.of(protocol, phantom.spheres(places), rng, nuclide)
        if case == "spheres":
            bare = _Scan.of(protocol, phantom.empty(), rng, nuclide)
            return scan.draws(case, _values(bare.measure(noisy=True, regions=scan.made.regions)))
    return scan.draws(case)


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """``validation``: the spheres; ``cases``: the other cases, if there are any."""
    from timelens.figures.validation import cases_figure, spheres_figure

    plain = [r for r in rows if r["case"] == "spheres"]
    others = [r for r in rows if r["case"] != "spheres"]
    made = {"validation": spheres_figure(plain)} if plain else {}
    return {**made, "cases": cases_figure(others)} if others else made


@dataclass(frozen=True)
class _Scan:
    """A scan with its truth."""

    plan: PetProtocol
    scene: Scene
    made: Simulated

    @classmethod
    def of(cls, protocol: Protocol, scene: Scene, rng: np.random.Generator, nuclide: str = "18F") -> _Scan:
        plan = pet_protocol(protocol)
        activity, later, longer = NUCLIDES[nuclide]
        start, length = _frame(plan)
        scans = [{"start_s": start + later, "frames_s": [length * longer]}]
        given = [Administration("FDG" if nuclide == "18F" else "", _TIME, activity, nuclide)]
        return cls(plan, scene, simulate(scene, given, Protocol("pet", {**protocol.parameters, "scans": scans}), rng))

    def measure(self, *, noisy: bool, **change: Any) -> list[Measurement]:
        """Rows within the true outlines."""
        return self.quantify(noisy=noisy, given=True, **change).measurements

    def quantify(
        self,
        *,
        noisy: bool,
        given: bool,
        rule: Mapping[str, Any] | None = None,
        off: float = 0.0,
        regions: Sequence[Region] | None = None,
    ) -> Result:
        """What the lens makes of the scan, as a user would ask for it; ``regions`` are outlines other than its own."""
        acquisition: Acquisition = (self.made.acquisitions if noisy else self.made.noise_free)[0]
        geometry = acquisition.image.geometry
        assert geometry is not None
        width = [w + off for w in self.plan.fwhm_mm]
        options = {
            "segment": rule or {"rule": "given"},
            "partial_volume": {"fwhm_mm": width, "background": phantom.BACKGROUND},
        }
        organs = phantom.reference_region(geometry)
        outlines = [*(self.made.regions if regions is None else regions), organs] if given else [organs]
        return PetLens().quantify({"pet": acquisition}, outlines, options)

    @property
    def sizes(self) -> dict[str, float]:
        """Diameter of every lesion in mm; NaN for tumours, which are no spheres."""
        return {s.name: 2 * s.semi_axes[0] for s in self.scene.host.lesions} | dict.fromkeys(
            (f.name for f in self.scene.fields), math.nan
        )

    @property
    def real(self) -> dict[tuple[str, str], float]:
        """True values by region and quantity."""
        known = {(t.region, t.quantity): t.ideal for t in self.made.truth}
        return known | {(name, "suv_mean_pvc"): known[name, "suv_mean"] for name in self.sizes}

    def draws(self, case: str, empty: Mapping[tuple[str, str], float] | None = None) -> list[Draw]:
        """Noisy against noise-free, within the true outlines."""
        seen, real, found = _values(self.measure(noisy=False)), self.real, []
        for row in self.measure(noisy=True):
            key = (row.region, row.quantity)
            if row.region not in self.sizes or row.quantity not in _QUANTITIES:
                continue
            told = None
            if empty is not None and row.quantity in _DETECTED:
                told = Empty(phantom.BACKGROUND, phantom.UPTAKE, empty.get(key, math.nan))
            found.append(Draw.of(row, case=case, seen=seen.get(key, math.nan), real=real[key],
                                 diameter_mm=self.sizes[row.region], empty=told))  # fmt: skip
        return sorted(found, key=lambda d: _QUANTITIES.index(d.quantity))


def _rules(protocol: Protocol, rng: np.random.Generator) -> list[Draw]:
    """Every rule on the spheres and the tumours, noisy and noise-free; a lesion that is not found gives no draw."""
    places = phantom.ring(len(phantom.DIAMETERS), rng)
    result = []
    for scene in (phantom.spheres(places), _tumours(protocol, rng)):
        scan = _Scan.of(protocol, scene, rng)
        real = scan.real
        for label, rule in RULES.items():
            seen = _values(_found(scan, rule, noisy=False))
            for row in _found(scan, rule, noisy=True):
                if row.quantity in _UNDER_RULES:
                    key = (row.region, row.quantity)
                    result.append(Draw.of(row, case=f"rule: {label}", seen=seen.get(key, math.nan), real=real[key],
                                          diameter_mm=scan.sizes[row.region]))  # fmt: skip
    return sorted(result, key=lambda d: list(RULES).index(d.case.removeprefix("rule: ")))


def _found(scan: _Scan, rule: Mapping[str, Any], *, noisy: bool) -> list[Measurement]:
    """Rows of the largest find near each lesion, under the lesion's name."""
    result = scan.quantify(noisy=noisy, given=False, rule=rule)
    region = result.regions["lesions"]
    assert region.labels is not None and region.labels.geometry is not None
    labels, geometry = region.labels.numpy(), region.labels.geometry
    best: dict[str, tuple[int, str]] = {}
    for number, name in region.names.items():
        index = np.argwhere(labels == number)
        if not len(index):
            continue
        middle = geometry.to_mm(index.mean(axis=0))
        nearest, distance = min(
            ((known, float(np.linalg.norm(middle - centre))) for known, centre in _centres(scan.scene).items()),
            key=lambda pair: pair[1],
        )
        if distance <= _NEAR_MM and len(index) > best.get(nearest, (0, ""))[0]:
            best[nearest] = (len(index), name)
    known = {find: lesion for lesion, (_, find) in best.items()}
    return [replace(m, region=known[m.region]) for m in result.measurements if m.region in known]


def _resolution(protocol: Protocol, rng: np.random.Generator) -> list[Draw]:
    """Corrected means of the noise-free image with a width that is wrong, against those with the right one."""
    places = phantom.ring(len(phantom.DIAMETERS), rng)
    silent = {**protocol.parameters, "calibration": {"cov": 0.0}, "sensitivity_cps_per_kbq": None}
    scan = _Scan.of(Protocol("pet", silent), phantom.spheres(places), rng)
    real, right = scan.real, _values(scan.measure(noisy=False))
    return [
        Draw.of(row, case=f"resolution {off:+g} mm", seen=right[row.region, row.quantity],
                real=real[row.region, row.quantity], diameter_mm=scan.sizes[row.region])
        for off in (_OFF_MM, -_OFF_MM)
        for row in scan.measure(noisy=False, off=off)
        if row.quantity == "suv_mean_pvc" and row.region in scan.sizes
    ]  # fmt: skip


def _tumours(protocol: Protocol, rng: np.random.Generator) -> Scene:
    start, length = _frame(pet_protocol(protocol))
    return phantom.tumours(phantom.ring(len(phantom.TUMOURS), rng), start + length)


def _frame(plan: PetProtocol) -> tuple[float, float]:
    """Start and length in s of the first scan as one frame."""
    return plan.scans[0].start_s, float(sum(plan.scans[0].frames_s))


def _centres(scene: Scene) -> dict[str, Point]:
    return {s.name: s.centre for s in scene.host.lesions} | {f.name: f.centre for f in scene.fields}


def _values(rows: Sequence[Measurement]) -> dict[tuple[str, str], float]:
    return {(m.region, m.quantity): m.value for m in reversed(rows)}
