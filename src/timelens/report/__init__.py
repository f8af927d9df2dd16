"""The static report: one HTML file from a folder of results."""

from __future__ import annotations

from pathlib import Path

__all__ = ["build"]


def build(out: str | Path) -> Path:
    """Write ``report.html`` into a folder of results and return its path.

    Everything is taken from that folder: ``study.json``, ``measurements.csv``, ``problems.csv`` and each session's
    ``session.json`` with its pictures. The file holds its pictures and style and loads nothing from elsewhere; the same
    folder gives the same bytes.

    Parameters
    ----------
    out
        Folder that ``timelens run`` wrote.

    Raises
    ------
    UsageError
        If the folder holds no results.
    FormatError
        If one of its files cannot be read as what it should be.
    """
    from timelens.report.page import write

    return write(Path(out))
