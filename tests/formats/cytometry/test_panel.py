"""Panel files."""

from __future__ import annotations

import pytest

from timelens.errors import FormatError, MissingFieldError
from timelens.formats.cytometry.panel import read_panel


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metal,name\nPr141,CD8\n", "lacks columns"),
        ("channel,name\nPr141,CD8\nPr141,CD4\n", "comes twice"),
        ("channel,name\n,CD8\n", "empty or comes twice"),
        ("channel,name\nPr141,CD8\nSm147,CD8\n", "Two channels have one name"),
        ("channel,name,keep\nPr141,CD8,0\n", "keeps no channel"),
        ("channel,name,keep\nPr141,CD8,2\n", "keep is 0 or 1"),
        ("channel,name,keep\nPr141,CD8,yes\n", "Not a whole number"),
        ("channel,name,deepcell\nPr141,CD8,1.5\n", "Not a whole number"),
        ("channel,name,deepcell\nPr141,CD8,inf\n", "Not a whole number"),
        (f"channel,name\nPr141,{'x' * 140_000}\n", "no table"),
    ],
)
def test_panels_that_make_no_sense_are_refused(tmp_path, text, said):
    path = tmp_path / "panel.csv"
    path.write_text(text)
    with pytest.raises(FormatError, match=said):
        read_panel(path)


def test_the_published_panel(shared_data):
    panel = read_panel(shared_data / "imc_hyperion" / "steinbock" / "panel.csv")
    assert panel.channels == ("Ag107", "Pr141", "Sm147", "Eu153", "Yb172")
    assert panel.names == ("Ag107", "Cytokeratin 5", "Laminin", "YBX1", "H3K27Ac")
    assert panel.groups["deepcell"] == (None, 2, None, None, 1)


def test_kept_channels_and_their_places(tmp_path):
    path = tmp_path / "panel.csv"
    path.write_text("channel,name,keep\nPr141,CD8,1\nSm147,,\nEu153,CD4,0\n")
    panel = read_panel(path)
    assert (panel.names, panel.dropped) == (("CD8", "Sm147"), ("Eu153",))
    assert panel.positions(["Sm147", "Ir191", "Pr141"]) == [2, 0]
    with pytest.raises(MissingFieldError, match="lacks channels"):
        panel.positions(["Pr141"])
