"""Twenty real scans with arterial blood and a simulated reference set, against fits by the R package kinfitr 0.9.1.

The reference samples every frame at its middle, resamples blood to 6000 even points after shifting it by the delay,
and convolves by a plain sum (see :mod:`tests.engines.kinetics.kinfitr`). Its ``weights`` belong to the tissue and are
propagated to the plots' points.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.engines.kinetics.kinfitr import MINUTE, REGIONS, Scan, their_ma2, with_their_sum

from timelens.engines.kinetics import (
    MA1,
    MA2,
    MRTM1,
    MRTM2,
    SRTM,
    SRTM2,
    Frames,
    InputFunction,
    Logan,
    MultilinearLogan,
    OneTissue,
    Patlak,
    ReferenceLogan,
    TwoTissue,
    reference_input,
)


@pytest.fixture(scope="module")
def fits(pbr28: Path) -> pd.Series:
    """The reference's parameters by scan, region, model and name."""
    return pd.read_csv(pbr28 / "kinfitr_pbr28_fits_long.csv").set_index(["PET", "region", "model", "param"]).value


def _relative(scans: dict[str, Scan], fits: pd.Series, model: str, parameter: str, make: object) -> pd.Series:
    rows = {}
    for name, scan in scans.items():
        fit = make(scan).fit(scan.curves, scan.weights)  # type: ignore[operator]
        per_minute = MINUTE if fit.units[fit.main].endswith("/s") else 1.0
        for i, region in enumerate(REGIONS):
            rows[name, region] = fit.parameters[fit.main][i] * per_minute / fits[name, region, model, parameter] - 1
    return pd.Series(rows)


@pytest.mark.parametrize(
    ("model", "parameter", "make"),
    [
        ("MA1_10fr", "Vt", lambda s: MA1(s.instants, s.plasma, t_star=s.t_star)),
        ("mlLogan_10fr", "Vt", lambda s: MultilinearLogan(s.instants, s.plasma, t_star=s.t_star)),
        ("Logan_10fr", "Vt", lambda s: Logan(s.instants, s.plasma, t_star=s.t_star)),
        ("Patlak_10fr", "Ki", lambda s: Patlak(s.instants, s.plasma, t_star=s.t_star)),
    ],
)
def test_linear_models_in_all_120_regions(
    scans: dict[str, Scan], fits: pd.Series, model: str, parameter: str, make: object
) -> None:
    off = _relative(scans, fits, model, parameter, make)
    assert len(off) == 120
    assert off.abs().max() < 0.01


def test_ma2(scans: dict[str, Scan], fits: pd.Series) -> None:
    """Ours takes the double integral of a frame's mean exactly, the reference as a sum of frame sums: under 1 % where
    V_T is determined. With the reference's integrals its own values come out.
    """
    rows = {}
    for name, scan in scans.items():
        fit, same = MA2(scan.instants, scan.plasma).fit(scan.curves, scan.weights), their_ma2(scan)
        for i, region in enumerate(REGIONS):
            theirs = fits[name, region, "MA2", "Vt"]
            value, error = fit.parameters["v_t"][i], fit.standard_errors["v_t"][i]
            rows[name, region] = (value / theirs - 1, (value - theirs) / error, error / value, same[i] / theirs - 1)
    table = pd.DataFrame(rows, index=["off", "in errors", "relative error", "same"]).T
    assert table["same"].abs().max() < 1e-6
    assert table.off[table["relative error"] < 0.09].abs().max() < 0.01
    assert (table["relative error"] < 0.09).sum() > 80
    # One scan differs by up to 20 %: a tenth of what its values can be trusted (their standard errors reach 226 %).
    assert table.loc["ytdh_1", "in errors"].abs().max() < 0.15
    assert table.off.drop("ytdh_1").abs().max() < 0.01


def test_one_tissue(scans: dict[str, Scan], fits: pd.Series) -> None:
    """V_T agrees where the reference's blood volume is not on its bound of 0.01 or 0.1."""
    off = _relative(scans, fits, "1TCM", "Vt", lambda s: OneTissue(s.instants, s.plasma, s.blood))
    inside = pd.Series({key: 0.0101 < fits[key[0], key[1], "1TCM", "vB"] < 0.0999 for key in off.index})
    assert inside.sum() > 100
    assert off[inside].abs().max() < 0.01


