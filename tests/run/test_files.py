"""Folders that appear complete: what stands after an error, a kill between the two moves, and a dead draft."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from timelens.run.files import appearing_folder, clear_drafts, put_back


def fill(folder: Path, text: str) -> None:
    with appearing_folder(folder, folder.parent / ".work") as draft:
        (draft / "a").write_text(text)


def test_the_new_state_takes_the_place_of_the_old(tmp_path: Path) -> None:
    fill(tmp_path / "x", "old")
    fill(tmp_path / "x", "new")
    assert (tmp_path / "x" / "a").read_text() == "new"
    assert sorted(p.name for p in tmp_path.iterdir()) == [".work", "x"]
    assert not list((tmp_path / ".work").iterdir())


def test_an_error_leaves_the_old_state(tmp_path: Path) -> None:
    fill(tmp_path / "x", "old")
    with (
        pytest.raises(FileNotFoundError, match="absent"),
        appearing_folder(tmp_path / "x", tmp_path / ".work") as draft,
    ):
        (draft / "absent" / "a").write_text("new")
    assert (tmp_path / "x" / "a").read_text() == "old"


def test_a_move_that_fails_brings_the_old_state_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "x", "old")
    move = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if ".work" in self.parts:
            raise OSError("no room")
        return move(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="no room"):
        fill(tmp_path / "x", "new")
    assert (tmp_path / "x" / "a").read_text() == "old"


def test_killed_between_the_moves_the_old_state_is_put_back(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from timelens.run import files\n"
        "move = Path.rename\n"
        "def rename(self, target):\n"
        "    if '.work' in self.parts: os.kill(os.getpid(), 9)\n"
        "    return move(self, target)\n"
        "Path.rename = rename\n"
        "with files.appearing_folder(Path(sys.argv[1]), Path(sys.argv[2])) as draft: (draft / 'a').write_text('new')\n"
    )
    fill(tmp_path / "x", "old")
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "x", tmp_path / ".work"], check=False)
    assert done.returncode == -9
    assert not (tmp_path / "x").exists()
    put_back(tmp_path / "x")
    clear_drafts(tmp_path / ".work")
    assert (tmp_path / "x" / "a").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    put_back(tmp_path / "x")
    assert (tmp_path / "x" / "a").read_text() == "old"


def test_drafts_of_the_living_and_of_other_hosts_stay(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here = platform.node()
    names = {
        f"ses-01.{dead.pid}.aa@{here}": False,
        f"ses-02.{os.getpid()}.bb@{here}": False,
        "rubbish": True,
        f"ses-03.{os.getppid()}.cc@{here}": True,
        f"ses-04.{dead.pid}.dd@elsewhere": True,
        f"ses-05.{dead.pid}.ee@longago": False,
    }
    for name in names:
        (tmp_path / ".work" / name).mkdir(parents=True)
    os.utime(tmp_path / ".work" / f"ses-05.{dead.pid}.ee@longago", (0, 0))
    clear_drafts(tmp_path / ".work")
    assert {p.name for p in (tmp_path / ".work").iterdir()} == {name for name, stays in names.items() if stays}
    clear_drafts(tmp_path / "absent")
