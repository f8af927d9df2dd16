"""The cytometry lens: from a region of a slide, its panel and perhaps masks, to cells and what they add up to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from timelens.errors import Problem, UsageError
from timelens.lenses.cytometry.recipe import DEFAULTS, WHYS, merged_steps
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Administration, Match, Protocol, Recipe, Result, Simulated, Step
from timelens.study.image import Image
from timelens.study.provenance import DEFAULT_SEED
from timelens.study.region import Region
from timelens.study.table import Table

if TYPE_CHECKING:
    from timelens.lenses.cytometry.cells import Cells

__all__ = ["CytometryLens"]


class CytometryLens:
    """Imaging mass cytometry and other multiplexed sections: cells, types, densities, distances, neighbourhoods."""

    name = "cytometry"

    def accepts(self, acquisitions: Sequence[Acquisition]) -> Match:
        """The first region of a slide: an image of modality ``cytometry`` with named channels in one plane, or a table.

        A table holds cells that another program found, with their positions.
        """
        for acquisition in acquisitions:
            image = acquisition.data
            if acquisition.modality == "cytometry" and isinstance(image, Image) and image.geometry is not None:
                first = image.axes[0]
                if len(image.shape) == 4 and first.name == "c" and first.coordinates and image.shape[1] == 1:
                    return Match(0.6, {"cytometry": acquisition})  # below PET and MRI: a session may hold them all
        tables = [a for a in acquisitions if _is_cells(a)]
        return Match(0.5, {"cytometry": tables[0]}) if tables else Match(0.0)

    def recipe(self, match: Match, options: Mapping[str, Any]) -> Recipe:
        """The steps with the user's options over the defaults.

        Raises
        ------
        UsageError
            If a step, parameter or value is unknown.
        """
        merged = merged_steps(options)
        if match.lost_regions and merged["segment"]["cells"] == "auto":
            merged["segment"]["cells"] = "given"  # masks that cannot be read are not replaced by other cells
        given = any(_is_cells(a) for a in match.roles.values())
        left_out = ("clean", "segment", "clusters") if given else ("table",)
        return Recipe(self.name, tuple(Step(n, merged[n], WHYS[n]) for n in DEFAULTS if n not in left_out))

    def quantify(
        self, inputs: Mapping[str, Acquisition], regions: Sequence[Region], options: Mapping[str, Any]
    ) -> Result:
        """Find, measure and name cells, and say what they add up to.

        Parameters
        ----------
        inputs
            ``cytometry``.
        regions
            Masks of cells on the grid of the image; each is analysed by itself.
        options
            As :meth:`recipe` takes them.

        Returns
        -------
        Result
            Tables of cells, distances, interactions, pairs by distance, neighbourhoods, lymphoid structures and
            infiltration; densities and fractions by component and compartment, mixing and immune phenotype as rows; the
            :class:`~timelens.lenses.cytometry.cells.Cells` themselves under ``pictures["cells"]``.

        Raises
        ------
        DataError
            If cells are to be found and no channel shows nuclei, or masks are asked for and none is given.
        """
        from timelens.lenses.cytometry.cells import find_cells
        from timelens.lenses.cytometry.clean import cleaned
        from timelens.lenses.cytometry.clustering import add_clusters
        from timelens.lenses.cytometry.immune import add_immune
        from timelens.lenses.cytometry.sample import sample_of
        from timelens.lenses.cytometry.scale import add_scale
        from timelens.lenses.cytometry.segmentation import find_outlines, nuclear_places
        from timelens.lenses.cytometry.states import add_states
        from timelens.lenses.cytometry.statistics import add_statistics, find_compartments

        merged = merged_steps(options)
        scan = inputs["cytometry"]
        if _is_cells(scan):
            from timelens.lenses.cytometry.from_table import quantify_table

            return _placed(quantify_table(scan, merged), scan)
        values, metals, labels, problems = cleaned(scan, merged["clean"])
        result = Result(problems=problems)
        pixel_um = _pixel_um(scan)
        outlines = find_outlines(scan, regions, values, metals, labels, pixel_um, merged["segment"])
        result.audit["cytometry"] = {
            "cells": outlines.method,
            **outlines.about,
            "channels": dict(zip(metals, labels, strict=True)),
            "nuclear": [labels[k] for k in nuclear_places(scan, metals, labels, merged["segment"])],
        }
        result.problems += [
            _no_channel(c, labels) for c in merged["types"]["markers"] if c not in labels and c not in metals
        ]
        found, nests, title = [], [], scan.description or scan.id
        for name, marks in outlines.sets.items():
            cells, more = find_cells(name, values, marks, labels, pixel_um, merged["types"],
                                     reach_um=merged["space"]["reach_um"], own=outlines.own)  # fmt: skip
            result.problems += [_at(p, scan) for p in more]
            if cells is None:
                continue
            sample, parts = sample_of([cells], [title]), [find_compartments(cells, merged["space"], result)]
            add_statistics(sample, parts, merged["space"], np.random.default_rng(DEFAULT_SEED), result)
            add_immune(sample, parts, merged["immune"], merged["types"]["cofactor"], result)
            add_states(cells, parts[0], merged["states"]["exhaustion"], result)
            add_scale(cells, merged["types"], result)
            add_clusters(cells, merged["types"], merged["clusters"], np.random.default_rng(DEFAULT_SEED), result)
            result.audit["cytometry"][cells.prefixed("thresholds")] = dict(cells.splits)
            found.append(cells)
            nests.append(parts[0])
        if found and found[0].not_told:
            result.problems.append(_not_told(found[0]))
        result.problems[:] = [_at(p, scan) for p in result.problems]
        result.pictures["cells"], result.pictures["parts"] = tuple(found), tuple(nests)
        result.pictures["region"] = title
        result.pictures["channels"] = (values, tuple(labels), pixel_um)
        return result

    def pooled(self, results: Sequence[Result], options: Mapping[str, Any]) -> Result | None:
        """What all regions of a session give together; None where there are not two of them with cells.

        Parameters
        ----------
        results
            Of :meth:`quantify`, one a region.
        options
            As :meth:`recipe` takes them.
        """
        from timelens.lenses.cytometry.pooled import pooled

        return pooled(results, merged_steps(options))

    def simulate(
        self, scene: Any, administrations: Sequence[Administration], protocol: Protocol, rng: np.random.Generator
    ) -> Simulated:
        """Stain and read a section of a virtual tumour (:class:`~timelens.lenses.cytometry.scene.TissueScene`).

        Parameters
        ----------
        scene
            What is cut, and where.
        administrations
            Nothing is given to a section: left aside.
        protocol
            Parameters of :class:`~timelens.lenses.cytometry.simulate.CytometryProtocol`.
        rng
            Source of cells, expression and counts.

        Raises
        ------
        UsageError
            If the scene is no section of tissue, or the protocol is none.
        DataError
            If no cell lies in it.
        """
        from timelens.lenses.cytometry.scene import TissueScene
        from timelens.lenses.cytometry.simulate import simulate

        if not isinstance(scene, TissueScene):
            raise UsageError("The scene is no section of tissue", field="scene", found=type(scene).__name__,
                             expected="TissueScene, as lenses.cytometry.scene.biopsy makes it")  # fmt: skip
        return simulate(scene.cells(rng), protocol, rng, name=scene.name, window_mm=scene.window_mm,
                        thickness_um=1e3 * scene.section.thickness_mm, corner_um=scene.corner_um)  # fmt: skip


def _pixel_um(scan: Acquisition) -> tuple[float, float]:
    place = scan.image.geometry
    assert place is not None
    return place.spacing[1] * 1e3, place.spacing[2] * 1e3


def _not_told(cells: Cells) -> Problem:
    several = len(cells.not_told)
    return Problem(
        "The panel does not tell all types of cells: the others are unknown, with a reason in their rows",
        field="types", found=f"{len(cells.names) - 1} types told, {several} not", expected="the markers of these types",
        mend="types: {markers: {CHANNEL: MARKER}} where a channel is not recognised", severity="warning",
    )  # fmt: skip


def _is_cells(scan: Acquisition) -> bool:
    """A table of cells; asked without loading what measures them."""
    return scan.modality == "cytometry" and isinstance(scan.data, Table) and {"x", "y"} <= set(scan.data.column_units)


def _placed(result: Result, scan: Acquisition) -> Result:
    result.problems[:] = [_at(p, scan) for p in result.problems]
    return result


def _no_channel(channel: str, labels: Sequence[str]) -> Problem:
    return Problem(
        "A marker is stated for a channel that is not there", field="types: markers", found=channel,
        expected=", ".join(labels), mend="write the channel as the panel does", severity="warning",
    )  # fmt: skip


def _at(problem: Problem, scan: Acquisition) -> Problem:
    field = f"{scan.description or scan.id}: {problem.field}" if problem.field else scan.description or scan.id
    return problem if problem.file else replace(problem, file=scan.where, field=field)
