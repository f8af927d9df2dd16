"""The ledger: every run, its files, regions, problems and measurements, in SQLite or PostgreSQL.

Nothing is overwritten. A run is added once, as a whole; adding it again changes nothing. A correction is a new row that
names the row it corrects; :meth:`Store.current` leaves corrected rows out, :meth:`Store.trace` shows the whole chain.

>>> from timelens.study.measurement import Measurement
>>> from timelens.study.provenance import Run
>>> store = Store(":memory:")
>>> run = Run(inputs=(), parameters={"threshold": 4.0}, seed=1)
>>> store.add_run(run, [Measurement("suv_max", 8.5, "g/mL", region="lesion-1")])
True
>>> [row.value for row in store.current(region="lesion-1")]
[8.5]
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from timelens.errors import DataError, Problem, UsageError
from timelens.study import store_tables as tables
from timelens.study.export import write_csv, write_parquet, write_problems
from timelens.study.measurement import COLUMNS, NUMBERS, Measurement, from_dict
from timelens.study.provenance import Run, SourceFile, identifier, plain_json
from timelens.study.region import Region
from timelens.study.store_tables import reading, writing

__all__ = ["Store", "write_csv", "write_parquet", "write_problems"]


class Store:
    """A ledger.

    Parameters
    ----------
    place
        Path of an SQLite file (made if it is not there), ``:memory:``, or a PostgreSQL URL such as
        ``postgresql+psycopg://user@host/name``.

    Raises
    ------
    UsageError, MissingDependencyError, FormatError, TimelensError
        As :func:`timelens.study.store_tables.connect`.
    """

    def __init__(self, place: str | Path) -> None:
        self._engine = tables.connect(place)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database; SQLite then leaves a single file."""
        self._engine.dispose()

    # -- adding --------------------------------------------------------------------------------------------------

    def add_run(
        self,
        run: Run,
        measurements: Iterable[Measurement] = (),
        regions: Iterable[Region] = (),
        problems: Iterable[Problem] = (),
        *,
        outputs: Iterable[SourceFile] = (),
    ) -> bool:
        """Add a run with all it gave, in one transaction.

        Parameters
        ----------
        run
            What was done to which files.
        measurements
            Rows; a row that names no run gets this one.
        regions
            Region sets that the rows refer to by name.
        problems
            What could not be used, and warnings.
        outputs
            Files that the run wrote.

        Returns
        -------
        bool
            False if the ledger has a run of this id; nothing is added then.

        Raises
        ------
        DataError
            If a row names another run, two rows say exactly the same, or a row corrects one that is not there.
        """
        rows = _rows(run.id, measurements)
        with writing(self._engine) as connection:
            known = connection.execute(sa.select(tables.runs.c.id).where(tables.runs.c.id == run.id)).first()
            if known is not None:
                return False
            connection.execute(sa.insert(tables.runs), _run_row(run))
            for role, listed in (("input", run.inputs), ("output", outputs)):
                found = {_file_id(file): file for file in listed}
                tables.insert_new(connection, tables.files, [_file_row(found[key]) for key in sorted(found)])
                links = [{"run": run.id, "file": key, "role": role} for key in sorted(found)]
                _insert(connection, tables.run_files, links)
            _insert(connection, tables.regions, _region_rows(run.id, regions))
            for row in rows:
                self._require_uncorrected(connection, row)
            _insert(connection, tables.measurements, rows)
            _insert(connection, tables.problems, [_problem_row(run.id, n, p) for n, p in enumerate(problems)])
        return True

    def correct(self, measurement_id: str, new: Measurement) -> Measurement:
        """Add a row that corrects another one. The old row stays.

        Parameters
        ----------
        measurement_id
            The row to correct, which no other row may correct yet (correct the correction instead).
        new
            What is right. ``supersedes`` is set to the old row, and ``run`` to its run where none is named.

        Returns
        -------
        Measurement
            The row as it stands in the ledger. Making the same correction again adds nothing.

        Raises
        ------
        DataError
            If there is no such row, it has been corrected otherwise, or the named run is not in the ledger.
        """
        with writing(self._engine) as connection:
            old = self._row(connection, measurement_id)
            row = replace(new, supersedes=measurement_id, run=new.run or old["run"])
            existing = self._corrected_by(connection, measurement_id)
            if existing == row.id:
                return row
            record = {**_measurement_row(row), "position": old["position"]}
            self._require_uncorrected(connection, record)
            try:
                connection.execute(sa.insert(tables.measurements), record)
            except IntegrityError as error:
                raise DataError("The correction names a run that is not in the ledger", found=row.run) from error
        return row

    def add_rows(self, run_id: str, measurements: Iterable[Measurement]) -> list[Measurement]:
        """Add rows to a run that is in the ledger already, where computing it again gave more than before.

        Returns
        -------
        list of Measurement
            The rows as they stand in the ledger. Rows that are there already are not added again.

        Raises
        ------
        DataError
            If there is no such run, a row names another run or corrects one, or two rows say exactly the same.
        """
        rows = _rows(run_id, measurements)
        if not rows:
            return []
        if corrects := next((row["supersedes"] for row in rows if row["supersedes"]), None):
            raise DataError("A correction is made one by one", field="supersedes", found=corrects, mend="use correct()")
        table = tables.measurements
        with writing(self._engine) as connection:
            if connection.execute(sa.select(tables.runs.c.id).where(tables.runs.c.id == run_id)).first() is None:
                raise DataError("The ledger has no such run", field="run", found=run_id)
            last = connection.execute(sa.select(sa.func.max(table.c.position)).where(table.c.run == run_id)).scalar()
            first = 0 if last is None else last + 1
            shifted = [{**row, "position": first + row["position"]} for row in rows]
            tables.insert_new(connection, table, shifted)
        return [from_dict(row) for row in rows]

    @staticmethod
    def _row(connection: sa.Connection, measurement_id: str) -> dict[str, Any]:
        table = tables.measurements
        row = connection.execute(sa.select(table).where(table.c.id == measurement_id)).mappings().first()
        if row is None:
            raise DataError(
                "The ledger has no such measurement",
                field="id",
                found=measurement_id,
                expected="the id of a row of measurements.csv",
            )
        return dict(row)

    @staticmethod
    def _corrected_by(connection: sa.Connection, measurement_id: str) -> str | None:
        table = tables.measurements
        return connection.execute(sa.select(table.c.id).where(table.c.supersedes == measurement_id)).scalar()

    def _require_uncorrected(self, connection: sa.Connection, row: dict[str, Any]) -> None:
        if row["supersedes"] is None:
            return
        self._row(connection, row["supersedes"])
        later = self._corrected_by(connection, row["supersedes"])
        if later is not None:
            raise DataError(
                "The measurement has been corrected already",
                field="supersedes",
                found=row["supersedes"],
                mend=f"correct the correction: {later}",
            )

    # -- asking --------------------------------------------------------------------------------------------------

    def measurements(self, **filters: str | Collection[str]) -> list[Measurement]:
        """All rows, corrected ones too, that match.

        Parameters
        ----------
        **filters
            Column to text, or to several texts of which one must match: ``quantity=["mtv", "tlg"]``.

        Returns
        -------
        list of Measurement
            By subject, session and acquisition, then in the order in which the run gave them.

        Raises
        ------
        UsageError
            If there is no such column of text.
        """
        return self._measurements(filters, current=False)

    def current(self, **filters: str | Collection[str]) -> list[Measurement]:
        """The rows that hold: as :meth:`measurements`, without those that were corrected."""
        return self._measurements(filters, current=True)

    def _measurements(self, filters: dict[str, str | Collection[str]], *, current: bool) -> list[Measurement]:
        table = tables.measurements
        query = sa.select(table)
        allowed = [name for name in COLUMNS if name not in NUMBERS and name != "n"]
        for name, wanted in filters.items():
            if name not in allowed:
                raise UsageError(f"Measurements cannot be chosen by {name!r}", found=name, expected=", ".join(allowed))
            values = [wanted] if isinstance(wanted, str) else list(wanted)
            query = query.where(table.c[name].in_(values))
        if current:
            later = table.alias()
            query = query.where(~sa.exists().where(later.c.supersedes == table.c.id))
        with reading(self._engine) as connection:
            rows = connection.execute(query).mappings().all()
        # Sorted here: databases differ in how they order text.
        ordered = sorted(
            rows, key=lambda r: (*[r[k] for k in ("subject", "session", "acquisition", "run")], r["position"], r["id"])
        )
        return [from_dict(dict(row)) for row in ordered]

    def runs(self) -> list[Run]:
        """All runs with their input files, by start and id."""
        with reading(self._engine) as connection:
            rows = connection.execute(sa.select(tables.runs)).mappings().all()
            made = [self._run(connection, dict(row)) for row in rows]
        return sorted(made, key=lambda run: (run.started, run.id))

    def outputs(self, run_id: str) -> list[SourceFile]:
        """The files that a run wrote."""
        with reading(self._engine) as connection:
            return self._files(connection, run_id, "output")

    def regions(self, run_id: str | None = None) -> list[dict[str, Any]]:
        """Records of the regions of one run, or of all."""
        return self._records(tables.regions, run_id, ("run", "region_set", "number", "id"))

    def problems(self, run_id: str | None = None) -> list[Problem]:
        """What one run, or all, could not use."""
        records = self._records(tables.problems, run_id, ("run", "position"))
        return [Problem(**{k: v for k, v in r.items() if k not in ("run", "position")}) for r in records]

    def _records(self, table: sa.Table, run_id: str | None, order: Sequence[str]) -> list[dict[str, Any]]:
        query = sa.select(table) if run_id is None else sa.select(table).where(table.c.run == run_id)
        with reading(self._engine) as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return sorted(rows, key=lambda row: tuple(row[name] for name in order))

    def trace(self, measurement_id: str) -> dict[str, Any]:
        """Where a number comes from.

        Returns
        -------
        dict
            ``measurement`` (the row), ``corrects`` (the rows it stands for, newest first), ``corrected_by`` (id or
            None), ``regions`` (records of its region in that run), ``run`` (id, parameters, software, seed, started,
            ended) and ``inputs`` (path, sha256, size of each file).

        Raises
        ------
        DataError
            If there is no such row.
        """
        with reading(self._engine) as connection:
            record = self._row(connection, measurement_id)
            corrects = []
            older = record["supersedes"]
            while older is not None:
                row = self._row(connection, older)
                corrects.append(from_dict(row).as_dict())
                older = row["supersedes"]
            later = self._corrected_by(connection, measurement_id)
            found = connection.execute(sa.select(tables.runs).where(tables.runs.c.id == record["run"])).mappings().one()
            run = self._run(connection, dict(found))
        regions = [r for r in self.regions(record["run"]) if r["name"] == record["region"]]
        return {
            "measurement": from_dict(record).as_dict(),
            "corrects": corrects,
            "corrected_by": later,
            "regions": regions,
            "run": {
                "id": record["run"],
                "parameters": dict(run.parameters),
                "software": dict(run.software),
                "seed": run.seed,
                "started": run.started,
                "ended": run.ended,
            },
            "inputs": [{"path": f.path, "sha256": f.sha256, "size": f.size} for f in run.inputs],
        }

    def _run(self, connection: sa.Connection, row: dict[str, Any]) -> Run:
        return Run(
            inputs=tuple(self._files(connection, row["id"], "input")),
            parameters=json.loads(row["parameters"]),
            software=json.loads(row["software"]),
            seed=None if row["seed"] is None else int(row["seed"]),
            started=row["started"],
            ended=row["ended"],
        )

    @staticmethod
    def _files(connection: sa.Connection, run_id: str, role: str) -> list[SourceFile]:
        table, links = tables.files, tables.run_files
        query = sa.select(table).join(links).where(links.c.run == run_id, links.c.role == role)
        rows = connection.execute(query).mappings()
        return sorted((SourceFile(r["path"], r["sha256"], r["size"]) for r in rows), key=lambda f: (f.path, f.sha256))


