"""Pictures inside the page: the sessions' PNG files, checked, and the courses over time, drawn here."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from timelens.figures.canvas import png_bytes
from timelens.figures.panel import plain_name
from timelens.figures.trend import trend_figure, waterfall_figure
from timelens.report.read import SessionResults, inside
from timelens.report.summary import followed_lesions, points

__all__ = ["Picture", "course_pictures", "drawn", "session_pictures"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LARGEST = 32 << 20
_ORDER = ("slide", "mip", "truth", "slices", "histogram", "fits", "graphical", "input", "tacs", "parameter")
_MOST_WATERFALLS = 24
#: Fewer lesions than this are read faster in the table of followed lesions.
_LEAST_LESIONS = 3
# Pixels of the files per pixel of the screen: figures are written at 160 dots per inch and shown at 96.
_SCALE = 160 / 96


@dataclass(frozen=True)
class Picture:
    """One picture; its bytes are fetched when the page comes to it, so that a large study fits in memory."""

    title: str
    caption: str
    alt: str
    kind: str
    width: int
    height: int
    load: Callable[[], bytes]
    acquisition: str = ""

    @property
    def source(self) -> str:
        """The picture as a data address."""
        return "data:image/png;base64," + base64.b64encode(self.load()).decode()


def session_pictures(out: Path, session: SessionResults) -> tuple[list[Picture], list[str]]:
    """The pictures of a session, projections first, and a sentence for each that cannot be shown."""
    found, missing = [], []
    for record in session.listed("pictures"):
        name = str(record.get("file") or "")
        title = str(record.get("title") or record.get("kind") or "Picture")
        size = None
        for folder in (session.folder, out):
            path = inside(out, str(folder / name))
            if path is not None and path.is_file() and (size := _png_size(path)) is not None:
                caption = str(record.get("caption") or "")
                alt = f"{title}, {session.subject} {session.session}. {caption}".strip()
                kind, scan = str(record.get("kind") or ""), str(record.get("acquisition") or "")
                found.append(Picture(title, caption, alt, kind, *_shown(size), path.read_bytes, scan))
                break
        if size is None:
            missing.append(f"The picture {title!r} ({name}) is not in the folder of results, or is not a PNG file.")
    place = {kind: k for k, kind in enumerate(_ORDER)}
    return sorted(found, key=lambda p: place.get(p.kind, len(_ORDER))), missing


def course_pictures(sessions: Sequence[SessionResults]) -> list[Picture]:
    """TMTV and SUVpeak over time of each agent, and the change of each lesion; none where no subject comes twice."""
    found = []
    for agent, rows in points(sessions).items():
        subjects = len({p.subject for p in rows})
        caption = (
            "Total metabolic tumour volume (TMTV) and the largest SUVpeak of all lesions, per subject, over the "
            "sessions; below in percent of the first session. Bars show the uncertainty where one is stated."
        )
        title = f"{agent}: course over time" if agent else "Course over time"
        found.append(drawn(title, caption, f"Course of {subjects} subjects", "trend", png_bytes(trend_figure(rows))))
    if not found:
        return []
    for followed in followed_lesions(sessions)[:_MOST_WATERFALLS]:
        changes = followed.changes()
        if len(changes) < _LEAST_LESIONS:
            continue
        whose = " ".join(part for part in (followed.subject, followed.agent) if part)
        first, last = followed.sessions[0], followed.sessions[-1]
        title = f"{whose}: change of each lesion"
        caption = f"Change of SUVpeak of the lesions followed from {first} to {last}, largest rise first."
        figure = waterfall_figure(changes, symbol="SUVpeak", title=plain_name(whose, 44))
        listed = ", ".join(f"{k} {v:+.0f} %" for k, v in sorted(changes.items()))
        found.append(drawn(title, caption, listed, "waterfall", png_bytes(figure)))
    return found


def drawn(title: str, caption: str, alt: str, kind: str, data: bytes) -> Picture:
    """A picture that is drawn for the page, from its PNG bytes."""
    width, height = struct.unpack(">II", data[16:24])
    return Picture(title, caption, f"{title}. {alt}", kind, *_shown((width, height)), lambda: data)


def _png_size(path: Path) -> tuple[int, int] | None:
    if path.stat().st_size > _LARGEST:
        return None
    with path.open("rb") as file:
        head = file.read(24)
    if len(head) < 24 or not head.startswith(_SIGNATURE) or head[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", head[16:24])
    return (width, height) if width and height else None


def _shown(size: tuple[int, int]) -> tuple[int, int]:
    return round(size[0] / _SCALE), round(size[1] / _SCALE)
