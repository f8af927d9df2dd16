"""The trial of the demonstration, as a specification for :func:`timelens.run.simulation.cohort.simulate_cohort`.

Two arms, two visits three weeks apart, FDG and an 89Zr minibody against CD8, contrast-enhanced MRI of the neck node,
and a biopsy of it at the second visit. One patient responds to a checkpoint inhibitor, one does not because effector
cells stay in the stroma, one with a tumour like the first's is only watched. A fourth was scanned once, and the weight
was left out of the headers on purpose. Nobody writes down the uptake: it follows from cells, vessels and dose.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

__all__ = ["AGENTS", "LENSES", "OPTIONS", "demo_spec"]

#: What is shown; PET always is.
LENSES = ("pet", "mri", "cytometry")
#: How it is measured, where the defaults lack something: a blood sample gives the haematocrit, and nobody moves.
OPTIONS: dict[str, Any] = {
    "mri": {"input": {"haematocrit": 0.42}, "enhancement": {"maps": False}},
}

#: Administration to the agent's id in the knowledge base.
AGENTS = {"FDG": "f18-fdg", "CD8 minibody": "zr89-crefmirlimab"}

#: Activity and mass of the minibody as in its first patients (doi:10.2967/jnumed.119.229781).
_MINIBODY = {"activity_bq": 111e6, "mass_mg": 1.5, "targets": ["CD8A"]}
_NECK = {"name": "neck node", "at": [46, 8, 594], "diameter_mm": 26}
_LUNG = {"name": "lung metastasis", "at": [82, -2, 490], "diameter_mm": 20}
_DAYS = [0, 21]
#: Flip angles, then four minutes of gadobutrol, over the middle 16 mm of the node.
_MRI = {
    "name": "DCE",
    "tumour": "neck node",
    "series": ["flip", "dce"],
    "after_s": 9000,
    "slices": 4,
    "protocol": {"dce_interval_s": 4.8, "dce_frames": 50},
}
_BIOPSY = {"name": "biopsy", "tumour": "neck node", "days": [21], "after_s": 14400, "size_mm": 0.4, "deepest_mm": 3}
_INHIBITOR = [{"kind": "checkpoint inhibitor", "day": 2, "cycles": 2}]


def demo_spec(*, seed: int = 0, full: bool = False, lenses: Collection[str] = LENSES) -> dict[str, Any]:
    """The specification.

    Parameters
    ----------
    seed
        Draws tumours, places and noise.
    full
        Two patients of each kind, and finer voxels, as of a recent scanner: PET 2.5 mm in place of 4 mm, CT 1.5 mm in
        place of 3 mm.
    lenses
        Which of :data:`LENSES` see the tumours.
    """
    several = {"subjects": 2, "variation": 0.1} if full else {}
    responder = {"architecture": "inflamed", "scenario": "responder"}
    excluded = {"architecture": "excluded", "scenario": "excluded"}
    both = list(AGENTS)
    exams = [*([_MRI["name"]] if "mri" in lenses else []), *([_BIOPSY["name"]] if "cytometry" in lenses else [])]
    return {
        "seed": seed,
        "name": "demonstration",
        "host": "human",
        "range_mm": [440, 640],
        "protocol": {
            "voxel_mm": 2.5 if full else 4.0,
            "fwhm_mm": 6.0,
            # What a uniform cylinder shows after 15 min; the FDG scans here take 10.
            "calibration": {"cov": 0.023, "duration_s": 900},
        },
        "ct": {"voxel_mm": 1.5 if full else 3.0},
        "administrations": [
            {
                "name": "FDG",
                "agent": "FDG",
                "threshold": 4,
                "min_volume_ml": 3,
                "protocol": {"scans": [{"start_s": 3600, "frames_s": 600}]},
            },
            {
                "name": "CD8 minibody",
                "agent": "89Zr-crefmirlimab",
                **_MINIBODY,
                "after_s": 7200,
                "protocol": {"scans": [{"start_s": 86400, "frames_s": 1200}]},
            },
        ],
        "mri": [_MRI] if "mri" in lenses else [],
        "biopsies": [_BIOPSY] if "cytometry" in lenses else [],
        "arms": [
            {
                "name": "checkpoint inhibitor",
                "days": _DAYS,
                "treatments": _INHIBITOR,
                "tumours": [{**_NECK, **responder}, {**_LUNG, **responder}],
                "outlines": ["CD8 minibody", *exams],
                **several,
            },
            {
                "name": "checkpoint inhibitor",
                "days": _DAYS,
                "treatments": _INHIBITOR,
                "tumours": [{**_NECK, **excluded}],
                "outlines": ["CD8 minibody", *exams],
                **several,
            },
            {
                "name": "control",
                "days": _DAYS,
                "tumours": [{**_NECK, **responder}],
                "outlines": both + exams,
                **several,
            },
            {
                "name": "control",
                "tumours": [{**_NECK, **responder}],
                "scans": ["FDG"],
                "leave_out": ["weight_g"],
            },
        ],
    }
