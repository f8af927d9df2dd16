"""Types by the user's table of gates."""

from __future__ import annotations

import numpy as np
import pytest

from timelens.errors import UsageError
from timelens.lenses.cytometry.cells import name_cells
from timelens.lenses.cytometry.gating import gate_cells, gates_of
from timelens.lenses.cytometry.recipe import merged_steps

TABLE = """type,parent,positive,negative,any
t-cell,,CD45;CD3,panCK,
cd8-t-cell,t-cell,CD8a,,
treg,t-cell,FOXP3,,
tumour-cell,,panCK,CD45,
"""


def written(folder, text, name="gates.csv"):
    file = folder / name
    file.write_text(text)
    return str(file)


def test_cells_follow_the_gates(tmp_path, rng):
    file = written(tmp_path, TABLE)
    assert [g.name for g in gates_of(file)] == ["t-cell", "cd8-t-cell", "treg", "tumour-cell"]
    truth = rng.choice(3, 3000, p=[0.2, 0.2, 0.6])  # CD8 T, other T, tumour
    signs = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 1]])[truth]
    mean = rng.gamma(6, np.where(signs, 12, 1) / 6)
    options = merged_steps({"types": {"gates": file}})["types"]
    found, problems = name_cells(mean, ["CD45", "CD3", "CD8a", "panCK"], options)
    assert not problems
    assert found.names == ("unknown", "t-cell", "cd8-t-cell", "tumour-cell")
    assert (found.types == np.array([2, 1, 3])[truth]).mean() > 0.97
    assert found.not_told["treg"] == "not measured: FOXP3" and found.not_told["b-cell"] == "no gate in the table"
    assert not {"t-cell", "cd8-t-cell", "tumour-cell"} & set(found.not_told)
    assert np.isnan(found.probability[found.types == 0]).all()


def test_a_gate_that_is_closed_is_no_zero_and_closes_those_below(tmp_path):
    gates = gates_of(written(tmp_path, TABLE))
    chance = np.array([[0.9, np.nan, 0.9, 0.1], [0.1, np.nan, 0.1, 0.9]])
    names, label, _, lacking = gate_cells(chance, ("CD45", "CD3", "CD8", "panCK"), gates)
    assert names == ("unknown", "tumour-cell") and label.tolist() == [0, 1]
    assert lacking == {"treg": ("FOXP3",), "t-cell": ("CD3",), "cd8-t-cell": ("CD3",)}
    empty = gate_cells(np.empty((0, 4)), ("CD45", "CD3", "CD8", "panCK"), gates)
    assert empty[1].shape == (0,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("type,positive\nt-cell,CD3\n", "lacks columns"),
        ("type,parent,positive\nt cell,,CD3\n", "no type that is known"),
        ("type,parent,positive\ncd8-t-cell,t-cell,CD8\n", "parent"),
        ("type,parent,positive\nt-cell,,\n", "asks for markers"),
        ("type,parent,positive\nt-cell,,CD3\nt-cell,,CD3\n", "taken"),
    ],
)
def test_tables_that_are_none_are_refused(tmp_path, text, said):
    file = written(tmp_path, text)
    with pytest.raises(UsageError, match=said) as caught:
        merged_steps({"types": {"gates": file}})
    assert "gates.csv" in str(caught.value)


@pytest.mark.parametrize("stated", ["nowhere.csv", 3, ["t-cell"]])
def test_a_table_that_is_not_there_is_refused(stated):
    with pytest.raises(UsageError, match="table of gates"):
        merged_steps({"types": {"gates": stated}})


def test_bytes_are_refused(tmp_path):
    file = tmp_path / "gates.csv"
    file.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UsageError, match="not text"):
        gates_of(str(file))