def _insert(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(sa.insert(table), rows)


def _run_row(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "parameters": plain_json(dict(run.parameters)),
        "software": plain_json(dict(run.software)),
        "seed": None if run.seed is None else str(run.seed),
        "started": run.started,
        "ended": run.ended,
    }


def _file_id(file: SourceFile) -> str:
    return identifier("file", _clean(file.path), file.sha256)


def _file_row(file: SourceFile) -> dict[str, Any]:
    return {"id": _file_id(file), "path": _clean(file.path), "sha256": file.sha256, "size": file.size}


def _region_rows(run_id: str, regions: Iterable[Region]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for position, region in enumerate(regions):
        frame = (
            region.frame if region.labels is None or region.labels.geometry is None else region.labels.geometry.frame
        )
        for number in sorted(region.names):
            row = {
                "id": identifier("region", run_id, position, region.id, number),
                "run": run_id,
                "region_set": region.id,
                "number": int(number),
                "name": region.name(number),
                "kind": region.kind,
                "role": region.role(number),
                "method": region.method,
                "identity": region.identity.get(number, ""),
                "frame": frame or "",
            }
            rows.append(row)
    return rows


def _rows(run_id: str, measurements: Iterable[Measurement]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for position, given in enumerate(measurements):
        if given.run not in ("", run_id):
            raise DataError("A measurement names another run", field="run", found=given.run, expected=run_id)
        row = given.with_context(run=run_id)
        if row.id in rows:
            raise DataError(
                f"Two measurements of {row.quantity} say exactly the same",
                field="region",
                found=row.region or "no region",
                mend="give each region a name of its own",
            )
        rows[row.id] = {**_measurement_row(row), "position": position}
    return list(rows.values())


def _measurement_row(measurement: Measurement) -> dict[str, Any]:
    record = measurement.as_dict()
    for name in NUMBERS:
        if math.isnan(record[name]):
            record[name] = None
    record["supersedes"] = record["supersedes"] or None
    return record


def _problem_row(run_id: str, position: int, problem: Problem) -> dict[str, Any]:
    return {"run": run_id, "position": position, **{k: _clean(v) for k, v in problem.as_dict().items()}}


def _clean(text: str) -> str:
    """Text that every database takes: file names may hold bytes that are not UTF-8, and damaged headers zeros."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
