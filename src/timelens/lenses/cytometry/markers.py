"""Names of markers: the many spellings of panels, and which channels show nuclei."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

__all__ = ["MARKERS", "STATE_MARKERS", "canonical", "nuclear_channels"]

#: Marker as the types name it, to other spellings; letters and digits alone count, case does not.
MARKERS: Mapping[str, tuple[str, ...]] = {
    "CD45": ("PTPRC", "LCA"),
    "CD3": ("CD3e", "CD3 epsilon"),
    "CD4": (),
    "CD8": ("CD8a", "CD8 alpha"),
    "FOXP3": (),
    "CD45RO": (),
    "T-bet": ("TBX21",),
    "TOX": ("TOX1", "TOX2"),
    "PD-1": ("CD279", "PDCD1"),
    "CD56": ("NCAM", "NCAM1"),
    "CAR": ("CAR tag", "FMC63"),
    "CD20": ("MS4A1",),
    "CD138": ("SDC1", "syndecan-1"),
    "CD68": (),
    "CD163": (),
    "CD206": ("MRC1",),
    "CD11c": ("ITGAX",),
    "CD11b": ("ITGAM",),
    "HLA-DR": ("HLADR",),
    "CD66b": ("CEACAM8",),
    "arginase-1": ("ARG1", "arginase 1"),
    "CD33": (),
    "CD31": ("PECAM1", "PECAM-1"),
    "SMA": ("alpha-SMA", "a-SMA", "α-SMA", "ACTA2", "smooth muscle actin"),
    "FAP": (),
    "CD105": ("ENG", "endoglin"),
    "panCK": ("pan-cytokeratin", "pan cytokeratin", "pan-keratin", "keratin", "AE1/AE3"),
    "Ki-67": ("MKI67",),
    "granzyme B": ("GZMB", "GrB"),
    "PD-L1": ("CD274",),
}
#: Markers of functional states that no type needs.
STATE_MARKERS: Mapping[str, tuple[str, ...]] = {
    "TIM-3": ("HAVCR2", "CD366"),
    "LAG-3": ("CD223",),
}
#: Channels that show nuclei: intercalators of iridium, and stains of DNA or histones.
_NUCLEAR = re.compile(r"^(dna\d?|dapi|hoechst\d*|histoneh?3?|h3|ir19[13]|draq5|191ir|193ir)$")


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9α]", "", text.lower())


_KNOWN = {
    _plain(spelling): name
    for name, others in (*MARKERS.items(), *STATE_MARKERS.items())
    for spelling in (name, *others)
}


def canonical(label: str) -> str | None:
    """The marker that the label of a channel means, or None.

    A metal before or behind the name does not disturb (``141Pr_CD8a``, ``CD8a(Pr141)``).

    >>> canonical("141Pr_CD8a"), canonical("aSMA"), canonical("E-cadherin")
    ('CD8', 'SMA', None)
    """
    text = re.sub(r"\(?\b(\d{2,3}[A-Z][a-z]?|[A-Z][a-z]?\d{2,3})(Di)?\)?(?=[_\W]|$)", "", label).strip(" _-")
    return _KNOWN.get(_plain(text)) or _KNOWN.get(_plain(label))


def nuclear_channels(channels: Sequence[str], labels: Sequence[str], stated: Sequence[str] = ()) -> list[int]:
    """Places of the channels that show nuclei: those that a panel states, else those whose name says so."""
    if stated:
        return [k for k, channel in enumerate(channels) if channel in stated]
    parts = [[_plain(p) for p in (channel, label, *re.split(r"[_\s(]", label))] for channel, label in
             zip(channels, labels, strict=True)]  # fmt: skip
    return [k for k, names in enumerate(parts) if any(_NUCLEAR.match(name) for name in names)]
