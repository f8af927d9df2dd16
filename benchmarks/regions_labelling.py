"""Connected components of a whole-body mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from protocol import Bar, Contender, Workload

SHAPE = (645, 440, 440)


def prepare(data: Path) -> None:
    """Fifty lesions, five large organs and 20,000 specks of noise, and how many components scipy finds."""
    import numpy as np
    from scipy import ndimage

    rng = np.random.default_rng(20240501)
    mask = np.zeros(SHAPE, dtype=np.bool_)
    sizes = np.concatenate([np.exp(rng.uniform(np.log(3), np.log(16), 50)), rng.uniform(20, 45, 5)])
    for size in sizes:
        radii = rng.uniform(0.8, 1.2, 3) * size
        centre = rng.uniform(60, np.array(SHAPE) - 60)
        box = tuple(slice(int(c - r) - 2, int(c + r) + 3) for c, r in zip(centre, radii, strict=True))
        mask[box] |= sum(((g - c) / r) ** 2 for g, c, r in zip(np.ogrid[box], centre, radii, strict=True)) <= 1
    mask.reshape(-1)[rng.integers(0, mask.size, 20_000)] = True
    np.save(data / "mask.npy", mask)
    _, number = ndimage.label(mask, np.ones((3, 3, 3)))
    np.save(data / "number.npy", number)


def _mask(data: Path) -> Any:
    import numpy as np

    return np.load(data / "mask.npy")


def ours(data: Path) -> Any:
    """Label, and order the components by volume."""
    from timelens.engines.regions import label_components

    mask = _mask(data)
    return lambda: label_components(mask, connectivity=26)


def cc3d(data: Path) -> Any:
    """Label in scan order."""
    import cc3d

    mask = _mask(data)
    return lambda: cc3d.connected_components(mask, connectivity=26)


def scipy(data: Path) -> Any:
    """Label in scan order."""
    import numpy as np
    from scipy import ndimage

    mask = _mask(data)
    return lambda: ndimage.label(mask, np.ones((3, 3, 3)))[0]


def judge(labels: Any, data: Path) -> dict[str, float | str]:
    """Difference in the number of components, and voxels labelled that are not in the mask or the other way."""
    import numpy as np

    wrong = int(((labels > 0) != np.load(data / "mask.npy")).sum())
    return {
        "error": abs(int(labels.max()) - int(np.load(data / "number.npy"))) + wrong,
        "components": int(labels.max()),
        "labels": str(labels.dtype),
    }


WORKLOAD = Workload(
    title="Connected components of a whole-body mask",
    about="26-connected components of a mask of 440 x 440 x 645 voxels with 50 lesions, 5 organs and 20,000 specks. "
    "Ours also orders them by volume. The error counts components too many or too few, and wrong voxels.",
    contenders=(
        Contender("timelens", ours),
        Contender("cc3d", cc3d, requirements=("numpy==2.4.6", "connected-components-3d==4.1.1")),
        Contender("scipy", scipy, requirements=("numpy==2.4.6", "scipy==1.17.1")),
    ),
    prepare=prepare,
    judge=judge,
    bars=(
        Bar("no slower than cc3d", lambda rows: rows["timelens"].seconds <= rows["cc3d"].seconds),
        Bar("no slower than scipy", lambda rows: rows["timelens"].seconds <= rows["scipy"].seconds),
    ),
)
