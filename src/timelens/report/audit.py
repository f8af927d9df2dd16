"""How the SUV came about, in plain words, from the record that the SUV rules leave."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from timelens.figures.text import unit_text
from timelens.report.numbers import number_text

__all__ = ["AuditView", "audit_views"]

_WORDS = {
    "BQML": "The file stores activity concentration in Bq/mL.",
    "CNTS": "The file stores counts.",
    "GML": "The file stores SUV already (g/mL).",
    "CM2ML": "The file stores uptake per body surface already (cm²/mL).",
    "philips_suv_factor": "The private Philips factor (7053,xx00) turns them into SUV.",
    "philips_activity_factor": "The private Philips factor (7053,xx09) turns them into Bq/mL.",
    "ADMIN": "The values are decay-corrected to the injection, so no further decay enters.",
    "START": "The values are decay-corrected to the start of the scan.",
    "series_time": "That start is the series time, which is not after the first acquisition.",
    "ge_private": "The series was processed later, so its time is not that of the scan; the private GE scan date-time "
    "was taken.",
    "siemens_private": "The series was processed later, so its time is not that of the scan; the private Siemens "
    "decay-correction date-time was taken.",
    "frame_reference_time": "The series was processed later, so its time is not that of the scan; the start was "
    "counted back from each image by its frame reference time.",
    "acquisition_time": "The start is the earliest acquisition time.",
    "user_reference": "The reference time was stated by the user.",
}
_READINGS = {
    "series_time": "the series time",
    "ge_private": "the private GE scan date-time",
    "siemens_private": "the private Siemens date-time",
    "frame_reference_time": "counting back by the frame reference time",
    "acquisition_time": "the earliest acquisition time",
    "ADMIN": "the injection (decay correction ADMIN)",
    "philips_activity_factor": "the private Philips activity factor",
}


@dataclass(frozen=True)
class AuditView:
    """One audit for the page: sentences, times, tags, other readings, remarks; ``raw`` where it has another form."""

    title: str
    branch: str
    sentences: tuple[str, ...]
    tags: tuple[tuple[str, str, str, str], ...]
    alternatives: tuple[tuple[str, str, str, str], ...]
    remarks: tuple[tuple[str, str], ...]
    raw: tuple[tuple[str, str], ...] = ()


def audit_views(audits: Any) -> list[AuditView]:
    """The audits of a session, each under its key."""
    if not isinstance(audits, Mapping):
        return []
    views = []
    for key, audit in audits.items():
        title = str(key).replace("suv", "SUV")
        title = _TITLES.get(title, title[:1].upper() + title[1:])
        if isinstance(audit, Mapping) and "branch" in audit:
            views.append(_suv(title, audit))
        elif (
            isinstance(audit, Mapping)
            and audit
            and all(isinstance(a, Mapping) and "branch" in a for a in audit.values())
        ):
            views += [_suv(f"{title}, {name}", a) for name, a in audit.items()]
        elif audit:
            pairs = audit.items() if isinstance(audit, Mapping) else [("", audit)]
            views.append(
                AuditView(
                    title,
                    "",
                    (),
                    (),
                    (),
                    (),
                    tuple((_words(str(k)), plain_text(v)) for k, v in pairs if v not in (None, "", [], {})),
                )
            )
    return views


def _suv(title: str, audit: Mapping[str, Any]) -> AuditView:
    branch = str(audit.get("branch") or "")
    sentences = [_WORDS[part] for part in branch.split("/") if part in _WORDS]
    kind, unit = str(audit.get("kind") or ""), unit_text(str(audit.get("unit") or "1"))
    if kind:
        sentences.insert(0, f"The values become {_KIND.get(kind, kind)}{f' in {unit}' if unit else ''}.")
    if times := _times(audit):
        sentences.append(times)
    tags = tuple(
        (str(t.get("keyword", "")), str(t.get("tag", "")), str(t.get("value", "")), str(t.get("origin", "header")))
        for t in _records(audit, "tags")
    )
    alternatives = []
    for other in _records(audit, "alternatives"):
        name, change = str(other.get("name", "")), other.get("change_percent")
        text = "unknown"
        if isinstance(change, int | float):
            text = f"{'+' if change > 0 else ''}{number_text(float(change))} %"
        alternatives.append((_READINGS.get(name, name), str(other.get("reference", "")), text, str(change)))
    remarks = [
        (label, str(text))
        for key, label in (("warnings", "Warning"), ("defaults", "Assumed"), ("notes", "Note"))
        for text in (audit.get(key) or ())
    ]
    return AuditView(title, branch, tuple(sentences), tags, tuple(alternatives), tuple(remarks))


_TITLES = {"dce": "Contrast-enhanced series", "dsc": "First pass"}
_KIND = {
    "bw": "SUV by body weight",
    "lbm_james": "SUV by lean body mass after James",
    "lbm_janma": "SUV by lean body mass after Janmahasatian",
    "bsa": "SUV by body surface area",
    "bqml_scan": "activity concentration at the scan",
    "bqml_injection": "activity concentration at injection",
    "pct_id_g": "%ID/g",
    "pct_id_ml": "%ID/mL",
}


def _times(audit: Mapping[str, Any]) -> str:
    zero, reference = audit.get("time_zero"), audit.get("reference_time")
    decay_s, factor, half_life = (audit.get(k) for k in ("decay_s", "decay_factor", "half_life_s"))
    if not (zero and reference) or not isinstance(decay_s, int | float):
        return f"Injection: {zero}." if zero else ""
    text = f"Injection {zero}; the values refer to {reference}, {number_text(decay_s / 60)} min later"
    if isinstance(factor, int | float):
        text += f", when {number_text(100 * factor)} % of the activity was left"
    if isinstance(half_life, int | float):
        text += f" (half-life {number_text(half_life / 60)} min)"
    return text + "."


def _records(audit: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    return [r for r in audit.get(key) or () if isinstance(r, Mapping)]


#: Settings of MR series.
_SETTINGS = {
    "tr_s": "repetition time (s)",
    "te_s": "echo time (s)",
    "flip_deg": "flip angle (degrees)",
    "field_t": "field (T)",
    "relaxivity": "relaxivity (L/mmol/s)",
    "t1": "T1 from",
    "baseline_frames": "frames before contrast",
}


def _words(key: str) -> str:
    """A key as words: ``delay_s`` is ``delay (s)``."""
    if key in _SETTINGS:
        return _SETTINGS[key]
    match = re.fullmatch(r"(.+)_(s|min|mm|percent)", key)
    return f"{match[1]} ({match[2]})".replace("_", " ") if match else key.replace("_", " ")


def plain_text(value: Any) -> str:
    """Nested plain values on one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {plain_text(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain_text(v) for v in value) or "–"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"
    return "–" if value is None or value == "" else str(value)
