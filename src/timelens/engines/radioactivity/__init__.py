"""Decay arithmetic: every re-referencing of activity in the library goes through these functions.

Seconds and becquerels throughout. A decay *factor* is the fraction that is left; values grow when they are referenced
to an earlier time and shrink when referenced to a later one.
"""

from timelens.engines.radioactivity.administration import cross_calibration_factor, net_injected_activity
from timelens.engines.radioactivity.decay import (
    average_count_rate_time,
    convert_decay_reference,
    decay_constant,
    decay_factor,
    frame_decay_factor,
)

__all__ = [
    "average_count_rate_time",
    "convert_decay_reference",
    "cross_calibration_factor",
    "decay_constant",
    "decay_factor",
    "frame_decay_factor",
    "net_injected_activity",
]
