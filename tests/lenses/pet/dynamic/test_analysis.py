"""The dynamic PET lens: what it takes, and rate constants of known tissues by every kind of input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from timelens.engines.kinetics import Frames
from timelens.errors import MissingFieldError, UsageError
from timelens.knowledge import agents
from timelens.lenses.pet.dynamic.curves import ImageSlabs, frames_of, region_curves, time_window_mean, weights_of
from timelens.lenses.pet.dynamic.image_input import blood_recovery, shell_of, vessel_recovery
from timelens.lenses.pet.dynamic.lens import DynamicPetLens
from timelens.lenses.pet.dynamic.models import MODELS, AgentInput, Build, build, find_model, reported
from timelens.lenses.pet.dynamic.recipe import kinetics_of
from timelens.lenses.pet.lens import PetLens
from timelens.study.contract import Lens, Result
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.timing import FrameTiming

from .dynamic_data import FRAMES, HALF_LIFE, DynamicCase, dynamic_case, plasma, two_tissue

TRUTH = {"k1": 0.25, "k2": 0.35, "k3": 0.12, "v_b": 0.06, "k_i": 0.25 * 0.12 / 0.47}


@pytest.fixture(scope="module")
def case() -> DynamicCase:
    return dynamic_case()


def _quantify(case: DynamicCase, *, blood: bool = True, regions: bool = True, **options: object) -> Result:
    lens = DynamicPetLens()
    match = lens.accepts([case.pet, case.blood] if blood else [case.pet])
    recipe = lens.recipe(match, options)  # type: ignore[arg-type]
    return lens.quantify(
        match.roles, case.regions if regions else [], {s.name: dict(s.parameters) for s in recipe.steps}
    )


def _values(result: Result, region: str, model: str) -> dict[str, float]:
    return {m.quantity: m.value for m in result.measurements if m.region == region and m.method.startswith(model)}


def _messages(result: Result) -> list[str]:
    return [p.message for p in result.problems]


# -- which series ------------------------------------------------------------------------------------------------


def test_it_is_a_lens_and_wins_over_the_static_one(case: DynamicCase) -> None:
    lens = DynamicPetLens()
    assert isinstance(lens, Lens)
    match = lens.accepts([case.pet, case.blood])
    assert match.score == 2.0 > PetLens().accepts([case.pet]).score
    assert match.roles == {"pet": case.pet, "blood": case.blood}


def _with_frames(case: DynamicCase, start: np.ndarray, length: np.ndarray, zero: str = "injection") -> DynamicCase:
    series = case.pet.image.numpy()[: len(start)]
    timing = FrameTiming(start, length, zero)  # type: ignore[arg-type]
    image = Image(
        series, unit="Bq/mL", geometry=case.pet.image.geometry, decay_reference=case.pet.image.decay_reference,
        frames=timing,
    )  # fmt: skip
    return replace(case, pet=replace(case.pet, data=image))


@pytest.mark.parametrize(
    ("start", "length", "score"),
    [
        (np.arange(8) * 300.0, np.full(8, 300.0), 2.0),
        (3600.0 + np.arange(8) * 300.0, np.full(8, 300.0), 0.5),
        (np.arange(4) * 300.0, np.full(4, 300.0), 0.5),
        (np.arange(2) * 300.0, np.full(2, 300.0), 0.0),
        (np.array([1.0, 24, 72, 144]) * 3600, np.full(4, 1200.0), 2.0),
    ],
)
def test_which_series_are_dynamic(case: DynamicCase, start: np.ndarray, length: np.ndarray, score: float) -> None:
    """From about the injection on; serial and late ones only on demand; an antibody's days always."""
    assert DynamicPetLens().accepts([_with_frames(case, start, length).pet]).score == score


def test_a_series_without_a_known_injection_is_left_to_the_static_lens(case: DynamicCase) -> None:
    lost = _with_frames(case, np.arange(8) * 60.0, np.full(8, 60.0), "first frame")
    lost = replace(lost, pet=replace(lost.pet, administered_time=None))
    assert DynamicPetLens().accepts([lost.pet]).score == 0.0
    with pytest.raises(MissingFieldError, match="after the injection is not known"):
        frames_of(lost.pet)
    volume = replace(case.pet, data=case.pet.image.frame(0))
    assert DynamicPetLens().accepts([volume]).score == 0.0


# -- inputs --------------------------------------------------------------------------------------------------------


