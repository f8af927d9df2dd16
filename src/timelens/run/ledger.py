"""From the sessions' records to the ledger: runs that are new are added, rows that changed since are corrected.

A run that is in the ledger already may come back with other rows: a later session gave its lesions other identities, or
it was computed anew by other versions of numpy or on another processor, whose last digits differ. A row is therefore
recognised by what it measures, never by its value; what differs becomes a correction, a new row that names the old one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from timelens.errors import Problem
from timelens.study.measurement import Measurement
from timelens.study.provenance import Run, SourceFile
from timelens.study.region import Region
from timelens.study.store import Store

__all__ = ["SessionResults", "enter", "local_name", "renamed"]

_OWN_NAME = " of this session"
_GONE = "the region is not found any more when this run is computed again"


@dataclass(frozen=True)
class SessionResults:
    """What one run gave, as it enters the ledger."""

    run: Run
    rows: Sequence[Measurement]
    regions: Iterable[Region] = ()
    problems: Sequence[Problem] = ()
    outputs: Sequence[SourceFile] = ()


def enter(place: str, results: Iterable[SessionResults]) -> list[Measurement]:
    """Bring the ledger up to these results and return their rows as they stand there now, in the order given."""
    held: list[Measurement] = []
    with Store(place) as store:
        for one in results:
            if store.add_run(one.run, one.rows, one.regions, one.problems, outputs=one.outputs):
                held += one.rows
            else:
                held += _brought_up(store, one)
    return held


def _brought_up(store: Store, one: SessionResults) -> list[Measurement]:
    """The rows of a run that is there already: kept, corrected, or added; those without a successor are withdrawn."""
    there: dict[tuple[Any, ...], list[Measurement]] = {}
    for row in store.current(run=one.run.id):
        there.setdefault(_what(row), []).append(row)
    held: list[Measurement | None] = []
    new: list[Measurement] = []
    for row in one.rows:
        waiting = there.get(_what(row))
        if not waiting:
            new.append(row)
            held.append(None)
            continue
        old = waiting.pop(0)
        held.append(old if _says(old) == _says(row) else store.correct(old.id, row))
    for old in (row for rows in there.values() for row in rows):
        if old.reason != _GONE:
            store.correct(old.id, _withdrawn(old))
    added = iter(store.add_rows(one.run.id, new))
    return [row if row is not None else next(added) for row in held]


def _what(row: Measurement) -> tuple[Any, ...]:
    """What a row measures: everything that tells it from the others of its run but the value and a later name."""
    return (row.subject, row.session, row.acquisition, local_name(row), row.quantity, row.method, repr(row.time_s))


def _says(row: Measurement) -> tuple[str, ...]:
    return tuple(repr(getattr(row, f.name)) for f in fields(row) if f.name != "supersedes")


def _withdrawn(row: Measurement) -> Measurement:
    nan = float("nan")
    return replace(
        row, value=nan, uncertainty=nan, uncertainty_kind="none", lower=nan, upper=nan, level=nan, n=None, reason=_GONE
    )


def renamed(row: Measurement, identity: str) -> Measurement:
    """The row of a lesion under its identity over time; it remembers its own name where that differs."""
    if identity == row.region:
        return row
    flags = "; ".join(part for part in (row.flags, f"{row.region}{_OWN_NAME}") if part)
    return replace(row, region=identity, flags=flags)


def local_name(row: Measurement) -> str:
    """The name that a row's region has in its own session."""
    last = row.flags.rpartition("; ")[2]
    return last.removesuffix(_OWN_NAME) if last.endswith(_OWN_NAME) else row.region
