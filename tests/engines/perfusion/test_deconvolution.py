"""Blood flow against OSIPI's simulated rows, and what a delay may not do."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from tests.engines.perfusion.first_pass import SAMPLED, STEP, TIMES, tissue

from timelens.engines.kinetics import Reason
from timelens.engines.perfusion import Deconvolution
from timelens.errors import DataError, UsageError

PHANTOM = {"haematocrit_factor": 1.0, "density": 1.0}
METHODS = ["ssvd", "csvd", "osvd", "tikhonov"]


@pytest.mark.parametrize("method", METHODS)
def test_every_published_row(shared_data: Path, method: str) -> None:
    """OSIPI's tolerances: CBF 15 and 10 %, CBV 1 and 10 %."""
    rows = list(csv.DictReader((shared_data / "osipi_dce_dsc" / "DSCmodels" / "dsc_data.csv").open()))
    assert len(rows) == 14
    for row in rows:
        curve, artery = (np.array(row[key].split(), float) for key in ("C_tis", "C_aif"))
        times = float(row["tr"]) * np.arange(curve.size)
        found = Deconvolution(times, artery, method=method, **PHANTOM).fit(curve)
        flow, volume = float(row["cbf"]), float(row["cbv"])
        assert found.cbf == pytest.approx(flow, abs=15 + 0.1 * flow), row["label"]
        assert found.cbv == pytest.approx(volume, abs=1 + 0.1 * volume), row["label"]


@pytest.mark.parametrize("method", ["csvd", "osvd", "tikhonov"])
def test_a_delay_changes_nothing_but_tmax(method: str) -> None:
    model = Deconvolution(TIMES, SAMPLED, method=method, threshold=None, **PHANTOM)
    here, late, early = (model.fit(tissue(0.04, 6.0, delay=d)) for d in (0.0, 4 * STEP, -2 * STEP))
    assert late.cbf == pytest.approx(float(here.cbf), rel=1e-3)
    assert early.cbf == pytest.approx(float(here.cbf), rel=1e-3)
    assert late.tmax - here.tmax == pytest.approx(4 * STEP, abs=1e-9)
    assert early.tmax - here.tmax == pytest.approx(-2 * STEP, abs=1e-9)
    straight = Deconvolution(TIMES, SAMPLED, method="ssvd", **PHANTOM)
    assert straight.fit(tissue(0.04, 6.0, delay=-2 * STEP)).cbf > 1.2 * straight.fit(tissue(0.04, 6.0)).cbf


def test_circulant_filters_are_the_truncated_singular_values() -> None:
    """cSVD in Fourier space is the block-circulant matrix's pseudo-inverse."""
    size = 2 * TIMES.size
    artery = np.concatenate([SAMPLED, np.zeros(TIMES.size)])
    smooth = (np.roll(artery, 1) + 4 * artery + np.roll(artery, -1)) / 6
    matrix = STEP * np.stack([np.roll(smooth, k) for k in range(size)], axis=1)
    left, values, right = np.linalg.svd(matrix)
    inverse = np.where(values > 0.1 * values[0], 1 / values, 0.0)
    curve = tissue(0.04, 6.0)
    expected = (right.T * inverse) @ left.T @ np.concatenate([curve, np.zeros(TIMES.size)])
    found = Deconvolution(TIMES, SAMPLED, method="csvd", **PHANTOM).fit(curve, keep_residue=True)
    np.testing.assert_allclose(found.residue, expected[: TIMES.size], atol=1e-10)


def test_flow_and_volume_scale_with_the_tissue(rng: np.random.Generator) -> None:
    data = tissue(0.04, 6.0)[:, None] * np.array([1.0, 2.5]) + 0.0
    for method in METHODS:
        found = Deconvolution(TIMES, SAMPLED, method=method).fit(data)
        assert found.cbf[1] == pytest.approx(2.5 * found.cbf[0])
        assert found.cbv[1] == pytest.approx(2.5 * found.cbv[0])
        assert found.mtt[1] == pytest.approx(found.mtt[0])
        assert found.mtt[0] == pytest.approx(60 * found.cbv[0] / found.cbf[0])


def test_voxels_without_a_curve() -> None:
    data = tissue(0.04, 6.0)[:, None] * np.array([1.0, 0.0, 1.0, 1.0])
    data[7, 2] = np.nan
    found = Deconvolution(TIMES, SAMPLED).fit(data, mask=np.array([True, True, True, False]))
    assert found.reason.tolist() == [0, Reason.NO_SIGNAL, Reason.NON_FINITE, Reason.NOT_SELECTED]
    assert np.isnan(found.cbf).tolist() == [False, True, True, True]


def test_refusals() -> None:
    with pytest.raises(DataError, match=r"even distances.*resample"):
        Deconvolution(TIMES**1.1, SAMPLED)
    with pytest.raises(DataError, match=r"one arterial value each"):
        Deconvolution(TIMES, SAMPLED[:-1])
    with pytest.raises(DataError, match=r"not positive"):
        Deconvolution(TIMES, np.zeros(TIMES.size))
    with pytest.raises(UsageError, match=r"Unknown method"):
        Deconvolution(TIMES, SAMPLED, method="fourier")
    with pytest.raises(UsageError, match=r"part of the largest"):
        Deconvolution(TIMES, SAMPLED, threshold=20)
    with pytest.raises(UsageError, match=r"oscillation index"):
        Deconvolution(TIMES, SAMPLED, oscillation=0)
    with pytest.raises(DataError, match=r"one value per frame"):
        Deconvolution(TIMES, SAMPLED).fit(np.ones((5, 2)))
