"""The phantom: volumes as in the reference, tumours where they belong, labels, and activity kept on the grid."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.errors import DataError, GeometryError, UsageError
from timelens.study.geometry import Geometry
from timelens.tumor.agents import simulate_host
from timelens.tumor.digital_patient import DigitalPatient, Shape
from timelens.tumor.host import body_phantom, reference_host
from timelens.tumor.paint import suv_image
from timelens.tumor.scene import curves_of


@pytest.fixture(scope="module")
def mouse():
    return body_phantom(reference_host("mouse"))


@pytest.fixture(scope="module")
def human():
    return body_phantom(reference_host("human"))


def test_tumours_are_placed_or_refused(human) -> None:
    body = human.with_tumour("primary", 30.0, inside="lung right", at=(0, 0, 20))
    body = body.with_tumour("metastasis", (20.0, 16.0, 16.0), inside="liver", at=(10, 0, 0))
    assert [t.name for t in body.tumours] == ["primary", "metastasis"] and human.tumours == ()
    assert body.shape("primary").centre == (80.0, -2.0, 475.0)
    with pytest.raises(UsageError, match="name is taken"):
        body.with_tumour("primary", 5.0)
    with pytest.raises(UsageError, match="no such shape"):
        body.with_tumour("third", 5.0, inside="tail")
    with pytest.raises(DataError, match="does not touch"):
        body.with_tumour("third", 5.0, inside="liver", at=(300, 0, 0))
    with pytest.raises(DataError, match="outside the body"):
        body.with_tumour("third", 5.0, at=(1000, 0, 300))
    with pytest.raises(DataError, match="overlap"):
        body.with_tumour("third", 5.0, inside="lung right", at=(0, 0, 20))


@pytest.mark.parametrize("organ", ["liver", "spleen", "kidney", "lung", "brain", "stomach", "intestine"])
def test_painted_volumes_are_those_of_the_host(mouse, human, organ: str) -> None:
    for body, spacing in ((mouse, 0.5), (human, 4.0)):
        grid = body.grid(spacing)
        labels = body.labels(grid)
        numbers = [n for n, name in labels.names.items() if body.regions[name] == organ]
        painted = np.isin(labels.labels.numpy(), numbers).sum() * grid.voxel_volume / 1e3
        assert painted == pytest.approx(body.host.organ(organ).volume_ml, rel=0.08)


def test_the_whole_mouse_weighs_what_it_should(mouse) -> None:
    grid = mouse.grid(0.5)
    volume = (mouse.labels(grid).labels.numpy() > 0).sum() * grid.voxel_volume / 1e3
    assert volume == pytest.approx(25.0, rel=0.05)
    heavy = body_phantom(reference_host("mouse", weight_g=50))
    assert heavy.shape("body").volume_ml == pytest.approx(2 * mouse.shape("body").volume_ml)


def test_labels_name_organs_tumours_and_outline(mouse) -> None:
    body = mouse.with_tumour("flank", 6.0, inside="leg right", at=(2, 0, 6))
    labels = body.labels(body.grid(0.5))
    by_name = {name: n for n, name in labels.names.items()}
    assert labels.role(by_name["flank"]) == "lesion"
    assert labels.role(by_name["body"]) == "body"
    assert labels.role(by_name["spleen"]) == "organ"
    present = np.unique(labels.labels.numpy())
    assert set(present) == {0, *labels.names}
    with pytest.raises(GeometryError, match="misses the body"):
        body.labels(Geometry.from_spacing((4, 4, 4), (1, 1, 1), origin=(500, 0, 0)))


@pytest.mark.parametrize("agent", ["zr89-atezolizumab", "f18-fdg", "zr89-car-t"])
def test_painted_activity_is_that_of_the_curves(mouse, agent: str) -> None:
    """The image holds nearly all activity; what is missing is excreted or lies in bones that have no shape."""
    curves = simulate_host(mouse.host, agent, [0.0, 3600.0, 86400.0])
    scene = curves_of(curves, mouse.regions)
    shapes = [
        Shape(
            p.shape.name,
            p.shape.centre,
            p.shape.semi_axes,
            float(scene[p.shape.name].suv[1]),
            cylinder=p.shape.cylinder,
        )
        for p in mouse.parts
    ]
    grid = mouse.grid(0.6)
    image = suv_image(DigitalPatient(tuple(shapes)), grid).numpy()
    total = image.sum(dtype=float) * grid.voxel_volume / 1e3 / mouse.host.weight_g
    unseen = curves.amount.get("intestine contents", np.zeros(3))[1] + curves.amount_in("bone+bone marrow")[1]
    assert 0.9 - unseen < total < 1.1
