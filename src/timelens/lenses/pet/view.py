"""What a noise-free PET scanner of given resolution shows of shapes and fields: no counts, no noise.

Blurring voxel means folds the detail that was lost between the voxels back into the image; so the surroundings of each
lesion are painted and blurred on a finer grid, and only then averaged over the voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.radioactivity import decay_factor
from timelens.errors import GeometryError
from timelens.lenses.pet.physics import spread
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.tumor.digital_patient import DigitalPatient
from timelens.tumor.paint import voxel_shares
from timelens.tumor.scene import Scene

__all__ = ["ScannerView", "activity_image", "scanner_image", "scanner_view"]

Volume = NDArray[np.float32]

#: The blur of a lesion is followed this many resolutions (FWHM) beyond its edge.
_REACH = 2.0


@dataclass(frozen=True)
class _Grid:
    """A grid with the parts of its voxels that lie in each shape, and the field tumours' parts of its voxels."""

    geometry: Geometry
    shares: tuple[tuple[tuple[slice, slice, slice], Volume] | None, ...]
    fields: tuple[Volume, ...]

    def paint(self, values: Sequence[float], field_values: Sequence[Volume]) -> Volume:
        onto = np.zeros(self.geometry.shape, np.float32)
        for found, value in zip(self.shares, values, strict=True):
            if found is not None:
                box, shares = found
                part = onto[box]
                part += shares * (np.float32(value) - part)
        for share, amount in zip(self.fields, field_values, strict=True):
            onto += amount - share * onto
        return onto


