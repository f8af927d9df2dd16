"""Identifiers and hashes: the same for the same things, on any machine."""

from __future__ import annotations

import hashlib
import math
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

import timelens
from timelens.errors import UsageError
from timelens.study.provenance import Run, SourceFile, hash_file, identifier, plain_json, software_versions


def test_a_file_is_hashed_as_sha256_does(tmp_path: Path):
    content = b"x" * (3 * (1 << 20) + 7)  # more than one piece
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "empty").write_bytes(b"")
    assert hash_file(tmp_path / "a") == hashlib.sha256(content).hexdigest()
    assert hash_file(tmp_path / "empty") == hashlib.sha256().hexdigest()


def test_a_source_is_named_relative_to_its_study(tmp_path: Path):
    (tmp_path / "sub-001").mkdir()
    file = tmp_path / "sub-001" / "a.dcm"
    file.write_bytes(b"DICM")
    found = SourceFile.of(file, relative_to=tmp_path)
    assert (found.path, found.size) == ("sub-001/a.dcm", 4)
    elsewhere = SourceFile.of(file, relative_to=tmp_path / "other")
    assert elsewhere.path == file.as_posix()
    with pytest.raises(FileNotFoundError, match=r"nothing"):
        SourceFile.of(tmp_path / "nothing")


def test_identifiers_are_fixed_for_ever():
    # Written down: ledgers of earlier versions hold such identifiers.
    assert identifier("sub-001", 1, 0.1, None, [True]) == "af0b053b3fb378de"
    assert identifier({"a": 1, "b": 2}) == identifier({"b": 2, "a": 1})
    assert identifier("a", "b") != identifier("ab")
    assert identifier((1, 2)) == identifier([1, 2])
    assert identifier(1) != identifier("1")


def test_plain_text_of_usual_values():
    value = {
        "array": np.arange(2),
        "number": np.float32(0.5),
        "path": Path("a/b"),
        "when": datetime(2024, 5, 1),
        "set": {"b", "a"},
        "nan": math.nan,
    }
    assert plain_json(value) == (
        '{"array":[0,1],"nan":NaN,"number":0.5,"path":"a/b","set":["a","b"],"when":"2024-05-01T00:00:00"}'
    )
    with pytest.raises(UsageError, match=r"made of plain values. Found: object"):
        plain_json({"x": object()})


def a_run(**changes: object) -> Run:
    files = (SourceFile("a", "0" * 64, 1), SourceFile("b", "1" * 64, 2))
    return Run(**{"inputs": files, "parameters": {"x": 1}, "seed": 1, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": (SourceFile("a", "0" * 64, 1),)},
        {"inputs": (SourceFile("a", "0" * 64, 1), SourceFile("b", "2" * 64, 2))},
        {"parameters": {"x": 2}},
        {"seed": 2},
        {"seed": None},
        {"software": {"timelens": "other"}},
    ],
)
def test_another_run_has_another_identifier(changes: dict[str, object]):
    assert a_run(**changes).id != a_run().id


def test_time_and_order_do_not_matter():
    assert a_run(started="2024-05-01", ended="2024-05-02").id == a_run().id
    assert a_run(inputs=a_run().inputs[::-1]).id == a_run().id


def test_versions_name_what_is_installed():
    found = software_versions()
    assert found["timelens"] == timelens.__version__
    assert found["numpy"] == np.__version__
    assert "no-such-package" not in software_versions(["no-such-package"])
    found["numpy"] = "changed"
    assert software_versions()["numpy"] == np.__version__
