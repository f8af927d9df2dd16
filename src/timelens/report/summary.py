"""The whole patient at a glance: one line per session, and the points of the courses over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from timelens.figures.trend import TrendPoint
from timelens.report.read import Row, SessionResults, by_region

__all__ = ["WHOLE", "Followed", "Scan", "followed_lesions", "points", "scans"]

#: What stands in the summary, in this order.
WHOLE = ("lesion_count", "tmtv", "tlg", "suv_max", "suv_peak", "dmax")
_TOTAL = "all lesions"
_COURSES = (("tmtv", "TMTV"), ("suv_peak", "Largest SUVpeak"))


@dataclass(frozen=True)
class Scan:
    """One measured acquisition of a session: rows of the whole patient by quantity, and rows of regions."""

    session: SessionResults
    acquisition: str
    agent: str
    modality: str
    whole: dict[str, Row]
    others: list[Row]
    regions: list[Row]


def scans(session: SessionResults) -> list[Scan]:
    """The measured acquisitions of a session, in the order in which they were made, else in that of their rows."""
    found = []
    when = {str(a.get("id")): str(a.get("acquired") or "") for a in session.listed("acquisitions")}
    names = list(dict.fromkeys(row["acquisition"] for row in session.rows))
    for acquisition in sorted(names, key=lambda name: when.get(name, "")):
        rows = [row for row in session.rows if row["acquisition"] == acquisition]
        totals = {row["region"] for row in rows if row["quantity"] == "tmtv"} or {_TOTAL}
        regions = [row for row in rows if row["region"] not in totals]
        whole: dict[str, Row] = {}
        others = []
        for row in rows:
            if row["region"] in totals:
                if row["quantity"] in WHOLE and row["quantity"] not in whole:
                    whole[row["quantity"]] = row
                else:
                    others.append(row)
        for quantity in ("suv_max", "suv_peak"):
            best = _largest([r for r in regions if r["quantity"] == quantity and _is_lesion(session, r)])
            if quantity not in whole and best is not None:
                whole[quantity] = best
        agent, modality = _said(session, acquisition, rows)
        found.append(Scan(session, acquisition, agent, modality, whole, others, regions))
    return found


def _said(session: SessionResults, acquisition: str, rows: Sequence[Row]) -> tuple[str, str]:
    record = next((a for a in session.listed("acquisitions") if a.get("id") == acquisition), {})
    agent = next((row["agent"] for row in rows if row["agent"]), "") or str(record.get("agent") or "")
    modality = next((row["modality"] for row in rows if row["modality"]), "") or str(record.get("modality") or "")
    return agent, modality


def _is_lesion(session: SessionResults, row: Row) -> bool:
    record = by_region(session.listed("regions")).get(row["region"], {})
    return str(record.get("role") or "lesion") == "lesion"


def _largest(rows: Sequence[Row]) -> Row | None:
    finite = [r for r in rows if math.isfinite(r.value)]
    return max(finite, key=lambda r: r.value) if finite else None


def points(sessions: Sequence[SessionResults]) -> dict[str, list[TrendPoint]]:
    """TMTV and the largest SUVpeak of every session that has them, by agent, where a subject comes twice.

    The agent is empty where the study has one only.
    """
    measured = [(s, scan) for s in sessions for scan in scans(s) if "tmtv" in scan.whole]
    names = list(dict.fromkeys(scan.agent for _, scan in measured))
    found = {}
    for name in names:
        own = _points([(s, scan) for s, scan in measured if scan.agent == name])
        if len({(p.subject, p.session) for p in own}) > len({p.subject for p in own}):
            found[name if len(names) > 1 else ""] = own
    return found


def _points(measured: Sequence[tuple[SessionResults, Scan]]) -> list[TrendPoint]:
    found: dict[tuple[str, str, str], TrendPoint] = {}
    for quantity, symbol in _COURSES:
        for session, scan in measured:
            row = scan.whole.get(quantity)
            key = (session.subject, session.session, quantity)
            if row is None or key in found:
                continue
            stated = row["uncertainty_kind"] not in ("", "none")
            found[key] = TrendPoint(
                session.subject, session.session, session.when, quantity, symbol, row["unit"], row.value,
                row.uncertainty if stated else math.nan, session.order,
            )  # fmt: skip
    return list(found.values())


@dataclass(frozen=True)
class Followed:
    """Lesions that keep their identity over the sessions of one subject, as one agent shows them.

    Attributes
    ----------
    subject, agent
        Whose they are; the agent is empty where the study has one only.
    sessions
        Names in order.
    peaks
        Identity to session to (number in that session's pictures, row of its SUVpeak).
    """

    subject: str
    agent: str
    sessions: tuple[str, ...]
    peaks: Mapping[str, Mapping[str, tuple[int, Row]]]

    def changes(self) -> dict[str, float]:
        """Change of SUVpeak in percent from the first to the last session, of lesions that are in both."""
        found = {}
        for identity, by_session in self.peaks.items():
            first, last = (by_session.get(s) for s in (self.sessions[0], self.sessions[-1]))
            if first is not None and last is not None and first[1].value > 0:
                found[identity] = 100 * (last[1].value / first[1].value - 1)
        return found


def followed_lesions(sessions: Sequence[SessionResults]) -> list[Followed]:
    """The lesions of each subject and agent that were followed over two sessions or more."""
    found = []
    several = len({scan.agent for s in sessions for scan in scans(s)}) > 1
    for subject in dict.fromkeys(s.subject for s in sessions):
        own = sorted((s for s in sessions if s.subject == subject), key=lambda s: s.order)
        for agent in dict.fromkeys(scan.agent for s in own for scan in scans(s)):
            by_session = {}
            for session in own:
                peaks = [p for scan in scans(session) if scan.agent == agent and (p := _peaks(scan))]
                by_session.update({session.session: peaks[0]} if peaks else {})
            if len(by_session) < 2:
                continue
            identities = sorted({identity for peaks in by_session.values() for identity in peaks})
            found.append(
                Followed(
                    subject,
                    agent if several else "",
                    tuple(by_session),
                    {i: {s: peaks[i] for s, peaks in by_session.items() if i in peaks} for i in identities},
                )
            )
    return found


def _peaks(scan: Scan) -> dict[str, tuple[int, Row]]:
    """Identity to number and SUVpeak of the lesions of a scan."""
    records = by_region(
        [
            r
            for r in scan.session.listed("regions")
            if r.get("identity")
            and str(r.get("role") or "lesion") == "lesion"
            and r.get("acquisition", scan.acquisition) == scan.acquisition
        ]
    )
    return {
        str(records[r["region"]]["identity"]): (int(records[r["region"]].get("number") or 0), r)
        for r in scan.regions
        if r["quantity"] == "suv_peak" and r["region"] in records and math.isfinite(r.value)
    }
