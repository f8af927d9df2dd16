"""What lies in the scanner: tissues with known relaxation, diffusion, flow, exchange and volumes, on a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from timelens.errors import DataError, UsageError
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.region import Region, Role
from timelens.tumor.microenvironment import Microenvironment

__all__ = ["MrScene", "MrTissue", "block_scene", "field_scene", "tumour_scene"]

Floats = NDArray[np.float64]
#: Relaxation times of arterial blood at 3 T in s (Lu H et al., Magn Reson Med 2004;52:679, doi:10.1002/mrm.20178).
BLOOD_T1, BLOOD_T2 = 1.63, 0.15
ARTERY = "artery"
#: In a field of so few slices the artery runs through all of them.
_FLAT = 5


@dataclass(frozen=True)
class MrTissue:
    """One tissue: relaxation times in s, diffusion in mm2/s, flow and exchange in 1/s, volumes per volume of tissue."""

    t1: float = 1.3
    t2: float = 0.07
    t2_star: float = 0.04
    m0: float = 1000.0
    adc: float = 1.0e-3
    ivim_f: float = 0.0
    ivim_d_star: float = 0.02
    f_p: float = 0.6 / 60
    ps: float = 0.2 / 60
    v_p: float = 0.05
    v_e: float = 0.25


@dataclass(frozen=True, eq=False)
class MrScene:
    """Tissues on a grid.

    Attributes
    ----------
    geometry
        The grid of the images.
    maps
        A value of each field of :class:`MrTissue` per voxel (z, y, x).
    labels, names, roles
        Regions; a region with the role ``blood pool`` holds arterial blood.
    species
        Of the subject.
    """

    geometry: Geometry
    maps: Mapping[str, Floats]
    labels: NDArray[np.int32]
    names: Mapping[int, str]
    roles: Mapping[int, Role] = field(default_factory=dict)
    species: str = "human"

    def __post_init__(self) -> None:
        known = {f.name for f in fields(MrTissue)}
        if set(self.maps) != known:
            raise UsageError("A scene has every map", field="maps", found=", ".join(sorted(set(self.maps) ^ known)))
        shapes = {name: values.shape for name, values in self.maps.items()} | {"labels": self.labels.shape}
        for name, shape in shapes.items():
            if shape != self.geometry.shape:
                raise DataError(
                    "A map has another size than the grid", field=name, found=shape, expected=self.geometry.shape
                )

    @property
    def artery(self) -> NDArray[np.bool_]:
        """Where arterial blood is."""
        numbers = [n for n, role in self.roles.items() if role == "blood pool"]
        return np.isin(self.labels, numbers)

    @property
    def region(self) -> Region:
        """The outlines."""
        image = Image(self.labels, unit="1", geometry=self.geometry, name="truth")
        return Region("truth", "labels", dict(self.names), labels=image, roles=dict(self.roles))

    def mean(self, name: str, number: int) -> float:
        """Mean of a map over a region."""
        return float(self.maps[name][self.labels == number].mean())


def block_scene(
    tissues: Mapping[str, MrTissue], *, edge: int = 8, slices: int = 2, voxel_mm: float = 2.0, artery: bool = True
) -> MrScene:
    """Blocks of uniform tissue side by side, and a block of arterial blood.

    Parameters
    ----------
    tissues
        By name; all are lesions.
    edge, slices
        Voxels of a block along y and x, and along z.
    voxel_mm
        Their size.
    artery
        Whether there is one.
    """
    listed = dict(tissues)
    if artery:
        listed[ARTERY] = MrTissue(t1=BLOOD_T1, t2=BLOOD_T2, t2_star=0.05)
    shape = (slices, edge, edge * len(listed))
    labels = np.zeros(shape, np.int32)
    maps = {f.name: np.zeros(shape) for f in fields(MrTissue)}
    for number, tissue in enumerate(listed.values(), start=1):
        part = np.s_[:, :, (number - 1) * edge : number * edge]
        labels[part] = number
        for name, values in maps.items():
            values[part] = getattr(tissue, name)
    names = dict(enumerate(listed, start=1))
    roles: dict[int, Role] = {n: "blood pool" if name == ARTERY else "lesion" for n, name in names.items()}
    geometry = Geometry.from_spacing(shape, (voxel_mm,) * 3, frame="mr scene")
    return MrScene(geometry, maps, labels, names, roles)


def tumour_scene(
    tumour: Microenvironment, *, name: str = "tumour", vessel_class: str = "small molecule", artery_voxels: int = 2
) -> MrScene:
    """A virtual tumour, with an artery in a corner of the grid.

    Perfusion, plasma and interstitial volume are the tumour's; the exchange is its vessels' surface and leakiness times
    the permeability of a class of agents. Diffusion falls with cells, T1 and T2 rise with water outside them: a plain
    rule that gives contrast, not a claim about tissue.

    Parameters
    ----------
    tumour
        On the grid of the images.
    name
        Of the lesion.
    vessel_class
        Of the knowledge base.
    artery_voxels
        Edge of the artery's cross-section, along all of z.
    """
    geometry = tumour.geometry if tumour.geometry.frame else tumour.geometry.with_frame("mr scene")
    share = np.asarray(tumour["tumour_fraction"], float)
    return _with_artery(_tissue(tumour, vessel_class), share, geometry, name, artery_voxels)


def field_scene(
    tumour: Microenvironment,
    voxel_mm: tuple[float, float, float],
    *,
    centre: tuple[float, float, float],
    frame: str,
    slices: int | None = None,
    name: str = "tumour",
    vessel_class: str = "small molecule",
    artery_voxels: int = 2,
) -> MrScene:
    """As :func:`tumour_scene`, on the voxels of a scanner: each holds the means over what lies in it.

    The artery lies one voxel inside of the field.

    Parameters
    ----------
    tumour
        On its own grid, along the axes of the body.
    voxel_mm
        (z, y, x). The field is as many whole voxels as the tumour's grid holds, around its middle.
    centre
        (X, Y, Z) in mm of the middle of the grid in the body.
    frame
        Frame of reference.
    slices
        At most so many along z.
    name, vessel_class, artery_voxels
        As for :func:`tumour_scene`.

    Raises
    ------
    DataError
        If the grid holds no voxel, or the artery would lie in the tumour.
    """
    own = tumour.geometry
    counts = [int(n * edge / size + 1e-6) for n, edge, size in zip(own.shape, own.spacing, voxel_mm, strict=True)]
    counts[0] = min(counts[0], slices or counts[0])
    if min(counts) < 1:
        raise DataError("The surroundings of the tumour hold no voxel of this size", field="voxel_mm", found=voxel_mm,
                        expected=f"up to {min(own.shape) * min(own.spacing):.3g} mm")  # fmt: skip
    weights = [
        _overlaps(n, edge, count, size)
        for n, edge, count, size in zip(own.shape, own.spacing, counts, voxel_mm, strict=True)
    ]
    maps = {key: _averaged(values, weights) for key, values in _tissue(tumour, vessel_class).items()}
    share = _averaged(np.asarray(tumour["tumour_fraction"], float), weights)
    first = np.array(centre) - (np.array(counts[::-1]) - 1) / 2 * np.array(voxel_mm[::-1])
    geometry = Geometry.from_spacing(counts, voxel_mm, origin=first.tolist(), frame=frame)
    return _with_artery(maps, share, geometry, name, artery_voxels, inside=True)


def _overlaps(own: int, edge: float, count: int, size: float) -> Floats:
    """Part of each new interval (rows) that each old one (columns) takes up, both around one middle."""
    old = (np.arange(own + 1) - own / 2) * edge
    new = (np.arange(count + 1) - count / 2) * size
    low, high = np.maximum(old[None, :-1], new[:-1, None]), np.minimum(old[None, 1:], new[1:, None])
    return np.clip(high - low, 0, None) / size


def _averaged(values: Floats, weights: Sequence[Floats]) -> Floats:
    for axis, each in enumerate(weights):
        values = np.moveaxis(np.tensordot(each, values, axes=(1, axis)), 0, axis)
    return values


def _tissue(tumour: Microenvironment, vessel_class: str) -> dict[str, Floats]:
    """The maps of a tumour's tissue, on its own grid."""
    water = np.clip(np.asarray(tumour.interstitial_fraction, float), 0, 1)
    maps = {f.name: np.full(water.shape, float(getattr(MrTissue(), f.name))) for f in fields(MrTissue)}
    maps["f_p"] = np.asarray(tumour.plasma_flow, float) / 60
    maps["ps"] = np.asarray(tumour.ps_of_class(vessel_class), float) / 60
    maps["v_p"], maps["v_e"] = np.asarray(tumour.plasma_volume_fraction, float), water
    maps["t1"], maps["t2"], maps["adc"] = 0.9 + 1.2 * water, 0.05 + 0.08 * water, 7e-4 + 1.6e-3 * water
    return maps


def _with_artery(
    maps: dict[str, Floats], share: Floats, geometry: Geometry, name: str, voxels: int, *, inside: bool = False
) -> MrScene:
    """The scene with a straight artery in a corner; ``inside``: clear of the outermost voxels, as one would draw it."""
    labels = (share > 0.5).astype(np.int32)
    tube = np.zeros(labels.shape, bool)
    first = int(inside)
    along = slice(1, -1) if inside and labels.shape[0] > _FLAT else slice(None)
    tube[along, first : first + voxels, first : first + voxels] = True
    if labels[tube].any():
        raise DataError("The artery would lie in the tumour", field="artery_voxels", found=voxels,
                        mend="build the tumour on a larger grid")  # fmt: skip
    labels[tube] = 2
    maps["t1"][tube], maps["t2"][tube] = BLOOD_T1, BLOOD_T2
    return MrScene(geometry, maps, labels, {1: name, 2: ARTERY}, {1: "lesion", 2: "blood pool"})
