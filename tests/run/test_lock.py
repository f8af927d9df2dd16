"""One run at a time: a living holder is waited for, a dead one is followed."""

from __future__ import annotations

import json
import logging
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from timelens.errors import UsageError
from timelens.run.lock import LOCK, locked


@pytest.fixture(scope="module")
def dead() -> int:
    """A number that a process had which has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def leave(out: Path, pid: int, host: str = "") -> None:
    (out / LOCK).write_text(json.dumps({"pid": pid, "host": host or platform.node(), "since": "2024-03-01"}))


def test_the_lock_is_there_for_the_length_of_the_block(tmp_path: Path) -> None:
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())
    with pytest.raises(KeyError, match="x"), locked(tmp_path):
        raise KeyError("x")
    assert not list(tmp_path.iterdir())


def test_a_second_run_is_refused(tmp_path: Path) -> None:
    with locked(tmp_path):
        with pytest.raises(UsageError, match="Another run is writing") as refused, locked(tmp_path):
            pass
        assert (tmp_path / LOCK).is_file()
    assert refused.value.problem.file == str(tmp_path / LOCK)
    assert "delete the file" in refused.value.problem.mend


@pytest.mark.parametrize("host", ["", "another-host"])
def test_a_living_process_and_another_host_are_believed(tmp_path: Path, host: str, dead: int) -> None:
    leave(tmp_path, dead if host else os.getppid(), host)
    with pytest.raises(UsageError, match="Another run is writing"), locked(tmp_path):
        pass
    assert (tmp_path / LOCK).is_file()


def test_a_lock_that_cannot_be_read_is_no_ones_to_take(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("garbage")
    with pytest.raises(UsageError, match="Another run is writing"), locked(tmp_path):
        pass


@pytest.mark.parametrize("own", [True, False])
def test_the_lock_of_a_process_that_is_gone_is_taken_over(
    tmp_path: Path, own: bool, dead: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Also one with this process's own number: in a container, every run may have the same."""
    leave(tmp_path, os.getpid() if own else dead)
    with caplog.at_level(logging.WARNING), locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["since"] != "2024-03-01"
    assert "ended without notice" in caplog.text
    assert not list(tmp_path.iterdir())
