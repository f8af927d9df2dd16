"""How long `import timelens` takes, beside packages that a script in this field imports first."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from protocol import Bar, Contender, Workload


def importing(package: str) -> Callable[[Path], Callable[[], object]]:
    """A contender that imports a package."""
    return lambda data: lambda: importlib.import_module(package)


WORKLOAD = Workload(
    title="Import time",
    about="`import timelens` must not load anything heavy: numpy, pandas, pydicom and the like come in when a command "
    "needs them. Each repeat is a new interpreter; the time is that of the import statement alone.",
    contenders=(
        Contender("timelens", importing("timelens")),
        Contender("pydicom", importing("pydicom"), requirements=("pydicom==3.0.2", "numpy==2.4.6")),
        Contender("nibabel", importing("nibabel"), requirements=("nibabel==5.4.2", "numpy==2.4.6")),
        Contender(
            "scikit-image",
            importing("skimage.measure"),
            requirements=("scikit-image==0.26.0", "numpy==2.4.6", "scipy==1.17.1"),
        ),
    ),
    bars=(Bar("`import timelens` under 0.3 s", lambda rows: rows["timelens"].seconds < 0.3),),
    cold=True,
    repeats=7,
)
