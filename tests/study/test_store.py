"""The ledger holds the same in SQLite and in a real PostgreSQL server, and overwrites nothing."""

from __future__ import annotations

import json
import math
import os
import pwd
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from timelens.errors import DataError, FormatError, Problem, TimelensError, UsageError
from timelens.study.geometry import Geometry
from timelens.study.image import Image
from timelens.study.measurement import Measurement
from timelens.study.provenance import Run, SourceFile
from timelens.study.region import Region
from timelens.study.store import Store

CT = SourceFile("sub-001/ct.dcm", "a" * 64, 100)
PET = SourceFile("sub-001/pet.dcm", "b" * 64, 5_000_000_000)


def program(name: str) -> str | None:
    """A program of the PostgreSQL server: on the path, or where Debian puts it (newest version first)."""
    found = [str(p) for p in Path("/usr/lib/postgresql").glob(f"*/bin/{name}")]
    return shutil.which(name) or max(found, default=None)


def as_user() -> list[str]:
    """The server refuses to run as root: a prefix that runs it as somebody else, or a skip."""
    if os.geteuid() != 0:
        return []
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        if shutil.which("setpriv"):
            return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    pytest.skip("PostgreSQL does not run as root, and there is no other user to run it as")


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """URL of a PostgreSQL server on the loopback address that lives for this session."""
    initdb, pg_ctl = program("initdb"), program("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    pytest.importorskip("psycopg", reason="psycopg is not installed (pip install 'timelens[postgres]')")
    prefix = as_user()
    with tempfile.TemporaryDirectory(prefix="timelens-pg-") as folder:
        if prefix:
            uid, gid = (int(part.split("=")[1]) for part in prefix[1:3])
            os.chown(folder, uid, gid)
        data, log = Path(folder, "data"), Path(folder, "log")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories= -c fsync=off"
        for command in (
            [initdb, "-D", str(data), "-A", "trust", "-U", "tester", "-E", "UTF8", "--no-locale", "-N"],
            [pg_ctl, "-D", str(data), "-l", str(log), "-w", "-o", options, "start"],
        ):
            done = subprocess.run([*prefix, *command], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            if done.returncode:
                said = done.stderr.decode(errors="replace") + (log.read_text() if log.is_file() else "")
                pytest.skip(f"no PostgreSQL server can be started here: {said[-300:]}")
        try:
            yield f"postgresql+psycopg://tester@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*prefix, pg_ctl, "-D", str(data), "-m", "immediate", "-w", "stop"], capture_output=True)


@pytest.fixture
def database(server: str) -> str:
    """URL of an empty database."""
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE IF EXISTS ledger WITH (FORCE)")
        connection.exec_driver_sql("CREATE DATABASE ledger")
    engine.dispose()
    return server.removesuffix("postgres") + "ledger"


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the ledger is kept: a file or a server."""
    return str(tmp_path / "ledger.sqlite") if request.param == "sqlite" else request.getfixturevalue("database")


@pytest.fixture
def store(place: str) -> Iterator[Store]:
    with Store(place) as opened:
        yield opened


def a_run(threshold: float = 4.0, **changes: object) -> Run:
    made = Run(inputs=(CT, PET), parameters={"threshold": threshold, "rules": ["fixed"]}, seed=7, started="2024-05-01")
    return replace(made, **changes)


def a_value(value: float = 8.5, region: str = "lesion-1", **changes: object) -> Measurement:
    return Measurement("suv_max", value, "g/mL", region=region, subject="sub-001", session="ses-01", n=12, **changes)


def count(place: str, table: str) -> int:
    engine = sa.create_engine(place if "://" in place else f"sqlite:///{place}")
    with engine.connect() as connection:
        found = connection.execute(sa.select(sa.func.count()).select_from(sa.table(table))).scalar_one()
    engine.dispose()
    return found


def test_an_empty_ledger_holds_nothing(store: Store):
    assert store.measurements() == store.current() == store.runs() == store.problems() == store.regions() == []


def test_rows_come_back_as_they_went_in(store: Store):
    rows = [
        a_value(0.1 + 0.2, uncertainty=1e-300, uncertainty_kind="standard_error", lower=-1.5, upper=2.5, level=0.95),
        a_value(math.nan, "lesion-2", reason="no voxels", flags="edge;small", time_s=3600.0),
        a_value(np.float32(0.1), '=cmd()\n"quoted", \' and ünïcode', method="fixed SUV 4.0", agent="[18F]FDG"),
        Measurement("suv_max", 3.0, "g/mL", region="lesion-3", n=None),
    ]
    run = a_run()
    assert store.add_run(run, rows) is True
    found = {m.region: m for m in store.measurements()}
    assert len(found) == 4
    for row in rows:
        # NaN equals nothing, so the written rows are compared.
        assert repr(found[row.region]) == repr(replace(row, run=run.id))
        assert found[row.region].id == replace(row, run=run.id).id
    assert type(found["lesion-1"].n) is int
    assert math.isnan(found["lesion-2"].value)


def test_nan_is_null_in_the_database(place: str):
    with Store(place) as store:
        store.add_run(a_run(), [a_value(math.nan, reason="no voxels")])
    engine = sa.create_engine(place if "://" in place else f"sqlite:///{place}")
    with engine.connect() as connection:
        row = connection.exec_driver_sql("SELECT value, uncertainty, supersedes, reason FROM measurements").one()
    engine.dispose()
    assert tuple(row) == (None, None, None, "no voxels")


def test_a_run_is_added_once(place: str):
    with Store(place) as store:
        problems = [Problem("No weight", file="a.dcm", field="PatientWeight")]
        assert store.add_run(a_run(), [a_value()], problems=problems) is True
        later = a_run(started="2025-01-01", ended="2025-01-02")
        assert store.add_run(later, [a_value(9.0)], problems=problems) is False
        assert [m.value for m in store.measurements()] == [8.5]
        assert store.runs()[0].started == "2024-05-01"
        assert store.problems(a_run().id) == problems
    assert [count(place, t) for t in ("runs", "files", "run_files", "measurements", "problems")] == [1, 2, 2, 1, 1]


def test_files_are_shared_between_runs(place: str):
    with Store(place) as store:
        store.add_run(a_run(4.0), outputs=[SourceFile("map.nii.gz", "c" * 64, 3)])
        store.add_run(a_run(2.5), outputs=[SourceFile("map.nii.gz", "d" * 64, 3)])
        assert [f.sha256[0] for f in store.outputs(a_run(2.5).id)] == ["d"]
    assert [count(place, t) for t in ("runs", "files", "run_files")] == [2, 4, 6]


def test_a_run_comes_back_with_its_identifier(store: Store):
    run = a_run(seed=2**100, parameters={"array": np.arange(3), "path": Path("a/b"), "nothing": None, "nan": math.nan})
    store.add_run(run)
    found = store.runs()[0]
    assert (found.id, found.seed, found.inputs) == (run.id, 2**100, (CT, PET))
    assert found.software == run.software
    assert found.parameters["array"] == [0, 1, 2]


def test_a_correction_is_a_new_row(store: Store):
    store.add_run(a_run(), [a_value(8.5), a_value(3.0, "lesion-2")])
    old = store.current(region="lesion-1")[0]
    new = store.correct(old.id, replace(old, value=8.4, flags="corrected"))
    assert (new.supersedes, new.run, new.value) == (old.id, old.run, 8.4)
    assert {m.value for m in store.measurements()} == {8.5, 8.4, 3.0}
    assert sorted(m.value for m in store.current()) == [3.0, 8.4]
    newest = store.correct(new.id, replace(new, value=8.3))
    assert sorted(m.value for m in store.current()) == [3.0, 8.3]
    assert len(store.measurements()) == 4
    traced = store.trace(newest.id)
    assert [row["value"] for row in traced["corrects"]] == [8.4, 8.5]
    assert traced["corrected_by"] is None
    assert store.trace(old.id)["corrected_by"] == new.id


def test_the_same_correction_twice_adds_nothing(store: Store):
    store.add_run(a_run(), [a_value()])
    old = store.current()[0]
    first = store.correct(old.id, replace(old, value=8.0))
    assert store.correct(old.id, replace(old, value=8.0)) == first
    assert len(store.measurements()) == 2


def test_a_row_is_corrected_only_once(store: Store):
    store.add_run(a_run(), [a_value()])
    old = store.current()[0]
    first = store.correct(old.id, replace(old, value=8.0))
    with pytest.raises(DataError, match=rf"corrected already.*correct the correction: {first.id}"):
        store.correct(old.id, replace(old, value=7.0))
    assert [m.value for m in store.current()] == [8.0]


def test_a_correction_needs_its_row_and_its_run(store: Store):
    store.add_run(a_run(), [a_value()])
    with pytest.raises(DataError, match=r"no such measurement.*Found: 0123"):
        store.correct("0123", a_value(1.0))
    with pytest.raises(DataError, match=r"names a run that is not in the ledger. Found: elsewhere"):
        store.correct(store.current()[0].id, a_value(1.0, run="elsewhere"))
    with pytest.raises(DataError, match=r"no such measurement"):
        store.add_run(a_run(1.0), [a_value(supersedes="0123")])
    assert len(store.runs()) == 1  # the refused run left nothing behind


def test_a_later_run_may_correct_an_earlier_one(store: Store):
    store.add_run(a_run(4.0), [a_value(8.5)])
    old = store.current()[0]
    store.add_run(a_run(2.5), [a_value(8.6, supersedes=old.id)])
    assert [m.value for m in store.current()] == [8.6]
    with pytest.raises(DataError, match=r"corrected already"):
        store.add_run(a_run(1.0), [a_value(8.7, supersedes=old.id)])


def test_rows_that_say_the_same_are_refused(store: Store):
    with pytest.raises(
        DataError, match=r"Two measurements of suv_max say exactly the same.*Found: lesion-1.*name of its"
    ):
        store.add_run(a_run(), [a_value(), a_value()])
    with pytest.raises(DataError, match=r"names another run"):
        store.add_run(a_run(), [a_value(run="another")])
    assert store.runs() == []


def test_rows_may_be_added_to_a_run_later(store: Store):
    run = a_run()
    store.add_run(run, [a_value()])
    more = [a_value(6.5, region="lesion-2"), a_value(4.5, region="lesion-3")]
    added = store.add_rows(run.id, more)
    assert [m.run for m in added] == [run.id] * 2
    assert store.add_rows(run.id, more) == added
    assert [m.value for m in store.current()] == [8.5, 6.5, 4.5]
    assert store.add_rows(run.id, []) == []
    with pytest.raises(DataError, match="no such run"):
        store.add_rows("absent", more)
    with pytest.raises(DataError, match="one by one"):
        store.add_rows(run.id, [replace(more[0], supersedes=added[0].id)])


def test_rows_are_chosen_by_columns(store: Store):
    rows = [a_value(), a_value(2.0, "lesion-2"), Measurement("mtv", 4.0, "mL", region="lesion-1", subject="sub-002")]
    store.add_run(a_run(), rows)
    assert [m.value for m in store.current(region="lesion-1")] == [8.5, 4.0]
    assert [m.value for m in store.current(region="lesion-1", quantity="mtv")] == [4.0]
    assert [m.value for m in store.current(quantity=["mtv", "suv_max"], subject="sub-001")] == [8.5, 2.0]
    assert store.current(region="lesion-9") == []
    with pytest.raises(UsageError, match=r"cannot be chosen by 'valu'.*Expected: id, subject"):
        store.current(valu="1")


def test_trace_leads_to_the_files(store: Store):
    grid = Geometry.from_spacing((2, 2, 2), (1, 1, 1), frame="1.2.3")
    labels = Image(np.ones((2, 2, 2), np.uint8), unit="1", geometry=grid)
    lesions = Region("lesions", "labels", {1: "lesion-1", 2: "liver"}, labels=labels, roles={2: "liver"})
    store.add_run(a_run(), [a_value()], [lesions])
    traced = store.trace(store.current()[0].id)
    json.dumps(traced)  # plain values throughout
    assert traced["measurement"]["value"] == 8.5
    assert traced["run"]["parameters"] == {"threshold": 4.0, "rules": ["fixed"]}
    assert traced["run"]["seed"] == 7
    assert traced["run"]["software"]["numpy"] == np.__version__
    assert traced["inputs"] == [
        {"path": "sub-001/ct.dcm", "sha256": "a" * 64, "size": 100},
        {"path": "sub-001/pet.dcm", "sha256": "b" * 64, "size": 5_000_000_000},
    ]
    region = traced["regions"][0]
    assert (region["name"], region["role"], region["frame"], region["method"]) == (
        "lesion-1",
        "lesion",
        "1.2.3",
        "given",
    )
    with pytest.raises(DataError, match=r"no such measurement"):
        store.trace("nothing")


def test_the_database_itself_refuses_changes(place: str):
    with Store(place) as store:
        store.add_run(a_run(), [a_value()])
    engine = sa.create_engine(place if "://" in place else f"sqlite:///{place}")
    for statement in ("UPDATE measurements SET value = 1", "DELETE FROM measurements", "UPDATE runs SET seed = '1'"):
        with (
            engine.connect() as connection,
            pytest.raises(sa.exc.DBAPIError, match=r"rows of the ledger are not changed"),
        ):
            connection.exec_driver_sql(statement)
    engine.dispose()


def test_damaged_text_does_not_stop_a_run(store: Store):
    bad = SourceFile("scan\udcff\0.dcm", "e" * 64, 1)
    problem = Problem("Cannot be read", file="scan\udcff\0.dcm", found="\0\0")
    store.add_run(a_run(inputs=(bad,)), problems=[problem])
    assert "scan?" in store.runs()[0].inputs[0].path
    assert "\0" not in store.problems()[0].found


def test_an_old_ledger_is_opened_again(place: str):
    with Store(place) as store:
        store.add_run(a_run(), [a_value()])
    with Store(place) as store:
        assert len(store.measurements()) == 1
        assert store.add_run(a_run()) is False


ADD = """
import sys
from timelens.study.measurement import Measurement
from timelens.study.provenance import Run
from timelens.study.store import Store
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    with Store(sys.argv[1]) as store:
        store.add_run(Run((), {"number": number}), [Measurement("suv_max", float(number), "g/mL")])
"""


def test_two_writers_at_once_lose_nothing(place: str):
    # Both make the tables and both add the runs 4 to 7.
    pair = [subprocess.Popen([sys.executable, "-c", ADD, place, *numbers]) for numbers in (("0", "8"), ("4", "12"))]
    assert [process.wait(timeout=120) for process in pair] == [0, 0]
    with Store(place) as store:
        assert sorted(m.value for m in store.measurements()) == list(range(12))


# -- SQLite alone ------------------------------------------------------------------------------------------------------


def test_sqlite_runs_in_wal_mode_with_strict_tables(tmp_path: Path):
    with Store(tmp_path / "ledger.sqlite"), sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        made = dict(connection.execute("SELECT name, strict FROM pragma_table_list WHERE schema = 'main'").fetchall())
    assert {"runs", "files", "run_files", "regions", "measurements", "problems"} <= set(made)
    assert all(strict for name, strict in made.items() if not name.startswith("sqlite_"))


def test_foreign_keys_are_on(tmp_path: Path):
    with Store(tmp_path / "ledger.sqlite") as store, store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() >= 10_000


def test_a_closed_ledger_is_one_file(tmp_path: Path):
    with Store(tmp_path / "ledger.sqlite") as store:
        store.add_run(a_run(), [a_value()])
    assert [p.name for p in tmp_path.iterdir()] == ["ledger.sqlite"]


def test_another_file_is_not_taken_for_a_ledger(tmp_path: Path):
    other = tmp_path / "scan.dcm"
    other.write_bytes(b"DICM" * 1000)
    with pytest.raises(FormatError, match=r"not an SQLite database. File: .*scan.dcm"):
        Store(other)
    assert other.read_bytes() == b"DICM" * 1000


def test_another_version_is_refused(tmp_path: Path):
    path = tmp_path / "ledger.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE ledger (version INTEGER PRIMARY KEY)")
        connection.execute("INSERT INTO ledger VALUES (99)")
    with pytest.raises(FormatError, match=r"another version of timelens.*Found: 99. Expected: 1"):
        Store(path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(TimelensError, match=r"cannot be opened. File: .*nowhere.*unable to open database file"):
        Store(tmp_path / "nowhere" / "ledger.sqlite")


def test_a_locked_ledger_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "ledger.sqlite"
    Store(path).close()
    monkeypatch.setattr("timelens.study.store_tables.BUSY_TIMEOUT_S", 0.05)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with Store(path) as store, pytest.raises(TimelensError, match=r"cannot be written; nothing.*database is locked"):
        store.add_run(a_run())
    holder.execute("ROLLBACK")
    with Store(path) as store:
        assert store.add_run(a_run()) is True
    holder.close()


def test_other_databases_are_refused():
    with pytest.raises(UsageError, match=r"SQLite or PostgreSQL. Found: mysql"):
        Store("mysql://user@host/name")
    with pytest.raises(UsageError, match=r"URL of the ledger cannot be understood"):
        Store("postgresql://user@host:port/name")


def test_an_absent_server_is_named_without_its_password():
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    word = "secret"
    with pytest.raises(TimelensError, match=r"cannot be opened") as caught:
        Store(f"postgresql://user:{word}@localhost:1/name")
    assert "secret" not in str(caught.value)
    assert "***" in str(caught.value)
