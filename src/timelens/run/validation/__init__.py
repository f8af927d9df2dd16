"""How well a lens measures on a protocol: scenes of known truth, scanned again and again, held against their truth.

One module for each lens; :mod:`timelens.run.validation.registry` names them. Names here are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_WHERE = {
    "COLUMNS": "rows",
    "LENSES": "registry",
    "Validation": "registry",
    "read_protocol": "files",
    "validate": "registry",
    "write_validation": "files",
}
__all__ = sorted(_WHERE)

if TYPE_CHECKING:
    from timelens.run.validation.files import read_protocol as read_protocol
    from timelens.run.validation.files import write_validation as write_validation
    from timelens.run.validation.registry import LENSES as LENSES
    from timelens.run.validation.registry import Validation as Validation
    from timelens.run.validation.registry import validate as validate
    from timelens.run.validation.rows import COLUMNS as COLUMNS


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