class ScannerView:
    """A scene before a scanner: prepared once, then shown with the uptake of each frame.

    Parameters
    ----------
    scene
        What is looked at.
    geometry
        Grid of the image, along the axes of the body.
    fwhm_mm
        Gaussian resolution, one or (z, y, x).
    mean_energy_kev
        Mean energy of the positrons, for their range; None for no range.
    finer
        Fine voxels along each edge of a voxel around lesions; by default so many that a sixth of the resolution is
        resolved.
    """

    def __init__(
        self,
        scene: Scene,
        geometry: Geometry,
        *,
        fwhm_mm: ArrayLike,
        mean_energy_kev: float | None = None,
        finer: int | None = None,
    ) -> None:
        if finer is None:
            finer = int(np.ceil(6 * max(geometry.spacing) / np.min(np.asarray(fwhm_mm, float)) - 1e-9))
        self.scene, self.fwhm_mm, self.energy, self.finer = scene, fwhm_mm, mean_energy_kev, finer
        self.whole = self._grid(geometry)
        self.around: list[tuple[tuple[slice, ...], tuple[slice, ...], _Grid]] = []
        spacing = np.array(geometry.spacing)
        margin = np.ceil(_REACH * np.max(np.asarray(fwhm_mm, float)) / spacing).astype(int)
        for centre, reach in self._tumours():
            middle = geometry.to_index(centre)
            extent = reach[::-1] / spacing + margin
            first = np.maximum(np.floor(middle - extent), 0).astype(int)
            last = np.minimum(np.ceil(middle + extent) + 1, geometry.shape).astype(int)
            if (first >= last).any():
                continue
            affine = geometry.affine.copy()
            affine[:3, :3] /= finer
            affine[:3, 3] = geometry.to_mm(first - margin - 0.5 + 0.5 / finer)
            n = last - first + 2 * margin
            fine = Geometry((int(n[0]) * finer, int(n[1]) * finer, int(n[2]) * finer), affine, geometry.frame)
            box = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
            inner = tuple(slice(int(m), int(k - m)) for m, k in zip(margin, n, strict=True))
            self.around.append((box, inner, self._grid(fine)))

    def truth(self, values: Sequence[float], fields: Sequence[Volume] = ()) -> Volume:
        """Voxel means of the scene itself."""
        return self.whole.paint(values, self._amounts(self.whole, fields))

    def show(self, values: Sequence[float], fields: Sequence[Volume] = ()) -> Volume:
        """The noise-free image.

        Parameters
        ----------
        values
            Uptake of each shape of the scene, in their order.
        fields
            Uptake of each field tumour on its own grid.

        Returns
        -------
        ndarray of float32, shape (z, y, x)
            In the unit of the values.
        """
        image = self._blurred(self.whole, values, fields)
        for box, inner, grid in self.around:
            fine = self._blurred(grid, values, fields)
            n = [k // self.finer for k in fine.shape]
            means = fine.reshape(n[0], self.finer, n[1], self.finer, n[2], self.finer).mean(axis=(1, 3, 5))
            image[box] = means[inner]
        return image

    def series(self, values: ArrayLike, fields: Sequence[Sequence[Volume]]) -> Volume:
        """As :meth:`show`, for many frames.

        An image is linear in the uptake of the shapes: where frames outnumber them and no tumour differs from voxel to
        voxel, each shape is blurred once.

        Parameters
        ----------
        values
            Uptake (frames, shapes).
        fields
            Uptake of each field tumour, for each frame.

        Returns
        -------
        ndarray of float32, shape (frames, z, y, x)
        """
        uptake = np.asarray(values, np.float32)
        frames, shapes = uptake.shape
        if self.scene.fields or frames <= shapes:
            return np.stack([self.show(row.tolist(), field) for row, field in zip(uptake, fields, strict=True)])
        each = np.stack([self.show(row.tolist()) for row in np.eye(shapes)])
        return np.asarray(np.tensordot(uptake, each, axes=1), np.float32)

    def _blurred(self, grid: _Grid, values: Sequence[float], fields: Sequence[Volume]) -> Volume:
        painted = grid.paint(values, self._amounts(grid, fields))
        return spread(painted, grid.geometry.spacing, self.fwhm_mm, mean_energy_kev=self.energy)

    def _amounts(self, grid: _Grid, fields: Sequence[Volume]) -> list[Volume]:
        return [f.on(f.share * v, grid.geometry) for f, v in zip(self.scene.fields, fields, strict=True)]

    def _grid(self, geometry: Geometry) -> _Grid:
        shares = tuple(voxel_shares(shape, geometry) for shape in self.scene.shapes)
        return _Grid(geometry, shares, tuple(f.on(f.share, geometry) for f in self.scene.fields))

    def _tumours(self) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Centre and half extent (X, Y, Z) of every tumour."""
        shapes = [(np.array(s.centre), np.array(s.semi_axes)) for s in self.scene.host.lesions]
        grids = [
            (np.array(f.centre), np.array(f.share.shape)[::-1] * np.array(f.spacing)[::-1] / 2)
            for f in self.scene.fields
        ]
        return shapes + grids


def scanner_view(image: Image, fwhm_mm: ArrayLike) -> Image:
    """What a noise-free scanner of that resolution shows: the voxel means, blurred by a Gaussian."""
    geometry = _volume(image)
    return Image(
        spread(image.numpy(), geometry.spacing, fwhm_mm), unit=image.unit, geometry=geometry, quantity=image.quantity
    )


def scanner_image(
    patient: DigitalPatient, geometry: Geometry, *, fwhm_mm: ArrayLike, finer: int | None = None
) -> Image:
    """What a noise-free scanner of that resolution shows of a patient, in g/mL.

    Parameters
    ----------
    patient, geometry
        The patient, and a grid along the axes of the body.
    fwhm_mm
        Resolution.
    finer
        See :class:`ScannerView`.
    """
    view = ScannerView(Scene(patient), geometry, fwhm_mm=fwhm_mm, finer=finer)
    values = view.show([shape.suv for shape in view.scene.shapes])
    return Image(values, unit="g/mL", geometry=geometry, quantity="suv")


def activity_image(
    suv: Image,
    *,
    weight_g: float,
    injected_bq: float,
    half_life_s: float,
    injected: datetime,
    scan_start: datetime,
) -> Image:
    """Activity concentration in Bq/mL, decay-corrected to the start of the scan.

    Parameters
    ----------
    suv
        Uptake by body weight, in g/mL.
    weight_g, injected_bq, half_life_s
        Body weight, activity at ``injected``, half-life in seconds.
    injected, scan_start
        When the activity was injected, and to when values refer.
    """
    left = injected_bq * float(decay_factor((scan_start - injected) / timedelta(seconds=1), half_life_s))
    return suv.scaled(
        left / weight_g, "Bq/g", unit="Bq/mL", quantity="activity_concentration", decay_reference=scan_start
    )


def _volume(image: Image) -> Geometry:
    if image.geometry is None or len(image.shape) != 3:
        raise GeometryError("A scanner looks at a volume", field="axes", found=[a.name for a in image.axes])
    return image.geometry
