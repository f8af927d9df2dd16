"""How the knowledge base looks on a terminal: tables people like to read, and JSON for programs."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from timelens.knowledge import agents, dicom_codes, targets
from timelens.knowledge import load as knowledge
from timelens.knowledge.paths import Path
from timelens.knowledge.quantities import Quantity
from timelens.knowledge.records import (
    Agent,
    Amount,
    Component,
    Evidence,
    Intervention,
    Modality,
    Radionuclide,
    Target,
    as_dict,
)

__all__ = [
    "agent_table",
    "agent_view",
    "component_table",
    "component_view",
    "intervention_table",
    "modality_table",
    "nuclide_table",
    "nuclide_view",
    "path_table",
    "print_json",
    "quantity_view",
    "resolution",
    "target_table",
    "target_view",
]

_out = Console(highlight=False)
_STAGE = {"clinical": "green", "preclinical": "yellow", "in vitro": "cyan", "in silico": "magenta"}


def print_json(value: Any) -> None:
    """Plain data as JSON on stdout."""
    sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _names(ids: Iterable[str], kind: str) -> str:
    table = getattr(knowledge.store(), kind).rows
    return ", ".join(table[each].name for each in ids)


def _symbols(ids: Iterable[str]) -> str:
    found = [targets.get(each) for each in ids]
    return ", ".join("/".join(each.symbols) or each.name for each in found)


def _ways(ids: Iterable[str]) -> str:
    rows = knowledge.store().modalities.rows
    return ", ".join(rows[each].synonyms[0] if rows[each].synonyms else rows[each].name for each in ids)


def _stage(stage: str) -> Text:
    return Text(stage, style=_STAGE.get(stage, "dim"))


class _Columns(Table):
    """A table without lines. What stands after ``|`` in its list of columns is left out on a narrow terminal."""

    def __init__(self, title: str, columns: str) -> None:
        super().__init__(
            title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False
        )
        always, _, wide = columns.partition("|")
        shown = always.split(",") + (wide.split(",") if wide and _out.width >= 110 else [])
        for column in (name.strip() for name in shown):
            # An id is there to be copied: it is never torn.
            self.add_column(column, overflow="fold", no_wrap=column == "id", style="dim" if column == "id" else "")

    def row(self, *cells: RenderableType) -> None:
        """One line; cells of columns that are not shown are dropped."""
        self.add_row(*cells[: len(self.columns)])


def _said(count: int, one: str) -> str:
    return f"{count} {one}" if count == 1 else f"{count} {one}s"


def agent_table(found: Sequence[Agent], *, title: str | None = None) -> None:
    """Agents, one a line."""
    table = _Columns(title or _said(len(found), "agent"), "agent, id, target, modality, stage | component")
    for agent in found:
        table.row(
            agent.name,
            agent.id,
            _symbols(agent.targets),
            _ways(agent.modalities),
            _stage(agent.stage),
            _names(agent.components, "components"),
        )
    _out.print(table)


def _line(label: str, value: object) -> None:
    if value not in ("", None, (), []):
        row = Table.grid(padding=(0, 2))
        row.add_column(width=17, style="dim")
        row.add_column(overflow="fold")
        row.add_row(label, value if isinstance(value, Text) else Text(str(value)))
        _out.print(Padding(row, (0, 0, 0, 2)))


def _head(name: str, identifier: str, more: str = "") -> None:
    text = Text(name, style="bold")
    text.append(f"  {identifier}", style="dim")
    if more:
        text.append(f"  {more}", style="italic")
    _out.print(text)


def _amount(amount: Amount) -> str:
    figures = f"{amount.typical:g}" if amount.typical is not None else ""
    if amount.low is not None or amount.high is not None:
        ends = "…".join("?" if end is None else f"{end:g}" for end in (amount.low, amount.high))
        figures = f"{figures} ({ends})" if figures else ends
    return f"{figures} {amount.unit}" + (f", {amount.where}" if amount.where else "") + f" [{amount.source}]"


def _evidence(rows: Sequence[Evidence]) -> None:
    if not rows:
        return
    _line("evidence", " ")
    for row in rows:
        cited = ", ".join(map(str, row.citation))
        place = "; ".join(
            filter(
                None, (f"citation {cited}" if cited else "", f"§{row.section}" if row.section else "", row.identifier)
            )
        )
        text = Text(f"• {row.shown} ")
        text.append(f"({'; '.join(filter(None, (row.level, place, row.basis)))})", style="dim")
        _out.print(Padding(text, (0, 0, 0, 4)))


def _common(record: Agent | Component | Target | Modality | Intervention) -> None:
    for doubt in record.doubts:
        _line("the article says", doubt.article_says)
        _line("correct is", doubt.correct + (f" [{doubt.source}]" if doubt.source else ""))
    _line("note", record.note)
    _line("identifiers", ", ".join(f"{key} {value}" for key, value in record.identifiers.items()))
    _evidence([knowledge.store().evidence[each] for each in record.evidence])


def _range(pair: tuple[float, float] | None, unit: str) -> str:
    return "" if pair is None else f"{pair[0]:g}–{pair[1]:g} {unit}" if pair[0] != pair[1] else f"{pair[0]:g} {unit}"


def agent_view(agent: Agent) -> None:
    """Everything about one agent."""
    _head(agent.name, agent.id, f"{agent.kind}, {agent.vector_class}")
    _line("also", ", ".join(agent.synonyms))
    _line("signal", agent.signal)
    _line("target", _names(agent.targets, "targets"))
    _line("component", _names(agent.components, "components"))
    _line("modality", _names(agent.modalities, "modalities"))
    _line("label", ", ".join(filter(None, (*agent.nuclides, agent.label_text, *agent.labels))))
    for label in agent.nuclides:
        known = knowledge.store().nuclides.rows.get(label)
        _line("half-life", known and f"{known.half_life_as_published} ({known.id}, {known.half_life_source})")
    _line("stage", _stage(agent.stage))
    _line("setting", agent.setting)
    _line("mass", " ".join(filter(None, (agent.mass_class or "", f"{agent.mass_kda:g} kDa" if agent.mass_kda else ""))))
    _line("binds", ", ".join(agent.binds))
    if agent.does_not_bind:
        _line("does not bind", Text(", ".join(agent.does_not_bind), style="red"))
    _line("imaged in", ", ".join(agent.imaged_in))
    for dose in agent.doses:
        given = (_range(dose.activity_mbq, "MBq"), _range(dose.mass_mg, "mg"))
        when = f"imaged at {_range(dose.window_h, 'h')}" if dose.window_h else ""
        _line(f"dose, {dose.species}", "; ".join(filter(None, (*given, when, dose.note))) + f" [{dose.source}]")
    _line("plasma", agent.plasma_kinetics)
    _line("excretion", ", ".join(agent.excretion))
    _line("models", ", ".join(agent.kinetic_models))
    if (way := agent.kinetics) is not None:
        maps = f"; maps by {', '.join(way.maps)}" if way.maps else ""
        _line("dynamic scan", f"{way.regions}{maps}{f'; {way.note}' if way.note else ''} [{way.source}]")
    _line("normal uptake", ", ".join(agent.normal_uptake))
    code = dicom_codes.agent_code(agent.id)
    _line("DICOM code", code and f"{code.value} {code.scheme} “{code.meaning}”")
    for caution in agent.cautions:
        _line("caution", Text(caution, style="yellow"))
    _common(agent)


def agent_json(agent: Agent) -> dict[str, Any]:
    """An agent with its evidence and its DICOM code, as plain data."""
    code = dicom_codes.agent_code(agent.id)
    return as_dict(agent) | {
        "evidence_rows": [as_dict(row) for row in agents.evidence(agent)],
        "dicom_code": code and {"value": code.value, "scheme": code.scheme, "meaning": code.meaning},
    }


def resolution(found: agents.Resolution, *, as_json: bool) -> None:
    """What a name was found to mean."""
    if as_json:
        if found.record is not None:
            print_json(agent_json(found.record))
        else:
            rows = [agent_json(agent) for agent in found.candidates]
            print_json({"candidates": rows, "reason": found.reason, "nuclide": found.nuclide})
    elif found.record is not None:
        agent_view(found.record)
    elif found.candidates:
        agent_table(found.candidates, title=f"{found.reason} Candidates:")
    else:
        _out.print(f"{found.text!r}: {found.reason}", markup=False)


def path_table(found: Sequence[Path], *, limit: int) -> None:
    """Ways of seeing a component, best first, each with its reasons."""
    if not found:
        _out.print("No agent on record sees this.")
        return
    _out.print(Text(f"How to see: {found[0].component.name}", style="bold"))
    for place, path in enumerate(found[:limit], 1):
        text = Text(f"{place:2}. ")
        text.append(path.agent.name, style="bold")
        text.append(f"  {_ways(path.modalities)}  ")
        text.append_text(_stage(path.agent.stage))
        text.append(f"  {path.agent.id}", style="dim")
        _out.print(text)
        for reason in path.reasons:
            if not reason.startswith("Stage:"):
                _out.print(
                    Padding(Text(reason, style="" if reason.startswith(("Used", "Sees")) else "dim"), (0, 0, 0, 4))
                )
    if len(found) > limit:
        _out.print(Text(f"… and {len(found) - limit} more (--limit)", style="dim"))


def _tree(rows: Sequence[Component]) -> list[tuple[int, Component]]:
    """Components with their depth, each under its parent."""
    ids = {each.id for each in rows}
    below: dict[str | None, list[Component]] = {}
    for each in rows:
        below.setdefault(each.parent if each.parent in ids else None, []).append(each)
    found: list[tuple[int, Component]] = []

    def walk(parent: str | None, depth: int) -> None:
        for each in sorted(below.get(parent, []), key=lambda row: (row.kind, row.name.lower())):
            found.append((depth, each))
            walk(each.id, depth + 1)

    walk(None, 0)
    return found


def component_table(rows: Sequence[Component]) -> None:
    """Components as a tree, with how many agents see each."""
    table = _Columns(_said(len(rows), "component"), "component, id, kind, agents | markers")
    everything = agents.all_agents()
    for depth, each in _tree(rows):
        count = sum(each.id in agent.components for agent in everything)
        table.row(
            Padding(each.name, (0, 0, 0, 2 * depth)),
            each.id,
            each.kind,
            str(count) if count else Text("–", style="dim"),
            ", ".join(each.markers),
        )
    _out.print(table)


def component_view(component: Component) -> None:
    """Everything about one component, and the agents that see it."""
    _head(component.name, component.id, component.kind)
    _line("also", ", ".join(component.synonyms))
    _line("part of", component.parent and _names([component.parent], "components"))
    _line("role", component.role)
    _line("markers", ", ".join(component.markers))
    _line("targets", _names(component.targets, "targets"))
    _common(component)
    if found := agents.search(component=component.id):
        agent_table(found, title="Agents")


def target_table(rows: Sequence[Target]) -> None:
    """Targets, one a line."""
    table = _Columns(_said(len(rows), "target"), "target, id, symbols, agents | kind, sits")
    everything = agents.all_agents()
    for each in rows:
        count = sum(each.id in agent.targets for agent in everything)
        table.row(
            each.name,
            each.id,
            "/".join(each.symbols),
            str(count) if count else Text("–", style="dim"),
            each.kind,
            ", ".join(each.location),
        )
    _out.print(table)


def target_view(target: Target) -> None:
    """Everything about one target, and the agents that see it."""
    _head(target.name, target.id, target.kind)
    _line("also", ", ".join(target.synonyms))
    _line("HGNC", ", ".join(target.symbols) + (f" ({', '.join(target.hgnc)})" if target.hgnc else ""))
    _line("sits", ", ".join(target.location))
    _line("on", _names(target.components, "components"))
    for amount in target.copies_per_cell:
        _line("copies per cell", _amount(amount))
    for amount in target.concentration:
        _line("concentration", _amount(amount))
    _line("caution", target.caution)
    _common(target)
    if found := agents.search(target=target.id):
        agent_table(found, title="Agents")


def nuclide_table(rows: Sequence[Radionuclide]) -> None:
    """Radionuclides, one a line."""
    table = _Columns(_said(len(rows), "radionuclide"), "nuclide, half-life, decay, mean / max keV, photons keV (%)")
    for each in rows:
        decay = ", ".join(f"{branch.mode} {100 * branch.fraction:.3g} %" for branch in each.branches)
        energies = "; ".join(
            f"{spectrum.kind} {_figure(spectrum.mean_kev)} / {_figure(spectrum.max_kev)}" for spectrum in each.spectra
        )
        lines = sorted(each.photons, key=lambda photon: -photon.per_decay)[:3]
        photons = ", ".join(f"{photon.energy_kev:.4g} ({100 * photon.per_decay:.3g})" for photon in lines)
        table.row(each.id, each.half_life_as_published, decay, energies, photons or "–")
    _out.print(table)


def _figure(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4g}"


def nuclide_view(nuclide: Radionuclide) -> None:
    """Everything about one radionuclide."""
    _head(nuclide.id, nuclide.name)
    _line("half-life", f"{nuclide.half_life_as_published} = {nuclide.half_life_s:.8g} s [{nuclide.half_life_source}]")
    for branch in nuclide.branches:
        spread = f" ± {100 * branch.uncertainty:.2g}" if branch.uncertainty else ""
        _line(branch.mode, f"{100 * branch.fraction:.5g}{spread} % → {branch.daughter or '?'} [{branch.source}]")
    for spectrum in nuclide.spectra:
        energies = f"mean {_figure(spectrum.mean_kev)} keV, max {_figure(spectrum.max_kev)} keV"
        _line(f"{spectrum.kind} energy", f"{spectrum.per_decay:.4g} a decay, {energies} [{spectrum.source}]")
    for photon in nuclide.photons:
        spread = f" ± {100 * photon.uncertainty:.2g}" if photon.uncertainty else ""
        _line(photon.kind, f"{photon.energy_kev:.6g} keV, {100 * photon.per_decay:.4g}{spread} % [{photon.source}]")
    code = dicom_codes.nuclide_code(nuclide.id)
    _line("DICOM code", code and f"{code.value} {code.scheme} “{code.meaning}”")
    _line("note", nuclide.note)
    if found := agents.search(nuclide=nuclide.id):
        agent_table(found, title="Agents")


def modality_table(rows: Sequence[Modality]) -> None:
    """Modalities, one a line."""
    table = _Columns(f"{len(rows)} modalities", "modality, id, family, agents | signal")
    everything = agents.all_agents()
    for each in rows:
        count = sum(each.id in agent.modalities for agent in everything)
        table.row(each.name, each.id, each.family, str(count) if count else "–", each.signal)
    _out.print(table)


def intervention_table(rows: Sequence[Intervention]) -> None:
    """Interventions, one a line."""
    table = _Columns(_said(len(rows), "intervention"), "intervention, id, what imaging does for it | kind")
    for each in rows:
        table.row(each.name, each.id, each.imaging, each.kind)
    _out.print(table)


def quantity_view(quantity: Quantity) -> None:
    """What a quantity means."""
    _head(quantity.symbol, quantity.name)
    rows: list[tuple[str, RenderableType]] = [
        ("means", quantity.definition),
        ("unit", quantity.unit),
        ("kind", quantity.kind),
        ("source", quantity.source),
        ("IBSI", quantity.ibsi),
        ("DICOM", quantity.dicom),
        ("QIBA", quantity.qiba),
    ]
    for label, value in rows:
        _line(label, value)
