"""What a dynamic series was measured with: as the user states it, else as the files do; and T1 before contrast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.perfusion import bolus_arrival
from timelens.errors import DataError, MissingFieldError
from timelens.knowledge.relaxivity import relaxivity
from timelens.lenses.mri.matching import gathered
from timelens.lenses.mri.relaxometry import map_relaxation
from timelens.study.acquisition import Acquisition
from timelens.study.image import Image
from timelens.study.mr import mr_settings

__all__ = ["Before", "Steps", "as_ratio", "baseline_frames", "relaxivity_of", "setting", "t1_before"]

Floats = NDArray[np.float64]
Steps = Mapping[str, Mapping[str, Any]]

#: B1 is a ratio: a map whose median lies outside is in another unit.
_B1_RANGE = (0.3, 2.0)


@dataclass(frozen=True, eq=False)
class Before:
    """T1 before contrast with its standard error, B1, where T1 comes from, and the flip angles that were fitted."""

    t1: Image
    error: Image | None
    b1: Image | None
    source: str
    flips: Acquisition | None = None
    flip_tr: float = float("nan")


def setting(scan: Acquisition, steps: Steps, name: str) -> float:
    """A setting as the user states it, else as the files do.

    Raises
    ------
    MissingFieldError
        If nobody states it.
    """
    option, factor = {"tr_s": ("tr_ms", 1e-3), "te_s": ("te_ms", 1e-3), "flip_deg": ("flip_deg", 1.0)}[name]
    stated = steps["signal"][option]
    if stated is not None:
        return float(stated) * factor
    mend = f"write it into the sidecar, or 'mri: {{signal: {{{option}: ...}}}}' in study.yaml"
    return float(mr_settings(scan).require(name, scan, purpose="This series", mend=mend))


def relaxivity_of(scan: Acquisition, steps: Steps) -> tuple[float, dict[str, Any]]:
    """Relaxivity in L/mmol/s, and the agent, field and source that it is of.

    Raises
    ------
    MissingFieldError
        If agent or field are not known, or nobody published the relaxivity of this agent.
    """
    settings, step = mr_settings(scan), steps["signal"]
    agent = step["agent"] or scan.agent or settings.agent
    if step["relaxivity"] is not None:
        return float(step["relaxivity"]), {"agent": agent or "", "relaxivity": float(step["relaxivity"])}
    mend = "write 'mri: {signal: {agent: gadobutrol, field_t: 3}}' or the relaxivity itself in study.yaml"
    if agent is None:
        settings.require("agent", scan, purpose="Concentration", mend=mend)
    field = step["field_t"] or settings.require("field_t", scan, purpose="Relaxivity", mend=mend)
    try:
        known = relaxivity(str(agent), float(field))
    except MissingFieldError as error:
        raise error.at(file=scan.where) from None
    facts = {"agent": known.agent, "field_t": float(field), "relaxivity": known.r1, "relaxivity_source": known.source}
    return known.r1, facts


def t1_before(scan: Acquisition, inputs: Mapping[str, Acquisition], steps: Steps) -> Before:
    """T1 before contrast, and B1.

    Raises
    ------
    MissingFieldError
        If there is neither a map nor a series of flip angles in the frame of the series, and none is stated.
    """
    b1 = inputs["b1_map"].image if "b1_map" in inputs else None
    if b1 is not None:
        b1 = as_ratio(b1, inputs["b1_map"])
    wanted = steps["t1"]["source"]
    geometry = scan.image.geometry
    assert geometry is not None
    if wanted == "stated" or (wanted == "auto" and steps["t1"]["t1_ms"] is not None):
        value = float(steps["t1"]["t1_ms"])
        image = Image(np.full(geometry.shape, value, np.float32), unit="ms", geometry=geometry, name="stated T1")
        return Before(image, None, b1, f"a stated value of {value:g} ms")
    if "t1_map" in inputs and wanted in ("auto", "map"):
        return Before(inputs["t1_map"].image, None, b1, "a map")
    if "flip" in inputs and wanted in ("auto", "flip angles"):
        series = [a for role, a in inputs.items() if role == "flip" or role.startswith("flip_")]
        joined = gathered(series)[0].joined if len(series) > 1 else series[0]
        tr = mr_settings(joined).require("tr_s", joined, purpose="T1 from flip angles", mend="write it in the sidecar")
        maps = map_relaxation(joined.image, tr=tr, b1=b1, method="nonlinear")
        source = "flip angles" + (", with B1" if b1 is not None else "")
        return Before(maps["t1"], maps["t1_se"], b1, source, joined, float(tr))
    raise MissingFieldError(
        "Concentration needs T1 before contrast, and no map of it lies in the space of this series",
        file=scan.where, field="t1", found="no T1map and no flip angles in its frame of reference",
        expected="a T1 map or flip angles of the same session",
        mend="add them, or state one T1: 'mri: {t1: {source: stated, t1_ms: 1400}}' in study.yaml",
    )  # fmt: skip


def as_ratio(b1: Image, of: Acquisition) -> Image:
    """A map of B1 as real over nominal flip angle.

    Raises
    ------
    DataError
        If its values are no such ratio.
    """
    ratio = b1.to_unit("1")
    values = ratio.numpy()
    inside = values[np.isfinite(values) & (values > 0)]
    middle = float(np.median(inside)) if inside.size else 0.0
    if not _B1_RANGE[0] <= middle <= _B1_RANGE[1]:
        raise DataError(
            "The B1 map is not a ratio of flip angles", file=of.where, field="Units", found=f"median {middle:g}",
            expected="near 1", mend="state the unit % if it is in percent",
        )  # fmt: skip
    return ratio


def baseline_frames(times: Floats, curve: Floats, steps: Steps, scan: Acquisition) -> int:
    """How many frames lie before the bolus.

    Raises
    ------
    DataError
        If nothing enhances, or the bolus is there from the first frame on.
    """
    stated = steps["signal"]["baseline_frames"]
    if stated != "auto":
        count = int(stated)
        if count >= times.size:
            raise DataError(
                "More frames before contrast than there are", file=scan.where, field="signal.baseline_frames",
                found=count, expected=f"fewer than {times.size}",
            )  # fmt: skip
        return count
    # One frame of contrast in the baseline harms more than one frame less of noise.
    arrival = float(bolus_arrival(times, (curve - curve[0])[:, None])[0])
    count = int(np.sum(times < arrival - 0.25 * np.median(np.diff(times)))) if np.isfinite(arrival) else 0
    if count < 1:
        raise DataError(
            "No frame before the contrast agent was found", file=scan.where, field="signal.baseline_frames",
            found="no rise of the signal" if not np.isfinite(arrival) else f"arrival at {arrival:g} s",
            expected="a rise after the first frame",
            mend="state 'mri: {signal: {baseline_frames: 5}}' in study.yaml",
        )  # fmt: skip
    return count
