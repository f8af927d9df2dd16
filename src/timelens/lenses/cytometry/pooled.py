"""All regions of a subject together: sums over sums, tests that never mix regions, neighbourhoods that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from timelens.lenses.cytometry.immune import add_immune
from timelens.lenses.cytometry.sample import Sample, sample_of
from timelens.lenses.cytometry.statistics import add_statistics
from timelens.study.contract import Result
from timelens.study.provenance import DEFAULT_SEED

__all__ = ["pooled"]


def pooled(results: Sequence[Result], options: Mapping[str, Mapping[str, Any]]) -> Result | None:
    """The statistics of all regions as one; a set of masks is pooled by itself, where several regions have it.

    Parameters
    ----------
    results
        Of the single regions.
    options
        Of the steps.

    Returns
    -------
    Result or None
        None where no two regions have cells of the same set. The samples are under ``pictures["samples"]``.
    """
    names = list(dict.fromkeys(c.name for r in results for c in r.pictures.get("cells", ())))
    joined = Result()
    samples: list[Sample] = []
    for name in names:
        own = [
            (cells, parts, str(r.pictures["region"]))
            for r in results
            for cells, parts in zip(r.pictures.get("cells", ()), r.pictures.get("parts", ()), strict=True)
            if cells.name == name
        ]
        if len(own) < 2:
            continue
        cells, compartments, titles = zip(*own, strict=True)
        several = [t if titles.count(t) == 1 else f"{t} ({k})" for k, t in enumerate(titles, start=1)]
        sample = sample_of(cells, several)
        add_statistics(sample, compartments, options["space"], np.random.default_rng(DEFAULT_SEED), joined)
        add_immune(sample, compartments, options["immune"], options["types"]["cofactor"], joined)
        samples.append(sample)
    if not samples:
        return None
    joined.pictures["samples"] = tuple(samples)
    return joined
