"""Table and its columns' units: cells, transcripts, blood samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from timelens import units
from timelens.errors import MissingFieldError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Table"]


@dataclass(frozen=True, eq=False)
class Table:
    """A data frame whose numeric columns each have a unit.

    Parameters
    ----------
    data
        The rows.
    column_units
        UCUM code per numeric column; text columns need none.

    Raises
    ------
    MissingFieldError
        If a numeric column has no unit.
    """

    data: pd.DataFrame
    column_units: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for column in self.data.columns:
            if column in self.column_units:
                units.parse(self.column_units[column])
            elif self.data[column].dtype.kind in "iufc":
                raise MissingFieldError(
                    f"Column {column!r} has no unit",
                    field=column,
                    found="no unit",
                    expected="a UCUM code ('1' if none)",
                )

    def __len__(self) -> int:
        return len(self.data)
