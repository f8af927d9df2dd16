"""One image and one mask, without a study: the numbers a person asks for at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from timelens.errors import GeometryError, MissingFieldError, UsageError
from timelens.formats import dicom, registry
from timelens.formats.scan import load_acquisition
from timelens.run.lenses import choose
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Result
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.region import Region

__all__ = ["quantify_image"]


def quantify_image(
    image: Path, mask: Path, *, unit: str | None = None, modality: str = "pet", options: Mapping[str, Any] | None = None
) -> Result:
    """Measure one image in the regions of one mask.

    The mask is taken to lie in the image's frame of reference, because the caller says that it belongs to it; where
    both name a frame and the two differ, it is refused.

    Parameters
    ----------
    image
        A file, or a folder with one DICOM series.
    mask
        A label file, DICOM SEG or RTSTRUCT. Every region counts as a lesion.
    unit
        UCUM code of the image's values, where the file does not state it.
    modality
        Which lens; ``pet`` by default.
    options
        Options of the lens, by step.

    Raises
    ------
    TimelensError
        Whatever a reader or the lens refuses.
    """
    for path in (image, mask):
        if not path.exists():
            raise UsageError("There is no such file", file=path, found="nothing", expected="an image and its mask")
    acquisition = _acquisition(image, unit, modality)
    geometry = acquisition.image.geometry
    if geometry is None:
        raise GeometryError("The image has no place in space", file=image, field="geometry", found="none")
    region = _region(mask, geometry)
    chosen = choose([acquisition], modality)
    if chosen is None:
        raise MissingFieldError(
            "No lens measures this image", file=image, field="modality", found=acquisition.modality, expected=modality
        )
    lens, match = chosen
    recipe = lens.recipe(match, options or {"segment": {"rule": "given"}})
    return lens.quantify(match.roles, [region], {s.name: s.parameters for s in recipe.steps})


def _acquisition(image: Path, unit: str | None, modality: str) -> Acquisition:
    kind = registry.sniff(image) or ""
    if kind == "dicom":
        files = sorted(p for p in image.rglob("*") if p.is_file()) if image.is_dir() else [image]
        series = [s for s in dicom.group_series(files) if s.kind == "image"]
        if len(series) != 1:
            raise UsageError(
                "The folder holds several series",
                file=image,
                found=", ".join(f"{s.modality} {s.description}".strip() for s in series) or "no image",
                expected="one",
                mend="name the folder of one series, or use 'timelens run' for a study",
            )
        return load_acquisition(
            "dicom", series[0].files, id=image.name, subject="", session="", modality=modality, unit=unit
        )
    return load_acquisition(kind, [image], id=image.name, subject="", session="", modality=modality, unit=unit)


def _grid(geometry: Geometry) -> str:
    edges = " x ".join(f"{e:g}" for e in geometry.spacing)
    first = ", ".join(f"{v:.6g}" for v in geometry.affine[:3, 3])
    return f"{' x '.join(map(str, geometry.shape))} voxels of {edges} mm, the first at ({first}) mm"


def _region(mask: Path, geometry: Geometry) -> Region:
    kind = registry.sniff(mask)
    if kind == "dicom":
        if mask.is_dir():
            mask = next(iter(sorted(p for p in mask.iterdir() if p.is_file())))
        found = dicom.group_series([mask])[0]
        if found.kind not in ("seg", "rtstruct"):
            raise UsageError(
                "The mask is a DICOM file, but neither SEG nor RTSTRUCT", file=mask, found=found.modality or "no kind",
                expected="SEG, RTSTRUCT or a label file",
            )  # fmt: skip
        region = dicom.read_seg(mask) if found.kind == "seg" else dicom.read_rtstruct(mask)
        return replace(region, roles=dict.fromkeys(region.names, "lesion"))
    region = registry.read_labels(mask, geometry=geometry, id=mask.name)
    labels = region.labels
    if isinstance(labels, Image) and labels.geometry is not None and not labels.geometry.same_grid(geometry):
        raise GeometryError(
            "Mask and image have different grids",
            file=mask,
            field="affine",
            found=_grid(labels.geometry),
            expected=_grid(geometry),
            mend="resample the mask onto the image by the nearest voxel first",
        )
    return replace(region, roles=dict.fromkeys(region.names, "lesion"))
