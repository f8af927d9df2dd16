"""What cannot be used is refused with the field and the mend, or marked with a reason; never answered silently."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable

import numpy as np
import pytest

from timelens.engines.kinetics import (
    FRTM,
    MA1,
    MRTM1,
    MRTM2,
    SRTM,
    SRTM2,
    AntibodyPatlak,
    Frames,
    InputFunction,
    OneTissue,
    Patlak,
    Reason,
    ReferencePatlak,
    SpectralAnalysis,
    TwoTissue,
    WithDelay,
    bootstrap,
    compare,
    correct_dispersion,
    denoise,
    disperse,
    fit_delay,
    fit_exponentials,
    fit_parent_fraction,
    frame_weights,
    merge_samples,
    reference_input,
    sampled,
    scale_population,
)
from timelens.errors import DataError, PlausibilityWarning, TimelensError, UnitError, UsageError

T = np.arange(0, 3601, 10.0)
CP = T * np.exp(-T / 300)
PLASMA = InputFunction(T, CP, "parent", "Bq/mL")
END = np.cumsum(np.full(12, 300.0))
FRAMES = Frames(END - 300, END)
CURVE = np.linspace(1, 5, 12)

CASES: dict[str, tuple[type[TimelensError], str, Callable[[], object]]] = {
    "frames that descend": (DataError, "do not ascend", lambda: Frames([300, 0], [600, 300])),
    "frames that overlap": (DataError, "overlap", lambda: Frames([0, 200], [300, 500])),
    "ends before starts": (DataError, "ends before it starts", lambda: Frames([0, 300], [300, 60])),
    "a frame without duration": (DataError, "no duration", lambda: Frames([0, 0.5], [0, 300])),
    "frame times of NaN": (DataError, "must be numbers", lambda: Frames([0, np.nan], [300, 600])),
    "one blood sample": (DataError, "at least two samples", lambda: InputFunction([0], [1], "plasma")),
    "blood that descends in time": (DataError, "descend", lambda: InputFunction([0, 9, 5], [0, 1, 1], "plasma")),
    "negative blood": (DataError, "is negative", lambda: InputFunction([0, 5, 9], [0, 10, -1], "plasma")),
    "blood of NaN": (DataError, "must be numbers", lambda: InputFunction([0, 5], [0, np.nan], "plasma")),
    "blood of zeros": (DataError, "zero throughout", lambda: InputFunction([0, 5], [0, 0], "plasma")),
    "an unknown kind": (UsageError, "Unknown kind", lambda: InputFunction([0, 5], [0, 1], "urine")),  # type: ignore[arg-type]
    "more times than values": (DataError, "one value per time", lambda: InputFunction([0, 5, 9], [0, 1], "plasma")),
    "blood in minutes": (DataError, "both are in seconds", lambda: OneTissue(FRAMES, PLASMA.resampled(T[:7]))),
    "two units": (
        UnitError,
        "different units",
        lambda: OneTissue(FRAMES, PLASMA, PLASMA.scaled(1e-3, unit="kBq/mL")),
    ),
    "two decay conventions": (
        DataError,
        "decay-corrected and the other is not",
        lambda: OneTissue(FRAMES, PLASMA, InputFunction(T, CP, "whole_blood", "Bq/mL", decay_corrected=False)),
    ),
    "two kinds merged": (
        DataError,
        "different kinds",
        lambda: merge_samples(PLASMA, InputFunction(T, CP, "whole_blood", "Bq/mL")),
    ),
    "a reference as plasma": (DataError, "no plasma input", lambda: TwoTissue(FRAMES, reference_input(FRAMES, CURVE))),
    "frames last": (DataError, "first axis", lambda: OneTissue(FRAMES, PLASMA).fit(np.ones((4, 12)))),
    "frames last in a map": (DataError, "first axis", lambda: Patlak(FRAMES, PLASMA).map(np.ones((4, 12)))),
    "negative weights": (DataError, "not negative", lambda: OneTissue(FRAMES, PLASMA).fit(CURVE, -np.ones(12))),
    "zero weights": (DataError, "All weights are zero", lambda: OneTissue(FRAMES, PLASMA).fit(CURVE, np.zeros(12))),
    "weights of another length": (DataError, "one value per frame", lambda: MA1(FRAMES, PLASMA).fit(CURVE, [1, 2])),
    "t* after the scan": (DataError, "Too few frames after t\\*", lambda: Patlak(FRAMES, PLASMA, t_star=1e5)),
    "t* of NaN": (UsageError, "must be a time", lambda: Patlak(FRAMES, PLASMA, t_star=float("nan"))),
    "too few weights after t*": (
        DataError,
        "with weight after t\\*",
        lambda: Patlak(FRAMES, PLASMA, t_star=2700).fit(CURVE, np.arange(12) < 11),
    ),
    "plasma that is zero late": (
        DataError,
        "zero in a frame",
        lambda: Patlak(FRAMES, InputFunction([0, 10, 20, 4000], [0, 1, 0, 0], "plasma")),
    ),
    "a blood volume in percent": (UsageError, "must be a fraction", lambda: OneTissue(FRAMES, PLASMA, blood_volume=5)),
    "rates upside down": (UsageError, "must ascend", lambda: OneTissue(FRAMES, PLASMA, rates=(1.0, 0.1))),
    "k2' of zero": (UsageError, "must be positive", lambda: MRTM2(FRAMES, CURVE, k2_reference=0)),
    "k2' negative": (
        UsageError,
        "must be positive",
        lambda: SRTM2(FRAMES, reference_input(FRAMES, CURVE), k2_reference=-1),
    ),
    "a reference with NaN": (DataError, "finite value per frame", lambda: MRTM1(FRAMES, CURVE * np.nan)),
    "a reference of another length": (DataError, "one value per frame", lambda: reference_input(FRAMES, [1, 2])),
    "an antibody without early plasma": (
        DataError,
        "starts too late",
        lambda: AntibodyPatlak(FRAMES, InputFunction([7200, 9e5], [1, 1], "plasma")),
    ),
    "a parent fraction in percent": (
        DataError,
        "between 0 and 1",
        lambda: fit_parent_fraction([0, 60, 600, 1800], [100, 90, 50, 20]),
    ),
    "too few parent fractions": (DataError, "no fewer", lambda: fit_parent_fraction([0, 60], [1, 0.9])),
    "an unknown parent model": (
        UsageError,
        "Unknown parent-fraction",
        lambda: fit_parent_fraction([0, 60, 90], [1, 0.9, 0.8], "spline"),  # type: ignore[arg-type]
    ),
    "a negative dispersion": (UsageError, "not negative", lambda: disperse(PLASMA, -1)),
    "dispersion of two samples": (
        DataError,
        "three samples",
        lambda: correct_dispersion(InputFunction([0, 1], [0, 1], "plasma"), 2),
    ),
    "delay bounds upside down": (
        UsageError,
        "must ascend",
        lambda: fit_delay(lambda d: OneTissue(FRAMES, PLASMA), CURVE, bounds=(5, -5)),
    ),
    "population outside its samples": (
        DataError,
        "outside the population",
        lambda: scale_population(PLASMA, InputFunction([0, 9000], [0, 1], "parent", "Bq/mL")),
    ),
    "four exponentials": (UsageError, "one to three", lambda: fit_exponentials(PLASMA, terms=4)),
    "a clearance of three samples": (
        DataError,
        "Too few samples",
        lambda: fit_exponentials(InputFunction([0, 5, 9], [0, 2, 1], "plasma")),
    ),
    "a curve that ends before it starts": (UsageError, "later end", lambda: sampled(np.sin, -1, kind="plasma")),
    "an unknown parameter": (
        UsageError,
        "Unknown parameter",
        lambda: OneTissue(FRAMES, PLASMA).fit(CURVE).interval(parameter="k9"),
    ),
    "a level in percent": (UsageError, "between 0 and 1", lambda: OneTissue(FRAMES, PLASMA).fit(CURVE).interval(95)),
    "curves of a map": (
        UsageError,
        "no fitted curves",
        lambda: OneTissue(FRAMES, PLASMA).map(CURVE[:, None]).predict(),
    ),
    "a mask of another shape": (
        DataError,
        "shape of a frame",
        lambda: OneTissue(FRAMES, PLASMA).map(np.ones((12, 3)), mask=np.ones(4, bool)),
    ),
    "models on different frames": (
        UsageError,
        "same frames",
        lambda: compare([MA1(FRAMES, PLASMA).fit(CURVE), MA1(FRAMES, PLASMA, t_star=600).fit(CURVE)], "v_t"),
    ),
    "weights of a zero curve": (UsageError, "finite value", lambda: frame_weights(FRAMES, np.zeros(12))),
    "a reference that is zero late": (
        DataError,
        "zero in a frame",
        lambda: ReferencePatlak(FRAMES, CURVE * (np.arange(12) < 11)),
    ),
    "an unknown loss": (UsageError, "Unknown loss", lambda: OneTissue(FRAMES, PLASMA).fit(CURVE, loss="cauchy")),  # type: ignore[arg-type]
    "an unknown bootstrap": (
        UsageError,
        "Unknown bootstrap",
        lambda: bootstrap(OneTissue(FRAMES, PLASMA), CURVE, rng=np.random.default_rng(0), kind="jackknife"),  # type: ignore[arg-type]
    ),
    "one draw": (
        UsageError,
        "at least two draws",
        lambda: bootstrap(OneTissue(FRAMES, PLASMA), CURVE, rng=np.random.default_rng(0), draws=1),
    ),
    "delays upside down": (
        UsageError,
        "must ascend",
        lambda: WithDelay(lambda d: OneTissue(FRAMES, PLASMA.shifted(d)), bounds=(20, -20)),
    ),
    "rates of the full reference model": (
        UsageError,
        "must ascend",
        lambda: FRTM(FRAMES, reference_input(FRAMES, CURVE), rates=(0.1, 0.01)),
    ),
    "an unknown filter": (
        UsageError,
        "Unknown denoising",
        lambda: denoise(np.ones((12, 2, 2, 2)), FRAMES, (1, 1, 1), method="median", fwhm=2),  # type: ignore[arg-type]
    ),
    "a filter over NaN": (
        DataError,
        "no numbers",
        lambda: denoise(np.full((12, 2, 2, 2), np.nan), FRAMES, (1, 1, 1), method="hypr", fwhm=2),
    ),
    "already decay-corrected": (DataError, "already", lambda: PLASMA.decayed_to_zero(6586)),
}


@pytest.mark.parametrize("name", CASES)
def test_refused(name: str) -> None:
    kind, message, call = CASES[name]
    with pytest.raises(kind, match=message) as caught:
        call()
    problem = caught.value.problem
    assert problem.message
    assert problem.field or problem.found or problem.mend
    assert re.search(message, str(caught.value))


def test_frames_in_minutes_are_noticed() -> None:
    minutes = Frames(FRAMES.start / 60, FRAMES.end / 60)
    with pytest.warns(PlausibilityWarning, match="frames in minutes"):
        OneTissue(minutes, PLASMA)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        OneTissue(FRAMES, PLASMA)


def test_too_few_frames_is_a_reason() -> None:
    few = FRAMES.select(slice(0, 4))
    fit = TwoTissue(few, PLASMA).fit(CURVE[:4])
    assert fit.reason == Reason.TOO_FEW_FRAMES
    assert np.isnan(fit.parameters["v_t"])
    assert np.isnan(fit.interval()).all()
    assert TwoTissue(few, PLASMA).map(CURVE[:4, None]).reason[0] == Reason.TOO_FEW_FRAMES


def test_noise_is_answered_with_reasons() -> None:
    """Pure noise gives numbers only together with flags, in every model."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(12, 300))
    models = [
        OneTissue(FRAMES, PLASMA),
        TwoTissue(FRAMES, PLASMA),
        SRTM(FRAMES, reference_input(FRAMES, CURVE)),
        Patlak(FRAMES, PLASMA),
        MA1(FRAMES, PLASMA),
    ]
    for model in models:
        fit = model.map(noise, np.ones(12))
        assert fit.identifiable.mean() < 0.35
        assert not np.isinf(fit.parameters[fit.main]).any()
        assert (np.isfinite(fit.parameters[fit.main]) | (fit.reason != 0)).all()


