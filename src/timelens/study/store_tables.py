"""The tables of the ledger, and the connection to SQLite or PostgreSQL that holds them.

Rows are added and never changed: the database itself refuses UPDATE and DELETE. NaN is stored as NULL, and so is the
empty text of a column that names another row. SQLite runs in WAL mode with foreign keys on; its tables are STRICT.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.postgresql import insert as insert_postgres
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from timelens.errors import FormatError, MissingDependencyError, TimelensError, UsageError
from timelens.study.measurement import COLUMNS, NUMBERS

__all__ = [
    "LEDGER",
    "SCHEMA",
    "connect",
    "files",
    "insert_new",
    "measurements",
    "problems",
    "reading",
    "regions",
    "run_files",
    "runs",
    "writing",
]

#: Version of the tables; a ledger of another version is refused.
SCHEMA = 1
#: How long a writer waits for another one, in seconds.
BUSY_TIMEOUT_S = 60.0
_POSTGRES_LOCK = 7_421_000_313  # any number that no other program is likely to use

LEDGER = sa.MetaData()
_NUMBER: sa.types.TypeEngine[Any] = sa.Double().with_variant(sa.REAL(), "sqlite")
_COUNT: sa.types.TypeEngine[Any] = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str, *more: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, *more, nullable=options.pop("nullable", False), **options)


def _table(name: str, *columns: Any) -> sa.Table:
    return sa.Table(name, LEDGER, *columns, sqlite_strict=True)


versions = _table("ledger", sa.Column("version", _COUNT, primary_key=True))

runs = _table(
    "runs",
    _text("id", primary_key=True),
    _text("parameters"),
    _text("software"),
    _text("seed", nullable=True),  # as text: a seed may have more than 64 bits
    _text("started"),
    _text("ended"),
)

files = _table(
    "files",
    _text("id", primary_key=True),
    _text("path"),
    _text("sha256", index=True),
    sa.Column("size", _COUNT, nullable=False),
)

run_files = _table(
    "run_files",
    _text("run", sa.ForeignKey("runs.id"), primary_key=True),
    _text("file", sa.ForeignKey("files.id"), primary_key=True),
    _text("role", primary_key=True),  # input or output
)

regions = _table(
    "regions",
    _text("id", primary_key=True),
    _text("run", sa.ForeignKey("runs.id"), index=True),
    _text("region_set"),
    sa.Column("number", _COUNT, nullable=False),
    _text("name"),
    _text("kind"),
    _text("role"),
    _text("method"),
    _text("identity"),
    _text("frame"),
)


def _measured(name: str) -> sa.Column[Any]:
    if name in NUMBERS:
        return sa.Column(name, _NUMBER)
    if name == "n":
        return sa.Column(name, _COUNT)
    if name == "run":
        return _text(name, sa.ForeignKey("runs.id"), index=True)
    if name == "supersedes":  # unique: a row has one correction, which may itself be corrected
        return _text(name, sa.ForeignKey("measurements.id"), nullable=True, unique=True)
    return _text(name, primary_key=name == "id")


measurements = _table(
    "measurements", *[_measured(name) for name in COLUMNS], sa.Column("position", _COUNT, nullable=False)
)

problems = _table(
    "problems",
    _text("run", sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("position", _COUNT, primary_key=True, autoincrement=False),
    *[_text(name) for name in ("severity", "message", "file", "field", "found", "expected", "mend")],
)

_REFUSAL = "rows of the ledger are not changed; add a correction"
_SQLITE_GUARD = (
    "CREATE TRIGGER IF NOT EXISTS {table}_{verb} BEFORE {verb} ON {table} BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
)
_POSTGRES_FUNCTION = (
    "CREATE OR REPLACE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION '{refusal}'; END $$"
)
_POSTGRES_GUARD = (
    "CREATE OR REPLACE TRIGGER {table}_guard BEFORE UPDATE OR DELETE ON {table} "
    "FOR EACH ROW EXECUTE FUNCTION ledger_refuse()"
)


def connect(place: str | Path) -> sa.Engine:
    """An engine for a ledger, whose tables are made if they are not there.

    Parameters
    ----------
    place
        Path of an SQLite file, or a URL (``postgresql+psycopg://user@host/name``).

    Raises
    ------
    UsageError
        If the URL cannot be understood or names another kind of database.
    MissingDependencyError
        If psycopg is not installed.
    FormatError
        If the file is not an SQLite database, or the ledger has other tables than this version of timelens.
    TimelensError
        If the database cannot be reached.
    """
    shown, url = _address(place)
    try:
        engine = sa.create_engine(url, **({"pool_pre_ping": True} if url.drivername != "sqlite" else {}))
    except NoSuchModuleError as error:
        raise UsageError(
            "A ledger is kept in SQLite or PostgreSQL", found=shown, expected="postgresql+psycopg://..."
        ) from error
    except ModuleNotFoundError as error:
        raise MissingDependencyError("psycopg", purpose="A PostgreSQL ledger", extra="postgres") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    try:
        _make_tables(engine, shown)
    except (DBAPIError, TimelensError) as error:
        engine.dispose()
        raise _refused(error, shown) if isinstance(error, DBAPIError) else error from error.__cause__
    return engine


def _address(place: str | Path) -> tuple[str, sa.URL]:
    """How the place is shown in messages (without a password), and its URL."""
    if "://" not in str(place):
        return str(place), sa.URL.create("sqlite", database=str(place))
    try:
        url = sa.make_url(str(place))
    except (ArgumentError, ValueError) as error:
        raise UsageError("The URL of the ledger cannot be understood", expected="postgresql+psycopg://...") from error
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise UsageError(
            "A ledger is kept in SQLite or PostgreSQL",
            found=url.get_backend_name(),
            expected="a path, or postgresql+psycopg://user@host/name",
        )
    return url.render_as_string(hide_password=True), url


def _refused(error: DBAPIError, shown: str) -> TimelensError:
    if "not a database" in str(error.orig):
        return FormatError("The file is not an SQLite database", file=shown, mend="name another file for the ledger")
    reason = str(error.orig).strip().splitlines()
    return TimelensError(
        "The ledger cannot be opened",
        file=shown,
        found=reason[0] if reason else type(error).__name__,
        mend="check that the folder exists and can be written, or that the server runs and lets you in",
    )


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are ours, not the driver's
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: sa.Connection) -> None:
    # A writer takes its lock at once: one that reads first and writes later could not wait for another writer.
    immediate = connection.get_execution_options().get("ledger_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _make_tables(engine: sa.Engine, shown: str) -> None:
    with reading(engine) as connection:
        if sa.inspect(connection).has_table("ledger"):
            found = connection.execute(sa.select(versions.c.version)).scalar_one_or_none()
            if found is not None:
                _require_schema(found, shown)
                return
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(_POSTGRES_FUNCTION.format(refusal=_REFUSAL))
        LEDGER.create_all(connection)
        for table in LEDGER.tables:
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(_POSTGRES_GUARD.format(table=table))
            else:
                for verb in ("UPDATE", "DELETE"):
                    connection.exec_driver_sql(_SQLITE_GUARD.format(table=table, verb=verb, refusal=_REFUSAL))
        insert_new(connection, versions, [{"version": SCHEMA}])


def _require_schema(found: int, shown: str) -> None:
    if found != SCHEMA:
        raise FormatError(
            "The ledger was written by another version of timelens",
            file=shown,
            field="ledger.version",
            found=found,
            expected=SCHEMA,
            mend="open it with that version, export it, and begin a new ledger",
        )


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection for questions; writers do not wait for it."""
    with engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A short transaction that is written as a whole or not at all; one writer at a time, readers go on."""
    try:
        with engine.execution_options(ledger_writes=True).begin() as connection:
            if connection.dialect.name == "postgresql":  # SQLite takes its lock in BEGIN IMMEDIATE
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_POSTGRES_LOCK})")
            yield connection
    except OperationalError as error:
        raise TimelensError(
            "The ledger cannot be written; nothing of this run was added to it",
            file=engine.url.render_as_string(hide_password=True),
            found=str(error.orig).strip(),
            mend="check that it is not locked by another program and that the disk has room, then run again",
        ) from error


def insert_new(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Add the rows whose primary key is not there yet."""
    if not rows:
        return
    insert: Any = insert_postgres if connection.dialect.name == "postgresql" else insert_sqlite
    connection.execute(insert(table).on_conflict_do_nothing(index_elements=list(table.primary_key)), rows)
