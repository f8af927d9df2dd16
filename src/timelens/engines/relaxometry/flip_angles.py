"""T1 from spoiled gradient echoes at two or more flip angles.

With ``E = exp(-TR/T1)`` the signal is ``S_i = M0 (1 - E) sin a_i / (1 - E cos a_i)``.

- ``linear``: S/sin a against S/tan a is a line of slope E (Fram EK et al., Magn Reson Imaging 1987;5:201,
  doi:10.1016/0730-725X(87)90021-X; Deoni SCL et al., Magn Reson Med 2003;49:515, doi:10.1002/mrm.10407). Biased where
  noise is high, because noise is on both axes and small angles are weighted too much.
- ``novifast``: the normal equations of least squares on the signal itself, solved by freezing their denominators
  (Ramos-Llordén G et al., IEEE Trans Med Imaging 2018;37:2414, doi:10.1109/TMI.2018.2833288).
- ``nonlinear``: the same least squares started by a search over T1 instead of the line, for signals of any noise.

Standard errors are the residuals on the signal propagated through each estimator; with two angles there are none.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timelens.engines.kinetics.fit import Fit
from timelens.engines.mr_signal.checks import LONGEST_FAST_TR_S, check_flip, check_positive, check_times
from timelens.engines.relaxometry.flip_angle_kernels import LINEAR, NOVIFAST, SEARCHED, solve
from timelens.engines.relaxometry.voxels import run
from timelens.errors import DataError, UsageError

__all__ = ["Method", "VariableFlipAngle"]

Array = NDArray[Any]
Method = Literal["linear", "novifast", "nonlinear"]
_CODES: dict[Method, int] = {"linear": LINEAR, "novifast": NOVIFAST, "nonlinear": SEARCHED}


class VariableFlipAngle:
    """T1 (s) and M0 from (angles, ...) signals.

    Parameters
    ----------
    flip
        Nominal flip angles, degrees, (angles,), at least two different ones.
    tr
        Repetition time, s, the same for all.
    method
        See the module; ``novifast`` by default.
    t1_range
        Searched T1 in s; what lies outside is NaN with the reason NOT_PHYSICAL.

    Raises
    ------
    DataError
        Fewer than two different angles, or settings that are impossible.
    """

    name = "vfa"

    def __init__(
        self,
        flip: ArrayLike,
        tr: float,
        *,
        method: Method = "novifast",
        t1_range: tuple[float, float] = (0.005, 20.0),
    ) -> None:
        if method not in get_args(Method):
            raise UsageError("Unknown method", field="method", found=method, expected=", ".join(get_args(Method)))
        self.flip = np.atleast_1d(check_flip(flip))
        if self.flip.ndim != 1 or np.unique(self.flip).size < 2:
            raise DataError(
                "T1 needs at least two different flip angles", field="flip angle", found=flip, expected="degrees"
            )
        self.tr = float(check_positive(tr, "repetition time", "seconds"))
        check_times([self.tr], "repetition time", longest=LONGEST_FAST_TR_S)
        if not 0 < t1_range[0] < t1_range[1]:
            raise UsageError("The range of T1 must ascend and be positive", field="t1_range", found=t1_range)
        self.method, self.t1_range = method, t1_range

    def fit(
        self,
        data: ArrayLike,
        *,
        b1: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        threads: int = 2,
        dtype: type = np.float64,
    ) -> Fit:
        """Fit every voxel.

        Parameters
        ----------
        data
            (angles, ...), magnitude of any unit.
        b1
            Real over nominal flip angle: one number or a map (0.9, not 90 %).
        mask
            Voxels to fit.
        dtype
            Of the maps; all computing is in float64.

        Returns
        -------
        Fit
            ``t1`` in s and ``m0``; NaN with a reason where there is no solution.

        Raises
        ------
        DataError
            The data or B1 have another shape, or B1 is in percent.
        """
        shape = np.asarray(data).shape
        scale = check_b1(b1, shape[1:])
        angles = np.deg2rad(self.flip)
        low, high = self.t1_range

        def kernel(
            block: Array, start: int, values: Array, errors: Array, rss: Array, reason: NDArray[np.int32]
        ) -> None:
            local = scale if scale.size == 1 else scale[start : start + block.shape[1]]
            solve(block, angles, local, self.tr, low, high, _CODES[self.method], values, errors, rss, reason)

        return run(
            f"{self.name}_{self.method}",
            {"t1": "s", "m0": "1"},
            "t1",
            kernel,
            data,
            self.flip.size,
            mask=mask,
            threads=threads,
            dtype=dtype,
        )


def check_b1(b1: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """B1 as a flat list of factors, of length one where it is the same everywhere."""
    scale = np.asarray(1.0 if b1 is None else b1, dtype=np.float64)
    if scale.ndim and scale.shape != shape:
        raise DataError(
            "The map of B1 must have the shape of one image",
            field="B1",
            found=scale.shape,
            expected=shape,
            mend="resample it to the grid of the images",
        )
    typical = float(np.nanmedian(scale)) if np.isfinite(scale).any() else float("nan")
    if not 0.1 < typical < 5:
        raise DataError(
            "B1 is the real over the nominal flip angle",
            field="B1",
            found=f"median {typical:g}",
            expected="numbers around 1",
            mend="divide percent by 100",
        )
    return np.ascontiguousarray(scale.reshape(-1))
