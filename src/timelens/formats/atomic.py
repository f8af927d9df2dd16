"""Files are written whole or not at all, so that whoever is interrupted leaves nothing half done."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["write_file"]


def write_file(content: str | bytes, path: str | Path) -> Path:
    """Write a file whole or not at all."""
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)
    return place
