"""One run at a time in a folder of results.

The lock is a file that names the process and host that hold it. A run that was killed leaves it behind: the next run on
that host sees that the process is gone and takes the lock over. What happened on another host cannot be seen from here,
so there a person has to say that no run is going on, by deleting the file.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from timelens.errors import UsageError
from timelens.run.files import alive

__all__ = ["LOCK", "locked"]

#: Name of the lock in a folder of results.
LOCK = ".timelens.lock"

_log = logging.getLogger("timelens.run")
#: Locks that this process holds: a lock with its number that is not among them is left from an earlier process.
_held: set[Path] = set()


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold a folder of results for the length of the block.

    Raises
    ------
    UsageError
        If another run holds it.
    """
    path = (out / LOCK).resolve()
    text = json.dumps(
        {"pid": os.getpid(), "host": platform.node(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
    )
    if not _made(path, text):
        _set_aside(path)
        if not _made(path, text):
            raise _refused(path, _read(path))
    _held.add(path)
    try:
        yield
    finally:
        _held.discard(path)
        path.unlink(missing_ok=True)


def _made(path: Path, text: str) -> bool:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _set_aside(path: Path) -> None:
    """Remove a lock whose process is gone; refuse any other."""
    holder = _read(path)
    if not path.exists():
        return  # the other run has just ended
    pid = holder.get("pid")
    here = isinstance(pid, int) and holder.get("host") == platform.node()
    if not here or (path in _held if pid == os.getpid() else alive(int(pid or 0))):
        raise _refused(path, holder)
    # Moved before it is deleted: another run that saw the same dead lock may have put its own in this place since.
    moved = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        path.rename(moved)
    except FileNotFoundError:
        return
    if _read(moved) != holder:
        moved.rename(path)
        raise _refused(path, _read(path))
    moved.unlink()
    _log.warning("%s: the run of process %s ended without notice; this run goes on where it stopped", path, pid)


def _refused(path: Path, holder: dict[str, Any]) -> UsageError:
    who = f"process {holder.get('pid')} on {holder.get('host')} since {holder.get('since')}" if holder else "unknown"
    return UsageError(
        "Another run is writing into this folder of results",
        file=path,
        field="lock",
        found=who,
        expected="one run at a time",
        mend="wait until it has ended; if no such run is going on, delete the file",
    )