def test_two_tissue_against_the_best_of_starts(pbr28: Path, scans: dict[str, Scan]) -> None:
    theirs = pd.read_csv(pbr28 / "kinfitr_pbr28_2tcm_multistart.csv").set_index(["PET", "region"])
    rows = {}
    for name, scan in scans.items():
        last = float(scan.frames.end[-1])
        model = TwoTissue(scan.instants, scan.plasma, scan.blood)
        fit = model.fit(scan.curves, scan.weights)
        framed = TwoTissue(scan.frames, scan.plasma.held_until(last), scan.blood.held_until(last)).fit(
            scan.curves[1:], scan.weights[1:]
        )
        same = with_their_sum(model, scan).fit(scan.curves, scan.weights)
        for i, region in enumerate(REGIONS):
            best = theirs.loc[name, region]
            # Bounds of the reference: K1..k4 from 0.0001 to 0.5 per minute, vB from 0.01 to 0.1.
            rates = best[["K1", "k2", "k3", "k4"]].to_numpy(dtype=float)
            inside = ((rates > 1.01e-4) & (rates < 0.499)).all() and 0.0101 < best.vB < 0.0999
            v_t, error = fit.parameters["v_t"][i], fit.standard_errors["v_t"][i]
            rows[name, region] = {
                "inside": bool(inside and fit.identifiable[i]),
                "rss": fit.weighted_rss[i] / best.wrss,
                "same rss": same.weighted_rss[i] / best.wrss,
                "off": v_t / best.Vt - 1,
                "same off": same.parameters["v_t"][i] / best.Vt - 1,
                "framed": abs(framed.parameters["v_t"][i] / v_t - 1),
                "error": error / v_t,
            }
    table = pd.DataFrame(rows).T.astype(float)
    assert len(table) == 120
    assert table.rss.max() <= 1.01
    assert (table.rss <= 1.001).mean() >= 0.9
    # With its own sum in place of the exact convolution no start of the reference is better in any region.
    assert table["same rss"].max() <= 1 + 1e-5
    inside = table[table.inside == 1]
    assert len(inside) > 100
    assert inside.off.abs().max() < 0.01
    assert inside["same off"].abs().max() < 1e-4
    # Frames averaged instead of sampled: under 2 % wherever V_T is known to 20 %; elsewhere a small part of its error.
    assert table.framed[table.error < 0.2].max() < 0.02
    assert (table.framed / table.error)[table.error >= 0.2].max() < 0.15
    assert table.framed.median() < 1e-3


def test_reference_models(pbr28: Path) -> None:
    """BP_ND and R1 of 60 simulated regions; the reference integrates by frame durations."""
    tacs = pd.read_csv(pbr28 / "simref_tacs.csv")
    fits = pd.read_csv(pbr28 / "kinfitr_simref_fits_long.csv").set_index(["PET", "region", "model", "param"]).value
    rows, drawn = [], []
    for name, part in tacs.groupby("PET"):
        start, end = part.StartTime.to_numpy() * MINUTE, (part.StartTime + part.Duration).to_numpy() * MINUTE
        instants, frames = Frames.instants(part.Times.to_numpy() * MINUTE), Frames(start[1:], end[1:])
        curves, weights = part[["ROI1", "ROI2", "ROI3"]].to_numpy(), part.Weights.to_numpy()
        reference = part.Reference.to_numpy()
        k2_reference = fits[name, "ROI1", "MRTM1", "k2prime"] / MINUTE
        exact = SRTM(instants, reference_input(instants, reference)).fit(curves, weights)
        drawn.append((exact.parameters["bp_nd"], exact.parameters["k2"] * MINUTE))
        # The R package resamples the reference to 1024 even points, which cuts its corners, and its plain sum counts
        # half a step too much of it.
        grid = np.linspace(0, instants.middle[-1], 1024)
        coarse = InputFunction(grid, np.interp(grid, instants.middle, reference), "reference")
        srtm, srtm2 = SRTM(instants, coarse), SRTM2(instants, coarse, k2_reference=k2_reference)
        half = 0.5 * grid[1]
        srtm.table = replace(srtm.table, values=srtm.table.values + half * srtm.seen)
        gap = k2_reference - srtm2.table.rates[:, None]
        srtm2.table = replace(srtm2.table, values=srtm2.table.values + half * gap * srtm.seen)
        ours = {
            "SRTM": srtm.fit(curves, weights),
            "SRTM2_k2pROI1": srtm2.fit(curves, weights),
            "MRTM1": MRTM1(frames, reference[1:]).fit(curves[1:], weights[1:]),
            "MRTM2_k2pROI1": MRTM2(frames, reference[1:], k2_reference=k2_reference).fit(curves[1:], weights[1:]),
            "refLogan_10fr_k2pROI1": ReferenceLogan(
                frames, reference[1:], k2_reference=k2_reference, t_star=float(frames.start[-10])
            ).fit(curves[1:], weights[1:]),
        }
        for model, fit in ours.items():
            for i, region in enumerate(("ROI1", "ROI2", "ROI3")):
                rows.append((model, "bp", fit.parameters["bp_nd"][i], fits[name, region, model, "bp"]))
                if model in ("SRTM", "MRTM1"):
                    rows.append((model, "R1", fit.parameters["r1"][i], fits[name, region, model, "R1"]))
                if model == "MRTM1":
                    # What the reference calls k2 there is k2a.
                    rows.append((model, "k2a", fit.parameters["k2a"][i] * MINUTE, fits[name, region, model, "k2"]))
                if model == "SRTM":
                    rows.append((model, "k2", fit.parameters["k2"][i] * MINUTE, fits[name, region, model, "k2"]))
    table = pd.DataFrame(rows, columns=["model", "parameter", "ours", "theirs"])
    off = (table.ours / table.theirs - 1).abs().groupby([table.model, table.parameter]).max()
    assert (off < 0.01).all(), off
    # The generator drew BP from N(1.5, 0.15), N(0.8, 0.08), N(0.3, 0.03) and k2 from N(0.1, 0.001), and made its
    # curves with that resampling; without it k2 of the weakest region comes out 6 % too high.
    srtm = table[table.model == "SRTM"]
    k2 = srtm[srtm.parameter == "k2"].ours.to_numpy().reshape(-1, 3)
    bp, exact = np.array([b for b, _ in drawn]), np.array([k for _, k in drawn])
    assert np.abs(k2.mean(axis=0) - 0.1).max() < 0.001
    assert np.abs(exact[:, :2].mean(axis=0) - 0.1).max() < 0.001
    for i, (mean, spread) in enumerate(((1.5, 0.15), (0.8, 0.08), (0.3, 0.03))):
        assert abs(bp[:, i].mean() - mean) < spread
