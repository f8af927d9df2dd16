"""Every code block of README and docs is run, in order, in a temporary folder per page.

Python blocks of one page share a namespace; in console blocks the lines that begin with ``$ timelens`` are run. A block
directly below ``<!-- not run: reason -->`` is left out; ``<!-- exit 1 -->`` states the exit code of a console block (0
without it).
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MADE = {"_build", "gallery", "generated"}
BLOCK = re.compile(r"^```(python|console)[^\n]*\n(.*?)^```\s*$", flags=re.MULTILINE | re.DOTALL)
MARK = re.compile(r"<!-- (?:not run: (?P<reason>.+?)|exit (?P<code>\d+)) -->\s*\Z")


@dataclass(frozen=True)
class Block:
    """A code block: its kind, text, line in the page, and what its mark says."""

    kind: str
    text: str
    line: int
    reason: str | None = None
    code: int = 0


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page in order."""
    for found in BLOCK.finditer(page):
        mark = MARK.search(page[: found.start()])
        reason = mark["reason"] if mark else None
        code = int(mark["code"]) if mark and mark["code"] else 0
        yield Block(found[1], found[2], page[: found.start()].count("\n") + 1, reason, code)


def commands(block: Block) -> list[list[str]]:
    """The timelens commands of a console block; a backslash continues a line."""
    text = block.text.replace("\\\n", " ")
    lines = [line[2:].strip() for line in text.splitlines() if line.startswith("$ ")]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("timelens")]


def pages() -> list[Path]:
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in found if not MADE & set(page.relative_to(ROOT).parts)]


# Runs inside the page's own interpreter; stands there as text because the page's names must not meet ours.
PROLOGUE = """
import subprocess as _subprocess, sys as _sys
def _run(words, code, where):
    done = _subprocess.run([_sys.executable, "-m", "timelens.cli", *words])
    assert done.returncode == code, f"{where} gave exit {done.returncode}, not {code}"
"""


def program(page: Path) -> str:
    """One Python program that does what a page shows, each block under its own line numbers."""
    lines = []
    for block in blocks(page.read_text(encoding="utf-8")):
        where = f"{page.name}:{block.line}"
        if block.reason is None and block.kind == "python":
            lines.append(f"exec(compile({chr(10) * block.line + block.text!r}, {where!r}, 'exec'))")
        elif block.reason is None:
            lines += [
                f"_run({words[1:]!r}, {block.code}, {f'{where}: {shlex.join(words)}'!r})" for words in commands(block)
            ]
    return "\n".join([PROLOGUE, *lines]) if lines else ""


def run(page: Path, folder: Path) -> None:
    """Run all blocks of a page; the first that fails fails the page."""
    text = program(page)
    if text:
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd=folder)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_snippets(page, tmp_path):
    run(page, tmp_path)


def test_a_wrong_python_block_fails(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\na = 1\n```\ntext\n```python\nassert a == 2, 'seen'\n```\n")
    with pytest.raises(AssertionError, match="seen"):
        run(page, tmp_path)


def test_blocks_share_a_namespace_and_a_folder(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\na = 1\nopen('kept', 'w').close()\n```\n```python\nassert a == 1\n```\n")
    run(page, tmp_path)
    assert (tmp_path / "kept").exists()


def test_marks_are_read():
    page = (
        "<!-- not run: needs a scanner -->\n```python\n1 / 0\n```\n\n<!-- exit 2 -->\n\n```console\n$ timelens x\n```\n"
    )
    first, second = blocks(page)
    assert (first.reason, first.line) == ("needs a scanner", 2)
    assert (second.reason, second.code) == (None, 2)


def test_commands_of_a_console_block():
    block = Block("console", "$ timelens run a \\\n    -o 'b c'  # words\nprinted\n$ ls\n", 1)
    assert commands(block) == [["timelens", "run", "a", "-o", "b c"]]
