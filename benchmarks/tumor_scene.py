"""A virtual tumour of 128 voxels each way, and an agent followed through it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from protocol import Bar, Contender, Row, Workload

SIZE, FRAMES, EDGE_MM = 128, 30, 0.3
MOST_SECONDS, MOST_MIB = 20.0, 3 * 1024


def _scene(dose_nmol: float | None) -> Any:
    import numpy as np

    from timelens.study import Geometry
    from timelens.tumor.agents import PlacedTumour, agent_scene
    from timelens.tumor.architecture import INFLAMED
    from timelens.tumor.host import body_phantom, reference_host
    from timelens.tumor.microenvironment import build

    body = body_phantom(reference_host("human"))
    grid = Geometry.from_spacing((SIZE,) * 3, (EDGE_MM,) * 3, frame="tumour")
    times = np.linspace(0, 2 * 86400, FRAMES)

    def work() -> Any:
        tumour = build(INFLAMED, grid, 1)
        placed = PlacedTumour(tumour, (62.0, 8.0, 300.0), ["CD8A"])
        return tumour, agent_scene(body, "zr89-crefmirlimab", {"tumour": placed}, times, dose_nmol=dose_nmol)

    return work


def tracer(data: Path) -> Any:
    """No target saturates."""
    return _scene(None)


def saturating(data: Path) -> Any:
    """A dose of 1.5 mg, whose binding is followed step by step in every voxel."""
    return _scene(1.5e3 / 80)


def judge(result: Any, data: Path) -> dict[str, float | str]:
    """Largest relative deviation of the host's balance from the dose; what was simulated."""
    import numpy as np

    tumour, seen = result
    return {
        "error": float(np.abs(seen.curves.total - 1).max()),
        "cell_types": len(tumour.cells),
        "frames": len(seen.scene.fields[0].suv),
        "voxels": int(seen.scene.fields[0].suv[0].size),
    }


def _within(row: Row) -> bool:
    return row.seconds < MOST_SECONDS and row.peak_mib < MOST_MIB


WORKLOAD = Workload(
    title="Virtual tumour and agent",
    about=f"A microenvironment of {SIZE} x {SIZE} x {SIZE} voxels with all its cell types, oxygen and targets, then a "
    f"minibody against CD8 in a patient and in every voxel over {FRAMES} frames of two days, with the truth per voxel. "
    "The error is the largest deviation of the amounts in the host from the dose.",
    contenders=(Contender("timelens", tracer), Contender("target saturates", saturating)),
    judge=judge,
    bars=(
        Bar("under 20 s and 3 GB", lambda rows: _within(rows["timelens"])),
        Bar("under 20 s and 3 GB with a target that saturates", lambda rows: _within(rows["target saturates"])),
    ),
)
