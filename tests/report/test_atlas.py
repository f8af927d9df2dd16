"""The atlas: it holds every record, loads nothing, and a browser draws it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
from typer.testing import CliRunner

from timelens.cli import app
from timelens.knowledge import agents, components, modalities, targets
from timelens.report.atlas import atlas_data, write_atlas


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_atlas(tmp_path_factory.mktemp("atlas") / "deep" / "atlas.html")


def test_every_record_is_in_the_data():
    data = atlas_data()
    for kind, rows in (
        ("agents", agents.all_agents()),
        ("components", components.all_components()),
        ("targets", targets.all_targets()),
        ("modalities", modalities.all_modalities()),
    ):
        assert {row["id"] for row in data[kind]} == {row.id for row in rows}
    for row in data["agents"]:
        assert set(row.get("evidence", [])) <= set(data["evidence"])


def test_components_stand_below_their_parents():
    rows = atlas_data()["components"]
    seen = {}
    for row in rows:
        if "parent" in row:
            assert seen[row["parent"]]["depth"] == row["depth"] - 1
            assert seen[row["parent"]]["section"] == row["section"]
        seen[row["id"]] = row


def test_direct_and_by_target_are_what_they_say():
    by = {row["id"]: row for row in atlas_data()["components"]}
    assert set(by["m2-macrophage"]["direct"]) <= set(by["tam"]["direct"])
    for row in by.values():
        assert not set(row["direct"]) & set(row["by_target"])
        for agent in row["by_target"]:
            assert not components.family(row["id"]) & set(agents.get(agent).components)


def test_the_page_loads_nothing(page):
    text = page.read_text(encoding="utf-8")
    markup = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"""(?:src|href)=|url\(|@import""", markup)
    assert "default-src 'none'" in text
    assert "fetch(" not in text
    assert "XMLHttpRequest" not in text


def test_data_cannot_leave_their_element(page):
    text = page.read_text(encoding="utf-8")
    inside = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, flags=re.DOTALL)[1]
    assert "<" not in inside
    assert json.loads(inside) == json.loads(json.dumps(atlas_data()))


def test_agents_can_be_read_without_a_program(page):
    text = page.read_text(encoding="utf-8")
    body = text[text.index("<tbody>") : text.index("</tbody>")]
    assert body.count("<tr ") == len(agents.all_agents())


def test_the_same_knowledge_gives_the_same_bytes(page, tmp_path):
    assert write_atlas(tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_the_command(tmp_path):
    done = CliRunner().invoke(app, ["atlas", "-o", str(tmp_path / "a.html"), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {"atlas": str(tmp_path / "a.html")}
    assert (tmp_path / "a.html").stat().st_size > 100_000


def drawn(file, folder, hash_: str = "") -> str:
    """The page as a browser has it after its program has run."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no Chromium here")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --virtual-time-budget=4000 --dump-dom"
    )
    done = subprocess.run(
        [browser, *flags.split(), f"--user-data-dir={folder}", f"file://{file}{hash_}"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout


def test_a_browser_draws_it(page, tmp_path):
    dom = drawn(page, tmp_path / "profile", "#agents:zr89-crefmirlimab")
    used = {each for agent in agents.all_agents() for each in agent.components}
    assert len(re.findall(r'class="node agents', dom)) == len(agents.all_agents())
    assert len(re.findall(r'class="node components', dom)) == len(used)
    assert len(re.findall(r'data-cell="', dom)) > 100
    assert "does not bind" not in dom  # The card says it in its own words.
    card = dom[dom.index('<aside id="card"') :]
    assert "<h3>[89Zr]Zr-crefmirlimab berdoxam</h3>" in card
    assert "78.41(12) h" in card