def test_empty_and_broken_voxels_among_good_ones() -> None:
    model = OneTissue(FRAMES, PLASMA, blood_volume=0)
    good = model.table.values[300] * 0.01
    data = np.stack([good, good * 0, good * np.inf, good], axis=1)
    fit = model.map(data)
    assert list(fit.reason) == [0, Reason.NO_SIGNAL, Reason.NON_FINITE, 0]
    assert SpectralAnalysis(FRAMES, PLASMA).fit(data[:, 1]).reason == Reason.NO_SIGNAL


def test_gaps_between_frames_are_no_error() -> None:
    """Frames that were not measured cost precision only; the model is exact at the others."""
    model = OneTissue(FRAMES, PLASMA, blood_volume=0)
    curve = model.table.values[300] * 0.01
    kept = np.delete(np.arange(12), [3, 4, 7])
    whole = model.fit(curve)
    part = OneTissue(FRAMES.select(kept), PLASMA, blood_volume=0).fit(curve[kept])
    assert part.parameters["k1"] == pytest.approx(float(whole.parameters["k1"]), rel=1e-6)
    assert part.frames_used == 9


def test_one_voxel_one_curve_none() -> None:
    """A single curve, an image of one voxel and an empty one have the shapes they came with."""
    model = OneTissue(FRAMES, PLASMA, blood_volume=0)
    curve = model.table.values[300] * 0.01
    assert model.fit(curve).parameters["k1"].shape == ()
    assert model.fit(curve.reshape(12, 1, 1, 1)).parameters["k1"].shape == (1, 1, 1)
    assert model.map(curve.reshape(12, 1, 1, 1)).parameters["k1"].shape == (1, 1, 1)
    assert Patlak(FRAMES, PLASMA).map(curve.reshape(12, 1)).parameters["k_i"].shape == (1,)
    assert Patlak(FRAMES, PLASMA).map(np.ones((12, 0))).parameters["k_i"].shape == (0,)
    assert model.map(np.ones((12, 0, 3))).parameters["k1"].shape == (0, 3)


def test_an_image_of_nan_and_a_masked_one() -> None:
    for model in (TwoTissue(FRAMES, PLASMA), Patlak(FRAMES, PLASMA), MA1(FRAMES, PLASMA)):
        fit = model.map(np.full((12, 2, 2), np.nan))
        assert (fit.reason == Reason.NON_FINITE).all()
        assert np.isnan(fit.parameters[fit.main]).all()
        none = model.map(np.ones((12, 2, 2)), mask=np.zeros((2, 2), bool))
        assert (none.reason == Reason.NOT_SELECTED).all()
        assert np.isnan(none.parameters[none.main]).all()


def test_blood_slightly_below_zero_is_background() -> None:
    """Background-corrected samples may fall a little below zero before the bolus."""
    values = CP.copy()
    values[1] = -0.01 * CP.max()
    assert InputFunction(T, values, "plasma").values[1] < 0
