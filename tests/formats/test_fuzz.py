"""Files with bytes changed, cut or doubled at random are read or refused by name; nothing else ever escapes."""

from __future__ import annotations

import shutil
import warnings

import numpy as np
import pandas as pd
import pytest

from timelens.errors import TimelensError
from timelens.formats import bids, blood, registry
from timelens.study import Acquisition, Axis, FrameTiming, Geometry, Image, Table
from timelens.study.axes import default_names

ROUNDS = 60
GRID = Geometry.from_spacing((2, 3, 4), (4, 3, 2), frame="F")
FRAMES = FrameTiming(np.array([0.0, 10]), np.array([10.0, 20]))
PET = Image(np.arange(48, dtype="i2").reshape(2, 2, 3, 4), unit="Bq/mL", geometry=GRID, frames=FRAMES)
AXES = (Axis("c", "channel", "1", ("CD8", "PD-L1")), *default_names(3))
SLIDE = Image(np.arange(48, dtype="u2").reshape(2, 2, 3, 4), unit="{counts}", axes=AXES, geometry=GRID)


def spoil(data: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes set, text numbers exchanged, the end cut, or a part doubled."""
    changed = bytearray(data)
    kind = rng.integers(5)
    at = int(rng.integers(len(changed)))
    if kind == 0:
        for place in rng.integers(len(changed), size=rng.integers(1, 6)):
            changed[place] = rng.integers(256)
    elif kind == 1:  # the header, where most of the sense is
        for place in rng.integers(min(len(changed), 600), size=rng.integers(1, 6)):
            changed[place] = rng.choice([0, 1, 127, 128, 255, ord("-"), ord("9"), ord('"'), ord("{"), ord("e")])
    elif kind == 2:
        del changed[at:]
    elif kind == 3:
        changed[at:at] = changed[max(0, at - 50) : at]
    else:
        digits = [i for i, byte in enumerate(changed) if chr(byte).isdigit()] or [at]
        for place in rng.choice(digits, size=3):
            changed[place] = rng.choice([ord("9"), ord("-"), ord("0"), ord("x")])
    return bytes(changed)


def attempt(path) -> TimelensError | None:
    """The refusal, or None if all of it was read."""
    try:
        found = registry.read(path)
        found.image.numpy() if isinstance(found.data, Image) else len(found.data)
    except TimelensError as error:
        return error
    return None


def assert_refusals_name_the_file(outcomes: list[TimelensError | None]) -> None:
    refused = [error.problem for error in outcomes if error is not None]
    assert refused
    assert all(problem.message and problem.file for problem in refused)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.v", "a.nrrd", "a.nhdr", "a.hv", "a.ome.tif", "a.ome.zarr"])
def test_spoilt_images(tmp_path, name, rng):
    scan = Acquisition("x", "pet", SLIDE if "ome" in name else PET)
    registry.write(scan, tmp_path / "whole" / name)
    files = sorted(p for p in (tmp_path / "whole").rglob("*") if p.is_file())
    outcomes = []
    for k in range(ROUNDS):
        folder = tmp_path / "spoilt"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", folder)
        victim = folder / files[k % len(files)].relative_to(tmp_path / "whole")
        victim.write_bytes(spoil(victim.read_bytes(), rng))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcomes.append(attempt(folder / name))
    assert_refusals_name_the_file(outcomes)


def test_spoilt_blood(tmp_path, rng):
    table = Table(pd.DataFrame({"time": [0.0, 1, 2.5], "plasma_radioactivity": [1.0, 2, 3]}),
                  {"time": "s", "plasma_radioactivity": "Bq/mL"})  # fmt: skip
    path = blood.write(table, tmp_path / "sub-01_recording-manual_blood.tsv")
    whole = path.read_bytes()
    outcomes = []
    for _ in range(ROUNDS):
        path.write_bytes(spoil(whole, rng))
        outcomes.append(attempt(path))
    assert_refusals_name_the_file(outcomes)


def test_a_spoilt_dataset_is_still_a_dataset(tmp_path, rng):
    bids.write(Acquisition("x", "pet", PET, subject="sub-01"), tmp_path / "whole")
    (tmp_path / "whole" / "participants.tsv").write_text("participant_id\tweight\nsub-01\t70\n")
    (tmp_path / "whole" / "participants.json").write_text('{"weight": {"Units": "kg"}}')
    files = sorted(p for p in (tmp_path / "whole").rglob("*") if p.is_file())
    for k in range(ROUNDS):
        folder = tmp_path / "spoilt"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", folder)
        victim = folder / files[k % len(files)].relative_to(tmp_path / "whole")
        victim.write_bytes(spoil(victim.read_bytes(), rng) or b" ")
        read = bids.read(folder)
        assert read.acquisitions or read.problems
