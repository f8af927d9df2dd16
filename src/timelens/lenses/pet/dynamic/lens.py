"""The dynamic PET lens: which series it takes, its recipe, and the road from frames and blood to rate constants.

A series that was measured from about the injection on gets regional curves, kinetic models with errors, parametric
maps, and the SUV of a late window through the PET lens, so that nothing is lost against a static scan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from timelens.engines.kinetics.frames import Frames
from timelens.errors import TimelensError, UsageError
from timelens.lenses.pet.dynamic.analysis import analyse
from timelens.lenses.pet.dynamic.curves import frames_of
from timelens.lenses.pet.dynamic.models import find_model
from timelens.lenses.pet.dynamic.multibed import BED_MODELS, analyse_beds, is_multibed
from timelens.lenses.pet.dynamic.recipe import STEPS, kinetics_of, merged_steps
from timelens.lenses.pet.lens import PetLens
from timelens.study.acquisition import Acquisition
from timelens.study.contract import Match, Recipe, Result, Step
from timelens.study.identity import identify
from timelens.study.image import Image
from timelens.study.region import Region
from timelens.study.table import Table

__all__ = ["FEWEST_FRAMES", "LATEST_START_S", "DynamicPetLens"]

#: A series with this many frames, the first no later than so many s, is dynamic.
FEWEST_FRAMES, LATEST_START_S = 6, 120.0
#: Frames over more than this many s are days: an antibody's course.
_DAYS = 2 * 86400.0
#: Steps of the PET lens that serve the late window.
_OF_PET = ("uptake", "segment", "partial_volume", "animals")


class DynamicPetLens:
    """Dynamic positron emission tomography: rate constants, distribution volumes, binding potentials, their maps."""

    name = "pet-dynamic"
    #: Options of these steps under the name ``pet`` hold here too: they serve the late window.
    builds_on, shared_steps = "pet", _OF_PET

    def __init__(self) -> None:
        self._static = PetLens()

    def accepts(self, acquisitions: Sequence[Acquisition]) -> Match:
        """The first dynamic PET series, or all beds of one scan, with every blood table of the session.

        The score is 2 for a series from about the injection on, above the PET lens; 0.5, only on demand, for one that
        starts later or has few frames.
        """
        scored = [(_dynamic(a), a) for a in acquisitions]
        scored = sorted(((s, a) for s, a in scored if s > 0), key=lambda item: (-item[0], item[1].id))
        if not scored:
            return Match(0.0)
        score, pet = scored[0]
        blood = [a for a in acquisitions if isinstance(a.data, Table) and "time" in a.data.data.columns]
        beds = [a for _, a in scored if a.agent == pet.agent]
        if not is_multibed(beds):
            beds = [pet]
        elif blood:
            score = 2.0
        found = self._static.accepts([pet, *(a for a in acquisitions if a.modality == "ct")])
        roles = dict(found.roles)
        roles.update({f"pet_{number}": bed for number, bed in enumerate(beds[1:], start=2)})
        roles.update({"blood" if k == 1 else f"blood_{k}": table for k, table in enumerate(blood, start=1)})
        return Match(score, roles, found.missing, also=tuple(bed.id for bed in beds[1:]))

    def recipe(self, match: Match, options: Mapping[str, Any]) -> Recipe:
        """The agent's defaults with the user's options over them.

        Raises
        ------
        UsageError
            If a step, parameter, model or rule is unknown.
        """
        if unknown := set(options) - set(STEPS) - set(_OF_PET):
            raise UsageError(
                "The dynamic PET lens has no such step",
                field=", ".join(sorted(unknown)),
                expected=", ".join([*STEPS, *_OF_PET]),
            )
        own = merged_steps(options)
        late = self._static.recipe(match, {k: v for k, v in options.items() if k in _OF_PET})
        known = _known(match)
        sampled = any(role.startswith("blood") for role in match.roles) and own["input"]["source"] in (
            "auto",
            "arterial",
        )
        if known is not None and sampled:
            several = any(role.startswith("pet_") for role in match.roles)
            for step, names in (("fit", (known.regions, *known.maps)), ("maps", known.maps)):
                models = [name for name in dict.fromkeys(names) if find_model(name).needs == "plasma"]
                if several:
                    models = [name for name in models if name in BED_MODELS] or list(BED_MODELS[:1])
                if own[step]["models"] == "auto" and models:
                    own[step]["models"] = models
        whys = {
            "frames": "all frames",
            "input": "arterial blood, else a blood region of the image, else a reference region",
            "fit": f"default of this agent ({known.source})" if known is not None else "compared by Akaike's criterion",
            "maps": "parameters and standard errors per voxel",
            "late": "SUV of the last ten minutes, as of a static scan",
        }
        steps = [Step(name, own[name], whys[name]) for name in STEPS]
        return Recipe(self.name, (*steps, *(s for s in late.steps if s.name in _OF_PET)))

    def quantify(
        self, inputs: Mapping[str, Acquisition], regions: Sequence[Region], options: Mapping[str, Any]
    ) -> Result:
        """Curves, fits, maps and late SUV of a dynamic series.

        Parameters
        ----------
        inputs
            ``pet``, and ``pet_2`` ... for further bed positions; ``blood``, ``blood_2`` ... tables; ``ct``.
        regions
            Lesions, organs, blood pool; each gets a curve and its fits.
        options
            As :meth:`recipe` takes them.
        """
        own = merged_steps({k: v for k, v in options.items() if k in STEPS})
        late = {k: v for k, v in options.items() if k in _OF_PET}
        beds = [a for role, a in inputs.items() if role == "pet" or role.startswith("pet_")]
        if len(beds) > 1:
            return analyse_beds(beds, inputs, regions, own, late, self._static)
        return analyse(inputs, regions, own, late, self._static)


def _known(match: Match) -> Any:
    if "pet" not in match.roles:
        return None
    try:
        return kinetics_of(identify(match.roles["pet"]).record)
    except TimelensError:
        return None


def _dynamic(acquisition: Acquisition) -> float:
    """2 for a dynamic series, 0.5 for one that might be analysed so, 0 for others."""
    image = acquisition.data
    if acquisition.modality != "pet" or not isinstance(image, Image) or image.geometry is None:
        return 0.0
    if len(image.shape) != 4 or image.axes[0].name != "t" or image.frames is None:
        return 0.0
    try:
        frames: Frames = frames_of(acquisition)
    except TimelensError:
        return 0.0
    if len(frames) < 3:
        return 0.0
    early = bool(abs(frames.start[0]) <= LATEST_START_S)
    days = bool(frames.end[-1] > _DAYS)
    return 2.0 if (early and len(frames) >= FEWEST_FRAMES) or days else 0.5
