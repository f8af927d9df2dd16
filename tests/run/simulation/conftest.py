"""Specifications of small cohorts: a slice of a neck on coarse voxels."""

from __future__ import annotations

import copy
from typing import Any

import pytest

DIGITAL: dict[str, Any] = {
    "seed": 3,
    "range_mm": [570, 618],
    "protocol": {"voxel_mm": 6, "calibration": {"cov": 0.05}},
    "arms": [
        {
            "name": "treated",
            "subjects": 2,
            "days": [0, 21],
            "uptake": [1, 0.5],
            "variation": 0.1,
            "lesions": [{"name": "node", "centre": [46, 8, 594], "diameter_mm": 24, "suv": 9}],
        }
    ],
}

VIRTUAL: dict[str, Any] = {
    "seed": 5,
    "host": "human",
    "range_mm": [570, 618],
    "protocol": {"voxel_mm": 6, "calibration": {"cov": 0.05}},
    "ct": {"voxel_mm": 6},
    "administrations": [
        {"name": "FDG", "agent": "FDG", "threshold": 3, "protocol": {"scans": [{"start_s": 3600, "frames_s": 600}]}},
        {
            "name": "CD8 minibody",
            "agent": "89Zr-crefmirlimab",
            "activity_bq": 111e6,
            "mass_mg": 1.5,
            "targets": ["CD8A"],
            "after_s": 7200,
            "protocol": {"scans": [{"start_s": 86400, "frames_s": 1200}]},
        },
    ],
    "arms": [
        {
            "name": "treated",
            "days": [0, 21],
            "treatments": [{"kind": "checkpoint inhibitor", "day": 2, "cycles": 3}],
            "outlines": ["CD8 minibody"],
            "tumours": [
                {
                    "name": "neck node",
                    "at": [46, 8, 594],
                    "diameter_mm": 24,
                    "architecture": "inflamed",
                    "scenario": "responder",
                    "grid_mm": 1.5,
                }
            ],
        },
        {
            "name": "control",
            "scans": ["FDG"],
            "leave_out": ["weight_g"],
            "tumours": [{"name": "neck node", "at": [46, 8, 594], "diameter_mm": 24, "grid_mm": 1.5}],
        },
    ],
}

#: Small MR exams, the second in the frame of the FDG scan, and a small biopsy.
DCE = {
    "name": "DCE", "series": ["flip", "dce"], "slices": 3, "after_s": 5400, "voxel_mm": [4, 3, 3],
    "protocol": {"dce_frames": 30, "dce_interval_s": 6.0, "arrival_s": 24.0, "snr": 100.0},
}  # fmt: skip
T2 = {"name": "T2", "series": ["spin echoes"], "slices": 1, "voxel_mm": 3, "frame_of": "FDG"}
BIOPSY = {"name": "core", "days": [0], "size_mm": 0.2, "deepest_mm": 3, "after_s": 9000}


@pytest.fixture
def digital() -> dict[str, Any]:
    """Two digital patients with one lesion, two visits."""
    return copy.deepcopy(DIGITAL)


@pytest.fixture
def virtual() -> dict[str, Any]:
    """A virtual tumour under treatment with two agents, and one without a weight."""
    return copy.deepcopy(VIRTUAL)
