"""The data model: what was scanned, when, where in space, in which unit, and what was measured in it.

Names are loaded on first use, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_WHERE = {
    "Acquisition": "acquisition",
    "Axis": "axes",
    "FrameTiming": "timing",
    "Geometry": "geometry",
    "Image": "image",
    "Match": "contract",
    "Measurement": "measurement",
    "Mesh": "mesh",
    "Region": "region",
    "Registration": "geometry",
    "Result": "contract",
    "Run": "provenance",
    "Session": "study",
    "SourceFile": "provenance",
    "Store": "store",
    "Study": "study",
    "Subject": "study",
    "Table": "table",
}
__all__ = sorted(_WHERE)

if TYPE_CHECKING:
    from timelens.study.acquisition import Acquisition as Acquisition
    from timelens.study.axes import Axis as Axis
    from timelens.study.contract import Match as Match
    from timelens.study.contract import Result as Result
    from timelens.study.geometry import Geometry as Geometry
    from timelens.study.geometry import Registration as Registration
    from timelens.study.image import Image as Image
    from timelens.study.measurement import Measurement as Measurement
    from timelens.study.mesh import Mesh as Mesh
    from timelens.study.provenance import Run as Run
    from timelens.study.provenance import SourceFile as SourceFile
    from timelens.study.region import Region as Region
    from timelens.study.store import Store as Store
    from timelens.study.study import Session as Session
    from timelens.study.study import Study as Study
    from timelens.study.study import Subject as Subject
    from timelens.study.table import Table as Table
    from timelens.study.timing import FrameTiming as FrameTiming


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"timelens.study.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
