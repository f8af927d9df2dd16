"""The ledger meets a run again: the same rows, other names, other last digits, more lesions or fewer."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from timelens.run.ledger import SessionResults, enter, local_name, renamed
from timelens.study import Measurement
from timelens.study.provenance import Run
from timelens.study.store import Store

RUN = Run((), {"rule": "fixed"}, {"timelens": "1"}, 7)


def row(region: str, value: float, *, quantity: str = "suv_max", subject: str = "sub-01", time_s: float = math.nan):
    return Measurement(
        quantity, value, "g/mL", region=region, subject=subject, session="ses-01", acquisition="pet", method="fixed",
        run=RUN.id, n=3, time_s=time_s,
    )  # fmt: skip


def current(place: str) -> list[Measurement]:
    with Store(place) as store:
        return store.current()


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "ledger.sqlite")


ROWS = [row("lesion-01", 8.1), row("lesion-02", 6.2), row("lesion-01", 5.0, quantity="suv_mean")]


def test_the_same_rows_again_change_nothing(place: str) -> None:
    first = enter(place, [SessionResults(RUN, ROWS)])
    assert enter(place, [SessionResults(RUN, ROWS)]) == first == current(place)


def test_another_last_digit_becomes_a_correction(place: str) -> None:
    enter(place, [SessionResults(RUN, ROWS)])
    other = [replace(ROWS[0], value=math.nextafter(8.1, 9)), *ROWS[1:]]
    held = enter(place, [SessionResults(RUN, other)])
    assert [m.value for m in held] == [math.nextafter(8.1, 9), 6.2, 5.0]
    assert [m.supersedes for m in held] == [ROWS[0].id, "", ""]
    assert current(place) == held
    assert enter(place, [SessionResults(RUN, other)]) == held
    back = enter(place, [SessionResults(RUN, ROWS)])
    assert (back[0].value, back[0].supersedes) == (8.1, held[0].id)


def test_a_new_identity_and_a_new_value_at_once(place: str) -> None:
    enter(place, [SessionResults(RUN, ROWS)])
    other = [renamed(replace(m, value=m.value * (1 + 1e-15)), "node") if m.region == "lesion-01" else m for m in ROWS]
    held = enter(place, [SessionResults(RUN, other)])
    assert [(m.region, m.supersedes) for m in held] == [("node", ROWS[0].id), ("lesion-02", ""), ("node", ROWS[2].id)]
    assert len(current(place)) == 3


def test_swapped_identities_do_not_mix_the_values(place: str) -> None:
    enter(place, [SessionResults(RUN, ROWS[:2])])
    held = enter(place, [SessionResults(RUN, [renamed(ROWS[0], "lesion-02"), renamed(ROWS[1], "lesion-01")])])
    assert [(m.region, m.value, m.supersedes) for m in held] == [
        ("lesion-02", 8.1, ROWS[0].id), ("lesion-01", 6.2, ROWS[1].id),
    ]  # fmt: skip


def test_rows_that_are_gone_are_withdrawn_and_new_ones_added(place: str) -> None:
    enter(place, [SessionResults(RUN, ROWS[:2])])
    other = [ROWS[0], row("lesion-03", 4.4)]
    assert enter(place, [SessionResults(RUN, other)]) == other
    gone = next(m for m in current(place) if m.region == "lesion-02")
    assert math.isnan(gone.value)
    assert "not found any more" in gone.reason
    assert enter(place, [SessionResults(RUN, other)]) == other
    again = enter(place, [SessionResults(RUN, ROWS[:2])])
    assert [(m.value, m.supersedes) for m in again] == [(8.1, ""), (6.2, gone.id)]


def test_animals_and_frames_are_told_apart(place: str) -> None:
    rows = [row("lesion-01", v, subject=s, time_s=t) for v, s, t in ((1, "m1", 30), (2, "m2", 30), (3, "m1", 90))]
    enter(place, [SessionResults(RUN, rows)])
    other = [rows[0], rows[1], replace(rows[2], value=3.5)]
    assert [m.supersedes for m in enter(place, [SessionResults(RUN, other)])] == ["", "", rows[2].id]


def test_the_own_name_is_remembered() -> None:
    flagged = replace(ROWS[0], flags="peak sphere leaves the image")
    assert renamed(flagged, "lesion-01") is flagged
    assert renamed(flagged, "node").flags == "peak sphere leaves the image; lesion-01 of this session"
    assert [local_name(m) for m in (flagged, renamed(flagged, "node"))] == ["lesion-01", "lesion-01"]
