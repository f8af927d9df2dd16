"""A small MCD with its text files and schema, as the instrument lays them out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

METALS = (("Ir", 191, "DNA1"), ("Pr", 141, "CD8"))


def rows_of(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows X Y Z channels of an image (c, y, x)."""
    c, h, w = image.shape
    y, x = np.divmod(np.arange(h * w), w)
    return np.column_stack([x, y, np.arange(h * w), image.reshape(c, -1).T]).astype("<f4")


def text_of(image: NDArray[np.float32]) -> str:
    head = ["Start_push", "End_push", "Pushes_duration", "X", "Y", "Z"]
    head += [f"{m}{n}_{t}({m}{n}Di)" for m, n, t in METALS]
    lines = ["\t".join(head)]
    for k, row in enumerate(rows_of(image)):
        lines.append(
            "\t".join([str(k), str(k + 1), "1", *(f"{v:.0f}" for v in row[:3]), *(f"{v:.3f}" for v in row[3:])])
        )
    return "\n".join(lines) + "\n"


def region_xml(number: int, start: int, end: int, shape: tuple[int, int], **changes: object) -> str:
    said = {
        "ID": number, "Description": f"ROI_{number:03d}", "AcquisitionROIID": number,
        "AblationDistanceBetweenShotsX": 1, "AblationDistanceBetweenShotsY": 1, "DataStartOffset": start,
        "DataEndOffset": end, "ROIStartXPosUm": 5000000 + 1000000 * number, "ROIStartYPosUm": 9000000,
        "ROIEndXPosUm": 5000 + 1000 * number + shape[1] + 0.5, "ROIEndYPosUm": 9000 - shape[0] + 0.7,
        "SegmentDataFormat": "Float", "ValueBytes": 4, "MaxY": shape[0], "MaxX": shape[1], **changes,
    }  # fmt: skip
    return "<Acquisition>" + "".join(f"<{k}>{v}</{k}>" for k, v in said.items()) + "</Acquisition>"


def channels_xml(number: int) -> str:
    listed = [("X", "X"), ("Y", "Y"), ("Z", "Z"), *((f"{m}({n})", f"{m}{n}_{t}") for m, n, t in METALS)]
    return "".join(
        f"<AcquisitionChannel><ID>{10 * number + k}</ID><ChannelName>{a}</ChannelName><OrderNumber>{k}</OrderNumber>"
        f"<AcquisitionID>{number}</AcquisitionID><ChannelLabel>{b}</ChannelLabel></AcquisitionChannel>"
        for k, (a, b) in enumerate(listed)
    )


def slide(
    folder: Path, images: list[NDArray[np.float32]], *, texts: bool = True, schema: bool = False, **changes: object
) -> Path:
    """Write ``s.mcd`` with its companions; ``changes`` go into the last region's schema."""
    body, records = b"\x00" * 37, []
    for number, image in enumerate(images, 1):
        data = rows_of(image).tobytes()
        said = changes if number == len(images) else {}
        records.append(region_xml(number, len(body), len(body) + len(data), image.shape[1:], **said))
        body += data
        if texts:
            (folder / f"s_ROI_{number:03d}_{number}.txt").write_text(text_of(image))
    xml = "<MCDSchema xmlns='x'><Slide><ID>0</ID></Slide>"
    xml += "".join(channels_xml(n + 1) for n in range(len(images))) + "".join(records) + "</MCDSchema>"
    if schema:
        (folder / "s.schema").write_bytes(b"\x00\x01blob" + xml.encode() + b"\x00tail")
    path = folder / "s.mcd"
    path.write_bytes(body + xml.encode("utf-16-le"))
    return path
