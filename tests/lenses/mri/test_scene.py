"""A virtual tumour on the voxels of a scanner."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.errors import DataError
from timelens.lenses.mri.scene import field_scene, tumour_scene
from timelens.study.geometry import Geometry
from timelens.tumor.architecture import ARCHITECTURES
from timelens.tumor.microenvironment import build


@pytest.fixture(scope="module")
def tumour():
    return build(ARCHITECTURES["inflamed"], Geometry.from_spacing((30, 30, 30), (0.5,) * 3, frame="tumour"), 3)


def test_its_own_voxels_change_nothing(tumour):
    own = tumour_scene(tumour, artery_voxels=0)
    other = field_scene(tumour, (0.5,) * 3, centre=(1, 2, 3), frame="mr", artery_voxels=0)
    assert other.geometry.frame == "mr"
    for name, values in own.maps.items():
        np.testing.assert_allclose(other.maps[name], values, atol=1e-12)
    np.testing.assert_array_equal(other.labels, own.labels)


def test_a_voxel_holds_the_mean_of_what_lies_in_it(tumour):
    scene = field_scene(tumour, (1.5, 1.0, 1.0), centre=(10, 20, 30), frame="mr", slices=4, artery_voxels=1)
    assert scene.geometry.shape == (4, 15, 15)
    middle = scene.geometry.to_mm((np.array(scene.geometry.shape) - 1) / 2)
    assert middle == pytest.approx([10, 20, 30])
    flow = tumour.plasma_flow.astype(float) / 60
    artery = np.argwhere(scene.artery)
    assert [tuple(v) for v in artery] == [(z, 1, 1) for z in range(4)]
    # The middle 6 mm along z: twelve planes of the tumour, three to a slice.
    want = flow[9:21].reshape(4, 3, 15, 2, 15, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(scene.maps["f_p"], want, rtol=1e-12)


def test_the_artery_is_clear_of_the_edge_of_a_deep_field(tumour):
    scene = field_scene(tumour, (1.0,) * 3, centre=(0, 0, 0), frame="mr")
    inner = scene.artery[1:-1, 1:-1, 1:-1]
    assert inner.sum() == scene.artery.sum() == 13 * 4


def test_voxels_that_share_planes_share_what_is_in_them(tumour):
    scene = field_scene(tumour, (0.7,) * 3, centre=(0, 0, 0), frame="mr", artery_voxels=1)
    assert scene.geometry.shape == (21, 21, 21)
    inner = tumour.interstitial_fraction[1:-1, 1:-1, 1:-1]
    assert inner.min() <= scene.maps["v_e"].min() and scene.maps["v_e"].max() <= tumour.interstitial_fraction.max()
    one = field_scene(tumour, (0.7, 15.0, 15.0), centre=(0, 0, 0), frame="mr", artery_voxels=0)
    assert one.maps["v_e"].sum() * 0.7 == pytest.approx(
        float(tumour.interstitial_fraction.astype(float).mean(axis=(1, 2))[1:-1].sum() * 0.5)
        + 0.35 * sum(float(tumour.interstitial_fraction[k].astype(float).mean()) for k in (0, -1)), rel=1e-6
    )  # fmt: skip


def test_a_field_that_cannot_be_is_refused(tumour):
    with pytest.raises(DataError, match="no voxel of this size"):
        field_scene(tumour, (20.0, 1.0, 1.0), centre=(0, 0, 0), frame="mr")
    with pytest.raises(DataError, match="artery would lie in the tumour"):
        field_scene(tumour, (1.0,) * 3, centre=(0, 0, 0), frame="mr", artery_voxels=8)
