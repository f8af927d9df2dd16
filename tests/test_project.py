"""The project as a whole: a light import, one version, licences that fit, files that name no machine."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import timelens

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# Our own code and the standard library are all that `import timelens` may bring.
LIGHT = sys.stdlib_module_names | {"timelens"}


def tracked() -> list[Path]:
    """Files under version control, or skip where there is no checkout."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def imported_by(statement: str) -> set[str]:
    """Top-level names of the modules that a statement loads in a new interpreter."""
    code = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_import_is_light():
    loaded = imported_by("import timelens")
    assert "timelens" in loaded
    # An editable install brings its own finder.
    assert {name for name in loaded - LIGHT if not name.startswith("__editable__")} == set()


def test_the_import_check_sees_heavy_packages():
    assert "numpy" in imported_by("import timelens, numpy")


def packages() -> list[str]:
    folders = sorted((ROOT / "src" / "timelens").rglob("__init__.py"))
    return [".".join(folder.parent.relative_to(ROOT / "src").parts) for folder in folders]


def test_every_package_is_light():
    loaded = imported_by("import " + ", ".join(packages()))
    heavy = {"pandas", "pydicom", "nibabel", "SimpleITK", "matplotlib", "numba", "skimage", "dask", "highdicom"}
    assert loaded & (heavy | {"sqlalchemy", "scipy", "zarr", "tifffile", "pyarrow"}) == set()


def test_one_version():
    assert timelens.__version__ == PROJECT["project"]["version"] == metadata.version("timelens")


def test_the_changelog_knows_the_version():
    text = (ROOT / "CHANGELOG.md").read_text()
    released = re.findall(r"^## \[(\d[^\]]*)\]", text, flags=re.MULTILINE)
    assert "## [Unreleased]" in text
    assert not released or released[0] == PROJECT["project"]["version"]


def test_layers_name_every_row_in_order():
    layers, lenses = PROJECT["tool"]["importlinter"]["contracts"]
    rows = [set(re.findall(r"\w+", row)) for row in layers["layers"]]
    rows_above_to_below = (
        "__main__ cli cli_kinetics cli_knowledge report web run assess plan lenses figures tumor formats study "
        "knowledge engines units errors"
    )
    assert [name for row in rows for name in sorted(row)] == rows_above_to_below.split()
    assert layers["exhaustive"] is True
    assert lenses["type"] == "independence"


def test_constraints_pin_every_direct_dependency():
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    pinned = {canonicalize_name(name) for name in pins}
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [*PROJECT["project"]["dependencies"], *(each for group in extras.values() for each in group)]
    assert {canonicalize_name(Requirement(each).name) for each in wanted} - pinned == {"timelens"}


def closure(*extras: str) -> dict[str, metadata.Distribution]:
    """Distributions that an install with these extras brings, by name."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [("timelens", frozenset(extras))]
    seen = set(waiting)
    while waiting:
        name, wanted = waiting.pop()
        found[name] = metadata.distribution(name)
        for text in found[name].requires or []:
            need = Requirement(text)
            key = (canonicalize_name(need.name), frozenset(need.extras))
            applies = need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in (wanted or {""}))
            if applies and key not in seen:
                seen.add(key)
                waiting.append(key)
    return found


def licence(distribution: metadata.Distribution) -> str:
    """What a distribution says about its licence in its metadata; free text only to its first line."""
    said = distribution.metadata
    classifiers = [each for each in said.get_all("Classifier") or [] if each.startswith("License ::")]
    stated = said.get("License-Expression") or (said.get("License") or "").strip().partition("\n")[0]
    return " / ".join([stated, *classifiers])


def is_gpl(text: str) -> bool:
    """Whether a licence text names the GPL or AGPL, the LGPL set aside."""
    rest = re.sub(r"LGPL\S*|Lesser General Public License[^/]*", "", text, flags=re.IGNORECASE)
    return bool(re.search(r"\bA?GPL|General Public License", rest, flags=re.IGNORECASE))


def is_lgpl(text: str) -> bool:
    """Whether a licence text names the LGPL."""
    return bool(re.search(r"LGPL|Lesser General Public", text, flags=re.IGNORECASE))


@pytest.mark.parametrize(
    ("text", "gpl", "lgpl"),
    [
        ("MIT", False, False),
        ("GPL-3.0-or-later", True, False),
        ("AGPL-3.0", True, False),
        ("License :: OSI Approved :: GNU General Public License v2 (GPLv2)", True, False),
        ("LGPL-3.0-only", False, True),
        (" / License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)", False, True),
        ("GNU Lesser General Public License v3 / GPL-3.0", True, True),
    ],
)
def test_licence_words(text, gpl, lgpl):
    assert (is_gpl(text), is_lgpl(text)) == (gpl, lgpl)


def test_no_gpl_at_run_time_and_lgpl_only_in_extras():
    core = {name: licence(each) for name, each in closure().items()}
    assert len(core) > len(PROJECT["project"]["dependencies"])
    assert {name: text for name, text in core.items() if is_gpl(text) or is_lgpl(text)} == {}
    extras = {name: licence(each) for name, each in closure("dicom", "postgres", "cluster").items()}
    assert {name: text for name, text in extras.items() if is_gpl(text)} == {}
    assert {name for name, text in extras.items() if is_lgpl(text)} <= {"psycopg", "psycopg-binary"}


def test_no_machine_and_no_registry_in_tracked_files():
    # Spelt in halves, so that this file does not find itself.
    forbidden = re.compile(
        "|".join(
            ["/wo" + "rk/", "/ro" + "ot/", r"/ho" + r"me/\w", "/op" + "t/", "pypi" + r"\.", "files.python" + "hosted"]
        )
        + r"|\bindex-url\b|127\.0\.0\.1:\d"
    )
    slips = []
    for file in tracked():
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        slips += [
            f"{file.relative_to(ROOT)}:{number}" for number, line in enumerate(lines, 1) if forbidden.search(line)
        ]
    assert [slip for slip in slips if not slip.startswith("tests/test_project.py")] == []


def test_a_wheel_carries_all_data_files(tmp_path):
    data = {
        str(file.relative_to(ROOT / "src"))
        for file in tracked()
        if file.is_relative_to(ROOT / "src" / "timelens") and file.suffix != ".py"
    }
    # A copy, because setuptools leaves its build folders beside the sources.
    for file in tracked():
        if file.is_relative_to(ROOT / "src") or file.name in ("pyproject.toml", "README.md", "LICENSE"):
            target = tmp_path / "copy" / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    code = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    pytest.importorskip("setuptools", minversion="77")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=tmp_path / "copy", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert "timelens/py.typed" in data
    assert data - names == set()
    assert any(name.endswith("licenses/LICENSE") for name in names)
