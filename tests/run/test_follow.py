"""Lesions over sessions, over the frames of a series, and of several animals in one scan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from timelens.formats import nifti
from timelens.run.files import bids_label
from timelens.run.follow import follow_subject
from timelens.study import Geometry, Image, Region

GRID = Geometry.from_spacing((16, 20, 24), (4.0, 4.0, 4.0), frame="1.2.3")
PLACES = {"head": (2, 4, 4), "flank": (8, 10, 12), "tail": (13, 16, 20)}
Lesions = dict[str, str]
"""Local name, such as lesion-01, to the place in the body."""


def entries(
    folder: Path, session: str, name: str, lesions: Lesions, *, animal: str = "", frame: int = 0,
    time_s: float | None = None, method: str = "fixed SUV 4.0",
) -> list[dict[str, Any]]:  # fmt: skip
    """A set of lesions on disk, and its records as ``session.json`` holds them."""
    labels = np.zeros(GRID.shape, np.uint8)
    names = dict(enumerate(lesions, start=1))
    for number, local in names.items():
        z, y, x = PLACES[lesions[local]]
        labels[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] = number
    file = f"pet/sub-01_{session}_pet_desc-{bids_label(name)}_dseg.nii.gz"
    (folder / session / "pet").mkdir(parents=True, exist_ok=True)
    region = Region(name, "labels", names, Image(labels, unit="1", geometry=GRID))
    nifti.write_labels(region, folder / session / file)
    common = {"acquisition": f"sub-01_{session}_pet", "set": name, "animal": animal, "frame": frame, "time_s": time_s,
              "file": file, "role": "lesion", "identity": "", "method": method}  # fmt: skip
    return [{**common, "number": n, "name": local} for n, local in names.items()]


def record(session: str, *regions: list[dict[str, Any]]) -> dict[str, Any]:
    return {"subject": "sub-01", "session": session, "regions": [r for listed in regions for r in listed]}


def place(session: str, name: str, *, animal: str = "", time_s: float | None = None) -> tuple[Any, ...]:
    return session, f"sub-01_{session}_pet", animal, time_s, name


def test_no_lesions_no_rows(tmp_path: Path) -> None:
    found = follow_subject(tmp_path, [record("ses-01"), record("ses-02")], {})
    assert (found.rows, found.identity, found.problems) == ([], {}, [])


def test_a_later_lesion_takes_the_identity_of_the_one_it_lies_on(tmp_path: Path) -> None:
    first = record("ses-01", entries(tmp_path, "ses-01", "lesions", {"lesion-01": "head", "lesion-02": "flank"}))
    later = record("ses-02", entries(tmp_path, "ses-02", "lesions", {"lesion-01": "flank", "lesion-02": "tail"}))
    found = follow_subject(tmp_path, [first, later], {})
    assert found.identity[place("ses-02", "lesion-01")] == "lesion-02"
    assert found.identity[place("ses-02", "lesion-02")] == "lesion-03"
    assert not found.problems


def test_animals_of_one_scan_are_followed_each_by_itself(tmp_path: Path) -> None:
    """Both animals have a lesion-01; in the second session the first animal has lost its own and grown another."""
    first = record(
        "ses-01",
        entries(tmp_path, "ses-01", "lesions_m1", {"lesion-01": "head"}, animal="m1"),
        entries(tmp_path, "ses-01", "lesions_m2", {"lesion-01": "tail"}, animal="m2"),
    )
    later = record(
        "ses-02",
        entries(tmp_path, "ses-02", "lesions_m1", {"lesion-01": "flank"}, animal="m1"),
        entries(tmp_path, "ses-02", "lesions_m2", {"lesion-01": "tail"}, animal="m2"),
    )
    found = follow_subject(tmp_path, [first, later], {})
    assert found.identity == {
        place("ses-01", "lesion-01", animal="m1"): "lesion-01",
        place("ses-01", "lesion-01", animal="m2"): "lesion-01",
        place("ses-02", "lesion-01", animal="m1"): "lesion-02",
        place("ses-02", "lesion-01", animal="m2"): "lesion-01",
    }
    assert [(r["session"], r["animal"], r["identity"]) for r in found.rows] == [
        ("ses-01", "m1", "lesion-01"), ("ses-02", "m1", "lesion-02"),
        ("ses-01", "m2", "lesion-01"), ("ses-02", "m2", "lesion-01"),
    ]  # fmt: skip


def series(folder: Path, session: str, frames: list[Lesions], times: list[float | None], **more: Any) -> Any:
    return record(
        session,
        *[
            entries(folder, session, f"lesions_frame-{k}", lesions, frame=k, time_s=time, **more)
            for k, (lesions, time) in enumerate(zip(frames, times, strict=True), start=1)
        ],
    )


FRAMES: list[Lesions] = [
    {"lesion-01": "tail"},
    {"lesion-01": "head"},
    {"lesion-01": "flank", "lesion-02": "head"},
]


def test_a_lesion_keeps_one_identity_over_the_frames_of_a_series(tmp_path: Path) -> None:
    found = follow_subject(tmp_path, [series(tmp_path, "ses-01", FRAMES, [30.0, 90.0, 150.0])], {})
    assert found.identity == {
        place("ses-01", "lesion-01", time_s=150.0): "lesion-01",
        place("ses-01", "lesion-02", time_s=150.0): "lesion-02",
        place("ses-01", "lesion-01", time_s=90.0): "lesion-02",
        place("ses-01", "lesion-01", time_s=30.0): "lesion-03",
    }
    assert [r["frame"] for r in found.rows] == [1, 2, 3, 3]


def test_the_lesions_of_a_series_are_followed_into_the_next_session(tmp_path: Path) -> None:
    """Also the one that the last frame does not show."""
    first = series(tmp_path, "ses-01", FRAMES, [30.0, 90.0, 150.0])
    later = record("ses-02", entries(tmp_path, "ses-02", "lesions", {"lesion-01": "tail", "lesion-02": "head"}))
    found = follow_subject(tmp_path, [first, later], {})
    assert found.identity[place("ses-02", "lesion-01")] == "lesion-03"
    assert found.identity[place("ses-02", "lesion-02")] == "lesion-02"


def test_given_regions_of_a_series_are_one_by_name(tmp_path: Path) -> None:
    frames: list[Lesions] = [{"node": "head", "mass": "tail"}, {"mass": "head", "node": "tail"}]
    found = follow_subject(tmp_path, [series(tmp_path, "ses-01", frames, [30.0, 90.0], method="given")], {})
    assert {key[4]: identity for key, identity in found.identity.items()} == {"node": "node", "mass": "mass"}


def test_frames_without_times_keep_their_names_with_a_warning(tmp_path: Path) -> None:
    found = follow_subject(tmp_path, [series(tmp_path, "ses-01", FRAMES, [None, None, None])], {})
    assert found.identity[place("ses-01", "lesion-01")] == "lesion-01"
    assert [("have no times" in p.message, p.found, p.severity) for p in found.problems] == [
        (True, "lesion-01", "warning")
    ]


@pytest.mark.parametrize(("animal", "key"), [("", "lesion-01"), ("m1", "m1/lesion-01")])
def test_a_stated_identity_goes_first(tmp_path: Path, animal: str, key: str) -> None:
    name = f"lesions_{animal}" if animal else "lesions"
    only = record("ses-01", entries(tmp_path, "ses-01", name, {"lesion-01": "head"}, animal=animal))
    found = follow_subject(tmp_path, [only], {"ses-01": {key: "spleen"}})
    assert found.identity[place("ses-01", "lesion-01", animal=animal)] == "spleen"
    assert not found.problems


def test_a_stated_identity_of_no_lesion_is_told(tmp_path: Path) -> None:
    only = record("ses-01", entries(tmp_path, "ses-01", "lesions", {"lesion-01": "head"}))
    found = follow_subject(tmp_path, [only], {"ses-01": {"lesion-07": "spleen"}})
    assert [(p.found, p.expected) for p in found.problems] == [("lesion-07", "lesion-01")]


def test_a_mask_that_is_gone_is_told_and_leaves_the_others(tmp_path: Path) -> None:
    first = record("ses-01", entries(tmp_path, "ses-01", "lesions", {"lesion-01": "head"}))
    later = record("ses-02", entries(tmp_path, "ses-02", "lesions", {"lesion-01": "head"}))
    (tmp_path / "ses-01" / first["regions"][0]["file"]).unlink()
    found = follow_subject(tmp_path, [first, later], {})
    assert found.identity == {place("ses-02", "lesion-01"): "lesion-01"}
    assert ["could not be followed" in p.message for p in found.problems] == [True]
