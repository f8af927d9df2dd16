"""The commands that ask the knowledge base: agents, components, targets, nuclides, explain, atlas and others.

Lists and records go to stdout, with ``--json`` as JSON. Exit 1: nothing was found; 2: wrong use.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["register"]

Json = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON on stdout.")]
Name = Annotated[str, typer.Argument(help="Id, name or synonym, in any spelling.")]
Target = Annotated[str | None, typer.Option(help="What it binds: FAP, CD206, CXCR4 ...")]
Component = Annotated[str | None, typer.Option(help="What it is used to see, subsets included: TAM, CD8 T cell ...")]
Modality = Annotated[str | None, typer.Option(help="What sees it: PET, SPECT, MRI ...")]
Stage = Annotated[str | None, typer.Option(help="clinical, preclinical, in vitro, in silico or not stated.")]
Species = Annotated[str | None, typer.Option(help="Binds the target of, or was imaged in: human, mouse ...")]
Nuclide = Annotated[str | None, typer.Option(help="Label: 89Zr, F-18 ...")]

agents_app = typer.Typer(no_args_is_help=False, help="What is given to see it: search, show, resolve a name, ask how.")
components_app = typer.Typer(help="Cells, structures, molecules and states of the microenvironment.")
targets_app = typer.Typer(help="What agents bind, enter through, are cut by or are trapped by.")
nuclides_app = typer.Typer(help="Radionuclides with half-life, branching and photons from evaluated sources.")


@agents_app.callback(invoke_without_command=True)
def _agents(
    context: typer.Context,
    text: Annotated[str, typer.Option(help="Words in name, signal or setting.")] = "",
    target: Target = None,
    component: Component = None,
    modality: Modality = None,
    stage: Stage = None,
    species: Species = None,
    nuclide: Nuclide = None,
    as_json: Json = False,
) -> None:
    """Agents that meet every condition, the best evidence first."""
    if context.invoked_subcommand is not None:
        return
    from timelens.knowledge import agents
    from timelens.run import show_knowledge as show

    found = agents.search(
        text, target=target, component=component, modality=modality, stage=stage, species=species, nuclide=nuclide
    )
    _list(found, show.agent_table, as_json)


@agents_app.command("show")
def _show_agent(name: Name, as_json: Json = False) -> None:
    """Everything about one agent; where a name fits several, each of them."""
    from timelens.knowledge import agents
    from timelens.run import show_knowledge as show

    found = agents.resolve(name)
    records = (found.record,) if found.record is not None else found.candidates
    if not records:
        agents.get(name)  # Refuses, with what is known that is near.
    if as_json:
        rows = [show.agent_json(record) for record in records]
        show.print_json(rows[0] if len(rows) == 1 else {"candidates": rows, "reason": found.reason})
        return
    for record in records:
        show.agent_view(record)


@agents_app.command("resolve")
def _resolve(
    name: Annotated[str, typer.Argument(help="A name in any spelling, or a DICOM radiopharmaceutical string.")],
    nuclide: Annotated[str | None, typer.Option(help="The nuclide, if it is known from elsewhere.")] = None,
    as_json: Json = False,
) -> None:
    """The one agent that a name means, or the candidates; exit 1 where nothing matches."""
    from timelens.knowledge import agents
    from timelens.run import show_knowledge as show

    found = agents.resolve(name, nuclide=nuclide)
    show.resolution(found, as_json=as_json)
    if not found.found:
        raise typer.Exit(1)


@agents_app.command("see")
def _see(
    component: Annotated[str, typer.Argument(help="What you want to see, or a question that names it.")],
    species: Annotated[str | None, typer.Option(help="Leave out what does not bind in this species.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 10,
    as_json: Json = False,
) -> None:
    """How can I see it: agents over all modalities, ranked by evidence, with reasons."""
    from timelens.knowledge import paths
    from timelens.knowledge.records import as_dict
    from timelens.run import show_knowledge as show

    found = paths.ask(component, species=species)
    if as_json:
        show.print_json([as_dict(path) | {"component": path.component.id, "agent": path.agent.id} for path in found])
    else:
        show.path_table(found, limit=limit)
    if not found:
        raise typer.Exit(1)


@components_app.callback(invoke_without_command=True)
def _components(context: typer.Context, as_json: Json = False) -> None:
    """All components, as a tree."""
    if context.invoked_subcommand is None:
        from timelens.knowledge import components
        from timelens.run import show_knowledge as show

        _list(components.all_components(), show.component_table, as_json)


@components_app.command("show")
def _show_component(name: Name, as_json: Json = False) -> None:
    """One component, and the agents that see it."""
    from timelens.knowledge import components
    from timelens.run import show_knowledge as show

    _one(components.get(name), show.component_view, as_json)


@targets_app.callback(invoke_without_command=True)
def _targets(context: typer.Context, as_json: Json = False) -> None:
    """All targets."""
    if context.invoked_subcommand is None:
        from timelens.knowledge import targets
        from timelens.run import show_knowledge as show

        _list(targets.all_targets(), show.target_table, as_json)


@targets_app.command("show")
def _show_target(name: Name, as_json: Json = False) -> None:
    """One target, and the agents that see it."""
    from timelens.knowledge import targets
    from timelens.run import show_knowledge as show

    _one(targets.get(name), show.target_view, as_json)


@nuclides_app.callback(invoke_without_command=True)
def _nuclides(context: typer.Context, as_json: Json = False) -> None:
    """All radionuclides."""
    if context.invoked_subcommand is None:
        from timelens.knowledge import nuclides
        from timelens.run import show_knowledge as show

        _list(nuclides.all_nuclides(), show.nuclide_table, as_json)


@nuclides_app.command("show")
def _show_nuclide(name: Name, as_json: Json = False) -> None:
    """One radionuclide, and the agents that carry it."""
    from timelens.knowledge import nuclides
    from timelens.run import show_knowledge as show

    _one(nuclides.get(name), show.nuclide_view, as_json)


def _modalities(as_json: Json = False) -> None:
    """Ways of seeing."""
    from timelens.knowledge import modalities
    from timelens.run import show_knowledge as show

    _list(modalities.all_modalities(), show.modality_table, as_json)


def _interventions(as_json: Json = False) -> None:
    """Therapies, and what imaging does for them."""
    from timelens.knowledge import interventions
    from timelens.run import show_knowledge as show

    _list(interventions.all_interventions(), show.intervention_table, as_json)


def _explain(
    quantity: Annotated[str, typer.Argument(help="Name of a quantity: suv_peak, mtv, k_i ...")], as_json: Json = False
) -> None:
    """What a quantity means, its unit, its source and its codes."""
    from timelens.knowledge import quantities
    from timelens.run import show_knowledge as show

    found = quantities.by_symbol(quantity) or quantities.get(quantity)
    if as_json:
        show.print_json(asdict(found))
    else:
        show.quantity_view(found)


def _atlas(
    out: Annotated[Path, typer.Option("-o", "--out", help="The HTML file.")] = Path("atlas.html"), as_json: Json = False
) -> None:
    """One offline page of everything: network, matrix of components and modalities, agents, with filters."""
    from timelens.report.atlas import write_atlas

    page = write_atlas(out)
    typer.echo(json.dumps({"atlas": str(page)}) if as_json else f"Atlas: {page}")


def _list(rows: Sequence[Any], table: Callable[[Any], None], as_json: bool) -> None:
    if as_json:
        from timelens.knowledge.records import as_dict
        from timelens.run.show_knowledge import print_json

        print_json([as_dict(row) for row in rows])
    else:
        table(rows)


def _one(record: Any, view: Callable[[Any], None], as_json: bool) -> None:
    if as_json:
        from timelens.knowledge.records import as_dict
        from timelens.run.show_knowledge import print_json

        print_json(as_dict(record))
    else:
        view(record)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(agents_app, name="agents")
    app.add_typer(components_app, name="components")
    app.add_typer(targets_app, name="targets")
    app.add_typer(nuclides_app, name="nuclides")
    app.command("modalities")(_modalities)
    app.command("interventions")(_interventions)
    app.command("explain")(_explain)
    app.command("atlas")(_atlas)
