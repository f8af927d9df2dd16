"""Colours: one per region number, the same in every picture and table."""

from __future__ import annotations

__all__ = ["INK", "MUTED", "REFERENCE", "region_colour"]

#: Text and axes; secondary text; outlines of reference regions (liver, blood pool, organs).
INK = "#1f2933"
MUTED = "#52606d"
REFERENCE = "#6b7b8c"

# Told apart by people with colour vision deficiency, and visible on white, grey and black.
_COLOURS = (
    "#d1330f", "#0077bb", "#009e73", "#cc3399", "#ee7733",
    "#33a1d6", "#8b5fbf", "#a07c00", "#ee3377", "#117733",
)  # fmt: skip


def region_colour(number: int) -> str:
    """Colour of the region with that number, as ``#rrggbb``; ten colours, then from the first again."""
    return _COLOURS[(number - 1) % len(_COLOURS)]
