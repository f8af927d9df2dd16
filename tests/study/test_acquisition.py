"""Acquisitions and their siblings: what is not known is asked for by name; what the user states stays visible."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from timelens import study
from timelens.errors import GeometryError, MissingFieldError, UnitError, UsageError
from timelens.study.acquisition import Acquisition
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.mesh import Mesh
from timelens.study.provenance import SourceFile
from timelens.study.study import Session, Study, Subject
from timelens.study.table import Table


def pet(**facts: object) -> Acquisition:
    image = Image(np.zeros((2, 2, 2)), unit="Bq/mL", geometry=Geometry.from_spacing((2, 2, 2), (1, 1, 1)))
    sources = (SourceFile("sub-001/pet.dcm", "0" * 64, 1),)
    return Acquisition(**{"id": "sub-001_ses-01_pet", "modality": "pet", "data": image, "sources": sources, **facts})


def test_what_is_missing_is_named_with_its_mend():
    assert pet(weight_g=70_000.0).require("weight_g", purpose="SUV") == 70_000.0
    with pytest.raises(MissingFieldError) as caught:
        pet().require("weight_g", purpose="SUV")
    assert str(caught.value) == (
        "SUV needs weight_g, which is not known for acquisition sub-001_ses-01_pet. File: sub-001/pet.dcm. "
        "Field: weight_g. Found: nothing. Expected: weight_g. Mend: write weight_g for this acquisition in study.yaml."
    )
    assert pet(sources=()).where == "sub-001_ses-01_pet"


def test_zero_is_known():
    assert pet(residual_activity_bq=0.0).require("residual_activity_bq", purpose="SUV") == 0.0


def test_what_the_user_states_is_remembered_with_what_the_file_said():
    stated = pet(weight_g=70.0).stated(weight_g=70_000.0, agent="[18F]FDG")
    assert (stated.weight_g, stated.agent) == (70_000.0, "[18F]FDG")
    assert stated.overrides == {"weight_g": 70.0, "agent": None}
    assert stated.stated(weight_g=71_000.0).overrides["weight_g"] == 70.0
    assert pet().overrides == {}


@pytest.mark.parametrize("field", ["wieght_g", "overrides", "header", "data"])
def test_fields_that_cannot_be_stated(field: str):
    with pytest.raises(UsageError, match=rf"has no such field. Field: {field}. Expected: .*weight_g"):
        pet().stated(**{field: 1})


def test_only_an_image_is_an_image():
    assert pet().image.unit == "Bq/mL"
    cells = pet(data=Table(pd.DataFrame({"name": ["a"]})))
    with pytest.raises(UsageError, match=r"The acquisition is not an image.*Found: Table"):
        _ = cells.image


def test_every_column_of_numbers_has_a_unit():
    frame = pd.DataFrame({"cell": ["a", "b"], "area": [1.0, 2.0], "count": [1, 2]})
    assert len(Table(frame, {"area": "um2", "count": "1"})) == 2
    with pytest.raises(MissingFieldError, match=r"Column 'count' has no unit"):
        Table(frame, {"area": "um2"})
    with pytest.raises(UnitError, match=r"Unknown unit 'um\^2'.*write 'um2'"):
        Table(frame, {"area": "um^2", "count": "1"})


def test_a_mesh_names_only_vertices_it_has():
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    assert Mesh(corners, np.array([[0, 1, 2]]), "1.2").frame == "1.2"
    Mesh(corners, np.empty((0, 3), int))
    with pytest.raises(GeometryError, match=r"needs vertices \(n, 3\) and faces \(m, 3\). Found: \(3, 2\), \(1, 3\)"):
        Mesh(corners[:, :2], np.array([[0, 1, 2]]))
    for faces in ([[0, 1, 3]], [[0, 1, -1]]):
        with pytest.raises(GeometryError, match=r"names a vertex that is not there"):
            Mesh(corners, np.array(faces))


def test_a_study_lists_its_sessions_in_order():
    subjects = [Subject(s, [Session(f"{s}-{n}", s) for n in (1, 2)]) for s in ("sub-001", "sub-002")]
    assert [s.id for s in Study("trial", subjects).sessions()] == ["sub-001-1", "sub-001-2", "sub-002-1", "sub-002-2"]
    assert list(Study("empty").sessions()) == []


def test_the_package_names_what_it_offers():
    for name in study.__all__:
        assert getattr(study, name).__name__ == name
    assert dir(study) == study.__all__
    with pytest.raises(AttributeError, match=r"has no attribute 'Nothing'"):
        _ = study.Nothing
