"""The pictures of tissue cytometry: what was stained, which cells, who lies beside whom, where on the slide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from timelens.study.acquisition import Acquisition
from timelens.study.contract import Result
from timelens.study.image import Image
from timelens.study.table import Table

if TYPE_CHECKING:
    from timelens.run.pictures import Album

__all__ = ["draw_cells", "draw_slide"]

#: Composites: three channels each beside nuclei, where they were measured.
_COMPOSITES = (("panCK", "CD3", "CD68"), ("CD8", "CD20", "SMA", "CD31"))
_MOST_CHANNELS = 3
_DETAIL_UM, _GRAPH_UM = 150.0, 250.0
#: Components whose infiltration is shown first, and pairs whose L is.
_INFILTRATE = ("cd8-t-cell", "cd4-t-cell", "treg", "b-cell", "tam", "nk-cell", "caf", "dendritic-cell", "t-cell")
_PAIRS = (
    ("cd8-t-cell", "tumour-cell"), ("treg", "tumour-cell"), ("m2-macrophage", "tumour-cell"),
    ("cd8-t-cell", "treg"), ("cd8-t-cell", "m2-macrophage"), ("b-cell", "cd4-t-cell"),
)  # fmt: skip
_MOST_CURVES = 6
_MOST_ROWS = 24
_FEWEST_CELLS = 20


def draw_cells(album: Album, result: Result) -> None:
    """Keep the pictures of a section, or of all sections of a subject together."""
    for cells in result.pictures.get("cells", ()):
        which, heading = (f"{cells.name}_cells", f"{cells.name}: ") if cells.name else ("", "")
        _composites(album, result, cells, which, heading)
        _maps(album, result, cells, which, heading)
        _charts(album, result, cells.prefixed, which, heading, "section")
    for sample in result.pictures.get("samples", ()):
        name = sample.regions[0].name
        which, heading = (f"{name}_cells", f"{name}: ") if name else ("", "")
        region = "all regions" if len(sample.regions) > 1 else "section"
        _charts(album, result, sample.prefixed, which, heading, region)


# -- pictures of the section -----------------------------------------------------------------------------------------


def _composites(album: Album, result: Result, cells: Any, which: str, heading: str) -> None:
    from timelens.figures.cells import composite_figure

    values, labels, pixel_um = result.pictures["channels"]
    for number, shown in enumerate(_shown(values, labels, result)):
        kind = "composite" if not number else "composite2"
        said = (
            "Channels over each other, each from zero to the count beside its name; cells outlined where they are few."
        )
        title = f"{heading}{', '.join(shown)}"
        picture = composite_figure(shown, cells.labels, pixel_um)
        album.keep(picture, which, kind, title, said, coarse=True)
        corner = None if number else _busiest(cells, pixel_um, _DETAIL_UM)
        if corner is not None:
            cut = tuple(slice(a, a + round(_DETAIL_UM / p)) for a, p in zip(corner, pixel_um, strict=True))
            y, x = (round(a * p) for a, p in zip(corner, pixel_um, strict=True))
            album.keep(
                composite_figure({n: v[cut] for n, v in shown.items()}, cells.labels[cut], pixel_um), which, "detail",
                f"{heading}Detail", f"The square of {_DETAIL_UM:g} µm with the most types of cells, its corner "
                f"{x} µm from the left and {y} µm from the top; cells outlined.",
            )  # fmt: skip


def _shown(values: NDArray[Any], labels: tuple[str, ...], result: Result) -> list[dict[str, NDArray[Any]]]:
    """Nuclei and the markers that most people look for, in two composites; else whatever was measured."""
    from timelens.lenses.cytometry.markers import canonical

    nuclear = [labels.index(n) for n in result.audit["cytometry"]["nuclear"]][:1]
    markers = {canonical(label): k for k, label in reversed(list(enumerate(labels)))}
    found = [[markers[m] for m in wanted if m in markers][:_MOST_CHANNELS] for wanted in _COMPOSITES]
    used = {k for one in found for k in one}
    rest = [k for k in range(len(labels)) if k not in nuclear and k not in used]
    if not used:
        found = [rest[:_MOST_CHANNELS], rest[_MOST_CHANNELS : 2 * _MOST_CHANNELS]]
    return [{labels[k]: values[k] for k in (*nuclear, *one)} for one in found if one]


def _busiest(cells: Any, pixel_um: tuple[float, float], side_um: float) -> tuple[int, int] | None:
    """Corner in pixels of the square with the most types; None where the section is hardly larger itself."""
    side = [round(side_um / p) for p in pixel_um]
    if any(n < 1.6 * s for n, s in zip(cells.labels.shape, side, strict=True)):
        return None
    y, x = cells.y_um / pixel_um[0], cells.x_um / pixel_um[1]
    best, corner = (-1, -1), (0, 0)
    for top in range(0, cells.labels.shape[0] - side[0] + 1, side[0] // 2):
        for left in range(0, cells.labels.shape[1] - side[1] + 1, side[1] // 2):
            inside = (y >= top) & (y < top + side[0]) & (x >= left) & (x < left + side[1])
            score = len(np.unique(cells.types[inside])), int(inside.sum())
            if score > best:
                best, corner = score, (top, left)
    return corner


def _maps(album: Album, result: Result, cells: Any, which: str, heading: str) -> None:
    from timelens.figures.cells import graph_figure, neighbourhood_map_figure, type_map_figure

    _, _, pixel_um = result.pictures["channels"]
    number, kinds = cells.measures.label.tolist(), np.array(cells.names)[cells.types].tolist()
    album.keep(
        type_map_figure(cells.labels, dict(zip(number, kinds, strict=True)), pixel_um), which, "types",
        f"{heading}Types of cells", "Each cell in the colour of its type; what no type fits is unknown.",
    )  # fmt: skip
    graph = cells.graph
    once = graph.sources < graph.neighbours
    edges = np.column_stack([graph.sources[once], graph.neighbours[once]]).astype(np.int64)
    corner = _busiest(cells, pixel_um, _GRAPH_UM)
    size = (cells.labels.shape[0] * pixel_um[0], cells.labels.shape[1] * pixel_um[1])
    window = (0.0, 0.0, *size) if corner is None else (
        corner[0] * pixel_um[0], corner[1] * pixel_um[1], _GRAPH_UM, _GRAPH_UM
    )  # fmt: skip
    album.keep(
        graph_figure(cells.y_um, cells.x_um, edges, kinds, window), which, "graph", f"{heading}Who touches whom",
        "A line joins cells that touch once they have grown; a dot in the colour of its type."
        + ("" if corner is None else f" The square of {_GRAPH_UM:g} µm with the most types."),
    )  # fmt: skip
    table = result.tables[cells.prefixed("cells")].data
    if "neighbourhood" in table:
        where = dict(zip(table["cell"].tolist(), table["neighbourhood"].tolist(), strict=True))
        album.keep(
            neighbourhood_map_figure(cells.labels, where, pixel_um), which, "neighbourhoods",
            f"{heading}Neighbourhoods", "Cells whose surroundings are made of like mixtures share a colour.",
        )  # fmt: skip


# -- charts ----------------------------------------------------------------------------------------------------------


def _charts(album: Album, result: Result, prefixed: Any, which: str, heading: str, region: str) -> None:
    from timelens.figures import cell_charts
    from timelens.figures.cells import interaction_figure

    def table(name: str) -> Any:
        found: Table | None = result.tables.get(prefixed(name))
        return found.data if found is not None and len(found.data) else None

    values = _densities(result, prefixed, region)
    if set(values) - {"cell", "unknown"}:
        album.keep(
            cell_charts.density_figure(values), which, "densities", f"{heading}Densities",
            "Cells per area with 95 % intervals; components include their subtypes, so that lines overlap.",
        )  # fmt: skip
    if (profile := table("infiltration")) is not None and (bands := _infiltration(profile)):
        album.keep(
            cell_charts.infiltration_figure(bands), which, "infiltration", f"{heading}Infiltration",
            "Density by signed distance to the border of the tumour nests (shaded: inside), with Poisson intervals.",
        )  # fmt: skip
    if (parts := table("neighbourhoods")) is not None:
        types = [
            c for c in parts.columns if c not in ("neighbourhood", "cells", "stability") and parts[c].max() >= 0.01
        ]
        album.keep(
            cell_charts.composition_figure([str(n) for n in parts["neighbourhood"]], types[:_MOST_ROWS],
                                           parts[types[:_MOST_ROWS]].to_numpy(float), parts["cells"].tolist()),
            which, "composition", f"{heading}What neighbourhoods are made of",
            "Mean parts of the types, in percent, in the windows of each neighbourhood. Two searches from other seeds "
            f"agree by an adjusted Rand index of {parts['stability'].iloc[0]:.2f}.",
        )  # fmt: skip
    contacts = table("interactions")
    names = [] if contacts is None else list(dict.fromkeys(contacts["from"]))[:_MOST_ROWS]
    if len(names) > 1:
        z = contacts.pivot(index="from", columns="to", values="z").loc[names, names].to_numpy(float)
        album.keep(
            interaction_figure(names, z), which, "neighbours", f"{heading}Neighbours",
            "Standard scores of how often cells of a type (row) touch cells of a type (column), against a shuffle "
            "of types over the cells. Large cells touch more others, whatever their type.",
        )  # fmt: skip
    if len(names) > 1 and (near := table("distances")) is not None:
        median = near.pivot(index="from", columns="to", values="median").reindex(index=names, columns=names)
        album.keep(
            cell_charts.distance_figure(names, median.to_numpy(float)), which, "distances", f"{heading}Distances",
            "Median distance from cells of a type (row) to the nearest cell of a type (column).",
        )  # fmt: skip
    if (pairs := table("pairs")) is not None and (curves := _pairs(pairs)):
        album.keep(
            cell_charts.pairs_figure(curves), which, "ripley", f"{heading}Pairs by distance",
            "Besag's L, translation-corrected, less what a shuffle of types over the cells gives; above zero types "
            "seek each other. Grey: where 95 % of shuffles lie at each radius.",
        )  # fmt: skip


def _densities(result: Result, prefixed: Any, region: str) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Component to place to density with interval: those with cells, the commonest first."""
    places = {prefixed(region): "section"}
    for part in ("nest", "margin", "stroma"):
        places[prefixed(part if region == "section" else f"{region}: {part}")] = part
    found: dict[str, dict[str, tuple[float, float, float]]] = {}
    for m in result.measurements:
        if m.quantity == "cell_density_area" and not m.target and m.region in places and np.isfinite(m.value):
            found.setdefault(m.component, {})[places[m.region]] = (m.value, m.lower, m.upper)
    there = {k: v for k, v in found.items() if any(triple[0] > 0 for triple in v.values())}
    order = sorted(there, key=lambda k: -there[k].get("section", (0.0, 0.0, 0.0))[0])
    return {k: there[k] for k in order[:_MOST_ROWS]}


