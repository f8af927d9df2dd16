"""Which lens takes a session's acquisitions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import entry_points

from timelens.errors import DataError, UsageError
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Lens, Match

__all__ = ["all_lenses", "choose"]


@lru_cache(maxsize=1)
def all_lenses() -> dict[str, Lens]:
    """Every lens that is installed, by name, ours and third parties'."""
    return {point.name: point.load()() for point in sorted(entry_points(group="timelens.lenses"), key=lambda p: p.name)}


def choose(acquisitions: Sequence[Acquisition], wanted: str | None = None) -> tuple[Lens, Match] | None:
    """The lens that fits best, and how it would use the acquisitions; None where no lens fits.

    Raises
    ------
    UsageError
        If ``wanted`` is not the name of a lens.
    DataError
        If two lenses fit equally well.
    """
    lenses = all_lenses()
    if wanted is not None:
        if wanted not in lenses:
            raise UsageError(
                "There is no such lens",
                field="lens",
                found=wanted,
                expected=", ".join(sorted(lenses)) or "none installed",
            )
        lenses = {wanted: lenses[wanted]}
    matches = [(lens.accepts(acquisitions), name, lens) for name, lens in lenses.items()]
    best = max((match.score for match, _, _ in matches), default=0.0)
    if best <= 0:
        return None
    winners = [(lens, match, name) for match, name, lens in matches if match.score == best]
    if len(winners) > 1:
        raise DataError(
            "Several lenses fit these acquisitions equally well",
            field="lens",
            found=", ".join(name for _, _, name in winners),
            expected="one",
            mend="write 'lens: NAME' in the options of the session in study.yaml",
        )
    return winners[0][0], winners[0][1]
