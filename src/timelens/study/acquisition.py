"""Acquisition: one scan of one subject, with all that quantification needs to know about it.

What a file does not say is None. The quantity that needs it asks with :meth:`Acquisition.require`, which names the
file, the field and the mend. A reader fills in what the file says and nothing else; a value the user states in
``study.yaml`` is set with :meth:`Acquisition.stated` and stays visible as such in the provenance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, TypeAlias

from timelens.errors import MissingFieldError, Problem, UsageError
from timelens.study.image import Image
from timelens.study.mesh import Mesh
from timelens.study.provenance import SourceFile
from timelens.study.table import Table

__all__ = ["Acquisition"]

Data: TypeAlias = Image | Table | Mesh


@dataclass(frozen=True, eq=False)
class Acquisition:
    """One scan.

    Attributes
    ----------
    id
        Unique within its session (``sub-001_ses-01_pet``).
    modality
        ``pet``, ``ct``, ``mr``, ``nm`` ... in small letters.
    data
        The image, table or mesh.
    subject, session
        Aliases, never names of people.
    agent, radionuclide
        As the file says; looked up in the knowledge base by whoever needs more.
    half_life_s
        Half-life in seconds as the file says.
    administered_activity_bq
        Net activity at ``administered_time``; where an assay time or a residue is given, the activity drawn up,
        measured at ``assay_time`` (at ``administered_time`` where none is given).
    residual_activity_bq, residual_time
        Activity left in the syringe, and when it was measured.
    administered_time, assay_time, series_time, acquisition_time
        Date-times; time zero of frames is the administration where it is known.
    weight_g, height_mm, sex, age_years
        Of the subject on that day; sex is ``M`` or ``F``.
    glucose_mmol_per_l
        Blood glucose before injection.
    cross_calibration
        Dose calibrator over scanner; multiplies the image. None means 1 was not stated either.
    species
        ``human``, ``mouse``, ``rat`` ... or None.
    decay_correction, corrected_image, decay_reference_time
        Stated by the user where the header of a series is wrong or was stripped: ``START``, ``ADMIN``; corrections such
        as ``DECY`` and ``ATTN``; the time to which the stored values are decay-corrected.
    description
        Series description.
    header
        Per-instance records by DICOM keyword that the SUV rules read.
    sources
        The files it came from.
    problems
        What the reader noticed and could work around.
    overrides
        The fields that the user set, with what the file said before.
    extra
        Anything else a lens may use, by BIDS or DICOM keyword.
    """

    id: str
    modality: str
    data: Data
    subject: str = ""
    session: str = ""
    agent: str | None = None
    radionuclide: str | None = None
    half_life_s: float | None = None
    administered_activity_bq: float | None = None
    residual_activity_bq: float | None = None
    residual_time: datetime | None = None
    administered_time: datetime | None = None
    assay_time: datetime | None = None
    series_time: datetime | None = None
    acquisition_time: datetime | None = None
    weight_g: float | None = None
    height_mm: float | None = None
    sex: str | None = None
    age_years: float | None = None
    glucose_mmol_per_l: float | None = None
    cross_calibration: float | None = None
    species: str | None = None
    decay_correction: str | None = None
    corrected_image: tuple[str, ...] | None = None
    decay_reference_time: datetime | None = None
    description: str = ""
    header: tuple[Mapping[str, Any], ...] = ()
    sources: tuple[SourceFile, ...] = ()
    problems: tuple[Problem, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def image(self) -> Image:
        """The data as an image.

        Raises
        ------
        UsageError
            If it is a table or mesh.
        """
        if not isinstance(self.data, Image):
            raise UsageError("The acquisition is not an image", file=self.id, found=type(self.data).__name__)
        return self.data

    @property
    def where(self) -> str:
        """The first file, for messages."""
        return self.sources[0].path if self.sources else self.id

    def require(self, name: str, *, purpose: str) -> Any:
        """The value of a field that ``purpose`` cannot do without.

        Raises
        ------
        MissingFieldError
            If it is None, naming the file, the field and the mend.
        """
        value = getattr(self, name)
        if value is None:
            raise MissingFieldError(
                f"{purpose} needs {name}, which is not known for acquisition {self.id}",
                file=self.where,
                field=name,
                found="nothing",
                expected=name,
                mend=f"write {name} for this acquisition in study.yaml",
            )
        return value

    def stated(self, **values: Any) -> Acquisition:
        """The acquisition with values the user states, remembered in ``overrides`` with what the file said.

        Raises
        ------
        UsageError
            If there is no such field.
        """
        known = {f.name for f in fields(self)} - {"overrides", "data", "sources", "problems", "header"}
        if unknown := set(values) - known:
            raise UsageError(
                "An acquisition has no such field", field=", ".join(sorted(unknown)), expected=", ".join(sorted(known))
            )
        said = {name: getattr(self, name) for name in values}
        return replace(self, **values, overrides={**said, **self.overrides})
