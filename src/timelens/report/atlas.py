"""The atlas: one offline page of what can be seen in the tumour immune microenvironment, and with what.

The page holds everything that it shows: the records as data, its style and its program. It draws the network component
– target – agent – modality and the matrix of components and modalities from the data, filters both, and tells each
record on a click. Without a program it still shows the list of agents.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

import timelens
from timelens.knowledge import agents, components, interventions, modalities, nuclides, targets
from timelens.knowledge.load import store
from timelens.knowledge.records import Agent, Component

__all__ = ["atlas_data", "write_atlas"]

#: Order of the families of modalities, from the clinic to the bench.
FAMILIES = (
    "nuclear", "magnetic", "acoustic", "x-ray", "optical", "magnetic particle", "thermal", "hybrid", "tissue",
)  # fmt: skip
_CELLS = {"cell type", "cell subset", "cell state", "cell product", "cell line", "cell group"}
_PLACES = {"structure", "tissue", "state", "vesicle", "process", "pathway", "signal"}


def _plain(record: Any, *names: str) -> dict[str, Any]:
    """The named fields of a record that say something."""
    return {name: value for name in names if (value := getattr(record, name)) not in ("", None, ())}


def _doubts(record: Any) -> dict[str, Any]:
    rows = [{"says": each.article_says, "correct": each.correct, "source": each.source} for each in record.doubts]
    return {"doubts": rows} if rows else {}


def _agent(agent: Agent) -> dict[str, Any]:
    fields = (
        *(
            "id",
            "name",
            "synonyms",
            "kind",
            "vector_class",
            "labels",
            "label_text",
            "nuclides",
            "modalities",
            "targets",
        ),
        *("components", "signal", "stage", "setting", "binds", "does_not_bind", "imaged_in", "excretion"),
        *("plasma_kinetics", "kinetic_models", "normal_uptake", "cautions", "note", "evidence", "basis"),
    )
    doses = [
        {"species": dose.species, **_plain(dose, "activity_mbq", "mass_mg", "window_h", "note", "source")}
        for dose in agent.doses
    ]
    row = _plain(agent, *fields) | _doubts(agent) | ({"doses": doses} if doses else {})
    return row | {"strength": round(agents.strength(agent), 2)}


def _section(component: Component) -> str:
    if component.kind in _CELLS:
        return "Cells"
    return "Structures, states and processes" if component.kind in _PLACES else "Molecules and reporters"


def _tree() -> list[tuple[int, Component]]:
    """Components with their depth, each below its parent, sections one after the other."""
    below: dict[str | None, list[Component]] = {}
    for each in components.all_components():
        below.setdefault(each.parent, []).append(each)
    found: list[tuple[int, Component]] = []

    def walk(parent: str | None, depth: int) -> None:
        for each in sorted(below.get(parent, []), key=lambda row: row.name.lower()):
            found.append((depth, each))
            walk(each.id, depth + 1)

    walk(None, 0)
    sections = ("Cells", "Structures, states and processes", "Molecules and reporters")
    roots = {each.id: _section(components.ancestors(each.id)[-1] if each.parent else each) for _, each in found}
    return sorted(found, key=lambda row: sections.index(roots[row[1].id]))


def _component(depth: int, component: Component) -> dict[str, Any]:
    family = components.family(component.id)
    carried = {target for each in family for target in store().components.rows[each].targets}
    direct = [agent.id for agent in agents.all_agents() if family & set(agent.components)]
    by_target = [agent.id for agent in agents.all_agents() if agent.id not in direct and carried & set(agent.targets)]
    root = components.ancestors(component.id)[-1] if component.parent else component
    fields = ("id", "name", "synonyms", "kind", "parent", "role", "markers", "targets", "note", "evidence")
    return (
        _plain(component, *fields)
        | _doubts(component)
        | {
            "depth": depth,
            "section": _section(root),
            "direct": direct,
            "by_target": by_target,
        }
    )


def atlas_data() -> dict[str, Any]:
    """Everything that the page shows, as plain data; the same knowledge gives the same data."""
    ways = sorted(modalities.all_modalities(), key=lambda row: (FAMILIES.index(row.family), row.name.lower()))
    return {
        "components": [_component(depth, each) for depth, each in _tree()],
        "targets": [
            _plain(each, "id", "name", "synonyms", "symbols", "kind", "location", "components", "caution", "evidence")
            | _doubts(each)
            for each in targets.all_targets()
        ],
        "agents": [_agent(each) for each in agents.search()],
        "modalities": [
            _plain(each, "id", "name", "synonyms", "family", "signal", "parts", "in_humans", "note") for each in ways
        ],
        "interventions": [
            _plain(each, "id", "name", "kind", "agents", "components", "imaging")
            for each in interventions.all_interventions()
        ],
        "nuclides": {
            each.id: {
                "name": each.name,
                "half_life": each.half_life_as_published,
                "decay": [f"{branch.mode} {100 * branch.fraction:.3g} %" for branch in each.branches],
            }
            for each in nuclides.all_nuclides()
        },
        "evidence": {
            key: _plain(row, "shown", "level", "citation", "section", "identifier", "basis", "species")
            for key, row in store().evidence.items()
        },
    }


def write_atlas(file: str | Path) -> Path:
    """Write the atlas as one HTML file that loads nothing from elsewhere.

    Parameters
    ----------
    file
        Where to; folders on the way are made.

    Returns
    -------
    Path
        The file.
    """
    templates = resources.files("timelens.report").joinpath("templates")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string(templates.joinpath("atlas.html.j2").read_text(encoding="utf-8"))
    data = atlas_data()
    names = {row["id"]: row["name"] for kind in ("components", "targets", "modalities") for row in data[kind]}
    page = template.render(
        # '<' cannot end the script element early, whatever a record says.
        data=json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
        agents=data["agents"],
        names=names,
        counts={kind: len(data[kind]) for kind in ("components", "targets", "agents", "modalities")},
        version=timelens.__version__,
        style=templates.joinpath("atlas.css").read_text(encoding="utf-8"),
        script=templates.joinpath("atlas.js").read_text(encoding="utf-8"),
    )
    target = Path(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page, encoding="utf-8")
    return target