def _infiltration(table: Any) -> dict[str, Any]:
    from timelens.figures.cell_charts import Band

    count = table.groupby("component", sort=False)["cells"].sum()
    wanted = [c for c in _INFILTRATE if count.get(c, 0) >= _FEWEST_CELLS][:_MOST_CURVES]
    found = {}
    for component in wanted:
        one = table[table["component"] == component]
        middle = (one["from"] + one["to"]).to_numpy(float) / 2
        found[component] = Band(middle, *(one[c].to_numpy(float) for c in ("density", "lower", "upper")))
    return found


def _pairs(table: Any) -> dict[str, Any]:
    from timelens.figures.cell_charts import Band

    by_pair = dict(iter(table.groupby(["from", "to"], sort=False)))
    wanted = [p for p in _PAIRS if p in by_pair and by_pair[p]["pairs"].iloc[-1] >= _FEWEST_CELLS]
    if not wanted:
        wanted = [p for p in by_pair if p[0] < p[1] and by_pair[p]["pairs"].iloc[-1] >= _FEWEST_CELLS]
    found = {}
    for pair in wanted[:_MOST_CURVES]:
        one = by_pair[pair]
        radius, value, chance, low, high = (
            one[c].to_numpy(float) for c in ("radius", "l", "l_chance", "l_lower", "l_upper")
        )
        found[" – ".join(pair)] = (Band(radius, value, low, high), chance)
    return found


