"""The channels of a region as they are measured on: hot pixels out, spillover taken back, dropped channels left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.engines.cells.hot_pixels import filter_hot_pixels
from timelens.engines.unmixing.spillover import compensate
from timelens.errors import Problem, UsageError
from timelens.study.acquisition import Acquisition

__all__ = ["cleaned", "spillover_matrix"]


def cleaned(
    scan: Acquisition, options: Mapping[str, Any]
) -> tuple[NDArray[np.float32], list[str], list[str], list[Problem]]:
    """Channels (c, y, x) ready to be measured, their metals and labels, and what was noticed.

    Parameters
    ----------
    scan
        Region with axis ``c``.
    options
        Of the step ``clean``: ``hot_pixel`` (threshold in counts, None to leave them) and ``spillover`` (metal to metal
        to the part that is counted there; empty to leave it).

    Raises
    ------
    UsageError
        If the spillover names a metal that is no channel, or a part outside of 0 to 1.
    """
    values = scan.image.numpy()[:, 0].astype(np.float32)
    metals = [str(c) for c in scan.image.axes[0].coordinates or ()]
    labels = [str(v) for v in scan.extra.get("channel_labels") or metals]
    problems: list[Problem] = []
    if options["hot_pixel"] is not None:
        values = filter_hot_pixels(values, options["hot_pixel"])
    if options["spillover"]:
        matrix = spillover_matrix(options["spillover"], metals)
        known = np.isfinite(values).all(axis=0)
        pure = np.full_like(values, np.nan)
        pure[:, known] = compensate(values[:, known], matrix).parameters
        values = pure
    dropped = set(scan.extra.get("dropped_channels", ()))
    kept = [k for k, metal in enumerate(metals) if metal not in dropped]
    return values[kept], [metals[k] for k in kept], _unique([labels[k] for k in kept]), problems


def spillover_matrix(stated: Mapping[str, Mapping[str, float]], metals: Sequence[str]) -> NDArray[np.float64]:
    """The matrix of stated parts: row metal, column the channel that counts it."""
    place = {metal: k for k, metal in enumerate(metals)}
    matrix = np.eye(len(metals))
    for metal, parts in stated.items():
        for channel, part in parts.items():
            if metal not in place or channel not in place:
                raise UsageError("The spillover names a metal that is no channel", field="clean: spillover",
                                 found=f"{metal}: {channel}", expected=", ".join(metals))  # fmt: skip
            if metal != channel:
                if not 0 <= float(part) < 1:
                    raise UsageError("A part of spillover lies between 0 and 1", field="clean: spillover", found=part)
                matrix[place[metal], place[channel]] = float(part)
    return matrix


def _unique(labels: list[str]) -> list[str]:
    """Labels as names of columns: those that come twice get a number."""
    return [v if labels.count(v) == 1 else f"{v}-{labels[: k + 1].count(v)}" for k, v in enumerate(labels)]
