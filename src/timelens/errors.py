"""Errors and warnings that say what was wrong, where, and how to mend it.

Every refusal carries the same five facts: the file, the field, what was found, what was expected, and the mend.
They are kept as data (:class:`Problem`), so that the same facts appear in an exception, in ``problems.csv`` and in the
report. Values that identify a patient never go into ``found``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

__all__ = [
    "DataError",
    "FormatError",
    "GeometryError",
    "MissingDependencyError",
    "MissingFieldError",
    "PlausibilityWarning",
    "Problem",
    "TimelensError",
    "UnitError",
    "UnsafeFileError",
    "UsageError",
]

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """What could not be used, or looks wrong.

    Parameters
    ----------
    message
        One sentence in plain words.
    file, field
        Where: a path as the user gave it, and the tag, column or key.
    found, expected
        What stood there and what would have been right, as text.
    mend
        What the user can do.
    severity
        ``"error"``: no number was given. ``"warning"``: a number was given, look at it.
    """

    message: str
    file: str = ""
    field: str = ""
    found: str = ""
    expected: str = ""
    mend: str = ""
    severity: Severity = "error"

    def __str__(self) -> str:
        parts = [self.message.rstrip(".") + "."]
        for label, text in (
            ("File", self.file),
            ("Field", self.field),
            ("Found", self.found),
            ("Expected", self.expected),
            ("Mend", self.mend),
        ):
            if text:
                parts.append(f"{label}: {text.rstrip('.')}.")
        return " ".join(parts)

    def as_dict(self) -> dict[str, str]:
        """The problem as a flat record."""
        return asdict(self)


class TimelensError(Exception):
    """Base of all errors raised on purpose. ``error.problem`` holds the facts.

    Parameters
    ----------
    message, file, field, found, expected, mend
        As in :class:`Problem`; anything that is not text is converted with ``str``.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        file: object = "",
        field: object = "",
        found: object = "",
        expected: object = "",
        mend: object = "",
    ) -> None:
        self.problem = Problem(message, str(file), str(field), str(found), str(expected), str(mend))
        super().__init__(message)

    def __str__(self) -> str:
        return str(self.problem)

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process boundaries; keyword-only arguments need help there.
        return (_rebuild, (type(self), self.problem))

    def at(self, *, file: object = "", field: object = "") -> TimelensError:
        """The same error with its place filled in where it was not known yet."""
        known = self.problem
        return _rebuild(
            type(self),
            Problem(
                known.message,
                known.file or str(file),
                known.field or str(field),
                known.found,
                known.expected,
                known.mend,
                known.severity,
            ),
        )


def _rebuild(kind: type[TimelensError], problem: Problem) -> TimelensError:
    error = kind.__new__(kind)
    Exception.__init__(error, problem.message)
    error.problem = problem
    return error


class DataError(TimelensError):
    """The content of an input contradicts itself or cannot be used."""


class MissingFieldError(DataError):
    """A value that the requested quantity needs is absent."""


class FormatError(DataError):
    """A file is not what its name or header claims, is truncated or is of an unsupported kind."""


class UnsafeFileError(FormatError):
    """A file would exhaust memory, leave its folder or run code."""


class UnitError(DataError):
    """Units or kinds of quantity do not fit together."""


class GeometryError(DataError):
    """Two things do not lie in the same space, or a geometry is not a regular grid."""


class UsageError(TimelensError):
    """The call itself is wrong: an option or argument that does not exist or does not fit."""

    exit_code = 2


class MissingDependencyError(UsageError):
    """An optional package is not installed."""

    def __init__(self, package: str, *, purpose: str, extra: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed",
            expected=package,
            mend=f"pip install 'timelens[{extra}]'",
        )


class PlausibilityWarning(UserWarning):
    """A value is possible but looks like a slip (MBq read as Bq, grams as kilograms)."""