# -- the slide -------------------------------------------------------------------------------------------------------


def draw_slide(album: Album, primary: Acquisition | None, acquisitions: Sequence[Acquisition]) -> None:
    """Keep the photographs of a slide with the regions on it; once, with the first region of the slide."""
    photographs = _photographs(primary)
    if primary is None or not photographs:
        return
    place = primary.image.geometry
    same = [
        a for a in acquisitions
        if a.modality == primary.modality and isinstance(a.data, Image) and a.data.geometry is not None
        and place is not None and a.data.geometry.same_frame(place)
    ]  # fmt: skip
    if not same or same[0].id != primary.id:
        return
    from timelens.figures.slide import on_photograph, slide_figure

    regions = {a.description or a.id: a.image.geometry for a in same}
    for number, photograph in enumerate(photographs, start=1):
        inside = {name: g for name, g in regions.items() if g is not None and on_photograph(photograph, g)}
        if inside:
            album.keep(
                slide_figure(photograph, inside), f"slide{number}", "slide", photograph.name or "Slide",
                "Photograph of the slide with the regions that were measured.",
            )  # fmt: skip


def _photographs(primary: Acquisition | None) -> Sequence[Image]:
    extra: Mapping[str, Any] = primary.extra if primary is not None else {}
    return [p for p in extra.get("panoramas", ()) if isinstance(p, Image)]
