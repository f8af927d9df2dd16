"""The documentation site builds without warnings, and its pages fetch nothing from elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# What a browser loads by itself; links that a reader follows are free.
LOADED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["'](?:https?:)?//|<link\b[^>]*\bhref=["']https?://"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site; examples of the gallery are listed, but not run (`make docs` runs them)."""
    pytest.importorskip("sphinx_gallery")
    folder = tmp_path_factory.mktemp("site")
    made = shutil.ignore_patterns("_build", "gallery", "generated")
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=made)
    for page in ("CHANGELOG.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / page, folder)
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-D", "plot_gallery=0", "docs", "html"],
        cwd=folder,
        capture_output=True,
        text=True,
        # A proxy that is not there: whoever asks the network fails.
        env=os.environ
        | dict.fromkeys(["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"], "http://localhost:9"),
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_pages_load_nothing_remote(site):
    pages = list(site.rglob("*.html"))
    assert (site / "index.html") in pages
    assert [str(page.relative_to(site)) for page in pages if LOADED.search(page.read_text(encoding="utf-8"))] == []


def test_the_search_for_remote_parts_finds_them():
    assert LOADED.search('<script async src="https://cdn.example/x.js">')
    assert LOADED.search("<img class='a' src='//cdn.example/x.png'>")
    assert not LOADED.search('<script src="_static/x.js"></script><a href="https://example.org">')


def test_every_page_is_reached(site):
    index = (site / "index.html").read_text(encoding="utf-8")
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"}
    assert pages
    assert {page for page in pages if f'href="{page}.html"' not in index} == set()
