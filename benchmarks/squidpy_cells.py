"""squidpy's own container of cells: the peer of two workloads."""

from __future__ import annotations

from typing import Any

REQUIREMENTS = ("squidpy==1.8.2", "anndata==0.12.19", "numpy==2.4.6", "pandas==2.3.3", "setuptools<81")


def cells_of(types: Any, number_of_types: int) -> Any:
    """Cells with their type as the category ``type``, without markers."""
    import anndata
    import numpy as np
    import pandas as pd

    names = [str(k) for k in range(number_of_types)]
    kinds = pd.Categorical(types.astype(str), categories=names)
    obs = pd.DataFrame({"type": kinds}, index=np.arange(types.size).astype(str))
    return anndata.AnnData(X=np.zeros((types.size, 1), np.float32), obs=obs)