def test_arterial_input_gives_back_the_truth(case: DynamicCase) -> None:
    result = _quantify(case, input={"delay_s": 0})
    found = _values(result, "lesion-1", "2tcm_irreversible")
    for name, truth in TRUTH.items():
        assert found[name] == pytest.approx(truth, rel=1e-4)
    assert result.tables["tacs"].data.groupby("region").size().eq(len(FRAMES)).all()
    assert set(result.tables["fits"].data["model"]) == {"2tcm_irreversible", "patlak"}
    fits = result.tables["fits"].data.query("region == 'lesion-1' and model == '2tcm_irreversible'")
    np.testing.assert_allclose(fits["fitted"], fits["measured"], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(fits["measured"], case.curves["lesion-1"], rtol=1e-6)
    assert "aorta" not in set(result.tables["fits"].data["region"])  # it only checks the blood
    assert not _messages(result)


def test_errors_and_intervals_are_those_of_noise() -> None:
    noisy = dynamic_case(noise=0.03, seed=1)
    result = _quantify(noisy, maps={"models": "none"})
    rows = [m for m in result.measurements if m.region == "lesion-1" and m.method.startswith("2tcm")]
    for row in rows:
        assert row.uncertainty_kind == "standard_error"
        assert row.lower < row.value < row.upper
        assert row.level == 0.95
        assert "interval: profile" in row.flags
    k_i = next(m for m in rows if m.quantity == "k_i")
    assert abs(k_i.value - TRUTH["k_i"]) < 4 * k_i.uncertainty
    delay = next(m for m in result.measurements if m.quantity == "input_delay")
    assert abs(delay.value) < 4 * delay.uncertainty


def test_delay_is_found() -> None:
    """Tissue sees blood 6 s after the sampler did."""
    late = replace(dynamic_case(delay=6.0), blood=dynamic_case().blood)
    result = _quantify(late, maps={"models": "none"})
    delay = next(m for m in result.measurements if m.quantity == "input_delay")
    assert delay.value == pytest.approx(6.0, abs=0.5)  # one 2TCM for the mean of different tissues
    assert _values(result, "lesion-1", "2tcm_irreversible")["k1"] == pytest.approx(0.25, rel=0.03)


def test_a_delay_lost_in_noise_is_not_used() -> None:
    result = _quantify(dynamic_case(noise=0.5, seed=2), maps={"models": "none"}, fit={"models": ["patlak"]})
    problem = next(p for p in result.problems if "delay" in p.message)
    assert "was not used" in problem.message
    assert problem.severity == "warning"
    assert result.audit["kinetics"]["delay_s"] == 0.0
    assert not any(m.quantity == "input_delay" for m in result.measurements)


def test_delay_of_each_region_and_its_map() -> None:
    late = replace(dynamic_case(delay=4.0), blood=dynamic_case().blood)
    result = _quantify(
        late, input={"delay_s": "each"}, fit={"models": ["2tcm_irreversible"]}, maps={"models": ["2tcm_irreversible"]}
    )
    assert _values(result, "lesion-1", "2tcm")["input_delay"] == pytest.approx(4.0, abs=0.05)
    assert result.maps["delay"].unit == "s"
    assert float(np.nanmedian(result.maps["delay"].numpy()[2, 3:5, 3:5])) == pytest.approx(4.0, abs=0.5)
    assert result.maps["K1"].unit == "mL/min/mL"


def test_input_from_the_aorta(case: DynamicCase) -> None:
    result = _quantify(case, blood=False, maps={"models": ["patlak"]})
    assert "not corrected for partial volume" in " ".join(_messages(result))
    found = _values(result, "lesion-1", "patlak; image-derived")
    assert found["k_i"] == pytest.approx(0.94 * TRUTH["k_i"], rel=0.03)
    assert result.audit["kinetics"]["input"] == "image-derived"


def test_frames_that_begin_after_the_bolus_give_no_input(case: DynamicCase) -> None:
    late = _quantify(case, blood=False, frames={"first": 8}, maps={"models": "none"})
    assert any("bolus is missing" in m for m in _messages(late))
    assert not any(m.quantity == "k_i" for m in late.measurements)


def test_points_of_a_plot_lie_on_its_line_under_a_stated_blood_volume(case: DynamicCase) -> None:
    fit = {"models": ["patlak", "logan"], "blood_volume": 0.06}
    result = _quantify(case, input={"delay_s": 0}, fit=fit, maps={"models": "none"})
    points = result.tables["graphs"].data.query("region == 'lesion-1' and used")
    for model, off in (("patlak", 0.005), ("logan", 0.1)):
        rows = points[points["model"] == model]
        assert len(rows) >= 5
        np.testing.assert_allclose(rows["fitted"], rows["y"], rtol=off)
        slope = np.polyfit(rows["x"], rows["fitted"], 1)[0]
        value = _values(result, "lesion-1", model)["k_i" if model == "patlak" else "v_t"]
        assert slope * (60 if model == "patlak" else 1) == pytest.approx(value, rel=1e-6)
    assert _values(result, "lesion-1", "patlak")["k_i"] == pytest.approx(TRUTH["k_i"], rel=0.01)


def test_a_gap_in_one_region_does_not_move_the_delay() -> None:
    from timelens.lenses.pet.dynamic.curves import Curves
    from timelens.lenses.pet.dynamic.input import delayed

    made = dynamic_case(delay=6.0)
    known = [made.curves["lesion-1"], made.curves["muscle"]]
    entering = AgentInput(plasma(), plasma(), source="arterial", unit="Bq/mL")

    def found(*extra: np.ndarray) -> tuple[float, str]:
        mean = np.stack([*known, *extra], axis=1)
        names, voxels = tuple("abc"[: mean.shape[1]]), np.full(mean.shape[1], 64)
        curves = Curves(names, mean, np.zeros_like(mean), voxels, mean[:, 0], mean[:, 0], "Bq/mL")
        given, delay, _, _ = delayed(entering, FRAMES, curves, "fit")
        return delay, given.how[-1]

    broken = made.curves["liver"].copy()
    broken[5] = np.nan
    assert found(broken) == found()
    known = [np.full(len(FRAMES), np.nan)]
    assert found() == (0.0, "delay not fitted (no region without gaps)")


def test_image_input_is_not_taken_where_metabolites_would_count(case: DynamicCase) -> None:
    tspo = replace(case, pet=replace(case.pet, agent="[18F]DPA-714"))
    result = _quantify(tspo, blood=False)
    assert any("dynamic and has no input" in m for m in _messages(result))
    assert any("labelled metabolites" in p.found for p in result.problems)
    assert any(m.quantity == "suv_mean" for m in result.measurements)
    assert not any(m.quantity == "v_t" for m in result.measurements)
    with_ratio = _quantify(tspo, blood=False, input={"plasma_ratio": 1.0})
    assert any("parent fraction is not known" in m for m in _messages(with_ratio))
    told = _quantify(tspo, blood=False, input={"plasma_ratio": 1.0, "parent_fraction": "none"})
    assert any(m.quantity == "v_t" for m in told.measurements)


def test_reference_region() -> None:
    """Named by the user, or by the agent's record; the target has BP_ND = k3 / k4 = 2."""
    made = dynamic_case(agent="[18F]DPA-714")
    target, reference = two_tissue(0.1, 0.12, 2.0, 1.0, 0.0), two_tissue(0.1, 0.12, 0.0, 0.0, 0.0)
    region = made.regions[0]
    assert region.labels is not None
    series = np.zeros_like(made.pet.image.numpy())
    labels = region.labels.numpy()
    series[:, labels == 1], series[:, labels == 4] = target[:, None], reference[:, None]
    image = made.pet.image
    data = Image(
        series, unit="Bq/mL", geometry=image.geometry, decay_reference=image.decay_reference, frames=image.frames
    )
    named = replace(region, names={1: "striatum", 4: "cerebellum"}, roles={1: "organ", 4: "unknown"})
    case = replace(made, pet=replace(made.pet, data=data), regions=[named])
    by_record = _quantify(case, blood=False)
    by_name = _quantify(case, blood=False, input={"source": "reference", "reference": "cerebellum"})
    for result in (by_record, by_name):
        rows = {m.quantity: m for m in result.measurements if m.region == "striatum"}
        assert rows["bp_nd"].value == pytest.approx(2.0, rel=0.05)  # fast binding: nearly one compartment
        assert rows["r1"].value == pytest.approx(1.0, rel=0.1)
        assert result.maps["BPND"].unit == "1"
        assert not any(m.region == "cerebellum" and m.quantity == "bp_nd" for m in result.measurements)
    beside_blood = _quantify(case, input={"source": "reference", "reference": "cerebellum"}, maps={"models": "none"})
    assert {m.method.split(";")[0] for m in beside_blood.measurements if m.quantity == "bp_nd"} == {"srtm"}
    missing = _quantify(case, blood=False, input={"source": "reference", "reference": "pons"})
    assert any("reference region is not there" in m for m in _messages(missing))


def test_an_agent_that_nobody_knows_gets_the_model_that_fits(case: DynamicCase) -> None:
    unknown = replace(case, pet=replace(case.pet, agent="XY-12"))
    result = _quantify(unknown, input={"parent_fraction": "none"})
    assert result.audit["kinetics"]["chosen_by_aic"]["lesion-1"] == "2tcm_irreversible"
    flags = next(m.flags for m in result.measurements if m.region == "lesion-1" and m.quantity == "k_i")
    assert "by AIC" in flags


def test_a_series_without_regions_gives_maps(case: DynamicCase) -> None:
    result = _quantify(case, regions=False, input={"delay_s": 0}, segment={"rule": "fixed", "threshold": 100.0})
    assert any("No region" in m for m in _messages(result))
    assert "Ki" in result.maps
    assert not any(m.quantity == "k_i" for m in result.measurements)


def test_late_window(case: DynamicCase) -> None:
    """The SUV of the window's mean, weighted by the frames' durations."""
    result = _quantify(case, input={"delay_s": 0}, late={"start_min": 30, "end_min": 55}, maps={"models": "none"})
    inside = (FRAMES.start >= 1800) & (FRAMES.end <= 3300)
    curve, length = case.curves["lesion-1"][inside], FRAMES.duration[inside]
    expected = (curve * length).sum() / length.sum() * 70000 / 3e8
    assert _values(result, "lesion-1", "given")["suv_mean"] == pytest.approx(expected, rel=1e-5)
    with pytest.raises(UsageError, match="No frame lies in the late window"):
        _quantify(case, late={"start_min": 90, "end_min": 95})


def test_frames_can_be_left_out(case: DynamicCase) -> None:
    result = _quantify(case, input={"delay_s": 0}, frames={"last": 20}, maps={"models": "none"})
    assert result.audit["kinetics"]["frames"] == 20
    with pytest.raises(UsageError, match="No such frames"):
        _quantify(case, frames={"first": 0, "last": 99})


def test_tissue_without_activity_units_takes_no_blood(case: DynamicCase) -> None:
    nameless = replace(
        case, pet=replace(case.pet, administered_time=None, half_life_s=None, radionuclide=None, agent="")
    )
    result = _quantify(nameless)
    assert any("could not be brought to Bq/mL at injection" in m for m in _messages(result))
    assert any("needs tissue in Bq/mL at injection" in m for m in _messages(result))
    assert len(result.tables["tacs"].data) == 4 * len(FRAMES)


# -- parts ---------------------------------------------------------------------------------------------------------


class _Lazy:
    """An array that counts what is asked of it."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype, self.most = array, array.shape, array.dtype, 0

    def __getitem__(self, key: object) -> np.ndarray:
        part = self.array[key]  # type: ignore[index]
        self.most = max(self.most, part.size)
        return np.asarray(part)


@pytest.mark.parametrize("plain", [True, False])
def test_slabs_are_the_voxels_of_the_image(plain: bool) -> None:
    rng = np.random.default_rng(0)
    array = rng.normal(size=(5, 7, 6, 4))
    source = array if plain else _Lazy(array)
    geometry = Geometry((7, 6, 4), np.eye(4), "f")
    slabs = ImageSlabs(Image(source, unit="Bq/mL", geometry=geometry))
    slabs._depth = 2
    flat = array.reshape(5, -1)
    for start, stop, first in ((0, 168, 0), (3, 50, 2), (47, 49, 0), (160, 168, 4), (0, 1, 0)):
        np.testing.assert_array_equal(slabs.slab(start, stop, first), flat[first:, start:stop])
    if isinstance(source, _Lazy):
        assert source.most <= 2 * 6 * 4


def test_regional_curves_against_numpy() -> None:
    rng = np.random.default_rng(0)
    array = rng.normal(10, 1, size=(4, 3, 5, 6))
    mask = rng.random((3, 5, 6)) > 0.5
    image = Image(array, unit="Bq/mL", geometry=Geometry((3, 5, 6), np.eye(4), "f"))
    curves = region_curves(image, {"a": mask, "nothing": np.zeros_like(mask)})
    np.testing.assert_allclose(curves.of("a"), array[:, mask].mean(axis=1))
    np.testing.assert_allclose(curves.sd[:, 0], array[:, mask].std(axis=1, ddof=1))
    assert np.isnan(curves.of("nothing")).all()
    assert curves.voxels.tolist() == [mask.sum(), 0]
    mean = time_window_mean(image, 1, 2, np.array([1.0, 1.0, 3.0, 1.0]))
    np.testing.assert_allclose(mean.numpy(), (array[1] + 3 * array[2]) / 4, rtol=1e-6)


def test_weights_are_one_over_the_variance_of_counts() -> None:
    """Var(C) of a frame is proportional to C e^(lambda t) / duration."""
    whole = np.linspace(1, 3, len(FRAMES))
    expected = FRAMES.duration * np.exp2(-FRAMES.middle / HALF_LIFE) / whole
    np.testing.assert_allclose(weights_of(FRAMES, whole, half_life_s=HALF_LIFE), expected / expected.mean())
    assert (weights_of(FRAMES, whole, kind="uniform") == 1).all()
    assert weights_of(FRAMES, whole, kind="duration")[-1] == pytest.approx(600 / FRAMES.duration.mean())


@pytest.mark.parametrize("diameter", [15.0, 25.0])
def test_recovery_in_a_long_vessel_against_its_closed_form(diameter: float) -> None:
    """On the axis of a long cylinder of radius R, a Gaussian of standard deviation s recovers 1 - exp(-R^2 / 2 s^2)."""
    mask = np.zeros((5, 21, 21), bool)
    mask[:, 10, 10] = True
    sigma = 6.0 / 2.354820045
    expected = 1 - np.exp(-((diameter / 2) ** 2) / (2 * sigma**2))
    assert vessel_recovery(mask, (2.0, 1.0, 1.0), 6.0, diameter) == pytest.approx(expected, abs=0.005)
    said = blood_recovery(mask, (2.0, 1.0, 1.0), fwhm_mm=6.0, vessel_diameter_mm=diameter)
    assert f"vessel of {diameter:g} mm" in said.how
    assert blood_recovery(mask, (2.0, 1.0, 1.0), fwhm_mm=None).value == 1.0


def test_the_shell_lies_around_and_not_in_the_region() -> None:
    mask = np.zeros((20, 20, 20), bool)
    mask[9:11, 9:11, 9:11] = True
    shell = shell_of(mask, (2.0, 2.0, 2.0))
    assert shell.any()
    assert not (shell & mask).any()
    assert not shell[8:12, 8:12, 8:12].any()


def test_blurred_aorta_is_corrected() -> None:
    """An aorta of 20 mm seen with 8 mm: without correction K_i is too high by what blood has lost."""
    from scipy.ndimage import gaussian_filter

    from timelens.study.region import Region

    case = dynamic_case()
    depth, size = 8, 40
    grid = np.arange(size) - 19.5
    vessel = ((grid[:, None] ** 2 + grid[None, :] ** 2) <= 5.0**2).astype(float)
    sigma = 8.0 / 2.354820045 / 2.0
    seen = gaussian_filter(vessel, sigma)
    background = case.curves["muscle"]
    series = background[:, None, None] * (1 - seen) + case.curves["aorta"][:, None, None] * seen
    series = np.repeat(series[:, None], depth, axis=1).astype(np.float32)
    series[:, :, 2:8, 2:8] = case.curves["lesion-1"][:, None, None, None]
    labels = np.zeros((depth, size, size), np.int32)
    labels[:, 2:8, 2:8] = 1
    labels[:, ((grid[:, None] ** 2 + grid[None, :] ** 2) <= 3.5**2)] = 2
    geometry = Geometry(labels.shape, np.diag([2.0, 2.0, 2.0, 1.0]), "frame")
    image = Image(
        series, unit="Bq/mL", geometry=geometry, decay_reference=case.pet.image.decay_reference,
        frames=case.pet.image.frames,
    )  # fmt: skip
    drawn = Region(
        "drawn", "labels", {1: "lesion-1", 2: "aorta"}, Image(labels, unit="1", geometry=geometry),
        roles={1: "lesion", 2: "blood pool"},
    )  # fmt: skip
    blurred = replace(case, pet=replace(case.pet, data=image), regions=[drawn])
    options = {"fit": {"models": ["patlak"]}, "maps": {"models": "none"}}
    truth = 0.94 * TRUTH["k_i"]
    plain = _values(_quantify(blurred, blood=False, **options), "lesion-1", "patlak")["k_i"]
    stated = {"fwhm_mm": 8.0, "vessel_diameter_mm": 20.0}
    mended = _values(_quantify(blurred, blood=False, input=stated, **options), "lesion-1", "patlak")["k_i"]
    assert plain / truth - 1 > 0.04
    assert abs(mended / truth - 1) < 0.02


def test_models_by_any_spelling() -> None:
    assert find_model("2TCM-irreversible").name == find_model("2tcm irr").name == "2tcm_irreversible"
    with pytest.raises(UsageError, match="no such kinetic model"):
        find_model("4tcm")
    for kind in MODELS.values():
        with pytest.raises(MissingFieldError, match="needs"):
            build(kind, FRAMES, AgentInput())
    curve = two_tissue(0.1, 0.1, 0.0, 0.0, 0.0)
    with pytest.raises(MissingFieldError, match="k2'"):
        build(find_model("srtm2"), FRAMES, AgentInput(reference=curve))
    model = build(find_model("reference_logan"), FRAMES, AgentInput(reference=curve), Build(600.0, 0.002))
    assert model.t_star == 600.0
    assert reported("k_i", "mL/mL/s") == ("k_i", "mL/min/mL", 60.0)
    assert reported("intercept", "s") is None


def test_defaults_come_from_the_agents_record() -> None:
    stated = kinetics_of(agents.get("f18-fdg"))
    assert stated is not None
    assert (stated.regions, stated.maps, stated.t_star_min) == ("2tcm_irreversible", ("patlak",), 20.0)
    arag = kinetics_of(agents.get("f18-arag"))
    assert arag is not None
    assert arag.regions == "2tcm"
    tspo = kinetics_of(agents.get("c11-pbr28"))
    assert tspo is not None
    assert (tspo.regions, tspo.maps, tspo.metabolites) == ("2tcm", ("logan",), True)
    antibodies = [a for a in agents.all_agents() if "antibody patlak" in a.kinetic_models]
    assert antibodies
    assert all(kinetics_of(a).regions == "antibody_patlak" for a in antibodies)  # type: ignore[union-attr]
    assert kinetics_of(None) is None


def test_antibody_over_days() -> None:
    """89Zr from an hour to six days: the antibody's Patlak, K_i per minute."""
    import pandas as pd

    from timelens.engines.kinetics import InputFunction, convolve_exponential, frame_values
    from timelens.study.table import Table

    hours = np.array([1.0, 24, 48, 72, 120, 144])
    frames = Frames(hours * 3600, hours * 3600 + 1800)
    times = np.concatenate([[0.0, 60], np.arange(1, 151) * 3600.0])
    curve = InputFunction(times, 5e3 * (0.5 * np.exp(-times / 86400) + 0.5 * np.exp(-times / 5e5)), "parent")
    k_i = 2e-4 / 60
    tissue = k_i * convolve_exponential(curve.times, curve.values, 0.0, frames)
    tissue = tissue + 0.15 * frame_values(curve.times, curve.values, frames)
    case = dynamic_case(agent="[89Zr]Zr-atezolizumab")
    series = np.repeat(tissue, int(np.prod(case.pet.image.shape[1:]))).reshape(-1, *case.pet.image.shape[1:])
    image = Image(
        series.astype(np.float32), unit="Bq/mL", geometry=case.pet.image.geometry,
        decay_reference=case.pet.image.decay_reference,
        frames=FrameTiming(frames.start, frames.duration, "injection"),
    )  # fmt: skip
    rows = pd.DataFrame({"time": times, "plasma_radioactivity": curve.values})
    blood = replace(case.blood, data=Table(rows, {"time": "s", "plasma_radioactivity": "Bq/mL"}))
    pet = replace(case.pet, data=image, radionuclide="89Zr", half_life_s=282276.0, administered_activity_bq=3.7e7)
    result = _quantify(replace(case, pet=pet, blood=blood))
    found = _values(result, "lesion-1", "antibody_patlak; arterial")
    assert found["k_i"] == pytest.approx(2e-4, rel=1e-4)
    assert found["v_0"] == pytest.approx(0.15, rel=1e-4)
