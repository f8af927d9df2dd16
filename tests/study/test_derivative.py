"""BIDS derivatives: the fields that the specification asks for, and plain values throughout."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

import timelens
from timelens.study.derivative import dataset_description, sidecar, write_dataset_description
from timelens.study.provenance import Run, SourceFile

PET = SourceFile("sub-001/pet/sub-001_pet.nii.gz", "a" * 64, 10)
CT = SourceFile("sub-001/ct/sub-001_ct.nii.gz", "b" * 64, 20)


def test_the_description_names_who_made_it_from_what(tmp_path: Path):
    path = write_dataset_description(tmp_path, sources={"raw": "../study"})
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found == dataset_description(sources={"raw": "../study"})
    assert found["DatasetType"] == "derivative"
    assert found["GeneratedBy"] == [{"Name": "timelens", "Version": timelens.__version__}]
    assert found["SourceDatasets"] == [{"URL": "../study"}]
    assert found["DatasetLinks"] == {"raw": "../study"}
    assert [p.name for p in tmp_path.iterdir()] == ["dataset_description.json"]


def test_sources_that_are_not_known_are_left_out():
    assert "SourceDatasets" not in dataset_description()


def test_the_sidecar_leads_back_to_the_files():
    run = Run((PET, CT), {"threshold": np.float64(4.0), "fill": math.nan, "grid": np.arange(2)}, seed=0)
    found = sidecar(run, description="SUV by body weight")
    json.dumps(found, allow_nan=False)
    assert found["Sources"] == ["bids:raw:sub-001/ct/sub-001_ct.nii.gz", "bids:raw:sub-001/pet/sub-001_pet.nii.gz"]
    assert found["SourceHashes"]["bids:raw:sub-001/pet/sub-001_pet.nii.gz"] == "a" * 64
    assert found["Parameters"] == {"threshold": 4.0, "fill": "NaN", "grid": [0, 1]}
    assert (found["RunId"], found["RandomSeed"]) == (run.id, 0)
    assert found["SoftwareVersions"]["numpy"] == np.__version__


def test_an_output_may_name_its_own_sources():
    run = Run((PET, CT), {})
    found = sidecar(run, sources=[CT], dataset="scans")
    assert found["Sources"] == ["bids:scans:sub-001/ct/sub-001_ct.nii.gz"]
    assert "RandomSeed" not in found
    assert "Description" not in found
