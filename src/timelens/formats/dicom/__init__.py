"""DICOM: image series, segmentations, structure sets, reports and parametric maps, in and out.

Names are loaded on first use, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_WHERE = {
    "SeriesFiles": "series",
    "group_series": "series",
    "read": "series",
    "read_parametric_map": "parametric",
    "read_rtstruct": "rtstruct",
    "read_seg": "seg",
    "read_series": "series",
    "read_sr": "sr",
    "uid": "codes",
    "write_enhanced_mr": "write_mr",
    "write_parametric_map": "parametric",
    "write_rtstruct": "rtstruct",
    "write_seg": "seg",
    "write_series": "write",
    "write_sr": "sr",
}
__all__ = sorted(_WHERE)

if TYPE_CHECKING:
    from timelens.formats.dicom.codes import uid as uid
    from timelens.formats.dicom.parametric import read_parametric_map as read_parametric_map
    from timelens.formats.dicom.parametric import write_parametric_map as write_parametric_map
    from timelens.formats.dicom.rtstruct import read_rtstruct as read_rtstruct
    from timelens.formats.dicom.rtstruct import write_rtstruct as write_rtstruct
    from timelens.formats.dicom.seg import read_seg as read_seg
    from timelens.formats.dicom.seg import write_seg as write_seg
    from timelens.formats.dicom.series import SeriesFiles as SeriesFiles
    from timelens.formats.dicom.series import group_series as group_series
    from timelens.formats.dicom.series import read as read
    from timelens.formats.dicom.series import read_series as read_series
    from timelens.formats.dicom.sr import read_sr as read_sr
    from timelens.formats.dicom.sr import write_sr as write_sr
    from timelens.formats.dicom.write import write_series as write_series
    from timelens.formats.dicom.write_mr import write_enhanced_mr as write_enhanced_mr


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"timelens.formats.dicom.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
