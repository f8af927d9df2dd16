"""From activity concentration to uptake: SUV, percent of injected activity, and the body sizes they need.

Weights come in kilograms and heights in metres, as DICOM and BIDS record them; sizes go out in grams and square
centimetres, so that Bq/mL divided by Bq gives g/mL and cm2/mL.
"""

from timelens.engines.uptake.body import (
    BodySizeKind,
    Sex,
    body_size,
    body_surface_area,
    ideal_body_weight,
    lean_body_mass_james,
    lean_body_mass_janmahasatian,
)
from timelens.engines.uptake.normalise import (
    TISSUE_DENSITY_G_PER_ML,
    glucose_factor,
    percent_injected_per_gram,
    percent_injected_per_ml,
    suv_factor,
)
from timelens.engines.uptake.plausibility import (
    check_activity,
    check_height,
    check_james_range,
    check_liver_suv,
    check_weight,
    raise_or_warn,
    species_group,
)

__all__ = [
    "TISSUE_DENSITY_G_PER_ML",
    "BodySizeKind",
    "Sex",
    "body_size",
    "body_surface_area",
    "check_activity",
    "check_height",
    "check_james_range",
    "check_liver_suv",
    "check_weight",
    "glucose_factor",
    "ideal_body_weight",
    "lean_body_mass_james",
    "lean_body_mass_janmahasatian",
    "percent_injected_per_gram",
    "percent_injected_per_ml",
    "raise_or_warn",
    "species_group",
    "suv_factor",
]
