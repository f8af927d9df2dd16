"""The page: what stands where, rendered from the templates beside this file and written in one piece."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from timelens.errors import Problem
from timelens.figures.palette import region_colour
from timelens.figures.text import unit_text
from timelens.knowledge import quantities
from timelens.report.audit import plain_text
from timelens.report.groups import group_views
from timelens.report.pictures import course_pictures, session_pictures
from timelens.report.read import Results, Row, SessionResults, read_results
from timelens.report.scan import ScanView, scan_label, scan_views
from timelens.report.summary import WHOLE, Followed, Scan, followed_lesions, scans
from timelens.report.tables import Cell, Notes, head, symbol_html, value_cell

__all__ = ["write"]

_NOTHING = "Nothing was measured in this session; the reasons stand under warnings and problems."
_DOI = re.compile(r"doi:(10\.\d{4,9}/[^\s;,]*[^\s;,.])")


@dataclass(frozen=True)
class SessionView:
    """One session for the page."""

    anchor: str
    subject: str
    session: str
    when: str
    traits: str
    acquisitions: list[Mapping[str, str]]
    scans: list[ScanView]
    missing_pictures: list[str]
    problems: list[Problem]
    methods: list[tuple[Markup, str, str]]
    recipe: list[tuple[str, str, str]]
    run: list[tuple[str, str]]
    parameters: list[tuple[str, str]]
    inputs: list[tuple[str, str, str]]
    empty: str


def write(out: Path) -> Path:
    """Write ``report.html`` into a folder of results; see :func:`timelens.report.build`."""
    results = read_results(out)
    views = [_session_view(results, session, number) for number, session in enumerate(results.sessions, 1)]
    environment = _environment()
    script = _asset("script.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    stream = environment.get_template("page.html.j2").stream(
        study=_header(results),
        summary=_summary(results, views),
        courses=course_pictures(results.sessions),
        groups=group_views(out),
        followed=_followed(followed_lesions(results.sessions)),
        sessions=views,
        problems=results.problems,
        left_out=sorted(results.left_out.items()),
        glossary=_glossary(results),
        style=Markup(_asset("style.css")),
        script=Markup(script),
        script_hash=digest,
    )
    target, draft = out / "report.html", out / f".report-{os.getpid()}.html"
    try:
        with draft.open("w", encoding="utf-8", newline="\n") as file:
            for piece in stream:
                file.write(piece)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return target


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("timelens.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["linked"] = _linked
    environment.filters["unit"] = unit_text
    return environment


def _asset(name: str) -> str:
    return resources.files("timelens.report").joinpath(f"templates/{name}").read_text(encoding="utf-8")


def _linked(text: str) -> Markup:
    """Text with its DOIs as links."""
    parts = _DOI.split(str(text))
    out = Markup()
    for k, part in enumerate(parts):
        out += Markup('<a href="https://doi.org/{0}">doi:{0}</a>').format(part) if k % 2 else escape(part)
    return out


def _header(results: Results) -> dict[str, str]:
    study = results.study
    return {
        "name": str(study.get("name") or "Study"),
        "version": str(study.get("version") or ""),
        "created": str(study.get("created") or "").replace("T", " ")[:16],
        "subjects": str(len({s.subject for s in results.sessions})),
        "options": plain_text(study.get("options") or {}) if study.get("options") else "",
    }


# -- study ----------------------------------------------------------------------------------------------------------


def _summary(results: Results, views: Sequence[SessionView]) -> dict[str, Any]:
    measured = [(session, view, scans(session)) for session, view in zip(results.sessions, views, strict=True)]
    present = [q for q in WHOLE if any(q in scan.whole for _, _, found in measured for scan in found)]
    notes = Notes()
    heads = {q: head([scan.whole[q] for _, _, f in measured for scan in f if q in scan.whole], notes) for q in present}
    lines = []
    for session, view, found in measured:
        # Scans that the whole patient has no number of would be empty lines, unless they are all there is.
        shown: list[Scan | None] = [*([s for s in found if s.whole] or found)] or [None]
        for scan in shown:
            cells = [_whole_cell(scan, q, notes, heads[q][1]) for q in present]
            errors = sum(p.severity == "error" for p in session.problems)
            warnings = len(session.problems) - errors
            lines.append(
                {
                    "view": view,
                    "scan": scan_label(scan) if scan else "",
                    "cells": cells,
                    "flags": [
                        f"{n} {word}{'s' if n > 1 else ''}"
                        for n, word in ((errors, "error"), (warnings, "warning"))
                        if n
                    ],
                }
            )
    return {"columns": [column for column, _ in heads.values()], "lines": lines, "notes": notes.listed()}


def _whole_cell(scan: Scan | None, quantity: str, notes: Notes, skip: set[str]) -> Cell:
    if scan is None:
        return Cell(reason="nothing was measured", marks=notes.mark("nothing was measured"))
    return value_cell(scan.whole[quantity], notes, skip) if quantity in scan.whole else Cell()


def _followed(found: Sequence[Followed]) -> list[dict[str, Any]]:
    """Lesions by identity, with their number and SUVpeak in each session: a table for each set of sessions."""
    tables = []
    for sessions in dict.fromkeys(f.sessions for f in found):
        own, notes = [f for f in found if f.sessions == sessions], Notes()
        column, shared = head([row for f in own for by in f.peaks.values() for _, row in by.values()], notes)
        groups = []
        for lesions in own:
            changes, lines = lesions.changes(), []
            for identity, by_session in lesions.peaks.items():
                cells = [_peak_cell(by_session.get(session), notes, shared) for session in sessions]
                change = f"{changes[identity]:+.0f} %".replace("-", "−") if identity in changes else ""
                lines.append((identity, cells, change))
            groups.append((lesions.subject, lesions.agent, lines))
        tables.append({"sessions": sessions, "column": column, "groups": groups, "notes": notes.listed()})
    return tables


def _peak_cell(found: tuple[int, Row] | None, notes: Notes, shared: set[str]) -> tuple[int, str, Cell | None]:
    if found is None:
        return 0, "", None
    number, row = found
    return number, region_colour(number) if number else "", value_cell(row, notes, shared)


def _glossary(results: Results) -> list[dict[str, Any]]:
    used = {row["quantity"] for session in results.sessions for row in session.rows}
    entries = []
    for name in quantities.names():
        if name in used:
            known = quantities.get(name)
            codes = [f"IBSI {known.ibsi}"] if known.ibsi else []
            codes += [f"DICOM {known.dicom}"] if known.dicom else []
            codes += [f"QIBA {known.qiba}"] if known.qiba else []
            entries.append({"symbol": symbol_html(known), "known": known, "codes": ", ".join(codes)})
    return entries


# -- session --------------------------------------------------------------------------------------------------------


def _session_view(results: Results, session: SessionResults, number: int) -> SessionView:
    pictures, missing = session_pictures(results.out, session)
    when = session.when
    participants = results.study.get("participants")
    traits = participants.get(session.subject) if isinstance(participants, Mapping) else None
    return SessionView(
        anchor=f"session-{number}",
        subject=session.subject,
        session=session.session,
        when=when.strftime("%Y-%m-%d") if when else "",
        traits=plain_text(traits) if isinstance(traits, Mapping) and traits else "",
        acquisitions=[_acquisition(a) for a in session.listed("acquisitions")],
        scans=scan_views(session, pictures),
        missing_pictures=missing,
        problems=sorted(session.problems, key=lambda p: p.severity),
        methods=_methods(session.rows),
        recipe=[
            (
                " / ".join(str(s[k]) for k in ("lens", "name") if s.get(k)),
                plain_text(s.get("parameters") or {}) if s.get("parameters") else "",
                str(s.get("why") or ""),
            )
            for s in session.listed("recipe")
        ],
        run=_run(session),
        parameters=_parameters(session),
        inputs=_inputs(session),
        empty="" if session.rows else _NOTHING,
    )


def _acquisition(record: Mapping[str, Any]) -> dict[str, str]:
    shape, spacing = record.get("shape"), record.get("spacing_mm")
    grid = " × ".join(str(n) for n in shape) if isinstance(shape, list) else ""
    edges = " × ".join(f"{e:.4g}" for e in spacing) + " mm" if isinstance(spacing, list) else ""
    return {
        "id": str(record.get("id") or ""),
        "modality": str(record.get("modality") or "").upper(),
        "agent": str(record.get("agent") or record.get("radionuclide") or ""),
        "description": str(record.get("description") or ""),
        "role": str(record.get("role") or ""),
        "grid": grid,
        "spacing": edges,
        "unit": _unit(record.get("unit")),
    }


def _unit(code: Any) -> str:
    return (unit_text(str(code)) or "dimensionless") if code else ""


def _methods(rows: Sequence[Row]) -> list[tuple[Markup, str, str]]:
    """Each rule with the quantities it gave and the version that applied it."""
    by_rule: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        names = by_rule.setdefault((row["method"] or "not stated", row["method_version"]), [])
        if row["quantity"] not in names:
            names.append(row["quantity"])
    return [
        (Markup(", ").join(symbol_html(quantities.get(n)) for n in names), rule, version)
        for (rule, version), names in by_rule.items()
    ]


def _run(session: SessionResults) -> list[tuple[str, str]]:
    run = session.record.get("run")
    run = run if isinstance(run, Mapping) else {}
    ids = dict.fromkeys([str(run.get("id") or ""), *(row["run"] for row in session.rows)])
    pairs = [("Run", ", ".join(i for i in ids if i))]
    pairs.append(("Software", plain_text(run.get("software") or {}) if run.get("software") else ""))
    if run.get("seed") is not None:
        pairs.append(("Seed", str(run["seed"])))
    if outputs := session.record.get("outputs"):
        pairs.append(("Files written", plain_text(outputs)))
    return [(k, v) for k, v in pairs if v]


def _parameters(session: SessionResults) -> list[tuple[str, str]]:
    """What the run was told, a line for each value, named by the path that leads to it."""
    run = session.record.get("run")
    return list(_leaves(run.get("parameters") or {})) if isinstance(run, Mapping) else []


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value, start=1):
            yield from _leaves(item, f"{path}.{number}" if path else str(number))
    elif value not in (None, "", [], {}):
        yield path, plain_text(value)


def _inputs(session: SessionResults) -> list[tuple[str, str, str]]:
    run = session.record.get("run")
    inputs = run.get("inputs") if isinstance(run, Mapping) else None
    return [
        (str(i.get("path", "")), str(i.get("sha256", "")), str(i.get("size", "")))
        for i in (inputs if isinstance(inputs, list) else [])
        if isinstance(i, Mapping)
    ]
