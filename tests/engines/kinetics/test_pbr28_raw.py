"""From raw blood to V_T: autosampler, dispersion, manual samples, plasma ratio, metabolites and delay of real scans."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.engines.kinetics.kinfitr import REGIONS, Scan
from tests.engines.kinetics.study import Floats

from timelens.engines.kinetics import (
    InputFunction,
    TwoTissue,
    correct_dispersion,
    fit_delay,
    merge_samples,
)

#: The autosampler is used up to this time, s, as in the published processing.
SWITCH = 300.0
#: A parent fraction of 0.24 between 0.21 before and 0.08 after it, which the published processing left out as well.
OUTLIER = ("ytdh_1", 2400)
#: The published plasma of this scan does not follow its own listed parent fractions.
OTHER_FRACTIONS = "rtvg_1"


@pytest.fixture(scope="module")
def raw(pbr28: Path) -> dict[str, Any]:
    """Raw blood of all scans."""
    with gzip.open(pbr28 / "pbr28_blooddata.json.gz") as file:
        return dict(json.load(file))


def _samples(part: dict[str, Any], key: str) -> Floats:
    """Times and values; samples that were lost have no value."""
    return np.array([(v["time"], v[key]) for v in part["Values"] if v.get(key) is not None], dtype=float).T


def _inputs(data: dict[str, Any], name: str, last: float) -> tuple[InputFunction, InputFunction]:
    """Parent in plasma and whole blood, from the steps a user would take."""
    auto = InputFunction(*_samples(data["Blood"]["Continuous"], "activity"), "whole_blood", "kBq/mL")  # type: ignore[misc]
    auto = correct_dispersion(auto, data["Blood"]["Continuous"]["DispersionConstant"], smooth=2.0)
    manual, plasma = _samples(data["Blood"]["Discrete"], "activity"), _samples(data["Plasma"], "activity")
    blood = merge_samples(auto, InputFunction(*manual, "whole_blood", "kBq/mL"), switch=SWITCH)  # type: ignore[misc]
    both = np.intersect1d(manual[0], plasma[0])
    in_plasma = blood.times_curve(both, np.interp(both, *plasma) / np.interp(both, *manual), kind="plasma")
    times, parent = _samples(data["Metabolite"], "parentFraction")
    keep = np.array([(name, time) != OUTLIER for time in times])
    return in_plasma.times_curve(times[keep], parent[keep], kind="parent").held_until(last), blood.held_until(last)


def _delay_curve(scan: Scan) -> Floats:
    return scan.curves[1:, REGIONS.index("WB")]


def test_v_t_from_raw_blood(pbr28: Path, raw: dict[str, Any], scans: dict[str, Scan]) -> None:
    """With the reference's delay V_T is within 5 % of that from the published input in 19 of 20 scans.

    In the other the published plasma implies metabolite fractions 0.6 to 1.3 times those listed with it, and V_T, known
    to 7 to 38 %, moves by less than twice its standard error.
    """
    delays = pd.read_csv(pbr28 / "kinfitr_pbr28_fits_long.csv").groupby("PET").inpshift_used.first() * 60.0
    published = pd.read_csv(pbr28 / "pbr28_procblood.csv.gz")
    theirs = pd.read_csv(pbr28 / "kinfitr_pbr28_2tcm_multistart.csv").set_index(["PET", "region"])
    off: dict[str, float] = {}
    regions, against = 0, []
    for name, scan in scans.items():
        parent, blood = _inputs(raw[name], name, float(scan.frames.end[-1]))
        if name == OTHER_FRACTIONS:
            mine = published[name == published.PET]
            at = mine.Time.to_numpy()[mine.Time.to_numpy() > SWITCH]
            factor = np.interp(at, mine.Time, mine.Cpl_metabcorr) / parent.at(at)
            assert factor.max() > 1.25
            assert factor.min() < 0.7
        delay = float(delays[name])
        fit = TwoTissue(scan.instants, parent.shifted(delay), blood.shifted(delay)).fit(scan.curves, scan.weights)
        same = TwoTissue(scan.instants, scan.plasma, scan.blood).fit(scan.curves, scan.weights)
        good = fit.identifiable & same.identifiable
        if name == OTHER_FRACTIONS:
            gap = np.abs(fit.parameters["v_t"] - same.parameters["v_t"]) / same.standard_errors["v_t"]
            assert gap.max() < 2
            continue
        regions += int(good.sum())
        off[name] = float(np.abs(fit.parameters["v_t"] / same.parameters["v_t"] - 1)[good].max())
        best = np.array([theirs.loc[(name, region), "Vt"] for region in REGIONS])
        against.append(np.abs(fit.parameters["v_t"] / best - 1)[good])
    assert regions > 110
    assert max(off.values()) < 0.05
    assert np.median(list(off.values())) < 0.01
    assert np.median(np.concatenate(against)) < 0.01


def test_delays_have_one_minimum(raw: dict[str, Any], scans: dict[str, Scan]) -> None:
    """With weight on the frames of the upstroke the delay is found inside the search, also where the reference's lies
    on its bound of half a minute; the weights of that study leave the upstroke out.
    """
    for name in ("ytdh_1", "mhco_1", "rbqc_1"):
        scan = scans[name]
        parent, blood = _inputs(raw[name], name, float(scan.frames.end[-1]))
        found = fit_delay(
            lambda d, p=parent, b=blood, s=scan: TwoTissue(s.frames, p.shifted(d), b.shifted(d)),  # type: ignore[misc]
            _delay_curve(scan),
            bounds=(-30, 30),
            step=3.0,
        )
        assert not found.at_bound
        assert abs(found.delay) < 28
        assert found.standard_error < 1.5
        even = found.weighted_rss[np.isin(found.delays, np.linspace(-30, 30, 21))]
        inner = (even[1:-1] < even[:-2]) & (even[1:-1] < even[2:])
        assert inner.sum() == 1


@pytest.mark.slow
def test_v_t_with_our_own_delay(raw: dict[str, Any], scans: dict[str, Scan]) -> None:
    """The whole chain, delay included: within 5 % in 17 scans; see above for the others."""
    off = {}
    for name, scan in scans.items():
        parent, blood = _inputs(raw[name], name, float(scan.frames.end[-1]))
        delay = fit_delay(
            lambda d, p=parent, b=blood, s=scan: TwoTissue(s.frames, p.shifted(d), b.shifted(d)),  # type: ignore[misc]
            _delay_curve(scan),
            bounds=(-30, 30),
        )
        assert not delay.at_bound
        assert delay.standard_error < 2
        shifted = parent.shifted(delay.delay), blood.shifted(delay.delay)
        fit = TwoTissue(scan.instants, *shifted).fit(scan.curves, scan.weights)
        same = TwoTissue(scan.instants, scan.plasma, scan.blood).fit(scan.curves, scan.weights)
        good = fit.identifiable & same.identifiable
        off[name] = float(np.abs(fit.parameters["v_t"] / same.parameters["v_t"] - 1)[good].max())
    table = pd.Series(off).sort_values()
    assert set(table.index[-3:]) == {OTHER_FRACTIONS, "ytdh_1", "rbqc_1"}
    assert table.iloc[:-3].max() < 0.05
