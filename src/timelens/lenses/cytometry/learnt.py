"""Cells by a learnt model that the user has: Cellpose or StarDist, with weights from a file. Nothing is downloaded.

Neither package is a dependency: it is imported only where the recipe names it. Cellpose gives whole cells, which are
taken as they are; StarDist gives nuclei, which grow as those of the classical way do.
"""

from __future__ import annotations

import hashlib
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timelens.errors import DataError, MissingDependencyError, UsageError

__all__ = ["METHODS", "cellpose", "digest", "stardist", "weights_of"]

#: Names of methods that need weights; what they find.
METHODS = {"cellpose": "cells", "stardist": "nuclei"}
#: Percentiles between which StarDist's models expect the signal to be 0 to 1.
_RANGE = (1.0, 99.8)


def weights_of(method: str, stated: object) -> Path:
    """The stated weights of a method, a file for Cellpose and a folder for StarDist.

    Raises
    ------
    UsageError
        If none are stated, or there are none.
    """
    kind = "a folder with config.json" if method == "stardist" else "a file"
    if not stated or not isinstance(stated, (str, Path)):
        raise UsageError(
            f"{method} needs weights: none are downloaded", field="segment: weights", found=stated or "none",
            expected=kind, mend=f"segment: {{method: {method}, weights: PATH}}, or {{method: classical}}",
        )  # fmt: skip
    path = Path(stated).expanduser()
    there = (path / "config.json").is_file() if method == "stardist" else path.is_file()
    if not there:
        raise UsageError(f"The weights of {method} are not there", file=path, field="segment: weights",
                         found="a folder without config.json" if path.is_dir() else "no such file",
                         expected=kind, mend="state where they lie")  # fmt: skip
    return path


def digest(weights: Path) -> str:
    """SHA-256 of a file, or of all files of a folder with their names."""
    total = hashlib.sha256()
    for file in sorted(weights.rglob("*")) if weights.is_dir() else [weights]:
        if file.is_file():
            if file != weights:
                total.update(str(file.relative_to(weights)).encode())
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    total.update(block)
    return total.hexdigest()


def cellpose(
    nuclear: NDArray[np.float32], markers: NDArray[np.float32], diameter: float, weights: Path
) -> NDArray[np.int32]:
    """Whole cells by Cellpose.

    Parameters
    ----------
    nuclear
        Nuclear signal (y, x); NaN where nothing was measured.
    markers
        Sum of the other channels, same shape.
    diameter
        Usual diameter of a cell in pixels.
    weights
        File of a model.

    Raises
    ------
    MissingDependencyError
        If the package is not installed.
    DataError
        If it gives no labels of this size.
    """
    models = _module("cellpose.models", "cellpose")
    # Cellpose's order: what is to be found first, then nuclei; NaN would spread over the image.
    image = np.nan_to_num(np.stack([markers, nuclear], axis=-1), posinf=0.0).astype(np.float32)
    model = models.CellposeModel(gpu=False, pretrained_model=str(weights))
    given = model.eval(image, diameter=diameter, channels=[1, 2], channel_axis=-1)
    return _labels(given[0], nuclear, "cellpose")


def stardist(nuclear: NDArray[np.float32], weights: Path) -> NDArray[np.int32]:
    """Nuclei by StarDist.

    Parameters
    ----------
    nuclear
        Nuclear signal (y, x); NaN where nothing was measured.
    weights
        Folder of a model.

    Raises
    ------
    MissingDependencyError
        If the package is not installed.
    DataError
        If it gives no labels of this size.
    """
    models = _module("stardist.models", "stardist")
    known = np.isfinite(nuclear)
    low, high = np.percentile(nuclear[known], _RANGE) if known.any() else (0.0, 1.0)
    level = (np.where(known, nuclear, low) - low) / max(high - low, 1e-12)
    model = models.StarDist2D(None, name=weights.name, basedir=str(weights.parent))
    found, _ = model.predict_instances(level.astype(np.float32))
    return _labels(found, nuclear, "stardist")


def _module(name: str, package: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise _NotInstalled(package) from None


class _NotInstalled(MissingDependencyError):
    """A package that no extra of ours brings: the user chooses its version with the weights."""

    def __init__(self, package: str) -> None:
        super().__init__(package, purpose=f"segment: {{method: {package}}}", extra="")
        self.problem = type(self.problem)(
            self.problem.message, field="segment: method", found="not installed", expected=package,
            mend=f"pip install {package}, in the version that the weights are of; or segment: {{method: classical}}",
        )  # fmt: skip


def _labels(found: object, nuclear: NDArray[np.float32], method: str) -> NDArray[np.int32]:
    marks = np.asarray(found)
    if marks.shape != nuclear.shape or marks.dtype.kind not in "iub" or marks.min(initial=0) < 0:
        raise DataError(f"{method} gave no labels of this image", field="segment: method",
                        found=f"{marks.dtype} {marks.shape}", expected=f"whole numbers {nuclear.shape}")  # fmt: skip
    return np.where(np.isfinite(nuclear), marks, 0).astype(np.int32)
