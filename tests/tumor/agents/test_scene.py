"""A scene of host, tumours and agent: what is painted is what the models say."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.errors import DataError, UsageError
from timelens.study.geometry import Geometry
from timelens.tumor.agents import PlacedTumour, agent_scene
from timelens.tumor.architecture import INFLAMED
from timelens.tumor.host import body_phantom, reference_host
from timelens.tumor.microenvironment import build


@pytest.fixture(scope="module")
def tumour():
    return build(INFLAMED, Geometry.from_spacing((22, 22, 22), (0.7, 0.7, 0.7), frame="tumour"), 5)


@pytest.fixture(scope="module")
def human():
    return body_phantom(reference_host("human"))


def test_bad_input_is_refused(human, tumour) -> None:
    placed = PlacedTumour(tumour, (62.0, 8.0, 300.0))
    with pytest.raises(DataError, match="ascend from zero"):
        agent_scene(human, "f18-fdg", {"primary": placed}, [60.0, 0.0])
    with pytest.raises(UsageError, match="name is taken"):
        agent_scene(human, "f18-fdg", {"liver": placed}, [0.0, 60.0])
    with pytest.raises(DataError, match="outside the body"):
        agent_scene(human, "f18-fdg", {"primary": PlacedTumour(tumour, (900.0, 0.0, 0.0))}, [0.0, 60.0])


def test_two_tumours_in_a_patient(human, tumour) -> None:
    times = np.array([0.0, 600.0, 3600.0])
    places = {"primary": (62.0, 8.0, 300.0), "metastasis": (80.0, -2.0, 470.0)}
    result = agent_scene(
        human, "f18-fdg", {n: PlacedTumour(tumour, c) for n, c in places.items()}, times, infusion_s=10.0
    )
    fields = {each.name: each for each in result.scene.fields}
    assert set(fields) == set(places) == set(result.truth)
    np.testing.assert_array_equal(fields["primary"].suv, fields["metastasis"].suv)
    assert fields["primary"].suv.shape == (3, 22, 22, 22) and fields["primary"].centre == places["primary"]
    late = fields["primary"].suv[2][tumour.masks["living tumour"]].mean()
    assert late > 1.5 * result.curves.at(3600, result.curves.suv("blood"))
    assert set(result.scene.curves) == {part.shape.name for part in human.parts}
    assert result.scene.species == "human" and np.isnan(result.truth["primary"].occupancy).all()
    assert (result.truth["primary"].k_i[tumour.masks["living tumour"]] > 0).mean() > 0.9
    # What the scene tells of the tumour as a whole: means over its voxels; FDG is kept, so that there is no V_T.
    told, truth, share = result.scene.kinetics["primary"], result.truth["primary"], fields["primary"].share
    assert told["k_i"] == pytest.approx(np.average(truth.k_i, weights=share), rel=1e-6)
    assert {"k1", "k2", "k3", "v_b"} <= set(told) and "v_t" not in told


def test_voxels_hold_what_the_host_lost(human, tumour) -> None:
    """The tumour as one pool and as voxels, heterogeneous and with most of its target occupied."""
    mouse = body_phantom(reference_host("mouse"))
    day = 86400.0
    placed = PlacedTumour(tumour, (9.5, 3.0, 8.0), ["cd8a"])
    result = agent_scene(mouse, "zr89-crefmirlimab", {"flank": placed}, [3600.0, day, 2 * day], dose_nmol=0.1)
    field = result.scene.fields[0]
    assert result.scene.kinetics["flank"] == {}  # its target saturates: rates change
    inside = tumour.masks["tumour"]
    held = field.suv[:, inside].sum(axis=1) * tumour.geometry.voxel_volume / 1e3 / mouse.host.weight_g
    lost = np.interp([3600.0, day, 2 * day], result.curves.time_s, result.curves.amount["flank"])
    vessels = result.rates["flank"].vessel[inside].sum() * tumour.geometry.voxel_volume / 1e3
    blood = np.interp([3600.0, day, 2 * day], result.curves.time_s, result.curves.blood) * vessels
    np.testing.assert_allclose(held - blood, lost, rtol=0.25)
    assert (held - blood)[-1] == pytest.approx(lost[-1], rel=0.02)
    assert result.agreement["flank"] == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(result.curves.total, 1, rtol=1e-9)
    truth = result.truth["flank"]
    assert np.median(truth.occupancy[inside]) > 0.5 and truth.saturated[inside].mean() > 0.9
