"""Timing and types of the kinetics tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Tissue = Callable[..., Floats]

DURATIONS = np.array([10] * 6 + [20] * 3 + [60] * 5 + [120] * 4 + [300] * 6 + [600] * 4, dtype=np.float64)
