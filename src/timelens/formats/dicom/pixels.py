"""Pixels of slices, read when they are needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from timelens.errors import FormatError, MissingDependencyError
from timelens.formats.dicom.safe import number, quiet, read_dataset, text
from timelens.formats.dicom.slices import Slice

__all__ = ["SliceLoader", "decode"]


@dataclass(frozen=True)
class SliceLoader:
    """Reads, scales and stacks slices (frame, z) into float32; can be pickled."""

    slices: tuple[tuple[Slice, ...], ...]
    shape: tuple[int, ...]

    def __call__(self) -> NDArray[np.float32]:
        """The values.

        Raises
        ------
        FormatError
            If a file has changed since its header was read, or its pixels are incomplete.
        """
        flat = [item for frame in self.slices for item in frame]
        result = np.empty((len(flat), *self.shape[-2:]), np.float32)
        held: tuple[Path, str, NDArray[Any]] | None = None
        # Frames of one file come together, so that each file is decoded once.
        for place in sorted(range(len(flat)), key=lambda i: (str(flat[i].path), flat[i].index or 0)):
            item = flat[place]
            if held is None or held[0] != item.path:
                dataset = read_dataset(item.path, pixels=True)
                held = (item.path, text(dataset, "SOPInstanceUID"), decode(dataset, item.path))
            stored = held[2] if item.index is None else held[2].reshape(-1, *held[2].shape[-2:])[item.index]
            if stored.shape != (item.rows, item.columns) or held[1] != item.uid:
                raise FormatError("The file has changed since its header was read", file=item.path, field="PixelData")
            # In float64 first: slope times value is rounded once.
            result[place] = stored.astype(np.float64) * item.slope + item.intercept
        return result.reshape(self.shape)


def decode(dataset: Dataset, path: str | Path) -> NDArray[Any]:
    """Stored values of a data set: (rows, columns) or (frames, rows, columns).

    Raises
    ------
    FormatError
        If there are no pixels, or fewer than the header says.
    MissingDependencyError
        If the compression needs a package that is not installed.
    """
    if not any(word in dataset for word in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise FormatError(
            "The file has no pixels", file=path, field="PixelData", found="nothing", mend="the file may be cut short"
        )
    try:
        with quiet():
            return _significant(dataset.pixel_array, dataset)
    except (RuntimeError, NotImplementedError) as error:
        if "missing" in str(error) or "plugin" in str(error) or isinstance(error, NotImplementedError):
            raise MissingDependencyError(
                "pylibjpeg-openjpeg, pylibjpeg-rle, python-gdcm",
                purpose=f"Decoding {Path(path).name} ({dataset.file_meta.TransferSyntaxUID.name})",
                extra="dicom",
            ) from error
        raise _incomplete(path, error) from error
    except (ValueError, AttributeError, IndexError, TypeError, EOFError, KeyError) as error:
        raise _incomplete(path, error) from error


def _incomplete(path: str | Path, error: Exception) -> FormatError:
    return FormatError(
        "The pixels cannot be decoded",
        file=path,
        field="PixelData",
        found=f"{type(error).__name__}: {str(error)[:120]}",
        expected="as many pixels as Rows, Columns and NumberOfFrames say",
        mend="the file is damaged or cut short: export it again",
    )


def _significant(stored: NDArray[Any], dataset: Dataset) -> NDArray[Any]:
    """Without the bits above BitsStored, where old CT files keep overlays."""
    used, kept = int(number(dataset, "BitsStored") or 0), int(number(dataset, "BitsAllocated") or 0)
    if not 0 < used < kept or stored.dtype.kind not in "iu" or kept not in (8, 16, 32):
        return stored
    spare = stored.dtype.itemsize * 8 - used
    return np.right_shift(np.left_shift(stored, spare), spare)
