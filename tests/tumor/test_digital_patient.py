"""Shapes and the standard body."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.errors import UsageError
from timelens.tumor.digital_patient import DigitalPatient, Shape, lesion, standard_organs


def test_shape_without_extent_is_refused():
    with pytest.raises(UsageError, match="node has no extent"):
        Shape("node", (0, 0, 0), (5, 0, 5), 1.0)
    with pytest.raises(UsageError, match="has no extent"):
        Shape("node", (0, 0, 0), (5, 5, 5), 1.0).grown(-5)


def test_volumes_in_closed_form():
    assert lesion("node", (0, 0, 0), 20, 8).volume_ml == pytest.approx(np.pi / 6 * 8)
    assert Shape("rod", (0, 0, 0), (10, 20, 30), 1.0, cylinder=True).volume_ml == pytest.approx(np.pi * 12)
    assert lesion("node", (0, 0, 0), 20, 8).grown(5).volume_ml == pytest.approx(np.pi / 6 * 27)


def test_half_chord():
    ball = lesion("node", (1, 2, 3), 20, 8)
    y = np.array([2.0, 8.0, 12.1])
    np.testing.assert_allclose(ball.half_chord(y, np.array(3.0)), [10, 8, 0])
    rod = Shape("rod", (0, 0, 0), (10, 10, 5), 1.0, cylinder=True)
    np.testing.assert_allclose(rod.half_chord(np.array(6.0), np.array([0.0, 4.9, 5.1])), [8, 8, 0])


@pytest.mark.parametrize("cylinder", [False, True])
def test_contains_agrees_with_chord(cylinder, rng):
    shape = Shape("s", (3, -2, 5), (8, 12, 20), 1.0, cylinder=cylinder)
    points = rng.uniform(-25, 30, (2000, 3))
    chord = shape.half_chord(points[:, 1], points[:, 2])
    np.testing.assert_array_equal(shape.contains(points), np.abs(points[:, 0] - 3) < chord)


def test_later_shapes_cover_earlier_ones():
    big, small = lesion("big", (0, 0, 0), 40, 2), lesion("small", (0, 0, 0), 10, 7)
    patient = DigitalPatient((big,), (small,))
    points = np.array([[0.0, 0, 0], [0, 0, 10], [0, 0, 30]])
    np.testing.assert_array_equal(patient.suv_at(points), [7, 2, 0])
    np.testing.assert_array_equal(patient.suv_at(points, without="small"), [2, 2, 0])


def test_standard_body_has_the_stated_uptake_and_lies_as_people_do():
    patient = DigitalPatient(standard_organs())
    names = ["brain", "liver", "bladder", "spleen", "aorta", "kidney left"]
    where = np.array([patient.organ(n).centre for n in names])
    np.testing.assert_array_equal(patient.suv_at(where), [7.0, 2.2, 18.0, 1.8, 1.6, 5.0])
    assert patient.organ("liver").centre[0] > 0 > patient.organ("spleen").centre[0]  # RAS+: right is positive
    assert patient.organ("spine").centre[1] < 0 < patient.organ("bladder").centre[1]
    with pytest.raises(UsageError, match="no such organ"):
        patient.organ("gills")


def test_width_and_uptake_can_be_chosen():
    wide = DigitalPatient(standard_organs(width=1.1, suv={"liver": 3.0}))
    usual = DigitalPatient(standard_organs())
    assert wide.organ("liver").suv == 3.0
    assert wide.organ("liver").volume_ml == pytest.approx(1.21 * usual.organ("liver").volume_ml)
    with pytest.raises(UsageError, match="no such organ"):
        standard_organs(suv={"gills": 1.0})
