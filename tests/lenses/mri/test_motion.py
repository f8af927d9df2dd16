"""Motion in a series: measured, warned about, taken off; and what it does to K^trans."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.engines.registration.test_frames import body

from timelens.engines.kinetics import Frames
from timelens.engines.mr_signal import spoiled_gradient_echo, with_contrast
from timelens.errors import DataError
from timelens.lenses.mri.lens import MriLens
from timelens.lenses.mri.motion import at_rest
from timelens.lenses.mri.physics import exchange_concentration
from timelens.lenses.mri.protocol import MrProtocol
from timelens.lenses.mri.scene import MrTissue, block_scene
from timelens.lenses.mri.simulate import plasma_of
from timelens.study.acquisition import Acquisition
from timelens.study.axes import Axis
from timelens.study.contract import Protocol
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.mr import MrSettings
from timelens.study.region import Region
from timelens.study.timing import FrameTiming

LENS = MriLens()
COUNT, STEP, T1 = 24, 12.0, 1.2
TRUE = {"k_trans": 0.25, "v_e": 0.35}
OPTIONS = {
    "t1": {"source": "stated", "t1_ms": 1e3 * T1}, "signal": {"relaxivity": 4.97},
    "input": {"source": "population", "delay_s": 25.0},
    "exchange": {"maps": False}, "enhancement": {"rows": False, "maps": False},
}  # fmt: skip


def enhancing(moves: np.ndarray, *, noise: float = 3.0, seed: int = 1) -> tuple[Acquisition, list[Region]]:
    """A tumour that takes up the agent, in a body that moves and turns by ``moves`` mm and degrees."""
    plan = MrProtocol(dce_interval_s=STEP, dce_frames=COUNT)
    timing = FrameTiming(STEP * np.arange(COUNT, dtype=float), np.full(COUNT, STEP))
    frames = Frames.instants(timing.mid)
    plasma = plasma_of(plan, float(timing.end[-1]))
    curve = exchange_concentration(
        plasma, frames, f_p=np.array([0.5]), ps=np.array([TRUE["k_trans"] / 60]), v_p=np.array([0.03]),
        v_e=np.array([TRUE["v_e"]]),
    )[:, 0]  # fmt: skip
    muscle = 0.15 * curve
    signal = [
        spoiled_gradient_echo(m0, with_contrast(1 / T1, 4.97, c), flip=15.0, tr=0.004)
        for m0, c in ((3000, 0 * curve), (1300, muscle), (900, curve), (1300, muscle), (900, muscle), (1500, muscle))
    ]
    signal = np.stack(np.broadcast_arrays(*signal))
    first = body(np.zeros(3), np.zeros(3))
    volumes = []
    for k, move in enumerate(moves):
        parts = first if move == 0 else body(np.array([0.0, 0.0, move]), np.array([0.5 * move, move, 0.0]))
        volumes.append(np.tensordot(signal[:, k], parts, 1))
    data, rng = np.stack(volumes), np.random.default_rng(seed)
    data = np.hypot(data + rng.normal(0, noise, data.shape), rng.normal(0, noise, data.shape)).astype(np.float32)
    geometry = Geometry.from_spacing(data.shape[1:], (3.0, 2.0, 2.0), frame="body")
    image = Image(
        data, unit="1", axes=(Axis("t", "time", "s"), *(Axis(n, "space", "mm") for n in "zyx")), geometry=geometry,
        frames=timing, name="dce",
    )  # fmt: skip
    settings = MrSettings("dce", tr_s=0.004, te_s=0.0015, flip_deg=15.0, field_t=3.0, gradient_echo=True, spoiled=True)
    labels = Image((first[2] > 0.9).astype(np.uint8), unit="1", geometry=geometry)
    return Acquisition("dce", "mr", image, extra={"mr": settings}), [
        Region("r", "labels", {1: "tumour"}, labels=labels)
    ]


def measured(scan: Acquisition, regions: list[Region], mode: str):
    result = LENS.quantify({"dce": scan}, regions, {**OPTIONS, "motion": {"mode": mode}})
    return result, {r.quantity: r for r in result.measurements}


def test_motion_harms_k_trans_and_correction_brings_it_back() -> None:
    late = (np.arange(COUNT) >= 6)[:, None]
    moves = 3.0 * late[:, 0] + np.where(np.arange(COUNT) % 10 == 7, 1.0, 0.0)
    scan, regions = enhancing(moves)
    still, _ = enhancing(np.zeros(COUNT))
    _, truth = measured(still, regions, "none")
    assert truth["k_trans"].value == pytest.approx(TRUE["k_trans"], rel=0.1)
    plain, harmed = measured(scan, regions, "auto")
    (warning,) = [p for p in plain.problems if "moved" in p.message]
    assert "mm in image" in warning.found and warning.severity == "warning" and "rigid" in warning.mend
    mended, rows = measured(scan, regions, "rigid")
    reference = truth["k_trans"].value
    assert harmed["v_e"].value < 0.94 * truth["v_e"].value
    assert abs(rows["k_trans"].value / reference - 1) < 0.03
    assert abs(rows["v_e"].value / truth["v_e"].value - 1) < 0.03
    table = mended.tables["motion"].data
    assert len(table) == COUNT and table["displacement_mm"].max() == pytest.approx(5.0, abs=0.4)
    assert mended.audit["motion"]["mode"] == "rigid" and not [p for p in mended.problems if "moved" in p.message]


def test_a_body_at_rest_gets_no_warning_and_looks_are_few() -> None:
    scan, _ = enhancing(np.zeros(COUNT), noise=8.0)
    found = at_rest(scan, "dce", "auto")
    assert found.scan is scan and found.problems == () and found.facts["images"] == 12
    assert found.facts["largest_mm"] < 0.5
    assert at_rest(scan, "flip", "auto").facts == {"mode": "none"}
    air = replace(scan, data=replace_values(scan.image, np.zeros(scan.image.shape, np.float32)))
    assert "nothing but air" in at_rest(air, "dce", "measure").facts["found"]
    with pytest.raises(DataError, match="nothing but air"):
        at_rest(air, "dce", "rigid")


def test_images_of_a_recovery_are_left_as_they_are() -> None:
    scan, _ = enhancing(np.zeros(COUNT))
    found = at_rest(scan, "inversion", "rigid")
    assert found.scan is scan and "differ too much" in found.problems[0].message
    assert at_rest(scan, "inversion", "auto").problems == ()


def replace_values(image: Image, values: np.ndarray) -> Image:
    return Image(values, unit=image.unit, axes=image.axes, geometry=image.geometry, frames=image.frames, name="x")


def test_blocks_that_fill_the_field_and_enhance_do_not_move() -> None:
    """Nothing but three even blocks, one of them an artery: a bolus must not be mistaken for motion."""
    scene = block_scene({"a": MrTissue(), "b": MrTissue(t1=0.8)}, edge=24, slices=8)
    protocol = Protocol("mri", {"series": ["dce"], "dce_frames": 60})
    (scan,) = LENS.simulate(scene, [], protocol, np.random.default_rng(0)).acquisitions
    found = at_rest(scan, "dce", "auto")
    assert found.problems == () and found.facts["largest_mm"] < 1.0


def test_small_fields_are_not_judged() -> None:
    scene = block_scene({"a": MrTissue(), "b": MrTissue(t1=0.8)}, edge=8, slices=8)
    (scan,) = LENS.simulate(
        scene, [], Protocol("mri", {"series": ["dce"], "dce_frames": 12}), np.random.default_rng(0)
    ).acquisitions
    found = at_rest(scan, "dce", "measure")
    assert found.problems == () and found.facts["found"] == "the field is too small to tell motion"
    assert not found.tables and at_rest(scan, "dce", "rigid").tables
