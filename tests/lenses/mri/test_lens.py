"""The MRI lens on simulated series: what it takes, what it gives, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from timelens.errors import DataError, MissingFieldError, TimelensError, UsageError
from timelens.lenses.mri.lens import MriLens
from timelens.lenses.mri.matching import gathered, kind_of
from timelens.lenses.mri.scene import MrTissue, block_scene
from timelens.study.acquisition import Acquisition
from timelens.study.axes import Axis
from timelens.study.contract import Lens, Protocol, Simulates
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.mr import MrSettings, mr_settings

LENS = MriLens()
#: Much flow, so that K^trans is PS and the extended Tofts model is the tissue's own.
TISSUES = {
    "tumour": MrTissue(f_p=0.5, ps=0.2 / 60, v_p=0.05, v_e=0.3),
    "muscle": MrTissue(t1=1.1, f_p=0.5, ps=0.05 / 60, v_p=0.02, v_e=0.12),
}
DENSE = {"dce_interval_s": 1.5, "dce_frames": 200}


def measured(series, tissues=TISSUES, options=None, seed=1, change=None, regions=True, snr=80.0, **plan):
    scene = block_scene(tissues, edge=6)
    seen = LENS.simulate(
        scene, [], Protocol("mri", {"series": series, "snr": snr, **plan}), np.random.default_rng(seed)
    )
    scans = [change(a) if change else a for a in seen.acquisitions]
    match = LENS.accepts(scans)
    recipe = LENS.recipe(match, options or {})
    result = LENS.quantify(match.roles, seen.regions if regions else [], recipe.options())
    truth = {(t.region, t.quantity): t for t in seen.truth}
    return result, truth


def test_it_is_a_lens():
    assert isinstance(LENS, Lens) and isinstance(LENS, Simulates)


@pytest.mark.parametrize(
    ("series", "quantity", "within"),
    [
        ("flip", "t1", 0.01), ("inversion", "t1", 0.01), ("saturation", "t1", 0.02),
        ("look locker", "t1", 0.01), ("gradient echoes", "t2_star", 0.02),
        ("gradient echoes", "r2_star", 0.02), ("spin echoes", "t2", 0.02), ("diffusion", "adc", 0.02),
    ],
)  # fmt: skip
def test_relaxation_and_diffusion(series, quantity, within):
    result, truth = measured([series])
    rows = [r for r in result.measurements if r.quantity == quantity and r.region in TISSUES]
    assert len(rows) == 2
    for row in rows:
        known = truth[row.region, quantity]
        assert row.value == pytest.approx(known.ideal, rel=within) and row.unit == known.unit
        assert 0 < row.uncertainty < 0.02 * row.value and row.n == 72 and row.uncertainty_kind == "standard_error"
    assert f"{quantity}_se" in result.maps and result.maps[quantity].unit == rows[0].unit
    assert any(name.endswith("_reason") for name in result.maps)


def test_what_inversion_times_follow_is_stated_where_no_field_says_it():
    def unsaid(scan):
        return replace(scan, extra={**scan.extra, "mr": replace(mr_settings(scan), kind="inversion")})

    for series in ("saturation", "look locker"):
        options = {"series": {"recovery": series.replace(" ", "_")}}
        result, truth = measured([series], change=unsaid, options=options)
        row = next(r for r in result.measurements if r.region == "tumour")
        assert row.value == pytest.approx(truth["tumour", "t1"].ideal, rel=0.02)
        assert "likelihood" in row.method
    assert result.audit["relaxation"]["interval_s"] == pytest.approx(0.1)
    # Taken for an inversion, the apparent T1 of the train comes out, 9 % too short.
    wrong, truth = measured(["look locker"], change=unsaid)
    row = next(r for r in wrong.measurements if r.region == "tumour")
    assert row.value < 0.93 * truth["tumour", "t1"].ideal


def test_perfusion_in_diffusion_is_measured_where_it_is_and_not_where_it_is_not():
    tissues = {"liver": MrTissue(ivim_f=0.25, ivim_d_star=0.03, adc=1.1e-3), "plain": MrTissue()}
    result, _ = measured(["diffusion"], tissues)
    rows = {(r.region, r.quantity): r for r in result.measurements}
    assert rows["liver", "ivim_f"].value == pytest.approx(0.25, rel=0.1)
    assert rows["liver", "ivim_d"].value == pytest.approx(1.1e-3, rel=0.05)
    assert rows["liver", "ivim_d_star"].value == pytest.approx(0.03, rel=0.3)
    empty = rows["plain", "ivim_d_star"]
    assert np.isnan(empty.value) and "compartment is empty" in empty.reason


def test_contrast_enhanced_series_with_flip_angles_and_an_artery():
    result, truth = measured(["flip", "dce"], **DENSE)
    for row in result.measurements:
        assert row.agent == "gadobutrol"
        if row.quantity in ("k_ep", "curve_type"):
            continue
        known = truth[row.region, row.quantity]
        # Without a model noise decides in which frame a flat curve arrives and has its peak.
        within = 0.06 if row.quantity in ("k_trans", "v_e", "v_p", "iauc_60", "iauc_90") else 0.4
        assert row.value == pytest.approx(known.ideal, rel=within, abs=1e-4), (row.region, row.quantity)
        assert row.unit == known.unit
        if within < 0.1:
            assert row.uncertainty < 0.05 * row.value
    assert {r.region for r in result.measurements} == set(TISSUES)
    assert set(result.tables) >= {"tacs", "fits", "input"}
    fits = result.tables["fits"].data
    assert set(fits["region"]) == set(TISSUES) and np.isfinite(fits["fitted"]).all()
    for name in ("k_trans", "v_e", "v_p", "k_ep"):
        assert result.maps[name].shape == result.maps[f"{name}_se"].shape == result.maps["exchange_reason"].shape
    facts = result.audit["dce"]
    assert facts["relaxivity"] == 4.97 and facts["t1"] == "flip angles" and facts["input"] == "input of a blood region"


def test_a_stated_t1_relaxivity_and_a_published_input():
    options = {
        "t1": {"source": "stated", "t1_ms": 1300}, "signal": {"relaxivity": 4.97},
        "input": {"source": "population"},
    }  # fmt: skip
    result, truth = measured(["dce"], options=options, **DENSE)
    row = next(r for r in result.measurements if (r.region, r.quantity) == ("tumour", "k_trans"))
    assert row.value == pytest.approx(truth["tumour", "k_trans"].ideal, rel=0.1)
    assert "input of parker" in row.method and "stated value of 1300 ms" in row.method
    assert any("stands for the patient's own" in p.message for p in result.problems)


def rows_of(options, names=("flip", "dce"), seed=1, **plan):
    result, _ = measured(list(names), options=options, seed=seed, **{**DENSE, **plan})
    return result, {(r.region, r.quantity): r for r in result.measurements}


def test_stated_errors_are_in_the_standard_error():
    """Relaxivity cancels where the artery is measured; what does not cancel adds up by squares."""
    _, plain = rows_of({})
    key = ("tumour", "k_trans")
    for stated, relative in (
        ({"input": {"haematocrit_error": 0.1}}, 0.1 * 0.42 / 0.58),
        ({"input": {"scale_error": 0.2}}, 0.2),
        ({"signal": {"relaxivity_error": 0.2}}, 0.0),
    ):
        result, rows = rows_of(stated)
        row = rows[key]
        assert row.value == plain[key].value
        added = row.uncertainty**2 - plain[key].uncertainty ** 2
        assert added == pytest.approx((relative * row.value) ** 2, rel=0.1, abs=1e-6 * row.value**2)
        assert "stated standard errors" in row.method and "stated standard errors" not in plain[key].method
        assert set(result.audit["dce"]["stated_errors"]) <= {"haematocrit", "scale", "relaxivity"}
    area = ("tumour", "iauc_60")
    _, rows = rows_of({"signal": {"relaxivity_error": 0.2}})
    added = rows[area].uncertainty ** 2 - plain[area].uncertainty ** 2
    assert np.sqrt(added) == pytest.approx(0.2 * rows[area].value, rel=0.05)  # a concentration goes with it


def test_errors_of_b1_t1_and_delay_are_in_the_standard_error():
    _, plain = rows_of({})
    for stated, key, least in (
        ({"signal": {"b1_error": 0.05}}, ("tumour", "iauc_60"), 0.05),
        ({"t1": {"t1_error": 0.1}}, ("tumour", "iauc_60"), 0.08),
        ({"input": {"delay_error_s": 2.0}}, ("tumour", "v_p"), 0.05),
    ):
        _, rows = rows_of(stated)
        added = rows[key].uncertainty ** 2 - plain[key].uncertainty ** 2
        assert added > (least * rows[key].value) ** 2, stated
    published = {"input": {"source": "population", "scale_error": 0.1}}
    _, rows = rows_of(published)
    assert "published input is not" not in rows["tumour", "k_trans"].flags
    _, rows = rows_of({"input": {"source": "population"}})
    assert "published input is not" in rows["tumour", "k_trans"].flags


def test_a_free_delay_is_reported():
    options = {"exchange": {"delay_s": [-2.0, 4.0], "maps": False}}
    result, _ = measured(["flip", "dce"], {"tumour": TISSUES["tumour"]}, options, dce_interval_s=1.5, dce_frames=60)
    row = next(r for r in result.measurements if r.quantity == "input_delay")
    assert row.unit == "s" and abs(row.value) < 0.3 and 0 < row.uncertainty < 1
    assert "input_delay" not in result.maps


@pytest.mark.parametrize("solver", ["dictionary", "linear"])
def test_solvers_of_regions(solver):
    _, plain = rows_of({"exchange": {"maps": False}})
    _, rows = rows_of({"exchange": {"maps": False, "solver": solver}})
    row = rows["tumour", "k_trans"]
    assert row.value == pytest.approx(plain["tumour", "k_trans"].value, rel=0.05)
    assert f"extended_tofts ({solver})" in row.method


def test_the_map_of_model_selection_is_made_where_it_is_asked_for():
    result, _ = rows_of({"exchange": {"selection": True}}, dce_frames=100)
    assert result.maps["selected_model"].quantity == "selected_model"
    assert set(np.unique(result.maps["selected_model"].numpy())) <= {0, 1, 2, 3, 4}
    assert result.audit["dce"]["selected_model"][3] == "extended_tofts"
    plain, _ = rows_of({}, dce_frames=100)
    assert "selected_model" not in plain.maps


def test_a_reference_tissue_stands_for_the_artery():
    """K^trans over that of muscle, without arterial input or relaxivity."""
    tissues = {
        "tumour": MrTissue(t1=1.5, f_p=0.5, ps=0.2 / 60, v_p=1e-3, v_e=0.3),
        "muscle": MrTissue(t1=1.1, f_p=0.5, ps=0.1 / 60, v_p=1e-3, v_e=0.12),
    }
    scene = block_scene(tissues, edge=8)
    muscle = next(n for n, name in scene.names.items() if name == "muscle")
    scene = replace(scene, roles={**scene.roles, muscle: "reference"})
    plan = {"series": ["flip", "dce"], "snr": 80.0, **DENSE}
    seen = LENS.simulate(scene, [], Protocol("mri", plan), np.random.default_rng(1))
    match = LENS.accepts(seen.acquisitions)
    for solver in ("auto", "linear"):
        options = LENS.recipe(match, {"exchange": {"model": "reference_region", "solver": solver}}).options()
        result = LENS.quantify(match.roles, seen.regions, options)
        rows = {(r.region, r.quantity): r for r in result.measurements}
        assert {region for region, _ in rows} == {"tumour"}
        ratio = rows["tumour", "k_trans_ratio"]
        assert ratio.value == pytest.approx(2.0, rel=0.15) and ratio.unit == "1"
        assert 0 < ratio.uncertainty < 0.3
        assert rows["tumour", "v_e_ratio"].value == pytest.approx(2.5, rel=0.1)
        assert rows["tumour", "k_ep_reference"].unit == "1/min"
        assert "a reference tissue" in ratio.method


def test_no_voxel_of_a_drawn_artery_is_left_out_for_its_noise():
    """Those that noise raises above full relaxation are the ones with the highest peak."""
    result, _ = rows_of({"exchange": {"maps": False}}, snr=15.0, dce_frames=100)
    facts = result.audit["dce"]
    assert facts["input_voxels"] == 72
    assert facts["voxels_without_concentration"]  # the artery's, among others
    peak = result.tables["input"].data["value"].max()
    clean, _ = rows_of({"exchange": {"maps": False}}, snr=2000.0, dce_frames=100)
    assert peak == pytest.approx(clean.tables["input"].data["value"].max(), rel=0.25)


def test_inflow_in_part_of_a_drawn_artery_is_told_and_noise_is_not():
    def inflow(scan):
        if mr_settings(scan).kind != "dce":
            return scan
        data = scan.image.numpy().copy()
        data[15:40, :, :3, -6:] *= 2.5  # half of the artery, which is the last block
        one = scan.image
        return replace(scan, data=Image(data, unit=one.unit, axes=one.axes, geometry=one.geometry, frames=one.frames))

    plan = {"options": {"exchange": {"maps": False}}, "dce_frames": 100, "dce_interval_s": 3.0}
    bright, _ = measured(["flip", "dce"], change=inflow, **plan)
    (told,) = [p for p in bright.problems if "brighter than the signal equation" in p.message]
    assert told.severity == "warning" and bright.audit["dce"]["input_voxels_too_bright"] >= 36
    noisy, _ = measured(["flip", "dce"], snr=15.0, **plan)
    assert 0 < noisy.audit["dce"]["input_voxels_too_bright"] < 18
    assert not [p for p in noisy.problems if "brighter than the signal equation" in p.message]


def test_what_a_published_input_takes_for_granted_is_told():
    def unsaid(scan):
        return replace(scan, species=None)

    options = {"input": {"source": "population"}, "exchange": {"maps": False}}
    plan = {"options": options, "dce_frames": 60, "dce_interval_s": 3.0}
    result, _ = measured(["flip", "dce"], change=unsaid, **plan)
    fields = {p.field: p for p in result.problems}
    assert "0.42" in str(fields["input.haematocrit"].found)
    assert "species is not stated" in str(fields["input"].found)
    said, _ = measured(["flip", "dce"], **plan)
    assert str({p.field: p for p in said.problems}["input"].found) == "parker"


def test_a_region_of_few_voxels_says_what_its_errors_lack():
    """An area has no error of its own: without voxels to draw none is known, which is not an error of zero."""
    scene = block_scene({"tumour": TISSUES["tumour"]}, edge=6)
    labels = scene.labels.copy()
    labels[labels == 1] = 0
    labels[0, 0, :3] = 1
    scene = replace(scene, labels=labels)
    plan = {"series": ["flip", "dce"], "snr": 80.0, "dce_frames": 60, "dce_interval_s": 3.0}
    seen = LENS.simulate(scene, [], Protocol("mri", plan), np.random.default_rng(1))
    match = LENS.accepts(seen.acquisitions)
    options = {"exchange": {"maps": False}, "enhancement": {"maps": False}, "motion": {"mode": "none"}}
    result = LENS.quantify(match.roles, seen.regions, LENS.recipe(match, options).options())
    rows = {r.quantity: r for r in result.measurements if r.region == "tumour"}
    assert np.isfinite(rows["iauc_60"].value) and rows["iauc_60"].uncertainty_kind == "none"
    assert np.isnan(rows["iauc_60"].lower)
    assert rows["k_trans"].uncertainty > 0
    assert all("fewer than 5 voxels" in rows[name].flags for name in ("k_trans", "iauc_60"))


def test_a_haematocrit_that_nobody_states_is_taken_with_a_warning():
    result, plain = rows_of({})
    warned = [p for p in result.problems if p.field == "input.haematocrit"]
    assert len(warned) == 1 and warned[0].severity == "warning" and "0.42" in str(warned[0].found)
    stated, rows = rows_of({"input": {"haematocrit": 0.3}})
    assert not [p for p in stated.problems if p.field == "input.haematocrit"]
    # Plasma is blood over one minus the haematocrit, and K^trans goes with one over it.
    ratio = rows["tumour", "k_trans"].value / plain["tumour", "k_trans"].value
    assert ratio == pytest.approx(0.7 / 0.58, rel=1e-3)


def test_t1_on_another_grid_is_resampled():
    def coarse(scan):
        if mr_settings(scan).kind != "flip":
            return scan
        place = scan.image.geometry
        other = place.with_spacing(tuple(2 * s if i else s for i, s in enumerate(place.spacing)))
        return replace(scan, data=scan.image.resample_to(other, fill=0.0))

    plain, _ = measured(["flip", "dce"], **DENSE)
    other, _ = measured(["flip", "dce"], change=coarse, **DENSE)
    pick = [
        next(r.value for r in x.measurements if (r.region, r.quantity) == ("tumour", "v_e")) for x in (plain, other)
    ]
    assert pick[0] == pytest.approx(pick[1], rel=0.15) and pick[0] != pick[1]


def test_without_regions_all_tissue_is_measured():
    result, _ = measured(["spin echoes"], regions=False)
    (row,) = result.measurements
    assert row.region == "all tissue" and row.n > 100


# -- what it takes ---------------------------------------------------------------------------------------------------


def volume(**settings):
    known = {"tr_s": 0.005, "te_s": 0.002, "gradient_echo": True, "spoiled": True, **settings}
    geometry = Geometry.from_spacing((2, 3, 4), (2.0, 2.0, 2.0), frame="f")
    image = Image(np.full((2, 3, 4), known.get("flip_deg", 1.0), np.float32), unit="1", geometry=geometry)
    return Acquisition(f"mr-{known.get('flip_deg')}", "mr", image, extra={"mr": MrSettings(**known)})


def series(count=8, kind=None, **settings):
    geometry = Geometry.from_spacing((2, 3, 4), (2.0, 2.0, 2.0), frame="f")
    image = Image(np.ones((count, 2, 3, 4), np.float32), unit="1", geometry=geometry)
    return Acquisition("mr", "mr", image, extra={"mr": MrSettings(kind=kind, **settings)})


def test_flip_angles_kept_in_separate_series_are_one():
    scans = [volume(flip_deg=f) for f in (15.0, 3.0, 8.0)]
    match = LENS.accepts(scans)
    assert len(match.roles) == 3 and set(match.also) == {"mr-3.0", "mr-8.0"} and match.score > 0
    joined = gathered(scans)[0].joined
    np.testing.assert_array_equal(joined.image.axes[0].coordinates, [3, 8, 15])
    np.testing.assert_array_equal(joined.image.numpy()[:, 0, 0, 0], [3, 8, 15])
    assert not gathered([scans[0], replace(scans[1], extra={"mr": MrSettings(flip_deg=3.0)})])


@pytest.mark.parametrize(
    ("scan", "kind"),
    [
        (series(te_s=0.002, gradient_echo=True), "dce"),
        (series(te_s=0.03, gradient_echo=True, echo_planar=True), "dsc"),
        (series(te_s=0.03, gradient_echo=False), "dynamic"),
        (series(te_s=0.012, gradient_echo=True), "dynamic"),
        (series(), "dynamic"),
        (series(count=3), None),
        (series(te_s=0.002, gradient_echo=True, part="phase"), None),
        (series(kind="dsc"), "dsc"),
        (volume(), None),
        (replace(series(kind="dce"), modality="ct"), None),
    ],
)
def test_what_a_series_is(scan, kind):
    assert kind_of(scan) == kind


@pytest.mark.parametrize(("echoes", "kind"), [((0.001, 0.002), None), ((0.002, 0.005, 0.009), "gradient echoes")])
def test_two_echoes_are_for_fat_and_water(echoes, kind):
    geometry = Geometry.from_spacing((2, 3, 4), (2.0, 2.0, 2.0), frame="f")
    axes = (Axis("echo", "echo", "s", np.array(echoes)), *(Axis(n, "space", "mm") for n in "zyx"))
    image = Image(np.ones((len(echoes), 2, 3, 4)), unit="1", axes=axes, geometry=geometry)
    assert kind_of(Acquisition("mr", "mr", image, extra={"mr": MrSettings(gradient_echo=True)})) == kind


def test_a_session_with_pet_is_no_tie_and_series_come_in_one_order():
    from timelens.run.lenses import all_lenses

    scans = [replace(series(kind=k), id=k) for k in ("diffusion", "dce", "dsc", "spin echoes", "flip", "inversion")]
    order, waiting = [], scans
    while (match := LENS.accepts(waiting)).score > 0:
        first = next(iter(match.roles.values())).id
        assert match.score not in (0.5, 1.0, 2.0)  # those of the PET lenses
        order.append(first)
        waiting = [a for a in waiting if a.id != first]
    assert order == ["dce", "dsc", "flip", "inversion", "spin echoes", "diffusion"]
    assert LENS.accepts([]).score == 0
    assert isinstance(all_lenses()["mri"], MriLens)


def test_recipes():
    match = LENS.accepts([series(kind="dsc")])
    recipe = LENS.recipe(match, {"perfusion": {"method": "csvd"}})
    assert [s.name for s in recipe.steps] == ["series", "motion", "signal", "input", "perfusion"]
    assert recipe.options()["perfusion"]["method"] == "csvd"
    assert "the vascular model" in recipe.steps[-1].why


BAD_OPTIONS = {
    "unknown step": {"relax": {}},
    "unknown parameter": {"signal": {"tr": 5}},
    "unknown model": {"exchange": {"model": "patlak2"}},
    "unknown method": {"perfusion": {"method": "svd"}},
    "text for a number": {"signal": {"tr_ms": "5"}},
    "seconds for milliseconds": {"signal": {"tr_ms": 0.005}},
    "T1 in seconds": {"t1": {"t1_ms": 1.4}},
    "haematocrit in percent": {"input": {"haematocrit": 42}},
    "delay backwards": {"exchange": {"delay_s": [5, 0]}},
    "stated T1 without value": {"t1": {"source": "stated"}},
    "negative relaxivity": {"signal": {"relaxivity": -4.5}},
    "truth as a number": {"exchange": {"maps": "yes"}},
    "unknown solver": {"exchange": {"solver": "simplex"}},
    "selection as a number": {"exchange": {"selection": 1.5}},
    "rows without a model as text": {"enhancement": {"rows": "all"}},
    "error of relaxivity in percent": {"signal": {"relaxivity_error": 5}},
    "negative error of B1": {"signal": {"b1_error": -0.05}},
    "error of T1 as text": {"t1": {"t1_error": "5 %"}},
    "error of the haematocrit in percent": {"input": {"haematocrit_error": 10}},
    "error of the input's scale in percent": {"input": {"scale_error": 20}},
    "error of the delay in milliseconds": {"input": {"delay_error_s": 2000}},
    "a delay that is no range": {"exchange": {"delay_s": 5}},
    "an error of a delay that is fitted": {"exchange": {"delay_s": [0, 5]}, "input": {"delay_error_s": 1}},
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_options_that_cannot_be_used(case):
    with pytest.raises(UsageError) as error:
        LENS.recipe(LENS.accepts([]), BAD_OPTIONS[case])
    assert error.value.problem.field and error.value.problem.expected


def _with(**settings):
    return lambda scan: (
        replace(scan, agent=None if "agent" in settings else scan.agent,
                extra={"mr": replace(mr_settings(scan), **settings)})
        if mr_settings(scan).kind == "dce" else scan
    )  # fmt: skip


def _elsewhere(scan):
    if mr_settings(scan).kind != "flip":
        return scan
    return replace(scan, data=scan.image.with_info(geometry=scan.image.geometry.with_frame("elsewhere")))


def _flat(scan):
    if mr_settings(scan).kind != "dce":
        return scan
    first = np.repeat(scan.image.numpy()[:1], scan.image.shape[0], axis=0)
    return replace(scan, data=Image(first, unit="1", axes=scan.image.axes, geometry=scan.image.geometry,
                                    frames=scan.image.frames))  # fmt: skip


def _no_times(scan):
    image = scan.image
    return replace(scan, data=image.with_info(frames=None)) if mr_settings(scan).kind == "dce" else scan


REFUSED = {
    "no T1": (["dce"], {}, None, "needs T1 before contrast"),
    "T1 in another space": (["flip", "dce"], {}, _elsewhere, "needs T1 before contrast"),
    "no repetition time": (["flip", "dce"], {}, _with(tr_s=None), "needs tr_s"),
    "no flip angle": (["flip", "dce"], {}, _with(flip_deg=None), "needs flip_deg"),
    "no agent": (["flip", "dce"], {}, _with(agent=None), "needs agent"),
    "no field": (["flip", "dce"], {}, _with(field_t=None), "needs field_t"),
    "unknown agent": (["flip", "dce"], {"signal": {"agent": "water"}}, None, "relaxivity of this agent is not known"),
    "nothing enhances": (["flip", "dce"], {}, _flat, "No frame before the contrast agent"),
    "no frame times": (["flip", "dce"], {}, _no_times, "no frame times"),
    "all frames are baseline": (
        ["flip", "dce"], {"signal": {"baseline_frames": 100}}, None, "More frames before contrast"),
    "population for a first pass": (["dsc"], {"input": {"source": "population"}}, None, "needs an artery"),
    "a reference region that is not there": (
        ["flip", "dce"], {"exchange": {"model": "reference_region"}}, None, "needs a reference tissue"),
    "a solver that the model does not have": (
        ["flip", "dce"], {"exchange": {"model": "two_compartment_uptake", "solver": "linear"}}, None, "no linear form"),
    "a free delay of a linear solver": (
        ["flip", "dce"], {"exchange": {"solver": "linear", "delay_s": [0, 5]}}, None, "no free delay"),
    "a method of another series": (["flip"], {"relaxation": {"method": "arlo"}}, None, "none for this series"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_measured_is_refused_by_name(case):
    names, options, change, words = REFUSED[case]
    with pytest.raises(TimelensError, match=words) as error:
        measured(names, options=options, change=change)
    assert error.value.problem.field and error.value.problem.expected


def test_a_region_of_blood_that_is_asked_for_and_not_there():
    with pytest.raises(MissingFieldError, match="no region of blood"):
        measured(["flip", "dce"], options={"input": {"source": "region"}}, regions=False)


def test_a_dynamic_series_of_unknown_kind_asks_for_it():
    match = LENS.accepts([series()])
    found = LENS.quantify(match.roles, [], {})
    (problem,) = found.problems
    assert "nothing says whether it is" in problem.message and problem.severity == "warning"
    assert "series: {kind: dce}" in problem.mend and "echo time not known" in problem.found
    assert found.measurements == []


def test_echoes_of_unknown_kind_ask_for_it():
    axis = Axis("echo", "echo", "s", np.array([0.01, 0.02, 0.04]))
    geometry = Geometry.from_spacing((2, 3, 4), (2.0, 2.0, 2.0), frame="f")
    data = np.exp(-np.array([0.01, 0.02, 0.04]) / 0.05)[:, None, None, None] * np.ones((3, 2, 3, 4))
    axes = (axis, *(Axis(n, "space", "mm") for n in "zyx"))
    scan = Acquisition("mr", "mr", Image(data, unit="1", axes=axes, geometry=geometry), extra={"mr": MrSettings()})
    match = LENS.accepts([scan])
    with pytest.raises(MissingFieldError, match="needs gradient_echo"):
        LENS.quantify(match.roles, [], {})
    found = LENS.quantify(match.roles, [], {"series": {"gradient_echo": False}})
    assert found.measurements[0].quantity == "t2" and found.measurements[0].value == pytest.approx(50, rel=1e-3)


def test_a_b1_map_in_percent_is_converted_and_one_of_no_ratio_refused():
    geometry = Geometry.from_spacing((2, 6, 18), (2.0, 2.0, 2.0), frame="mr scene")
    flips = LENS.simulate(
        block_scene(TISSUES, edge=6), [], Protocol("mri", {"series": ["flip"]}), np.random.default_rng(0)
    ).acquisitions[0]

    def b1(value, unit):
        image = Image(np.full(geometry.shape, value, np.float32), unit=unit, geometry=geometry)
        return Acquisition("b1", "mr", image, extra={"mr": MrSettings("b1_map")})

    plain = LENS.quantify({"flip": flips}, [], {}).measurements[0].value
    match = LENS.accepts([flips, b1(80.0, "%")])
    assert set(match.roles) == {"flip", "b1_map"}
    low = LENS.quantify(match.roles, [], {}).measurements[0].value
    assert low == pytest.approx(plain / 0.8**2, rel=0.05)  # T1 goes with the inverse square of the angle
    with pytest.raises(DataError, match="not a ratio of flip angles"):
        LENS.quantify({"flip": flips, "b1_map": b1(80.0, "1")}, [], {})
