"""Write regions of a slide as an MCD file: photographs, rows of counts, and at the end the schema that places them.

The layout is that of the instrument's software as its files show it: one block of float32 rows ``X Y Z channels`` per
region, then the text of the schema in UTF-16. Only what a reader needs is written; calibrations are not made up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from timelens.errors import UsageError
from timelens.formats.atomic import write_file
from timelens.formats.cytometry import raster
from timelens.formats.cytometry.panorama import wrapped
from timelens.study.acquisition import Acquisition
from timelens.study.geometry import Geometry
from timelens.study.image import Image

__all__ = ["write"]

_NAMESPACE = "http://www.fluidigm.com/IMC/MCDSchema_V2_0.xsd"
#: Of a standard slide, in micrometres.
_SLIDE_UM = (75000, 25000)
_MOST_PIXELS = 1 << 24  # rows count pixels in float32


def write(data: Acquisition | Sequence[Acquisition], path: str | Path, *, panoramas: Sequence[Image] = ()) -> Path:
    """Write an MCD file; returns the path.

    Parameters
    ----------
    data
        Regions of one slide, each in one plane with metals on its axis ``c`` and counts as values; pixels that are NaN
        must end the raster. Numbers are those of the regions where all have one, else 1, 2 ...; names are their
        descriptions.
    path
        Ends in ``.mcd``.
    panoramas
        Pictures of the slide (colour, 1, y, x), 8 bits, with their place.

    Raises
    ------
    UsageError
        If there is no region, or one does not fit the format.
    """
    regions = [data] if isinstance(data, Acquisition) else list(data)
    place = Path(path)
    if place.suffix.lower() != ".mcd":
        raise UsageError("An MCD file ends in .mcd", field="path", found=place.name)
    if not regions:
        raise UsageError("A slide has a region", field="data", found="none", expected="1 or more")
    stated = [r.extra.get("region_number") for r in regions]
    known = all(isinstance(n, int) and n > 0 for n in stated) and len(set(stated)) == len(stated)
    numbers: list[Any] = stated if known else list(range(1, len(regions) + 1))
    content = bytearray(b"MCD written by timelens\0")
    elements = [_slide(place)]
    for k, picture in enumerate(panoramas, 1):
        start = len(content)
        content += wrapped(_colours(picture))
        elements.append(_panorama(k, picture, start, len(content)))
    elements.append(_element("Panorama", ID=len(panoramas) + 1, SlideID=0, Description="ROIs", **_corners(None),
                             ImageStartOffset=0, ImageEndOffset=0, ImageFormat="PNG", Type="Default"))  # fmt: skip
    for number, region in zip(numbers, regions, strict=True):
        metals, labels = _channels(region)
        rows = _rows(region)
        start = len(content)
        content += rows.tobytes()
        roi: dict[str, Any] = {"ID": number, "Description": region.description or region.id}
        elements.append(_element("AcquisitionROI", **roi, PanoramaID=len(panoramas) + 1))
        elements.append(_acquisition(region, roi, start, len(content)))
        elements += [
            _element("AcquisitionChannel", ID=1000 * number + k, ChannelName=name, OrderNumber=k,
                     AcquisitionID=number, ChannelLabel=label)
            for k, (name, label) in enumerate([*((n, n) for n in "XYZ"), *zip(metals, labels, strict=True)])
        ]  # fmt: skip
    # Elements of a kind stand together, as readers of cut files rely on.
    kinds = ("Slide", "Panorama", "AcquisitionROI", "AcquisitionChannel", "Acquisition")
    ordered = [e for kind in kinds for e in elements if e.startswith(f"<{kind}>")]
    text = f'<MCDSchema xmlns="{_NAMESPACE}">' + "\n".join(ordered) + "</MCDSchema>"
    return write_file(bytes(content) + text.encode("utf-16-le"), place)


def _element(kind: str, **fields: Any) -> str:
    inner = "".join(f"<{k}>{escape(str(v))}</{k}>" for k, v in fields.items())
    return f"<{kind}>{inner}</{kind}>"


def _slide(place: Path) -> str:
    return _element("Slide", ID=0, Description="Slide", Filename=place.name, WidthUm=_SLIDE_UM[0],
                    HeightUm=_SLIDE_UM[1], ImageStartOffset=0, ImageEndOffset=0)  # fmt: skip


def _panorama(number: int, picture: Image, start: int, end: int) -> str:
    return _element("Panorama", ID=number, SlideID=0, Description=picture.name or f"Panorama_{number:03d}",
                    **_corners(picture.geometry), ImageStartOffset=start, ImageEndOffset=end, ImageFormat="PNG",
                    Type="Instrument")  # fmt: skip


def _corners(geometry: Geometry | None) -> Mapping[str, float]:
    """Corners in micrometres: of the first pixel, the end of its row, the last pixel, the end of its column."""
    corners = np.zeros((4, 2))
    if geometry is not None:
        height, width = np.array(geometry.shape[1:]) - 0.5
        places = [[0, -0.5, -0.5], [0, -0.5, width], [0, height, width], [0, height, -0.5]]
        corners = np.round(1e3 * np.array([geometry.to_mm(p)[:2] for p in places]), 3)
    return {f"Slide{n}{k}PosUm": float(c[i]) for k, c in enumerate(corners, 1) for i, n in enumerate("XY")}


def _colours(picture: Image) -> NDArray[np.uint8]:
    array = picture.numpy()
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[:2] != (3, 1):
        raise UsageError("A panorama is a picture of three colours with 8 bits", field="panoramas",
                         found=f"{array.dtype} {array.shape}", expected="uint8 (3, 1, y, x)")  # fmt: skip
    return np.ascontiguousarray(np.moveaxis(array[:, 0], 0, -1))


def _channels(region: Acquisition) -> tuple[list[str], list[str]]:
    image = region.image
    metals = [str(c) for c in image.axes[0].coordinates or ()]
    if image.axes[0].name != "c" or len(image.shape) != 4 or image.shape[1] != 1 or not metals:
        raise UsageError("A region is one plane with named channels", field="axes", found=image.shape,
                         expected="c, 1, y, x")  # fmt: skip
    if image.unit != raster.COUNTS:
        raise UsageError("An MCD file holds counts", field="unit", found=image.unit, expected=raster.COUNTS)
    found = [raster.METAL.match(m) for m in metals]
    if None in found or len(set(metals)) != len(metals):
        raise UsageError("A channel names no metal, or one twice", field="channel", found=", ".join(metals),
                         expected="Pr141, Nd142 ...")  # fmt: skip
    labels = [str(v) for v in region.extra.get("channel_labels", metals)]
    return [f"{m[1]}({m[2]})" for m in found if m], labels


def _rows(region: Acquisition) -> NDArray[np.float32]:
    """Rows X Y Z channels of the pixels that are known."""
    counts = region.image.numpy()[:, 0]
    width = counts.shape[-1]
    counts = counts.reshape(len(counts), -1).T
    known = np.isfinite(counts).all(axis=1)
    pixels = int(known.sum())
    if not known[:pixels].all() or not pixels or pixels > _MOST_PIXELS:
        raise UsageError("Pixels are missing before the end of the raster, or too many", field="pixels",
                         found=f"{pixels} known", expected=f"1 to {_MOST_PIXELS}, from the first on")  # fmt: skip
    if (counts[:pixels] < 0).any():
        raise UsageError("A count is negative", field="pixels", found=float(counts[:pixels].min()))
    y, x = np.divmod(np.arange(pixels), width)
    return np.column_stack([x, y, np.arange(pixels), counts[:pixels]]).astype("<f4")


def _acquisition(region: Acquisition, roi: Mapping[str, Any], start: int, end: int) -> str:
    geometry = region.image.geometry
    if geometry is None:
        raise UsageError("The region has no size of a pixel", field="geometry", found="none", expected="um")
    height, width = geometry.shape[1:]
    dy, dx = (round(1e3 * s, 6) for s in geometry.spacing[1:])
    return _element(
        "Acquisition", ID=roi["ID"], Description=roi["Description"], AblationDistanceBetweenShotsX=dx,
        AblationDistanceBetweenShotsY=dy, AcquisitionROIID=roi["ID"], OrderNumber=0, SignalType="Dual",
        DataStartOffset=start, DataEndOffset=end, StartTimeStamp=region.extra.get("started", ""),
        **_stage(geometry, (height * dy, width * dx)), MovementType="XRaster", SegmentDataFormat="Float", ValueBytes=4,
        MaxY=height, MaxX=width,
    )  # fmt: skip


def _stage(geometry: Geometry, size_um: tuple[float, float]) -> Mapping[str, float]:
    """Where the stage stood, begin in thousandths of a micrometre; nothing for a grid that the stage does not make."""
    ways = geometry.affine[:3, :3] / np.linalg.norm(geometry.affine[:3, :3], axis=0)
    if geometry.frame is None or not np.allclose(ways[:2, 1:], [[0, 1], [-1, 0]]):
        return {}
    x, y = (float(v) for v in np.round(1e3 * geometry.to_mm([0, -0.5, -0.5])[:2], 3))
    return {"ROIStartXPosUm": round(1e3 * x), "ROIStartYPosUm": round(1e3 * y), "ROIEndXPosUm": x + size_um[1],
            "ROIEndYPosUm": y - size_um[0]}  # fmt: skip
